/* The sub-commands of `nexus models`; one file for each that is not a few lines. */
#ifndef NX_CLI_CMD_MODELS_H
#define NX_CLI_CMD_MODELS_H

#include "cli/cli.h"
#include "engine/model_store.h"

extern const nx_cli_command nx_cmd_models_pull;
extern const nx_cli_command nx_cmd_models_optimize;
extern const nx_cli_command nx_cmd_models_access;

/* The store in the configured data folder; the caller frees it. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_cmd_models_store(const nx_cli_args *args, nx_model_store **out, nx_error *err);

/* "12.8 MB", for people; into text, which is returned. */
const char *nx_cmd_models_size(uint64_t bytes, char text[static 32]);

#endif

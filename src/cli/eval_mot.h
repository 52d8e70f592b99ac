/* nexus eval --mot: how well a model's tracks follow the truth in a video. */
#ifndef NX_CLI_EVAL_MOT_H
#define NX_CLI_EVAL_MOT_H

#include "cli/cli.h"

/* Runs the command with --mot among its options; returns an exit code. */
int nx_eval_mot(const nx_cli_args *args);

#endif

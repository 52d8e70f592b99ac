/* nexus models: what is installed, adding and removing. */
#include "cli/cmd_models.h"

#include "base/json_writer.h"
#include "base/time_text.h"
#include "cli/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

nx_status nx_cmd_models_store(const nx_cli_args *args, nx_model_store **out, nx_error *err)
{
    *out = NULL;
    char *data_dir = nx_setup_data_dir(args->config);
    nx_status status = data_dir != NULL ? nx_model_store_new(data_dir, out, err)
                                        : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    free(data_dir);
    return status;
}

const char *nx_cmd_models_size(uint64_t bytes, char text[static 32])
{
    if (bytes < 100000) {
        snprintf(text, 32, "%.1f kB", (double)bytes / 1e3);
    } else {
        snprintf(text, 32, "%.1f MB", (double)bytes / 1e6);
    }
    return text;
}

/* --- list ---------------------------------------------------------------------------------------
 */

static const char *const kinds[] = {[NX_STORED_DETECTOR] = "detector", [NX_STORED_SAM] = "sam"};

static void list_text(const nx_stored_model *models, size_t count, nx_buffer *out)
{
    nx_buffer_printf(out, "%-24s %7s  %-6s  %-6s  %-8s  %9s  %s\n", "NAME", "VERSION", "ACTIVE",
                     "SHARED", "KIND", "SIZE", "ADDED");
    for (size_t i = 0; i < count; i++) {
        for (size_t v = 0; v < models[i].count; v++) {
            const nx_stored_version *version = &models[i].versions[v];
            char size[32];
            char added[NX_TIME_TEXT_SIZE];
            nx_time_text_seconds(version->added_s, added);
            nx_buffer_printf(out, "%-24s %7u  %-6s  %-6s  %-8s  %9s  %s\n", models[i].name,
                             version->version, version->version == models[i].active ? "yes" : "",
                             version->shared ? "yes" : "", kinds[version->kind],
                             nx_cmd_models_size(version->bytes, size), added);
        }
    }
}

static void list_json(const nx_stored_model *models, size_t count, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        for (size_t v = 0; v < models[i].count; v++) {
            const nx_stored_version *version = &models[i].versions[v];
            char added[NX_TIME_TEXT_SIZE];
            nx_time_text_seconds(version->added_s, added);
            nx_json_object_begin(&json);
            nx_json_key_string(&json, "name", models[i].name);
            nx_json_key_int(&json, "version", version->version);
            nx_json_key_bool(&json, "active", version->version == models[i].active);
            nx_json_key_bool(&json, "shared", version->shared);
            nx_json_key_string(&json, "kind", kinds[version->kind]);
            nx_json_key_int(&json, "size_bytes", (int64_t)version->bytes);
            nx_json_key_string(&json, "added", added);
            nx_json_object_end(&json);
        }
    }
    nx_json_array_end(&json);
    nx_buffer_append_char(out, '\n');
}

static int run_list(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_model_store *store = NULL;
    nx_stored_model *models = NULL;
    size_t count = 0;
    nx_status status = nx_cmd_models_store(args, &store, &err);
    if (status == NX_OK) {
        status = nx_model_store_list(store, &models, &count, &err);
    }
    if (status != NX_OK) {
        nx_model_store_free(store);
        return nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    }
    nx_buffer text = NX_BUFFER_INIT;
    const char *format = nx_cli_value(args, "format");
    if (format != NULL && strcmp(format, "json") == 0) {
        list_json(models, count, &text);
    } else if (count > 0) {
        list_text(models, count, &text);
    } else {
        fprintf(stderr, "There are no models in %s; see 'nexus models pull --help'.\n",
                nx_model_store_folder(store));
    }
    nx_stored_models_free(models, count);
    nx_model_store_free(store);
    return nx_cli_print(args, &text);
}

static const nx_cli_option list_options[] = {
    {"format", 'f', "FORMAT", "text or json (default text)", NX_CLI_NO_KEY, "text|json"},
};

static const nx_cli_command models_list = {
    .name = "models list",
    .operands = "",
    .summary = "list the installed models and their versions",
    .description = "The active version is the one that is used when a name is given without a\n"
                   "version: the highest, or the one that it was rolled back to. Shared are those\n"
                   "that were added through a server: all servers of the database have them.\n",
    .examples = "  nexus models list\n  nexus models list --format json\n",
    .options = list_options,
    .option_count = sizeof list_options / sizeof list_options[0],
    .uses_config = true,
    .run = run_list,
};

/* --- add ----------------------------------------------------------------------------------------
 */

/* The name for a file: --name, or that of the file. */
static nx_status choose_name(const nx_cli_args *args, char name[static NX_MODEL_NAME_MAX + 2],
                             nx_error *err)
{
    const char *given = nx_cli_value(args, "name");
    const char *path = args->operands[0];
    const char *slash = strrchr(path, '/');
    const char *file = given != NULL ? given : slash != NULL ? slash + 1 : path;
    size_t length = strlen(file);
    if (given == NULL && length > 5 && strcmp(file + length - 5, ".onnx") == 0) {
        length -= 5;
    }
    snprintf(name, NX_MODEL_NAME_MAX + 2, "%.*s", (int)length, file);
    nx_status status = nx_model_name_check(name, err);
    if (status == NX_OK && given == NULL && args->operand_count == 2) {
        status = nx_error_set(err, NX_ERR_INVALID, "give the pair a name with --name");
    }
    return status;
}

static nx_status copy_files(const nx_cli_args *args, const char *folder, nx_error *err)
{
    uint64_t limit = (uint64_t)nx_config_int(args->config, NX_CONFIG_MAX_MODEL_BYTES);
    if (args->operand_count == 1) {
        return nx_model_store_copy(folder, "model.onnx", args->operands[0], limit, err);
    }
    nx_status status = nx_model_store_copy(folder, "encoder.onnx", args->operands[0], limit, err);
    return status == NX_OK
               ? nx_model_store_copy(folder, "decoder.onnx", args->operands[1], limit, err)
               : status;
}

/* paths[1] is NULL for a detector; else they are an encoder and a decoder. */
static nx_status try_paths(nx_runtime *runtime, char *const paths[2], const char *name,
                           nx_error *err)
{
    nx_status status = NX_OK;
    if (paths[1] == NULL) {
        const nx_model_options options = {.name = name};
        nx_model *model = NULL;
        status = nx_model_open(runtime, paths[0], &options, &model, err);
        nx_model_free(model);
        return status;
    }
    nx_sam *sam = NULL;
    status = nx_sam_new(runtime, paths[0], paths[1], &(nx_sam_options){.name = name}, &sam, err);
    if (status == NX_OK) {
        status = nx_sam_open(sam, err);
    }
    if (status == NX_OK) {
        status = nx_sam_try(sam, err);
    }
    nx_sam_free(sam);
    return status;
}

/* Opens what was copied, as a server would. */
static nx_status try_files(const nx_cli_args *args, const char *folder, const char *name,
                           nx_error *err)
{
    static const char *const files[][2] = {{"model.onnx", NULL}, {"encoder.onnx", "decoder.onnx"}};
    nx_runtime *runtime = NULL;
    char *paths[2] = {NULL, NULL};
    nx_status status = nx_setup_runtime(args->config, &runtime, err);
    for (int i = 0; i < args->operand_count && status == NX_OK; i++) {
        if (asprintf(&paths[i], "%s/%s", folder, files[args->operand_count - 1][i]) < 0) {
            paths[i] = NULL;
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
        }
    }
    if (status == NX_OK) {
        status = try_paths(runtime, paths, name, err);
    }
    for (int i = 0; i < 2; i++) {
        if (status != NX_OK && paths[i] != NULL) {
            nx_model_store_rename_in(err, paths[i], args->operands[i]);
        }
        free(paths[i]);
    }
    nx_runtime_free(runtime);
    return status;
}

static nx_status add(const nx_cli_args *args, const nx_model_store *store, const char *name,
                     uint32_t *version, nx_error *err)
{
    char *folder = NULL;
    nx_status status = nx_model_store_begin(store, &folder, err);
    if (status == NX_OK) {
        status = copy_files(args, folder, err);
    }
    if (status == NX_OK) {
        status = try_files(args, folder, name, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_commit(store, folder, name, version, err);
    }
    if (status != NX_OK) {
        nx_model_store_discard(folder);
    }
    free(folder);
    return status;
}

static int run_add(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_model_store *store = NULL;
    char name[NX_MODEL_NAME_MAX + 2];
    uint32_t version = 0;
    nx_status status = choose_name(args, name, &err);
    if (status != NX_OK) {
        return nx_cli_fail(args, NX_EXIT_USAGE, &err);
    }
    status = nx_cmd_models_store(args, &store, &err);
    if (status == NX_OK) {
        status = add(args, store, name, &version, &err);
    }
    nx_model_store_free(store);
    if (status != NX_OK) {
        /* whatever is wrong with the file, the command line is not */
        return nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    }
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer_printf(&text, "%s version %u is installed.\n", name, version);
    return nx_cli_print(args, &text);
}

static const nx_cli_option add_options[] = {
    {"name", 'n', "NAME", "install under this name (default: the file's)", NX_CLI_NO_KEY, NULL},
};

static const nx_cli_command models_add = {
    .name = "models add",
    .operands = "FILE [DECODER]",
    .min_operands = 1,
    .max_operands = 2,
    .summary = "install a model file as the next version of a name",
    .description =
        "The file is copied, tried, and made the active version; a file that can't be used\n"
        "changes nothing. Two files are the encoder and the decoder of a model of the SAM\n"
        "family. A server that runs already takes the new version when it is told to, with\n"
        "POST /api/v1/models/NAME/load.\n",
    .examples = "  nexus models add best.onnx --name doors\n"
                "  nexus models add encoder.onnx decoder.onnx --name my-sam\n",
    .options = add_options,
    .option_count = sizeof add_options / sizeof add_options[0],
    .uses_config = true,
    .run = run_add,
};

/* --- remove -------------------------------------------------------------------------------------
 */

/* Which version is active when `version` (0: all) goes; 0: none. */
static uint32_t active_after(const nx_stored_model *model, uint32_t version)
{
    uint32_t after = 0;
    for (size_t i = 0; i < model->count && version != 0; i++) {
        after = model->versions[i].version != version ? model->versions[i].version : after;
    }
    return version != 0 && model->active != version ? model->active : after;
}

/* Takes a version that other servers have out of the database, so that they follow. */
static nx_status remove_shared(const nx_cli_args *args, const nx_model_store *store,
                               const char *name, uint32_t version, nx_error *err)
{
    nx_stored_model model = {0};
    nx_setup setup = {0};
    bool shared = false;
    nx_status status = nx_model_store_find(store, name, &model, err);
    for (size_t i = 0; i < model.count; i++) {
        shared |=
            model.versions[i].shared && (version == 0 || model.versions[i].version == version);
    }
    if (status == NX_OK && shared) {
        status = nx_setup_open_storage(args->config, &setup, err);
    }
    if (status == NX_OK && shared) {
        status = nx_store_model_remove(setup.database, name, version, active_after(&model, version),
                                       err);
    }
    nx_setup_close(&setup);
    nx_stored_model_free(&model);
    return status;
}

static int run_remove(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_model_store *store = NULL;
    nx_buffer text = NX_BUFFER_INIT;
    int code = NX_EXIT_OK;
    if (nx_cmd_models_store(args, &store, &err) != NX_OK) {
        return nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    }
    for (int i = 0; i < args->operand_count; i++) {
        char name[NX_MODEL_NAME_MAX + 1];
        uint32_t version = 0;
        nx_status status = nx_model_reference_parse(args->operands[i], name, &version, &err);
        if (status == NX_OK) {
            status = remove_shared(args, store, name, version, &err);
        }
        if (status == NX_OK) {
            status = nx_model_store_remove(store, name, version, &err);
        }
        if (status != NX_OK) {
            code = nx_cli_fail(args, nx_cli_exit_code(status), &err);
        } else if (version != 0) {
            nx_buffer_printf(&text, "%s version %u is removed.\n", name, version);
        } else {
            nx_buffer_printf(&text, "%s is removed.\n", name);
        }
    }
    nx_model_store_free(store);
    int printed = nx_cli_print(args, &text);
    return code != NX_EXIT_OK ? code : printed;
}

static const nx_cli_command models_remove = {
    .name = "models remove",
    .operands = "NAME[:VERSION]...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "remove a model, or one version of it",
    .description =
        "A server that has it in memory goes on with it until it unloads it or ends. What was\n"
        "added through a server is shared: it is removed from the database as well, and from all\n"
        "servers of it within a second.\n",
    .examples = "  nexus models remove doors:1\n  nexus models remove doors\n",
    .uses_config = true,
    .run = run_remove,
};

/* --- the group ----------------------------------------------------------------------------------
 */

static const nx_cli_command *const subcommands[] = {
    &models_list,
    &models_add,
    &models_remove,
    &nx_cmd_models_pull,
    &nx_cmd_models_optimize,
    &nx_cmd_models_access,
};

const nx_cli_command nx_cmd_models = {
    .name = "models",
    .operands = "COMMAND",
    .summary = "list, download, add, remove, optimise and restrict models",
    .description =
        "Models lie in the data folder, as models/NAME.onnx or\n"
        "models/NAME/VERSION/model.onnx. NEXUS_MODEL or --model says which one is used.\n",
    .examples = "  nexus models pull yolov8s\n  nexus models add best.onnx --name doors\n",
    .subcommands = subcommands,
    .subcommand_count = sizeof subcommands / sizeof subcommands[0],
};

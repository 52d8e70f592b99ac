/* nexus backup: the database, the objects and the models into a folder of backups. */
#include "backup/backup.h"
#include "base/json_writer.h"
#include "base/time_text.h"
#include "cli/audit.h"
#include "cli/backups.h"
#include "cli/cli.h"
#include "cli/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KEPT 100000

static nx_status open_vault(const nx_cli_args *args, bool writes, nx_vault **out, nx_error *err)
{
    const nx_vault_options options = {
        .path = args->operands[0], .key_file = nx_cli_value(args, "key-file"), .make = writes};
    nx_status status = nx_vault_open(&options, out, err);
    return status == NX_OK && !writes ? nx_vault_lock(*out, err) : status;
}

/* --- what there is --- */

static nx_status print_one(nx_vault *vault, const char *id, bool json, nx_buffer *out,
                           nx_error *err)
{
    nx_manifest manifest;
    char at[NX_TIME_TEXT_SIZE];
    int64_t rows = 0;
    nx_status status = nx_backup_manifest(vault, id, &manifest, err);
    if (status != NX_OK) {
        return status;
    }
    for (size_t i = 0; i < manifest.table_count; i++) {
        rows += manifest.tables[i].rows;
    }
    nx_time_text_seconds(manifest.made_at / 1000, at);
    int64_t bytes = manifest.database_size + nx_manifest_bytes(&manifest);
    size_t objects = manifest.object_count + manifest.file_count;
    if (json) {
        nx_json line = nx_json_begin(out);
        nx_json_object_begin(&line);
        nx_json_key_string(&line, "id", manifest.id);
        nx_json_key_string(&line, "made_at", at);
        nx_json_key_string(&line, "host", manifest.host);
        nx_json_key_string(&line, "nexus", manifest.nexus);
        nx_json_key_string(&line, "database", manifest.kind);
        nx_json_key_int(&line, "schema", manifest.schema);
        nx_json_key_int(&line, "rows", rows);
        nx_json_key_int(&line, "objects", (int64_t)objects);
        nx_json_key_int(&line, "missing", (int64_t)manifest.missing_count);
        nx_json_key_int(&line, "bytes", bytes);
        nx_json_object_end(&line);
        nx_buffer_append_char(out, '\n');
    } else {
        nx_buffer_printf(out, "%-26s  %-20s  %10lld  %8zu  %8.1f MB  %-10s  ", manifest.id, at,
                         (long long)rows, objects, (double)bytes / 1e6, manifest.kind);
        nx_buffer_append_printable(out, manifest.host);
        nx_buffer_append_char(out, '\n');
    }
    nx_manifest_free(&manifest);
    return NX_OK;
}

static int run_list(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_vault *vault = NULL;
    char(*ids)[NX_BACKUP_ID_SIZE] = NULL;
    size_t count = 0;
    nx_buffer text = NX_BUFFER_INIT;
    bool json = nx_cli_value(args, "json") != NULL;
    int code = NX_EXIT_OK;
    const nx_vault_options options = {.path = args->operands[0],
                                      .key_file = nx_cli_value(args, "key-file")};
    nx_status status = nx_vault_open(&options, &vault, &err);
    if (status == NX_OK) {
        status = nx_backup_list(vault, &ids, &count, &err);
    }
    if (status == NX_OK && !json) {
        nx_buffer_printf(&text, "%-26s  %-20s  %10s  %8s  %11s  %-10s  %s\n", "ID", "MADE", "ROWS",
                         "OBJECTS", "SIZE", "DATABASE", "HOST");
    }
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        nx_error why = {0};
        if (print_one(vault, ids[i], json, &text, &why) != NX_OK) {
            code = nx_cli_fail(args, NX_EXIT_PARTIAL, &why);
        }
    }
    free(ids);
    nx_vault_close(vault);
    if (status != NX_OK) {
        nx_buffer_free(&text);
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    int printed = nx_cli_print(args, &text);
    return printed != NX_EXIT_OK ? printed : code;
}

/* --- checking --- */

static int run_verify(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_vault *vault = NULL;
    nx_manifest manifest = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_stages stages = {.stage = NULL};
    nx_status status = open_vault(args, false, &vault, &err);
    if (status == NX_OK) {
        status = nx_backup_manifest(vault, nx_cli_value(args, "backup"), &manifest, &err);
    }
    if (status == NX_OK) {
        const nx_backup backup = {.vault = vault, .progress = nx_stages_show, .user = &stages};
        status = nx_backup_verify(&backup, &manifest, &err);
        nx_stages_end(&stages);
    }
    if (status == NX_OK) {
        nx_buffer_printf(&text, "%s is intact: %zu tables, %zu objects, %.1f MB\n", manifest.id,
                         manifest.table_count, manifest.object_count + manifest.file_count,
                         (double)(manifest.database_size + nx_manifest_bytes(&manifest)) / 1e6);
    }
    nx_manifest_free(&manifest);
    nx_vault_close(vault);
    if (status != NX_OK) {
        return nx_cli_fail(
            args, status == NX_ERR_CORRUPT ? NX_EXIT_PARTIAL : nx_cli_exit_code(status), &err);
    }
    return nx_cli_print(args, &text);
}

/* --- making --- */

/* A database of an older schema is for its own Nexus to back up: to open it here would change it.
 */
static nx_status check_database(const nx_cli_args *args, nx_error *err)
{
    nx_store_report report;
    char *data_dir = nx_setup_data_dir(args->config);
    if (data_dir == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the data folder's name");
    }
    const nx_store_options options = nx_store_options_of(args->config, data_dir);
    nx_status status = nx_store_check(&options, &report, err);
    free(data_dir);
    if (status != NX_OK) {
        return status;
    }
    if (!report.exists || report.schema == 0) {
        return nx_error_set(err, NX_ERR_NOT_FOUND,
                            "there is no database of Nexus at %s: nothing to back up",
                            report.place);
    }
    return report.schema == report.newest
               ? NX_OK
               : nx_error_set(err, NX_ERR_UNSUPPORTED,
                              "the database has schema %d and this program works with %d; make the "
                              "backup with the Nexus that uses the database, or start this one "
                              "first, which brings it up to date",
                              report.schema, report.newest);
}

static void print_report(const nx_backup_report *report, nx_buffer *out)
{
    nx_buffer_printf(out,
                     "backup %s\n  %lld rows of %zu tables\n  %zu objects, of which %zu (%.1f MB) "
                     "are new in the folder\n",
                     report->id, (long long)report->rows, report->tables, report->objects,
                     report->copied, (double)report->copied_bytes / 1e6);
    if (report->removed > 0) {
        nx_buffer_printf(out, "  %zu older backups removed\n", report->removed);
    }
}

static nx_status make(const nx_cli_args *args, nx_setup *setup, nx_vault *vault,
                      nx_backup_report *report, nx_error *err)
{
    char *models = NULL;
    nx_backup backup;
    int64_t keep = 0;
    nx_stages stages = {.stage = NULL};
    nx_status status = nx_cli_int(args, "keep", 1, MOST_KEPT, 0, &keep, err);
    if (status == NX_OK) {
        status = nx_setup_open_storage(args->config, setup, err);
    }
    if (status == NX_OK) {
        status = nx_backup_of(vault, setup, &stages, &models, &backup, err);
    }
    if (status != NX_OK) {
        return status;
    }
    status = nx_backup_make(&backup, (size_t)keep, report, err);
    nx_stages_end(&stages);
    const nx_cli_event event = {.action = "backup.create",
                                .kind = report->id[0] != '\0' ? "backup" : NULL,
                                .name = report->id,
                                .outcome = status};
    nx_cli_audit(setup->database, &event);
    free(models);
    return status;
}

static int run_make(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_setup setup = {0};
    nx_vault *vault = NULL;
    nx_backup_report report = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_status status = check_database(args, &err);
    if (status == NX_OK) {
        status = open_vault(args, true, &vault, &err);
    }
    if (status == NX_OK) {
        status = make(args, &setup, vault, &report, &err);
    }
    nx_vault_close(vault);
    nx_setup_close(&setup);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    print_report(&report, &text);
    int code = nx_cli_print(args, &text);
    if (report.missing > 0) {
        nx_error_set(&err, NX_ERR_NOT_FOUND,
                     "%zu objects that the database names are lost or damaged, and not in the "
                     "backup; the first is %s",
                     report.missing, report.first_missing);
        return nx_cli_fail(args, NX_EXIT_PARTIAL, &err);
    }
    return code;
}

static int run(const nx_cli_args *args)
{
    static const char *const others[] = {"keep", "list", "verify"};
    nx_error err = {0};
    int given = 0;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        given += nx_cli_value(args, others[i]) != NULL;
    }
    bool list = nx_cli_value(args, "list") != NULL;
    bool verify = nx_cli_value(args, "verify") != NULL;
    if (given > 1 || (nx_cli_value(args, "backup") != NULL && !verify) ||
        (nx_cli_value(args, "json") != NULL && !list)) {
        nx_error_set(&err, NX_ERR_INVALID,
                     "--list, --verify and --keep go each by itself; --backup belongs to --verify, "
                     "and --json to --list");
        return nx_cli_fail(args, NX_EXIT_USAGE, &err);
    }
    return list ? run_list(args) : verify ? run_verify(args) : run_make(args);
}

static const nx_cli_option options[] = {
    {"key-file", 'k', "FILE", "encrypt with what this file holds (at least 16 bytes)",
     NX_CLI_NO_KEY, NULL},
    {"keep", 0, "N", "then remove all but the newest N backups", NX_CLI_NO_KEY, NULL},
    {"list", 'l', NULL, "print which backups there are, and make none", NX_CLI_NO_KEY, NULL},
    {"json", 0, NULL, "with --list: an object a line", NX_CLI_NO_KEY, NULL},
    {"verify", 0, NULL, "read all of a backup and check every hash, and make none", NX_CLI_NO_KEY,
     NULL},
    {"backup", 0, "ID", "with --verify: this one (default: the newest)", NX_CLI_NO_KEY, NULL},
};

const nx_cli_command nx_cmd_backup = {
    .name = "backup",
    .operands = "FOLDER",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "back up the database, the objects and the models",
    .description =
        "Puts a backup into a folder that holds any number of them, while servers and workers\n"
        "run. Objects (videos, results, pictures of events, models) are there once for all\n"
        "backups: only new ones are copied. A backup that was interrupted leaves nothing, and is\n"
        "made anew by the next. What it holds does not depend on the kind of database or object\n"
        "store: 'nexus restore' puts it into any.\n"
        "\n"
        "Not in it: the configuration, its secrets and certificates, sessions, uploads under way,\n"
        "and the key file, without which an encrypted backup is worth nothing: keep a copy of it\n"
        "elsewhere.\n"
        "\n"
        "The exit code is 1 when objects that the database names are lost or damaged at their\n"
        "place: the backup is made without them. With --verify it is 1 when the backup is "
        "damaged.\n",
    .examples = "  nexus backup /mnt/backups\n"
                "  nexus backup --keep 14 --key-file /etc/nexus/backup.key /mnt/backups\n"
                "  nexus backup --list /mnt/backups\n"
                "  nexus backup --verify --key-file /etc/nexus/backup.key /mnt/backups\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

/* nexus restore: a backup into the database and the object store of the configuration. */
#include "backup/backup.h"
#include "base/file.h"
#include "cli/audit.h"
#include "cli/backups.h"
#include "cli/cli.h"
#include "cli/setup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* As nx_setup_open_storage does, but with one connection: it must be the only one. */
static nx_status open_storage(const nx_config *config, nx_setup *setup, nx_error *err)
{
    setup->data_dir = nx_setup_data_dir(config);
    if (setup->data_dir == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the data folder's name");
    }
    nx_store_options database = nx_store_options_of(config, setup->data_dir);
    database.pool_size = 1;
    database.max_overflow = 0;
    const nx_objects_options objects = nx_objects_options_of(config, setup->data_dir);
    nx_status status = nx_file_make_dirs(setup->data_dir, err);
    if (status == NX_OK) {
        status = nx_store_open(&database, &setup->database, err);
    }
    return status == NX_OK ? nx_objects_open(&objects, &setup->objects, err) : status;
}

static nx_status restore(const nx_cli_args *args, nx_setup *setup, nx_vault *vault,
                         const nx_manifest *manifest, nx_restore_report *report, nx_error *err)
{
    char *models = NULL;
    nx_backup backup;
    nx_stages stages = {.stage = NULL};
    nx_status status = open_storage(args->config, setup, err);
    if (status == NX_OK) {
        status = nx_backup_of(vault, setup, &stages, &models, &backup, err);
    }
    if (status != NX_OK) {
        return status;
    }
    status = nx_backup_restore(&backup, manifest, nx_cli_value(args, "force") != NULL, report, err);
    nx_stages_end(&stages);
    if (status == NX_OK) {
        const nx_cli_event event = {
            .action = "backup.restore", .kind = "backup", .name = manifest->id};
        nx_cli_audit(setup->database, &event);
    }
    free(models);
    return status;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_setup setup = {0};
    nx_vault *vault = NULL;
    nx_manifest manifest = {0};
    nx_restore_report report = {0};
    nx_buffer text = NX_BUFFER_INIT;
    const nx_vault_options options = {.path = args->operands[0],
                                      .key_file = nx_cli_value(args, "key-file")};
    nx_status status = nx_vault_open(&options, &vault, &err);
    if (status == NX_OK) {
        status = nx_vault_lock(vault, &err);
    }
    if (status == NX_OK) {
        status = nx_backup_manifest(vault, nx_cli_value(args, "backup"), &manifest, &err);
    }
    if (status == NX_OK) {
        status = restore(args, &setup, vault, &manifest, &report, &err);
    }
    nx_vault_close(vault);
    if (status == NX_OK) {
        nx_buffer_printf(
            &text, "restored %s into %s and %s\n  %lld rows, %zu objects, %zu files of models",
            manifest.id, nx_store_kind(setup.database), nx_objects_place(setup.objects),
            (long long)report.rows, report.objects, report.files);
        nx_buffer_printf(&text, " written\n");
        if (manifest.missing_count > 0) {
            nx_buffer_printf(&text, "  %zu objects were lost already when the backup was made\n",
                             manifest.missing_count);
        }
    }
    nx_manifest_free(&manifest);
    nx_setup_close(&setup);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    return nx_cli_print(args, &text);
}

static const nx_cli_option options[] = {
    {"backup", 0, "ID", "this one of 'nexus backup --list' (default: the newest)", NX_CLI_NO_KEY,
     NULL},
    {"key-file", 'k', "FILE", "the key that the backups are encrypted with", NX_CLI_NO_KEY, NULL},
    {"force", 0, NULL, "put it in the place of what the database holds, and over other models",
     NX_CLI_NO_KEY, NULL},
};

const nx_cli_command nx_cmd_restore = {
    .name = "restore",
    .operands = "FOLDER",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "put a backup into the database and the object store",
    .description =
        "Puts a backup of 'nexus backup' into the database and the object store of the\n"
        "configuration, SQLite or PostgreSQL, disk or S3, whichever it came from; one of an older\n"
        "Nexus is brought up to date. No server and no worker may run meanwhile.\n"
        "\n"
        "The whole backup is checked before anything is written. The database changes last and in\n"
        "one transaction: when it is interrupted, run it again. A database that is not empty is\n"
        "refused without --force. Everybody has to sign in again afterwards.\n",
    .examples = "  nexus restore /mnt/backups\n"
                "  nexus restore --backup 20261129T101500123Z-1a2b --key-file backup.key "
                "/mnt/backups\n"
                "  DATABASE_URL=postgres://nexus@db/nexus nexus restore /mnt/backups\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

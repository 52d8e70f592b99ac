/* nexus audit: the log of who did what, read, exported and checked. */
#include "api/audit_text.h"
#include "base/time_text.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "store/audit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PAGE_ROWS 500

static nx_status open_store(const nx_cli_args *args, nx_store **out, nx_error *err)
{
    *out = NULL;
    char *data_dir = nx_setup_data_dir(args->config);
    if (data_dir == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the data folder's name");
    }
    const nx_store_options options = nx_store_options_of(args->config, data_dir);
    nx_status status = nx_store_open(&options, out, err);
    free(data_dir);
    return status;
}

/* --- list ---------------------------------------------------------------------------------------
 */

typedef enum list_format { FORMAT_TABLE, FORMAT_JSON, FORMAT_CSV } list_format;

static list_format format_of(const nx_cli_args *args)
{
    const char *format = nx_cli_value(args, "format");
    if (format == NULL || strcmp(format, "table") == 0) {
        return FORMAT_TABLE;
    }
    return strcmp(format, "csv") == 0 ? FORMAT_CSV : FORMAT_JSON;
}

static nx_status read_filter(const nx_cli_args *args, nx_audit_filter *out, nx_error *err)
{
    const char *since = nx_cli_value(args, "since");
    const char *until = nx_cli_value(args, "until");
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    nx_status status = NX_OK;
    *out = (nx_audit_filter){.actor = nx_cli_value(args, "actor"),
                             .action = nx_cli_value(args, "action")};
    if (since != NULL && nx_time_parse(since, now_ms, &out->since, err) != NX_OK) {
        status = nx_error_prefix(err, "--since");
    }
    if (status == NX_OK && until != NULL &&
        nx_time_parse(until, now_ms, &out->until, err) != NX_OK) {
        status = nx_error_prefix(err, "--until");
    }
    return status;
}

/* Who it was, as briefly as it can be said. */
static void append_actor(const nx_audit_entry *entry, nx_buffer *out)
{
    nx_buffer_append_printable(out, entry->actor[0] != '\0' ? entry->actor : entry->actor_kind);
    if (entry->actor_key[0] != '\0') {
        nx_buffer_append_str(out, " (key ");
        nx_buffer_append_printable(out, entry->actor_key);
        nx_buffer_append_char(out, ')');
    }
}

static void append_cell(nx_buffer *out, nx_buffer *cell, size_t width)
{
    size_t used = cell->size;
    nx_buffer_append(out, cell->data, cell->size);
    for (; used < width; used++) {
        nx_buffer_append_char(out, ' ');
    }
    nx_buffer_append_str(out, "  ");
    out->failed |= cell->failed;
    nx_buffer_clear(cell);
}

static void append_line(const nx_audit_row *row, nx_buffer *cell, nx_buffer *out)
{
    char at[NX_TIME_TEXT_SIZE];
    const nx_audit_entry *entry = &row->entry;
    const bool plain = strcmp(entry->details, "{}") == 0;
    nx_time_text(row->at, at);
    nx_buffer_printf(out, "%6" PRId64 "  %s  ", row->seq, at);
    append_actor(entry, cell);
    append_cell(out, cell, 20);
    nx_buffer_append_printable(cell, entry->address[0] != '\0' ? entry->address : "-");
    append_cell(out, cell, 15);
    nx_buffer_append_printable(cell, entry->action);
    append_cell(out, cell, 18);
    nx_buffer_append_printable(cell, entry->result);
    append_cell(out, cell, 7);
    nx_buffer_append_printable(out, entry->object);
    nx_buffer_append_str(out, plain ? "" : " ");
    nx_buffer_append_printable(out, plain ? "" : entry->details);
    nx_buffer_append_char(out, '\n');
}

static void append_rows(list_format format, const nx_audit_row *rows, size_t count, nx_buffer *out)
{
    nx_buffer cell = NX_BUFFER_INIT;
    for (size_t i = 0; i < count; i++) {
        nx_json json = nx_json_begin(out);
        switch (format) {
        case FORMAT_TABLE:
            append_line(&rows[i], &cell, out);
            break;
        case FORMAT_CSV:
            nx_audit_row_csv(&rows[i], out);
            break;
        case FORMAT_JSON:
            nx_audit_row_json(&rows[i], &json);
            nx_buffer_append_char(out, '\n');
            break;
        }
    }
    nx_buffer_free(&cell);
}

/* A page at a time, oldest first, so that a long log needs no memory. */
static nx_status print_log(const nx_cli_args *args, nx_store *store, const nx_audit_filter *filter,
                           int *code, nx_error *err)
{
    list_format format = format_of(args);
    nx_status status = NX_OK;
    nx_buffer text = NX_BUFFER_INIT;
    int64_t after = 0;
    size_t count = PAGE_ROWS;
    *code = NX_EXIT_OK;
    if (format == FORMAT_CSV) {
        nx_audit_csv_head(&text);
    } else if (format == FORMAT_TABLE) {
        nx_buffer_printf(&text, "%6s  %-24s  %-20s  %-15s  %-18s  %-7s  %s\n", "SEQ", "AT", "WHO",
                         "ADDRESS", "ACTION", "RESULT", "OBJECT");
    }
    while (status == NX_OK && *code == NX_EXIT_OK && count == PAGE_ROWS) {
        nx_arena arena = nx_arena_make(0);
        nx_audit_row *rows = nx_arena_calloc(&arena, PAGE_ROWS, sizeof *rows);
        status = rows != NULL ? nx_store_audit_after(store, filter, after, PAGE_ROWS, &arena, rows,
                                                     &count, err)
                              : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the audit log");
        if (status == NX_OK) {
            append_rows(format, rows, count, &text);
            after = count > 0 ? rows[count - 1].seq : after;
            *code = nx_cli_print(args, &text);
        }
        nx_arena_free(&arena);
    }
    nx_buffer_free(&text);
    return status;
}

static int run_list(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_store *store = NULL;
    nx_audit_filter filter;
    int code = NX_EXIT_OK;
    nx_status status = read_filter(args, &filter, &err);
    if (status == NX_OK) {
        status = open_store(args, &store, &err);
    }
    if (status == NX_OK) {
        status = print_log(args, store, &filter, &code, &err);
    }
    nx_store_close(store);
    return status == NX_OK ? code : nx_cli_fail(args, nx_cli_exit_code(status), &err);
}

static const nx_cli_option list_options[] = {
    {"since", 0, "TIME", "from then on: 2026-01-31, 2026-01-31T12:00:00Z, or 24h, 7d ago",
     NX_CLI_NO_KEY, NULL},
    {"until", 0, "TIME", "before then", NX_CLI_NO_KEY, NULL},
    {"actor", 0, "NAME", "of this user", NX_CLI_NO_KEY, NULL},
    {"action", 0, "ACTION", "of this action; all of a kind with a dot at the end: auth.",
     NX_CLI_NO_KEY, NULL},
    {"format", 'f', "FORMAT", "table, json (an object a line) or csv (default table)",
     NX_CLI_NO_KEY, "table|json|csv"},
};

static const nx_cli_command audit_list = {
    .name = "audit list",
    .operands = "",
    .summary = "print or export the log of who did what",
    .description =
        "Prints the rows that fit, oldest first. As json and csv they are complete; csv puts a '\n"
        "in front of what a spreadsheet would take for a formula.\n",
    .examples = "  nexus audit list --since 24h\n"
                "  nexus audit list --actor ann --action auth. --format csv > ann.csv\n",
    .options = list_options,
    .option_count = sizeof list_options / sizeof list_options[0],
    .uses_config = true,
    .run = run_list,
};

/* --- head ---------------------------------------------------------------------------------------
 */

static int run_head(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_store *store = NULL;
    nx_audit_head head;
    nx_buffer text = NX_BUFFER_INIT;
    nx_status status = open_store(args, &store, &err);
    if (status == NX_OK) {
        status = nx_store_audit_head(store, &head, &err);
    }
    nx_store_close(store);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    nx_buffer_printf(&text, "%" PRId64 ":%s\n", head.seq, head.hash);
    return nx_cli_print(args, &text);
}

static const nx_cli_command audit_head = {
    .name = "audit head",
    .operands = "",
    .summary = "print what tells later whether the log is still the same",
    .description =
        "Prints the number of rows and the last one's hash. Kept somewhere that whoever may write\n"
        "to the database can't reach, it shows later whether the log was cut or made anew.\n",
    .examples = "  nexus audit head >> /mnt/elsewhere/heads\n",
    .uses_config = true,
    .run = run_head,
};

/* --- verify -------------------------------------------------------------------------------------
 */

static bool show_progress(int64_t checked, int64_t total, void *user)
{
    nx_progress *bar = user;
    if (bar->total == 0) {
        *bar = nx_progress_begin((size_t)total);
    }
    nx_progress_update(bar, (size_t)checked);
    return true;
}

static nx_status read_noted(const nx_cli_args *args, nx_audit_head *out, bool *given, nx_error *err)
{
    const char *text = nx_cli_value(args, "head");
    *given = text != NULL;
    if (text == NULL) {
        return NX_OK;
    }
    char *end = NULL;
    out->seq = strtoll(text, &end, 10);
    bool good = end > text && *end == ':' && out->seq >= 0 && strlen(end + 1) == 64 &&
                strspn(end + 1, "0123456789abcdef") == 64;
    if (!good) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "--head is what 'nexus audit head' printed: a number, ':' and 64 hex "
                            "digits");
    }
    memcpy(out->hash, end + 1, sizeof out->hash);
    return NX_OK;
}

static int run_verify(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_store *store = NULL;
    nx_audit_head noted;
    nx_audit_verdict verdict;
    nx_progress bar = {.total = 0};
    nx_buffer text = NX_BUFFER_INIT;
    bool given = false;
    nx_status status = read_noted(args, &noted, &given, &err);
    if (status == NX_OK) {
        status = open_store(args, &store, &err);
    }
    if (status == NX_OK) {
        const nx_audit_check check = {
            .noted = given ? &noted : NULL, .progress = show_progress, .user = &bar};
        status = nx_store_audit_verify(store, &check, &verdict, &err);
        nx_progress_end(&bar);
    }
    nx_store_close(store);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    if (!verdict.intact) {
        nx_error_set(&err, NX_ERR_CORRUPT, "%s (%" PRId64 " rows before it are intact)",
                     verdict.reason, verdict.first_bad > 0 ? verdict.first_bad - 1 : 0);
        return nx_cli_fail(args, NX_EXIT_PARTIAL, &err);
    }
    nx_buffer_printf(&text, "%" PRId64 " rows, intact%s\n", verdict.checked,
                     given ? ", and still the log whose head was noted" : "");
    return nx_cli_print(args, &text);
}

static const nx_cli_option verify_options[] = {
    {"head", 0, "HEAD", "a head noted earlier, which the log must still have", NX_CLI_NO_KEY, NULL},
};

static const nx_cli_command audit_verify = {
    .name = "audit verify",
    .operands = "",
    .summary = "calculate every hash of the log, and tell the first row that does not fit",
    .description =
        "The exit code is 1 when a row was changed, taken out, put in or moved. Who may do\n"
        "everything in the database could also calculate all hashes anew: --head with what\n"
        "'nexus audit head' printed earlier shows that.\n",
    .examples = "  nexus audit verify\n"
                "  nexus audit verify --head \"$(tail -1 /mnt/elsewhere/heads)\"\n",
    .options = verify_options,
    .option_count = sizeof verify_options / sizeof verify_options[0],
    .uses_config = true,
    .run = run_verify,
};

static const nx_cli_command *const subcommands[] = {&audit_list, &audit_head, &audit_verify};

const nx_cli_command nx_cmd_audit = {
    .name = "audit",
    .operands = "COMMAND",
    .summary = "read, export and check the log of who did what",
    .description = "The audit log is in the database. Its rows are only ever added, and each one\n"
                   "carries a hash over the one before it.\n",
    .examples = "  nexus audit list --since 7d\n  nexus audit verify\n",
    .subcommands = subcommands,
    .subcommand_count = sizeof subcommands / sizeof subcommands[0],
};

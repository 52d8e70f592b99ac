/* nexus keys: what programs show instead of a password. */
#include "base/json_writer.h"
#include "cli/accounts.h"
#include "cli/audit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* Read at a time. */
#define PAGE 100

#define SECONDS_A_DAY INT64_C(86400)

static const char *state_of(const nx_api_key *key, int64_t now_ms)
{
    return key->revoked_at != 0 ? "revoked" : key->expires_at <= now_ms ? "expired" : "good";
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000;
}

static void note(const nx_cli_accounts *accounts, const char *action, const char *id,
                 nx_status outcome)
{
    const nx_cli_event event = {.action = action, .kind = "key", .name = id, .outcome = outcome};
    nx_cli_audit(accounts->store, &event);
}

static bool wants_json(const nx_cli_args *args)
{
    const char *format = nx_cli_value(args, "format");
    return format != NULL && strcmp(format, "json") == 0;
}

/* --- list ---------------------------------------------------------------------------------------
 */

static void show_key(const nx_api_key *key, nx_buffer *out)
{
    char scopes[NX_SCOPES_TEXT];
    char expires[NX_TIME_TEXT_SIZE];
    char used[NX_TIME_TEXT_SIZE];
    nx_scopes_text((uint32_t)key->scopes, scopes);
    nx_buffer_printf(out, "%-10s  %-16s  %-7s  %-20s  %-20s  %-24s  ", key->id, key->user_name,
                     state_of(key, now_ms()), nx_cli_time(key->expires_at, expires),
                     nx_cli_time(key->used_at, used), scopes);
    nx_buffer_append_printable(out, key->name);
    nx_buffer_append_char(out, '\n');
}

/* token: NULL but for one that was just made. */
static void write_key(const nx_api_key *key, const char *token, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", key->id);
    nx_json_key_string(json, "user", key->user_name);
    nx_json_key_string(json, "name", key->name);
    nx_json_key(json, "scopes");
    nx_json_array_begin(json);
    for (size_t i = 0; i < NX_SCOPES_COUNT; i++) {
        if ((key->scopes & (INT64_C(1) << i)) != 0) {
            nx_json_string(json, nx_scope_name(i));
        }
    }
    nx_json_array_end(json);
    nx_json_key_string(json, "state", state_of(key, now_ms()));
    nx_cli_json_time(json, "created", key->created_at);
    nx_cli_json_time(json, "expires", key->expires_at);
    nx_cli_json_time(json, "last_used", key->used_at);
    nx_cli_json_time(json, "revoked", key->revoked_at);
    if (token != NULL) {
        nx_json_key_string(json, "key", token);
    }
    nx_json_object_end(json);
}

static nx_status list_all(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *out,
                          nx_error *err)
{
    nx_api_key keys[PAGE];
    nx_json json = nx_json_begin(out);
    const char *before = NULL;
    size_t count = PAGE;
    bool as_json = wants_json(args);
    nx_status status = NX_OK;
    if (as_json) {
        nx_json_array_begin(&json);
    }
    for (bool first = true; count == PAGE && status == NX_OK; first = false) {
        status = nx_auth_keys_list(accounts->auth, nx_cli_value(args, "user"), before, PAGE,
                                   &accounts->arena, keys, &count, err);
        if (first && !as_json && count > 0) {
            nx_buffer_printf(out, "%-10s  %-16s  %-7s  %-20s  %-20s  %-24s  %s\n", "ID", "USER",
                             "STATE", "EXPIRES", "LAST USED", "SCOPES", "NAME");
        }
        for (size_t i = 0; i < count; i++) {
            if (as_json) {
                write_key(&keys[i], NULL, &json);
            } else {
                show_key(&keys[i], out);
            }
        }
        before = count > 0 ? keys[count - 1].id : NULL;
    }
    if (as_json) {
        nx_json_array_end(&json);
        nx_buffer_append_char(out, '\n');
    }
    if (status == NX_OK && out->size == 0) {
        fputs("There are no API keys; see 'nexus keys add --help'.\n", stderr);
    }
    return status;
}

static int run_list(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, list_all);
}

static const nx_cli_option list_options[] = {
    {"user", 'u', "NAME", "only those of this user", NX_CLI_NO_KEY, NULL},
    {"format", 'f', "FORMAT", "table or json (default table)", NX_CLI_NO_KEY, "table|json"},
};

static const nx_cli_command keys_list = {
    .name = "keys list",
    .operands = "",
    .summary = "list the API keys",
    .description =
        "The newest first. The ID is a part of the key, behind 'nxk_', that is no secret:\n"
        "it tells which one somebody has found. Keys that are over show for a month.\n",
    .examples = "  nexus keys list\n  nexus keys list --user ann --format json\n",
    .options = list_options,
    .option_count = sizeof list_options / sizeof list_options[0],
    .uses_config = true,
    .run = run_list,
};

/* --- add ----------------------------------------------------------------------------------------
 */

static nx_status add(const nx_cli_args *args, nx_cli_accounts *accounts,
                     char token[NX_AUTH_TOKEN_SIZE], nx_api_key *out, nx_error *err)
{
    const char *user = nx_cli_value(args, "user");
    const char *text = nx_cli_value(args, "scopes");
    int64_t days = 0;
    uint32_t scopes = 0;
    if (user == NULL || text == NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "say whose key it is and what it may do, as in: nexus keys add %.64s "
                            "--user ann --scopes read,infer",
                            args->operands[0]);
    }
    nx_status status = nx_scopes_parse(text, &scopes, err);
    if (status == NX_OK) {
        status = nx_cli_int(args, "days", 1, NX_KEY_LIFETIME_MAX_S / SECONDS_A_DAY,
                            NX_KEY_LIFETIME_S / SECONDS_A_DAY, &days, err);
    }
    if (status == NX_OK) {
        status = nx_auth_key_make(accounts->auth, user, args->operands[0], scopes,
                                  days * SECONDS_A_DAY, token, &accounts->arena, out, err);
        note(accounts, "key.add", status == NX_OK ? out->id : args->operands[0], status);
    }
    return status;
}

static nx_status add_and_tell(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *out,
                              nx_error *err)
{
    nx_api_key key = {0};
    char token[NX_AUTH_TOKEN_SIZE] = "";
    char expires[NX_TIME_TEXT_SIZE];
    nx_status status = add(args, accounts, token, &key, err);
    if (status == NX_OK && wants_json(args)) {
        nx_json json = nx_json_begin(out);
        write_key(&key, token, &json);
        nx_buffer_append_char(out, '\n');
    } else if (status == NX_OK) {
        nx_buffer_printf(out, "%s\n", token);
        fprintf(stderr, "This is the only time that the key is shown. It is good until %s.\n",
                nx_cli_time(key.expires_at, expires));
    }
    sodium_memzero(token, sizeof token);
    return status;
}

static int run_add(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, add_and_tell);
}

static const nx_cli_option add_options[] = {
    {"user", 'u', "NAME", "whose key it is", NX_CLI_NO_KEY, NULL},
    {"scopes", 's', "SCOPES", "some of read,infer,videos,models,metrics,admin", NX_CLI_NO_KEY,
     NULL},
    {"days", 0, "N", "good for so long (default 90, at most 3650)", NX_CLI_NO_KEY, NULL},
    {"format", 'f', "FORMAT", "table or json (default table)", NX_CLI_NO_KEY, "table|json"},
};

static const nx_cli_command keys_add = {
    .name = "keys add",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "make an API key",
    .description =
        "Prints the key, once: only a hash of it is kept. A program sends it as\n"
        "'Authorization: Bearer nxk_...'. It may do what its scopes allow, and never more than\n"
        "its user: read (look at what there is), infer (run models), videos (videos and jobs),\n"
        "models (change models), metrics (/metrics), admin (users, keys, audit log, settings,\n"
        "access to models, optimising, deliveries).\n",
    .examples = "  nexus keys add camera-7 --user ann --scopes infer\n"
                "  nexus keys add grafana --user ann --scopes metrics --days 365 > key.txt\n",
    .options = add_options,
    .option_count = sizeof add_options / sizeof add_options[0],
    .uses_config = true,
    .run = run_add,
};

/* --- revoke -------------------------------------------------------------------------------------
 */

static int run_revoke(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_cli_accounts accounts;
    nx_buffer said = NX_BUFFER_INIT;
    int code = NX_EXIT_OK;
    int failed = 0;
    nx_status status = nx_cli_accounts_open(args, &accounts, &err);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    for (int i = 0; i < args->operand_count; i++) {
        status = nx_auth_key_revoke(accounts.auth, args->operands[i], NULL, &err);
        note(&accounts, "key.revoke", args->operands[i], status);
        if (status != NX_OK) {
            code = nx_cli_fail(args, nx_cli_exit_code(status), &err);
            failed++;
        } else {
            nx_buffer_printf(&said, "%s is revoked.\n", args->operands[i]);
        }
    }
    nx_cli_accounts_close(&accounts);
    int printed = nx_cli_print(args, &said);
    code = failed > 0 && failed < args->operand_count ? NX_EXIT_PARTIAL : code;
    return code != NX_EXIT_OK ? code : printed;
}

static const nx_cli_command keys_revoke = {
    .name = "keys revoke",
    .operands = "ID...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "end API keys",
    .description = "By the ID that 'nexus keys list' shows. Holds within a second.\n",
    .examples = "  nexus keys revoke 4f0jq2z8ab\n",
    .uses_config = true,
    .run = run_revoke,
};

static const nx_cli_command *const subcommands[] = {&keys_list, &keys_add, &keys_revoke};

const nx_cli_command nx_cmd_keys = {
    .name = "keys",
    .operands = "COMMAND",
    .summary = "manage API keys",
    .description =
        "Works on the database of the configuration (DATABASE_URL, or the data folder); a\n"
        "server that uses it follows within a second.\n",
    .examples = "  nexus keys add camera-7 --user ann --scopes infer\n  nexus keys list\n",
    .subcommands = subcommands,
    .subcommand_count = sizeof subcommands / sizeof subcommands[0],
};

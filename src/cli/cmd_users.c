/* nexus users: who may sign in, and as what. */
#include "base/json_writer.h"
#include "cli/accounts.h"
#include "cli/audit.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

/* Read at a time. */
#define PAGE 100

/* details: a JSON object, or NULL. */
static void note(const nx_cli_accounts *accounts, const char *action, const char *who,
                 const char *details, nx_status outcome)
{
    const nx_cli_event event = {.action = action,
                                .kind = "user",
                                .name = who,
                                .details = outcome == NX_OK ? details : NULL,
                                .outcome = outcome};
    nx_cli_audit(accounts->store, &event);
}

/* --- list ---------------------------------------------------------------------------------------
 */

static void show_user(const nx_user *user, nx_buffer *out)
{
    char made[NX_TIME_TEXT_SIZE];
    char seen[NX_TIME_TEXT_SIZE];
    nx_buffer_printf(out, "%-24s  %-8s  %-8s  %-20s  %s\n", user->name,
                     nx_role_name((nx_role)user->role), user->disabled ? "disabled" : "active",
                     nx_cli_time(user->created_at, made), nx_cli_time(user->login_at, seen));
}

static void write_user(const nx_user *user, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", user->id);
    nx_json_key_string(json, "name", user->name);
    nx_json_key_string(json, "role", nx_role_name((nx_role)user->role));
    nx_json_key_bool(json, "disabled", user->disabled);
    nx_cli_json_time(json, "created", user->created_at);
    nx_cli_json_time(json, "password_changed", user->password_at);
    nx_cli_json_time(json, "last_login", user->login_at);
    nx_json_object_end(json);
}

static nx_status list_all(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *out,
                          nx_error *err)
{
    const char *format = nx_cli_value(args, "format");
    bool as_json = format != NULL && strcmp(format, "json") == 0;
    nx_user users[PAGE];
    nx_json json = nx_json_begin(out);
    const char *after = NULL;
    size_t count = PAGE;
    nx_status status = NX_OK;
    if (as_json) {
        nx_json_array_begin(&json);
    }
    for (bool first = true; count == PAGE && status == NX_OK; first = false) {
        status =
            nx_auth_users_list(accounts->auth, after, PAGE, &accounts->arena, users, &count, err);
        if (first && !as_json && count > 0) {
            nx_buffer_printf(out, "%-24s  %-8s  %-8s  %-20s  %s\n", "NAME", "ROLE", "STATE",
                             "CREATED", "LAST LOGIN");
        }
        for (size_t i = 0; i < count; i++) {
            if (as_json) {
                write_user(&users[i], &json);
            } else {
                show_user(&users[i], out);
            }
        }
        after = count > 0 ? users[count - 1].name : NULL;
    }
    if (as_json) {
        nx_json_array_end(&json);
        nx_buffer_append_char(out, '\n');
    }
    if (status == NX_OK && out->size == 0) {
        fputs("There are no users; see 'nexus users add --help'.\n", stderr);
    }
    return status;
}

static int run_list(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, list_all);
}

static const nx_cli_option list_options[] = {
    {"format", 'f', "FORMAT", "table or json (default table)", NX_CLI_NO_KEY, "table|json"},
};

static const nx_cli_command users_list = {
    .name = "users list",
    .operands = "",
    .summary = "list the users",
    .description = "By name. LAST LOGIN is of a password; API keys have their own ('nexus keys "
                   "list').\n",
    .examples = "  nexus users list\n  nexus users list --format json\n",
    .options = list_options,
    .option_count = sizeof list_options / sizeof list_options[0],
    .uses_config = true,
    .run = run_list,
};

/* --- add, passwd --------------------------------------------------------------------------------
 */

static nx_status add(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *said,
                     nx_error *err)
{
    const char *role_name = nx_cli_value(args, "role");
    char password[NX_CLI_PASSWORD_SIZE];
    nx_role role = NX_ROLE_VIEWER;
    nx_user user = {0};
    nx_status status = role_name != NULL ? nx_role_parse(role_name, &role, err) : NX_OK;
    if (status == NX_OK) { /* before somebody types for nothing */
        status = nx_user_name_check(args->operands[0], err);
    }
    if (status == NX_OK) {
        status = nx_cli_password(args, password, err);
    }
    if (status == NX_OK) {
        char details[40];
        status = nx_auth_user_add(accounts->auth, args->operands[0], password, role,
                                  &accounts->arena, &user, err);
        snprintf(details, sizeof details, "{\"role\":\"%s\"}", nx_role_name(role));
        note(accounts, "user.add", args->operands[0], details, status);
    }
    sodium_memzero(password, sizeof password);
    if (status == NX_OK) {
        nx_buffer_printf(said, "%s can sign in, as %s.\n", user.name, nx_role_name(role));
    }
    return status;
}

static int run_add(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, add);
}

static const nx_cli_option add_options[] = {
    {"role", 'r', "ROLE", "viewer, operator or admin (default viewer)", NX_CLI_NO_KEY,
     "viewer|operator|admin"},
    NX_CLI_PASSWORD_OPTION,
};

static const nx_cli_command users_add = {
    .name = "users add",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "let somebody sign in",
    .description =
        "Asks for the password, which has 8 to 1024 bytes, or reads it from a file or from\n"
        "standard input: never from the command line, where others would see it. A name has\n"
        "up to 64 letters, digits and . _ - @. The first user must be an admin.\n\n"
        "A viewer looks at what there is; an operator also infers, uploads, submits and cancels\n"
        "jobs and changes models; an admin also manages users and keys and sees settings.\n",
    .examples = "  nexus users add ann --role admin\n"
                "  nexus users add camera-7 --role operator --password-file secret.txt\n"
                "  openssl rand -base64 24 | tee secret.txt | nexus users add bob\n",
    .options = add_options,
    .option_count = sizeof add_options / sizeof add_options[0],
    .uses_config = true,
    .run = run_add,
};

static nx_status set_password(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *said,
                              nx_error *err)
{
    char password[NX_CLI_PASSWORD_SIZE];
    nx_user user = {0};
    nx_status status =
        nx_auth_user_get(accounts->auth, args->operands[0], &accounts->arena, &user, err);
    if (status == NX_OK) {
        status = nx_cli_password(args, password, err);
    }
    if (status == NX_OK) {
        status = nx_auth_set_password(accounts->auth, user.id, password, err);
        note(accounts, "user.change", user.name, "{\"change\":\"password\"}", status);
    }
    sodium_memzero(password, sizeof password);
    if (status == NX_OK) {
        nx_buffer_printf(said, "%s has a new password and must sign in anew.\n", user.name);
    }
    return status;
}

static int run_passwd(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, set_password);
}

static const nx_cli_option passwd_options[] = {NX_CLI_PASSWORD_OPTION};

static const nx_cli_command users_passwd = {
    .name = "users passwd",
    .operands = "NAME",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "give a user a new password",
    .description = "Ends the user's sessions and forgets failed logins. API keys stay as they are\n"
                   "('nexus keys revoke').\n",
    .examples = "  nexus users passwd ann\n"
                "  nexus users passwd ann --password-file - < secret.txt\n",
    .options = passwd_options,
    .option_count = sizeof passwd_options / sizeof passwd_options[0],
    .uses_config = true,
    .run = run_passwd,
};

/* --- role, disable, enable, remove --------------------------------------------------------------
 */

static nx_status set_role(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *said,
                          nx_error *err)
{
    nx_role role = NX_ROLE_NONE;
    nx_status status = nx_role_parse(args->operands[1], &role, err);
    if (status == NX_OK) {
        char details[40];
        status = nx_auth_user_set_role(accounts->auth, args->operands[0], role, err);
        snprintf(details, sizeof details, "{\"role\":\"%s\"}", nx_role_name(role));
        note(accounts, "user.change", args->operands[0], details, status);
    }
    if (status == NX_OK) {
        nx_buffer_printf(said, "%s is %s %s.\n", args->operands[0],
                         role == NX_ROLE_VIEWER ? "a" : "an", nx_role_name(role));
    }
    return status;
}

static int run_role(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, set_role);
}

static const nx_cli_command users_role = {
    .name = "users role",
    .operands = "NAME viewer|operator|admin",
    .min_operands = 2,
    .max_operands = 2,
    .summary = "change what a user may do",
    .description = "Holds within a second, for sessions and API keys that are open too. The last\n"
                   "active admin stays one.\n",
    .examples = "  nexus users role bob operator\n",
    .uses_config = true,
    .run = run_role,
};

typedef struct change {
    nx_status (*make)(nx_auth *auth, const char *who, nx_error *err);
    const char *done;             /* "is removed" */
    const char *action, *details; /* of the audit log */
} change;

/* Each of the names; one that fails does not keep the others. */
static int change_each(const nx_cli_args *args, const change *what)
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
        status = what->make(accounts.auth, args->operands[i], &err);
        note(&accounts, what->action, args->operands[i], what->details, status);
        if (status != NX_OK) {
            code = nx_cli_fail(args, nx_cli_exit_code(status), &err);
            failed++;
        } else {
            nx_buffer_printf(&said, "%s %s.\n", args->operands[i], what->done);
        }
    }
    nx_cli_accounts_close(&accounts);
    int printed = nx_cli_print(args, &said);
    code = failed > 0 && failed < args->operand_count ? NX_EXIT_PARTIAL : code;
    return code != NX_EXIT_OK ? code : printed;
}

static nx_status disable(nx_auth *auth, const char *who, nx_error *err)
{
    return nx_auth_user_set_disabled(auth, who, true, err);
}

static nx_status enable(nx_auth *auth, const char *who, nx_error *err)
{
    return nx_auth_user_set_disabled(auth, who, false, err);
}

static int run_disable(const nx_cli_args *args)
{
    static const change what = {disable, "is disabled", "user.change", "{\"disabled\":true}"};
    return change_each(args, &what);
}

static int run_enable(const nx_cli_args *args)
{
    static const change what = {enable, "is enabled", "user.change", "{\"disabled\":false}"};
    return change_each(args, &what);
}

static int run_remove(const nx_cli_args *args)
{
    static const change what = {nx_auth_user_remove, "is removed", "user.remove", NULL};
    return change_each(args, &what);
}

static const nx_cli_command users_disable = {
    .name = "users disable",
    .operands = "NAME...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "keep a user out",
    .description = "Ends the user's sessions; API keys rest until the user is enabled again. The\n"
                   "last active admin can't be disabled.\n",
    .examples = "  nexus users disable bob\n",
    .uses_config = true,
    .run = run_disable,
};

static const nx_cli_command users_enable = {
    .name = "users enable",
    .operands = "NAME...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "let a user in again",
    .description =
        "Also forgets failed logins: it opens the lock of a name of which somebody tried\n"
        "too many passwords.\n",
    .examples = "  nexus users enable bob\n",
    .uses_config = true,
    .run = run_enable,
};

static const nx_cli_command users_remove = {
    .name = "users remove",
    .operands = "NAME...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "remove a user",
    .description =
        "With the user's sessions and API keys. The last active admin can't be removed.\n",
    .examples = "  nexus users remove bob\n",
    .uses_config = true,
    .run = run_remove,
};

/* --- setup-link ---------------------------------------------------------------------------------
 */

static nx_status make_link(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *said,
                           nx_error *err)
{
    char token[NX_AUTH_TOKEN_SIZE];
    const char *host = nx_config_string(args->config, NX_CONFIG_HOST);
    bool bare_v6 = strchr(host, ':') != NULL && host[0] != '[';
    nx_status status = nx_auth_setup_link(accounts->auth, token, err);
    const nx_cli_event event = {.action = "auth.setup_link", .outcome = status};
    nx_cli_audit(accounts->store, &event);
    if (status == NX_OK) {
        nx_buffer_printf(said, "http://%s%s%s:%lld/setup#%s\n", bare_v6 ? "[" : "", host,
                         bare_v6 ? "]" : "", (long long)nx_config_int(args->config, NX_CONFIG_PORT),
                         token);
    }
    return status;
}

static int run_setup_link(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, make_link);
}

static const nx_cli_command users_setup_link = {
    .name = "users setup-link",
    .operands = "",
    .summary = "print a link that makes the first admin",
    .description =
        "Works once, for a day, and only while there are no users. Whoever opens it chooses the\n"
        "name and the password of the first admin. The address is that of the configuration;\n"
        "behind a proxy put yours in its place.\n",
    .examples = "  nexus users setup-link\n",
    .uses_config = true,
    .run = run_setup_link,
};

/* --- the group ----------------------------------------------------------------------------------
 */

static const nx_cli_command *const subcommands[] = {
    &users_list,    &users_add,    &users_passwd, &users_role,
    &users_disable, &users_enable, &users_remove, &users_setup_link,
};

const nx_cli_command nx_cmd_users = {
    .name = "users",
    .operands = "COMMAND",
    .summary = "manage who may sign in",
    .description =
        "Works on the database of the configuration (DATABASE_URL, or the data folder); a\n"
        "server that uses it follows within a second.\n",
    .examples = "  nexus users add ann --role admin\n  nexus users passwd ann\n",
    .subcommands = subcommands,
    .subcommand_count = sizeof subcommands / sizeof subcommands[0],
};

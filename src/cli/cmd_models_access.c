/* nexus models access: who may use a model, shown and changed. */
#include "base/json_writer.h"
#include "cli/accounts.h"
#include "cli/audit.h"
#include "cli/cmd_models.h"
#include "store/model_access.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECONDS_A_DAY INT64_C(86400)
#define MOST_DAYS     3650
#define MOST_CHANGES  100 /* of one command */

/* Who gave a grant; no user can have this name. */
#define COMMAND_LINE "command line"

/* One that is given or taken back. */
typedef struct grant_change {
    const char *action; /* of the audit log */
    nx_grantee kind;
    const char *subject; /* its id */
} grant_change;

/* What the command line wants, every user looked up before anything is changed. */
typedef struct wish {
    const char *name; /* of the model */
    bool sets_level;
    nx_model_level level;
    int64_t expires_at; /* of what is given; 0: never */
    grant_change changes[MOST_CHANGES];
    size_t count;
} wish;

/* --- what is wanted -----------------------------------------------------------------------------
 */

/* The id of a user by name or id; of a user who is gone the id itself, so that it can be taken
 * back.
 */
static nx_status find_user(nx_cli_accounts *accounts, const char *who, bool gone,
                           const char **subject, nx_error *err)
{
    nx_user user;
    nx_status status = nx_auth_user_get(accounts->auth, who, &accounts->arena, &user, err);
    if (status == NX_ERR_NOT_FOUND && gone && nx_uuid_is(who)) {
        *subject = who;
        return NX_OK;
    }
    *subject = status == NX_OK ? user.id : NULL;
    return status;
}

/* The values of an option that may be given several times. */
static nx_status read_changes(const nx_cli_args *args, nx_cli_accounts *accounts,
                              const char *option, const char *action, nx_grantee kind, wish *out,
                              nx_error *err)
{
    const char *value = nx_cli_value(args, option);
    size_t size = value != NULL ? strlen(value) + 1 : 1;
    char *lines = nx_arena_calloc(&accounts->arena, size, 1);
    char *rest = NULL;
    nx_status status = lines != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    if (lines != NULL && value != NULL) {
        memcpy(lines, value, size);
    }
    for (const char *who = status == NX_OK ? strtok_r(lines, "\n", &rest) : NULL;
         who != NULL && status == NX_OK; who = strtok_r(NULL, "\n", &rest)) {
        grant_change change = {.action = action, .kind = kind, .subject = who};
        if (out->count == MOST_CHANGES) {
            return nx_error_set(err, NX_ERR_INVALID, "at most %d grants are changed at once",
                                MOST_CHANGES);
        }
        if (kind == NX_GRANT_USER) {
            bool gone = strcmp(action, "model.revoke") == 0;
            status = find_user(accounts, who, gone, &change.subject, err);
        } else if (!nx_key_id_is(who)) {
            status = nx_error_set(err, NX_ERR_INVALID,
                                  "'%.64s' is no ID of an API key; see 'nexus keys list'", who);
        }
        out->changes[out->count++] = change;
    }
    return status;
}

static nx_status read_end(const nx_cli_args *args, wish *out, nx_error *err)
{
    int64_t days = 0;
    bool gives = nx_cli_value(args, "grant") != NULL || nx_cli_value(args, "grant-key") != NULL;
    if (nx_cli_value(args, "days") != NULL && !gives) {
        return nx_error_set(err, NX_ERR_INVALID, "--days says when --grant or --grant-key ends");
    }
    nx_status status = nx_cli_int(args, "days", 1, MOST_DAYS, 0, &days, err);
    out->expires_at = days > 0 ? ((int64_t)time(NULL) + days * SECONDS_A_DAY) * 1000 : 0;
    return status;
}

static nx_status read_wish(const nx_cli_args *args, nx_cli_accounts *accounts, wish *out,
                           nx_error *err)
{
    static const struct {
        const char *option, *action;
        nx_grantee kind;
    } lists[] = {
        {"grant", "model.grant", NX_GRANT_USER},
        {"grant-key", "model.grant", NX_GRANT_KEY},
        {"revoke", "model.revoke", NX_GRANT_USER},
        {"revoke-key", "model.revoke", NX_GRANT_KEY},
    };
    *out = (wish){.name = args->operands[0], .sets_level = args->operand_count == 2};
    nx_status status = nx_model_name_check(out->name, err);
    if (status == NX_OK && out->sets_level &&
        !nx_model_level_parse(args->operands[1], &out->level)) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "'%.64s' is no level; use public, authenticated or private",
                              args->operands[1]);
    }
    if (status == NX_OK) {
        status = read_end(args, out, err);
    }
    for (size_t i = 0; i < sizeof lists / sizeof lists[0] && status == NX_OK; i++) {
        status =
            read_changes(args, accounts, lists[i].option, lists[i].action, lists[i].kind, out, err);
    }
    return status;
}

/* --- changing -----------------------------------------------------------------------------------
 */

static void note(nx_store *store, const char *action, const char *name, const char *details,
                 nx_status outcome)
{
    const nx_cli_event event = {.action = action,
                                .kind = "model",
                                .name = name,
                                .details = outcome == NX_OK ? details : NULL,
                                .outcome = outcome};
    nx_cli_audit(store, &event);
}

static nx_status change_grant(nx_store *store, const wish *wanted, const grant_change *change,
                              nx_error *err)
{
    char details[120];
    const nx_model_grant grant = {
        .name = wanted->name,
        .kind = change->kind,
        .subject = change->subject,
        .expires_at = wanted->expires_at,
        .granted_by = COMMAND_LINE,
    };
    bool gives = strcmp(change->action, "model.grant") == 0;
    nx_status status =
        gives ? nx_store_model_grant(store, &grant, err)
              : nx_store_model_revoke(store, wanted->name, change->kind, change->subject, err);
    snprintf(details, sizeof details, "{\"%s\":\"%.64s\"}",
             change->kind == NX_GRANT_USER ? "user_id" : "key_id", change->subject);
    note(store, change->action, wanted->name, details, status);
    return status;
}

/* Grants first: whoever has one is at no time without, when the model becomes private. */
static nx_status make_changes(nx_store *store, const wish *wanted, nx_error *err)
{
    nx_status status = NX_OK;
    size_t at = 0;
    for (; at < wanted->count && strcmp(wanted->changes[at].action, "model.grant") == 0; at++) {
        status = status == NX_OK ? change_grant(store, wanted, &wanted->changes[at], err) : status;
    }
    if (status == NX_OK && wanted->sets_level) {
        char details[40];
        status = nx_store_model_level_set(store, wanted->name, wanted->level, COMMAND_LINE, err);
        snprintf(details, sizeof details, "{\"level\":\"%s\"}", nx_model_level_name(wanted->level));
        note(store, "model.access", wanted->name, details, status);
    }
    for (; at < wanted->count && status == NX_OK; at++) {
        status = change_grant(store, wanted, &wanted->changes[at], err);
    }
    return status;
}

/* --- showing ------------------------------------------------------------------------------------
 */

typedef struct rules {
    nx_model_level level;
    nx_model_grant *grants;
    size_t count;
} rules;

static const char *const meanings[] = {
    [NX_MODEL_PUBLIC] = "everybody",
    [NX_MODEL_AUTHENTICATED] = "whoever is signed in or has a key",
    [NX_MODEL_PRIVATE] = "admins, and whoever has a grant",
};

static void show_text(const char *name, const rules *found, nx_buffer *out)
{
    char until[NX_TIME_TEXT_SIZE];
    char since[NX_TIME_TEXT_SIZE];
    nx_buffer_printf(out, "%s is %s: for %s.\n", name, nx_model_level_name(found->level),
                     meanings[found->level]);
    if (found->count > 0) {
        nx_buffer_printf(out, "%-24s  %-4s  %-20s  %-20s  %s\n", "GRANTED TO", "KIND", "UNTIL",
                         "SINCE", "BY");
    }
    for (size_t i = 0; i < found->count; i++) {
        const nx_model_grant *grant = &found->grants[i];
        bool user = grant->kind == NX_GRANT_USER;
        nx_buffer_printf(out, "%-24s  %-4s  %-20s  %-20s  %s\n",
                         user && grant->subject_name != NULL ? grant->subject_name : grant->subject,
                         user ? "user" : "key",
                         grant->expires_at != 0 ? nx_cli_time(grant->expires_at, until) : "never",
                         nx_cli_time(grant->granted_at, since), grant->granted_by);
    }
}

static void show_json(const char *name, const rules *found, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "model", name);
    nx_json_key_string(&json, "level", nx_model_level_name(found->level));
    nx_json_key(&json, "grants");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < found->count; i++) {
        const nx_model_grant *grant = &found->grants[i];
        bool user = grant->kind == NX_GRANT_USER;
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "user", user ? grant->subject_name : NULL);
        nx_json_key_string(&json, "user_id", user ? grant->subject : NULL);
        nx_json_key_string(&json, "key_id", user ? NULL : grant->subject);
        nx_cli_json_time(&json, "expires", grant->expires_at);
        nx_json_key_string(&json, "granted_by", grant->granted_by);
        nx_cli_json_time(&json, "granted", grant->granted_at);
        nx_json_object_end(&json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\n');
}

/* Whether there are versions of it here. */
static nx_status is_installed(const nx_cli_args *args, const char *name, bool *out, nx_error *err)
{
    nx_model_store *store = NULL;
    nx_stored_model model = {0};
    nx_status status = nx_cmd_models_store(args, &store, err);
    if (status == NX_OK) {
        status = nx_model_store_find(store, name, &model, err);
    }
    *out = status == NX_OK;
    nx_stored_model_free(&model);
    nx_model_store_free(store);
    return status == NX_ERR_NOT_FOUND ? NX_OK : status;
}

/* changed: rules may be made before there is such a model; else one or the other must be there. */
static nx_status show(const nx_cli_args *args, nx_cli_accounts *accounts, const char *name,
                      bool changed, nx_buffer *out, nx_error *err)
{
    const char *format = nx_cli_value(args, "format");
    rules found = {.level = NX_MODEL_AUTHENTICATED};
    bool there = false;
    nx_status status = is_installed(args, name, &there, err);
    if (status == NX_OK) {
        status = nx_store_model_level_get(accounts->store, name, &found.level, err);
    }
    if (status == NX_OK) {
        status = nx_store_model_grants(accounts->store, name, &accounts->arena, &found.grants,
                                       &found.count, err);
    }
    if (status == NX_OK && !there && !changed && found.count == 0 &&
        found.level == NX_MODEL_AUTHENTICATED) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND,
                              "there is no model '%s', and nothing is said of one", name);
    }
    if (status != NX_OK) {
        return status;
    }
    if (!there) {
        fprintf(stderr, "There is no model '%s' in this data folder (yet).\n", name);
    }
    if (format != NULL && strcmp(format, "json") == 0) {
        show_json(name, &found, out);
    } else {
        show_text(name, &found, out);
    }
    return NX_OK;
}

static nx_status access_rules(const nx_cli_args *args, nx_cli_accounts *accounts, nx_buffer *said,
                              nx_error *err)
{
    wish wanted;
    nx_status status = read_wish(args, accounts, &wanted, err);
    bool changes = status == NX_OK && (wanted.sets_level || wanted.count > 0);
    if (changes) {
        status = make_changes(accounts->store, &wanted, err);
    }
    return status == NX_OK ? show(args, accounts, wanted.name, changes, said, err) : status;
}

static int run_access(const nx_cli_args *args)
{
    return nx_cli_accounts_run(args, access_rules);
}

static const nx_cli_option options[] = {
    {"grant", 'g', "USER...", "let this user use the model", NX_CLI_NO_KEY, NULL},
    {"grant-key", 0, "ID...", "let this API key use the model", NX_CLI_NO_KEY, NULL},
    {"days", 0, "N", "what is granted ends after so many days (default never)", NX_CLI_NO_KEY,
     NULL},
    {"revoke", 'r', "USER...", "take this user's grant back", NX_CLI_NO_KEY, NULL},
    {"revoke-key", 0, "ID...", "take this API key's grant back", NX_CLI_NO_KEY, NULL},
    {"format", 'f', "FORMAT", "table or json (default table)", NX_CLI_NO_KEY, "table|json"},
};

const nx_cli_command nx_cmd_models_access = {
    .name = "models access",
    .operands = "NAME [LEVEL]",
    .min_operands = 1,
    .max_operands = 2,
    .words = "public|authenticated|private",
    .summary = "show or change who may use a model",
    .description =
        "public: everybody. authenticated: whoever is signed in or has an API key, which is so\n"
        "when nothing was said. private: admins, and those with a grant; to others it looks as if\n"
        "it was not there. It holds for every version, on every server of the database within a\n"
        "second, and may be said before there is such a model. A grant for a user holds for the\n"
        "user's keys as well; one that is there gets the new end. Each --grant, --grant-key,\n"
        "--revoke and --revoke-key may be given several times. What is changed is in the audit\n"
        "log.\n",
    .examples = "  nexus models access doors\n"
                "  nexus models access doors private --grant ann --grant bob --days 30\n"
                "  nexus models access doors --grant-key 4f0jq2z8ab --revoke bob\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run_access,
};

#include "api/model_access.h"

#include "api/audit.h"
#include "api/payload.h"
#include "api/storage.h"
#include "base/uuid.h"
#include "store/users.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char hidden[] = "there is no such model or version";

/* --- may they -----------------------------------------------------------------------------------
 */

/* Nobody was asked who they are: there are no accounts here. */
static bool is_open(const nx_identity *who)
{
    return who == NULL || who->kind == NX_IDENTITY_LOCAL;
}

nx_model_subject nx_api_subject(const nx_http_request *request)
{
    const nx_identity *who = nx_http_identity(request);
    if (is_open(who)) {
        return (nx_model_subject){.all = true};
    }
    return (nx_model_subject){
        .all = nx_identity_may(who, NX_ROLE_ADMIN, 0),
        .user = who->user_id,
        .key = who->kind == NX_IDENTITY_KEY ? who->key_id : NULL,
    };
}

bool nx_api_model_visible(nx_api *api, const nx_http_request *request, const char *name)
{
    const nx_model_subject subject = nx_api_subject(request);
    bool named = name != NULL && name[0] != '\0';
    return api->deps.shared == NULL ||
           nx_shared_models_allow(api->deps.shared,
                                  named ? name : nx_registry_default(api->deps.registry), &subject);
}

bool nx_api_model_usable(nx_api *api, nx_http_request *request, const char *name,
                         nx_problem *problem)
{
    static const nx_model_subject anybody = {.all = false};
    const nx_identity *who = nx_http_identity(request);
    const char *wanted =
        name != NULL && name[0] != '\0' ? name : nx_registry_default(api->deps.registry);
    if (api->deps.shared == NULL || is_open(who) ||
        nx_shared_models_allow(api->deps.shared, wanted, &anybody)) {
        return true;
    }
    if (who->kind == NX_IDENTITY_ANONYMOUS) {
        nx_http_add_header(request, "WWW-Authenticate", "Bearer realm=\"nexus\"");
        *problem = nx_problem_make(
            401,
            "Sign in with POST /api/v1/auth/login, or send an API key as 'Authorization: Bearer "
            "nxk_...'.",
            "this model is for users who are signed in");
        return false;
    }
    if (!nx_identity_may(who, NX_ROLE_OPERATOR, NX_SCOPE_INFER)) {
        *problem = nx_problem_make(403, "Ask an admin for the role operator, or use a key with it.",
                                   "this needs the role operator and the scope infer");
        return false;
    }
    if (!nx_api_model_visible(api, request, wanted)) {
        *problem =
            nx_problem_make(404, "Leave model out, or name one that GET /api/v1/models lists.",
                            "model: %s", hidden);
        return false;
    }
    return true;
}

void nx_api_model_hide(const nx_http_request *request, nx_status status, nx_error *err)
{
    if (status == NX_ERR_NOT_FOUND && !nx_api_subject(request).all) {
        nx_error_set(err, status, "%s", hidden);
    }
}

/* --- the rules ----------------------------------------------------------------------------------
 */

#define MOST_SECONDS (INT64_C(3650) * 24 * 3600)

static void write_grant(const nx_model_grant *grant, nx_json *json)
{
    bool user = grant->kind == NX_GRANT_USER;
    nx_json_object_begin(json);
    nx_json_key_string(json, "user", user ? grant->subject_name : NULL);
    nx_json_key_string(json, "user_id", user ? grant->subject : NULL);
    nx_json_key_string(json, "key_id", user ? NULL : grant->subject);
    nx_api_json_time(json, "expires_at", grant->expires_at);
    nx_json_key_string(json, "granted_by", grant->granted_by);
    nx_api_json_time(json, "granted_at", grant->granted_at);
    nx_json_object_end(json);
}

/* there: it is known that there is such a model; else there must be rules of it. */
static void reply_rules(nx_api *api, nx_http_request *request, const char *name, bool there)
{
    nx_error err = {0};
    nx_model_level level = NX_MODEL_AUTHENTICATED;
    nx_model_grant *grants = NULL;
    size_t count = 0;
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_store_model_level_get(api->deps.database, name, &level, &err);
    if (status == NX_OK) {
        status = nx_store_model_grants(api->deps.database, name, &arena, &grants, &count, &err);
    }
    if (status == NX_OK && !there && level == NX_MODEL_AUTHENTICATED && count == 0) {
        nx_problem problem = nx_problem_make(404, "GET /api/v1/models lists what there is.",
                                             "there is no model '%.64s'", name);
        nx_http_reply_problem(request, &problem);
    } else if (status == NX_OK) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_json json = nx_json_begin(&out);
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "model", name);
        nx_json_key_string(&json, "level", nx_model_level_name(level));
        nx_json_key(&json, "grants");
        nx_json_array_begin(&json);
        for (size_t i = 0; i < count; i++) {
            write_grant(&grants[i], &json);
        }
        nx_json_array_end(&json);
        nx_json_object_end(&json);
        nx_api_reply_json(request, 200, &out);
    } else {
        nx_api_storage_refuse(api, request, status, &err);
    }
    nx_arena_free(&arena);
}

/* The {name} of the path, of a model that need not be there yet. NULL: answered. */
static const char *read_name(const nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const char *name = nx_http_path_param(request, "name");
    if (strcmp(name, nx_registry_default(api->deps.registry)) == 0 ||
        nx_model_name_check(name, &err) == NX_OK) {
        return name;
    }
    nx_problem problem = nx_problem_make(422, "Check the name.", "%s", err.message);
    nx_http_reply_problem(request, &problem);
    return NULL;
}

/* The body's object; NULL: answered. */
static json_t *read_body(nx_http_request *request)
{
    nx_problem problem;
    json_t *document = NULL;
    size_t size = 0;
    const char *body = nx_http_body(request, &size);
    if (!nx_payload_parse(body != NULL ? body : "", size, &document, &problem)) {
        nx_http_reply_problem(request, &problem);
        return NULL;
    }
    return document;
}

static void refuse_member(nx_http_request *request, const char *advice, const char *what)
{
    nx_problem problem = nx_problem_make(422, advice, "%s", what);
    nx_http_reply_problem(request, &problem);
}

static const char *actor(const nx_http_request *request)
{
    const nx_identity *who = nx_http_identity(request);
    return who != NULL ? who->name : "";
}

/* A change of the rules, and what the audit log says of it. */
typedef struct change {
    const char *action;
    const char *name; /* of the model */
    const char *key, *value;
} change;

static change change_of_grant(const char *action, const char *name, nx_grantee kind,
                              const char *subject)
{
    return (change){action, name, kind == NX_GRANT_USER ? "user_id" : "key_id", subject};
}

/* What a change ended with: noted, answered, and seen by this process at once. value: what was
 * said, without characters that JSON would escape. */
static void end_change(nx_api *api, nx_http_request *request, const change *what, nx_status status,
                       const nx_error *err)
{
    char details[120];
    const char *name = what->name;
    const nx_api_event event = {.action = what->action,
                                .kind = "model",
                                .name = name,
                                .details = details,
                                .outcome = status};
    snprintf(details, sizeof details, "{\"%s\":\"%.64s\"}", what->key, what->value);
    nx_api_audit(api, request, &event);
    if (status == NX_OK) {
        nx_shared_models_poke(api->deps.shared);
        reply_rules(api, request, name, true);
    } else if (status == NX_ERR_NOT_FOUND || status == NX_ERR_CONFLICT ||
               status == NX_ERR_INVALID) {
        nx_problem problem = nx_problem_make(status == NX_ERR_NOT_FOUND  ? 404
                                             : status == NX_ERR_CONFLICT ? 409
                                                                         : 422,
                                             "GET /api/v1/models/{name}/access shows the grants.",
                                             "%s", err->message);
        nx_http_reply_problem(request, &problem);
    } else {
        nx_api_storage_refuse(api, request, status, err);
    }
}

static void get_rules(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_stored_model model = {0};
    const char *name = read_name(api, request);
    if (name == NULL) {
        return;
    }
    bool there = strcmp(name, nx_registry_default(api->deps.registry)) == 0 ||
                 nx_model_store_find(api->deps.store, name, &model, &err) != NX_ERR_NOT_FOUND;
    nx_stored_model_free(&model);
    reply_rules(api, request, name, there);
}

static void set_level(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_model_level level = NX_MODEL_AUTHENTICATED;
    const char *name = read_name(api, request);
    json_t *body = name != NULL ? read_body(request) : NULL;
    if (body == NULL) {
        return;
    }
    const char *text = json_string_value(json_object_get(body, "level"));
    if (text == NULL || json_object_size(body) != 1 || !nx_model_level_parse(text, &level)) {
        refuse_member(request, "Send {\"level\": \"private\"}.",
                      "level: send public, authenticated or private");
    } else {
        nx_status status =
            nx_store_model_level_set(api->deps.database, name, level, actor(request), &err);
        const change what = {"model.access", name, "level", text};
        end_change(api, request, &what, status, &err);
    }
    json_decref(body);
}

/* What a grant is for, and until when; subject: a user's name or id where `user` is given. False:
 * answered. */
static bool read_grant(nx_http_request *request, json_t *body, nx_model_grant *out)
{
    static const char advice[] = "Send {\"user\": \"ann\"}, {\"user_id\": \"...\"} or {\"key_id\": "
                                 "\"...\"}, and \"expires_in_s\" for a grant that ends.";
    const json_t *seconds = json_object_get(body, "expires_in_s");
    const char *name = json_string_value(json_object_get(body, "user"));
    const char *user = json_string_value(json_object_get(body, "user_id"));
    const char *key = json_string_value(json_object_get(body, "key_id"));
    bool ends = seconds != NULL && !json_is_null(seconds);
    size_t subjects = (name != NULL) + (user != NULL) + (key != NULL);
    if (subjects != 1 || subjects + (seconds != NULL) != json_object_size(body)) {
        refuse_member(request, advice, "a grant is for one user or one key");
        return false;
    }
    if (user != NULL && !nx_uuid_is(user)) {
        refuse_member(request, advice, "user_id: this is not the id of a user");
        return false;
    }
    if (key != NULL && !nx_key_id_is(key)) {
        refuse_member(request, advice, "key_id: this is not the id of an API key");
        return false;
    }
    if (ends && (!json_is_integer(seconds) || json_integer_value(seconds) < 1 ||
                 json_integer_value(seconds) > MOST_SECONDS)) {
        refuse_member(request, advice, "expires_in_s: send whole seconds, at most ten years");
        return false;
    }
    out->kind = key != NULL ? NX_GRANT_KEY : NX_GRANT_USER;
    out->subject = key != NULL ? key : user != NULL ? user : name;
    out->expires_at = ends ? ((int64_t)time(NULL) + json_integer_value(seconds)) * 1000 : 0;
    return true;
}

/* The id of a user by name. */
static nx_status find_user(nx_api *api, const char *who, nx_arena *arena, const char **id,
                           nx_error *err)
{
    nx_user user;
    nx_status status = nx_store_user_get(api->deps.database, who, arena, &user, err);
    *id = status == NX_OK ? user.id : *id;
    return status;
}

static void add_grant(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const char *name = read_name(api, request);
    json_t *body = name != NULL ? read_body(request) : NULL;
    nx_model_grant grant = {.name = name, .granted_by = actor(request)};
    nx_arena arena = nx_arena_make(0);
    if (body != NULL && read_grant(request, body, &grant)) {
        bool by_id = grant.kind == NX_GRANT_KEY || nx_uuid_is(grant.subject);
        nx_status status =
            by_id ? NX_OK : find_user(api, grant.subject, &arena, &grant.subject, &err);
        if (status == NX_OK) {
            status = nx_store_model_grant(api->deps.database, &grant, &err);
        }
        const change what = change_of_grant("model.grant", name, grant.kind, grant.subject);
        end_change(api, request, &what, status, &err);
    }
    nx_arena_free(&arena);
    json_decref(body);
}

/* Whose grant the path means. A key's id, which is looked for first, can look like a user's name.
 */
static nx_status revoke(nx_api *api, nx_model_grant *grant, nx_arena *arena, nx_error *err)
{
    nx_store *database = api->deps.database;
    const char *subject = grant->subject;
    grant->kind = nx_uuid_is(subject) ? NX_GRANT_USER : NX_GRANT_KEY;
    nx_status status = nx_store_model_revoke(database, grant->name, grant->kind, subject, err);
    if (status == NX_ERR_NOT_FOUND && grant->kind == NX_GRANT_KEY) {
        nx_error why = {0};
        status = find_user(api, subject, arena, &grant->subject, &why);
        if (status == NX_OK) {
            grant->kind = NX_GRANT_USER;
            return nx_store_model_revoke(database, grant->name, grant->kind, grant->subject, err);
        }
        if (!nx_key_id_is(subject)) {
            *err = why;
        }
    }
    return status;
}

static void remove_grant(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_model_grant grant = {.name = read_name(api, request),
                            .subject = nx_http_path_param(request, "subject")};
    if (grant.name != NULL) {
        nx_status status = revoke(api, &grant, &arena, &err);
        const change what = change_of_grant("model.revoke", grant.name, grant.kind, grant.subject);
        end_change(api, request, &what, status, &err);
    }
    nx_arena_free(&arena);
}

void nx_api_model_access_get(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, get_rules);
}

void nx_api_model_access_set(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, set_level);
}

void nx_api_model_grant_add(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, add_grant);
}

void nx_api_model_grant_remove(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, remove_grant);
}

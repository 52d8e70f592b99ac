/* /api/v1/keys: everybody's own, and those of others for admins. */
#include "api/accounts.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const char usual_advice[] = "GET /api/v1/keys lists what there is.";

/* --- showing ------------------------------------------------------------------------------------
 */

static void write_key(const nx_api_key *key, const char *token, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", key->id);
    nx_json_key_string(json, "user_id", key->user_id);
    nx_json_key_string(json, "user", key->user_name);
    nx_json_key_string(json, "name", key->name);
    nx_json_key(json, "scopes");
    nx_json_array_begin(json);
    for (size_t i = 0; i < NX_SCOPES_COUNT; i++) {
        if (((uint32_t)key->scopes & UINT32_C(1) << i) != 0) {
            nx_json_string(json, nx_scope_name(i));
        }
    }
    nx_json_array_end(json);
    nx_api_json_time(json, "created_at", key->created_at);
    nx_api_json_time(json, "expires_at", key->expires_at);
    nx_api_json_time(json, "used_at", key->used_at);
    nx_api_json_time(json, "revoked_at", key->revoked_at);
    if (token != NULL) {
        nx_json_key_string(json, "key", token);
    }
    nx_json_object_end(json);
}

/* --- whose --------------------------------------------------------------------------------------
 */

static bool is_admin(const nx_http_request *request)
{
    return nx_identity_may(nx_api_identity(request), NX_ROLE_ADMIN, NX_SCOPE_ADMIN);
}

/* Whose keys: those of `user` (NULL: not given), or one's own. False: the request is answered. */
static bool choose_user(nx_http_request *request, const char *user, const char **out)
{
    const nx_identity *who = nx_api_identity(request);
    nx_problem problem;
    *out = user != NULL ? user : who->user_id;
    if (*out[0] == '\0') {
        problem =
            nx_problem_make(409, "Make a user first: POST /api/v1/users, or 'nexus users add'.",
                            "keys belong to users, and there are none yet");
    } else if (user == NULL || is_admin(request) || strcmp(user, who->user_id) == 0 ||
               strcasecmp(user, who->name) == 0) {
        return true;
    } else {
        problem = nx_problem_make(403, "Leave 'user' out for keys of your own.",
                                  "only admins have to do with the keys of others");
    }
    nx_http_reply_problem(request, &problem);
    return false;
}

/* --- the list -----------------------------------------------------------------------------------
 */

static void reply_list(nx_http_request *request, const nx_api_key *keys, size_t count, size_t limit)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_api_page_begin(&out);
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++) {
        write_key(&keys[i], NULL, &json);
    }
    nx_api_page_end(&json, count > limit ? keys[limit - 1].id : NULL);
    nx_api_reply_json(request, 200, &out);
}

static void answer_list(nx_api *api, nx_http_request *request)
{
    nx_api_page page;
    nx_api_key keys[NX_API_PAGE_MAX + 1]; /* one more tells whether there is another page */
    const char *user = NULL;
    const char *whose = NULL;
    size_t count = 0;
    nx_error err = {0};
    if (!nx_api_name_page_read(request, &user, &page)) {
        return;
    }
    /* "*": everybody's */
    bool all = user != NULL && strcmp(user, "*") == 0 && is_admin(request);
    if (!all && !choose_user(request, user, &whose)) {
        return;
    }
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_auth_keys_list(api->deps.auth, whose, page.cursor, page.limit + 1, &arena,
                                         keys, &count, &err);
    if (status == NX_OK) {
        reply_list(request, keys, count, page.limit);
    } else {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    }
    nx_arena_free(&arena);
}

void nx_api_keys_list(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_list);
}

/* --- making and revoking ------------------------------------------------------------------------
 */

/* ["read", "infer"] as a mask. False: the request is answered. */
static bool read_scopes(nx_http_request *request, const json_t *list, uint32_t *out)
{
    nx_error err = {0};
    *out = 0;
    bool good = json_array_size(list) > 0;
    for (size_t i = 0; i < json_array_size(list) && good; i++) {
        uint32_t scope = 0;
        const char *name = json_string_value(json_array_get(list, i));
        good = name != NULL && nx_scopes_parse(name, &scope, &err) == NX_OK;
        *out |= scope;
    }
    if (!good) {
        nx_problem problem = nx_problem_make(
            422, "Scopes are read, infer, videos, models, metrics and admin.", "%s",
            err.message[0] != '\0' ? err.message : "'scopes' must be an array with at least one");
        nx_http_reply_problem(request, &problem);
    }
    return good;
}

/* Not there: the usual. False: the request is answered. */
static bool read_lifetime(nx_http_request *request, const json_t *value, int64_t *out)
{
    *out = value != NULL ? json_integer_value(value) : NX_KEY_LIFETIME_S;
    if (value == NULL || (json_is_integer(value) && *out > 0 && *out <= NX_KEY_LIFETIME_MAX_S)) {
        return true;
    }
    nx_problem problem = nx_problem_make(422, "Send seconds, at most ten years of them.",
                                         "'expires_in_s' must be a whole number from 1 to %lld",
                                         (long long)NX_KEY_LIFETIME_MAX_S);
    nx_http_reply_problem(request, &problem);
    return false;
}

/* A key makes none that may do more than itself. False: the request is answered. */
static bool check_scopes(nx_http_request *request, uint32_t scopes)
{
    const nx_identity *who = nx_api_identity(request);
    char text[NX_SCOPES_TEXT];
    uint32_t missing = scopes & ~who->scopes;
    if (missing == 0 || who->kind == NX_IDENTITY_LOCAL) {
        return true;
    }
    nx_scopes_text(missing, text);
    nx_problem problem = nx_problem_make(
        403, "Leave them out.", "a key can't have the scopes %s, which you have not", text);
    nx_http_reply_problem(request, &problem);
    return false;
}

static void add(nx_api *api, nx_http_request *request, const char *whose, const char *name,
                uint32_t scopes, int64_t lifetime_s)
{
    char token[NX_AUTH_TOKEN_SIZE];
    char location[96];
    nx_api_key key;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_auth_key_make(api->deps.auth, whose, name, scopes, lifetime_s, token,
                                        &arena, &key, &err);
    nx_api_audit_account(api, request, "key.add", status == NX_OK ? key.id : name, status);
    if (status == NX_OK) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_json json = nx_json_begin(&out);
        write_key(&key, token, &json);
        snprintf(location, sizeof location, "/api/v1/keys/%.40s", key.id);
        nx_http_add_header(request, "Location", location);
        nx_api_reply_json(request, 201, &out);
    } else {
        nx_api_accounts_refuse(api, request, status, &err,
                               status == NX_ERR_CONFLICT ? "Revoke some of them first." : NULL);
    }
    nx_arena_free(&arena);
}

static void answer_add(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"name", "scopes", "expires_in_s", "user", NULL};
    const char *name = NULL;
    const char *whose = NULL;
    uint32_t scopes = 0;
    int64_t lifetime_s = 0;
    json_t *body = nx_api_read_object(request, names);
    const json_t *user = json_object_get(body, "user");
    const char *user_name = NULL;
    if (body != NULL && nx_api_read_string(request, body, "name", &name) &&
        (user == NULL || nx_api_read_string(request, body, "user", &user_name)) &&
        read_scopes(request, json_object_get(body, "scopes"), &scopes) &&
        read_lifetime(request, json_object_get(body, "expires_in_s"), &lifetime_s) &&
        choose_user(request, user_name, &whose) && check_scopes(request, scopes)) {
        add(api, request, whose, name, scopes, lifetime_s);
    }
    json_decref(body);
}

void nx_api_keys_add(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, answer_add);
    }
}

static void answer_remove(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const char *whose = is_admin(request) ? NULL : nx_api_identity(request)->user_id;
    nx_status status =
        nx_auth_key_revoke(api->deps.auth, nx_http_path_param(request, "id"), whose, &err);
    nx_api_audit_account(api, request, "key.revoke", nx_http_path_param(request, "id"), status);
    if (status == NX_OK) {
        nx_http_reply_static(request, 204, NULL, NULL, 0);
    } else {
        nx_api_accounts_refuse(api, request, status, &err,
                               status == NX_ERR_NOT_FOUND ? usual_advice : NULL);
    }
}

void nx_api_keys_remove(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, answer_remove);
    }
}

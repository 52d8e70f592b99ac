/* /api/v1/users, for admins. */
#include "api/accounts.h"

#include <stdio.h>
#include <string.h>

/* --- showing ------------------------------------------------------------------------------------
 */

static void write_user(const nx_user *user, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", user->id);
    nx_json_key_string(json, "name", user->name);
    nx_json_key_string(json, "role", nx_role_name((nx_role)user->role));
    nx_json_key_bool(json, "disabled", user->disabled);
    nx_api_json_time(json, "created_at", user->created_at);
    nx_api_json_time(json, "password_at", user->password_at);
    nx_api_json_time(json, "login_at", user->login_at);
    nx_json_object_end(json);
}

static void reply_user(nx_http_request *request, int status, const nx_user *user)
{
    char location[96];
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    write_user(user, &json);
    if (status == 201) {
        snprintf(location, sizeof location, "/api/v1/users/%.40s", user->id);
        nx_http_add_header(request, "Location", location);
    }
    nx_api_reply_json(request, status, &out);
}

static void find_and_reply(nx_api *api, nx_http_request *request)
{
    nx_user user;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_status status =
        nx_auth_user_get(api->deps.auth, nx_http_path_param(request, "id"), &arena, &user, &err);
    if (status == NX_OK) {
        reply_user(request, 200, &user);
    } else {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    }
    nx_arena_free(&arena);
}

void nx_api_users_get(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, find_and_reply);
    }
}

/* --- the list -----------------------------------------------------------------------------------
 */

static void reply_list(nx_http_request *request, const nx_user *users, size_t count, size_t limit)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_api_page_begin(&out);
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++) {
        write_user(&users[i], &json);
    }
    nx_api_page_end(&json, count > limit ? users[limit - 1].name : NULL);
    nx_api_reply_json(request, 200, &out);
}

static void answer_list(nx_api *api, nx_http_request *request)
{
    nx_api_page page;
    nx_user users[NX_API_PAGE_MAX + 1]; /* one more tells whether there is another page */
    size_t count = 0;
    nx_error err = {0};
    if (!nx_api_name_page_read(request, NULL, &page)) {
        return;
    }
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_auth_users_list(api->deps.auth, page.cursor, page.limit + 1, &arena,
                                          users, &count, &err);
    if (status == NX_OK) {
        reply_list(request, users, count, page.limit);
    } else if (status == NX_ERR_NOT_FOUND) {
        nx_problem problem = nx_problem_make(422, "Send the next_cursor of the page before.",
                                             "cursor: no user's name is like '%.64s'", page.cursor);
        nx_http_reply_problem(request, &problem);
    } else {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    }
    nx_arena_free(&arena);
}

void nx_api_users_list(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_list);
}

/* --- making and changing ------------------------------------------------------------------------
 */

static bool read_role(nx_http_request *request, const char *text, nx_role *out)
{
    nx_error err = {0};
    if (nx_role_parse(text, out, &err) == NX_OK) {
        return true;
    }
    nx_problem problem =
        nx_problem_make(422, "Roles are viewer, operator and admin.", "%s", err.message);
    nx_http_reply_problem(request, &problem);
    return false;
}

static void add(nx_api *api, nx_http_request *request, const char *name, const char *password,
                nx_role role)
{
    nx_user user;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_auth_user_add(api->deps.auth, name, password, role, &arena, &user, &err);
    nx_api_audit_account(api, request, "user.add", name, status);
    if (status == NX_OK) {
        reply_user(request, 201, &user);
    } else {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    }
    nx_arena_free(&arena);
}

static void answer_add(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"name", "password", "role", NULL};
    const char *name = NULL;
    const char *password = NULL;
    const char *role_name = NULL;
    nx_role role = NX_ROLE_NONE;
    json_t *body = nx_api_read_object(request, names);
    if (body != NULL && nx_api_read_string(request, body, "name", &name) &&
        nx_api_read_string(request, body, "password", &password) &&
        nx_api_read_string(request, body, "role", &role_name) &&
        read_role(request, role_name, &role)) {
        add(api, request, name, password, role);
    }
    json_decref(body);
}

void nx_api_users_add(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_with_password(user, request, answer_add);
    }
}

/* What of a user is to change; NULL: not that. */
typedef struct change {
    const json_t *role, *disabled, *password;
} change;

/* Looks at everything before anything is changed. False: the request is answered. */
static bool check_change(nx_http_request *request, const change *wanted, nx_role *role)
{
    nx_error err = {0};
    const char *wrong = NULL;
    if (wanted->role == NULL && wanted->disabled == NULL && wanted->password == NULL) {
        wrong = "nothing is to be changed";
    } else if (wanted->role != NULL && !json_is_string(wanted->role)) {
        wrong = "'role' must be a string";
    } else if (wanted->disabled != NULL && !json_is_boolean(wanted->disabled)) {
        wrong = "'disabled' must be true or false";
    } else if (wanted->password != NULL && !json_is_string(wanted->password)) {
        wrong = "'password' must be a string";
    } else if (wanted->password != NULL &&
               nx_password_check(json_string_value(wanted->password), &err) != NX_OK) {
        wrong = err.message;
    }
    if (wrong != NULL) {
        nx_problem problem =
            nx_problem_make(422, "Send one or more of role, disabled and password.", "%s", wrong);
        nx_http_reply_problem(request, &problem);
        return false;
    }
    return wanted->role == NULL || read_role(request, json_string_value(wanted->role), role);
}

static nx_status change_user(nx_auth *auth, const char *who, const change *wanted, nx_role role,
                             nx_error *err)
{
    nx_status status = NX_OK;
    if (wanted->role != NULL) {
        status = nx_auth_user_set_role(auth, who, role, err);
    }
    if (status == NX_OK && wanted->disabled != NULL) {
        status = nx_auth_user_set_disabled(auth, who, json_is_true(wanted->disabled), err);
    }
    if (status == NX_OK && wanted->password != NULL) {
        status = nx_auth_set_password(auth, who, json_string_value(wanted->password), err);
    }
    return status;
}

static void answer_change(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"role", "disabled", "password", NULL};
    nx_role role = NX_ROLE_NONE;
    nx_error err = {0};
    json_t *body = nx_api_read_object(request, names);
    if (body == NULL) {
        return;
    }
    const change wanted = {json_object_get(body, "role"), json_object_get(body, "disabled"),
                           json_object_get(body, "password")};
    if (check_change(request, &wanted, &role)) {
        nx_status status =
            change_user(api->deps.auth, nx_http_path_param(request, "id"), &wanted, role, &err);
        nx_api_audit_account(api, request, "user.change", nx_http_path_param(request, "id"),
                             status);
        if (status == NX_OK) {
            find_and_reply(api, request);
        } else {
            nx_api_accounts_refuse(api, request, status, &err, NULL);
        }
    }
    json_decref(body);
}

void nx_api_users_change(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_with_password(user, request, answer_change);
    }
}

static void answer_remove(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_status status = nx_auth_user_remove(api->deps.auth, nx_http_path_param(request, "id"), &err);
    nx_api_audit_account(api, request, "user.remove", nx_http_path_param(request, "id"), status);
    if (status == NX_OK) {
        nx_http_reply_static(request, 204, NULL, NULL, 0);
    } else {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    }
}

void nx_api_users_remove(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, answer_remove);
    }
}

/* /api/v1/auth: signing in and out, who somebody is, a new password, and the first set-up. */
#include "api/accounts.h"
#include "api/audit.h"
#include "base/log.h"

#include <stdio.h>
#include <string.h>

static const char login_advice[] = "Check both, and try again.";

/* --- the cookie ---------------------------------------------------------------------------------
 * Strict: it comes with requests of our own pages alone. The token is letters and digits.
 */

static void set_cookie(nx_http_request *request, const char *token, int64_t max_age_s)
{
    char text[256];
    snprintf(text, sizeof text,
             NX_API_COOKIE "=%.63s; Path=/; HttpOnly; SameSite=Strict; Max-Age=%lld%s", token,
             (long long)max_age_s, nx_http_is_secure(request) ? "; Secure" : "");
    nx_http_add_header(request, "Set-Cookie", text);
}

/* --- answers ------------------------------------------------------------------------------------
 */

static void write_scopes(uint32_t scopes, nx_json *json)
{
    nx_json_key(json, "scopes");
    nx_json_array_begin(json);
    for (size_t i = 0; i < NX_SCOPES_COUNT; i++) {
        if ((scopes & UINT32_C(1) << i) != 0) {
            nx_json_string(json, nx_scope_name(i));
        }
    }
    nx_json_array_end(json);
}

/* csrf: NULL but of a session. */
static void reply_identity(nx_http_request *request, int status, const nx_identity *who,
                           const char *csrf)
{
    static const char *const kinds[] = {"anonymous", "local", "session", "key"};
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    bool user = who->user_id[0] != '\0';
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "kind", kinds[who->kind]);
    nx_json_key_bool(&json, "open_use", who->kind == NX_IDENTITY_LOCAL);
    nx_json_key_string(&json, "id", user ? who->user_id : NULL);
    nx_json_key_string(&json, "name", user ? who->name : NULL);
    nx_json_key_string(&json, "role", who->role != NX_ROLE_NONE ? nx_role_name(who->role) : NULL);
    write_scopes(who->scopes, &json);
    nx_json_key_string(&json, "key_id", who->key_id[0] != '\0' ? who->key_id : NULL);
    nx_json_key_string(&json, "csrf_token", csrf);
    nx_json_object_end(&json);
    nx_api_reply_json(request, status, &out);
}

void nx_api_auth_me(nx_http_request *request, void *user)
{
    (void)user;
    char token[NX_API_TOKEN_SIZE];
    char csrf[NX_AUTH_CSRF_SIZE];
    const nx_identity *who = nx_api_identity(request);
    bool shown = nx_api_session_token(request, token);
    bool session = shown && who->kind == NX_IDENTITY_SESSION;
    if (session) {
        nx_auth_csrf(token, csrf);
    } else if (shown) { /* it is over: a browser need not show it again */
        set_cookie(request, "", 0);
    }
    reply_identity(request, 200, who, session ? csrf : NULL);
}

/* --- in and out ---------------------------------------------------------------------------------
 */

/* Of a login, or of a password that was asked for again. False: the request is answered. */
static bool is_welcome(nx_http_request *request, const nx_login *login, const char *wrong)
{
    nx_problem problem;
    if (login->outcome == NX_LOGIN_WELCOME) {
        return true;
    }
    if (login->outcome == NX_LOGIN_LOCKED) {
        problem = nx_problem_make(429,
                                  "Wait for the seconds in Retry-After. An admin can set a new "
                                  "password at once.",
                                  "too many attempts have failed lately");
        problem.retry_after_s = (int)login->retry_after_s;
    } else {
        nx_http_add_header(request, "WWW-Authenticate", "Bearer realm=\"nexus\"");
        problem = nx_problem_make(401, login_advice, "%s", wrong);
    }
    nx_http_reply_problem(request, &problem);
    return false;
}

/* One that goes well is worth waiting for; those that fail are a stranger's to make. */
static void audit_login(nx_api *api, const nx_http_request *request, const char *name,
                        const nx_login *login)
{
    bool welcome = login->outcome == NX_LOGIN_WELCOME;
    const nx_api_event event = {.action = "auth.login",
                                .kind = "user",
                                .name = name,
                                .outcome = welcome ? NX_OK : NX_ERR_INVALID,
                                .actor = welcome ? login->identity.name : NULL};
    if (welcome) {
        nx_api_audit(api, request, &event);
    } else {
        nx_api_audit_stranger(api, request, &event);
    }
}

/* Always a new session: what cookie came along is not looked at. */
static void sign_in(nx_api *api, nx_http_request *request, int status, const char *name,
                    const char *password)
{
    char address[NX_ADDRESS_TEXT];
    nx_login login;
    nx_error err = {0};
    nx_http_client_text(request, address);
    nx_status result = nx_auth_login(api->deps.auth, name, password, address, &login, &err);
    if (result != NX_OK) {
        nx_api_accounts_refuse(api, request, result, &err, NULL);
        return;
    }
    audit_login(api, request, name, &login);
    if (is_welcome(request, &login, "name or password is wrong")) {
        set_cookie(request, login.token, login.max_age_s);
        reply_identity(request, status, &login.identity, login.csrf);
    }
}

static void answer_login(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"name", "password", NULL};
    const char *name = NULL;
    const char *password = NULL;
    json_t *body = nx_api_read_object(request, names);
    if (body != NULL && nx_api_read_string(request, body, "name", &name) &&
        nx_api_read_string(request, body, "password", &password)) {
        sign_in(api, request, 200, name, password);
    }
    json_decref(body);
}

void nx_api_auth_login(nx_http_request *request, void *user)
{
    nx_api_answer_with_password(user, request, answer_login);
}

static void answer_logout(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const nx_identity *who = nx_api_identity(request);
    nx_status status = nx_auth_logout(api->deps.auth, who, &err);
    if (who->kind == NX_IDENTITY_SESSION) {
        nx_api_audit_account(api, request, "auth.logout", who->name, status);
    }
    if (status != NX_OK) {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
        return;
    }
    set_cookie(request, "", 0);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply_static(request, 204, NULL, NULL, 0);
}

void nx_api_auth_logout(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_logout);
}

/* --- passwords ----------------------------------------------------------------------------------
 */

static void change_password(nx_api *api, nx_http_request *request, const char *old,
                            const char *new_password)
{
    char address[NX_ADDRESS_TEXT];
    nx_login login;
    nx_error err = {0};
    nx_http_client_text(request, address);
    nx_status status = nx_auth_change_password(api->deps.auth, nx_api_identity(request), old,
                                               new_password, address, &login, &err);
    bool changed = status == NX_OK && login.outcome == NX_LOGIN_WELCOME;
    nx_api_audit_account(api, request, "auth.password", nx_api_identity(request)->name,
                         changed ? NX_OK : NX_ERR_INVALID);
    if (status != NX_OK) {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    } else if (is_welcome(request, &login, "the old password is wrong")) {
        nx_http_add_header(request, "Cache-Control", "no-store");
        nx_http_reply_static(request, 204, NULL, NULL, 0);
    }
}

static void answer_password(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"old_password", "new_password", NULL};
    const char *old = NULL;
    const char *new_password = NULL;
    if (nx_api_identity(request)->kind != NX_IDENTITY_SESSION) {
        nx_problem problem = nx_problem_make(403, "Sign in, and change it then.",
                                             "only who has signed in can change a password");
        nx_http_reply_problem(request, &problem);
        return;
    }
    json_t *body = nx_api_read_object(request, names);
    if (body != NULL && nx_api_read_string(request, body, "old_password", &old) &&
        nx_api_read_string(request, body, "new_password", &new_password)) {
        change_password(api, request, old, new_password);
    }
    json_decref(body);
}

void nx_api_auth_password(nx_http_request *request, void *user)
{
    nx_api_answer_with_password(user, request, answer_password);
}

/* --- the first admin ----------------------------------------------------------------------------
 */

static void answer_setup_state(nx_api *api, nx_http_request *request)
{
    bool users = true;
    nx_error err = {0};
    nx_status status =
        nx_auth_check_users(api->deps.auth, nx_http_started_ns(request), &users, &err);
    if (status != NX_OK) {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_bool(&json, "needed", !users);
    nx_json_object_end(&json);
    nx_api_reply_json(request, 200, &out);
}

void nx_api_auth_setup_state(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_setup_state);
}

static void set_up(nx_api *api, nx_http_request *request, const char *token, const char *name,
                   const char *password)
{
    nx_error err = {0};
    nx_user made;
    nx_arena arena = nx_arena_make(0);
    nx_status status =
        nx_auth_setup_finish(api->deps.auth, token, name, password, &arena, &made, &err);
    if (status == NX_ERR_NOT_FOUND) {
        nx_problem problem =
            nx_problem_make(403,
                            "While there are no users, start the server anew: it prints another "
                            "link. Otherwise ask an admin.",
                            "%s", err.message);
        nx_http_reply_problem(request, &problem);
    } else if (status != NX_OK) {
        nx_api_accounts_refuse(api, request, status, &err, NULL);
    } else {
        nx_api_audit_account(api, request, "auth.setup", made.name, NX_OK);
        nx_log_info("api", "the first admin is %s; open use has ended", made.name);
        sign_in(api, request, 201, name, password);
    }
    nx_arena_free(&arena);
}

static void answer_setup(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"token", "name", "password", NULL};
    const char *token = NULL;
    const char *name = NULL;
    const char *password = NULL;
    json_t *body = nx_api_read_object(request, names);
    if (body != NULL && nx_api_read_string(request, body, "token", &token) &&
        nx_api_read_string(request, body, "name", &name) &&
        nx_api_read_string(request, body, "password", &password)) {
        set_up(api, request, token, name, password);
    }
    json_decref(body);
}

void nx_api_auth_setup(nx_http_request *request, void *user)
{
    nx_api_answer_with_password(user, request, answer_setup);
}

#include "api/gate.h"

#include "api/access.h"
#include "api/audit.h"
#include "api/origin.h"
#include "api/rate.h"
#include "api/work.h"
#include "auth/auth.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

_Static_assert(sizeof(nx_identity) <= NX_HTTP_MAX_IDENTITY, "an identity fits into a request");
_Static_assert(NX_API_TOKEN_SIZE == NX_AUTH_TOKEN_SIZE, "a token fits");

static const char sign_in_advice[] =
    "Sign in with POST /api/v1/auth/login, or send an API key as 'Authorization: Bearer nxk_...'.";

/* --- what is shown ------------------------------------------------------------------------------
 */

typedef enum shown_as { SHOWN_NOTHING, SHOWN_SESSION, SHOWN_KEY } shown_as;

typedef struct credentials {
    shown_as as;
    bool refused; /* it is none that could be good, or was looked up and is none */
    char token[NX_AUTH_TOKEN_SIZE];
} credentials;

static void take_token(credentials *out, shown_as as, const char *prefix, const char *text,
                       size_t size)
{
    out->as = as;
    out->refused = size >= sizeof out->token || strncmp(text, prefix, strlen(prefix)) != 0;
    if (!out->refused) {
        memcpy(out->token, text, size);
        out->token[size] = '\0';
    }
}

/* A cookie of that name twice was put there by somebody else, for a path or domain of his: then
 * there is none that can be believed. */
static void read_cookies(const char *text, credentials *out)
{
    static const char name[] = NX_API_COOKIE "=";
    while (*text != '\0') {
        text += strspn(text, " \t;");
        size_t size = strcspn(text, ";");
        if (strncmp(text, name, sizeof name - 1) == 0) {
            bool again = out->as != SHOWN_NOTHING;
            take_token(out, SHOWN_SESSION, "nxs_", text + sizeof name - 1, size - sizeof name + 1);
            out->refused |= again;
        }
        text += size;
    }
}

static void read_credentials(const nx_http_request *request, credentials *out)
{
    *out = (credentials){.as = SHOWN_NOTHING};
    const char *authorization = nx_http_header(request, "Authorization");
    const char *key = nx_http_header(request, "X-API-Key");
    const char *cookies = nx_http_header(request, "Cookie");
    /* other schemes are a proxy's in front */
    if (authorization != NULL && strncasecmp(authorization, "Bearer ", 7) == 0) {
        key = authorization + 7 + strspn(authorization + 7, " ");
    }
    if (key != NULL) {
        take_token(out, SHOWN_KEY, "nxk_", key, strlen(key));
    } else if (cookies != NULL) {
        read_cookies(cookies, out);
    }
}

bool nx_api_session_token(const nx_http_request *request, char out[NX_API_TOKEN_SIZE])
{
    credentials given;
    read_credentials(request, &given);
    bool session = given.as == SHOWN_SESSION && !given.refused;
    if (session) {
        memcpy(out, given.token, sizeof given.token);
    }
    return session;
}

/* --- who it is ----------------------------------------------------------------------------------
 */

/* Can it be said without looking up a token? */
static bool is_clear(const nx_api *api, bool users, const credentials *given, nx_identity *who)
{
    *who = (nx_identity){0};
    if (!users && api->loopback) {
        *who = nx_identity_local();
    }
    return !users || given->as == SHOWN_NOTHING || given->refused;
}

/* False: somebody who may wait has to ask: also whether there are users now, when a token is shown
 * of which we think that nobody can have it (another host may have made the first user just now).
 */
static bool peek(const nx_api *api, credentials *given, nx_identity *who)
{
    bool users = false;
    int64_t now = nx_clock_now_ns();
    if (nx_auth_peek_users(api->deps.auth, now, &users) == NX_AUTH_ASK) {
        return false;
    }
    if (!users && given->as != SHOWN_NOTHING && !given->refused) {
        return false;
    }
    if (is_clear(api, users, given, who)) {
        return true;
    }
    nx_auth_peeked peeked = nx_auth_peek(api->deps.auth, given->token, now, who);
    given->refused = peeked == NX_AUTH_REFUSED;
    return peeked != NX_AUTH_ASK;
}

/* The same where it may wait. Errors: it can't be found out now. */
static nx_status ask(const nx_api *api, credentials *given, nx_identity *who, nx_error *err)
{
    bool users = false;
    int64_t now = nx_clock_now_ns();
    *who = (nx_identity){0};
    nx_status status = nx_auth_check_users(api->deps.auth, now, &users, err);
    if (status != NX_OK || is_clear(api, users, given, who)) {
        return status;
    }
    status = given->as == SHOWN_KEY
                 ? nx_auth_check_key(api->deps.auth, given->token, now, who, err)
                 : nx_auth_check_session(api->deps.auth, given->token, now, who, err);
    given->refused = status == NX_ERR_NOT_FOUND;
    return given->refused ? NX_OK : status;
}

static const nx_identity anonymous = {0};

const nx_identity *nx_api_identity(const nx_http_request *request)
{
    const nx_identity *who = nx_http_identity(request);
    return who != NULL ? who : &anonymous;
}

const char *nx_api_owner(const nx_http_request *request)
{
    return nx_api_identity(request)->user_id;
}

/* --- open use -----------------------------------------------------------------------------------
 */

/* Everybody on this machine may do everything: so it must come from this machine, and not from a
 * page of another site that a browser on it shows. */
static bool check_open_use(const nx_http_request *request, nx_problem *problem)
{
    static const char advice[] = "Make a user first ('nexus users add', or the set-up link that "
                                 "the server printed at its start), and sign in.";
    const char *host = nx_http_header(request, "Host");
    const char *origin = nx_http_header(request, "Origin");
    if (!nx_http_is_local(request)) {
        *problem = nx_problem_make(403, advice,
                                   "this server has no users, so it is for this machine alone, and "
                                   "the request came from elsewhere or through a proxy");
        return false;
    }
    if (host != NULL && !nx_origin_host_is_loopback(host)) {
        *problem = nx_problem_make(403, advice,
                                   "this server has no users, so it answers to localhost and "
                                   "127.0.0.1 alone, not to '%.100s'",
                                   host);
        return false;
    }
    if (origin != NULL && !nx_origin_is_loopback(origin)) {
        *problem = nx_problem_make(403, advice,
                                   "this server has no users, so it takes nothing from pages of "
                                   "other sites ('%.100s')",
                                   origin);
        return false;
    }
    return true;
}

/* --- forgery ------------------------------------------------------------------------------------
 */

static bool is_safe(const char *method)
{
    return strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0 ||
           strcmp(method, "OPTIONS") == 0;
}

/*
 * A browser sends a session's cookie along with whatever page made it ask. What changes something
 * must therefore come from our own page by the browser's word, or carry the session's secret
 * (X-CSRF-Token), which no other page can read. Programs with keys are not asked: no page can make
 * a browser send one.
 */
static bool check_forgery(const nx_http_request *request, const credentials *given,
                          const nx_identity *who, nx_problem *problem)
{
    if (is_safe(nx_http_method(request)) || given->as == SHOWN_KEY) {
        return true;
    }
    nx_origin_verdict verdict =
        nx_origin_judge(nx_http_header(request, "Sec-Fetch-Site"),
                        nx_http_header(request, "Origin"), nx_http_header(request, "Host"));
    bool session = who->kind == NX_IDENTITY_SESSION;
    const char *secret = nx_http_header(request, "X-CSRF-Token");
    if (verdict == NX_ORIGIN_SAME || (verdict == NX_ORIGIN_UNKNOWN && !session) ||
        (session && nx_auth_csrf_matches(given->token, secret))) {
        return true;
    }
    *problem = nx_problem_make(
        403,
        "Send the csrf_token of the sign-in (also in GET /api/v1/auth/me) as "
        "X-CSRF-Token, or use an API key.",
        verdict == NX_ORIGIN_OTHER ? "another site's page asked for this change"
                                   : "a change with a session's cookie needs its X-CSRF-Token");
    return false;
}

/* --- access -------------------------------------------------------------------------------------
 */

/* Nobody needs to be looked up for it. */
static bool is_open(const nx_http_request *request, uint32_t access)
{
    const char *host = nx_http_header(request, "Host");
    return (access & NX_ACCESS_OPEN) != 0 ||
           ((access & NX_ACCESS_LOCAL) != 0 && nx_http_is_local(request) &&
            (host == NULL || nx_origin_host_is_loopback(host)));
}

static bool may(const nx_api *api, const nx_http_request *request, const nx_identity *who,
                uint32_t access)
{
    bool public = (access & NX_ACCESS_PUBLIC) != 0 && api->deps.shared != NULL &&
                  nx_shared_models_any_public(api->deps.shared);
    if (public || (access & NX_ACCESS_ANYBODY) != 0 || who->kind == NX_IDENTITY_LOCAL ||
        is_open(request, access)) {
        return true;
    }
    if ((access & NX_ACCESS_PERSON) != 0 && who->kind == NX_IDENTITY_KEY &&
        (who->scopes & NX_SCOPE_ADMIN) == 0) {
        return false;
    }
    return nx_identity_may(who, NX_ACCESS_ROLE(access), NX_ACCESS_SCOPES(access));
}

/* Nobody, or nobody any more. */
static void refuse_stranger(nx_http_request *request, const credentials *given)
{
    nx_problem problem;
    if (given->as == SHOWN_NOTHING) {
        nx_http_add_header(request, "WWW-Authenticate", "Bearer realm=\"nexus\"");
        problem = nx_problem_make(401, sign_in_advice, "this is for users who are signed in");
    } else {
        nx_http_add_header(request, "WWW-Authenticate",
                           "Bearer realm=\"nexus\", error=\"invalid_token\"");
        problem = nx_problem_make(401, sign_in_advice, "the %s is not valid, or not any more",
                                  given->as == SHOWN_KEY ? "API key" : "session");
    }
    nx_http_reply_problem(request, &problem);
}

/* Somebody who may not. */
static void refuse_user(nx_http_request *request, const nx_identity *who, uint32_t access)
{
    nx_problem problem;
    char scopes[NX_SCOPES_TEXT];
    bool person = (access & NX_ACCESS_PERSON) != 0;
    nx_scopes_text(person ? NX_SCOPE_ADMIN : NX_ACCESS_SCOPES(access) & ~who->scopes, scopes);
    if (who->role < NX_ACCESS_ROLE(access)) {
        problem = nx_problem_make(
            403, "Ask an admin for that role, or to do it.", "this needs the role %s, and %s is %s",
            nx_role_name(NX_ACCESS_ROLE(access)), who->name, nx_role_name(who->role));
    } else {
        char challenge[128];
        snprintf(challenge, sizeof challenge,
                 "Bearer realm=\"nexus\", error=\"insufficient_scope\", scope=\"%.63s\"", scopes);
        nx_http_add_header(request, "WWW-Authenticate", challenge);
        problem = nx_problem_make(403, "Make a key with that scope: POST /api/v1/keys.",
                                  "this needs the scope %s, which the API key '%s' does not have",
                                  scopes, who->key_id);
    }
    nx_http_reply_problem(request, &problem);
}

/* Whoever it is: from where, and by whose page? False: the request is answered. who may become
 * anonymous. */
static bool check_manners(nx_api *api, nx_http_request *request, const credentials *given,
                          const nx_identity **who_is_it)
{
    nx_problem problem;
    const nx_identity *who = *who_is_it;
    uint32_t access = nx_http_request_route(request)->access;
    if (who->kind == NX_IDENTITY_LOCAL && !check_open_use(request, &problem)) {
        if ((access & NX_ACCESS_ANYBODY) == 0) {
            nx_http_set_identity(request, &anonymous, sizeof anonymous);
            nx_api_audit_refused(api, request, problem.status);
            nx_http_reply_problem(request, &problem);
            return false;
        }
        *who_is_it = who = &anonymous; /* who may still show the token of the set-up link */
    }
    nx_http_set_identity(request, who, sizeof *who);
    nx_http_set_user(request, who->name);
    if (who->kind != NX_IDENTITY_LOCAL && !check_forgery(request, given, who, &problem)) {
        nx_api_audit_refused(api, request, problem.status);
        nx_http_reply_problem(request, &problem);
        return false;
    }
    return true;
}

/* False: the request is answered. */
static bool admit(nx_api *api, nx_http_request *request, const credentials *given,
                  const nx_identity *who)
{
    uint32_t access = nx_http_request_route(request)->access;
    access = access != 0 ? access : NX_ACCESS_ADMIN;
    if (may(api, request, who, access)) {
        return true;
    }
    nx_api_audit_refused(api, request, who->kind == NX_IDENTITY_ANONYMOUS ? 401 : 403);
    if (who->kind == NX_IDENTITY_ANONYMOUS) {
        refuse_stranger(request, given);
    } else {
        refuse_user(request, who, access);
    }
    return false;
}

/* --- those who wait for what other hosts have let through ---------------------------------------
 */

typedef struct patient {
    nx_api_rate_wait wait; /* first */
    nx_api *api;
    credentials given;
    nx_identity who;
} patient;

static void go_on(nx_api_rate_wait *wait, nx_api_rate_verdict verdict)
{
    patient *self = (patient *)wait;
    nx_http_request *request = self->wait.request;
    if (verdict == NX_API_RATE_PASS && admit(self->api, request, &self->given, &self->who)) {
        nx_http_gate_done(request);
    }
    free(self);
}

static nx_api_rate_verdict wait_for_others(nx_api *api, nx_http_request *request,
                                           const credentials *given, const nx_identity *who)
{
    nx_api_rate_verdict verdict = NX_API_RATE_PASS;
    patient *self = malloc(sizeof *self);
    if (self != NULL) { /* else it is not refused for want of memory */
        *self = (patient){.wait = {.request = request, .decided = go_on},
                          .api = api,
                          .given = *given,
                          .who = *who};
        verdict = nx_api_rate_wait_for(api, &self->wait, who);
        if (verdict != NX_API_RATE_LATER) {
            free(self);
        }
    }
    return verdict;
}

/* Any thread. WAIT: go_on will be called. */
static nx_http_gate_result decide(nx_api *api, nx_http_request *request, const credentials *given,
                                  const nx_identity *who)
{
    if (!check_manners(api, request, given, &who)) {
        return NX_HTTP_GATE_ANSWERED;
    }
    nx_api_rate_verdict verdict = nx_api_rate_ask(api, request, who);
    if (verdict == NX_API_RATE_LATER) {
        verdict = wait_for_others(api, request, given, who);
    }
    if (verdict == NX_API_RATE_LATER) {
        return NX_HTTP_GATE_WAIT;
    }
    return verdict == NX_API_RATE_PASS && admit(api, request, given, who) ? NX_HTTP_GATE_PASS
                                                                          : NX_HTTP_GATE_ANSWERED;
}

/* --- on connection threads, and where it may wait -----------------------------------------------
 */

typedef struct question {
    nx_api_work work; /* first */
    nx_api *api;
    nx_http_request *request;
    credentials given;
    nx_api_rate_hold hold;
} question;

static void refuse_for_now(nx_http_request *request, const char *why)
{
    nx_problem problem =
        nx_problem_make(503, "Try again after the seconds in Retry-After.", "%s", why);
    problem.retry_after_s = 1;
    nx_http_reply_problem(request, &problem);
}

static void answer_question(nx_api_work *work)
{
    question self = *(question *)work;
    free(work);
    nx_identity who;
    nx_error err = {0};
    nx_status status = ask(self.api, &self.given, &who, &err);
    nx_api_rate_release(self.api, &self.hold, status == NX_OK && self.given.refused);
    if (status != NX_OK) {
        refuse_for_now(self.request, err.message);
    } else if (decide(self.api, self.request, &self.given, &who) == NX_HTTP_GATE_PASS) {
        nx_http_gate_done(self.request);
    }
}

/* A token that was good a moment ago is no guess. False: too many guesses. */
static bool hold_for_guess(nx_api *api, const nx_http_request *request, const credentials *given,
                           nx_api_rate_hold *out)
{
    *out = (nx_api_rate_hold){.held = false};
    return given->as == SHOWN_NOTHING || given->refused ||
           nx_auth_remembers(api->deps.auth, given->token, nx_clock_now_ns()) ||
           nx_api_rate_hold_one(api, request, out);
}

static nx_http_gate_result ask_later(nx_api *api, nx_http_request *request,
                                     const credentials *given)
{
    nx_api_rate_hold hold;
    if (!hold_for_guess(api, request, given, &hold)) {
        nx_api_rate_refuse_hold(request, &hold);
        return NX_HTTP_GATE_ANSWERED;
    }
    question *self = malloc(sizeof *self);
    if (self != NULL) {
        *self = (question){.work = {.run = answer_question},
                           .api = api,
                           .request = request,
                           .given = *given,
                           .hold = hold};
        if (nx_api_pool_put(api->quick, &self->work)) {
            return NX_HTTP_GATE_WAIT;
        }
        free(self);
    }
    nx_api_rate_release(api, &hold, false);
    refuse_for_now(request, "too many requests wait to be told who asks");
    return NX_HTTP_GATE_ANSWERED;
}

nx_http_gate_result nx_api_gate(nx_http_request *request, void *user)
{
    nx_api *api = user;
    credentials given;
    nx_identity who;
    read_credentials(request, &given);
    if (is_open(request, nx_http_request_route(request)->access)) {
        who = (nx_identity){0};
    } else if (!peek(api, &given, &who)) {
        return ask_later(api, request, &given);
    }
    return decide(api, request, &given, &who);
}

nx_identity nx_api_look_up(nx_api *api, const nx_http_request *request)
{
    credentials given;
    nx_identity who = {0};
    nx_error err = {0};
    nx_problem problem;
    nx_api_rate_hold hold;
    if (api->deps.auth == NULL) {
        return nx_identity_local();
    }
    read_credentials(request, &given);
    if (!hold_for_guess(api, request, &given, &hold)) {
        return (nx_identity){0};
    }
    nx_status status = ask(api, &given, &who, &err);
    nx_api_rate_release(api, &hold, status == NX_OK && given.refused);
    if (status != NX_OK || (who.kind == NX_IDENTITY_LOCAL && !check_open_use(request, &problem))) {
        return (nx_identity){0};
    }
    return who;
}

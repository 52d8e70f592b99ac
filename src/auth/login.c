/* Signing in and out: what is counted, in which order, so that nobody learns more than yes or no.
 */
#include "auth/internal.h"
#include "base/log.h"
#include "store/logins.h"

#include <arpa/inet.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PLACE_SIZE (INET6_ADDRSTRLEN + 4)

/* The place that failures are counted for: an IPv4 address (also one that is written as IPv6), or
 * the /64 of an IPv6 address, of which one household or host has all. */
static void place_of(const char *address, char out[PLACE_SIZE])
{
    struct in_addr v4;
    struct in6_addr v6;
    char text[INET6_ADDRSTRLEN];
    size_t length = address != NULL ? strcspn(address, "%") : 0; /* without its zone */
    snprintf(out, PLACE_SIZE, "unknown");
    if (length == 0 || length >= sizeof text) {
        return;
    }
    memcpy(text, address, length);
    text[length] = '\0';
    if (inet_pton(AF_INET, text, &v4) == 1) {
        (void)inet_ntop(AF_INET, &v4, out, INET6_ADDRSTRLEN);
    } else if (inet_pton(AF_INET6, text, &v6) == 1 && IN6_IS_ADDR_V4MAPPED(&v6)) {
        (void)inet_ntop(AF_INET, &v6.s6_addr[12], out, INET6_ADDRSTRLEN);
    } else if (inet_pton(AF_INET6, text, &v6) == 1) {
        memset(&v6.s6_addr[8], 0, 8);
        (void)inet_ntop(AF_INET6, &v6, text, sizeof text);
        snprintf(out, PLACE_SIZE, "%s/64", text);
    }
}

/* One attempt to show a password. */
typedef struct attempt {
    nx_auth *auth;
    const char *account; /* NULL: the name can't be one */
    nx_login_attempt entry;
    nx_arena arena;
    nx_user user;     /* id NULL: there is none */
    const char *hash; /* of user's password */
} attempt;

static nx_status find_user(attempt *self, nx_error *err)
{
    nx_status status = self->account != NULL
                           ? nx_store_user_password(self->auth->store, self->account, &self->arena,
                                                    &self->user, &self->hash, err)
                           : NX_ERR_NOT_FOUND;
    return status == NX_ERR_NOT_FOUND ? NX_OK : status;
}

static void end_attempt(attempt *self, nx_login_end how)
{
    nx_error err = {0};
    if (nx_store_login_end(self->auth->store, &self->entry, self->account, how, &err) != NX_OK) {
        nx_log_warn("auth",
                    "the end of a login attempt was not noted, so it counts as a failure: %s",
                    err.message);
    }
}

/* Enters the attempt and looks at the password. outcome: WELCOME when it is right, and then the
 * attempt has not ended. */
static nx_status try_password(attempt *self, const char *password, const char *address,
                              nx_login *out, nx_error *err)
{
    char place[PLACE_SIZE];
    bool right = false;
    place_of(address, place);
    nx_status status =
        nx_store_login_begin(self->auth->store, self->account, place, &self->entry, err);
    if (status != NX_OK) {
        return status;
    }
    if (self->entry.wait_ms > 0) {
        out->outcome = NX_LOGIN_LOCKED;
        out->retry_after_s = (self->entry.wait_ms + 999) / 1000;
        atomic_fetch_add(&self->auth->locked, 1);
        return NX_OK;
    }
    status = find_user(self, err);
    if (status == NX_OK) {
        bool too_long = strlen(password) > NX_PASSWORD_MAX;
        status = nx_passwords_verify(self->auth->passwords, self->hash, too_long ? "" : password,
                                     &right, err);
        right = right && !too_long && !self->user.disabled;
    }
    if (status != NX_OK) {
        end_attempt(self, NX_LOGIN_VOID);
        return status;
    }
    out->outcome = right ? NX_LOGIN_WELCOME : NX_LOGIN_WRONG;
    return NX_OK;
}

static void fail_attempt(attempt *self, nx_login *out)
{
    end_attempt(self, NX_LOGIN_FAILED);
    atomic_fetch_add(&self->auth->wrong, 1);
    out->outcome = NX_LOGIN_WRONG;
}

/* Old hashes become new ones when their passwords are seen. What fails here is tried next time. */
static void rehash(attempt *self, const char *password)
{
    char hash[NX_PASSWORD_HASH];
    nx_error err = {0};
    if (!nx_passwords_outdated(self->auth->passwords, self->hash)) {
        return;
    }
    nx_status status = nx_passwords_hash(self->auth->passwords, password, hash, &err);
    if (status == NX_OK) {
        status = nx_store_user_rehash(self->auth->store, self->user.id, self->hash, hash, &err);
    }
    if (status != NX_OK) {
        nx_log_warn("auth", "an old password hash was not replaced: %s", err.message);
    }
}

static nx_status make_session(attempt *self, nx_login *out, nx_error *err)
{
    unsigned char hash[NX_TOKEN_HASH];
    nx_identity *who = &out->identity;
    nx_status status = nx_token_make(NX_TOKEN_SESSION, out->token, NULL, err);
    if (status != NX_OK) {
        return status;
    }
    nx_token_hash(out->token, hash);
    nx_token_hash_hex(hash, who->session);
    nx_auth_csrf(out->token, out->csrf);
    out->max_age_s = self->auth->life.max_ms / 1000;
    who->kind = NX_IDENTITY_SESSION;
    who->role = (nx_role)self->user.role;
    who->scopes = nx_role_scopes(who->role);
    snprintf(who->user_id, sizeof who->user_id, "%s", self->user.id);
    snprintf(who->name, sizeof who->name, "%s", self->user.name);
    return nx_store_session_add(self->auth->store, self->user.id, self->hash, who->session,
                                &self->auth->life, err);
}

static nx_status sign_in(attempt *self, const char *password, nx_login *out, nx_error *err)
{
    nx_status status = make_session(self, out, err);
    if (status != NX_OK) {
        *out = (nx_login){.outcome = NX_LOGIN_WRONG};
    }
    if (status == NX_ERR_NOT_FOUND) { /* the password or the user changed at this very moment */
        fail_attempt(self, out);
        return NX_OK;
    }
    end_attempt(self, status == NX_OK ? NX_LOGIN_WELL : NX_LOGIN_VOID);
    if (status == NX_OK) {
        atomic_fetch_add(&self->auth->welcomed, 1);
        rehash(self, password);
    }
    return status;
}

nx_status nx_auth_login(nx_auth *auth, const char *name, const char *password, const char *address,
                        nx_login *out, nx_error *err)
{
    char account[NX_USER_NAME_MAX + 1];
    attempt self = {.auth = auth, .arena = nx_arena_make(0)};
    *out = (nx_login){.outcome = NX_LOGIN_WRONG};
    nx_user_name_fold(name, account);
    self.account = nx_user_name_is(name) ? account : NULL;
    nx_status status = try_password(&self, password, address, out, err);
    if (status == NX_OK && out->outcome == NX_LOGIN_WELCOME) {
        status = sign_in(&self, password, out, err);
    } else if (status == NX_OK && out->outcome == NX_LOGIN_WRONG) {
        fail_attempt(&self, out);
    }
    nx_arena_free(&self.arena);
    return status;
}

nx_status nx_auth_logout(nx_auth *auth, const nx_identity *identity, nx_error *err)
{
    if (identity->kind != NX_IDENTITY_SESSION) {
        return NX_OK;
    }
    nx_status status = nx_store_session_end(auth->store, identity->session, err);
    nx_auth_session_remove(auth, identity->session);
    nx_auth_table_clear(auth->table);
    return status;
}

/* --- the own password --- */

static nx_status replace_password(attempt *self, const nx_identity *identity, const char *password,
                                  nx_login *out, nx_error *err)
{
    char hash[NX_PASSWORD_HASH];
    nx_status status = nx_passwords_hash(self->auth->passwords, password, hash, err);
    if (status == NX_OK) {
        status = nx_auth_changed(
            self->auth, nx_store_user_set_password(self->auth->store, self->user.id, self->hash,
                                                   hash, identity->session, err));
    }
    if (status == NX_ERR_CONFLICT) { /* another change came first: the old one is wrong now */
        fail_attempt(self, out);
        return NX_OK;
    }
    end_attempt(self, status == NX_OK ? NX_LOGIN_WELL : NX_LOGIN_VOID);
    out->identity = *identity;
    return status;
}

nx_status nx_auth_change_password(nx_auth *auth, const nx_identity *identity,
                                  const char *old_password, const char *new_password,
                                  const char *address, nx_login *out, nx_error *err)
{
    char account[NX_USER_NAME_MAX + 1];
    attempt self = {.auth = auth, .arena = nx_arena_make(0), .account = account};
    *out = (nx_login){.outcome = NX_LOGIN_WRONG};
    if (identity->kind != NX_IDENTITY_SESSION) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "only somebody who has signed in has a password to change");
    }
    nx_status status = nx_password_check(new_password, err);
    if (status != NX_OK) {
        return status;
    }
    nx_user_name_fold(identity->name, account);
    status = try_password(&self, old_password, address, out, err);
    if (status == NX_OK && out->outcome == NX_LOGIN_WELCOME) {
        status = replace_password(&self, identity, new_password, out, err);
    } else if (status == NX_OK && out->outcome == NX_LOGIN_WRONG) {
        fail_attempt(&self, out);
    }
    nx_arena_free(&self.arena);
    return status;
}

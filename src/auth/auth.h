/*
 * Accounts: passwords, sessions, API keys, lockout, the first set-up. What is stored and compared
 * how, and what stays unprotected, stands in src/auth/README.md.
 *
 * Thread-safe; any number of processes and hosts may share the database. What one of them ends or
 * changes (a session, a key, a role) holds everywhere within a second, for that is how long a
 * process believes what it has read (nx_auth_peek).
 *
 * Only nx_auth_peek, nx_auth_peek_users, the CSRF functions and nx_auth_get_stats never wait.
 * Everything else asks the database, and what takes a password computes for a tenth of a second in
 * tens of megabytes: not on connection threads.
 *
 * Errors besides those named: those of store/store.h, and NX_ERR_BUSY when more passwords came at
 * once than are hashed at a time, for longer than the wait allows.
 */
#ifndef NX_AUTH_AUTH_H
#define NX_AUTH_AUTH_H

#include "auth/identity.h"
#include "base/arena.h"
#include "cache/cache.h"
#include "store/api_keys.h"
#include "store/store.h"
#include "store/users.h"

typedef struct nx_auth nx_auth;

/* 0: the default. */
typedef struct nx_auth_options {
    nx_store *store;         /* borrowed; outlives the handle */
    nx_cache *cache;         /* so is this; NULL, or one that is not shared: the database alone */
    int64_t session_idle_ms; /* a session ends when it is not used for so long; 60 minutes */
    int64_t session_max_ms;  /* and in any case so long after its login; 30 days */
    int hash_slots;          /* passwords hashed at a time; 2 */
    int hash_wait_ms;        /* longest wait for a slot; 5000 */
    uint64_t hash_ops;       /* argon2id's passes; libsodium's "interactive", 2 */
    size_t hash_bytes;       /* argon2id's memory; libsodium's "interactive", 64 MiB */
} nx_auth_options;

nx_status nx_auth_new(const nx_auth_options *options, nx_auth **out, nx_error *err);
/* No call may be in progress. NULL is fine. */
void nx_auth_free(nx_auth *auth);

/* --- who is it ----------------------------------------------------------------------------------
 * A token is "nxs_..." of a session or "nxk_..." of an API key. now_ns is nx_clock_now_ns().
 */

#define NX_AUTH_TOKEN_SIZE 64 /* room for any token and its NUL */

typedef enum nx_auth_peeked {
    NX_AUTH_ASK,     /* not known here: call nx_auth_check, where waiting is fine */
    NX_AUTH_KNOWN,   /* out is filled */
    NX_AUTH_REFUSED, /* no token at all by its form: nobody needs to be asked */
} nx_auth_peeked;

/* By this process's own table alone: a hash and a lock that is never held while anything waits.
 * out is anonymous unless NX_AUTH_KNOWN. */
nx_auth_peeked nx_auth_peek(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out);

/* Was this token good when it was last looked up here, some minutes ago at most? Such a one is no
 * guess; whether it is still good only the database can say. Never waits. */
bool nx_auth_remembers(nx_auth *auth, const char *token, int64_t now_ns);

/* The table, then the database. Errors: NX_ERR_NOT_FOUND (forged, expired, ended, revoked, or its
 * user is disabled; which of them is not told), and then out is anonymous. */
nx_status nx_auth_check(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out,
                        nx_error *err);
/* As nx_auth_check, for one kind of token alone: the other kind is NX_ERR_NOT_FOUND. */
nx_status nx_auth_check_session(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out,
                                nx_error *err);
nx_status nx_auth_check_key(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out,
                            nx_error *err);

/* Are there users? true is for ever; false is believed for a second by peek, and never by check,
 * which asks the database. */
nx_auth_peeked nx_auth_peek_users(nx_auth *auth, int64_t now_ns, bool *out);
nx_status nx_auth_check_users(nx_auth *auth, int64_t now_ns, bool *out, nx_error *err);

/* The secret that a page sends with each change (X-CSRF-Token, say) beside its session's cookie.
 * It follows from the token by HMAC and is stored nowhere: whoever can't read the cookie can't make
 * it. */
#define NX_AUTH_CSRF_SIZE 44
void nx_auth_csrf(const char *token, char out[NX_AUTH_CSRF_SIZE]);
/* In constant time; given may be NULL. */
bool nx_auth_csrf_matches(const char *token, const char *given);

/* --- signing in and out -------------------------------------------------------------------------
 */

typedef enum nx_login_outcome {
    NX_LOGIN_WELCOME,
    NX_LOGIN_WRONG,  /* name or password; nobody is told which, and a disabled user is the same */
    NX_LOGIN_LOCKED, /* five failures in 15 minutes for this name or from this address; the
                      * password was not looked at */
} nx_login_outcome;

typedef struct nx_login {
    nx_login_outcome outcome;
    int64_t retry_after_s; /* of LOCKED, at least 1 */
    /* of WELCOME: */
    char token[NX_AUTH_TOKEN_SIZE];
    char csrf[NX_AUTH_CSRF_SIZE];
    int64_t max_age_s; /* of the cookie: the session's longest life */
    nx_identity identity;
} nx_login;

/*
 * Signs somebody in: always a new token. address: the client's, as text; IPv6 counts by /64. Names
 * and passwords of any form and length are answered, unknown ones after the same work as known
 * ones. Attempts that have not ended yet count as failures, so that a burst tries no more than
 * five. Errors: only when the question could not be answered.
 */
nx_status nx_auth_login(nx_auth *auth, const char *name, const char *password, const char *address,
                        nx_login *out, nx_error *err);

/* Ends the session of this identity; one that is no session is fine. */
nx_status nx_auth_logout(nx_auth *auth, const nx_identity *identity, nx_error *err);

/*
 * A signed-in user sets a new password and shows the old one, which counts like a login: outcome is
 * as nx_auth_login has it, without a token. The user's other sessions end; API keys stay. Errors:
 * NX_ERR_INVALID (what is wrong with the new password), NX_ERR_NOT_FOUND (the user is gone).
 */
nx_status nx_auth_change_password(nx_auth *auth, const nx_identity *identity,
                                  const char *old_password, const char *new_password,
                                  const char *address, nx_login *out, nx_error *err);

/* --- the first start ----------------------------------------------------------------------------
 */

/* Makes a one-time token for set-up, good for a day. Each process may have its own: the first that
 * is used ends them all. Errors: NX_ERR_CONFLICT (there are users). */
nx_status nx_auth_setup_link(nx_auth *auth, char out[NX_AUTH_TOKEN_SIZE], nx_error *err);

/* Makes the first admin, once. Errors: NX_ERR_NOT_FOUND (the link was used, is over, or never was),
 * NX_ERR_INVALID (name or password: what is wrong with it). */
nx_status nx_auth_setup_finish(nx_auth *auth, const char *token, const char *name,
                               const char *password, nx_arena *arena, nx_user *out, nx_error *err);

/* --- users --------------------------------------------------------------------------------------
 * who: an id, or a name in any case (no name looks like an id).
 */

#define NX_PASSWORD_MIN 8    /* bytes */
#define NX_PASSWORD_MAX 1024 /* bytes */

/* 1 to 64 letters, digits and . _ - @, and no UUID. Errors: NX_ERR_INVALID. */
nx_status nx_user_name_check(const char *name, nx_error *err);
nx_status nx_password_check(const char *password, nx_error *err);

/* Errors: NX_ERR_INVALID, NX_ERR_CONFLICT (the name is taken; the first user must be an admin). */
nx_status nx_auth_user_add(nx_auth *auth, const char *name, const char *password, nx_role role,
                           nx_arena *arena, nx_user *out, nx_error *err);
/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_auth_user_get(nx_auth *auth, const char *who, nx_arena *arena, nx_user *out,
                           nx_error *err);
/* By name, from the one after `after` (NULL: the first) on; out has room for limit. Errors:
 * NX_ERR_NOT_FOUND (no name could be like `after`). */
nx_status nx_auth_users_list(nx_auth *auth, const char *after, size_t limit, nx_arena *arena,
                             nx_user *out, size_t *count, nx_error *err);
/* Errors of these: NX_ERR_NOT_FOUND, NX_ERR_CONFLICT (there would be no active admin). */
nx_status nx_auth_user_set_role(nx_auth *auth, const char *who, nx_role role, nx_error *err);
nx_status nx_auth_user_set_disabled(nx_auth *auth, const char *who, bool disabled, nx_error *err);
nx_status nx_auth_user_remove(nx_auth *auth, const char *who, nx_error *err);
/* Without the old one: for admins. Ends the user's sessions and forgets the name's failed logins.
 * Errors: NX_ERR_INVALID, NX_ERR_NOT_FOUND. */
nx_status nx_auth_set_password(nx_auth *auth, const char *who, const char *password, nx_error *err);

/* --- API keys -----------------------------------------------------------------------------------
 */

#define NX_KEY_NAME_MAX       64 /* bytes of UTF-8 without control characters */
#define NX_KEY_LIFETIME_S     (INT64_C(90) * 24 * 3600) /* the usual one */
#define NX_KEY_LIFETIME_MAX_S (INT64_C(3650) * 24 * 3600)

/*
 * Makes a key of a user. token: the only time that the secret is seen. What a key may do is never
 * more than its user's role at the time of use. Errors: NX_ERR_INVALID (name, scopes, lifetime, or
 * scopes that the role does not have), NX_ERR_NOT_FOUND (the user), NX_ERR_CONFLICT (too many).
 */
nx_status nx_auth_key_make(nx_auth *auth, const char *who, const char *name, uint32_t scopes,
                           int64_t lifetime_s, char token[NX_AUTH_TOKEN_SIZE], nx_arena *arena,
                           nx_api_key *out, nx_error *err);
/* As nx_store_keys_list and nx_store_key_revoke (store/api_keys.h); before and id that are no id of
 * a key are NX_ERR_NOT_FOUND. */
nx_status nx_auth_keys_list(nx_auth *auth, const char *who, const char *before, size_t limit,
                            nx_arena *arena, nx_api_key *out, size_t *count, nx_error *err);
nx_status nx_auth_key_revoke(nx_auth *auth, const char *id, const char *who, nx_error *err);

/* --- readings for metrics -----------------------------------------------------------------------
 * Counts since the start of the process.
 */
typedef struct nx_auth_stats {
    int64_t hits;          /* of the process's table */
    int64_t asked;         /* of the database */
    int64_t refused;       /* tokens that the database did not know */
    int64_t welcomed;      /* logins */
    int64_t wrong;         /* logins */
    int64_t locked;        /* logins */
    int64_t hashings;      /* passwords hashed, in vain or not */
    int64_t hash_timeouts; /* callers that waited for a slot in vain */
} nx_auth_stats;
nx_auth_stats nx_auth_get_stats(nx_auth *auth);

#endif

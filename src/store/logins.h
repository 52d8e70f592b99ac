/*
 * Passwords that were tried, for the lockout: five failures in fifteen minutes, by the name that
 * was tried (there may be such a user or not) and by the address that tried. An attempt is entered
 * before its password is looked at and counts until it has ended, so that a burst of them, on any
 * hosts, tries no more than five. What is older is deleted with each attempt.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_LOGINS_H
#define NX_STORE_LOGINS_H

#include "base/uuid.h"
#include "store/store.h"

#define NX_LOGIN_FAILURES  5
#define NX_LOGIN_WINDOW_MS 900000

typedef struct nx_login_attempt {
    char id[NX_UUID_SIZE]; /* "" when it is refused */
    int64_t wait_ms;       /* then at least 1: how long to wait before the next one */
} nx_login_attempt;

/* account: the name in small letters (NULL: no name at all, and the address alone counts). */
nx_status nx_store_login_begin(nx_store *store, const char *account, const char *address,
                               nx_login_attempt *out, nx_error *err);

typedef enum nx_login_end {
    NX_LOGIN_WELL,   /* forgives the account's failures, not the address's */
    NX_LOGIN_FAILED, /* counts */
    NX_LOGIN_VOID,   /* the password was not looked at, for another reason */
} nx_login_end;
nx_status nx_store_login_end(nx_store *store, const nx_login_attempt *attempt, const char *account,
                             nx_login_end how, nx_error *err);

#endif

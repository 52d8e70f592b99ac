/*
 * Sessions: who has signed in, and when that was used last. A session is known by the SHA-256 of
 * its token, which is nowhere itself.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_SESSIONS_H
#define NX_STORE_SESSIONS_H

#include "store/store.h"
#include "store/users.h"

/* Of one user; beyond it the ones that were not used for longest end. */
#define NX_SESSIONS_MAX 100

/* How long sessions live: until they were not used for idle_ms, and no longer than max_ms. */
typedef struct nx_session_life {
    int64_t idle_ms;
    int64_t max_ms;
} nx_session_life;

/* Enters a session of the user, whose password still is the one that was checked. Errors:
 * NX_ERR_NOT_FOUND (it is not, or the user is gone or disabled). Sessions that are over go. */
nx_status nx_store_session_add(nx_store *store, const char *user_id, const char *password_hash,
                               const char *hash, const nx_session_life *life, nx_error *err);

typedef struct nx_session_owner {
    char user_id[NX_UUID_SIZE];
    char name[NX_USER_NAME_MAX + 1];
    int64_t role;
    int64_t unseen_ms; /* since the use that was noted last */
} nx_session_owner;

/* Whose it is. Errors: NX_ERR_NOT_FOUND (it is over or never was, or its user is disabled). */
nx_status nx_store_session_check(nx_store *store, const char *hash, const nx_session_life *life,
                                 nx_session_owner *out, nx_error *err);

/* Notes that it was used now, unless that was noted less than every_ms ago. */
nx_status nx_store_session_seen(nx_store *store, const char *hash, int64_t every_ms, nx_error *err);

/* Ends it; one that is not there is fine. */
nx_status nx_store_session_end(nx_store *store, const char *hash, nx_error *err);

#endif

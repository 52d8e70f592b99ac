/* Inside src/auth: the handle. */
#ifndef NX_AUTH_INTERNAL_H
#define NX_AUTH_INTERNAL_H

#include "auth/auth.h"
#include "auth/passwords.h"
#include "auth/table.h"
#include "store/sessions.h"

#include <stdatomic.h>

struct nx_auth {
    nx_store *store;
    nx_cache *cache; /* of several processes; NULL without one */
    nx_session_life life;
    nx_auth_table *table;
    nx_passwords *passwords;
    atomic_bool has_users;           /* once true, for ever */
    atomic_int_fast64_t asked_users; /* when they were asked for; nx_clock_now_ns() */
    atomic_int_fast64_t hits, asked, refused;
    atomic_int_fast64_t welcomed, wrong, locked;
};

/* After a change: this process knows at once, the others within a second. The shared cache first,
 * so that nothing old can come back from there into the table. */
static inline nx_status nx_auth_changed(nx_auth *auth, nx_status status)
{
    nx_cache_remove_kind(auth->cache, NX_CACHE_SESSIONS);
    nx_auth_table_clear(auth->table);
    return status;
}

/* session_cache.c: sessions in the cache that processes share, by the hash of their token. */

nx_cache_key nx_auth_session_key(const unsigned char hash[NX_TOKEN_HASH]);

/* What is known of a session; false: the database is to be asked, and the key is stamped. */
bool nx_auth_session_get(nx_auth *auth, nx_cache_key *key, nx_identity *out);

/* Keeps what the database said, until its next use is to be noted there, lifetime_ms from now. */
void nx_auth_session_put(nx_auth *auth, const nx_cache_key *key, const nx_identity *identity,
                         int64_t lifetime_ms);

/* Ends one there, whatever another process is about to put. */
void nx_auth_session_remove(nx_auth *auth, const char hex[NX_HASH_HEX]);

#endif

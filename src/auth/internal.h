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
    nx_session_life life;
    nx_auth_table *table;
    nx_passwords *passwords;
    atomic_bool has_users;           /* once true, for ever */
    atomic_int_fast64_t asked_users; /* when they were asked for; nx_clock_now_ns() */
    atomic_int_fast64_t hits, asked, refused;
    atomic_int_fast64_t welcomed, wrong, locked;
};

/* After a change: this process knows at once, the others within a second. */
static inline nx_status nx_auth_changed(nx_auth *auth, nx_status status)
{
    nx_auth_table_clear(auth->table);
    return status;
}

#endif

/*
 * Users, and the set-up tokens with which the first of them is made. Passwords come as hashes (see
 * src/auth): this module never sees one. Once there is a user there is always an active admin:
 * what would leave none is refused, whatever several processes do at once.
 *
 * Roles are numbers here: 1 viewer, 2 operator, 3 admin (src/auth/identity.h).
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_USERS_H
#define NX_STORE_USERS_H

#include "base/arena.h"
#include "base/uuid.h"
#include "store/store.h"

#include <stdbool.h>
#include <stddef.h>

#define NX_USER_ADMIN    3
#define NX_USER_NAME_MAX 64 /* bytes */

/* Whether it could be a user's name: 1 to 64 letters, digits and . _ - @, and no UUID, so that no
 * name is taken for an id. */
bool nx_user_name_is(const char *name);
/* In small letters: by which names are compared. Cuts what is no name anyway. */
void nx_user_name_fold(const char *name, char out[NX_USER_NAME_MAX + 1]);

typedef struct nx_user {
    const char *id; /* UUID */
    const char *name;
    int64_t role;
    bool disabled;
    int64_t created_at;
    int64_t password_at; /* of its last change */
    int64_t login_at;    /* of the last one that went well; 0: none yet */
} nx_user;

/* Makes a user. Names are unique whatever the case of their letters. Errors: NX_ERR_INVALID (no
 * name), NX_ERR_CONFLICT (the name is taken, or the first user is not to be an admin). */
nx_status nx_store_user_add(nx_store *store, const char *name, const char *password_hash,
                            int64_t role, nx_arena *arena, nx_user *out, nx_error *err);

/* who: an id, or a name in any case. Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_user_get(nx_store *store, const char *who, nx_arena *arena, nx_user *out,
                            nx_error *err);

/* As nx_store_user_get, with the hash of the password, for checking it. */
nx_status nx_store_user_password(nx_store *store, const char *who, nx_arena *arena, nx_user *out,
                                 const char **password_hash, nx_error *err);

/* By name; those whose names come after `after` (NULL: all), at most limit. */
nx_status nx_store_users_list(nx_store *store, const char *after, size_t limit, nx_arena *arena,
                              nx_user *out, size_t *count, nx_error *err);

nx_status nx_store_users_any(nx_store *store, bool *out, nx_error *err);

/* Errors of these: NX_ERR_NOT_FOUND, NX_ERR_CONFLICT (it is the last active admin). */
nx_status nx_store_user_set_role(nx_store *store, const char *who, int64_t role, nx_error *err);
/* One that is disabled loses its sessions. */
nx_status nx_store_user_set_disabled(nx_store *store, const char *who, bool disabled,
                                     nx_error *err);
/* With its sessions and keys. */
nx_status nx_store_user_remove(nx_store *store, const char *who, nx_error *err);

/* Sets the password, ends the user's sessions but keep_session (its hash; NULL: none stays) and
 * forgives failed logins of that name. old_hash (may be NULL) is what the password's hash must be
 * until then. Errors: NX_ERR_NOT_FOUND, NX_ERR_CONFLICT (it was another one). */
nx_status nx_store_user_set_password(nx_store *store, const char *who, const char *old_hash,
                                     const char *new_hash, const char *keep_session, nx_error *err);

/* Puts a new hash of the same password in place of the old one, unless that has changed. */
nx_status nx_store_user_rehash(nx_store *store, const char *id, const char *old_hash,
                               const char *new_hash, nx_error *err);

/* --- set-up --- */

/* Enters the hash of a token that is good for one use within lifetime_ms. A few are good at a time:
 * the oldest ones go. Errors: NX_ERR_CONFLICT (there are users). */
nx_status nx_store_setup_begin(nx_store *store, const char *token_hash, int64_t lifetime_ms,
                               nx_error *err);

/* Is it one that could be used now? Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_setup_look(nx_store *store, const char *token_hash, nx_error *err);

/* Makes the first user, an admin, and ends all tokens: of several callers one succeeds. Errors:
 * NX_ERR_NOT_FOUND (the token was used, is over or never was, or there are users). */
nx_status nx_store_setup_finish(nx_store *store, const char *token_hash, const char *name,
                                const char *password_hash, nx_arena *arena, nx_user *out,
                                nx_error *err);

#endif

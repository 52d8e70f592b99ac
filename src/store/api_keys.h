/*
 * API keys: what a program shows instead of a password. Only SHA-256 hashes of them are kept; the
 * id is a public part of the key, by which a list, a log or a scanner for leaked secrets names it.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_API_KEYS_H
#define NX_STORE_API_KEYS_H

#include "base/arena.h"
#include "store/store.h"
#include "store/users.h"

#include <stddef.h>

/* Of one user at a time; those that are over or revoked do not count. */
#define NX_API_KEYS_MAX 100

typedef struct nx_api_key {
    const char *id;
    const char *user_id;
    const char *user_name;
    const char *name; /* as its maker called it */
    int64_t scopes;   /* as auth/identity.h numbers them */
    int64_t created_at;
    int64_t expires_at;
    int64_t used_at;    /* to the minute; 0: never */
    int64_t revoked_at; /* 0: not */
} nx_api_key;

/* Errors: NX_ERR_NOT_FOUND (the user), NX_ERR_CONFLICT (it has NX_API_KEYS_MAX, or the id is
 * taken). What has been over for a month is forgotten. */
nx_status nx_store_key_add(nx_store *store, const char *who, const char *id, const char *hash,
                           const char *name, int64_t scopes, int64_t lifetime_ms, nx_arena *arena,
                           nx_api_key *out, nx_error *err);

/* Newest first; of one user (NULL: of all), older than the key of that id (NULL: from the start).
 * Errors: NX_ERR_NOT_FOUND (the user). */
nx_status nx_store_keys_list(nx_store *store, const char *who, const char *before, size_t limit,
                             nx_arena *arena, nx_api_key *out, size_t *count, nx_error *err);

/* who: whose it must be; NULL: anybody's. Errors: NX_ERR_NOT_FOUND (no such key, or it was revoked
 * before). */
nx_status nx_store_key_revoke(nx_store *store, const char *id, const char *who, nx_error *err);

/* A key that is good now, with its owner, who is not disabled. */
typedef struct nx_key_owner {
    char user_id[NX_UUID_SIZE];
    char name[NX_USER_NAME_MAX + 1];
    char hash[65]; /* of the whole key: to be compared */
    int64_t role;
    int64_t scopes;
} nx_key_owner;

/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_key_check(nx_store *store, const char *id, nx_key_owner *out, nx_error *err);
/* Notes a use of a key that has proved good, at most once a minute. */
nx_status nx_store_key_used(nx_store *store, const char *id, nx_error *err);

#endif

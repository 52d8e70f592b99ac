/*
 * Who may use a model: everybody (public), whoever is signed in (authenticated, when nothing is
 * said), or only those who have a grant (private), which may end. A change of it takes the next
 * generation of store/models.h, so that every process knows of it within a second.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_MODEL_ACCESS_H
#define NX_STORE_MODEL_ACCESS_H

#include "base/arena.h"
#include "store/store.h"

#include <stddef.h>

typedef enum nx_model_level {
    NX_MODEL_AUTHENTICATED,
    NX_MODEL_PUBLIC,
    NX_MODEL_PRIVATE,
} nx_model_level;

const char *nx_model_level_name(nx_model_level level); /* "public" */
/* False: there is no such level. */
bool nx_model_level_parse(const char *text, nx_model_level *out);

typedef enum nx_grantee {
    NX_GRANT_USER,
    NX_GRANT_KEY,
} nx_grantee;

typedef struct nx_model_grant {
    const char *name; /* of the model */
    nx_grantee kind;
    const char *subject; /* id of the user or the key */
    /* of the user or the key, by nx_store_model_grants alone; NULL: it is gone */
    const char *subject_name;
    int64_t expires_at; /* 0: never */
    const char *granted_by;
    int64_t granted_at;
} nx_model_grant;

typedef struct nx_model_rule {
    const char *name;
    nx_model_level level;
} nx_model_rule;

/* Most grants of one model, and of all together. */
#define NX_MODEL_MOST_GRANTS 1000
#define NX_ALL_MOST_GRANTS   ((size_t)100000)

nx_status nx_store_model_level_set(nx_store *store, const char *name, nx_model_level level,
                                   const char *by, nx_error *err);
nx_status nx_store_model_level_get(nx_store *store, const char *name, nx_model_level *level,
                                   nx_error *err);

/* A grant that is there gets the new end. granted_at is not looked at. Errors: NX_ERR_CONFLICT (it
 * has NX_MODEL_MOST_GRANTS; or all models have NX_ALL_MOST_GRANTS), NX_ERR_INVALID (expires_at has
 * passed). */
nx_status nx_store_model_grant(nx_store *store, const nx_model_grant *grant, nx_error *err);

/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_model_revoke(nx_store *store, const char *name, nx_grantee kind,
                                const char *subject, nx_error *err);

/* Those of a model that have not ended, in the arena. */
nx_status nx_store_model_grants(nx_store *store, const char *name, nx_arena *arena,
                                nx_model_grant **out, size_t *count, nx_error *err);

/* Everything that is said, for a table in memory; in the arena. Grants by model, subject and kind;
 * ended ones are left out. now: by the database's clock. */
typedef struct nx_model_rules {
    nx_model_rule *rules; /* by name */
    size_t rule_count;
    nx_model_grant *grants;
    size_t grant_count;
    int64_t now;
} nx_model_rules;
nx_status nx_store_model_rules(nx_store *store, nx_arena *arena, nx_model_rules *out,
                               nx_error *err);

/* For whom a job uses its model (nx_job_request.user). In the arena; both NULL of one that was
 * submitted without accounts; key "" for none. */
nx_status nx_store_job_subject(nx_store *store, const char *job, nx_arena *arena, const char **user,
                               const char **key, nx_error *err);

#endif

#include "store/model_access.h"

#include "store/models_rows.h"
#include "store/rows.h"

#include <stdio.h>

#define MOST_RULES ((size_t)10000)

static const char *const level_names[] = {
    [NX_MODEL_AUTHENTICATED] = "authenticated",
    [NX_MODEL_PUBLIC] = "public",
    [NX_MODEL_PRIVATE] = "private",
};
static const char *const grantee_names[] = {[NX_GRANT_USER] = "user", [NX_GRANT_KEY] = "key"};

const char *nx_model_level_name(nx_model_level level)
{
    return level_names[level];
}

bool nx_model_level_parse(const char *text, nx_model_level *out)
{
    for (size_t i = 0; i < sizeof level_names / sizeof level_names[0]; i++) {
        if (strcmp(text, level_names[i]) == 0) {
            *out = (nx_model_level)i;
            return true;
        }
    }
    return false;
}

/* --- changing --- */

static const nx_sql set_level =
    NX_SQL("INSERT INTO model_access (name, level, changed_by, changed_at)"
           " VALUES ($1, $2, $3, nx_now()) ON CONFLICT (name) DO UPDATE"
           " SET level = excluded.level, changed_by = excluded.changed_by,"
           " changed_at = excluded.changed_at");
static const nx_sql get_level = NX_SQL("SELECT level FROM model_access WHERE name = $1");
/* $4: NULL for no end. Nothing is entered where the end has passed or there are too many. */
static const nx_sql add_grant =
    NX_SQL("INSERT INTO model_grants (name, kind, subject, expires_at, granted_by, granted_at)"
           " VALUES ($1, $2, $3, $4, $5, nx_now()) ON CONFLICT (name, kind, subject) DO UPDATE"
           " SET expires_at = excluded.expires_at, granted_by = excluded.granted_by,"
           " granted_at = excluded.granted_at");
static const nx_sql end_grant =
    NX_SQL("DELETE FROM model_grants WHERE name = $1 AND kind = $2 AND subject = $3");
static const nx_sql forget_ended = NX_SQL("DELETE FROM model_grants WHERE expires_at <= nx_now()");
static const nx_sql count_grants =
    NX_SQL("SELECT count(*) FROM model_grants WHERE $1 IS NULL OR name = $1");
static const nx_sql has_passed = NX_SQL("SELECT 1 WHERE $1 <= nx_now()");

typedef struct change {
    const char *name;
    nx_model_level level;
    const char *by;
    const nx_model_grant *grant;
} change;

static nx_status change_level(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    int64_t generation = 0;
    const nx_call set = NX_CALL(&set_level, nx_db_text(what->name),
                                nx_db_text(level_names[what->level]), nx_db_text(what->by));
    nx_status status = nx_models_next_generation(db, &generation, err);
    return status == NX_OK ? nx_db_run(db, &set, NULL, err) : status;
}

nx_status nx_store_model_level_set(nx_store *store, const char *name, nx_model_level level,
                                   const char *by, nx_error *err)
{
    change what = {.name = name, .level = level, .by = by};
    return nx_store_transact(store, NX_TX_WRITE, change_level, &what, err);
}

static nx_status take_level(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    (void)nx_model_level_parse(nx_row_text(row, 0), user); /* the table has no other */
    return NX_OK;
}

nx_status nx_store_model_level_get(nx_store *store, const char *name, nx_model_level *level,
                                   nx_error *err)
{
    nx_call call = NX_CALL(&get_level, nx_db_text(name));
    call.each = take_level;
    call.user = level;
    *level = NX_MODEL_AUTHENTICATED;
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}

static nx_status check_room(nx_db *db, const nx_model_grant *grant, nx_error *err)
{
    int64_t own = 0;
    int64_t all = 0;
    nx_call of_model = NX_CALL(&count_grants, nx_db_text(grant->name));
    nx_call of_all = NX_CALL(&count_grants, nx_db_text(NULL));
    of_model.each = of_all.each = nx_rows_number;
    of_model.user = &own;
    of_all.user = &all;
    nx_status status = nx_db_run(db, &of_model, NULL, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &of_all, NULL, err);
    }
    if (status == NX_OK && (own > NX_MODEL_MOST_GRANTS || all > (int64_t)NX_ALL_MOST_GRANTS)) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "model %s has %d grants already: revoke some, or make it "
                              "'authenticated'",
                              grant->name, NX_MODEL_MOST_GRANTS);
    }
    return status;
}

static nx_status enter_grant(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    const nx_model_grant *grant = what->grant;
    int64_t generation = 0;
    int64_t late = 0;
    const nx_db_value end = grant->expires_at != 0 ? nx_db_int(grant->expires_at) : nx_db_no_int();
    const nx_call forget = {.sql = &forget_ended};
    const nx_call passed = NX_CALL(&has_passed, end);
    const nx_call add =
        NX_CALL(&add_grant, nx_db_text(grant->name), nx_db_text(grantee_names[grant->kind]),
                nx_db_text(grant->subject), end, nx_db_text(grant->granted_by));
    nx_status status = nx_models_next_generation(db, &generation, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &passed, &late, err);
    }
    if (status == NX_OK && late > 0) {
        status = nx_error_set(err, NX_ERR_INVALID, "the grant would have ended already");
    }
    if (status == NX_OK) {
        status = nx_db_run(db, &forget, NULL, err);
    }
    if (status == NX_OK) {
        status = nx_db_run(db, &add, NULL, err);
    }
    return status == NX_OK ? check_room(db, grant, err) : status;
}

nx_status nx_store_model_grant(nx_store *store, const nx_model_grant *grant, nx_error *err)
{
    change what = {.grant = grant};
    return nx_store_transact(store, NX_TX_WRITE, enter_grant, &what, err);
}

static nx_status remove_grant(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    const nx_model_grant *grant = what->grant;
    int64_t generation = 0;
    int64_t rows = 0;
    const nx_call end = NX_CALL(&end_grant, nx_db_text(grant->name),
                                nx_db_text(grantee_names[grant->kind]), nx_db_text(grant->subject));
    nx_status status = nx_models_next_generation(db, &generation, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &end, &rows, err);
    }
    if (status == NX_OK && rows == 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no grant for the %s %.64s",
                              grant->name, grantee_names[grant->kind], grant->subject);
    }
    return status;
}

nx_status nx_store_model_revoke(nx_store *store, const char *name, nx_grantee kind,
                                const char *subject, nx_error *err)
{
    const nx_model_grant grant = {.name = name, .kind = kind, .subject = subject};
    change what = {.grant = &grant};
    return nx_store_transact(store, NX_TX_WRITE, remove_grant, &what, err);
}

/* --- looking --- */

static const nx_sql select_rules =
    NX_SQL("SELECT name, level FROM model_access ORDER BY name LIMIT $1");
#define GRANT "SELECT g.name, g.kind, g.subject, g.expires_at, g.granted_by, g.granted_at"
#define GOOD  " WHERE (g.expires_at IS NULL OR g.expires_at > nx_now())"
static const nx_sql select_grants =
    NX_SQL(GRANT ", CASE g.kind WHEN 'user' THEN u.name ELSE k.name END FROM model_grants g"
                 " LEFT JOIN users u ON g.kind = 'user' AND u.id = g.subject"
                 " LEFT JOIN api_keys k ON g.kind = 'key' AND k.id = g.subject" GOOD
                 " AND g.name = $1 ORDER BY g.kind DESC, g.subject LIMIT $2");
static const nx_sql select_all_grants =
    NX_SQL(GRANT ", NULL FROM model_grants g" GOOD " ORDER BY g.name, g.subject, g.kind LIMIT $1");
static const nx_sql count_all = NX_SQL("SELECT count(*) FROM model_grants");
static const nx_sql count_rules = NX_SQL("SELECT count(*) FROM model_access");
static const nx_sql read_clock = NX_SQL("SELECT nx_now()");

static void read_rule(const nx_row *row, void *item, nx_arena *arena)
{
    nx_model_rule *rule = item;
    rule->name = nx_row_copy(row, 0, arena);
    (void)nx_model_level_parse(nx_row_text(row, 1), &rule->level);
}

static void read_grant(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_model_grant *)item = (nx_model_grant){
        .name = nx_row_copy(row, 0, arena),
        .kind = strcmp(nx_row_text(row, 1), "key") == 0 ? NX_GRANT_KEY : NX_GRANT_USER,
        .subject = nx_row_copy(row, 2, arena),
        .expires_at = nx_row_int(row, 3),
        .granted_by = nx_row_copy(row, 4, arena),
        .granted_at = nx_row_int(row, 5),
        .subject_name = nx_row_copy(row, 6, arena),
    };
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the rules of the models");
}

nx_status nx_store_model_grants(nx_store *store, const char *name, nx_arena *arena,
                                nx_model_grant **out, size_t *count, nx_error *err)
{
    nx_rows rows = {.read = read_grant,
                    .items = nx_arena_calloc(arena, NX_MODEL_MOST_GRANTS, sizeof **out),
                    .size = sizeof **out,
                    .limit = NX_MODEL_MOST_GRANTS,
                    .arena = arena};
    const nx_call call = NX_CALL(&select_grants, nx_db_text(name), nx_db_int(NX_MODEL_MOST_GRANTS));
    if (rows.items == NULL) {
        return no_memory(err);
    }
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *out = rows.items;
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

typedef struct loading {
    nx_arena *arena;
    nx_model_rules *out;
} loading;

static nx_status count_in(nx_db *db, const nx_sql *sql, int64_t *out, nx_error *err)
{
    int64_t number = 0;
    const nx_call call = {.sql = sql, .each = nx_rows_number, .user = &number};
    nx_status status = nx_db_run(db, &call, NULL, err);
    *out = number;
    return status;
}

static nx_status collect(nx_db *db, const nx_sql *sql, nx_rows *rows, nx_error *err)
{
    rows->items = nx_arena_calloc(rows->arena, rows->limit, rows->size);
    if (rows->items == NULL) {
        return no_memory(err);
    }
    nx_call call = NX_CALL(sql, nx_db_int((int64_t)rows->limit));
    call.each = nx_rows_collect;
    call.user = rows;
    return nx_db_run(db, &call, NULL, err);
}

static nx_status load(nx_db *db, void *user, nx_error *err)
{
    const loading *what = user;
    nx_model_rules *out = what->out;
    int64_t rules = 0;
    int64_t grants = 0;
    nx_status status = count_in(db, &count_rules, &rules, err);
    if (status == NX_OK) {
        status = count_in(db, &count_all, &grants, err);
    }
    if (status == NX_OK) {
        status = count_in(db, &read_clock, &out->now, err);
    }
    /* more may have come in between, which the next look will find: the generation has grown */
    nx_rows all_rules = {.read = read_rule,
                         .size = sizeof(nx_model_rule),
                         .limit = (size_t)rules < MOST_RULES ? (size_t)rules : MOST_RULES,
                         .arena = what->arena};
    nx_rows all_grants = {.read = read_grant,
                          .size = sizeof(nx_model_grant),
                          .limit = (size_t)grants < NX_ALL_MOST_GRANTS ? (size_t)grants
                                                                       : NX_ALL_MOST_GRANTS,
                          .arena = what->arena};
    if (status == NX_OK) {
        status = collect(db, &select_rules, &all_rules, err);
    }
    if (status == NX_OK) {
        status = collect(db, &select_all_grants, &all_grants, err);
    }
    out->rules = all_rules.items;
    out->rule_count = all_rules.count;
    out->grants = all_grants.items;
    out->grant_count = all_grants.count;
    return status;
}

nx_status nx_store_model_rules(nx_store *store, nx_arena *arena, nx_model_rules *out, nx_error *err)
{
    loading what = {.arena = arena, .out = out};
    *out = (nx_model_rules){0};
    return nx_store_transact(store, NX_TX_READ, load, &what, err);
}

/* --- jobs --- */

static const nx_sql set_subject =
    NX_SQL("INSERT INTO job_subjects (job_id, user_id, key_id) VALUES ($1, $2, $3)"
           " ON CONFLICT (job_id) DO NOTHING");
static const nx_sql get_subject =
    NX_SQL("SELECT user_id, key_id FROM job_subjects WHERE job_id = $1");

nx_status nx_model_subject_enter(nx_db *db, const char *job, const char *user, const char *key,
                                 nx_error *err)
{
    const nx_call call = NX_CALL(&set_subject, nx_db_text(job), nx_db_text(user),
                                 nx_db_text(key != NULL ? key : ""));
    return nx_db_run(db, &call, NULL, err);
}

typedef struct subject {
    nx_arena *arena;
    const char *user, *key;
} subject;

static nx_status take_subject(const nx_row *row, void *user, nx_error *err)
{
    subject *out = user;
    out->user = nx_row_copy(row, 0, out->arena);
    out->key = nx_row_copy(row, 1, out->arena);
    return out->arena->failed ? no_memory(err) : NX_OK;
}

nx_status nx_store_job_subject(nx_store *store, const char *job, nx_arena *arena, const char **user,
                               const char **key, nx_error *err)
{
    subject out = {.arena = arena};
    nx_call call = NX_CALL(&get_subject, nx_db_text(job));
    call.each = take_subject;
    call.user = &out;
    nx_status status = nx_store_run(store, NX_TX_READ, &call, NULL, err);
    *user = out.user;
    *key = out.key;
    return status;
}

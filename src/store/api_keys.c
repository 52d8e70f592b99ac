#include "store/api_keys.h"

#include "store/account_rows.h"
#include "store/rows.h"

#include <stdio.h>

#define COLUMNS                                                                                    \
    "api_keys.id, api_keys.user_id, users.name, api_keys.name, api_keys.scopes,"                   \
    " api_keys.created_at, api_keys.expires_at, api_keys.used_at, api_keys.revoked_at"
#define FROM    " FROM api_keys JOIN users ON users.id = api_keys.user_id"
#define GOOD    "api_keys.revoked_at IS NULL AND api_keys.expires_at > nx_now()"
#define MINUTE  "60000"
#define MONTH   "2592000000"
#define OF_USER "(SELECT id FROM users WHERE id = $1 OR lower(name) = $1)"

/* The row is locked, so that keys of one user are made one after the other and counted right. */
static const nx_sql touch_user =
    NX_SQL("UPDATE users SET role = role WHERE id = $1 OR lower(name) = $1");
static const nx_sql find_user = NX_SQL("SELECT 1 FROM users WHERE id = $1 OR lower(name) = $1");
static const nx_sql forget_old =
    NX_SQL("DELETE FROM api_keys WHERE user_id IN " OF_USER " AND (revoked_at <= nx_now() - " MONTH
           " OR expires_at <= nx_now() - " MONTH ")");
static const nx_sql count_good =
    NX_SQL("SELECT count(*) FROM api_keys WHERE user_id IN " OF_USER " AND " GOOD);
static const nx_sql add_key =
    NX_SQL("INSERT INTO api_keys (id, user_id, hash, name, scopes, created_at, expires_at)"
           " SELECT $2, id, $3, $4, $5, nx_now(), nx_now() + $6 FROM users"
           " WHERE id = $1 OR lower(name) = $1 ON CONFLICT DO NOTHING");
static const nx_sql get_key = NX_SQL("SELECT " COLUMNS FROM " WHERE api_keys.id = $1");
static const nx_sql list_keys =
    NX_SQL("SELECT " COLUMNS FROM " WHERE ($1 IS NULL OR users.id = $1 OR lower(users.name) = $1)"
           " AND ($2 IS NULL OR EXISTS (SELECT 1 FROM api_keys AS before WHERE before.id = $2"
           " AND (api_keys.created_at < before.created_at"
           " OR (api_keys.created_at = before.created_at AND api_keys.id < before.id))))"
           " ORDER BY api_keys.created_at DESC, api_keys.id DESC LIMIT $3");
static const nx_sql revoke_key =
    NX_SQL("UPDATE api_keys SET revoked_at = nx_now() WHERE id = $2 AND revoked_at IS NULL"
           " AND ($1 IS NULL OR user_id IN " OF_USER ")");
static const nx_sql check_key =
    NX_SQL("SELECT users.id, users.name, users.role, api_keys.scopes, api_keys.hash" FROM
           " WHERE api_keys.id = $1 AND " GOOD " AND users.disabled_at IS NULL");
static const nx_sql note_use =
    NX_SQL("UPDATE api_keys SET used_at = nx_now()"
           " WHERE id = $1 AND (used_at IS NULL OR used_at <= nx_now() - " MINUTE ")");

static void read_key(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_api_key *)item = (nx_api_key){
        .id = nx_row_copy(row, 0, arena),
        .user_id = nx_row_copy(row, 1, arena),
        .user_name = nx_row_copy(row, 2, arena),
        .name = nx_row_copy(row, 3, arena),
        .scopes = nx_row_int(row, 4),
        .created_at = nx_row_int(row, 5),
        .expires_at = nx_row_int(row, 6),
        .used_at = nx_row_int(row, 7),
        .revoked_at = nx_row_int(row, 8),
    };
}

typedef struct making {
    const char *who;
    const char *id;
    const char *hash;
    const char *name;
    int64_t scopes;
    int64_t lifetime_ms;
    nx_rows rows;
} making;

/* Locks the user, takes away what is long over, and sees whether there is room for one more. */
static nx_status make_room(nx_db *db, const making *what, nx_error *err)
{
    int64_t rows = 0;
    int64_t keys = 0;
    const nx_call touch = NX_CALL(&touch_user, nx_db_text(what->who));
    nx_status status = nx_db_run(db, &touch, &rows, err);
    if (status == NX_OK && rows == 0) {
        status = nx_user_missing(what->who, err);
    }
    if (status == NX_OK) {
        const nx_call forget = NX_CALL(&forget_old, nx_db_text(what->who));
        status = nx_db_run(db, &forget, NULL, err);
    }
    if (status == NX_OK) {
        nx_call count = NX_CALL(&count_good, nx_db_text(what->who));
        count.each = nx_rows_number;
        count.user = &keys;
        status = nx_db_run(db, &count, NULL, err);
    }
    if (status == NX_OK && keys >= NX_API_KEYS_MAX) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "the user has %d API keys, which is the most; revoke one first",
                              NX_API_KEYS_MAX);
    }
    return status;
}

static nx_status add(nx_db *db, void *user, nx_error *err)
{
    making *what = user;
    int64_t rows = 0;
    nx_status status = make_room(db, what, err);
    if (status == NX_OK) {
        const nx_call enter =
            NX_CALL(&add_key, nx_db_text(what->who), nx_db_text(what->id), nx_db_text(what->hash),
                    nx_db_text(what->name), nx_db_int(what->scopes), nx_db_int(what->lifetime_ms));
        status = nx_db_run(db, &enter, &rows, err);
    }
    if (status == NX_OK && rows == 0) {
        status = nx_error_set(err, NX_ERR_CONFLICT, "there is an API key %s already", what->id);
    }
    if (status == NX_OK) {
        nx_call get = NX_CALL(&get_key, nx_db_text(what->id));
        what->rows.count = 0; /* of an attempt that the database undid */
        get.each = nx_rows_collect;
        get.user = &what->rows;
        status = nx_db_run(db, &get, NULL, err);
    }
    return status;
}

nx_status nx_store_key_add(nx_store *store, const char *who, const char *id, const char *hash,
                           const char *name, int64_t scopes, int64_t lifetime_ms, nx_arena *arena,
                           nx_api_key *out, nx_error *err)
{
    char user[NX_USER_NAME_MAX + 1];
    making what = {
        .who = user,
        .id = id,
        .hash = hash,
        .name = name,
        .scopes = scopes,
        .lifetime_ms = lifetime_ms,
        .rows = {.read = read_key, .items = out, .size = sizeof *out, .limit = 1, .arena = arena}};
    *out = (nx_api_key){0};
    nx_status status = nx_user_reference(who, user, err);
    if (status == NX_OK) {
        status = nx_store_transact(store, NX_TX_WRITE, add, &what, err);
    }
    if (status != NX_OK) {
        *out = (nx_api_key){0};
    }
    return status;
}

static nx_status see_user(nx_store *store, const char *who, char user[NX_USER_NAME_MAX + 1],
                          nx_error *err)
{
    int64_t rows = 0;
    nx_status status = nx_user_reference(who, user, err);
    if (status == NX_OK) {
        const nx_call find = NX_CALL(&find_user, nx_db_text(user));
        status = nx_store_run(store, NX_TX_READ, &find, &rows, err);
    }
    return status != NX_OK || rows > 0 ? status : nx_user_missing(who, err);
}

nx_status nx_store_keys_list(nx_store *store, const char *who, const char *before, size_t limit,
                             nx_arena *arena, nx_api_key *out, size_t *count, nx_error *err)
{
    char user[NX_USER_NAME_MAX + 1];
    nx_rows rows = {
        .read = read_key, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    *count = 0;
    nx_status status = who != NULL ? see_user(store, who, user, err) : NX_OK;
    if (status != NX_OK) {
        return status;
    }
    const nx_call call = NX_CALL(&list_keys, nx_db_text(who != NULL ? user : NULL),
                                 nx_db_text(before), nx_db_int((int64_t)limit));
    status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_store_key_revoke(nx_store *store, const char *id, const char *who, nx_error *err)
{
    char user[NX_USER_NAME_MAX + 1];
    int64_t rows = 0;
    nx_status status = who != NULL ? nx_user_reference(who, user, err) : NX_OK;
    if (status == NX_OK) {
        const nx_call call =
            NX_CALL(&revoke_key, nx_db_text(who != NULL ? user : NULL), nx_db_text(id));
        status = nx_store_run(store, NX_TX_WRITE, &call, &rows, err);
    }
    return status != NX_OK || rows > 0
               ? status
               : nx_error_set(err, NX_ERR_NOT_FOUND,
                              "there is no API key '%.20s' that could be revoked", id);
}

static nx_status take_owner(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_key_owner *owner = user;
    snprintf(owner->user_id, sizeof owner->user_id, "%s", nx_row_text(row, 0));
    snprintf(owner->name, sizeof owner->name, "%s", nx_row_text(row, 1));
    owner->role = nx_row_int(row, 2);
    owner->scopes = nx_row_int(row, 3);
    snprintf(owner->hash, sizeof owner->hash, "%s", nx_row_text(row, 4));
    return NX_OK;
}

nx_status nx_store_key_check(nx_store *store, const char *id, nx_key_owner *out, nx_error *err)
{
    int64_t rows = 0;
    nx_call call = NX_CALL(&check_key, nx_db_text(id));
    *out = (nx_key_owner){0};
    call.each = take_owner;
    call.user = out;
    nx_status status = nx_store_run(store, NX_TX_READ, &call, &rows, err);
    return status != NX_OK || rows > 0
               ? status
               : nx_error_set(err, NX_ERR_NOT_FOUND, "the API key is not, or no longer, good");
}

nx_status nx_store_key_used(nx_store *store, const char *id, nx_error *err)
{
    const nx_call call = NX_CALL(&note_use, nx_db_text(id));
    return nx_store_run(store, NX_TX_SOFT, &call, NULL, err);
}

#include "store/users.h"

#include "store/account_rows.h"
#include "store/rows.h"

#include <ctype.h>

#define COLUMNS                                                                                    \
    "id, name, role, disabled_at IS NOT NULL, created_at, password_at, login_at, password"
#define WHO "(id = $1 OR lower(name) = $1)"

/* Of set-up tokens that are good at a time, without the one that is just being entered. */
#define OTHER_TOKENS "15"

static const nx_sql lock_accounts = {
    .sqlite = "SELECT 1",                                    /* which has one writer anyway */
    .postgres = "SELECT 1 FROM pg_advisory_xact_lock(4743)", /* of all whose number is ours */
};
static const nx_sql any_user = NX_SQL("SELECT 1 FROM users LIMIT 1");
static const nx_sql count_admins =
    NX_SQL("SELECT count(*) FROM users WHERE role = 3 AND disabled_at IS NULL");
static const nx_sql get_user = NX_SQL("SELECT " COLUMNS " FROM users WHERE " WHO);
static const nx_sql list_users =
    NX_SQL("SELECT " COLUMNS " FROM users WHERE ($1 IS NULL OR lower(name) > $1)"
           " ORDER BY lower(name) LIMIT $2");
static const nx_sql add_user = NX_SQL(
    "INSERT INTO users (id, name, password, role, created_at, password_at)"
    " VALUES ($1, $2, $3, $4, nx_now(), nx_now()) ON CONFLICT DO NOTHING RETURNING " COLUMNS);
static const nx_sql set_role = NX_SQL("UPDATE users SET role = $2 WHERE " WHO);
static const nx_sql set_disabled =
    NX_SQL("UPDATE users SET disabled_at = CASE WHEN $2 = 0 THEN NULL"
           " ELSE coalesce(disabled_at, nx_now()) END WHERE " WHO);
static const nx_sql remove_user = NX_SQL("DELETE FROM users WHERE " WHO);
static const nx_sql set_password =
    NX_SQL("UPDATE users SET password = $2, password_at = nx_now() WHERE " WHO
           " AND ($3 IS NULL OR password = $3)");
static const nx_sql rehash =
    NX_SQL("UPDATE users SET password = $3 WHERE id = $1 AND password = $2");
static const nx_sql end_sessions =
    NX_SQL("DELETE FROM sessions WHERE user_id IN (SELECT id FROM users WHERE " WHO ")"
           " AND ($2 IS NULL OR hash <> $2)");
static const nx_sql forgive =
    NX_SQL("UPDATE login_attempts SET account = NULL"
           " WHERE account IN (SELECT lower(name) FROM users WHERE " WHO ")");

static const nx_sql old_tokens = NX_SQL(
    "DELETE FROM setup_tokens WHERE expires_at <= nx_now() OR hash NOT IN"
    " (SELECT hash FROM setup_tokens ORDER BY created_at DESC, hash LIMIT " OTHER_TOKENS ")");
static const nx_sql add_token = NX_SQL("INSERT INTO setup_tokens (hash, created_at, expires_at)"
                                       " VALUES ($1, nx_now(), nx_now() + $2)");
static const nx_sql good_token =
    NX_SQL("SELECT count(*) FROM setup_tokens WHERE hash = $1 AND expires_at > nx_now()"
           " AND NOT EXISTS (SELECT 1 FROM users)");
static const nx_sql end_tokens = NX_SQL("DELETE FROM setup_tokens");

bool nx_user_name_is(const char *name)
{
    size_t length = 0;
    while (length <= NX_USER_NAME_MAX && name[length] != '\0') {
        unsigned char c = (unsigned char)name[length++];
        if (c > 127 || (!isalnum(c) && strchr("._-@", c) == NULL)) {
            return false;
        }
    }
    char folded[NX_USER_NAME_MAX + 1];
    nx_user_name_fold(name, folded);
    return length >= 1 && length <= NX_USER_NAME_MAX && !nx_uuid_is(folded);
}

void nx_user_name_fold(const char *name, char out[NX_USER_NAME_MAX + 1])
{
    size_t length = 0;
    for (; length < NX_USER_NAME_MAX && name[length] != '\0'; length++) {
        char c = name[length];
        out[length] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    out[length] = '\0';
}

nx_status nx_user_reference(const char *who, char out[NX_USER_NAME_MAX + 1], nx_error *err)
{
    nx_user_name_fold(who, out);
    return nx_user_name_is(who) || nx_uuid_is(out) ? NX_OK : nx_user_missing(who, err);
}

nx_status nx_user_missing(const char *who, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NOT_FOUND, "there is no user '%.64s'", who);
}

static void read_user(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_user *)item = (nx_user){
        .id = nx_row_copy(row, 0, arena),
        .name = nx_row_copy(row, 1, arena),
        .role = nx_row_int(row, 2),
        .disabled = nx_row_int(row, 3) != 0,
        .created_at = nx_row_int(row, 4),
        .password_at = nx_row_int(row, 5),
        .login_at = nx_row_int(row, 6),
    };
}

/* --- reading --- */

typedef struct with_password {
    nx_user user;
    const char *hash;
} with_password;

static void read_with_password(const nx_row *row, void *item, nx_arena *arena)
{
    with_password *both = item;
    read_user(row, &both->user, arena);
    both->hash = nx_row_copy(row, 7, arena);
}

nx_status nx_store_user_password(nx_store *store, const char *who, nx_arena *arena, nx_user *out,
                                 const char **password_hash, nx_error *err)
{
    char name[NX_USER_NAME_MAX + 1];
    with_password both = {0};
    nx_rows rows = {.read = read_with_password,
                    .items = &both,
                    .size = sizeof both,
                    .limit = 1,
                    .arena = arena};
    *out = (nx_user){0};
    *password_hash = NULL;
    nx_status status = nx_user_reference(who, name, err);
    if (status == NX_OK) {
        status = nx_rows_fetch(store, NX_TX_READ, NX_CALL(&get_user, nx_db_text(name)), &rows, err);
    }
    if (status == NX_OK && rows.count == 0) {
        status = nx_user_missing(who, err);
    }
    if (status == NX_OK) {
        *out = both.user;
        *password_hash = both.hash;
    }
    return status;
}

nx_status nx_store_user_get(nx_store *store, const char *who, nx_arena *arena, nx_user *out,
                            nx_error *err)
{
    const char *ignored = NULL;
    return nx_store_user_password(store, who, arena, out, &ignored, err);
}

nx_status nx_store_users_list(nx_store *store, const char *after, size_t limit, nx_arena *arena,
                              nx_user *out, size_t *count, nx_error *err)
{
    char name[NX_USER_NAME_MAX + 1];
    nx_rows rows = {
        .read = read_user, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    *count = 0;
    nx_status status = after != NULL ? nx_user_reference(after, name, err) : NX_OK;
    if (status != NX_OK) {
        return status;
    }
    const nx_call call =
        NX_CALL(&list_users, nx_db_text(after != NULL ? name : NULL), nx_db_int((int64_t)limit));
    status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_store_users_any(nx_store *store, bool *out, nx_error *err)
{
    int64_t rows = 0;
    const nx_call call = {.sql = &any_user};
    nx_status status = nx_store_run(store, NX_TX_READ, &call, &rows, err);
    *out = status == NX_OK && rows > 0;
    return status;
}

/* --- changing --- */

/* Whoever changes users holds this until the end of the transaction: who counts them afterwards
 * counts right. */
static nx_status lock(nx_db *db, nx_error *err)
{
    const nx_call call = {.sql = &lock_accounts};
    return nx_db_run(db, &call, NULL, err);
}

static nx_status need_admin(nx_db *db, const char *message, nx_error *err)
{
    int64_t admins = 0;
    const nx_call call = {.sql = &count_admins, .each = nx_rows_number, .user = &admins};
    nx_status status = nx_db_run(db, &call, NULL, err);
    return status != NX_OK || admins > 0 ? status
                                         : nx_error_set(err, NX_ERR_CONFLICT, "%s", message);
}

static const char last_admin[] =
    "this is the last active admin, and somebody must be able to manage the users: make another "
    "one first";

typedef struct making {
    char id[NX_UUID_SIZE];
    const char *name;
    const char *password;
    int64_t role;
    const char *token; /* of set-up; NULL: made by an admin */
    nx_rows rows;
} making;

static nx_status insert(nx_db *db, making *what, nx_error *err)
{
    nx_call call = NX_CALL(&add_user, nx_db_text(what->id), nx_db_text(what->name),
                           nx_db_text(what->password), nx_db_int(what->role));
    what->rows.count = 0; /* of an attempt that the database undid */
    call.each = nx_rows_collect;
    call.user = &what->rows;
    nx_status status = nx_db_run(db, &call, NULL, err);
    return status != NX_OK || what->rows.count > 0
               ? status
               : nx_error_set(err, NX_ERR_CONFLICT, "there is a user '%s' already", what->name);
}

static nx_status add(nx_db *db, void *user, nx_error *err)
{
    making *what = user;
    nx_status status = lock(db, err);
    if (status == NX_OK) {
        status = insert(db, what, err);
    }
    if (status == NX_OK) {
        status = need_admin(db, "the first user must be an admin, who can make the others", err);
    }
    return status;
}

static nx_status no_token(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NOT_FOUND,
                        "this set-up link is over or was used before; restart the server, or run "
                        "'nexus users setup-link', for a new one");
}

static nx_status look_at_token(nx_db *db, const char *token, nx_error *err)
{
    int64_t good = 0;
    nx_call call = NX_CALL(&good_token, nx_db_text(token));
    call.each = nx_rows_number;
    call.user = &good;
    nx_status status = nx_db_run(db, &call, NULL, err);
    return status != NX_OK || good > 0 ? status : no_token(err);
}

static nx_status add_first(nx_db *db, void *user, nx_error *err)
{
    making *what = user;
    const nx_call end = {.sql = &end_tokens};
    nx_status status = lock(db, err);
    if (status == NX_OK) {
        status = look_at_token(db, what->token, err);
    }
    if (status == NX_OK) {
        status = insert(db, what, err);
    }
    return status == NX_OK ? nx_db_run(db, &end, NULL, err) : status;
}

static nx_status make(nx_store *store, nx_db_work work, making *what, nx_arena *arena, nx_user *out,
                      nx_error *err)
{
    *out = (nx_user){0};
    if (!nx_user_name_is(what->name)) {
        return nx_error_set(err, NX_ERR_INVALID, "this is no name of a user");
    }
    what->rows =
        (nx_rows){.read = read_user, .items = out, .size = sizeof *out, .limit = 1, .arena = arena};
    nx_status status = nx_uuid_make(what->id, err);
    if (status == NX_OK) {
        status = nx_store_transact(store, NX_TX_WRITE, work, what, err);
    }
    if (status != NX_OK) {
        *out = (nx_user){0};
    }
    return status;
}

nx_status nx_store_user_add(nx_store *store, const char *name, const char *password_hash,
                            int64_t role, nx_arena *arena, nx_user *out, nx_error *err)
{
    making what = {.name = name, .password = password_hash, .role = role};
    return make(store, add, &what, arena, out, err);
}

nx_status nx_store_setup_finish(nx_store *store, const char *token_hash, const char *name,
                                const char *password_hash, nx_arena *arena, nx_user *out,
                                nx_error *err)
{
    making what = {
        .name = name, .password = password_hash, .role = NX_USER_ADMIN, .token = token_hash};
    return make(store, add_first, &what, arena, out, err);
}

/* A change of one user, and what follows from it. */
typedef struct change {
    const char *who; /* as nx_user_reference makes it */
    nx_call call;    /* must find the user */
    bool ends_sessions;
    const char *keep_session;
    bool forgives;
    const char *old_password; /* NULL: any */
} change;

static nx_status find_again(nx_db *db, const change *what, nx_error *err)
{
    int64_t rows = 0;
    const nx_call look = NX_CALL(&get_user, nx_db_text(what->who));
    nx_status status = what->old_password != NULL ? nx_db_run(db, &look, &rows, err) : NX_OK;
    if (status == NX_OK && rows > 0) {
        return nx_error_set(err, NX_ERR_CONFLICT, "the password was changed by somebody else");
    }
    return status == NX_OK ? nx_user_missing(what->who, err) : status;
}

static nx_status run_change(nx_db *db, void *user, nx_error *err)
{
    const change *what = user;
    int64_t rows = 0;
    nx_status status = lock(db, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &what->call, &rows, err);
    }
    if (status == NX_OK && rows == 0) {
        status = find_again(db, what, err);
    }
    if (status == NX_OK) {
        status = need_admin(db, last_admin, err);
    }
    if (status == NX_OK && what->ends_sessions) {
        const nx_call end =
            NX_CALL(&end_sessions, nx_db_text(what->who), nx_db_text(what->keep_session));
        status = nx_db_run(db, &end, NULL, err);
    }
    if (status == NX_OK && what->forgives) {
        const nx_call call = NX_CALL(&forgive, nx_db_text(what->who));
        status = nx_db_run(db, &call, NULL, err);
    }
    return status;
}

nx_status nx_store_user_set_role(nx_store *store, const char *who, int64_t role, nx_error *err)
{
    char name[NX_USER_NAME_MAX + 1];
    nx_status status = nx_user_reference(who, name, err);
    change what = {.who = name, .call = NX_CALL(&set_role, nx_db_text(name), nx_db_int(role))};
    return status == NX_OK ? nx_store_transact(store, NX_TX_WRITE, run_change, &what, err) : status;
}

nx_status nx_store_user_set_disabled(nx_store *store, const char *who, bool disabled, nx_error *err)
{
    char name[NX_USER_NAME_MAX + 1];
    nx_status status = nx_user_reference(who, name, err);
    change what = {.who = name,
                   .call = NX_CALL(&set_disabled, nx_db_text(name), nx_db_int(disabled)),
                   .ends_sessions = disabled,
                   .forgives = !disabled};
    return status == NX_OK ? nx_store_transact(store, NX_TX_WRITE, run_change, &what, err) : status;
}

nx_status nx_store_user_remove(nx_store *store, const char *who, nx_error *err)
{
    char name[NX_USER_NAME_MAX + 1];
    nx_status status = nx_user_reference(who, name, err);
    change what = {.who = name, .call = NX_CALL(&remove_user, nx_db_text(name))};
    return status == NX_OK ? nx_store_transact(store, NX_TX_WRITE, run_change, &what, err) : status;
}

nx_status nx_store_user_set_password(nx_store *store, const char *who, const char *old_hash,
                                     const char *new_hash, const char *keep_session, nx_error *err)
{
    char name[NX_USER_NAME_MAX + 1];
    nx_status status = nx_user_reference(who, name, err);
    change what = {.who = name,
                   .call = NX_CALL(&set_password, nx_db_text(name), nx_db_text(new_hash),
                                   nx_db_text(old_hash)),
                   .ends_sessions = true,
                   .keep_session = keep_session,
                   .forgives = true,
                   .old_password = old_hash};
    return status == NX_OK ? nx_store_transact(store, NX_TX_WRITE, run_change, &what, err) : status;
}

nx_status nx_store_user_rehash(nx_store *store, const char *id, const char *old_hash,
                               const char *new_hash, nx_error *err)
{
    const nx_call call =
        NX_CALL(&rehash, nx_db_text(id), nx_db_text(old_hash), nx_db_text(new_hash));
    return nx_store_run(store, NX_TX_WRITE, &call, NULL, err);
}

/* --- set-up --- */

typedef struct token {
    const char *hash;
    int64_t lifetime_ms;
} token;

static nx_status begin_setup(nx_db *db, void *user, nx_error *err)
{
    const token *what = user;
    int64_t users = 0;
    nx_status status = lock(db, err);
    if (status == NX_OK) {
        const nx_call call = {.sql = &any_user};
        status = nx_db_run(db, &call, &users, err);
    }
    if (status == NX_OK && users > 0) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "there are users already, and set-up is for the first one alone; "
                              "'nexus users add' makes another one, 'nexus users passwd' sets a "
                              "password");
    }
    if (status == NX_OK) {
        const nx_call old = {.sql = &old_tokens};
        status = nx_db_run(db, &old, NULL, err);
    }
    if (status == NX_OK) {
        const nx_call enter =
            NX_CALL(&add_token, nx_db_text(what->hash), nx_db_int(what->lifetime_ms));
        status = nx_db_run(db, &enter, NULL, err);
    }
    return status;
}

nx_status nx_store_setup_begin(nx_store *store, const char *token_hash, int64_t lifetime_ms,
                               nx_error *err)
{
    token what = {.hash = token_hash, .lifetime_ms = lifetime_ms};
    return nx_store_transact(store, NX_TX_WRITE, begin_setup, &what, err);
}

static nx_status look(nx_db *db, void *user, nx_error *err)
{
    return look_at_token(db, user, err);
}

nx_status nx_store_setup_look(nx_store *store, const char *token_hash, nx_error *err)
{
    return nx_store_transact(store, NX_TX_READ, look, (void *)(uintptr_t)token_hash, err);
}

#include "store/sessions.h"

#include "store/rows.h"

#include <stdio.h>

#define TEXT_OF(number)  #number
#define VALUE_OF(number) TEXT_OF(number)

/* Locks the user's row: a password that changes meanwhile is seen, or waits and ends the session.
 */
static const nx_sql note_login = NX_SQL("UPDATE users SET login_at = nx_now()"
                                        " WHERE id = $1 AND password = $2 AND disabled_at IS NULL");
static const nx_sql end_old =
    NX_SQL("DELETE FROM sessions WHERE seen_at <= nx_now() - $1 OR created_at <= nx_now() - $2");
static const nx_sql end_surplus =
    NX_SQL("DELETE FROM sessions WHERE hash IN (SELECT hash FROM sessions WHERE user_id = $1"
           " ORDER BY seen_at DESC, hash LIMIT 1000 OFFSET " VALUE_OF(NX_SESSIONS_MAX) " - 1)");
static const nx_sql add_session = NX_SQL("INSERT INTO sessions (hash, user_id, created_at, seen_at)"
                                         " VALUES ($1, $2, nx_now(), nx_now())");
static const nx_sql check_session =
    NX_SQL("SELECT users.id, users.name, users.role, nx_now() - sessions.seen_at"
           " FROM sessions JOIN users ON users.id = sessions.user_id"
           " WHERE sessions.hash = $1 AND sessions.seen_at > nx_now() - $2"
           " AND sessions.created_at > nx_now() - $3 AND users.disabled_at IS NULL");
static const nx_sql note_use =
    NX_SQL("UPDATE sessions SET seen_at = nx_now() WHERE hash = $1 AND seen_at <= nx_now() - $2");
static const nx_sql end_session = NX_SQL("DELETE FROM sessions WHERE hash = $1");

typedef struct entry {
    const char *user_id;
    const char *password;
    const char *hash;
    const nx_session_life *life;
} entry;

static nx_status enter(nx_db *db, void *user, nx_error *err)
{
    const entry *what = user;
    int64_t rows = 0;
    const nx_call calls[] = {
        NX_CALL(&note_login, nx_db_text(what->user_id), nx_db_text(what->password)),
        NX_CALL(&end_old, nx_db_int(what->life->idle_ms), nx_db_int(what->life->max_ms)),
        NX_CALL(&end_surplus, nx_db_text(what->user_id)),
        NX_CALL(&add_session, nx_db_text(what->hash), nx_db_text(what->user_id)),
    };
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        nx_status status = nx_db_run(db, &calls[i], &rows, err);
        if (status != NX_OK) {
            return status;
        }
        if (i == 0 && rows == 0) {
            return nx_error_set(err, NX_ERR_NOT_FOUND,
                                "the user was removed, disabled or got another password");
        }
    }
    return NX_OK;
}

nx_status nx_store_session_add(nx_store *store, const char *user_id, const char *password_hash,
                               const char *hash, const nx_session_life *life, nx_error *err)
{
    entry what = {.user_id = user_id, .password = password_hash, .hash = hash, .life = life};
    return nx_store_transact(store, NX_TX_SOFT, enter, &what, err);
}

static nx_status take_owner(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    nx_session_owner *owner = user;
    snprintf(owner->user_id, sizeof owner->user_id, "%s", nx_row_text(row, 0));
    snprintf(owner->name, sizeof owner->name, "%s", nx_row_text(row, 1));
    owner->role = nx_row_int(row, 2);
    owner->unseen_ms = nx_row_int(row, 3);
    return NX_OK;
}

nx_status nx_store_session_check(nx_store *store, const char *hash, const nx_session_life *life,
                                 nx_session_owner *out, nx_error *err)
{
    int64_t rows = 0;
    nx_call call = NX_CALL(&check_session, nx_db_text(hash), nx_db_int(life->idle_ms),
                           nx_db_int(life->max_ms));
    *out = (nx_session_owner){0};
    call.each = take_owner;
    call.user = out;
    nx_status status = nx_store_run(store, NX_TX_READ, &call, &rows, err);
    return status != NX_OK || rows > 0
               ? status
               : nx_error_set(err, NX_ERR_NOT_FOUND, "the session is over; sign in again");
}

nx_status nx_store_session_seen(nx_store *store, const char *hash, int64_t every_ms, nx_error *err)
{
    const nx_call call = NX_CALL(&note_use, nx_db_text(hash), nx_db_int(every_ms));
    return nx_store_run(store, NX_TX_SOFT, &call, NULL, err);
}

nx_status nx_store_session_end(nx_store *store, const char *hash, nx_error *err)
{
    const nx_call call = NX_CALL(&end_session, nx_db_text(hash));
    return nx_store_run(store, NX_TX_WRITE, &call, NULL, err);
}

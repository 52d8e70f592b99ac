#include "store/logins.h"

#include "store/rows.h"

#define TEXT_OF(number)  #number
#define VALUE_OF(number) TEXT_OF(number)
#define WINDOW           VALUE_OF(NX_LOGIN_WINDOW_MS)
#define FAILURES         VALUE_OF(NX_LOGIN_FAILURES)

/* How long to wait for an attempt that has not ended: it may turn out to be none. */
#define PENDING_MS INT64_C(1000)

static const nx_sql lock_attempts = {
    .sqlite = "SELECT 1",                                    /* which has one writer anyway */
    .postgres = "SELECT 1 FROM pg_advisory_xact_lock(4744)", /* 4743: users.c */
};
/* Or else a clock that is set back would lock everybody out for as long. */
static const nx_sql forget_old =
    NX_SQL("DELETE FROM login_attempts WHERE at <= nx_now() - " WINDOW " OR " NX_AHEAD("at"));
#define LATEST(column)                                                                             \
    NX_SQL("SELECT at + " WINDOW " - nx_now(), pending FROM login_attempts WHERE " column          \
           " = $1 ORDER BY at DESC LIMIT " FAILURES)
static const nx_sql of_account = LATEST("account");
static const nx_sql of_address = LATEST("address");
static const nx_sql add_attempt =
    NX_SQL("INSERT INTO login_attempts (id, account, address, at, pending)"
           " VALUES ($1, $2, $3, nx_now(), 1)");
static const nx_sql note_failure =
    NX_SQL("UPDATE login_attempts SET pending = 0, at = nx_now() WHERE id = $1");
static const nx_sql remove_attempt = NX_SQL("DELETE FROM login_attempts WHERE id = $1");
static const nx_sql forgive = NX_SQL("UPDATE login_attempts SET account = NULL WHERE account = $1");

typedef struct latest {
    int64_t count;
    bool pending;
    int64_t left_ms; /* until the last one that was looked at is forgotten */
} latest;

static nx_status take_latest(const nx_row *row, void *user, nx_error *err)
{
    (void)err;
    latest *seen = user;
    seen->count++;
    seen->left_ms = nx_row_int(row, 0);
    seen->pending |= nx_row_int(row, 1) != 0;
    return NX_OK;
}

/* Lengthens wait_ms when the last attempts fill what is allowed. */
static nx_status look(nx_db *db, const nx_sql *sql, const char *value, int64_t *wait_ms,
                      nx_error *err)
{
    latest seen = {0};
    nx_call call = NX_CALL(sql, nx_db_text(value));
    call.each = take_latest;
    call.user = &seen;
    nx_status status = nx_db_run(db, &call, NULL, err);
    if (status == NX_OK && seen.count >= NX_LOGIN_FAILURES) {
        int64_t wait = seen.pending && seen.left_ms > PENDING_MS ? PENDING_MS : seen.left_ms;
        wait = wait > 0 ? wait : 1;
        *wait_ms = *wait_ms > wait ? *wait_ms : wait;
    }
    return status;
}

typedef struct trial {
    const char *account;
    const char *address;
    nx_login_attempt *attempt;
} trial;

static nx_status begin(nx_db *db, void *user, nx_error *err)
{
    const trial *what = user;
    const nx_call lock = {.sql = &lock_attempts};
    const nx_call forget = {.sql = &forget_old};
    what->attempt->wait_ms = 0;
    nx_status status = nx_db_run(db, &lock, NULL, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &forget, NULL, err);
    }
    if (status == NX_OK && what->account != NULL) {
        status = look(db, &of_account, what->account, &what->attempt->wait_ms, err);
    }
    if (status == NX_OK) {
        status = look(db, &of_address, what->address, &what->attempt->wait_ms, err);
    }
    if (status == NX_OK && what->attempt->wait_ms == 0) {
        const nx_call add = NX_CALL(&add_attempt, nx_db_text(what->attempt->id),
                                    nx_db_text(what->account), nx_db_text(what->address));
        status = nx_db_run(db, &add, NULL, err);
    }
    return status;
}

nx_status nx_store_login_begin(nx_store *store, const char *account, const char *address,
                               nx_login_attempt *out, nx_error *err)
{
    trial what = {.account = account, .address = address, .attempt = out};
    *out = (nx_login_attempt){0};
    nx_status status = nx_uuid_make(out->id, err);
    if (status == NX_OK) {
        status = nx_store_transact(store, NX_TX_SOFT, begin, &what, err);
    }
    if (status != NX_OK || out->wait_ms > 0) {
        out->id[0] = '\0';
    }
    return status;
}

typedef struct ending {
    const char *id;
    const char *account;
    nx_login_end how;
} ending;

static nx_status end(nx_db *db, void *user, nx_error *err)
{
    const ending *what = user;
    const nx_call lock = {.sql = &lock_attempts}; /* two that forgive the same rows do not cross */
    const nx_call note = NX_CALL(what->how == NX_LOGIN_FAILED ? &note_failure : &remove_attempt,
                                 nx_db_text(what->id));
    nx_status status = nx_db_run(db, &lock, NULL, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &note, NULL, err);
    }
    if (status == NX_OK && what->how == NX_LOGIN_WELL && what->account != NULL) {
        const nx_call call = NX_CALL(&forgive, nx_db_text(what->account));
        status = nx_db_run(db, &call, NULL, err);
    }
    return status;
}

nx_status nx_store_login_end(nx_store *store, const nx_login_attempt *attempt, const char *account,
                             nx_login_end how, nx_error *err)
{
    ending what = {.id = attempt->id, .account = account, .how = how};
    return nx_store_transact(store, NX_TX_SOFT, end, &what, err);
}

#include "store/streams.h"

#include "base/uuid.h"
#include "store/rows.h"

#include <sys/random.h>

#define TEXT_OF_NUMBER(number) #number
#define TEXT_OF(number)        TEXT_OF_NUMBER(number)

#define COLUMNS                                                                                    \
    "streams.id, streams.name, streams.url, streams.options, streams.enabled, streams.version,"    \
    " streams.created_by, streams.user_id, streams.key_id, streams.lease_owner,"                   \
    " streams.lease_until, CASE WHEN streams.lease_until > nx_now() THEN 1 ELSE 0 END,"            \
    " streams.fence, streams.state, streams.reason, streams.state_at, streams.status,"             \
    " streams.created_at, streams.updated_at, streams.relay_path, streams.relay_address,"          \
    " streams.relay_token, streams.webhook_url, streams.webhook_secret, streams.counts"

/* One more than there may be changes nothing. */
static const nx_sql add_stream =
    NX_SQL("INSERT INTO streams (id, name, url, options, enabled, created_by, user_id, key_id,"
           " webhook_url, webhook_secret, state_at, created_at, updated_at)"
           " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, nx_now(), nx_now(), nx_now()"
           " WHERE (SELECT count(*) FROM streams) < " TEXT_OF(
               NX_STREAMS_MOST) " ON CONFLICT DO NOTHING RETURNING " COLUMNS);
static const nx_sql count_name =
    NX_SQL("SELECT count(*) FROM streams WHERE lower(name) = lower($1)");
static const nx_sql get_stream = NX_SQL("SELECT " COLUMNS " FROM streams WHERE id = $1");
static const nx_sql list_streams =
    NX_SQL("SELECT " COLUMNS " FROM streams WHERE ($1 IS NULL OR id < $1)"
           " ORDER BY id DESC LIMIT $2");
static const nx_sql change_stream =
    NX_SQL("UPDATE streams SET name = $3, url = $4, options = $5, enabled = $6,"
           " webhook_url = $7, webhook_secret = $8, version = version + 1, updated_at = nx_now() "
           "WHERE id = $1 AND version = $2"
           " AND NOT EXISTS (SELECT 1 FROM streams AS other WHERE lower(other.name) = lower($3)"
           " AND other.id <> $1) RETURNING " COLUMNS);
static const nx_sql remove_stream = NX_SQL("DELETE FROM streams WHERE id = $1");

static const char *const state_names[] = {
    [NX_STREAM_CONNECTING] = "connecting", [NX_STREAM_LIVE] = "live",
    [NX_STREAM_STALLED] = "stalled",       [NX_STREAM_RECONNECTING] = "reconnecting",
    [NX_STREAM_STOPPED] = "stopped",
};

const char *nx_stream_state_name(nx_stream_state state)
{
    return state_names[state];
}

static nx_stream_state read_state(const nx_row *row, int column)
{
    const char *name = nx_row_text(row, column);
    nx_stream_state state = NX_STREAM_CONNECTING;
    while (state < NX_STREAM_STOPPED && strcmp(name, state_names[state]) != 0) {
        state++;
    }
    return state;
}

static void read_stream(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_stream *)item = (nx_stream){
        .id = nx_row_copy(row, 0, arena),
        .name = nx_row_copy(row, 1, arena),
        .url = nx_row_copy(row, 2, arena),
        .options = nx_row_copy(row, 3, arena),
        .enabled = nx_row_int(row, 4) != 0,
        .version = nx_row_int(row, 5),
        .created_by = nx_row_copy(row, 6, arena),
        .user = nx_row_copy(row, 7, arena),
        .key = nx_row_copy(row, 8, arena),
        .lease_owner = nx_row_copy(row, 9, arena),
        .lease_until = nx_row_int(row, 10),
        .leased = nx_row_int(row, 11) != 0,
        .fence = nx_row_int(row, 12),
        .state = read_state(row, 13),
        .reason = nx_row_copy(row, 14, arena),
        .state_at = nx_row_int(row, 15),
        .status = nx_row_copy(row, 16, arena),
        .created_at = nx_row_int(row, 17),
        .updated_at = nx_row_int(row, 18),
        .relay_path = nx_row_copy(row, 19, arena),
        .relay_address = nx_row_copy(row, 20, arena),
        .relay_token = nx_row_copy(row, 21, arena),
        .webhook_url = nx_row_copy(row, 22, arena),
        .webhook_secret = nx_row_copy(row, 23, arena),
        .counts = nx_row_copy(row, 24, arena),
    };
}

static nx_rows rows_of(nx_stream *out, size_t limit, nx_arena *arena)
{
    return (nx_rows){
        .read = read_stream, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
}

static nx_status missing(const char *id, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NOT_FOUND, "there is no stream %.60s", id);
}

static nx_status count_of(nx_db *db, const nx_sql *sql, const char *text, int64_t *out,
                          nx_error *err)
{
    nx_call call = NX_CALL(sql, nx_db_text(text));
    call.each = nx_rows_number;
    call.user = out;
    *out = 0;
    return nx_db_run(db, &call, NULL, err);
}

/* --- wanting --- */

typedef struct entry {
    const char *id;
    int64_t version;
    const nx_stream_request *request;
    nx_rows rows;
} entry;

static nx_status run_entry(nx_db *db, nx_call *call, entry *what, nx_error *err)
{
    what->rows.count = 0; /* of an attempt that the database undid */
    call->each = nx_rows_collect;
    call->user = &what->rows;
    return nx_db_run(db, call, NULL, err);
}

static nx_status name_taken(const entry *what, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CONFLICT, "there is a stream '%.64s' already",
                        what->request->name);
}

static nx_status enter(nx_db *db, void *user, nx_error *err)
{
    entry *what = user;
    const nx_stream_request *request = what->request;
    int64_t same = 0;
    nx_call call = NX_CALL(&add_stream, nx_db_text(what->id), nx_db_text(request->name),
                           nx_db_text(request->url), nx_db_text(request->options),
                           nx_db_int(request->enabled ? 1 : 0), nx_db_text(request->created_by),
                           nx_db_text(request->user), nx_db_text(request->key),
                           nx_db_text(request->webhook_url), nx_db_text(request->webhook_secret));
    nx_status status = run_entry(db, &call, what, err);
    if (status != NX_OK || what->rows.count > 0) {
        return status;
    }
    status = count_of(db, &count_name, request->name, &same, err);
    if (status != NX_OK) {
        return status;
    }
    return same > 0
               ? name_taken(what, err)
               : nx_error_set(err, NX_ERR_CONFLICT,
                              "there are %d streams already: remove some first", NX_STREAMS_MOST);
}

nx_status nx_store_stream_add(nx_store *store, const nx_stream_request *request, nx_arena *arena,
                              nx_stream *out, nx_error *err)
{
    char id[NX_UUID_SIZE];
    nx_status status = nx_uuid_make(id, err);
    if (status != NX_OK) {
        return status;
    }
    entry what = {.id = id, .request = request, .rows = rows_of(out, 1, arena)};
    return nx_store_transact(store, NX_TX_WRITE, enter, &what, err);
}

nx_status nx_store_stream_get(nx_store *store, const char *id, nx_arena *arena, nx_stream *out,
                              nx_error *err)
{
    nx_rows rows = rows_of(out, 1, arena);
    nx_status status =
        nx_rows_fetch(store, NX_TX_READ, NX_CALL(&get_stream, nx_db_text(id)), &rows, err);
    return status == NX_OK && rows.count == 0 ? missing(id, err) : status;
}

nx_status nx_store_streams_list(nx_store *store, const char *before, size_t limit, nx_arena *arena,
                                nx_stream *out, size_t *count, nx_error *err)
{
    nx_rows rows = rows_of(out, limit, arena);
    const nx_call call = NX_CALL(&list_streams, nx_db_text(before), nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

static nx_status change(nx_db *db, void *user, nx_error *err)
{
    static const nx_sql current = NX_SQL("SELECT version FROM streams WHERE id = $1");
    entry *what = user;
    const nx_stream_request *request = what->request;
    int64_t version = 0;
    nx_call call = NX_CALL(&change_stream, nx_db_text(what->id), nx_db_int(what->version),
                           nx_db_text(request->name), nx_db_text(request->url),
                           nx_db_text(request->options), nx_db_int(request->enabled ? 1 : 0),
                           nx_db_text(request->webhook_url), nx_db_text(request->webhook_secret));
    nx_status status = run_entry(db, &call, what, err);
    if (status != NX_OK || what->rows.count > 0) {
        return status;
    }
    status = count_of(db, &current, what->id, &version, err);
    if (status != NX_OK) {
        return status;
    }
    if (version == 0) {
        return missing(what->id, err);
    }
    return version == what->version
               ? name_taken(what, err)
               : nx_error_set(err, NX_ERR_CONFLICT, "stream %.60s was changed meanwhile", what->id);
}

nx_status nx_store_stream_change(nx_store *store, const char *id, int64_t version,
                                 const nx_stream_request *request, nx_arena *arena, nx_stream *out,
                                 nx_error *err)
{
    entry what = {.id = id, .version = version, .request = request, .rows = rows_of(out, 1, arena)};
    return nx_store_transact(store, NX_TX_WRITE, change, &what, err);
}

nx_status nx_store_stream_remove(nx_store *store, const char *id, nx_error *err)
{
    int64_t rows = 0;
    const nx_call call = NX_CALL(&remove_stream, nx_db_text(id));
    nx_status status = nx_store_run(store, NX_TX_WRITE, &call, &rows, err);
    return status == NX_OK && rows == 0 ? missing(id, err) : status;
}

/* --- running --- */

#define FREE                                                                                       \
    "SELECT id FROM streams WHERE enabled = 1 AND (lease_until IS NULL OR lease_until <= "         \
    "nx_now())"                                                                                    \
    " ORDER BY coalesce(lease_until, state_at), id LIMIT $3"
#define TAKE                                                                                       \
    "UPDATE streams SET lease_owner = $1, lease_until = nx_now() + $2, fence = $4,"                \
    " state = 'connecting', reason = '', state_at = nx_now(), status = NULL, counts = NULL,"       \
    " relay_path = $5, relay_address = $6, relay_token = $7"
/* SKIP LOCKED: what somebody else is just taking is passed over, not waited for. */
static const nx_sql take_free = {
    .sqlite = TAKE " WHERE id IN (" FREE ") RETURNING " COLUMNS,
    .postgres = "WITH free AS MATERIALIZED (" FREE " FOR UPDATE SKIP LOCKED) " TAKE
                " FROM free WHERE streams.id = free.id RETURNING " COLUMNS,
};

/* After the clock was set back. */
static const nx_sql settle_leases =
    NX_SQL("UPDATE streams SET lease_until = nx_now() + $1 WHERE " NX_AHEAD("lease_until - $1"));

#define MINE " WHERE id = $1 AND fence = $2 AND lease_owner IS NOT NULL"
static const nx_sql hold =
    NX_SQL("UPDATE streams SET lease_until = nx_now() + $3,"
           " state_at = CASE WHEN state = $4 THEN state_at ELSE nx_now() END,"
           " state = $4, reason = $5, status = $6, counts = $7" MINE " RETURNING version, enabled");
static const nx_sql release =
    NX_SQL("UPDATE streams SET lease_owner = NULL, lease_until = NULL, state = 'stopped',"
           " reason = $3, state_at = nx_now(), relay_path = NULL, relay_address = NULL,"
           " relay_token = NULL" MINE);
static const nx_sql count_id = NX_SQL("SELECT count(*) FROM streams WHERE id = $1");

typedef struct taking {
    nx_store *store;
    nx_call *call;
    nx_rows *rows;
    int64_t lease_ms;
} taking;

static nx_status take(nx_db *db, void *user, nx_error *err)
{
    const taking *what = user;
    const nx_call settle = NX_CALL(&settle_leases, nx_db_int(what->lease_ms));
    bool jumped = false;
    what->rows->count = 0;
    nx_status status = nx_store_clock_jumped(what->store, db, NX_LEASES_STREAMS, &jumped, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &settle, NULL, err);
    }
    return status == NX_OK && !jumped ? nx_db_run(db, what->call, NULL, err) : status;
}

nx_status nx_store_streams_take(nx_store *store, const nx_stream_runner *runner, size_t limit,
                                int64_t lease_ms, nx_arena *arena, nx_stream *out, size_t *count,
                                nx_error *err)
{
    uint64_t noise = 0;
    nx_rows rows = rows_of(out, limit, arena);
    *count = 0;
    if (getrandom(&noise, sizeof noise, 0) != (ssize_t)sizeof noise) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "the system has no random bytes for a lease");
    }
    /* by chance, not by counting: why is in job_queue.c */
    nx_call call =
        NX_CALL(&take_free, nx_db_text(runner->name), nx_db_int(lease_ms),
                nx_db_int((int64_t)limit), nx_db_int((int64_t)(noise >> 2)),
                nx_db_text(runner->path), nx_db_text(runner->address), nx_db_text(runner->token));
    call.each = nx_rows_collect;
    call.user = &rows;
    taking what = {.store = store, .call = &call, .rows = &rows, .lease_ms = lease_ms};
    nx_status status = nx_store_transact(store, NX_TX_SOFT, take, &what, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

typedef struct holding {
    const nx_stream_lease *lease;
    const nx_stream_report *report;
    int64_t lease_ms;
    int64_t version;
    bool enabled;
} holding;

static nx_status read_wanted(const nx_row *row, void *user, nx_error *err)
{
    holding *what = user;
    (void)err;
    what->version = nx_row_int(row, 0);
    what->enabled = nx_row_int(row, 1) != 0;
    return NX_OK;
}

static nx_status hold_on(nx_db *db, void *user, nx_error *err)
{
    holding *what = user;
    int64_t rows = 0;
    int64_t there = 0;
    nx_call call = NX_CALL(&hold, nx_db_text(what->lease->id), nx_db_int(what->lease->fence),
                           nx_db_int(what->lease_ms), nx_db_text(state_names[what->report->state]),
                           nx_db_text(what->report->reason), nx_db_text(what->report->status),
                           nx_db_text(what->report->counts));
    call.each = read_wanted;
    call.user = what;
    nx_status status = nx_db_run(db, &call, &rows, err);
    if (status != NX_OK || rows > 0) {
        return status;
    }
    status = count_of(db, &count_id, what->lease->id, &there, err);
    if (status != NX_OK) {
        return status;
    }
    return there == 0 ? missing(what->lease->id, err)
                      : nx_error_set(err, NX_ERR_CONFLICT, "stream %.60s is run by somebody else",
                                     what->lease->id);
}

nx_status nx_store_stream_hold(nx_store *store, const nx_stream_lease *lease, int64_t lease_ms,
                               const nx_stream_report *report, int64_t *version, bool *enabled,
                               nx_error *err)
{
    holding what = {.lease = lease, .report = report, .lease_ms = lease_ms};
    nx_status status = nx_store_transact(store, NX_TX_SOFT, hold_on, &what, err);
    *version = what.version;
    *enabled = what.enabled;
    return status;
}

nx_status nx_store_stream_release(nx_store *store, const nx_stream_lease *lease, const char *reason,
                                  nx_error *err)
{
    const nx_call call =
        NX_CALL(&release, nx_db_text(lease->id), nx_db_int(lease->fence), nx_db_text(reason));
    return nx_store_run(store, NX_TX_SOFT, &call, NULL, err);
}

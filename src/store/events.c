#include "store/events.h"

#include "store/event_deliveries.h"
#include "store/object_rows.h"
#include "store/rows.h"

#define COLUMNS                                                                                    \
    "seq, id, stream_id, stream_name, kind, rule, class, track, zone, at, details, snapshot,"      \
    " clip, bytes, created_at, clip_offset"

/* Until the transaction ends nobody else gets a number. */
static const nx_sql next_seq = NX_SQL("UPDATE event_head SET seq = seq + 1 RETURNING seq");
static const nx_sql last_seq = NX_SQL("SELECT seq FROM event_head");
static const nx_sql insert_event =
    NX_SQL("INSERT INTO events (" COLUMNS ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
           " $12, NULL, $13, nx_now(), NULL)");
static const nx_sql insert_delivery =
    NX_SQL("INSERT INTO event_deliveries (id, event_id, target, url, next_at, created_at)"
           " VALUES ($1 || ':' || $2, $1, $2, $3, nx_now(), nx_now())");
/* To whom its stream says so, if it does. */
static const nx_sql insert_own_delivery = NX_SQL(
    "INSERT INTO event_deliveries (id, event_id, target, url, next_at, created_at)"
    " SELECT $1 || '" NX_EVENT_OWN_DELIVERY "', $1, 'webhook', webhook_url, nx_now(), nx_now()"
    " FROM streams WHERE id = $2 AND webhook_url IS NOT NULL");
static const nx_sql set_clip =
    NX_SQL("UPDATE events SET clip = $2, bytes = bytes + $3, clip_offset = $4 WHERE id = $1");
static const nx_sql get_event = NX_SQL("SELECT " COLUMNS " FROM events WHERE id = $1");
static const nx_sql remove_event = NX_SQL("DELETE FROM events WHERE id = $1");

/* A stream's have an index of their own, which nobody finds behind an OR. */
#define OF_STREAM " AND stream_id = $2"
#define OF_ANY    " AND CAST($2 AS text) IS NULL"
#define FITS                                                                                       \
    " AND ($3 IS NULL OR kind = $3) AND ($4 IS NULL OR class = $4) AND ($5 IS NULL OR zone = $5)"  \
    " AND ($6 IS NULL OR rule = $6) AND ($7 = 0 OR at >= $7) AND ($8 = 0 OR at < $8)"
#define BEFORE(whose)                                                                              \
    NX_SQL("SELECT " COLUMNS " FROM events WHERE seq < $1" whose FITS " ORDER BY seq DESC LIMIT "  \
           "$9")
#define AFTER(whose)                                                                               \
    NX_SQL("SELECT " COLUMNS " FROM events WHERE seq > $1" whose FITS " ORDER BY seq LIMIT $9")
static const nx_sql events_before[] = {BEFORE(OF_ANY), BEFORE(OF_STREAM)};
static const nx_sql events_after[] = {AFTER(OF_ANY), AFTER(OF_STREAM)};

/* $1: age, $2: bytes, $3: limit, $4: what a row weighs. */
static const nx_sql expire =
    NX_SQL("DELETE FROM events WHERE seq IN (SELECT seq FROM (SELECT seq, at,"
           " sum(bytes + $4) OVER (ORDER BY seq DESC) AS upto FROM events) AS sized"
           " WHERE at < nx_now() - $1 OR upto > $2 ORDER BY seq LIMIT $3)");

static void read_event(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_event_row *)item = (nx_event_row){
        .seq = nx_row_int(row, 0),
        .id = nx_row_copy(row, 1, arena),
        .stream_id = nx_row_copy(row, 2, arena),
        .stream_name = nx_row_copy(row, 3, arena),
        .kind = nx_row_copy(row, 4, arena),
        .rule = nx_row_copy(row, 5, arena),
        .class_name = nx_row_copy(row, 6, arena),
        .track = nx_row_int(row, 7),
        .zone = nx_row_copy(row, 8, arena),
        .at = nx_row_int(row, 9),
        .details = nx_row_copy(row, 10, arena),
        .snapshot = nx_row_copy(row, 11, arena),
        .clip = nx_row_copy(row, 12, arena),
        .bytes = nx_row_int(row, 13),
        .created_at = nx_row_int(row, 14),
        .clip_offset_ms = nx_row_int(row, 15),
    };
}

/* --- entering --- */

typedef struct entry {
    const nx_event_row *event;
    const nx_event_targets *targets;
    int64_t seq;
} entry;

static nx_status add_delivery(nx_db *db, const char *event, const char *target, const char *url,
                              nx_error *err)
{
    const nx_call call =
        NX_CALL(&insert_delivery, nx_db_text(event), nx_db_text(target), nx_db_text(url));
    return nx_db_run(db, &call, NULL, err);
}

static nx_status add(nx_db *db, void *user, nx_error *err)
{
    entry *what = user;
    const nx_event_row *e = what->event;
    nx_call next = {.sql = &next_seq, .each = nx_rows_number, .user = &what->seq};
    nx_status status = e->snapshot != NULL ? nx_object_use(db, e->snapshot, err) : NX_OK;
    if (status == NX_OK) {
        status = nx_db_run(db, &next, NULL, err);
    }
    if (status != NX_OK) {
        return status;
    }
    const nx_call insert =
        NX_CALL(&insert_event, nx_db_int(what->seq), nx_db_text(e->id), nx_db_text(e->stream_id),
                nx_db_text(e->stream_name), nx_db_text(e->kind), nx_db_text(e->rule),
                nx_db_text(e->class_name), e->track != 0 ? nx_db_int(e->track) : nx_db_no_int(),
                nx_db_text(e->zone), nx_db_int(e->at), nx_db_text(e->details),
                nx_db_text(e->snapshot), nx_db_int(e->bytes));
    status = nx_db_run(db, &insert, NULL, err);
    if (status == NX_OK) {
        const nx_call own =
            NX_CALL(&insert_own_delivery, nx_db_text(e->id), nx_db_text(e->stream_id));
        status = nx_db_run(db, &own, NULL, err);
    }
    if (status == NX_OK && what->targets->webhook != NULL) {
        status = add_delivery(db, e->id, "webhook", what->targets->webhook, err);
    }
    if (status == NX_OK && what->targets->mqtt) {
        status = add_delivery(db, e->id, "mqtt", "", err);
    }
    return status;
}

nx_status nx_store_event_add(nx_store *store, const nx_event_row *event,
                             const nx_event_targets *targets, int64_t *seq, nx_error *err)
{
    entry what = {.event = event, .targets = targets};
    if (!nx_uuid_is(event->id) || strlen(event->details) > NX_EVENT_DETAILS_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "an event without id, or with too many details");
    }
    nx_status status = nx_store_transact(store, NX_TX_WRITE, add, &what, err);
    if (seq != NULL) {
        *seq = what.seq;
    }
    return status;
}

typedef struct clipping {
    const char *id, *clip;
    int64_t size, offset_ms;
} clipping;

static nx_status give_clip(nx_db *db, void *user, nx_error *err)
{
    const clipping *what = user;
    int64_t rows = 0;
    const nx_call change = NX_CALL(&set_clip, nx_db_text(what->id), nx_db_text(what->clip),
                                   nx_db_int(what->size), nx_db_int(what->offset_ms));
    nx_status status = nx_object_use(db, what->clip, err);
    if (status == NX_OK) {
        status = nx_db_run(db, &change, &rows, err);
    }
    return status == NX_OK && rows == 0
               ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no event %.60s", what->id)
               : status;
}

nx_status nx_store_event_set_clip(nx_store *store, const char *id, const char *clip, int64_t size,
                                  int64_t offset_ms, nx_error *err)
{
    clipping what = {.id = id, .clip = clip, .size = size, .offset_ms = offset_ms};
    return nx_store_transact(store, NX_TX_WRITE, give_clip, &what, err);
}

/* --- reading --- */

static nx_rows rows_of(nx_event_row *out, size_t limit, nx_arena *arena)
{
    return (nx_rows){
        .read = read_event, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
}

nx_status nx_store_event_get(nx_store *store, const char *id, nx_arena *arena, nx_event_row *out,
                             nx_error *err)
{
    nx_rows rows = rows_of(out, 1, arena);
    const nx_call call = NX_CALL(&get_event, nx_db_text(id));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    return status == NX_OK && rows.count == 0
               ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no event %.60s", id)
               : status;
}

/* sql: of any stream, and of one. */
static nx_status list(nx_store *store, const nx_sql *sql, const nx_event_filter *filter,
                      int64_t bound, size_t limit, nx_arena *arena, nx_event_row *out,
                      size_t *count, nx_error *err)
{
    nx_rows rows = rows_of(out, limit, arena);
    const nx_call call =
        NX_CALL(&sql[filter->stream != NULL], nx_db_int(bound), nx_db_text(filter->stream),
                nx_db_text(filter->kind), nx_db_text(filter->class_name), nx_db_text(filter->zone),
                nx_db_text(filter->rule), nx_db_int(filter->since), nx_db_int(filter->until),
                nx_db_int((int64_t)limit));
    nx_status status = nx_rows_fetch(store, NX_TX_READ, call, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_store_events_before(nx_store *store, const nx_event_filter *filter, int64_t before,
                                 size_t limit, nx_arena *arena, nx_event_row *out, size_t *count,
                                 nx_error *err)
{
    return list(store, events_before, filter, before > 0 ? before : INT64_MAX, limit, arena, out,
                count, err);
}

nx_status nx_store_events_after(nx_store *store, const nx_event_filter *filter, int64_t after,
                                size_t limit, nx_arena *arena, nx_event_row *out, size_t *count,
                                nx_error *err)
{
    return list(store, events_after, filter, after, limit, arena, out, count, err);
}

nx_status nx_store_events_last(nx_store *store, int64_t *seq, nx_error *err)
{
    const nx_call call = {.sql = &last_seq, .each = nx_rows_number, .user = seq};
    *seq = 0;
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}

/* --- removing --- */

nx_status nx_store_event_remove(nx_store *store, const char *id, nx_error *err)
{
    int64_t rows = 0;
    const nx_call call = NX_CALL(&remove_event, nx_db_text(id));
    nx_status status = nx_store_run(store, NX_TX_WRITE, &call, &rows, err);
    return status == NX_OK && rows == 0
               ? nx_error_set(err, NX_ERR_NOT_FOUND, "there is no event %.60s", id)
               : status;
}

nx_status nx_store_events_expire(nx_store *store, int64_t age_ms, int64_t most_bytes, size_t limit,
                                 size_t *removed, nx_error *err)
{
    int64_t rows = 0;
    const nx_call call = NX_CALL(&expire, nx_db_int(age_ms), nx_db_int(most_bytes),
                                 nx_db_int((int64_t)limit), nx_db_int(NX_EVENT_ROW_BYTES));
    nx_status status = nx_store_run(store, NX_TX_WRITE, &call, &rows, err);
    *removed = status == NX_OK ? (size_t)rows : 0;
    return status;
}

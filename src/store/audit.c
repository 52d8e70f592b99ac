#include "store/audit.h"

#include "base/utf8.h"
#include "store/rows.h"

#include <sodium.h>
#include <stdio.h>

#define COLUMNS                                                                                    \
    "seq, at, actor_kind, actor, actor_key, address, action, object, result, details, request_id," \
    " hash"
#define TEXTS     9
#define PAGE_ROWS 500

static const char domain[] = "nexus-audit-1";

/* The head's row is the lock: of several that append one goes on, and the next sees its row. */
static const nx_sql take_head = {
    .sqlite = "SELECT seq, hash, nx_now() FROM audit_head WHERE id = 1",
    .postgres = "SELECT seq, hash, nx_now() FROM audit_head WHERE id = 1 FOR UPDATE",
};
static const nx_sql insert_row =
    NX_SQL("INSERT INTO audit_log (" COLUMNS
           ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
static const nx_sql move_head = NX_SQL("UPDATE audit_head SET seq = $1, hash = $2 WHERE id = 1");
static const nx_sql look_at_head =
    NX_SQL("SELECT seq, hash, (SELECT coalesce(max(seq), 0) FROM audit_log),"
           " (SELECT count(*) FROM audit_log WHERE seq < 1) FROM audit_head WHERE id = 1");

#define FITS                                                                                       \
    " AND ($2 = 0 OR at >= $2) AND ($3 = 0 OR at < $3) AND ($4 IS NULL OR actor = $4)"             \
    " AND ($5 IS NULL OR action = $5) AND ($6 IS NULL OR substr(action, 1, length($6)) = $6)"
static const nx_sql rows_after =
    NX_SQL("SELECT " COLUMNS " FROM audit_log WHERE seq > $1" FITS " ORDER BY seq LIMIT $7");
static const nx_sql rows_before =
    NX_SQL("SELECT " COLUMNS " FROM audit_log WHERE ($1 = 0 OR seq < $1)" FITS
           " ORDER BY seq DESC LIMIT $7");

static const nx_sql last_of_action = NX_SQL(
    "SELECT at FROM audit_log WHERE action = $1 AND result = 'ok' ORDER BY seq DESC LIMIT 1");

/* --- rows and their hashes --- */

/* In the order in which they are hashed, and stand in COLUMNS. */
static void list_texts(const nx_audit_entry *entry, const char *out[TEXTS])
{
    const char *const texts[TEXTS] = {
        entry->actor_kind, entry->actor,  entry->actor_key, entry->address,    entry->action,
        entry->object,     entry->result, entry->details,   entry->request_id,
    };
    memcpy(out, texts, sizeof texts);
}

static void hash_number(crypto_hash_sha256_state *hash, uint64_t number, size_t bytes)
{
    uint8_t out[8];
    for (size_t i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(number >> (8 * (bytes - 1 - i)));
    }
    crypto_hash_sha256_update(hash, out, bytes);
}

/* hash: in, that of the row before; out, this one's. */
static void hash_row(int64_t seq, int64_t at, const nx_audit_entry *entry,
                     uint8_t hash[crypto_hash_sha256_BYTES])
{
    const char *texts[TEXTS];
    crypto_hash_sha256_state state;
    list_texts(entry, texts);
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const uint8_t *)domain, sizeof domain - 1);
    crypto_hash_sha256_update(&state, hash, crypto_hash_sha256_BYTES);
    hash_number(&state, (uint64_t)seq, 8);
    hash_number(&state, (uint64_t)at, 8);
    for (size_t i = 0; i < TEXTS; i++) {
        size_t size = strlen(texts[i]);
        hash_number(&state, size, 4);
        crypto_hash_sha256_update(&state, (const uint8_t *)texts[i], size);
    }
    crypto_hash_sha256_final(&state, hash);
}

static bool parse_hash(const char *text, uint8_t out[crypto_hash_sha256_BYTES])
{
    size_t size = 0;
    const char *end = NULL;
    return text != NULL && strlen(text) == NX_AUDIT_HASH - 1 &&
           sodium_hex2bin(out, crypto_hash_sha256_BYTES, text, NX_AUDIT_HASH - 1, NULL, &size,
                          &end) == 0 &&
           size == crypto_hash_sha256_BYTES && *end == '\0';
}

static void format_hash(const uint8_t hash[crypto_hash_sha256_BYTES], char out[NX_AUDIT_HASH])
{
    sodium_bin2hex(out, NX_AUDIT_HASH, hash, crypto_hash_sha256_BYTES);
}

static void read_row(const nx_row *row, void *item, nx_arena *arena)
{
    *(nx_audit_row *)item = (nx_audit_row){
        .seq = nx_row_int(row, 0),
        .at = nx_row_int(row, 1),
        .entry = {.actor_kind = nx_row_copy(row, 2, arena),
                  .actor = nx_row_copy(row, 3, arena),
                  .actor_key = nx_row_copy(row, 4, arena),
                  .address = nx_row_copy(row, 5, arena),
                  .action = nx_row_copy(row, 6, arena),
                  .object = nx_row_copy(row, 7, arena),
                  .result = nx_row_copy(row, 8, arena),
                  .details = nx_row_copy(row, 9, arena),
                  .request_id = nx_row_copy(row, 10, arena)},
        .hash = nx_row_copy(row, 11, arena),
    };
}

/* --- appending --- */

typedef struct clean_entry {
    char texts[TEXTS][NX_AUDIT_TEXT_MAX + 1]; /* the details' place is not used */
    char details[NX_AUDIT_DETAILS_MAX + 1];
} clean_entry;

/* What both databases keep byte for byte, and no reader stumbles over. */
static void clean_text(const char *text, char out[NX_AUDIT_TEXT_MAX + 1])
{
    static const char replacement[] = "\xef\xbf\xbd";
    const unsigned char *at = (const unsigned char *)(text != NULL ? text : "");
    size_t left = strlen((const char *)at);
    size_t used = 0;
    while (left > 0) {
        bool plain = *at >= 0x20 && *at < 0x7f;
        size_t sequence = plain ? 1 : *at >= 0x80 ? nx_utf8_sequence(at, left) : 0;
        /* C1 controls are two bytes: U+0080 to U+009F */
        bool control = sequence == 2 && at[0] == 0xc2 && at[1] < 0xa0;
        bool keep = sequence > 0 && !control;
        size_t size = keep ? sequence : sizeof replacement - 1;
        if (used + size > NX_AUDIT_TEXT_MAX) {
            break;
        }
        memcpy(out + used, keep ? (const char *)at : replacement, size);
        used += size;
        size_t step = sequence > 0 ? sequence : 1;
        at += step;
        left -= step;
    }
    out[used] = '\0';
}

/* JSON that is written by our own writer is so. */
static bool is_clean(const char *details)
{
    const unsigned char *at = (const unsigned char *)details;
    size_t left = strlen(details);
    bool good = left <= NX_AUDIT_DETAILS_MAX;
    while (good && left > 0) {
        size_t size = *at < 0x80 ? *at >= 0x20 : nx_utf8_sequence(at, left);
        good = size > 0;
        at += size;
        left -= size;
    }
    return good;
}

static const char *known_result(const char *result)
{
    static const char *const results[] = {"ok", "refused", "failed"};
    for (size_t i = 0; result != NULL && i < sizeof results / sizeof results[0]; i++) {
        if (strcmp(result, results[i]) == 0) {
            return results[i];
        }
    }
    return result == NULL ? "ok" : "failed";
}

static nx_audit_entry clean(const nx_audit_entry *entry, clean_entry *space)
{
    const char *texts[TEXTS];
    list_texts(entry, texts);
    for (size_t i = 0; i < TEXTS; i++) {
        clean_text(texts[i], space->texts[i]);
    }
    const char *details = entry->details != NULL ? entry->details : "{}";
    snprintf(space->details, sizeof space->details, "%s",
             is_clean(details) ? details : "{\"cut\":true}");
    return (nx_audit_entry){
        .actor_kind = space->texts[0],
        .actor = space->texts[1],
        .actor_key = space->texts[2],
        .address = space->texts[3],
        .action = space->texts[4],
        .object = space->texts[5],
        .result = known_result(entry->result),
        .details = space->details,
        .request_id = space->texts[8],
    };
}

typedef struct head_row {
    int64_t seq;
    int64_t now;
    uint8_t hash[crypto_hash_sha256_BYTES];
    bool there;
} head_row;

static nx_status read_head(const nx_row *row, void *user, nx_error *err)
{
    head_row *head = user;
    head->seq = nx_row_int(row, 0);
    head->now = nx_row_int(row, 2);
    head->there = parse_hash(nx_row_text(row, 1), head->hash);
    (void)err;
    return NX_OK;
}

typedef struct addition {
    const nx_audit_entry *entries;
    size_t count;
} addition;

static nx_status append_one(nx_db *db, const nx_audit_entry *entry, head_row *head, nx_error *err)
{
    clean_entry space;
    char hash[NX_AUDIT_HASH];
    const nx_audit_entry row = clean(entry, &space);
    head->seq++;
    hash_row(head->seq, head->now, &row, head->hash);
    format_hash(head->hash, hash);
    const nx_call insert =
        NX_CALL(&insert_row, nx_db_int(head->seq), nx_db_int(head->now), nx_db_text(row.actor_kind),
                nx_db_text(row.actor), nx_db_text(row.actor_key), nx_db_text(row.address),
                nx_db_text(row.action), nx_db_text(row.object), nx_db_text(row.result),
                nx_db_text(row.details), nx_db_text(row.request_id), nx_db_text(hash));
    const nx_call move = NX_CALL(&move_head, nx_db_int(head->seq), nx_db_text(hash));
    nx_status status = nx_db_run(db, &insert, NULL, err);
    return status == NX_OK ? nx_db_run(db, &move, NULL, err) : status;
}

static nx_status append(nx_db *db, void *user, nx_error *err)
{
    const addition *what = user;
    head_row head = {.there = false};
    const nx_call take = {.sql = &take_head, .each = read_head, .user = &head};
    nx_status status = nx_db_run(db, &take, NULL, err);
    if (status == NX_OK && !head.there) {
        status = nx_error_set(err, NX_ERR_CORRUPT,
                              "the audit log has lost its head; see 'nexus audit verify'");
    }
    for (size_t i = 0; i < what->count && status == NX_OK; i++) {
        status = append_one(db, &what->entries[i], &head, err);
    }
    return status;
}

nx_status nx_store_audit_append(nx_store *store, const nx_audit_entry *entries, size_t count,
                                nx_error *err)
{
    addition what = {.entries = entries, .count = count};
    return nx_store_transact(store, NX_TX_WRITE, append, &what, err);
}

/* --- reading --- */

static nx_status fetch(nx_store *store, const nx_sql *sql, const nx_audit_filter *filter,
                       int64_t from, nx_rows *rows, nx_error *err)
{
    size_t size = filter->action != NULL ? strlen(filter->action) : 0;
    bool prefix = size > 0 && filter->action[size - 1] == '.';
    const nx_call call =
        NX_CALL(sql, nx_db_int(from), nx_db_int(filter->since), nx_db_int(filter->until),
                nx_db_text(filter->actor), nx_db_text(prefix ? NULL : filter->action),
                nx_db_text(prefix ? filter->action : NULL), nx_db_int((int64_t)rows->limit));
    return nx_rows_fetch(store, NX_TX_READ, call, rows, err);
}

nx_status nx_store_audit_after(nx_store *store, const nx_audit_filter *filter, int64_t after,
                               size_t limit, nx_arena *arena, nx_audit_row *out, size_t *count,
                               nx_error *err)
{
    nx_rows rows = {
        .read = read_row, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    nx_status status = fetch(store, &rows_after, filter, after, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

nx_status nx_store_audit_before(nx_store *store, const nx_audit_filter *filter, int64_t before,
                                size_t limit, nx_arena *arena, nx_audit_row *out, size_t *count,
                                nx_error *err)
{
    nx_rows rows = {
        .read = read_row, .items = out, .size = sizeof *out, .limit = limit, .arena = arena};
    nx_status status = fetch(store, &rows_before, filter, before, &rows, err);
    *count = status == NX_OK ? rows.count : 0;
    return status;
}

/* --- verifying --- */

typedef struct state {
    nx_audit_head head;
    int64_t last;    /* the greatest seq of a row */
    int64_t strange; /* rows with a seq that none can have */
    bool there;
} state;

static nx_status read_state(const nx_row *row, void *user, nx_error *err)
{
    state *out = user;
    (void)err;
    *out = (state){.head.seq = nx_row_int(row, 0),
                   .last = nx_row_int(row, 2),
                   .strange = nx_row_int(row, 3),
                   .there = true};
    snprintf(out->head.hash, sizeof out->head.hash, "%s", nx_row_text(row, 1));
    return NX_OK;
}

static nx_status look(nx_store *store, state *out, nx_error *err)
{
    *out = (state){.there = false};
    const nx_call call = {.sql = &look_at_head, .each = read_state, .user = out};
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}

nx_status nx_store_audit_head(nx_store *store, nx_audit_head *out, nx_error *err)
{
    state found;
    nx_status status = look(store, &found, err);
    *out = found.head;
    if (status == NX_OK && !found.there) {
        status = nx_error_set(err, NX_ERR_CORRUPT, "the audit log has lost its head");
    }
    return status;
}

static void find_fault(nx_audit_verdict *out, int64_t seq, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void find_fault(nx_audit_verdict *out, int64_t seq, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(out->reason, sizeof out->reason, format, args);
    va_end(args);
    out->intact = false;
    out->first_bad = seq;
}

/* False: the row is not the one that was written. hash is the chain's until here. */
static bool check_row(const nx_audit_row *row, uint8_t hash[crypto_hash_sha256_BYTES],
                      const nx_audit_head *noted, nx_audit_verdict *out)
{
    char calculated[NX_AUDIT_HASH];
    int64_t expected = out->checked + 1;
    if (row->seq != expected) {
        find_fault(out, expected, "row %lld is missing: row %lld is followed by row %lld",
                   (long long)expected, (long long)out->checked, (long long)row->seq);
        return false;
    }
    hash_row(row->seq, row->at, &row->entry, hash);
    format_hash(hash, calculated);
    if (strcmp(calculated, row->hash) != 0) {
        find_fault(out, row->seq,
                   "row %lld is not what was written there, or the row before it is not: its hash "
                   "does not fit",
                   (long long)row->seq);
        return false;
    }
    if (noted != NULL && noted->seq == row->seq && strcmp(calculated, noted->hash) != 0) {
        find_fault(out, row->seq,
                   "row %lld has another hash than the one that was noted: the log was made anew",
                   (long long)row->seq);
        return false;
    }
    out->checked++;
    return true;
}

/* The chain's next page. more: there may be others. */
static nx_status check_page(nx_store *store, const nx_audit_check *check,
                            uint8_t hash[crypto_hash_sha256_BYTES], bool *more,
                            nx_audit_verdict *out, nx_error *err)
{
    static const nx_audit_filter all = {.since = 0};
    nx_arena arena = nx_arena_make(0);
    nx_audit_row *rows = nx_arena_calloc(&arena, PAGE_ROWS, sizeof *rows);
    size_t count = 0;
    nx_status status =
        rows != NULL
            ? nx_store_audit_after(store, &all, out->checked, PAGE_ROWS, &arena, rows, &count, err)
            : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the audit log");
    *more = count == PAGE_ROWS;
    for (size_t i = 0; i < count && out->intact && out->checked < out->head.seq; i++) {
        (void)check_row(&rows[i], hash, check->noted, out);
    }
    nx_arena_free(&arena);
    if (status == NX_OK && check->progress != NULL &&
        !check->progress(out->checked, out->head.seq, check->user)) {
        status = nx_error_set(err, NX_ERR_CANCELLED, "the check was ended");
    }
    return status;
}

static void check_end(const state *found, const nx_audit_check *check, nx_audit_verdict *out)
{
    if (found->last > found->head.seq) {
        find_fault(out, found->head.seq + 1,
                   "there is a row %lld, and by its head the log has %lld", (long long)found->last,
                   (long long)found->head.seq);
    } else if (found->strange > 0) {
        find_fault(out, 1, "there are %lld rows before the first", (long long)found->strange);
    } else if (check->noted != NULL && check->noted->seq > found->head.seq) {
        find_fault(out, found->head.seq + 1,
                   "the log had %lld rows when its head was noted, and has %lld: it was cut",
                   (long long)check->noted->seq, (long long)found->head.seq);
    }
}

nx_status nx_store_audit_verify(nx_store *store, const nx_audit_check *check, nx_audit_verdict *out,
                                nx_error *err)
{
    state found;
    uint8_t hash[crypto_hash_sha256_BYTES] = {0};
    bool more = true;
    *out = (nx_audit_verdict){.intact = true};
    nx_status status = look(store, &found, err);
    out->head = found.head;
    if (status == NX_OK && !found.there) {
        find_fault(out, 1, "the log has lost its head, which tells how many rows there are");
    }
    while (status == NX_OK && out->intact && more && out->checked < out->head.seq) {
        status = check_page(store, check, hash, &more, out, err);
    }
    if (status != NX_OK || !out->intact) {
        return status;
    }
    char calculated[NX_AUDIT_HASH];
    format_hash(hash, calculated);
    if (out->checked < out->head.seq) {
        find_fault(out, out->checked + 1,
                   "row %lld is missing, and all behind it: by its head the log has %lld",
                   (long long)out->checked + 1, (long long)out->head.seq);
    } else if (strcmp(calculated, out->head.hash) != 0) {
        find_fault(out, out->head.seq, "the head has another hash than the last row");
    } else {
        check_end(&found, check, out);
    }
    return NX_OK;
}

nx_status nx_store_audit_last(nx_store *store, const char *action, int64_t *at, nx_error *err)
{
    nx_call call = NX_CALL(&last_of_action, nx_db_text(action));
    *at = 0;
    call.each = nx_rows_number;
    call.user = at;
    return nx_store_run(store, NX_TX_READ, &call, NULL, err);
}

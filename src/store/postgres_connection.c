#include "store/postgres_connection.h"

#include "base/buffer.h"
#include "base/clock.h"

#include <endian.h>
#include <libpq-fe.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_PREPARED 192
#define NAME_SIZE    24 /* of a prepared statement's name */

/* From PostgreSQL's catalogue pg_type, where these never change. */
#define OID_BOOL  16
#define OID_BYTEA 17
#define OID_INT8  20
#define OID_INT2  21
#define OID_INT4  23
#define OID_TEXT  25

struct nx_pg {
    nx_db db;
    PGconn *connection;
    int64_t made_ns;
    bool broken;
    bool wants_retry;
    bool soft;      /* commits do not wait for the disk */
    nx_buffer copy; /* rows on their way into a table, in COPY's text format */
    size_t used;    /* of the table below; statement i is named "s<i>" */
    const nx_sql *table[MAX_PREPARED];
};

/* The first line of libpq's or the server's message, without its line break. */
static void first_line(const char *message, char *out, size_t size)
{
    snprintf(out, size, "%s", message != NULL && message[0] != '\0' ? message : "no reason given");
    out[strcspn(out, "\n")] = '\0';
}

static nx_status status_of(const char *state)
{
    static const struct {
        const char *prefix; /* postgresql.org/docs/15/errcodes-appendix.html */
        nx_status status;
    } kinds[] = {
        {"22", NX_ERR_INVALID},     {"23", NX_ERR_CONFLICT},       {"40", NX_ERR_CONFLICT},
        {"531", NX_ERR_IO},         {"532", NX_ERR_NO_MEMORY},     {"53", NX_ERR_UNAVAILABLE},
        {"57014", NX_ERR_TIMEOUT},  {"55P03", NX_ERR_TIMEOUT},     {"57", NX_ERR_UNAVAILABLE},
        {"08", NX_ERR_UNAVAILABLE}, {"25006", NX_ERR_UNAVAILABLE}, {"25P03", NX_ERR_UNAVAILABLE},
        {"58", NX_ERR_IO},          {"XX001", NX_ERR_CORRUPT},     {"XX002", NX_ERR_CORRUPT},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strncmp(state, kinds[i].prefix, strlen(kinds[i].prefix)) == 0) {
            return kinds[i].status;
        }
    }
    return NX_ERR_INTERNAL;
}

/* result may be NULL: libpq had no memory, or no connection. */
static nx_status fail(nx_pg *pg, const PGresult *result, nx_error *err)
{
    char reason[320];
    const char *state = result != NULL ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    if (PQstatus(pg->connection) != CONNECTION_OK) {
        pg->broken = true;
        first_line(PQerrorMessage(pg->connection), reason, sizeof reason);
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "the connection to PostgreSQL was lost: %s",
                            reason);
    }
    if (state == NULL) {
        pg->broken = true; /* what libpq says itself leaves the connection in a state unknown */
        first_line(PQerrorMessage(pg->connection), reason, sizeof reason);
        return nx_error_set(err, NX_ERR_INTERNAL, "PostgreSQL: %s", reason);
    }
    first_line(PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY), reason, sizeof reason);
    pg->wants_retry = strcmp(state, "40001") == 0 || strcmp(state, "40P01") == 0;
    return nx_error_set(err, status_of(state), "PostgreSQL: %s (SQLSTATE %s)", reason, state);
}

nx_status nx_pg_simple(nx_pg *pg, const char *sql, nx_error *err)
{
    pg->wants_retry = false;
    PGresult *result = PQexec(pg->connection, sql);
    ExecStatusType state = PQresultStatus(result);
    nx_status status =
        state == PGRES_COMMAND_OK || state == PGRES_TUPLES_OK ? NX_OK : fail(pg, result, err);
    PQclear(result);
    return status;
}

/* --- statements --- */

/* Values in PostgreSQL's binary form; numbers is where those of 8 bytes lie. */
typedef struct bound {
    Oid types[NX_DB_MAX_VALUES];
    const char *values[NX_DB_MAX_VALUES];
    int lengths[NX_DB_MAX_VALUES];
    int formats[NX_DB_MAX_VALUES];
    uint64_t numbers[NX_DB_MAX_VALUES];
} bound;

static nx_status bind_all(const nx_call *call, bound *out, nx_error *err)
{
    static const Oid types[] = {
        [NX_DB_INT] = OID_INT8, [NX_DB_TEXT] = OID_TEXT, [NX_DB_BLOB] = OID_BYTEA};
    for (size_t i = 0; i < call->count; i++) {
        const nx_db_value *value = &call->values[i];
        size_t size = value->type == NX_DB_INT ? sizeof out->numbers[i] : value->size;
        if (size > INT32_MAX) {
            return nx_error_set(err, NX_ERR_TOO_LARGE,
                                "a value of %zu bytes is too large for "
                                "the database",
                                size);
        }
        out->numbers[i] = htobe64((uint64_t)value->number);
        out->types[i] = types[value->type];
        out->values[i] = value->null                ? NULL
                         : value->type == NX_DB_INT ? (const char *)&out->numbers[i]
                                                    : value->bytes;
        out->lengths[i] = (int)size;
        out->formats[i] = value->type != NX_DB_TEXT;
    }
    return NX_OK;
}

static nx_status prepare(nx_pg *pg, const nx_call *call, const bound *values, char name[NAME_SIZE],
                         nx_error *err)
{
    for (size_t i = 0; i < pg->used; i++) {
        if (pg->table[i] == call->sql) {
            snprintf(name, NAME_SIZE, "s%zu", i);
            return NX_OK;
        }
    }
    if (pg->used == MAX_PREPARED) {
        return nx_error_set(err, NX_ERR_INTERNAL, "more than %d statements are prepared",
                            MAX_PREPARED);
    }
    snprintf(name, NAME_SIZE, "s%zu", pg->used);
    PGresult *result =
        PQprepare(pg->connection, name, call->sql->postgres, (int)call->count, values->types);
    nx_status status = PQresultStatus(result) == PGRES_COMMAND_OK ? NX_OK : fail(pg, result, err);
    PQclear(result);
    if (status == NX_OK) {
        pg->table[pg->used++] = call->sql;
    }
    return status;
}

static nx_status look_at_rows(nx_db *db, PGresult *result, const nx_call *call, int64_t *rows,
                              nx_error *err)
{
    nx_status status = NX_OK;
    *rows = PQntuples(result);
    for (int i = 0; i < (int)*rows && call->each != NULL && status == NX_OK; i++) {
        const nx_row row = {.db = db, .result = result, .index = i};
        status = call->each(&row, call->user, err);
    }
    return status;
}

static nx_status run(nx_db *db, const nx_call *call, int64_t *rows, nx_error *err)
{
    nx_pg *pg = (nx_pg *)db;
    bound values;
    char name[NAME_SIZE];
    pg->wants_retry = false;
    nx_status status = bind_all(call, &values, err);
    if (status == NX_OK) {
        status = prepare(pg, call, &values, name, err);
    }
    if (status != NX_OK) {
        return status;
    }
    PGresult *result = PQexecPrepared(pg->connection, name, (int)call->count, values.values,
                                      values.lengths, values.formats, 1);
    switch (PQresultStatus(result)) {
    case PGRES_TUPLES_OK:
        status = look_at_rows(db, result, call, rows, err);
        break;
    case PGRES_COMMAND_OK:
        *rows = strtoll(PQcmdTuples(result), NULL, 10);
        break;
    default:
        status = fail(pg, result, err);
        break;
    }
    PQclear(result);
    return status;
}

static nx_status script(nx_db *db, const char *text, nx_error *err)
{
    return nx_pg_simple((nx_pg *)db, text, err);
}

/* --- any table --- */

/* Rows of a cursor that are held at a time. */
#define FETCH "FETCH 100 FROM nx_each"
/* Bytes of rows that are sent at a time. */
#define COPY_BYTES ((size_t)256 * 1024)

/* One batch; rows: how many came. */
static nx_status fetch(nx_pg *pg, nx_row_fn each, void *user, int64_t *rows, nx_error *err)
{
    const nx_call call = {.each = each, .user = user};
    PGresult *result = PQexecParams(pg->connection, FETCH, 0, NULL, NULL, NULL, NULL, 1);
    nx_status status = PQresultStatus(result) == PGRES_TUPLES_OK
                           ? look_at_rows(&pg->db, result, &call, rows, err)
                           : fail(pg, result, err);
    PQclear(result);
    return status;
}

static nx_status each_row(nx_db *db, const char *sql, nx_row_fn each, void *user, nx_error *err)
{
    nx_pg *pg = (nx_pg *)db;
    nx_buffer text = NX_BUFFER_INIT;
    int64_t rows = 1;
    nx_buffer_printf(&text, "DECLARE nx_each NO SCROLL CURSOR FOR %s", sql);
    nx_status status = text.failed
                           ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a statement")
                           : nx_pg_simple(pg, nx_buffer_cstr(&text), err);
    nx_buffer_free(&text);
    while (status == NX_OK && rows > 0) {
        status = fetch(pg, each, user, &rows, err);
    }
    return status == NX_OK ? nx_pg_simple(pg, "CLOSE nx_each", err) : status;
}

static nx_status load_begin(nx_db *db, const char *table, const char *columns, size_t count,
                            nx_error *err)
{
    nx_pg *pg = (nx_pg *)db;
    nx_buffer text = NX_BUFFER_INIT;
    (void)count;
    nx_buffer_clear(&pg->copy);
    nx_buffer_printf(&text, "COPY \"%s\" (%s) FROM STDIN", table, columns);
    PGresult *result = text.failed ? NULL : PQexec(pg->connection, nx_buffer_cstr(&text));
    nx_status status = PQresultStatus(result) == PGRES_COPY_IN ? NX_OK : fail(pg, result, err);
    PQclear(result);
    nx_buffer_free(&text);
    return status;
}

/* As COPY's text format has it (postgresql.org/docs/15/sql-copy.html). */
static void append_escaped(nx_buffer *out, const char *text, size_t size)
{
    size_t from = 0;
    for (size_t i = 0; i < size; i++) {
        const char *escape = text[i] == '\\'   ? "\\\\"
                             : text[i] == '\n' ? "\\n"
                             : text[i] == '\r' ? "\\r"
                             : text[i] == '\t' ? "\\t"
                                               : NULL;
        if (escape != NULL) {
            nx_buffer_append(out, text + from, i - from);
            nx_buffer_append_str(out, escape);
            from = i + 1;
        }
    }
    nx_buffer_append(out, text + from, size - from);
}

static void append_hex(nx_buffer *out, const unsigned char *bytes, size_t size)
{
    nx_buffer_append_str(out, "\\\\x");
    for (size_t i = 0; i < size; i++) {
        nx_buffer_append_char(out, "0123456789abcdef"[bytes[i] >> 4]);
        nx_buffer_append_char(out, "0123456789abcdef"[bytes[i] & 15]);
    }
}

static void append_value(nx_buffer *out, const nx_db_value *value)
{
    if (value->null) {
        nx_buffer_append_str(out, "\\N");
    } else if (value->type == NX_DB_INT) {
        nx_buffer_printf(out, "%lld", (long long)value->number);
    } else if (value->type == NX_DB_TEXT) {
        append_escaped(out, value->bytes, value->size);
    } else {
        append_hex(out, value->bytes, value->size);
    }
}

static nx_status send_copy(nx_pg *pg, nx_error *err)
{
    if (pg->copy.failed || pg->copy.size > INT32_MAX) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for rows of the database");
    }
    if (pg->copy.size > 0 &&
        PQputCopyData(pg->connection, pg->copy.data, (int)pg->copy.size) != 1) {
        return fail(pg, NULL, err);
    }
    nx_buffer_clear(&pg->copy);
    return NX_OK;
}

static nx_status load_row(nx_db *db, const nx_db_value *values, size_t count, nx_error *err)
{
    nx_pg *pg = (nx_pg *)db;
    for (size_t i = 0; i < count; i++) {
        nx_buffer_append_str(&pg->copy, i > 0 ? "\t" : "");
        append_value(&pg->copy, &values[i]);
    }
    nx_buffer_append_char(&pg->copy, '\n');
    return pg->copy.size >= COPY_BYTES || pg->copy.failed ? send_copy(pg, err) : NX_OK;
}

static nx_status load_end(nx_db *db, nx_error *err)
{
    nx_pg *pg = (nx_pg *)db;
    nx_status status = send_copy(pg, err);
    /* With a reason the server drops the rows; told nothing, it would wait for more for ever. */
    const char *reason = status == NX_OK ? NULL : "not all rows could be sent";
    bool copying = false;
    if (PQputCopyEnd(pg->connection, reason) != 1 && status == NX_OK) {
        status = fail(pg, NULL, err);
    }
    while (status != NX_ERR_UNAVAILABLE && !copying) {
        PGresult *result = PQgetResult(pg->connection);
        if (result == NULL) {
            break;
        }
        if (status == NX_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
            status = fail(pg, result, err);
        }
        copying = PQresultStatus(result) == PGRES_COPY_IN; /* it comes again and again */
        PQclear(result);
    }
    pg->broken = pg->broken || copying;
    return status;
}

static bool is_null(const nx_row *row, int column)
{
    return PQgetisnull(row->result, row->index, column) == 1;
}

static int64_t read_int(const nx_row *row, int column)
{
    const char *bytes = PQgetvalue(row->result, row->index, column);
    switch (PQgetlength(row->result, row->index, column)) {
    case 8: {
        uint64_t number;
        memcpy(&number, bytes, sizeof number);
        return (int64_t)be64toh(number);
    }
    case 4: {
        uint32_t number;
        memcpy(&number, bytes, sizeof number);
        return (int32_t)be32toh(number);
    }
    case 1:
        return bytes[0];
    default:
        return 0;
    }
}

static const char *read_text(const nx_row *row, int column)
{
    return PQgetvalue(row->result, row->index, column);
}

static const void *read_blob(const nx_row *row, int column, size_t *size)
{
    *size = (size_t)PQgetlength(row->result, row->index, column);
    return PQgetvalue(row->result, row->index, column);
}

static const nx_db_ops ops = {
    .run = run,
    .script = script,
    .is_null = is_null,
    .read_int = read_int,
    .read_text = read_text,
    .read_blob = read_blob,
    .each = each_row,
    .load_begin = load_begin,
    .load_row = load_row,
    .load_end = load_end,
};

/* --- connecting --- */

static void ignore_notice(void *user, const PGresult *result)
{
    (void)user;
    (void)result;
}

/* Bounds for what hangs: a statement, a lock, a transaction whose process stands still. */
static const char session[] = "SET statement_timeout = '30s'; SET lock_timeout = '20s';"
                              "SET idle_in_transaction_session_timeout = '60s';"
                              "SET default_transaction_isolation = 'read committed';"
                              "SET client_encoding = 'UTF8'";

nx_status nx_pg_connect(const char *url, bool echo, nx_pg **out, nx_error *err)
{
    /* The URL comes first and may say otherwise for those that stand before it. */
    static const char *const names[] = {"application_name", "connect_timeout", "tcp_user_timeout",
                                        "keepalives_idle",  "dbname",          NULL};
    const char *values[] = {"nexus", "5", "30000", "30", url, NULL};
    *out = NULL;
    nx_pg *pg = calloc(1, sizeof *pg);
    if (pg == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a database connection");
    }
    pg->db = (nx_db){.ops = &ops, .postgres = true, .echo = echo};
    pg->made_ns = nx_clock_now_ns();
    pg->connection = PQconnectdbParams(names, values, 1);
    nx_status status = NX_OK;
    if (PQstatus(pg->connection) != CONNECTION_OK) {
        char reason[320];
        char place[128];
        first_line(PQerrorMessage(pg->connection), reason, sizeof reason);
        nx_pg_describe_url(url, place, sizeof place);
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "cannot reach PostgreSQL at %s: %s", place,
                              reason);
    } else {
        PQsetNoticeReceiver(pg->connection, ignore_notice, NULL);
        status = nx_pg_simple(pg, session, err);
    }
    if (status != NX_OK) {
        nx_pg_close(pg);
        return status;
    }
    *out = pg;
    return NX_OK;
}

void nx_pg_close(nx_pg *pg)
{
    if (pg != NULL) {
        nx_buffer_free(&pg->copy);
        PQfinish(pg->connection);
        free(pg);
    }
}

nx_db *nx_pg_db(nx_pg *pg)
{
    return &pg->db;
}

int64_t nx_pg_made_ns(const nx_pg *pg)
{
    return pg->made_ns;
}

bool nx_pg_seems_alive(nx_pg *pg)
{
    /* An idle server says nothing but good-bye, or that a parameter has changed: it is asked. */
    struct pollfd socket = {.fd = PQsocket(pg->connection), .events = POLLIN};
    if (poll(&socket, 1, 0) > 0 && (PQconsumeInput(pg->connection) != 1 || !nx_pg_ping(pg))) {
        pg->broken = true;
    }
    return !nx_pg_is_broken(pg);
}

bool nx_pg_ping(nx_pg *pg)
{
    nx_error ignored;
    return nx_pg_simple(pg, "SELECT 1", &ignored) == NX_OK;
}

bool nx_pg_is_broken(const nx_pg *pg)
{
    return pg->broken || PQstatus(pg->connection) != CONNECTION_OK ||
           PQtransactionStatus(pg->connection) != PQTRANS_IDLE;
}

void nx_pg_rollback(nx_pg *pg)
{
    nx_error ignored;
    if (!pg->broken && PQtransactionStatus(pg->connection) != PQTRANS_IDLE) {
        (void)nx_pg_simple(pg, "ROLLBACK", &ignored);
    }
}

nx_status nx_pg_set_durable(nx_pg *pg, bool durable, nx_error *err)
{
    if (pg->soft != durable) {
        return NX_OK;
    }
    nx_status status = nx_pg_simple(
        pg, durable ? "RESET synchronous_commit" : "SET synchronous_commit = off", err);
    if (status == NX_OK) {
        pg->soft = !durable;
    }
    return status;
}

bool nx_pg_wants_retry(const nx_pg *pg)
{
    return pg->wants_retry && !pg->broken;
}

void nx_pg_describe(const nx_pg *pg, char *place, size_t place_size, char *version,
                    size_t version_size)
{
    const char *host = PQhost(pg->connection);
    const char *told = PQparameterStatus(pg->connection, "server_version");
    snprintf(place, place_size, "%s@%s:%s/%s", PQuser(pg->connection),
             host != NULL && host[0] != '\0' ? host : "localhost", PQport(pg->connection),
             PQdb(pg->connection));
    snprintf(version, version_size, "%s", told != NULL ? told : "?");
}

void nx_pg_describe_url(const char *url, char *place, size_t size)
{
    PQconninfoOption *options = PQconninfoParse(url, NULL);
    const char *user = NULL;
    const char *host = NULL;
    const char *port = NULL;
    const char *name = NULL;
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++) {
        user = strcmp(o->keyword, "user") == 0 ? o->val : user;
        host = strcmp(o->keyword, "host") == 0 ? o->val : host;
        port = strcmp(o->keyword, "port") == 0 ? o->val : port;
        name = strcmp(o->keyword, "dbname") == 0 ? o->val : name;
    }
    snprintf(place, size, "%s%s%s%s%s/%s", user != NULL ? user : "", user != NULL ? "@" : "",
             host != NULL ? host : "localhost", port != NULL ? ":" : "", port != NULL ? port : "",
             name != NULL ? name : "");
    PQconninfoFree(options);
}

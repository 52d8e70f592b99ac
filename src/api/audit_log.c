/*
 * GET /api/v1/audit: the audit log for admins; the newest rows as a page of JSON, or all that fit
 * as ndjson or csv, oldest first, written while they are read.
 */
#include "api/audit.h"
#include "api/audit_text.h"
#include "api/storage.h"
#include "api/work.h"
#include "base/time_text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORT_ROWS 500

typedef enum log_format { FORMAT_JSON, FORMAT_NDJSON, FORMAT_CSV } log_format;

typedef struct query {
    nx_audit_filter filter;
    int64_t before; /* the cursor */
    int64_t limit;
    log_format format;
    nx_status status;
    nx_error err;
} query;

static nx_status read_format(const char *value, log_format *out, nx_error *err)
{
    static const char *const names[] = {"json", "ndjson", "csv"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(value, names[i]) == 0) {
            *out = (log_format)i;
            return NX_OK;
        }
    }
    return nx_error_set(err, NX_ERR_INVALID, "format is '%.40s'; use json, ndjson or csv", value);
}

static bool take_option(const char *name, const char *value, void *user)
{
    query *self = user;
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    if (value == NULL) {
        self->status = nx_error_set(&self->err, NX_ERR_INVALID, "%.40s has no value", name);
    } else if (strcmp(name, "since") == 0) {
        self->status = nx_time_parse(value, now_ms, &self->filter.since, &self->err);
    } else if (strcmp(name, "until") == 0) {
        self->status = nx_time_parse(value, now_ms, &self->filter.until, &self->err);
    } else if (strcmp(name, "actor") == 0) {
        self->filter.actor = value;
    } else if (strcmp(name, "action") == 0) {
        self->filter.action = value;
    } else if (strcmp(name, "cursor") == 0) {
        self->status = nx_api_read_number(name, value, INT64_MAX, &self->before, &self->err);
    } else if (strcmp(name, "limit") == 0) {
        self->status = nx_api_read_number(name, value, NX_API_PAGE_MAX, &self->limit, &self->err);
    } else if (strcmp(name, "format") == 0) {
        self->status = read_format(value, &self->format, &self->err);
    } else {
        self->status = nx_error_set(&self->err, NX_ERR_INVALID,
                                    "there is no option '%.40s'; there are since, until, actor, "
                                    "action, cursor, limit, format",
                                    name);
    }
    return self->status == NX_OK;
}

/* --- a page -------------------------------------------------------------------------------------
 */

static void write_page(const nx_audit_row *rows, size_t count, size_t limit, nx_buffer *out)
{
    nx_json json = nx_api_page_begin(out);
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++) {
        nx_audit_row_json(&rows[i], &json);
    }
    nx_api_page_end_at(&json, count > limit ? rows[limit - 1].seq : 0);
}

static void answer_page(nx_api *api, nx_http_request *request, const query *q)
{
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    size_t count = 0;
    size_t limit = (size_t)q->limit;
    nx_audit_row *rows = nx_arena_calloc(&arena, limit + 1, sizeof *rows);
    nx_status status = rows != NULL
                           ? nx_store_audit_before(api->deps.database, &q->filter, q->before,
                                                   limit + 1, &arena, rows, &count, &err)
                           : nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory for the audit log");
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else {
        nx_buffer out = NX_BUFFER_INIT;
        write_page(rows, count, limit, &out);
        nx_api_reply_json(request, 200, &out);
    }
    nx_arena_free(&arena);
}

/* --- an export ----------------------------------------------------------------------------------
 */

/* Writes the text into the file, and empties it. */
static nx_status flush(int fd, nx_buffer *text, uint64_t *size, nx_error *err)
{
    size_t done = 0;
    while (done < text->size && !text->failed) {
        ssize_t wrote = write(fd, text->data + done, text->size - done);
        if (wrote < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write the export");
        }
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    if (text->failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the audit log");
    }
    *size += text->size;
    nx_buffer_clear(text);
    return NX_OK;
}

/* The next rows; after becomes the last one's number, and 0 when there are no more. */
static nx_status export_rows(nx_api *api, const query *q, int64_t *after, nx_buffer *text,
                             nx_error *err)
{
    nx_arena arena = nx_arena_make(0);
    size_t count = 0;
    nx_audit_row *rows = nx_arena_calloc(&arena, EXPORT_ROWS, sizeof *rows);
    nx_status status = rows != NULL
                           ? nx_store_audit_after(api->deps.database, &q->filter, *after,
                                                  EXPORT_ROWS, &arena, rows, &count, err)
                           : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the audit log");
    for (size_t i = 0; i < count; i++) {
        if (q->format == FORMAT_CSV) {
            nx_audit_row_csv(&rows[i], text);
        } else {
            nx_json json = nx_json_begin(text);
            nx_audit_row_json(&rows[i], &json);
            nx_buffer_append_char(text, '\n');
        }
    }
    *after = count == EXPORT_ROWS ? rows[count - 1].seq : 0;
    nx_arena_free(&arena);
    return status;
}

static nx_status export_log(nx_api *api, const query *q, int fd, uint64_t *size, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_status status = NX_OK;
    int64_t after = 0;
    if (q->format == FORMAT_CSV) {
        nx_audit_csv_head(&text);
    }
    do {
        status = export_rows(api, q, &after, &text, err);
        if (status == NX_OK) {
            status = flush(fd, &text, size, err);
        }
    } while (status == NX_OK && after > 0);
    nx_buffer_free(&text);
    return status;
}

static void answer_export(nx_api *api, nx_http_request *request, const query *q)
{
    nx_error err = {0};
    uint64_t size = 0;
    int fd = -1;
    nx_status status = nx_objects_scratch(api->deps.objects, &fd, &err);
    if (status == NX_OK) {
        status = export_log(api, q, fd, &size, &err);
    }
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
        if (fd >= 0) {
            close(fd);
        }
        return;
    }
    bool csv = q->format == FORMAT_CSV;
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_add_header(request, "Content-Disposition",
                       csv ? "attachment; filename=\"audit.csv\""
                           : "attachment; filename=\"audit.ndjson\"");
    nx_http_reply_file(request, csv ? "text/csv; charset=utf-8" : "application/x-ndjson", NULL, fd,
                       size);
}

static void answer(nx_api *api, nx_http_request *request)
{
    query q = {.limit = NX_API_PAGE_DEFAULT};
    if (!nx_http_each_query(request, take_option, &q)) {
        nx_problem problem =
            nx_problem_make(422, "See the API docs at /docs.", "%s", q.err.message);
        nx_http_reply_problem(request, &problem);
    } else if (q.format == FORMAT_JSON) {
        answer_page(api, request, &q);
    } else {
        answer_export(api, request, &q);
    }
}

void nx_api_audit_list(nx_http_request *request, void *user)
{
    nx_api_answer_slowly(user, request, answer);
}

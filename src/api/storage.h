/* What the resources that live in the database share: errors, pages of lists, times. */
#ifndef NX_API_STORAGE_H
#define NX_API_STORAGE_H

#include "api/internal.h"
#include "api/work.h"
#include "base/json_writer.h"

#define NX_API_PAGE_DEFAULT 50
#define NX_API_PAGE_MAX     200

/* Whether it is that a disk is full, or a quota used up: the server's or the database's. */
bool nx_api_tells_full(nx_status status, const nx_error *err);

/* An error of the database or the object store as it is answered. */
nx_problem nx_api_storage_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                  const nx_error *err);
void nx_api_storage_refuse(nx_api *api, nx_http_request *request, nx_status status,
                           const nx_error *err);

/* The options of a list. */
typedef struct nx_api_page {
    size_t limit;
    const char *cursor; /* NULL: the first page */
    const char *state;  /* NULL: not given, or not asked for */
} nx_api_page;

/* Reads ?limit=, ?cursor= and, where it is wanted, ?state=. False: the request is answered. */
bool nx_api_page_read(nx_http_request *request, bool has_state, nx_api_page *out);

/* Reads ?limit= and ?cursor= of a list whose cursors are names and, unless user is NULL, ?user=,
 * which is NULL when it is not given. False: the request is answered. */
bool nx_api_name_page_read(nx_http_request *request, const char **user, nx_api_page *out);

/* The body of a list's page, up to where its items follow. */
nx_json nx_api_page_begin(nx_buffer *out);
/* Ends it. cursor: of the next page; NULL: this is the last. */
void nx_api_page_end(nx_json *json, const char *cursor);
/* The same where items have numbers; 0: this is the last. */
void nx_api_page_end_at(nx_json *json, int64_t cursor);

/* The value of a query's option: a whole number from 1 to most. Errors: NX_ERR_INVALID. */
nx_status nx_api_read_number(const char *name, const char *value, int64_t most, int64_t *out,
                             nx_error *err);

/* The {id} of the path; NULL: it can't be one, and the request is answered. what: "video". */
const char *nx_api_path_id(nx_http_request *request, const char *what);

/* False: the request has options in its query, which it must not, and is answered. */
bool nx_api_no_options(nx_http_request *request);

/* RFC 3339 in UTC, of milliseconds since 1970; 0 is null. */
void nx_api_json_time(nx_json *json, const char *key, int64_t milliseconds);

/* A text that is JSON already; NULL is null. */
void nx_api_json_text(nx_json *json, const char *key, const char *text);

/* Answers with out, which is never to be kept by a cache. */
void nx_api_reply_json(nx_http_request *request, int status, nx_buffer *out);

/* Valid UTF-8 (RFC 3629) without control characters. */
bool nx_api_is_clean_text(const char *text);

#endif

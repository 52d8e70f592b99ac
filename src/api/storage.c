#include "api/storage.h"

#include "api/inference.h"
#include "base/log.h"
#include "base/time_text.h"
#include "base/utf8.h"
#include "base/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- errors -------------------------------------------------------------------------------------
 */

bool nx_api_tells_full(nx_status status, const nx_error *err)
{
    static const int reasons[] = {ENOSPC, EDQUOT, EFBIG};
    bool full = strstr(err->message, "disk is full") != NULL || /* SQLite's words */
                strstr(err->message, "SQLSTATE 53100") != NULL; /* PostgreSQL's, in any language */
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        char text[128];
        full = full || strstr(err->message, strerror_r(reasons[i], text, sizeof text)) != NULL;
    }
    return status == NX_ERR_IO && full;
}

nx_problem nx_api_storage_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                  const nx_error *err)
{
    nx_problem problem;
    if (nx_api_tells_full(status, err)) {
        const nx_log_context *before = nx_log_set_context(nx_http_log_context(request));
        nx_log_error("api", "%s", err->message);
        (void)nx_log_set_context(before);
        return nx_problem_make(507, "Free some space on the server's disk.",
                               "the server's disk is full");
    }
    switch (status) {
    case NX_ERR_NOT_FOUND:
        return nx_problem_make(404, "GET /api/v1/videos and /api/v1/jobs list what there is.", "%s",
                               err->message);
    case NX_ERR_CONFLICT:
        return nx_problem_make(409, "Look at its present state, and try again.", "%s",
                               err->message);
    case NX_ERR_INVALID:
        return nx_problem_make(422, "Check the request against /docs.", "%s", err->message);
    case NX_ERR_BUSY:
    case NX_ERR_UNAVAILABLE:
    case NX_ERR_NO_MEMORY:
        problem =
            nx_problem_make(503, "Try again after the seconds in Retry-After.", "%s", err->message);
        problem.retry_after_s = 2;
        return problem;
    default:
        break;
    }
    return nx_api_problem_of(api, request, status, err);
}

void nx_api_storage_refuse(nx_api *api, nx_http_request *request, nx_status status,
                           const nx_error *err)
{
    nx_problem problem = nx_api_storage_problem(api, request, status, err);
    nx_http_reply_problem(request, &problem);
}

/* --- reading ------------------------------------------------------------------------------------
 */

typedef struct page_walk {
    nx_api_page *page;
    bool has_state;
    const char *wrong; /* the option that is not understood */
} page_walk;

static bool take_limit(const char *value, nx_api_page *page)
{
    char *end = NULL;
    long limit = strtol(value, &end, 10);
    bool good = end != value && *end == '\0' && limit >= 1 && limit <= NX_API_PAGE_MAX;
    page->limit = good ? (size_t)limit : 1;
    return good;
}

static bool take_option(const char *name, const char *value, void *user)
{
    page_walk *walk = user;
    if (strcmp(name, "limit") == 0 && value != NULL) {
        walk->wrong = take_limit(value, walk->page) ? NULL : name;
    } else if (strcmp(name, "cursor") == 0 && nx_uuid_is(value)) {
        walk->page->cursor = value;
    } else if (strcmp(name, "state") == 0 && walk->has_state && value != NULL) {
        walk->page->state = value;
    } else {
        walk->wrong = name;
    }
    return walk->wrong == NULL;
}

bool nx_api_page_read(nx_http_request *request, bool has_state, nx_api_page *out)
{
    *out = (nx_api_page){.limit = NX_API_PAGE_DEFAULT};
    page_walk walk = {.page = out, .has_state = has_state};
    if (nx_http_each_query(request, take_option, &walk)) {
        return true;
    }
    nx_problem problem = nx_problem_make(
        422,
        has_state ? "Options are limit (1 to 200), cursor (a next_cursor) and state."
                  : "Options are limit (1 to 200) and cursor (a next_cursor).",
        "the option '%.60s' is not understood, or its value is not possible", walk.wrong);
    nx_http_reply_problem(request, &problem);
    return false;
}

typedef struct name_walk {
    nx_api_page *page;
    const char **user;
    const char *wrong;
} name_walk;

static bool take_name_option(const char *name, const char *value, void *user)
{
    name_walk *walk = user;
    if (value != NULL && strcmp(name, "limit") == 0) {
        walk->wrong = take_limit(value, walk->page) ? NULL : name;
    } else if (value != NULL && strcmp(name, "cursor") == 0) {
        walk->page->cursor = value;
    } else if (value != NULL && walk->user != NULL && strcmp(name, "user") == 0) {
        *walk->user = value;
    } else {
        walk->wrong = name;
    }
    return walk->wrong == NULL;
}

bool nx_api_name_page_read(nx_http_request *request, const char **user, nx_api_page *out)
{
    *out = (nx_api_page){.limit = NX_API_PAGE_DEFAULT};
    name_walk walk = {.page = out, .user = user};
    if (nx_http_each_query(request, take_name_option, &walk)) {
        return true;
    }
    nx_problem problem = nx_problem_make(
        422,
        user != NULL ? "Options are limit (1 to 200), cursor (a next_cursor) and user."
                     : "Options are limit (1 to 200) and cursor (a next_cursor).",
        "the option '%.60s' is not understood, or its value is not possible", walk.wrong);
    nx_http_reply_problem(request, &problem);
    return false;
}

nx_json nx_api_page_begin(nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key(&json, "items");
    nx_json_array_begin(&json);
    return json;
}

void nx_api_page_end(nx_json *json, const char *cursor)
{
    nx_json_array_end(json);
    nx_json_key_string(json, "next_cursor", cursor);
    nx_json_object_end(json);
}

void nx_api_page_end_at(nx_json *json, int64_t cursor)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)cursor);
    nx_api_page_end(json, cursor != 0 ? text : NULL);
}

nx_status nx_api_read_number(const char *name, const char *value, int64_t most, int64_t *out,
                             nx_error *err)
{
    size_t digits = strspn(value, "0123456789");
    *out = digits > 0 && digits < 19 && value[digits] == '\0' ? strtoll(value, NULL, 10) : 0;
    return *out >= 1 && *out <= most
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID,
                              "%s is '%.40s'; it is a whole number from 1 to %lld", name, value,
                              (long long)most);
}

const char *nx_api_path_id(nx_http_request *request, const char *what)
{
    const char *id = nx_http_path_param(request, "id");
    if (nx_uuid_is(id)) {
        return id;
    }
    nx_problem problem = nx_problem_make(404, "An id is as it was given when it was made.",
                                         "there is no %s '%.60s'", what, id);
    nx_http_reply_problem(request, &problem);
    return NULL;
}

static bool refuse_option(const char *name, const char *value, void *user)
{
    (void)value;
    *(const char **)user = name;
    return false;
}

bool nx_api_no_options(nx_http_request *request)
{
    const char *name = NULL;
    if (nx_http_each_query(request, refuse_option, &name)) {
        return true;
    }
    nx_problem problem =
        nx_problem_make(422, "Leave the query out.", "the option '%.60s' is not understood", name);
    nx_http_reply_problem(request, &problem);
    return false;
}

bool nx_api_is_clean_text(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t left = strlen(text);
    while (left > 0) {
        size_t size = *at < 0x80 ? 1 : nx_utf8_sequence(at, left);
        if (size == 0 || *at < 0x20 || *at == 0x7f) {
            return false;
        }
        at += size;
        left -= size;
    }
    return true;
}

/* --- writing ------------------------------------------------------------------------------------
 */

void nx_api_json_time(nx_json *json, const char *key, int64_t milliseconds)
{
    char text[NX_TIME_TEXT_SIZE];
    nx_time_text(milliseconds, text);
    nx_json_key_string(json, key, milliseconds != 0 ? text : NULL);
}

void nx_api_json_text(nx_json *json, const char *key, const char *text)
{
    nx_json_key(json, key);
    if (text == NULL) {
        nx_json_null(json);
    } else {
        nx_json_raw(json, text, strlen(text));
    }
}

void nx_api_reply_json(nx_http_request *request, int status, nx_buffer *out)
{
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, status, "application/json", out);
}

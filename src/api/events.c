#include "api/events.h"

#include "analytics/event_rules.h"
#include "api/audit.h"
#include "base/log.h"
#include "base/time_text.h"
#include "base/uuid.h"
#include "jobs/event_message.h"
#include "store/object_uses.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- the list -----------------------------------------------------------------------------------
 */

typedef struct query {
    nx_event_filter filter;
    int64_t before; /* the cursor */
    int64_t limit;
    nx_status status;
    nx_error err;
} query;

static nx_status read_kind(const char *value, const char **out, nx_error *err)
{
    nx_event_kind kind;
    *out = value;
    return nx_event_kind_find(value, &kind)
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID,
                              "there is no kind '%.40s'; there are line_crossed, zone_entered, "
                              "zone_left, loitering, count_over, count_back, object_appeared, "
                              "camera_lost, camera_back",
                              value);
}

static bool take_option(const char *name, const char *value, void *user)
{
    query *self = user;
    const struct {
        const char *name;
        const char **out;
    } texts[] = {{"stream", &self->filter.stream},
                 {"class", &self->filter.class_name},
                 {"place", &self->filter.zone},
                 {"rule", &self->filter.rule}};
    if (value == NULL || value[0] == '\0') {
        self->status = nx_error_set(&self->err, NX_ERR_INVALID, "%.40s has no value", name);
        return false;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (strcmp(name, texts[i].name) == 0) {
            *texts[i].out = value;
            return true;
        }
    }
    int64_t now_ms = (int64_t)time(NULL) * 1000;
    if (strcmp(name, "kind") == 0) {
        self->status = read_kind(value, &self->filter.kind, &self->err);
    } else if (strcmp(name, "since") == 0) {
        self->status = nx_time_parse(value, now_ms, &self->filter.since, &self->err);
    } else if (strcmp(name, "until") == 0) {
        self->status = nx_time_parse(value, now_ms, &self->filter.until, &self->err);
    } else if (strcmp(name, "cursor") == 0) {
        self->status = nx_api_read_number(name, value, INT64_MAX, &self->before, &self->err);
    } else if (strcmp(name, "limit") == 0) {
        self->status = nx_api_read_number(name, value, NX_API_PAGE_MAX, &self->limit, &self->err);
    } else {
        self->status = nx_error_set(&self->err, NX_ERR_INVALID,
                                    "there is no option '%.40s'; there are stream, kind, class, "
                                    "place, rule, since, until, cursor, limit",
                                    name);
    }
    return self->status == NX_OK;
}

static void write_page(const nx_event_row *events, size_t count, size_t limit, nx_buffer *out)
{
    nx_json json = nx_api_page_begin(out);
    size_t shown = count < limit ? count : limit;
    for (size_t i = 0; i < shown; i++) {
        nx_event_json(&events[i], &json);
    }
    nx_api_page_end_at(&json, count > limit ? events[limit - 1].seq : 0);
}

static void answer_list(nx_api *api, nx_http_request *request)
{
    query q = {.limit = NX_API_PAGE_DEFAULT};
    nx_error err = {0};
    nx_event_row events[NX_API_PAGE_MAX + 1]; /* one more tells whether there is another page */
    size_t count = 0;
    if (!nx_http_each_query(request, take_option, &q)) {
        nx_problem problem =
            nx_problem_make(422, "See the API docs at /docs.", "%s", q.err.message);
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_store_events_before(api->deps.database, &q.filter, q.before,
                                              (size_t)q.limit + 1, &arena, events, &count, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else {
        nx_buffer out = NX_BUFFER_INIT;
        write_page(events, count, (size_t)q.limit, &out);
        nx_api_reply_json(request, 200, &out);
    }
    nx_arena_free(&arena);
}

void nx_api_events_list(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_list);
}

/* --- one ----------------------------------------------------------------------------------------
 */

bool nx_api_find_event(nx_api *api, nx_http_request *request, nx_arena *arena, nx_event_row *out)
{
    nx_error err = {0};
    const char *id = nx_api_path_id(request, "event");
    if (id == NULL || !nx_api_no_options(request)) {
        return false;
    }
    nx_status status = nx_store_event_get(api->deps.database, id, arena, out, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    }
    return status == NX_OK;
}

static void answer_get(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_event_row event;
    if (nx_api_find_event(api, request, &arena, &event)) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_json json = nx_json_begin(&out);
        nx_event_json(&event, &json);
        nx_api_reply_json(request, 200, &out);
    }
    nx_arena_free(&arena);
}

void nx_api_events_get(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_get);
}

/* --- its picture and clip -----------------------------------------------------------------------
 */

static void reply_object(nx_api *api, nx_http_request *request, const char *object,
                         const char *what, const char *type)
{
    char etag[NX_OBJECT_NAME_SIZE + 2];
    nx_error err = {0};
    int64_t size = 0;
    int fd = -1;
    if (object == NULL) {
        nx_problem problem = nx_problem_make(404, "GET /api/v1/events/{id} tells what there is.",
                                             "the event has no %s", what);
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_status status = nx_objects_size(api->deps.objects, object, &size, &err);
    if (status == NX_OK) {
        status = nx_objects_fetch(api->deps.objects, object, &fd, &err);
    }
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
        return;
    }
    snprintf(etag, sizeof etag, "\"%.64s\"", object);
    nx_http_reply_file(request, type, etag, fd, (uint64_t)size);
}

static void answer_snapshot(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_event_row event;
    if (nx_api_find_event(api, request, &arena, &event)) {
        reply_object(api, request, event.snapshot, "snapshot", "image/jpeg");
    }
    nx_arena_free(&arena);
}

void nx_api_events_snapshot(nx_http_request *request, void *user)
{
    nx_api_answer_slowly(user, request, answer_snapshot);
}

static void answer_clip(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_event_row event;
    if (nx_api_find_event(api, request, &arena, &event)) {
        reply_object(api, request, event.clip, "clip", "video/mp4");
    }
    nx_arena_free(&arena);
}

void nx_api_events_clip(nx_http_request *request, void *user)
{
    nx_api_answer_slowly(user, request, answer_clip);
}

/* --- removing -----------------------------------------------------------------------------------
 */

/* Its objects go unless somebody else needs them; what is left of them is swept. */
static nx_status remove_event(nx_api *api, const nx_event_row *event, nx_error *err)
{
    const char *names[2];
    size_t count = 0;
    nx_error why = {0};
    if (event->snapshot != NULL) {
        names[count++] = event->snapshot;
    }
    if (event->clip != NULL) {
        names[count++] = event->clip;
    }
    nx_status status = nx_store_event_remove(api->deps.database, event->id, err);
    if (status == NX_OK && count > 0 &&
        nx_store_objects_collect(api->deps.database, api->deps.objects, names, count, NULL, &why) !=
            NX_OK) {
        nx_log_warn("api", "the pictures of a removed event are left: %s", why.message);
    }
    return status;
}

static void answer_remove(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_event_row event;
    if (nx_api_find_event(api, request, &arena, &event)) {
        nx_status status = remove_event(api, &event, &err);
        const nx_api_event noted = {
            .action = "event.remove", .kind = "event", .name = event.id, .outcome = status};
        nx_api_audit(api, request, &noted);
        if (status != NX_OK) {
            nx_api_storage_refuse(api, request, status, &err);
        } else {
            nx_http_reply_static(request, 204, NULL, NULL, 0);
        }
    }
    nx_arena_free(&arena);
}

void nx_api_events_remove(nx_http_request *request, void *user)
{
    nx_api_answer_slowly(user, request, answer_remove);
}

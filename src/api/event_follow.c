/* GET /api/v1/events/stream: events of cameras as they are entered, by whatever host. */
#include "api/events.h"
#include "api/job_events.h"
#include "base/uuid.h"
#include "jobs/event_message.h"

#include <string.h>

#define MOST_EVENTS 64 /* of one look */

/* id: of the stream; "": of all. */
static nx_status read_events(nx_store *store, const char *id, int64_t *after, nx_buffer *out,
                             bool *over, nx_error *err)
{
    const nx_event_filter filter = {.stream = id[0] != '\0' ? id : NULL};
    nx_event_row events[MOST_EVENTS];
    size_t count = 0;
    nx_arena arena = nx_arena_make(0);
    *over = false;
    nx_status status =
        nx_store_events_after(store, &filter, *after, MOST_EVENTS, &arena, events, &count, err);
    for (size_t i = 0; status == NX_OK && i < count; i++) {
        nx_buffer_printf(out, "id: %lld\nevent: %s\ndata: ", (long long)events[i].seq,
                         events[i].kind);
        nx_json json = nx_json_begin(out);
        nx_event_json(&events[i], &json);
        nx_buffer_append_str(out, "\n\n");
        *after = events[i].seq;
    }
    nx_arena_free(&arena);
    return status;
}

static bool take_option(const char *name, const char *value, void *user)
{
    if (strcmp(name, "stream") == 0 && nx_uuid_is(value)) {
        *(const char **)user = value;
        return true;
    }
    return false;
}

/* Without Last-Event-ID those from now on. */
static void answer(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const char *stream = "";
    int64_t after = 0;
    if (!nx_http_each_query(request, take_option, &stream)) {
        nx_problem problem = nx_problem_make(422, "See the API docs at /docs.",
                                             "the only option is stream, the id of one");
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_status status = nx_store_events_last(api->deps.database, &after, &err);
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else if (nx_api_last_event(request, &after)) {
        nx_api_job_events_follow(api->job_events, request, read_events, stream, after);
    }
}

void nx_api_events_follow(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer);
}

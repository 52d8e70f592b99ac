#include "api/job_events.h"

#include "api/jobs.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/uuid.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_STREAMS 256
#define LOOK_NS      (NX_NS_PER_SEC / 2) /* between two looks */
#define HEARTBEAT_NS (15 * NX_NS_PER_SEC)
#define MOST_EVENTS  64 /* of one look at one job */

/* Belongs to its request and to the thread: whoever lets go last frees it. */
typedef struct follower {
    struct follower *next;
    nx_api_job_events *events;
    nx_http_stream *stream;
    nx_api_read_events read;
    atomic_int holders;
    atomic_bool gone; /* nobody listens */
    int64_t after;    /* number of the last event that was written */
    int64_t written_ns;
    char id[NX_UUID_SIZE];
} follower;

struct nx_api_job_events {
    nx_store *store;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    follower *fresh; /* new ones, which the thread takes over */
    uint32_t count;  /* of all */
    bool look;       /* at once: one has come, or gone */
    bool ending;
};

static void let_go(void *user)
{
    follower *one = user;
    if (atomic_fetch_sub(&one->holders, 1) == 1) {
        free(one);
    }
}

static void look_now(nx_api_job_events *events)
{
    pthread_mutex_lock(&events->lock);
    events->look = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

/* The client has left, or the server stops. */
static void leave(void *user)
{
    follower *one = user;
    atomic_store(&one->gone, true);
    look_now(one->events);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static bool is_end(const nx_job_event *event)
{
    return event->state_event && event->state != NX_JOB_QUEUED && event->state != NX_JOB_RUNNING;
}

static void write_event(const nx_job_event *event, nx_buffer *out)
{
    nx_buffer_printf(out, "id: %lld\nevent: %s\ndata: ", (long long)event->seq,
                     event->state_event ? "state" : "progress");
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "state", nx_job_state_name(event->state));
    nx_api_json_text(&json, "progress", event->progress);
    nx_json_key_string(&json, "error", event->error);
    nx_api_json_time(&json, "at", event->created_at);
    nx_json_object_end(&json);
    nx_buffer_append_str(out, "\n\n");
}

/* An event's own text has no line breaks: those of JSON strings are escaped, and progress is
 * written compactly. */
static nx_status read_job(nx_store *store, const char *id, int64_t *after, nx_buffer *out,
                          bool *over, nx_error *err)
{
    nx_job_event events[MOST_EVENTS];
    size_t count = 0;
    nx_arena arena = nx_arena_make(0);
    nx_status status =
        nx_store_job_events(store, id, *after, MOST_EVENTS, &arena, events, &count, err);
    for (size_t i = 0; status == NX_OK && i < count; i++) {
        write_event(&events[i], out);
        *after = events[i].seq;
    }
    *over = status == NX_OK && count > 0 && count < MOST_EVENTS && is_end(&events[count - 1]);
    nx_arena_free(&arena);
    return status;
}

/* False: nobody listens any more, or everything was told. */
static bool look_at(nx_store *store, follower *one)
{
    nx_error err = {0};
    nx_buffer out = NX_BUFFER_INIT;
    bool over = false;
    if (atomic_load(&one->gone)) {
        return false;
    }
    (void)one->read(store, one->id, &one->after, &out, &over, &err);
    int64_t now_ns = nx_clock_now_ns();
    if (out.size == 0 && now_ns - one->written_ns >= HEARTBEAT_NS) {
        nx_buffer_append_str(&out, ": still there\n\n");
    }
    bool stays = !out.failed;
    if (stays && out.size > 0) {
        one->written_ns = now_ns;
        stays = nx_http_stream_write(one->stream, out.data, out.size);
    }
    nx_buffer_free(&out);
    return stays && !over;
}

/* --- the thread ---------------------------------------------------------------------------------
 */

/* Waits until it is time to look; false: the end. New followers join the list. */
static bool wait_for_more(nx_api_job_events *events, follower **list)
{
    int64_t until_ns = nx_clock_now_ns() + LOOK_NS;
    int result = 0;
    pthread_mutex_lock(&events->lock);
    while (!events->look && !events->ending && result != ETIMEDOUT) {
        result = *list != NULL ? nx_condition_wait(&events->changed, &events->lock, until_ns)
                               : pthread_cond_wait(&events->changed, &events->lock);
    }
    events->look = false;
    while (events->fresh != NULL) {
        follower *one = events->fresh;
        events->fresh = one->next;
        one->next = *list;
        *list = one;
    }
    bool ending = events->ending;
    pthread_mutex_unlock(&events->lock);
    return !ending;
}

static void end_stream(nx_api_job_events *events, follower *one)
{
    nx_http_stream_end(one->stream);
    let_go(one);
    pthread_mutex_lock(&events->lock);
    events->count--;
    pthread_mutex_unlock(&events->lock);
}

static void *follow_all(void *user)
{
    nx_api_job_events *events = user;
    follower *list = NULL;
    bool going = true;
    while (going) {
        going = wait_for_more(events, &list);
        for (follower **at = &list; *at != NULL;) {
            follower *one = *at;
            if (going && look_at(events->store, one)) {
                at = &one->next;
            } else {
                *at = one->next;
                end_stream(events, one);
            }
        }
    }
    return NULL;
}

nx_status nx_api_job_events_new(nx_store *store, nx_api_job_events **out, nx_error *err)
{
    *out = NULL;
    nx_api_job_events *events = calloc(1, sizeof *events);
    if (events == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the events of jobs");
    }
    events->store = store;
    pthread_mutex_init(&events->lock, NULL);
    nx_condition_init(&events->changed);
    int failure = pthread_create(&events->thread, NULL, follow_all, events);
    if (failure != 0) {
        pthread_cond_destroy(&events->changed);
        pthread_mutex_destroy(&events->lock);
        free(events);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                  "cannot start the thread for the events of jobs");
    }
    *out = events;
    return NX_OK;
}

void nx_api_job_events_free(nx_api_job_events *events)
{
    if (events == NULL) {
        return;
    }
    pthread_mutex_lock(&events->lock);
    events->ending = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
    pthread_join(events->thread, NULL);
    pthread_cond_destroy(&events->changed);
    pthread_mutex_destroy(&events->lock);
    free(events);
}

/* --- requests -----------------------------------------------------------------------------------
 */

static bool take_place(nx_api_job_events *events)
{
    pthread_mutex_lock(&events->lock);
    bool room = events->count < MOST_STREAMS && !events->ending;
    events->count += room ? 1 : 0;
    pthread_mutex_unlock(&events->lock);
    return room;
}

static void give_place(nx_api_job_events *events)
{
    pthread_mutex_lock(&events->lock);
    events->count--;
    pthread_mutex_unlock(&events->lock);
}

void nx_api_job_events_follow(nx_api_job_events *events, nx_http_request *request,
                              nx_api_read_events read, const char *id, int64_t after)
{
    bool placed = take_place(events);
    follower *one = placed ? calloc(1, sizeof *one) : NULL;
    if (one == NULL) {
        if (placed) {
            give_place(events);
        }
        nx_problem problem = nx_problem_make(503, "Ask for what is there now and then.",
                                             "too many streams of events are open");
        problem.retry_after_s = 5;
        nx_http_reply_problem(request, &problem);
        return;
    }
    one->events = events;
    one->read = read;
    one->after = after;
    one->written_ns = nx_clock_now_ns();
    atomic_init(&one->holders, 2);
    snprintf(one->id, sizeof one->id, "%s", id);
    nx_http_set_context(request, one, let_go);
    one->stream = nx_http_reply_stream(request, "text/event-stream", leave, one);
    if (one->stream == NULL) {
        give_place(events);
        let_go(one);
        return;
    }
    pthread_mutex_lock(&events->lock);
    one->next = events->fresh;
    events->fresh = one;
    events->look = true;
    pthread_cond_signal(&events->changed);
    pthread_mutex_unlock(&events->lock);
}

bool nx_api_last_event(nx_http_request *request, int64_t *after)
{
    const char *text = nx_http_header(request, "Last-Event-ID");
    char *end = NULL;
    if (text == NULL) {
        return true;
    }
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || number < 0) {
        nx_problem problem = nx_problem_make(400, "Send the id of the last event that came.",
                                             "Last-Event-ID is not the number of an event");
        nx_http_reply_problem(request, &problem);
        return false;
    }
    *after = number;
    return true;
}

static void answer_events(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    nx_job job;
    int64_t after = 0;
    nx_arena arena = nx_arena_make(0);
    const char *id = nx_api_path_id(request, "job");
    if (id == NULL || !nx_api_no_options(request)) {
        return;
    }
    nx_status status = nx_store_job_get(api->deps.database, id, &arena, &job, &err);
    bool over = status == NX_OK && job.state != NX_JOB_QUEUED && job.state != NX_JOB_RUNNING;
    if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    } else if (nx_api_last_event(request, &after)) {
        if (over && after >= job.event_seq) {
            nx_http_reply_static(request, 204, NULL, NULL, 0); /* an EventSource then stays away */
        } else {
            nx_api_job_events_follow(api->job_events, request, read_job, id, after);
        }
    }
    nx_arena_free(&arena);
}

void nx_api_jobs_events(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_events);
}

/* GET /api/v1/jobs/{id}/webhooks and /api/v1/events/{id}/deliveries: who was told of a job's ends,
 * or of an event, and how each attempt went. */
#include "api/events.h"
#include "api/jobs.h"
#include "store/event_deliveries.h"
#include "store/webhooks.h"

/* A job ends once, and again after each retry. */
#define MOST_WEBHOOKS 50
#define MOST_ATTEMPTS 64

typedef struct source {
    nx_status (*list)(nx_store *store, const char *of, size_t limit, nx_arena *arena,
                      nx_webhook *out, size_t *count, nx_error *err);
    nx_status (*attempts)(nx_store *store, const char *id, size_t limit, nx_arena *arena,
                          nx_webhook_attempt *out, size_t *count, nx_error *err);
} source;

static void write_attempt(const nx_webhook_attempt *attempt, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_int(json, "attempt", attempt->attempt);
    nx_json_key(json, "status");
    if (attempt->status != 0) {
        nx_json_int(json, attempt->status);
    } else {
        nx_json_null(json);
    }
    nx_json_key_string(json, "error", attempt->error);
    nx_json_key_int(json, "duration_ms", attempt->duration_ms);
    nx_api_json_time(json, "at", attempt->created_at);
    nx_json_object_end(json);
}

static nx_status write_webhook(nx_store *store, const source *of, const nx_webhook *webhook,
                               nx_arena *arena, nx_json *json, nx_error *err)
{
    nx_webhook_attempt attempts[MOST_ATTEMPTS];
    size_t count = 0;
    nx_status status =
        of->attempts(store, webhook->id, MOST_ATTEMPTS, arena, attempts, &count, err);
    bool pending = webhook->state == NX_WEBHOOK_PENDING;
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", webhook->id);
    nx_json_key_string(json, "url", webhook->url);
    nx_json_key_string(json, "state", nx_webhook_state_name(webhook->state));
    nx_json_key_int(json, "attempts", webhook->attempts);
    nx_api_json_time(json, "next_attempt_at", pending ? webhook->next_at : 0);
    nx_api_json_time(json, "created_at", webhook->created_at);
    nx_api_json_time(json, "finished_at", webhook->finished_at);
    nx_json_key(json, "log");
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        write_attempt(&attempts[i], json);
    }
    nx_json_array_end(json);
    nx_json_object_end(json);
    return status;
}

static nx_status write_all(nx_store *store, const source *of, const char *id, nx_arena *arena,
                           nx_buffer *out, nx_error *err)
{
    nx_webhook webhooks[MOST_WEBHOOKS];
    size_t count = 0;
    nx_status status = of->list(store, id, MOST_WEBHOOKS, arena, webhooks, &count, err);
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key(&json, "items");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        status = write_webhook(store, of, &webhooks[i], arena, &json, err);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    return status;
}

static void reply(nx_api *api, nx_http_request *request, const source *of, const char *id,
                  nx_arena *arena)
{
    nx_error err = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_status status = write_all(api->deps.database, of, id, arena, &out, &err);
    if (status == NX_OK) {
        nx_api_reply_json(request, 200, &out);
    } else {
        nx_buffer_free(&out);
        nx_api_storage_refuse(api, request, status, &err);
    }
}

static void answer_of_job(nx_api *api, nx_http_request *request)
{
    static const source of = {nx_store_webhooks_list, nx_store_webhook_attempts};
    nx_arena arena = nx_arena_make(0);
    nx_job job;
    if (nx_api_find_job(api, request, &arena, &job)) {
        reply(api, request, &of, job.id, &arena);
    }
    nx_arena_free(&arena);
}

void nx_api_jobs_webhooks(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_of_job);
}

static void answer_of_event(nx_api *api, nx_http_request *request)
{
    static const source of = {nx_store_event_deliveries_list, nx_store_event_attempts};
    nx_arena arena = nx_arena_make(0);
    nx_event_row event;
    if (nx_api_find_event(api, request, &arena, &event)) {
        reply(api, request, &of, event.id, &arena);
    }
    nx_arena_free(&arena);
}

void nx_api_events_deliveries(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_of_event);
}

/* GET /health, /health/ready and /metrics: for load balancers and monitoring. */
#include "api/audit.h"
#include "api/gate.h"
#include "api/internal.h"
#include "api/rate.h"
#include "api/streams.h"
#include "api/traces.h"
#include "api/work.h"
#include "base/clock.h"
#include "base/json_writer.h"
#include "ops/process.h"

#include <stdlib.h>

/* Less than that, and uploads, jobs and events are about to fail. */
#define LEAST_DISK_BYTES 16777216.0

void nx_api_health(nx_http_request *request, void *user)
{
    const nx_api *api = user;
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "status", "ok");
    nx_json_key_string(&json, "version", NX_VERSION);
    if (api->deps.share.count > 1) {
        nx_json_key_int(&json, "worker", api->deps.share.index + 1);
    }
    nx_json_key_number(&json, "uptime_s",
                       (double)(nx_clock_now_ns() - api->started_ns) / (double)NX_NS_PER_SEC, 3);
    nx_json_object_end(&json);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, 200, "application/json", &out);
}

static void write_model(const nx_model_spec *spec, nx_json *json)
{
    nx_json_key(json, "model");
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", spec->name);
    nx_json_key_int(json, "input_width", spec->input_width);
    nx_json_key_int(json, "input_height", spec->input_height);
    nx_json_key_bool(json, "dynamic", spec->dynamic_size);
    nx_json_key_int(json, "classes", (int64_t)spec->names.count);
    nx_json_object_end(json);
}

/* The default model as `model`, and everything that is in memory as `models`. */
static void write_models(nx_api *api, nx_json *json)
{
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    nx_registry_entry *entries = NULL;
    size_t count = 0;
    const char *device = nx_registry_device(api->deps.registry);
    if (nx_registry_acquire(api->deps.registry, NULL, 0, &handle, &err) == NX_OK) {
        const nx_model_spec *spec = nx_model_get_spec(nx_registry_model(handle));
        device = spec->device;
        write_model(spec, json);
        nx_registry_release(handle);
    }
    nx_json_key_string(json, "execution_provider", device);
    json->out->failed |=
        nx_registry_list(api->deps.registry, &entries, &count, &err) == NX_ERR_NO_MEMORY;
    nx_json_key(json, "models");
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        if (entries[i].state != NX_MODEL_UNLOADED) {
            nx_json_object_begin(json);
            nx_json_key_string(json, "name", entries[i].name);
            nx_json_key_int(json, "version", entries[i].version);
            nx_json_key_string(json, "state", nx_registry_state_name(entries[i].state));
            nx_json_key_bool(json, "serving", entries[i].serves);
            nx_json_object_end(json);
        }
    }
    nx_json_array_end(json);
    free(entries);
}

static void write_database(nx_api *api, const char *broken, nx_json *json)
{
    if (api->deps.database != NULL) {
        nx_json_key(json, "database");
        nx_json_object_begin(json);
        nx_json_key_string(json, "kind", nx_store_kind(api->deps.database));
        nx_json_key_bool(json, "ready", broken == NULL);
        nx_json_key_string(json, "reason", broken);
        nx_json_object_end(json);
    }
}

/* One that does not answer is told of, and makes nothing unready: requests go on without it. */
static void write_cache(nx_api *api, nx_json *json)
{
    if (api->deps.cache != NULL) {
        nx_json_key(json, "cache");
        nx_json_object_begin(json);
        nx_redis_stats stats = {.state = NX_REDIS_CLOSED};
        if (api->deps.redis != NULL) {
            stats = nx_redis_get_stats(api->deps.redis);
        }
        bool ready = stats.state == NX_REDIS_CLOSED;
        nx_json_key_string(json, "kind", nx_cache_place(api->deps.cache));
        nx_json_key_bool(json, "ready", ready);
        nx_json_key_string(json, "reason", ready ? NULL : stats.reason);
        nx_json_object_end(json);
    }
}

/* A full one makes nothing unready: requests for pictures need none. */
static void write_disk(const nx_api *api, nx_json *json)
{
    double size = 0;
    double left = 0;
    if (api->deps.database != NULL && nx_process_disk(api->deps.data_dir, &size, &left)) {
        bool ready = left >= LEAST_DISK_BYTES;
        nx_json_key(json, "disk");
        nx_json_object_begin(json);
        nx_json_key_bool(json, "ready", ready);
        nx_json_key_int(json, "free_bytes", (int64_t)left);
        nx_json_key_string(json, "reason",
                           ready ? NULL : "the disk of DATA_DIR is full, or as good as full");
        nx_json_object_end(json);
    }
}

/* What it runs on, for those who may look at it. */
static void write_details(nx_api *api, const char *broken, nx_json *json)
{
    nx_engine_stats stats = nx_engine_get_stats(api->deps.engine);
    write_models(api, json);
    write_database(api, broken, json);
    write_cache(api, json);
    write_disk(api, json);
    nx_json_key(json, "runtime");
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", "onnxruntime");
    nx_json_key_string(json, "version", nx_runtime_version(api->deps.runtime));
    nx_json_object_end(json);
    nx_json_key(json, "queue");
    nx_json_object_begin(json);
    nx_json_key_int(json, "depth", stats.queued);
    nx_json_key_int(json, "size", stats.queue_size);
    nx_json_object_end(json);
    nx_json_key_int(json, "workers", stats.workers);
}

/* broken: why the database does not answer; NULL: it does, or there is none. */
static void reply_ready(nx_api *api, nx_http_request *request, const nx_identity *who,
                        const char *broken)
{
    static const char *const states[] = {"starting", "ready", "draining"};
    nx_api_state state = atomic_load(&api->state);
    bool ready = state == NX_API_READY && broken == NULL;
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "status",
                       state == NX_API_READY && broken != NULL ? "unavailable" : states[state]);
    nx_json_key_string(&json, "version", NX_VERSION);
    if (nx_identity_may(who, NX_ROLE_VIEWER, NX_SCOPE_READ)) {
        write_details(api, broken, &json);
    }
    nx_json_object_end(&json);
    nx_http_add_header(request, "Cache-Control", "no-store");
    if (!ready) {
        nx_http_add_header(request, "Retry-After", "1");
    }
    nx_http_reply(request, ready ? 200 : 503, "application/json", &out);
}

/* Asks Redis for a sign of life, so that its breaker knows although nothing else asks. */
static void ping_redis(nx_api *api)
{
    static const nx_redis_arg ping[] = {NX_REDIS_WORD("PING")};
    if (api->deps.redis != NULL) {
        nx_redis_reply reply;
        (void)nx_redis_run(api->deps.redis, ping, 1, &reply, NULL);
        nx_redis_reply_free(&reply);
    }
}

static void answer_ready(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    ping_redis(api);
    nx_status status = nx_store_ping(api->deps.database, &err);
    const nx_identity who = nx_api_look_up(api, request);
    reply_ready(api, request, &who, status == NX_OK ? NULL : err.message);
}

void nx_api_ready(nx_http_request *request, void *user)
{
    nx_api *api = user;
    if (api->quick == NULL) {
        const nx_identity who = nx_api_look_up(api, request);
        reply_ready(api, request, &who, NULL);
    } else if (!nx_api_try_in(api->quick, api, request, answer_ready)) {
        reply_ready(api, request, nx_api_identity(request), "too many requests wait for it");
    }
}

/* For the other processes to publish; one that does not in time counts as it did last. */
#define OTHERS_MS 250
/* For the database to count the jobs; likewise. */
#define JOBS_MS 1000

void nx_api_metrics_render(nx_buffer *out, void *user)
{
    nx_api *api = user;
    nx_api_storage_metrics_read(api);
    nx_api_cache_metrics_read(api);
    nx_api_stream_metrics_read(api);
    nx_api_audit_metrics_read(api);
    nx_api_rate_metrics_read(api);
    nx_api_trace_metrics_read(api);
    nx_gpus_read(api->deps.gpus);
    if (api->deps.fleet != NULL) {
        nx_metric_show(api->workers_lost, 0, nx_fleet_losses(api->deps.fleet));
    }
    nx_metrics_render(nx_service_metrics_registry(api->deps.metrics), out);
}

static void reply_metrics(nx_api *api, nx_http_request *request, uint32_t wait_ms)
{
    nx_buffer out = NX_BUFFER_INIT;
    if (api->member != NULL) {
        nx_fleet_render(api->member, wait_ms, &out);
    } else {
        nx_api_metrics_render(&out, api);
    }
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, 200, "text/plain; version=0.0.4; charset=utf-8", &out);
}

static void answer_metrics(nx_api *api, nx_http_request *request)
{
    (void)nx_job_counts_read(api->job_counts, JOBS_MS); /* rendering asks for the last ones */
    reply_metrics(api, request, OTHERS_MS);
}

void nx_api_metrics(nx_http_request *request, void *user)
{
    nx_api *api = user;
    if (api->metrics == NULL || !nx_api_try_in(api->metrics, api, request, answer_metrics)) {
        reply_metrics(api, request, 0); /* what the database said last */
    }
}

#include "api/api.h"

#include "api/access.h"
#include "api/accounts.h"
#include "api/answers.h"
#include "api/audit.h"
#include "api/events.h"
#include "api/gate.h"
#include "api/internal.h"
#include "api/job_events.h"
#include "api/jobs.h"
#include "api/kserve.h"
#include "api/model_access.h"
#include "api/models.h"
#include "api/optimize.h"
#include "api/origin.h"
#include "api/predictions.h"
#include "api/rate.h"
#include "api/settings.h"
#include "api/streams.h"
#include "api/traces.h"
#include "api/uploads.h"
#include "api/videos.h"
#include "api/work.h"
#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "web/assets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const picture_types[] = {
    "multipart/form-data", "application/json", "application/octet-stream", "image/", NULL,
};
static const char picture_types_text[] =
    "Send a picture as image/jpeg, image/png, image/webp or application/octet-stream, as a file in "
    "multipart/form-data, or as base64 in application/json.";
static const char *const batch_types[] = {"multipart/form-data", "application/json", NULL};
static const char batch_types_text[] =
    "Send pictures as files in multipart/form-data, or as base64 in application/json.";
static const char *const model_types[] = {"multipart/form-data", "application/octet-stream", NULL};
static const char model_types_text[] =
    "Send an ONNX file as application/octet-stream with ?name=, or as a file in "
    "multipart/form-data.";

static const char *const video_types[] = {
    "video/",
    "application/octet-stream",
    "multipart/form-data",
    NULL,
};
static const char video_types_text[] =
    "Send a video as video/mp4 (or another video/...) or application/octet-stream, or as a file in "
    "multipart/form-data.";

static const char *const access_types[] = {"application/json", NULL};
static const char access_types_text[] = "Send application/json.";
#define MAX_ACCESS_BODY 4096

static const char *const upload_types[] = {"application/offset+octet-stream", NULL};
static const char upload_types_text[] = "Send the bytes as application/offset+octet-stream.";

static const char *const json_types[] = {"application/json", NULL};

static const char *const process_types[] = {"application/json", "multipart/form-data", NULL};
static const char process_types_text[] =
    "Send the options as application/json with a video_id, or a video and a field 'options' in "
    "multipart/form-data.";

/* Of videos and jobs. Quick work is a few statements; slow work reads whole files. */
#define QUICK_THREADS 4
#define SLOW_THREADS  2
/* What calculates with passwords, which takes memory by the tens of megabytes. */
#define PASSWORD_THREADS 2
#define MOST_PASSWORDS   32
#define MOST_SLOW        64
/* What looks at live streams, and may wait a few seconds for another process. */
#define LIVE_THREADS 4
#define MOST_LIVE    256
#define MOST_METRICS 8
/* Quick work that may wait beside every request that LIMIT_CONCURRENCY lets in: health, metrics,
 * the ends of uploads. */
#define SPARE_QUICK 256

/* --- routes -------------------------------------------------------------------------------------
 */

/* TOO_MANY: the status of a form with more files than that, and what to do instead. */
#define INFERENCE(NAME, HANDLER, TYPES, FILES, TOO_MANY, ADVICE)                                   \
    {                                                                                              \
        .method = "POST", .pattern = "/api/v1/inference/" NAME, .handle = (HANDLER),               \
        .admit = nx_api_admit_inference, .types = (TYPES), .types_text = (TYPES##_text),           \
        .max_files = (FILES), .too_many_files_status = (TOO_MANY),                                 \
        .too_many_files_advice = (ADVICE), .per_client = true, .access = NX_ACCESS_INFER,          \
        .rate_class = NX_RATE_INFER                                                                \
    }

/* With a small JSON object as its body. */
#define JSON(METHOD, PATTERN, HANDLER, ACCESS, RATE)                                               \
    {                                                                                              \
        .method = (METHOD), .pattern = (PATTERN), .handle = (HANDLER), .access = (ACCESS),         \
        .rate_class = (RATE), .max_body = NX_API_ACCOUNTS_MAX_BODY, .types = json_types,           \
        .types_text = "Send application/json."                                                     \
    }
#define PLAIN(METHOD, PATTERN, HANDLER, ACCESS, RATE)                                              \
    {                                                                                              \
        .method = (METHOD), .pattern = (PATTERN), .handle = (HANDLER), .access = (ACCESS),         \
        .rate_class = (RATE)                                                                       \
    }

/* A path of the page, which shows it by itself: see the routes in web/src/main.tsx. */
#define PAGE(PATTERN) PLAIN("GET", PATTERN, nx_api_web_page, NX_ACCESS_OPEN, NX_RATE_OPEN)

/* Its body may hold many zones. */
#define STREAM(METHOD, PATTERN, HANDLER)                                                           \
    {                                                                                              \
        .method = (METHOD), .pattern = (PATTERN), .handle = (HANDLER), .access = NX_ACCESS_VIDEOS, \
        .rate_class = NX_RATE_WRITE, .max_body = NX_API_STREAM_MAX_BODY, .types = json_types,      \
        .types_text = "Send application/json."                                                     \
    }

static const nx_http_route fixed_routes[] = {
    INFERENCE("image", nx_api_infer_image, picture_types, 1, 400,
              "Send several pictures to /api/v1/inference/batch."),
    INFERENCE("batch", nx_api_infer_batch, batch_types, NX_API_MAX_BATCH, 413,
              "Send them as several batches of at most 100."),
    INFERENCE("segment", nx_api_infer_segment, picture_types, 1, 400,
              "Send one picture at a time."),
    {.method = "GET",
     .pattern = "/api/v1/models",
     .handle = nx_api_models_list,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "POST",
     .pattern = "/api/v1/models",
     .handle = nx_api_models_add,
     .access = NX_ACCESS_MODELS,
     .rate_class = NX_RATE_WRITE,
     .admit = nx_api_models_admit,
     .types = model_types,
     .types_text = model_types_text,
     .max_files = 2,
     .too_many_files_status = 422,
     .too_many_files_advice = "Send one model.",
     .per_client = true},
    {.method = "GET",
     .pattern = "/api/v1/models/{name}",
     .handle = nx_api_models_get,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "DELETE",
     .pattern = "/api/v1/models/{name}",
     .handle = nx_api_models_remove,
     .access = NX_ACCESS_MODELS,
     .rate_class = NX_RATE_WRITE},
    JSON("POST", "/api/v1/models/{name}/optimize", nx_api_optimize_begin, NX_ACCESS_ADMIN,
         NX_RATE_WRITE),
    PLAIN("GET", "/api/v1/models/{name}/optimize", nx_api_optimize_get, NX_ACCESS_ADMIN,
          NX_RATE_READ),
    PLAIN("DELETE", "/api/v1/models/{name}/optimize", nx_api_optimize_cancel, NX_ACCESS_ADMIN,
          NX_RATE_WRITE),
    {.method = "POST",
     .pattern = "/api/v1/models/{name}/load",
     .handle = nx_api_models_load,
     .access = NX_ACCESS_MODELS,
     .rate_class = NX_RATE_WRITE},
    {.method = "POST",
     .pattern = "/api/v1/models/{name}/unload",
     .handle = nx_api_models_unload,
     .access = NX_ACCESS_MODELS,
     .rate_class = NX_RATE_WRITE},
    {.method = "POST",
     .pattern = "/api/v1/models/{name}/rollback",
     .handle = nx_api_models_rollback,
     .access = NX_ACCESS_MODELS,
     .rate_class = NX_RATE_WRITE},
    {.method = "GET",
     .pattern = "/api/v1/models/{name}/access",
     .handle = nx_api_model_access_get,
     .access = NX_ACCESS_ADMIN,
     .rate_class = NX_RATE_READ},
    {.method = "PUT",
     .pattern = "/api/v1/models/{name}/access",
     .handle = nx_api_model_access_set,
     .access = NX_ACCESS_ADMIN,
     .rate_class = NX_RATE_WRITE,
     .types = access_types,
     .types_text = access_types_text,
     .max_body = MAX_ACCESS_BODY},
    {.method = "POST",
     .pattern = "/api/v1/models/{name}/grants",
     .handle = nx_api_model_grant_add,
     .access = NX_ACCESS_ADMIN,
     .rate_class = NX_RATE_WRITE,
     .types = access_types,
     .types_text = access_types_text,
     .max_body = MAX_ACCESS_BODY},
    {.method = "DELETE",
     .pattern = "/api/v1/models/{name}/grants/{subject}",
     .handle = nx_api_model_grant_remove,
     .access = NX_ACCESS_ADMIN,
     .rate_class = NX_RATE_WRITE},
    {.method = "GET",
     .pattern = "/api/v1/videos",
     .handle = nx_api_videos_list,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "POST",
     .pattern = "/api/v1/videos",
     .handle = nx_api_videos_add,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE,
     .admit = nx_api_videos_admit,
     .receive = nx_api_videos_receive,
     .types = video_types,
     .types_text = video_types_text,
     .max_files = 1,
     .too_many_files_status = 422,
     .too_many_files_advice = "Send one video at a time.",
     .per_client = true},
    {.method = "POST",
     .pattern = "/api/v1/videos/process",
     .handle = nx_api_process,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE,
     .admit = nx_api_process_admit,
     .receive = nx_api_process_receive,
     .types = process_types,
     .types_text = process_types_text,
     .max_files = 1,
     .too_many_files_status = 422,
     .too_many_files_advice = "Send one video at a time.",
     .per_client = true},
    {.method = "GET",
     .pattern = "/api/v1/jobs",
     .handle = nx_api_jobs_list,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "GET",
     .pattern = "/api/v1/jobs/{id}",
     .handle = nx_api_jobs_get,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "DELETE",
     .pattern = "/api/v1/jobs/{id}",
     .handle = nx_api_jobs_cancel,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE},
    {.method = "POST",
     .pattern = "/api/v1/jobs/{id}/retry",
     .handle = nx_api_jobs_retry,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE},
    {.method = "GET",
     .pattern = "/api/v1/jobs/{id}/events",
     .handle = nx_api_jobs_events,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "GET",
     .pattern = "/api/v1/jobs/{id}/webhooks",
     .handle = nx_api_jobs_webhooks,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "GET",
     .pattern = "/api/v1/jobs/{id}/results/{file}",
     .handle = nx_api_jobs_result,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "GET",
     .pattern = "/api/v1/videos/{id}",
     .handle = nx_api_videos_get,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "DELETE",
     .pattern = "/api/v1/videos/{id}",
     .handle = nx_api_videos_remove,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE},
    {.method = "GET",
     .pattern = "/api/v1/videos/{id}/content",
     .handle = nx_api_videos_content,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "OPTIONS",
     .pattern = "/api/v1/uploads",
     .handle = nx_api_uploads_options,
     .access = NX_ACCESS_READ,
     .rate_class = NX_RATE_READ},
    {.method = "POST",
     .pattern = "/api/v1/uploads",
     .handle = nx_api_uploads_add,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE},
    {.method = "GET",
     .pattern = "/api/v1/uploads/{id}",
     .handle = nx_api_uploads_get,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_READ},
    {.method = "PATCH",
     .pattern = "/api/v1/uploads/{id}",
     .handle = nx_api_uploads_patch,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE,
     .admit = nx_api_uploads_admit,
     .receive = nx_api_uploads_receive,
     .body_optional = true,
     .types = upload_types,
     .types_text = upload_types_text,
     .per_client = true},
    {.method = "DELETE",
     .pattern = "/api/v1/uploads/{id}",
     .handle = nx_api_uploads_remove,
     .access = NX_ACCESS_VIDEOS,
     .rate_class = NX_RATE_WRITE},
    JSON("POST", "/api/v1/auth/login", nx_api_auth_login, NX_ACCESS_ANYBODY, NX_RATE_AUTH),
    PLAIN("POST", "/api/v1/auth/logout", nx_api_auth_logout, NX_ACCESS_ANYBODY, NX_RATE_WRITE),
    PLAIN("GET", "/api/v1/auth/me", nx_api_auth_me, NX_ACCESS_ANYBODY, NX_RATE_READ),
    JSON("POST", "/api/v1/auth/password", nx_api_auth_password, NX_ACCESS_OWN, NX_RATE_AUTH),
    PLAIN("GET", "/api/v1/auth/setup", nx_api_auth_setup_state, NX_ACCESS_ANYBODY, NX_RATE_READ),
    JSON("POST", "/api/v1/auth/setup", nx_api_auth_setup, NX_ACCESS_ANYBODY, NX_RATE_AUTH),
    PLAIN("GET", "/api/v1/events", nx_api_events_list, NX_ACCESS_READ, NX_RATE_READ),
    PLAIN("GET", "/api/v1/events/stream", nx_api_events_follow, NX_ACCESS_READ, NX_RATE_READ),
    PLAIN("GET", "/api/v1/events/{id}", nx_api_events_get, NX_ACCESS_READ, NX_RATE_READ),
    PLAIN("DELETE", "/api/v1/events/{id}", nx_api_events_remove, NX_ACCESS_VIDEOS, NX_RATE_WRITE),
    PLAIN("GET", "/api/v1/events/{id}/snapshot", nx_api_events_snapshot, NX_ACCESS_READ,
          NX_RATE_READ),
    PLAIN("GET", "/api/v1/events/{id}/clip", nx_api_events_clip, NX_ACCESS_READ, NX_RATE_READ),
    PLAIN("GET", "/api/v1/events/{id}/deliveries", nx_api_events_deliveries, NX_ACCESS_ADMIN,
          NX_RATE_READ),
    PLAIN("GET", "/api/v1/streams", nx_api_streams_list, NX_ACCESS_READ, NX_RATE_READ),
    STREAM("POST", "/api/v1/streams", nx_api_streams_add),
    PLAIN("GET", "/api/v1/streams/{id}", nx_api_streams_get, NX_ACCESS_READ, NX_RATE_READ),
    STREAM("PATCH", "/api/v1/streams/{id}", nx_api_streams_change),
    PLAIN("DELETE", "/api/v1/streams/{id}", nx_api_streams_remove, NX_ACCESS_VIDEOS, NX_RATE_WRITE),
    PLAIN("GET", "/api/v1/streams/{id}/events", nx_api_streams_events, NX_ACCESS_READ,
          NX_RATE_READ),
    PLAIN("GET", "/api/v1/streams/{id}/frame.jpeg", nx_api_streams_frame, NX_ACCESS_READ,
          NX_RATE_READ),
    PLAIN("GET", "/api/v1/streams/{id}/live.mp4", nx_api_streams_video, NX_ACCESS_READ,
          NX_RATE_READ),
    PLAIN("GET", "/api/v1/streams/{id}/live.mjpeg", nx_api_streams_live, NX_ACCESS_READ,
          NX_RATE_READ),
    PLAIN("GET", "/api/v1/audit", nx_api_audit_list, NX_ACCESS_ADMIN, NX_RATE_READ),
    PLAIN("GET", "/api/v1/settings", nx_api_settings_list, NX_ACCESS_ADMIN, NX_RATE_READ),
    PLAIN("GET", "/api/v1/users", nx_api_users_list, NX_ACCESS_ADMIN, NX_RATE_READ),
    JSON("POST", "/api/v1/users", nx_api_users_add, NX_ACCESS_ADMIN, NX_RATE_WRITE),
    PLAIN("GET", "/api/v1/users/{id}", nx_api_users_get, NX_ACCESS_ADMIN, NX_RATE_READ),
    JSON("PATCH", "/api/v1/users/{id}", nx_api_users_change, NX_ACCESS_ADMIN, NX_RATE_WRITE),
    PLAIN("DELETE", "/api/v1/users/{id}", nx_api_users_remove, NX_ACCESS_ADMIN, NX_RATE_WRITE),
    PLAIN("GET", "/api/v1/keys", nx_api_keys_list, NX_ACCESS_OWN, NX_RATE_READ),
    JSON("POST", "/api/v1/keys", nx_api_keys_add, NX_ACCESS_OWN, NX_RATE_WRITE),
    PLAIN("DELETE", "/api/v1/keys/{id}", nx_api_keys_remove, NX_ACCESS_OWN, NX_RATE_WRITE),
    {.method = "GET",
     .pattern = "/health",
     .handle = nx_api_health,
     .access = NX_ACCESS_OPEN,
     .rate_class = NX_RATE_OPEN,
     .always = true},
    {.method = "GET",
     .pattern = "/health/ready",
     .handle = nx_api_ready,
     .access = NX_ACCESS_OPEN,
     .rate_class = NX_RATE_OPEN,
     .always = true},
    {.method = "GET",
     .pattern = "/metrics",
     .handle = nx_api_metrics,
     .access = NX_ACCESS_METRICS,
     .rate_class = NX_RATE_READ,
     .always = true},
    {.method = "GET",
     .pattern = "/",
     .handle = nx_api_asset,
     .access = NX_ACCESS_OPEN,
     .rate_class = NX_RATE_OPEN},
    PAGE("/setup"),
    PAGE("/analyze"),
    PAGE("/videos"),
    PAGE("/videos/{id}"),
    PAGE("/streams"),
    PAGE("/streams/{id}"),
    PAGE("/events"),
    PAGE("/events/{id}"),
    PAGE("/jobs"),
    PAGE("/jobs/{id}"),
    PAGE("/models"),
    PAGE("/keys"),
    PAGE("/users"),
    PAGE("/audit"),
    PAGE("/settings"),
    PAGE("/account"),
    {.method = "GET",
     .pattern = "/docs",
     .handle = nx_api_asset,
     .access = NX_ACCESS_OPEN,
     .rate_class = NX_RATE_OPEN},
    {.method = "GET",
     .pattern = "/openapi.json",
     .handle = nx_api_asset,
     .access = NX_ACCESS_OPEN,
     .rate_class = NX_RATE_OPEN},
    {.method = "GET",
     .pattern = "/assets/*",
     .handle = nx_api_asset,
     .access = NX_ACCESS_OPEN,
     .rate_class = NX_RATE_OPEN},
};

#define FIXED_COUNT (sizeof fixed_routes / sizeof fixed_routes[0])

static bool has_route(const nx_api *api, const char *path)
{
    for (size_t i = 0; i < api->route_count; i++) {
        if (strcmp(api->routes[i].pattern, path) == 0) {
            return true;
        }
    }
    return strncmp(path, "/assets/", 8) == 0;
}

static bool make_routes(nx_api *api)
{
    size_t asset_count = 0;
    size_t kserve_count = 0;
    const nx_asset *assets = nx_assets(&asset_count);
    const nx_http_route *kserve = nx_kserve_routes(&kserve_count);
    api->routes = calloc(FIXED_COUNT + kserve_count + asset_count, sizeof *api->routes);
    if (api->routes == NULL) {
        return false;
    }
    memcpy(api->routes, fixed_routes, sizeof fixed_routes);
    memcpy(api->routes + FIXED_COUNT, kserve, kserve_count * sizeof *kserve);
    api->route_count = FIXED_COUNT + kserve_count;
    for (size_t i = 0; i < api->route_count; i++) {
        if (api->routes[i].handle == nx_api_models_add) {
            api->routes[i].spool_dir = nx_model_store_folder(api->deps.store);
        }
        if (api->routes[i].handle == nx_api_videos_add || api->routes[i].handle == nx_api_process) {
            api->routes[i].spool_dir = api->upload_dir;
        }
    }
    for (size_t i = 0; i < asset_count; i++) {
        if (!has_route(api, assets[i].path)) {
            api->routes[api->route_count++] = (nx_http_route){.method = "GET",
                                                              .pattern = assets[i].path,
                                                              .handle = nx_api_asset,
                                                              .access = NX_ACCESS_OPEN,
                                                              .rate_class = NX_RATE_OPEN};
        }
    }
    return true;
}

/* --- starting -----------------------------------------------------------------------------------
 */

static double read_queue_depth(void *user)
{
    nx_api *api = user;
    return nx_engine_get_stats(api->deps.engine).queued;
}

/* What videos and jobs need. */
static nx_status start_storage(nx_api *api, nx_error *err)
{
    if (api->deps.database == NULL) {
        return NX_OK;
    }
    if (asprintf(&api->upload_dir, "%s/uploads", api->deps.data_dir) < 0) {
        api->upload_dir = NULL;
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    uint32_t most_quick =
        (uint32_t)nx_config_int(api->deps.config, NX_CONFIG_LIMIT_CONCURRENCY) + SPARE_QUICK;
    nx_status status = nx_api_pool_new(QUICK_THREADS, most_quick, &api->quick, err);
    if (status == NX_OK) {
        status = nx_api_pool_new(SLOW_THREADS, MOST_SLOW, &api->slow, err);
    }
    if (status == NX_OK) {
        status = nx_api_pool_new(PASSWORD_THREADS, MOST_PASSWORDS, &api->passwords, err);
    }
    if (status == NX_OK) {
        status = nx_api_pool_new(LIVE_THREADS, MOST_LIVE, &api->live, err);
    }
    if (status == NX_OK) {
        status = nx_api_pool_new(1, MOST_METRICS, &api->metrics, err);
    }
    if (status == NX_OK) {
        status = nx_job_counts_new(api->deps.database, &api->job_counts, err);
    }
    if (status == NX_OK) {
        status = nx_api_job_events_new(api->deps.database, &api->job_events, err);
    }
    if (status == NX_OK && api->deps.streams != NULL) {
        status = nx_api_watchers_new(api->deps.streams, &api->watchers, err);
    }
    if (status == NX_OK) {
        status = nx_api_answers_new(&api->answers, err);
    }
    if (status == NX_OK) {
        status = nx_optimizer_new(api, &api->optimizer, err);
    }
    if (status == NX_OK) {
        status = nx_audit_new(api->deps.database, &api->audit, err);
    }
    return status;
}

/* 0: the server's own choice. */
static uint32_t http_threads(const nx_api *api)
{
    int64_t set = nx_config_int(api->deps.config, NX_CONFIG_HTTP_THREADS);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return set > 0 || api->deps.share.count <= 1
               ? (uint32_t)set
               : nx_share_some(api->deps.share, cores > 0 ? (uint32_t)cores : 1);
}

static nx_status start_server(nx_api *api, nx_error *err)
{
    const nx_config *config = api->deps.config;
    /* the configuration has refused what is none */
    nx_status status = nx_address_set_parse(nx_config_string(config, NX_CONFIG_TRUSTED_PROXIES),
                                            &api->trusted_proxies, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_http_server_options options = {
        .host = nx_config_string(config, NX_CONFIG_HOST),
        .port = (uint16_t)nx_config_int(config, NX_CONFIG_PORT),
        .shared_socket = api->deps.shared_socket,
        .threads = http_threads(api),
        .backlog = (uint32_t)nx_config_int(config, NX_CONFIG_BACKLOG),
        .max_connections = (uint32_t)nx_config_int(config, NX_CONFIG_MAX_CONNECTIONS),
        .keepalive_s = (uint32_t)nx_config_int(config, NX_CONFIG_KEEPALIVE),
        .request_timeout_s = (uint32_t)nx_config_int(config, NX_CONFIG_REQUEST_TIMEOUT),
        .limit_concurrency = (uint32_t)nx_config_int(config, NX_CONFIG_LIMIT_CONCURRENCY),
        .limit_per_client = (uint32_t)nx_config_int(config, NX_CONFIG_LIMIT_CONCURRENCY_PER_CLIENT),
        .trusted_proxies = &api->trusted_proxies,
        .max_inflight_body = (uint64_t)nx_config_int(config, NX_CONFIG_MAX_INFLIGHT_BODY_BYTES),
        .plain_errors = NX_KSERVE_PREFIX,
        .gate = api->deps.auth != NULL ? nx_api_gate : NULL,
        .routes = api->routes,
        .route_count = api->route_count,
        .on_access = nx_api_on_access,
        .on_trace = nx_api_trace_begin,
        .user = api,
    };
    return nx_http_server_start(&options, &api->server, err);
}

void nx_api_format_url(const char *host, uint16_t port, char *out, size_t size)
{
    if (host[0] == '\0' || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0) {
        host = "127.0.0.1";
    }
    bool ipv6 = strchr(host, ':') != NULL;
    snprintf(out, size, "http://%s%.253s%s:%u", ipv6 ? "[" : "", host, ipv6 ? "]" : "", port);
}

static void free_api(nx_api *api)
{
    pthread_cond_destroy(&api->quiet);
    pthread_mutex_destroy(&api->lock);
    nx_optimizer_free(api->optimizer);
    nx_api_job_events_free(api->job_events);
    nx_api_watchers_free(api->watchers);
    nx_api_pool_free(api->quick); /* which may put something into the other */
    nx_api_pool_free(api->slow);
    nx_api_pool_free(api->passwords);
    nx_api_pool_free(api->live);
    nx_api_pool_free(api->metrics);
    nx_job_counts_free(api->job_counts);
    nx_api_answers_free(api->answers);
    nx_rate_limiter_free(api->rates);
    nx_audit_free(api->audit); /* after all who have something to say */
    free(api->upload_dir);
    free(api->video_folders);
    nx_buffer_free(&api->settings);
    nx_kserve_stats_free(api->kserve_stats);
    nx_predictions_free(api->predictions);
    free(api->routes);
    free(api);
}

nx_status nx_api_start(const nx_api_deps *deps, nx_api **out, nx_error *err)
{
    *out = NULL;
    nx_api *api = calloc(1, sizeof *api);
    if (api == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    api->deps = *deps;
    api->started_ns = nx_clock_now_ns();
    pthread_mutex_init(&api->lock, NULL);
    nx_condition_init(&api->quiet);
    api->loopback = nx_api_is_for_this_machine(nx_config_string(deps->config, NX_CONFIG_HOST));
    api->upload_ms = nx_config_int(deps->config, NX_CONFIG_UPLOAD_LIFETIME) * 1000;
    nx_status status = start_storage(api, err);
    if (status == NX_OK) {
        status = nx_predictions_new(api->deps.cache, &api->predictions, err);
    }
    if (status == NX_OK) {
        status = nx_api_rate_start(api, err);
    }
    api->kserve_stats = nx_kserve_stats_new();
    if (status == NX_OK && (api->kserve_stats == NULL || !make_routes(api))) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    if (status == NX_OK) {
        status = nx_api_set_rules(api, deps->config, err);
    }
    if (status != NX_OK) {
        free_api(api);
        return status;
    }
    nx_api_http_metrics_register(api);
    nx_api_storage_metrics_register(api);
    nx_api_work_metrics_register(api);
    nx_api_audit_metrics_register(api);
    nx_api_rate_metrics_register(api);
    nx_api_cache_metrics_register(api);
    nx_api_stream_metrics_register(api);
    nx_api_trace_metrics_register(api);
    nx_service_metrics_queue_depth(deps->metrics, read_queue_depth, api);
    if (deps->fleet != NULL) {
        status = nx_fleet_join(deps->fleet, deps->share.index,
                               nx_service_metrics_registry(deps->metrics), nx_api_metrics_render,
                               api, &api->member, err);
    }
    if (status == NX_OK) {
        status = start_server(api, err);
    }
    if (status != NX_OK) {
        nx_fleet_leave(api->member);
        free_api(api);
        return status;
    }
    nx_api_format_url(nx_config_string(deps->config, NX_CONFIG_HOST),
                      nx_http_server_port(api->server), api->url, sizeof api->url);
    atomic_store(&api->state, NX_API_READY);
    nx_api_note(api, "server.start", NX_OK, "{\"version\":\"" NX_VERSION "\"}");
    if (deps->share.count <= 1) { /* else whoever watches over all says so when all do */
        nx_log_info("api", "listening on %s", api->url);
    }
    *out = api;
    return NX_OK;
}

bool nx_api_is_for_this_machine(const char *host)
{
    return nx_origin_address_is_loopback(host);
}

uint16_t nx_api_port(const nx_api *api)
{
    return nx_http_server_port(api->server);
}

const char *nx_api_url(const nx_api *api)
{
    return api->url;
}

/* --- stopping -----------------------------------------------------------------------------------
 */

static void wait_for_inferences(nx_api *api, int64_t deadline_ns)
{
    int result = 0;
    pthread_mutex_lock(&api->lock);
    while (api->inferences > 0 && result != ETIMEDOUT) {
        result = nx_condition_wait(&api->quiet, &api->lock, deadline_ns);
    }
    pthread_mutex_unlock(&api->lock);
}

/* Whoever is in front hears that it drains, looks elsewhere, and loses nothing meanwhile. */
static void serve_on(nx_api *api, int64_t delay_ns)
{
    const struct timespec delay = {.tv_sec = delay_ns / NX_NS_PER_SEC,
                                   .tv_nsec = delay_ns % NX_NS_PER_SEC};
    (void)nanosleep(&delay, NULL); /* a second signal ends the process */
    nx_http_server_close_door(api->server);
}

void nx_api_stop(nx_api *api, int64_t delay_ns, int64_t deadline_ns)
{
    if (api == NULL) {
        return;
    }
    atomic_store(&api->state, NX_API_DRAINING);
    nx_http_server_announce_stop(api->server);
    if (delay_ns > 0) {
        serve_on(api, delay_ns);
    }
    atomic_store(&api->refuses, true);
    wait_for_inferences(api, deadline_ns); /* meanwhile others still see that it drains */
    nx_http_server_stop(api->server, deadline_ns);
    nx_api_note(api, "server.stop", NX_OK, NULL);
    nx_fleet_leave(api->member);
    free_api(api);
}

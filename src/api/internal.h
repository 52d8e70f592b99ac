/* What the files of this module share. Included by nobody else. */
#ifndef NX_API_INTERNAL_H
#define NX_API_INTERNAL_H

#include "api/api.h"
#include "api/job_counts.h"
#include "api/options.h"
#include "auth/audit.h"
#include "auth/rate_limit.h"
#include "engine/registry.h"
#include "http/server.h"
#include "jobs/image_job.h"

#include <pthread.h>
#include <stdatomic.h>

#define NX_API_MAX_BATCH 100

typedef enum nx_api_state {
    NX_API_STARTING,
    NX_API_READY,
    NX_API_DRAINING,
} nx_api_state;

struct nx_api {
    nx_api_deps deps;
    nx_http_server *server;
    nx_http_route *routes; /* owned; the fixed ones, then one for each embedded file */
    size_t route_count;
    int64_t started_ns;
    bool loopback; /* listens on an address of this machine alone */
    /* of the configuration, which may be read again at any time: rules.c */
    _Atomic int64_t timeout_ns;
    _Atomic uint64_t max_pixels;
    _Atomic uint64_t max_video;
    _Atomic float confidence, iou;
    _Atomic int32_t max_detections;
    _Atomic bool webhook_allow_private;
    nx_address_set trusted_proxies;
    struct nx_kserve_stats *kserve_stats;
    struct nx_predictions *predictions;
    nx_metric *requests_total;
    nx_metric *workers_lost; /* NULL: the server is one process */
    nx_metric *request_duration;
    nx_metric *cache_requests;
    nx_metric *cache_evictions;
    nx_metric *redis_state;
    nx_metric *redis_openings;
    nx_metric *redis_calls;
    nx_metric *redis_connections;
    nx_metric *db_connections;
    nx_metric *db_counts[3]; /* timeouts, connects, lost */
    nx_metric *work_wait;
    nx_metric *jobs;
    nx_metric *jobs_age;
    nx_metric *backup_at;
    nx_metric *deliveries_waiting, *deliveries_oldest;
    nx_metric *jobs_failures;
    nx_metric *audit_rows;
    nx_audit *audit; /* NULL without a database */
    nx_metric *shared_failures;
    _Atomic uint64_t shared_failures_told;
    nx_metric *auth_looks;
    nx_metric *auth_refused;
    nx_metric *frames_received, *frames_processed, *frames_dropped;
    nx_metric *events_recorded, *events_lost, *events_queued;
    nx_metric *stream_reconnects, *stream_fragments, *stream_encodings;
    nx_metric *stream_up, *stream_latency;
    nx_metric *spans_exported, *spans_dropped; /* NULL: no traces are sent */
    nx_metric *rate_limited;
    nx_metric *rate_crowded;
    nx_metric *rate_shared;
    nx_metric *rate_waits;
    nx_rate_limiter *rates; /* NULL: nothing is limited */
    char url[300];
    nx_fleet_member *member; /* of deps.fleet */
    _Atomic nx_api_state state;
    _Atomic bool refuses; /* new inferences: the server is about to end */

    /* of videos and jobs; NULL without a database */
    struct nx_api_pool *quick;
    struct nx_api_pool *slow;
    struct nx_api_pool *passwords; /* what calculates with them */
    struct nx_api_pool *live;      /* what may wait for another process that runs a stream */
    struct nx_api_pool *metrics; /* what shows them: never behind work that waits for a database */
    nx_job_counts *job_counts;
    struct nx_api_job_events *job_events;
    struct nx_api_answers *answers;
    struct nx_api_watchers *watchers;
    struct nx_optimizer *optimizer;
    char *upload_dir;  /* where uploads are while they come in */
    int64_t upload_ms; /* how long an upload waits for its next bytes */

    pthread_mutex_t lock; /* guards the rest */
    char *video_folders;  /* owned */
    size_t streams_shown; /* series of stream_up */
    nx_buffer settings;   /* the answer that lists them */
    pthread_cond_t quiet; /* inferences fell to 0 */
    uint32_t inferences;  /* requests that were handed to the engine and are not put away yet */
};

/* rules.c: takes what may change from a configuration. Errors: NX_ERR_NO_MEMORY, and nothing has
 * changed. */
nx_status nx_api_set_rules(nx_api *api, const nx_config *config, nx_error *err);
/* Thresholds where a request has none. */
nx_postprocess_options nx_api_defaults(const nx_api *api);
/* VIDEO_FOLDERS; the caller frees it. NULL without memory. */
char *nx_api_video_folders(nx_api *api);

/* handlers; user is the nx_api */
void nx_api_health(nx_http_request *request, void *user);
void nx_api_ready(nx_http_request *request, void *user);
/* This process's metrics, as far as they are known without waiting; user is the nx_api. */
void nx_api_metrics_render(nx_buffer *out, void *user);
void nx_api_metrics(nx_http_request *request, void *user);
void nx_api_asset(nx_http_request *request, void *user);
void nx_api_web_page(nx_http_request *request, void *user); /* that of "/", whatever the path */
void nx_api_infer_image(nx_http_request *request, void *user);
void nx_api_infer_batch(nx_http_request *request, void *user);
void nx_api_infer_segment(nx_http_request *request, void *user);

/* Refuses an inference before its body comes while the server does not take any. */
void nx_api_admit_inference(nx_http_request *request, void *user);

/* storage_metrics.c: connections to the database and jobs; read, without waiting, before rendering.
 */
void nx_api_storage_metrics_register(nx_api *api);
void nx_api_storage_metrics_read(nx_api *api);

/* http_metrics.c */
void nx_api_http_metrics_register(nx_api *api);
void nx_api_on_access(const nx_http_access *access, void *user);

/* cache_metrics.c: what the caches count; read before rendering. */
void nx_api_cache_metrics_register(nx_api *api);
void nx_api_cache_metrics_read(nx_api *api);
/* Counts a look for a picture's embedding. */
void nx_api_count_embedding(nx_api *api, bool hit);

#endif

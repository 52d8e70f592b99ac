#include "base/config.h"

#include "base/address.h"
#include "base/config_internal.h"
#include "base/file.h"
#include "base/log.h"
#include "base/rate.h"
#include "base/suggest.h"
#include "base/url.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_FILE_BYTES (1U << 20)
#define MOST_CHOICES   16

const key_info nx_config_keys[NX_CONFIG_COUNT] = {
    [NX_CONFIG_PROFILE] = {"profile", "NEXUS_PROFILE", TYPE_CHOICE, "none", 0, 0,
                           "none|cpu|gpu|small|large", "values that suit a machine or a load"},
    [NX_CONFIG_HOST] = {"host", "NEXUS_HOST", TYPE_STRING, "127.0.0.1", 0, 0, NULL,
                        "address that the server listens on"},
    [NX_CONFIG_PORT] = {"port", "NEXUS_PORT", TYPE_INT, "8000", 0, 65535, NULL,
                        "TCP port; 0 takes a free one"},
    [NX_CONFIG_MODEL] = {"model", "NEXUS_MODEL", TYPE_STRING, "yolov8n", 0, 0, NULL,
                         "model name in the data folder, or a path to an .onnx file"},
    [NX_CONFIG_DATA_DIR] = {"data_dir", "NEXUS_DATA_DIR", TYPE_STRING, "", 0, 0, NULL,
                            "folder with lib/ and models/; empty: ~/.local/share/nexus"},
    [NX_CONFIG_ORT_LIBRARY] = {"ort_library", "NEXUS_ORT_LIBRARY", TYPE_STRING, "", 0, 0, NULL,
                               "libonnxruntime.so to load; empty: look in the usual places"},
    [NX_CONFIG_CONFIDENCE] = {"confidence", "NEXUS_CONFIDENCE", TYPE_NUMBER, "0.25", 0, 1, NULL,
                              "weaker detections are dropped"},
    [NX_CONFIG_IOU] = {"iou", "NEXUS_IOU", TYPE_NUMBER, "0.45", 0, 1, NULL,
                       "overlap above which the weaker of two boxes of a class is dropped"},
    [NX_CONFIG_MAX_DETECTIONS] = {"max_detections", "NEXUS_MAX_DETECTIONS", TYPE_INT, "300", 1,
                                  10000, NULL, "most detections for one picture"},
    [NX_CONFIG_SAM_MODEL] = {"sam_model", "NEXUS_SAM_MODEL", TYPE_STRING, "mobile-sam", 0, 0, NULL,
                             "model in the data folder that segments by points and boxes"},
    [NX_CONFIG_SAM_CACHE_BYTES] = {"sam_cache_bytes", "NEXUS_SAM_CACHE_BYTES", TYPE_BYTES, "64m", 0,
                                   1099511627776.0, NULL,
                                   "memory for pictures that were segmented last, 4m each"},
    [NX_CONFIG_INFERENCE_DEVICE] = {"inference_device", "INFERENCE_DEVICE", TYPE_CHOICE, "auto", 0,
                                    0, "cpu|cuda|auto",
                                    "what runs models; auto: a GPU where one works"},
    [NX_CONFIG_USE_ONNX] = {"use_onnx", "USE_ONNX", TYPE_CHOICE, "true", 0, 0, BOOLEAN,
                            "let ONNX Runtime's kernels run what TensorRT does not"},
    [NX_CONFIG_USE_TENSORRT] = {"use_tensorrt", "USE_TENSORRT", TYPE_CHOICE, "false", 0, 0, BOOLEAN,
                                "build models with TensorRT: minutes once, then faster"},
    [NX_CONFIG_USE_FP16] = {"use_fp16", "USE_FP16", TYPE_CHOICE, "false", 0, 0, BOOLEAN,
                            "let TensorRT compute in half precision"},
    [NX_CONFIG_INFERENCE_WORKERS] = {"inference_workers", "INFERENCE_WORKERS", TYPE_INT, "0", 0,
                                     256, NULL,
                                     "parallel model runs; 0: one for each core, two on a GPU"},
    [NX_CONFIG_INFERENCE_NUM_THREADS] = {"inference_num_threads", "INFERENCE_NUM_THREADS", TYPE_INT,
                                         "0", 0, 256, NULL,
                                         "threads of a model run that is alone; 0: all cores"},
    [NX_CONFIG_INFERENCE_BATCH_SIZE] = {"inference_batch_size", "INFERENCE_BATCH_SIZE", TYPE_INT,
                                        "0", 0, 256, NULL,
                                        "most pictures in one model run; 0: what is fastest, which "
                                        "on a CPU is one"},
    [NX_CONFIG_INFERENCE_BATCH_DELAY] = {"inference_batch_delay_us", "INFERENCE_BATCH_DELAY_US",
                                         TYPE_INT, "0", 0, 10000000, NULL,
                                         "microseconds that a batch waits until it is full"},
    [NX_CONFIG_INFERENCE_PREFETCH] =
        {"inference_prefetch", "INFERENCE_PREFETCH", TYPE_INT, "0", 0, 64, NULL,
         "batches prepared ahead while others run; not set: 2 on a GPU"},
    [NX_CONFIG_INFERENCE_QUEUE_SIZE] = {"inference_queue_size", "INFERENCE_QUEUE_SIZE", TYPE_INT,
                                        "256", 1, 65536, NULL,
                                        "waiting pictures; beyond it requests get 503"},
    [NX_CONFIG_WORKERS] = {"workers", "WORKERS", TYPE_INT, "1", 1, 64, NULL,
                           "processes of 'nexus serve'; each has its own copy of the models"},
    [NX_CONFIG_HTTP_THREADS] = {"http_threads", "HTTP_THREADS", TYPE_INT, "0", 0, 64, NULL,
                                "connection threads; 0: one for each core, at most 4"},
    [NX_CONFIG_LIMIT_CONCURRENCY] = {"limit_concurrency", "LIMIT_CONCURRENCY", TYPE_INT, "1000", 1,
                                     1000000, NULL, "requests in flight; beyond it they get 503"},
    [NX_CONFIG_LIMIT_CONCURRENCY_PER_CLIENT] =
        {"limit_concurrency_per_client", "LIMIT_CONCURRENCY_PER_CLIENT", TYPE_INT, "128", 0,
         1000000, NULL,
         "inference requests in flight from one address; beyond it they get 429; 0: no limit"},
    [NX_CONFIG_TRUSTED_PROXIES] =
        {"trusted_proxies", "TRUSTED_PROXIES", TYPE_ADDRESSES, "", 0, 0, NULL,
         "addresses and blocks such as 10.0.0.0/8 whose X-Forwarded-For is believed; empty: none"},
    [NX_CONFIG_RATE_LIMIT] = {"rate_limit", "RATE_LIMIT", TYPE_CHOICE, "true", 0, 0, BOOLEAN,
                              "limit how often a user, key or address may ask"},
    [NX_CONFIG_RATE_LIMIT_AUTH] = {"rate_limit_auth", "RATE_LIMIT_AUTH", TYPE_RATE, "30/min", 0, 0,
                                   NULL, "of one address: sign-ins, passwords, set-up"},
    [NX_CONFIG_RATE_LIMIT_INFER] = {"rate_limit_infer", "RATE_LIMIT_INFER", TYPE_RATE,
                                    "1000/s burst 2000", 0, 0, NULL,
                                    "of one user, key or address: inference"},
    [NX_CONFIG_RATE_LIMIT_WRITE] = {"rate_limit_write", "RATE_LIMIT_WRITE", TYPE_RATE,
                                    "100/s burst 400", 0, 0, NULL, "of one: changes and uploads"},
    [NX_CONFIG_RATE_LIMIT_READ] = {"rate_limit_read", "RATE_LIMIT_READ", TYPE_RATE,
                                   "500/s burst 1000", 0, 0, NULL, "of one: all other requests"},
    [NX_CONFIG_MAX_CONNECTIONS] = {"max_connections", "MAX_CONNECTIONS", TYPE_INT, "4096", 16,
                                   1000000, NULL, "open connections, idle ones included"},
    [NX_CONFIG_BACKLOG] = {"backlog", "BACKLOG", TYPE_INT, "2048", 1, 65535, NULL,
                           "connections that wait in the kernel to be accepted"},
    [NX_CONFIG_KEEPALIVE] = {"keepalive", "KEEPALIVE", TYPE_INT, "75", 1, 3600, NULL,
                             "seconds after which an idle connection is closed"},
    [NX_CONFIG_REQUEST_TIMEOUT] = {"request_timeout", "REQUEST_TIMEOUT", TYPE_INT, "30", 1, 3600,
                                   NULL,
                                   "seconds for sending a request, and for waiting in the queue"},
    [NX_CONFIG_DRAIN_DELAY] = {"drain_delay", "DRAIN_DELAY", TYPE_INT, "0", 0, 20, NULL,
                               "seconds that a server that is to end still serves while "
                               "/health/ready says 503"},
    [NX_CONFIG_MAX_BODY_BYTES] = {"max_body_bytes", "MAX_BODY_BYTES", TYPE_BYTES, "32m", 1024,
                                  4294967296.0, NULL, "largest body of an image request"},
    [NX_CONFIG_MAX_BATCH_BODY_BYTES] = {"max_batch_body_bytes", "MAX_BATCH_BODY_BYTES", TYPE_BYTES,
                                        "256m", 1024, 4294967296.0, NULL,
                                        "largest body of a batch request"},
    [NX_CONFIG_MAX_INFLIGHT_BODY_BYTES] = {"max_inflight_body_bytes", "MAX_INFLIGHT_BODY_BYTES",
                                           TYPE_BYTES, "1g", 1024, 1099511627776.0, NULL,
                                           "memory for all bodies together; beyond it 503"},
    [NX_CONFIG_MAX_IMAGE_PIXELS] = {"max_image_pixels", "MAX_IMAGE_PIXELS", TYPE_BYTES, "64m", 1,
                                    4294967296.0, NULL,
                                    "largest width x height of a picture, checked before memory"},
    [NX_CONFIG_MAX_MODEL_BYTES] = {"max_model_bytes", "MAX_MODEL_BYTES", TYPE_BYTES, "512m", 1024,
                                   68719476736.0, NULL, "largest model file that is taken in"},
    [NX_CONFIG_MAX_VIDEO_BYTES] = {"max_video_bytes", "MAX_VIDEO_BYTES", TYPE_BYTES, "10g", 1024,
                                   1099511627776.0, NULL, "largest video that is taken in"},
    [NX_CONFIG_UPLOAD_LIFETIME] = {"upload_lifetime", "UPLOAD_LIFETIME", TYPE_INT, "86400", 1,
                                   31536000, NULL,
                                   "seconds that a resumable upload waits for its next bytes"},
    [NX_CONFIG_VIDEO_FOLDERS] =
        {"video_folders", "VIDEO_FOLDERS", TYPE_STRING, "", 0, 0, NULL,
         "absolute folders, with ':' between, whose videos jobs may name by "
         "their path; empty: none"},
    [NX_CONFIG_MAX_LOADED_MODELS] = {"max_loaded_models", "MAX_LOADED_MODELS", TYPE_INT, "4", 1,
                                     1000, NULL,
                                     "models in memory; beyond it the least recently used goes"},
    [NX_CONFIG_DATABASE_URL] = {"database_url", "DATABASE_URL", TYPE_STRING, "", 0, 0, NULL,
                                "postgres://USER:PASSWORD@HOST/NAME or sqlite:PATH; empty: "
                                "nexus.db in the data folder"},
    [NX_CONFIG_DB_POOL_SIZE] = {"db_pool_size", "DB_POOL_SIZE", TYPE_INT, "50", 1, 1000, NULL,
                                "connections to PostgreSQL that are kept open"},
    [NX_CONFIG_DB_MAX_OVERFLOW] = {"db_max_overflow", "DB_MAX_OVERFLOW", TYPE_INT, "25", 0, 1000,
                                   NULL, "connections beyond the pool, closed after use"},
    [NX_CONFIG_DB_POOL_TIMEOUT] = {"db_pool_timeout", "DB_POOL_TIMEOUT", TYPE_NUMBER, "10", 0.1,
                                   3600, NULL,
                                   "seconds to wait for a connection, or for SQLite's lock"},
    [NX_CONFIG_DB_POOL_RECYCLE] = {"db_pool_recycle", "DB_POOL_RECYCLE", TYPE_INT, "1800", 0, 86400,
                                   NULL, "seconds after which a connection is replaced; 0: never"},
    [NX_CONFIG_DB_POOL_PRE_PING] = {"db_pool_pre_ping", "DB_POOL_PRE_PING", TYPE_CHOICE, "true", 0,
                                    0, BOOLEAN,
                                    "ask a connection that was idle whether it still works"},
    [NX_CONFIG_DB_ECHO] = {"db_echo", "DB_ECHO", TYPE_CHOICE, "false", 0, 0, BOOLEAN,
                           "log SQL statements, without the values in them"},
    [NX_CONFIG_REDIS_URL] = {"redis_url", "REDIS_URL", TYPE_STRING, "", 0, 0, NULL,
                             "redis://USER:PASSWORD@HOST:PORT/DATABASE or unix:///SOCKET, a cache "
                             "for several processes; empty: each has its own"},
    [NX_CONFIG_REDIS_MAXMEMORY] = {"redis_maxmemory", "REDIS_MAXMEMORY", TYPE_BYTES, "2g", 1048576,
                                   1099511627776.0, NULL,
                                   "what Redis should be bound to; 'nexus check' compares"},
    [NX_CONFIG_CACHE_BYTES] = {"cache_bytes", "CACHE_BYTES", TYPE_BYTES, "256m", 1048576,
                               1099511627776.0, NULL,
                               "memory for what may be asked again, in each process"},
    [NX_CONFIG_CACHE_TTL_PREDICTIONS] =
        {"cache_ttl_predictions", "CACHE_TTL_PREDICTIONS", TYPE_INT, "300", 0, 86400, NULL,
         "seconds that a prediction is kept for equal pictures; 0: not at all"},
    [NX_CONFIG_CACHE_TTL_VIDEOS] = {"cache_ttl_videos", "CACHE_TTL_VIDEOS", TYPE_INT, "900", 0,
                                    86400, NULL,
                                    "seconds that a video's metadata is kept; 0: not at all"},
    [NX_CONFIG_CACHE_TTL_SESSIONS] = {"cache_ttl_sessions", "CACHE_TTL_SESSIONS", TYPE_INT, "3600",
                                      0, 86400, NULL,
                                      "seconds that a session is kept beside the database; 0: not "
                                      "at all"},
    [NX_CONFIG_CACHE_TTL_RESPONSES] = {"cache_ttl_responses", "CACHE_TTL_RESPONSES", TYPE_INT,
                                       "120", 0, 86400, NULL,
                                       "seconds that an answer of the API is kept; 0: not at all"},
    [NX_CONFIG_RUN_JOBS] = {"run_jobs", "RUN_JOBS", TYPE_CHOICE, "true", 0, 0, BOOLEAN,
                            "let 'nexus serve' analyse the videos of the queue as well"},
    [NX_CONFIG_CONCURRENCY] = {"concurrency", "CONCURRENCY", TYPE_INT, "4", 1, 256, NULL,
                               "videos that a process analyses at once"},
    [NX_CONFIG_PREFETCH_MULTIPLIER] =
        {"prefetch_multiplier", "PREFETCH_MULTIPLIER", TYPE_INT, "4", 1, 64, NULL,
         "times concurrency: jobs that a process takes; 1: none ahead"},
    [NX_CONFIG_MAX_TASKS_PER_CHILD] =
        {"max_tasks_per_child", "MAX_TASKS_PER_CHILD", TYPE_INT, "100", 0, 1000000, NULL,
         "jobs after which 'nexus worker' begins anew, with fresh memory; 0: never"},
    [NX_CONFIG_JOB_LEASE] =
        {"job_lease", "JOB_LEASE", TYPE_INT, "30", 2, 3600, NULL,
         "seconds without a sign of life after which a process's jobs go on elsewhere"},
    [NX_CONFIG_JOB_LIFETIME] =
        {"job_lifetime", "JOB_LIFETIME", TYPE_INT, "0", 0, 3153600000.0, NULL,
         "seconds that a job and its results are kept once it has ended; 0: for ever"},
    [NX_CONFIG_STREAMS_AT_ONCE] = {"streams_at_once", "STREAMS_AT_ONCE", TYPE_INT, "16", 0, 256,
                                   NULL, "live streams that a process runs at once; 0: none"},
    [NX_CONFIG_STREAM_FILES_DIR] = {"stream_files_dir", "STREAM_FILES_DIR", TYPE_STRING, "", 0, 0,
                                    NULL,
                                    "folder whose videos admins may show as cameras, over and "
                                    "over; empty: none"},
    [NX_CONFIG_STREAM_ALLOW_LOOPBACK] = {"stream_allow_loopback", "STREAM_ALLOW_LOOPBACK",
                                         TYPE_CHOICE, "false", 0, 0, BOOLEAN,
                                         "let streams come from this machine's own addresses"},
    [NX_CONFIG_STREAM_CA_FILE] = {"stream_ca_file", "STREAM_CA_FILE", TYPE_STRING, "", 0, 0, NULL,
                                  "PEM file of the authorities that certificates of cameras are "
                                  "checked with; empty: the system's"},
    [NX_CONFIG_STREAM_RELAY] = {"stream_relay", "STREAM_RELAY", TYPE_STRING, "", 0, 0, NULL,
                                "HOST:PORT by which other hosts reach this one to look at streams "
                                "that run here; empty: they can't"},
    [NX_CONFIG_OBJECTS_URL] = {"objects_url", "OBJECTS_URL", TYPE_STRING, "", 0, 0, NULL,
                               "s3://BUCKET/PREFIX for videos and results; empty: objects/ in the "
                               "data folder"},
    [NX_CONFIG_S3_ENDPOINT] = {"s3_endpoint", "S3_ENDPOINT", TYPE_STRING, "", 0, 0, NULL,
                               "http://HOST:PORT of another S3 than Amazon's"},
    [NX_CONFIG_S3_REGION] = {"s3_region", "S3_REGION", TYPE_STRING, "us-east-1", 0, 0, NULL,
                             "region of the bucket"},
    [NX_CONFIG_S3_ACCESS_KEY] = {"s3_access_key", "AWS_ACCESS_KEY_ID", TYPE_STRING, "", 0, 0, NULL,
                                 "who asks S3"},
    [NX_CONFIG_S3_SECRET_KEY] = {"s3_secret_key", "AWS_SECRET_ACCESS_KEY", TYPE_STRING, "", 0, 0,
                                 NULL, "what requests to S3 are signed with; never shown"},
    [NX_CONFIG_WEBHOOK_SECRET] = {"webhook_secret", "WEBHOOK_SECRET", TYPE_STRING, "", 0, 0, NULL,
                                  "what webhooks are signed with; empty: unsigned; never shown"},
    [NX_CONFIG_WEBHOOK_ALLOW_PRIVATE] =
        {"webhook_allow_private", "WEBHOOK_ALLOW_PRIVATE", TYPE_CHOICE, "false", 0, 0, BOOLEAN,
         "let webhooks go to loopback, private and other special addresses"},
    [NX_CONFIG_WEBHOOK_CA_FILE] = {"webhook_ca_file", "WEBHOOK_CA_FILE", TYPE_STRING, "", 0, 0,
                                   NULL,
                                   "PEM file of the authorities that certificates of webhooks' "
                                   "receivers are checked with; empty: the system's"},
    [NX_CONFIG_EVENT_WEBHOOK_URL] = {"event_webhook_url", "EVENT_WEBHOOK_URL", TYPE_STRING, "", 0,
                                     0, NULL,
                                     "where the events of streams are posted; empty: nowhere"},
    [NX_CONFIG_MQTT_URL] = {"mqtt_url", "MQTT_URL", TYPE_STRING, "", 0, 0, NULL,
                            "mqtt://USER:PASSWORD@HOST:PORT, or mqtts://, that events of streams "
                            "are told to; empty: none"},
    [NX_CONFIG_MQTT_CA_FILE] = {"mqtt_ca_file", "MQTT_CA_FILE", TYPE_STRING, "", 0, 0, NULL,
                                "file (PEM) of the CA of an mqtts:// broker's certificate; empty: "
                                "those of /etc/ssl/certs"},
    [NX_CONFIG_MQTT_PREFIX] = {"mqtt_prefix", "MQTT_PREFIX", TYPE_STRING, "nexus", 0, 0, NULL,
                               "what topics begin with"},
    [NX_CONFIG_MQTT_DISCOVERY] = {"mqtt_discovery", "MQTT_DISCOVERY", TYPE_STRING, "homeassistant",
                                  0, 0, NULL,
                                  "where Home Assistant looks for devices; empty: it is not told"},
    [NX_CONFIG_EVENT_LIFETIME] = {"event_lifetime", "EVENT_LIFETIME", TYPE_INT, "2592000", 60,
                                  3153600000.0, NULL, "seconds that an event of a stream is kept"},
    [NX_CONFIG_EVENT_MAX_BYTES] = {"event_max_bytes", "EVENT_MAX_BYTES", TYPE_BYTES, "10g", 1048576,
                                   1099511627776.0, NULL,
                                   "bytes of all events with their pictures and clips; beyond it "
                                   "the oldest go"},
    [NX_CONFIG_EVENT_CLIP_SECONDS] = {"event_clip_seconds", "EVENT_CLIP_SECONDS", TYPE_INT, "5", 0,
                                      30, NULL,
                                      "seconds of video before and after an event that its clip "
                                      "has; 0: no clips"},
    [NX_CONFIG_LOG_LEVEL] = {"log_level", "LOG_LEVEL", TYPE_CHOICE, "info", 0, 0,
                             "debug|info|warning|error",
                             "least level that is logged, and of single modules: "
                             "info,http=debug,streams=warning"},
    [NX_CONFIG_LOG_FORMAT] = {"log_format", "LOG_FORMAT", TYPE_CHOICE, "auto", 0, 0,
                              "auto|text|json", "auto: text on a terminal, JSON lines elsewhere"},
    [NX_CONFIG_OTLP_ENDPOINT] = {"otlp_endpoint", "OTEL_EXPORTER_OTLP_ENDPOINT", TYPE_STRING, "", 0,
                                 0, NULL,
                                 "http://HOST:4318 of a collector that traces go to by OTLP/HTTP "
                                 "(JSON), at /v1/traces; empty: they go nowhere"},
    [NX_CONFIG_OTLP_TRACES_ENDPOINT] = {"otlp_traces_endpoint",
                                        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", TYPE_STRING, "", 0, 0,
                                        NULL, "the whole URL for traces, where it is another one"},
    [NX_CONFIG_OTLP_HEADERS] = {"otlp_headers", "OTEL_EXPORTER_OTLP_HEADERS", TYPE_STRING, "", 0, 0,
                                NULL,
                                "name=value,name=value: headers for the collector, values "
                                "percent-encoded; never shown"},
    [NX_CONFIG_OTLP_CERTIFICATE] = {"otlp_certificate", "OTEL_EXPORTER_OTLP_CERTIFICATE",
                                    TYPE_STRING, "", 0, 0, NULL,
                                    "PEM file of the authorities that the collector's certificate "
                                    "is checked with; empty: the system's"},
    [NX_CONFIG_OTEL_SERVICE_NAME] = {"otel_service_name", "OTEL_SERVICE_NAME", TYPE_STRING, "nexus",
                                     0, 0, NULL, "what traces call this service"},
    [NX_CONFIG_OTEL_RESOURCE_ATTRIBUTES] =
        {"otel_resource_attributes", "OTEL_RESOURCE_ATTRIBUTES", TYPE_STRING, "", 0, 0, NULL,
         "name=value,name=value: what else traces say of it, such as deployment.environment.name"},
    [NX_CONFIG_OTEL_TRACES_SAMPLER] =
        {"otel_traces_sampler", "OTEL_TRACES_SAMPLER", TYPE_CHOICE, "parentbased_always_on", 0, 0,
         "always_on|always_off|traceidratio|parentbased_always_on|parentbased_always_off|"
         "parentbased_traceidratio",
         "which traces are kept; parentbased: those that the caller keeps, and of others as it "
         "says"},
    [NX_CONFIG_OTEL_TRACES_SAMPLER_ARG] = {"otel_traces_sampler_arg", "OTEL_TRACES_SAMPLER_ARG",
                                           TYPE_NUMBER, "1", 0, 1, NULL,
                                           "share of the traces that a sampler by ratio keeps"},
};

/* Never shown, logged or told. A file may hold each of them: NAME_FILE in the environment,
 * name_file in YAML. */
static const struct {
    nx_config_key key;
    nx_config_secrecy secrecy;
} secrets[] = {
    {NX_CONFIG_DATABASE_URL, NX_CONFIG_SECRET_URL},
    {NX_CONFIG_REDIS_URL, NX_CONFIG_SECRET_URL},
    {NX_CONFIG_S3_SECRET_KEY, NX_CONFIG_SECRET},
    {NX_CONFIG_WEBHOOK_SECRET, NX_CONFIG_SECRET},
    {NX_CONFIG_MQTT_URL, NX_CONFIG_SECRET_URL},
    {NX_CONFIG_EVENT_WEBHOOK_URL, NX_CONFIG_SECRET},
    {NX_CONFIG_OTLP_HEADERS, NX_CONFIG_SECRET},
    {NX_CONFIG_OTLP_ENDPOINT, NX_CONFIG_SECRET_URL},
    {NX_CONFIG_OTLP_TRACES_ENDPOINT, NX_CONFIG_SECRET_URL},
};

/* --- values -------------------------------------------------------------------------------------
 */

static nx_status parse_number(const key_info *info, const char *text, double *out)
{
    char *end = NULL;
    errno = 0;
    double number = 0;
    if (info->type == TYPE_NUMBER) {
        number = strtod(text, &end);
    } else {
        number = (double)strtoll(text, &end, 10);
    }
    if (end == text || errno != 0 || !isfinite(number)) {
        return NX_ERR_INVALID;
    }
    if (info->type == TYPE_BYTES && *end != '\0') {
        static const char units[] = "kmg";
        const char *unit = strchr(units, *end | 0x20);
        if (unit == NULL || *unit == '\0') {
            return NX_ERR_INVALID;
        }
        number *= (double)(UINT64_C(1) << (10 * (unit - units + 1)));
        end++;
        end += (*end | 0x20) == 'b'; /* "512mb", as Redis writes it */
    }
    *out = number;
    return *end == '\0' ? NX_OK : NX_ERR_INVALID;
}

static bool choice_allowed(const char *choices, const char *text)
{
    size_t length = strlen(text);
    for (const char *choice = choices; *choice != '\0';) {
        size_t size = strcspn(choice, "|");
        if (size == length && strncasecmp(choice, text, size) == 0) {
            return true;
        }
        choice += size + (choice[size] == '|');
    }
    return false;
}

static nx_status wrong_choice(const key_info *info, const char *text, const char *origin,
                              nx_error *err)
{
    char words[MOST_CHOICES][32];
    const char *list[MOST_CHOICES];
    size_t count = 0;
    for (const char *at = info->choices; *at != '\0' && count < MOST_CHOICES;) {
        size_t size = strcspn(at, "|");
        snprintf(words[count], sizeof words[count], "%.*s", (int)size, at);
        list[count] = words[count];
        count++;
        at += size + (at[size] == '|');
    }
    const char *near = nx_suggest(text, list, count);
    return nx_error_set(err, NX_ERR_INVALID, "%s: %s is '%.60s'; use one of %s%s%s%s", origin,
                        info->name, text, info->choices, near != NULL ? "; did you mean '" : "",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
}

static nx_status wrong_number(const key_info *info, const char *text, const char *origin,
                              nx_error *err)
{
    /* what Kubernetes puts into NEXUS_PORT beside a Service of that name */
    bool link = strncmp(text, "tcp://", 6) == 0;
    return nx_error_set(err, NX_ERR_INVALID, "%s: %s is '%.60s', which is not %s%s", origin,
                        info->name, text,
                        info->type == TYPE_NUMBER  ? "a number"
                        : info->type == TYPE_BYTES ? "a whole number (k, m, g may follow)"
                                                   : "a whole number",
                        link ? "; Kubernetes sets it for a Service of that name, unless "
                               "enableServiceLinks is false"
                             : "");
}

static nx_status check_value(const key_info *info, const char *text, const char *origin,
                             double *number, nx_error *err)
{
    switch (info->type) {
    case TYPE_STRING:
        return NX_OK;
    case TYPE_RATE: {
        nx_rate rate;
        return nx_rate_parse(text, &rate, err) == NX_OK
                   ? NX_OK
                   : nx_error_prefix(err, "%s: %s", origin, info->name);
    }
    case TYPE_ADDRESSES: {
        nx_address_set set;
        return nx_address_set_parse(text, &set, err) == NX_OK
                   ? NX_OK
                   : nx_error_prefix(err, "%s: %s", origin, info->name);
    }
    case TYPE_CHOICE: {
        /* "warn" and the mission's upper case are accepted as everywhere else */
        nx_log_levels levels;
        bool is_level = info == &nx_config_keys[NX_CONFIG_LOG_LEVEL];
        if (choice_allowed(info->choices, text) ||
            (is_level && nx_log_levels_parse(text, &levels, NULL) == NX_OK)) {
            return NX_OK;
        }
        if (is_level && strpbrk(text, ",=") != NULL) {
            (void)nx_log_levels_parse(text, &levels, err);
            return nx_error_prefix(err, "%s: %s", origin, info->name);
        }
        return wrong_choice(info, text, origin, err);
    }
    case TYPE_INT:
    case TYPE_BYTES:
    case TYPE_NUMBER:
        if (parse_number(info, text, number) != NX_OK) {
            return wrong_number(info, text, origin, err);
        }
        if (*number < info->low || *number > info->high) {
            return nx_error_set(err, NX_ERR_INVALID, "%s: %s is %s; it must be from %.15g to %.15g",
                                origin, info->name, text, info->low, info->high);
        }
        return NX_OK;
    }
    return NX_ERR_INTERNAL;
}

nx_status nx_config_put(nx_config *config, nx_config_key key, const char *text, const char *origin,
                        nx_config_rank rank, nx_error *err)
{
    double number = 0;
    nx_status status = check_value(&nx_config_keys[key], text, origin, &number, err);
    if (status != NX_OK) {
        return status;
    }
    char *text_copy = strdup(text);
    char *origin_copy = strdup(origin);
    if (text_copy == NULL || origin_copy == NULL) {
        free(text_copy);
        free(origin_copy);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the configuration");
    }
    nx_config_value *slot = &config->values[key];
    free(slot->text);
    free(slot->origin);
    free(slot->file);
    *slot =
        (nx_config_value){.text = text_copy, .origin = origin_copy, .number = number, .rank = rank};
    return key == NX_CONFIG_PROFILE && rank > NX_CONFIG_RANK_DEFAULT
               ? nx_config_apply_profile(config, err)
               : NX_OK;
}

nx_status nx_config_set(nx_config *config, nx_config_key key, const char *text, const char *origin,
                        nx_error *err)
{
    return nx_config_put(config, key, text, origin, NX_CONFIG_RANK_OPTION, err);
}

nx_config_secrecy nx_config_secrecy_of(nx_config_key key)
{
    for (size_t i = 0; i < sizeof secrets / sizeof secrets[0]; i++) {
        if (secrets[i].key == key) {
            return secrets[i].secrecy;
        }
    }
    return NX_CONFIG_PUBLIC;
}

const char *nx_config_shown(const nx_config *config, nx_config_key key, char *space, size_t size)
{
    const char *text = config->values[key].text;
    switch (nx_config_secrecy_of(key)) {
    case NX_CONFIG_PUBLIC:
        return text;
    case NX_CONFIG_SECRET:
        return text[0] != '\0' ? "***" : text;
    case NX_CONFIG_SECRET_URL:
        break;
    }
    nx_url_shown(text, space, size);
    return space;
}

void nx_config_warn(nx_config *config, const char *format, ...)
{
    va_list args;
    if (config->warning_count < MOST_WARNINGS) {
        va_start(args, format);
        if (vasprintf(&config->warnings[config->warning_count], format, args) >= 0) {
            config->warning_count++;
        }
        va_end(args);
    }
}

void nx_config_free(nx_config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        free(config->values[i].text);
        free(config->values[i].origin);
        free(config->values[i].file);
    }
    for (size_t i = 0; i < config->warning_count; i++) {
        free(config->warnings[i]);
    }
    free(config);
}

/* --- layers -------------------------------------------------------------------------------------
 */

nx_status nx_config_load_text(const char *text, size_t size, const char *file_name,
                              nx_config_env env, void *user, nx_config **out, nx_error *err)
{
    *out = NULL;
    nx_config *config = calloc(1, sizeof *config);
    if (config == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the configuration");
    }
    nx_status status = NX_OK;
    for (size_t i = 0; i < NX_CONFIG_COUNT && status == NX_OK; i++) {
        status = nx_config_put(config, (nx_config_key)i, nx_config_keys[i].fallback, "default",
                               NX_CONFIG_RANK_DEFAULT, err);
    }
    if (status == NX_OK && text != NULL) {
        status = nx_config_apply_yaml(config, text, size, file_name, err);
    }
    if (status == NX_OK) {
        status = nx_config_apply_environment(config, env, user, err);
    }
    if (status != NX_OK) {
        nx_config_free(config);
        return status;
    }
    *out = config;
    return NX_OK;
}

nx_status nx_config_load(const char *file, nx_config_env env, void *user, nx_config **out,
                         nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    *out = NULL;
    if (file != NULL) {
        nx_status status = nx_file_read(file, MAX_FILE_BYTES, &text, err);
        if (status != NX_OK) {
            nx_buffer_free(&text);
            return status;
        }
    }
    nx_status status = nx_config_load_text(file != NULL ? nx_buffer_cstr(&text) : NULL, text.size,
                                           file != NULL ? file : "", env, user, out, err);
    nx_buffer_free(&text);
    if (status == NX_OK) {
        status = nx_config_read_secrets(*out, err);
        if (status != NX_OK) {
            nx_config_free(*out);
            *out = NULL;
        }
    }
    return status;
}

/* --- reading ------------------------------------------------------------------------------------
 */

int64_t nx_config_int(const nx_config *config, nx_config_key key)
{
    return (int64_t)config->values[key].number;
}

double nx_config_number(const nx_config *config, nx_config_key key)
{
    return config->values[key].number;
}

const char *nx_config_string(const nx_config *config, nx_config_key key)
{
    return config->values[key].text;
}

bool nx_config_bool(const nx_config *config, nx_config_key key)
{
    static const char *const yes[] = {"true", "yes", "on", "1"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcasecmp(config->values[key].text, yes[i]) == 0) {
            return true;
        }
    }
    return false;
}

const char *nx_config_name(nx_config_key key)
{
    return nx_config_keys[key].name;
}

const char *nx_config_env_name(nx_config_key key)
{
    return nx_config_keys[key].env;
}

const char *nx_config_help(nx_config_key key)
{
    return nx_config_keys[key].help;
}

const char *nx_config_origin(const nx_config *config, nx_config_key key)
{
    return config->values[key].origin;
}

const char *nx_config_text(const nx_config *config, nx_config_key key)
{
    return config->values[key].text;
}

size_t nx_config_warning_count(const nx_config *config)
{
    return config->warning_count;
}

const char *nx_config_warning(const nx_config *config, size_t index)
{
    return config->warnings[index];
}

const char *nx_config_default(nx_config_key key)
{
    return nx_config_keys[key].fallback;
}

/*
 * Settings, from a table of keys with types, ranges and defaults. Origins, strongest first: command
 * line, environment, YAML file, profile, default. Unknown keys and values out of range are errors
 * that say what to write instead. Not thread-safe while it is being filled; read-only afterwards.
 *
 * A profile ("cpu", "gpu", "small", "large"; one, under NX_CONFIG_PROFILE) is a set of values for a
 * kind of machine or load. A secret may stand in a file instead: NAME_FILE in the environment,
 * name_file in YAML.
 */
#ifndef NX_BASE_CONFIG_H
#define NX_BASE_CONFIG_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which `nexus check` prints them. */
typedef enum nx_config_key {
    NX_CONFIG_PROFILE,
    NX_CONFIG_HOST,
    NX_CONFIG_PORT,
    NX_CONFIG_MODEL,
    NX_CONFIG_DATA_DIR,
    NX_CONFIG_ORT_LIBRARY,
    NX_CONFIG_CONFIDENCE,
    NX_CONFIG_IOU,
    NX_CONFIG_MAX_DETECTIONS,
    NX_CONFIG_SAM_MODEL,
    NX_CONFIG_SAM_CACHE_BYTES,
    NX_CONFIG_INFERENCE_DEVICE,
    NX_CONFIG_USE_ONNX,
    NX_CONFIG_USE_TENSORRT,
    NX_CONFIG_USE_FP16,
    NX_CONFIG_INFERENCE_WORKERS,
    NX_CONFIG_INFERENCE_NUM_THREADS,
    NX_CONFIG_INFERENCE_BATCH_SIZE,
    NX_CONFIG_INFERENCE_BATCH_DELAY,
    NX_CONFIG_INFERENCE_PREFETCH,
    NX_CONFIG_INFERENCE_QUEUE_SIZE,
    NX_CONFIG_WORKERS,
    NX_CONFIG_HTTP_THREADS,
    NX_CONFIG_LIMIT_CONCURRENCY,
    NX_CONFIG_LIMIT_CONCURRENCY_PER_CLIENT,
    NX_CONFIG_TRUSTED_PROXIES,
    NX_CONFIG_RATE_LIMIT,
    NX_CONFIG_RATE_LIMIT_AUTH,
    NX_CONFIG_RATE_LIMIT_INFER,
    NX_CONFIG_RATE_LIMIT_WRITE,
    NX_CONFIG_RATE_LIMIT_READ,
    NX_CONFIG_MAX_CONNECTIONS,
    NX_CONFIG_BACKLOG,
    NX_CONFIG_KEEPALIVE,
    NX_CONFIG_REQUEST_TIMEOUT,
    NX_CONFIG_DRAIN_DELAY,
    NX_CONFIG_MAX_BODY_BYTES,
    NX_CONFIG_MAX_BATCH_BODY_BYTES,
    NX_CONFIG_MAX_INFLIGHT_BODY_BYTES,
    NX_CONFIG_MAX_IMAGE_PIXELS,
    NX_CONFIG_MAX_MODEL_BYTES,
    NX_CONFIG_MAX_VIDEO_BYTES,
    NX_CONFIG_UPLOAD_LIFETIME,
    NX_CONFIG_VIDEO_FOLDERS,
    NX_CONFIG_MAX_LOADED_MODELS,
    NX_CONFIG_DATABASE_URL,
    NX_CONFIG_DB_POOL_SIZE,
    NX_CONFIG_DB_MAX_OVERFLOW,
    NX_CONFIG_DB_POOL_TIMEOUT,
    NX_CONFIG_DB_POOL_RECYCLE,
    NX_CONFIG_DB_POOL_PRE_PING,
    NX_CONFIG_DB_ECHO,
    NX_CONFIG_REDIS_URL,
    NX_CONFIG_REDIS_MAXMEMORY,
    NX_CONFIG_CACHE_BYTES,
    NX_CONFIG_CACHE_TTL_PREDICTIONS,
    NX_CONFIG_CACHE_TTL_VIDEOS,
    NX_CONFIG_CACHE_TTL_SESSIONS,
    NX_CONFIG_CACHE_TTL_RESPONSES,
    NX_CONFIG_RUN_JOBS,
    NX_CONFIG_CONCURRENCY,
    NX_CONFIG_PREFETCH_MULTIPLIER,
    NX_CONFIG_MAX_TASKS_PER_CHILD,
    NX_CONFIG_JOB_LEASE,
    NX_CONFIG_JOB_LIFETIME,
    NX_CONFIG_STREAMS_AT_ONCE,
    NX_CONFIG_STREAM_FILES_DIR,
    NX_CONFIG_STREAM_ALLOW_LOOPBACK,
    NX_CONFIG_STREAM_CA_FILE,
    NX_CONFIG_STREAM_RELAY,
    NX_CONFIG_OBJECTS_URL,
    NX_CONFIG_S3_ENDPOINT,
    NX_CONFIG_S3_REGION,
    NX_CONFIG_S3_ACCESS_KEY,
    NX_CONFIG_S3_SECRET_KEY,
    NX_CONFIG_WEBHOOK_SECRET,
    NX_CONFIG_WEBHOOK_ALLOW_PRIVATE,
    NX_CONFIG_WEBHOOK_CA_FILE,
    NX_CONFIG_EVENT_WEBHOOK_URL,
    NX_CONFIG_MQTT_URL,
    NX_CONFIG_MQTT_CA_FILE,
    NX_CONFIG_MQTT_PREFIX,
    NX_CONFIG_MQTT_DISCOVERY,
    NX_CONFIG_EVENT_LIFETIME,
    NX_CONFIG_EVENT_MAX_BYTES,
    NX_CONFIG_EVENT_CLIP_SECONDS,
    NX_CONFIG_LOG_LEVEL,
    NX_CONFIG_LOG_FORMAT,
    NX_CONFIG_OTLP_ENDPOINT,
    NX_CONFIG_OTLP_TRACES_ENDPOINT,
    NX_CONFIG_OTLP_HEADERS,
    NX_CONFIG_OTLP_CERTIFICATE,
    NX_CONFIG_OTEL_SERVICE_NAME,
    NX_CONFIG_OTEL_RESOURCE_ATTRIBUTES,
    NX_CONFIG_OTEL_TRACES_SAMPLER,
    NX_CONFIG_OTEL_TRACES_SAMPLER_ARG,
    NX_CONFIG_COUNT,
} nx_config_key;

typedef struct nx_config nx_config;

/* Looks up an environment variable; getenv in production, a table in tests. */
typedef const char *(*nx_config_env)(const char *name, void *user);

/*
 * Defaults, the profile's values, then the YAML file (file may be NULL for none), then the
 * environment; then the files of secrets are read (regular ones of at most 64 KiB, one newline at
 * the end dropped). nx_config_check is to follow when the command line has had its say.
 * Errors: NX_ERR_INVALID with file, line, key, what is allowed and a suggestion; NX_ERR_NOT_FOUND.
 */
nx_status nx_config_load(const char *file, nx_config_env env, void *user, nx_config **out,
                         nx_error *err);

/* As nx_config_load from YAML text in memory, for tests and fuzzing; file_name is for messages.
 * No file is read: secrets that stand in one are empty. */
nx_status nx_config_load_text(const char *text, size_t size, const char *file_name,
                              nx_config_env env, void *user, nx_config **out, nx_error *err);
void nx_config_free(nx_config *config);

/* Overrides one value; origin ("--port") is kept by copy. A profile's values go under whatever was
 * set by other means, before or after. Errors: NX_ERR_INVALID. */
nx_status nx_config_set(nx_config *config, nx_config_key key, const char *text, const char *origin,
                        nx_error *err);

/* Looks for names in the environment ("NAME=value", as environ) that were meant as settings. One
 * with our prefix that does not exist is an error; one that is nearly a setting is a warning. */
nx_status nx_config_check_names(nx_config *config, char *const *environment, nx_error *err);

/* How many connections to PostgreSQL a server with all of its WORKERS may open: they divide the
 * pool, but each has at least one of its own. */
int64_t nx_config_most_connections(const nx_config *config);

/* Looks at values that concern each other. Errors: NX_ERR_INVALID where they contradict each
 * other; what is only odd becomes a warning. */
nx_status nx_config_check(nx_config *config, nx_error *err);

/* What is odd, as sentences; of the files of secrets, too. */
size_t nx_config_warning_count(const nx_config *config);
const char *nx_config_warning(const nx_config *config, size_t index);

/* Can a running process take a new value of it? */
bool nx_config_can_reload(nx_config_key key);

/* A setting that is another now. The texts are as they may be shown, and live while the call
 * lasts. */
typedef struct nx_config_change {
    nx_config_key key;
    bool taken; /* false: it needs a restart, and the old value stays */
    const char *from, *to, *origin;
} nx_config_change;

/*
 * Makes next, loaded anew, what a process may go on with that runs with running: what can't be
 * reloaded keeps its value and origin of running. each (may be NULL) is called for every
 * difference. Errors: NX_ERR_NO_MEMORY, after which next is to be freed unused.
 */
nx_status nx_config_settle(const nx_config *running, nx_config *next,
                           void (*each)(const nx_config_change *change, void *user), void *user,
                           nx_error *err);

/* Typed reads. A key is read with the type that its table entry has. */
int64_t nx_config_int(const nx_config *config, nx_config_key key);
double nx_config_number(const nx_config *config, nx_config_key key);
const char *nx_config_string(const nx_config *config, nx_config_key key); /* never NULL */
bool nx_config_bool(const nx_config *config, nx_config_key key);

/* For `nexus check`, --help and documentation. */
const char *nx_config_name(nx_config_key key); /* YAML key, "inference_workers" */
const char *nx_config_env_name(nx_config_key key);
const char *nx_config_help(nx_config_key key);
const char *nx_config_origin(const nx_config *config, nx_config_key key);
const char *nx_config_default(nx_config_key key);
/* What kind of thing the value is from: "default", "profile", "file", "environment", "option" (of
 * the command line) or, of a secret, "secret_file". */
const char *nx_config_source(const nx_config *config, nx_config_key key);

/* What its values are; all text is constant. */
typedef struct nx_config_about {
    const char *type; /* text, rate, addresses, integer, size (k, m, g may follow), number, choice,
                         boolean */
    const char *unit; /* "seconds", "microseconds", "bytes", "pixels"; NULL: none */
    const char *choices; /* "a|b|c" of choices and booleans; else NULL */
    bool bounded;        /* low and high are the smallest and the largest */
    double low, high;
} nx_config_about;
nx_config_about nx_config_describe(nx_config_key key);

/* What is allowed: "0 to 65535", "cpu|cuda|auto", "" for any text. */
void nx_config_allowed(nx_config_key key, char *out, size_t size);
/* The value as text, as it would be written in the file. Of a secret, the secret. */
const char *nx_config_text(const nx_config *config, nx_config_key key);

typedef enum nx_config_secrecy {
    NX_CONFIG_PUBLIC,
    NX_CONFIG_SECRET,     /* never shown */
    NX_CONFIG_SECRET_URL, /* shown without its password */
} nx_config_secrecy;
nx_config_secrecy nx_config_secrecy_of(nx_config_key key);

/* The value as it may be shown to anybody; space is used for what has to be cut. */
#define NX_CONFIG_SHOWN_SIZE 512
const char *nx_config_shown(const nx_config *config, nx_config_key key, char *space, size_t size);

/* All settings as a YAML file with what they mean. What is set stands there as it is and means the
 * same when it is read; defaults, what a profile says and secrets are commented out. */
void nx_config_write_yaml(const nx_config *config, nx_buffer *out);

#endif

#include "base/config.h"

#include "base/address.h"
#include "base/file.h"
#include "base/log.h"
#include "base/suggest.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define MAX_FILE_BYTES (1U << 20)
#define BOOLEAN        "true|false|yes|no|on|off|1|0"

typedef enum value_type {
    TYPE_STRING,
    TYPE_ADDRESSES, /* as nx_address_set_parse takes them */
    TYPE_INT,
    TYPE_BYTES, /* an integer that may carry k, m or g (powers of 1024) */
    TYPE_NUMBER,
    TYPE_CHOICE,
} value_type;

typedef struct key_info {
    const char *name;
    const char *env;
    value_type type;
    const char *fallback;
    double low, high;
    const char *choices; /* "a|b|c" for TYPE_CHOICE */
    const char *help;
} key_info;

static const key_info keys[NX_CONFIG_COUNT] = {
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
    [NX_CONFIG_MAX_CONNECTIONS] = {"max_connections", "MAX_CONNECTIONS", TYPE_INT, "4096", 16,
                                   1000000, NULL, "open connections, idle ones included"},
    [NX_CONFIG_BACKLOG] = {"backlog", "BACKLOG", TYPE_INT, "2048", 1, 65535, NULL,
                           "connections that wait in the kernel to be accepted"},
    [NX_CONFIG_KEEPALIVE] = {"keepalive", "KEEPALIVE", TYPE_INT, "75", 1, 3600, NULL,
                             "seconds after which an idle connection is closed"},
    [NX_CONFIG_REQUEST_TIMEOUT] = {"request_timeout", "REQUEST_TIMEOUT", TYPE_INT, "30", 1, 3600,
                                   NULL,
                                   "seconds for sending a request, and for waiting in the queue"},
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
    [NX_CONFIG_LOG_LEVEL] = {"log_level", "LOG_LEVEL", TYPE_CHOICE, "info", 0, 0,
                             "debug|info|warning|error", "least level that is logged"},
    [NX_CONFIG_LOG_FORMAT] = {"log_format", "LOG_FORMAT", TYPE_CHOICE, "auto", 0, 0,
                              "auto|text|json", "auto: text on a terminal, JSON lines elsewhere"},
};

typedef struct value {
    char *text;
    char *origin;
    double number; /* for the types that have one; exact for integers up to 2^53 */
} value;

struct nx_config {
    value values[NX_CONFIG_COUNT];
};

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

static nx_status check_value(const key_info *info, const char *text, const char *origin,
                             double *number, nx_error *err)
{
    switch (info->type) {
    case TYPE_STRING:
        return NX_OK;
    case TYPE_ADDRESSES: {
        nx_address_set set;
        return nx_address_set_parse(text, &set, err) == NX_OK
                   ? NX_OK
                   : nx_error_prefix(err, "%s: %s", origin, info->name);
    }
    case TYPE_CHOICE: {
        /* "warn" and the mission's upper case are accepted as everywhere else */
        nx_log_level level;
        if (choice_allowed(info->choices, text) ||
            (info == &keys[NX_CONFIG_LOG_LEVEL] &&
             nx_log_level_parse(text, &level, NULL) == NX_OK)) {
            return NX_OK;
        }
        return nx_error_set(err, NX_ERR_INVALID, "%s: %s is '%.60s'; use one of %s", origin,
                            info->name, text, info->choices);
    }
    case TYPE_INT:
    case TYPE_BYTES:
    case TYPE_NUMBER:
        if (parse_number(info, text, number) != NX_OK) {
            return nx_error_set(err, NX_ERR_INVALID, "%s: %s is '%.60s', which is not %s", origin,
                                info->name, text,
                                info->type == TYPE_NUMBER  ? "a number"
                                : info->type == TYPE_BYTES ? "a whole number (k, m, g may follow)"
                                                           : "a whole number");
        }
        if (*number < info->low || *number > info->high) {
            return nx_error_set(err, NX_ERR_INVALID, "%s: %s is %s; it must be from %.15g to %.15g",
                                origin, info->name, text, info->low, info->high);
        }
        return NX_OK;
    }
    return NX_ERR_INTERNAL;
}

nx_status nx_config_set(nx_config *config, nx_config_key key, const char *text, const char *origin,
                        nx_error *err)
{
    double number = 0;
    nx_status status = check_value(&keys[key], text, origin, &number, err);
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
    value *slot = &config->values[key];
    free(slot->text);
    free(slot->origin);
    *slot = (value){.text = text_copy, .origin = origin_copy, .number = number};
    return NX_OK;
}

static nx_status unknown_key(const char *name, const char *file, size_t line, nx_error *err)
{
    const char *names[NX_CONFIG_COUNT];
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        names[i] = keys[i].name;
    }
    const char *near = nx_suggest(name, names, NX_CONFIG_COUNT);
    return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: there is no setting '%.60s'%s%s%s", file,
                        line, name, near != NULL ? "; did you mean '" : "; see nexus check",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
}

static nx_status apply_pair(nx_config *config, const char *name, const char *text, const char *file,
                            size_t line, nx_error *err)
{
    char origin[256];
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        if (strcmp(name, keys[i].name) == 0) {
            /* a very long path loses its end, never the line */
            snprintf(origin, sizeof origin, "%.230s:%zu", file, line);
            return nx_config_set(config, (nx_config_key)i, text, origin, err);
        }
    }
    return unknown_key(name, file, line, err);
}

/* An empty file, or one of "---" alone. */
static bool is_empty(const yaml_node_t *root)
{
    return root == NULL || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0);
}

/* Walks the mapping at the root of the document: scalar keys, scalar values, no key twice. */
static nx_status apply_document(nx_config *config, yaml_document_t *document, const char *file,
                                nx_error *err)
{
    yaml_node_t *root = yaml_document_get_root_node(document);
    if (is_empty(root)) {
        return NX_OK;
    }
    if (root->type != YAML_MAPPING_NODE) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: expected lines of the form 'setting: value'",
                            file);
    }
    bool seen[NX_CONFIG_COUNT] = {false};
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(document, pair->key);
        yaml_node_t *text = yaml_document_get_node(document, pair->value);
        size_t line = name->start_mark.line + 1;
        if (name->type != YAML_SCALAR_NODE || text->type != YAML_SCALAR_NODE) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "%s:%zu: a setting has one plain value, not a list or a map", file,
                                line);
        }
        const char *key = (const char *)name->data.scalar.value;
        const char *setting = (const char *)text->data.scalar.value;
        if (strlen(key) != name->data.scalar.length ||
            strlen(setting) != text->data.scalar.length) {
            return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: a NUL byte (\\0) in a setting", file,
                                line);
        }
        nx_status status = apply_pair(config, key, setting, file, line, err);
        if (status != NX_OK) {
            return status;
        }
        for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
            if (strcmp(key, keys[i].name) == 0) {
                if (seen[i]) {
                    return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: '%s' is set twice", file,
                                        line, key);
                }
                seen[i] = true;
            }
        }
    }
    return NX_OK;
}

/* Where libyaml stopped. Of bytes that are not text it gives the offset alone. */
static size_t problem_line(const yaml_parser_t *parser, const char *text, size_t size)
{
    if (parser->error != YAML_READER_ERROR) {
        return parser->problem_mark.line + 1;
    }
    size_t line = 1;
    for (size_t i = 0; i < size && i < parser->problem_offset; i++) {
        line += text[i] == '\n';
    }
    return line;
}

static nx_status bad_yaml(const yaml_parser_t *parser, const char *text, size_t size,
                          const char *file, nx_error *err)
{
    return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: not valid YAML: %s", file,
                        problem_line(parser, text, size),
                        parser->problem != NULL ? parser->problem : "it could not be understood");
}

/* A second document ("---") would be read by nobody: better refused than ignored. */
static nx_status expect_end(yaml_parser_t *parser, const char *text, size_t size, const char *file,
                            nx_error *err)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) {
        return bad_yaml(parser, text, size, file, err);
    }
    yaml_node_t *root = yaml_document_get_root_node(&document);
    nx_status status = is_empty(root)
                           ? NX_OK
                           : nx_error_set(err, NX_ERR_INVALID,
                                          "%s:%zu: a second document; all settings belong into one",
                                          file, root->start_mark.line + 1);
    yaml_document_delete(&document);
    return status;
}

static nx_status apply_yaml(nx_config *config, const char *text, size_t size, const char *file,
                            nx_error *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read %s", file);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    nx_status status = NX_OK;
    if (!yaml_parser_load(&parser, &document)) {
        status = bad_yaml(&parser, text, size, file, err);
    } else {
        status = apply_document(config, &document, file, err);
        yaml_document_delete(&document);
        if (status == NX_OK) {
            status = expect_end(&parser, text, size, file, err);
        }
    }
    yaml_parser_delete(&parser);
    return status;
}

static nx_status apply_environment(nx_config *config, nx_config_env env, void *user, nx_error *err)
{
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        const char *text = env(keys[i].env, user);
        if (text != NULL && text[0] != '\0') {
            char origin[128];
            snprintf(origin, sizeof origin, "environment %s", keys[i].env);
            nx_status status = nx_config_set(config, (nx_config_key)i, text, origin, err);
            if (status != NX_OK) {
                return status;
            }
        }
    }
    return NX_OK;
}

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
        status = nx_config_set(config, (nx_config_key)i, keys[i].fallback, "default", err);
    }
    if (status == NX_OK && text != NULL) {
        status = apply_yaml(config, text, size, file_name, err);
    }
    if (status == NX_OK) {
        status = apply_environment(config, env, user, err);
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
    return status;
}

void nx_config_free(nx_config *config)
{
    if (config == NULL) {
        return;
    }
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        free(config->values[i].text);
        free(config->values[i].origin);
    }
    free(config);
}

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
    return keys[key].name;
}

const char *nx_config_env_name(nx_config_key key)
{
    return keys[key].env;
}

const char *nx_config_help(nx_config_key key)
{
    return keys[key].help;
}

const char *nx_config_origin(const nx_config *config, nx_config_key key)
{
    return config->values[key].origin;
}

const char *nx_config_text(const nx_config *config, nx_config_key key)
{
    return config->values[key].text;
}

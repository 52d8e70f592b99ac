/* Settings that concern each other. */
#include "base/config_internal.h"

#include <string.h>
#include <strings.h>

/* deploy/postgres/postgresql.conf */
#define USUAL_MAX_CONNECTIONS 200

static const char *origin(const nx_config *config, nx_config_key key)
{
    return nx_config_origin(config, key);
}

static bool is(const nx_config *config, nx_config_key key, const char *text)
{
    return strcasecmp(nx_config_text(config, key), text) == 0;
}

static nx_status check_device(nx_config *config, nx_error *err)
{
    bool tensorrt = nx_config_bool(config, NX_CONFIG_USE_TENSORRT);
    bool fp16 = nx_config_bool(config, NX_CONFIG_USE_FP16);
    if (is(config, NX_CONFIG_INFERENCE_DEVICE, "cpu") && (tensorrt || fp16)) {
        nx_config_key key = tensorrt ? NX_CONFIG_USE_TENSORRT : NX_CONFIG_USE_FP16;
        return nx_error_set(err, NX_ERR_INVALID,
                            "%s is for a GPU (%s), and inference_device is cpu (%s); set that to "
                            "cuda or auto, or %s to false",
                            nx_config_name(key), origin(config, key),
                            origin(config, NX_CONFIG_INFERENCE_DEVICE), nx_config_env_name(key));
    }
    if (!nx_config_bool(config, NX_CONFIG_USE_ONNX) && !tensorrt) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "use_onnx is false (%s) and use_tensorrt too (%s): nothing is left "
                            "that runs a model; set one of them to true",
                            origin(config, NX_CONFIG_USE_ONNX),
                            origin(config, NX_CONFIG_USE_TENSORRT));
    }
    if (fp16 && !tensorrt) {
        nx_config_warn(config,
                       "use_fp16 (%s) does nothing without USE_TENSORRT=true: only TensorRT "
                       "converts a model",
                       origin(config, NX_CONFIG_USE_FP16));
    }
    return NX_OK;
}

int64_t nx_config_most_connections(const nx_config *config)
{
    int64_t kept = nx_config_int(config, NX_CONFIG_DB_POOL_SIZE);
    int64_t workers = nx_config_int(config, NX_CONFIG_WORKERS);
    return (kept > workers ? kept : workers) + nx_config_int(config, NX_CONFIG_DB_MAX_OVERFLOW);
}

static void check_pool(nx_config *config)
{
    int64_t connections = nx_config_most_connections(config);
    bool postgres = strncmp(nx_config_text(config, NX_CONFIG_DATABASE_URL), "postgres", 8) == 0;
    if (postgres && connections > USUAL_MAX_CONNECTIONS) {
        nx_config_warn(config,
                       "db_pool_size (%s) and db_max_overflow (%s) allow %lld connections to "
                       "PostgreSQL; its max_connections must be more, and is 100 unless raised "
                       "(deploy/postgres/postgresql.conf: %d)",
                       origin(config, NX_CONFIG_DB_POOL_SIZE),
                       origin(config, NX_CONFIG_DB_MAX_OVERFLOW), (long long)connections,
                       USUAL_MAX_CONNECTIONS);
    }
}

/* The first is of no use beyond the second. */
static void check_within(nx_config *config, nx_config_key part, nx_config_key whole)
{
    if (nx_config_int(config, part) > nx_config_int(config, whole)) {
        nx_config_warn(config, "%s is %s (%s), more than %s allows: %s (%s)", nx_config_name(part),
                       nx_config_text(config, part), origin(config, part), nx_config_name(whole),
                       nx_config_text(config, whole), origin(config, whole));
    }
}

nx_status nx_config_check(nx_config *config, nx_error *err)
{
    check_pool(config);
    check_within(config, NX_CONFIG_MAX_BODY_BYTES, NX_CONFIG_MAX_INFLIGHT_BODY_BYTES);
    check_within(config, NX_CONFIG_MAX_BATCH_BODY_BYTES, NX_CONFIG_MAX_INFLIGHT_BODY_BYTES);
    check_within(config, NX_CONFIG_LIMIT_CONCURRENCY_PER_CLIENT, NX_CONFIG_LIMIT_CONCURRENCY);
    check_within(config, NX_CONFIG_LIMIT_CONCURRENCY, NX_CONFIG_MAX_CONNECTIONS);
    if (nx_config_text(config, NX_CONFIG_S3_ENDPOINT)[0] != '\0' &&
        nx_config_text(config, NX_CONFIG_OBJECTS_URL)[0] == '\0') {
        nx_config_warn(config, "s3_endpoint (%s) does nothing without objects_url",
                       origin(config, NX_CONFIG_S3_ENDPOINT));
    }
    return check_device(config, err);
}

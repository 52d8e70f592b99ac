/* Profiles: what the tuning guide says for a kind of machine or load. docs/configuration.md tells
 * where a value differs from the guide's, and why. */
#include "base/config_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define END                                                                                        \
    {                                                                                              \
        NX_CONFIG_COUNT, NULL, false                                                               \
    }

typedef struct profile_value {
    nx_config_key key;
    const char *text;
    bool within_cores; /* not more than the machine has */
} profile_value;

static const profile_value cpu[] = {
    {NX_CONFIG_INFERENCE_DEVICE, "cpu", false},   {NX_CONFIG_USE_ONNX, "true", false},
    {NX_CONFIG_USE_TENSORRT, "false", false},     {NX_CONFIG_USE_FP16, "false", false},
    {NX_CONFIG_INFERENCE_BATCH_SIZE, "0", false}, {NX_CONFIG_INFERENCE_NUM_THREADS, "0", false},
    {NX_CONFIG_INFERENCE_WORKERS, "0", false},    END,
};

static const profile_value gpu[] = {
    {NX_CONFIG_INFERENCE_DEVICE, "cuda", false},
    {NX_CONFIG_USE_ONNX, "true", false},
    {NX_CONFIG_USE_TENSORRT, "true", false},
    {NX_CONFIG_USE_FP16, "true", false},
    {NX_CONFIG_INFERENCE_BATCH_SIZE, "16", false},
    {NX_CONFIG_INFERENCE_PREFETCH, "4", false},
    END,
};

static const profile_value small[] = {
    {NX_CONFIG_DB_POOL_SIZE, "20", false},
    {NX_CONFIG_DB_MAX_OVERFLOW, "10", false},
    {NX_CONFIG_INFERENCE_WORKERS, "4", true},
    {NX_CONFIG_INFERENCE_BATCH_SIZE, "1", false},
    {NX_CONFIG_MAX_INFLIGHT_BODY_BYTES, "256m", false},
    {NX_CONFIG_MAX_LOADED_MODELS, "2", false},
    {NX_CONFIG_SAM_CACHE_BYTES, "32m", false},
    {NX_CONFIG_CACHE_BYTES, "64m", false},
    {NX_CONFIG_REDIS_MAXMEMORY, "512m", false},
    {NX_CONFIG_CONCURRENCY, "2", false},
    END,
};

static const profile_value large[] = {
    {NX_CONFIG_DB_POOL_SIZE, "100", false},          {NX_CONFIG_DB_MAX_OVERFLOW, "50", false},
    {NX_CONFIG_LIMIT_CONCURRENCY, "4000", false},    {NX_CONFIG_MAX_CONNECTIONS, "16384", false},
    {NX_CONFIG_INFERENCE_QUEUE_SIZE, "1024", false}, {NX_CONFIG_CACHE_BYTES, "1g", false},
    {NX_CONFIG_REDIS_MAXMEMORY, "4g", false},        END,
};

static const struct {
    const char *name;
    const profile_value *values;
} profiles[] = {{"cpu", cpu}, {"gpu", gpu}, {"small", small}, {"large", large}};

static nx_status put(nx_config *config, const profile_value *value, const char *origin,
                     nx_error *err)
{
    char text[24];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (!value->within_cores || cores <= 0 || strtol(value->text, NULL, 10) <= cores) {
        return nx_config_put(config, value->key, value->text, origin, NX_CONFIG_RANK_PROFILE, err);
    }
    snprintf(text, sizeof text, "%ld", cores);
    return nx_config_put(config, value->key, text, origin, NX_CONFIG_RANK_PROFILE, err);
}

nx_status nx_config_apply_profile(nx_config *config, nx_error *err)
{
    const char *name = config->values[NX_CONFIG_PROFILE].text;
    const profile_value *value = NULL;
    char origin[40];
    nx_status status = NX_OK;
    for (size_t i = 0; i < NX_CONFIG_COUNT && status == NX_OK; i++) {
        if (config->values[i].rank == NX_CONFIG_RANK_PROFILE) { /* of a profile chosen before */
            status = nx_config_put(config, (nx_config_key)i, nx_config_keys[i].fallback, "default",
                                   NX_CONFIG_RANK_DEFAULT, err);
        }
    }
    for (size_t i = 0; i < sizeof profiles / sizeof profiles[0]; i++) {
        value = strcasecmp(name, profiles[i].name) == 0 ? profiles[i].values : value;
    }
    snprintf(origin, sizeof origin, "profile %.20s", name);
    for (; value != NULL && value->text != NULL && status == NX_OK; value++) {
        if (config->values[value->key].rank == NX_CONFIG_RANK_DEFAULT) {
            status = put(config, value, origin, err);
        }
    }
    return status;
}

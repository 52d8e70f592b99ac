/*
 * The metrics whose names the outside world holds (DESIGN: model_inference_duration_seconds and so
 * on), in one registry. The HTTP families are added to the registry by src/api, which knows the
 * routes.
 */
#ifndef NX_OPS_SERVICE_METRICS_H
#define NX_OPS_SERVICE_METRICS_H

#include "base/error.h"
#include "ops/metrics.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_service_metrics nx_service_metrics;

typedef enum nx_stage {
    NX_STAGE_QUEUE,
    NX_STAGE_DECODE,
    NX_STAGE_PREPROCESS,
    NX_STAGE_INFERENCE,
    NX_STAGE_POSTPROCESS,
    NX_STAGE_COUNT,
} nx_stage;

/* Registers everything; strings are copied. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_service_metrics_new(const char *provider, const char *runtime_version,
                                 nx_service_metrics **out, nx_error *err);
void nx_service_metrics_free(nx_service_metrics *metrics);

nx_metrics *nx_service_metrics_registry(nx_service_metrics *metrics);

/* A Run of a model; NULL counts as "other", as does every model beyond the 64th. Thread-safe, as
 * all below. */
void nx_service_metrics_run(nx_service_metrics *metrics, const char *model, int64_t run_ns,
                            uint32_t batch);

void nx_service_metrics_stage(nx_service_metrics *metrics, nx_stage stage, double milliseconds);
void nx_service_metrics_failure(nx_service_metrics *metrics, nx_status reason);

/* A transaction of the database that has ended. */
void nx_service_metrics_transaction(nx_service_metrics *metrics, bool writes, int64_t ns,
                                    nx_status status);

/* Where inference_queue_depth is read; call once, before the first rendering. */
void nx_service_metrics_queue_depth(nx_service_metrics *metrics, double (*read)(void *user),
                                    void *user);

#endif

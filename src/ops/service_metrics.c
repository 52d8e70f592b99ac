#include "ops/service_metrics.h"

#include "base/clock.h"
#include "ops/process.h"

#include <stdlib.h>

struct nx_service_metrics {
    nx_metrics *registry;
    nx_metric *run_duration;
    nx_metric *batch_size;
    nx_metric *stage_duration;
    nx_metric *failures;
    nx_cpu_meter cpu;
};

static const char *const stages[NX_STAGE_COUNT] = {
    "queue", "decode", "preprocess", "inference", "postprocess",
};

/* Models are named as they run; what is beyond counts as "other". */
#define MAX_MODELS 64
static const char *const other_model = "other";

/* Every way in which an inference can fail; indexed by nx_status. */
#define STATUS_COUNT (NX_ERR_INTERNAL + 1)

static double read_cpu(void *user)
{
    nx_service_metrics *metrics = user;
    return nx_cpu_meter_read(&metrics->cpu);
}

static double read_memory(void *user)
{
    (void)user;
    return nx_process_memory_bytes();
}

static void register_inference(nx_service_metrics *metrics)
{
    static const double seconds[] = {0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15,
                                     0.2,   0.3,  0.5,  0.75, 1,    2,     5,   10};
    static const double sizes[] = {1, 2, 4, 8, 16, 32};
    static const double stage_seconds[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                           0.1,    0.25,   0.5,   1,      2.5,   5,    10,    30};
    const nx_label models = {"model", &other_model, 1, MAX_MODELS};
    const nx_label stage = {"stage", stages, NX_STAGE_COUNT, 0};
    const char *reasons[STATUS_COUNT];
    for (int i = 0; i < STATUS_COUNT; i++) {
        reasons[i] = nx_status_name((nx_status)i);
    }
    const nx_label reason = {"reason", reasons, STATUS_COUNT, 0};
    nx_metrics *registry = metrics->registry;
    metrics->run_duration = nx_metrics_histogram(registry, "model_inference_duration_seconds",
                                                 "Time of one run of the model.", seconds,
                                                 sizeof seconds / sizeof seconds[0], &models, 1);
    metrics->batch_size =
        nx_metrics_histogram(registry, "model_inference_batch_size", "Pictures in one run.", sizes,
                             sizeof sizes / sizeof sizes[0], &models, 1);
    metrics->stage_duration = nx_metrics_histogram(
        registry, "inference_stage_duration_seconds", "Time of each stage of an inference.",
        stage_seconds, sizeof stage_seconds / sizeof stage_seconds[0], &stage, 1);
    metrics->failures = nx_metrics_counter(registry, "inference_requests_failed_total",
                                           "Inferences that failed, by reason.", &reason, 1);
}

nx_status nx_service_metrics_new(const char *provider, const char *runtime_version,
                                 nx_service_metrics **out, nx_error *err)
{
    *out = NULL;
    nx_service_metrics *metrics = calloc(1, sizeof *metrics);
    nx_metrics *registry = nx_metrics_new();
    if (metrics == NULL || registry == NULL) {
        nx_metrics_free(registry);
        free(metrics);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the metrics");
    }
    metrics->registry = registry;
    nx_cpu_meter_init(&metrics->cpu);
    register_inference(metrics);
    const nx_label info[] = {{"provider", &provider, 1, 0},
                             {"runtime_version", &runtime_version, 1, 0}};
    nx_metric *provider_info = nx_metrics_gauge(registry, "execution_provider_info",
                                                "What runs the models; always 1.", info, 2);
    nx_metric_set(provider_info, 0, 1);
    nx_metric_share(provider_info);
    nx_metrics_gauge_read(registry, "process_cpu_usage_percent",
                          "CPU time since the last look, in per cent of one core.", read_cpu,
                          metrics);
    nx_metrics_gauge_read(registry, "process_memory_bytes", "Resident memory.", read_memory, NULL);
    *out = metrics;
    return NX_OK;
}

void nx_service_metrics_free(nx_service_metrics *metrics)
{
    if (metrics != NULL) {
        nx_metrics_free(metrics->registry);
        pthread_mutex_destroy(&metrics->cpu.lock);
        free(metrics);
    }
}

nx_metrics *nx_service_metrics_registry(nx_service_metrics *metrics)
{
    return metrics->registry;
}

void nx_service_metrics_run(nx_service_metrics *metrics, const char *model, int64_t run_ns,
                            uint32_t batch)
{
    const char *name = model != NULL ? model : other_model;
    size_t duration = nx_metric_value(metrics->run_duration, 0, name);
    size_t size = nx_metric_value(metrics->batch_size, 0, name);
    nx_metric_observe(metrics->run_duration, duration, (double)run_ns / (double)NX_NS_PER_SEC);
    nx_metric_observe(metrics->batch_size, size, batch);
}

void nx_service_metrics_stage(nx_service_metrics *metrics, nx_stage stage, double milliseconds)
{
    nx_metric_observe(metrics->stage_duration,
                      nx_metric_series(metrics->stage_duration, stage, 0, 0), milliseconds / 1e3);
}

void nx_service_metrics_failure(nx_service_metrics *metrics, nx_status reason)
{
    nx_metric_add(metrics->failures, nx_metric_series(metrics->failures, reason, 0, 0), 1);
}

void nx_service_metrics_queue_depth(nx_service_metrics *metrics, double (*read)(void *user),
                                    void *user)
{
    nx_metrics_gauge_read(metrics->registry, "inference_queue_depth",
                          "Pictures that wait for a worker.", read, user);
}

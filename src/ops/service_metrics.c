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
    nx_metric *transactions;
    nx_metric *transaction_failures;
    nx_cpu_meter cpu;
};

static const char *const stages[NX_STAGE_COUNT] = {
    "queue", "decode", "preprocess", "inference", "postprocess",
};

/* Models are named as they run; what is beyond counts as "other". */
#define MAX_MODELS 64
static const char *const other_model = "other";

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

static double read_open_fds(void *user)
{
    (void)user;
    return nx_process_open_fds();
}

static double read_max_fds(void *user)
{
    (void)user;
    return nx_process_max_fds();
}

/* What of a transaction's ends is a failure; others are answers: there is no such row. */
static const nx_status database_failures[] = {NX_ERR_BUSY, NX_ERR_TIMEOUT, NX_ERR_UNAVAILABLE,
                                              NX_ERR_IO, NX_ERR_INTERNAL};
#define DATABASE_FAILURES (sizeof database_failures / sizeof database_failures[0])

static void register_database(nx_service_metrics *metrics)
{
    static const double seconds[] = {0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
                                     0.05,   0.1,    0.25,  0.5,    1,     5,    30};
    static const char *const kinds[] = {"read", "write"};
    const char *reasons[DATABASE_FAILURES];
    for (size_t i = 0; i < DATABASE_FAILURES; i++) {
        reasons[i] = nx_status_name(database_failures[i]);
    }
    const nx_label kind = {"kind", kinds, 2, 0};
    const nx_label reason = {"reason", reasons, DATABASE_FAILURES, 0};
    metrics->transactions = nx_metrics_histogram(
        metrics->registry, "db_transaction_duration_seconds",
        "Time of one transaction of the database, with its wait for a connection.", seconds,
        sizeof seconds / sizeof seconds[0], &kind, 1);
    metrics->transaction_failures = nx_metrics_counter(
        metrics->registry, "db_transactions_failed_total",
        "Transactions that the database, or the wait for it, failed, by reason.", &reason, 1);
    nx_metric_show_zeros(metrics->transaction_failures);
}

/* Every way in which an inference can fail; indexed by nx_status. */
#define STATUS_COUNT (NX_ERR_INTERNAL + 1)

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
    register_database(metrics);
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
    nx_metrics_gauge_read(registry, "process_open_fds", "Open descriptors.", read_open_fds, NULL);
    nx_metrics_gauge_read(registry, "process_max_fds", "As many descriptors may be open.",
                          read_max_fds, NULL);
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

void nx_service_metrics_transaction(nx_service_metrics *metrics, bool writes, int64_t ns,
                                    nx_status status)
{
    nx_metric_observe(metrics->transactions,
                      nx_metric_series(metrics->transactions, writes ? 1 : 0, 0, 0),
                      (double)ns / (double)NX_NS_PER_SEC);
    for (size_t i = 0; i < DATABASE_FAILURES; i++) {
        if (database_failures[i] == status) {
            nx_metric_add(metrics->transaction_failures,
                          nx_metric_series(metrics->transaction_failures, i, 0, 0), 1);
        }
    }
}

void nx_service_metrics_queue_depth(nx_service_metrics *metrics, double (*read)(void *user),
                                    void *user)
{
    nx_metrics_gauge_read(metrics->registry, "inference_queue_depth",
                          "Pictures that wait for a worker.", read, user);
}

/* db_pool_connections{state}; jobs{state}, and how old that is. */
#include "api/internal.h"
#include "api/work.h"
#include "base/clock.h"
#include "ops/process.h"

#include <math.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static double read_behind(void *user)
{
    const nx_api *api = user;
    return nx_shared_models_get_stats(api->deps.shared).behind;
}

static void register_shared(nx_api *api, nx_metrics *registry)
{
    if (api->deps.shared != NULL) {
        nx_metrics_gauge_read(registry, "shared_models_behind",
                              "Models whose last change by any server could not be followed here.",
                              read_behind, api);
        api->shared_failures = nx_metrics_counter(
            registry, "shared_models_failures_total",
            "Tries to follow changes of models that failed, and looks for them in vain.", NULL, 0);
    }
}

static double disk_size(void *user)
{
    const nx_api *api = user;
    double size = 0;
    double left = 0;
    return nx_process_disk(api->deps.data_dir, &size, &left) ? size : 0;
}

static double disk_free(void *user)
{
    const nx_api *api = user;
    double size = 0;
    double left = 0;
    return nx_process_disk(api->deps.data_dir, &size, &left) ? left : 0;
}

static void register_disk(nx_api *api, nx_metrics *registry)
{
    nx_metric_share(nx_metrics_gauge_read(registry, "data_disk_size_bytes",
                                          "Of the file system that DATA_DIR is on.", disk_size,
                                          api));
    nx_metric_share(nx_metrics_gauge_read(registry, "data_disk_free_bytes",
                                          "What may still be written to it.", disk_free, api));
}

static void register_deliveries(nx_api *api, nx_metrics *registry)
{
    const char *targets[NX_DELIVERY_TARGETS];
    for (int i = 0; i < NX_DELIVERY_TARGETS; i++) {
        targets[i] = nx_delivery_target_name((nx_delivery_target)i);
    }
    const nx_label target = {"target", targets, NX_DELIVERY_TARGETS, 0};
    api->deliveries_waiting = nx_metrics_gauge(
        registry, "deliveries_waiting",
        "Webhooks and MQTT messages in the database that nobody has taken yet.", &target, 1);
    api->deliveries_oldest =
        nx_metrics_gauge(registry, "deliveries_oldest_seconds",
                         "How long the oldest of them has waited; 0: none waits.", &target, 1);
    nx_metric_share(api->deliveries_waiting);
    nx_metric_share(api->deliveries_oldest);
}

void nx_api_storage_metrics_register(nx_api *api)
{
    static const char *const connections[] = {"in_use", "idle", "overflow", "waiting"};
    const char *states[NX_JOB_STATE_COUNT];
    if (api->deps.database == NULL) {
        return;
    }
    for (int i = 0; i < NX_JOB_STATE_COUNT; i++) {
        states[i] = nx_job_state_name((nx_job_state)i);
    }
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    const nx_label connection = {"state", connections, COUNT(connections), 0};
    const nx_label state = {"state", states, NX_JOB_STATE_COUNT, 0};
    api->db_connections = nx_metrics_gauge(registry, "db_pool_connections",
                                           "Connections to the database; overflow: those of them "
                                           "beyond DB_POOL_SIZE; waiting: requests and others "
                                           "whose turn has not come.",
                                           &connection, 1);
    api->jobs =
        nx_metrics_gauge(registry, "jobs", "Jobs in the database, by their state.", &state, 1);
    api->db_counts[0] = nx_metrics_counter(registry, "db_pool_timeouts_total",
                                           "Waits for a connection that ended in vain.", NULL, 0);
    api->db_counts[1] =
        nx_metrics_counter(registry, "db_connects_total", "Connections that were made.", NULL, 0);
    api->db_counts[2] = nx_metrics_counter(registry, "db_connections_lost_total",
                                           "Connections that were found broken.", NULL, 0);
    register_disk(api, registry);
    api->jobs_age = nx_metrics_gauge(
        registry, "jobs_age_seconds",
        "How long ago the jobs were counted: more than a moment when the database does not answer.",
        NULL, 0);
    api->jobs_failures = nx_metrics_counter(
        registry, "jobs_count_failures_total",
        "Times that the database refused to count the jobs, or took too long.", NULL, 0);
    api->backup_at = nx_metrics_gauge(registry, "backup_last_success_timestamp_seconds",
                                      "When 'nexus backup' last made a backup of this database, in "
                                      "seconds since 1970; 0: never.",
                                      NULL, 0);
    register_deliveries(api, registry);
    register_shared(api, registry);
    nx_metric_share(api->backup_at);
    nx_metric_share(api->jobs);
    nx_metric_share(api->jobs_age);
}

static void set(nx_metric *metric, size_t index, int64_t value)
{
    nx_metric_set(metric, nx_metric_series(metric, index, 0, 0), (double)value);
}

/* What is not known is not 0. */
static void show_jobs(nx_api *api)
{
    const nx_job_census census = nx_job_counts_last(api->job_counts);
    bool known = census.age_ns >= 0;
    for (size_t i = 0; i < NX_JOB_STATE_COUNT; i++) {
        nx_metric_set(api->jobs, nx_metric_series(api->jobs, i, 0, 0),
                      known ? (double)census.jobs[i] : NAN);
    }
    for (size_t i = 0; i < NX_DELIVERY_TARGETS; i++) {
        size_t at = nx_metric_series(api->deliveries_waiting, i, 0, 0);
        nx_metric_set(api->deliveries_waiting, at,
                      known ? (double)census.deliveries.count[i] : NAN);
        nx_metric_set(api->deliveries_oldest, at,
                      known ? (double)census.deliveries.oldest_ms[i] / 1e3 : NAN);
    }
    nx_metric_set(api->jobs_age, 0, known ? (double)census.age_ns / (double)NX_NS_PER_SEC : NAN);
    nx_metric_set(api->backup_at, 0, known ? (double)census.backup_at / 1000 : NAN);
    nx_metric_show(api->jobs_failures, 0, census.failures);
}

static void count_failures(nx_api *api)
{
    if (api->deps.shared != NULL) {
        uint64_t now = nx_shared_models_get_stats(api->deps.shared).failures;
        uint64_t told = atomic_exchange(&api->shared_failures_told, now);
        nx_metric_add(api->shared_failures, 0, now > told ? now - told : 0);
    }
}

void nx_api_storage_metrics_read(nx_api *api)
{
    if (api->deps.database == NULL) {
        return;
    }
    nx_store_stats stats = nx_store_get_stats(api->deps.database);
    set(api->db_connections, 0, stats.in_use);
    set(api->db_connections, 1, stats.idle);
    set(api->db_connections, 2, stats.overflow);
    set(api->db_connections, 3, stats.waiting + nx_api_pool_waiting(api->quick));
    nx_metric_show(api->db_counts[0], 0, (uint64_t)stats.timeouts);
    nx_metric_show(api->db_counts[1], 0, (uint64_t)stats.connects);
    nx_metric_show(api->db_counts[2], 0, (uint64_t)stats.lost);
    count_failures(api);
    show_jobs(api);
}

/* db_pool_connections{state} and jobs{state}: what the database says when somebody looks. */
#include "api/internal.h"
#include "store/jobs.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void nx_api_storage_metrics_register(nx_api *api)
{
    static const char *const connections[] = {"in_use", "idle", "overflow"};
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
                                           "beyond DB_POOL_SIZE.",
                                           &connection, 1);
    api->jobs =
        nx_metrics_gauge(registry, "jobs", "Jobs in the database, by their state.", &state, 1);
}

static void set(nx_metric *metric, size_t index, int64_t value)
{
    nx_metric_set(metric, nx_metric_series(metric, index, 0, 0), (double)value);
}

void nx_api_storage_metrics_read(nx_api *api)
{
    int64_t counts[NX_JOB_STATE_COUNT];
    nx_error err = {0};
    nx_store_stats stats = nx_store_get_stats(api->deps.database);
    set(api->db_connections, 0, stats.in_use);
    set(api->db_connections, 1, stats.idle);
    set(api->db_connections, 2, stats.overflow);
    if (nx_store_jobs_count(api->deps.database, counts, &err) == NX_OK) {
        for (size_t i = 0; i < NX_JOB_STATE_COUNT; i++) {
            set(api->jobs, i, counts[i]);
        }
    }
}

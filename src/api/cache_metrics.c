/* cache_requests_total and what else the caches say of themselves. */
#include "api/predictions.h"

typedef enum look { HIT, MISS, FAILED, JOINED } look;

/* The kinds of the cache come first, in their order. */
#define EMBEDDINGS NX_CACHE_KINDS

static double bytes_of(void *user)
{
    const nx_api *api = user;
    return (double)nx_cache_get_stats(api->deps.cache).bytes;
}

static double entries_of(void *user)
{
    const nx_api *api = user;
    return (double)nx_cache_get_stats(api->deps.cache).entries;
}

static void register_redis(nx_api *api, nx_metrics *registry)
{
    static const char *const results[] = {"answered", "failed", "refused"};
    static const char *const uses[] = {"in_use", "idle"};
    const char *states[3];
    for (int state = 0; state < 3; state++) {
        states[state] = nx_redis_state_name((nx_redis_state)state);
    }
    const nx_label state = {"state", states, 3, 0};
    const nx_label result = {"result", results, 3, 0};
    const nx_label use = {"state", uses, 2, 0};
    api->redis_state = nx_metrics_gauge(registry, "redis_breaker_state",
                                        "1 for the state of the circuit breaker to Redis; open: "
                                        "it is not asked.",
                                        &state, 1);
    api->redis_openings = nx_metrics_counter(registry, "redis_breaker_openings_total",
                                             "How often Redis was found not to answer.", NULL, 0);
    api->redis_calls =
        nx_metrics_counter(registry, "redis_calls_total",
                           "Calls of Redis; refused: while the breaker was open.", &result, 1);
    api->redis_connections =
        nx_metrics_gauge(registry, "redis_connections", "Connections to Redis.", &use, 1);
}

void nx_api_cache_metrics_register(nx_api *api)
{
    static const char *const results[] = {
        [HIT] = "hit", [MISS] = "miss", [FAILED] = "error", [JOINED] = "join"};
    const char *caches[NX_CACHE_KINDS + 1];
    for (int kind = 0; kind < NX_CACHE_KINDS; kind++) {
        caches[kind] = nx_cache_kind_name((nx_cache_kind)kind);
    }
    caches[EMBEDDINGS] = "sam_embeddings";
    const nx_label labels[] = {{"cache", caches, NX_CACHE_KINDS + 1, 0},
                               {"result", results, sizeof results / sizeof results[0], 0}};
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    api->cache_requests =
        nx_metrics_counter(registry, "cache_requests_total",
                           "Looks into a cache, by what they found; error: a shared cache did not "
                           "answer; join: equal work was under way, and its result was waited for.",
                           labels, 2);
    if (api->deps.cache != NULL) {
        nx_metrics_gauge_read(registry, "cache_memory_bytes",
                              "Memory that the cache takes in this process.", bytes_of, api);
        nx_metrics_gauge_read(registry, "cache_entries", "Entries in that memory.", entries_of,
                              api);
        api->cache_evictions = nx_metrics_counter(
            registry, "cache_evictions_total",
            "Entries that were given up before their time, for others.", NULL, 0);
    }
    if (api->deps.redis != NULL) {
        register_redis(api, registry);
    }
}

static void show(nx_api *api, size_t cache, look result, uint64_t total)
{
    nx_metric_show(api->cache_requests, nx_metric_series(api->cache_requests, cache, result, 0),
                   total);
}

static void read_redis(nx_api *api)
{
    const nx_redis_stats stats = nx_redis_get_stats(api->deps.redis);
    const uint64_t calls[] = {stats.calls, stats.failures, stats.refused};
    for (size_t state = 0; state < 3; state++) {
        nx_metric_set(api->redis_state, nx_metric_series(api->redis_state, state, 0, 0),
                      state == (size_t)stats.state ? 1 : 0);
        nx_metric_show(api->redis_calls, nx_metric_series(api->redis_calls, state, 0, 0),
                       calls[state]);
    }
    nx_metric_show(api->redis_openings, 0, stats.openings);
    nx_metric_set(api->redis_connections, nx_metric_series(api->redis_connections, 0, 0, 0),
                  stats.in_use);
    nx_metric_set(api->redis_connections, nx_metric_series(api->redis_connections, 1, 0, 0),
                  stats.idle);
}

void nx_api_cache_metrics_read(nx_api *api)
{
    const nx_cache_stats stats = nx_cache_get_stats(api->deps.cache);
    for (size_t kind = 0; kind < NX_CACHE_KINDS; kind++) {
        show(api, kind, HIT, stats.kinds[kind].hits);
        show(api, kind, MISS, stats.kinds[kind].misses);
        show(api, kind, FAILED, stats.kinds[kind].errors);
    }
    show(api, NX_CACHE_PREDICTIONS, JOINED, nx_predictions_joined(api->predictions));
    nx_metric_show(api->cache_evictions, 0, stats.evictions);
    if (api->deps.redis != NULL) {
        read_redis(api);
    }
}

void nx_api_count_embedding(nx_api *api, bool hit)
{
    nx_metric_add(api->cache_requests,
                  nx_metric_series(api->cache_requests, EMBEDDINGS, hit ? HIT : MISS, 0), 1);
}

/* http_requests_total and http_request_duration_seconds, by method, route and status. */
#include "api/traces.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static const char *const methods[] = {"GET",   "HEAD",   "POST",    "PUT",
                                      "PATCH", "DELETE", "OPTIONS", "other"};
/* 499: the client went away before the answer */
static const char *const statuses[] = {
    "200", "201", "202", "204", "206", "304", "400", "404", "405", "406", "408", "409", "410",
    "412", "413", "415", "416", "422", "423", "429", "431", "499", "500", "503", "507", "other"};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

void nx_api_http_metrics_register(nx_api *api)
{
    static const double seconds[] = {0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15,
                                     0.25,   0.5,   1,     2.5,  5,     10,   30,  60};
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    if (api->deps.fleet != NULL) {
        api->workers_lost = nx_metrics_counter(
            registry, "workers_lost_total",
            "Processes of this server that died and were to be started again.", NULL, 0);
        nx_metric_share(api->workers_lost);
    }
    const char **patterns = calloc(api->route_count + 1, sizeof *patterns);
    if (patterns == NULL) {
        return; /* the server answers without these two, as it does with every missing family */
    }
    for (size_t i = 0; i < api->route_count; i++) {
        patterns[i] = api->routes[i].pattern;
    }
    patterns[api->route_count] = "other";
    const nx_label labels[] = {{"method", methods, COUNT(methods), 0},
                               {"route", patterns, api->route_count + 1, 0},
                               {"status", statuses, COUNT(statuses), 0}};
    api->requests_total =
        nx_metrics_counter(registry, "http_requests_total", "Requests answered.", labels, 3);
    api->request_duration =
        nx_metrics_histogram(registry, "http_request_duration_seconds",
                             "From the whole header of a request to its sent answer.", seconds,
                             COUNT(seconds), labels, 2);
    free(patterns);
}

static size_t index_of(const char *const *list, size_t count, const char *text)
{
    size_t i = 0;
    while (i < count - 1 && strcmp(list[i], text) != 0) {
        i++;
    }
    return i;
}

void nx_api_on_access(const nx_http_access *access, void *user)
{
    nx_api *api = user;
    nx_api_trace_request(api, access);
    char status[16];
    snprintf(status, sizeof status, "%d", access->status != 0 ? access->status : 499);
    size_t method = index_of(methods, COUNT(methods), access->method);
    size_t route = access->route != NULL ? (size_t)(access->route - api->routes) : api->route_count;
    nx_metric_add(api->requests_total,
                  nx_metric_series(api->requests_total, method, route,
                                   index_of(statuses, COUNT(statuses), status)),
                  1);
    nx_metric_observe(api->request_duration,
                      nx_metric_series(api->request_duration, method, route, 0),
                      (double)access->duration_ns / (double)NX_NS_PER_SEC);
}

#include "api/access.h"
#include "api/kserve.h"

#define MAX_BODY 65536 /* of requests that only steer */

#define GET(path, handler)                                                                         \
    {                                                                                              \
        .method = "GET", .pattern = NX_KSERVE_PREFIX path, .handle = (handler),                    \
        .access = NX_ACCESS_READ, .rate_class = NX_RATE_READ                                       \
    }
#define HEALTH(path, handler)                                                                      \
    {                                                                                              \
        .method = "GET", .pattern = NX_KSERVE_PREFIX path, .handle = (handler), .always = true,    \
        .access = NX_ACCESS_OPEN, .rate_class = NX_RATE_OPEN                                       \
    }
#define INFER(path)                                                                                \
    {                                                                                              \
        .method = "POST", .pattern = NX_KSERVE_PREFIX path, .handle = nx_kserve_infer,             \
        .admit = nx_kserve_admit_infer, .per_client = true, .access = NX_ACCESS_INFER,             \
        .rate_class = NX_RATE_INFER                                                                \
    }
#define STEER(path, handler, what, rate)                                                           \
    {                                                                                              \
        .method = "POST", .pattern = NX_KSERVE_PREFIX path, .handle = (handler),                   \
        .max_body = MAX_BODY, .body_optional = true, .access = (what), .rate_class = (rate)        \
    }

#define MODEL   "/models/{name}"
#define VERSION "/models/{name}/versions/{version}"

static const nx_http_route routes[] = {
    GET("", nx_kserve_server),
    HEALTH("/health/live", nx_kserve_live),
    HEALTH("/health/ready", nx_kserve_ready),
    GET("/models/stats", nx_kserve_all_stats),
    GET(MODEL, nx_kserve_metadata),
    GET(MODEL "/ready", nx_kserve_model_ready),
    GET(MODEL "/config", nx_kserve_config),
    GET(MODEL "/stats", nx_kserve_model_stats),
    INFER(MODEL "/infer"),
    GET(VERSION, nx_kserve_metadata),
    GET(VERSION "/ready", nx_kserve_model_ready),
    GET(VERSION "/config", nx_kserve_config),
    GET(VERSION "/stats", nx_kserve_model_stats),
    INFER(VERSION "/infer"),
    STEER("/repository/index", nx_kserve_index, NX_ACCESS_READ, NX_RATE_READ),
    STEER("/repository/models/{name}/load", nx_kserve_load, NX_ACCESS_MODELS, NX_RATE_WRITE),
    STEER("/repository/models/{name}/unload", nx_kserve_unload, NX_ACCESS_MODELS, NX_RATE_WRITE),
};

const nx_http_route *nx_kserve_routes(size_t *count)
{
    *count = sizeof routes / sizeof routes[0];
    return routes;
}

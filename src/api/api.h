/*
 * The HTTP API: routes, and the server that carries them. `nexus serve` opens the runtime, the
 * models and the engine, and hands them over:
 *
 *     nx_service_metrics_new(...)             engine options: .on_run calls nx_service_metrics_run
 *     nx_api_start(&deps, &api, &err)         logs "listening on http://127.0.0.1:8000"
 *     ... wait for SIGINT or SIGTERM ...
 *     nx_api_stop(api, deadline)              answers what is in flight, frees api
 *     nx_engine_free, nx_registry_free, nx_runtime_free, nx_service_metrics_free, nx_cache_free,
 *     nx_redis_free, nx_objects_close, nx_store_close
 */
#ifndef NX_API_API_H
#define NX_API_API_H

#include "auth/auth.h"
#include "auth/rate_limit.h"
#include "base/config.h"
#include "base/error.h"
#include "base/share.h"
#include "cache/cache.h"
#include "cache/redis_client.h"
#include "engine/engine.h"
#include "engine/registry.h"
#include "jobs/shared_models.h"
#include "ops/fleet.h"
#include "ops/gpu.h"
#include "ops/otlp.h"
#include "ops/service_metrics.h"
#include "store/objects.h"
#include "store/store.h"
#include "streams/streams.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_api nx_api;

/* All borrowed; they must outlive the API. */
typedef struct nx_api_deps {
    const nx_config *config;
    nx_runtime *runtime;
    nx_registry *registry; /* its default model is in memory */
    const nx_model_store *store;
    nx_engine *engine;
    nx_service_metrics *metrics;
    nx_cache *cache;             /* NULL: nothing is kept */
    nx_redis *redis;             /* NULL: none is configured */
    nx_rate_memory *rate_memory; /* what all processes of this server count in; NULL: it is alone */
    /* All four or none: without them there are no videos, jobs and accounts, their routes are 503,
     * and nobody is asked who they are. */
    nx_store *database;
    nx_objects *objects;
    nx_auth *auth;
    const char *data_dir; /* that of objects */
    nx_streams *streams;  /* with database; not started yet */
    /* NULL: nobody shares the models with this server */
    nx_shared_models *shared;
    /* For one of several processes that serve the same port; all zero: it is alone. */
    nx_share share;
    int shared_socket; /* see nx_http_server_options; the API's from here on */
    nx_fleet *fleet;
    nx_gpus *gpus; /* registered; NULL: there are none */
    nx_otlp *otlp; /* NULL: no traces are sent */
} nx_api_deps;

/* Listens on NX_CONFIG_HOST and NX_CONFIG_PORT and serves on its own threads.
 * Errors: those of nx_http_server_start. SIGPIPE must be ignored by the caller. */
nx_status nx_api_start(const nx_api_deps *deps, nx_api **out, nx_error *err);

/* Is this address to listen on reached from this machine alone? Elsewhere there must be users. */
bool nx_api_is_for_this_machine(const char *host);

/* Takes from a configuration what can be reloaded, for requests from now on; config is read while
 * the call lasts. Any one thread at a time. Errors: NX_ERR_NO_MEMORY, and nothing has changed. */
nx_status nx_api_reconfigure(nx_api *api, const nx_config *config, nx_error *err);

uint16_t nx_api_port(const nx_api *api);   /* the real one, also when port 0 was asked for */
const char *nx_api_url(const nx_api *api); /* "http://127.0.0.1:8000" */

/* Notes in the audit log what the server did by itself, without waiting. action: "settings.reload".
 * outcome: NX_OK, or why it failed. details: a JSON object, or NULL. */
void nx_api_note(nx_api *api, const char *action, nx_status outcome, const char *details);

/* "http://127.0.0.1:8000": a URL that a person on this machine can open. */
void nx_api_format_url(const char *host, uint16_t port, char *out, size_t size);

/*
 * Readiness turns 503; for delay_ns all is served as before, and who has connected by then still
 * is. Then new inference is refused; requests in flight are answered until
 * deadline_ns (nx_clock_now_ns() scale), the rest are cancelled; then the server ends and api is
 * freed. The engine must still run. NULL is fine.
 */
void nx_api_stop(nx_api *api, int64_t delay_ns, int64_t deadline_ns);

#endif

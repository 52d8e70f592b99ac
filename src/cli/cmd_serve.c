/* nexus serve: the HTTP API and the page, until a signal. */
#include "api/api.h"
#include "auth/auth.h"
#include "base/clock.h"
#include "base/log.h"
#include "cli/background.h"
#include "cli/cli.h"
#include "cli/reload.h"
#include "cli/setup.h"
#include "cli/supervisor.h"
#include "http/listen.h"
#include "ops/fleet.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Requests in flight get this long to end after SIGTERM. */
#define DRAIN_NS (30 * NX_NS_PER_SEC)
/* And a process that is one of several so much more, for jobs and the rest. */
#define SPARE_NS (15 * NX_NS_PER_SEC)

/* What one of several processes is; all zero: it is alone. */
typedef struct place {
    nx_share share;
    bool again; /* in the place of one that was ready and has died */
    int socket;
    int ready_fd;
    nx_fleet *fleet;
    nx_rate_memory *rates; /* NULL: nobody shares them on this host */
} place;

/* Who comes in. */
typedef struct doorway {
    nx_auth *auth;
    bool users; /* there were some at the start */
} doorway;

static const nx_cli_option options[] = {
    {"host", 'H', "ADDRESS", "address to listen on (default 127.0.0.1)", NX_CONFIG_HOST, NULL},
    {"port", 'p', "PORT", "port to listen on; 0 takes a free one (default 8000)", NX_CONFIG_PORT,
     NULL},
    {"run-jobs", 0, "BOOL", "analyse videos of the queue here, too (default true)",
     NX_CONFIG_RUN_JOBS, "true|false"},
    {"concurrency", 0, "N", "videos at once (default 4)", NX_CONFIG_CONCURRENCY, NULL},
    {"processes", 0, "N", "processes that share the port (WORKERS; default 1)", NX_CONFIG_WORKERS,
     NULL},
};

/* Sockets are the one thing a server runs out of first: take what the system allows. */
static void raise_file_limit(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        if (setrlimit(RLIMIT_NOFILE, &files) != 0) {
            nx_log_warn("cli", "cannot raise the limit of open files; see ulimit -n");
        }
    }
}

/* Opens the accounts, and looks at whether anybody could come in. Errors besides those of nx_auth:
 * NX_ERR_UNAVAILABLE (others can reach it, and there are no users). */
static nx_status open_accounts(const nx_config *config, const nx_setup *setup, doorway *out,
                               nx_error *err)
{
    const nx_auth_options accounts = {.store = setup->database, .cache = setup->cache};
    const char *host = nx_config_string(config, NX_CONFIG_HOST);
    nx_status status = nx_auth_new(&accounts, &out->auth, err);
    if (status == NX_OK) {
        status = nx_auth_check_users(out->auth, nx_clock_now_ns(), &out->users, err);
    }
    if (status == NX_OK && !out->users && !nx_api_is_for_this_machine(host)) {
        status =
            nx_error_set(err, NX_ERR_UNAVAILABLE,
                         "others can reach '%s', and there are no users yet: make an admin with "
                         "'nexus users add NAME --role admin', or start with --host 127.0.0.1 "
                         "and open the set-up link that is printed then",
                         host);
    }
    return status;
}

/* The first admin is made by whoever sees this console, once. Not in the log, which others read. Of
 * several processes one prints the link. */
static void offer_setup(nx_auth *auth, const char *url, bool print)
{
    char token[NX_AUTH_TOKEN_SIZE];
    nx_error err = {0};
    nx_log_info("cli", "open use: there are no users, so whoever is on this machine may do "
                       "everything");
    nx_status status = print ? nx_auth_setup_link(auth, token, &err) : NX_ERR_CONFLICT;
    if (status == NX_OK) {
        printf("  There are no users: whoever is on this machine may do everything.\n"
               "  Make the first admin, which ends that, with this link (once, within a day):\n\n"
               "  Set-up     %s/setup#%s\n\n",
               url, token);
        fflush(stdout);
    } else if (status != NX_ERR_CONFLICT) { /* which says that somebody was faster */
        nx_log_warn("cli", "no set-up link: %s", err.message);
    }
}

/* concurrency: of jobs in this process; 0: it does none. */
static void describe(const nx_setup *setup, uint32_t concurrency)
{
    nx_engine_stats stats = nx_engine_get_stats(setup->engine);
    nx_log_info("cli", "model %s, %u workers, queue of %u, ONNX Runtime %s",
                nx_registry_default(setup->registry), stats.workers, stats.queue_size,
                nx_runtime_version(setup->runtime));
    if (concurrency > 0) {
        nx_log_info("cli", "jobs: %u videos at once, database %s, objects in %s", concurrency,
                    nx_store_kind(setup->database), nx_objects_place(setup->objects));
    } else {
        nx_log_info("cli", "no jobs here: RUN_JOBS is false, or other processes do them");
    }
}

static void welcome(const char *url)
{
    printf("\n  Nexus " NX_VERSION " is ready.\n\n"
           "  Page       %s/\n  API docs   %s/docs\n  Metrics    %s/metrics\n\n"
           "  Ctrl+C stops it.\n\n",
           url, url, url);
    fflush(stdout);
}

static nx_status serve(const nx_cli_args *args, nx_setup *setup, const doorway *door,
                       nx_service_metrics *metrics, nx_gpus *gpus, const place *at,
                       const sigset_t *signals, nx_error *err)
{
    nx_streams *streams = NULL;
    nx_status status = nx_background_make_streams(args->config, setup, &streams, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_api_deps deps = {
        .streams = streams,
        .config = args->config,
        .runtime = setup->runtime,
        .registry = setup->registry,
        .store = setup->store,
        .engine = setup->engine,
        .metrics = metrics,
        .cache = setup->cache,
        .redis = setup->redis,
        .rate_memory = at->rates,
        .database = setup->database,
        .objects = setup->objects,
        .auth = door->auth,
        .data_dir = setup->data_dir,
        .shared = setup->shared,
        .share = at->share,
        .shared_socket = at->socket,
        .fleet = at->fleet,
        .gpus = gpus,
        .otlp = setup->otlp,
    };
    const nx_worker_options jobs = nx_background_worker_options(args->config, setup);
    bool run_jobs = nx_config_bool(args->config, NX_CONFIG_RUN_JOBS) && jobs.concurrency > 0;
    nx_background background = {.worker = NULL};
    nx_delivery_metrics deliveries;
    nx_delivery_metrics_register(nx_service_metrics_registry(metrics), &deliveries);
    nx_reload reload = nx_reload_begin(args, setup->database, at->share);
    nx_api *api = NULL;
    status = nx_api_start(&deps, &api, err);
    if (status == NX_OK) {
        status = nx_background_start(args->config, setup, run_jobs ? &jobs : NULL, &deliveries,
                                     &background, err);
    }
    if (status == NX_OK) {
        status = nx_background_run_streams(args->config, setup, &background, streams, err);
    }
    if (status != NX_OK) {
        nx_api_stop(api, 0, nx_clock_now_ns());
        nx_background_stop(&background);
        nx_streams_free(streams);
        return status;
    }
    describe(setup, run_jobs ? jobs.concurrency : 0);
    if (at->share.count > 1) {
        nx_log_info("cli", "worker %u of %u is ready", at->share.index + 1, at->share.count);
        nx_supervisor_ready(at->ready_fd, at->share.index);
    } else {
        welcome(nx_api_url(api));
    }
    if (!door->users) {
        offer_setup(door->auth, nx_api_url(api), at->share.index == 0 && !at->again);
    }
    int number = nx_reload_wait(&reload, signals, api, &background);
    nx_log_info("cli", "%s: finishing what is in flight; a second one ends at once",
                nx_reload_signal_name(number));
    nx_reload_let_end(signals);
    nx_background_ask_stop(&background);
    int64_t delay_ns = nx_config_int(args->config, NX_CONFIG_DRAIN_DELAY) * NX_NS_PER_SEC;
    nx_api_stop(api, delay_ns, nx_clock_now_ns() + DRAIN_NS);
    nx_background_stop(&background);
    nx_reload_end(&reload);
    return NX_OK;
}

static void count_run(const nx_backend *backend, int64_t run_ns, uint32_t batch, void *user)
{
    nx_service_metrics_run(user, backend->name, run_ns, batch);
}

static void count_transaction(void *user, bool writes, int64_t ns, nx_status status)
{
    nx_service_metrics_transaction(user, writes, ns, status);
}

/* What runs the default model, and so every other. */
static const char *provider_of(nx_registry *registry)
{
    nx_registry_handle *handle = NULL;
    nx_error err = {0};
    const char *provider = "CPUExecutionProvider";
    if (nx_registry_acquire(registry, NULL, 0, &handle, &err) == NX_OK) {
        provider = nx_model_get_spec(nx_registry_model(handle))->provider; /* a constant */
        nx_registry_release(handle);
    }
    return provider;
}

/* This process serves; returns its exit code. */
static int serve_here(const nx_cli_args *args, const place *at, const sigset_t *signals)
{
    nx_error err = {0};
    nx_setup setup = {.share = at->share};
    nx_service_metrics *metrics = NULL;
    nx_otlp *otlp = NULL;
    nx_gpus *gpus = NULL;
    doorway door = {.auth = NULL};
    nx_status status = nx_setup_start_traces(args->config, &otlp, &err);
    if (status == NX_OK) {
        status = nx_setup_open_serving(args->config, &setup, &err);
    }
    setup.otlp = otlp;
    if (status == NX_OK) {
        status = nx_setup_open_cache(args->config, &setup, &err);
    }
    if (status == NX_OK) {
        status = open_accounts(args->config, &setup, &door, &err);
    }
    if (status == NX_OK) {
        status = nx_service_metrics_new(provider_of(setup.registry),
                                        nx_runtime_version(setup.runtime), &metrics, &err);
    }
    const nx_store_observer observer = {.ended = count_transaction, .user = metrics};
    if (status == NX_OK) {
        nx_store_observe(setup.database, &observer); /* which ends before the metrics do */
        const nx_engine_options hooks = {.on_run = count_run, .user = metrics};
        status = nx_setup_start_engine(args->config, &hooks, &setup, &err);
    }
    if (status == NX_OK) {
        gpus = nx_gpus_new(NULL);
        nx_gpus_register(gpus, nx_service_metrics_registry(metrics));
        status = serve(args, &setup, &door, metrics, gpus, at, signals, &err);
    }
    nx_auth_free(door.auth);
    nx_setup_close(&setup);
    nx_setup_stop_traces(otlp);
    nx_gpus_free(gpus);
    nx_service_metrics_free(metrics);
    return status == NX_OK ? NX_EXIT_OK : nx_cli_fail(args, nx_cli_exit_code(status), &err);
}

/* --- several processes --------------------------------------------------------------------------
 */

typedef struct several {
    const nx_cli_args *args;
    nx_reload reload;
    const sigset_t *signals;
    uint32_t count;
    int socket;
    nx_fleet *fleet;
    nx_rate_memory *rates;
} several;

/* With what was read last: who takes a dead one's place is as the others are. */
static int serve_as_one(uint32_t index, bool again, int ready_fd, void *user)
{
    several *all = user;
    nx_cli_args args = *all->args;
    args.config = all->reload.config != NULL ? all->reload.config : args.config;
    const place at = {
        .share = {.index = index, .count = all->count},
        .again = again,
        .socket = all->socket,
        .ready_fd = ready_fd,
        .fleet = all->fleet,
        .rates = all->rates,
    };
    return serve_here(&args, &at, all->signals);
}

static void welcome_all(void *user)
{
    const several *all = user;
    char url[300];
    nx_api_format_url(nx_config_string(all->args->config, NX_CONFIG_HOST),
                      nx_http_listening_port(all->socket), url, sizeof url);
    nx_log_info("cli", "%u workers listening on %s", all->count, url);
    welcome(url);
}

static void note_loss(uint32_t index, bool expected, void *user)
{
    const several *all = user;
    nx_fleet_lost(all->fleet, index, expected);
}

static bool reload_all(void *user)
{
    several *all = user;
    return nx_reload_for_all(&all->reload);
}

/* Once the workers have closed theirs, too, nobody listens any more. */
static void stop_listening(void *user)
{
    several *all = user;
    close(all->socket);
    all->socket = -1;
}

static int serve_in_several(const nx_cli_args *args, uint32_t count, const sigset_t *signals)
{
    const nx_config *config = args->config;
    several all = {.args = args,
                   .reload = nx_reload_begin(args, NULL, (nx_share){0}),
                   .signals = signals,
                   .count = count,
                   .socket = -1};
    const nx_supervisor_options watch = {
        .count = count,
        .drain_ns = DRAIN_NS + SPARE_NS,
        .work = serve_as_one,
        .ready = welcome_all,
        .reload = reload_all,
        .lost = note_loss,
        .ending = stop_listening,
        .user = &all,
    };
    nx_error err = {0};
    uint16_t port = 0;
    int code = NX_EXIT_OK;
    nx_status status = nx_http_listen(
        nx_config_string(config, NX_CONFIG_HOST), (uint16_t)nx_config_int(config, NX_CONFIG_PORT),
        (int)nx_config_int(config, NX_CONFIG_BACKLOG), &all.socket, &port, &err);
    if (status == NX_OK) {
        status = nx_fleet_new(count, &all.fleet, &err);
    }
    if (status == NX_OK) {
        status = nx_rate_memory_new(&all.rates, &err);
    }
    if (status == NX_OK) {
        status = nx_supervise(&watch, &code, &err);
    }
    if (all.socket >= 0) {
        close(all.socket);
    }
    nx_rate_memory_free(all.rates);
    nx_fleet_free(all.fleet);
    nx_reload_end(&all.reload);
    return status == NX_OK ? code : nx_cli_fail(args, nx_cli_exit_code(status), &err);
}

static int run(const nx_cli_args *args)
{
    const place alone = {.socket = 0};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    /* blocked before any thread starts, so that only sigwait above takes them */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    raise_file_limit();
    uint32_t count = (uint32_t)nx_config_int(args->config, NX_CONFIG_WORKERS);
    return count > 1 ? serve_in_several(args, count, &signals) : serve_here(args, &alone, &signals);
}

const nx_cli_command nx_cmd_serve = {
    .name = "serve",
    .operands = "",
    .summary = "start the server: HTTP API, page, metrics",
    .description =
        "Listens on 127.0.0.1:8000 unless told otherwise and serves until SIGINT or "
        "SIGTERM, after\n"
        "which requests in flight are finished and jobs go back into the queue. It analyses\n"
        "the videos of the queue as well, unless RUN_JOBS is false: then 'nexus worker' has\n"
        "to. With WORKERS above 1 it watches over so many processes, which share the port and\n"
        "divide the cores. Without users it is for this machine alone and prints a link that\n"
        "makes the first admin; where others can reach it, it does not start without ('nexus\n"
        "users add'). 'nexus check' shows every setting. On SIGHUP the configuration is read\n"
        "again; the log tells what was taken and what needs a restart.\n",
    .examples = "  nexus serve\n"
                "  nexus serve --port 9000 --model ./yolov8s.onnx\n"
                "  curl --data-binary @street.jpg -H 'Content-Type: image/jpeg' \\\n"
                "      http://127.0.0.1:8000/api/v1/inference/image\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

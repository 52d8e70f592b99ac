/* nexus worker: analyses videos of the queue and, where it is told to, live streams, until a
 * signal. */
#include "base/log.h"
#include "cli/background.h"
#include "cli/cli.h"
#include "cli/reload.h"
#include "cli/setup.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

/* Jobs until the process is to begin anew. */
typedef struct quota {
    atomic_int_fast64_t left;
    pthread_t main; /* to be woken then */
} quota;

/* A hook of the worker. */
static void count_job(const char *id, void *user)
{
    quota *self = user;
    (void)id;
    if (atomic_fetch_sub(&self->left, 1) == 1) {
        (void)pthread_kill(self->main, SIGUSR1);
    }
}

/* Until somebody wants it to end, or the quota is used up. Returns the signal. */
static int wait_for_end(nx_reload *reload, const sigset_t *signals, quota *jobs,
                        const nx_background *background)
{
    int number = 0;
    do {
        number = nx_reload_wait(reload, signals, NULL, background);
    } while (number == SIGUSR1 && atomic_load(&jobs->left) > 0); /* anybody may send one */
    return number;
}

/* Only where somebody has said how many: a worker is there for the queue. */
static nx_status run_streams(const nx_config *config, const nx_setup *setup,
                             nx_background *background, nx_error *err)
{
    nx_streams *streams = NULL;
    if (strcmp(nx_config_source(config, NX_CONFIG_STREAMS_AT_ONCE), "default") == 0 ||
        nx_config_int(config, NX_CONFIG_STREAMS_AT_ONCE) == 0) {
        return NX_OK;
    }
    nx_status status = nx_background_make_streams(config, setup, &streams, err);
    if (status == NX_OK) {
        status = nx_background_run_streams(config, setup, background, streams, err);
    }
    if (status != NX_OK) {
        nx_streams_free(streams);
        return status;
    }
    nx_log_info("cli", "ready for live streams: %lld at once",
                (long long)nx_config_int(config, NX_CONFIG_STREAMS_AT_ONCE));
    return NX_OK;
}

static nx_status work(const nx_cli_args *args, const nx_setup *setup, const sigset_t *signals,
                      bool *anew, nx_error *err)
{
    const nx_config *config = args->config;
    nx_reload reload = nx_reload_begin(args, setup->database, (nx_share){0});
    int64_t most = nx_config_int(config, NX_CONFIG_MAX_TASKS_PER_CHILD);
    quota jobs = {.main = pthread_self()};
    nx_worker_options options = nx_background_worker_options(config, setup);
    nx_background background;
    atomic_init(&jobs.left, most > 0 ? most : INT64_MAX);
    options.on_end = count_job;
    options.user = &jobs;
    nx_status status = nx_background_start(config, setup, &options, NULL, &background, err);
    if (status == NX_OK) {
        status = run_streams(config, setup, &background, err);
        if (status != NX_OK) {
            nx_background_stop(&background);
        }
    }
    if (status != NX_OK) {
        return status;
    }
    nx_log_info("cli", "ready for jobs: %u videos at once, database %s, objects in %s",
                options.concurrency, nx_store_kind(setup->database),
                nx_objects_place(setup->objects));
    int number = wait_for_end(&reload, signals, &jobs, &background);
    *anew = number == SIGUSR1;
    if (*anew) {
        nx_log_info("cli", "%lld jobs have ended: beginning anew (MAX_TASKS_PER_CHILD)",
                    (long long)most);
    } else {
        nx_log_info("cli", "%s: giving jobs back; a second one ends at once",
                    nx_reload_signal_name(number));
        nx_reload_let_end(signals);
    }
    nx_background_stop(&background);
    nx_reload_end(&reload);
    return NX_OK;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_setup setup = {0};
    nx_otlp *otlp = NULL;
    bool anew = false;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR1);
    /* blocked before any thread starts, so that only sigwait above takes them; and still when the
     * process begins anew, so that one which comes meanwhile is not lost */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    nx_status status = nx_setup_start_traces(args->config, &otlp, &err);
    if (status == NX_OK) {
        status = nx_setup_open_serving(args->config, &setup, &err);
    }
    setup.otlp = otlp;
    if (status == NX_OK) {
        status = nx_setup_start_engine(args->config, NULL, &setup, &err);
    }
    if (status == NX_OK) {
        status = work(args, &setup, &signals, &anew, &err);
    }
    nx_setup_close(&setup);
    nx_setup_stop_traces(otlp);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    return anew ? NX_EXIT_ANEW : NX_EXIT_OK;
}

static const nx_cli_option options[] = {
    {"concurrency", 0, "N", "videos at once (default 4)", NX_CONFIG_CONCURRENCY, NULL},
    {"prefetch", 0, "N", "takes so many times as many jobs ahead (default 4)",
     NX_CONFIG_PREFETCH_MULTIPLIER, NULL},
    {"max-tasks", 0, "N", "jobs until it begins anew with fresh memory (default 100)",
     NX_CONFIG_MAX_TASKS_PER_CHILD, NULL},
    {"streams", 0, "N", "live streams at once (default none)", NX_CONFIG_STREAMS_AT_ONCE, NULL},
};

const nx_cli_command nx_cmd_worker = {
    .name = "worker",
    .operands = "",
    .summary = "analyse videos of the queue",
    .description =
        "Takes jobs from the database and analyses their videos until SIGINT or SIGTERM, after\n"
        "which it gives back what it has not finished. Any number of workers share a database and\n"
        "an object store (DATABASE_URL, OBJECTS_URL), on one host or several. When one is killed,\n"
        "another goes on from the last checkpoint, after JOB_LEASE seconds, to the same results.\n"
        "After 100 jobs (MAX_TASKS_PER_CHILD) it gives back what it holds, runs itself anew in\n"
        "the same process and goes on. With STREAMS_AT_ONCE it runs live streams as well, which "
        "any\n"
        "'nexus serve' of this host shows, and of others with STREAM_RELAY.\n",
    .examples = "  nexus worker\n"
                "  nexus worker --concurrency 2 --prefetch 1 --model yolov8s\n"
                "  DATABASE_URL=postgres://nexus@db/nexus OBJECTS_URL=s3://videos nexus worker\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

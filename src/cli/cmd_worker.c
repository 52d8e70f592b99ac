/* nexus worker: analyses videos of the queue, until a signal. */
#include "base/log.h"
#include "cli/background.h"
#include "cli/cli.h"
#include "cli/setup.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

static nx_status work(const nx_config *config, const nx_setup *setup, const sigset_t *signals,
                      nx_error *err)
{
    const nx_worker_options options = nx_background_worker_options(config, setup);
    nx_background background;
    nx_status status = nx_background_start(config, setup, &options, &background, err);
    if (status != NX_OK) {
        return status;
    }
    nx_log_info("cli", "ready for jobs: %u videos at once, database %s, objects in %s",
                options.concurrency, nx_store_kind(setup->database),
                nx_objects_place(setup->objects));
    int number = 0;
    (void)sigwait(signals, &number);
    nx_log_info("cli", "%s: giving jobs back; a second one ends at once",
                number == SIGINT ? "SIGINT" : "SIGTERM");
    /* from here on the default action applies to the next signal */
    pthread_sigmask(SIG_UNBLOCK, signals, NULL);
    nx_background_stop(&background);
    return NX_OK;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_setup setup = {0};
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    /* blocked before any thread starts, so that only sigwait above takes them */
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    nx_status status = nx_setup_open_registry(args->config, &setup, &err);
    if (status == NX_OK) {
        status = nx_setup_open_storage(args->config, &setup, &err);
    }
    if (status == NX_OK) {
        status = nx_setup_start_engine(args->config, NULL, &setup, &err);
    }
    if (status == NX_OK) {
        status = work(args->config, &setup, &signals, &err);
    }
    nx_setup_close(&setup);
    return status == NX_OK ? NX_EXIT_OK : nx_cli_fail(args, nx_cli_exit_code(status), &err);
}

static const nx_cli_option options[] = {
    {"concurrency", 0, "N", "videos at once (default 4)", NX_CONFIG_CONCURRENCY, NULL},
    {"prefetch", 0, "N", "takes so many times as many jobs ahead (default 4)",
     NX_CONFIG_PREFETCH_MULTIPLIER, NULL},
};

const nx_cli_command nx_cmd_worker = {
    .name = "worker",
    .operands = "",
    .summary = "analyse videos of the queue",
    .description =
        "Takes jobs from the database and analyses their videos until SIGINT or SIGTERM, after\n"
        "which it gives back what it has not finished. Any number of workers share a database and\n"
        "an object store (DATABASE_URL, OBJECTS_URL), on one host or several. When one is killed,\n"
        "another goes on from the last checkpoint, after JOB_LEASE seconds, to the same results.\n",
    .examples = "  nexus worker\n"
                "  nexus worker --concurrency 2 --prefetch 1 --model yolov8s\n"
                "  DATABASE_URL=postgres://nexus@db/nexus OBJECTS_URL=s3://videos nexus worker\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

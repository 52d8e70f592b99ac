/* nexus sweep: what a server or a worker clears up now and then, at once. */
#include "cli/cli.h"
#include "cli/setup.h"
#include "jobs/sweeper.h"

#include <stdio.h>

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_setup setup = {0};
    nx_swept found = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_status status = nx_setup_open_storage(args->config, &setup, &err);
    bool opened = status == NX_OK;
    if (opened) {
        const nx_sweep_options options =
            nx_sweep_options_of(args->config, setup.database, setup.objects, setup.data_dir);
        status = nx_sweep(&options, &found, &err);
        nx_buffer_printf(&text,
                         "uploads whose time was over   %llu\nfiles of uploads              %llu\n"
                         "folders of workers            %llu\njobs that ended long ago      %llu\n"
                         "events                        %llu\nobjects that nothing needs    %llu\n",
                         (unsigned long long)found.uploads, (unsigned long long)found.files,
                         (unsigned long long)found.folders, (unsigned long long)found.jobs,
                         (unsigned long long)found.events, (unsigned long long)found.objects);
    }
    nx_setup_close(&setup);
    int code = opened ? nx_cli_print(args, &text) : NX_EXIT_OK;
    if (status != NX_OK) {
        code = nx_cli_fail(args, opened ? NX_EXIT_UNAVAILABLE : nx_cli_exit_code(status), &err);
    }
    nx_buffer_free(&text);
    return code;
}

const nx_cli_command nx_cmd_sweep = {
    .name = "sweep",
    .operands = "",
    .summary = "take away what nothing needs any more",
    .description =
        "Takes away what is left of uploads that were given up, of jobs that ended without their\n"
        "worker and of processes that were killed, jobs with their results and events that are\n"
        "older than the configuration keeps them (JOB_LIFETIME, EVENT_LIFETIME), and prints how\n"
        "much that was. 'nexus serve' and 'nexus worker' do the same every quarter of an hour.\n"
        "What is in use stays, so it may run beside them; on several hosts it clears the data\n"
        "folder of its own.\n",
    .examples = "  nexus sweep\n"
                "  DATABASE_URL=postgres://nexus@db/nexus OBJECTS_URL=s3://videos nexus sweep\n",
    .uses_config = true,
    .run = run,
};

/* nexus track: a video in; tracks, counts, a heatmap and an annotated video out. */
#include "base/clock.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "jobs/video_results.h"
#include "jobs/video_run.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_ZONES_BYTES ((size_t)1 << 20)

typedef struct track_run {
    const nx_cli_args *args;
    nx_setup setup;
    nx_video_spec spec;
    nx_video_outcome outcome;
    char *folder; /* owned */
    char *log;    /* owned */
    int fd;
    nx_progress progress;
    bool shown;
    int64_t took_ns;
} track_run;

/* Set by SIGINT and SIGTERM; process-wide because signal handlers have no argument. */
static atomic_bool interrupted;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, true);
}

/* One signal ends the run in good order, a second one at once. */
static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

/* --- options ------------------------------------------------------------------------------------
 */

/* {"zones":[...],"lines":[...]}, as requests have it. */
static nx_status read_zones(track_run *run, const char *path, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    json_error_t problem;
    json_t *object = NULL;
    const char *name = NULL;
    json_t *value = NULL;
    nx_status status = nx_file_read(path, MOST_ZONES_BYTES, &text, err);
    if (status == NX_OK) {
        object = json_loadb(text.data != NULL ? text.data : "", text.size, JSON_REJECT_DUPLICATES,
                            &problem);
        if (!json_is_object(object)) {
            status = nx_error_set(err, NX_ERR_INVALID,
                                  "%s: %s, line %d; zones look like "
                                  "{\"zones\": [{\"name\": \"door\", \"polygon\": [[0, 0], [1, 0], "
                                  "[0.5, 1]]}], \"lines\": []}",
                                  path, object != NULL ? "not an object" : problem.text,
                                  object != NULL ? 1 : problem.line);
        }
    }
    if (status == NX_OK) {
        json_object_foreach(object, name, value)
        {
            bool known = strcmp(name, "zones") == 0 || strcmp(name, "lines") == 0;
            status = known ? nx_video_spec_take(&run->spec, name, value, &known, err)
                           : nx_error_set(err, NX_ERR_INVALID,
                                          "%s: '%.60s' is neither zones nor lines", path, name);
            if (status != NX_OK) {
                break;
            }
        }
    }
    json_decref(object);
    nx_buffer_free(&text);
    return status;
}

static nx_status read_numbers(track_run *run, nx_error *err)
{
    const nx_cli_args *args = run->args;
    nx_video_spec *spec = &run->spec;
    int64_t stride = 1;
    nx_status status = nx_cli_int(args, "stride", 1, NX_VIDEO_MAX_STRIDE, 1, &stride, err);
    spec->stride = (uint32_t)stride;
    if (status == NX_OK) {
        status = nx_cli_number(args, "fps", 0, NX_VIDEO_MAX_FPS, 0, &spec->fps, err);
    }
    if (status == NX_OK) {
        status = nx_cli_number(args, "conf", 0, 1, -1, &spec->confidence, err);
    }
    if (status == NX_OK) {
        status = nx_cli_number(args, "counts-every", 0.1, 86400, 60, &spec->counts_every_s, err);
    }
    return status;
}

static nx_status read_options(track_run *run, nx_error *err)
{
    const nx_cli_args *args = run->args;
    nx_video_spec *spec = &run->spec;
    const char *classes = nx_cli_value(args, "classes");
    const char *outputs = nx_cli_value(args, "outputs");
    const char *zones = nx_cli_value(args, "zones");
    spec->track = nx_cli_value(args, "no-track") == NULL;
    spec->motion_gate = nx_cli_value(args, "motion-gate") != NULL;
    spec->adaptive_stride = nx_cli_value(args, "adaptive-stride") != NULL;
    spec->outputs |= 1U << NX_VIDEO_VIDEO; /* somebody looks at the folder */
    nx_status status = read_numbers(run, err);
    if (status == NX_OK && classes != NULL) {
        spec->classes = strdup(classes);
        status = spec->classes != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    }
    if (status == NX_OK && outputs != NULL) {
        status = nx_video_spec_set_outputs(spec, outputs, err);
    }
    if (status == NX_OK && zones != NULL) {
        status = read_zones(run, zones, err);
    }
    return status == NX_OK ? nx_video_spec_check(spec, err) : status;
}

/* --- the run ------------------------------------------------------------------------------------
 */

static void show_progress(const nx_video_progress *progress, void *user)
{
    track_run *run = user;
    if (!run->shown) {
        run->progress = nx_progress_begin((size_t)progress->frames_total);
        run->shown = true;
    }
    nx_progress_update(&run->progress, (size_t)progress->frames);
}

static void show_drawing(uint64_t frames, void *user)
{
    track_run *run = user;
    nx_progress_update(&run->progress, (size_t)frames);
}

/* The folder for the results: --out, or the video's name without its ending, here. */
static nx_status open_folder(track_run *run, nx_error *err)
{
    const char *video = run->args->operands[0];
    const char *given = nx_cli_value(run->args, "out");
    const char *slash = strrchr(video, '/');
    const char *name = slash != NULL ? slash + 1 : video;
    const char *dot = strrchr(name, '.');
    size_t length = dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);
    int made = given != NULL ? asprintf(&run->folder, "%s", given)
                             : asprintf(&run->folder, "%.*s-tracks", (int)length, name);
    if (made < 0 ||
        asprintf(&run->log, "%s/%s", run->folder, nx_video_output_file(NX_VIDEO_FRAMES)) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    }
    return nx_file_make_dirs(run->folder, err);
}

static nx_status open_video(track_run *run, nx_error *err)
{
    const char *path = run->args->operands[0];
    run->fd = open(path, O_RDONLY | O_CLOEXEC);
    return run->fd >= 0 ? NX_OK
                        : nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO,
                                             errno, "cannot read %s", path);
}

static nx_status analyse(track_run *run, nx_error *err)
{
    const nx_video_run_options options = {
        .engine = run->setup.engine,
        .model = run->setup.model,
        .spec = &run->spec,
        .postprocess = nx_setup_postprocess(run->args->config),
        .priority = NX_PRIORITY_BATCH,
        .fd = run->fd,
        .name = run->args->operands[0],
        .log_path = run->log,
        .max_pixels = (uint64_t)nx_config_int(run->args->config, NX_CONFIG_MAX_IMAGE_PIXELS),
        .stop = &interrupted,
        .progress = show_progress,
        .user = run,
    };
    int64_t start_ns = nx_clock_now_ns();
    nx_status status = nx_video_run(&options, &run->outcome, err);
    run->took_ns = nx_clock_now_ns() - start_ns;
    nx_progress_end(&run->progress);
    return status;
}

static nx_status write_results(track_run *run, const char *error, nx_error *err)
{
    const nx_video_results_options options = {
        .folder = run->folder,
        .spec = &run->spec,
        .outcome = &run->outcome,
        .model = nx_model_get_spec(run->setup.model),
        .source = run->args->operands[0],
        .fd = run->fd,
        .error = error,
        .max_pixels = (uint64_t)nx_config_int(run->args->config, NX_CONFIG_MAX_IMAGE_PIXELS),
        .stop = &interrupted,
        .progress = show_drawing,
        .user = run,
    };
    run->progress = nx_progress_begin((size_t)run->outcome.progress.frames);
    nx_status status = nx_video_results_write(&options, err);
    nx_progress_end(&run->progress);
    return status;
}

static void print_summary(const track_run *run, nx_buffer *out)
{
    const nx_video_progress *done = &run->outcome.progress;
    double seconds = (double)run->took_ns / (double)NX_NS_PER_SEC;
    nx_buffer_printf(out, "%llu frames in %.1f s (%.1f/s)", (unsigned long long)done->frames,
                     seconds, seconds > 0 ? (double)done->frames / seconds : 0.0);
    if (done->inferred < done->frames) {
        nx_buffer_printf(out, ", %.0f %% of them without the detector",
                         100 * (1 - (double)done->inferred / (double)done->frames));
    }
    nx_buffer_append_str(out, "\n");
    for (int i = 0; i < NX_VIDEO_OUTPUTS; i++) {
        if ((run->spec.outputs & 1U << i) != 0) {
            nx_buffer_append_str(out, "  ");
            nx_buffer_append_printable(out, run->folder);
            nx_buffer_printf(out, "/%s\n", nx_video_output_file((nx_video_output)i));
        }
    }
}

static nx_status set_up(track_run *run, nx_error *err)
{
    nx_status status = open_video(run, err);
    if (status == NX_OK) {
        status = nx_setup_open(run->args->config, NX_SETUP_COMMAND, &run->setup, err);
    }
    if (status == NX_OK) {
        status = nx_setup_start_engine(run->args->config, NULL, &run->setup, err);
    }
    return status == NX_OK ? open_folder(run, err) : status;
}

/* A damaged video has results as far as it goes, and its reason on standard error. */
static int work(track_run *run)
{
    nx_error err = {0};
    nx_error second = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_status status = set_up(run, &err);
    if (status != NX_OK) {
        return nx_cli_fail(run->args, nx_cli_exit_code(status), &err);
    }
    status = analyse(run, &err);
    if (status == NX_ERR_CANCELLED) {
        return nx_cli_fail(run->args, NX_EXIT_INTERRUPTED, &err);
    }
    if (status != NX_OK && run->outcome.progress.frames == 0) {
        return nx_cli_fail(run->args, nx_cli_exit_code(status), &err);
    }
    if (status != NX_OK) {
        (void)nx_cli_fail(run->args, NX_EXIT_PARTIAL, &err);
        run->spec.outputs &= ~(1U << NX_VIDEO_VIDEO); /* it would end in the same place */
    }
    nx_status written = write_results(run, status != NX_OK ? err.message : NULL, &second);
    if (written != NX_OK) {
        return nx_cli_fail(run->args,
                           written == NX_ERR_CANCELLED ? NX_EXIT_INTERRUPTED : NX_EXIT_UNAVAILABLE,
                           &second);
    }
    print_summary(run, &text);
    int code = nx_cli_print(run->args, &text);
    return status != NX_OK ? NX_EXIT_PARTIAL : code;
}

static int run_track(const nx_cli_args *args)
{
    nx_error err = {0};
    track_run run = {.args = args, .fd = -1};
    nx_video_spec_init(&run.spec);
    nx_status status = read_options(&run, &err);
    int code = NX_EXIT_OK;
    if (status != NX_OK) {
        code = nx_cli_fail(args, nx_cli_exit_code(status), &err);
    } else {
        catch_signals();
        code = work(&run);
    }
    nx_setup_close(&run.setup);
    nx_video_spec_free(&run.spec);
    if (run.fd >= 0) {
        close(run.fd);
    }
    free(run.folder);
    free(run.log);
    return code;
}

static const nx_cli_option options[] = {
    {"out", 'o', "DIR", "folder for the results (default: NAME-tracks)", NX_CLI_NO_KEY, NULL},
    {"zones", 'z', "JSON", "file with zones and lines to count in", NX_CLI_NO_KEY, NULL},
    {"outputs", 0, "LIST", "of summary, csv, coco, mot, counts, heatmap, video (default all)",
     NX_CLI_NO_KEY, NULL},
    {"conf", 0, "0..1", "a track begins with this confidence (default 0.7)", NX_CLI_NO_KEY, NULL},
    {"classes", 0, "LIST", "only these classes: names or numbers, comma-separated", NX_CLI_NO_KEY,
     NULL},
    {"stride", 0, "N", "look at every Nth frame", NX_CLI_NO_KEY, NULL},
    {"fps", 0, "N", "look at N frames of each second", NX_CLI_NO_KEY, NULL},
    {"motion-gate", 0, NULL, "leave out the detector while nothing moves", NX_CLI_NO_KEY, NULL},
    {"adaptive-stride", 0, NULL, "leave out the detector while tracks are easy to predict",
     NX_CLI_NO_KEY, NULL},
    {"no-track", 0, NULL, "only detect", NX_CLI_NO_KEY, NULL},
    {"counts-every", 0, "SECONDS", "length of a row of counts.csv (default 60)", NX_CLI_NO_KEY,
     NULL},
};

const nx_cli_command nx_cmd_track = {
    .name = "track",
    .operands = "VIDEO",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "follow objects through a video and count them",
    .description =
        "Decodes the video in a sandboxed process, finds objects in its frames, follows them\n"
        "(ByteTrack) and writes into a folder: frames.ndjson.zst with all that was seen, and made\n"
        "of it summary.json, objects.csv, coco.json, mot.txt, counts.csv, heatmap.png and\n"
        "annotated.mp4. Zones are polygons and lines are crossed in two directions, in parts of\n"
        "the picture's width and height; what counts is where a box stands, the middle of its\n"
        "lower edge. A damaged video gives results as far as it can be read, and exit code 1.\n",
    .examples = "  nexus track street.mp4\n"
                "  nexus track street.mp4 --model yolov8s --classes person,car --out results/\n"
                "  nexus track yard.mkv --zones zones.json --motion-gate --outputs counts,video\n"
                "  zstdcat street-tracks/frames.ndjson.zst | head -3\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run_track,
};

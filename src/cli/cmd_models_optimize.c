/* nexus models optimize: a faster model from a model, with the proof that it is as good. */
#include "cli/cmd_models.h"

#include "base/clock.h"
#include "base/json_writer.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "optimize/optimize.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_ROUNDS 15
#define MAX_ROUNDS     100
#define LINE_NS        NX_NS_PER_SEC /* between two lines about steps */

/* Where the model goes: a file of its own, or the next version of a name in the store. */
typedef struct destination {
    const char *file;      /* -o; or NULL */
    nx_model_store *store; /* without -o */
    char *folder;          /* of the store's new version */
    char name[NX_MODEL_NAME_MAX + 2];
    char *path; /* that is written until it is known to be good */
} destination;

typedef struct optimize_run {
    const nx_cli_args *args;
    nx_optimize_options options;
    nx_optimize_report report;
    nx_progress progress;
    bool lines;      /* a program reads along: steps are lines on standard error */
    int64_t line_ns; /* when the last one was written */
} optimize_run;

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
}

/* --- progress -----------------------------------------------------------------------------------
 */

static void show_stage(const char *what, void *user)
{
    optimize_run *run = user;
    nx_progress_end(&run->progress);
    run->progress = (nx_progress){0};
    fprintf(stderr, "%s ...\n", what);
}

static void show_step(size_t done, size_t total, void *user)
{
    optimize_run *run = user;
    const int64_t now = nx_clock_now_ns();
    if (run->lines && now - run->line_ns > LINE_NS) {
        fprintf(stderr, "%zu of %zu\n", done, total);
        run->line_ns = now;
    }
    if (run->progress.total != total) {
        run->progress = nx_progress_begin(total);
    }
    nx_progress_update(&run->progress, done);
}

static void show_warning(const char *message, void *user)
{
    optimize_run *run = user;
    nx_buffer line = NX_BUFFER_INIT;
    nx_progress_end(&run->progress);
    nx_buffer_append_printable(&line, message);
    fprintf(stderr, "nexus models optimize: warning: %s\n", nx_buffer_cstr(&line));
    nx_buffer_free(&line);
}

/* --- destination --------------------------------------------------------------------------------
 */

/* A new file beside the one that is wanted, so that a folder that can't be written shows before
 * minutes of work, and what is there stays until something better is. */
static nx_status begin_file(destination *to, nx_error *err)
{
    struct stat info;
    if (stat(to->file, &info) == 0 && !S_ISREG(info.st_mode)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s is not a file", to->file);
    }
    if (asprintf(&to->path, "%s.XXXXXX", to->file) < 0) {
        to->path = NULL;
        return no_memory(err);
    }
    int file = mkstemp(to->path);
    if (file < 0) {
        int reason = errno;
        free(to->path);
        to->path = NULL;
        return nx_error_set_errno(err, NX_ERR_IO, reason, "cannot write %s", to->file);
    }
    mode_t mask = umask(0);
    (void)umask(mask);
    (void)fchmod(file, 0666 & ~mask); /* mkstemp's are for their owner alone */
    close(file);
    return NX_OK;
}

/* --name, or the model's own with what was done behind it. */
static nx_status choose_name(const optimize_run *run, destination *to, nx_error *err)
{
    static const char *const endings[] = {"-split", "-int8", "-fp16"};
    const char *given = nx_cli_value(run->args, "name");
    if (given != NULL) {
        snprintf(to->name, sizeof to->name, "%s", given);
        return nx_model_name_check(to->name, err);
    }
    const char *slash = strrchr(run->args->operands[0], '/');
    const char *file = slash != NULL ? slash + 1 : run->args->operands[0];
    size_t length = strlen(file);
    if (length > 5 && strcmp(file + length - 5, ".onnx") == 0) {
        length -= 5;
    }
    snprintf(to->name, sizeof to->name, "%.*s%s",
             (int)strcspn(file, ":") < (int)length ? (int)strcspn(file, ":") : (int)length, file,
             endings[run->options.precision]);
    return nx_model_name_check(to->name, err);
}

static nx_status begin_destination(const optimize_run *run, destination *to, nx_error *err)
{
    to->file = nx_cli_value(run->args, "output");
    if (to->file != NULL) {
        if (nx_cli_value(run->args, "name") != NULL) {
            return nx_error_set(err, NX_ERR_INVALID, "give --output or --name, not both");
        }
        return begin_file(to, err);
    }
    nx_status status = choose_name(run, to, err);
    if (status == NX_OK) {
        status = nx_cmd_models_store(run->args, &to->store, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_begin(to->store, &to->folder, err);
    }
    if (status == NX_OK && asprintf(&to->path, "%s/model.onnx", to->folder) < 0) {
        to->path = NULL;
        status = no_memory(err);
    }
    return status;
}

/* Puts the model where it is wanted and says so. */
static nx_status keep(destination *to, nx_buffer *text, nx_error *err)
{
    if (to->file != NULL) {
        if (rename(to->path, to->file) != 0) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", to->file);
        }
        free(to->path);
        to->path = NULL;
        nx_buffer_printf(text, "%s is written.\n", to->file);
        return NX_OK;
    }
    uint32_t version = 0;
    nx_status status = nx_model_store_commit(to->store, to->folder, to->name, &version, err);
    if (status == NX_OK) {
        free(to->folder);
        to->folder = NULL;
        nx_buffer_printf(text, "%s version %u is installed.\n", to->name, version);
    }
    return status;
}

/* A file that is just being written beside its place has a longer name than that. */
static void remove_beginning_with(const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char *folder = slash != NULL ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    DIR *dir = folder != NULL ? opendir(folder) : NULL;
    for (struct dirent *entry = dir != NULL ? readdir(dir) : NULL; entry != NULL;
         entry = readdir(dir)) {
        if (strncmp(entry->d_name, name, strlen(name)) == 0) {
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    free(folder);
}

/* Removes what was not kept. Also on another thread, when a signal ends the work. */
static void discard(void *user)
{
    const destination *to = user;
    if (to->file != NULL && to->path != NULL) {
        remove_beginning_with(to->path);
    }
    nx_model_store_discard(to->folder);
}

static void end_destination(destination *to)
{
    discard(to);
    nx_model_store_free(to->store);
    free(to->folder);
    free(to->path);
}

/* --- report -------------------------------------------------------------------------------------
 */

static void print_speeds(const nx_optimize_report *r, nx_buffer *out)
{
    char before[32];
    char after[32];
    nx_cmd_models_size(r->bytes_before, before);
    nx_cmd_models_size(r->bytes_after, after);
    nx_buffer_printf(out, "%-10s %9s %9s %10s %6s %13s %6s\n", "", "SIZE", "INPUT", "ONE RUN",
                     "RATIO", "TWO AT ONCE", "RATIO");
    for (size_t i = 0; i < r->speed_count; i++) {
        const nx_optimize_speed *s = &r->speeds[i];
        char input[32];
        snprintf(input, sizeof input, "%ux%u", s->height, s->width);
        nx_buffer_printf(out, "%-10s %9s %9s %7.1f ms %6.2f %11.1f/s %6.2f\n",
                         s->optimized ? "optimised" : "original", s->optimized ? after : before,
                         input, s->run_ms, r->speeds[0].run_ms / s->run_ms, s->per_second,
                         s->per_second * r->speeds[0].run_ms / 1e3);
    }
    if (r->speed_count == 0) {
        nx_buffer_printf(out, "%-10s %9s\n%-10s %9s\n", "original", before, "optimised", after);
    }
}

static void print_precision(const nx_optimize_report *r, nx_buffer *out)
{
    if (r->judged == 0) {
        nx_buffer_append_str(out, "\nAverage precision was not measured: give pictures with "
                                  "--images.\n");
        return;
    }
    nx_buffer_printf(out, "\n%-10s %8s %8s %8s\n", "", "AP50-95", "AP50", "AP75");
    nx_buffer_printf(out, "%-10s %8.4f %8.4f %8.4f\n", "original", r->before.ap, r->before.ap50,
                     r->before.ap75);
    nx_buffer_printf(out, "%-10s %8.4f %8.4f %8.4f\n", "optimised", r->after.ap, r->after.ap50,
                     r->after.ap75);
    nx_buffer_printf(out, "%-10s %+8.4f %+8.4f %+8.4f\n", "change", r->after.ap - r->before.ap,
                     r->after.ap50 - r->before.ap50, r->after.ap75 - r->before.ap75);
    if (r->own_aspect) {
        nx_buffer_printf(out, "%-10s %8.4f %8.4f %8.4f   with each picture's own aspect\n",
                         "optimised", r->after_own.ap, r->after_own.ap50, r->after_own.ap75);
    }
    if (r->by_annotations) {
        nx_buffer_printf(out, "On %zu pictures%s, against their annotations.\n", r->judged,
                         r->calibrated > 0 ? " that the calibration has not seen" : "");
    } else {
        nx_buffer_printf(out,
                         "On %zu pictures%s, against the original's own detections, for there are "
                         "no annotations.\n",
                         r->judged, r->calibrated > 0 ? " that the calibration has not seen" : "");
    }
}

static void print_text(const nx_optimize_report *r, nx_buffer *out)
{
    print_speeds(r, out);
    print_precision(r, out);
}

static void json_precision(nx_json *json, const char *key, const nx_coco_ap *ap)
{
    nx_json_key(json, key);
    nx_json_object_begin(json);
    nx_json_key_number(json, "ap", ap->ap, 4);
    nx_json_key_number(json, "ap50", ap->ap50, 4);
    nx_json_key_number(json, "ap75", ap->ap75, 4);
    nx_json_object_end(json);
}

static void print_json(const nx_optimize_report *r, bool written, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_bool(&json, "written", written);
    nx_json_key_bool(&json, "dynamic", r->dynamic);
    nx_json_key_int(&json, "size_before", (int64_t)r->bytes_before);
    nx_json_key_int(&json, "size_after", (int64_t)r->bytes_after);
    nx_json_key_int(&json, "calibrated", (int64_t)r->calibrated);
    nx_json_key_int(&json, "judged", (int64_t)r->judged);
    if (r->judged > 0) {
        nx_json_key_string(&json, "reference", r->by_annotations ? "annotations" : "original");
        json_precision(&json, "before", &r->before);
        json_precision(&json, "after", &r->after);
        if (r->own_aspect) {
            json_precision(&json, "after_own_aspect", &r->after_own);
        }
    }
    nx_json_key(&json, "speed");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < r->speed_count; i++) {
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "model", r->speeds[i].optimized ? "optimized" : "original");
        nx_json_key_int(&json, "width", r->speeds[i].width);
        nx_json_key_int(&json, "height", r->speeds[i].height);
        nx_json_key_number(&json, "run_ms", r->speeds[i].run_ms, 3);
        nx_json_key_number(&json, "two_at_once_per_second", r->speeds[i].per_second, 2);
        nx_json_object_end(&json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\n');
}

/* --- the command --------------------------------------------------------------------------------
 */

static bool is_folder(const char *path)
{
    struct stat info;
    return path != NULL && stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

static nx_status read_options(optimize_run *run, nx_error *err)
{
    const nx_cli_args *args = run->args;
    nx_optimize_options *o = &run->options;
    const char *weights = nx_cli_value(args, "weights");
    int64_t limit = 0;
    int64_t rounds = 0;
    bool int8 = nx_cli_value(args, "int8") != NULL;
    bool half = nx_cli_value(args, "fp16") != NULL;
    o->calibrate = nx_cli_value(args, "calibrate");
    o->images = nx_cli_value(args, "images");
    o->annotations = nx_cli_value(args, "annotations");
    o->threads = nx_setup_workers(args->config);
    o->precision = int8 ? NX_PRECISION_INT8 : half ? NX_PRECISION_FLOAT16 : NX_PRECISION_FLOAT32;
    o->weights = weights == NULL || strcmp(weights, "safe") == 0 ? NX_WEIGHTS_PAIRS
                 : strcmp(weights, "full") == 0                  ? NX_WEIGHTS_FULL
                                                                 : NX_WEIGHTS_7BIT;
    o->stage = show_stage;
    o->step = show_step;
    o->warn = show_warning;
    o->user = run;
    const char *format = nx_cli_value(args, "format");
    run->lines = format != NULL && strcmp(format, "json") == 0 && !isatty(STDERR_FILENO);
    if (int8 && half) {
        return nx_error_set(err, NX_ERR_INVALID, "give --int8 or --fp16, not both");
    }
    if (!int8 && (o->calibrate != NULL || weights != NULL)) {
        return nx_error_set(err, NX_ERR_INVALID, "--calibrate and --weights belong to --int8");
    }
    if (int8 && o->calibrate == NULL && o->images == NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "--int8 needs pictures: --calibrate DIR, or --images DIR");
    }
    if (o->annotations != NULL && o->images == NULL && is_folder(o->calibrate)) {
        o->images = o->calibrate; /* half of them judge */
    }
    if (o->annotations != NULL && o->images == NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "--annotations needs the folder of its pictures: --images DIR");
    }
    nx_status status = nx_cli_int(args, "limit", 1, 100000, 128, &limit, err);
    if (status == NX_OK) {
        status = nx_cli_int(args, "rounds", 0, MAX_ROUNDS, DEFAULT_ROUNDS, &rounds, err);
    }
    o->limit = (size_t)limit;
    o->rounds = (size_t)rounds;
    return status;
}

static nx_status optimize(optimize_run *run, destination *to, nx_error *err)
{
    char *model = NULL;
    nx_runtime *runtime = NULL;
    nx_status status =
        nx_config_set(run->args->config, NX_CONFIG_MODEL, run->args->operands[0], "MODEL", err);
    if (status == NX_OK) {
        status = nx_setup_model_path(run->args->config, &model, err);
    }
    if (status == NX_OK) {
        status = nx_setup_runtime(run->args->config, &runtime, err);
    }
    if (status == NX_OK) {
        run->options.model = model;
        run->options.output = to->path;
        status = nx_optimize(runtime, &run->options, &run->report, err);
    }
    nx_progress_end(&run->progress);
    if (status != NX_OK && to->path != NULL) { /* nobody knows of the name that it has for now */
        nx_model_store_rename_in(err, to->path, to->file != NULL ? to->file : to->name);
    }
    nx_runtime_free(runtime);
    free(model);
    return status;
}

/* Writes or refuses, and prints. */
static int conclude(optimize_run *run, destination *to)
{
    nx_error err = {0};
    nx_buffer text = NX_BUFFER_INIT;
    nx_buffer last = NX_BUFFER_INIT;
    const char *format = nx_cli_value(run->args, "format");
    bool json = format != NULL && strcmp(format, "json") == 0;
    bool good = nx_optimize_acceptable(&run->report);
    nx_status status = NX_OK;
    if (good || nx_cli_value(run->args, "force") != NULL) {
        status = keep(to, &last, &err);
    } else {
        status = nx_error_set(&err, NX_ERR_UNSUPPORTED,
                              "nothing is written, for the model would lose %.4f of AP50-95, and "
                              "%.2f is the limit (--force writes it anyway; more pictures to "
                              "calibrate with may help)",
                              run->report.before.ap - run->report.after.ap,
                              nx_optimize_limit(&run->report));
    }
    if (json) {
        print_json(&run->report, status == NX_OK, &text);
    } else {
        print_text(&run->report, &text);
        nx_buffer_append_str(&text, nx_buffer_cstr(&last));
    }
    nx_buffer_free(&last);
    int code = nx_cli_print(run->args, &text);
    return status == NX_OK ? code : nx_cli_fail(run->args, NX_EXIT_UNAVAILABLE, &err);
}

static int run_optimize(const nx_cli_args *args)
{
    nx_error err = {0};
    optimize_run run = {.args = args};
    destination to = {0};
    nx_interrupt interrupt;
    int code = NX_EXIT_OK;
    nx_status status = read_options(&run, &err);
    if (status != NX_OK) {
        return nx_cli_fail(args, NX_EXIT_USAGE, &err);
    }
    nx_interrupt_begin(&interrupt);
    status = begin_destination(&run, &to, &err);
    if (status != NX_OK) {
        code = nx_cli_fail(args, nx_cli_exit_code(status), &err);
    } else {
        nx_interrupt_watch(&interrupt, discard, &to);
        status = optimize(&run, &to, &err);
        nx_interrupt_hold(&interrupt); /* what is finished is kept */
        code = status == NX_OK ? conclude(&run, &to) : nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    }
    end_destination(&to);
    nx_interrupt_end(&interrupt);
    return code;
}

static const nx_cli_option optimize_options[] = {
    {"output", 'o', "FILE", "write here instead of installing it", NX_CLI_NO_KEY, NULL},
    {"name", 'n', "NAME", "install under this name (default: MODEL-int8 and the like)",
     NX_CLI_NO_KEY, NULL},
    {"int8", 0, NULL, "quantise to 8-bit integers, for CPUs", NX_CLI_NO_KEY, NULL},
    {"calibrate", 0, "DIR|VIDEO", "pictures that show INT8 what numbers occur", NX_CLI_NO_KEY,
     NULL},
    {"weights", 0, "FORM", "of INT8: safe (default), full or 7bit", NX_CLI_NO_KEY,
     "safe|full|7bit"},
    {"fp16", 0, NULL, "convert to float16, for GPUs", NX_CLI_NO_KEY, NULL},
    {"images", 'i', "DIR", "pictures that judge the result", NX_CLI_NO_KEY, NULL},
    {"annotations", 'a', "JSON", "what is in them (or in those of --calibrate), in COCO's format",
     NX_CLI_NO_KEY, NULL},
    {"limit", 0, "N", "most pictures to calibrate with, and to judge by (default 128)",
     NX_CLI_NO_KEY, NULL},
    {"rounds", 0, "N", "rounds of the speed measurement (default 15; 0: none)", NX_CLI_NO_KEY,
     NULL},
    {"force", 0, NULL, "write the model even if it loses too much", NX_CLI_NO_KEY, NULL},
    {"format", 'f', "FORMAT", "text or json (default text)", NX_CLI_NO_KEY, "text|json"},
};

const nx_cli_command nx_cmd_models_optimize = {
    .name = "models optimize",
    .operands = "MODEL",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "make a faster model from a YOLOv8 or YOLO11 detector",
    .description =
        "The part of the model that decodes boxes is cut off, for Nexus does that faster, and\n"
        "the size of the input becomes free: a wide picture then needs no square. That changes\n"
        "no result. --int8 calculates with 8-bit integers and changes scores a little; the\n"
        "pictures to calibrate with should look like those to come. Half of them calibrate, the\n"
        "others judge: a model that loses more than 0.01 of its average precision against\n"
        "--annotations, or 0.05 against what the original finds, is not written.\n",
    .examples = "  nexus models optimize yolov8n\n"
                "  nexus models optimize yolov8n --int8 --calibrate ~/pictures\n"
                "  nexus models optimize best.onnx -o best-int8.onnx --int8 --images val2017 \\\n"
                "      --annotations instances_val2017.json\n",
    .options = optimize_options,
    .option_count = sizeof optimize_options / sizeof optimize_options[0],
    .uses_config = true,
    .run = run_optimize,
};

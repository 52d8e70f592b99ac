/* nexus detect: pictures in, detections out. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "cli/cli.h"
#include "cli/inputs.h"
#include "cli/pictures.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "vision/class_filter.h"

#include <errno.h>
#include <search.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

typedef enum output_format {
    FORMAT_TEXT,
    FORMAT_JSON,
    FORMAT_NDJSON,
    FORMAT_CSV,
    FORMAT_COCO,
    FORMAT_YOLO,
} output_format;

static const char *const format_names[] = {"text", "json", "ndjson", "csv", "coco", "yolo"};

typedef struct detect_run {
    const nx_cli_args *args;
    output_format format;
    FILE *out;
    const char *label_dir; /* --format yolo --output DIR */
    const char *annotate_dir;
    nx_buffer text; /* reused for each picture */
    nx_json json;   /* for the formats that are one array */
    size_t picture_count;
    bool on_terminal; /* output and progress bar share it */
    bool reader_gone; /* whoever read the output has closed it */
    size_t failed;
    size_t detections;
    nx_progress progress;
    void *annotated_names; /* tsearch tree of file names already written */
} detect_run;

/* Set by SIGINT and SIGTERM; process-wide because signal handlers have no argument. */
static atomic_int interrupted;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&interrupted, 1);
}

static nx_status cannot_write(const detect_run *run, nx_error *err)
{
    const char *name = nx_cli_value(run->args, "output");
    return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s",
                              run->out == stdout || name == NULL ? "the output" : name);
}

static nx_status flush(detect_run *run, nx_error *err)
{
    if (run->text.failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the output");
    }
    errno = 0;
    if (fwrite(run->text.data, 1, run->text.size, run->out) != run->text.size ||
        (run->out == stdout && fflush(run->out) != 0)) {
        run->reader_gone = errno == EPIPE;
        return cannot_write(run, err);
    }
    nx_buffer_clear(&run->text);
    return NX_OK;
}

/* --- files beside the output --------------------------------------------------------------------
 */

static int compare_names(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* The file name without folder and ending; "stdin" for standard input. */
static void stem_of(const char *path, char *out, size_t size)
{
    const char *slash = strrchr(path, '/');
    const char *name = strcmp(path, "-") == 0 ? "stdin" : slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');
    size_t length = dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name);
    snprintf(out, size, "%.*s", (int)(length < 200 ? length : 200), name);
}

/* DIR/STEM.EXT, or DIR/STEM-2.EXT when another picture of this run took that. Caller frees. */
static char *free_name(detect_run *run, const char *dir, const char *path, const char *extension)
{
    char stem[201];
    stem_of(path, stem, sizeof stem);
    for (int number = 1;; number++) {
        char *name = NULL;
        int length = number == 1 ? asprintf(&name, "%s/%s.%s", dir, stem, extension)
                                 : asprintf(&name, "%s/%s-%d.%s", dir, stem, number, extension);
        if (length < 0) {
            return NULL;
        }
        if (tfind(name, &run->annotated_names, compare_names) == NULL) {
            char *kept = strdup(name);
            if (kept == NULL || tsearch(kept, &run->annotated_names, compare_names) == NULL) {
                free(kept);
                free(name);
                return NULL;
            }
            return name;
        }
        free(name);
    }
}

static nx_status write_beside(detect_run *run, const char *dir, const char *path,
                              const char *extension, const nx_buffer *bytes, char **written,
                              nx_error *err)
{
    *written = free_name(run, dir, path, extension);
    if (*written == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a file name");
    }
    return nx_file_write(*written, bytes->data, bytes->size, err);
}

/* --- one picture --------------------------------------------------------------------------------
 */

static void append_result(detect_run *run, const nx_picture_outcome *outcome)
{
    const nx_result *result = outcome->result;
    switch (run->format) {
    case FORMAT_TEXT:
        nx_result_text(result, &run->text);
        break;
    case FORMAT_JSON:
    case FORMAT_NDJSON: {
        nx_json line = nx_json_begin(&run->text);
        nx_json *json = run->format == FORMAT_JSON ? &run->json : &line;
        nx_json_object_begin(json);
        nx_json_key_string(json, "source", outcome->path);
        nx_result_json_members(result, json);
        nx_json_object_end(json);
        break;
    }
    case FORMAT_CSV:
        nx_result_csv(result, &run->text);
        break;
    case FORMAT_COCO: {
        char stem[201];
        stem_of(outcome->path, stem, sizeof stem);
        /* COCO names its files by their ids: digits only, which 64 bits must hold */
        size_t length = strlen(stem);
        bool numeric = strspn(stem, "0123456789") == length && length <= 18;
        nx_result_coco(result, strtoll(stem, NULL, 10), numeric ? NULL : stem, NULL, &run->json);
        break;
    }
    case FORMAT_YOLO:
        if (run->label_dir == NULL && run->picture_count > 1) {
            nx_buffer_append_str(&run->text, "# ");
            nx_buffer_append_printable(&run->text, outcome->path);
            nx_buffer_append_char(&run->text, '\n');
        }
        nx_result_yolo(result, &run->text);
        break;
    }
    if (run->format == FORMAT_NDJSON) {
        nx_buffer_append_char(&run->text, '\n');
    }
}

/* A picture that failed: a line on standard error, and an entry where the format has room for one.
 */
static void append_failure(detect_run *run, const nx_picture_outcome *outcome)
{
    run->failed++;
    nx_error said = *outcome->err;
    if (!outcome->unread) {
        nx_error_prefix(&said, "%s", outcome->path);
    }
    (void)nx_cli_fail(run->args, NX_EXIT_PARTIAL, &said);
    if (run->format == FORMAT_JSON || run->format == FORMAT_NDJSON) {
        nx_json line = nx_json_begin(&run->text);
        nx_json *json = run->format == FORMAT_JSON ? &run->json : &line;
        nx_json_object_begin(json);
        nx_json_key_string(json, "source", outcome->path);
        nx_json_key(json, "error");
        nx_json_object_begin(json);
        nx_json_key_string(json, "code", nx_status_name(outcome->status));
        nx_json_key_string(json, "message", outcome->err->message);
        nx_json_object_end(json);
        nx_json_object_end(json);
        if (run->format == FORMAT_NDJSON) {
            nx_buffer_append_char(&run->text, '\n');
        }
    }
}

static nx_status visit(const nx_picture_outcome *outcome, void *user, nx_error *err)
{
    detect_run *run = user;
    nx_status status = NX_OK;
    char *written = NULL;
    if (run->on_terminal || outcome->status != NX_OK) {
        nx_progress_end(&run->progress); /* the bar must not stand between the lines */
    }
    if (outcome->status != NX_OK) {
        append_failure(run, outcome);
        status = flush(run, err);
        nx_progress_update(&run->progress, outcome->index + 1);
        return status;
    }
    run->detections += outcome->result->count;
    append_result(run, outcome);
    if (run->label_dir != NULL) {
        status = write_beside(run, run->label_dir, outcome->path, "txt", &run->text, &written, err);
        nx_buffer_clear(&run->text);
        free(written);
        written = NULL;
    }
    if (status == NX_OK && run->annotate_dir != NULL) {
        status = write_beside(run, run->annotate_dir, outcome->path, "jpg", outcome->annotated,
                              &written, err);
        if (status == NX_OK && run->format == FORMAT_TEXT) {
            nx_buffer_append_str(&run->text, "  annotated picture: ");
            nx_buffer_append_printable(&run->text, written);
            nx_buffer_append_char(&run->text, '\n');
        }
        free(written);
    }
    if (status == NX_OK) {
        status = flush(run, err);
    }
    nx_progress_update(&run->progress, outcome->index + 1);
    return status;
}

/* --- the run ------------------------------------------------------------------------------------
 */

static void begin_output(detect_run *run)
{
    run->json = nx_json_begin(&run->text);
    if (run->format == FORMAT_JSON || run->format == FORMAT_COCO) {
        nx_json_array_begin(&run->json);
    } else if (run->format == FORMAT_CSV) {
        nx_result_csv_header(&run->text);
    }
}

static void end_output(detect_run *run)
{
    if (run->format == FORMAT_JSON || run->format == FORMAT_COCO) {
        nx_json_array_end(&run->json);
        nx_buffer_append_char(&run->text, '\n');
    }
}

static nx_status job_options(const nx_cli_args *args, const nx_model *model,
                             nx_image_job_options *out, nx_error *err)
{
    *out = (nx_image_job_options){
        .postprocess = nx_setup_postprocess(args->config),
        .max_pixels = (uint64_t)nx_config_int(args->config, NX_CONFIG_MAX_IMAGE_PIXELS),
        .annotate = nx_cli_value(args, "annotate") != NULL ? NX_ANNOTATE_JPEG : NX_ANNOTATE_NONE,
    };
    const char *classes = nx_cli_value(args, "classes");
    return classes == NULL ? NX_OK
                           : nx_class_filter_parse(classes, nx_model_get_spec(model)->names,
                                                   &out->postprocess, err);
}

static nx_status detect_all(detect_run *run, const nx_setup *setup, const nx_inputs *inputs,
                            const nx_image_job_options *options, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    run->picture_count = inputs->count;
    run->on_terminal = run->out == stdout && run->label_dir == NULL && isatty(STDOUT_FILENO);
    run->progress = nx_progress_begin(inputs->count);
    begin_output(run);
    nx_status status = nx_pictures_run(setup->engine, setup->model, inputs->paths, inputs->count,
                                       options, &interrupted, visit, run, err);
    nx_progress_end(&run->progress);
    if (status == NX_OK || status == NX_ERR_CANCELLED) { /* close the array in both cases */
        end_output(run);
        nx_status flushed = flush(run, status == NX_OK ? err : NULL);
        status = status == NX_OK ? flushed : status;
    }
    if (status == NX_OK && inputs->count > 1) {
        double seconds = (double)(nx_clock_now_ns() - start) / (double)NX_NS_PER_SEC;
        fprintf(stderr, "%zu pictures, %zu failed, %zu detections in %.1f s (%.1f/s)\n",
                inputs->count, run->failed, run->detections, seconds,
                (double)inputs->count / seconds);
    }
    return status;
}

static nx_status open_output(detect_run *run, const nx_inputs *inputs, nx_error *err)
{
    const char *output = nx_cli_value(run->args, "output");
    run->out = stdout;
    if (run->annotate_dir != NULL) {
        if (nx_inputs_at(inputs, run->annotate_dir)) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "--annotate %s: pictures to read are in that folder, and would be "
                                "overwritten; use another one",
                                run->annotate_dir);
        }
        nx_status status = nx_file_make_dirs(run->annotate_dir, err);
        if (status != NX_OK) {
            return status;
        }
    }
    if (output == NULL || strcmp(output, "-") == 0) {
        return NX_OK;
    }
    if (run->format == FORMAT_YOLO) {
        run->label_dir = output;
        return nx_file_make_dirs(output, err);
    }
    if (nx_inputs_at(inputs, output)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "--output %s: a picture to read is there, and would be overwritten",
                            output);
    }
    run->out = fopen(output, "we");
    if (run->out == NULL) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", output);
    }
    return NX_OK;
}

static nx_status close_output(detect_run *run, nx_error *err)
{
    if (run->out != NULL && run->out != stdout && fclose(run->out) != 0) {
        return cannot_write(run, err);
    }
    return NX_OK;
}

static output_format format_of(const nx_cli_args *args)
{
    const char *name = nx_cli_value(args, "format");
    for (size_t i = 0; name != NULL && i < sizeof format_names / sizeof format_names[0]; i++) {
        if (strcmp(name, format_names[i]) == 0) {
            return (output_format)i;
        }
    }
    return FORMAT_TEXT;
}

/* One signal ends the run in good order, a second one at once. */
static void catch_signals(const nx_inputs *inputs)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < inputs->count; i++) {
        if (strcmp(inputs->paths[i], "-") == 0) {
            return; /* a read of standard input may never come back to ask whether to stop */
        }
    }
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static nx_status run_detect(detect_run *state, nx_setup *setup, nx_inputs *inputs, nx_error *err)
{
    const nx_cli_args *args = state->args;
    nx_image_job_options options;
    nx_status status = nx_inputs_expand(args->operands, args->operand_count,
                                        nx_cli_value(args, "recursive") != NULL, inputs, err);
    if (status == NX_OK) {
        catch_signals(inputs);
        status = nx_setup_open(args->config, NX_SETUP_COMMAND, setup, err);
    }
    if (status == NX_OK) {
        status = nx_setup_start_engine(args->config, NULL, setup, err);
    }
    if (status == NX_OK) {
        status = job_options(args, setup->model, &options, err);
    }
    if (status == NX_OK) { /* only now: an output that is there is not emptied for a typing error */
        status = open_output(state, inputs, err);
    }
    if (status == NX_OK) {
        status = detect_all(state, setup, inputs, &options, err);
    }
    return status;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_setup setup = {0};
    nx_inputs inputs = {0};
    detect_run state = {
        .args = args,
        .format = format_of(args),
        .annotate_dir = nx_cli_value(args, "annotate"),
    };
    nx_status status = run_detect(&state, &setup, &inputs, &err);
    nx_status closed = close_output(&state, status == NX_OK ? &err : NULL);
    status = status == NX_OK ? closed : status;
    nx_buffer_free(&state.text);
    tdestroy(state.annotated_names, free);
    nx_setup_close(&setup);
    nx_inputs_free(&inputs);
    if (state.reader_gone) {
        return NX_EXIT_READER_GONE;
    }
    if (status == NX_ERR_CANCELLED) {
        return nx_cli_fail(args, NX_EXIT_INTERRUPTED, &err);
    }
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    return state.failed == 0 ? NX_EXIT_OK : NX_EXIT_PARTIAL;
}

static const nx_cli_option options[] = {
    {"conf", 0, "0..1", "drop weaker detections (default 0.25)", NX_CONFIG_CONFIDENCE, NULL},
    {"iou", 0, "0..1", "overlap at which the weaker of two boxes goes (default 0.45)",
     NX_CONFIG_IOU, NULL},
    {"classes", 0, "LIST", "only these classes: names or numbers, comma-separated", NX_CLI_NO_KEY,
     NULL},
    {"max", 0, "N", "at most N detections for a picture (default 300)", NX_CONFIG_MAX_DETECTIONS,
     NULL},
    {"format", 'f', "FORMAT", "text, json, ndjson, csv, coco or yolo (default text)", NX_CLI_NO_KEY,
     "text|json|ndjson|csv|coco|yolo"},
    {"output", 'o', "FILE|DIR", "write there; for yolo a folder with a .txt for each picture",
     NX_CLI_NO_KEY, NULL},
    {"annotate", 'a', "DIR", "also write each picture with its boxes drawn", NX_CLI_NO_KEY, NULL},
    {"recursive", 'r', NULL, "look into subfolders too", NX_CLI_NO_KEY, NULL},
};

const nx_cli_command nx_cmd_detect = {
    .name = "detect",
    .operands = "PATH|DIR|GLOB|-...",
    .min_operands = 1,
    .max_operands = -1,
    .summary = "find objects in pictures",
    .description =
        "Reads JPEG, PNG and WebP. Results come in the order of the inputs. A picture that fails\n"
        "is reported on standard error and the others are served; the exit code is then 1.\n"
        "Boxes are pixels of the upright picture; in yolo they are fractions of its size. In coco\n"
        "the image_id is the file name without its ending, and a number when that is one; the\n"
        "category_id is the model's class number.\n",
    .examples = "  nexus detect street.jpg\n"
                "  nexus detect photos/ --annotate out/ --classes person,car\n"
                "  nexus detect 'cam/*.jpg' --format csv --output detections.csv\n"
                "  curl -s http://camera/snapshot.jpg | nexus detect - --format json\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

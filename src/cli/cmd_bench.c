/* nexus bench: how fast a model runs on this machine, and with which settings. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "cli/cli.h"
#include "cli/setup.h"
#include "media/codec.h"
#include "vision/letterbox.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_SETTINGS 16
#define MAX_SAMPLES  100000 /* for each thread */

/* What is measured: the bare model run, or the whole way from the file's bytes to boxes. */
typedef enum stage { STAGE_RUN, STAGE_WHOLE } stage;

static const char *const stage_names[] = {"run", "whole"};

typedef struct bench_case {
    nx_model *model;
    const nx_buffer *picture; /* empty: the model runs on gray */
    nx_postprocess_options postprocess;
    uint32_t width, height; /* model input */
    nx_letterbox letterbox;
    uint64_t max_pixels;
} bench_case;

typedef struct runner {
    pthread_t thread;
    const bench_case *bench;
    stage stage;
    int64_t until_ns;
    void *slot; /* the model's input */
    nx_detections found;
    float *samples_ms; /* MAX_SAMPLES */
    size_t sample_count;
    nx_status status;
    nx_error err;
} runner;

typedef struct row {
    stage stage;
    uint32_t threads;
    uint32_t concurrency;
    double rate;
    double p50, p95, p99;
} row;

static nx_status read_nothing(const nx_head_output *output, void *user, nx_error *err)
{
    (void)output;
    (void)user;
    (void)err;
    return NX_OK;
}

static nx_status read_boxes(const nx_head_output *output, void *user, nx_error *err)
{
    runner *self = user;
    return nx_postprocess(output, &self->bench->letterbox, &self->bench->postprocess, &self->found,
                          err);
}

static nx_status fill_from_picture(runner *self, nx_error *err)
{
    const bench_case *bench = self->bench;
    nx_image image;
    nx_decode_options options = {
        .max_pixels = bench->max_pixels,
        .target_width = bench->letterbox.width,
        .target_height = bench->letterbox.height,
    };
    nx_status status =
        nx_image_decode(bench->picture->data, bench->picture->size, &options, &image, NULL, err);
    if (status == NX_OK) {
        status = nx_letterbox_apply(&bench->letterbox, &image,
                                    nx_model_get_spec(bench->model)->pixels, self->slot, err);
        nx_image_free(&image);
    }
    return status;
}

static nx_status run_once(runner *self, nx_error *err)
{
    const bench_case *bench = self->bench;
    if (self->stage == STAGE_RUN) {
        return nx_model_run(bench->model, self->slot, bench->width, bench->height, read_nothing,
                            NULL, err);
    }
    nx_status status = fill_from_picture(self, err);
    if (status == NX_OK) {
        status = nx_model_run(bench->model, self->slot, bench->width, bench->height, read_boxes,
                              self, err);
    }
    return status;
}

static void *run_until(void *argument)
{
    runner *self = argument;
    for (;;) {
        int64_t start = nx_clock_now_ns();
        if (start >= self->until_ns || self->sample_count == MAX_SAMPLES) {
            return NULL;
        }
        self->status = run_once(self, &self->err);
        if (self->status != NX_OK) {
            return NULL;
        }
        self->samples_ms[self->sample_count++] = (float)nx_clock_ms(nx_clock_now_ns() - start);
    }
}

static void free_runners(runner *runners, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        free(runners[i].slot);
        free(runners[i].samples_ms);
        nx_detections_free(&runners[i].found);
    }
    free(runners);
}

static runner *new_runners(const bench_case *bench, stage what, uint32_t count)
{
    size_t bytes = nx_model_slot_bytes(bench->model, bench->width, bench->height);
    runner *runners = calloc(count, sizeof *runners);
    for (uint32_t i = 0; runners != NULL && i < count; i++) {
        runners[i].bench = bench;
        runners[i].stage = what;
        runners[i].slot = malloc(bytes);
        runners[i].samples_ms = malloc(MAX_SAMPLES * sizeof(float));
        if (runners[i].slot == NULL || runners[i].samples_ms == NULL) {
            free_runners(runners, count);
            return NULL;
        }
        nx_model_fill_gray(bench->model, runners[i].slot, 1, bench->width, bench->height);
    }
    return runners;
}

static int compare_floats(const void *a, const void *b)
{
    float x = *(const float *)a;
    float y = *(const float *)b;
    return (x > y) - (x < y);
}

static double percentile(const float *sorted, size_t count, double share)
{
    size_t index = (size_t)(share * (double)(count - 1) + 0.5);
    return (double)sorted[index];
}

static nx_status summarise(const runner *runners, uint32_t count, double seconds, row *out,
                           nx_error *err)
{
    size_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (runners[i].status != NX_OK) {
            *err = runners[i].err;
            return runners[i].status;
        }
        total += runners[i].sample_count;
    }
    float *all = malloc((total > 0 ? total : 1) * sizeof *all);
    if (all == NULL || total == 0) {
        free(all);
        return nx_error_set(err, NX_ERR_INTERNAL, "no run ended in time; use a longer --duration");
    }
    size_t used = 0;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(all + used, runners[i].samples_ms, runners[i].sample_count * sizeof *all);
        used += runners[i].sample_count;
    }
    qsort(all, total, sizeof *all, compare_floats);
    out->rate = (double)total / seconds;
    out->p50 = percentile(all, total, 0.50);
    out->p95 = percentile(all, total, 0.95);
    out->p99 = percentile(all, total, 0.99);
    free(all);
    return NX_OK;
}

/* Measures one setting for about `seconds`, after a run that does not count. */
static nx_status measure(const bench_case *bench, double seconds, row *out, nx_error *err)
{
    runner *runners = new_runners(bench, out->stage, out->concurrency);
    if (runners == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for %u runs at once",
                            out->concurrency);
    }
    nx_status status = run_once(&runners[0], err);
    int64_t start = nx_clock_now_ns();
    uint32_t started = 0;
    for (; status == NX_OK && started < out->concurrency; started++) {
        runners[started].until_ns = start + (int64_t)(seconds * (double)NX_NS_PER_SEC);
        if (pthread_create(&runners[started].thread, NULL, run_until, &runners[started]) != 0) {
            status =
                nx_error_set(err, NX_ERR_UNAVAILABLE, "cannot start %u threads", out->concurrency);
            break;
        }
    }
    for (uint32_t i = 0; i < started; i++) {
        pthread_join(runners[i].thread, NULL);
    }
    if (status == NX_OK) {
        double took = (double)(nx_clock_now_ns() - start) / (double)NX_NS_PER_SEC;
        status = summarise(runners, started, took, out, err);
    }
    free_runners(runners, out->concurrency);
    return status;
}

/* --- settings -----------------------------------------------------------------------------------
 */

typedef struct bench_run {
    const nx_cli_args *args;
    nx_runtime *runtime;
    char *model_path;
    nx_buffer picture;
    uint32_t threads[MAX_SETTINGS];
    size_t thread_count;
    uint32_t concurrency[MAX_SETTINGS];
    size_t concurrency_count;
    double duration;
    row rows[2 * MAX_SETTINGS * MAX_SETTINGS];
    size_t row_count;
    char model_name[128];
    uint32_t width, height;
} bench_run;

static nx_status parse_list(const char *option, const char *text, uint32_t *out, size_t *count,
                            nx_error *err)
{
    *count = 0;
    while (*text != '\0') {
        char *end = NULL;
        long value = strtol(text, &end, 10);
        if (end == text || value < 1 || value > 256 || (*end != ',' && *end != '\0') ||
            *count == MAX_SETTINGS) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "--%s is a list such as 1,2,4 of at most %d numbers from 1 to 256",
                                option, MAX_SETTINGS);
        }
        out[(*count)++] = (uint32_t)value;
        text = *end == ',' ? end + 1 : end;
    }
    return *count > 0 ? NX_OK : nx_error_set(err, NX_ERR_INVALID, "--%s is empty", option);
}

/* 1, half the cores, the cores and, for concurrency, twice the cores: without repeats. */
static void default_list(bool doubled, uint32_t *out, size_t *count)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t cores = online > 0 && online <= 128 ? (uint32_t)online : 1;
    const uint32_t wanted[] = {1, cores / 2, cores, doubled ? cores * 2 : cores};
    *count = 0;
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        if (wanted[i] >= 1 && (*count == 0 || wanted[i] > out[*count - 1])) {
            out[(*count)++] = wanted[i];
        }
    }
}

static nx_status parse_settings(bench_run *run, nx_error *err)
{
    const char *threads = nx_cli_value(run->args, "threads");
    const char *concurrency = nx_cli_value(run->args, "concurrency");
    default_list(false, run->threads, &run->thread_count);
    default_list(true, run->concurrency, &run->concurrency_count);
    nx_status status = NX_OK;
    if (threads != NULL) {
        status = parse_list("threads", threads, run->threads, &run->thread_count, err);
    }
    if (status == NX_OK && concurrency != NULL) {
        status =
            parse_list("concurrency", concurrency, run->concurrency, &run->concurrency_count, err);
    }
    if (status == NX_OK) {
        status = nx_cli_number(run->args, "duration", 0.1, 3600, 5, &run->duration, err);
    }
    return status;
}

static nx_status prepare_case(bench_run *run, nx_model *model, bench_case *out, nx_error *err)
{
    const nx_model_spec *spec = nx_model_get_spec(model);
    *out = (bench_case){
        .model = model,
        .picture = &run->picture,
        .postprocess = nx_setup_postprocess(run->args->config),
        .width = spec->input_width,
        .height = spec->input_height,
        .max_pixels = (uint64_t)nx_config_int(run->args->config, NX_CONFIG_MAX_IMAGE_PIXELS),
    };
    snprintf(run->model_name, sizeof run->model_name, "%s", spec->name);
    if (run->picture.size > 0) {
        nx_image_info info;
        nx_status status =
            nx_image_probe(run->picture.data, run->picture.size, out->max_pixels, &info, err);
        if (status != NX_OK) {
            return status;
        }
        nx_model_input_size(model, info.width, info.height, &out->width, &out->height);
        out->letterbox =
            nx_letterbox_fit(info.width, info.height, out->width, out->height, spec->centered);
    }
    run->width = out->width;
    run->height = out->height;
    return NX_OK;
}

/* Every concurrency with one number of threads inside a run; "run" and "whole" take turns, so that
 * both see the same weather on a noisy machine. */
static nx_status bench_threads(bench_run *run, uint32_t threads, nx_error *err)
{
    nx_model *model = NULL;
    bench_case bench;
    const nx_model_options options = {.intra_op_threads = threads};
    nx_status status = nx_setup_open_model(run->runtime, run->model_path, &options, &model, err);
    if (status == NX_OK) {
        status = prepare_case(run, model, &bench, err);
    }
    for (size_t i = 0; status == NX_OK && i < run->concurrency_count; i++) {
        for (int what = STAGE_RUN; what <= STAGE_WHOLE && status == NX_OK; what++) {
            if (what == STAGE_WHOLE && run->picture.size == 0) {
                continue;
            }
            row *out = &run->rows[run->row_count++];
            *out = (row){
                .stage = (stage)what,
                .threads = threads,
                .concurrency = run->concurrency[i],
            };
            if (isatty(STDERR_FILENO)) {
                fprintf(stderr, "\rmeasuring %s: %u thread(s), %u at once ...\033[K",
                        stage_names[what], threads, run->concurrency[i]);
            }
            status = measure(&bench, run->duration, out, err);
        }
    }
    if (isatty(STDERR_FILENO)) {
        fputs("\r\033[K", stderr);
    }
    nx_model_free(model);
    return status;
}

/* --- output -------------------------------------------------------------------------------------
 */

/* The fastest row that measures what a server does: the whole way when a picture was given. */
static const row *best_row(const bench_run *run)
{
    stage wanted = run->picture.size > 0 ? STAGE_WHOLE : STAGE_RUN;
    const row *best = NULL;
    for (size_t i = 0; i < run->row_count; i++) {
        if (run->rows[i].stage == wanted && (best == NULL || run->rows[i].rate > best->rate)) {
            best = &run->rows[i];
        }
    }
    return best;
}

/* The settings that the rows speak for: how many single-threaded runs at once give the most images,
 * and how many threads answer a picture that is alone soonest. */
static void append_settings(const bench_run *run, nx_buffer *out)
{
    stage wanted = run->picture.size > 0 ? STAGE_WHOLE : STAGE_RUN;
    const row *workers = NULL;
    const row *alone = NULL;
    for (size_t i = 0; i < run->row_count; i++) {
        const row *r = &run->rows[i];
        if (r->stage != wanted) {
            continue;
        }
        if (r->threads == 1 && (workers == NULL || r->rate > workers->rate)) {
            workers = r;
        }
        if (r->concurrency == 1 && (alone == NULL || r->p50 < alone->p50)) {
            alone = r;
        }
    }
    if (workers != NULL) {
        nx_buffer_printf(out, "\nMost images: INFERENCE_WORKERS=%u (%.2f images/s)\n",
                         workers->concurrency, workers->rate);
    }
    if (alone != NULL) {
        nx_buffer_printf(out, "Soonest when alone: INFERENCE_NUM_THREADS=%u (%.1f ms)\n",
                         alone->threads, alone->p50);
    }
}

static void append_text(const bench_run *run, nx_buffer *out)
{
    const row *best = best_row(run);
    nx_buffer_append_printable(out, run->model_name);
    nx_buffer_printf(out, " at %ux%u (width x height), ONNX Runtime %s, %.1f s a row\n\n",
                     run->width, run->height, nx_runtime_version(run->runtime), run->duration);
    nx_buffer_printf(out, "%-6s %8s %8s %10s %9s %9s %9s\n", "what", "threads", "at once",
                     "images/s", "p50 ms", "p95 ms", "p99 ms");
    for (size_t i = 0; i < run->row_count; i++) {
        const row *r = &run->rows[i];
        nx_buffer_printf(out, "%-6s %8u %8u %10.2f %9.1f %9.1f %9.1f%s\n", stage_names[r->stage],
                         r->threads, r->concurrency, r->rate, r->p50, r->p95, r->p99,
                         r == best ? "  <- best" : "");
    }
    append_settings(run, out);
    if (run->picture.size > 0) {
        nx_buffer_append_str(out, "run: the bare model; whole: from the file's bytes to boxes.\n");
    }
}

static void json_row(const row *r, nx_json *json)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "what", stage_names[r->stage]);
    nx_json_key_int(json, "threads", r->threads);
    nx_json_key_int(json, "concurrency", r->concurrency);
    nx_json_key_number(json, "images_per_second", r->rate, 3);
    nx_json_key_number(json, "p50_ms", r->p50, 3);
    nx_json_key_number(json, "p95_ms", r->p95, 3);
    nx_json_key_number(json, "p99_ms", r->p99, 3);
    nx_json_object_end(json);
}

static void append_json(const bench_run *run, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "model", run->model_name);
    nx_json_key_int(&json, "input_width", run->width);
    nx_json_key_int(&json, "input_height", run->height);
    nx_json_key_string(&json, "runtime_version", nx_runtime_version(run->runtime));
    nx_json_key(&json, "rows");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < run->row_count; i++) {
        json_row(&run->rows[i], &json);
    }
    nx_json_array_end(&json);
    nx_json_key(&json, "best");
    json_row(best_row(run), &json);
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\n');
}

static int print_rows(const bench_run *run)
{
    nx_buffer text = NX_BUFFER_INIT;
    const char *format = nx_cli_value(run->args, "format");
    if (format != NULL && strcmp(format, "json") == 0) {
        append_json(run, &text);
    } else {
        append_text(run, &text);
    }
    return nx_cli_print(run->args, &text);
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    bench_run *state = calloc(1, sizeof *state);
    if (state == NULL) {
        nx_error_set(&err, NX_ERR_NO_MEMORY, "no memory");
        return nx_cli_fail(args, NX_EXIT_UNAVAILABLE, &err);
    }
    state->args = args;
    nx_status status = parse_settings(state, &err);
    if (status == NX_OK) {
        status = nx_setup_model_path(args->config, &state->model_path, &err);
    }
    if (status == NX_OK && nx_cli_value(args, "image") != NULL) {
        status = nx_file_read(nx_cli_value(args, "image"), (size_t)1 << 30, &state->picture, &err);
    }
    if (status == NX_OK) {
        status = nx_setup_runtime(args->config, &state->runtime, &err);
    }
    for (size_t i = 0; status == NX_OK && i < state->thread_count; i++) {
        status = bench_threads(state, state->threads[i], &err);
    }
    int code =
        status == NX_OK ? print_rows(state) : nx_cli_fail(args, nx_cli_exit_code(status), &err);
    nx_runtime_free(state->runtime);
    nx_buffer_free(&state->picture);
    free(state->model_path);
    free(state);
    return code;
}

static const nx_cli_option options[] = {
    {"threads", 't', "LIST", "threads inside one run, such as 1,2 (default: 1 up to the cores)",
     NX_CLI_NO_KEY, NULL},
    {"concurrency", 'n', "LIST", "runs at once, such as 1,2,4 (default: 1 up to twice the cores)",
     NX_CLI_NO_KEY, NULL},
    {"duration", 'd', "SECONDS", "time for each row (default 5)", NX_CLI_NO_KEY, NULL},
    {"image", 'i', "FILE", "also measure the whole way from this picture's bytes to boxes",
     NX_CLI_NO_KEY, NULL},
    {"format", 'f', "FORMAT", "text or json (default text)", NX_CLI_NO_KEY, "text|json"},
};

const nx_cli_command nx_cmd_bench = {
    .name = "bench",
    .operands = "",
    .summary = "measure a model at several thread and concurrency settings",
    .description = "Prints images a second and the 50th, 95th and 99th percentile of the time of\n"
                   "one run for each setting, and the setting with the most images a second.\n",
    .examples = "  nexus bench\n"
                "  nexus bench --model yolov8s --threads 1,2 --concurrency 1,2 --duration 10\n"
                "  nexus bench --image street.jpg --format json\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

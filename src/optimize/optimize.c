#include "optimize/optimize.h"

#include "optimize/calibrate.h"
#include "optimize/detect.h"
#include "optimize/dynamic.h"
#include "optimize/judge.h"
#include "optimize/quantize.h"
#include "optimize/speed.h"
#include "optimize/to_half.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DEFAULT_LIMIT 128

/* A wide video picture at the usual size. */
#define WIDE_WIDTH  640
#define WIDE_HEIGHT 384

typedef struct work {
    nx_runtime *runtime;
    const nx_optimize_options *options;
    nx_optimize_report *report;
    nx_graph *graph;
    nx_split_head head;
    nx_model *original;
    nx_samples *calibration; /* NULL: none */
    nx_samples *judges;      /* NULL: none */
    nx_coco_dataset dataset;
} work;

static void begin_stage(const work *w, const char *what)
{
    if (w->options->stage != NULL) {
        w->options->stage(what, w->options->user);
    }
}

static void step(size_t done, size_t total, void *user)
{
    const work *w = user;
    if (w->options->step != NULL) {
        w->options->step(done, total, w->options->user);
    }
}

static void warn(const work *w, const char *message)
{
    if (w->options->warn != NULL) {
        w->options->warn(message, w->options->user);
    }
}

/* --- pictures -----------------------------------------------------------------------------------
 */

static bool same_place(const char *a, const char *b)
{
    char *left = realpath(a, NULL);
    char *right = realpath(b, NULL);
    bool same = left != NULL && right != NULL && strcmp(left, right) == 0;
    free(left);
    free(right);
    return same;
}

/* The pictures of the annotations, or of the folder. */
static nx_status open_judges(work *w, size_t limit, nx_error *err)
{
    const nx_optimize_options *o = w->options;
    if (o->annotations == NULL) {
        return nx_samples_open(o->images, 2 * limit, &w->judges, err);
    }
    nx_status status = nx_coco_dataset_read(o->annotations, &w->dataset, err);
    if (status != NX_OK) {
        return status;
    }
    if (w->dataset.image_count == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "%s names no pictures", o->annotations);
    }
    const char **names = calloc(w->dataset.image_count, sizeof *names);
    if (names == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the pictures");
    }
    for (size_t i = 0; i < w->dataset.image_count; i++) {
        names[i] = w->dataset.images[i].file_name;
    }
    status = nx_samples_of_files(o->images, names, w->dataset.image_count, &w->judges, err);
    free(names);
    return status;
}

static nx_status open_samples(work *w, nx_error *err)
{
    const nx_optimize_options *o = w->options;
    size_t limit = o->limit > 0 ? o->limit : DEFAULT_LIMIT;
    bool int8 = o->precision == NX_PRECISION_INT8;
    bool apart =
        int8 && o->calibrate != NULL && o->images != NULL && !same_place(o->calibrate, o->images);
    nx_status status = NX_OK;
    if (int8 && o->calibrate == NULL && o->images == NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "INT8 needs pictures to calibrate with: name a folder or a video");
    }
    if (o->images != NULL) {
        status = open_judges(w, limit, err);
    }
    if (status == NX_OK && int8 && (apart || o->images == NULL)) {
        status = nx_samples_open(o->calibrate, apart ? limit : 2 * limit, &w->calibration, err);
    }
    if (status == NX_OK && int8 && !apart) { /* one set for both */
        nx_samples *all = w->calibration != NULL ? w->calibration : w->judges;
        w->calibration = all;
        w->judges = NULL;
        nx_samples_thin(all, 2 * limit);
        status = nx_samples_split(all, &w->judges, err);
        if (status == NX_OK && nx_samples_count(w->judges) == 0) {
            status = nx_error_set(err, NX_ERR_INVALID,
                                  "one picture is not enough: half of them calibrate, the others "
                                  "judge");
        }
    }
    if (status == NX_OK && w->judges != NULL) {
        nx_samples_thin(w->judges, limit);
    }
    return status;
}

/* --- the graph ----------------------------------------------------------------------------------
 */

static nx_status read_graph(work *w, nx_error *err)
{
    nx_error why = {0};
    nx_status status = nx_graph_load(w->options->model, &w->graph, err);
    if (status == NX_OK) {
        status = nx_head_cut(w->graph, &w->head, err);
    }
    if (status != NX_OK) {
        return status;
    }
    status = nx_make_dynamic(w->graph, &w->head, &why);
    w->report->dynamic = status == NX_OK;
    if (status == NX_ERR_UNSUPPORTED) {
        warn(w, why.message);
        status = NX_OK;
    } else if (status != NX_OK && err != NULL) {
        *err = why;
    }
    return status;
}

static uint32_t input_size(const nx_model_spec *spec)
{
    return spec->input_width > spec->input_height ? spec->input_width : spec->input_height;
}

/* One picture through the float32 model, at its own aspect. */
static nx_status calibrate_one(const work *w, nx_calibration *calibration, const nx_sample *sample,
                               nx_error *err)
{
    const nx_model_spec *spec = nx_model_get_spec(w->original);
    uint32_t width = 0;
    uint32_t height = 0;
    nx_letterbox_dynamic_size(sample->source_width, sample->source_height, input_size(spec),
                              w->head.strides[w->head.level_count - 1], &width, &height);
    nx_letterbox letterbox = nx_letterbox_fit(sample->source_width, sample->source_height, width,
                                              height, spec->centered);
    float *planes = calloc((size_t)3 * width * height, sizeof *planes);
    if (planes == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for a picture");
    }
    nx_status status =
        nx_letterbox_apply(&letterbox, &sample->image, NX_PIXELS_RGB_UNIT, planes, err);
    if (status == NX_OK) {
        status = nx_calibration_add(calibration, planes, width, height, err);
    }
    free(planes);
    return status;
}

static void warn_of_picture(const work *w, const char *name, const nx_error *why)
{
    char message[800];
    snprintf(message, sizeof message, "%.200s is left out: %s", name, why->message);
    warn(w, message);
}

static nx_status calibrate(work *w, nx_calibration *calibration, nx_error *err)
{
    size_t total = nx_samples_count(w->calibration);
    uint32_t size = input_size(nx_model_get_spec(w->original));
    begin_stage(w, "Calibrating");
    for (size_t i = 0; i < total; i++) {
        nx_sample sample;
        nx_error why = {0};
        if (nx_samples_read(w->calibration, i, size, &sample, &why) != NX_OK) {
            warn_of_picture(w, nx_samples_name(w->calibration, i), &why);
        } else {
            nx_status status = calibrate_one(w, calibration, &sample, err);
            nx_image_free(&sample.image);
            if (status != NX_OK) {
                return status;
            }
            w->report->calibrated++;
        }
        step(i + 1, total, w);
    }
    return w->report->calibrated > 0
               ? NX_OK
               : nx_error_set(err, NX_ERR_CORRUPT, "no picture could be read to calibrate with");
}

static nx_status quantize(work *w, nx_error *err)
{
    nx_quant_plan plan = {0};
    nx_quant_ranges ranges = {0};
    nx_calibration *calibration = NULL;
    nx_graph *quantized = NULL;
    nx_status status = nx_quant_plan_make(w->graph, &plan, err);
    if (status == NX_OK) {
        status = nx_calibration_new(w->runtime, &plan, w->options->threads, &calibration, err);
    }
    if (status == NX_OK) {
        status = calibrate(w, calibration, err);
    }
    if (status == NX_OK) {
        begin_stage(w, "Quantising");
        status =
            nx_quant_ranges_choose(&plan, nx_calibration_histograms(calibration), &ranges, err);
    }
    if (status == NX_OK) {
        status = nx_quantize_graph(&plan, &w->head, &ranges, w->options->weights, &quantized, err);
    }
    nx_calibration_free(calibration);
    nx_quant_ranges_free(&ranges);
    nx_quant_plan_free(&plan);
    if (status == NX_OK) {
        nx_graph_free(w->graph);
        w->graph = quantized;
    }
    return status;
}

static void describe(work *w)
{
    static const char *const forms[] = {
        [NX_WEIGHTS_FULL] = "8-bit weights",
        [NX_WEIGHTS_PAIRS] = "8-bit weights in pairs that cannot saturate",
        [NX_WEIGHTS_7BIT] = "7-bit weights",
    };
    const char *text = w->report->dynamic ? "head cut, sizes free" : "head cut";
    if (w->options->precision == NX_PRECISION_INT8) {
        text = nx_graph_text(w->graph, "%s, int8 (%s, calibrated on %zu pictures)", text,
                             forms[w->options->weights], w->report->calibrated);
    } else if (w->options->precision == NX_PRECISION_FLOAT16) {
        text = nx_graph_text(w->graph, "%s, float16", text);
    }
    nx_graph_set_metadata(w->graph, "nexus_optimized", text);
}

/* --- the proof ----------------------------------------------------------------------------------
 */

static void warn_of_failures(const work *w, const nx_found *found)
{
    char message[800];
    if (found->failed_count > 0) {
        snprintf(message, sizeof message, "%zu of %zu pictures cannot be read; the first: %s",
                 found->failed_count, nx_samples_count(w->judges), found->failure.message);
        warn(w, message);
    }
}

static nx_status make_judge(const work *w, const nx_found *found, nx_judge **judge, nx_error *err)
{
    const nx_model_spec *spec = nx_model_get_spec(w->original);
    if (found->failed_count == nx_samples_count(w->judges)) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "none of the %zu pictures that judge can be read; the first: %.300s",
                            found->failed_count, found->failure.message);
    }
    return w->options->annotations != NULL
               ? nx_judge_by_annotations(&w->dataset, spec, w->judges, found, judge, err)
               : nx_judge_by_original(spec, w->judges, found, judge, err);
}

/* Detects with a model and measures what it found; reference is made from it when there is none. */
static nx_status judge_model(work *w, nx_model *model, bool own_size, nx_judge **reference,
                             nx_coco_ap *out, nx_error *err)
{
    const nx_model_spec *spec = nx_model_get_spec(w->original);
    bool fixed = !own_size && !spec->dynamic_size;
    nx_found found = {0};
    nx_status status =
        nx_detect_all(model, w->judges, fixed ? spec->input_width : 0,
                      fixed ? spec->input_height : 0, w->options->threads, step, w, &found, err);
    if (status != NX_OK) {
        return status;
    }
    if (*reference == NULL) {
        warn_of_failures(w, &found);
        w->report->judged = nx_samples_count(w->judges) - found.failed_count;
        status = make_judge(w, &found, reference, err);
    }
    if (status == NX_OK) {
        status = nx_judge_evaluate(*reference, &found, out, err);
    }
    nx_found_free(&found);
    return status;
}

static nx_status judge(work *w, nx_model *optimized, nx_error *err)
{
    nx_optimize_report *report = w->report;
    nx_judge *reference = NULL;
    if (w->judges == NULL) {
        return NX_OK;
    }
    report->by_annotations = w->options->annotations != NULL;
    begin_stage(w, "Judging the original");
    nx_status status = judge_model(w, w->original, false, &reference, &report->before, err);
    if (status == NX_OK) {
        begin_stage(w, "Judging the optimised model");
        status = judge_model(w, optimized, false, &reference, &report->after, err);
    }
    bool more =
        nx_model_get_spec(optimized)->dynamic_size && !nx_model_get_spec(w->original)->dynamic_size;
    if (status == NX_OK && more) {
        begin_stage(w, "Judging it at each picture's own aspect");
        status = judge_model(w, optimized, true, &reference, &report->after_own, err);
        report->own_aspect = status == NX_OK;
    }
    nx_judge_free(reference);
    return status;
}

static nx_status measure(work *w, nx_model *optimized, nx_error *err)
{
    const nx_model_spec *spec = nx_model_get_spec(w->original);
    uint32_t width = spec->input_width;
    uint32_t height = spec->dynamic_size ? width : spec->input_height;
    nx_speed cases[NX_OPTIMIZE_SPEEDS] = {
        {.model = w->original, .width = width, .height = height},
        {.model = optimized, .width = width, .height = height},
        {.model = optimized, .width = WIDE_WIDTH, .height = WIDE_HEIGHT},
    };
    size_t count = nx_model_get_spec(optimized)->dynamic_size ? 3 : 2;
    if (w->options->rounds == 0) {
        return NX_OK;
    }
    begin_stage(w, "Measuring speed");
    nx_status status = nx_speed_measure(cases, count, w->options->rounds, err);
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        w->report->speeds[i] = (nx_optimize_speed){
            .optimized = i > 0,
            .width = cases[i].width,
            .height = cases[i].height,
            .run_ms = cases[i].run_ms,
            .per_second = cases[i].per_second,
        };
        w->report->speed_count = i + 1;
    }
    return status;
}

static uint64_t file_bytes(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static nx_status prove(work *w, nx_error *err)
{
    const nx_model_options options = {.input_size = input_size(nx_model_get_spec(w->original))};
    nx_model *optimized = NULL;
    w->report->bytes_before = file_bytes(w->options->model);
    w->report->bytes_after = file_bytes(w->options->output);
    nx_status status = nx_model_open(w->runtime, w->options->output, &options, &optimized, err);
    if (status != NX_OK) {
        nx_error_prefix(err, "the optimised model does not work");
        return status;
    }
    status = judge(w, optimized, err);
    if (status == NX_OK) {
        status = measure(w, optimized, err);
    }
    nx_model_free(optimized);
    return status;
}

static nx_status make_and_write(work *w, nx_error *err)
{
    nx_status status = NX_OK;
    if (w->options->precision == NX_PRECISION_INT8) {
        status = quantize(w, err);
    } else if (w->options->precision == NX_PRECISION_FLOAT16) {
        begin_stage(w, "Converting to float16");
        status = nx_graph_to_half(w->graph, err);
    }
    if (status == NX_OK) {
        describe(w);
        status = nx_graph_save(w->graph, w->options->output, err);
    }
    return status;
}

nx_status nx_optimize(nx_runtime *runtime, const nx_optimize_options *options,
                      nx_optimize_report *out, nx_error *err)
{
    *out = (nx_optimize_report){0};
    work w = {.runtime = runtime, .options = options, .report = out};
    begin_stage(&w, "Cutting off the head");
    nx_status status = read_graph(&w, err);
    if (status == NX_OK) {
        status = open_samples(&w, err);
    }
    if (status == NX_OK) {
        status = nx_model_open(runtime, options->model, &(nx_model_options){0}, &w.original, err);
    }
    if (status == NX_OK) {
        status = make_and_write(&w, err);
    }
    if (status == NX_OK) {
        status = prove(&w, err);
    }
    nx_graph_free(w.graph);
    nx_model_free(w.original);
    nx_samples_free(w.calibration);
    nx_samples_free(w.judges);
    nx_coco_dataset_free(&w.dataset);
    return status;
}

double nx_optimize_limit(const nx_optimize_report *report)
{
    return report->by_annotations ? NX_OPTIMIZE_MAX_LOSS : NX_OPTIMIZE_MAX_DISAGREEMENT;
}

bool nx_optimize_acceptable(const nx_optimize_report *report)
{
    return report->judged == 0 || report->before.ap - report->after.ap <= nx_optimize_limit(report);
}

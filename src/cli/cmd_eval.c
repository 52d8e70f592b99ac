/* nexus eval: how well a model finds what COCO annotations say is there; with --mot, how well its
 * tracks follow the truth (eval_mot.c). */
#include "base/clock.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "cli/cli.h"
#include "cli/eval_mot.h"
#include "cli/pictures.h"
#include "cli/progress.h"
#include "cli/setup.h"
#include "eval/class_map.h"
#include "eval/coco_ap.h"
#include "eval/coco_json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The evaluation takes the best 100 of each class from these. */
#define MAX_DETECTIONS_PER_IMAGE 300

/* The class that everybody compares gets its line without being asked for. */
#define HEADLINE_CLASS "person"

typedef struct eval_run {
    const nx_cli_args *args;
    nx_coco_dataset dataset;
    nx_coco_result *results;
    size_t result_count;
    size_t result_capacity;

    /* only when a model makes the results */
    char **paths; /* of the dataset's images, in their order */
    bool *failed; /* images that could not be evaluated */
    size_t failed_count;
    bool allow_missing;
    nx_class_map classes;
    char *model_name;
    nx_buffer saved; /* the results as COCO JSON, when they are to be kept */
    nx_json saved_json;
    nx_progress progress;
    double seconds;

    nx_coco_ap overall;
    nx_coco_ap *per_category;
} eval_run;

static void free_run(eval_run *run)
{
    for (size_t i = 0; run->paths != NULL && i < run->dataset.image_count; i++) {
        free(run->paths[i]);
    }
    free(run->paths);
    free(run->failed);
    free(run->results);
    free(run->model_name);
    free(run->per_category);
    nx_class_map_free(&run->classes);
    nx_coco_dataset_free(&run->dataset);
    nx_buffer_free(&run->saved);
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the evaluation");
}

/* --- a model's results --------------------------------------------------------------------------
 */

/* Names all pictures, and finds a missing one now rather than after minutes of work. */
static nx_status list_pictures(eval_run *run, const char *folder, nx_error *err)
{
    run->paths = calloc(run->dataset.image_count + 1, sizeof *run->paths);
    run->failed = calloc(run->dataset.image_count + 1, sizeof *run->failed);
    if (run->paths == NULL || run->failed == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < run->dataset.image_count; i++) {
        if (asprintf(&run->paths[i], "%s/%s", folder, run->dataset.images[i].file_name) < 0) {
            run->paths[i] = NULL;
            return no_memory(err);
        }
        if (!run->allow_missing && access(run->paths[i], R_OK) != 0) {
            return nx_error_set_errno(err, NX_ERR_NOT_FOUND, errno,
                                      "cannot read %s, which the annotations name "
                                      "(--allow-missing goes on without it)",
                                      run->paths[i]);
        }
    }
    return NX_OK;
}

static nx_status add_results(eval_run *run, size_t image, const nx_result *result, nx_error *err)
{
    size_t needed = run->result_count + result->count;
    if (needed > run->result_capacity) {
        size_t capacity = needed * 2;
        nx_coco_result *grown = reallocarray(run->results, capacity, sizeof *grown);
        if (grown == NULL) {
            return no_memory(err);
        }
        run->results = grown;
        run->result_capacity = capacity;
    }
    for (size_t i = 0; i < result->count; i++) {
        const nx_detection *d = &result->detections[i];
        bool known = d->class_id >= 0 && (size_t)d->class_id < run->classes.class_count;
        int32_t category = known ? run->classes.indices[d->class_id] : -1;
        if (category < 0) {
            continue;
        }
        run->results[run->result_count++] = (nx_coco_result){
            .image = (int32_t)image,
            .category = category,
            .box =
                {
                    .x = (double)d->x1,
                    .y = (double)d->y1,
                    .width = (double)d->x2 - (double)d->x1,
                    .height = (double)d->y2 - (double)d->y1,
                },
            .score = (double)d->confidence,
        };
    }
    return NX_OK;
}

/* Boxes of a picture of another size than the annotated one would be measured in wrong pixels. */
static nx_status check_size(const nx_coco_image *image, const nx_result *result, nx_error *err)
{
    bool known = image->width > 0 && image->height > 0;
    if (known && (image->width != result->image_width || image->height != result->image_height)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the picture is %ux%u, but its annotations are for %ux%u",
                            result->image_width, result->image_height, image->width, image->height);
    }
    return NX_OK;
}

static nx_status picture_failed(eval_run *run, const nx_picture_outcome *outcome,
                                const nx_error *why, nx_error *err)
{
    if (!run->allow_missing) {
        return nx_error_set(err, why->status, "%s: %.350s (--allow-missing goes on without it)",
                            outcome->path, why->message);
    }
    nx_progress_end(&run->progress);
    fprintf(stderr, "nexus eval: %s: %s\n", outcome->path, why->message);
    run->failed[outcome->index] = true;
    run->failed_count++;
    return NX_OK;
}

static nx_status visit(const nx_picture_outcome *outcome, void *user, nx_error *err)
{
    eval_run *run = user;
    const nx_coco_image *image = &run->dataset.images[outcome->index];
    nx_status status = outcome->status;
    nx_error why = *outcome->err;
    if (status == NX_OK) {
        status = check_size(image, outcome->result, &why);
    }
    if (status != NX_OK) {
        status = picture_failed(run, outcome, &why, err);
    } else {
        status = add_results(run, outcome->index, outcome->result, err);
        if (nx_cli_value(run->args, "save-detections") != NULL) {
            nx_result_coco(outcome->result, image->id, NULL, run->classes.ids, &run->saved_json);
        }
    }
    nx_progress_update(&run->progress, outcome->index + 1);
    return status;
}

static void say_how_classes_were_mapped(const eval_run *run)
{
    if (run->classes.by_order) {
        fprintf(stderr,
                "nexus eval: the model has no class names; its %zu classes are taken in the order "
                "of the category ids\n",
                run->classes.class_count);
    }
    if (run->classes.missed_categories > 0) {
        fprintf(stderr,
                "nexus eval: the model does not know %zu of the %zu categories; their boxes count "
                "as not found\n",
                run->classes.missed_categories, run->dataset.category_count);
    }
}

static nx_status detect_all(eval_run *run, nx_setup *setup, nx_error *err)
{
    double confidence = 0;
    double iou = 0;
    nx_status status = nx_cli_number(run->args, "conf", 0, 1, 0.001, &confidence, err);
    if (status == NX_OK) {
        status = nx_cli_number(run->args, "iou", 0, 1, 0.7, &iou, err);
    }
    if (status != NX_OK) {
        return status;
    }
    nx_image_job_options options = {
        .postprocess = nx_postprocess_defaults(),
        .max_pixels = (uint64_t)nx_config_int(run->args->config, NX_CONFIG_MAX_IMAGE_PIXELS),
    };
    options.postprocess.confidence = (float)confidence;
    options.postprocess.iou = (float)iou;
    options.postprocess.max_detections = MAX_DETECTIONS_PER_IMAGE;
    options.postprocess.multi_label = true;
    run->saved_json = nx_json_begin(&run->saved);
    nx_json_array_begin(&run->saved_json);
    run->progress = nx_progress_begin(run->dataset.image_count);
    int64_t start = nx_clock_now_ns();
    status = nx_pictures_run(setup->engine, setup->model, run->paths, run->dataset.image_count,
                             &options, NULL, visit, run, err);
    run->seconds = (double)(nx_clock_now_ns() - start) / (double)NX_NS_PER_SEC;
    nx_progress_end(&run->progress);
    nx_json_array_end(&run->saved_json);
    return status;
}

static nx_status save_results(eval_run *run, nx_error *err)
{
    const char *path = nx_cli_value(run->args, "save-detections");
    if (path == NULL) {
        return NX_OK;
    }
    return run->saved.failed ? no_memory(err)
                             : nx_file_write(path, run->saved.data, run->saved.size, err);
}

static nx_status results_by_model(eval_run *run, nx_error *err)
{
    nx_setup setup = {0};
    nx_status status = list_pictures(run, nx_cli_value(run->args, "images"), err);
    if (status == NX_OK) {
        status = nx_setup_open(run->args->config, NX_SETUP_COMMAND, &setup, err);
    }
    if (status == NX_OK) {
        const nx_model_spec *spec = nx_model_get_spec(setup.model);
        run->model_name = strdup(spec->name);
        status = run->model_name == NULL ? no_memory(err)
                                         : nx_class_map_make(spec->names, spec->names_from_file,
                                                             &run->dataset, &run->classes, err);
    }
    if (status == NX_OK) {
        status = nx_setup_start_engine(run->args->config, NULL, &setup, err);
    }
    if (status == NX_OK) {
        say_how_classes_were_mapped(run);
        status = detect_all(run, &setup, err);
    }
    if (status == NX_OK) {
        status = save_results(run, err);
    }
    nx_setup_close(&setup);
    return status;
}

/* --- the outcome --------------------------------------------------------------------------------
 */

/* Takes the truths of pictures that failed out: nobody looked for them. */
static void drop_failed_truths(eval_run *run)
{
    nx_coco_dataset *dataset = &run->dataset;
    size_t kept = 0;
    for (size_t i = 0; run->failed_count > 0 && i < dataset->truth_count; i++) {
        if (!run->failed[dataset->truths[i].image]) {
            dataset->truths[kept++] = dataset->truths[i];
        }
    }
    dataset->truth_count = run->failed_count > 0 ? kept : dataset->truth_count;
}

static nx_status evaluate(eval_run *run, nx_error *err)
{
    const nx_coco_dataset *dataset = &run->dataset;
    run->per_category = calloc(dataset->category_count + 1, sizeof *run->per_category);
    if (run->per_category == NULL) {
        return no_memory(err);
    }
    drop_failed_truths(run);
    return nx_coco_evaluate(dataset->truths, dataset->truth_count, run->results, run->result_count,
                            (int32_t)dataset->image_count, (int32_t)dataset->category_count,
                            &run->overall, run->per_category, err);
}

static bool is_listed(const eval_run *run, size_t category)
{
    return nx_cli_value(run->args, "per-class") != NULL
               ? run->per_category[category].truths > 0 || run->per_category[category].results > 0
               : run->per_category[category].truths > 0 &&
                     strcmp(run->dataset.categories[category].name, HEADLINE_CLASS) == 0;
}

static void print_value(double value)
{
    if (value < 0) {
        printf("  %7s", "-");
    } else {
        printf("  %7.4f", value);
    }
}

static void print_row(const char *name, int width, const nx_coco_ap *ap)
{
    printf("%-*s", width, name);
    print_value(ap->ap);
    print_value(ap->ap50);
    print_value(ap->ap75);
    printf("  %7zu  %10zu\n", ap->truths, ap->results);
}

static void print_text(const eval_run *run)
{
    const nx_coco_category *categories = run->dataset.categories;
    int width = (int)strlen("all");
    for (size_t i = 0; i < run->dataset.category_count; i++) {
        int length = (int)strlen(categories[i].name);
        width = is_listed(run, i) && length > width ? length : width;
    }
    printf("%-*s  %7s  %7s  %7s  %7s  %10s\n", width, "", "AP50-95", "AP50", "AP75", "boxes",
           "detections");
    print_row("all", width, &run->overall);
    for (size_t i = 0; i < run->dataset.category_count; i++) {
        if (is_listed(run, i)) {
            print_row(categories[i].name, width, &run->per_category[i]);
        }
    }
    size_t images = run->dataset.image_count - run->failed_count;
    if (run->model_name != NULL) {
        printf("\n%s: %zu images in %.1f s (%.1f images/s)\n", run->model_name, images,
               run->seconds, (double)images / run->seconds);
    } else {
        printf("\n%zu images\n", images);
    }
}

static void json_number_or_null(nx_json *json, const char *key, double value)
{
    nx_json_key(json, key);
    if (value < 0) {
        nx_json_null(json);
    } else {
        nx_json_number(json, value, 6);
    }
}

static void json_ap(nx_json *json, const nx_coco_ap *ap)
{
    json_number_or_null(json, "ap", ap->ap);
    json_number_or_null(json, "ap50", ap->ap50);
    json_number_or_null(json, "ap75", ap->ap75);
    nx_json_key_int(json, "boxes", (int64_t)ap->truths);
    nx_json_key_int(json, "detections", (int64_t)ap->results);
}

static void json_classes(const eval_run *run, nx_json *json)
{
    nx_json_key(json, "classes");
    nx_json_array_begin(json);
    for (size_t i = 0; i < run->dataset.category_count; i++) {
        if (is_listed(run, i)) {
            nx_json_object_begin(json);
            nx_json_key_int(json, "category_id", run->dataset.categories[i].id);
            nx_json_key_string(json, "name", run->dataset.categories[i].name);
            json_ap(json, &run->per_category[i]);
            nx_json_object_end(json);
        }
    }
    nx_json_array_end(json);
}

static void print_json(const eval_run *run)
{
    size_t images = run->dataset.image_count - run->failed_count;
    nx_buffer text = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&text);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "model", run->model_name);
    nx_json_key_int(&json, "images", (int64_t)images);
    nx_json_key_int(&json, "images_failed", (int64_t)run->failed_count);
    json_ap(&json, &run->overall);
    if (run->model_name != NULL) {
        nx_json_key_number(&json, "seconds", run->seconds, 3);
        nx_json_key_number(&json, "images_per_second", (double)images / run->seconds, 3);
    }
    json_classes(run, &json);
    nx_json_object_end(&json);
    puts(nx_buffer_cstr(&text));
    nx_buffer_free(&text);
}

static nx_status print(const eval_run *run, nx_error *err)
{
    const char *format = nx_cli_value(run->args, "format");
    if (format != NULL && strcmp(format, "json") == 0) {
        print_json(run);
    } else {
        print_text(run);
    }
    return fflush(stdout) == 0
               ? NX_OK
               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write the output");
}

/* --- the command --------------------------------------------------------------------------------
 */

static nx_status check_options(const nx_cli_args *args, nx_error *err)
{
    static const char *const of_mot[] = {"start",           "video",      "tracks",
                                         "frames",          "classes",    "motion-gate",
                                         "adaptive-stride", "save-tracks"};
    for (size_t i = 0; i < sizeof of_mot / sizeof of_mot[0]; i++) {
        if (nx_cli_value(args, of_mot[i]) != NULL) {
            return nx_error_set(err, NX_ERR_INVALID, "--%s goes with --mot", of_mot[i]);
        }
    }
    bool images = nx_cli_value(args, "images") != NULL;
    bool detections = nx_cli_value(args, "detections") != NULL;
    if (nx_cli_value(args, "annotations") == NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "--annotations is missing: the COCO instances file to measure against");
    }
    if (images == detections) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "give either --images (a folder for the model to look at) or "
                            "--detections (a COCO results file)");
    }
    static const char *const of_images[] = {"conf", "iou", "save-detections", "allow-missing"};
    for (size_t i = 0; detections && i < sizeof of_images / sizeof of_images[0]; i++) {
        if (nx_cli_value(args, of_images[i]) != NULL) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "--%s goes with --images; --detections runs no model",
                                of_images[i]);
        }
    }
    return NX_OK;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    const char *detections = nx_cli_value(args, "detections");
    if (nx_cli_value(args, "mot") != NULL) {
        return nx_eval_mot(args);
    }
    eval_run state = {
        .args = args,
        .allow_missing = nx_cli_value(args, "allow-missing") != NULL,
    };
    nx_status status = check_options(args, &err);
    if (status == NX_OK) {
        status = nx_coco_dataset_read(nx_cli_value(args, "annotations"), &state.dataset, &err);
    }
    if (status == NX_OK) {
        status = detections != NULL
                     ? nx_coco_results_read(detections, &state.dataset, &state.results,
                                            &state.result_count, &err)
                     : results_by_model(&state, &err);
    }
    if (status == NX_OK) {
        status = evaluate(&state, &err);
    }
    if (status == NX_OK) {
        status = print(&state, &err);
    }
    size_t failed = state.failed_count;
    free_run(&state);
    if (status != NX_OK) {
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    if (failed > 0) {
        fprintf(stderr, "nexus eval: %zu pictures are left out of the evaluation\n", failed);
    }
    return failed == 0 ? NX_EXIT_OK : NX_EXIT_PARTIAL;
}

static const nx_cli_option options[] = {
    {"annotations", 'a', "FILE", "COCO instances file: images, categories and true boxes",
     NX_CLI_NO_KEY, NULL},
    {"images", 'i', "DIR", "folder with the pictures that it names; the model looks at them",
     NX_CLI_NO_KEY, NULL},
    {"detections", 'd', "FILE", "COCO results file to evaluate instead of running a model",
     NX_CLI_NO_KEY, NULL},
    {"mot", 't', "FILE", "MOT file with the true tracks of a video, to measure tracks instead",
     NX_CLI_NO_KEY, NULL},
    {"video", 0, "FILE", "that video; the model looks at it and objects are tracked", NX_CLI_NO_KEY,
     NULL},
    {"tracks", 0, "FILE", "MOT file of tracks to evaluate instead of running a model",
     NX_CLI_NO_KEY, NULL},
    {"frames", 0, "N", "measure frames 1 to N (default: to the last with a true box)",
     NX_CLI_NO_KEY, NULL},
    {"classes", 0, "LIST", "what is tracked: names or numbers, comma-separated (default person)",
     NX_CLI_NO_KEY, NULL},
    {"start", 0, "0..1", "a detection begins a track from this score on (default 0.7)",
     NX_CLI_NO_KEY, NULL},
    {"motion-gate", 0, NULL, "do not look at frames in which nothing moves", NX_CLI_NO_KEY, NULL},
    {"adaptive-stride", 0, NULL, "look only as often as predicted tracks need it", NX_CLI_NO_KEY,
     NULL},
    {"save-tracks", 0, "FILE", "also write the tracks as a MOT file", NX_CLI_NO_KEY, NULL},
    {"conf", 0, "0..1", "drop weaker detections (default 0.001; with --mot 0.1)", NX_CLI_NO_KEY,
     NULL},
    {"iou", 0, "0..1", "overlap at which the weaker of two boxes goes (default 0.7)", NX_CLI_NO_KEY,
     NULL},
    {"format", 'f', "FORMAT", "text or json (default text)", NX_CLI_NO_KEY, "text|json"},
    {"per-class", 'p', NULL, "a line for each class", NX_CLI_NO_KEY, NULL},
    {"save-detections", 's', "FILE", "also write the detections as a COCO results file",
     NX_CLI_NO_KEY, NULL},
    {"allow-missing", 0, NULL, "leave out pictures that cannot be read, and exit with 1",
     NX_CLI_NO_KEY, NULL},
};

const nx_cli_command nx_cmd_eval = {
    .name = "eval",
    .operands = "",
    .summary = "measure a model's accuracy against COCO annotations, or its tracks",
    .description =
        "Prints the average precision of boxes as COCO defines it: the mean over IoU 0.50 to 0.95\n"
        "(AP50-95), and at 0.50 (AP50) and 0.75 (AP75). Crowd regions are ignored, and the best "
        "100\n"
        "detections of each picture and class count. Classes are matched by name; a model without\n"
        "names is taken in the order of the category ids when the counts agree.\n"
        "\n"
        "With --mot the frames of a video go through the model and the tracker, and the tracks "
        "are\n"
        "measured as TrackEval does: CLEAR MOT (MOTA, MOTP, identity switches), IDF1 and HOTA.\n"
        "Times are taken from the file's mean frame rate.\n",
    .examples =
        "  nexus eval --annotations instances_val2017.json --images val2017/\n"
        "  nexus eval -a instances.json -i images/ --model yolox_nano.onnx --iou 0.65\n"
        "  nexus eval -a instances.json --detections results.json --per-class\n"
        "  nexus eval --mot gt.txt --video street.mp4 --model yolov8s --save-tracks t.txt\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

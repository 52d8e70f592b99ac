#include "optimize/judge.h"

#include "eval/class_map.h"

#include <stdlib.h>
#include <string.h>

struct nx_judge {
    nx_coco_truth *truths; /* image: which sample */
    size_t truth_count;
    int32_t *categories; /* by class of the model; -1: none */
    size_t class_count;
    int32_t category_count;
    int32_t image_count;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the evaluation");
}

/* An empty one with room for truths and classes. */
static nx_judge *make(size_t truths, size_t classes, const nx_samples *samples)
{
    nx_judge *judge = calloc(1, sizeof *judge);
    if (judge != NULL) {
        judge->truths = calloc(truths + 1, sizeof *judge->truths);
        judge->categories = calloc(classes + 1, sizeof *judge->categories);
        judge->class_count = classes;
        judge->image_count = (int32_t)nx_samples_count(samples);
    }
    if (judge != NULL && (judge->truths == NULL || judge->categories == NULL)) {
        nx_judge_free(judge);
        judge = NULL;
    }
    return judge;
}

/* The sample with that file name; -1 for none. */
static int32_t find_sample(const nx_samples *samples, const char *name)
{
    for (size_t i = 0; i < nx_samples_count(samples); i++) {
        if (strcmp(nx_samples_name(samples, i), name) == 0) {
            return (int32_t)i;
        }
    }
    return -1;
}

/* Truths of pictures that are samples and could be decoded. */
static void take_truths(nx_judge *judge, const nx_coco_dataset *dataset, const nx_samples *samples,
                        const nx_found *original, int32_t *sample_of)
{
    for (size_t i = 0; i < dataset->image_count; i++) {
        sample_of[i] = find_sample(samples, dataset->images[i].file_name);
    }
    for (size_t i = 0; i < dataset->truth_count; i++) {
        nx_coco_truth truth = dataset->truths[i];
        int32_t sample = sample_of[truth.image];
        if (sample >= 0 && !original->failed[sample]) {
            truth.image = sample;
            judge->truths[judge->truth_count++] = truth;
        }
    }
}

nx_status nx_judge_by_annotations(const nx_coco_dataset *dataset, const nx_model_spec *spec,
                                  const nx_samples *samples, const nx_found *original,
                                  nx_judge **out, nx_error *err)
{
    nx_class_map classes = {0};
    *out = NULL;
    nx_status status =
        nx_class_map_make(spec->names, spec->names_from_file, dataset, &classes, err);
    if (status != NX_OK) {
        return status;
    }
    nx_judge *judge = make(dataset->truth_count, classes.class_count, samples);
    int32_t *sample_of = calloc(dataset->image_count + 1, sizeof *sample_of);
    if (judge == NULL || sample_of == NULL) {
        status = no_memory(err);
    } else {
        memcpy(judge->categories, classes.indices, classes.class_count * sizeof *classes.indices);
        judge->category_count = (int32_t)dataset->category_count;
        take_truths(judge, dataset, samples, original, sample_of);
        if (judge->truth_count == 0) {
            status = nx_error_set(err, NX_ERR_INVALID,
                                  "the annotations have no box on the pictures that judge");
        }
    }
    free(sample_of);
    nx_class_map_free(&classes);
    if (status != NX_OK) {
        nx_judge_free(judge);
        return status;
    }
    *out = judge;
    return NX_OK;
}

nx_status nx_judge_by_original(const nx_model_spec *spec, const nx_samples *samples,
                               const nx_found *original, nx_judge **out, nx_error *err)
{
    *out = NULL;
    nx_judge *judge = make(original->count, spec->names.count, samples);
    if (judge == NULL) {
        return no_memory(err);
    }
    judge->category_count = (int32_t)spec->names.count;
    for (size_t i = 0; i < spec->names.count; i++) {
        judge->categories[i] = (int32_t)i;
    }
    for (size_t i = 0; i < original->count; i++) {
        const nx_coco_result *result = &original->results[i];
        if (result->score >= NX_JUDGE_CONFIDENCE) {
            judge->truths[judge->truth_count++] = (nx_coco_truth){
                .image = result->image, .category = result->category, .box = result->box};
        }
    }
    if (judge->truth_count == 0) {
        nx_judge_free(judge);
        return nx_error_set(err, NX_ERR_INVALID,
                            "the model finds nothing in the pictures that judge; take others");
    }
    *out = judge;
    return NX_OK;
}

void nx_judge_free(nx_judge *judge)
{
    if (judge != NULL) {
        free(judge->truths);
        free(judge->categories);
        free(judge);
    }
}

nx_status nx_judge_evaluate(const nx_judge *judge, const nx_found *found, nx_coco_ap *out,
                            nx_error *err)
{
    size_t count = 0;
    nx_coco_result *mapped = calloc(found->count + 1, sizeof *mapped);
    if (mapped == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < found->count; i++) {
        nx_coco_result result = found->results[i];
        bool known = result.category >= 0 && (size_t)result.category < judge->class_count;
        result.category = known ? judge->categories[result.category] : -1;
        if (result.category >= 0) {
            mapped[count++] = result;
        }
    }
    nx_status status = nx_coco_evaluate(judge->truths, judge->truth_count, mapped, count,
                                        judge->image_count, judge->category_count, out, NULL, err);
    free(mapped);
    return status;
}

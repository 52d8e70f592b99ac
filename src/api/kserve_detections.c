/* What was found in pictures as the tensors of an answer: boxes, scores, classes and how many. */
#include "api/kserve.h"

#include <stdlib.h>
#include <string.h>

#define OUTPUTS 4

/* The tensors of all pictures; rows beyond a picture's own detections are 0, their class is -1. */
typedef struct arrays {
    float *boxes;
    float *scores;
    int64_t *classes;
    int32_t *counts;
    size_t pictures;
    size_t most; /* detections of the picture that has the most */
} arrays;

static void free_arrays(arrays *self)
{
    free(self->boxes);
    free(self->scores);
    free(self->classes);
    free(self->counts);
}

static bool make_arrays(const nx_kserve_found *pictures, size_t count, arrays *out)
{
    *out = (arrays){.pictures = count};
    for (size_t i = 0; i < count; i++) {
        out->most = pictures[i].count > out->most ? pictures[i].count : out->most;
    }
    size_t rows = out->pictures * out->most; /* at most 100 times the largest max_detections */
    size_t room = rows > 0 ? rows : 1;
    out->boxes = calloc(room, 4 * sizeof *out->boxes);
    out->scores = calloc(room, sizeof *out->scores);
    out->classes = calloc(room, sizeof *out->classes);
    out->counts = calloc(out->pictures, sizeof *out->counts);
    return out->boxes != NULL && out->scores != NULL && out->classes != NULL && out->counts != NULL;
}

static void fill_arrays(const nx_kserve_found *pictures, arrays *out)
{
    for (size_t i = 0; i < out->pictures; i++) {
        out->counts[i] = (int32_t)pictures[i].count;
        for (size_t d = 0; d < out->most; d++) {
            size_t row = i * out->most + d;
            if (d >= pictures[i].count) {
                out->classes[row] = -1;
                continue;
            }
            const nx_detection *found = &pictures[i].items[d];
            const float box[4] = {found->x1, found->y1, found->x2, found->y2};
            memcpy(out->boxes + 4 * row, box, sizeof box);
            out->scores[row] = found->confidence;
            out->classes[row] = found->class_id;
        }
    }
}

static void describe(const arrays *from, nx_tensor out[OUTPUTS])
{
    void *const data[OUTPUTS] = {from->boxes, from->scores, from->classes, from->counts};
    nx_kserve_model pictures = {.pictures = true};
    size_t count = 0; /* OUTPUTS */
    const nx_tensor *ports = nx_kserve_outputs(&pictures, &count);
    for (size_t i = 0; i < OUTPUTS; i++) {
        out[i] = ports[i];
        out[i].dims[0] = (int64_t)from->pictures;
        if (out[i].rank > 1) {
            out[i].dims[1] = (int64_t)from->most;
        }
        size_t elements = 0;
        nx_kserve_elements(out[i].dims, out[i].rank, &elements); /* small numbers all */
        out[i].bytes = elements * nx_type_size(out[i].type);
        out[i].data = data[i];
    }
}

/* The outputs in the order in which they were asked for. */
static nx_status write_answer(nx_kserve_call *call, const nx_tensor all[OUTPUTS], nx_error *err)
{
    const nx_kserve_request *parsed = &call->parsed;
    if (parsed->output_count == 0) {
        return nx_kserve_write_answer(call, all, OUTPUTS, err);
    }
    nx_tensor chosen[OUTPUTS] = {{0}}; /* no name twice and none unknown, so at most four */
    for (size_t i = 0; i < parsed->output_count; i++) {
        for (size_t o = 0; o < OUTPUTS; o++) {
            if (strcmp(all[o].name, parsed->outputs[i].name) == 0) {
                chosen[i] = all[o];
            }
        }
    }
    return nx_kserve_write_answer(call, chosen, parsed->output_count, err);
}

nx_status nx_kserve_write_detections(nx_kserve_call *call, const nx_kserve_found *pictures,
                                     size_t count, nx_error *err)
{
    arrays values;
    nx_tensor tensors[OUTPUTS];
    nx_status status = NX_OK;
    if (make_arrays(pictures, count, &values)) {
        fill_arrays(pictures, &values);
        describe(&values, tensors);
        status = write_answer(call, tensors, err);
    } else {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the answer");
    }
    free_arrays(&values);
    return status;
}

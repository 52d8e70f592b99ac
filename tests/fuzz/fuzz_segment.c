/* Prompts for masks as clients send them, as text and as JSON; and run lengths. Any bytes are taken
 * or refused with a sentence; what is taken keeps its promises. */
#include "fuzz.h"

#include "api/segment_options.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_options(bool taken, const nx_problem *problem, const nx_segment_options *options)
{
    if (!taken && (problem->status < 400 || problem->status > 599 || problem->detail[0] == '\0')) {
        abort();
    }
    const nx_sam_prompt *prompt = &options->prompt;
    for (size_t i = 0; i < prompt->point_count; i++) {
        if (!isfinite(prompt->points[i].x) || !isfinite(prompt->points[i].y)) {
            abort();
        }
    }
    for (size_t i = 0; i < prompt->box_count; i++) {
        const nx_sam_box *b = &prompt->boxes[i];
        if (!(b->x1 < b->x2 && b->y1 < b->y2)) {
            abort();
        }
    }
}

/* The decoder's rows for whatever was accepted. */
static void use_prompt(nx_segment_options *options)
{
    nx_problem problem = {0};
    nx_error err = {0};
    float coords[2 * NX_SAM_MAX_ROWS];
    float labels[NX_SAM_MAX_ROWS];
    if (!nx_segment_options_check(options, &problem) ||
        nx_sam_prompt_fit(&options->prompt, 640, 480, &err) != NX_OK) {
        return;
    }
    const nx_letterbox box = nx_sam_letterbox(640, 480);
    size_t things = nx_sam_prompt_things(&options->prompt);
    for (size_t t = 0; t < things; t++) {
        size_t rows = nx_sam_prompt_rows(&options->prompt, t, &box, coords, labels);
        for (size_t i = 0; i < 2 * rows; i++) {
            if (!(coords[i] >= 0 && coords[i] <= NX_SAM_SIDE)) {
                abort();
            }
        }
    }
}

static void take_pair(const char *name, const char *value, void *user)
{
    nx_segment_options *options = user;
    nx_problem problem = {0};
    bool taken = nx_segment_options_set(options, name, value, &problem);
    check_options(taken, &problem, options);
}

static void fuzz_text(char *text, size_t size)
{
    nx_segment_options options = {0};
    fuzz_lines(text, size, take_pair, &options);
    use_prompt(&options);
}

static void take_member(const char *name, const json_t *value, void *user)
{
    nx_segment_options *options = user;
    nx_problem problem = {0};
    bool taken = nx_segment_options_set_json(options, name, value, &problem);
    check_options(taken, &problem, options);
}

static void fuzz_json(char *text, size_t size)
{
    nx_segment_options options = {0};
    nx_problem problem = {0};
    if (fuzz_members(text, size, take_member, &options, &problem)) {
        use_prompt(&options);
    }
}

/* Two bytes of size, then the lengths of runs, a byte each, as a record of results holds them. */
static void fuzz_rle(char *text, size_t size)
{
    uint32_t counts[256];
    nx_rle rle;
    nx_mask mask;
    nx_error err = {0};
    if (size < 2 || size - 2 > sizeof counts / sizeof counts[0]) {
        return;
    }
    uint32_t width = (uint8_t)text[0];
    uint32_t height = (uint8_t)text[1];
    for (size_t i = 2; i < size; i++) {
        counts[i - 2] = (uint8_t)text[i];
    }
    if (nx_rle_from_counts(counts, size - 2, width, height, &rle, &err) != NX_OK) {
        return;
    }
    nx_buffer written = NX_BUFFER_INIT;
    nx_polygons polygons;
    nx_mask_box box = nx_rle_box(&rle);
    nx_rle_write(&rle, &written);
    for (size_t i = 0; i < written.size; i++) {
        if (written.data[i] < 48 || written.data[i] > 111) {
            abort();
        }
    }
    if (box.right > width || box.bottom > height || nx_rle_area(&rle) > width * height) {
        abort();
    }
    if (nx_rle_decode(&rle, &mask, &err) == NX_OK &&
        nx_mask_polygons(&mask, 1, &polygons, &err) == NX_OK) {
        if ((polygons.count == 0) != (nx_rle_area(&rle) == 0)) {
            abort();
        }
        nx_polygons_free(&polygons);
    }
    nx_mask_free(&mask);
    nx_buffer_free(&written);
    nx_rle_free(&rle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_rle, fuzz_text, fuzz_json};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

/*
 * The stages around the model on one core, medians: bench/micro PICTURE [INPUT_SIZE].
 * Built with the release tree (ninja -C build/release bench/micro); no part of the tests.
 */
#include "base/clock.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "media/codec.h"
#include "results/results.h"
#include "vision/draw.h"
#include "vision/kernels.h"
#include "vision/letterbox.h"
#include "vision/postprocess.h"

#include <stdio.h>
#include <stdlib.h>

#define ROUNDS 101

typedef struct stage_input {
    nx_buffer file;
    nx_image_info info;
    nx_letterbox box;
    nx_image image; /* decoded for the letterbox */
    nx_image full;
    float *tensor;
    float *output; /* a YOLOv8 head: 84 x 8400, a few boxes over the threshold */
    nx_detections found;
    nx_buffer text;
    nx_error err;
} stage_input;

typedef nx_status (*stage_run)(stage_input *in);

static nx_status decode_full(stage_input *in)
{
    nx_image_free(&in->full);
    nx_decode_options options = {0};
    return nx_image_decode(in->file.data, in->file.size, &options, &in->full, NULL, &in->err);
}

static nx_status decode_scaled(stage_input *in)
{
    nx_image_free(&in->image);
    nx_decode_options options = {.target_width = in->box.width, .target_height = in->box.height};
    return nx_image_decode(in->file.data, in->file.size, &options, &in->image, NULL, &in->err);
}

static nx_status letterbox(stage_input *in)
{
    return nx_letterbox_apply(&in->box, &in->image, NX_PIXELS_RGB_UNIT, in->tensor, &in->err);
}

static nx_status letterbox_full(stage_input *in)
{
    return nx_letterbox_apply(&in->box, &in->full, NX_PIXELS_RGB_UNIT, in->tensor, &in->err);
}

static nx_status postprocess(stage_input *in)
{
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_head_output head = {
        .kind = NX_HEAD_YOLOV8,
        .data = in->output,
        .rows = 84,
        .columns = 8400,
        .input_width = 640,
        .input_height = 640,
    };
    return nx_postprocess(&head, &in->box, &options, &in->found, &in->err);
}

static nx_status draw(stage_input *in)
{
    static const char *const names[80] = {"person"};
    nx_class_names table = {.names = names, .count = 1};
    return nx_draw_detections(&in->full, in->found.items, in->found.count, table, &in->err);
}

static nx_status encode(stage_input *in)
{
    nx_buffer_clear(&in->text);
    return nx_image_encode_jpeg(&in->full, 90, &in->text, &in->err);
}

static nx_status render_json(stage_input *in)
{
    static const char *const names[80] = {"person"};
    nx_result result = {
        .model = "micro",
        .image_width = in->info.width,
        .image_height = in->info.height,
        .detections = in->found.items,
        .count = in->found.count,
        .names = {.names = names, .count = 1},
    };
    nx_buffer_clear(&in->text);
    nx_json json = nx_json_begin(&in->text);
    nx_json_object_begin(&json);
    nx_result_json_members(&result, &json);
    nx_json_object_end(&json);
    return NX_OK;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_stage(const char *name, stage_run run, stage_input *in)
{
    double ms[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = nx_clock_now_ns();
        if (run(in) != NX_OK) {
            fprintf(stderr, "%s: %s\n", name, in->err.message);
            exit(1);
        }
        ms[i] = nx_clock_ms(nx_clock_now_ns() - start);
    }
    qsort(ms, ROUNDS, sizeof ms[0], compare);
    printf("%-34s %8.3f ms   (p95 %.3f)\n", name, ms[ROUNDS / 2], ms[ROUNDS * 95 / 100]);
}

int main(int argc, char **argv)
{
    stage_input in = {0};
    uint32_t size = argc > 2 ? (uint32_t)atoi(argv[2]) : 640;
    if (argc < 2 || size < 32 ||
        nx_file_read(argv[1], (size_t)1 << 30, &in.file, &in.err) != NX_OK ||
        nx_image_probe(in.file.data, in.file.size, 0, &in.info, &in.err) != NX_OK) {
        fprintf(stderr, "usage: micro PICTURE [INPUT_SIZE]\n%s\n", in.err.message);
        return 2;
    }
    in.box = nx_letterbox_fit(in.info.width, in.info.height, size, size, true);
    in.tensor = malloc((size_t)3 * size * size * sizeof(float));
    in.output = calloc((size_t)84 * 8400, sizeof(float));
    if (in.tensor == NULL || in.output == NULL) {
        return 1;
    }
    for (size_t i = 0; i < 100; i++) { /* a hundred boxes that do not overlap */
        size_t anchor = i * 80;
        in.output[anchor] = (float)(32 + i % 10 * 60);
        in.output[8400 + anchor] = (float)(32 + i / 10 * 60);
        in.output[2 * 8400 + anchor] = 40;
        in.output[3 * 8400 + anchor] = 40;
        in.output[4 * 8400 + anchor] = 0.5F + (float)i / 300;
    }
    printf("%s, %ux%u, kernels %s\n", argv[1], in.info.width, in.info.height, nx_kernels_name());
    time_stage("decode, full size", decode_full, &in);
    time_stage("decode, scaled for the model", decode_scaled, &in);
    time_stage("letterbox from the scaled picture", letterbox, &in);
    time_stage("letterbox from the full picture", letterbox_full, &in);
    time_stage("head decoding and NMS", postprocess, &in);
    time_stage("draw 100 boxes", draw, &in);
    time_stage("encode JPEG", encode, &in);
    time_stage("render 100 detections as JSON", render_json, &in);
    nx_image_free(&in.image);
    nx_image_free(&in.full);
    nx_detections_free(&in.found);
    nx_buffer_free(&in.file);
    nx_buffer_free(&in.text);
    free(in.tensor);
    free(in.output);
    return 0;
}

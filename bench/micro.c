/*
 * The stages around the model on one core, medians of the thread's processor time, which other work
 * on the machine moves little: bench_micro PICTURE [INPUT_SIZE].
 * Built with the release tree (ninja -C build/release bench_micro); no part of the tests.
 */
#include "micro_engine.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/json_writer.h"
#include "engine/byte_kernels.h"
#include "media/codec.h"
#include "results/results.h"
#include "vision/draw.h"
#include "vision/kernels.h"
#include "vision/letterbox.h"
#include "vision/postprocess.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 101

/* The activations of a quantised yolov8n at 384x640, more or less; larger than any L2 cache. */
#define TABLE_BYTES ((size_t)8 * 1024 * 1024)

#define CLASSES 80
#define BINS    16

typedef struct stage_input {
    nx_buffer file;
    nx_image_info info;
    nx_letterbox box;
    nx_image image; /* decoded for the letterbox */
    nx_image full;
    void *tensor;
    nx_yuv_frame frame; /* of the picture's size */
    uint8_t *frame_bytes;
    float *output; /* a YOLOv8 head: 84 x 8400, a hundred boxes over the threshold */
    float *split;  /* the same boxes in a head that was cut: logits of 8400 cells */
    bool channels_last;
    uint8_t *bytes; /* TABLE_BYTES, twice */
    uint8_t table[NX_TABLE_SIZE];
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

static nx_status letterbox_bytes(stage_input *in)
{
    return nx_letterbox_apply(&in->box, &in->image, NX_PIXELS_RGB_BYTE_NHWC, in->tensor, &in->err);
}

static nx_status letterbox_halves(stage_input *in)
{
    return nx_letterbox_apply(&in->box, &in->image, NX_PIXELS_RGB_UNIT_F16, in->tensor, &in->err);
}

static nx_status letterbox_full(stage_input *in)
{
    return nx_letterbox_apply(&in->box, &in->full, NX_PIXELS_RGB_UNIT, in->tensor, &in->err);
}

static nx_status letterbox_full_bytes(stage_input *in)
{
    return nx_letterbox_apply(&in->box, &in->full, NX_PIXELS_RGB_BYTE_NHWC, in->tensor, &in->err);
}

static nx_status letterbox_frame(stage_input *in)
{
    return nx_letterbox_apply_yuv(&in->box, &in->frame, NX_PIXELS_RGB_UNIT, in->tensor, &in->err);
}

static nx_status letterbox_frame_bytes(stage_input *in)
{
    return nx_letterbox_apply_yuv(&in->box, &in->frame, NX_PIXELS_RGB_BYTE_NHWC, in->tensor,
                                  &in->err);
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

static nx_status postprocess_split(stage_input *in)
{
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_head_output head = {
        .kind = NX_HEAD_SPLIT,
        .input_width = 640,
        .input_height = 640,
        .classes = CLASSES,
        .level_count = 3,
        .reg_max = BINS,
        .channels_last = in->channels_last,
    };
    const float *at = in->split;
    for (int i = 0; i < 3; i++) {
        int32_t side = 80 >> i;
        size_t cells = (size_t)side * (size_t)side;
        head.levels[i] = (nx_head_level){
            .distances = at, .scores = at + 4 * BINS * cells, .width = side, .height = side};
        at += (4 * BINS + CLASSES) * cells;
    }
    return nx_postprocess(&head, &in->box, &options, &in->found, &in->err);
}

static nx_status look_up(stage_input *in)
{
    nx_byte_kernels_best()->look_up(in->bytes, in->table, in->bytes + TABLE_BYTES, TABLE_BYTES);
    return NX_OK;
}

static nx_status look_up_plainly(stage_input *in)
{
    nx_byte_kernels_get(0)->look_up(in->bytes, in->table, in->bytes + TABLE_BYTES, TABLE_BYTES);
    return NX_OK;
}

static nx_status copy_bytes(stage_input *in)
{
    memcpy(in->bytes + TABLE_BYTES, in->bytes, TABLE_BYTES);
    return NX_OK;
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

static int64_t processor_time_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * NX_NS_PER_SEC + now.tv_nsec;
}

static void time_stage(const char *name, stage_run run, stage_input *in)
{
    double ms[ROUNDS];
    for (int i = 0; i < ROUNDS; i++) {
        int64_t start = processor_time_ns();
        if (run(in) != NX_OK) {
            fprintf(stderr, "%s: %s\n", name, in->err.message);
            exit(1);
        }
        ms[i] = nx_clock_ms(processor_time_ns() - start);
    }
    qsort(ms, ROUNDS, sizeof ms[0], compare);
    printf("%-42s %8.3f ms   (least %.3f, p95 %.3f)\n", name, ms[ROUNDS / 2], ms[0],
           ms[ROUNDS * 95 / 100]);
}

/* Noise in the shape of a video frame of the picture's size. */
static bool make_frame(stage_input *in)
{
    size_t luma = (size_t)in->info.width * in->info.height;
    size_t half = (in->info.width + 1) / 2;
    size_t chroma = half * ((in->info.height + 1) / 2);
    in->frame_bytes = malloc(luma + 2 * chroma);
    if (in->frame_bytes == NULL) {
        return false;
    }
    for (size_t i = 0; i < luma + 2 * chroma; i++) {
        in->frame_bytes[i] = (uint8_t)(i * 2654435761U >> 24);
    }
    in->frame = (nx_yuv_frame){
        .planes = {in->frame_bytes, in->frame_bytes + luma, in->frame_bytes + luma + chroma},
        .strides = {in->info.width, half, half},
        .width = in->info.width,
        .height = in->info.height,
        .bt709 = true,
        .chroma_left = true,
    };
    return true;
}

/* A hundred boxes that do not overlap, in both heads. */
static bool make_heads(stage_input *in)
{
    size_t values = (size_t)8400 * (4 * BINS + CLASSES);
    in->output = calloc((size_t)84 * 8400, sizeof(float));
    in->split = malloc(values * sizeof(float));
    if (in->output == NULL || in->split == NULL) {
        return false;
    }
    for (size_t i = 0; i < values; i++) {
        in->split[i] = -8;
    }
    for (size_t i = 0; i < 100; i++) {
        size_t anchor = i * 80;
        in->output[anchor] = (float)(32 + i % 10 * 60);
        in->output[8400 + anchor] = (float)(32 + i / 10 * 60);
        in->output[2 * 8400 + anchor] = 40;
        in->output[3 * 8400 + anchor] = 40;
        in->output[4 * 8400 + anchor] = 0.5F + (float)i / 300;
        in->split[4 * BINS * 6400 + i * 63 + 1] = (float)i / 50;
    }
    return true;
}

static bool make_bytes(stage_input *in)
{
    in->bytes = malloc(2 * TABLE_BYTES);
    if (in->bytes == NULL) {
        return false;
    }
    for (size_t i = 0; i < TABLE_BYTES; i++) {
        in->bytes[i] = (uint8_t)(i * 2654435761U >> 24);
    }
    for (size_t i = 0; i < NX_TABLE_SIZE; i++) {
        in->table[i] = (uint8_t)(i * i >> 8);
    }
    return true;
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
    if (in.tensor == NULL || !make_frame(&in) || !make_heads(&in) || !make_bytes(&in)) {
        return 1;
    }
    printf("%s, %ux%u, kernels %s\n", argv[1], in.info.width, in.info.height, nx_kernels_name());
    time_stage("decode, full size", decode_full, &in);
    time_stage("decode, scaled for the model", decode_scaled, &in);
    time_stage("letterbox, scaled picture to float32", letterbox, &in);
    time_stage("letterbox, scaled picture to float16", letterbox_halves, &in);
    time_stage("letterbox, scaled picture to bytes", letterbox_bytes, &in);
    time_stage("letterbox, full picture to float32", letterbox_full, &in);
    time_stage("letterbox, full picture to bytes", letterbox_full_bytes, &in);
    time_stage("letterbox, full video frame to float32", letterbox_frame, &in);
    time_stage("letterbox, full video frame to bytes", letterbox_frame_bytes, &in);
    time_stage("head decoding and NMS", postprocess, &in);
    time_stage("the same of a cut head", postprocess_split, &in);
    in.channels_last = true;
    time_stage("the same of a cut head, channels last", postprocess_split, &in);
    printf("%zu MiB of bytes, %s\n", TABLE_BYTES >> 20, nx_byte_kernels_best()->name);
    time_stage("table look-up", look_up, &in);
    time_stage("table look-up in plain C", look_up_plainly, &in);
    time_stage("memcpy", copy_bytes, &in);
    time_stage("head decoding and NMS, once more", postprocess, &in); /* the 100 again */
    time_stage("draw 100 boxes", draw, &in);
    time_stage("encode JPEG", encode, &in);
    time_stage("render 100 detections as JSON", render_json, &in);
    micro_engine();
    nx_image_free(&in.image);
    nx_image_free(&in.full);
    nx_detections_free(&in.found);
    nx_buffer_free(&in.file);
    nx_buffer_free(&in.text);
    free(in.tensor);
    free(in.output);
    free(in.split);
    free(in.frame_bytes);
    free(in.bytes);
    return 0;
}

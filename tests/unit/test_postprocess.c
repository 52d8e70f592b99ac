#include "testing.h"

#include "vision/postprocess.h"

#include <math.h>

/* --- hand-made outputs --------------------------------------------------------------------------
 */

/* 1000x500 in 640x640: scale 0.64, 320 rows from row 160 on. */
static nx_letterbox wide_source(void)
{
    return nx_letterbox_fit(1000, 500, 640, 640, true);
}

/* Input pixels are source pixels. */
static nx_letterbox same_source(uint32_t side)
{
    return nx_letterbox_fit(side, side, side, side, true);
}

/* A head of [rows, columns] zeros. */
typedef struct canvas {
    nx_head_output head;
    float *data;
} canvas;

static canvas canvas_new(nx_head_kind kind, int32_t rows, int32_t columns, int32_t side)
{
    canvas c = {.data = calloc((size_t)rows * (size_t)columns, sizeof *c.data)};
    assert_non_null(c.data);
    c.head = (nx_head_output){
        .kind = kind,
        .data = c.data,
        .rows = rows,
        .columns = columns,
        .input_width = side,
        .input_height = side,
        .classes = 3,
    };
    return c;
}

/* One anchor of a YOLOv8 head: centre, size, and the score of one class. */
static void put(canvas *c, int32_t anchor, float cx, float cy, float w, float h, int32_t class_id,
                float score)
{
    const float values[4] = {cx, cy, w, h};
    for (int32_t r = 0; r < 4; r++) {
        c->data[r * c->head.columns + anchor] = values[r];
    }
    c->data[(4 + class_id) * c->head.columns + anchor] = score;
}

static nx_detections run(const canvas *c, nx_letterbox box, nx_postprocess_options options)
{
    nx_detections found = {0};
    nx_error err = {0};
    nx_assert_ok(nx_postprocess(&c->head, &box, &options, &found, &err), err);
    for (size_t i = 0; i < found.count; i++) { /* what the header promises of each */
        const nx_detection *d = &found.items[i];
        assert_true(d->x1 >= 0 && d->x1 < d->x2 && d->x2 <= (float)box.source_width);
        assert_true(d->y1 >= 0 && d->y1 < d->y2 && d->y2 <= (float)box.source_height);
        assert_true(d->confidence > options.confidence && d->confidence <= 1);
        assert_true(i == 0 || d->confidence <= found.items[i - 1].confidence);
    }
    return found;
}

static void assert_detection(const nx_detection *d, int32_t class_id, float confidence, float x1,
                             float y1, float x2, float y2)
{
    assert_int_equal(d->class_id, class_id);
    assert_true(fabsf(d->confidence - confidence) < 1e-6F);
    const float expected[4] = {x1, y1, x2, y2};
    const float got[4] = {d->x1, d->y1, d->x2, d->y2};
    for (int i = 0; i < 4; i++) {
        if (!(fabsf(got[i] - expected[i]) < 1e-3F)) {
            fail_msg("coordinate %d: %g instead of %g", i, (double)got[i], (double)expected[i]);
        }
    }
}

/* --- heads --------------------------------------------------------------------------------------
 */

/* Anchors at the ends of the blocks in which the scores are reduced. */
static void yolov8_boxes_are_found_at_any_anchor(void **state)
{
    (void)state;
    static const int32_t anchors[] = {0, 1, 1023, 1024, 2047, 2499};
    canvas c = canvas_new(NX_HEAD_YOLOV8, 7, 2500, 640);
    for (size_t i = 0; i < NX_COUNT(anchors); i++) {
        /* in the source: 100 wide and 50 high, from 10 + 150 i, 20 on */
        float x = 10.0F + 150.0F * (float)i;
        put(&c, anchors[i], (x + 50) * 0.64F, 45 * 0.64F + 160, 64, 32, (int32_t)(i % 3),
            0.9F - 0.1F * (float)i);
    }
    nx_detections found = run(&c, wide_source(), nx_postprocess_defaults());
    assert_int_equal(found.count, NX_COUNT(anchors));
    for (size_t i = 0; i < found.count; i++) {
        float x = 10.0F + 150.0F * (float)i;
        assert_detection(&found.items[i], (int32_t)(i % 3), 0.9F - 0.1F * (float)i, x, 20, x + 100,
                         70);
    }
    nx_detections_free(&found);
    assert_null(found.items);
    free(c.data);
}

static void yolov8_takes_the_best_class_or_all(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_YOLOV8, 7, 3, 64);
    put(&c, 1, 20, 20, 10, 10, 0, 0.5F);
    put(&c, 1, 20, 20, 10, 10, 1, 0.3F);
    put(&c, 1, 20, 20, 10, 10, 2, 0.8F);
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_detections found = run(&c, same_source(64), options);
    assert_int_equal(found.count, 1);
    assert_detection(&found.items[0], 2, 0.8F, 15, 15, 25, 25);

    options.multi_label = true;
    nx_detections_free(&found);
    found = run(&c, same_source(64), options);
    assert_int_equal(found.count, 3);
    assert_detection(&found.items[0], 2, 0.8F, 15, 15, 25, 25);
    assert_detection(&found.items[1], 0, 0.5F, 15, 15, 25, 25);
    assert_detection(&found.items[2], 1, 0.3F, 15, 15, 25, 25);
    nx_detections_free(&found);
    free(c.data);
}

/* 64x64: 64 cells of 8, 16 of 16, 4 of 32. */
static canvas yolox_canvas(void)
{
    return canvas_new(NX_HEAD_YOLOX, 84, 8, 64);
}

static void yolox_cells_lie_where_they_should(void **state)
{
    (void)state;
    static const struct {
        int32_t row;
        float x, y, stride; /* cell and its size */
    } cells[] = {{0, 0, 0, 8},   {7, 7, 0, 8},       {8, 0, 1, 8},   {63, 7, 7, 8},
                 {64, 0, 0, 16}, {64 + 9, 1, 2, 16}, {79, 3, 3, 16}, {80, 0, 0, 32},
                 {82, 0, 1, 32}, {83, 1, 1, 32}};
    for (size_t i = 0; i < NX_COUNT(cells); i++) {
        canvas c = yolox_canvas();
        float *row = c.data + cells[i].row * 8;
        row[0] = 0.5F;
        row[1] = 0.25F;
        row[2] = logf(0.5F); /* half a cell wide */
        row[3] = logf(0.25F);
        row[4] = 0.8F;
        row[5] = 0.1F;
        row[6] = 0.9F;
        row[7] = 0.2F;
        nx_detections found = run(&c, same_source(64), nx_postprocess_defaults());
        assert_int_equal(found.count, 1);
        float cx = (cells[i].x + 0.5F) * cells[i].stride;
        float cy = (cells[i].y + 0.25F) * cells[i].stride;
        assert_detection(&found.items[0], 1, 0.72F, cx - cells[i].stride / 4,
                         cy - cells[i].stride / 8, cx + cells[i].stride / 4,
                         cy + cells[i].stride / 8);
        nx_detections_free(&found);
        free(c.data);
    }
}

static void yolox_score_is_objectness_times_class(void **state)
{
    (void)state;
    canvas c = yolox_canvas();
    float *row = c.data + 70 * 8;
    memcpy(row, (const float[8]){0.5F, 0.5F, 0, 0, 0.5F, 0.4F, 0.6F, 0.8F}, 8 * sizeof *row);
    nx_postprocess_options options = nx_postprocess_defaults();
    options.confidence = 0.25F;
    nx_detections found = run(&c, same_source(64), options);
    assert_int_equal(found.count, 1);
    assert_int_equal(found.items[0].class_id, 2);
    assert_true(fabsf(found.items[0].confidence - 0.4F) < 1e-6F);

    options.multi_label = true;
    nx_detections_free(&found);
    found = run(&c, same_source(64), options);
    assert_int_equal(found.count, 2); /* 0.4 and 0.3; 0.2 is too weak */
    nx_detections_free(&found);

    options.confidence = 0.41F;
    found = run(&c, same_source(64), options);
    assert_int_equal(found.count, 0);
    nx_detections_free(&found);
    free(c.data);
}

static void end_to_end_rows_are_taken_as_they_are(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_END_TO_END, 7, 6, 640);
    const float rows[7][6] = {
        {64, 224, 192, 288, 0.5F, 1},
        {64, 224, 192, 288, 0.9F, 1},  /* the same box again: there is no NMS */
        {0, 160, 640, 480, 0.7F, 2},   /* the whole picture */
        {64, 224, 192, 288, 0.2F, 0},  /* too weak */
        {64, 224, 192, 288, 0.9F, 3},  /* the model has three classes */
        {64, 224, 192, 288, 0.9F, -1}, /* no class */
        {64, 224, 192, 288, 0.6F, 1.9999F},
    };
    memcpy(c.data, rows, sizeof rows);
    nx_detections found = run(&c, wide_source(), nx_postprocess_defaults());
    assert_int_equal(found.count, 4);
    assert_detection(&found.items[0], 1, 0.9F, 100, 100, 300, 200);
    assert_detection(&found.items[1], 2, 0.7F, 0, 0, 1000, 500);
    assert_detection(&found.items[2], 2, 0.6F, 100, 100, 300, 200);
    assert_detection(&found.items[3], 1, 0.5F, 100, 100, 300, 200);
    nx_detections_free(&found);

    nx_postprocess_options best = nx_postprocess_defaults();
    best.max_detections = 2;
    found = run(&c, wide_source(), best);
    assert_int_equal(found.count, 2);
    assert_detection(&found.items[1], 2, 0.7F, 0, 0, 1000, 500);
    nx_detections_free(&found);
    free(c.data);
}

static void top_left_letterboxes_are_undone_too(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_YOLOV8, 7, 1, 640);
    put(&c, 0, 128, 96, 128, 64, 0, 0.5F);
    nx_detections found =
        run(&c, nx_letterbox_fit(1000, 500, 640, 640, false), nx_postprocess_defaults());
    assert_int_equal(found.count, 1);
    assert_detection(&found.items[0], 0, 0.5F, 100, 100, 300, 200);
    nx_detections_free(&found);
    free(c.data);
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    static const float data[64] = {0};
    static const nx_head_output heads[] = {
        {.kind = NX_HEAD_YOLOV8,
         .data = data,
         .rows = 4,
         .columns = 8,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_YOLOV8,
         .data = data,
         .rows = 0,
         .columns = 8,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_YOLOV8,
         .data = data,
         .rows = 5,
         .columns = 0,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_YOLOV8,
         .data = data,
         .rows = 1029,
         .columns = 1,
         .input_width = 64,
         .input_height = 64,
         .classes = 1025},
        {.kind = NX_HEAD_YOLOV8,
         .data = data,
         .rows = 5,
         .columns = -1,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_END_TO_END,
         .data = data,
         .rows = 8,
         .columns = 7,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_END_TO_END,
         .data = data,
         .rows = 8,
         .columns = 5,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_END_TO_END,
         .data = data,
         .rows = 8,
         .columns = 6,
         .input_width = 64,
         .input_height = 64,
         .classes = 0},
        {.kind = NX_HEAD_END_TO_END,
         .data = data,
         .rows = 8,
         .columns = 6,
         .input_width = 64,
         .input_height = 64,
         .classes = 1025},
        {.kind = NX_HEAD_YOLOX,
         .data = data,
         .rows = 83,
         .columns = 8,
         .input_width = 64,
         .input_height = 64,
         .classes = 3},
        {.kind = NX_HEAD_YOLOX,
         .data = data,
         .rows = 85,
         .columns = 8,
         .input_width = 64,
         .input_height = 64,
         .classes = 3},
        {.kind = NX_HEAD_YOLOX,
         .data = data,
         .rows = 84,
         .columns = 5,
         .input_width = 64,
         .input_height = 64,
         .classes = 1},
        {.kind = NX_HEAD_YOLOX,
         .data = data,
         .rows = 84,
         .columns = 8,
         .input_width = 96,
         .input_height = 64,
         .classes = 3},
        {.kind = NX_HEAD_YOLOX,
         .data = data,
         .rows = 84,
         .columns = 1030,
         .input_width = 64,
         .input_height = 64,
         .classes = 1025},
    };
    nx_letterbox box = same_source(64);
    nx_postprocess_options options = nx_postprocess_defaults();
    for (size_t i = 0; i < NX_COUNT(heads); i++) {
        nx_detections found = {0};
        nx_error err = {0};
        if (nx_postprocess(&heads[i], &box, &options, &found, &err) != NX_ERR_INVALID) {
            fail_msg("head %zu was accepted", i);
        }
        assert_int_equal(found.count, 0);
        nx_assert_contains(err.message, "does not fit the model's head");
        nx_detections_free(&found);
    }
}

/* --- filters ------------------------------------------------------------------------------------
 */

static size_t count_at(float confidence, float score)
{
    canvas c = canvas_new(NX_HEAD_YOLOV8, 5, 1, 64);
    put(&c, 0, 32, 32, 8, 8, 0, score);
    nx_postprocess_options options = nx_postprocess_defaults();
    options.confidence = confidence;
    nx_detections found = run(&c, same_source(64), options);
    size_t count = found.count;
    nx_detections_free(&found);
    free(c.data);
    return count;
}

static void the_threshold_itself_is_too_weak(void **state)
{
    (void)state;
    assert_int_equal(count_at(0.25F, 0.25F), 0);
    assert_int_equal(count_at(0.25F, nextafterf(0.25F, 1)), 1);
    assert_int_equal(count_at(0, 0), 0);
    assert_int_equal(count_at(0, 1e-30F), 1);
    assert_int_equal(count_at(1, 1), 0);
    assert_int_equal(count_at(0.25F, 1.5F), 1); /* shown as 1 */
}

static void classes_are_filtered(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_YOLOV8, 4 + 1024, 4, 640);
    put(&c, 0, 100, 100, 20, 20, 0, 0.9F);
    put(&c, 1, 200, 100, 20, 20, 63, 0.8F);
    put(&c, 2, 300, 100, 20, 20, 64, 0.7F);
    put(&c, 3, 400, 100, 20, 20, 1023, 0.6F);
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_postprocess_allow_class(&options, 64);
    nx_postprocess_allow_class(&options, 1023);
    nx_postprocess_allow_class(&options, 5);
    nx_postprocess_allow_class(&options, 1024); /* there is no such class */
    nx_postprocess_allow_class(&options, -1);
    for (int labels = 0; labels < 2; labels++) {
        options.multi_label = labels == 1;
        nx_detections found = run(&c, same_source(640), options);
        assert_int_equal(found.count, 2);
        assert_int_equal(found.items[0].class_id, 64);
        assert_int_equal(found.items[1].class_id, 1023);
        nx_detections_free(&found);
    }
    free(c.data);
}

/* With one label the anchor is what its best class says, even where that class is not wanted. */
static void the_filter_does_not_promote_second_classes(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_YOLOV8, 6, 1, 64);
    put(&c, 0, 32, 32, 8, 8, 0, 0.9F);
    put(&c, 0, 32, 32, 8, 8, 1, 0.8F);
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_postprocess_allow_class(&options, 1);
    nx_detections found = run(&c, same_source(64), options);
    assert_int_equal(found.count, 0);
    nx_detections_free(&found);
    free(c.data);
}

static void boxes_are_clipped_to_the_picture(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_YOLOV8, 5, 7, 640);
    put(&c, 0, 0, 320, 128, 64, 0, 0.9F);      /* half out at the left */
    put(&c, 1, 640, 480, 128, 64, 0, 0.8F);    /* over the corner at the right and the bottom */
    put(&c, 2, 320, 320, 5000, 5000, 0, 0.7F); /* around it all */
    put(&c, 3, -300, 320, 100, 100, 0, 0.6F);  /* nothing of it inside */
    put(&c, 4, 320, 80, 100, 100, 0, 0.6F);    /* in the gray above the picture */
    put(&c, 5, 320, 320, 0, 50, 0, 0.6F);      /* no area */
    put(&c, 6, 320, 320, -40, 50, 0, 0.6F);    /* less than none */
    nx_detections found = run(&c, wide_source(), nx_postprocess_defaults());
    assert_int_equal(found.count, 3);
    assert_detection(&found.items[0], 0, 0.9F, 0, 200, 100, 300);
    assert_detection(&found.items[1], 0, 0.8F, 900, 450, 1000, 500);
    assert_detection(&found.items[2], 0, 0.7F, 0, 0, 1000, 500);
    nx_detections_free(&found);
    free(c.data);
}

/* A NaN or an infinity in any place of any head drops that box, and that box alone. */
static void assert_bad_number_drops_one(canvas *c, float *place, float bad, bool multi_label)
{
    float kept = *place;
    nx_postprocess_options options = nx_postprocess_defaults();
    options.multi_label = multi_label;
    *place = bad;
    nx_detections found = run(c, same_source(64), options);
    *place = kept;
    assert_int_equal(found.count, 1);
    assert_true(fabsf(found.items[0].confidence - 0.5F) < 1e-6F);
    nx_detections_free(&found);
}

static void numbers_that_are_none_drop_their_box(void **state)
{
    (void)state;
    const float bad[] = {(float)NAN, (float)INFINITY, -(float)INFINITY};
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        canvas v8 = canvas_new(NX_HEAD_YOLOV8, 5, 2, 64);
        put(&v8, 0, 16, 16, 10, 10, 0, 0.9F);
        put(&v8, 1, 48, 48, 10, 10, 0, 0.5F);
        for (int32_t r = 0; r < 5; r++) {
            assert_bad_number_drops_one(&v8, &v8.data[r * 2], bad[i], false);
            assert_bad_number_drops_one(&v8, &v8.data[r * 2], bad[i], true);
        }
        canvas x = yolox_canvas();
        memcpy(x.data, (const float[8]){0.5F, 0.5F, 0, 0, 1, 0.9F}, 8 * sizeof(float));
        memcpy(x.data + 40, (const float[8]){0.5F, 0.5F, 0, 0, 1, 0.5F}, 8 * sizeof(float));
        for (int32_t r = 0; r < 6; r++) {
            if (!(bad[i] < 0 && (r == 2 || r == 3))) { /* exp(-inf) is 0: no area */
                assert_bad_number_drops_one(&x, &x.data[r], bad[i], false);
            }
            assert_bad_number_drops_one(&x, &x.data[r], bad[i], true);
        }
        canvas e = canvas_new(NX_HEAD_END_TO_END, 2, 6, 64);
        memcpy(e.data, (const float[6]){1, 1, 9, 9, 0.9F, 1}, 6 * sizeof(float));
        memcpy(e.data + 6, (const float[6]){20, 20, 30, 30, 0.5F, 1}, 6 * sizeof(float));
        for (int32_t r = 0; r < 6; r++) {
            assert_bad_number_drops_one(&e, &e.data[r], bad[i], false);
        }
        free(v8.data);
        free(x.data);
        free(e.data);
    }
}

/* --- suppression --------------------------------------------------------------------------------
 */

static nx_detection box(float x1, float y1, float x2, float y2, float confidence, int32_t class_id)
{
    return (nx_detection){x1, y1, x2, y2, confidence, class_id, 0};
}

static void iou_of_known_pairs(void **state)
{
    (void)state;
    static const struct {
        nx_detection a, b;
        float iou;
    } cases[] = {
        {{0, 0, 3, 1, 0, 0, 0}, {1, 0, 4, 1, 0, 0, 0}, 0.5F},     /* 2 of 4 */
        {{0, 0, 2, 2, 0, 0, 0}, {1, 1, 3, 3, 0, 0, 0}, 1.0F / 7}, /* 1 of 7 */
        {{0, 0, 2, 2, 0, 0, 0}, {0, 0, 2, 2, 0, 0, 0}, 1},
        {{0, 0, 4, 4, 0, 0, 0}, {1, 1, 3, 3, 0, 0, 0}, 0.25F}, /* inside */
        {{0, 0, 2, 2, 0, 0, 0}, {2, 0, 4, 2, 0, 0, 0}, 0},     /* side by side */
        {{0, 0, 2, 2, 0, 0, 0}, {2, 2, 4, 4, 0, 0, 0}, 0},     /* at a corner */
        {{0, 0, 2, 2, 0, 0, 0}, {5, 5, 6, 6, 0, 0, 0}, 0},
        {{1, 1, 1, 1, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0}, 0}, /* no area: 0, not 0 / 0 */
        {{0, 0, 2, 2, 0, 0, 0}, {1, 1, 1, 1, 0, 0, 0}, 0},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_true(fabsf(nx_iou(&cases[i].a, &cases[i].b) - cases[i].iou) < 1e-7F);
        assert_true(fabsf(nx_iou(&cases[i].b, &cases[i].a) - cases[i].iou) < 1e-7F);
    }
}

static void nms_drops_what_overlaps_by_more(void **state)
{
    (void)state;
    for (int more = 0; more < 2; more++) {
        nx_detection items[] = {box(1, 0, 4, 1, 0.5F, 0), box(0, 0, 3, 1, 0.9F, 0)};
        size_t kept = nx_nms(items, 2, more ? nextafterf(0.5F, 0) : 0.5F, 10);
        assert_int_equal(kept, more ? 1 : 2); /* at the threshold itself both stay */
        assert_true(items[0].confidence == 0.9F);
    }
    nx_detection same[] = {box(0, 0, 2, 2, 0.5F, 0), box(0, 0, 2, 2, 0.6F, 0)};
    assert_int_equal(nx_nms(same, 2, 1, 10), 2);
    nx_detection touching[] = {box(0, 0, 2, 2, 0.5F, 0), box(2, 0, 4, 2, 0.6F, 0)};
    assert_int_equal(nx_nms(touching, 2, 0, 10), 2);
}

static void nms_is_class_wise(void **state)
{
    (void)state;
    nx_detection items[] = {box(0, 0, 9, 9, 0.5F, 0), box(0, 0, 9, 9, 0.6F, 1),
                            box(0, 0, 9, 9, 0.7F, 0)};
    assert_int_equal(nx_nms(items, 3, 0.45F, 10), 2);
    assert_true(items[0].confidence == 0.7F && items[0].class_id == 0);
    assert_true(items[1].confidence == 0.6F && items[1].class_id == 1);
}

/* A dropped box drops no other: a and c overlap b only. */
static void nms_is_greedy(void **state)
{
    (void)state;
    nx_detection items[] = {box(0, 0, 10, 1, 0.9F, 0), box(4, 0, 14, 1, 0.8F, 0),
                            box(8, 0, 18, 1, 0.7F, 0)};
    assert_int_equal(nx_nms(items, 3, 0.3F, 10), 2);
    assert_true(items[1].x1 == 8);
}

static void nms_stops_at_the_limit(void **state)
{
    (void)state;
    nx_detection items[10];
    for (int i = 0; i < 10; i++) {
        items[i] = box((float)(10 * i), 0, (float)(10 * i + 5), 5, 0.1F * (float)(i + 1), 0);
    }
    assert_int_equal(nx_nms(items, 10, 0.5F, 3), 3);
    assert_true(items[0].x1 == 90 && items[1].x1 == 80 && items[2].x1 == 70);
    assert_int_equal(nx_nms(items, 3, 0.5F, 0), 0);
    assert_int_equal(nx_nms(NULL, 0, 0.5F, 3), 0);
}

/* The same set in any order comes out the same, down to boxes that differ in one edge alone. */
static void the_order_is_total(void **state)
{
    (void)state;
    const nx_detection sorted[] = {
        box(9, 9, 10, 10, 0.9F, 7), box(0, 0, 5, 5, 0.5F, 0), box(0, 0, 5, 6, 0.5F, 0),
        box(0, 0, 6, 5, 0.5F, 0),   box(0, 1, 5, 5, 0.5F, 0), box(1, 0, 5, 5, 0.5F, 0),
        box(0, 0, 5, 5, 0.5F, 1),   box(0, 0, 5, 5, 0.4F, 0),
    };
    uint32_t random = 3;
    for (int round = 0; round < 200; round++) {
        nx_detection items[NX_COUNT(sorted)];
        memcpy(items, sorted, sizeof items);
        for (size_t i = NX_COUNT(items) - 1; i > 0; i--) {
            random = random * 1664525 + 1013904223;
            size_t j = (random >> 16) % (i + 1);
            nx_detection swapped = items[i];
            items[i] = items[j];
            items[j] = swapped;
        }
        nx_detections_sort(items, NX_COUNT(items));
        assert_memory_equal(items, sorted, sizeof sorted);
    }
}

/* NMS takes time with the square of the candidates, so only the best 30000 are considered. */
static void candidates_are_bounded(void **state)
{
    (void)state;
    enum { MANY = 40000 };
    canvas c = canvas_new(NX_HEAD_YOLOV8, 5, MANY, 640);
    for (int32_t i = 0; i < MANY; i++) {
        put(&c, i, 100, 100, 50, 50, 0, 0.9F);
    }
    put(&c, 7, 300, 300, 50, 50, 0, 0.3F);  /* the weakest of all */
    put(&c, 8, 400, 400, 50, 50, 0, 0.95F); /* the best */
    nx_detections found = run(&c, same_source(640), nx_postprocess_defaults());
    assert_int_equal(found.count, 2);
    assert_detection(&found.items[0], 0, 0.95F, 375, 375, 425, 425);
    assert_detection(&found.items[1], 0, 0.9F, 75, 75, 125, 125);
    nx_detections_free(&found);
    free(c.data);
}

static void max_detections_keeps_the_best(void **state)
{
    (void)state;
    canvas c = canvas_new(NX_HEAD_YOLOV8, 5, 50, 640);
    for (int32_t i = 0; i < 50; i++) {
        put(&c, i, 10 + 12.0F * (float)i, 100, 8, 8, 0, 0.3F + 0.01F * (float)i);
    }
    nx_postprocess_options options = nx_postprocess_defaults();
    options.max_detections = 7;
    nx_detections found = run(&c, same_source(640), options);
    assert_int_equal(found.count, 7);
    assert_true(fabsf(found.items[6].confidence - 0.73F) < 1e-5F);
    options.max_detections = 0;
    nx_detections again = run(&c, same_source(640), options);
    assert_int_equal(again.count, 0);
    nx_detections_free(&found);
    nx_detections_free(&again);
    nx_detections_free(NULL);
    free(c.data);
}

/* The list of one picture is taken for the next. */
static void lists_are_used_again(void **state)
{
    (void)state;
    nx_detections found = {0};
    nx_error err = {0};
    nx_letterbox letterbox = same_source(64);
    nx_postprocess_options options = nx_postprocess_defaults();
    canvas c = canvas_new(NX_HEAD_YOLOV8, 5, 2, 64);
    put(&c, 0, 32, 32, 8, 8, 0, 0.9F);
    nx_assert_ok(nx_postprocess(&c.head, &letterbox, &options, &found, &err), err);
    assert_int_equal(found.count, 1);
    c.data[8] = 0; /* the score */
    nx_assert_ok(nx_postprocess(&c.head, &letterbox, &options, &found, &err), err);
    assert_int_equal(found.count, 0);
    nx_detections_free(&found);
    free(c.data);
}

static void grid_cells_of_known_inputs(void **state)
{
    (void)state;
    assert_int_equal(nx_head_grid_cells(640, 640), 8400);
    assert_int_equal(nx_head_grid_cells(320, 320), 2100);
    assert_int_equal(nx_head_grid_cells(640, 384), 5040);
    assert_int_equal(nx_head_grid_cells(1280, 736), 19320);
    assert_int_equal(nx_head_grid_cells(416, 416), 3549);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(yolov8_boxes_are_found_at_any_anchor),
        cmocka_unit_test(yolov8_takes_the_best_class_or_all),
        cmocka_unit_test(yolox_cells_lie_where_they_should),
        cmocka_unit_test(yolox_score_is_objectness_times_class),
        cmocka_unit_test(end_to_end_rows_are_taken_as_they_are),
        cmocka_unit_test(top_left_letterboxes_are_undone_too),
        cmocka_unit_test(other_shapes_are_refused),
        cmocka_unit_test(the_threshold_itself_is_too_weak),
        cmocka_unit_test(classes_are_filtered),
        cmocka_unit_test(the_filter_does_not_promote_second_classes),
        cmocka_unit_test(boxes_are_clipped_to_the_picture),
        cmocka_unit_test(numbers_that_are_none_drop_their_box),
        cmocka_unit_test(iou_of_known_pairs),
        cmocka_unit_test(nms_drops_what_overlaps_by_more),
        cmocka_unit_test(nms_is_class_wise),
        cmocka_unit_test(nms_is_greedy),
        cmocka_unit_test(nms_stops_at_the_limit),
        cmocka_unit_test(the_order_is_total),
        cmocka_unit_test(candidates_are_bounded),
        cmocka_unit_test(max_detections_keeps_the_best),
        cmocka_unit_test(lists_are_used_again),
        cmocka_unit_test(grid_cells_of_known_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

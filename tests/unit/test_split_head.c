#include "testing.h"

#include "vision/kernels.h"
#include "vision/postprocess.h"

#include <math.h>
#include <stdbool.h>

extern const nx_kernels_set nx_kernels_generic;

enum { LEVELS = 3, BINS = 16, CHANNELS = 4 * BINS };

/* A cut head over an input, channels first, with the same laid out channels last beside it. */
typedef struct split {
    nx_head_output head;
    float *distances[LEVELS];
    float *scores[LEVELS];
} split;

static float *filled(size_t count, float value)
{
    float *data = malloc(count * sizeof *data);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        data[i] = value;
    }
    return data;
}

/* Every logit far below any threshold, every distribution flat. */
static split split_new(int32_t width, int32_t height, int32_t classes)
{
    split s = {
        .head =
            {
                .kind = NX_HEAD_SPLIT,
                .input_width = width,
                .input_height = height,
                .classes = classes,
                .level_count = LEVELS,
                .reg_max = BINS,
            },
    };
    for (int32_t i = 0; i < LEVELS; i++) {
        int32_t stride = 8 << i;
        nx_head_level *level = &s.head.levels[i];
        level->width = (width + stride - 1) / stride;
        level->height = (height + stride - 1) / stride;
        size_t cells = (size_t)level->width * (size_t)level->height;
        s.distances[i] = filled(cells * CHANNELS, 0);
        s.scores[i] = filled(cells * (size_t)classes, -20);
        level->distances = s.distances[i];
        level->scores = s.scores[i];
    }
    return s;
}

static void split_free(split *s)
{
    for (int i = 0; i < LEVELS; i++) {
        free(s->distances[i]);
        free(s->scores[i]);
    }
}

static size_t cells_of(const split *s, int level)
{
    return (size_t)s->head.levels[level].width * (size_t)s->head.levels[level].height;
}

static void set_score(split *s, int level, size_t cell, int32_t class_id, float logit)
{
    s->scores[level][(size_t)class_id * cells_of(s, level) + cell] = logit;
}

/* A distribution that is certain: `sides` in cells, whole numbers. */
static void set_sides(split *s, int level, size_t cell, const int sides[4])
{
    for (size_t side = 0; side < 4; side++) {
        for (size_t bin = 0; bin < BINS; bin++) {
            s->distances[level][(side * BINS + bin) * cells_of(s, level) + cell] =
                (int)bin == sides[side] ? 50 : -50;
        }
    }
}

static float *transposed(const float *data, size_t channels, size_t cells)
{
    float *out = filled(channels * cells, 0);
    for (size_t c = 0; c < channels; c++) {
        for (size_t i = 0; i < cells; i++) {
            out[i * channels + c] = data[c * cells + i];
        }
    }
    return out;
}

/* The same head with channels last. */
static split channels_last(const split *s)
{
    split out = {.head = s->head};
    out.head.channels_last = true;
    for (int i = 0; i < LEVELS; i++) {
        out.distances[i] = transposed(s->distances[i], CHANNELS, cells_of(s, i));
        out.scores[i] = transposed(s->scores[i], (size_t)s->head.classes, cells_of(s, i));
        out.head.levels[i].distances = out.distances[i];
        out.head.levels[i].scores = out.scores[i];
    }
    return out;
}

static nx_letterbox same_source(const split *s)
{
    uint32_t width = (uint32_t)s->head.input_width;
    uint32_t height = (uint32_t)s->head.input_height;
    return nx_letterbox_fit(width, height, width, height, true);
}

static nx_detections run(const split *s, nx_postprocess_options options)
{
    nx_detections found = {0};
    nx_error err = {0};
    nx_letterbox box = same_source(s);
    nx_assert_ok(nx_postprocess(&s->head, &box, &options, &found, &err), err);
    return found;
}

static void assert_near(float got, double expected, double tolerance)
{
    if (!(fabs((double)got - expected) <= tolerance)) {
        fail_msg("%.7g instead of %.7g", (double)got, expected);
    }
}

static void assert_box(const nx_detection *d, float x1, float y1, float x2, float y2)
{
    assert_near(d->x1, x1, 1e-3);
    assert_near(d->y1, y1, 1e-3);
    assert_near(d->x2, x2, 1e-3);
    assert_near(d->y2, y2, 1e-3);
}

/* --- known answers ------------------------------------------------------------------------------
 */

/* 128x64: 16x8 cells of 8, 8x4 of 16, 4x2 of 32. */
static void boxes_lie_about_their_cells(void **state)
{
    (void)state;
    split first = split_new(128, 64, 3);
    set_score(&first, 0, 2 * 16 + 3, 1, 2); /* cell 3,2 of 8 pixels: centre 28,20 */
    set_sides(&first, 0, 2 * 16 + 3, (const int[]){1, 2, 3, 0});
    set_score(&first, 1, 3 * 8 + 7, 2, 1); /* the last of 16: centre 120,56 */
    set_sides(&first, 1, 3 * 8 + 7, (const int[]){2, 1, 0, 0});
    set_score(&first, 2, 0, 0, 0); /* the first of 32: centre 16,16; a flat distribution of 0..15 is
                                      7.5 cells, clipped to the picture */
    split last = channels_last(&first);
    for (int layout = 0; layout < 2; layout++) {
        nx_detections found = run(layout == 0 ? &first : &last, nx_postprocess_defaults());
        assert_int_equal(found.count, 3);
        assert_int_equal(found.items[0].class_id, 1);
        assert_near(found.items[0].confidence, 1 / (1 + exp(-2)), 1e-6);
        assert_box(&found.items[0], 20, 4, 52, 20);
        assert_int_equal(found.items[1].class_id, 2);
        assert_near(found.items[1].confidence, 1 / (1 + exp(-1)), 1e-6);
        assert_box(&found.items[1], 88, 40, 120, 56);
        assert_int_equal(found.items[2].class_id, 0);
        assert_near(found.items[2].confidence, 0.5, 1e-6);
        assert_box(&found.items[2], 0, 0, 128, 64);
        nx_detections_free(&found);
    }
    split_free(&first);
    split_free(&last);
}

/* Two bins of weights 1 and 3: between them at three quarters. */
static void a_side_is_the_mean_of_its_distribution(void **state)
{
    (void)state;
    split s = split_new(64, 64, 1);
    size_t cell = 3 * 8 + 3;
    set_score(&s, 0, cell, 0, 3);
    set_sides(&s, 0, cell, (const int[]){2, 2, 2, 2});
    for (size_t side = 0; side < 4; side++) {
        s.distances[0][(side * BINS + 1) * 64 + cell] = 50 - logf(3);
    }
    nx_detections found = run(&s, nx_postprocess_defaults());
    assert_int_equal(found.count, 1);
    assert_box(&found.items[0], 28 - 14, 28 - 14, 28 + 14, 28 + 14);
    nx_detections_free(&found);
    split_free(&s);
}

static void the_threshold_itself_is_too_weak(void **state)
{
    (void)state;
    static const struct {
        float confidence;
        float logit;
        size_t found;
    } cases[] = {
        {0.5F, 0, 0},       {0.49999F, 0, 1},    {0.5F, 1e-5F, 1},    {0, -80, 1},
        {0, -INFINITY, 0},  {1, 1000, 0},        {0.99999F, 1000, 1}, {1, 0, 0},
        {0.001F, -6.9F, 1}, {0.001F, -6.91F, 0},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        split s = split_new(64, 64, 1);
        for (int level = 0; level < LEVELS; level++) { /* nothing else passes at 0 */
            for (size_t k = 0; k < cells_of(&s, level); k++) {
                s.scores[level][k] = -INFINITY;
            }
        }
        set_score(&s, 1, 5, 0, cases[i].logit);
        nx_postprocess_options options = nx_postprocess_defaults();
        options.confidence = cases[i].confidence;
        nx_detections found = run(&s, options);
        if (found.count != cases[i].found) {
            fail_msg("case %zu: %zu found", i, found.count);
        }
        nx_detections_free(&found);
        split_free(&s);
    }
}

static void labels_and_filters(void **state)
{
    (void)state;
    split first = split_new(64, 64, 20); /* over one register of classes, and not all of two */
    set_score(&first, 0, 9, 0, 0.5F);
    set_score(&first, 0, 9, 17, 1.5F);
    set_score(&first, 0, 9, 19, 1);
    split last = channels_last(&first);
    for (int layout = 0; layout < 2; layout++) {
        const split *s = layout == 0 ? &first : &last;
        nx_postprocess_options options = nx_postprocess_defaults();
        nx_detections found = run(s, options);
        assert_int_equal(found.count, 1);
        assert_int_equal(found.items[0].class_id, 17);
        nx_detections_free(&found);
        nx_postprocess_allow_class(&options, 19); /* does not promote the second best */
        found = run(s, options);
        assert_int_equal(found.count, 0);
        nx_detections_free(&found);
        options.multi_label = true;
        found = run(s, options);
        assert_int_equal(found.count, 1);
        assert_int_equal(found.items[0].class_id, 19);
        nx_detections_free(&found);
        options.filter_classes = false;
        found = run(s, options);
        assert_int_equal(found.count, 3);
        assert_int_equal(found.items[0].class_id, 17);
        assert_int_equal(found.items[1].class_id, 19);
        assert_int_equal(found.items[2].class_id, 0);
        assert_box(&found.items[2], found.items[0].x1, found.items[0].y1, found.items[0].x2,
                   found.items[0].y2);
        nx_detections_free(&found);
    }
    split_free(&first);
    split_free(&last);
}

/* --- against the head that was not cut ----------------------------------------------------------
 */

static double side_of(const split *s, int level, size_t cell, size_t side)
{
    double sum = 0;
    double mean = 0;
    for (size_t bin = 0; bin < BINS; bin++) {
        double weight =
            exp((double)s->distances[level][(side * BINS + bin) * cells_of(s, level) + cell]);
        sum += weight;
        mean += weight * (double)bin;
    }
    return mean / sum;
}

/* What the whole graph puts out: cx, cy, w, h and the sigmoids, for each cell of each level. */
static float *whole_output(const split *s, int32_t *columns)
{
    size_t total = 0;
    for (int level = 0; level < LEVELS; level++) {
        total += cells_of(s, level);
    }
    size_t rows = 4 + (size_t)s->head.classes;
    float *out = filled(rows * total, 0);
    size_t at = 0;
    for (int level = 0; level < LEVELS; level++) {
        size_t cells = cells_of(s, level);
        size_t width = (size_t)s->head.levels[level].width;
        for (size_t cell = 0; cell < cells; cell++, at++) {
            double stride = 8 << level;
            double x1 = (double)(cell % width) + 0.5 - side_of(s, level, cell, 0);
            double y1 = (double)(cell / width) + 0.5 - side_of(s, level, cell, 1);
            double x2 = (double)(cell % width) + 0.5 + side_of(s, level, cell, 2);
            double y2 = (double)(cell / width) + 0.5 + side_of(s, level, cell, 3);
            out[at] = (float)((x1 + x2) / 2 * stride);
            out[total + at] = (float)((y1 + y2) / 2 * stride);
            out[2 * total + at] = (float)((x2 - x1) * stride);
            out[3 * total + at] = (float)((y2 - y1) * stride);
            for (size_t c = 0; c < (size_t)s->head.classes; c++) {
                double logit = (double)s->scores[level][c * cells + cell];
                out[(4 + c) * total + at] = (float)(1 / (1 + exp(-logit)));
            }
        }
    }
    *columns = (int32_t)total;
    return out;
}

static float random_between(uint32_t *random, float low, float high)
{
    *random = *random * 1664525 + 1013904223;
    return low + (high - low) * (float)(*random >> 8) / (float)(1 << 24);
}

static split random_split(int32_t width, int32_t height, int32_t classes)
{
    split s = split_new(width, height, classes);
    uint32_t random = 99;
    for (int level = 0; level < LEVELS; level++) {
        size_t cells = cells_of(&s, level);
        for (size_t i = 0; i < cells * CHANNELS; i++) {
            s.distances[level][i] = random_between(&random, -6, 6);
        }
        for (size_t i = 0; i < cells * (size_t)classes; i++) {
            s.scores[level][i] = random_between(&random, -30, 2);
        }
    }
    return s;
}

static void assert_same_detections(const nx_detections *a, const nx_detections *b)
{
    assert_int_equal(a->count, b->count);
    for (size_t i = 0; i < a->count; i++) {
        assert_int_equal(a->items[i].class_id, b->items[i].class_id);
        assert_near(a->items[i].confidence, (double)b->items[i].confidence, 1e-6);
        assert_near(a->items[i].x1, (double)b->items[i].x1, 2e-3);
        assert_near(a->items[i].y1, (double)b->items[i].y1, 2e-3);
        assert_near(a->items[i].x2, (double)b->items[i].x2, 2e-3);
        assert_near(a->items[i].y2, (double)b->items[i].y2, 2e-3);
    }
}

static void finds_what_the_whole_head_finds(void **state)
{
    (void)state;
    static const float confidences[] = {0.001F, 0.25F, 0.6F, 0.87F};
    split first = random_split(320, 192, 80);
    split last = channels_last(&first);
    split whole = {.head = {.kind = NX_HEAD_YOLOV8, .input_width = 320, .input_height = 192}};
    float *output = whole_output(&first, &whole.head.columns);
    whole.head.data = output;
    whole.head.rows = 84;
    for (int variant = 0; variant < 16; variant++) {
        nx_postprocess_options options = nx_postprocess_defaults();
        options.confidence = confidences[variant % 4];
        options.multi_label = variant / 4 % 2 != 0;
        options.max_detections = 1000;
        for (int32_t c = 0; c < 80 && variant >= 8; c += 3) {
            nx_postprocess_allow_class(&options, c);
        }
        nx_detections expected = run(&whole, options);
        nx_detections by_first = run(&first, options);
        nx_detections by_last = run(&last, options);
        assert_true(expected.count > 10);
        assert_same_detections(&by_first, &expected);
        assert_same_detections(&by_last, &expected);
        nx_detections_free(&expected);
        nx_detections_free(&by_first);
        nx_detections_free(&by_last);
    }
    free(output);
    split_free(&first);
    split_free(&last);
}

/* --- what a broken model puts out ---------------------------------------------------------------
 */

static void numbers_that_are_none_drop_their_box(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        for (int where = 0; where < 2; where++) {
            split first = split_new(64, 64, 2);
            set_score(&first, 0, 0, 1, 2);
            set_sides(&first, 0, 0, (const int[]){0, 0, 1, 1});
            set_score(&first, 0, 20, 0, 1);
            set_sides(&first, 0, 20, (const int[]){1, 1, 1, 1});
            if (where == 0) {
                set_score(&first, 0, 0, 1, bad[i]);
            } else {
                first.distances[0][5 * 64] = bad[i];
            }
            split last = channels_last(&first);
            for (int multi = 0; multi < 2; multi++) {
                nx_postprocess_options options = nx_postprocess_defaults();
                options.multi_label = multi != 0;
                nx_detections a = run(&first, options);
                nx_detections b = run(&last, options);
                assert_int_equal(a.count, 1);
                assert_int_equal(a.items[0].class_id, 0);
                assert_same_detections(&a, &b);
                nx_detections_free(&a);
                nx_detections_free(&b);
            }
            split_free(&first);
            split_free(&last);
        }
    }
}

typedef void (*damage)(nx_head_output *head);

static void no_levels(nx_head_output *head)
{
    head->level_count = 0;
}

static void too_many_levels(nx_head_output *head)
{
    head->level_count = NX_HEAD_MAX_LEVELS + 1;
}

static void no_classes(nx_head_output *head)
{
    head->classes = 0;
}

static void too_many_classes(nx_head_output *head)
{
    head->classes = NX_MAX_CLASSES + 1;
}

static void no_bins(nx_head_output *head)
{
    head->reg_max = 0;
}

static void too_many_bins(nx_head_output *head)
{
    head->reg_max = 65;
}

static void no_scores(nx_head_output *head)
{
    head->levels[1].scores = NULL;
}

static void no_distances(nx_head_output *head)
{
    head->levels[2].distances = NULL;
}

static void narrow(nx_head_output *head)
{
    head->levels[0].width--;
}

static void no_height(nx_head_output *head)
{
    head->levels[0].height = 0;
}

static void negative(nx_head_output *head)
{
    head->levels[0].width = -head->levels[0].width;
}

static void other_input(nx_head_output *head)
{
    head->input_width = INT32_MAX;
}

static void no_input(nx_head_output *head)
{
    head->input_height = 0;
}

static void other_shapes_are_refused(void **state)
{
    (void)state;
    static const damage damages[] = {no_levels, too_many_levels, no_classes, too_many_classes,
                                     no_bins,   too_many_bins,   no_scores,  no_distances,
                                     narrow,    no_height,       negative,   other_input,
                                     no_input};
    for (size_t i = 0; i < NX_COUNT(damages); i++) {
        split s = split_new(64, 64, 2);
        nx_letterbox box = same_source(&s);
        nx_postprocess_options options = nx_postprocess_defaults();
        nx_detections found = {0};
        nx_error err = {0};
        damages[i](&s.head);
        if (nx_postprocess(&s.head, &box, &options, &found, &err) != NX_ERR_INVALID) {
            fail_msg("damage %zu was taken", i);
        }
        nx_assert_contains(err.message, "levels");
        nx_detections_free(&found);
        split_free(&s);
    }
}

/* An input that is no multiple of its strides: 100x60 gives 13x8, 7x4 and 4x2 cells. */
static void odd_inputs_have_rounded_up_levels(void **state)
{
    (void)state;
    split s = split_new(100, 60, 1);
    assert_int_equal(s.head.levels[2].width, 4);
    set_score(&s, 2, 1, 0, 2);
    set_sides(&s, 2, 1, (const int[]){1, 0, 1, 1});
    nx_detections found = run(&s, nx_postprocess_defaults());
    assert_int_equal(found.count, 1);
    assert_box(&found.items[0], 16, 16, 80, 48);
    nx_detections_free(&found);
    split_free(&s);
}

/* --- the kernel ---------------------------------------------------------------------------------
 */

static void every_kernel_set_finds_the_same_rows(void **state)
{
    (void)state;
    const nx_kernels_set *sets[] = {&nx_kernels_generic, nx_kernels()};
    float rows[7 * 100];
    uint32_t random = 3;
    for (size_t i = 0; i < NX_COUNT(rows); i++) {
        rows[i] = random_between(&random, -100, 100);
    }
    rows[5] = NAN;
    rows[11] = 200; /* found in its row whatever the number of columns */
    for (size_t columns = 1; columns <= 100; columns++) {
        for (size_t set = 0; set < NX_COUNT(sets); set++) {
            for (float limit = -90; limit <= 210; limit += 10) {
                uint8_t found[8];
                found[7] = 77;
                sets[set]->any_at_least(rows, columns, limit, found, 7);
                assert_int_equal(found[7], 77);
                for (size_t r = 0; r < 7; r++) {
                    bool expected = false;
                    for (size_t i = 0; i < columns; i++) {
                        expected = expected || rows[r * columns + i] >= limit;
                    }
                    assert_int_equal(found[r], expected);
                }
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boxes_lie_about_their_cells),
        cmocka_unit_test(a_side_is_the_mean_of_its_distribution),
        cmocka_unit_test(the_threshold_itself_is_too_weak),
        cmocka_unit_test(labels_and_filters),
        cmocka_unit_test(finds_what_the_whole_head_finds),
        cmocka_unit_test(numbers_that_are_none_drop_their_box),
        cmocka_unit_test(other_shapes_are_refused),
        cmocka_unit_test(odd_inputs_have_rounded_up_levels),
        cmocka_unit_test(every_kernel_set_finds_the_same_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

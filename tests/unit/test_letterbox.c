#include "testing.h"

#include "vision/kernels.h"
#include "vision/letterbox.h"

#include <math.h>
#include <stdbool.h>

extern const nx_kernels_set nx_kernels_generic;
#if defined(__x86_64__)
extern const nx_kernels_set nx_kernels_v3;
#endif

/* --- geometry -----------------------------------------------------------------------------------
 */

static void fit_keeps_the_aspect_ratio(void **state)
{
    (void)state;
    static const struct {
        uint32_t source_width, source_height, input_width, input_height;
        uint32_t left, top, width, height; /* centered */
        double scale;
    } cases[] = {
        {1920, 1080, 640, 640, 0, 140, 640, 360, 1.0 / 3},
        {1080, 1920, 640, 640, 140, 0, 360, 640, 1.0 / 3},
        {810, 1080, 640, 640, 80, 0, 480, 640, 640.0 / 1080},
        {1920, 1080, 640, 384, 0, 12, 640, 360, 1.0 / 3},
        {1280, 720, 416, 416, 0, 91, 416, 234, 0.325},
        {640, 640, 640, 640, 0, 0, 640, 640, 1},
        {1, 1, 640, 640, 0, 0, 640, 640, 640},
        {2000, 8, 640, 640, 0, 318, 640, 3, 0.32}, /* 2.56 rows */
        {8, 2000, 640, 640, 318, 0, 3, 640, 0.32},
        {100000, 2, 640, 640, 0, 319, 640, 1, 0.0064},      /* 0.01 rows: never none */
        {500, 375, 640, 640, 0, 80, 640, 480, 1.28},        /* enlarged */
        {641, 427, 640, 640, 0, 107, 640, 426, 640.0 / 641} /* the odd row lies below */
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        for (int centered = 0; centered < 2; centered++) {
            nx_letterbox box =
                nx_letterbox_fit(cases[i].source_width, cases[i].source_height,
                                 cases[i].input_width, cases[i].input_height, centered);
            assert_int_equal(box.source_width, cases[i].source_width);
            assert_int_equal(box.source_height, cases[i].source_height);
            assert_int_equal(box.input_width, cases[i].input_width);
            assert_int_equal(box.input_height, cases[i].input_height);
            assert_int_equal(box.width, cases[i].width);
            assert_int_equal(box.height, cases[i].height);
            assert_int_equal(box.left, centered ? cases[i].left : 0);
            assert_int_equal(box.top, centered ? cases[i].top : 0);
            assert_true(fabs((double)box.scale - cases[i].scale) < 1e-6 * cases[i].scale);
        }
    }
}

static void dynamic_size_is_the_smallest_that_holds_it(void **state)
{
    (void)state;
    static const struct {
        uint32_t source_width, source_height, size, stride, width, height;
    } cases[] = {
        {1920, 1080, 640, 32, 640, 384},   {1080, 1920, 640, 32, 384, 640},
        {810, 1080, 640, 32, 480, 640},    {640, 640, 640, 32, 640, 640},
        {1, 1, 640, 32, 640, 640},         {2000, 8, 640, 32, 640, 32},
        {1920, 1080, 1280, 64, 1280, 768}, {1000, 333, 640, 32, 640, 224},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        uint32_t width = 0;
        uint32_t height = 0;
        nx_letterbox_dynamic_size(cases[i].source_width, cases[i].source_height, cases[i].size,
                                  cases[i].stride, &width, &height);
        assert_int_equal(width, cases[i].width);
        assert_int_equal(height, cases[i].height);
    }
}

/* For any size: the picture lies inside, touches two sides, and padding is less than a stride. */
static void dynamic_size_wastes_less_than_a_stride(void **state)
{
    (void)state;
    for (uint32_t source = 20; source < 3000; source += 7) {
        uint32_t width = 0;
        uint32_t height = 0;
        nx_letterbox_dynamic_size(source, 1000, 640, 32, &width, &height);
        assert_int_equal(width % 32, 0);
        assert_int_equal(height % 32, 0);
        assert_int_equal(width > height ? width : height, 640);
        nx_letterbox box = nx_letterbox_fit(source, 1000, width, height, true);
        assert_true(box.width <= width && width - box.width < 32);
        assert_true(box.height <= height && height - box.height < 32);
    }
}

/* --- pixels -------------------------------------------------------------------------------------
 */

static nx_image noise(uint32_t width, uint32_t height)
{
    nx_error err = {0};
    nx_image image = {0};
    uint32_t random = width * 31 + height;
    nx_assert_ok(nx_image_alloc(width, height, &image, &err), err);
    for (size_t i = 0; i < image.stride * height; i++) {
        random = random * 1664525 + 1013904223;
        image.pixels[i] = (uint8_t)(random >> 24);
    }
    return image;
}

#define GUARD 16

/* A tensor of which each float must be written, with floats around it that must not be. */
typedef struct guarded {
    float *memory;
    float *tensor;
    size_t count;
} guarded;

static guarded guarded_new(const nx_letterbox *box)
{
    guarded g = {.count = (size_t)3 * box->input_width * box->input_height};
    g.memory = malloc((g.count + 2 * GUARD) * sizeof *g.memory);
    assert_non_null(g.memory);
    for (size_t i = 0; i < g.count + 2 * GUARD; i++) {
        g.memory[i] = (float)NAN;
    }
    g.tensor = g.memory + GUARD;
    return g;
}

static void guarded_check(const guarded *g)
{
    for (size_t i = 0; i < GUARD; i++) {
        assert_true(isnan(g->memory[i]));
        assert_true(isnan(g->tensor[g->count + i]));
    }
    for (size_t i = 0; i < g->count; i++) {
        assert_false(isnan(g->tensor[i]));
    }
}

static guarded apply(const nx_letterbox *box, const nx_image *image, nx_pixel_layout layout)
{
    nx_error err = {0};
    guarded g = guarded_new(box);
    nx_assert_ok(nx_letterbox_apply(box, image, layout, g.tensor, &err), err);
    guarded_check(&g);
    return g;
}

static bool in_picture(const nx_letterbox *box, uint32_t x, uint32_t y)
{
    return x >= box->left && x < box->left + box->width && y >= box->top &&
           y < box->top + box->height;
}

static void assert_padded(const nx_letterbox *box, const float *tensor, float gray)
{
    for (size_t plane = 0; plane < 3; plane++) {
        for (uint32_t y = 0; y < box->input_height; y++) {
            for (uint32_t x = 0; x < box->input_width; x++) {
                size_t at = (plane * box->input_height + y) * box->input_width + x;
                if (!in_picture(box, x, y) && tensor[at] != gray) {
                    fail_msg("%g at %u,%u", (double)tensor[at], x, y);
                }
            }
        }
    }
}

static void a_constant_picture_stays_constant(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{1920, 1080}, {31, 17}, {64, 64},
                                        {300, 4},     {1, 1},   {1, 90}};
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        nx_image image = noise(sizes[i][0], sizes[i][1]);
        for (size_t p = 0; p < (size_t)image.width * image.height; p++) {
            memcpy(image.pixels + 3 * p, (uint8_t[]){10, 200, 255}, 3);
        }
        nx_letterbox box = nx_letterbox_fit(image.width, image.height, 96, 64, true);
        guarded rgb = apply(&box, &image, NX_PIXELS_RGB_UNIT);
        guarded bgr = apply(&box, &image, NX_PIXELS_BGR_BYTE);
        assert_padded(&box, rgb.tensor, 114.0F / 255.0F);
        assert_padded(&box, bgr.tensor, 114.0F);
        static const float levels[3] = {10, 200, 255};
        for (uint32_t y = box.top; y < box.top + box.height; y++) {
            for (uint32_t x = box.left; x < box.left + box.width; x++) {
                for (size_t c = 0; c < 3; c++) {
                    float unit = rgb.tensor[(c * 64 + y) * 96 + x];
                    assert_true(fabsf(unit - levels[c] / 255) < 1e-7F);
                    /* the planes in the other order, the levels as they are */
                    assert_true(bgr.tensor[((2 - c) * 64 + y) * 96 + x] == levels[c]);
                }
            }
        }
        free(rgb.memory);
        free(bgr.memory);
        nx_image_free(&image);
    }
}

/* One row or column of gray levels through the filter, top left. */
static void scale_line(const uint8_t *levels, uint32_t from, uint32_t to, bool vertical, float *out)
{
    nx_error err = {0};
    nx_image image = {0};
    nx_assert_ok(nx_image_alloc(vertical ? 1 : from, vertical ? from : 1, &image, &err), err);
    for (uint32_t i = 0; i < from; i++) {
        memset(image.pixels + (size_t)3 * i, levels[i], 3);
    }
    nx_letterbox box = {.source_width = image.width,
                        .source_height = image.height,
                        .input_width = vertical ? 1 : to,
                        .input_height = vertical ? to : 1,
                        .width = vertical ? 1 : to,
                        .height = vertical ? to : 1,
                        .scale = (float)to / (float)from};
    guarded g = apply(&box, &image, NX_PIXELS_BGR_BYTE);
    memcpy(out, g.tensor, to * sizeof *out);
    free(g.memory);
    nx_image_free(&image);
}

static void half_and_double_size_by_hand(void **state)
{
    (void)state;
    for (int vertical = 0; vertical < 2; vertical++) {
        float out[4] = {0};
        /* The triangle reaches 2 pixels to each side of 1 and of 3, the centres of the two results:
         * weights 3 3 1 0 and 0 1 3 3, of 7. */
        scale_line((const uint8_t[]){0, 70, 140, 210}, 4, 2, vertical, out);
        assert_true(out[0] == 50 && out[1] == 160);
        /* Centres at 0.25, 0.75, 1.25 and 1.75: nothing beyond the edge, a quarter of the way,
         * three quarters. */
        scale_line((const uint8_t[]){0, 100}, 2, 4, vertical, out);
        assert_true(out[0] == 0 && out[1] == 25 && out[2] == 75 && out[3] == 100);
        /* halves are rounded up: (3 * 1 + 0) / 4 = 0.75, (1 * 1 + 3 * 3) / 4 = 2.5 */
        scale_line((const uint8_t[]){1, 3}, 2, 4, vertical, out);
        assert_true(out[0] == 1 && out[1] == 2 && out[2] == 3 && out[3] == 3);
    }
}

static void same_size_changes_nothing(void **state)
{
    (void)state;
    nx_image image = noise(37, 23);
    nx_letterbox box = nx_letterbox_fit(37, 23, 64, 23, true);
    guarded g = apply(&box, &image, NX_PIXELS_BGR_BYTE);
    for (uint32_t y = 0; y < 23; y++) {
        for (uint32_t x = 0; x < 37; x++) {
            for (size_t c = 0; c < 3; c++) {
                assert_true(g.tensor[((2 - c) * 23 + y) * 64 + box.left + x] ==
                            image.pixels[y * image.stride + 3 * x + c]);
            }
        }
    }
    free(g.memory);
    nx_image_free(&image);
}

/* --- against a filter written down straight from its definition
 * -----------------------------------
 */

static double triangle(double distance)
{
    return distance < 1 ? 1 - distance : 0;
}

/* Both axes at once, in double, without rounding in between. */
static double reference_pixel(const nx_image *image, const nx_letterbox *box, uint32_t x,
                              uint32_t y, size_t channel)
{
    double ratio_x = (double)image->width / box->width;
    double ratio_y = (double)image->height / box->height;
    double reach_x = fmax(ratio_x, 1);
    double reach_y = fmax(ratio_y, 1);
    double centre_x = (x + 0.5) * ratio_x;
    double centre_y = (y + 0.5) * ratio_y;
    double sum = 0;
    double weights = 0;
    long from_y = lround(fmax(floor(centre_y - reach_y) - 1, 0));
    long to_y = lround(fmin(ceil(centre_y + reach_y) + 1, image->height));
    long from_x = lround(fmax(floor(centre_x - reach_x) - 1, 0));
    long to_x = lround(fmin(ceil(centre_x + reach_x) + 1, image->width));
    for (long sy = from_y; sy < to_y; sy++) {
        for (long sx = from_x; sx < to_x; sx++) {
            double weight = triangle(fabs((double)sx + 0.5 - centre_x) / reach_x) *
                            triangle(fabs((double)sy + 0.5 - centre_y) / reach_y);
            sum += weight * image->pixels[(size_t)sy * image->stride + 3 * (size_t)sx + channel];
            weights += weight;
        }
    }
    return sum / weights;
}

static void agrees_with_the_definition(void **state)
{
    (void)state;
    static const uint32_t cases[][4] = {
        /* source, input */
        {192, 108, 64, 64},  {108, 192, 64, 64}, {81, 108, 64, 64},   {1, 1, 32, 32},
        {2000, 8, 64, 64},   {8, 2000, 64, 64},  {50, 37, 64, 64},    {3, 5, 64, 96},
        {641, 427, 96, 64},  {97, 61, 96, 64},   {1000, 999, 33, 17}, {65, 65, 64, 64},
        {5, 70000, 16, 700},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_image image = noise(cases[i][0], cases[i][1]);
        nx_letterbox box =
            nx_letterbox_fit(image.width, image.height, cases[i][2], cases[i][3], i % 2 == 0);
        guarded g = apply(&box, &image, NX_PIXELS_RGB_UNIT);
        assert_padded(&box, g.tensor, 114.0F / 255.0F);
        double worst = 0;
        for (uint32_t y = 0; y < box.height; y++) {
            for (uint32_t x = 0; x < box.width; x++) {
                for (size_t c = 0; c < 3; c++) {
                    size_t at = (c * box.input_height + box.top + y) * box.input_width + box.left;
                    double got = 255 * (double)g.tensor[at + x];
                    assert_true(fabs(got - nearbyint(got)) < 1e-4); /* whole levels, as bytes */
                    worst = fmax(worst, fabs(got - reference_pixel(&image, &box, x, y, c)));
                }
            }
        }
        if (worst > 1.001) { /* half a level is lost in x and half in y */
            fail_msg("%ux%u: %.3f levels off", image.width, image.height, worst);
        }
        free(g.memory);
        nx_image_free(&image);
    }
}

/* Rows may be further apart than the pixels need, and the picture smaller than its source. */
static void stride_and_reduced_pictures(void **state)
{
    (void)state;
    nx_image tight = noise(60, 40);
    nx_image padded = tight;
    padded.stride = tight.stride + 13;
    padded.pixels = malloc(padded.stride * padded.height);
    assert_non_null(padded.pixels);
    memset(padded.pixels, 0xEE, padded.stride * padded.height);
    for (uint32_t y = 0; y < tight.height; y++) {
        memcpy(padded.pixels + y * padded.stride, tight.pixels + y * tight.stride, tight.stride);
    }
    /* as a JPEG of 480x320 that was decoded at an eighth */
    nx_letterbox box = nx_letterbox_fit(480, 320, 32, 32, true);
    guarded a = apply(&box, &tight, NX_PIXELS_RGB_UNIT);
    guarded b = apply(&box, &padded, NX_PIXELS_RGB_UNIT);
    assert_memory_equal(a.tensor, b.tensor, a.count * sizeof *a.tensor);
    free(a.memory);
    free(b.memory);
    nx_image_free(&padded);
    nx_image_free(&tight);
}

/* --- kernels ------------------------------------------------------------------------------------
 */

typedef struct kernel_case {
    float *row;
    int32_t first[333];
    float weights[333 * 7];
    const float *rows[7];
} kernel_case;

/* A sum that lies half-way between two levels may be rounded either way, as the sets sum up in
 * another order and with fused operations. */
static void assert_same_levels(const float *a, const float *b, size_t count, float unit)
{
    size_t unequal = 0;
    for (size_t i = 0; i < count; i++) {
        unequal += a[i] != b[i];
        assert_true(fabsf(a[i] - b[i]) <= unit * 1.0001F);
    }
    assert_true(unequal * 200 <= count);
}

static void compare_filters(const kernel_case *in, const nx_kernels_set *a, const nx_kernels_set *b,
                            int32_t taps, size_t count)
{
    float out[2][3][340];
    for (int set = 0; set < 2; set++) {
        float *const planes[3] = {out[set][0], out[set][1], out[set][2]};
        for (size_t c = 0; c < 3; c++) {
            planes[c][count] = -7;
        }
        (set == 0 ? a : b)->filter_row(in->row, in->first, in->weights, taps, planes, count);
        for (size_t c = 0; c < 3; c++) {
            assert_true(planes[c][count] == -7); /* not one too many */
        }
    }
    for (size_t c = 0; c < 3; c++) {
        assert_same_levels(out[0][c], out[1][c], count, 1);
    }
    for (int set = 0; set < 2; set++) {
        out[set][0][count] = -7;
        (set == 0 ? a : b)
            ->combine_rows(in->rows, in->weights, taps, 1.0F / 255, out[set][0], count);
        assert_true(out[set][0][count] == -7);
    }
    assert_same_levels(out[0][0], out[1][0], count, 1.0F / 255);
}

static void compare_maxima(const kernel_case *in, const nx_kernels_set *a, const nx_kernels_set *b,
                           size_t count)
{
    float best[2][340];
    int32_t which[2][340];
    a->max_over_rows(in->row, 5, 400, best[0], which[0], count);
    b->max_over_rows(in->row, 5, 400, best[1], which[1], count);
    assert_memory_equal(best[0], best[1], count * sizeof best[0][0]);
    assert_memory_equal(which[0], which[1], count * sizeof which[0][0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t r = 0; r < 5; r++) { /* the first of the largest */
            assert_true(in->row[r * 400 + i] <= best[0][i]);
            assert_true((int32_t)r >= which[0][i] || in->row[r * 400 + i] < best[0][i]);
        }
    }
}

static void compare_sets(const nx_kernels_set *a, const nx_kernels_set *b)
{
    enum { FLOATS = 333 * 7 + 100 };
    uint8_t bytes[FLOATS];
    float wide[FLOATS];
    kernel_case in = {.row = malloc(FLOATS * sizeof(float))};
    uint32_t random = 5;
    assert_non_null(in.row);
    for (size_t i = 0; i < FLOATS; i++) {
        random = random * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(random >> 24);
    }
    a->widen(bytes, in.row, FLOATS);
    b->widen(bytes, wide, FLOATS);
    assert_memory_equal(in.row, wide, sizeof wide);
    for (size_t i = 0; i < FLOATS; i++) {
        assert_true(wide[i] == bytes[i]);
    }
    for (int32_t taps = 1; taps <= 7; taps++) {
        for (int32_t x = 0; x < 333; x++) {
            float sum = 0;
            in.first[x] = x * 2;
            for (int32_t t = 0; t < taps; t++) {
                in.weights[x * taps + t] = (float)bytes[x * taps + t] + 1;
                sum += in.weights[x * taps + t];
            }
            for (int32_t t = 0; t < taps; t++) {
                in.weights[x * taps + t] /= sum;
            }
        }
        for (int t = 0; t < 7; t++) {
            in.rows[t] = in.row + 100 * t;
        }
        static const size_t counts[] = {1, 2, 7, 8, 63, 64, 65, 333};
        for (size_t i = 0; i < NX_COUNT(counts); i++) {
            compare_filters(&in, a, b, taps, counts[i]);
            compare_maxima(&in, a, b, counts[i]);
        }
    }
    free(in.row);
}

static void every_kernel_set_gives_the_same(void **state)
{
    (void)state;
    assert_true(strlen(nx_kernels_name()) > 0);
    compare_sets(&nx_kernels_generic, nx_kernels());
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
        compare_sets(&nx_kernels_generic, &nx_kernels_v3);
    }
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fit_keeps_the_aspect_ratio),
        cmocka_unit_test(dynamic_size_is_the_smallest_that_holds_it),
        cmocka_unit_test(dynamic_size_wastes_less_than_a_stride),
        cmocka_unit_test(a_constant_picture_stays_constant),
        cmocka_unit_test(half_and_double_size_by_hand),
        cmocka_unit_test(same_size_changes_nothing),
        cmocka_unit_test(agrees_with_the_definition),
        cmocka_unit_test(stride_and_reduced_pictures),
        cmocka_unit_test(every_kernel_set_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

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
        if (worst > 1.01) { /* half a level in x and half in y, and what weights are rounded by */
            fail_msg("%ux%u: %.3f levels off", image.width, image.height, worst);
        }
        free(g.memory);
        nx_image_free(&image);
    }
}

/*
 * Pillow 13's own bytes: FNV-1a of Image.frombytes("RGB", size, noise).resize(new, BILINEAR), whose
 * noise is that of noise(). (It filters very tall pictures down first, which we don't.) Made by
 * tests/unit/pillow_hashes.py.
 */
static void the_bytes_are_those_of_pillow(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height, input_width, input_height, hash;
    } cases[] = {
        {192, 108, 64, 64, 2911796773U},    {810, 1080, 640, 640, 1080320041U},
        {1920, 1080, 640, 384, 392579483U}, {960, 540, 640, 384, 2213127470U},
        {50, 37, 64, 64, 2658224669U},      {3, 5, 64, 96, 1463726002U},
        {641, 427, 96, 64, 812893706U},     {1000, 999, 33, 17, 2677487772U},
        {65, 65, 64, 64, 3871744764U},      {64, 64, 64, 64, 2425267888U},
        {2000, 8, 64, 64, 1529850094U},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_error err = {0};
        nx_image image = noise(cases[i].width, cases[i].height);
        nx_letterbox box = nx_letterbox_fit(image.width, image.height, cases[i].input_width,
                                            cases[i].input_height, false);
        size_t row = (size_t)3 * box.input_width;
        uint8_t *bytes = calloc(box.input_height, row);
        assert_non_null(bytes);
        nx_assert_ok(nx_letterbox_apply(&box, &image, NX_PIXELS_RGB_BYTE_NHWC, bytes, &err), err);
        uint32_t hash = 2166136261;
        for (size_t at = 0; at < row * box.input_height; at++) {
            if (at % row < (size_t)3 * box.width && at / row < box.height) {
                hash = (hash ^ bytes[at]) * 16777619;
            }
        }
        assert_int_equal(hash, cases[i].hash);
        free(bytes);
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

/* --- the other tensors --------------------------------------------------------------------------
 */

/* In double, so that it is not the kernel's own arithmetic. */
static double number_of_half(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double fraction = half & 1023;
    return exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);
}

/* The levels of the float tensor, in the other element types and orders; nothing beside them is
 * written. */
static void the_layouts_hold_the_same_levels(void **state)
{
    (void)state;
    static const uint32_t cases[][4] = {
        {192, 108, 64, 64}, {81, 108, 63, 65}, {3, 5, 64, 96}, {640, 480, 33, 17}, {9, 9, 9, 9}};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_error err = {0};
        nx_image image = noise(cases[i][0], cases[i][1]);
        nx_letterbox box =
            nx_letterbox_fit(image.width, image.height, cases[i][2], cases[i][3], i % 2 == 0);
        guarded units = apply(&box, &image, NX_PIXELS_RGB_UNIT);
        size_t plane = units.count / 3;
        uint8_t *bytes = malloc(units.count + 2 * GUARD);
        uint16_t *halves = malloc((units.count + 2 * GUARD) * sizeof *halves);
        assert_true(bytes != NULL && halves != NULL);
        memset(bytes, 0xA5, units.count + 2 * GUARD);
        memset(halves, 0xA5, (units.count + 2 * GUARD) * sizeof *halves);
        nx_assert_ok(nx_letterbox_apply(&box, &image, NX_PIXELS_RGB_BYTE_NHWC, bytes + GUARD, &err),
                     err);
        nx_assert_ok(nx_letterbox_apply(&box, &image, NX_PIXELS_RGB_UNIT_F16, halves + GUARD, &err),
                     err);
        for (size_t k = 0; k < GUARD; k++) {
            assert_int_equal(bytes[k], 0xA5);
            assert_int_equal(bytes[GUARD + units.count + k], 0xA5);
            assert_int_equal(halves[k], 0xA5A5);
            assert_int_equal(halves[GUARD + units.count + k], 0xA5A5);
        }
        for (size_t k = 0; k < units.count; k++) {
            double unit = (double)units.tensor[k];
            assert_int_equal(bytes[GUARD + k % plane * 3 + k / plane], lround(unit * 255));
            /* half a unit in the last place of binary16 */
            assert_true(fabs(number_of_half(halves[GUARD + k]) - unit) <= ldexp(1, -12));
        }
        free(bytes);
        free(halves);
        free(units.memory);
        nx_image_free(&image);
    }
}

/* --- video frames -------------------------------------------------------------------------------
 */

typedef struct frame {
    nx_yuv_frame yuv;
    uint8_t *bytes;
} frame;

static frame frame_new(uint32_t width, uint32_t height)
{
    frame f = {.yuv = {.width = width, .height = height}};
    size_t luma = (size_t)(width + 5) * height;
    size_t half_width = (width + 1) / 2 + 3;
    size_t chroma = half_width * ((height + 1) / 2);
    f.bytes = malloc(luma + 2 * chroma);
    assert_non_null(f.bytes);
    memset(f.bytes, 0x80, luma + 2 * chroma);
    f.yuv.planes[0] = f.bytes;
    f.yuv.planes[1] = f.bytes + luma;
    f.yuv.planes[2] = f.bytes + luma + chroma;
    f.yuv.strides[0] = width + 5;
    f.yuv.strides[1] = half_width;
    f.yuv.strides[2] = half_width;
    return f;
}

static uint8_t *sample_at(const frame *f, size_t plane, size_t x, size_t y)
{
    return &f->bytes[(size_t)(f->yuv.planes[plane] - f->bytes) + y * f->yuv.strides[plane] + x];
}

static void fill_frame(frame *f, const uint8_t yuv[3])
{
    for (uint32_t y = 0; y < f->yuv.height; y++) {
        for (uint32_t x = 0; x < f->yuv.width; x++) {
            for (size_t plane = 0; plane < 3; plane++) {
                *sample_at(f, plane, plane > 0 ? x / 2 : x, plane > 0 ? y / 2 : y) = yuv[plane];
            }
        }
    }
}

/* Bars of a test picture with the bytes that BT.601 and BT.709 prescribe for them. */
static void colours_come_out_of_frames(void **state)
{
    (void)state;
    static const struct {
        bool full, bt709;
        uint8_t yuv[3], rgb[3];
    } cases[] = {
        {false, false, {16, 128, 128}, {0, 0, 0}},
        {false, false, {235, 128, 128}, {255, 255, 255}},
        {false, false, {81, 90, 240}, {255, 0, 0}},
        {false, false, {145, 54, 34}, {0, 255, 0}},
        {false, false, {41, 240, 110}, {0, 0, 255}},
        {false, true, {63, 102, 240}, {255, 0, 0}},
        {false, true, {173, 42, 26}, {0, 255, 0}},
        {false, true, {32, 240, 118}, {0, 0, 255}},
        {true, false, {76, 85, 255}, {254, 0, 0}},
        {true, false, {150, 44, 21}, {0, 255, 0}},
        {true, false, {0, 128, 128}, {0, 0, 0}},
        {true, true, {255, 128, 128}, {255, 255, 255}},
        {false, false, {0, 128, 128}, {0, 0, 0}}, /* blacker than black */
        {false, true, {255, 255, 0}, {49, 255, 255}},
        {true, true, {0, 0, 255}, {200, 0, 0}},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_error err = {0};
        frame f = frame_new(31, 17);
        uint8_t tensor[32 * 32 * 3];
        f.yuv.full_range = cases[i].full;
        f.yuv.bt709 = cases[i].bt709;
        f.yuv.chroma_left = i % 2 == 0;
        fill_frame(&f, cases[i].yuv);
        nx_letterbox box = nx_letterbox_fit(31, 17, 32, 32, true);
        nx_assert_ok(nx_letterbox_apply_yuv(&box, &f.yuv, NX_PIXELS_RGB_BYTE_NHWC, tensor, &err),
                     err);
        for (uint32_t y = 0; y < 32; y++) {
            for (uint32_t x = 0; x < 32; x++) {
                for (size_t c = 0; c < 3; c++) {
                    int got = tensor[(y * 32 + x) * 3 + c];
                    int expected = in_picture(&box, x, y) ? cases[i].rgb[c] : 114;
                    if (abs(got - expected) > (expected == 114 ? 0 : 2)) {
                        fail_msg("case %zu: channel %zu is %d and not %d", i, c, got, expected);
                    }
                }
            }
        }
        free(f.bytes);
    }
}

/* Gray frames of noise are scaled as gray pictures are, but for what coarse weights are rounded by.
 */
static void frames_are_scaled_as_pictures_are(void **state)
{
    (void)state;
    static const uint32_t cases[][4] = {
        {192, 108, 64, 64}, {108, 191, 64, 64}, {50, 37, 64, 64}, {1000, 99, 96, 32}, {1, 1, 8, 8}};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_error err = {0};
        nx_image image = noise(cases[i][0], cases[i][1]);
        frame f = frame_new(image.width, image.height);
        f.yuv.full_range = true;
        for (uint32_t y = 0; y < image.height; y++) {
            for (uint32_t x = 0; x < image.width; x++) {
                uint8_t *pixel = image.pixels + y * image.stride + (size_t)3 * x;
                memset(pixel, pixel[0], 3);
                *sample_at(&f, 0, x, y) = pixel[0];
            }
        }
        nx_letterbox box =
            nx_letterbox_fit(image.width, image.height, cases[i][2], cases[i][3], true);
        guarded from_image = apply(&box, &image, NX_PIXELS_RGB_UNIT);
        guarded from_frame = guarded_new(&box);
        nx_assert_ok(
            nx_letterbox_apply_yuv(&box, &f.yuv, NX_PIXELS_RGB_UNIT, from_frame.tensor, &err), err);
        guarded_check(&from_frame);
        for (size_t at = 0; at < from_image.count; at++) {
            float levels = 255 * (from_image.tensor[at] - from_frame.tensor[at]);
            assert_true(fabsf(levels) < 1.01F);
        }
        free(from_image.memory);
        free(from_frame.memory);
        free(f.bytes);
        nx_image_free(&image);
    }
}

/* A step in the chroma lies half a luma pixel further left when its samples do. */
static void chroma_lies_where_the_frame_says(void **state)
{
    (void)state;
    nx_error err = {0};
    double edge[2];
    for (int left = 0; left < 2; left++) {
        frame f = frame_new(64, 64);
        float tensor[3 * 64 * 64];
        f.yuv.full_range = true;
        f.yuv.chroma_left = left != 0;
        for (size_t y = 0; y < 32; y++) {
            for (size_t x = 16; x < 32; x++) {
                *sample_at(&f, 2, x, y) = 192; /* red from column 32 on */
            }
        }
        nx_letterbox box = nx_letterbox_fit(64, 64, 64, 64, true);
        nx_assert_ok(nx_letterbox_apply_yuv(&box, &f.yuv, NX_PIXELS_BGR_BYTE, tensor, &err), err);
        double reds = 0; /* the columns' levels above gray, in units of the step */
        for (size_t x = 0; x < 64; x++) {
            reds += ((double)tensor[2 * 64 * 64 + 10 * 64 + x] - 128) /
                    ((double)tensor[2 * 64 * 64 + 10 * 64 + 63] - 128);
        }
        edge[left] = 64 - reds;
        free(f.bytes);
    }
    assert_true(fabs(edge[0] - 32) < 0.1);
    assert_true(fabs(edge[1] - 31.5) < 0.1);
}

/* --- kernels ------------------------------------------------------------------------------------
 */

enum { LONGEST = 333, MOST_TAPS = 24, SLACK = NX_FILTER_SLACK + 3 * MOST_TAPS };

typedef struct kernel_case {
    uint8_t bytes[MOST_TAPS * 400];
    uint8_t levels[3 * (2 * LONGEST + 8) + SLACK];
    int32_t first[LONGEST + 8];
    int32_t weights[(LONGEST + 8) * MOST_TAPS];
} kernel_case;

static kernel_case *kernel_case_new(void)
{
    kernel_case *in = calloc(1, sizeof *in);
    uint32_t random = 5;
    assert_non_null(in);
    for (size_t i = 0; i < sizeof in->bytes; i++) {
        random = random * 1664525 + 1013904223;
        in->bytes[i] = (uint8_t)(random >> 24);
    }
    for (size_t i = 0; i < NX_COUNT(in->levels); i++) {
        in->levels[i] = in->bytes[i % sizeof in->bytes];
    }
    for (size_t i = 0; i < NX_COUNT(in->first); i++) {
        in->first[i] = (int32_t)(i * 2);
    }
    return in;
}

/* Weights of positions of `taps`, any but for their sum: `one`, or a little less. */
static void kernel_case_weigh(kernel_case *in, size_t positions, size_t taps, int32_t one)
{
    for (size_t x = 0; x < positions; x++) {
        int32_t given = 0;
        for (size_t t = 0; t < taps; t++) {
            int32_t byte = in->bytes[(x * taps + t) % sizeof in->bytes];
            int32_t weight = (int32_t)((int64_t)byte * one / 256 / (int32_t)taps);
            in->weights[x * taps + t] = t + 1 < taps ? weight : one - given;
            given += weight;
        }
    }
}

/* A weight in the parts that a kernel takes. */
static void put_weight(int32_t weight, bool fine, int16_t *high, int16_t *low)
{
    *high = (int16_t)(fine ? weight >> NX_FINE_LOW_BITS : weight);
    if (fine) {
        *low = (int16_t)(weight & NX_FINE_LOW_MASK);
    }
}

static int rounded_level(double sum, bool fine)
{
    return (int)floor(sum / (fine ? NX_FINE_ONE : NX_WEIGHT_ONE) + 0.5);
}

static void check_blending(kernel_case *in, const nx_kernels_set *a, size_t taps, size_t count,
                           bool fine)
{
    const uint8_t *rows[MOST_TAPS];
    int16_t weights[2 * MOST_TAPS];
    uint8_t out[LONGEST + 1];
    kernel_case_weigh(in, 1, taps, fine ? NX_FINE_ONE : NX_WEIGHT_MOST);
    for (size_t t = 0; t < taps; t++) {
        rows[t] = in->bytes + 400 * t + t % 3;
        put_weight(in->weights[t], fine, &weights[t], &weights[taps + t]);
    }
    out[count] = 77;
    (fine ? a->blend_rows_fine : a->blend_rows)(rows, weights, taps, out, count);
    assert_int_equal(out[count], 77); /* not one too many */
    for (size_t i = 0; i < count; i++) {
        double sum = 0;
        for (size_t t = 0; t < taps; t++) {
            sum += (double)in->weights[t] * rows[t][i];
        }
        assert_int_equal(out[i], rounded_level(sum, fine));
    }
}

/* The weights in the order that kernels.h tells. */
static int16_t *lay_out(const kernel_case *in, size_t positions, size_t taps, size_t chunk,
                        bool fine)
{
    int16_t *laid_out = calloc(positions * taps * 2, sizeof *laid_out);
    assert_non_null(laid_out);
    size_t block = chunk * NX_FILTER_GROUP;
    for (size_t x = 0; x < positions; x++) {
        for (size_t t = 0; t < taps; t++) {
            size_t part = x / NX_FILTER_GROUP * (taps / chunk) + t / chunk;
            int16_t *to =
                laid_out + part * block * (fine ? 2 : 1) + x % NX_FILTER_GROUP * chunk + t % chunk;
            put_weight(in->weights[x * taps + t], fine, to, to + block);
        }
    }
    return laid_out;
}

static void check_filter(kernel_case *in, const nx_kernels_set *a, bool rgb, size_t taps,
                         size_t groups)
{
    enum { GUARDED = 3 * (LONGEST + 8) + 8 };
    size_t channels = rgb ? 3 : 1;
    size_t chunk = rgb ? NX_RGB_CHUNK : NX_PLANE_CHUNK;
    size_t positions = groups * NX_FILTER_GROUP;
    uint8_t out[GUARDED];
    kernel_case_weigh(in, positions, taps, rgb ? NX_FINE_ONE : NX_WEIGHT_MOST);
    int16_t *laid_out = lay_out(in, positions, taps, chunk, rgb);
    const nx_filter filter = {
        .first = in->first, .weights = laid_out, .groups = groups, .taps = taps, .chunk = chunk};
    memset(out, 0xA5, sizeof out);
    (rgb ? a->filter_rgb : a->filter_plane)(in->levels, &filter, out);
    for (size_t i = positions * channels + (rgb ? 4 : 0); i < GUARDED; i++) {
        assert_int_equal(out[i], 0xA5);
    }
    for (size_t i = 0; i < positions * channels; i++) {
        size_t x = i / channels;
        double sum = 0;
        for (size_t t = 0; t < taps; t++) {
            size_t at = ((size_t)in->first[x] + t) * channels + i % channels;
            sum += (double)in->weights[x * taps + t] * in->levels[at];
        }
        assert_int_equal(out[i], rounded_level(sum, rgb));
    }
    free(laid_out);
}

static void check_maxima(const nx_kernels_set *a, const nx_kernels_set *b, size_t count)
{
    float rows[5 * 400];
    float best[2][340];
    int32_t which[2][340];
    uint32_t random = 7;
    for (size_t i = 0; i < NX_COUNT(rows); i++) {
        random = random * 1664525 + 1013904223;
        rows[i] = (float)(random >> 24);
    }
    a->max_over_rows(rows, 5, 400, best[0], which[0], count);
    b->max_over_rows(rows, 5, 400, best[1], which[1], count);
    assert_memory_equal(best[0], best[1], count * sizeof best[0][0]);
    assert_memory_equal(which[0], which[1], count * sizeof which[0][0]);
    for (size_t i = 0; i < count; i++) {
        for (size_t r = 0; r < 5; r++) { /* the first of the largest */
            assert_true(rows[r * 400 + i] <= best[0][i]);
            assert_true((int32_t)r >= which[0][i] || rows[r * 400 + i] < best[0][i]);
        }
    }
}

/* Every level through the elements of each tensor. */
static void check_spreading(const nx_kernels_set *a)
{
    uint8_t rgb[3 * 256];
    float numbers[3][257];
    uint16_t halves[3][257];
    for (size_t i = 0; i < sizeof rgb; i++) {
        rgb[i] = (uint8_t)(i / 3 + i % 3 * 50);
    }
    for (size_t c = 0; c < 3; c++) {
        numbers[c][256] = -7;
        halves[c][256] = 7;
    }
    a->spread(rgb, 0.5F, (float *const[]){numbers[0], numbers[1], numbers[2]}, 256);
    a->spread_half(rgb, (uint16_t *const[]){halves[0], halves[1], halves[2]}, 256);
    for (size_t c = 0; c < 3; c++) {
        assert_true(numbers[c][256] == -7 && halves[c][256] == 7);
        for (size_t i = 0; i < 256; i++) {
            double unit = rgb[3 * i + c] / 255.0;
            double half = number_of_half(halves[c][i]);
            assert_true(numbers[c][i] == 0.5F * rgb[3 * i + c]);
            assert_true(fabs(half - unit) <= unit * ldexp(1, -11)); /* the nearest */
        }
    }
}

static void check_colours(const nx_kernels_set *a, const nx_kernels_set *b)
{
    enum { COUNT = 777 };
    const nx_yuv_matrix matrix = {16, 9539, 13075, -3209, -6660, 16525};
    kernel_case *in = kernel_case_new();
    uint8_t rgb[2][3 * COUNT + 1];
    for (int set = 0; set < 2; set++) {
        rgb[set][3 * (size_t)COUNT] = 0xA5;
        (set == 0 ? a : b)
            ->yuv_to_rgb(in->bytes, in->bytes + 1000, in->bytes + 2001, &matrix, rgb[set], COUNT);
        assert_int_equal(rgb[set][3 * (size_t)COUNT], 0xA5);
    }
    assert_memory_equal(rgb[0], rgb[1], sizeof rgb[0]);
    free(in);
}

static void check_set(const nx_kernels_set *a)
{
    static const size_t counts[] = {1, 2, 7, 8, 31, 32, 33, 63, 64, 65, LONGEST};
    kernel_case *in = kernel_case_new();
    for (size_t i = 0; i < NX_COUNT(counts); i++) {
        for (size_t taps = 2; taps <= MOST_TAPS; taps += 2) {
            check_blending(in, a, taps, counts[i], false);
            check_blending(in, a, taps, counts[i], true);
        }
        check_maxima(&nx_kernels_generic, a, counts[i]);
    }
    for (size_t groups = 1; groups <= LONGEST / NX_FILTER_GROUP; groups += 5) {
        for (size_t taps = NX_RGB_TAPS; taps <= MOST_TAPS; taps += NX_RGB_TAPS) {
            check_filter(in, a, true, taps, groups);
        }
        for (size_t taps = NX_PLANE_TAPS; taps <= MOST_TAPS; taps += NX_PLANE_TAPS) {
            check_filter(in, a, false, taps, groups);
        }
    }
    check_spreading(a);
    check_colours(&nx_kernels_generic, a);
    free(in);
}

static void every_kernel_set_gives_the_same(void **state)
{
    (void)state;
    assert_true(strlen(nx_kernels_name()) > 0);
    check_set(&nx_kernels_generic);
    check_set(nx_kernels());
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("bmi2")) {
        check_set(&nx_kernels_v3);
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
        cmocka_unit_test(the_bytes_are_those_of_pillow),
        cmocka_unit_test(stride_and_reduced_pictures),
        cmocka_unit_test(the_layouts_hold_the_same_levels),
        cmocka_unit_test(colours_come_out_of_frames),
        cmocka_unit_test(frames_are_scaled_as_pictures_are),
        cmocka_unit_test(chroma_lies_where_the_frame_says),
        cmocka_unit_test(every_kernel_set_gives_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

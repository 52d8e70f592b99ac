/* Histograms, ranges, SiLU's table, weights and binary16 (src/optimize). */
#include "testing.h"

#include "optimize/half.h"
#include "optimize/histogram.h"
#include "optimize/quant_weights.h"
#include "optimize/ranges.h"

#include <math.h>

static nx_histogram *histogram_of(const float *values, size_t count)
{
    nx_histogram *h = calloc(1, sizeof *h);
    nx_histogram_add(h, values, count);
    return h;
}

static void histogram_widens_as_values_grow(void **state)
{
    (void)state;
    const float small[] = {0.001F, -0.001F, 0.0015F};
    nx_histogram *h = histogram_of(small, 3);
    assert_int_equal(h->total, 3);
    const float large[] = {100, -100, NAN, INFINITY};
    nx_histogram_add(h, large, 4);
    assert_int_equal(h->total, 5);
    assert_true(h->width * NX_HISTOGRAM_HALF > 100);
    assert_true(h->width * NX_HISTOGRAM_HALF <= 200);
    size_t negative = 0;
    size_t sum = 0;
    for (size_t i = 0; i < 2 * NX_HISTOGRAM_HALF; i++) {
        sum += h->bins[i];
        negative += i < NX_HISTOGRAM_HALF ? h->bins[i] : 0;
    }
    assert_int_equal(sum, 5);
    assert_int_equal(negative, 2);
    free(h);
}

static void zero_is_a_level(void **state)
{
    (void)state;
    const nx_weighted points[] = {{-0.2784, 50}, {0.5, 10}, {3.1, 4}, {7.7, 1}};
    nx_quant_range range = nx_range_choose(points, 4);
    assert_true(nx_dequantize(range, range.zero) == 0);
    assert_true(nx_dequantize(range, nx_quantize(range, 0)) == 0);
    assert_true(fabs(nx_dequantize(range, nx_quantize(range, 7.7)) - 7.7) < 0.05);
    assert_true(fabs(nx_dequantize(range, nx_quantize(range, -0.2784)) + 0.2784) < 0.05);
    assert_int_equal(nx_quantize(range, 1e9), 255);
    assert_int_equal(nx_quantize(range, -1e9), 0);
}

/* One outlier at 1000 among a million numbers up to 1 is cut off; at 1.2 it is not. */
static void cuts_off_what_costs_more_than_it_is_worth(void **state)
{
    (void)state;
    nx_weighted points[257];
    for (size_t i = 0; i < 256; i++) {
        points[i] = (nx_weighted){.value = (double)i / 255.5, .weight = 1e9};
    }
    points[256] = (nx_weighted){.value = 1000, .weight = 1};
    nx_quant_range wide = nx_range_choose(points, 257);
    assert_true((double)wide.scale * 255 < 500);
    points[256].value = 1.2;
    points[256].weight = 1e9;
    nx_quant_range narrow = nx_range_choose(points, 257);
    assert_true((double)narrow.scale * 255 > 1.15 && (double)narrow.scale * 255 < 1.3);
}

static void nothing_seen_gives_a_usable_range(void **state)
{
    (void)state;
    nx_quant_range range = nx_range_choose(NULL, 0);
    assert_true(range.scale > 0);
    nx_histogram *empty = calloc(1, sizeof *empty);
    range = nx_range_choose_for_silu(empty, range);
    assert_true(range.scale > 0);
    free(empty);
}

/* Numbers down to -60 all become nearly 0 behind SiLU, so the levels go to the others. */
static void spends_no_levels_on_the_tail_of_silu(void **state)
{
    (void)state;
    float values[2000];
    for (size_t i = 0; i < 2000; i++) {
        values[i] = -60 + 0.033F * (float)i; /* up to 6 */
    }
    nx_histogram *h = histogram_of(values, 2000);
    nx_weighted *points = calloc(2 * NX_HISTOGRAM_HALF, sizeof *points);
    size_t count = nx_points_add(h, 1, points, 0);
    nx_quant_range output = nx_range_choose(points, count);
    nx_quant_range input = nx_range_choose_for_silu(h, output);
    double low = nx_dequantize(input, 0);
    assert_true(low > -13 && low < -3);
    assert_true(nx_dequantize(input, 255) > 5.5);
    uint8_t table[256];
    nx_silu_table(input, output, table);
    for (unsigned i = 0; i < 256; i++) {
        double x = nx_dequantize(input, (uint8_t)i);
        double exact = x / (1 + exp(-x));
        assert_true(fabs(nx_dequantize(output, table[i]) - exact) <= (double)output.scale * 0.51);
    }
    free(points);
    free(h);
}

static void weights_keep_their_shape(void **state)
{
    (void)state;
    const float weights[] = {0.5F, -1, 0.25F, 0.125F, 0, 1};
    int8_t levels[6];
    float scale = nx_quantize_channel(weights, 2, 3, NX_WEIGHTS_FULL, levels);
    for (size_t i = 0; i < 6; i++) {
        assert_true(fabsf((float)levels[i] * scale - weights[i]) < 0.005F);
    }
    scale = nx_quantize_channel(weights, 2, 3, NX_WEIGHTS_7BIT, levels);
    for (size_t i = 0; i < 6; i++) {
        assert_true(levels[i] >= -64 && levels[i] <= 64);
        assert_true(fabsf((float)levels[i] * scale - weights[i]) < 0.01F);
    }
}

/* What vpmaddubsw adds in 16 bits is two neighbours in the order [kernel][in] times up to 255. */
static void pairs_cannot_saturate(void **state)
{
    (void)state;
    enum { IN = 6, KERNEL = 9 };
    float weights[IN * KERNEL];
    int8_t levels[IN * KERNEL];
    uint32_t random = 1;
    for (int channel = 0; channel < 50; channel++) {
        for (size_t i = 0; i < IN * KERNEL; i++) {
            random = random * 1664525 + 1013904223;
            weights[i] = (float)(random >> 16) / 32768.0F - 0.5F; /* mostly positive */
        }
        float scale = nx_quantize_channel(weights, IN, KERNEL, NX_WEIGHTS_PAIRS, levels);
        double error = 0;
        double norm = 0;
        for (size_t k = 0; k < KERNEL; k++) {
            for (size_t c = 0; c < IN; c += 2) {
                int sum = levels[c * KERNEL + k] + levels[(c + 1) * KERNEL + k];
                assert_true(sum * 255 <= 32767 && sum * 255 >= -32768);
            }
        }
        for (size_t i = 0; i < IN * KERNEL; i++) {
            double difference = (double)((float)levels[i] * scale - weights[i]);
            error += difference * difference;
            norm += (double)weights[i] * (double)weights[i];
        }
        assert_true(error < norm * 1e-3);
    }
}

static void odd_weights_are_survived(void **state)
{
    (void)state;
    const float zeros[3] = {0};
    const float strange[3] = {NAN, INFINITY, 1};
    int8_t levels[3] = {1, 1, 1};
    assert_true(nx_quantize_channel(zeros, 3, 1, NX_WEIGHTS_PAIRS, levels) > 0);
    assert_int_equal(levels[0], 0);
    assert_true(nx_quantize_channel(strange, 3, 1, NX_WEIGHTS_PAIRS, levels) > 0);
}

static void halves_round_as_ieee_says(void **state)
{
    (void)state;
    static const struct {
        float value;
        uint16_t half;
    } known[] = {
        {0, 0x0000},          {-0.0F, 0x8000},           {1, 0x3C00},
        {-2, 0xC000},         {65504, 0x7BFF},           {65519.996F, 0x7BFF},
        {65520, 0x7C00},      {1e30F, 0x7C00},           {-INFINITY, 0xFC00},
        {0x1p-14F, 0x0400},   {0x1p-24F, 0x0001},        {0x1p-25F, 0x0000},
        {0x1.8p-25F, 0x0001}, {1.0F + 0x1p-11F, 0x3C00}, {1.0F + 0x1.8p-10F, 0x3C02},
        {0.1F, 0x2E66},       {0x1.ff8p-15F, 0x03FF},    {0x1.ffep-15F, 0x0400},
    };
    for (size_t i = 0; i < NX_COUNT(known); i++) {
        assert_int_equal(nx_half_from_float(known[i].value), known[i].half);
    }
    for (uint32_t half = 0; half < 0x10000; half++) {
        float value = nx_half_to_float((uint16_t)half);
        if (isnan(value)) {
            assert_true(isnan(nx_half_to_float(nx_half_from_float(value))));
        } else {
            assert_int_equal(nx_half_from_float(value), half);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_widens_as_values_grow),
        cmocka_unit_test(zero_is_a_level),
        cmocka_unit_test(cuts_off_what_costs_more_than_it_is_worth),
        cmocka_unit_test(nothing_seen_gives_a_usable_range),
        cmocka_unit_test(spends_no_levels_on_the_tail_of_silu),
        cmocka_unit_test(weights_keep_their_shape),
        cmocka_unit_test(pairs_cannot_saturate),
        cmocka_unit_test(odd_weights_are_survived),
        cmocka_unit_test(halves_round_as_ieee_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

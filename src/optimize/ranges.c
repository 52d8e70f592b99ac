#include "optimize/ranges.h"

#include <math.h>

#define LEVELS 255.0

/* Steps in which the upper end shrinks from the largest number; the last is a tenth of it. */
#define UPPER_STEPS 48
#define SMALLEST    0.1

/* x * sigmoid(x). */
static double silu_of(double x)
{
    return x / (1 + exp(-x));
}

uint8_t nx_quantize(nx_quant_range range, double value)
{
    double level = nearbyint(value / (double)range.scale) + range.zero;
    return (uint8_t)(level < 0 ? 0 : level > LEVELS ? LEVELS : level);
}

double nx_dequantize(nx_quant_range range, uint8_t level)
{
    return (double)range.scale * ((double)level - range.zero);
}

/* The range from low (at most 0) to high (at least 0), moved so that 0 is a level. */
static nx_quant_range make_range(double low, double high)
{
    double scale = (high - low) / LEVELS;
    if (!(scale > 1e-12)) {
        scale = 1 / LEVELS;
    }
    double zero = nearbyint(-low / scale);
    return (nx_quant_range){
        .scale = (float)scale,
        .zero = (uint8_t)(zero < 0        ? 0
                          : zero > LEVELS ? LEVELS
                                          : zero),
    };
}

static double error_of(const nx_weighted *points, size_t count, nx_quant_range range)
{
    double scale = (double)range.scale;
    double inverse = 1 / scale;
    double low = -(double)range.zero;
    double high = LEVELS - range.zero;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double level = nearbyint(points[i].value * inverse);
        level = level < low ? low : level > high ? high : level;
        double error = points[i].value - level * scale;
        sum += points[i].weight * error * error;
    }
    return sum;
}

static double upper_end(double most, int step)
{
    return most * pow(SMALLEST, (double)step / UPPER_STEPS);
}

nx_quant_range nx_range_choose(const nx_weighted *points, size_t count)
{
    static const double lower[] = {1, 0.9, 0.75, 0.5, 0.25};
    double least = 0;
    double most = 0;
    for (size_t i = 0; i < count; i++) {
        least = points[i].value < least ? points[i].value : least;
        most = points[i].value > most ? points[i].value : most;
    }
    if (least == 0 && most == 0) {
        return make_range(0, 1);
    }
    nx_quant_range best = make_range(least, most);
    double best_error = error_of(points, count, best);
    for (size_t l = 0; l < sizeof lower / sizeof lower[0]; l++) {
        for (int step = 0; step <= UPPER_STEPS; step++) {
            nx_quant_range range = make_range(least * lower[l], upper_end(most, step));
            double error = error_of(points, count, range);
            if (error < best_error) {
                best = range;
                best_error = error;
            }
        }
    }
    return best;
}

/* What one number becomes, by its level before SiLU. */
static void silu_levels(nx_quant_range input, nx_quant_range output, double levels[256])
{
    for (unsigned i = 0; i < 256; i++) {
        double value = silu_of(nx_dequantize(input, (uint8_t)i));
        levels[i] = nx_dequantize(output, nx_quantize(output, value));
    }
}

typedef struct silu_point {
    double before;
    double after;
    double weight;
} silu_point;

static double silu_error(const silu_point *points, size_t count, nx_quant_range input,
                         nx_quant_range output)
{
    double levels[256];
    double sum = 0;
    silu_levels(input, output, levels);
    for (size_t i = 0; i < count; i++) {
        double error = points[i].after - levels[nx_quantize(input, points[i].before)];
        sum += points[i].weight * error * error;
    }
    return sum;
}

nx_quant_range nx_range_choose_for_silu(const nx_histogram *before, nx_quant_range output)
{
    static const double floors[] = {-12, -10, -8, -7, -6, -5, -4.5, -4, -3.5, -3, -2.5, -2, -1.278};
    silu_point points[2 * NX_HISTOGRAM_HALF];
    size_t count = 0;
    double least = 0;
    double most = 0;
    for (size_t i = 0; i < 2 * NX_HISTOGRAM_HALF; i++) {
        if (before->bins[i] > 0) {
            double value = nx_histogram_center(before, i);
            points[count++] = (silu_point){
                .before = value, .after = silu_of(value), .weight = (double)before->bins[i]};
            least = value < least ? value : least;
            most = value > most ? value : most;
        }
    }
    if (count == 0 || (least == 0 && most == 0)) {
        return make_range(-1, 1);
    }
    nx_quant_range best = make_range(least, most);
    double best_error = silu_error(points, count, best, output);
    for (size_t l = 0; l < sizeof floors / sizeof floors[0]; l++) {
        double low = floors[l] > least ? floors[l] : least;
        for (int step = 0; step <= UPPER_STEPS; step++) {
            nx_quant_range range = make_range(low, upper_end(most, step));
            double error = silu_error(points, count, range, output);
            if (error < best_error) {
                best = range;
                best_error = error;
            }
        }
    }
    return best;
}

void nx_silu_table(nx_quant_range input, nx_quant_range output, uint8_t table[256])
{
    for (unsigned i = 0; i < 256; i++) {
        table[i] = nx_quantize(output, silu_of(nx_dequantize(input, (uint8_t)i)));
    }
}

size_t nx_points_add(const nx_histogram *histogram, int silu, nx_weighted *points, size_t count)
{
    for (size_t i = 0; i < 2 * NX_HISTOGRAM_HALF; i++) {
        if (histogram->bins[i] > 0) {
            double value = nx_histogram_center(histogram, i);
            points[count++] = (nx_weighted){
                .value = silu ? silu_of(value) : value,
                .weight = (double)histogram->bins[i],
            };
        }
    }
    return count;
}

#include "optimize/quant_weights.h"

#include <math.h>

/* 255 * 128 = 32640 fits 16 signed bits; 255 * 129 does not. */
#define MAX_PAIR 128

/* Scales that are tried: the one that keeps the largest weight, and smaller ones. */
#define STEPS    40
#define SMALLEST 0.5

static int limit_of(nx_weight_form form)
{
    return form == NX_WEIGHTS_7BIT ? 64 : 127;
}

static int rounded(float weight, float inverse, int limit)
{
    float level = nearbyintf(weight * inverse);
    /* what is no number ends at the limit, too */
    return level > (float)limit ? limit : level >= (float)-limit ? (int)level : -limit;
}

/* Makes the sum of two levels at most MAX_PAIR, each giving half of what is too much. */
static void fit_pair(int *a, int *b)
{
    int sum = *a + *b;
    int excess = sum > MAX_PAIR ? sum - MAX_PAIR : sum < -MAX_PAIR ? sum + MAX_PAIR : 0;
    *a -= excess / 2;
    *b -= excess - excess / 2;
}

static double squared(float weight, int level, float scale)
{
    double error = (double)weight - (double)level * (double)scale;
    return error * error;
}

/* Where the weight that is number `at` in the order [kernel][in] lies in [in][kernel]. */
static size_t place(size_t at, size_t in, size_t kernel)
{
    return at % in * kernel + at / in;
}

/* Quantises by a scale; returns the squared error. */
static double quantize_by(const float *weights, size_t in, size_t kernel, nx_weight_form form,
                          float scale, int8_t *out)
{
    int limit = limit_of(form);
    float inverse = 1 / scale;
    double error = 0;
    for (size_t at = 0; at < in * kernel; at += 2) {
        size_t first = place(at, in, kernel);
        size_t second = at + 1 < in * kernel ? place(at + 1, in, kernel) : first;
        int a = rounded(weights[first], inverse, limit);
        int b = second != first ? rounded(weights[second], inverse, limit) : 0;
        if (form == NX_WEIGHTS_PAIRS) {
            fit_pair(&a, &b);
        }
        error += squared(weights[first], a, scale);
        out[first] = (int8_t)a;
        if (second != first) {
            error += squared(weights[second], b, scale);
            out[second] = (int8_t)b;
        }
    }
    return error;
}

float nx_quantize_channel(const float *weights, size_t in, size_t kernel, nx_weight_form form,
                          int8_t *out)
{
    float most = 0;
    for (size_t i = 0; i < in * kernel; i++) {
        float magnitude = fabsf(weights[i]);
        most = magnitude > most && magnitude <= 3e38F ? magnitude : most;
    }
    float whole = most > 1e-20F ? most / (float)limit_of(form) : 1;
    float best = whole;
    double best_error = INFINITY;
    for (int step = 0; step <= STEPS; step++) {
        float scale = whole * (float)(1 - (1 - SMALLEST) * step / STEPS);
        double error = quantize_by(weights, in, kernel, form, scale, out);
        if (error < best_error) {
            best_error = error;
            best = scale;
        }
    }
    /* pairs may want a larger scale than the largest weight does */
    for (int step = 1; form == NX_WEIGHTS_PAIRS && step <= STEPS; step++) {
        float scale = whole * (float)(1 + (double)step / STEPS);
        double error = quantize_by(weights, in, kernel, form, scale, out);
        if (error < best_error) {
            best_error = error;
            best = scale;
        }
    }
    (void)quantize_by(weights, in, kernel, form, best, out);
    return best;
}

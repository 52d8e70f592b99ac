#include "optimize/histogram.h"

#include <math.h>
#include <string.h>

/* The first width: small enough for any layer, and doubled as often as needed. */
#define FIRST_WIDTH 0x1p-16

/* Values that are looked over before they are counted. */
#define CHUNK 1024

static void double_width(nx_histogram *h)
{
    uint64_t merged[2 * NX_HISTOGRAM_HALF] = {0};
    for (size_t i = 0; i < 2 * NX_HISTOGRAM_HALF; i++) {
        merged[NX_HISTOGRAM_HALF / 2 + i / 2] += h->bins[i];
    }
    memcpy(h->bins, merged, sizeof merged);
    h->width *= 2;
}

/* The largest magnitude of the finite values. */
static float largest(const float *values, size_t count)
{
    float most = 0;
    for (size_t i = 0; i < count; i++) {
        float magnitude = fabsf(values[i]);
        most = magnitude > most && magnitude <= 3e38F ? magnitude : most;
    }
    return most;
}

static void add_chunk(nx_histogram *h, const float *values, size_t count)
{
    double most = (double)largest(values, count);
    while (most >= h->width * NX_HISTOGRAM_HALF) {
        double_width(h);
    }
    float scale = (float)(1 / h->width); /* a power of two */
    for (size_t i = 0; i < count; i++) {
        float place = values[i] * scale + NX_HISTOGRAM_HALF;
        if (place >= 0 && place < 2 * NX_HISTOGRAM_HALF) { /* false for what is not finite */
            h->bins[(size_t)place]++;
            h->total++;
        }
    }
}

void nx_histogram_add(nx_histogram *histogram, const float *values, size_t count)
{
    if (histogram->width == 0) {
        histogram->width = FIRST_WIDTH;
    }
    for (size_t at = 0; at < count; at += CHUNK) {
        add_chunk(histogram, values + at, count - at < CHUNK ? count - at : CHUNK);
    }
}

double nx_histogram_center(const nx_histogram *histogram, size_t bin)
{
    return ((double)bin - NX_HISTOGRAM_HALF + 0.5) * histogram->width;
}

#include "results/fixed.h"

#include <math.h>
#include <stdbool.h>

/* Enough for 2^64 and a point. */
#define DIGITS_MAX 24

/* The digits of a number, backwards from `end`, at least `least` of them. Returns the first. printf
 * took most of the time that a table of a long video takes (bench_growth frames). */
static char *write_digits(char *end, uint64_t value, int least)
{
    char *at = end;
    for (int i = 0; i < least || value > 0; i++) {
        *--at = (char)('0' + value % 10);
        value /= 10;
    }
    return at;
}

void nx_append_whole(nx_buffer *out, uint64_t value)
{
    char text[DIGITS_MAX];
    char *end = text + sizeof text;
    const char *at = write_digits(end, value, 1);
    nx_buffer_append(out, at, (size_t)(end - at));
}

void nx_append_fixed(nx_buffer *out, double value, int decimals)
{
    char text[DIGITS_MAX];
    char *end = text + sizeof text;
    char *at = end;
    uint64_t scale = 1;
    for (int i = 0; i < decimals; i++) {
        scale *= 10;
    }
    double scaled = fabs(value) * (double)scale;
    if (!(scaled < 9e18)) {
        nx_buffer_append_str(out, "nan");
        return;
    }
    uint64_t units = (uint64_t)(scaled + 0.5);
    if (decimals > 0) {
        at = write_digits(at, units % scale, decimals);
        *--at = '.';
    }
    at = write_digits(at, units / scale, 1);
    if (value < 0 && units > 0) {
        *--at = '-';
    }
    nx_buffer_append(out, at, (size_t)(end - at));
}

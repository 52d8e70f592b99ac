#include "base/trace.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define VERSION_DIGITS 2
#define SAMPLED        1U

/* --- reading ------------------------------------------------------------------------------------
 */

/* A digit's value, or 16: upper case is not allowed. */
static unsigned digit_of(char c)
{
    return c >= '0' && c <= '9' ? (unsigned)(c - '0') : c >= 'a' && c <= 'f' ? c - 'a' + 10U : 16U;
}

/* Copies that many digits and a NUL, and returns what stands behind them. NULL: not so many. */
static const char *take_digits(const char *text, size_t count, char *out)
{
    for (size_t i = 0; i < count; i++) {
        if (digit_of(text[i]) > 15) {
            return NULL; /* at the text's end at the latest */
        }
        out[i] = text[i];
    }
    out[count] = '\0';
    return text + count;
}

static const char *take_dash(const char *text)
{
    return text != NULL && *text == '-' ? text + 1 : NULL;
}

static bool is_zero(const char *digits)
{
    return digits[strspn(digits, "0")] == '\0';
}

/* Section 3.2: of later versions what version 0 has is read, and what follows is passed over. */
bool nx_trace_parse(const char *text, nx_trace *out)
{
    char version[VERSION_DIGITS + 1];
    char flags[3] = "";
    nx_trace trace = {.id = ""};
    *out = trace;
    const char *rest = text != NULL ? take_digits(text, VERSION_DIGITS, version) : NULL;
    rest = take_dash(rest);
    rest = take_dash(rest != NULL ? take_digits(rest, NX_TRACE_ID_SIZE - 1, trace.id) : NULL);
    rest = take_dash(rest != NULL ? take_digits(rest, NX_SPAN_ID_SIZE - 1, trace.parent) : NULL);
    rest = rest != NULL ? take_digits(rest, 2, flags) : NULL;
    if (rest == NULL || strcmp(version, "ff") == 0 || is_zero(trace.id) || is_zero(trace.parent)) {
        return false;
    }
    if (*rest != '\0' && (*rest != '-' || strcmp(version, "00") == 0)) {
        return false;
    }
    trace.sampled = (digit_of(flags[1]) & SAMPLED) != 0;
    *out = trace;
    return true;
}

/* --- making -------------------------------------------------------------------------------------
 */

/* splitmix64 (Steele, Lea and Flood, 2014), for each thread from two places by chance: ids need to
 * be unique, and are no secrets. */
static uint64_t next_number(void)
{
    static _Thread_local uint64_t state, step;
    if (step == 0) {
        uint64_t seed[2];
        if (getrandom(seed, sizeof seed, GRND_NONBLOCK) != (ssize_t)sizeof seed) {
            struct timespec now; /* early in the system's life */
            clock_gettime(CLOCK_REALTIME, &now);
            seed[0] = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)now.tv_sec;
            seed[1] = (uint64_t)(uintptr_t)&state;
        }
        state = seed[0];
        step = seed[1] | 1;
    }
    uint64_t z = state += step;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return z != 0 ? z : 1;
}

static void write_digits(uint64_t number, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        out[i] = digits[number >> (60 - 4 * i) & 15];
    }
    out[16] = '\0';
}

nx_trace nx_trace_begin(void)
{
    nx_trace trace = {.id = ""};
    write_digits(next_number(), trace.id);
    write_digits(next_number(), trace.id + 16);
    write_digits(next_number(), trace.span);
    return trace;
}

nx_trace nx_trace_continue(const char *text)
{
    nx_trace trace;
    if (!nx_trace_parse(text, &trace)) {
        return nx_trace_begin();
    }
    write_digits(next_number(), trace.span);
    return trace;
}

nx_trace nx_trace_below(const nx_trace *trace)
{
    nx_trace below = *trace;
    memcpy(below.parent, trace->span, sizeof below.parent);
    write_digits(next_number(), below.span);
    return below;
}

void nx_trace_write(const nx_trace *trace, char out[NX_TRACE_SIZE])
{
    snprintf(out, NX_TRACE_SIZE, "00-%s-%s-%s", trace->id, trace->span,
             trace->sampled ? "01" : "00");
}

#include "base/uuid.h"

#include "base/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#define COUNT_BITS 12

/* Milliseconds and count in one number, later than that of every call before. */
static uint64_t next_tick(void)
{
    static _Atomic uint64_t last;
    uint64_t milliseconds = (uint64_t)nx_clock_unix_ms();
    uint64_t before = atomic_load(&last);
    uint64_t tick = 0;
    do { /* a full count, or a clock that was set back, borrows from the milliseconds to come */
        tick = milliseconds << COUNT_BITS;
        tick = tick > before ? tick : before + 1;
    } while (!atomic_compare_exchange_weak(&last, &before, tick));
    return tick;
}

nx_status nx_uuid_make(char out[NX_UUID_SIZE], nx_error *err)
{
    uint64_t noise = 0;
    if (getrandom(&noise, sizeof noise, 0) != (ssize_t)sizeof noise) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                  "the system has no random bytes for an identifier");
    }
    uint64_t tick = next_tick();
    uint64_t milliseconds = tick >> COUNT_BITS;
    snprintf(out, NX_UUID_SIZE, "%08llx-%04llx-7%03llx-%04llx-%012llx",
             (unsigned long long)(milliseconds >> 16 & 0xffffffff),
             (unsigned long long)(milliseconds & 0xffff),
             (unsigned long long)(tick & ((1U << COUNT_BITS) - 1)),
             (unsigned long long)(0x8000 | (noise >> 48 & 0x3fff)),
             (unsigned long long)(noise & 0xffffffffffff));
    return NX_OK;
}

bool nx_uuid_is(const char *text)
{
    static const char form[NX_UUID_SIZE] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    if (text == NULL || strlen(text) != NX_UUID_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < NX_UUID_SIZE - 1; i++) {
        if (form[i] == '-' ? text[i] != '-' : strchr("0123456789abcdef", text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

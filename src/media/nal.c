#include "media/nal.h"

#include <stdlib.h>
#include <string.h>

/* Parameter sets of a kind. */
#define MOST_SETS 16
/* Of a sequence set that is looked at: up to its level. */
#define HEAD_BYTES 64

typedef struct unit {
    const uint8_t *bytes;
    size_t size;
} unit;

/* --- walking ------------------------------------------------------------------------------------
 */

/* The place behind the next start code; the end if there is none. *code: where it begins. */
static const uint8_t *behind_code(const uint8_t *at, const uint8_t *end, const uint8_t **code)
{
    while (end - at >= 3) {
        const uint8_t *zero = memchr(at, 0, (size_t)(end - at - 2));
        if (zero == NULL) {
            break;
        }
        if (zero[1] == 0 && zero[2] == 1) {
            *code = zero;
            return zero + 3;
        }
        at = zero + 1;
    }
    *code = end;
    return end;
}

/* The next unit behind a start code. Zeros before the next code belong to none. */
static bool next_annexb(const uint8_t **at, const uint8_t *end, unit *out)
{
    const uint8_t *code = NULL;
    while (*at < end) {
        const uint8_t *begin = behind_code(*at, end, &code);
        (void)behind_code(begin, end, &code);
        const uint8_t *last = code;
        while (last > begin && last[-1] == 0) {
            last--;
        }
        *at = code;
        *out = (unit){begin, (size_t)(last - begin)};
        if (out->size > 0) {
            return true;
        }
    }
    return false;
}

static bool next_with_length(const uint8_t **at, const uint8_t *end, size_t length_size, unit *out)
{
    size_t size = 0;
    if ((size_t)(end - *at) <= length_size) {
        return false;
    }
    for (size_t i = 0; i < length_size; i++) {
        size = size << 8 | (*at)[i];
    }
    *at += length_size;
    if (size == 0 || size > (size_t)(end - *at)) {
        return false;
    }
    *out = (unit){*at, size};
    *at += size;
    return true;
}

static bool next_unit(const uint8_t **at, const uint8_t *end, size_t length_size, unit *out)
{
    return length_size == 0 ? next_annexb(at, end, out)
                            : next_with_length(at, end, length_size, out);
}

static unsigned kind_of(const unit *one, bool hevc)
{
    return hevc ? one->bytes[0] >> 1 & 0x3FU : one->bytes[0] & 0x1FU;
}

size_t nx_nal_length_size(const uint8_t *config, bool hevc)
{
    return (size_t)(config[hevc ? 21 : 4] & 3) + 1;
}

bool nx_nal_is_entry(const uint8_t *bytes, size_t size, size_t length_size, bool hevc)
{
    const uint8_t *at = bytes;
    unit one;
    while (next_unit(&at, bytes + size, length_size, &one)) {
        unsigned kind = kind_of(&one, hevc);
        if (hevc ? kind >= 16 && kind <= 21 : kind == 5) { /* tables 7-1 of both */
            return true;
        }
    }
    return false;
}

uint8_t *nx_nal_to_lengths(const uint8_t *bytes, size_t size, size_t *made)
{
    const uint8_t *at = bytes;
    const uint8_t *end = bytes + size;
    unit one;
    size_t total = 0;
    while (next_annexb(&at, end, &one)) {
        total += 4 + one.size;
    }
    uint8_t *out = total > 0 ? malloc(total) : NULL;
    if (out == NULL) {
        return NULL;
    }
    uint8_t *to = out;
    for (at = bytes; next_annexb(&at, end, &one); to += one.size) {
        *to++ = (uint8_t)(one.size >> 24);
        *to++ = (uint8_t)(one.size >> 16);
        *to++ = (uint8_t)(one.size >> 8);
        *to++ = (uint8_t)one.size;
        memcpy(to, one.bytes, one.size);
    }
    *made = total;
    return out;
}

/* --- configuration ------------------------------------------------------------------------------
 */

typedef struct set_list {
    unit sets[MOST_SETS];
    size_t count;
} set_list;

static bool add_set(set_list *list, const unit *one)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->sets[i].size == one->size &&
            memcmp(list->sets[i].bytes, one->bytes, one->size) == 0) {
            return true;
        }
    }
    if (list->count == MOST_SETS || one->size > UINT16_MAX) {
        return false;
    }
    list->sets[list->count++] = *one;
    return true;
}

/* Bytes behind one another, as far as there is room. */
typedef struct writer {
    uint8_t *out;
    size_t size;
    bool full;
} writer;

static void put(writer *self, const void *bytes, size_t size)
{
    self->full = self->full || size > NX_MP4_CONFIG_MAX - self->size;
    if (!self->full) {
        memcpy(self->out + self->size, bytes, size);
        self->size += size;
    }
}

static void put8(writer *self, unsigned value)
{
    const uint8_t byte = (uint8_t)value;
    put(self, &byte, 1);
}

static void put_sets(writer *self, const set_list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        put8(self, (unsigned)(list->sets[i].size >> 8));
        put8(self, (unsigned)list->sets[i].size);
        put(self, list->sets[i].bytes, list->sets[i].size);
    }
}

/* The first bytes of a unit without those that keep it from looking like a start code. */
static size_t unescape(const unit *one, uint8_t out[HEAD_BYTES])
{
    size_t size = 0;
    for (size_t i = 0; i < one->size && size < HEAD_BYTES; i++) {
        bool escapes =
            i >= 2 && one->bytes[i] == 3 && one->bytes[i - 1] == 0 && one->bytes[i - 2] == 0;
        if (!escapes) {
            out[size++] = one->bytes[i];
        }
    }
    return size;
}

/* ISO/IEC 14496-15, 5.3.3.1. */
static void put_avcc(writer *to, const set_list *sequences, const set_list *pictures,
                     const nx_nal_pixels *pixels)
{
    const uint8_t *sps = sequences->sets[0].bytes; /* four bytes at least */
    put8(to, 1);
    put(to, sps + 1, 3);
    put8(to, 0xFF); /* lengths of four bytes */
    put8(to, 0xE0U | (unsigned)sequences->count);
    put_sets(to, sequences);
    put8(to, (unsigned)pictures->count);
    put_sets(to, pictures);
    if (sps[1] == 100 || sps[1] == 110 || sps[1] == 122 || sps[1] == 144) {
        put8(to, 0xFCU | pixels->chroma);
        put8(to, 0xF8U | ((pixels->depth - 8) & 7U));
        put8(to, 0xF8U | ((pixels->depth - 8) & 7U));
        put8(to, 0);
    }
}

/* ISO/IEC 14496-15, 8.3.3.1. head: of the first sequence set, 15 bytes at least. */
static void put_hvcc(writer *to, const uint8_t *head, const set_list sets[3],
                     const nx_nal_pixels *pixels)
{
    put8(to, 1);
    put(to, head + 3, 12); /* profile, tier and level */
    put8(to, 0xF0);
    put8(to, 0);
    put8(to, 0xFC);
    put8(to, 0xFCU | pixels->chroma);
    put8(to, 0xF8U | ((pixels->depth - 8) & 7U));
    put8(to, 0xF8U | ((pixels->depth - 8) & 7U));
    put8(to, 0);
    put8(to, 0);
    /* layers in time, whether they nest, lengths of four bytes */
    put8(to, ((head[2] >> 1 & 7U) + 1U) << 3 | (head[2] & 1U) << 2 | 3U);
    put8(to, 3);
    for (unsigned i = 0; i < 3; i++) {
        put8(to, 0x80U | (32U + i));
        put8(to, (unsigned)(sets[i].count >> 8));
        put8(to, (unsigned)sets[i].count);
        put_sets(to, &sets[i]);
    }
}

size_t nx_nal_config(const uint8_t *bytes, size_t size, bool hevc, const nx_nal_pixels *pixels,
                     uint8_t config[NX_MP4_CONFIG_MAX])
{
    /* of the whole video (HEVC), of sequences, of pictures */
    set_list sets[3] = {{.count = 0}};
    writer to = {.full = false};
    to.out = config;
    uint8_t head[HEAD_BYTES];
    const uint8_t *at = bytes;
    const unsigned first = hevc ? 32 : 6; /* kinds 32, 33, 34; and 7, 8 */
    bool good = true;
    unit one;
    while (good && next_annexb(&at, bytes + size, &one)) {
        unsigned kind = kind_of(&one, hevc);
        if (kind >= first + (hevc ? 0U : 1U) && kind <= first + 2) {
            good = add_set(&sets[kind - first], &one);
        }
    }
    if (!good || sets[1].count == 0 || sets[2].count == 0 || (hevc && sets[0].count == 0)) {
        return 0;
    }
    if (hevc && unescape(&sets[1].sets[0], head) >= 15) {
        put_hvcc(&to, head, sets, pixels);
    } else if (!hevc && sets[1].sets[0].size >= 4) {
        put_avcc(&to, &sets[1], &sets[2], pixels);
    }
    return to.full ? 0 : to.size;
}

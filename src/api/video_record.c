#include "api/video_record.h"

#include <endian.h>
#include <string.h>

#define TEXTS 5
#define HEAD  (sizeof magic + 2 * sizeof(int64_t))

static const char magic[4] = {'N', 'X', 'V', '1'};

static void put(nx_buffer *out, int64_t value)
{
    const uint64_t wire = htole64((uint64_t)value);
    nx_buffer_append(out, &wire, sizeof wire);
}

void nx_video_record_write(const nx_video *video, nx_buffer *out)
{
    const char *const texts[TEXTS] = {video->id, video->owner, video->hash, video->name,
                                      video->probe};
    nx_buffer_append(out, magic, sizeof magic);
    put(out, video->size);
    put(out, video->created_at);
    for (size_t i = 0; i < TEXTS; i++) {
        nx_buffer_append(out, texts[i], strlen(texts[i]) + 1);
    }
}

static int64_t take(const char *at)
{
    uint64_t wire = 0;
    memcpy(&wire, at, sizeof wire);
    return (int64_t)le64toh(wire);
}

bool nx_video_record_read(const void *bytes, size_t size, nx_video *out)
{
    const char *const text = bytes;
    const char *texts[TEXTS] = {NULL};
    size_t at = HEAD;
    if (size < HEAD || memcmp(text, magic, sizeof magic) != 0) {
        return false;
    }
    for (size_t i = 0; i < TEXTS; i++) {
        const char *end = at < size ? memchr(text + at, '\0', size - at) : NULL;
        if (end == NULL) {
            return false;
        }
        texts[i] = text + at;
        at = (size_t)(end - text) + 1;
    }
    *out = (nx_video){
        .id = texts[0],
        .owner = texts[1],
        .hash = texts[2],
        .size = take(text + sizeof magic),
        .name = texts[3],
        .probe = texts[4],
        .created_at = take(text + sizeof magic + sizeof(int64_t)),
    };
    return at == size;
}

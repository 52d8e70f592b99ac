/* Small videos for tests, made with Debian's ffmpeg, and what a decoder says of them. */
#ifndef NX_TESTS_VIDEOS_H
#define NX_TESTS_VIDEOS_H

#include "scratch.h"

#include "media/decoder.h"

#include <stdbool.h>

/* Skips the running test, loudly, when there is no ffmpeg. */
#define NX_NEED_FFMPEG()                                                                           \
    do {                                                                                           \
        if (system("ffmpeg -version >/dev/null 2>&1") != 0) { /* NOLINT(cert-env33-c) */           \
            fprintf(stderr, "SKIPPED %s: there is no ffmpeg (scripts/bootstrap test)\n",           \
                    __func__);                                                                     \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* A file of the test's folder, made by "ffmpeg ARGUMENTS name"; its path as of scratch_path. */
static inline const char *make_video(void **state, const char *name, const char *arguments)
{
    char *command = NULL;
    const char *path = scratch_path(state, name);
    int made =
        asprintf(&command, "ffmpeg -nostdin -v error -y %s -threads 1 '%s' >'%s/ffmpeg.log' 2>&1",
                 arguments, path, (const char *)*state);
    if (made < 0 || system(command) != 0) { /* NOLINT(cert-env33-c) */
        fail_msg("%s failed", command);
    }
    free(command);
    return path;
}

#define MOST_FRAMES 1024

/* What came of a video: of each frame its place and a hash of its pixels. */
typedef struct clip {
    nx_decoder_info info;
    uint32_t width, height;
    size_t count;
    struct {
        uint64_t index;
        int64_t pts_ns;
        uint64_t hash;
        nx_decoder_mark mark;
    } frames[MOST_FRAMES];
    nx_status status; /* at the end */
    nx_error err;
} clip;

static inline uint64_t hash_of_frame(const nx_decoder_frame *frame)
{
    uint64_t hash = 14695981039346656037U; /* FNV-1a */
    for (size_t i = 0; i < (size_t)3 * frame->width * frame->height; i++) {
        hash = (hash ^ frame->pixels[i]) * 1099511628211U;
    }
    return hash;
}

/* Takes at most `most` frames. */
static inline void take_frames(nx_decoder *decoder, size_t most, clip *out)
{
    while (out->count < most && out->count < MOST_FRAMES) {
        nx_decoder_frame frame;
        bool end = false;
        out->status = nx_decoder_next(decoder, &frame, &end, &out->err);
        if (out->status != NX_OK || end) {
            return;
        }
        assert_int_equal(frame.width, out->width);
        assert_int_equal(frame.height, out->height);
        out->frames[out->count].index = frame.index;
        out->frames[out->count].pts_ns = frame.pts_ns;
        out->frames[out->count].hash = hash_of_frame(&frame);
        out->frames[out->count].mark = frame.mark;
        out->count++;
    }
}

/* A whole video, whatever becomes of it; owned by the caller (free). size 0: the video's own. */
static inline clip *decode_clip(const char *path, const nx_decoder_options *options, uint32_t width,
                                uint32_t height)
{
    nx_decoder *decoder = NULL;
    clip *out = calloc(1, sizeof *out);
    assert_non_null(out);
    out->status = nx_decoder_open(path, options, &decoder, &out->err);
    if (out->status == NX_OK) {
        if (width > 0) {
            nx_assert_ok(nx_decoder_set_size(decoder, width, height, &out->err), out->err);
        }
        out->info = *nx_decoder_get_info(decoder);
        nx_decoder_get_size(decoder, &out->width, &out->height);
        take_frames(decoder, SIZE_MAX, out);
    }
    nx_decoder_free(decoder);
    return out;
}

/* The same of one that must come whole. */
static inline clip *decode_whole(const char *path, const nx_decoder_options *options,
                                 uint32_t width, uint32_t height)
{
    clip *out = decode_clip(path, options, width, height);
    nx_assert_ok(out->status, out->err);
    return out;
}

/* Frames `at` of one and `from` of the other are the same in all things. */
static inline void assert_same_frame(const clip *a, size_t at, const clip *b, size_t from)
{
    assert_true(at < a->count && from < b->count);
    assert_int_equal(a->frames[at].index, b->frames[from].index);
    assert_int_equal(a->frames[at].pts_ns, b->frames[from].pts_ns);
    assert_int_equal(a->frames[at].mark.pts_ns, b->frames[from].mark.pts_ns);
    if (a->frames[at].hash != b->frames[from].hash) {
        fail_msg("frame %llu has other pixels", (unsigned long long)a->frames[at].index);
    }
}

#endif

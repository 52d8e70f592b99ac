/*
 * The video itself, as the decoder's child copies it: put together again, as a file and as
 * fragments, it gives the very frames of the file that it came from, and at the same times.
 */
#include "testing.h"
#include "videos.h"

#include "base/clock.h"
#include "media/decoder_wire.h"
#include "media/mp4.h"

#define MOST_SAMPLES 1024

typedef struct copied {
    nx_mp4_track track;
    unsigned tracks;
    size_t count;
    nx_media_sample samples[MOST_SAMPLES];
    bool disorder;
} copied;

static void take_track(const nx_mp4_track *track, void *user)
{
    copied *self = user;
    self->track = *track;
    self->tracks++;
}

static void take_sample(const nx_media_sample *sample, void *user)
{
    copied *self = user;
    if (self->tracks == 0 || self->count == MOST_SAMPLES ||
        (self->count > 0 && sample->dts_ns <= self->samples[self->count - 1].dts_ns)) {
        self->disorder = true;
        free(sample->block);
        return;
    }
    self->samples[self->count++] = *sample;
}

static copied *copy_of(const char *path, nx_status wanted)
{
    copied *self = calloc(1, sizeof *self);
    const nx_decoder_media media = {take_track, take_sample, self};
    const nx_decoder_options options = {.media = &media, .max_damaged = 1000};
    assert_non_null(self);
    clip *all = decode_clip(path, &options, 0, 0); /* the reader has ended with the decoder */
    assert_int_equal(all->status, wanted);
    assert_false(self->disorder);
    free(all);
    return self;
}

static void copied_free(copied *self)
{
    for (size_t i = 0; i < self->count; i++) {
        free(self->samples[i].block);
    }
    free(self);
}

/* Times begin at 1 s, so that decoding before 0 has room. */
static int64_t ticks_of(int64_t ns)
{
    return (ns + NX_NS_PER_SEC) * 9 / 100000;
}

static nx_mp4_sample mp4_sample(const copied *self, size_t i)
{
    const nx_media_sample *one = &self->samples[i];
    int64_t dts = ticks_of(one->dts_ns);
    int64_t after = i + 1 < self->count ? ticks_of(one[1].dts_ns) : dts + 3600;
    return (nx_mp4_sample){.bytes = one->block + NX_MP4_FRAGMENT_HEAD,
                           .size = one->size,
                           .key = one->key,
                           .dts = (uint64_t)dts,
                           .shown = (int32_t)(ticks_of(one->pts_ns) - dts),
                           .duration = (uint32_t)(after - dts)};
}

static const char *write_bytes(void **state, const char *name, nx_buffer *bytes)
{
    assert_false(bytes->failed);
    const char *path = scratch_write(state, name, bytes->data, bytes->size);
    nx_buffer_free(bytes);
    return path;
}

static const char *as_fragments(void **state, const copied *self)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_mp4_write_init(&self->track, &out);
    for (size_t i = 0; i < self->count; i++) {
        const nx_mp4_sample sample = mp4_sample(self, i);
        uint8_t *block = self->samples[i].block;
        nx_mp4_write_fragment_head(block, (uint32_t)i + 1, &sample);
        nx_buffer_append(&out, block, NX_MP4_FRAGMENT_HEAD + sample.size);
    }
    return write_bytes(state, "fragments.mp4", &out);
}

static const char *as_file(void **state, const copied *self)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_mp4_sample *samples = calloc(self->count, sizeof *samples);
    assert_non_null(samples);
    for (size_t i = 0; i < self->count; i++) {
        samples[i] = mp4_sample(self, i);
    }
    nx_mp4_write_file(&self->track, samples, self->count, &out);
    free(samples);
    return write_bytes(state, "file.mp4", &out);
}

/* Frames of the copy are those of the source, whose times have a thousandth at worst. */
static void check_copy(const clip *one, const char *made)
{
    clip *other = decode_whole(made, NULL, 0, 0);
    assert_true(one->count > 10);
    assert_int_equal(one->count, other->count);
    assert_int_equal(one->info.width, other->info.width);
    assert_int_equal(one->info.height, other->info.height);
    assert_int_equal(one->info.rotation, other->info.rotation);
    for (size_t i = 0; i < one->count; i++) {
        assert_true(llabs(one->frames[i].pts_ns - other->frames[i].pts_ns) < 2 * NX_NS_PER_MS);
        if (one->frames[i].hash != other->frames[i].hash) {
            fail_msg("frame %zu of %s is another", i, made);
        }
    }
    free(other);
}

static void check(void **state, const char *name, const char *arguments, const char *type)
{
    char found[NX_MP4_TYPE_SIZE];
    const char *path = make_video(state, name, arguments);
    copied *self = copy_of(path, NX_OK);
    assert_int_equal(self->tracks, 1);
    assert_true(self->count > 10);
    assert_true(self->samples[0].key);
    nx_mp4_content_type(&self->track, found);
    if (strncmp(found, type, strlen(type)) != 0) {
        fail_msg("%s is %s", name, found);
    }
    clip *source = decode_whole(path, NULL, 0, 0);
    check_copy(source, as_fragments(state, self));
    check_copy(source, as_file(state, self));
    free(source);
    copied_free(self);
}

#define INPUT "-f lavfi -i testsrc2=size=320x240:rate=25:duration=2 "
#define H264  INPUT "-c:v libx264 -preset ultrafast -g 10 "
#define AVC   "video/mp4; codecs=\"avc1."

static void files_of_h264_are_copied(void **state)
{
    NX_NEED_FFMPEG();
    check(state, "plain.mp4", H264 "-bf 0 -pix_fmt yuv420p", AVC);
    check(state, "b.mp4", H264 "-preset medium -bf 3 -profile:v high -pix_fmt yuv420p", AVC "64");
    check(state, "b.mkv", H264 "-preset medium -bf 3 -pix_fmt yuv420p", AVC);
    check(state, "shape.mp4", H264 "-bf 0 -pix_fmt yuv420p -vf setsar=4/3", AVC);
}

static void so_are_those_without_a_header(void **state)
{
    NX_NEED_FFMPEG();
    check(state, "plain.ts", H264 "-bf 0 -pix_fmt yuv420p", AVC "42c0");
    check(state, "b.ts", H264 "-preset medium -bf 3 -profile:v high -pix_fmt yuv420p", AVC "6400");
}

static void hevc_is_copied(void **state)
{
    NX_NEED_FFMPEG();
    static const char arguments[] =
        INPUT "-c:v libx265 -preset ultrafast -x265-params log-level=none:keyint=10 "
              "-pix_fmt yuv420p -tag:v hvc1";
    check(state, "a.mp4", arguments, "video/mp4; codecs=\"hvc1.1.6.L");
    check(state, "a.ts", arguments, "video/mp4; codecs=\"hvc1.1.6.L");
}

static void turned_pictures_stay_turned(void **state)
{
    NX_NEED_FFMPEG();
    char path[PATH_MAX];
    char arguments[PATH_MAX + 100];
    snprintf(path, sizeof path, "%s",
             make_video(state, "upright.mp4", H264 "-bf 0 -pix_fmt yuv420p"));
    for (int degrees = 90; degrees < 360; degrees += 90) {
        snprintf(arguments, sizeof arguments, "-i '%s' -c copy -metadata:s:v rotate=%d", path,
                 degrees);
        check(state, "turned.mp4", arguments, AVC);
    }
}

static void other_codecs_are_not(void **state)
{
    NX_NEED_FFMPEG();
    copied *self = copy_of(make_video(state, "jpegs.avi", INPUT "-c:v mjpeg"), NX_OK);
    assert_int_equal(self->tracks, 0);
    assert_int_equal(self->count, 0);
    copied_free(self);
}

/* Whatever the bytes are, what comes is in order and bounded, and frames come as without it. */
static void damaged_files_do_no_harm(void **state)
{
    NX_NEED_FFMPEG();
    const char *good = make_video(state, "whole.ts", H264 "-bf 2 -pix_fmt yuv420p");
    nx_buffer bytes = NX_BUFFER_INIT;
    uint8_t part[4096];
    size_t got = 0;
    FILE *file = fopen(good, "rb");
    assert_non_null(file);
    while ((got = fread(part, 1, sizeof part, file)) > 0) {
        nx_buffer_append(&bytes, part, got);
    }
    (void)fclose(file);
    for (unsigned seed = 1; seed <= 8; seed++) {
        nx_buffer bad = NX_BUFFER_INIT;
        uint32_t state_of = seed * 2654435761U;
        nx_buffer_append(&bad, bytes.data, bytes.size);
        for (int i = 0; i < 40; i++) {
            state_of = state_of * 1664525U + 1013904223U;
            bad.data[5000 + state_of % (bad.size - 5000)] ^= (char)(state_of >> 24);
        }
        const char *path = write_bytes(state, "bad.ts", &bad);
        copied *self = calloc(1, sizeof *self);
        const nx_decoder_media media = {take_track, take_sample, self};
        const nx_decoder_options options = {.media = &media, .max_damaged = 1000};
        assert_non_null(self);
        clip *with = decode_clip(path, &options, 0, 0);
        clip *without = decode_clip(path, &(nx_decoder_options){.max_damaged = 1000}, 0, 0);
        assert_int_equal(with->status, without->status);
        assert_int_equal(with->count, without->count);
        assert_false(self->disorder);
        free(with);
        free(without);
        copied_free(self);
    }
    nx_buffer_free(&bytes);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_h264_are_copied), cmocka_unit_test(so_are_those_without_a_header),
        cmocka_unit_test(hevc_is_copied),           cmocka_unit_test(turned_pictures_stay_turned),
        cmocka_unit_test(other_codecs_are_not),     cmocka_unit_test(damaged_files_do_no_harm),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

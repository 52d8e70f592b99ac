/* Files that end early or were changed: what is good of them comes, and then the reason. */
#include "videos.h"

#include "base/file.h"

#define MOVING "-f lavfi -i testsrc2=size=96x64:rate=25:duration=1.6 -pix_fmt yuv420p "

static nx_buffer read_video(const char *path)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_assert_ok(nx_file_read(path, 1 << 24, &bytes, &err), err);
    return bytes;
}

/* Frames of a damaged file, as far as they come, are those of the whole one. */
static void assert_begins_alike(const clip *some, const clip *all)
{
    for (size_t i = 0; i < some->count; i++) {
        assert_same_frame(some, i, all, i);
    }
}

static void files_that_end_early(void **state)
{
    NX_NEED_FFMPEG();
    static const struct {
        const char *name, *arguments, *words;
    } kinds[] = {
        {"cut.mp4", MOVING "-c:v libx264 -g 10 -bf 0 -movflags +faststart", "is missing"},
        {"cut.mkv", MOVING "-c:v libx264 -g 10 -bf 0", "ends early"},
        {"cut.avi", MOVING "-c:v mjpeg -q:v 3 -pix_fmt yuvj420p", "damaged at frame"},
        {"cut.ts", MOVING "-c:v libx264 -g 10 -bf 0", NULL}, /* recordings end so */
    };
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        const char *path = make_video(state, kinds[i].name, kinds[i].arguments);
        clip *all = decode_whole(path, NULL, 48, 32);
        nx_buffer bytes = read_video(path);
        path = scratch_write(state, "cut", bytes.data, bytes.size * 6 / 10);
        clip *some = decode_clip(path, NULL, 48, 32);
        print_message("%s: %zu of %zu frames, %s\n", kinds[i].name, some->count, all->count,
                      some->status == NX_OK ? "end" : some->err.message);
        assert_true(some->count > all->count / 3 && some->count < all->count);
        if (kinds[i].words != NULL) {
            assert_int_equal(some->status, NX_ERR_CORRUPT);
            nx_assert_contains(some->err.message, kinds[i].words);
            assert_begins_alike(some, all);
        }
        /* who lives with damage gets the same frames, and an end */
        clip *patient = decode_whole(path, &(nx_decoder_options){.max_damaged = 10}, 48, 32);
        assert_true(patient->count >= some->count);
        free(patient);
        free(some);
        free(all);
        nx_buffer_free(&bytes);
    }
}

/* A run of bytes in the middle: all frames before come, the message says where, and with patience
 * most of the rest comes as well. */
static void damage_in_the_middle(void **state)
{
    NX_NEED_FFMPEG();
    const char *path =
        make_video(state, "mid.mp4", MOVING "-c:v libx264 -g 10 -bf 0 -movflags +faststart");
    clip *all = decode_whole(path, NULL, 48, 32);
    nx_buffer bytes = read_video(path);
    memset((uint8_t *)bytes.data + bytes.size / 2, 0, 600);
    path = scratch_write(state, "mid-damaged.mp4", bytes.data, bytes.size);
    clip *some = decode_clip(path, NULL, 48, 32);
    assert_int_equal(some->status, NX_ERR_CORRUPT);
    assert_true(some->count > 5 && some->count < all->count);
    assert_begins_alike(some, all);
    char place[64];
    snprintf(place, sizeof place, "damaged at frame %zu (", some->count);
    nx_assert_contains(some->err.message, place);
    clip *patient = decode_whole(path, &(nx_decoder_options){.max_damaged = 100}, 48, 32);
    assert_true(patient->count > some->count);
    free(patient);
    free(some);
    free(all);
    nx_buffer_free(&bytes);
}

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

/* Bytes changed, runs zeroed, pieces left out, doubled or cut off. */
static size_t mutate(uint8_t *bytes, size_t size, uint32_t *seed)
{
    size_t at = next_random(seed) % size;
    size_t length = 1 + next_random(seed) % (size / 8);
    length = length < size - at ? length : size - at;
    switch (next_random(seed) % 6) {
    case 0:
        memset(bytes + at, (int)(next_random(seed) & 0xFF), length);
        return size;
    case 1:
        memmove(bytes + at, bytes + at + length, size - at - length);
        return size - length;
    case 2:
        memmove(bytes + at, bytes + next_random(seed) % (size - length), length);
        return size;
    case 3:
        return at + 1;
    case 4: /* in the headers */
        for (int i = 0; i < 8; i++) {
            bytes[next_random(seed) % (size < 1500 ? size : 1500)] = (uint8_t)next_random(seed);
        }
        return size;
    default:
        for (int i = 0; i < 20; i++) {
            bytes[next_random(seed) % size] ^= (uint8_t)(1U << next_random(seed) % 8);
        }
        return size;
    }
}

/* Whatever it is: frames in order and an end, or a reason. */
static void whatever_is_changed_ends(void **state)
{
    NX_NEED_FFMPEG();
    static const struct {
        const char *name, *arguments;
    } kinds[] = {{"fuzz.mp4", MOVING "-c:v libx264 -g 10 -movflags +faststart"},
                 {"fuzz.mkv", MOVING "-c:v libvpx-vp9 -deadline realtime -cpu-used 6"},
                 {"fuzz.ts", MOVING "-c:v mpeg2video -q:v 8"},
                 {"fuzz.avi", MOVING "-c:v mpeg4 -q:v 8"}};
    enum { ROUNDS = 40 };
    size_t opened = 0;
    size_t failed = 0;
    size_t frames = 0;
    for (size_t i = 0; i < NX_COUNT(kinds); i++) {
        nx_buffer whole = read_video(make_video(state, kinds[i].name, kinds[i].arguments));
        uint8_t *bytes = malloc(whole.size);
        assert_non_null(bytes);
        for (uint32_t round = 0; round < ROUNDS; round++) {
            uint32_t seed = round * 7919 + (uint32_t)i;
            memcpy(bytes, whole.data, whole.size);
            size_t size = mutate(bytes, whole.size, &seed);
            const char *path = scratch_write(state, "mutant", bytes, size);
            const nx_decoder_options options = {
                .max_damaged = round % 2 == 0 ? 0 : 1000,
                .threads = 1 + round % 2,
                .stride = 1 + round % 3,
            };
            clip *got = decode_clip(path, &options, 32, 24);
            opened += got->width > 0;
            failed += got->status != NX_OK;
            frames += got->count;
            if (got->status == NX_OK ? got->count == 0 : got->err.message[0] == '\0') {
                fail_msg("round %u of %s: nothing came, and no reason", round, kinds[i].name);
            }
            free(got);
        }
        free(bytes);
        nx_buffer_free(&whole);
    }
    print_message("%zu files: %zu opened, %zu failed, %zu frames\n", NX_COUNT(kinds) * ROUNDS,
                  opened, failed, frames);
    assert_true(opened > ROUNDS && failed > ROUNDS && frames > 100);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_that_end_early),
        cmocka_unit_test(damage_in_the_middle),
        cmocka_unit_test(whatever_is_changed_ends),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

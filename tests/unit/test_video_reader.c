#include "scratch.h"

#include "base/file.h"
#include "media/codec.h"
#include "media/video_reader.h"

static nx_video_reader *open_video(const char *path)
{
    nx_video_reader *reader = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_video_reader_open(path, 0, &reader, &err), err);
    return reader;
}

/* Frames until the end, each of which must be readable. */
static size_t count_frames(nx_video_reader *reader, size_t most)
{
    size_t count = 0;
    uint32_t sum = 0;
    while (count < most) {
        nx_yuv_frame frame = {0};
        nx_error err = {0};
        bool end = false;
        if (nx_video_reader_next(reader, &frame, &end, &err) != NX_OK || end) {
            break;
        }
        assert_true(frame.width > 0 && frame.height > 0);
        for (size_t i = 0; i < 3; i++) {
            size_t rows = i == 0 ? frame.height : (frame.height + 1) / 2;
            size_t columns = i == 0 ? frame.width : (frame.width + 1) / 2;
            assert_true(frame.strides[i] >= columns);
            sum += frame.planes[i][(rows - 1) * frame.strides[i] + columns - 1];
        }
        count++;
    }
    assert_true(sum > 0 || count == 0);
    return count;
}

static void files_say_what_they_hold(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const struct {
        const char *path, *codec;
        uint32_t width, height;
        double fps;
        int64_t frames;
    } cases[] = {
        {"videos/car-detection.mp4", "h264", 768, 432, 12.5, 377},
        {"videos/traffic-1080p.mp4", "h264", 1920, 1080, 30, 312},
        {"videos/traffic-1080p-vp9-aac.mp4", "vp9", 1920, 1080, 30, 312},
        {"videos/pets09-s2l1.mp4", "h264", 768, 576, 10, 795},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_video_reader *reader = open_video(nx_shared_path(cases[i].path));
        const nx_video_info *info = nx_video_reader_info(reader);
        assert_string_equal(info->codec, cases[i].codec);
        assert_int_equal(info->width, cases[i].width);
        assert_int_equal(info->height, cases[i].height);
        assert_int_equal(info->frames, cases[i].frames);
        assert_int_equal(info->rotation, 0);
        assert_true(info->fps > cases[i].fps * 0.99 && info->fps < cases[i].fps * 1.01);
        assert_int_equal(count_frames(reader, 3), 3);
        assert_int_equal(nx_video_reader_damaged(reader), 0);
        nx_video_reader_free(reader);
    }
    nx_video_reader_free(NULL);
}

static void every_frame_comes_once(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_video_reader *reader = open_video(nx_shared_path("videos/car-detection.mp4"));
    assert_int_equal(count_frames(reader, SIZE_MAX), 377);
    nx_yuv_frame frame = {.width = 7};
    nx_error err = {0};
    bool end = false; /* and the end stays the end */
    nx_assert_ok(nx_video_reader_next(reader, &frame, &end, &err), err);
    assert_true(end);
    assert_int_equal(frame.width, 7);
    nx_video_reader_free(reader);
}

/* The picture that was taken from the video's first frame, as JPEG. */
static void frames_have_the_colours_of_the_picture(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_error err = {0};
    nx_file_map map;
    nx_image image = {0};
    nx_assert_ok(nx_file_map_open(nx_shared_path("images/traffic-1080p-00.jpg"), &map, &err), err);
    nx_assert_ok(nx_image_decode(map.data, map.size, &(nx_decode_options){0}, &image, NULL, &err),
                 err);
    nx_video_reader *reader = open_video(nx_shared_path("videos/traffic-1080p-vp9-aac.mp4"));
    nx_yuv_frame frame = {0};
    bool end = false;
    nx_assert_ok(nx_video_reader_next(reader, &frame, &end, &err), err);
    enum { BYTES = 640 * 384 * 3 };
    uint8_t *tensors = malloc((size_t)2 * BYTES);
    assert_non_null(tensors);
    nx_letterbox box = nx_letterbox_fit(1920, 1080, 640, 384, true);
    nx_assert_ok(nx_letterbox_apply(&box, &image, NX_PIXELS_RGB_BYTE_NHWC, tensors, &err), err);
    nx_assert_ok(
        nx_letterbox_apply_yuv(&box, &frame, NX_PIXELS_RGB_BYTE_NHWC, tensors + BYTES, &err), err);
    for (size_t c = 0; c < 3; c++) {
        long off = 0;
        long bias = 0;
        for (size_t i = c; i < BYTES; i += 3) {
            off += labs((long)tensors[i] - tensors[BYTES + i]);
            bias += (long)tensors[i] - tensors[BYTES + i];
        }
        print_message("channel %zu: %.2f levels off, %.2f to one side\n", c,
                      (double)off / (BYTES / 3), (double)bias / (BYTES / 3));
        assert_true(off < (long)3 * (BYTES / 3));
        assert_true(labs(bias) < (long)2 * (BYTES / 3));
    }
    free(tensors);
    nx_video_reader_free(reader);
    nx_image_free(&image);
    nx_file_unmap(&map);
}

static void assert_refused(const char *path, nx_status status, const char *words)
{
    nx_video_reader *reader = NULL;
    nx_error err = {0};
    nx_status got = nx_video_reader_open(path, 0, &reader, &err);
    if (got != status) {
        fail_msg("%s: %s, %s", path, nx_status_name(got), err.message);
    }
    assert_null(reader);
    nx_assert_contains(err.message, words);
}

static void what_is_no_video_is_refused(void **state)
{
    static const char text[] = "This is a text and no video.\n";
    static const char list[] = "ffconcat version 1.0\nfile '/etc/hostname'\n";
    static const char playlist[] = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n"
                                   "/etc/hostname\n#EXT-X-ENDLIST\n";
    uint8_t noise[5000];
    uint32_t random = 17;
    for (size_t i = 0; i < sizeof noise; i++) {
        random = random * 1664525 + 1013904223;
        noise[i] = (uint8_t)(random >> 24);
    }
    assert_refused("/nowhere/video.mp4", NX_ERR_NOT_FOUND, "/nowhere/video.mp4");
    assert_refused((const char *)*state, NX_ERR_INVALID, "not a file");
    assert_refused(scratch_write(state, "empty.mp4", "", 0), NX_ERR_UNSUPPORTED, "empty.mp4");
    assert_refused(scratch_write(state, "text.mp4", text, sizeof text - 1), NX_ERR_UNSUPPORTED,
                   "not a video");
    assert_refused(scratch_write(state, "noise.mp4", noise, sizeof noise), NX_ERR_UNSUPPORTED,
                   "not a video");
    assert_refused(scratch_write(state, "list.ffconcat", list, sizeof list - 1), NX_ERR_UNSUPPORTED,
                   "not a video");
    assert_refused(scratch_write(state, "list.m3u8", playlist, sizeof playlist - 1),
                   NX_ERR_UNSUPPORTED, "not a video");
}

static void frames_over_the_limit_are_refused(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_video_reader *reader = NULL;
    nx_error err = {0};
    const char *path = nx_shared_path("videos/car-detection.mp4");
    assert_int_equal(nx_video_reader_open(path, 768 * 432 - 1, &reader, &err), NX_ERR_TOO_LARGE);
    assert_null(reader);
    nx_assert_contains(err.message, "768x432");
    nx_assert_ok(nx_video_reader_open(path, 768 * 432, &reader, &err), err);
    nx_video_reader_free(reader);
}

/* Whatever is left of a file, or changed in it: it ends, with a message or with fewer frames. */
static void damaged_files_end(void **state)
{
    NX_NEED_SHARED();
    nx_file_map map;
    nx_error err = {0};
    nx_assert_ok(nx_file_map_open(nx_shared_path("videos/car-detection.mp4"), &map, &err), err);
    uint8_t *bytes = malloc(map.size);
    assert_non_null(bytes);
    size_t opened = 0;
    for (size_t round = 0; round < 12; round++) {
        size_t size = map.size;
        memcpy(bytes, map.data, map.size);
        if (round < 6) {
            static const size_t sizes[] = {7, 40, 1000, 30000, 300000, 2000000};
            size = sizes[round];
        } else {
            for (size_t i = 0; i < 400; i++) { /* flips all over the file */
                bytes[(i * 7919 + round * 104729) * 131 % size] ^= (uint8_t)(1U << (i % 8));
            }
        }
        const char *path = scratch_write(state, "damaged.mp4", bytes, size);
        nx_video_reader *reader = NULL;
        nx_error why = {0};
        if (nx_video_reader_open(path, 0, &reader, &why) != NX_OK) {
            assert_true(why.message[0] != '\0');
            continue;
        }
        opened++;
        size_t frames = count_frames(reader, 1000);
        assert_true(frames <= 377);
        if (frames == 0) {
            nx_yuv_frame frame = {0};
            bool end = false;
            assert_int_equal(nx_video_reader_next(reader, &frame, &end, &why), NX_ERR_CORRUPT);
        }
        nx_video_reader_free(reader);
    }
    print_message("%zu of 12 damaged files could be opened\n", opened);
    free(bytes);
    nx_file_unmap(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_say_what_they_hold),
        cmocka_unit_test(every_frame_comes_once),
        cmocka_unit_test(frames_have_the_colours_of_the_picture),
        cmocka_unit_test(what_is_no_video_is_refused),
        cmocka_unit_test(frames_over_the_limit_are_refused),
        cmocka_unit_test(damaged_files_end),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

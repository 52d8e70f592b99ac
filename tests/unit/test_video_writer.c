/* Videos of known pictures: written, read back, and compared. */
#include "media/video_reader.h"
#include "media/video_writer.h"
#include "scratch.h"
#include "vision/image.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* A gray picture with a bright square whose place tells the frame. */
static nx_image picture(uint32_t width, uint32_t height, uint32_t number)
{
    nx_image image = {0};
    nx_error err = {0};
    nx_assert_ok(nx_image_alloc(width, height, &image, &err), err);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            bool inside = x / 16 == number % (width / 16 + 1) && y < 16;
            uint8_t *p = image.pixels + y * image.stride + (size_t)x * 3;
            p[0] = inside ? 250 : 60;
            p[1] = inside ? 200 : 70;
            p[2] = inside ? 30 : 80;
        }
    }
    return image;
}

static void write_video(const char *path, uint32_t width, uint32_t height, uint32_t frames)
{
    nx_error err = {0};
    nx_video_writer *writer = NULL;
    nx_assert_ok(nx_video_writer_open(path, width, height, 25, &writer, &err), err);
    for (uint32_t i = 0; i < frames; i++) {
        nx_image image = picture(width, height, i);
        nx_assert_ok(nx_video_writer_add(writer, &image, (int64_t)i * 40000000, &err), err);
        nx_image_free(&image);
    }
    nx_assert_ok(nx_video_writer_finish(writer, &err), err);
    nx_video_writer_free(writer);
}

/* In which sixteenth the brightest luma of the first rows is. */
static uint32_t bright_place(const nx_yuv_frame *frame, uint32_t width)
{
    uint32_t best = 0;
    for (uint32_t x = 8; x < width; x += 16) {
        if (frame->planes[0][8 * frame->strides[0] + x] >
            frame->planes[0][8 * frame->strides[0] + best * 16 + 8]) {
            best = x / 16;
        }
    }
    return best;
}

static void every_picture_comes_back(void **state)
{
    const char *path = scratch_path(state, "a.mp4");
    nx_error err = {0};
    nx_video_reader *reader = NULL;
    nx_yuv_frame frame;
    bool end = false;
    uint32_t count = 0;
    write_video(path, 160, 96, 30);
    nx_assert_ok(nx_video_reader_open(path, 0, &reader, &err), err);
    const nx_video_info *info = nx_video_reader_info(reader);
    assert_int_equal(info->width, 160);
    assert_int_equal(info->height, 96);
    assert_int_equal(info->frames, 30);
    assert_true(info->fps > 24.9 && info->fps < 25.1);
    assert_string_equal(info->codec, "h264");
    for (;;) {
        nx_assert_ok(nx_video_reader_next(reader, &frame, &end, &err), err);
        if (end) {
            break;
        }
        uint32_t place = count % 11;
        if (place < 10) { /* the eleventh is outside */
            assert_int_equal(bright_place(&frame, 160), place);
        }
        count++;
    }
    assert_int_equal(count, 30);
    nx_video_reader_free(reader);
}

static char *slurp(const char *path, size_t *size)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *bytes = malloc(1 << 22);
    assert_non_null(bytes);
    *size = fread(bytes, 1, 1 << 22, file);
    fclose(file);
    return bytes;
}

static void the_same_pictures_give_the_same_bytes(void **state)
{
    size_t sizes[2];
    char *bytes[2];
    for (int i = 0; i < 2; i++) {
        const char *path = scratch_path(state, "same.mp4");
        write_video(path, 320, 240, 40);
        bytes[i] = slurp(path, &sizes[i]);
    }
    assert_true(sizes[0] > 1000 && sizes[0] < 1 << 22);
    assert_int_equal(sizes[0], sizes[1]);
    assert_memory_equal(bytes[0], bytes[1], sizes[0]);
    /* the index is in front, so that a browser can begin at once */
    const char *moov = memmem(bytes[0], sizes[0], "moov", 4);
    const char *mdat = memmem(bytes[0], sizes[0], "mdat", 4);
    assert_non_null(moov);
    assert_non_null(mdat);
    assert_true(moov < mdat);
    free(bytes[0]);
    free(bytes[1]);
}

static void odd_and_tiny_sizes_are_written(void **state)
{
    static const uint32_t sizes[][2] = {{1, 1}, {1, 64}, {64, 1}, {3, 3}, {161, 97}, {2, 2}};
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        const char *path = scratch_path(state, "odd.mp4");
        nx_error err = {0};
        nx_video_reader *reader = NULL;
        write_video(path, sizes[i][0], sizes[i][1], 3);
        nx_assert_ok(nx_video_reader_open(path, 0, &reader, &err), err);
        uint32_t width = sizes[i][0] > 1 ? sizes[i][0] & ~1U : 2;
        assert_int_equal(nx_video_reader_info(reader)->width, width);
        assert_int_equal(nx_video_reader_info(reader)->frames, 3);
        nx_video_reader_free(reader);
    }
}

/* Frame rates that vary, and times that stand still or go back. */
static void times_are_kept_and_made_to_ascend(void **state)
{
    static const int64_t times[] = {0, 100000000, 100000000, 50000000, 900000000};
    const char *path = scratch_path(state, "vfr.mp4");
    nx_error err = {0};
    nx_video_writer *writer = NULL;
    nx_video_reader *reader = NULL;
    nx_assert_ok(nx_video_writer_open(path, 64, 64, 0, &writer, &err), err);
    for (uint32_t i = 0; i < NX_COUNT(times); i++) {
        nx_image image = picture(64, 64, i);
        nx_assert_ok(nx_video_writer_add(writer, &image, times[i], &err), err);
        nx_image_free(&image);
    }
    nx_assert_ok(nx_video_writer_finish(writer, &err), err);
    nx_video_writer_free(writer);
    nx_assert_ok(nx_video_reader_open(path, 0, &reader, &err), err);
    assert_int_equal(nx_video_reader_info(reader)->frames, NX_COUNT(times));
    nx_video_reader_free(reader);
}

static void what_is_wrong_is_refused(void **state)
{
    nx_error err = {0};
    nx_video_writer *writer = NULL;
    assert_int_equal(nx_video_writer_open("/nonexistent/x.mp4", 64, 64, 25, &writer, &err),
                     NX_ERR_IO);
    nx_assert_contains(err.message, "/nonexistent/x.mp4");
    assert_int_equal(nx_video_writer_open("x.mp4", 0, 64, 25, &writer, &err), NX_ERR_INVALID);
    assert_int_equal(nx_video_writer_open("x.mp4", 64, 20000, 25, &writer, &err), NX_ERR_INVALID);
    assert_null(writer);
    const char *path = scratch_path(state, "none.mp4");
    nx_assert_ok(nx_video_writer_open(path, 64, 64, 25, &writer, &err), err);
    nx_image other = picture(32, 64, 0);
    assert_int_equal(nx_video_writer_add(writer, &other, 0, &err), NX_ERR_INVALID);
    assert_int_equal(nx_video_writer_finish(writer, &err), NX_ERR_INVALID);
    nx_image_free(&other);
    nx_video_writer_free(writer);
    assert_int_equal(access(path, F_OK), -1); /* nothing half is left */
    nx_video_writer_free(NULL);
}

static void a_full_disk_is_told(void **state)
{
    const char *path = scratch_path(state, "full.mp4");
    nx_error err = {0};
    nx_video_writer *writer = NULL;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit little = {.rlim_cur = 4096, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    nx_status status = nx_video_writer_open(path, 320, 240, 25, &writer, &err);
    for (uint32_t i = 0; status == NX_OK && i < 400; i++) {
        nx_image image = picture(320, 240, i);
        for (size_t k = 0; k < image.stride * image.height; k++) { /* noise does not compress */
            image.pixels[k] = (uint8_t)((k * 2654435761U + i * 40503U) >> 11);
        }
        status = nx_video_writer_add(writer, &image, (int64_t)i * 40000000, &err);
        nx_image_free(&image);
    }
    if (status == NX_OK) {
        status = nx_video_writer_finish(writer, &err);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, path);
    nx_video_writer_free(writer);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_picture_comes_back),
        cmocka_unit_test(the_same_pictures_give_the_same_bytes),
        cmocka_unit_test(odd_and_tiny_sizes_are_written),
        cmocka_unit_test(times_are_kept_and_made_to_ascend),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

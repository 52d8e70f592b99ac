/* Frames of a video to calibrate with, upright whatever the camera's orientation. */
#include "scratch.h"

#include "base/file.h"
#include "media/video_reader.h"
#include "optimize/samples.h"

#include <sys/stat.h>

enum { FRAMES = 3 };

/* The matrix of ISO/IEC 14496-12, 8.3.2 (tkhd), big-endian, of a turn by 90 degrees. */
typedef struct turn {
    uint32_t degrees; /* clockwise */
    int32_t a, b, c, d;
} turn;

static void put(uint8_t *to, int32_t value)
{
    for (int i = 0; i < 4; i++) {
        to[i] = (uint8_t)((uint32_t)value >> (24 - 8 * i));
    }
}

/* A copy of the video whose track says that it was filmed with a turned camera. */
static const char *write_turned(void **state, const turn *by)
{
    enum { MATRIX = 44 }; /* behind the box's name in version 0 */
    nx_error err = {0};
    nx_buffer file = NX_BUFFER_INIT;
    nx_assert_ok(
        nx_file_read(nx_shared_path("videos/car-detection.mp4"), (size_t)1 << 28, &file, &err),
        err);
    uint8_t *box = memmem(file.data, file.size, "tkhd", 4);
    assert_non_null(box);
    assert_int_equal(box[4], 0); /* the version */
    uint8_t *matrix = box + MATRIX;
    assert_int_equal(matrix[1], 1); /* 1.0 in 16.16: not turned so far */
    put(matrix, by->a * 65536);
    put(matrix + 4, by->b * 65536);
    put(matrix + 12, by->c * 65536);
    put(matrix + 16, by->d * 65536);
    const char *path = scratch_write(state, "turned.mp4", file.data, file.size);
    nx_buffer_free(&file);
    return path;
}

static nx_samples *open_samples(const char *path)
{
    nx_error err = {0};
    nx_samples *samples = NULL;
    nx_assert_ok(nx_samples_open(path, FRAMES, &samples, &err), err);
    assert_int_equal(nx_samples_count(samples), FRAMES);
    return samples;
}

static const uint8_t *pixel(const nx_image *image, uint32_t x, uint32_t y)
{
    return image->pixels + y * image->stride + (size_t)3 * x;
}

/* Where a pixel of the turned picture stands in the one as stored. */
static const uint8_t *origin_of(const nx_image *stored, uint32_t degrees, uint32_t x, uint32_t y)
{
    switch (degrees) {
    case 90:
        return pixel(stored, y, stored->height - 1 - x);
    case 180:
        return pixel(stored, stored->width - 1 - x, stored->height - 1 - y);
    default:
        return pixel(stored, stored->width - 1 - y, x);
    }
}

static void assert_turned(const nx_sample *turned, const nx_sample *stored, uint32_t degrees)
{
    bool swapped = degrees != 180;
    assert_int_equal(turned->image.width, swapped ? stored->image.height : stored->image.width);
    assert_int_equal(turned->image.height, swapped ? stored->image.width : stored->image.height);
    assert_int_equal(turned->source_width, swapped ? 432 : 768);
    assert_int_equal(turned->source_height, swapped ? 768 : 432);
    for (uint32_t y = 0; y < turned->image.height; y++) {
        for (uint32_t x = 0; x < turned->image.width; x++) {
            assert_memory_equal(pixel(&turned->image, x, y),
                                origin_of(&stored->image, degrees, x, y), 3);
        }
    }
}

static void frames_of_a_turned_camera_are_upright(void **state)
{
    NX_NEED_SHARED();
    static const turn turns[] = {{90, 0, 1, -1, 0}, {180, -1, 0, 0, -1}, {270, 0, -1, 1, 0}};
    nx_error err = {0};
    nx_samples *stored = open_samples(nx_shared_path("videos/car-detection.mp4"));
    for (size_t t = 0; t < NX_COUNT(turns); t++) {
        nx_samples *turned = open_samples(write_turned(state, &turns[t]));
        for (size_t i = 0; i < FRAMES; i++) {
            nx_sample a;
            nx_sample b;
            nx_assert_ok(nx_samples_read(turned, i, 640, &a, &err), err);
            nx_assert_ok(nx_samples_read(stored, i, 640, &b, &err), err);
            assert_turned(&a, &b, turns[t].degrees);
            nx_image_free(&a.image);
            nx_image_free(&b.image);
        }
        nx_samples_free(turned);
    }
    nx_samples_free(stored);
}

static void places_without_pictures_are_told(void **state)
{
    nx_error err = {0};
    nx_samples *samples = NULL;
    char *folder = strdup(scratch_path(state, "notes"));
    assert_non_null(folder);
    assert_int_equal(nx_samples_open(folder, FRAMES, &samples, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "cannot read");
    assert_int_equal(mkdir(folder, 0700), 0);
    (void)scratch_write(state, "notes/letter.txt", "x", 1);
    assert_int_equal(nx_samples_open(folder, FRAMES, &samples, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "there are no pictures (.jpg, .jpeg, .png, .webp) in");
    assert_null(samples);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_of_a_turned_camera_are_upright),
        cmocka_unit_test(places_without_pictures_are_told),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

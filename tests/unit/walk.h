/* A video made by hand in which something white walks, and a small model that sees it. */
#ifndef NX_TESTS_WALK_H
#define NX_TESTS_WALK_H

#include "models.h"

#include "media/decoder.h"
#include "media/video_writer.h"

#define WIDTH  128
#define HEIGHT 128
#define FRAMES 250

/* Boxes from the pixels themselves (models.h): what is white moves, so what is found does too. Its
 * path as of scratch_path. */
static inline const char *walk_model(void **state)
{
    const tiny_model seeing = TINY_YOLOV8;
    return tiny_model_write(state, "seeing.onnx", &seeing);
}

/* A white square that walks over gray, rests, and walks on. Returns the path, to be freed. */
static inline char *walk_video(void **state)
{
    nx_error err = {0};
    nx_video_writer *writer = NULL;
    char *path = strdup(scratch_path(state, "video.mp4"));
    if (access(path, R_OK) == 0) {
        return path;
    }
    nx_assert_ok(nx_video_writer_open(path, WIDTH, HEIGHT, 25, &writer, &err), err);
    for (uint32_t i = 0; i < FRAMES; i++) {
        nx_image image = {0};
        uint32_t step = i < 100 ? i : i < 160 ? 100 : i - 60;
        nx_assert_ok(nx_image_alloc(WIDTH, HEIGHT, &image, &err), err);
        for (uint32_t y = 0; y < HEIGHT; y++) {
            for (uint32_t x = 0; x < WIDTH; x++) {
                bool inside = x - step % 90 < 30 && y - (step / 3) % 90 < 30;
                memset(image.pixels + y * image.stride + (size_t)x * 3, inside ? 250 : 60, 3);
            }
        }
        nx_assert_ok(nx_video_writer_add(writer, &image, (int64_t)i * 40000000, &err), err);
        nx_image_free(&image);
    }
    nx_assert_ok(nx_video_writer_finish(writer, &err), err);
    nx_video_writer_free(writer);
    return path;
}

#endif

/* Pictures to calibrate with and to judge by: those of a folder, or frames of a video. */
#ifndef NX_OPTIMIZE_SAMPLES_H
#define NX_OPTIMIZE_SAMPLES_H

#include "base/error.h"
#include "vision/image.h"

#include <stddef.h>
#include <stdint.h>

/* A set of pictures. Immutable once it is filled; then thread-safe. */
typedef struct nx_samples nx_samples;

/*
 * The .jpg, .jpeg, .png and .webp files of a folder by name, or a video: of that, at most `most`
 * frames, spread evenly.
 * Errors: NX_ERR_NOT_FOUND (no such place; no picture in it), NX_ERR_UNSUPPORTED or NX_ERR_CORRUPT
 * (no video either), NX_ERR_IO, NX_ERR_NO_MEMORY.
 */
nx_status nx_samples_open(const char *path, size_t most, nx_samples **out, nx_error *err);

/* The named files of a folder. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_samples_of_files(const char *folder, const char *const *names, size_t count,
                              nx_samples **out, nx_error *err);

/* NULL is fine. */
void nx_samples_free(nx_samples *samples);

size_t nx_samples_count(const nx_samples *samples);

/* "bus.jpg", or "frame 25". */
const char *nx_samples_name(const nx_samples *samples, size_t i);

/* Takes every second one (the 2nd, 4th, ...) out into *out. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_samples_split(nx_samples *samples, nx_samples **out, nx_error *err);

/* Keeps at most `most`, spread evenly. */
void nx_samples_thin(nx_samples *samples, size_t most);

typedef struct nx_sample {
    nx_image image;        /* to be freed; at least as large as was asked for, or the original */
    uint32_t source_width; /* upright original */
    uint32_t source_height;
} nx_sample;

/* Decodes one so that its longer side has `size` pixels or more, when the original has as many.
 * Errors: those of nx_file_read and nx_image_decode. */
nx_status nx_samples_read(const nx_samples *samples, size_t i, uint32_t size, nx_sample *out,
                          nx_error *err);

#endif

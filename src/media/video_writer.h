/*
 * A video file of pictures: H.264 in MP4, as every browser plays it (4:2:0, the index in front).
 * The same pictures give the same bytes. A writer belongs to one thread at a time.
 */
#ifndef NX_MEDIA_VIDEO_WRITER_H
#define NX_MEDIA_VIDEO_WRITER_H

#include "base/error.h"
#include "vision/image.h"

#include <stdint.h>

typedef struct nx_video_writer nx_video_writer;

/*
 * Begins a file, which is replaced when it is there. width and height of its pictures, 1..16384; an
 * odd last column or row is left out, for 4:2:0 has none (the least is 2). fps: how often pictures
 * come, roughly; 0 takes 25.
 * Errors: NX_ERR_INVALID (the size), NX_ERR_UNSUPPORTED (libavcodec here has no H.264 encoder),
 * NX_ERR_IO, NX_ERR_NO_MEMORY.
 */
nx_status nx_video_writer_open(const char *path, uint32_t width, uint32_t height, double fps,
                               nx_video_writer **out, nx_error *err);

/* Adds a picture of the writer's size that shows from time_ns on (from 0, ascending: one that is
 * not later than the last is put a moment after it). Errors: NX_ERR_INVALID (another size),
 * NX_ERR_IO (a full disk), NX_ERR_NO_MEMORY, NX_ERR_INTERNAL. */
nx_status nx_video_writer_add(nx_video_writer *writer, const nx_image *image, int64_t time_ns,
                              nx_error *err);

/* Writes what is held back and the index. Without it the file is of no use. Errors: as above, and
 * NX_ERR_INVALID (there is no picture in it). */
nx_status nx_video_writer_finish(nx_video_writer *writer, nx_error *err);

/* Closes the file; a file that was not finished is removed. NULL is fine. */
void nx_video_writer_free(nx_video_writer *writer);

#endif

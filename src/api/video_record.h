/*
 * A video's metadata as bytes, to be kept and read again: "NXV1", size and time of making as
 * little-endian int64, then id, owner, hash, name and probe, each with its NUL.
 *
 * Pure functions on memory; thread-safe.
 */
#ifndef NX_API_VIDEO_RECORD_H
#define NX_API_VIDEO_RECORD_H

#include "base/buffer.h"
#include "store/videos.h"

#include <stdbool.h>

void nx_video_record_write(const nx_video *video, nx_buffer *out);

/* Takes any bytes. The texts of out are in them. False: they are no whole record. */
bool nx_video_record_read(const void *bytes, size_t size, nx_video *out);

#endif

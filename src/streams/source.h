/*
 * A camera, or a file that is shown over and over in its place: frames as they come, each with its
 * time. A source belongs to the thread that opened it (media/decoder.h).
 */
#ifndef NX_STREAMS_SOURCE_H
#define NX_STREAMS_SOURCE_H

#include "base/error.h"
#include "media/decoder.h"
#include "streams/media_ring.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* So long nothing may come from a camera that was live: it hangs, and that is to be known within
 * five seconds. */
#define NX_SOURCE_SILENCE_NS INT64_C(4000000000)
/* And so long until it answers, and until the first frame. */
#define NX_SOURCE_CONNECT_NS INT64_C(15000000000)

typedef struct nx_stream_source nx_stream_source;

typedef struct nx_stream_source_options {
    const char *name; /* for messages; borrowed, as all of these, until the source is freed */
    const char *url;
    const char *files_dir; /* "": none */
    bool allow_loopback;
    const char *ca_file; /* STREAM_CA_FILE; "": the system's authorities */
    bool udp;            /* of rtsp:// alone */
    double fps;          /* at most so many frames a second are delivered; 0: all */
    bool catch_up;       /* as nx_decoder_options has it */
    uint64_t max_pixels;
    nx_media_ring *media;    /* gets the video itself, at times of the source; NULL: nobody does */
    const atomic_bool *stop; /* once true, whatever waits ends with NX_ERR_CANCELLED */
} nx_stream_source_options;

/* Errors: those of streams/url.h, nx_decoder_open_fd and nx_decoder_open_live. */
nx_status nx_stream_source_open(const nx_stream_source_options *options, nx_stream_source **out,
                                nx_error *err);
void nx_stream_source_free(nx_stream_source *source); /* NULL is fine */

const nx_decoder_info *nx_stream_source_info(const nx_stream_source *source);

/* Do its pictures come when their time has come, and the video itself before? */
bool nx_stream_source_is_paced(const nx_stream_source *source);

/* The size that pictures come in, before the first. Errors: NX_ERR_INVALID. */
nx_status nx_stream_source_set_size(nx_stream_source *source, uint32_t width, uint32_t height,
                                    nx_error *err);

typedef struct nx_stream_picture {
    const uint8_t *pixels; /* RGB without gaps; valid until the next call */
    uint64_t skipped;      /* frames between this one and the one before that fps leaves out */
    uint64_t late;         /* and those that came too late to be decoded */
    int64_t time_ns;       /* since the first one; rises */
    int64_t at_ns;         /* when it came in, since 1970; of a file when it was due */
} nx_stream_picture;

/* The next one. Of a file, and of a camera that sends seconds at once (HLS), each when its time has
 * come. Errors: NX_ERR_TIMEOUT (nothing came), NX_ERR_IO (a camera ended its stream), those of
 * nx_decoder_next. */
nx_status nx_stream_source_next(nx_stream_source *source, nx_stream_picture *out, nx_error *err);

#endif

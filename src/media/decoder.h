/*
 * Untrusted video, decoded in a child process: `nexus decoder`, which has the file, a socket to us
 * and a ring of frames, and nothing else (decoder_sandbox.h). Whatever a file does to libavformat
 * or libavcodec ends that child and is an error here. Frames come already scaled and upright.
 *
 * The child runs this very program, so every program that opens decoders calls nx_decoder_dispatch
 * before anything else.
 *
 * A decoder belongs to the thread that opened it, but for nx_decoder_cancel: the kernel ends the
 * child when that thread ends (PR_SET_PDEATHSIG). Several threads may have decoders of their own.
 */
#ifndef NX_MEDIA_DECODER_H
#define NX_MEDIA_DECODER_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define NX_DECODER_DEFAULT_SLOTS      4
#define NX_DECODER_MOST_SLOTS         16
#define NX_DECODER_MOST_THREADS       2
#define NX_DECODER_DEFAULT_MEMORY     ((uint64_t)1 << 30)
#define NX_DECODER_DEFAULT_TIMEOUT_NS INT64_C(10000000000)
#define NX_DECODER_MOST_SIDE          16384 /* of the frames that come */

/* Becomes the child, and does not return, if the program was started as one. First thing in main.
 */
void nx_decoder_dispatch(int argc, char **argv);

typedef struct nx_decoder nx_decoder;
struct nx_mp4_track; /* media/mp4.h */

/* A place in a video: behind a frame that was delivered. Plain data, to be kept anywhere. */
typedef struct nx_decoder_mark {
    uint64_t frame; /* its index */
    /* Its time; negative if the file does not give it, and then there is no seeking to it. */
    int64_t pts_ns;
} nx_decoder_mark;

/* A picture of the video as it was encoded. */
typedef struct nx_media_sample {
    uint8_t *block; /* malloc's: NX_MP4_FRAGMENT_HEAD bytes of room, then size bytes */
    uint32_t size;
    bool key; /* decoding may begin with it */
    /* As nx_decoder_frame's pts_ns: when it is shown, and when it is to be decoded. The latter
     * rises from one to the next, and may be before 0. */
    int64_t pts_ns, dts_ns;
    int64_t arrived_ns; /* as nx_decoder_frame has it */
} nx_media_sample;

/* Who wants the video itself, if it is H.264 or HEVC: called on a thread of the decoder's, from its
 * opening until it is freed. A track comes before its samples, of which the first is a key frame;
 * so is the one behind a gap. Must not wait. */
typedef struct nx_decoder_media {
    void (*track)(const struct nx_mp4_track *track, void *user);
    void (*sample)(const nx_media_sample *sample, void *user); /* the block is the callee's */
    void *user;
} nx_decoder_media;

/* Most bytes of a sample. */
#define NX_MEDIA_SAMPLE_MAX ((size_t)8 << 20)

typedef struct nx_decoder_options {
    /* Frames are scaled down to fit, their aspect ratio kept; 0: not. See nx_decoder_set_size. */
    uint32_t max_width, max_height;
    uint64_t max_pixels; /* of a frame as stored; 0 takes NX_DECODE_DEFAULT_MAX_PIXELS */
    uint32_t stride;     /* frames 0, stride, 2 * stride, ... are delivered; 0 and 1: all */
    /* So many frames a second of the video at most: the first of each 1/fps seconds; 0: all. */
    double fps;
    bool resume; /* deliver what an undisturbed run delivers behind `mark`, to the byte */
    nx_decoder_mark mark;
    uint32_t threads; /* of libavcodec, up to NX_DECODER_MOST_THREADS; 0: 1 */
    uint32_t slots;   /* frames decoded ahead, at least 2; 0 takes NX_DECODER_DEFAULT_SLOTS */
    /* What the child may take beyond its program, the ring included; 0: NX_DECODER_DEFAULT_MEMORY.
     */
    uint64_t memory_limit;
    /* Without any progress of the child; 0: NX_DECODER_DEFAULT_TIMEOUT_NS. Frames that are decoded
     * and not delivered are progress: on the way to a mark it may take long until the first one
     * comes. Whoever wants an end to that, or mistrusts a child that claims it, cancels. */
    int64_t timeout_ns;
    uint64_t max_damaged; /* packets and frames that may be damaged before it is an error */
    /* Of a camera over RTSP that sends faster than frames are decoded: pass over what waits, up to
     * a key frame, rather than be ever later. */
    bool catch_up;
    const nx_decoder_media *media; /* borrowed while the decoder lives; NULL: nobody wants it */
    /* Borrowed likewise; once true, whatever waits ends with NX_ERR_CANCELLED; NULL: nothing does.
     */
    const atomic_bool *stop;
} nx_decoder_options;

typedef struct nx_decoder_info {
    char container[32]; /* "mov", "matroska", "avi", "mpegts" */
    char codec[32];     /* "h264" */
    uint32_t width;     /* upright, of square pixels */
    uint32_t height;
    uint32_t rotation;   /* degrees clockwise by which the stored frames are turned: 0, 90, ... */
    double fps;          /* on average; 0 when it is not known */
    int64_t duration_ns; /* 0 when it is not known */
    uint64_t frames;     /* as the file claims; 0 when it does not say */
} nx_decoder_info;

typedef struct nx_decoder_frame {
    const uint8_t *pixels; /* RGB, 3 * width bytes a row; valid until the next call */
    uint32_t width;
    uint32_t height;
    uint64_t index; /* in the order of display, from 0; those that are not delivered count */
    /* From the video's start; grows with every frame. Made from the frame rate where the file says
     * nothing, or nothing of use. */
    int64_t pts_ns;
    nx_decoder_mark mark; /* behind this frame */
    /* Of a camera: when it came in, in nanoseconds since 1970 by this machine's clock; else 0. If
     * it lay waiting for the decoder, that counts as having come. */
    int64_t arrived_ns;
    uint64_t late; /* frames before this one that catch_up passed over, since the start */
} nx_decoder_frame;

/*
 * Starts a child and has it look into the file: containers that hold their own data (mov, mp4,
 * matroska, webm, avi, mpegts and others), their best video stream. Nothing is decoded before the
 * first nx_decoder_next. options may be NULL.
 * Errors, which name the file: NX_ERR_NOT_FOUND, NX_ERR_INVALID (not a file, options), NX_ERR_IO,
 * NX_ERR_UNSUPPORTED (no video, or of an unknown kind), NX_ERR_CORRUPT (damaged, or it crashed the
 * child), NX_ERR_TOO_LARGE (pixels, memory), NX_ERR_TIMEOUT, NX_ERR_UNAVAILABLE (no child or no
 * sandbox to be had, or somebody killed it: another try may work), NX_ERR_NO_MEMORY.
 */
nx_status nx_decoder_open(const char *path, const nx_decoder_options *options, nx_decoder **out,
                          nx_error *err);

/* The same of a regular file that is open for reading, from its start whatever its offset; name is
 * for messages. fd stays the caller's and may be closed at once. */
nx_status nx_decoder_open_fd(int fd, const char *name, const nx_decoder_options *options,
                             nx_decoder **out, nx_error *err);

#define NX_DECODER_MOST_URL 2400

/* Where a camera is, and how long it is waited for. Borrowed while it is opened. */
typedef struct nx_decoder_live {
    /* rtsp:// or http:// (multipart JPEG, HLS and whatever else is a video), at most
     * NX_DECODER_MOST_URL bytes. The host is an address: the child looks up no names, follows no
     * redirection, and takes nothing of a playlist from elsewhere. */
    const char *url;
    const char *host;   /* "camera.example:8080" for HTTP's header Host; NULL: as the URL */
    bool udp;           /* RTP over UDP instead of within RTSP's connection */
    bool device;        /* url is the path of a V4L2 device */
    int64_t connect_ns; /* most until it answers, and from then until the first frame */
    /* Most without anything from it, and between two frames that are delivered; the decoder's
     * timeout_ns is not looked at. */
    int64_t silence_ns;
} nx_decoder_live;

/*
 * The same of a camera: its child may talk to the network, and to no file (decoder_sandbox.h). Name
 * is for messages, which do not hold the URL. Frames begin when the camera is opened: their times
 * count from the first one. Damage is no error. Errors: as above; NX_ERR_IO (it can't be reached,
 * or refuses), NX_ERR_TIMEOUT.
 */
nx_status nx_decoder_open_live(const nx_decoder_live *live, const char *name,
                               const nx_decoder_options *options, nx_decoder **out, nx_error *err);

/* Kills the child and reaps it. NULL is fine. */
void nx_decoder_free(nx_decoder *decoder);

/* Valid as long as the decoder. */
const nx_decoder_info *nx_decoder_get_info(const nx_decoder *decoder);

/* Is it of a kind that is copied for nx_decoder_media? */
bool nx_decoder_can_copy(const nx_decoder_info *info);

/* The size that frames come in. */
void nx_decoder_get_size(const nx_decoder *decoder, uint32_t *width, uint32_t *height);

/* Has frames come in exactly this size, whatever it does to their aspect ratio. Before the first
 * nx_decoder_next. Errors: NX_ERR_INVALID (a side of 0 or over NX_DECODER_MOST_SIDE),
 * NX_ERR_CONFLICT (too late). */
nx_status nx_decoder_set_size(nx_decoder *decoder, uint32_t width, uint32_t height, nx_error *err);

/*
 * The next frame. *end is set, and frame left alone, behind the last one. The scaling filter is
 * that of nx_letterbox_apply.
 * Errors as above, with the frame and the time where it happened; what was decoded before was
 * delivered before. An error stays: no further frame comes. NX_ERR_CANCELLED after
 * nx_decoder_cancel.
 */
nx_status nx_decoder_next(nx_decoder *decoder, nx_decoder_frame *frame, bool *end, nx_error *err);

/* Packets and frames found damaged so far. */
uint64_t nx_decoder_damaged(const nx_decoder *decoder);

/* Ends the decoding; a call that waits returns at once. Any thread, as long as the decoder lives.
 */
void nx_decoder_cancel(nx_decoder *decoder);

/* The child's process id, or 0 when there is none any more. For tests and messages. */
int nx_decoder_pid(const nx_decoder *decoder);

#endif

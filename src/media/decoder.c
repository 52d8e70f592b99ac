#include "media/decoder.h"

#include "base/clock.h"
#include "media/codec.h"
#include "media/decoder_media.h"
#include "media/decoder_process.h"
#include "media/decoder_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* How often a wait looks whether it is to stop. */
#define STOP_LOOK_NS (100 * NX_NS_PER_MS)

struct nx_decoder {
    char *name; /* of the file, for messages */
    nx_wire_kind kind;
    nx_decoder_live live; /* of a camera; its strings are gone */
    nx_decoder_options options;
    nx_decoder_process process;
    nx_media_reader *media; /* NULL: nobody wants the video itself */
    nx_decoder_info info;
    uint32_t width, height;
    int ring_fd;
    const uint8_t *ring; /* NULL before the start */
    uint64_t slot_bytes;
    bool started;
    bool ended;
    bool held; /* the caller has the frame in held_slot */
    uint32_t held_slot;
    bool full[NX_DECODER_MOST_SLOTS]; /* slots that the child has said to be full */
    uint64_t frames;
    uint64_t last_index;
    int64_t last_ns;
    uint64_t damaged;
    nx_error failure; /* stays; NX_OK: none */
    atomic_bool cancelled;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to decode a video");
}

/* --- failures -----------------------------------------------------------------------------------
 */

/* Ends the decoder with what err says, which is kept. */
static nx_status fail(nx_decoder *decoder, nx_error *err)
{
    (void)nx_process_kill(&decoder->process);
    if (atomic_load(&decoder->cancelled)) {
        nx_error_set(err, NX_ERR_CANCELLED, "%s: decoding was cancelled", decoder->name);
    }
    decoder->failure = *err;
    return err->status;
}

/* "behind frame 57 (1.900 s)" */
static const char *where(const nx_decoder *decoder, char *text, size_t size)
{
    if (!decoder->started && decoder->kind != NX_WIRE_FILE) {
        snprintf(text, size, "while connecting");
    } else if (!decoder->started) {
        snprintf(text, size, "while looking into the file");
    } else if (decoder->frames == 0) {
        snprintf(text, size, "before its first frame");
    } else {
        snprintf(text, size, "behind frame %llu (%.3f s)", (unsigned long long)decoder->last_index,
                 (double)decoder->last_ns / 1e9);
    }
    return text;
}

static nx_status fail_by_death(nx_decoder *decoder, nx_error *err)
{
    char place[64];
    nx_decoder_death death = nx_process_kill(&decoder->process);
    nx_error_set(err, death.status, "%s: %s %s", decoder->name, death.text,
                 where(decoder, place, sizeof place));
    return fail(decoder, err);
}

static nx_status fail_by_timeout(nx_decoder *decoder, nx_error *err)
{
    char place[64];
    if (decoder->kind != NX_WIRE_FILE) {
        int64_t waited = decoder->frames > 0 ? decoder->live.silence_ns : decoder->live.connect_ns;
        nx_error_set(err, NX_ERR_TIMEOUT, "%s: nothing came for %.3g s %s", decoder->name,
                     (double)waited / 1e9, where(decoder, place, sizeof place));
        return fail(decoder, err);
    }
    nx_error_set(err, NX_ERR_TIMEOUT, "%s: the decoder made no progress for %.3g s %s",
                 decoder->name, (double)decoder->options.timeout_ns / 1e9,
                 where(decoder, place, sizeof place));
    return fail(decoder, err);
}

static nx_status fail_by_nonsense(nx_decoder *decoder, nx_error *err)
{
    char place[64];
    nx_error_set(err, NX_ERR_CORRUPT, "%s: the decoder talks nonsense %s", decoder->name,
                 where(decoder, place, sizeof place));
    return fail(decoder, err);
}

/* Text of the child's: whatever it is, it ends and holds no control characters. */
static void clean_text(char *text, size_t size)
{
    text[size - 1] = '\0';
    for (char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at >= 0x7F) {
            *at = '?';
        }
    }
}

static nx_status fail_by_word(nx_decoder *decoder, nx_wire_to_parent *news, nx_error *err)
{
    clean_text(news->failure.message, sizeof news->failure.message);
    switch ((int)news->failure.status) {
    case NX_ERR_TOO_LARGE:
    case NX_ERR_UNSUPPORTED:
    case NX_ERR_CORRUPT:
    case NX_ERR_IO:
    case NX_ERR_UNAVAILABLE:
    case NX_ERR_INTERNAL:
        break;
    default:
        return fail_by_nonsense(decoder, err);
    }
    nx_error_set(err, news->failure.status, "%s: %.400s", decoder->name, news->failure.message);
    return fail(decoder, err);
}

/* --- opening ------------------------------------------------------------------------------------
 */

static nx_status check_options(const nx_decoder_options *options, nx_error *err)
{
    if (options->threads > NX_DECODER_MOST_THREADS || options->slots > NX_DECODER_MOST_SLOTS ||
        options->slots == 1) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a decoder takes up to %d threads and 2 to %d slots",
                            NX_DECODER_MOST_THREADS, NX_DECODER_MOST_SLOTS);
    }
    if (!isfinite(options->fps) || options->fps < 0 || (options->fps > 0 && options->stride > 1)) {
        return nx_error_set(err, NX_ERR_INVALID, "a decoder takes a stride or a frame rate");
    }
    if (options->timeout_ns < 0) {
        return nx_error_set(err, NX_ERR_INVALID, "a decoder's timeout is not negative");
    }
    return NX_OK;
}

static nx_decoder_options with_defaults(const nx_decoder_options *options)
{
    nx_decoder_options all = options != NULL ? *options : (nx_decoder_options){0};
    all.max_pixels = all.max_pixels != 0 ? all.max_pixels : NX_DECODE_DEFAULT_MAX_PIXELS;
    all.stride = all.stride != 0 ? all.stride : 1;
    all.threads = all.threads != 0 ? all.threads : 1;
    all.slots = all.slots != 0 ? all.slots : NX_DECODER_DEFAULT_SLOTS;
    all.memory_limit = all.memory_limit != 0 ? all.memory_limit : NX_DECODER_DEFAULT_MEMORY;
    all.timeout_ns = all.timeout_ns != 0 ? all.timeout_ns : NX_DECODER_DEFAULT_TIMEOUT_NS;
    return all;
}

static bool is_side(uint32_t side)
{
    return side > 0 && side <= NX_DECODER_MOST_SIDE;
}

/* Takes over what the child says of the file. False: that can't be. */
static bool take_info(nx_decoder *decoder, const nx_decoder_info *info)
{
    nx_decoder_info copy = *info;
    clean_text(copy.container, sizeof copy.container);
    clean_text(copy.codec, sizeof copy.codec);
    decoder->info = copy;
    return copy.width > 0 && copy.height > 0 && copy.width <= INT32_MAX &&
           copy.height <= INT32_MAX && copy.rotation < 360 && copy.rotation % 90 == 0 &&
           isfinite(copy.fps) && copy.fps >= 0 && copy.duration_ns >= 0;
}

static uint32_t scaled_side(uint32_t side, double scale)
{
    double scaled = nearbyint(side * scale);
    return scaled < 1 ? 1 : (uint32_t)scaled;
}

/* The size of frames unless the caller asks for another. */
static nx_status choose_size(nx_decoder *decoder, nx_error *err)
{
    const nx_decoder_info *info = &decoder->info;
    const nx_decoder_options *options = &decoder->options;
    double scale = 1;
    if (options->max_width > 0) {
        scale = fmin(scale, (double)options->max_width / info->width);
    }
    if (options->max_height > 0) {
        scale = fmin(scale, (double)options->max_height / info->height);
    }
    decoder->width = scaled_side(info->width, scale);
    decoder->height = scaled_side(info->height, scale);
    if (!is_side(decoder->width) || !is_side(decoder->height)) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "%s: frames of %ux%u pixels are too large",
                            decoder->name, decoder->width, decoder->height);
    }
    return NX_OK;
}

/* The child's next message, until a time, or until it is to stop: as if the child had gone. */
static nx_heard hear(nx_decoder *decoder, int64_t until_ns, nx_wire_to_parent *news)
{
    for (;;) {
        int64_t look_ns = nx_clock_now_ns() + STOP_LOOK_NS;
        bool last = decoder->options.stop == NULL || look_ns >= until_ns;
        nx_heard heard = nx_process_hear(&decoder->process, last ? until_ns : look_ns, news);
        if (decoder->options.stop != NULL && atomic_load(decoder->options.stop)) {
            atomic_store(&decoder->cancelled, true);
            return NX_HEARD_END;
        }
        if (heard != NX_HEARD_NOTHING || last) {
            return heard;
        }
    }
}

static nx_status say_hello(nx_decoder *decoder, nx_error *err)
{
    nx_wire_to_child hello = {
        .order = NX_WIRE_HELLO, .options = decoder->options, .kind = decoder->kind};
    nx_wire_to_parent news;
    hello.media = decoder->media != NULL;
    hello.options.media = NULL; /* where things are here is nothing for strangers */
    hello.options.stop = NULL;
    if (nx_process_tell(&decoder->process, &hello, err) != NX_OK) {
        return fail_by_death(decoder, err);
    }
    int64_t limit =
        decoder->kind != NX_WIRE_FILE ? decoder->live.connect_ns : decoder->options.timeout_ns;
    int64_t deadline = nx_clock_now_ns() + limit;
    do {
        nx_heard heard = hear(decoder, deadline, &news);
        if (heard == NX_HEARD_NOTHING) {
            return fail_by_timeout(decoder, err);
        }
        if (heard == NX_HEARD_END) {
            return fail_by_death(decoder, err);
        }
    } while (news.news == NX_WIRE_ALIVE);
    if (news.news == NX_WIRE_FAILURE) {
        return fail_by_word(decoder, &news, err);
    }
    if (news.news != NX_WIRE_INFO || !take_info(decoder, &news.info)) {
        return fail_by_nonsense(decoder, err);
    }
    return choose_size(decoder, err);
}

static nx_status start_child(nx_decoder *decoder, int fd, nx_error *err)
{
    decoder->ring_fd = memfd_create("nexus-frames", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (decoder->ring_fd < 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno, "no memory for frames");
    }
    int media = -1;
    nx_status status = NX_OK;
    if (decoder->options.media != NULL) {
        status = nx_media_reader_start(decoder->options.media, &decoder->media, &media, err);
    }
    if (status == NX_OK) {
        status = nx_process_start(fd, decoder->ring_fd, media, &decoder->process, err);
    }
    if (media >= 0) {
        close(media); /* from now on it ends with the child */
    }
    return status == NX_OK ? say_hello(decoder, err) : status;
}

static nx_status check_file(int fd, const char *name, nx_error *err)
{
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", name);
    }
    return S_ISREG(info.st_mode) ? NX_OK
                                 : nx_error_set(err, NX_ERR_INVALID, "%s is not a file", name);
}

/* live NULL: fd is a file's. */
static nx_status open_decoder(int fd, const char *name, const nx_decoder_options *options,
                              const nx_decoder_live *live, nx_decoder **out, nx_error *err)
{
    nx_error own = {0};
    nx_decoder_options all = with_defaults(options);
    err = err != NULL ? err : &own;
    *out = NULL;
    nx_status status = check_options(&all, err);
    status = status == NX_OK ? check_file(fd, name, err) : status;
    if (status != NX_OK) {
        return status;
    }
    nx_decoder *decoder = calloc(1, sizeof *decoder);
    if (decoder == NULL) {
        return no_memory(err);
    }
    decoder->options = all;
    if (live != NULL) {
        decoder->kind = live->device ? NX_WIRE_DEVICE
                        : live->udp  ? NX_WIRE_CAMERA_UDP
                                     : NX_WIRE_CAMERA;
        decoder->live = *live;
        decoder->live.url = NULL;
        decoder->live.host = NULL;
        decoder->options.max_damaged = UINT64_MAX / 2; /* packets are lost all the time */
    }
    decoder->ring_fd = -1;
    decoder->process.control = -1;
    decoder->name = strdup(name);
    status = decoder->name == NULL ? no_memory(err) : start_child(decoder, fd, err);
    if (status != NX_OK) {
        nx_decoder_free(decoder);
        return status;
    }
    *out = decoder;
    return NX_OK;
}

nx_status nx_decoder_open_fd(int fd, const char *name, const nx_decoder_options *options,
                             nx_decoder **out, nx_error *err)
{
    return open_decoder(fd, name, options, NULL, out, err);
}

/* The text that names a camera, as a file: nobody else reads it, unlike a command line. Negative
 * with errno. */
static int describe_camera(const nx_decoder_live *live)
{
    int fd = memfd_create("nexus-camera", MFD_CLOEXEC);
    if (fd < 0) {
        return -1;
    }
    if (dprintf(fd, "%s\n%s\n", live->url, live->host != NULL ? live->host : "") < 0) {
        int failure = errno;
        close(fd);
        errno = failure;
        return -1;
    }
    return fd;
}

nx_status nx_decoder_open_live(const nx_decoder_live *live, const char *name,
                               const nx_decoder_options *options, nx_decoder **out, nx_error *err)
{
    *out = NULL;
    if (strlen(live->url) > NX_DECODER_MOST_URL || live->connect_ns <= 0 || live->silence_ns <= 0) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: this is not how a camera is opened", name);
    }
    int fd = describe_camera(live);
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno, "no decoder can be started");
    }
    nx_status status = open_decoder(fd, name, options, live, out, err);
    close(fd);
    return status;
}

nx_status nx_decoder_open(const char *path, const nx_decoder_options *options, nx_decoder **out,
                          nx_error *err)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe would wait */
    if (fd < 0) {
        return nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                  "cannot read %s", path);
    }
    nx_status status = nx_decoder_open_fd(fd, path, options, out, err);
    close(fd);
    return status;
}

void nx_decoder_free(nx_decoder *decoder)
{
    if (decoder != NULL) {
        (void)nx_process_kill(&decoder->process);
        nx_media_reader_free(decoder->media);
        if (decoder->ring != NULL) {
            munmap((void *)decoder->ring, decoder->slot_bytes * decoder->options.slots);
        }
        if (decoder->process.control >= 0) {
            close(decoder->process.control);
        }
        if (decoder->ring_fd >= 0) {
            close(decoder->ring_fd);
        }
        free(decoder->name);
        free(decoder);
    }
}

/* --- starting -----------------------------------------------------------------------------------
 */

/* A ring whose size the child can't change: reading beyond its end would be a signal here. */
static nx_status make_ring(nx_decoder *decoder, nx_error *err)
{
    decoder->slot_bytes = nx_wire_slot_bytes(decoder->width, decoder->height);
    uint64_t bytes = decoder->slot_bytes * decoder->options.slots;
    if (bytes > decoder->options.memory_limit) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "%s: %u frames of %ux%u pixels are over the limit of %llu MB of memory",
                            decoder->name, decoder->options.slots, decoder->width, decoder->height,
                            (unsigned long long)(decoder->options.memory_limit >> 20));
    }
    struct stat info;
    if (ftruncate(decoder->ring_fd, (off_t)bytes) != 0 ||
        fcntl(decoder->ring_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0 ||
        fstat(decoder->ring_fd, &info) != 0 || (uint64_t)info.st_size != bytes) {
        return nx_error_set_errno(err, NX_ERR_NO_MEMORY, errno, "%s: no memory for frames",
                                  decoder->name);
    }
    void *ring = mmap(NULL, bytes, PROT_READ, MAP_SHARED, decoder->ring_fd, 0);
    if (ring == MAP_FAILED) {
        return nx_error_set_errno(err, NX_ERR_NO_MEMORY, errno, "%s: no memory for frames",
                                  decoder->name);
    }
    decoder->ring = ring;
    return NX_OK;
}

static nx_status start(nx_decoder *decoder, nx_error *err)
{
    if (make_ring(decoder, err) != NX_OK) {
        return fail(decoder, err);
    }
    nx_wire_to_child order = {
        .order = NX_WIRE_START, .width = decoder->width, .height = decoder->height};
    decoder->started = true;
    return nx_process_tell(&decoder->process, &order, err) == NX_OK ? NX_OK
                                                                    : fail_by_death(decoder, err);
}

/* --- frames -------------------------------------------------------------------------------------
 */

static void release_held(nx_decoder *decoder)
{
    nx_wire_to_child order = {.order = NX_WIRE_RELEASE, .slot = decoder->held_slot};
    if (decoder->held) {
        decoder->held = false;
        decoder->full[decoder->held_slot] = false;
        /* a child that has gone may have left frames and reasons behind, which are read first */
        (void)nx_process_tell(&decoder->process, &order, NULL);
    }
}

/* Takes over a frame. False: that can't be. */
static bool take_frame(nx_decoder *decoder, const nx_wire_to_parent *news, nx_decoder_frame *frame)
{
    bool first = decoder->frames == 0;
    if (news->slot >= decoder->options.slots || decoder->full[news->slot] || news->pts_ns < 0 ||
        (!first && (news->index <= decoder->last_index || news->pts_ns <= decoder->last_ns))) {
        return false;
    }
    decoder->full[news->slot] = true;
    decoder->held = true;
    decoder->held_slot = news->slot;
    decoder->frames++;
    decoder->last_index = news->index;
    decoder->last_ns = news->pts_ns;
    *frame = (nx_decoder_frame){
        .pixels = decoder->ring + news->slot * decoder->slot_bytes,
        .width = decoder->width,
        .height = decoder->height,
        .index = news->index,
        .pts_ns = news->pts_ns,
        .mark = {.frame = news->index, .pts_ns = news->mark_ns},
        .arrived_ns = news->arrived_ns,
        .late = news->late,
    };
    return true;
}

/* Until when the next message must have come, when a frame has been waited for since then. */
static int64_t next_deadline(const nx_decoder *decoder, int64_t since_ns)
{
    if (decoder->kind == NX_WIRE_FILE) {
        return nx_clock_now_ns() + decoder->options.timeout_ns;
    }
    /* what comes and gives no frame is no camera's picture */
    return since_ns + (decoder->frames > 0 ? decoder->live.silence_ns : decoder->live.connect_ns);
}

static nx_status wait_for_frame(nx_decoder *decoder, nx_decoder_frame *frame, bool *end,
                                nx_error *err)
{
    int64_t since_ns = nx_clock_now_ns();
    for (;;) {
        nx_wire_to_parent news;
        nx_heard heard = hear(decoder, next_deadline(decoder, since_ns), &news);
        if (heard == NX_HEARD_NOTHING) {
            return fail_by_timeout(decoder, err);
        }
        if (heard == NX_HEARD_END) {
            return fail_by_death(decoder, err);
        }
        decoder->damaged = news.damaged;
        switch ((int)news.news) {
        case NX_WIRE_ALIVE:
            break;
        case NX_WIRE_FRAME:
            return take_frame(decoder, &news, frame) ? NX_OK : fail_by_nonsense(decoder, err);
        case NX_WIRE_END:
            decoder->ended = true;
            *end = true;
            (void)nx_process_kill(&decoder->process);
            return NX_OK;
        case NX_WIRE_FAILURE:
            return fail_by_word(decoder, &news, err);
        default:
            return fail_by_nonsense(decoder, err);
        }
    }
}

nx_status nx_decoder_next(nx_decoder *decoder, nx_decoder_frame *frame, bool *end, nx_error *err)
{
    nx_error own = {0};
    err = err != NULL ? err : &own;
    *end = false;
    if (decoder->failure.status != NX_OK) {
        *err = decoder->failure;
        return err->status;
    }
    if (decoder->ended) {
        *end = true;
        return NX_OK;
    }
    if (atomic_load(&decoder->cancelled)) {
        return fail(decoder, err);
    }
    nx_status status = decoder->started ? NX_OK : start(decoder, err);
    if (status != NX_OK) {
        return status;
    }
    release_held(decoder);
    return wait_for_frame(decoder, frame, end, err);
}

/* --- the rest -----------------------------------------------------------------------------------
 */

const nx_decoder_info *nx_decoder_get_info(const nx_decoder *decoder)
{
    return &decoder->info;
}

bool nx_decoder_can_copy(const nx_decoder_info *info)
{
    return strcmp(info->codec, "h264") == 0 || strcmp(info->codec, "hevc") == 0;
}

void nx_decoder_get_size(const nx_decoder *decoder, uint32_t *width, uint32_t *height)
{
    *width = decoder->width;
    *height = decoder->height;
}

nx_status nx_decoder_set_size(nx_decoder *decoder, uint32_t width, uint32_t height, nx_error *err)
{
    if (decoder->started) {
        return nx_error_set(err, NX_ERR_CONFLICT, "frames come already");
    }
    if (!is_side(width) || !is_side(height)) {
        return nx_error_set(err, NX_ERR_INVALID, "frames of %ux%u pixels cannot be made", width,
                            height);
    }
    decoder->width = width;
    decoder->height = height;
    return NX_OK;
}

uint64_t nx_decoder_damaged(const nx_decoder *decoder)
{
    return decoder->damaged;
}

void nx_decoder_cancel(nx_decoder *decoder)
{
    atomic_store(&decoder->cancelled, true);
    (void)shutdown(decoder->process.control, SHUT_RDWR);
}

int nx_decoder_pid(const nx_decoder *decoder)
{
    return (int)decoder->process.pid;
}

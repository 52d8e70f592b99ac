#include "media/decoder_media.h"

#include "base/log.h"
#include "media/decoder_wire.h"
#include "media/video_copy.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* What may be on its way; the system gives as much of it as it likes. */
#define SOCKET_BYTES (1 << 20)

struct nx_media_reader {
    nx_decoder_media to;
    int socket;
    pthread_t thread;
    bool has_track;
    bool has_samples; /* of this track */
    int64_t last_dts_ns;
};

/* False: the end. */
static bool receive(nx_media_reader *self, void *bytes, size_t size)
{
    uint8_t *to = bytes;
    while (size > 0) {
        ssize_t got = recv(self->socket, to, size, 0);
        if (got > 0) {
            to += got;
            size -= (size_t)got;
        } else if (got == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* False: that can't be, or is not all. */
static bool take_track(nx_media_reader *self, const nx_wire_media *head)
{
    nx_mp4_track track;
    if (head->size != sizeof track || !receive(self, &track, sizeof track) ||
        !nx_mp4_track_is_sane(&track)) {
        return false;
    }
    self->has_track = true;
    self->has_samples = false;
    self->to.track(&track, self->to.user);
    return true;
}

static bool is_time(int64_t ns)
{
    return ns > -NX_MEDIA_MOST_NS && ns < NX_MEDIA_MOST_NS;
}

static bool take_sample(nx_media_reader *self, const nx_wire_media *head)
{
    bool key = head->key == 1;
    if (head->size == 0 || head->size > NX_MEDIA_SAMPLE_MAX || head->key > 1 || !self->has_track ||
        !is_time(head->pts_ns) || !is_time(head->dts_ns) || head->arrived_ns < 0 ||
        (self->has_samples ? head->dts_ns <= self->last_dts_ns : !key)) {
        return false;
    }
    uint8_t *block = malloc(NX_MP4_FRAGMENT_HEAD + head->size);
    if (block == NULL || !receive(self, block + NX_MP4_FRAGMENT_HEAD, head->size)) {
        free(block);
        return false;
    }
    self->has_samples = true;
    self->last_dts_ns = head->dts_ns;
    const nx_media_sample sample = {
        .block = block,
        .size = (uint32_t)head->size,
        .key = key,
        .pts_ns = head->pts_ns,
        .dts_ns = head->dts_ns,
        .arrived_ns = head->arrived_ns,
    };
    self->to.sample(&sample, self->to.user);
    return true;
}

static void *run(void *user)
{
    nx_media_reader *self = user;
    nx_wire_media head;
    bool good = true;
    while (good && receive(self, &head, sizeof head)) {
        good = head.kind == NX_WIRE_TRACK    ? take_track(self, &head)
               : head.kind == NX_WIRE_SAMPLE ? take_sample(self, &head)
                                             : false;
    }
    if (!good) { /* pictures go on without it */
        nx_log_warn("media", "a decoder sends no video any more that can be shown as it is");
        (void)shutdown(self->socket, SHUT_RDWR);
    }
    return NULL;
}

nx_status nx_media_reader_start(const nx_decoder_media *to, nx_media_reader **out, int *child,
                                nx_error *err)
{
    const struct timeval wait = {.tv_usec = (suseconds_t)NX_VIDEO_COPY_WAIT_MS * 1000};
    const int bytes = SOCKET_BYTES;
    int ends[2] = {-1, -1};
    nx_media_reader *self = calloc(1, sizeof *self);
    *out = NULL;
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read a video");
    }
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 ||
        setsockopt(ends[1], SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0) {
        nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno, "no socket to read a video");
        goto fail;
    }
    (void)setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    self->to = *to;
    self->socket = ends[0];
    int failure = pthread_create(&self->thread, NULL, run, self);
    if (failure != 0) {
        nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread to read a video");
        goto fail;
    }
    *child = ends[1];
    *out = self;
    return NX_OK;

fail:
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            close(ends[i]);
        }
    }
    free(self);
    return err->status;
}

void nx_media_reader_free(nx_media_reader *reader)
{
    if (reader != NULL) {
        /* what has come is read first; a child that kept its end somewhere keeps nobody waiting */
        (void)shutdown(reader->socket, SHUT_RDWR);
        (void)pthread_join(reader->thread, NULL);
        close(reader->socket);
        free(reader);
    }
}

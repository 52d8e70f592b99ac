#include "streams/source.h"

#include "base/clock.h"
#include "streams/tunnel.h"
#include "streams/url.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* What is later than this is not caught up with: the clock begins anew. */
#define MOST_BEHIND_NS NX_NS_PER_SEC
#define LOOK_NS        (50 * NX_NS_PER_MS)
/* Between the last frame and the first one again, where the file gives no rate. */
#define USUAL_INTERVAL_NS (40 * NX_NS_PER_MS)

struct nx_stream_source {
    nx_stream_source_options options;
    nx_stream_kind kind;
    nx_decoder *decoder;
    nx_tunnel *tunnel; /* NULL: there is no TLS */
    nx_decoder_info info;
    uint32_t width, height; /* 0: as the decoder has it */
    bool paced;
    int64_t start_ns; /* when time 0 is due, by nx_clock_now_ns(); 0: not yet */
    int64_t base_ns;  /* of this round of a file */
    int64_t last_ns;
    uint64_t frames; /* of this round */
    uint64_t next_index;
    uint64_t late;
    nx_decoder_media media;
    int64_t media_end_ns; /* behind the last picture of the video itself; the decoder's thread's */
};

/* --- opening ------------------------------------------------------------------------------------
 */

static int64_t interval_of(const nx_stream_source *source)
{
    double fps = source->info.fps;
    return fps > 0 && fps < NX_NS_PER_SEC ? (int64_t)((double)NX_NS_PER_SEC / fps)
                                          : USUAL_INTERVAL_NS;
}

static void take_track(const nx_mp4_track *track, void *user)
{
    const nx_stream_source *source = user;
    nx_media_ring_track(source->options.media, track);
}

static void take_sample(const nx_media_sample *sample, void *user)
{
    nx_stream_source *source = user;
    nx_media_sample placed = *sample;
    placed.pts_ns += source->base_ns;
    placed.dts_ns += source->base_ns;
    if (placed.pts_ns >= source->media_end_ns) {
        source->media_end_ns = placed.pts_ns + 1;
    }
    nx_media_ring_put(source->options.media, &placed);
}

static nx_decoder_options decoder_options(nx_stream_source *source)
{
    source->media = (nx_decoder_media){.track = take_track, .sample = take_sample, .user = source};
    return (nx_decoder_options){.fps = source->options.fps,
                                .max_pixels = source->options.max_pixels,
                                .catch_up = source->options.catch_up,
                                .stop = source->options.stop,
                                .media = source->options.media != NULL ? &source->media : NULL};
}

static nx_status open_file(nx_stream_source *source, nx_error *err)
{
    const nx_decoder_options options = decoder_options(source);
    int fd = -1;
    nx_status status =
        nx_stream_url_open_file(source->options.url, source->options.files_dir, &fd, err);
    if (status == NX_OK) {
        status = nx_decoder_open_fd(fd, source->options.name, &options, &source->decoder, err);
        close(fd);
    }
    return status;
}

/* live has where it is; how long it is waited for is filled in. */
static nx_status open_live(nx_stream_source *source, nx_decoder_live live, nx_error *err)
{
    const nx_decoder_options options = decoder_options(source);
    const nx_stream_source_options *wanted = &source->options;
    live.udp = wanted->udp && source->tunnel == NULL;
    live.connect_ns = NX_SOURCE_CONNECT_NS;
    live.silence_ns = NX_SOURCE_SILENCE_NS +
                      (wanted->fps > 0 ? (int64_t)((double)NX_NS_PER_SEC / wanted->fps) : 0);
    return nx_decoder_open_live(&live, wanted->name, &options, &source->decoder, err);
}

/* Connects with TLS, and has the target lead there. */
static nx_status open_tunnel(nx_stream_source *source, nx_stream_target *target, nx_error *err)
{
    const nx_tunnel_options options = {
        .name = target->name,
        .address = target->address,
        .port = target->port,
        .ca_file = source->options.ca_file,
        .stop = source->options.stop,
    };
    nx_status status = nx_tunnel_open(&options, &source->tunnel, err);
    return status == NX_OK ? nx_stream_url_through(target, nx_tunnel_port(source->tunnel), err)
                           : nx_error_prefix(err, "%s", source->options.name);
}

static nx_status open_camera(nx_stream_source *source, nx_error *err)
{
    nx_stream_target target;
    nx_status status =
        nx_stream_url_resolve(source->options.url, source->options.allow_loopback, &target, err);
    if (status == NX_OK && target.tls) {
        status = open_tunnel(source, &target, err);
    }
    if (status == NX_OK) {
        const nx_decoder_live live = {.url = target.url, .host = target.host};
        status = open_live(source, live, err);
        memset(&target, 0, sizeof target); /* which may hold a password */
    }
    return status;
}

static nx_status open_device(nx_stream_source *source, nx_error *err)
{
    nx_decoder_live live = {.device = true};
    nx_status status = nx_stream_url_device(source->options.url, &live.url, err);
    return status == NX_OK ? open_live(source, live, err) : status;
}

nx_status nx_stream_source_open(const nx_stream_source_options *options, nx_stream_source **out,
                                nx_error *err)
{
    nx_stream_source *source = calloc(1, sizeof *source);
    *out = NULL;
    if (source == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream");
    }
    source->options = *options;
    source->last_ns = -1;
    nx_status status =
        nx_stream_url_check(options->url, options->allow_loopback, &source->kind, err);
    if (status == NX_OK) {
        status = source->kind == NX_STREAM_FILE     ? open_file(source, err)
                 : source->kind == NX_STREAM_DEVICE ? open_device(source, err)
                                                    : open_camera(source, err);
    }
    if (status != NX_OK) {
        nx_stream_source_free(source);
        return status;
    }
    source->info = *nx_decoder_get_info(source->decoder);
    source->paced = source->kind == NX_STREAM_FILE || strcmp(source->info.container, "hls") == 0;
    *out = source;
    return NX_OK;
}

void nx_stream_source_free(nx_stream_source *source)
{
    if (source != NULL) {
        nx_decoder_free(source->decoder);
        nx_tunnel_free(source->tunnel);
        free(source);
    }
}

bool nx_stream_source_is_paced(const nx_stream_source *source)
{
    return source->paced;
}

const nx_decoder_info *nx_stream_source_info(const nx_stream_source *source)
{
    return &source->info;
}

nx_status nx_stream_source_set_size(nx_stream_source *source, uint32_t width, uint32_t height,
                                    nx_error *err)
{
    source->width = width;
    source->height = height;
    return nx_decoder_set_size(source->decoder, width, height, err);
}

/* --- frames -------------------------------------------------------------------------------------
 */

/* The file from its start again. */
static nx_status begin_again(nx_stream_source *source, nx_error *err)
{
    if (source->frames == 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "%s: the file has no frames",
                            source->options.name);
    }
    nx_decoder_free(source->decoder);
    source->decoder = NULL;
    source->frames = 0;
    source->next_index = 0;
    /* the last frame of the file may be one that fps leaves out */
    int64_t last_ns =
        source->media_end_ns - 1 > source->last_ns ? source->media_end_ns - 1 : source->last_ns;
    source->base_ns = last_ns + interval_of(source);
    nx_status status = open_file(source, err);
    if (status == NX_OK && source->width > 0) {
        status = nx_decoder_set_size(source->decoder, source->width, source->height, err);
    }
    return status;
}

static bool is_stopped(const nx_stream_source *source)
{
    return source->options.stop != NULL && atomic_load(source->options.stop);
}

/* Until the picture's time has come. */
static nx_status wait_until_due(nx_stream_source *source, int64_t time_ns, nx_error *err)
{
    int64_t now_ns = nx_clock_now_ns();
    if (source->start_ns == 0 || now_ns - (source->start_ns + time_ns) > MOST_BEHIND_NS) {
        source->start_ns = now_ns - time_ns;
    }
    int64_t due_ns = source->start_ns + time_ns;
    for (; now_ns < due_ns; now_ns = nx_clock_now_ns()) {
        int64_t left = due_ns - now_ns < LOOK_NS ? due_ns - now_ns : LOOK_NS;
        const struct timespec pause = {.tv_nsec = left};
        if (is_stopped(source)) {
            return nx_error_set(err, NX_ERR_CANCELLED, "%s: stopped", source->options.name);
        }
        (void)nanosleep(&pause, NULL);
    }
    return NX_OK;
}

static nx_status next_frame(nx_stream_source *source, nx_decoder_frame *frame, nx_error *err)
{
    bool end = false;
    nx_status status = nx_decoder_next(source->decoder, frame, &end, err);
    if (status == NX_OK && end && source->kind != NX_STREAM_FILE) {
        return nx_error_set(err, NX_ERR_IO, "%s: the camera ended its stream",
                            source->options.name);
    }
    if (status == NX_OK && end) {
        status = begin_again(source, err);
        if (status == NX_OK) {
            status = nx_decoder_next(source->decoder, frame, &end, err);
        }
        if (status == NX_OK && end) {
            status = nx_error_set(err, NX_ERR_CORRUPT, "%s: the file has no frames",
                                  source->options.name);
        }
    }
    return status;
}

nx_status nx_stream_source_next(nx_stream_source *source, nx_stream_picture *out, nx_error *err)
{
    nx_decoder_frame frame;
    if (is_stopped(source)) {
        return nx_error_set(err, NX_ERR_CANCELLED, "%s: stopped", source->options.name);
    }
    nx_status status = next_frame(source, &frame, err);
    if (status != NX_OK) {
        return status;
    }
    int64_t time_ns = source->base_ns + frame.pts_ns;
    if (time_ns <= source->last_ns) {
        time_ns = source->last_ns + 1;
    }
    uint64_t skipped = frame.index > source->next_index ? frame.index - source->next_index : 0;
    uint64_t late = frame.late > source->late ? frame.late - source->late : 0;
    late = late < skipped ? late : skipped;
    *out = (nx_stream_picture){
        .pixels = frame.pixels,
        .skipped = skipped - late,
        .late = late,
        .time_ns = time_ns,
    };
    source->late = frame.late;
    source->frames++;
    source->next_index = frame.index + 1;
    source->last_ns = time_ns;
    status = source->paced ? wait_until_due(source, time_ns, err) : NX_OK;
    out->at_ns = source->paced || frame.arrived_ns <= 0 ? nx_clock_unix_ns() : frame.arrived_ns;
    return status;
}

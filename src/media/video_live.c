/* Opening a camera: RTSP, or a video over HTTP. In the decoder's child, where the host is an
 * address that the parent has looked at. */
#include "base/clock.h"
#include "media/video_internal.h"
#include "media/video_pixels.h"

#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What is read before it is clear what comes: a delay, and memory. */
#define PROBE_BYTES        "1000000"
#define PROBE_MICROSECONDS "1500000"
/* libavformat's own limit of waiting; the parent's are shorter. */
#define IO_MICROSECONDS "20000000"
/* How long a packet of UDP waits for one that was overtaken. */
#define REORDER_MICROSECONDS "200000"
/* Times beyond this, thirty years, are no times. */
#define MOST_TIME_NS INT64_C(1000000000000000000)

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_TOO_LARGE, "decoding needs more memory than it may have");
}

static bool is_rtsp(const char *url)
{
    return strncasecmp(url, "rtsp://", 7) == 0;
}

/* --- what a playlist may name -------------------------------------------------------------------
 */

/* Host and port of a URL, as they stand there; *size 0: there is none. */
static const char *authority(const char *url, size_t *size)
{
    const char *at = strstr(url, "://");
    *size = 0;
    if (at == NULL) {
        return url;
    }
    at += 3;
    size_t length = strcspn(at, "/?#");
    for (size_t i = length; i > 0; i--) {
        if (at[i - 1] == '@') { /* behind a user and a password */
            at += i;
            length -= i;
            break;
        }
    }
    *size = length;
    return at;
}

/* Is it the address that the parent has looked at? */
static bool is_own_host(const nx_video_source *source, const char *url)
{
    size_t own_size = 0;
    size_t size = 0;
    const char *own = authority(source->options.url, &own_size);
    const char *named = authority(url, &size);
    return size > 0 && size == own_size && strncasecmp(own, named, size) == 0;
}

/* libavformat follows the redirections of RTSP by itself, and asks only whether to go on waiting:
 * not for another host (1 ends it). */
static int has_moved(void *user)
{
    const nx_video_source *source = user;
    const char *url = source->file != NULL ? source->file->url : NULL;
    return url != NULL && !is_own_host(source, url);
}

/* Is it the name and port that the parent has looked up? */
static bool is_own_name(const nx_video_source *source, const char *url)
{
    size_t size = 0;
    const char *named = authority(url, &size);
    return size > 0 && size == strlen(source->options.host) &&
           strncasecmp(source->options.host, named, size) == 0;
}

/* Playlists and their pieces come from the same address. What they name by the camera's own name is
 * asked for there, too, and as the same user. */
static int open_same_host(AVFormatContext *file, AVIOContext **out, const char *url, int flags,
                          AVDictionary **options)
{
    nx_video_source *source = file->opaque;
    char renamed[2 * NX_DECODER_MOST_URL];
    size_t size = 0;
    *out = NULL;
    bool plain = strncasecmp(url, "http://", 7) == 0;
    if ((!plain && strncasecmp(url, "https://", 8) != 0) || (flags & AVIO_FLAG_WRITE) != 0) {
        return AVERROR(EACCES);
    }
    if (is_own_name(source, url)) { /* with TLS, the parent's way there */
        const char *own = source->options.url;
        const char *rest = authority(url, &size) + size;
        int head = (int)(authority(own, &size) - own + (ptrdiff_t)size);
        if ((size_t)snprintf(renamed, sizeof renamed, "%.*s%s", head, own, rest) >=
            sizeof renamed) {
            return AVERROR(EINVAL);
        }
        url = renamed;
    }
    return is_own_host(source, url) ? source->open_default(file, out, url, flags, options)
                                    : AVERROR(EACCES);
}

/* --- opening ------------------------------------------------------------------------------------
 */

typedef struct option {
    const char *name, *value;
} option;

static int set_all(AVDictionary **options, const option *all, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result >= 0; i++) {
        result = av_dict_set(options, all[i].name, all[i].value, 0);
    }
    return result;
}

static int set_options(const nx_video_source *source, AVDictionary **options)
{
    const option common[] = {
        {"probesize", PROBE_BYTES},
        {"analyzeduration", PROBE_MICROSECONDS},
        {"max_streams", NX_VIDEO_MOST_STREAMS},
        {"fflags", "nobuffer"},
        {"timeout", IO_MICROSECONDS},
    };
    const option rtsp[] = {
        {"protocol_whitelist", "rtsp,rtp,tcp,udp"},
        {"format_whitelist", "rtsp,rtp,sdp"},
        {"rtsp_transport", source->options.udp ? "udp" : "tcp"},
        {"allowed_media_types", "video"},
        {"max_delay", REORDER_MICROSECONDS},
        {"user_agent", "Nexus"},
    };
    const option http[] = {
        {"protocol_whitelist", "http,tcp"},
        {"format_whitelist", "mpjpeg,hls,applehttp," NX_VIDEO_CONTAINERS},
        {"max_redirects", "0"},
        {"user_agent", "Nexus"},
        {"multiple_requests", "0"},
    };
    bool over_rtsp = is_rtsp(source->options.url);
    int result = set_all(options, common, sizeof common / sizeof common[0]);
    if (result >= 0) {
        result = over_rtsp ? set_all(options, rtsp, sizeof rtsp / sizeof rtsp[0])
                           : set_all(options, http, sizeof http / sizeof http[0]);
    }
    if (result >= 0 && !over_rtsp && source->options.host[0] != '\0') {
        char header[300];
        snprintf(header, sizeof header, "Host: %s\r\n", source->options.host);
        result = av_dict_set(options, "headers", header, 0);
    }
    return result;
}

static nx_status refused(int reason, nx_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    if (reason == AVERROR(ENOMEM)) {
        return no_memory(err);
    }
    if (reason == AVERROR_INVALIDDATA || reason == AVERROR_DECODER_NOT_FOUND ||
        reason == AVERROR_DEMUXER_NOT_FOUND || reason == AVERROR(EINVAL)) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED, "what it sends is no video that Nexus reads");
    }
    if (reason == AVERROR_EOF) {
        return nx_error_set(err, NX_ERR_IO, "it ended the connection before a video came");
    }
    av_strerror(reason, text, sizeof text);
    return nx_error_set(err, NX_ERR_IO, "it cannot be connected to (%s)", text);
}

static nx_status look_into(nx_video_source *source, nx_error *err)
{
    int result = avformat_find_stream_info(source->file, NULL);
    return result < 0 ? refused(result, err) : NX_OK;
}

nx_status nx_video_live_open(nx_video_source *source, nx_error *err)
{
    AVDictionary *options = NULL;
    source->arrival = 0;
    for (size_t i = 0; i < NX_VIDEO_ARRIVALS; i++) {
        source->arrivals[i].pts = AV_NOPTS_VALUE;
    }
    if (source->options.device != NULL) {
        source->file = source->options.device;
        source->options.device = NULL;
        return look_into(source, err);
    }
    source->file = avformat_alloc_context();
    if (source->file == NULL) {
        return no_memory(err);
    }
    source->open_default = source->file->io_open;
    source->file->io_open = open_same_host;
    source->file->opaque = source;
    source->file->interrupt_callback = (AVIOInterruptCB){.callback = has_moved, .opaque = source};
    int result = set_options(source, &options);
    if (result >= 0) { /* frees the context when it fails */
        result = avformat_open_input(&source->file, source->options.url, NULL, &options);
    }
    av_dict_free(&options);
    if (result < 0) {
        return refused(result, err);
    }
    if (strcmp(source->file->iformat->name, "mpjpeg") == 0) { /* which has no times of its own */
        source->file->use_wallclock_as_timestamps = 1;
    }
    return look_into(source, err);
}

/* --- when packets came, and whether they are too late -------------------------------------------
 */

/* A packet that had to be waited for so long had not been lying there. */
#define FRESH_NS (2 * NX_NS_PER_MS)
/* What waited longer is old, and nobody wants to see it. */
#define LATE_NS (400 * NX_NS_PER_MS)
/* Key frames that are further apart are not waited for: without pictures for longer than this the
 * camera would seem to hang. */
#define MOST_KEY_INTERVAL_NS (5 * NX_NS_PER_SEC / 2)

void nx_video_live_ask(nx_video_source *source)
{
    source->lag.asked_ns = nx_clock_now_ns();
}

/* By the camera's clock. False: it does not say. */
static bool packet_time(const nx_video_source *source, int64_t *ns)
{
    const AVPacket *packet = source->packet;
    int64_t ticks = packet->dts != AV_NOPTS_VALUE ? packet->dts : packet->pts;
    *ns = av_rescale_q(ticks, source->time_base, (AVRational){1, (int)NX_NS_PER_SEC});
    return ticks != AV_NOPTS_VALUE && *ns > -MOST_TIME_NS && *ns < MOST_TIME_NS;
}

/* Compares the camera's clock with ours: the difference grows by what packets lie waiting. */
static void measure_lag(nx_video_lag *lag, int64_t time_ns)
{
    int64_t now_ns = nx_clock_now_ns();
    int64_t behind_ns = now_ns - time_ns;
    bool fresh = now_ns - lag->asked_ns >= FRESH_NS;
    if (!lag->known || fresh || behind_ns < lag->soonest_ns) {
        lag->soonest_ns = behind_ns;
        lag->known = true;
    }
    lag->lag_ns = behind_ns - lag->soonest_ns;
}

static void note_key(nx_video_lag *lag, int64_t time_ns)
{
    lag->key_interval_ns = lag->key_time_ns != 0 ? time_ns - lag->key_time_ns : 0;
    lag->key_time_ns = time_ns;
    lag->passing = lag->passing && lag->lag_ns > LATE_NS;
}

/* Is source->packet to be passed over? */
static bool is_late(nx_video_source *source)
{
    nx_video_lag *lag = &source->lag;
    int64_t time_ns = 0;
    if (!packet_time(source, &time_ns)) {
        return lag->passing;
    }
    measure_lag(lag, time_ns);
    if ((source->packet->flags & AV_PKT_FLAG_KEY) != 0) {
        note_key(lag, time_ns);
    }
    if (source->options.catch_up && lag->lag_ns > LATE_NS && lag->key_interval_ns > 0 &&
        lag->key_interval_ns <= MOST_KEY_INTERVAL_NS) {
        lag->passing = true;
    }
    return lag->passing;
}

bool nx_video_live_arrived(nx_video_source *source)
{
    if (source->options.url == NULL) {
        return true;
    }
    if (is_rtsp(source->options.url) && is_late(source)) {
        source->lag.late++;
        return false;
    }
    source->arrivals[source->arrival].pts = source->packet->pts;
    source->arrivals[source->arrival].ns = nx_clock_unix_ns() - source->lag.lag_ns;
    source->arrival = (source->arrival + 1) % NX_VIDEO_ARRIVALS;
    return true;
}

int64_t nx_video_live_newest(const nx_video_source *source)
{
    unsigned newest = (source->arrival + NX_VIDEO_ARRIVALS - 1) % NX_VIDEO_ARRIVALS;
    return source->options.url != NULL ? source->arrivals[newest].ns : 0;
}

int64_t nx_video_live_arrival(const nx_video_source *source)
{
    if (source->options.url == NULL) {
        return 0;
    }
    unsigned newest = (source->arrival + NX_VIDEO_ARRIVALS - 1) % NX_VIDEO_ARRIVALS;
    for (unsigned i = 0; i < NX_VIDEO_ARRIVALS; i++) {
        unsigned at = (newest + NX_VIDEO_ARRIVALS - i) % NX_VIDEO_ARRIVALS;
        if (source->arrivals[at].pts == source->frame->pts &&
            source->frame->pts != AV_NOPTS_VALUE) {
            return source->arrivals[at].ns;
        }
    }
    return source->arrivals[newest].ns;
}

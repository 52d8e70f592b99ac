#include "media/video_copy.h"

#include "base/clock.h"
#include "media/decoder_wire.h"
#include "media/nal.h"

#include <errno.h>
#include <libavutil/pixdesc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Times that jump back by more than this begin anew, where they were. */
#define MOST_BACK_NS NX_NS_PER_SEC
/* The least between two pictures. */
#define LEAST_NS INT64_C(100000)
/* Frames of both codecs' decoders that wait for those that are shown before them. */
#define MOST_REORDER 16

struct nx_video_copy {
    int to; /* -1: nobody reads any more */
    const AVStream *stream;
    nx_mp4_track track; /* config_size 0: not known yet */
    bool told;          /* the parent knows the track */
    bool broken;        /* nothing goes before the next key frame */
    int64_t last_dts_ns;
    int64_t shift_ns; /* what was added where times jumped back */
    bool begun;
    /* Times of the pictures that may still be shown before the next one, the smallest first. */
    int64_t window[MOST_REORDER + 1];
    bool has_window;
    /* what could not be sent at once; NULL: nothing */
    uint8_t *rest;
    size_t rest_size, rest_sent;
};

/* --- sending ------------------------------------------------------------------------------------
 */

/* Sends as much as goes. False: something is left, or nobody reads any more. */
static bool send_rest(nx_video_copy *copy, int flags)
{
    while (copy->to >= 0 && copy->rest != NULL && copy->rest_sent < copy->rest_size) {
        ssize_t sent = send(copy->to, copy->rest + copy->rest_sent,
                            copy->rest_size - copy->rest_sent, MSG_NOSIGNAL | flags);
        if (sent >= 0) {
            copy->rest_sent += (size_t)sent;
        } else if (errno == EAGAIN) {
            return false;
        } else if (errno != EINTR) {
            copy->to = -1;
        }
    }
    free(copy->rest);
    copy->rest = NULL;
    return copy->to >= 0;
}

/* Whether it goes, or will go: a piece that is begun is finished. */
static bool send_piece(nx_video_copy *copy, const nx_wire_media *head, const void *bytes)
{
    if (!send_rest(copy, MSG_DONTWAIT)) {
        return false;
    }
    copy->rest_size = sizeof *head + head->size;
    copy->rest_sent = 0;
    copy->rest = malloc(copy->rest_size);
    if (copy->rest == NULL) {
        return false;
    }
    memcpy(copy->rest, head, sizeof *head);
    memcpy(copy->rest + sizeof *head, bytes, head->size);
    (void)send_rest(copy, 0); /* for the time that the parent has set */
    return copy->to >= 0;
}

/* --- the track ----------------------------------------------------------------------------------
 */

static void set_config(nx_video_copy *copy, const uint8_t *config, size_t size)
{
    nx_mp4_track *track = &copy->track;
    if (size > 0 && size <= NX_MP4_CONFIG_MAX &&
        (size != track->config_size || memcmp(config, track->config, size) != 0)) {
        memcpy(track->config, config, size);
        track->config_size = (uint32_t)size;
        copy->told = false;
    }
}

static nx_nal_pixels pixels_of(const AVStream *stream)
{
    const AVPixFmtDescriptor *pixels =
        av_pix_fmt_desc_get((enum AVPixelFormat)stream->codecpar->format);
    nx_nal_pixels result = {.chroma = 1, .depth = 8};
    if (pixels != NULL) {
        bool grey = pixels->nb_components < 3;
        result.depth = (unsigned)pixels->comp[0].depth;
        result.chroma = grey                          ? 0
                        : pixels->log2_chroma_h == 1U ? 1
                        : pixels->log2_chroma_w == 1U ? 2
                                                      : 3;
    }
    return result;
}

/* Takes the parameters of pictures, from where the container has them or from among the pictures:
 * a box's contents as they are, or NAL units behind start codes. */
static void take_config(nx_video_copy *copy, const uint8_t *bytes, int size)
{
    uint8_t config[NX_MP4_CONFIG_MAX];
    if (bytes == NULL || size <= 0) {
        return;
    }
    if (bytes[0] == 1) {
        set_config(copy, bytes, (size_t)size);
        return;
    }
    const nx_nal_pixels pixels = pixels_of(copy->stream);
    size_t made = nx_nal_config(bytes, (size_t)size, copy->track.hevc, &pixels, config);
    set_config(copy, config, made);
}

static bool has_start_codes(const nx_video_copy *copy)
{
    const AVCodecParameters *codec = copy->stream->codecpar;
    return codec->extradata_size <= 0 || codec->extradata[0] != 1;
}

static void take_packet_config(nx_video_copy *copy, const AVPacket *packet)
{
    size_t size = 0;
    const uint8_t *changed = av_packet_get_side_data(packet, AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (changed != NULL && size <= NX_MP4_CONFIG_MAX) {
        take_config(copy, changed, (int)size);
    }
    if (has_start_codes(copy)) {
        take_config(copy, packet->data, packet->size);
    }
}

static bool tell_track(nx_video_copy *copy)
{
    const nx_wire_media head = {.kind = NX_WIRE_TRACK, .size = sizeof copy->track};
    copy->told =
        copy->told || (copy->track.config_size > 0 && send_piece(copy, &head, &copy->track));
    return copy->told;
}

/* --- samples ------------------------------------------------------------------------------------
 */

/* False: that is no time. */
static bool find_ns(const nx_video_copy *copy, int64_t ticks, int64_t start, int64_t *ns)
{
    const AVRational nanoseconds = {1, (int)NX_NS_PER_SEC};
    int64_t since = 0;
    if (ticks == AV_NOPTS_VALUE || start == AV_NOPTS_VALUE ||
        __builtin_sub_overflow(ticks, start, &since)) {
        return false;
    }
    int64_t own = av_rescale_q(since, copy->stream->time_base, nanoseconds);
    *ns = own + (own > -NX_MEDIA_MOST_NS && own < NX_MEDIA_MOST_NS ? copy->shift_ns : 0);
    return *ns > -NX_MEDIA_MOST_NS && *ns < NX_MEDIA_MOST_NS;
}

/* When a picture is decoded that is shown then, where the container does not say: when the one is
 * shown that many pictures before. */
static int64_t guess_dts(nx_video_copy *copy, int64_t pts_ns, const nx_video_copy_time *time)
{
    unsigned reorder = time->reorder < MOST_REORDER ? time->reorder : MOST_REORDER;
    int64_t frame_ns = time->frame_ns < NX_NS_PER_SEC ? time->frame_ns : NX_NS_PER_SEC;
    for (unsigned i = 1; i <= reorder && !copy->has_window; i++) {
        copy->window[i] = pts_ns - (int64_t)(reorder + 1 - i) * frame_ns;
    }
    copy->has_window = true;
    copy->window[0] = pts_ns;
    for (unsigned i = 0; i < reorder && copy->window[i] > copy->window[i + 1]; i++) {
        int64_t larger = copy->window[i];
        copy->window[i] = copy->window[i + 1];
        copy->window[i + 1] = larger;
    }
    return copy->window[0];
}

/* False: the packet says nothing of use. */
static bool find_times(nx_video_copy *copy, const AVPacket *packet, const nx_video_copy_time *time,
                       nx_wire_media *head)
{
    const int64_t start = time->start_ticks;
    const bool shown = packet->pts != AV_NOPTS_VALUE;
    if (!find_ns(copy, shown || time->reorder > 0 ? packet->pts : packet->dts, start,
                 &head->pts_ns)) {
        return false;
    }
    int64_t guess_ns = guess_dts(copy, head->pts_ns, time);
    if (!find_ns(copy, packet->dts, start, &head->dts_ns)) {
        head->dts_ns = guess_ns;
    }
    if (copy->begun && head->dts_ns < copy->last_dts_ns - MOST_BACK_NS) {
        int64_t more = copy->last_dts_ns + time->frame_ns - head->dts_ns;
        copy->shift_ns += more;
        head->pts_ns += more;
        head->dts_ns += more;
    }
    if (copy->begun && head->dts_ns < copy->last_dts_ns + LEAST_NS) {
        head->dts_ns = copy->last_dts_ns + LEAST_NS;
    }
    return head->pts_ns < NX_MEDIA_MOST_NS && head->dts_ns < NX_MEDIA_MOST_NS &&
           copy->shift_ns < NX_MEDIA_MOST_NS;
}

void nx_video_copy_packet(nx_video_copy *copy, const AVPacket *packet,
                          const nx_video_copy_time *time)
{
    size_t length =
        has_start_codes(copy) ? 0 : nx_nal_length_size(copy->track.config, copy->track.hevc);
    nx_wire_media head = {.kind = NX_WIRE_SAMPLE, .arrived_ns = time->arrived_ns};
    size_t size = 0;
    if (copy->to < 0) {
        return;
    }
    bool key = (packet->flags & AV_PKT_FLAG_KEY) != 0 && packet->data != NULL &&
               nx_nal_is_entry(packet->data, (size_t)packet->size, length, copy->track.hevc);
    if (key) {
        take_packet_config(copy, packet);
    }
    if ((packet->flags & AV_PKT_FLAG_CORRUPT) != 0 || !find_times(copy, packet, time, &head)) {
        copy->broken = true;
        return;
    }
    if (copy->broken && !key) {
        return;
    }
    uint8_t *made =
        length == 0 ? nx_nal_to_lengths(packet->data, (size_t)packet->size, &size) : NULL;
    const uint8_t *bytes = length == 0 ? made : packet->data;
    head.size = length == 0 ? size : (uint64_t)packet->size;
    head.key = key ? 1 : 0;
    copy->broken = bytes == NULL || head.size == 0 || head.size > NX_MEDIA_SAMPLE_MAX ||
                   !tell_track(copy) || !send_piece(copy, &head, bytes);
    if (!copy->broken) {
        copy->last_dts_ns = head.dts_ns;
        copy->begun = true;
    }
    free(made);
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_video_copy *nx_video_copy_new(int to, const AVStream *stream, const nx_decoder_info *info)
{
    const AVCodecParameters *codec = stream->codecpar;
    bool turned = info->rotation == 90 || info->rotation == 270;
    bool hevc = codec->codec_id == AV_CODEC_ID_HEVC;
    nx_video_copy *copy =
        hevc || codec->codec_id == AV_CODEC_ID_H264 ? calloc(1, sizeof *copy) : NULL;
    if (copy == NULL) {
        return NULL;
    }
    copy->to = to;
    copy->stream = stream;
    copy->broken = true;
    copy->track = (nx_mp4_track){
        .hevc = hevc,
        .width = (uint32_t)codec->width,
        .height = (uint32_t)codec->height,
        .shown_width = turned ? info->height : info->width,
        .shown_height = turned ? info->width : info->height,
        .rotation = info->rotation,
    };
    take_config(copy, codec->extradata, codec->extradata_size);
    return copy;
}

void nx_video_copy_free(nx_video_copy *copy)
{
    if (copy != NULL) {
        free(copy->rest);
        free(copy);
    }
}

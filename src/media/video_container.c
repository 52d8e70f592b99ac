/* Opening a video file by its descriptor alone, and what its container tells. */
#include "base/clock.h"
#include "media/video_internal.h"
#include "media/video_pixels.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IO_BUFFER 65536

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_TOO_LARGE, "decoding needs more memory than it may have");
}

static nx_status fail(nx_status status, const char *what, int reason, nx_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    if (reason == AVERROR(ENOMEM)) {
        return no_memory(err);
    }
    av_strerror(reason, text, sizeof text);
    return nx_error_set(err, status, "%s (%s)", what, text);
}

/* --- the file -----------------------------------------------------------------------------------
 */

static int read_file(void *user, uint8_t *to, int size)
{
    nx_video_source *source = user;
    ssize_t got = 0;
    do {
        got = pread(source->options.fd, to, (size_t)size, source->position);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return AVERROR(errno);
    }
    source->position += got;
    return got == 0 ? AVERROR_EOF : (int)got;
}

static int64_t seek_file(void *user, int64_t offset, int whence)
{
    nx_video_source *source = user;
    int64_t base = whence == SEEK_CUR   ? source->position
                   : whence == SEEK_END ? source->options.size
                                        : 0;
    int64_t to = 0;
    if (whence == AVSEEK_SIZE) {
        return source->options.size;
    }
    if (__builtin_add_overflow(base, offset, &to) || to < 0) {
        return AVERROR(EINVAL);
    }
    source->position = to;
    return to;
}

/* Whatever a file asks for beside itself. */
static int refuse_file(AVFormatContext *file, AVIOContext **out, const char *url, int flags,
                       AVDictionary **options)
{
    (void)file;
    (void)url;
    (void)flags;
    (void)options;
    *out = NULL;
    return AVERROR(EACCES);
}

static nx_status make_io(nx_video_source *source, nx_error *err)
{
    source->position = 0;
    uint8_t *buffer = av_malloc(IO_BUFFER);
    if (buffer != NULL) {
        source->io = avio_alloc_context(buffer, IO_BUFFER, 0, source, read_file, NULL, seek_file);
    }
    if (source->io == NULL) {
        av_free(buffer);
        return no_memory(err);
    }
    return NX_OK;
}

static int input_options(AVDictionary **options)
{
    static const struct {
        const char *name, *value;
    } all[] = {
        {"format_whitelist", NX_VIDEO_CONTAINERS}, {"protocol_whitelist", "none"},
        {"probesize", NX_VIDEO_PROBE_BYTES},       {"analyzeduration", NX_VIDEO_PROBE_MICROSECONDS},
        {"max_streams", NX_VIDEO_MOST_STREAMS},
    };
    int result = 0;
    for (size_t i = 0; i < sizeof all / sizeof all[0] && result >= 0; i++) {
        result = av_dict_set(options, all[i].name, all[i].value, 0);
    }
    return result;
}

static nx_status open_input(nx_video_source *source, nx_error *err)
{
    AVDictionary *options = NULL;
    if (source->options.url != NULL) {
        return nx_video_live_open(source, err);
    }
    nx_status status = make_io(source, err);
    if (status != NX_OK) {
        return status;
    }
    source->file = avformat_alloc_context();
    if (source->file == NULL) {
        return no_memory(err);
    }
    source->file->pb = source->io;
    source->file->io_open = refuse_file;
    int result = input_options(&options);
    if (result >= 0) { /* frees the context when it fails */
        result = avformat_open_input(&source->file, "", NULL, &options);
    }
    av_dict_free(&options);
    if (result < 0) {
        return fail(NX_ERR_UNSUPPORTED, "not a video file that Nexus reads", result, err);
    }
    result = avformat_find_stream_info(source->file, NULL);
    return result < 0 ? fail(NX_ERR_CORRUPT, "a damaged video file", result, err) : NX_OK;
}

/* --- the stream and its codec -------------------------------------------------------------------
 */

static nx_status check_size(const AVCodecParameters *codec, uint64_t max_pixels, nx_error *err)
{
    if (codec->width <= 0 || codec->height <= 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a video without a size");
    }
    if ((uint64_t)codec->width * (uint64_t)codec->height > max_pixels) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "frames of %dx%d pixels are over the limit of %llu pixels",
                            codec->width, codec->height, (unsigned long long)max_pixels);
    }
    return NX_OK;
}

static nx_status open_decoder(nx_video_source *source, const AVCodec *codec, nx_error *err)
{
    const AVStream *stream = source->file->streams[source->stream];
    source->decoder = avcodec_alloc_context3(codec);
    if (source->decoder == NULL) {
        return no_memory(err);
    }
    int result = avcodec_parameters_to_context(source->decoder, stream->codecpar);
    if (result >= 0) {
        source->decoder->thread_count = (int)source->options.threads;
        source->decoder->thread_type = FF_THREAD_FRAME;
        if (source->options.url != NULL) { /* a frame in flight for each thread is a delay */
            source->decoder->thread_type = FF_THREAD_SLICE;
            source->decoder->flags |= AV_CODEC_FLAG_LOW_DELAY;
        }
        source->decoder->max_pixels = (int64_t)source->options.max_pixels;
        source->decoder->pkt_timebase = stream->time_base;
        result = avcodec_open2(source->decoder, codec, NULL);
    }
    return result < 0 ? fail(NX_ERR_UNSUPPORTED, "its video cannot be decoded", result, err)
                      : NX_OK;
}

static nx_status open_stream(nx_video_source *source, nx_error *err)
{
    const AVCodec *codec = NULL;
    int found = av_find_best_stream(source->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (found < 0 || codec == NULL) {
        return fail(NX_ERR_UNSUPPORTED, "there is no video in it that Nexus decodes", found, err);
    }
    for (unsigned i = 0; i < source->file->nb_streams; i++) {
        source->file->streams[i]->discard =
            i == (unsigned)found ? AVDISCARD_DEFAULT : AVDISCARD_ALL;
    }
    const AVStream *stream = source->file->streams[found];
    source->stream = found;
    source->time_base = stream->time_base;
    source->start_ticks = stream->start_time;
    if (stream->time_base.num <= 0 || stream->time_base.den <= 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a video without a unit of time");
    }
    nx_status status = check_size(stream->codecpar, source->options.max_pixels, err);
    return status == NX_OK ? open_decoder(source, codec, err) : status;
}

/* --- what it is ---------------------------------------------------------------------------------
 */

static void copy_name(char *to, size_t size, const char *from)
{
    snprintf(to, size, "%.*s", (int)strcspn(from, ","), from);
}

static double rate_of(const AVStream *stream)
{
    AVRational rate =
        stream->avg_frame_rate.num > 0 ? stream->avg_frame_rate : stream->r_frame_rate;
    double fps = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0;
    return isfinite(fps) && fps > 0 ? fps : 0;
}

static int64_t duration_of(const nx_video_source *source, const AVStream *stream)
{
    const AVRational nanoseconds = {1, (int)NX_NS_PER_SEC};
    int64_t ns = 0;
    if (stream->duration != AV_NOPTS_VALUE && stream->duration > 0) {
        ns = av_rescale_q(stream->duration, stream->time_base, nanoseconds);
    } else if (source->file->duration != AV_NOPTS_VALUE && source->file->duration > 0) {
        ns = av_rescale_q(source->file->duration, AV_TIME_BASE_Q, nanoseconds);
    }
    return ns > 0 ? ns : 0;
}

/* Pixels that are not square make the picture wider or higher. */
static void display_size(nx_video_source *source, AVStream *stream, uint32_t rotation,
                         uint32_t *width, uint32_t *height)
{
    AVRational aspect = av_guess_sample_aspect_ratio(source->file, stream, NULL);
    double ratio = aspect.num > 0 && aspect.den > 0 ? av_q2d(aspect) : 1;
    double w = stream->codecpar->width;
    double h = stream->codecpar->height;
    if (ratio > 1 && ratio <= 8) {
        w = round(w * ratio);
    } else if (ratio < 1 && ratio >= 1.0 / 8) {
        h = round(h / ratio);
    }
    bool swaps = rotation == 90 || rotation == 270;
    *width = (uint32_t)(swaps ? h : w);
    *height = (uint32_t)(swaps ? w : h);
}

static void fill_info(nx_video_source *source)
{
    AVStream *stream = source->file->streams[source->stream];
    nx_decoder_info *info = &source->info;
    *info = (nx_decoder_info){
        .rotation = nx_video_rotation(stream),
        .fps = rate_of(stream),
        .duration_ns = duration_of(source, stream),
        .frames = stream->nb_frames > 0 ? (uint64_t)stream->nb_frames : 0,
    };
    copy_name(info->container, sizeof info->container, source->file->iformat->name);
    copy_name(info->codec, sizeof info->codec, avcodec_get_name(stream->codecpar->codec_id));
    display_size(source, stream, info->rotation, &info->width, &info->height);
}

/* --- how long the file should be ----------------------------------------------------------------
 */

/* A number of EBML, whose first byte's leading zeros tell its length (RFC 8794 section 4). Returns
 * its bytes; 0 if there is none. *value: negative if it is unknown. */
static size_t read_ebml_size(const uint8_t *at, size_t left, int64_t *value)
{
    size_t length = left > 0 && at[0] != 0 ? (size_t)__builtin_clz(at[0]) - 23 : 0;
    if (length == 0 || length > left) {
        return 0;
    }
    uint64_t number = at[0] & ((1U << (8 - length)) - 1);
    for (size_t i = 1; i < length; i++) {
        number = number << 8 | at[i];
    }
    *value = number == (UINT64_C(1) << 7 * length) - 1 ? -1 : (int64_t)number;
    return length;
}

/* The end of the segment behind the header. */
static int64_t matroska_size(const uint8_t *head, size_t size)
{
    static const uint8_t segment[] = {0x18, 0x53, 0x80, 0x67};
    int64_t header = 0;
    int64_t body = 0;
    size_t length = size > 4 ? read_ebml_size(head + 4, size - 4, &header) : 0;
    if (length == 0 || header < 0 || (uint64_t)header > size - 4 - length) {
        return 0;
    }
    size_t at = 4 + length + (size_t)header;
    if (size - at < sizeof segment || memcmp(head + at, segment, sizeof segment) != 0) {
        return 0;
    }
    at += sizeof segment;
    length = read_ebml_size(head + at, size - at, &body);
    return length == 0 || body < 0 ? 0 : (int64_t)(at + length) + body;
}

static int64_t riff_size(const uint8_t *head, size_t size)
{
    return size < 8 ? 0
                    : 8 + (int64_t)((uint32_t)head[4] | (uint32_t)head[5] << 8 |
                                    (uint32_t)head[6] << 16 | (uint32_t)head[7] << 24);
}

static bool is_container(const nx_video_source *source, const char *name)
{
    return strcmp(source->info.container, name) == 0;
}

static void read_claims(nx_video_source *source)
{
    uint8_t head[512];
    if (source->options.url != NULL) {
        source->recording = true;
        return;
    }
    ssize_t got = pread(source->options.fd, head, sizeof head, 0);
    size_t size = got > 0 ? (size_t)got : 0;
    bool matroska = is_container(source, "matroska");
    bool avi = is_container(source, "avi");
    source->recording = !matroska && !avi && !is_container(source, "mov");
    source->claimed_size = matroska ? matroska_size(head, size) : avi ? riff_size(head, size) : 0;
}

/* --- opening and closing ------------------------------------------------------------------------
 */

static nx_status open_all(nx_video_source *source, nx_error *err)
{
    source->draining = false;
    source->packets = 0;
    source->frames = 0;
    source->next_index = 0;
    source->last_ns = -1;
    source->damaged = 0;
    source->damaged_at_start = 0;
    source->fatal = (nx_error){0};
    nx_status status = open_input(source, err);
    if (status == NX_OK) {
        status = open_stream(source, err);
    }
    if (status == NX_OK) {
        fill_info(source);
        read_claims(source);
        if (source->options.media >= 0) {
            source->copy = nx_video_copy_new(source->options.media,
                                             source->file->streams[source->stream], &source->info);
        }
    }
    return status;
}

static void close_all(nx_video_source *source)
{
    nx_video_copy_free(source->copy);
    source->copy = NULL;
    avcodec_free_context(&source->decoder);
    avformat_close_input(&source->file); /* leaves an io of ours alone */
    if (source->io != NULL) {
        av_freep(&source->io->buffer);
        avio_context_free(&source->io);
    }
}

nx_status nx_video_source_reopen(nx_video_source *source, nx_error *err)
{
    close_all(source);
    return open_all(source, err);
}

nx_status nx_video_source_open(const nx_video_source_options *options, nx_video_source **out,
                               nx_error *err)
{
    *out = NULL;
    nx_video_source *source = calloc(1, sizeof *source);
    if (source == NULL) {
        return no_memory(err);
    }
    av_log_set_level(AV_LOG_QUIET); /* what goes wrong is in our own messages */
    source->options = *options;
    source->packet = av_packet_alloc();
    source->frame = av_frame_alloc();
    nx_status status = source->packet == NULL || source->frame == NULL ? no_memory(err) : NX_OK;
    if (status == NX_OK) {
        status = open_all(source, err);
    }
    if (status != NX_OK) {
        nx_video_source_free(source);
        return status;
    }
    *out = source;
    return NX_OK;
}

void nx_video_source_free(nx_video_source *source)
{
    if (source != NULL) {
        close_all(source);
        av_frame_free(&source->frame);
        av_packet_free(&source->packet);
        free(source);
    }
}

/* --- seeking ------------------------------------------------------------------------------------
 */

bool nx_video_seeks_exactly(const nx_video_source *source)
{
    static const enum AVCodecID codecs[] = {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_VP8,
                                            AV_CODEC_ID_VP9,  AV_CODEC_ID_AV1,  AV_CODEC_ID_MJPEG};
    bool known = false;
    for (size_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        known = known || source->decoder->codec_id == codecs[i];
    }
    return known && (is_container(source, "mov") || is_container(source, "matroska"));
}

/* Whether a packet of length-prefixed NAL units has one of the kinds first to last. H.264: 5 is an
 * IDR picture (ITU-T H.264 table 7-1); HEVC: 16 to 21 are IRAP pictures (H.265 table 7-1). */
static bool has_unit(const AVPacket *packet, size_t length_size, bool hevc)
{
    const uint8_t *at = packet->data;
    size_t left = packet->size > 0 ? (size_t)packet->size : 0;
    while (left > length_size) {
        size_t length = 0;
        for (size_t i = 0; i < length_size; i++) {
            length = length << 8 | at[i];
        }
        at += length_size;
        left -= length_size;
        if (length == 0 || length > left) {
            return false;
        }
        int kind = hevc ? at[0] >> 1 & 0x3F : at[0] & 0x1F;
        if (hevc ? kind >= 16 && kind <= 21 : kind == 5) {
            return true;
        }
        at += length;
        left -= length;
    }
    return false;
}

/*
 * A packet that is marked as a key frame may still need what came before it: H.264 has recovery
 * points, which are no IDR pictures. What HEVC shows after an IRAP picture needs nothing before it,
 * and the pictures that are shown before and do are left out by the decoder.
 */
static bool is_clean(const nx_video_source *source)
{
    const AVPacket *packet = source->packet;
    const AVCodecContext *decoder = source->decoder;
    if ((packet->flags & AV_PKT_FLAG_KEY) == 0) {
        return false;
    }
    bool hevc = decoder->codec_id == AV_CODEC_ID_HEVC;
    if (!hevc && decoder->codec_id != AV_CODEC_ID_H264) {
        return true;
    }
    int where = hevc ? 21 : 4; /* of the length's size in avcC and hvcC (ISO/IEC 14496-15) */
    if (decoder->extradata_size <= where || decoder->extradata[0] != 1) {
        return false;
    }
    return has_unit(packet, (size_t)(decoder->extradata[where] & 3) + 1, hevc);
}

void nx_video_note_entry(nx_video_source *source)
{
    AVStream *stream = source->file->streams[source->stream];
    int count = avformat_index_get_entries_count(stream);
    source->clean_entry = is_clean(source);
    source->first_packet = 0;
    for (int i = 0; i < count; i++) {
        const AVIndexEntry *entry = avformat_index_get_entry(stream, i);
        if (entry != NULL && entry->pos == source->packet->pos) {
            source->first_packet = i;
            break;
        }
    }
}

int nx_video_packets_expected(const nx_video_source *source)
{
    AVStream *stream = source->file->streams[source->stream];
    if (!is_container(source, "mov")) { /* others index key frames, or what they have seen */
        return 0;
    }
    return avformat_index_get_entries_count(stream) - source->first_packet;
}

#include "media/video_reader.h"

#include "media/codec.h"
#include "media/formats.h"
#include "media/video_pixels.h"

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

struct nx_video_reader {
    AVFormatContext *file;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    nx_video_pixels *pixels;
    int stream;
    bool draining; /* the file has ended; the decoder still holds frames */
    uint64_t frames;
    uint64_t damaged;
    nx_video_info info;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read a video");
}

static nx_status fail(nx_status status, const char *path, const char *what, int reason,
                      nx_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(reason, text, sizeof text);
    return nx_error_set(err, reason == AVERROR(ENOMEM) ? NX_ERR_NO_MEMORY : status, "%s: %s (%s)",
                        path, what, text);
}

static nx_status check_file(const char *path, nx_error *err)
{
    struct stat info;
    if (stat(path, &info) != 0) {
        return nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                  "cannot read %s", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s is not a file", path);
    }
    return NX_OK;
}

static nx_status open_file(nx_video_reader *reader, const char *path, nx_error *err)
{
    char *url = NULL;
    AVDictionary *options = NULL;
    /* "file:" lets no path be taken for another protocol */
    if (asprintf(&url, "file:%s", path) < 0) {
        return no_memory(err);
    }
    int result = av_dict_set(&options, "protocol_whitelist", "file", 0);
    result =
        result < 0 ? result : av_dict_set(&options, "format_whitelist", NX_VIDEO_CONTAINERS, 0);
    result = result < 0 ? result : av_dict_set(&options, "probesize", NX_VIDEO_PROBE_BYTES, 0);
    result = result < 0 ? result
                        : av_dict_set(&options, "analyzeduration", NX_VIDEO_PROBE_MICROSECONDS, 0);
    result = result < 0 ? result : av_dict_set(&options, "max_streams", NX_VIDEO_MOST_STREAMS, 0);
    if (result >= 0) {
        result = avformat_open_input(&reader->file, url, NULL, &options);
    }
    av_dict_free(&options);
    free(url);
    if (result < 0) {
        return fail(NX_ERR_UNSUPPORTED, path, "not a video file that Nexus reads", result, err);
    }
    result = avformat_find_stream_info(reader->file, NULL);
    return result < 0 ? fail(NX_ERR_CORRUPT, path, "a damaged video file", result, err) : NX_OK;
}

static nx_status open_decoder(nx_video_reader *reader, const char *path, uint64_t max_pixels,
                              nx_error *err)
{
    const AVCodec *codec = NULL;
    int found = av_find_best_stream(reader->file, AVMEDIA_TYPE_VIDEO, -1, -1, &codec, 0);
    if (found < 0 || codec == NULL) {
        return fail(NX_ERR_UNSUPPORTED, path, "there is no video in it that Nexus decodes", found,
                    err);
    }
    const AVStream *stream = reader->file->streams[found];
    reader->stream = found;
    int width = stream->codecpar->width;
    int height = stream->codecpar->height;
    if (width <= 0 || height <= 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "%s: a video without a size", path);
    }
    if ((uint64_t)width * (uint64_t)height > max_pixels) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "%s: frames of %dx%d pixels are over the limit of %llu pixels", path,
                            width, height, (unsigned long long)max_pixels);
    }
    reader->decoder = avcodec_alloc_context3(codec);
    if (reader->decoder == NULL) {
        return no_memory(err);
    }
    int result = avcodec_parameters_to_context(reader->decoder, stream->codecpar);
    if (result >= 0) {
        reader->decoder->thread_count = 1;
        reader->decoder->max_pixels = (int64_t)max_pixels;
        result = avcodec_open2(reader->decoder, codec, NULL);
    }
    if (result < 0) {
        return fail(NX_ERR_CORRUPT, path, "its video cannot be decoded", result, err);
    }
    double fps = stream->avg_frame_rate.num > 0 ? av_q2d(stream->avg_frame_rate) : 0;
    reader->info = (nx_video_info){
        .width = (uint32_t)width,
        .height = (uint32_t)height,
        .fps = isfinite(fps) && fps > 0 ? fps : 0,
        .frames = stream->nb_frames > 0 ? stream->nb_frames : 0,
        .rotation = nx_video_rotation(stream),
        .codec = avcodec_get_name(stream->codecpar->codec_id),
    };
    return NX_OK;
}

nx_status nx_video_reader_open(const char *path, uint64_t max_pixels, nx_video_reader **out,
                               nx_error *err)
{
    *out = NULL;
    nx_status status = check_file(path, err);
    if (status != NX_OK) {
        return status;
    }
    nx_video_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return no_memory(err);
    }
    av_log_set_level(AV_LOG_QUIET); /* what goes wrong is in our own messages */
    uint64_t limit = max_pixels != 0 ? max_pixels : NX_DECODE_DEFAULT_MAX_PIXELS;
    reader->packet = av_packet_alloc();
    reader->frame = av_frame_alloc();
    reader->pixels = nx_video_pixels_new();
    if (reader->packet == NULL || reader->frame == NULL || reader->pixels == NULL) {
        status = no_memory(err);
        goto fail;
    }
    status = open_file(reader, path, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = open_decoder(reader, path, limit, err);
    if (status != NX_OK) {
        goto fail;
    }
    *out = reader;
    return NX_OK;

fail:
    nx_video_reader_free(reader);
    return status;
}

void nx_video_reader_free(nx_video_reader *reader)
{
    if (reader != NULL) {
        nx_video_pixels_free(reader->pixels);
        av_frame_free(&reader->frame);
        av_packet_free(&reader->packet);
        avcodec_free_context(&reader->decoder);
        avformat_close_input(&reader->file);
        free(reader);
    }
}

const nx_video_info *nx_video_reader_info(const nx_video_reader *reader)
{
    return &reader->info;
}

uint64_t nx_video_reader_damaged(const nx_video_reader *reader)
{
    return reader->damaged;
}

/* --- frames -------------------------------------------------------------------------------------
 */

/* Gives the decoder its next packet, or tells it that there is none. */
static nx_status feed(nx_video_reader *reader, nx_error *err)
{
    int result = av_read_frame(reader->file, reader->packet);
    if (result == AVERROR(ENOMEM)) {
        return no_memory(err);
    }
    if (result < 0) { /* the end, or damage that hides what follows */
        reader->damaged += result != AVERROR_EOF;
        reader->draining = true;
        result = avcodec_send_packet(reader->decoder, NULL);
    } else if (reader->packet->stream_index == reader->stream) {
        result = avcodec_send_packet(reader->decoder, reader->packet);
        reader->damaged += result < 0;
    }
    av_packet_unref(reader->packet);
    return result == AVERROR(ENOMEM) ? no_memory(err) : NX_OK;
}

/* *got: reader->frame holds a frame; without one the video has ended. */
static nx_status decode(nx_video_reader *reader, bool *got, nx_error *err)
{
    *got = false;
    for (;;) {
        int result = avcodec_receive_frame(reader->decoder, reader->frame);
        if (result == 0) {
            *got = true;
            return NX_OK;
        }
        if (result == AVERROR(ENOMEM)) {
            return no_memory(err);
        }
        if (result == AVERROR_EOF || (reader->draining && result == AVERROR(EAGAIN))) {
            return NX_OK;
        }
        if (result != AVERROR(EAGAIN)) {
            reader->damaged++;
        }
        if (!reader->draining) {
            nx_status status = feed(reader, err);
            if (status != NX_OK) {
                return status;
            }
        }
    }
}

nx_status nx_video_reader_next(nx_video_reader *reader, nx_yuv_frame *frame, bool *end,
                               nx_error *err)
{
    bool got = false;
    *end = false;
    nx_status status = decode(reader, &got, err);
    if (status != NX_OK) {
        return status;
    }
    if (!got) {
        *end = true;
        return reader->frames > 0 ? NX_OK
                                  : nx_error_set(err, NX_ERR_CORRUPT,
                                                 "not one frame of the video could be decoded");
    }
    reader->frames++;
    return nx_video_pixels_yuv(reader->pixels, reader->frame, frame, err);
}

nx_status nx_video_turn(nx_image *image, uint32_t rotation, nx_error *err)
{
    static const uint8_t orientations[] = {1, 6, 3, 8}; /* of EXIF, by quarters of a turn */
    return nx_image_orient(image, orientations[rotation / 90 % 4], err);
}

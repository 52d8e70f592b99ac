#include "media/video_writer.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/opt.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TICKS     90000 /* of the stream's clock in a second */
#define MOST_SIDE 16384
/* Quality by x264's scale, on which lower is better and 23 the default; and a preset that is fast
 * rather than small. */
#define QUALITY "25"
#define PRESET  "veryfast"
/* Fixed, because the bytes depend on it. */
#define THREADS      2
#define GOP_SECONDS  2
#define HD_HEIGHT    720 /* from here on colours are BT.709's */
#define DEFAULT_RATE 25

struct nx_video_writer {
    char *path;
    AVFormatContext *file;
    AVCodecContext *encoder;
    AVFrame *frame;
    AVPacket *packet;
    struct SwsContext *converter;
    uint32_t width, height; /* of the pictures */
    int64_t last;           /* tick of the last picture; -1: none */
    bool finished;
};

static nx_status fail(const nx_video_writer *writer, int reason, nx_error *err)
{
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(reason, text, sizeof text);
    nx_status status = reason == AVERROR(ENOMEM) ? NX_ERR_NO_MEMORY
                       : reason == AVERROR(ENOSPC) || reason == AVERROR(EIO) ||
                               reason == AVERROR(EACCES) || reason == AVERROR(ENOENT) ||
                               reason == AVERROR(EFBIG) || reason == AVERROR(EDQUOT) ||
                               reason == AVERROR(EROFS) || reason == AVERROR(EISDIR)
                           ? NX_ERR_IO
                           : NX_ERR_INTERNAL;
    return nx_error_set(err, status, "cannot write the video %s: %s", writer->path, text);
}

/* --- opening ------------------------------------------------------------------------------------
 */

static const AVCodec *find_encoder(void)
{
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    return codec != NULL ? codec : avcodec_find_encoder(AV_CODEC_ID_H264);
}

static nx_status open_encoder(nx_video_writer *writer, double fps, nx_error *err)
{
    const AVCodec *codec = find_encoder();
    if (codec == NULL) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "libavcodec on this machine cannot encode H.264 (Debian's can)");
    }
    AVCodecContext *encoder = avcodec_alloc_context3(codec);
    writer->encoder = encoder;
    if (encoder == NULL) {
        return fail(writer, AVERROR(ENOMEM), err);
    }
    bool hd = writer->height >= HD_HEIGHT;
    encoder->width = writer->width > 1 ? (int)(writer->width & ~1U) : 2;
    encoder->height = writer->height > 1 ? (int)(writer->height & ~1U) : 2;
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->time_base = (AVRational){1, TICKS};
    encoder->framerate = av_d2q(fps, 1001000);
    encoder->gop_size = (int)ceil(GOP_SECONDS * fps);
    encoder->thread_count = THREADS;
    encoder->color_range = AVCOL_RANGE_MPEG;
    encoder->colorspace = hd ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
    encoder->color_primaries = hd ? AVCOL_PRI_BT709 : AVCOL_PRI_SMPTE170M;
    encoder->color_trc = hd ? AVCOL_TRC_BT709 : AVCOL_TRC_SMPTE170M;
    encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER | AV_CODEC_FLAG_BITEXACT;
    /* other encoders do not know these, which is no fault */
    (void)av_opt_set(encoder->priv_data, "preset", PRESET, 0);
    (void)av_opt_set(encoder->priv_data, "crf", QUALITY, 0);
    int result = avcodec_open2(encoder, codec, NULL);
    return result < 0 ? fail(writer, result, err) : NX_OK;
}

static nx_status open_file(nx_video_writer *writer, nx_error *err)
{
    int result = avformat_alloc_output_context2(&writer->file, NULL, "mp4", writer->path);
    AVStream *stream = result >= 0 ? avformat_new_stream(writer->file, NULL) : NULL;
    if (stream == NULL) {
        return fail(writer, AVERROR(ENOMEM), err);
    }
    writer->file->flags |= AVFMT_FLAG_BITEXACT; /* no date, no version: the same bytes again */
    stream->time_base = writer->encoder->time_base;
    stream->avg_frame_rate = writer->encoder->framerate;
    result = avcodec_parameters_from_context(stream->codecpar, writer->encoder);
    if (result >= 0) {
        result = avio_open(&writer->file->pb, writer->path, AVIO_FLAG_WRITE);
    }
    AVDictionary *options = NULL;
    if (result >= 0) {
        result = av_dict_set(&options, "movflags", "+faststart", 0);
    }
    if (result >= 0) {
        result = avformat_write_header(writer->file, &options);
    }
    av_dict_free(&options);
    return result < 0 ? fail(writer, result, err) : NX_OK;
}

static nx_status open_converter(nx_video_writer *writer, nx_error *err)
{
    const AVCodecContext *encoder = writer->encoder;
    int space = writer->height >= HD_HEIGHT ? SWS_CS_ITU709 : SWS_CS_SMPTE170M;
    writer->converter = sws_getContext(encoder->width, encoder->height, AV_PIX_FMT_RGB24,
                                       encoder->width, encoder->height, AV_PIX_FMT_YUV420P,
                                       SWS_BILINEAR | SWS_BITEXACT, NULL, NULL, NULL);
    writer->frame = av_frame_alloc();
    writer->packet = av_packet_alloc();
    if (writer->converter == NULL || writer->frame == NULL || writer->packet == NULL) {
        return fail(writer, AVERROR(ENOMEM), err);
    }
    (void)sws_setColorspaceDetails(writer->converter, sws_getCoefficients(SWS_CS_DEFAULT), 1,
                                   sws_getCoefficients(space), 0, 0, 1 << 16, 1 << 16);
    writer->frame->format = encoder->pix_fmt;
    writer->frame->width = encoder->width;
    writer->frame->height = encoder->height;
    int result = av_frame_get_buffer(writer->frame, 0);
    return result < 0 ? fail(writer, result, err) : NX_OK;
}

nx_status nx_video_writer_open(const char *path, uint32_t width, uint32_t height, double fps,
                               nx_video_writer **out, nx_error *err)
{
    *out = NULL;
    if (width == 0 || height == 0 || width > MOST_SIDE || height > MOST_SIDE) {
        return nx_error_set(err, NX_ERR_INVALID, "a video of %ux%u pixels cannot be written", width,
                            height);
    }
    nx_video_writer *writer = calloc(1, sizeof *writer);
    char *copy = strdup(path);
    if (writer == NULL || copy == NULL) {
        free(writer);
        free(copy);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to write a video");
    }
    av_log_set_level(AV_LOG_QUIET); /* what goes wrong is in our own messages */
    writer->path = copy;
    writer->width = width;
    writer->height = height;
    writer->last = -1;
    double rate = fps > 0.01 && fps < 1000 ? fps : DEFAULT_RATE;
    nx_status status = open_encoder(writer, rate, err);
    if (status == NX_OK) {
        status = open_converter(writer, err);
    }
    if (status == NX_OK) {
        status = open_file(writer, err);
    }
    if (status != NX_OK) {
        nx_video_writer_free(writer);
        return status;
    }
    *out = writer;
    return NX_OK;
}

/* --- writing ------------------------------------------------------------------------------------
 */

/* Moves what the encoder has ready into the file. */
static nx_status drain(nx_video_writer *writer, nx_error *err)
{
    for (;;) {
        int result = avcodec_receive_packet(writer->encoder, writer->packet);
        if (result == AVERROR(EAGAIN) || result == AVERROR_EOF) {
            return NX_OK;
        }
        if (result >= 0) {
            av_packet_rescale_ts(writer->packet, writer->encoder->time_base,
                                 writer->file->streams[0]->time_base);
            result = av_interleaved_write_frame(writer->file, writer->packet);
        }
        if (result < 0) {
            return fail(writer, result, err);
        }
    }
}

/* A picture of one column or row, doubled to the least that 4:2:0 has. */
static nx_status widen(const nx_video_writer *writer, const nx_image *image, nx_image *out,
                       nx_error *err)
{
    nx_status status = nx_image_alloc((uint32_t)writer->encoder->width,
                                      (uint32_t)writer->encoder->height, out, err);
    for (uint32_t y = 0; status == NX_OK && y < out->height; y++) {
        const uint8_t *row = image->pixels + (y < image->height ? y : 0) * image->stride;
        for (uint32_t x = 0; x < out->width; x++) {
            memcpy(out->pixels + y * out->stride + (size_t)x * 3,
                   row + (size_t)(x < image->width ? x : 0) * 3, 3);
        }
    }
    return status;
}

/* Fills writer->frame. */
static nx_status convert(nx_video_writer *writer, const nx_image *image, nx_error *err)
{
    nx_image wide = {0};
    int result = av_frame_make_writable(writer->frame);
    if (result < 0) {
        return fail(writer, result, err);
    }
    if (image->width == 1 || image->height == 1) {
        nx_status status = widen(writer, image, &wide, err);
        if (status != NX_OK) {
            return status;
        }
        image = &wide;
    }
    const uint8_t *pixels = image->pixels;
    const int stride = (int)image->stride;
    (void)sws_scale(writer->converter, &pixels, &stride, 0, writer->encoder->height,
                    writer->frame->data, writer->frame->linesize);
    nx_image_free(&wide);
    return NX_OK;
}

nx_status nx_video_writer_add(nx_video_writer *writer, const nx_image *image, int64_t time_ns,
                              nx_error *err)
{
    if (image->width != writer->width || image->height != writer->height) {
        return nx_error_set(err, NX_ERR_INVALID, "a picture of %ux%u in a video of %ux%u",
                            image->width, image->height, writer->width, writer->height);
    }
    nx_status status = convert(writer, image, err);
    if (status != NX_OK) {
        return status;
    }
    int64_t tick = time_ns > 0 ? av_rescale(time_ns, TICKS, 1000000000) : 0;
    writer->last = tick > writer->last ? tick : writer->last + 1;
    writer->frame->pts = writer->last;
    int result = avcodec_send_frame(writer->encoder, writer->frame);
    return result < 0 ? fail(writer, result, err) : drain(writer, err);
}

nx_status nx_video_writer_finish(nx_video_writer *writer, nx_error *err)
{
    if (writer->last < 0) {
        return nx_error_set(err, NX_ERR_INVALID, "there is no picture in the video %s",
                            writer->path);
    }
    int result = avcodec_send_frame(writer->encoder, NULL);
    nx_status status = result < 0 ? fail(writer, result, err) : drain(writer, err);
    if (status != NX_OK) {
        return status;
    }
    result = av_write_trailer(writer->file);
    if (result >= 0) {
        result = avio_closep(&writer->file->pb); /* tells what was not written before */
    }
    writer->finished = result >= 0;
    return result < 0 ? fail(writer, result, err) : NX_OK;
}

void nx_video_writer_free(nx_video_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    bool begun = writer->file != NULL && writer->file->pb != NULL;
    if (begun) {
        (void)avio_closep(&writer->file->pb);
    }
    if (!writer->finished && begun) {
        (void)unlink(writer->path);
    }
    avformat_free_context(writer->file);
    sws_freeContext(writer->converter);
    av_frame_free(&writer->frame);
    av_packet_free(&writer->packet);
    avcodec_free_context(&writer->encoder);
    free(writer->path);
    free(writer);
}

#include "media/video_pixels.h"

#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct nx_video_pixels {
    AVFrame *converted;
    struct SwsContext *converter;
    uint8_t *unturned; /* a scaled picture that is still to be turned */
    size_t unturned_bytes;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to convert a video frame");
}

uint32_t nx_video_rotation(const AVStream *stream)
{
    size_t size = 0;
    const uint8_t *bytes = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    int32_t matrix[9];
    if (bytes == NULL || size < sizeof matrix) {
        return 0;
    }
    memcpy(matrix, bytes, sizeof matrix);
    double degrees = -av_display_rotation_get(matrix);
    if (!isfinite(degrees)) {
        return 0;
    }
    long quarters = lround(degrees / 90) % 4;
    return (uint32_t)((quarters + 4) % 4 * 90);
}

nx_video_pixels *nx_video_pixels_new(void)
{
    nx_video_pixels *pixels = calloc(1, sizeof *pixels);
    if (pixels != NULL) {
        pixels->converted = av_frame_alloc();
        if (pixels->converted == NULL) {
            free(pixels);
            pixels = NULL;
        }
    }
    return pixels;
}

void nx_video_pixels_free(nx_video_pixels *pixels)
{
    if (pixels != NULL) {
        sws_freeContext(pixels->converter);
        av_frame_free(&pixels->converted);
        free(pixels->unturned);
        free(pixels);
    }
}

/* --- what a frame's numbers mean ----------------------------------------------------------------
 */

static bool is_yuv420(const AVFrame *frame)
{
    return (frame->format == AV_PIX_FMT_YUV420P || frame->format == AV_PIX_FMT_YUVJ420P) &&
           frame->linesize[0] > 0 && frame->linesize[1] > 0 && frame->linesize[2] > 0;
}

static bool is_full_range(const AVFrame *frame)
{
    return frame->color_range == AVCOL_RANGE_JPEG || frame->format == AV_PIX_FMT_YUVJ420P;
}

static bool is_bt2020(const AVFrame *frame)
{
    return frame->colorspace == AVCOL_SPC_BT2020_NCL || frame->colorspace == AVCOL_SPC_BT2020_CL;
}

/* Frames of high definition that do not say otherwise are BT.709's. */
static bool is_bt709(const AVFrame *frame)
{
    return frame->colorspace == AVCOL_SPC_BT709 ||
           (frame->colorspace == AVCOL_SPC_UNSPECIFIED && frame->height >= 720);
}

/* More colour than every second pixel of every second row, or RGB: 4:2:0 would lose of it. */
static bool has_more_chroma(const AVFrame *frame)
{
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get((enum AVPixelFormat)frame->format);
    return format != NULL && format->nb_components >= 3 &&
           (format->log2_chroma_w == 0 || format->log2_chroma_h == 0);
}

static nx_yuv_frame view_of(const AVFrame *frame)
{
    nx_yuv_frame view = {
        .width = (uint32_t)frame->width,
        .height = (uint32_t)frame->height,
        .full_range = is_full_range(frame),
        .bt709 = is_bt709(frame),
        .bt2020 = is_bt2020(frame),
        .chroma_left = frame->chroma_location == AVCHROMA_LOC_LEFT ||
                       frame->chroma_location == AVCHROMA_LOC_TOPLEFT ||
                       frame->chroma_location == AVCHROMA_LOC_UNSPECIFIED,
    };
    for (size_t i = 0; i < 3; i++) {
        view.planes[i] = frame->data[i];
        view.strides[i] = (size_t)frame->linesize[i];
    }
    return view;
}

/* --- other kinds of frames ----------------------------------------------------------------------
 */

static const int *coefficients_of(const AVFrame *frame)
{
    int which = is_bt709(frame) ? SWS_CS_ITU709 : SWS_CS_ITU601;
    return sws_getCoefficients(is_bt2020(frame) ? SWS_CS_BT2020 : which);
}

/* pixels->converted becomes the frame in another format, with the same matrix and range if that is
 * YUV. */
static nx_status convert(nx_video_pixels *pixels, const AVFrame *from, enum AVPixelFormat format,
                         nx_error *err)
{
    AVFrame *to = pixels->converted;
    bool rgb = format == AV_PIX_FMT_RGB24;
    int flags = SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;
    pixels->converter = sws_getCachedContext(pixels->converter, from->width, from->height,
                                             (enum AVPixelFormat)from->format, from->width,
                                             from->height, format, flags, NULL, NULL, NULL);
    if (pixels->converter == NULL) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED, "frames of an unknown pixel format");
    }
    const int *matrix = coefficients_of(from);
    int range = is_full_range(from);
    /* what has no such details needs none */
    (void)sws_setColorspaceDetails(pixels->converter, matrix, range, matrix, rgb ? 1 : range, 0,
                                   1 << 16, 1 << 16);
    av_frame_unref(to);
    to->format = format;
    to->width = from->width;
    to->height = from->height;
    to->color_range = range ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    to->colorspace = from->colorspace;
    to->chroma_location = AVCHROMA_LOC_LEFT;
    if (av_frame_get_buffer(to, 0) < 0) {
        return no_memory(err);
    }
    int rows = sws_scale(pixels->converter, (const uint8_t *const *)from->data, from->linesize, 0,
                         from->height, to->data, to->linesize);
    if (rows != from->height) {
        return nx_error_set(err, NX_ERR_INTERNAL, "a frame could not be converted");
    }
    return NX_OK;
}

nx_status nx_video_pixels_yuv(nx_video_pixels *pixels, const AVFrame *frame, nx_yuv_frame *out,
                              nx_error *err)
{
    if (is_yuv420(frame)) {
        *out = view_of(frame);
        return NX_OK;
    }
    nx_status status = convert(pixels, frame, AV_PIX_FMT_YUV420P, err);
    if (status == NX_OK) {
        *out = view_of(pixels->converted);
    }
    return status;
}

/* --- scaled RGB ---------------------------------------------------------------------------------
 */

static nx_letterbox whole(const AVFrame *frame, uint32_t width, uint32_t height)
{
    return (nx_letterbox){
        .source_width = (uint32_t)frame->width,
        .source_height = (uint32_t)frame->height,
        .input_width = width,
        .input_height = height,
        .width = width,
        .height = height,
        .scale = (float)width / (float)frame->width,
    };
}

static nx_status scale(nx_video_pixels *pixels, const AVFrame *frame, uint32_t width,
                       uint32_t height, uint8_t *rgb, nx_error *err)
{
    const nx_letterbox box = whole(frame, width, height);
    if (!has_more_chroma(frame)) {
        nx_yuv_frame yuv = {0};
        nx_status status = nx_video_pixels_yuv(pixels, frame, &yuv, err);
        return status != NX_OK
                   ? status
                   : nx_letterbox_apply_yuv(&box, &yuv, NX_PIXELS_RGB_BYTE_NHWC, rgb, err);
    }
    nx_status status = convert(pixels, frame, AV_PIX_FMT_RGB24, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_image image = {
        .pixels = pixels->converted->data[0],
        .width = (uint32_t)frame->width,
        .height = (uint32_t)frame->height,
        .stride = (size_t)pixels->converted->linesize[0],
    };
    return nx_letterbox_apply(&box, &image, NX_PIXELS_RGB_BYTE_NHWC, rgb, err);
}

/* Writes a picture of width x height turned clockwise. */
static void turn(const uint8_t *from, uint32_t width, uint32_t height, uint32_t rotation,
                 uint8_t *to)
{
    size_t w = width;
    size_t h = height;
    for (size_t y = 0; y < h; y++) {
        for (size_t x = 0; x < w; x++) {
            size_t at = rotation == 90    ? x * h + (h - 1 - y)
                        : rotation == 180 ? (h - 1 - y) * w + (w - 1 - x)
                                          : (w - 1 - x) * h + y;
            memcpy(to + 3 * at, from + 3 * (y * w + x), 3);
        }
    }
}

static bool make_room(nx_video_pixels *pixels, size_t bytes)
{
    if (pixels->unturned_bytes < bytes) {
        free(pixels->unturned);
        pixels->unturned = malloc(bytes);
        pixels->unturned_bytes = pixels->unturned != NULL ? bytes : 0;
    }
    return pixels->unturned != NULL;
}

nx_status nx_video_pixels_rgb(nx_video_pixels *pixels, const AVFrame *frame, uint32_t rotation,
                              uint32_t width, uint32_t height, uint8_t *rgb, nx_error *err)
{
    if (rotation == 0) {
        return scale(pixels, frame, width, height, rgb, err);
    }
    if (!make_room(pixels, (size_t)3 * width * height)) {
        return no_memory(err);
    }
    bool swaps = rotation != 180;
    uint32_t stored_width = swaps ? height : width;
    uint32_t stored_height = swaps ? width : height;
    nx_status status = scale(pixels, frame, stored_width, stored_height, pixels->unturned, err);
    if (status == NX_OK) {
        turn(pixels->unturned, stored_width, stored_height, rotation, rgb);
    }
    return status;
}

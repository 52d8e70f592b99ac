/* WebP to RGB with libwebp, which returns status codes and needs no tricks. */
#include "media/formats.h"

#include <webp/decode.h>
#include <webp/demux.h>

static const char *explain(VP8StatusCode code)
{
    switch (code) {
    case VP8_STATUS_BITSTREAM_ERROR:
        return "its data breaks the rules of the format";
    case VP8_STATUS_INVALID_PARAM:
    case VP8_STATUS_UNSUPPORTED_FEATURE:
        return "it uses a feature that libwebp does not know";
    default:
        return "libwebp gives no reason";
    }
}

/* A RIFF file says its size behind its first four letters, so a cut can be told in bytes. */
static nx_status report(const nx_encoded *in, VP8StatusCode code, nx_error *err)
{
    if (code == VP8_STATUS_OUT_OF_MEMORY) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to decode a WebP");
    }
    const uint8_t *d = in->data;
    uint64_t declared =
        8 + ((uint64_t)d[4] | (uint64_t)d[5] << 8 | (uint64_t)d[6] << 16 | (uint64_t)d[7] << 24);
    if (declared > in->size) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "the WebP ends early: %zu of its %llu bytes came; send the whole file",
                            in->size, (unsigned long long)declared);
    }
    if (code == VP8_STATUS_NOT_ENOUGH_DATA || code == VP8_STATUS_SUSPENDED) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "the WebP is damaged: its picture data ends early");
    }
    return nx_error_set(
        err, code == VP8_STATUS_UNSUPPORTED_FEATURE ? NX_ERR_UNSUPPORTED : NX_ERR_CORRUPT,
        "the WebP cannot be decoded: %s", explain(code));
}

static uint8_t find_orientation(const nx_encoded *in)
{
    const WebPData data = {.bytes = in->data, .size = in->size};
    WebPDemuxer *demuxer = WebPDemux(&data);
    if (demuxer == NULL) {
        return 1;
    }
    uint8_t orientation = 1;
    WebPChunkIterator chunk;
    if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk)) {
        orientation = nx_exif_orientation(chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    WebPDemuxDelete(demuxer);
    return orientation;
}

nx_status nx_webp_probe(const nx_encoded *in, nx_image_info *stored, nx_error *err)
{
    WebPBitstreamFeatures features;
    VP8StatusCode code = WebPGetFeatures(in->data, in->size, &features);
    if (code != VP8_STATUS_OK) {
        return report(in, code, err);
    }
    if (features.has_animation) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "animated WebP is not supported: send one frame of it as a still "
                            "JPEG, PNG or WebP");
    }
    stored->width = (uint32_t)features.width;
    stored->height = (uint32_t)features.height;
    nx_status status = nx_check_pixels("WebP", stored->width, stored->height, in->max_pixels, err);
    if (status == NX_OK) {
        stored->orientation = find_orientation(in);
    }
    return status;
}

nx_status nx_webp_decode(const nx_encoded *in, nx_target target, nx_image *out,
                         nx_image_info *stored, nx_error *err)
{
    (void)target; /* libwebp can scale, but only after it decoded every pixel */
    nx_status status = nx_webp_probe(in, stored, err);
    if (status != NX_OK) {
        return status;
    }
    status = nx_image_alloc(stored->width, stored->height, out, err);
    if (status != NX_OK) {
        return status;
    }
    WebPDecoderConfig config;
    if (!WebPInitDecoderConfig(&config)) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libwebp is of another version than its header");
    }
    config.output.colorspace = MODE_RGB; /* alpha is dropped, not blended */
    config.output.is_external_memory = 1;
    config.output.u.RGBA.rgba = out->pixels;
    config.output.u.RGBA.stride = (int)out->stride;
    config.output.u.RGBA.size = out->stride * out->height;
    VP8StatusCode code = WebPDecode(in->data, in->size, &config);
    WebPFreeDecBuffer(&config.output);
    return code == VP8_STATUS_OK ? NX_OK : report(in, code, err);
}

/* Pictures to calibrate with and to judge by: frames of a stranger's video, which the decoder's
 * child takes out of it, as elsewhere in the server. */
#include "api/optimize.h"

#include "base/file.h"
#include "media/codec.h"

#include <stdio.h>
#include <string.h>

/* The longer side of frames: what models look at. */
#define FRAME_SIDE 640
#define QUALITY    95
/* Between two frames that are taken, where a file doesn't say how many it has. */
#define USUAL_STEP 10

static nx_status open_video(int video, uint32_t stride, const atomic_bool *stop, nx_decoder **out,
                            nx_error *err)
{
    const nx_decoder_options options = {
        .max_width = FRAME_SIDE, .max_height = FRAME_SIDE, .stride = stride, .stop = stop};
    return nx_decoder_open_fd(video, "the video", &options, out, err);
}

/* So that `most` frames are spread over all of it. */
static nx_status choose_stride(int video, size_t most, const atomic_bool *stop, uint32_t *stride,
                               nx_error *err)
{
    nx_decoder *decoder = NULL;
    nx_status status = open_video(video, 1, stop, &decoder, err);
    if (status != NX_OK) {
        return status;
    }
    uint64_t frames = nx_decoder_get_info(decoder)->frames;
    uint64_t step = frames > 0 ? frames / most : USUAL_STEP;
    *stride = step < 1 ? 1 : step > UINT32_MAX ? UINT32_MAX : (uint32_t)step;
    nx_decoder_free(decoder);
    return NX_OK;
}

static nx_status keep(const nx_decoder_frame *frame, const char *folder, nx_error *err)
{
    char path[1024];
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_image image = {.width = frame->width, .height = frame->height};
    nx_status status = nx_image_alloc(frame->width, frame->height, &image, err);
    for (uint32_t y = 0; status == NX_OK && y < frame->height; y++) {
        const size_t row = (size_t)3 * frame->width;
        memcpy(image.pixels + y * image.stride, frame->pixels + y * row, row);
    }
    if (status == NX_OK) {
        status = nx_image_encode_jpeg(&image, QUALITY, &bytes, err);
        nx_image_free(&image);
    }
    if (status == NX_OK) {
        snprintf(path, sizeof path, "%.900s/%010llu.jpg", folder, (unsigned long long)frame->index);
        status = nx_file_write(path, bytes.data, bytes.size, err);
    }
    nx_buffer_free(&bytes);
    return status;
}

nx_status nx_optimize_take_pictures(int video, const char *folder, size_t most,
                                    const nx_optimize_follower *follower, nx_error *err)
{
    nx_decoder *decoder = NULL;
    uint32_t stride = 1;
    size_t count = 0;
    bool end = false;
    nx_status status = choose_stride(video, most, follower->stop, &stride, err);
    if (status == NX_OK) {
        status = open_video(video, stride, follower->stop, &decoder, err);
    }
    while (status == NX_OK && !end && count < most) {
        nx_decoder_frame frame;
        if (!follower->go_on(follower->user)) {
            status = nx_error_set(err, NX_ERR_CANCELLED, "somebody ended it");
            break;
        }
        status = nx_decoder_next(decoder, &frame, &end, err);
        if (status == NX_OK && !end) {
            status = keep(&frame, folder, err);
            count++;
            follower->step(count, most, follower->user);
        }
    }
    nx_decoder_free(decoder);
    return status;
}

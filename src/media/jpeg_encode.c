/* RGB to JPEG with libjpeg(-turbo). setjmp is confined as in jpeg_decode.c. */
#include "media/codec.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h> /* before jpeglib.h, which needs FILE */

#include <jerror.h>
#include <jpeglib.h>

/* How much room for output is added at a time; a quarter of a 1080p picture. */
#define OUTPUT_PIECE 65536

typedef struct jpeg_writer {
    struct jpeg_compress_struct cinfo;
    struct jpeg_error_mgr callbacks;
    struct jpeg_destination_mgr destination;
    jmp_buf jump;
    const nx_image *image;
    int quality;
    nx_buffer *out;
    char reason[JMSG_LENGTH_MAX];
} jpeg_writer;

_Noreturn static void on_error(j_common_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    cinfo->err->format_message(cinfo, writer->reason);
    longjmp(writer->jump, 1);
}

static void on_message(j_common_ptr cinfo, int level)
{
    (void)cinfo;
    (void)level;
}

/* libjpeg writes straight into the buffer's free room, whose size only grows when it is full. */
static void offer_room(j_compress_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    if (!nx_buffer_reserve(writer->out, OUTPUT_PIECE)) {
        ERREXIT1(cinfo, JERR_OUT_OF_MEMORY, 0);
    }
    writer->destination.next_output_byte = (JOCTET *)writer->out->data + writer->out->size;
    writer->destination.free_in_buffer = OUTPUT_PIECE;
}

static boolean take_full_piece(j_compress_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    writer->out->size += OUTPUT_PIECE;
    offer_room(cinfo);
    return TRUE;
}

static void take_last_piece(j_compress_ptr cinfo)
{
    jpeg_writer *writer = cinfo->client_data;
    writer->out->size += OUTPUT_PIECE - writer->destination.free_in_buffer;
}

static void write_picture(jpeg_writer *writer)
{
    struct jpeg_compress_struct *cinfo = &writer->cinfo;
    const nx_image *image = writer->image;
    jpeg_create_compress(cinfo);
    cinfo->dest = &writer->destination;
    cinfo->image_width = image->width;
    cinfo->image_height = image->height;
    cinfo->input_components = 3;
    cinfo->in_color_space = JCS_RGB;
    jpeg_set_defaults(cinfo); /* YCbCr 4:2:0 */
    jpeg_set_quality(cinfo, writer->quality, TRUE);
    jpeg_start_compress(cinfo, TRUE);
    while (cinfo->next_scanline < cinfo->image_height) {
        JSAMPROW row = image->pixels + cinfo->next_scanline * image->stride;
        jpeg_write_scanlines(cinfo, &row, 1);
    }
    jpeg_finish_compress(cinfo);
}

static bool run(jpeg_writer *writer)
{
    if (setjmp(writer->jump) != 0) {
        return false;
    }
    write_picture(writer);
    return true;
}

nx_status nx_image_encode_jpeg(const nx_image *image, int quality, nx_buffer *out, nx_error *err)
{
    if (image->width > JPEG_MAX_DIMENSION || image->height > JPEG_MAX_DIMENSION) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a picture of %ux%u pixels does not fit into a JPEG (%ld a side): "
                            "ask for a PNG",
                            image->width, image->height, JPEG_MAX_DIMENSION);
    }
    jpeg_writer writer = {.image = image, .quality = quality, .out = out};
    writer.cinfo.err = jpeg_std_error(&writer.callbacks);
    writer.callbacks.error_exit = on_error;
    writer.callbacks.emit_message = on_message;
    writer.cinfo.client_data = &writer;
    writer.destination.init_destination = offer_room;
    writer.destination.empty_output_buffer = take_full_piece;
    writer.destination.term_destination = take_last_piece;

    size_t size_before = out->size;
    bool done = run(&writer);
    jpeg_destroy_compress(&writer.cinfo);
    if (done) {
        return NX_OK;
    }
    out->size = size_before;
    return nx_error_set(err, out->failed ? NX_ERR_NO_MEMORY : NX_ERR_INTERNAL,
                        "the JPEG could not be written: %s", writer.reason);
}

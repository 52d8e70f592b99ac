/*
 * PNG to RGB with libpng. Its classic interface is used because it tells how far it came and lets
 * the limit be checked between header and pixels. Like libjpeg it reports an error by a call that
 * must not return: setjmp is in run_step alone, and all state in png_reader.
 */
#include "media/formats.h"

#include <png.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PNG_SIGNATURE_SIZE 8

typedef struct png_reader {
    png_structp png;
    png_infop info;
    jmp_buf jump;
    const nx_encoded *in;
    size_t position; /* of the next byte to read */
    nx_image *out;
    uint32_t row; /* being read, for messages */
    bool header_read;
    bool ended_early;
    bool no_memory;
    char reason[128]; /* in libpng's words */
} png_reader;

static void on_error(png_structp png, png_const_charp message)
{
    png_reader *reader = png_get_error_ptr(png);
    snprintf(reader->reason, sizeof reader->reason, "%s", message);
    longjmp(reader->jump, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png; /* nothing is ever printed; what a warning is about has no part in the pixels */
    (void)message;
}

/* libpng has no error codes; this is how to know that memory was short. */
static png_voidp on_malloc(png_structp png, png_alloc_size_t size)
{
    void *memory = malloc(size);
    if (memory == NULL) {
        png_reader *reader = png_get_mem_ptr(png);
        reader->no_memory = true;
    }
    return memory;
}

static void on_free(png_structp png, png_voidp memory)
{
    (void)png;
    free(memory);
}

static void on_read(png_structp png, png_bytep to, size_t size)
{
    png_reader *reader = png_get_io_ptr(png);
    if (size > reader->in->size - reader->position) {
        reader->ended_early = true;
        png_error(png, "unexpected end of the data");
    }
    memcpy(to, reader->in->data + reader->position, size);
    reader->position += size;
}

typedef void png_step(png_reader *reader);

static bool run_step(png_reader *reader, png_step *step)
{
    if (setjmp(reader->jump) != 0) {
        return false;
    }
    step(reader);
    return true;
}

static void step_read_header(png_reader *reader)
{
    reader->png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, reader, on_error, on_warning,
                                           reader, on_malloc, on_free);
    reader->info = reader->png != NULL ? png_create_info_struct(reader->png) : NULL;
    if (reader->info == NULL) {
        reader->no_memory = true;
        longjmp(reader->jump, 1);
    }
    png_set_read_fn(reader->png, reader, on_read);
    /* ours is the limit on pixels, checked before a row is allocated; libpng's own would answer a
     * picture of 2,000,000x1 with "Invalid IHDR data" */
    png_set_user_limits(reader->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    /* neither profiles, texts, gamma nor unknown chunks are wanted: do not even unpack them */
    png_set_keep_unknown_chunks(reader->png, PNG_HANDLE_CHUNK_NEVER, NULL, -1);
    png_read_info(reader->png, reader->info);
    reader->header_read = true;
}

/* Zero-initialised, a reader can be closed whether or not this succeeded. */
static bool open_reader(png_reader *reader, const nx_encoded *in)
{
    reader->in = in;
    return run_step(reader, step_read_header);
}

static void close_reader(png_reader *reader)
{
    if (reader->png != NULL) {
        png_destroy_read_struct(&reader->png, &reader->info, NULL);
    }
}

/* Says why the last step failed, and where. */
static nx_status report(const png_reader *reader, nx_error *err)
{
    if (reader->no_memory) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to decode a PNG");
    }
    if (!reader->header_read) {
        return reader->ended_early
                   ? nx_error_set(err, NX_ERR_CORRUPT,
                                  "the PNG ends inside its header (%zu bytes): send the whole file",
                                  reader->in->size)
                   : nx_error_set(err, NX_ERR_CORRUPT, "the PNG's header is damaged: %s",
                                  reader->reason);
    }
    return nx_error_set(err, NX_ERR_CORRUPT, "the PNG %s at row %u of %u: %s",
                        reader->ended_early ? "ends early," : "is damaged", reader->row,
                        png_get_image_height(reader->png, reader->info), reader->reason);
}

/*
 * Looks through the chunks for eXIf, which may stand before or behind the pixels; libpng would
 * only see it before them. Chunks are length, type, data and CRC (PNG specification, section 5.3).
 */
static uint8_t find_orientation(const nx_encoded *in)
{
    size_t at = PNG_SIGNATURE_SIZE;
    while (in->size - at >= 12) {
        const uint8_t *chunk = in->data + at;
        size_t length = png_get_uint_32(chunk);
        if (length > in->size - at - 12) {
            break;
        }
        if (memcmp(chunk + 4, "eXIf", 4) == 0) {
            return nx_exif_orientation(chunk + 8, length);
        }
        at += 12 + length;
    }
    return 1;
}

/* The header's facts, within the limit. */
static nx_status read_info(const png_reader *reader, nx_image_info *stored, nx_error *err)
{
    stored->width = png_get_image_width(reader->png, reader->info);
    stored->height = png_get_image_height(reader->png, reader->info);
    stored->orientation = find_orientation(reader->in);
    return nx_check_pixels("PNG", stored->width, stored->height, reader->in->max_pixels, err);
}

nx_status nx_png_probe(const nx_encoded *in, nx_image_info *stored, nx_error *err)
{
    png_reader reader = {0};
    nx_status status =
        open_reader(&reader, in) ? read_info(&reader, stored, err) : report(&reader, err);
    close_reader(&reader);
    return status;
}

/* Every kind of PNG becomes 8-bit RGB; no gamma is applied, as other readers do not either. */
static void ask_for_rgb(png_reader *reader)
{
    png_structp png = reader->png;
    int type = png_get_color_type(png, reader->info);
    if (type == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(png);
    } else if ((type & PNG_COLOR_MASK_COLOR) == 0) {
        png_set_expand_gray_1_2_4_to_8(png);
        png_set_gray_to_rgb(png);
    }
    png_set_strip_16(png); /* the upper byte, as OpenCV and Pillow take it */
    png_set_strip_alpha(png);
}

static void step_read_pixels(png_reader *reader)
{
    png_structp png = reader->png;
    nx_image *out = reader->out;
    ask_for_rgb(reader);
    int passes = png_set_interlace_handling(png);
    png_read_update_info(png, reader->info);
    if (png_get_rowbytes(png, reader->info) != (size_t)out->width * 3) {
        png_error(png, "rows do not come out as RGB");
    }
    for (int pass = 0; pass < passes; pass++) {
        for (reader->row = 0; reader->row < out->height; reader->row++) {
            png_read_row(png, out->pixels + reader->row * out->stride, NULL);
        }
    }
    png_read_end(png, NULL); /* the last checksum too */
}

static nx_status decode(png_reader *reader, nx_image *out, nx_image_info *stored, nx_error *err)
{
    nx_status status = read_info(reader, stored, err);
    if (status != NX_OK) {
        return status;
    }
    status = nx_image_alloc(stored->width, stored->height, out, err);
    if (status != NX_OK) {
        return status;
    }
    reader->out = out;
    return run_step(reader, step_read_pixels) ? NX_OK : report(reader, err);
}

nx_status nx_png_decode(const nx_encoded *in, nx_target target, nx_image *out,
                        nx_image_info *stored, nx_error *err)
{
    (void)target; /* a PNG has no smaller form of itself */
    png_reader reader = {0};
    nx_status status =
        open_reader(&reader, in) ? decode(&reader, out, stored, err) : report(&reader, err);
    close_reader(&reader);
    return status;
}

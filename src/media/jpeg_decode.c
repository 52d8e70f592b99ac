/*
 * JPEG to RGB with libjpeg(-turbo). Its classic interface is used because it hands over markers
 * (EXIF), every warning with its code, and the number of the scan.
 *
 * libjpeg reports an error by a call that must not return. Every piece of work with it is a step
 * function run by run_step, the only place with setjmp; all state is in jpeg_reader, so that no
 * local variable has to survive a longjmp.
 */
#include "media/formats.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stdio.h> /* before jpeglib.h, which needs FILE */
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

/*
 * A progressive picture usually has about 10 scans, and the IJG's own tools write at most 100. Each
 * scan can cost a pass over the whole picture for a handful of bytes, so their number is bounded.
 */
#define MAX_SCANS 100

typedef struct jpeg_reader {
    struct jpeg_decompress_struct cinfo;
    struct jpeg_error_mgr callbacks;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const nx_encoded *in;
    nx_image *out;
    bool header_read;
    bool ended_early;             /* libjpeg wanted bytes behind the last one */
    nx_status status;             /* why a step failed */
    char reason[JMSG_LENGTH_MAX]; /* in libjpeg's words */
} jpeg_reader;

static nx_status status_of(int code)
{
    switch (code) {
    case JERR_OUT_OF_MEMORY:
        return NX_ERR_NO_MEMORY;
    case JERR_IMAGE_TOO_BIG:
    case JERR_WIDTH_OVERFLOW:
        return NX_ERR_TOO_LARGE;
    case JERR_ARITH_NOTIMPL:
    case JERR_BAD_PRECISION:
    case JERR_CCIR601_NOTIMPL:
    case JERR_COMPONENT_COUNT:
    case JERR_CONVERSION_NOTIMPL:
    case JERR_FRACT_SAMPLE_NOTIMPL:
    case JERR_NOTIMPL:
    case JERR_NOT_COMPILED:
    case JERR_SOF_UNSUPPORTED:
        return NX_ERR_UNSUPPORTED;
    default:
        return NX_ERR_CORRUPT;
    }
}

_Noreturn static void give_up(jpeg_reader *reader, nx_status status)
{
    reader->status = status;
    longjmp(reader->jump, 1);
}

_Noreturn static void on_error(j_common_ptr cinfo)
{
    jpeg_reader *reader = cinfo->client_data;
    cinfo->err->format_message(cinfo, reader->reason);
    give_up(reader, status_of(cinfo->err->msg_code));
}

/* Traces have levels from 0 on, warnings -1. A warning that tells of damage ends the decoding. */
static void on_message(j_common_ptr cinfo, int level)
{
    if (level >= 0) {
        return;
    }
    jpeg_reader *reader = cinfo->client_data;
    switch (cinfo->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_BOGUS_ICC:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_NOT_SEQUENTIAL:
        return;
    case JWRN_JPEG_EOF:
        /* No harm yet: libjpeg reads ahead, and many files lack just the end marker. When data is
         * really missing another warning follows, or check_scans finds out. */
        reader->ended_early = true;
        return;
    default:
        on_error(cinfo);
    }
}

static void on_output(j_common_ptr cinfo)
{
    (void)cinfo; /* nothing is ever printed */
}

/* Called for each row of blocks while the scans of a progressive picture are collected. */
static void on_progress(j_common_ptr cinfo)
{
    jpeg_reader *reader = cinfo->client_data;
    if (reader->cinfo.input_scan_number > MAX_SCANS) {
        snprintf(reader->reason, sizeof reader->reason,
                 "it has more than %d scans, real pictures have about 10", MAX_SCANS);
        give_up(reader, NX_ERR_CORRUPT);
    }
}

typedef void jpeg_step(jpeg_reader *reader);

static bool run_step(jpeg_reader *reader, jpeg_step *step)
{
    if (setjmp(reader->jump) != 0) {
        return false;
    }
    step(reader);
    return true;
}

static void step_read_header(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    jpeg_create_decompress(cinfo);
    cinfo->progress = &reader->progress;
    jpeg_save_markers(cinfo, JPEG_APP0 + 1, 0xffff);
    jpeg_mem_src(cinfo, reader->in->data, reader->in->size);
    jpeg_read_header(cinfo, TRUE);
    reader->header_read = true;
}

/* Zero-initialised, a reader can be closed whether or not this succeeded. */
static bool open_reader(jpeg_reader *reader, const nx_encoded *in)
{
    reader->in = in;
    reader->cinfo.err = jpeg_std_error(&reader->callbacks);
    reader->callbacks.error_exit = on_error;
    reader->callbacks.emit_message = on_message;
    reader->callbacks.output_message = on_output;
    reader->progress.progress_monitor = on_progress;
    reader->cinfo.client_data = reader;
    return run_step(reader, step_read_header);
}

static void close_reader(jpeg_reader *reader)
{
    jpeg_destroy_decompress(&reader->cinfo);
}

static unsigned current_row(const jpeg_reader *reader)
{
    const struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    uint64_t row = (uint64_t)cinfo->input_iMCU_row * (unsigned)cinfo->max_v_samp_factor * DCTSIZE;
    return row < cinfo->image_height ? (unsigned)row : cinfo->image_height;
}

/* Says why the last step failed, and where. */
static nx_status report(const jpeg_reader *reader, nx_error *err)
{
    if (reader->status == NX_ERR_UNSUPPORTED) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "this kind of JPEG is not supported (%s): save it as an 8-bit baseline "
                            "or progressive JPEG",
                            reader->reason);
    }
    if (reader->status != NX_ERR_CORRUPT) {
        return nx_error_set(err, reader->status, "the JPEG cannot be decoded: %s", reader->reason);
    }
    if (!reader->header_read) {
        return reader->ended_early
                   ? nx_error_set(
                         err, NX_ERR_CORRUPT,
                         "the JPEG ends inside its header (%zu bytes): send the whole file",
                         reader->in->size)
                   : nx_error_set(err, NX_ERR_CORRUPT, "the JPEG's header is damaged: %s",
                                  reader->reason);
    }
    return nx_error_set(err, NX_ERR_CORRUPT, "the JPEG %s near row %u of %u: %s",
                        reader->ended_early ? "ends early," : "is damaged", current_row(reader),
                        reader->cinfo.image_height, reader->reason);
}

static uint8_t find_orientation(const jpeg_reader *reader)
{
    static const char exif[6] = "Exif\0";
    for (jpeg_saved_marker_ptr m = reader->cinfo.marker_list; m != NULL; m = m->next) {
        /* XMP lives in APP1 too */
        if (m->data_length >= sizeof exif && memcmp(m->data, exif, sizeof exif) == 0) {
            return nx_exif_orientation(m->data, m->data_length);
        }
    }
    return 1;
}

/* The header's facts, within the limit. */
static nx_status read_info(const jpeg_reader *reader, nx_image_info *stored, nx_error *err)
{
    stored->width = reader->cinfo.image_width;
    stored->height = reader->cinfo.image_height;
    stored->orientation = find_orientation(reader);
    return nx_check_pixels("JPEG", stored->width, stored->height, reader->in->max_pixels, err);
}

nx_status nx_jpeg_probe(const nx_encoded *in, nx_image_info *stored, nx_error *err)
{
    jpeg_reader reader = {0};
    nx_status status =
        open_reader(&reader, in) ? read_info(&reader, stored, err) : report(&reader, err);
    close_reader(&reader);
    return status;
}

/* The strongest of 1/8, 1/4 and 1/2 that leaves both sides at least as large as the target. */
static unsigned choose_scale(const nx_image_info *stored, nx_target target)
{
    int swap = nx_orientation_transposes(stored->orientation);
    uint32_t width = swap ? target.height : target.width;
    uint32_t height = swap ? target.width : target.height;
    if (width == 0 || height == 0) {
        return 1;
    }
    for (unsigned divisor = 8; divisor > 1; divisor /= 2) {
        /* libjpeg rounds a scaled side up; its sides end at 65500, so nothing overflows */
        if ((stored->width + divisor - 1) / divisor >= width &&
            (stored->height + divisor - 1) / divisor >= height) {
            return divisor;
        }
    }
    return 1;
}

static void step_plan_output(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    bool four = cinfo->jpeg_color_space == JCS_CMYK || cinfo->jpeg_color_space == JCS_YCCK;
    cinfo->out_color_space = four ? JCS_CMYK : JCS_RGB;
    jpeg_calc_output_dimensions(cinfo);
}

/* jpeg_start_decompress has collected all scans of a picture that has several: did all come? */
static void check_scans(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    if (!jpeg_has_multiple_scans(cinfo)) {
        return;
    }
    bool missing = reader->ended_early;
    for (int i = 0; i < cinfo->num_components; i++) {
        /* libjpeg saves the table when the first scan of the component begins */
        missing = missing || cinfo->comp_info[i].quant_table == NULL;
    }
    if (missing) {
        snprintf(reader->reason, sizeof reader->reason, "scans are missing after scan %d",
                 cinfo->input_scan_number);
        give_up(reader, NX_ERR_CORRUPT);
    }
}

/*
 * Adobe stores CMYK inverted (0 is full ink), and every reader of note takes four components to be
 * so even without Adobe's marker.
 */
static void convert_cmyk_row(const uint8_t *cmyk, uint8_t *rgb, uint32_t width)
{
    for (uint32_t x = 0; x < width; x++, cmyk += 4, rgb += 3) {
        unsigned key = cmyk[3];
        for (int i = 0; i < 3; i++) {
            rgb[i] = (uint8_t)((cmyk[i] * key + 127) / 255);
        }
    }
}

static void read_cmyk_rows(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    JSAMPARRAY row =
        cinfo->mem->alloc_sarray((j_common_ptr)cinfo, JPOOL_IMAGE, cinfo->output_width * 4, 1);
    while (cinfo->output_scanline < cinfo->output_height) {
        uint8_t *rgb = reader->out->pixels + cinfo->output_scanline * reader->out->stride;
        jpeg_read_scanlines(cinfo, row, 1);
        convert_cmyk_row(row[0], rgb, reader->out->width);
    }
}

static void read_rgb_rows(jpeg_reader *reader)
{
    struct jpeg_decompress_struct *cinfo = &reader->cinfo;
    while (cinfo->output_scanline < cinfo->output_height) {
        JSAMPROW row = reader->out->pixels + cinfo->output_scanline * reader->out->stride;
        jpeg_read_scanlines(cinfo, &row, 1);
    }
}

/* jpeg_finish_decompress is not called: it would only look for the end marker. */
static void step_read_pixels(jpeg_reader *reader)
{
    jpeg_start_decompress(&reader->cinfo);
    check_scans(reader);
    if (reader->cinfo.out_color_space == JCS_CMYK) {
        read_cmyk_rows(reader);
    } else {
        read_rgb_rows(reader);
    }
}

static nx_status decode(jpeg_reader *reader, nx_target target, nx_image *out, nx_image_info *stored,
                        nx_error *err)
{
    nx_status status = read_info(reader, stored, err);
    if (status != NX_OK) {
        return status;
    }
    reader->cinfo.scale_num = 1;
    reader->cinfo.scale_denom = choose_scale(stored, target);
    if (!run_step(reader, step_plan_output)) {
        return report(reader, err);
    }
    status = nx_image_alloc(reader->cinfo.output_width, reader->cinfo.output_height, out, err);
    if (status != NX_OK) {
        return status;
    }
    reader->out = out;
    return run_step(reader, step_read_pixels) ? NX_OK : report(reader, err);
}

nx_status nx_jpeg_decode(const nx_encoded *in, nx_target target, nx_image *out,
                         nx_image_info *stored, nx_error *err)
{
    jpeg_reader reader = {0};
    nx_status status =
        open_reader(&reader, in) ? decode(&reader, target, out, stored, err) : report(&reader, err);
    close_reader(&reader);
    return status;
}

/* nexus segment: a picture, points and boxes in, masks out. */
#include "base/file.h"
#include "cli/cli.h"
#include "cli/setup.h"
#include "jobs/segment_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES ((size_t)1 << 30)

typedef struct segment_run {
    const nx_cli_args *args;
    const char *path;
    nx_mask_format mask_format;
    nx_runtime *runtime;
    nx_engine *engine;
    nx_sam *sam;
    char *cache_dir;
    nx_buffer bytes;
    nx_segment_job *job;
} segment_run;

/* Gives each line of an option's value to parse. */
static nx_status parse_lines(const char *lines, nx_sam_prompt *prompt,
                             nx_status (*parse)(nx_sam_prompt *, const char *, nx_error *),
                             nx_error *err)
{
    nx_status status = NX_OK;
    for (const char *at = lines; at != NULL && status == NX_OK;) {
        char line[128];
        size_t size = strcspn(at, "\n");
        snprintf(line, sizeof line, "%.*s", (int)(size < sizeof line ? size : sizeof line - 1), at);
        status = parse(prompt, line, err);
        at = at[size] == '\n' ? at + size + 1 : NULL;
    }
    return status;
}

static nx_status read_prompt(const nx_cli_args *args, nx_sam_prompt *out, nx_error *err)
{
    nx_status status =
        parse_lines(nx_cli_value(args, "point"), out, nx_sam_prompt_parse_point, err);
    if (status == NX_OK) {
        status = parse_lines(nx_cli_value(args, "box"), out, nx_sam_prompt_parse_box, err);
    }
    if (status == NX_OK && out->point_count + out->box_count == 0) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "say what to segment, with --point X,Y or --box X1,Y1,X2,Y2");
    }
    if (status == NX_OK) {
        status = nx_sam_prompt_check(out, err);
    }
    out->multimask = nx_cli_value(args, "multimask") != NULL;
    return status == NX_OK ? NX_OK : NX_ERR_INVALID; /* too many of them is a usage error too */
}

static bool wants_mask_png(const nx_cli_args *args)
{
    const char *output = nx_cli_value(args, "output");
    const char *dot = output != NULL ? strrchr(output, '.') : NULL;
    return dot != NULL && strcmp(dot, ".png") == 0;
}

static bool wants_json(const nx_cli_args *args)
{
    const char *format = nx_cli_value(args, "format");
    return format != NULL && strcmp(format, "json") == 0;
}

static nx_status start(segment_run *run, nx_error *err)
{
    const nx_config *config = run->args->config;
    nx_status status = nx_setup_runtime(config, &run->runtime, err);
    if (status == NX_OK) {
        const nx_engine_options options = {.workers = 1, .runtime = run->runtime};
        status = nx_engine_new(&options, &run->engine, err);
    }
    if (status == NX_OK) {
        run->cache_dir = nx_setup_cache_dir(config);
        status = nx_setup_sam(config, run->runtime, run->cache_dir, &run->sam, err);
    }
    return status;
}

/* Reads the picture and segments it. */
static nx_status segment(segment_run *run, nx_error *err)
{
    nx_segment_job_options options = {
        .mask_png = wants_mask_png(run->args),
        .annotate =
            nx_cli_value(run->args, "annotate") != NULL ? NX_ANNOTATE_JPEG : NX_ANNOTATE_NONE,
        .json = {.wanted = wants_json(run->args),
                 .format = run->mask_format,
                 .name = "source",
                 .value = run->path},
        .max_pixels = (uint64_t)nx_config_int(run->args->config, NX_CONFIG_MAX_IMAGE_PIXELS),
    };
    nx_status status = read_prompt(run->args, &options.prompt, err);
    if (status == NX_OK) {
        status = nx_file_read(run->path, MAX_FILE_BYTES, &run->bytes, err);
    }
    if (status == NX_OK) {
        status = start(run, err);
    }
    if (status == NX_OK) {
        status = nx_segment_job_new(run->sam, run->engine, run->bytes.data, run->bytes.size,
                                    &options, &run->job, err);
        if (status == NX_ERR_INVALID) {
            nx_error_prefix(err, "%s", run->path);
        }
    }
    if (status == NX_OK) {
        status = nx_segment_job_run(run->job, err);
    }
    return status;
}

/* --- output -------------------------------------------------------------------------------------
 */

static void write_text(const segment_run *run, const nx_segment_result *result, nx_buffer *out)
{
    nx_buffer_append_printable(out, run->path);
    nx_buffer_printf(out, "  %ux%u  %zu mask%s  (%.0f ms: encoder %.0f, decoder %.0f)\n",
                     result->image_width, result->image_height, result->masks->count,
                     result->masks->count == 1 ? "" : "s", result->timings.total,
                     result->timings.encoder, result->timings.decoder);
    double pixels = (double)result->image_width * result->image_height;
    for (size_t i = 0; i < result->masks->count; i++) {
        const nx_sam_mask_item *item = &result->masks->items[i];
        nx_mask_box box = nx_rle_box(&item->rle);
        uint32_t area = nx_rle_area(&item->rle);
        nx_buffer_printf(out, "  %.3f  %u,%u,%u,%u  %u pixels (%.1f %%)\n", (double)item->score,
                         box.left, box.top, box.right, box.bottom, area, 100 * area / pixels);
    }
}

/* DIR/STEM.jpg, the picture with its masks. */
static nx_status write_annotated(const segment_run *run, const char *dir, nx_error *err)
{
    nx_buffer picture = nx_segment_job_take_picture(run->job);
    const char *slash = strrchr(run->path, '/');
    const char *name = strcmp(run->path, "-") == 0 ? "stdin"
                       : slash != NULL             ? slash + 1
                                                   : run->path;
    const char *dot = strrchr(name, '.');
    int length = (int)(dot != NULL && dot != name ? (size_t)(dot - name) : strlen(name));
    char *path = NULL;
    nx_status status = nx_file_make_dirs(dir, err);
    if (status == NX_OK && asprintf(&path, "%s/%.*s.jpg", dir, length, name) < 0) {
        path = NULL;
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a file name");
    }
    if (status == NX_OK && strcmp(path, run->path) == 0) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "--annotate %s: the picture to read is there, and would be "
                              "overwritten; use another folder",
                              dir);
    }
    if (status == NX_OK) {
        status = nx_file_write(path, picture.data, picture.size, err);
    }
    free(path);
    nx_buffer_free(&picture);
    return status;
}

/* The text goes to standard output, or into --output when that is no PNG. */
static nx_status write_output(const segment_run *run, nx_buffer *text, nx_error *err)
{
    const nx_segment_result result = nx_segment_job_result(run->job);
    const char *output = nx_cli_value(run->args, "output");
    const char *annotate = nx_cli_value(run->args, "annotate");
    nx_status status = NX_OK;
    if (wants_json(run->args)) {
        *text = nx_segment_job_take_json(run->job);
        nx_buffer_append_char(text, '\n');
    } else {
        write_text(run, &result, text);
    }
    if (status == NX_OK && annotate != NULL) {
        status = write_annotated(run, annotate, err);
    }
    if (status == NX_OK && wants_mask_png(run->args)) {
        nx_buffer png = nx_segment_job_take_mask_png(run->job);
        status = nx_file_write(output, png.data, png.size, err);
        nx_buffer_free(&png);
    } else if (status == NX_OK && output != NULL && strcmp(output, "-") != 0) {
        status = nx_file_write(output, text->data, text->size, err);
        nx_buffer_free(text);
    }
    return status;
}

static int run(const nx_cli_args *args)
{
    nx_error err = {0};
    nx_buffer text = NX_BUFFER_INIT;
    segment_run state = {.args = args, .path = args->operands[0], .bytes = NX_BUFFER_INIT};
    const char *mask_format = nx_cli_value(args, "mask-format");
    (void)(mask_format != NULL && nx_mask_format_parse(mask_format, &state.mask_format));
    nx_status status = segment(&state, &err);
    if (status == NX_OK) {
        status = write_output(&state, &text, &err);
    }
    nx_engine_free(state.engine); /* before what its tasks use */
    nx_segment_job_free(state.job);
    nx_sam_free(state.sam);
    free(state.cache_dir);
    nx_runtime_free(state.runtime);
    nx_buffer_free(&state.bytes);
    if (status != NX_OK) {
        nx_buffer_free(&text);
        return nx_cli_fail(args, nx_cli_exit_code(status), &err);
    }
    return nx_cli_print(args, &text);
}

static const nx_cli_option options[] = {
    {"point", 'p', "X,Y[,0|1]...", "a point on the thing; with ,0 one that is not on it",
     NX_CLI_NO_KEY, NULL},
    {"box", 'b', "X1,Y1,X2,Y2...", "a box around the thing; several boxes give a mask each",
     NX_CLI_NO_KEY, NULL},
    {"multimask", 0, NULL, "three masks, from part to whole, instead of the best", NX_CLI_NO_KEY,
     NULL},
    {"format", 'f', "FORMAT", "text or json (default text)", NX_CLI_NO_KEY, "text|json"},
    {"mask-format", 0, "FORMAT", "masks in json: rle, polygon or png (default rle)", NX_CLI_NO_KEY,
     "rle|polygon|png"},
    {"output", 'o', "FILE", "a .png gets the mask; any other file gets the text", NX_CLI_NO_KEY,
     NULL},
    {"annotate", 'a', "DIR", "also write the picture with its masks drawn", NX_CLI_NO_KEY, NULL},
    {"model", 'm', "NAME[:VERSION]", "model that segments (NEXUS_SAM_MODEL; default mobile-sam)",
     NX_CONFIG_SAM_MODEL, NULL},
};

const nx_cli_command nx_cmd_segment = {
    .name = "segment",
    .operands = "PATH|-",
    .min_operands = 1,
    .max_operands = 1,
    .summary = "cut things out of a picture by points and boxes",
    .description =
        "Needs the segmentation model: 'nexus models pull mobile-sam'. Points together, or one "
        "box\n"
        "with points, describe one thing. Coordinates are pixels of the upright picture. A mask\n"
        "comes with its predicted quality (0..1), its box and its size.\n",
    .examples = "  nexus segment street.jpg --point 400,300\n"
                "  nexus segment street.jpg -p 400,300 -p 420,500,0 --output mask.png\n"
                "  nexus segment street.jpg --box 30,160,810,900 --format json\n"
                "  nexus segment street.jpg -p 400,300 --model my-sam:2\n",
    .options = options,
    .option_count = sizeof options / sizeof options[0],
    .uses_config = true,
    .run = run,
};

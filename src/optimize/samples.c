#include "optimize/samples.h"

#include "base/file.h"
#include "media/codec.h"
#include "media/video_reader.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

/* Files above this are not pictures that we decode. */
#define MAX_FILE_BYTES ((size_t)1 << 30)

typedef struct sample {
    char *name;     /* owned */
    char *path;     /* owned; NULL for a frame */
    nx_image frame; /* owned */
    uint32_t source_width, source_height;
} sample;

struct nx_samples {
    sample *items;
    size_t count;
    size_t capacity;
};

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for the pictures");
}

static void free_sample(sample *item)
{
    free(item->name);
    free(item->path);
    nx_image_free(&item->frame);
}

void nx_samples_free(nx_samples *samples)
{
    if (samples != NULL) {
        for (size_t i = 0; i < samples->count; i++) {
            free_sample(&samples->items[i]);
        }
        free(samples->items);
        free(samples);
    }
}

/* A new one at the end, zeroed; NULL without memory. */
static sample *add(nx_samples *samples)
{
    if (samples->count == samples->capacity) {
        size_t capacity = samples->capacity > 0 ? samples->capacity * 2 : 64;
        sample *grown = reallocarray(samples->items, capacity, sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        samples->items = grown;
        samples->capacity = capacity;
    }
    sample *item = &samples->items[samples->count++];
    *item = (sample){0};
    return item;
}

static bool add_file(nx_samples *samples, const char *folder, const char *name)
{
    sample *item = add(samples);
    if (item == NULL) {
        return false;
    }
    item->name = strdup(name);
    if (asprintf(&item->path, "%s/%s", folder, name) < 0) {
        item->path = NULL;
    }
    return item->name != NULL && item->path != NULL;
}

nx_status nx_samples_of_files(const char *folder, const char *const *names, size_t count,
                              nx_samples **out, nx_error *err)
{
    *out = calloc(1, sizeof **out);
    for (size_t i = 0; *out != NULL && i < count; i++) {
        if (!add_file(*out, folder, names[i])) {
            nx_samples_free(*out);
            *out = NULL;
        }
    }
    return *out != NULL ? NX_OK : no_memory(err);
}

/* --- a folder -----------------------------------------------------------------------------------
 */

static bool is_picture(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && name[0] != '.' && i < sizeof endings / sizeof endings[0];
         i++) {
        if (strcasecmp(dot, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

static int by_name(const void *left, const void *right)
{
    return strcmp(((const sample *)left)->name, ((const sample *)right)->name);
}

static nx_status list_folder(const char *path, nx_samples *samples, nx_error *err)
{
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot list %s", path);
    }
    bool enough = true;
    for (struct dirent *entry = readdir(dir); entry != NULL && enough; entry = readdir(dir)) {
        enough = !is_picture(entry->d_name) || add_file(samples, path, entry->d_name);
    }
    closedir(dir);
    if (!enough) {
        return no_memory(err);
    }
    if (samples->count == 0) {
        return nx_error_set(err, NX_ERR_NOT_FOUND,
                            "there are no pictures (.jpg, .jpeg, .png, .webp) in %s", path);
    }
    qsort(samples->items, samples->count, sizeof *samples->items, by_name);
    return NX_OK;
}

/* --- a video ------------------------------------------------------------------------------------
 */

/* The longer side of frames that are kept: what models look at. */
#define FRAME_SIDE 640
/* Between two frames that are taken, where a file doesn't say how many it has. */
#define USUAL_STEP 10

/* A frame scaled down, as an upright picture. */
static nx_status take_frame(nx_samples *samples, const nx_yuv_frame *frame, uint32_t rotation,
                            uint64_t number, nx_error *err)
{
    sample *item = add(samples);
    if (item == NULL || asprintf(&item->name, "frame %llu", (unsigned long long)number) < 0) {
        return no_memory(err);
    }
    uint32_t longer = frame->width > frame->height ? frame->width : frame->height;
    double scale = longer > FRAME_SIDE ? (double)FRAME_SIDE / longer : 1;
    uint32_t width = (uint32_t)(frame->width * scale + 0.5);
    uint32_t height = (uint32_t)(frame->height * scale + 0.5);
    width = width > 0 ? width : 1;
    height = height > 0 ? height : 1;
    nx_letterbox letterbox = nx_letterbox_fit(frame->width, frame->height, width, height, true);
    bool on_its_side = rotation % 180 != 0;
    item->source_width = on_its_side ? frame->height : frame->width;
    item->source_height = on_its_side ? frame->width : frame->height;
    item->frame = (nx_image){.pixels = malloc((size_t)3 * width * height),
                             .width = width,
                             .height = height,
                             .stride = (size_t)3 * width};
    if (item->frame.pixels == NULL) {
        return no_memory(err);
    }
    nx_status status =
        nx_letterbox_apply_yuv(&letterbox, frame, NX_PIXELS_RGB_BYTE_NHWC, item->frame.pixels, err);
    return status == NX_OK ? nx_video_turn(&item->frame, rotation, err) : status;
}

static nx_status list_video(const char *path, size_t most, nx_samples *samples, nx_error *err)
{
    nx_video_reader *reader = NULL;
    nx_status status = nx_video_reader_open(path, 0, &reader, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_video_info *info = nx_video_reader_info(reader);
    uint64_t step = info->frames > 0 ? (uint64_t)info->frames / most : USUAL_STEP;
    bool end = false;
    step = step > 0 ? step : 1;
    for (uint64_t number = 0; status == NX_OK && !end && samples->count < most; number++) {
        nx_yuv_frame frame;
        status = nx_video_reader_next(reader, &frame, &end, err);
        if (status == NX_OK && !end && number % step == 0) {
            status = take_frame(samples, &frame, info->rotation, number, err);
        }
    }
    nx_video_reader_free(reader);
    return status;
}

nx_status nx_samples_open(const char *path, size_t most, nx_samples **out, nx_error *err)
{
    struct stat info;
    *out = NULL;
    if (stat(path, &info) != 0) {
        return nx_error_set_errno(err, NX_ERR_NOT_FOUND, errno, "cannot read %s", path);
    }
    nx_samples *samples = calloc(1, sizeof *samples);
    if (samples == NULL) {
        return no_memory(err);
    }
    nx_status status = S_ISDIR(info.st_mode) ? list_folder(path, samples, err)
                                             : list_video(path, most, samples, err);
    if (status != NX_OK) {
        nx_samples_free(samples);
        return status;
    }
    nx_samples_thin(samples, most);
    *out = samples;
    return NX_OK;
}

/* --- use ----------------------------------------------------------------------------------------
 */

size_t nx_samples_count(const nx_samples *samples)
{
    return samples->count;
}

const char *nx_samples_name(const nx_samples *samples, size_t i)
{
    return samples->items[i].name;
}

nx_status nx_samples_split(nx_samples *samples, nx_samples **out, nx_error *err)
{
    size_t kept = 0;
    nx_samples *other = calloc(1, sizeof *other);
    sample *items = calloc(samples->count / 2 + 1, sizeof *items);
    *out = NULL;
    if (other == NULL || items == NULL) {
        free(other);
        free(items);
        return no_memory(err);
    }
    other->items = items;
    other->capacity = samples->count / 2 + 1;
    for (size_t i = 0; i < samples->count; i++) {
        if (i % 2 == 1) {
            other->items[other->count++] = samples->items[i];
        } else {
            samples->items[kept++] = samples->items[i];
        }
    }
    samples->count = kept;
    *out = other;
    return NX_OK;
}

void nx_samples_thin(nx_samples *samples, size_t most)
{
    size_t count = samples->count;
    if (most == 0 || count <= most) {
        return;
    }
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        if (kept < most && i == kept * count / most) {
            samples->items[kept++] = samples->items[i];
        } else {
            free_sample(&samples->items[i]);
        }
    }
    samples->count = kept;
}

static nx_status copy_frame(const sample *item, nx_sample *out, nx_error *err)
{
    nx_status status = nx_image_alloc(item->frame.width, item->frame.height, &out->image, err);
    if (status == NX_OK) {
        for (uint32_t y = 0; y < item->frame.height; y++) {
            memcpy(out->image.pixels + (size_t)y * out->image.stride,
                   item->frame.pixels + (size_t)y * item->frame.stride,
                   (size_t)3 * item->frame.width);
        }
        out->source_width = item->source_width;
        out->source_height = item->source_height;
    }
    return status;
}

nx_status nx_samples_read(const nx_samples *samples, size_t i, uint32_t size, nx_sample *out,
                          nx_error *err)
{
    const sample *item = &samples->items[i];
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_image_info info;
    *out = (nx_sample){0};
    if (item->path == NULL) {
        return copy_frame(item, out, err);
    }
    nx_status status = nx_file_read(item->path, MAX_FILE_BYTES, &bytes, err);
    if (status == NX_OK) {
        status = nx_image_probe(bytes.data, bytes.size, 0, &info, err);
    }
    if (status == NX_OK) {
        double longer = info.width > info.height ? info.width : info.height;
        double scale = longer > size ? size / longer : 1;
        const nx_decode_options options = {
            .target_width = (uint32_t)(info.width * scale + 0.5),
            .target_height = (uint32_t)(info.height * scale + 0.5),
        };
        status = nx_image_decode(bytes.data, bytes.size, &options, &out->image, NULL, err);
        out->source_width = info.width;
        out->source_height = info.height;
    }
    nx_buffer_free(&bytes);
    return status;
}

#include "eval/mot_file.h"

#include "base/file.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE  512
#define MAX_PIXEL 1e6
#define COLUMNS   7 /* that are read */

/* The line that is read, for messages. */
typedef struct place {
    const char *file;
    uint32_t line;
    nx_error *err;
} place;

void nx_mot_boxes_free(nx_mot_boxes *boxes)
{
    if (boxes != NULL) {
        free(boxes->items);
        *boxes = (nx_mot_boxes){0};
    }
}

static nx_status wrong(const place *at, const char *what)
{
    return nx_error_set(at->err, NX_ERR_INVALID,
                        "%.200s: line %" PRIu32 ": %s; a line is "
                        "frame,id,left,top,width,height,confidence",
                        at->file, at->line, what);
}

static bool read_whole(const char *text, int64_t low, int64_t high, int64_t *out)
{
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = value;
    end += strspn(end, " \t");
    return end != text && *end == '\0' && errno == 0 && value >= low && value <= high;
}

static bool read_number(const char *text, double *out)
{
    char *end = NULL;
    *out = strtod(text, &end);
    end += strspn(end, " \t");
    return end != text && *end == '\0' && fabs(*out) <= MAX_PIXEL; /* false for NAN */
}

static nx_status read_columns(const place *at, char *const *columns, size_t count, nx_mot_box *out)
{
    int64_t frame = 0;
    *out = (nx_mot_box){.confidence = 1, .line = at->line};
    if (count < COLUMNS - 1) {
        return wrong(at, "it has too few columns");
    }
    if (!read_whole(columns[0], 1, NX_MOT_MAX_FRAME, &frame)) {
        return wrong(at, "the frame is no whole number from 1 on");
    }
    out->frame = (int32_t)frame;
    if (!read_whole(columns[1], INT64_MIN, INT64_MAX, &out->id)) {
        return wrong(at, "the id is no whole number");
    }
    double *const numbers[] = {&out->x, &out->y, &out->width, &out->height, &out->confidence};
    for (size_t i = 2; i < count; i++) {
        if (!read_number(columns[i], numbers[i - 2])) {
            return wrong(at,
                         i < 6 ? "the box is not of four numbers" : "the confidence is no number");
        }
    }
    if (!(out->width > 0 && out->height > 0)) {
        return wrong(at, "the box has no area");
    }
    return NX_OK;
}

/* line: a copy to be taken apart. */
static nx_status read_line(const place *at, char *line, nx_mot_box *out)
{
    char *columns[COLUMNS];
    size_t count = 0;
    for (char *column = line; column != NULL && count < COLUMNS;) {
        char *comma = strchr(column, ',');
        columns[count++] = column;
        if (comma != NULL) {
            *comma++ = '\0';
        }
        column = comma;
    }
    return read_columns(at, columns, count, out);
}

static nx_status no_memory(const char *file, nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "%.200s: not enough memory to read it", file);
}

static bool add_box(nx_mot_boxes *boxes, size_t *capacity, const nx_mot_box *box)
{
    if (boxes->count == *capacity) {
        size_t more = *capacity > 0 ? *capacity * 2 : 256;
        nx_mot_box *grown = reallocarray(boxes->items, more, sizeof *grown);
        if (grown == NULL) {
            return false;
        }
        boxes->items = grown;
        *capacity = more;
    }
    boxes->items[boxes->count++] = *box;
    boxes->last_frame = box->frame > boxes->last_frame ? box->frame : boxes->last_frame;
    return true;
}

/* Reads every line; an empty one is let pass. */
static nx_status read_lines(const char *text, size_t size, bool truth, place *at, nx_mot_boxes *out)
{
    const char *end = text + size;
    size_t capacity = 0;
    nx_mot_box box;
    while (text < end) {
        char line[MAX_LINE];
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        size_t length = (size_t)((newline != NULL ? newline : end) - text);
        at->line++;
        if (length >= sizeof line || memchr(text, '\0', length) != NULL) {
            return wrong(at, "it is too long, or no text");
        }
        memcpy(line, text, length);
        text = newline != NULL ? newline + 1 : end;
        while (length > 0 && strchr(" \t\r", line[length - 1]) != NULL) {
            length--;
        }
        line[length] = '\0';
        if (length == 0) {
            continue;
        }
        nx_status status = read_line(at, line, &box);
        if (status != NX_OK) {
            return status;
        }
        if (!(truth && box.confidence == 0) && !add_box(out, &capacity, &box)) {
            return no_memory(at->file, at->err);
        }
    }
    return NX_OK;
}

static int by_frame(const void *left, const void *right)
{
    const nx_mot_box *a = left;
    const nx_mot_box *b = right;
    int order = (a->frame > b->frame) - (a->frame < b->frame);
    if (order == 0) {
        order = (a->id > b->id) - (a->id < b->id);
    }
    return order != 0 ? order : (a->line > b->line) - (a->line < b->line);
}

static nx_status sort(const char *file, nx_mot_boxes *boxes, nx_error *err)
{
    if (boxes->count > 1) {
        qsort(boxes->items, boxes->count, sizeof *boxes->items, by_frame);
    }
    for (size_t i = 1; i < boxes->count; i++) {
        const nx_mot_box *a = &boxes->items[i - 1];
        const nx_mot_box *b = &boxes->items[i];
        if (a->frame == b->frame && a->id == b->id) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "%.200s: line %" PRIu32 ": frame %" PRId32 " has the id %" PRId64
                                " already, in line %" PRIu32,
                                file, b->line, b->frame, b->id, a->line);
        }
    }
    return NX_OK;
}

nx_status nx_mot_parse(const char *text, size_t size, const char *file, bool truth,
                       nx_mot_boxes *out, nx_error *err)
{
    place at = {.file = file, .err = err};
    *out = (nx_mot_boxes){0};
    nx_status status = read_lines(text, size, truth, &at, out);
    if (status == NX_OK) {
        status = sort(file, out, err);
    }
    if (status != NX_OK) {
        nx_mot_boxes_free(out);
    }
    return status;
}

nx_status nx_mot_read(const char *path, bool truth, nx_mot_boxes *out, nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    *out = (nx_mot_boxes){0};
    nx_status status = nx_file_read(path, NX_MOT_MAX_FILE_BYTES, &text, err);
    if (status == NX_OK) {
        status = nx_mot_parse(text.data, text.size, path, truth, out, err);
    }
    nx_buffer_free(&text);
    return status;
}

void nx_mot_append(nx_buffer *out, const nx_mot_box *box)
{
    nx_buffer_printf(out, "%" PRId32 ",%" PRId64 ",%.2f,%.2f,%.2f,%.2f,%.4f,-1,-1,-1\n", box->frame,
                     box->id, box->x, box->y, box->width, box->height, box->confidence);
}

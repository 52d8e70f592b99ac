#include "vision/draw.h"

#include "base/utf8.h"

#include <cairo.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Longer names are cut; a model's metadata may hold anything. */
#define MAX_NAME_BYTES 64

/* cairo's surfaces end at 32767 pixels; no label is as wide as this. */
#define MAX_STRIP_WIDTH 16384

/* Whole pixels; right and bottom are the first outside. */
typedef struct rect {
    int32_t left, top, right, bottom;
} rect;

/*
 * Boxes and tabs are filled straight into the picture and only the text goes through cairo, on a
 * strip of coverage as high as one line: turning a whole 1080p picture into
 * cairo's four-byte pixels and back would take 4 ms, this way 20 labelled boxes take 1 ms.
 */
typedef struct painter {
    nx_image *image;
    int32_t line_width;
    int32_t padding; /* between a tab's edge and its text */
    int32_t tab_height;
    double baseline; /* from the tab's top */
    int32_t strip_width;
    cairo_surface_t *strip;
    cairo_t *cairo;
} painter;

uint32_t nx_draw_class_color(int32_t class_id)
{
    enum { LOW = 110, HIGH = 247 };
    uint64_t hue = (uint64_t)(uint32_t)class_id * 137508 % 360000;
    uint32_t step = (uint32_t)(hue % 60000 * (HIGH - LOW) / 60000);
    uint32_t up = LOW + step;
    uint32_t down = HIGH - step;
    switch (hue / 60000) {
    case 0:
        return (uint32_t)HIGH << 16 | up << 8 | LOW;
    case 1:
        return down << 16 | (uint32_t)HIGH << 8 | LOW;
    case 2:
        return (uint32_t)LOW << 16 | (uint32_t)HIGH << 8 | up;
    case 3:
        return (uint32_t)LOW << 16 | down << 8 | HIGH;
    case 4:
        return up << 16 | (uint32_t)LOW << 8 | HIGH;
    default:
        return (uint32_t)HIGH << 16 | (uint32_t)LOW << 8 | down;
    }
}

/* Sides over 2^30 do not occur, for three bytes a pixel would not fit into memory. */
static int32_t side(uint32_t pixels)
{
    return pixels < (1 << 30) ? (int32_t)pixels : 1 << 30;
}

/* Rounds, and brings anything, NaN too, into 0..limit. */
static int32_t to_pixel(float value, int32_t limit)
{
    if (!(value > 0.0f)) {
        return 0;
    }
    return value < (float)limit ? (int32_t)lrintf(value) : limit;
}

static int32_t clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

static void fill(nx_image *image, rect area, uint32_t color)
{
    const uint8_t rgb[3] = {(uint8_t)(color >> 16), (uint8_t)(color >> 8), (uint8_t)color};
    int32_t left = clamp(area.left, 0, side(image->width));
    int32_t right = clamp(area.right, 0, side(image->width));
    int32_t bottom = clamp(area.bottom, 0, side(image->height));
    for (int32_t y = clamp(area.top, 0, bottom); y < bottom; y++) {
        uint8_t *pixel = image->pixels + (size_t)y * image->stride + 3 * (size_t)left;
        for (int32_t x = left; x < right; x++, pixel += 3) {
            memcpy(pixel, rgb, 3);
        }
    }
}

/* One axis of the frame: the line's middle runs along the box. At the picture's edges the line
 * stays inside whole, and the tiniest box gets two lines' widths, so that it is seen. */
static void place_frame(float from, float to, int32_t line, int32_t limit, int32_t *low,
                        int32_t *high)
{
    int32_t least = limit < 2 * line ? limit : 2 * line;
    *low = clamp(to_pixel(from, limit) - line / 2, 0, limit - least);
    *high = clamp(to_pixel(to, limit) + line / 2, *low + least, limit);
}

static rect frame_of(const painter *p, const nx_detection *d)
{
    rect f;
    place_frame(d->x1, d->x2, p->line_width, side(p->image->width), &f.left, &f.right);
    place_frame(d->y1, d->y2, p->line_width, side(p->image->height), &f.top, &f.bottom);
    return f;
}

static void draw_frame(const painter *p, rect f, uint32_t color)
{
    int32_t line = p->line_width;
    fill(p->image, (rect){f.left, f.top, f.right, f.top + line}, color);
    fill(p->image, (rect){f.left, f.bottom - line, f.right, f.bottom}, color);
    fill(p->image, (rect){f.left, f.top, f.left + line, f.bottom}, color);
    fill(p->image, (rect){f.right - line, f.top, f.right, f.bottom}, color);
}

/* cairo refuses text that is not UTF-8, so what is not becomes "?". label has room for
 * MAX_NAME_BYTES and a NUL. Returns its length. */
static size_t clean_text(const char *given, char *label)
{
    size_t left = strnlen(given, MAX_NAME_BYTES);
    size_t used = 0;
    for (size_t i = 0; i < left;) {
        const unsigned char *at = (const unsigned char *)given + i;
        size_t length = *at < 0x80 ? 1 : nx_utf8_sequence(at, left - i);
        if (length == 0 || *at < 0x20) {
            label[used++] = '?';
            i++;
        } else {
            memcpy(label + used, at, length);
            used += length;
            i += length;
        }
    }
    label[used] = '\0';
    return used;
}

/* Blends black text, whose coverage lies in the strip, over the tab. */
static void blend_text(const painter *p, rect tab)
{
    cairo_surface_flush(p->strip);
    const uint8_t *coverage = cairo_image_surface_get_data(p->strip);
    size_t stride = (size_t)cairo_image_surface_get_stride(p->strip);
    for (int32_t y = tab.top; y < tab.bottom; y++) {
        const uint8_t *cover = coverage + (size_t)(y - tab.top) * stride;
        uint8_t *pixel = p->image->pixels + (size_t)y * p->image->stride + 3 * (size_t)tab.left;
        for (int32_t x = tab.left; x < tab.right; x++, cover++, pixel += 3) {
            for (int i = 0; i < 3; i++) {
                pixel[i] = (uint8_t)((pixel[i] * (255 - *cover) + 127) / 255);
            }
        }
    }
}

static void draw_text(const painter *p, rect tab, const char *label)
{
    cairo_set_operator(p->cairo, CAIRO_OPERATOR_CLEAR);
    cairo_rectangle(p->cairo, 0, 0, tab.right - tab.left, p->tab_height);
    cairo_fill(p->cairo);
    cairo_set_operator(p->cairo, CAIRO_OPERATOR_OVER);
    cairo_move_to(p->cairo, p->padding, p->baseline);
    cairo_show_text(p->cairo, label);
    blend_text(p, tab);
}

/* On top of the frame, or just inside it where the picture ends; moved left to stay inside. */
static void draw_label(const painter *p, rect frame, uint32_t color, const char *label)
{
    cairo_text_extents_t extents;
    cairo_text_extents(p->cairo, label, &extents);
    double width = ceil(extents.x_advance) + 2 * p->padding;
    int32_t tab_width = width < p->strip_width ? (int32_t)width : p->strip_width;
    int32_t left = clamp(frame.left, 0, side(p->image->width) - tab_width);
    int32_t top = frame.top >= p->tab_height ? frame.top - p->tab_height : frame.top;
    top = clamp(top, 0, side(p->image->height) - p->tab_height);
    rect tab = {left, top, left + tab_width, top + p->tab_height};
    fill(p->image, tab, color);
    draw_text(p, tab, label);
}

static nx_status check_cairo(const painter *p, nx_error *err)
{
    cairo_status_t status = cairo_status(p->cairo);
    if (status == CAIRO_STATUS_SUCCESS) {
        return NX_OK;
    }
    return nx_error_set(err, status == CAIRO_STATUS_NO_MEMORY ? NX_ERR_NO_MEMORY : NX_ERR_INTERNAL,
                        "the labels cannot be drawn: %s", cairo_status_to_string(status));
}

/* Creates the strip for the text, which is twice as high as the letters' nominal size. */
static nx_status open_strip(painter *p, int32_t text_size, nx_error *err)
{
    int32_t height = 2 * text_size + 2 * p->padding;
    p->strip_width = clamp(side(p->image->width), 1, MAX_STRIP_WIDTH);
    p->strip = cairo_image_surface_create(CAIRO_FORMAT_A8, p->strip_width, height);
    p->cairo = cairo_create(p->strip);
    cairo_select_font_face(p->cairo, "sans", CAIRO_FONT_SLANT_NORMAL, CAIRO_FONT_WEIGHT_BOLD);
    cairo_set_font_size(p->cairo, text_size);
    cairo_font_extents_t font = {0};
    cairo_font_extents(p->cairo, &font);
    p->tab_height = clamp((int32_t)ceil(font.ascent + font.descent) + 2 * p->padding, 1, height);
    p->baseline = p->padding + ceil(font.ascent);
    return check_cairo(p, err);
}

static void close_strip(painter *p)
{
    cairo_destroy(p->cairo);
    cairo_surface_destroy(p->strip);
}

/* What is written on the boxes: either labels, or names and confidences. */
typedef struct captions {
    const char *const *labels;
    nx_class_names names;
} captions;

static void draw_labels(const painter *p, const nx_detection *detections, size_t count,
                        const captions *what)
{
    for (size_t i = count; i-- > 0;) {
        const nx_detection *d = &detections[i];
        char label[MAX_NAME_BYTES + 16];
        const char *given =
            what->labels != NULL ? what->labels[i] : nx_class_name(what->names, d->class_id);
        size_t used = clean_text(given, label);
        if (what->labels == NULL) {
            snprintf(label + used, sizeof label - used, " %.2f", (double)d->confidence);
        }
        draw_label(p, frame_of(p, d), nx_draw_class_color(d->class_id), label);
    }
}

static nx_status draw(nx_image *image, const nx_detection *detections, size_t count,
                      const captions *what, nx_error *err)
{
    if (count == 0) {
        return NX_OK;
    }
    /* 640x360: lines of 2 and letters of 14 pixels; 1920x1080: 4 and 22 */
    int32_t mean_side = (int32_t)(((int64_t)side(image->width) + side(image->height)) / 2);
    painter p = {
        .image = image,
        .line_width = 1 + mean_side / 500,
        .padding = 1 + mean_side / 500,
    };
    for (size_t i = count; i-- > 0;) {
        draw_frame(&p, frame_of(&p, &detections[i]), nx_draw_class_color(detections[i].class_id));
    }
    nx_status status = open_strip(&p, 10 + mean_side / 125, err);
    if (status == NX_OK && p.tab_height <= side(image->height)) {
        draw_labels(&p, detections, count, what);
        status = check_cairo(&p, err);
    }
    close_strip(&p);
    return status;
}

nx_status nx_draw_detections(nx_image *image, const nx_detection *detections, size_t count,
                             nx_class_names names, nx_error *err)
{
    return draw(image, detections, count, &(captions){.names = names}, err);
}

nx_status nx_draw_labelled(nx_image *image, const nx_detection *detections, size_t count,
                           const char *const *labels, nx_error *err)
{
    return draw(image, detections, count, &(captions){.labels = labels}, err);
}

/*
 * Outlines of masks by following the edges between pixels ("crack following"; Rosenfeld and Kak,
 * "Digital Picture Processing", 1982, section 11.2), the mask on the right hand.
 */
#include "vision/mask.h"

#include <stdlib.h>
#include <string.h>

/* Clockwise on the screen, y growing downwards. */
enum { RIGHT, DOWN, LEFT, UP };

static const int32_t step_x[4] = {1, 0, -1, 0};
static const int32_t step_y[4] = {0, 1, 0, -1};

/* The pixel before the right hand of someone who stands on a corner and looks in a direction, as an
 * offset from the corner; before the left hand it is that of the direction before. */
static const int32_t ahead_x[4] = {0, -1, -1, 0};
static const int32_t ahead_y[4] = {0, 0, -1, -1};

typedef struct tracer {
    const nx_mask *mask;
    uint8_t *seen; /* pixels whose top edge was walked along */
    nx_vertex *line;
    size_t count, capacity;
} tracer;

static bool pixel(const nx_mask *mask, int64_t x, int64_t y)
{
    return x >= 0 && y >= 0 && x < mask->width && y < mask->height &&
           mask->bits[(size_t)y * mask->width + (size_t)x] != 0;
}

static bool add_vertex(tracer *t, int32_t x, int32_t y)
{
    if (t->count == t->capacity) {
        size_t capacity = t->capacity == 0 ? 64 : t->capacity * 2;
        nx_vertex *line = realloc(t->line, capacity * sizeof *line);
        if (line == NULL) {
            return false;
        }
        t->line = line;
        t->capacity = capacity;
    }
    t->line[t->count++] = (nx_vertex){x, y};
    return true;
}

/* Where to go on from a corner: to the right where the mask ends there, to the left where it stands
 * in the way. Right first: pixels that touch at a corner are apart. */
static int turn(const nx_mask *mask, int32_t x, int32_t y, int direction)
{
    int left = (direction + 3) % 4;
    if (!pixel(mask, (int64_t)x + ahead_x[direction], (int64_t)y + ahead_y[direction])) {
        return (direction + 1) % 4;
    }
    return pixel(mask, (int64_t)x + ahead_x[left], (int64_t)y + ahead_y[left]) ? left : direction;
}

/* Follows the line that begins with the top edge of a pixel. Its corners are left in t->line; the
 * first is its start. False: no memory. */
static bool follow(tracer *t, int32_t start_x, int32_t start_y)
{
    int32_t x = start_x;
    int32_t y = start_y;
    int direction = RIGHT;
    t->count = 0;
    do {
        if (direction == RIGHT) {
            t->seen[(size_t)y * t->mask->width + (size_t)x] = 1;
        }
        x += step_x[direction];
        y += step_y[direction];
        int next = turn(t->mask, x, y, direction);
        if (next != direction && !add_vertex(t, x, y)) {
            return false;
        }
        direction = next;
    } while (x != start_x || y != start_y || direction != RIGHT);
    return true;
}

/* Twice the area, above 0 for an outline and below for a hole (the shoelace formula). */
static int64_t doubled_area(const nx_vertex *line, size_t count)
{
    int64_t sum = 0;
    for (size_t i = 0; i < count; i++) {
        const nx_vertex *a = &line[i];
        const nx_vertex *b = &line[(i + 1) % count];
        sum += (int64_t)a->x * b->y - (int64_t)b->x * a->y;
    }
    return sum;
}

/* --- simplifying --------------------------------------------------------------------------------
 */

/* The square of the distance of p from the segment ab. */
static double distance(const nx_vertex *p, const nx_vertex *a, const nx_vertex *b)
{
    double dx = b->x - a->x;
    double dy = b->y - a->y;
    double px = p->x - a->x;
    double py = p->y - a->y;
    double length = dx * dx + dy * dy;
    double along = length > 0 ? (px * dx + py * dy) / length : 0;
    along = along < 0 ? 0 : along > 1 ? 1 : along;
    px -= along * dx;
    py -= along * dy;
    return px * px + py * py;
}

/* The vertex between from and to (which wraps round at count) that lies furthest off the straight
 * line, when that is further than the tolerance; else from. */
static size_t furthest(const nx_vertex *line, size_t count, size_t from, size_t to, double squared)
{
    size_t found = from;
    for (size_t i = from + 1; i < to; i++) {
        double d = distance(&line[i], &line[from], &line[to % count]);
        if (d > squared) {
            squared = d;
            found = i;
        }
    }
    return found;
}

/* Marks the vertices to keep. stack has room for 2 * count + 4 indexes. */
static void choose(const nx_vertex *line, size_t count, double tolerance, uint8_t *keep,
                   size_t *stack)
{
    size_t depth = 0;
    size_t opposite = furthest(line, count, 0, count, 0); /* from 0 to 0: the furthest from it */
    keep[0] = keep[opposite] = 1;
    stack[depth++] = 0;
    stack[depth++] = opposite;
    stack[depth++] = opposite;
    stack[depth++] = count;
    while (depth > 0) {
        size_t to = stack[--depth];
        size_t from = stack[--depth];
        size_t middle = furthest(line, count, from, to, tolerance * tolerance);
        if (middle != from) {
            keep[middle] = 1;
            stack[depth++] = from;
            stack[depth++] = middle;
            stack[depth++] = middle;
            stack[depth++] = to;
        }
    }
}

/* Copies the kept vertices of t->line; all of them where too few would be left for an area. */
static bool copy_ring(const tracer *t, double tolerance, nx_ring *out)
{
    uint8_t *keep = calloc(t->count, 1);
    size_t *stack = malloc((2 * t->count + 4) * sizeof *stack);
    out->vertices = calloc(t->count, sizeof *out->vertices);
    bool ok = keep != NULL && stack != NULL && out->vertices != NULL;
    if (ok && tolerance > 0) {
        choose(t->line, t->count, tolerance, keep, stack);
        for (size_t i = 0; i < t->count; i++) {
            if (keep[i] != 0) {
                out->vertices[out->count++] = t->line[i];
            }
        }
    }
    if (ok && (out->count < 3 || doubled_area(out->vertices, out->count) == 0)) {
        memcpy(out->vertices, t->line, t->count * sizeof *t->line);
        out->count = t->count;
    }
    free(keep);
    free(stack);
    return ok;
}

/* --- all of them --------------------------------------------------------------------------------
 */

void nx_polygons_free(nx_polygons *polygons)
{
    if (polygons != NULL) {
        for (size_t i = 0; i < polygons->count; i++) {
            free(polygons->rings[i].vertices);
        }
        free(polygons->rings);
        *polygons = (nx_polygons){0};
    }
}

static bool add_ring(const tracer *t, double tolerance, nx_polygons *out)
{
    if (t->count < 4) { /* no closed line has fewer corners */
        return true;
    }
    if (out->count == out->capacity) {
        size_t capacity = out->capacity == 0 ? 4 : out->capacity * 2;
        nx_ring *rings = realloc(out->rings, capacity * sizeof *rings);
        if (rings == NULL) {
            return false;
        }
        out->rings = rings;
        out->capacity = capacity;
    }
    nx_ring *ring = &out->rings[out->count++]; /* counted even when it fails, to be freed */
    *ring = (nx_ring){.hole = doubled_area(t->line, t->count) < 0};
    return copy_ring(t, tolerance, ring);
}

static bool trace(tracer *t, double tolerance, nx_polygons *out)
{
    const nx_mask *mask = t->mask;
    for (uint32_t y = 0; y < mask->height; y++) {
        const uint8_t *row = mask->bits + (size_t)y * mask->width;
        for (uint32_t x = 0; x < mask->width; x++) {
            if (row[x] != 0 && t->seen[(size_t)y * mask->width + x] == 0 &&
                !pixel(mask, x, (int64_t)y - 1) &&
                !(follow(t, (int32_t)x, (int32_t)y) && add_ring(t, tolerance, out))) {
                return false;
            }
        }
    }
    return true;
}

nx_status nx_mask_polygons(const nx_mask *mask, double tolerance, nx_polygons *out, nx_error *err)
{
    *out = (nx_polygons){0};
    tracer t = {.mask = mask};
    t.seen = calloc((size_t)mask->width * mask->height, 1);
    bool ok = t.seen != NULL && trace(&t, tolerance, out);
    free(t.seen);
    free(t.line);
    if (!ok) {
        nx_polygons_free(out);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a mask's outline");
    }
    return NX_OK;
}

#include "analytics/motion_gate.h"

#include "analytics/state.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define KIND    "NXMOGATE"
#define VERSION 1
#define WHAT    "motion gate"

#define CELL        4   /* pixels a side */
#define BLOCK       4   /* cells a side */
#define LEVEL       256 /* what one of 255 levels is in a cell */
#define MAX_TIME_NS (INT64_C(1) << 61)
#define MAX_COUNT   (UINT64_C(1) << 60)
#define MAX_SPAN_NS (INT64_C(3600) * 1000000000)

struct nx_motion_gate {
    nx_motion_gate_options options;
    bool started;
    int64_t now_ns;
    int64_t moved_ns;  /* the last movement */
    int64_t opened_ns; /* the last frame that was let through */
    uint64_t seen, skipped;
    uint32_t width, height; /* pixels of the frames */
    uint32_t columns, rows; /* cells */
    uint16_t *still;        /* the picture to compare with: levels * LEVEL */
    uint16_t *cells;        /* the frame's own */
};

nx_motion_gate_options nx_motion_gate_defaults(void)
{
    return (nx_motion_gate_options){
        .threshold = 6,
        .blocks = 2,
        .follow = 1,
        .linger_ns = 200 * NX_NS_PER_MS,
        .refresh_ns = 2 * NX_NS_PER_SEC,
    };
}

static nx_status check_options(const nx_motion_gate_options *o, nx_error *err)
{
    if (!(o->threshold >= 0 && o->threshold <= 255) || !(o->follow >= 0 && o->follow <= 255)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the motion gate's levels are %g and %g; they must be 0 to 255",
                            o->threshold, o->follow);
    }
    if (o->blocks < 1 || o->blocks > NX_MOTION_GATE_MAX_SIDE * NX_MOTION_GATE_MAX_SIDE) {
        return nx_error_set(err, NX_ERR_INVALID, "%" PRIu32 " blocks cannot open a motion gate",
                            o->blocks);
    }
    if (o->linger_ns < 0 || o->linger_ns > MAX_SPAN_NS || o->refresh_ns <= 0 ||
        o->refresh_ns > MAX_SPAN_NS) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the motion gate's times must be 0 to 3600 s, and its refresh over 0");
    }
    return NX_OK;
}

void nx_motion_gate_free(nx_motion_gate *gate)
{
    if (gate != NULL) {
        free(gate->still);
        free(gate->cells);
        free(gate);
    }
}

nx_status nx_motion_gate_new(const nx_motion_gate_options *options, nx_motion_gate **out,
                             nx_error *err)
{
    *out = NULL;
    nx_status status = check_options(options, err);
    if (status != NX_OK) {
        return status;
    }
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a motion gate");
    }
    (*out)->options = *options;
    return NX_OK;
}

/* --- a frame ------------------------------------------------------------------------------------
 */

static nx_status resize(nx_motion_gate *g, uint32_t width, uint32_t height, nx_error *err)
{
    uint32_t columns = (width + CELL - 1) / CELL;
    uint32_t rows = (height + CELL - 1) / CELL;
    uint16_t *still = calloc((size_t)columns * rows, sizeof *still);
    uint16_t *cells = calloc((size_t)columns * rows, sizeof *cells);
    if (still == NULL || cells == NULL) {
        free(still);
        free(cells);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a motion gate");
    }
    free(g->still);
    free(g->cells);
    g->still = still;
    g->cells = cells;
    g->width = width;
    g->height = height;
    g->columns = columns;
    g->rows = rows;
    return NX_OK;
}

/* Brightness * 256: ITU-R BT.601's weights. */
static uint32_t brightness(const uint8_t *pixel, uint32_t channels)
{
    return channels == 1 ? pixel[0] * 256U : pixel[0] * 77U + pixel[1] * 150U + pixel[2] * 29U;
}

static uint16_t mean_of_cell(const nx_motion_frame *frame, uint32_t column, uint32_t row)
{
    uint32_t right = (column + 1) * CELL < frame->width ? (column + 1) * CELL : frame->width;
    uint32_t bottom = (row + 1) * CELL < frame->height ? (row + 1) * CELL : frame->height;
    uint32_t sum = 0;
    for (uint32_t y = row * CELL; y < bottom; y++) {
        const uint8_t *pixels = frame->pixels + y * frame->stride;
        for (uint32_t x = column * CELL; x < right; x++) {
            sum += brightness(pixels + (size_t)x * frame->channels, frame->channels);
        }
    }
    return (uint16_t)(sum / ((right - column * CELL) * (bottom - row * CELL)));
}

static bool block_moved(const nx_motion_gate *g, uint32_t left, uint32_t top)
{
    uint32_t right = left + BLOCK < g->columns ? left + BLOCK : g->columns;
    uint32_t bottom = top + BLOCK < g->rows ? top + BLOCK : g->rows;
    uint32_t sum = 0;
    for (uint32_t y = top; y < bottom; y++) {
        for (uint32_t x = left; x < right; x++) {
            size_t i = (size_t)y * g->columns + x;
            sum += (uint32_t)abs(g->cells[i] - g->still[i]);
        }
    }
    return sum > g->options.threshold * LEVEL * ((right - left) * (bottom - top));
}

static bool has_moved(const nx_motion_gate *g)
{
    uint32_t moved = 0;
    for (uint32_t top = 0; top < g->rows; top += BLOCK) {
        for (uint32_t left = 0; left < g->columns; left += BLOCK) {
            moved += block_moved(g, left, top);
            if (moved >= g->options.blocks) {
                return true;
            }
        }
    }
    return false;
}

/* The still picture follows the frame by at most `step`. */
static void follow(nx_motion_gate *g, int64_t gap_ns)
{
    double most = g->options.follow * LEVEL * (double)gap_ns / (double)NX_NS_PER_SEC;
    int32_t step = most < 65535 ? (int32_t)most : 65535;
    for (size_t i = 0; i < (size_t)g->columns * g->rows; i++) {
        int32_t difference = g->cells[i] - g->still[i];
        difference = difference > step ? step : difference < -step ? -step : difference;
        g->still[i] = (uint16_t)(g->still[i] + difference);
    }
}

static nx_status check_frame(const nx_motion_gate *g, int64_t time_ns, const nx_motion_frame *frame,
                             nx_error *err)
{
    if (time_ns < -MAX_TIME_NS || time_ns > MAX_TIME_NS || (g->started && time_ns <= g->now_ns)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a frame at %" PRId64 " ns follows one at %" PRId64
                            " ns; frames must come in the order of their times",
                            time_ns, g->now_ns);
    }
    if (frame->width < 1 || frame->width > NX_MOTION_GATE_MAX_SIDE || frame->height < 1 ||
        frame->height > NX_MOTION_GATE_MAX_SIDE || (frame->channels != 1 && frame->channels != 3) ||
        frame->stride < (size_t)frame->width * frame->channels) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a motion gate cannot look at %ux%u pixels of %u channels",
                            frame->width, frame->height, frame->channels);
    }
    return NX_OK;
}

nx_status nx_motion_gate_look(nx_motion_gate *g, int64_t time_ns, const nx_motion_frame *frame,
                              bool *open, nx_error *err)
{
    nx_status status = check_frame(g, time_ns, frame, err);
    bool fresh = !g->started || g->width != frame->width || g->height != frame->height;
    if (status == NX_OK && fresh) {
        status = resize(g, frame->width, frame->height, err);
    }
    if (status != NX_OK) {
        return status;
    }
    for (uint32_t row = 0; row < g->rows; row++) {
        for (uint32_t column = 0; column < g->columns; column++) {
            g->cells[(size_t)row * g->columns + column] = mean_of_cell(frame, column, row);
        }
    }
    bool moved = fresh || has_moved(g);
    g->moved_ns = moved ? time_ns : g->moved_ns;
    *open = moved || time_ns - g->moved_ns <= g->options.linger_ns ||
            time_ns - g->opened_ns >= g->options.refresh_ns;
    if (*open) {
        memcpy(g->still, g->cells, (size_t)g->columns * g->rows * sizeof *g->still);
        g->opened_ns = time_ns;
    } else {
        follow(g, time_ns - g->now_ns);
    }
    g->seen++;
    g->skipped += !*open;
    g->started = true;
    g->now_ns = time_ns;
    return NX_OK;
}

void nx_motion_gate_counts(const nx_motion_gate *gate, uint64_t *seen, uint64_t *skipped)
{
    *seen = gate->seen;
    *skipped = gate->skipped;
}

/* --- save and load ------------------------------------------------------------------------------
 */

void nx_motion_gate_save(const nx_motion_gate *g, nx_buffer *out)
{
    nx_state_begin(out, KIND, VERSION);
    nx_state_put_double(out, g->options.threshold);
    nx_state_put_u32(out, g->options.blocks);
    nx_state_put_double(out, g->options.follow);
    nx_state_put_i64(out, g->options.linger_ns);
    nx_state_put_i64(out, g->options.refresh_ns);
    nx_state_put_u32(out, g->started);
    nx_state_put_i64(out, g->now_ns);
    nx_state_put_i64(out, g->moved_ns);
    nx_state_put_i64(out, g->opened_ns);
    nx_state_put_u64(out, g->seen);
    nx_state_put_u64(out, g->skipped);
    nx_state_put_u32(out, g->width);
    nx_state_put_u32(out, g->height);
    for (size_t i = 0; i < (size_t)g->columns * g->rows; i++) {
        const uint8_t bytes[2] = {(uint8_t)g->still[i], (uint8_t)(g->still[i] >> 8)};
        nx_buffer_append(out, bytes, sizeof bytes);
    }
}

/* Everything up to the frames' size. */
static void read_head(nx_state_reader *reader, nx_motion_gate *g)
{
    g->options.threshold = nx_state_double(reader);
    g->options.blocks = nx_state_u32(reader);
    g->options.follow = nx_state_double(reader);
    g->options.linger_ns = nx_state_i64(reader);
    g->options.refresh_ns = nx_state_i64(reader);
    uint32_t started = nx_state_u32(reader);
    g->now_ns = nx_state_i64(reader);
    g->moved_ns = nx_state_i64(reader);
    g->opened_ns = nx_state_i64(reader);
    g->seen = nx_state_u64(reader);
    g->skipped = nx_state_u64(reader);
    g->started = started == 1;
    nx_state_expect(reader, started <= 1 && check_options(&g->options, NULL) == NX_OK);
    nx_state_expect(reader, g->now_ns <= MAX_TIME_NS && g->moved_ns <= g->now_ns &&
                                g->opened_ns <= g->now_ns && g->moved_ns >= -MAX_TIME_NS &&
                                g->opened_ns >= -MAX_TIME_NS);
    nx_state_expect(reader, g->skipped <= g->seen && g->seen <= MAX_COUNT);
}

static nx_status read_state(nx_state_reader *reader, nx_motion_gate *g, nx_error *err)
{
    read_head(reader, g);
    uint32_t width = nx_state_u32(reader);
    uint32_t height = nx_state_u32(reader);
    size_t cells = ((size_t)width + CELL - 1) / CELL * (((size_t)height + CELL - 1) / CELL);
    nx_state_expect(reader, width <= NX_MOTION_GATE_MAX_SIDE && height <= NX_MOTION_GATE_MAX_SIDE);
    nx_state_expect(reader, g->started ? width > 0 && height > 0 : width == 0 && height == 0);
    nx_state_expect(reader, reader->bad || (size_t)(reader->end - reader->at) == cells * 2);
    nx_status status = NX_OK;
    if (!reader->bad && g->started) {
        status = resize(g, width, height, err);
        for (size_t i = 0; status == NX_OK && i < cells; i++, reader->at += 2) {
            g->still[i] = (uint16_t)(reader->at[0] | reader->at[1] << 8);
        }
    }
    return status == NX_OK ? nx_state_close(reader, WHAT, err) : status;
}

nx_status nx_motion_gate_load(const void *bytes, size_t size, nx_motion_gate **out, nx_error *err)
{
    nx_state_reader reader;
    const nx_motion_gate_options options = nx_motion_gate_defaults();
    nx_motion_gate *g = NULL;
    *out = NULL;
    nx_status status = nx_state_open(bytes, size, KIND, VERSION, WHAT, &reader, err);
    if (status == NX_OK) {
        status = nx_motion_gate_new(&options, &g, err);
    }
    if (status == NX_OK) {
        status = read_state(&reader, g, err);
    }
    if (status != NX_OK) {
        nx_motion_gate_free(g);
        return status;
    }
    *out = g;
    return NX_OK;
}

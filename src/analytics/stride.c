#include "analytics/stride.h"

#include "analytics/state.h"
#include "base/clock.h"

#include <inttypes.h>
#include <math.h>

#define KIND       "NXSTRIDE"
#define VERSION    1
#define WHAT       "stride"
#define MAX_FRAMES 1000
#define MAX_NS     (3600 * NX_NS_PER_SEC)
#define MAX_SHARE  1000.0
#define MAX_COUNT  (UINT64_C(1) << 60)

nx_stride_options nx_stride_defaults(void)
{
    return (nx_stride_options){
        .move = 0.75,
        .stray = 0.4,
        .max_frames = 5,
        .max_ns = 500 * NX_NS_PER_MS,
    };
}

nx_status nx_stride_start(const nx_stride_options *options, nx_stride *out, nx_error *err)
{
    *out = (nx_stride){0};
    if (!(options->move > 0 && options->move <= MAX_SHARE) ||
        !(options->stray > 0 && options->stray <= MAX_SHARE)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the stride's shares of a box are %g and %g; they must be over 0",
                            options->move, options->stray);
    }
    if (options->max_frames < 1 || options->max_frames > MAX_FRAMES || options->max_ns < 0 ||
        options->max_ns > MAX_NS) {
        return nx_error_set(
            err, NX_ERR_INVALID,
            "a stride of at most %" PRIu32 " frames and %g s; it must be 1 to %d and 0 to 3600",
            options->max_frames, (double)options->max_ns / (double)NX_NS_PER_SEC, MAX_FRAMES);
    }
    out->options = *options;
    return NX_OK;
}

bool nx_stride_due(nx_stride *s, int64_t time_ns)
{
    bool due = !s->started || ++s->frames >= s->options.max_frames || time_ns >= s->next_ns;
    s->seen++;
    return due;
}

/* Seconds for which the predictions of a track are good enough. */
static double good_for(const nx_stride_options *o, const nx_track *t)
{
    double side = fmin(t->x2 - t->x1, t->y2 - t->y1);
    double stray = o->stray * side;
    double speed = hypot(t->vx, t->vy);
    if (t->state != NX_TRACK_CONFIRMED || !(stray > t->spread)) {
        return 0;
    }
    double moved = speed > 0 ? o->move * side / speed : INFINITY;
    double strayed = t->spread_speed > 0
                         ? sqrt(stray * stray - t->spread * t->spread) / t->spread_speed
                         : INFINITY;
    return fmin(moved, strayed);
}

void nx_stride_looked(nx_stride *s, int64_t time_ns, const nx_track *tracks, size_t count)
{
    double seconds = (double)s->options.max_ns / (double)NX_NS_PER_SEC;
    for (size_t i = 0; i < count; i++) {
        seconds = fmin(seconds, good_for(&s->options, &tracks[i]));
    }
    s->started = true;
    s->looked++;
    s->frames = 0;
    s->looked_ns = time_ns;
    s->next_ns = time_ns + (int64_t)(seconds * (double)NX_NS_PER_SEC);
}

void nx_stride_save(const nx_stride *s, nx_buffer *out)
{
    nx_state_begin(out, KIND, VERSION);
    nx_state_put_double(out, s->options.move);
    nx_state_put_double(out, s->options.stray);
    nx_state_put_u32(out, s->options.max_frames);
    nx_state_put_i64(out, s->options.max_ns);
    nx_state_put_u32(out, s->started);
    nx_state_put_i64(out, s->looked_ns);
    nx_state_put_i64(out, s->next_ns);
    nx_state_put_u32(out, s->frames);
    nx_state_put_u64(out, s->seen);
    nx_state_put_u64(out, s->looked);
}

nx_status nx_stride_load(const void *bytes, size_t size, nx_stride *out, nx_error *err)
{
    nx_state_reader reader;
    nx_stride_options o = {0};
    nx_stride s = {0};
    *out = s;
    nx_status status = nx_state_open(bytes, size, KIND, VERSION, WHAT, &reader, err);
    if (status != NX_OK) {
        return status;
    }
    o.move = nx_state_double(&reader);
    o.stray = nx_state_double(&reader);
    o.max_frames = nx_state_u32(&reader);
    o.max_ns = nx_state_i64(&reader);
    nx_state_expect(&reader, nx_stride_start(&o, &s, NULL) == NX_OK);
    uint32_t started = nx_state_u32(&reader);
    s.started = started == 1;
    s.looked_ns = nx_state_i64(&reader);
    s.next_ns = nx_state_i64(&reader);
    s.frames = nx_state_u32(&reader);
    s.seen = nx_state_u64(&reader);
    s.looked = nx_state_u64(&reader);
    nx_state_expect(&reader, started <= 1 && s.frames <= MAX_FRAMES && s.looked <= s.seen &&
                                 s.seen <= MAX_COUNT);
    nx_state_expect(&reader, s.looked_ns >= -NX_TRACKER_MAX_TIME_NS &&
                                 s.looked_ns <= NX_TRACKER_MAX_TIME_NS &&
                                 s.next_ns >= s.looked_ns && s.next_ns <= s.looked_ns + MAX_NS);
    status = nx_state_close(&reader, WHAT, err);
    if (status == NX_OK) {
        *out = s;
    }
    return status;
}

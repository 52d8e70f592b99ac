#include "analytics/tracker.h"

#include "analytics/assignment.h"
#include "analytics/tracker_internal.h"
#include "base/clock.h"
#include "vision/postprocess.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Behind a gap longer than this beyond lost_ns nobody is looked for: the filters know nothing. */
#define MAX_GAP_NS (10 * NX_NS_PER_SEC)

nx_tracker_options nx_tracker_defaults(void)
{
    return (nx_tracker_options){
        .high = 0.5,
        .low = 0.1,
        .start = 0.7,
        .gate_high = 0.95,
        .gate_low = 0.5,
        .gate_new = 0.7,
        .duplicate = 0.85,
        .confirm = 2,
        .lost_ns = NX_NS_PER_SEC,
    };
}

nx_status nx_tracker_check_options(const nx_tracker_options *options, nx_error *err)
{
    const struct {
        const char *name;
        double value;
    } shares[] = {
        {"high", options->high},           {"low", options->low},
        {"start", options->start},         {"gate_high", options->gate_high},
        {"gate_low", options->gate_low},   {"gate_new", options->gate_new},
        {"duplicate", options->duplicate},
    };
    for (size_t i = 0; i < sizeof shares / sizeof shares[0]; i++) {
        if (!(shares[i].value >= 0 && shares[i].value <= 1)) {
            return nx_error_set(err, NX_ERR_INVALID, "the tracker's %s is %g; it must be 0 to 1",
                                shares[i].name, shares[i].value);
        }
    }
    if (options->confirm < 1 || options->confirm > 100) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the tracker's confirm is %" PRIu32 "; it must be 1 to 100",
                            options->confirm);
    }
    if (options->lost_ns < 0 || options->lost_ns > NX_TRACKER_MAX_LOST_NS) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the tracker's lost time is %g s; it must be 0 to %g",
                            (double)options->lost_ns / (double)NX_NS_PER_SEC,
                            (double)NX_TRACKER_MAX_LOST_NS / (double)NX_NS_PER_SEC);
    }
    return NX_OK;
}

/* --- life ---------------------------------------------------------------------------------------
 */

void nx_tracker_free(nx_tracker *tracker)
{
    if (tracker != NULL) {
        free(tracker->tracks);
        free(tracker->shown);
        free(tracker->cost);
        free(tracker->rows);
        free(tracker->columns);
        free(tracker->chosen);
        free(tracker->track_of);
        free(tracker->matched);
        free(tracker);
    }
}

nx_tracker *nx_tracker_alloc(const nx_tracker_options *options)
{
    nx_tracker *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    t->options = *options;
    t->next_id = 1;
    t->tracks = calloc(NX_TRACKER_MAX_TRACKS, sizeof *t->tracks);
    t->shown = calloc(NX_TRACKER_MAX_TRACKS, sizeof *t->shown);
    t->rows = calloc(NX_TRACKER_MAX_TRACKS, sizeof *t->rows);
    t->chosen = calloc(NX_TRACKER_MAX_TRACKS, sizeof *t->chosen);
    t->matched = calloc(NX_TRACKER_MAX_TRACKS, sizeof *t->matched);
    t->columns = calloc(NX_TRACKER_MAX_DETECTIONS, sizeof *t->columns);
    t->track_of = calloc(NX_TRACKER_MAX_DETECTIONS, sizeof *t->track_of);
    if (t->tracks == NULL || t->shown == NULL || t->rows == NULL || t->chosen == NULL ||
        t->matched == NULL || t->columns == NULL || t->track_of == NULL) {
        nx_tracker_free(t);
        return NULL;
    }
    return t;
}

nx_status nx_tracker_new(const nx_tracker_options *options, nx_tracker **out, nx_error *err)
{
    *out = NULL;
    nx_status status = nx_tracker_check_options(options, err);
    if (status == NX_OK) {
        *out = nx_tracker_alloc(options);
        status =
            *out != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a tracker");
    }
    return status;
}

const nx_tracker_options *nx_tracker_get_options(const nx_tracker *tracker)
{
    return &tracker->options;
}

/* --- what is shown ------------------------------------------------------------------------------
 */

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static nx_track show(const nx_tracker *t, const tracked *track, double ahead)
{
    const nx_kalman_axis *x = &track->filter.axes[NX_KALMAN_CX];
    const nx_kalman_axis *y = &track->filter.axes[NX_KALMAN_CY];
    bool seen = track->seen_ns == t->now_ns && ahead <= 0;
    nx_kalman_box box = seen ? track->seen : nx_kalman_ahead(&track->filter, ahead);
    return (nx_track){
        .id = track->id,
        .state = track->state,
        .class_id = track->class_id,
        .confidence = track->confidence,
        .x1 = box.x1,
        .y1 = box.y1,
        .x2 = box.x2,
        .y2 = box.y2,
        .vx = x->velocity,
        .vy = y->velocity,
        .spread = sqrt(larger(x->var_value, y->var_value)),
        .spread_speed = sqrt(larger(x->var_velocity, y->var_velocity)),
        .first_ns = track->first_ns,
        .seen_ns = track->seen_ns,
    };
}

void nx_tracker_show(nx_tracker *t, double ahead)
{
    for (size_t i = 0; i < t->count; i++) {
        t->shown[i] = show(t, &t->tracks[i], ahead);
    }
}

const nx_track *nx_tracker_tracks(const nx_tracker *tracker, size_t *count)
{
    *count = tracker->count;
    return tracker->shown;
}

const nx_track *nx_tracker_predict(nx_tracker *tracker, int64_t time_ns, size_t *count)
{
    bool later = tracker->started && time_ns > tracker->now_ns;
    double most = (double)(NX_TRACKER_MAX_LOST_NS + MAX_GAP_NS) / (double)NX_NS_PER_SEC;
    double ahead = later ? ((double)time_ns - (double)tracker->now_ns) / (double)NX_NS_PER_SEC : 0;
    nx_tracker_show(tracker, ahead < most ? ahead : most);
    return nx_tracker_tracks(tracker, count);
}

/* --- a frame ------------------------------------------------------------------------------------
 */

static nx_status check_time(const nx_tracker *t, int64_t time_ns, nx_error *err)
{
    if (time_ns < -NX_TRACKER_MAX_TIME_NS || time_ns > NX_TRACKER_MAX_TIME_NS) {
        return nx_error_set(err, NX_ERR_INVALID, "a frame at %" PRId64 " ns is out of all time",
                            time_ns);
    }
    if (t->started && time_ns <= t->now_ns) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a frame at %" PRId64 " ns follows one at %" PRId64
                            " ns; frames must come in the order of their times",
                            time_ns, t->now_ns);
    }
    return NX_OK;
}

static bool is_coordinate(float value)
{
    return fabsf(value) <= (float)NX_TRACKER_MAX_COORDINATE; /* false for NAN */
}

static nx_status check_detections(const nx_detection *detections, size_t count, nx_error *err)
{
    if (count > NX_TRACKER_MAX_DETECTIONS) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "%zu detections in a frame; the most is %d",
                            count, NX_TRACKER_MAX_DETECTIONS);
    }
    for (size_t i = 0; i < count; i++) {
        const nx_detection *d = &detections[i];
        bool good = is_coordinate(d->x1) && is_coordinate(d->y1) && is_coordinate(d->x2) &&
                    is_coordinate(d->y2) && d->x1 < d->x2 && d->y1 < d->y2 && d->confidence >= 0 &&
                    d->confidence <= 1 && d->class_id >= 0 && d->class_id < NX_MAX_CLASSES;
        if (!good) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "detection %zu is no box with a confidence and a class", i);
        }
    }
    return NX_OK;
}

static void remove_track(nx_tracker *t, size_t index)
{
    t->count--;
    memmove(&t->tracks[index], &t->tracks[index + 1], (t->count - index) * sizeof t->tracks[0]);
    memmove(&t->matched[index], &t->matched[index + 1], (t->count - index) * sizeof t->matched[0]);
}

/* Moves every filter to the frame's time. */
static void move_on(nx_tracker *t, int64_t time_ns)
{
    int64_t gap = t->started ? time_ns - t->now_ns : 0;
    if (gap > t->options.lost_ns + MAX_GAP_NS) {
        t->count = 0;
    }
    t->started = true;
    t->now_ns = time_ns;
    for (size_t i = 0; i < t->count; i++) {
        tracked *track = &t->tracks[i];
        if (track->state == NX_TRACK_LOST) { /* who hides does not grow or shrink for it */
            track->filter.axes[NX_KALMAN_HEIGHT].velocity = 0;
        }
        nx_kalman_predict(&track->filter, (double)gap / (double)NX_NS_PER_SEC);
    }
}

static void drop_long_lost(nx_tracker *t)
{
    for (size_t i = t->count; i-- > 0;) {
        const tracked *track = &t->tracks[i];
        if (track->state == NX_TRACK_LOST && t->now_ns - track->seen_ns > t->options.lost_ns) {
            remove_track(t, i);
        }
    }
}

static nx_kalman_box box_of(const nx_detection *d)
{
    return (nx_kalman_box){(double)d->x1, (double)d->y1, (double)d->x2, (double)d->y2};
}

static double overlap(nx_kalman_box a, nx_kalman_box b)
{
    double width = fmin(a.x2, b.x2) - fmax(a.x1, b.x1);
    double height = fmin(a.y2, b.y2) - fmax(a.y1, b.y1);
    if (!(width > 0 && height > 0)) {
        return 0;
    }
    double both = width * height;
    double areas = (a.x2 - a.x1) * (a.y2 - a.y1) + (b.x2 - b.x1) * (b.y2 - b.y1);
    return both / (areas - both);
}

static void take(nx_tracker *t, size_t index, const nx_detection *d)
{
    tracked *track = &t->tracks[index];
    track->seen = box_of(d);
    nx_kalman_update(&track->filter, track->seen);
    track->confidence = d->confidence;
    track->seen_ns = t->now_ns;
    track->sightings += track->state == NX_TRACK_TENTATIVE;
    t->matched[index] = true;
    if (track->state == NX_TRACK_TENTATIVE && track->sightings >= t->options.confirm) {
        track->id = t->next_id++;
        track->state = NX_TRACK_CONFIRMED;
    } else if (track->state == NX_TRACK_LOST) {
        track->state = NX_TRACK_CONFIRMED;
    }
}

/* One of ByteTrack's associations: which tracks, which detections, and how near they must be. */
typedef struct association {
    bool of_state[NX_TRACK_LOST + 1];
    double from, below; /* scores */
    bool by_score;      /* overlaps are weighed with the scores */
    double gate;
} association;

static nx_status reserve_cost(nx_tracker *t, size_t size, nx_error *err)
{
    if (size > t->cost_capacity) {
        double *grown = reallocarray(t->cost, size, sizeof *grown);
        if (grown == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to assign detections to tracks");
        }
        t->cost = grown;
        t->cost_capacity = size;
    }
    return NX_OK;
}

static double cost_of(const association *a, const tracked *track, nx_kalman_box expected,
                      const nx_detection *d)
{
    if (track->class_id != d->class_id) {
        return INFINITY;
    }
    return 1 - overlap(expected, box_of(d)) * (a->by_score ? (double)d->confidence : 1);
}

static nx_status associate(nx_tracker *t, const association *a, const nx_detection *detections,
                           size_t count, nx_error *err)
{
    size_t rows = 0;
    size_t columns = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (!t->matched[i] && a->of_state[t->tracks[i].state]) {
            t->rows[rows++] = (int32_t)i;
        }
    }
    for (size_t j = 0; j < count; j++) {
        double score = (double)detections[j].confidence;
        if (t->track_of[j] < 0 && score >= a->from && score < a->below) {
            t->columns[columns++] = (int32_t)j;
        }
    }
    nx_status status = reserve_cost(t, rows * columns, err);
    for (size_t i = 0; status == NX_OK && i < rows; i++) {
        const tracked *track = &t->tracks[t->rows[i]];
        nx_kalman_box expected = nx_kalman_at(&track->filter);
        for (size_t j = 0; j < columns; j++) {
            t->cost[i * columns + j] = cost_of(a, track, expected, &detections[t->columns[j]]);
        }
    }
    if (status == NX_OK) {
        status = nx_assign(t->cost, rows, columns, a->gate, t->chosen, err);
    }
    for (size_t i = 0; status == NX_OK && i < rows; i++) {
        if (t->chosen[i] != NX_ASSIGN_NONE) {
            int32_t detection = t->columns[t->chosen[i]];
            take(t, (size_t)t->rows[i], &detections[detection]);
            t->track_of[detection] = t->rows[i];
        }
    }
    return status;
}

/* After the associations: who was not seen is lost, or was never there. */
static void settle_unseen(nx_tracker *t)
{
    for (size_t i = t->count; i-- > 0;) {
        tracked *track = &t->tracks[i];
        if (!t->matched[i] && track->state == NX_TRACK_TENTATIVE) {
            remove_track(t, i);
        } else if (!t->matched[i]) {
            track->state = NX_TRACK_LOST;
        }
    }
}

/* The place of the lost track that was unseen for the longest; count when none is lost. */
static size_t longest_lost(const nx_tracker *t)
{
    size_t found = t->count;
    for (size_t i = 0; i < t->count; i++) {
        if (t->tracks[i].state == NX_TRACK_LOST &&
            (found == t->count || t->tracks[i].seen_ns < t->tracks[found].seen_ns)) {
            found = i;
        }
    }
    return found;
}

static void start_track(nx_tracker *t, const nx_detection *d)
{
    if (t->count == NX_TRACKER_MAX_TRACKS) {
        size_t place = longest_lost(t);
        if (place == t->count) {
            return;
        }
        remove_track(t, place);
    }
    tracked *track = &t->tracks[t->count];
    bool at_once = t->options.confirm <= 1;
    *track = (tracked){
        .id = at_once ? t->next_id++ : 0,
        .state = at_once ? NX_TRACK_CONFIRMED : NX_TRACK_TENTATIVE,
        .class_id = d->class_id,
        .confidence = d->confidence,
        .sightings = 1,
        .first_ns = t->now_ns,
        .seen_ns = t->now_ns,
        .filter = nx_kalman_start(box_of(d)),
        .seen = box_of(d),
    };
    t->matched[t->count++] = true;
}

/* Of a track that is seen and a lost one in the same place, the one that was there for longer
 * stays; of equals the seen one. */
static void drop_duplicates(nx_tracker *t)
{
    for (size_t i = t->count; i-- > 0;) {
        if (t->tracks[i].state != NX_TRACK_CONFIRMED) {
            continue;
        }
        nx_kalman_box box = nx_kalman_at(&t->tracks[i].filter);
        for (size_t j = t->count; j-- > 0;) {
            const tracked *lost = &t->tracks[j];
            const tracked *seen = &t->tracks[i];
            if (lost->state != NX_TRACK_LOST || lost->class_id != seen->class_id ||
                !(overlap(box, nx_kalman_at(&lost->filter)) > t->options.duplicate)) {
                continue;
            }
            bool lost_stays = lost->seen_ns - lost->first_ns > seen->seen_ns - seen->first_ns;
            remove_track(t, lost_stays ? i : j);
            if (lost_stays) {
                break;
            }
            i -= j < i;
        }
    }
}

nx_status nx_tracker_update(nx_tracker *t, int64_t time_ns, const nx_detection *detections,
                            size_t count, nx_error *err)
{
    const nx_tracker_options *o = &t->options;
    const double over_any = 2; /* scores end at 1 */
    const association rounds[] = {
        {{false, true, true}, o->high, over_any, true, o->gate_high},
        {{false, true, false}, o->low, o->high, false, o->gate_low},
        {{true, false, false}, o->high, over_any, true, o->gate_new},
    };
    nx_status status = check_time(t, time_ns, err);
    if (status == NX_OK) {
        status = check_detections(detections, count, err);
    }
    if (status != NX_OK) {
        return status;
    }
    move_on(t, time_ns);
    memset(t->matched, 0, NX_TRACKER_MAX_TRACKS * sizeof t->matched[0]);
    for (size_t j = 0; j < count; j++) {
        t->track_of[j] = -1;
    }
    for (size_t i = 0; status == NX_OK && i < sizeof rounds / sizeof rounds[0]; i++) {
        status = associate(t, &rounds[i], detections, count, err);
    }
    if (status != NX_OK) {
        return status;
    }
    settle_unseen(t);
    drop_long_lost(t);
    for (size_t j = 0; j < count; j++) {
        double score = (double)detections[j].confidence;
        if (t->track_of[j] < 0 && score >= o->high && score >= o->start) {
            start_track(t, &detections[j]);
        }
    }
    drop_duplicates(t);
    nx_tracker_show(t, 0);
    return NX_OK;
}

nx_status nx_tracker_hold(nx_tracker *t, int64_t time_ns, nx_error *err)
{
    nx_status status = check_time(t, time_ns, err);
    if (status != NX_OK) {
        return status;
    }
    move_on(t, time_ns);
    for (size_t i = 0; i < t->count; i++) {
        tracked *track = &t->tracks[i];
        if (track->state != NX_TRACK_LOST) {
            nx_kalman_update(&track->filter, track->seen);
            track->seen_ns = time_ns;
        }
    }
    drop_long_lost(t);
    nx_tracker_show(t, 0);
    return NX_OK;
}

/* CLEAR MOT. */
#include "analytics/assignment.h"
#include "eval/mot_internal.h"

#include <stdlib.h>

#define NOBODY (-1)

/* What a truth that goes on with its track gains; far above any IoU. */
#define GOES_ON 1000.0

/* Of an identity. */
typedef struct person {
    int32_t track;  /* its last match */
    int32_t before; /* its match in the frame before */
    size_t matched; /* frames */
    size_t begun;   /* times that it was matched and not in the frame before */
} person;

static nx_status match(nx_mot_data *data, const nx_mot_frame *frame, const person *people,
                       nx_error *err)
{
    for (size_t i = 0; i < frame->truth_count; i++) {
        const person *who = &people[data->truth.ids[frame->truth_first + i]];
        for (size_t j = 0; j < frame->track_count; j++) {
            size_t at = i * frame->track_count + j;
            int32_t track = data->track.ids[frame->track_first + j];
            bool near = data->iou[at] >= NX_MOT_THRESHOLD - NX_MOT_EPSILON;
            data->cost[at] = near ? -(data->iou[at] + (who->before == track ? GOES_ON : 0)) : 0;
        }
    }
    return nx_assign(data->cost, frame->truth_count, frame->track_count, 0, data->chosen, err);
}

/* Returns how many are matched. */
static size_t record(const nx_mot_data *data, const nx_mot_frame *frame, person *people,
                     nx_mot_scores *out)
{
    size_t matched = 0;
    for (size_t i = 0; i < frame->truth_count; i++) {
        person *who = &people[data->truth.ids[frame->truth_first + i]];
        int32_t column = data->chosen[i];
        if (column == NX_ASSIGN_NONE) {
            continue;
        }
        int32_t track = data->track.ids[frame->track_first + (size_t)column];
        out->switches += who->track != NOBODY && who->track != track;
        out->motp += data->iou[i * frame->track_count + (size_t)column];
        who->begun += who->before == NOBODY;
        who->track = track;
        who->matched++;
        matched++;
    }
    for (size_t i = 0; i < data->truth.id_count; i++) {
        people[i].before = NOBODY;
    }
    for (size_t i = 0; i < frame->truth_count; i++) {
        person *who = &people[data->truth.ids[frame->truth_first + i]];
        who->before = data->chosen[i] != NX_ASSIGN_NONE ? who->track : NOBODY;
    }
    return matched;
}

static void sum_up(const nx_mot_data *data, const person *people, nx_mot_scores *out)
{
    for (size_t i = 0; i < data->truth.id_count; i++) {
        double share = (double)people[i].matched / (double)data->truth.times[i];
        out->mostly_tracked += share > 0.8;
        out->partly_tracked += share >= 0.2 && share <= 0.8;
        out->mostly_lost += share < 0.2;
        out->fragments += people[i].begun > 0 ? people[i].begun - 1 : 0;
    }
    out->motp = out->matches > 0 ? out->motp / (double)out->matches : 0;
    out->mota = ((double)out->matches - (double)out->false_positives - (double)out->switches) /
                (double)data->truth.count;
}

nx_status nx_mot_clear(nx_mot_data *data, nx_mot_scores *out, nx_error *err)
{
    nx_mot_frame frame = {0};
    nx_status status = NX_OK;
    person *people = calloc(data->truth.id_count + 1, sizeof *people);
    if (people == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to measure the tracks");
    }
    for (size_t i = 0; i < data->truth.id_count; i++) {
        people[i].track = NOBODY;
        people[i].before = NOBODY;
    }
    while (status == NX_OK && nx_mot_next(data, &frame)) {
        size_t matched = 0;
        if (frame.truth_count > 0 && frame.track_count > 0) { /* as TrackEval, else nothing ends */
            status = match(data, &frame, people, err);
            matched = status == NX_OK ? record(data, &frame, people, out) : 0;
        }
        out->matches += matched;
        out->misses += frame.truth_count - matched;
        out->false_positives += frame.track_count - matched;
    }
    if (status == NX_OK) {
        sum_up(data, people, out);
    }
    free(people);
    return status;
}

/* A saved tracker: any bytes are taken or refused with a sentence, and what is taken tracks on. */
#include "fuzz.h"

#include "analytics/tracker.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A state that was taken and never updated is saved as the bytes that it was. */
static void check_save(const nx_tracker *tracker, const uint8_t *data, size_t size)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_tracker_save(tracker, &out);
    if (!out.failed && (out.size != size || memcmp(out.data, data, size) != 0)) {
        abort();
    }
    nx_buffer_free(&out);
}

static void check_tracks(const nx_track *tracks, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const nx_track *t = &tracks[i];
        if (!isfinite(t->x1) || !isfinite(t->y2) || !isfinite(t->spread) || !isfinite(t->vx) ||
            (t->state == NX_TRACK_TENTATIVE) != (t->id == 0)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const nx_detection seen[] = {
        {100, 100, 140, 200, 0.9F, 0, 0}, {300, 100, 340, 200, 0.3F, 0, 0}, {0, 0, 5, 5, 1, 2, 0}};
    nx_tracker *tracker = NULL;
    nx_error err = {0};
    if (nx_tracker_load(data, size, &tracker, &err) != NX_OK) {
        if (tracker != NULL || err.message[0] == '\0') {
            abort();
        }
        return 0;
    }
    size_t count = 0;
    check_save(tracker, data, size);
    for (int64_t step = 1; step <= 3; step++) {
        for (int64_t base = -2; base <= 2; base++) { /* some times are before the tracker's own */
            int64_t time = base * (NX_TRACKER_MAX_TIME_NS / 2) + step * 100000000;
            nx_status status = nx_tracker_update(tracker, time, seen, 3, &err);
            const nx_track *tracks = nx_tracker_tracks(tracker, &count);
            if (status != NX_OK && err.message[0] == '\0') {
                abort();
            }
            check_tracks(tracks, count);
            check_tracks(nx_tracker_predict(tracker, time + 1000000000, &count), count);
        }
    }
    nx_tracker_free(tracker);
    return 0;
}

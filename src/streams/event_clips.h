/*
 * Clips of events: the seconds before and after one, as the camera encoded them, cut at key frames
 * (streams/media_ring.h). A thread of its own gathers pictures; another one makes a file of them
 * when the last one has come, keeps it as an object and enters that with its events
 * (store/events.h). So pictures are gathered while the database, or the place of objects, is slow
 * or away.
 *
 * Bounded in number and bytes: an event that finds no room has no clip, which is logged. While the
 * database is away a clip is tried again for some minutes. Thread-safe.
 */
#ifndef NX_STREAMS_EVENT_CLIPS_H
#define NX_STREAMS_EVENT_CLIPS_H

#include "base/error.h"
#include "store/events.h"
#include "store/objects.h"
#include "store/store.h"
#include "streams/media_ring.h"

#include <stdint.h>

/* Clips in the making, and most bytes of one. */
#define NX_EVENT_CLIPS_MOST 32
#define NX_EVENT_CLIP_BYTES ((size_t)48 << 20)
/* Events that share a clip: those within a second. */
#define NX_EVENT_CLIP_EVENTS 64

typedef struct nx_event_clips nx_event_clips;

typedef struct nx_event_clips_options {
    nx_store *store;     /* borrowed */
    nx_objects *objects; /* borrowed */
    int64_t clip_ns;     /* before an event and after it */
} nx_event_clips_options;

/* Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_event_clips_start(const nx_event_clips_options *options, nx_event_clips **out,
                               nx_error *err);
/* Tries once to enter what is there of each, and ends; once the database, or the place of objects,
 * is found away the rest is lost, which is logged. Events must be entered before. NULL is fine. */
void nx_event_clips_stop(nx_event_clips *clips);

/* Events at a time of the stream are to have a clip. Never waits. */
void nx_event_clips_add(nx_event_clips *clips, nx_media_ring *ring, int64_t time_ns,
                        const nx_event_row *events, size_t count);

typedef struct nx_event_clips_stats {
    uint64_t entered, lost; /* clips */
    size_t making;
} nx_event_clips_stats;
nx_event_clips_stats nx_event_clips_get_stats(nx_event_clips *clips);

#endif

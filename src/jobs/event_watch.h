/*
 * The rules of one stream at work: from the tracks of its frames to events in the recorder's queue.
 * One thread at a time.
 */
#ifndef NX_JOBS_EVENT_WATCH_H
#define NX_JOBS_EVENT_WATCH_H

#include "analytics/event_rules.h"
#include "jobs/event_recorder.h"
#include "vision/detection.h"

typedef struct nx_event_watch nx_event_watch;

typedef struct nx_event_watch_options {
    nx_event_recorder *recorder;         /* borrowed */
    const char *stream_id, *stream_name; /* copied */
    const char *rules;                   /* JSON: analytics/event_rules_parse.h */
    nx_class_names names;                /* none: it is told of the camera alone */
    const nx_zones_spec *places;         /* the stream's; copied as far as it is needed */
} nx_event_watch_options;

/* Errors: those of nx_event_rules_parse. */
nx_status nx_event_watch_new(const nx_event_watch_options *options, nx_event_watch **out,
                             nx_error *err);
void nx_event_watch_free(nx_event_watch *watch); /* NULL is fine */

typedef struct nx_event_frame {
    int64_t time_ns;       /* as the tracker and zones have it */
    int64_t at_ms;         /* since 1970 */
    const nx_zones *zones; /* NULL where the stream has no places */
    const nx_track *tracks;
    size_t track_count;
    nx_class_names names;
    const nx_event_picture *picture; /* NULL: none */
    /* Called with the events of the frame that are on their way into the database, with their ids;
     * may be NULL. */
    void (*kept)(const nx_event_row *events, size_t count, void *user);
    void *user;
} nx_event_frame;

/* Errors: those of nx_event_rules_update. */
nx_status nx_event_watch_frame(nx_event_watch *watch, const nx_event_frame *frame, nx_error *err);

/* Whether the camera gives pictures, and why not: as nx_event_rules_camera. */
nx_status nx_event_watch_camera(nx_event_watch *watch, int64_t time_ns, int64_t at_ms, bool live,
                                const char *reason, nx_error *err);

/* As nx_event_rules_camera_pause. */
void nx_event_watch_pause(nx_event_watch *watch);

/* What was told of the camera when it was watched before, by whatever process: whoever was told
 * that it is lost is not told again, but when it is back. time_ns: now, as nx_event_watch_camera
 * has it. Waits for the database. Errors: those of nx_store_events_before. */
nx_status nx_event_watch_recall(nx_event_watch *watch, nx_store *store, int64_t time_ns,
                                nx_error *err);

#endif

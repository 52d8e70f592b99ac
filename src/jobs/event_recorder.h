/*
 * Enters events into the database without holding up who sees them: they are queued with the
 * picture they were seen in, and one thread makes a JPEG of it, keeps that as an object, and enters
 * the events with who is to be told (store/events.h).
 *
 * The queue is bounded in number and bytes; what does not fit is lost, counted, and logged. While
 * the database can't be reached the thread tries again each second and the queue fills.
 *
 * Thread-safe.
 */
#ifndef NX_JOBS_EVENT_RECORDER_H
#define NX_JOBS_EVENT_RECORDER_H

#include "base/config.h"
#include "base/error.h"
#include "store/events.h"
#include "store/objects.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_EVENT_RECORDER_BATCHES 256
#define NX_EVENT_RECORDER_BYTES   ((size_t)128 << 20)

typedef struct nx_event_recorder nx_event_recorder;

typedef struct nx_event_recorder_options {
    nx_store *store;     /* borrowed */
    nx_objects *objects; /* borrowed */
    const char *webhook; /* copied; "": none */
    bool mqtt;
    int64_t clip_ns; /* before an event and after it, for who makes clips; 0: nobody does */
    /* Called on the thread each second; may be NULL. */
    void (*tick)(void *user);
    void *user;
} nx_event_recorder_options;

/* What the configuration says; its string is borrowed from it. */
nx_event_recorder_options nx_event_recorder_options_of(const nx_config *config, nx_store *store,
                                                       nx_objects *objects);

/* Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_event_recorder_start(const nx_event_recorder_options *options, nx_event_recorder **out,
                                  nx_error *err);
/* Enters what is queued, up to the first that can't be for now, and ends: the rest is lost. NULL is
 * fine. */
void nx_event_recorder_stop(nx_event_recorder *recorder);

/* RGB without gaps. */
typedef struct nx_event_picture {
    const uint8_t *pixels;
    uint32_t width, height;
} nx_event_picture;

/* Queues events of one frame, of which snapshot and bytes are left open, and id may be; all is
 * copied. picture may be NULL. Never waits for the database. False: they are lost. */
bool nx_event_recorder_put(nx_event_recorder *recorder, const nx_event_row *events, size_t count,
                           const nx_event_picture *picture);

/* Counts as lost what never came to be put: more events of one frame than there is room for. Any
 * thread. */
void nx_event_recorder_lose(nx_event_recorder *recorder, size_t count);

typedef struct nx_event_recorder_stats {
    uint64_t entered;
    uint64_t lost;
    size_t queued;
} nx_event_recorder_stats;
nx_event_recorder_stats nx_event_recorder_get_stats(nx_event_recorder *recorder);

#endif

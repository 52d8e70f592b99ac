/*
 * Events: what happened before cameras (analytics/event_rules.h), with who is to be told of it
 * (store/event_deliveries.h): both are entered in one transaction, so that an event is told or is
 * not there.
 *
 * Events are numbered (seq) in the order in which they are committed, by whatever host: who reads
 * on behind a number misses none.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_EVENTS_H
#define NX_STORE_EVENTS_H

#include "base/arena.h"
#include "base/uuid.h"
#include "store/store.h"

#include <stddef.h>

#define NX_EVENT_DETAILS_MAX 4096 /* bytes */

/* Texts are borrowed when it is added, and live in the arena when it is read. */
typedef struct nx_event_row {
    int64_t seq; /* 1, 2, ... */
    const char *id;
    const char *stream_id, *stream_name;
    const char *kind; /* nx_event_kind_name */
    const char *rule;
    const char *class_name; /* NULL: of none */
    int64_t track;          /* 0: of none */
    const char *zone;       /* or line; NULL: of none */
    int64_t at;             /* of the frame: milliseconds since 1970 */
    const char *details;    /* a JSON object */
    const char *snapshot;   /* an object (a JPEG); NULL: none */
    const char *clip;       /* an object (an MP4); NULL: none, or not yet */
    int64_t bytes;          /* of both */
    int64_t created_at;
    int64_t clip_offset_ms; /* from the clip's beginning to the event */
} nx_event_row;

/* Who is to be told, beside whom its stream names (store/streams.h). */
typedef struct nx_event_targets {
    const char *webhook; /* a URL that nx_webhook_check_url passes; NULL: none */
    bool mqtt;
} nx_event_targets;

/* Enters it; seq and created_at are not looked at, id is one of nx_uuid_make's. Who has stored the
 * snapshot holds it until then (store/object_uses.h). *seq (may be NULL): its number. Errors:
 * NX_ERR_INVALID (details are too long), NX_ERR_CONFLICT (the id is there already). */
nx_status nx_store_event_add(nx_store *store, const nx_event_row *event,
                             const nx_event_targets *targets, int64_t *seq, nx_error *err);

/* Gives it a clip, which is held until then, of a size, which begins so long before the event.
 * Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_event_set_clip(nx_store *store, const char *id, const char *clip, int64_t size,
                                  int64_t offset_ms, nx_error *err);

/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_event_get(nx_store *store, const char *id, nx_arena *arena, nx_event_row *out,
                             nx_error *err);

/* What is asked for; NULL and 0: any. */
typedef struct nx_event_filter {
    const char *stream; /* its id */
    const char *kind, *class_name, *zone, *rule;
    int64_t since; /* at >= since */
    int64_t until; /* at < until */
} nx_event_filter;

/* Those with a number below `before` (0: the newest), the newest first. */
nx_status nx_store_events_before(nx_store *store, const nx_event_filter *filter, int64_t before,
                                 size_t limit, nx_arena *arena, nx_event_row *out, size_t *count,
                                 nx_error *err);
/* Those with a number above `after`, the oldest first. */
nx_status nx_store_events_after(nx_store *store, const nx_event_filter *filter, int64_t after,
                                size_t limit, nx_arena *arena, nx_event_row *out, size_t *count,
                                nx_error *err);

/* The number of the last one that was ever entered; 0: none. */
nx_status nx_store_events_last(nx_store *store, int64_t *seq, nx_error *err);

/* With what is still to be told of it. Its objects are collected by the caller, or swept. Errors:
 * NX_ERR_NOT_FOUND. */
nx_status nx_store_event_remove(nx_store *store, const char *id, nx_error *err);

/* What the table weighs of an event beside its objects. */
#define NX_EVENT_ROW_BYTES 1024

/* Removes up to limit of the oldest that happened longer ago than age_ms, or are beyond most_bytes
 * of newer ones. removed: how many; less than limit: there are no more. */
nx_status nx_store_events_expire(nx_store *store, int64_t age_ms, int64_t most_bytes, size_t limit,
                                 size_t *removed, nx_error *err);

#endif

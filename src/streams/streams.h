/*
 * The streams of this process: takes those from the database that nobody runs (store/streams.h),
 * runs them, renews their leases and tells how they do, until it is told to stop. Any number of
 * processes and hosts share one database; each stream is run by one of them.
 *
 * Other processes may look at them (streams/relay_listener.h), and those of others may be looked at
 * from here (streams/relay.h).
 *
 * A stream that was changed is started anew. One whose lease could not be renewed in time is
 * stopped, for another process runs it by then. Thread-safe.
 */
#ifndef NX_STREAMS_STREAMS_H
#define NX_STREAMS_STREAMS_H

#include "store/store.h"
#include "streams/relay.h"
#include "streams/relay_peer.h"
#include "streams/run.h"

#define NX_STREAMS_MOST_AT_ONCE 256

typedef struct nx_streams nx_streams;

/* Pointers are borrowed until nx_streams_free, strings copied. */
typedef struct nx_streams_options {
    nx_store *store;
    nx_engine *engine;
    nx_registry *registry;
    nx_shared_models *shared; /* NULL: everybody may use every model */
    nx_postprocess_options postprocess;
    uint64_t max_pixels;
    const char *files_dir; /* STREAM_FILES_DIR; "": none */
    const char *ca_file;   /* STREAM_CA_FILE; "" or NULL: the system's */
    const char *relay;     /* STREAM_RELAY: HOST:PORT for other hosts; "" or NULL: there are none */
    bool allow_loopback;
    int64_t clip_ns;  /* of video that is kept for clips of events */
    uint32_t most;    /* streams at once; 0: none are run here */
    int64_t lease_ms; /* 0: 15 seconds */
} nx_streams_options;

/* Nothing is run before nx_streams_start. Errors: NX_ERR_INVALID (too many), NX_ERR_NO_MEMORY. */
nx_status nx_streams_new(const nx_streams_options *options, nx_streams **out, nx_error *err);
/* Before the start. Who wants to hear as well calls those that were set before. */
nx_stream_hooks nx_streams_get_hooks(const nx_streams *streams);
void nx_streams_set_hooks(nx_streams *streams, const nx_stream_hooks *hooks);
/* Errors: NX_ERR_UNAVAILABLE (no thread, no socket), NX_ERR_INVALID (relay). */
nx_status nx_streams_start(nx_streams *streams, nx_error *err);
/* All streams end soon, and others may take them. Does not wait. */
void nx_streams_ask_stop(nx_streams *streams);
/* Asks, waits for the end, and frees. NULL is fine. */
void nx_streams_free(nx_streams *streams);

/* What may be changed while it runs, for streams that begin from now on. */
void nx_streams_set_rules(nx_streams *streams, const nx_postprocess_options *postprocess,
                          uint64_t max_pixels);

bool nx_streams_allow_loopback(const nx_streams *streams);

/* A stream was added or changed: looks at once instead of within a second. */
void nx_streams_poke(nx_streams *streams);

/* --- for listeners --- */

/* Those that other processes run, for as long as this lives. */
nx_relay *nx_streams_relay(nx_streams *streams);

/* The hub of a stream, with a reference for the caller; NULL: it is not run here. */
nx_stream_hub *nx_streams_hub(nx_streams *streams, const char *id);
/* The same of its video (streams/media_ring.h). */
nx_media_ring *nx_streams_media(nx_streams *streams, const char *id);
/* False: it is not run here. places (may be NULL) gets what zones and lines have counted. */
bool nx_streams_status(nx_streams *streams, const char *id, nx_stream_status *out,
                       nx_buffer *places);
/* The codec of its camera whose video can't be shown as it is; "": it can, or is not known here. */
void nx_streams_unfit(nx_streams *streams, const char *id, char codec[NX_RELAY_CODEC]);
/* Waits until some hub has told more than the caller has seen (its last result, at first 0), or
 * until a time. */
uint64_t nx_streams_wait(nx_streams *streams, uint64_t seen, int64_t until_ns);
/* Has whoever waits so look again. */
void nx_streams_wake(nx_streams *streams);

/* --- for metrics --- */

typedef struct nx_streams_stats {
    nx_stream_counts counts; /* of all that were run here since the start */
    uint64_t reconnects;
    nx_event_recorder_stats events;
    uint64_t fragments; /* of video, however many look on */
    uint64_t encodings; /* JPEGs, likewise */
} nx_streams_stats;
void nx_streams_get_stats(nx_streams *streams, nx_streams_stats *out);

/* Calls each for every stream that is run here. */
typedef void (*nx_streams_each)(const char *id, const char *name, const nx_stream_status *status,
                                void *user);
void nx_streams_walk(nx_streams *streams, nx_streams_each each, void *user);

#endif

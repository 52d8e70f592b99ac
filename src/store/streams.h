/*
 * Live streams: cameras that are watched until somebody says otherwise. Whoever runs a stream holds
 * a lease of it and renews it, so that of several hosts one does, and another one takes over when
 * that dies. As with jobs (store/jobs.h) each lease has a fence: who lost it unknowingly changes
 * nothing any more. Texts in results live in the caller's arena.
 *
 * A URL may hold a password; a runner has a secret, and a webhook may. They come back from here as
 * they are: callers show them to nobody.
 *
 * Thread-safe, and safe between processes and hosts. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_STREAMS_H
#define NX_STORE_STREAMS_H

#include "base/arena.h"
#include "store/store.h"

#include <stddef.h>

#define NX_STREAMS_MOST     1000 /* in a database */
#define NX_STREAM_NAME_MAX  64   /* bytes */
#define NX_STREAM_URL_MAX   2000
#define NX_STREAM_OWNER_MAX 160 /* of who holds a lease */

typedef enum nx_stream_state {
    NX_STREAM_CONNECTING,   /* the first time */
    NX_STREAM_LIVE,         /* frames come */
    NX_STREAM_STALLED,      /* connected, and none come */
    NX_STREAM_RECONNECTING, /* the connection was lost, or never made */
    NX_STREAM_STOPPED,      /* nobody runs it, or it is not the time */
    NX_STREAM_STATE_COUNT,
} nx_stream_state;

const char *nx_stream_state_name(nx_stream_state state); /* "live" */

typedef struct nx_stream {
    const char *id; /* UUID; sorts by age */
    const char *name;
    const char *url;
    const char *options; /* JSON */
    bool enabled;
    const char *webhook_url;    /* who is told of its events; NULL: nobody but EVENT_WEBHOOK_URL */
    const char *webhook_secret; /* signs what is sent there; NULL: WEBHOOK_SECRET does */
    int64_t version;            /* of the six above, from 1 */
    const char *created_by;
    const char *user, *key;  /* whose right to its model counts; NULL as in nx_job_request */
    const char *lease_owner; /* NULL: nobody runs it. The lease may be over */
    int64_t lease_until;
    bool leased; /* there is a lease, and it is not over */
    int64_t fence;
    nx_stream_state state; /* as the last one who ran it said */
    const char *reason;
    int64_t state_at;
    const char *status; /* JSON; NULL: none yet */
    const char *counts; /* of its zones and lines, JSON; NULL: none */
    int64_t created_at, updated_at;
    const char *relay_path, *relay_address, *relay_token; /* its runner's, see nx_stream_runner */
} nx_stream;

/* --- for those who want something watched --- */

/* What a stream is to be; all are set but the webhook. */
typedef struct nx_stream_request {
    const char *name; /* unique whatever the case of its letters */
    const char *url;
    const char *options;
    bool enabled;
    const char *webhook_url, *webhook_secret; /* NULL as in nx_stream */
    const char *created_by;                   /* these three when it is added */
    const char *user, *key;
} nx_stream_request;

/* Errors: NX_ERR_CONFLICT (the name is taken, or there are NX_STREAMS_MOST). */
nx_status nx_store_stream_add(nx_store *store, const nx_stream_request *request, nx_arena *arena,
                              nx_stream *out, nx_error *err);

/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_stream_get(nx_store *store, const char *id, nx_arena *arena, nx_stream *out,
                              nx_error *err);

/* The newest first; before: the last id of the page before, or NULL. */
nx_status nx_store_streams_list(nx_store *store, const char *before, size_t limit, nx_arena *arena,
                                nx_stream *out, size_t *count, nx_error *err);

/* Puts name, URL, options, enabled and webhook in the place of version's. Errors: NX_ERR_NOT_FOUND,
 * NX_ERR_CONFLICT (it is another version by now, or the name is taken). */
nx_status nx_store_stream_change(nx_store *store, const char *id, int64_t version,
                                 const nx_stream_request *request, nx_arena *arena, nx_stream *out,
                                 nx_error *err);

/* Whoever runs it notices when it renews its lease. Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_stream_remove(nx_store *store, const char *id, nx_error *err);

/* --- for those who run them --- */

typedef struct nx_stream_lease {
    const char *id;
    int64_t fence;
} nx_stream_lease;

/* Who runs streams, and where other processes may look at them (streams/relay_listener.h): by a
 * socket's name on the same host, by HOST:PORT from others, with a secret. Any but name may be
 * NULL: then nobody can. */
typedef struct nx_stream_runner {
    const char *name, *path, *address, *token;
} nx_stream_runner;

/* Takes up to limit enabled streams that nobody runs, which is also the room in out, those first
 * that have waited longest. */
nx_status nx_store_streams_take(nx_store *store, const nx_stream_runner *runner, size_t limit,
                                int64_t lease_ms, nx_arena *arena, nx_stream *out, size_t *count,
                                nx_error *err);

/* What its runner tells of a stream. */
typedef struct nx_stream_report {
    nx_stream_state state;
    const char *reason;
    const char *status; /* JSON */
    const char *counts; /* JSON; NULL: none */
} nx_stream_report;

/* Extends a lease from now. *version and *enabled: what it is to be by now. Errors:
 * NX_ERR_NOT_FOUND (it was removed), NX_ERR_CONFLICT (somebody else has it). */
nx_status nx_store_stream_hold(nx_store *store, const nx_stream_lease *lease, int64_t lease_ms,
                               const nx_stream_report *report, int64_t *version, bool *enabled,
                               nx_error *err);

/* Gives it back, for the next one to take at once; it is stopped, with a reason. A lease that is
 * not one any more is no error. */
nx_status nx_store_stream_release(nx_store *store, const nx_stream_lease *lease, const char *reason,
                                  nx_error *err);

#endif

/*
 * Inside src/auth: what a limiter's buckets have given out is told to a Redis that other processes
 * ask as well, and what these gave out is learnt from there. Thread-safe.
 *
 * In Redis: nexus:rate:CLASS:COUNT/PERIOD/BURST:SUBJECT, the time in microseconds at which the
 * bucket is full again, which is when the key ends. One script adds to up to 12 of them; its clock
 * is Redis's (TIME). A key that is not there, since Redis was restarted or short of memory, begins
 * with what the process that tells has in its own bucket.
 */
#ifndef NX_AUTH_RATE_SHARE_H
#define NX_AUTH_RATE_SHARE_H

#include "auth/rate_limit.h"

/* A bucket, wherever it is. */
typedef struct nx_rate_bucket {
    uint64_t key; /* of the limiter's table; never 0 */
    nx_rate_class rate_class;
    nx_rate rate;
    nx_rate_subject subject;
} nx_rate_bucket;

typedef struct nx_rate_share nx_rate_share;

/* What the thread asks of the limiter; it holds no lock meanwhile. */
typedef struct nx_rate_share_hooks {
    /* For how long the bucket will not be full. */
    int64_t (*used_ns)(const nx_rate_bucket *bucket, int64_t now_ns, void *user);
    /* It is not full before then. */
    void (*raise)(const nx_rate_bucket *bucket, int64_t full_ns, void *user);
    /* Tries again for somebody who waits; false: still LATER. last: LATER is no answer. */
    bool (*decide)(nx_rate_wait *wait, bool last, void *user);
    void *user;
} nx_rate_share_hooks;

/* Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_rate_share_new(nx_redis *redis, const nx_rate_share_hooks *hooks, nx_rate_share **out,
                            nx_error *err);
/* Ends the thread; whoever waits is decided for. NULL is fine. */
void nx_rate_share_free(nx_rate_share *share);

/* Before a token is taken: false, when the process is ahead by its share and Redis answers.
 * patient: whoever asks would wait then; else it is always true. After true nx_rate_share_end
 * follows. */
bool nx_rate_share_begin(nx_rate_share *share, const nx_rate_bucket *bucket, bool patient);
/* taken: a token was, and the others are to hear of it. */
void nx_rate_share_end(nx_rate_share *share, const nx_rate_bucket *bucket, bool taken);

bool nx_rate_share_wait(nx_rate_share *share, nx_rate_wait *wait);

/* Adds to told, alone and waited. */
void nx_rate_share_add_stats(nx_rate_share *share, nx_rate_stats *stats);

#endif

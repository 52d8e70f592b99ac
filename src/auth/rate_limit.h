/*
 * How often somebody may ask: a token bucket for each of them and each class of routes, kept as its
 * "theoretical arrival time" (GCRA: ITU-T I.371, annex A), which is one number.
 *
 * Each process decides at once from its own table: a keyed hash, one of 64 locks for a moment,
 * no allocation. The table is bounded. A bucket that is full again says nothing and gives its place
 * to the next; one that is not is never given up, so that no flood of strangers makes anybody's
 * bucket full. When there is no place left the newcomers of a part of the table share a bucket.
 * Strangers (addresses) and people (users, keys) have tables of their own.
 *
 * Thread-safe.
 */
#ifndef NX_AUTH_RATE_LIMIT_H
#define NX_AUTH_RATE_LIMIT_H

#include "auth/identity.h"
#include "base/address.h"
#include "base/rate.h"

typedef struct nx_rate_limiter nx_rate_limiter;

typedef enum nx_rate_class {
    NX_RATE_CLASS_AUTH, /* signing in, set-up, passwords */
    NX_RATE_CLASS_INFER,
    NX_RATE_CLASS_WRITE,
    NX_RATE_CLASS_READ,
    NX_RATE_CLASSES,
} nx_rate_class;

const char *nx_rate_class_name(nx_rate_class rate_class); /* "auth" */
/* NX_RATE_CLASSES for a name that is none of them, and for NULL. */
nx_rate_class nx_rate_class_of(const char *name);

/* Whose bucket it is. Plain data. */
typedef struct nx_rate_subject {
    uint8_t bytes[NX_UUID_SIZE + 1];
    size_t size;
    bool stranger;
} nx_rate_subject;

/* The API key, or the user, or where nobody is known the client's network. Signing in is by network
 * whoever asks. */
nx_rate_subject nx_rate_subject_of(const nx_identity *identity, const nx_address *client,
                                   nx_rate_class rate_class);

nx_status nx_rate_limiter_new(const nx_rate rates[NX_RATE_CLASSES], nx_rate_limiter **out,
                              nx_error *err);
/* Other rates from now on. Buckets of a class whose rate is another begin full. */
void nx_rate_limiter_set(nx_rate_limiter *limiter, const nx_rate rates[NX_RATE_CLASSES]);
void nx_rate_limiter_free(nx_rate_limiter *limiter); /* NULL is fine */

typedef enum nx_rate_answer {
    NX_RATE_OFF, /* there is no limit for this */
    NX_RATE_ALLOWED,
    NX_RATE_REFUSED,
} nx_rate_answer;

/* For the answer's headers; of ALLOWED and REFUSED. */
typedef struct nx_rate_state {
    int64_t limit;         /* most tokens that the bucket holds */
    int64_t remaining;     /* tokens in it now */
    int64_t reset_s;       /* until it is full again, if nobody asks */
    int64_t retry_after_s; /* of REFUSED: until there is a token, at least 1 */
} nx_rate_state;

/* Takes a token. now_ns is nx_clock_now_ns(). */
nx_rate_answer nx_rate_take(nx_rate_limiter *limiter, nx_rate_class rate_class,
                            const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out);

/* Counts since the start. */
typedef struct nx_rate_stats {
    uint64_t refused[NX_RATE_CLASSES];
    uint64_t crowded; /* decided by a shared bucket */
} nx_rate_stats;
nx_rate_stats nx_rate_get_stats(const nx_rate_limiter *limiter);

#endif

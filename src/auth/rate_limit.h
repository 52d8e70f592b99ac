/*
 * How often somebody may ask: a token bucket for each of them and each class of routes, kept as its
 * "theoretical arrival time" (GCRA: ITU-T I.371, annex A), which is one number.
 *
 * The table is bounded: a keyed hash, one of 64 locks for a moment, no allocation. A bucket that is
 * full again says nothing and gives its place to the next; one that is not is never given up, so
 * that no flood of strangers makes anybody's bucket full. When there is no place left the newcomers
 * of a part of the table share a bucket. Strangers (addresses) and people (users, keys) have tables
 * of their own.
 *
 * Several processes of one host may have one table, in memory that they share; then they have one
 * limit, to the token.
 *
 * Several hosts have one limit through a Redis, where each bucket is a number as well, by Redis's
 * own clock. Each process still decides at once by its own table. What it has let through it tells
 * Redis a moment later, on a thread of its own, and learns what all others did. It may be ahead of
 * Redis by a share: a 64th of the bucket, at least one token. Whoever would get more waits for
 * Redis's answer. So all together let through at most a share each more than the limit, and that
 * is a debt: it comes out of what comes back. When Redis does not answer nobody waits, and each
 * process limits by itself, as ever; when it does again it is told what each process knows.
 *
 * Thread-safe.
 */
#ifndef NX_AUTH_RATE_LIMIT_H
#define NX_AUTH_RATE_LIMIT_H

#include "auth/identity.h"
#include "base/address.h"
#include "base/rate.h"
#include "cache/redis_client.h"

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

/* The client's network as somebody who shows tokens that nobody knows: apart from the one that
 * shows none, so that strangers do not keep a neighbour from being looked up. */
nx_rate_subject nx_rate_subject_of_guesses(const nx_address *client);

/* Tables for the processes of one host: the parent makes them before it forks. A process that is
 * killed leaves them in order. Errors: NX_ERR_NO_MEMORY. */
typedef struct nx_rate_memory nx_rate_memory;
nx_status nx_rate_memory_new(nx_rate_memory **out, nx_error *err);
void nx_rate_memory_free(nx_rate_memory *memory); /* in each process; NULL is fine */

/* All borrowed; all zero is fine. */
typedef struct nx_rate_limiter_options {
    nx_rate_memory *memory; /* NULL: of its own */
    nx_redis *redis;        /* NULL: no other host has the same limits */
} nx_rate_limiter_options;

/* options may be NULL. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_rate_limiter_new(const nx_rate rates[NX_RATE_CLASSES],
                              const nx_rate_limiter_options *options, nx_rate_limiter **out,
                              nx_error *err);
/* Other rates from now on. Buckets of a class whose rate is another begin full. */
void nx_rate_limiter_set(nx_rate_limiter *limiter, const nx_rate rates[NX_RATE_CLASSES]);
/* Decides for those who still wait, and ends. NULL is fine. */
void nx_rate_limiter_free(nx_rate_limiter *limiter);

typedef enum nx_rate_answer {
    NX_RATE_OFF, /* there is no limit for this */
    NX_RATE_ALLOWED,
    NX_RATE_REFUSED,
    NX_RATE_LATER, /* the others have to be asked; of nx_rate_try alone */
} nx_rate_answer;

/* For the answer's headers; of ALLOWED and REFUSED. */
typedef struct nx_rate_state {
    int64_t limit;         /* most tokens that the bucket holds */
    int64_t remaining;     /* tokens in it now */
    int64_t reset_s;       /* until it is full again, if nobody asks */
    int64_t retry_after_s; /* of REFUSED: until there is a token, at least 1 */
} nx_rate_state;

/* Takes a token, and never waits. now_ns is nx_clock_now_ns(). */
nx_rate_answer nx_rate_take(nx_rate_limiter *limiter, nx_rate_class rate_class,
                            const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out);
/* The same, but LATER where this process is ahead of the others by its share: nothing was taken. */
nx_rate_answer nx_rate_try(nx_rate_limiter *limiter, nx_rate_class rate_class,
                           const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out);

/* Embedded in whoever waits; lives until decided was called, which may free it. */
typedef struct nx_rate_wait {
    struct nx_rate_wait *next; /* the limiter's own */
    nx_rate_class rate_class;
    nx_rate_subject subject;
    /* On the limiter's thread, which must not wait: not LATER. */
    void (*decided)(struct nx_rate_wait *wait, nx_rate_answer answer, const nx_rate_state *state);
} nx_rate_wait;

/* After LATER: takes a token as soon as that is known, within the time that a call of Redis may
 * take. False: too many wait, and decided is not called. */
bool nx_rate_later(nx_rate_limiter *limiter, nx_rate_wait *wait);

/*
 * A token for what may turn out to cost none: taken as by nx_rate_take, but no other process hears
 * of it until it is paid. After ALLOWED one of the other two follows, with the same rate or, after
 * a reload, another, which then counts.
 */
nx_rate_answer nx_rate_hold(nx_rate_limiter *limiter, nx_rate_class rate_class,
                            const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out);
void nx_rate_pay(nx_rate_limiter *limiter, nx_rate_class rate_class,
                 const nx_rate_subject *subject);
void nx_rate_give_back(nx_rate_limiter *limiter, nx_rate_class rate_class,
                       const nx_rate_subject *subject);

/* Counts since the start. */
typedef struct nx_rate_stats {
    uint64_t refused[NX_RATE_CLASSES];
    uint64_t crowded; /* decided by a shared bucket */
    /* with Redis: */
    uint64_t told;   /* tokens that the others know of */
    uint64_t alone;  /* tokens that they don't: Redis did not answer, or too many buckets changed */
    uint64_t waited; /* requests that waited for its answer */
} nx_rate_stats;
nx_rate_stats nx_rate_get_stats(const nx_rate_limiter *limiter);

#endif

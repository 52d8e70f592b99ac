/*
 * Commands to one Redis (hiredis; redis.io/docs/reference/protocol-spec, RESP2): a bounded pool of
 * connections, a deadline for each call, and a circuit breaker, so that a Redis that is slow, full
 * or gone costs whoever asks it next to nothing.
 *
 *     const nx_redis_arg args[] = {NX_REDIS_WORD("GET"), {key, key_size}};
 *     nx_redis_reply reply;
 *     if (nx_redis_run(redis, args, 2, &reply, &err) == NX_OK) {
 *         ... reply.type, reply.bytes ...
 *         nx_redis_reply_free(&reply);
 *     }
 *
 * The breaker. Closed, calls go through. A connection that can't be made, or three calls in a row
 * that failed, open it: calls fail at once, and a thread of the client tries to connect after a
 * pause that doubles from retry_ms to max_retry_ms, each shortened at random by up to half
 * (half-open). When the server answers, the breaker closes. No caller ever waits for such a trial.
 *
 * What counts as failed: no answer by the deadline, a broken connection, bytes that are no reply,
 * and replies that tell of the server's state (LOADING, OOM, READONLY, MISCONF, MASTERDOWN, BUSY,
 * NOAUTH and the like). Other error replies are the caller's fault, and count as answers.
 *
 * Thread-safe behind one lock, which is never held over a wait for the network. A call waits at
 * most timeout_ms, for a connection and the reply together: not for a connection's thread.
 */
#ifndef NX_CACHE_REDIS_CLIENT_H
#define NX_CACHE_REDIS_CLIENT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_redis nx_redis;

typedef struct nx_redis_options {
    const char *url;       /* as cache/redis_url.h has it; copied */
    uint32_t connections;  /* at most so many; 0: 8 */
    uint32_t connect_ms;   /* 0: 500; a trial's own thread waits, nobody else */
    uint32_t timeout_ms;   /* of a call; 0: 50 */
    uint32_t retry_ms;     /* the breaker's first pause; 0: 100 */
    uint32_t max_retry_ms; /* and its longest; 0: 5000 */
} nx_redis_options;

/* Connects when it is first asked, not before. Errors: NX_ERR_INVALID or NX_ERR_UNSUPPORTED (the
 * URL; its text is in no message), NX_ERR_NO_MEMORY, NX_ERR_INTERNAL (no thread). */
nx_status nx_redis_new(const nx_redis_options *options, nx_redis **out, nx_error *err);
/* No call may be under way. Waits for a trial to connect that is. NULL is fine. */
void nx_redis_free(nx_redis *redis);

/* --- commands -----------------------------------------------------------------------------------
 */

typedef struct nx_redis_arg {
    const void *bytes;
    size_t size;
} nx_redis_arg;

/* A string constant as an argument. */
#define NX_REDIS_WORD(text)                                                                        \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }

#define NX_REDIS_MAX_ARGS 64

typedef enum nx_redis_type {
    NX_REDIS_NIL,
    NX_REDIS_INTEGER,
    NX_REDIS_TEXT,  /* a string or a status */
    NX_REDIS_ARRAY, /* of at most 1,024 items */
    NX_REDIS_ERROR, /* only inside of an array: an error of its own is one of the call */
} nx_redis_type;

/* A copy of what came, owned by the caller. */
typedef struct nx_redis_reply {
    nx_redis_type type;
    int64_t integer;
    char *bytes; /* of a text or an error, and a NUL behind them */
    size_t size;
    struct nx_redis_reply *items;
    size_t count;
} nx_redis_reply;

/* Frees what the reply holds and leaves NIL. */
void nx_redis_reply_free(nx_redis_reply *reply);

/*
 * One command, 1 to NX_REDIS_MAX_ARGS arguments. *out is NIL after a failure.
 * Errors: NX_ERR_UNAVAILABLE (the breaker is open, no connection, a broken one, or the server's
 * state), NX_ERR_TIMEOUT, NX_ERR_CORRUPT (bytes that are no reply, or more than 16 MiB of one),
 * NX_ERR_INVALID (an error reply of another kind, with its text; the arguments), NX_ERR_NO_MEMORY.
 * After NX_ERR_TIMEOUT and a broken connection the command may have been carried out all the same.
 */
nx_status nx_redis_run(nx_redis *redis, const nx_redis_arg *args, size_t count, nx_redis_reply *out,
                       nx_error *err);

/* A Lua script, which belongs to one client and lives as long as that is asked to run it. */
typedef struct nx_redis_script {
    const char *text;
    char sha1[41]; /* the client's own: what the server calls it */
} nx_redis_script;

/*
 * Runs a script by its hash (EVALSHA), and by its text where the server does not know it (any
 * more). Keys and args together at most NX_REDIS_MAX_ARGS - 3. Errors: as nx_redis_run.
 */
nx_status nx_redis_eval(nx_redis *redis, nx_redis_script *script, const nx_redis_arg *keys,
                        size_t key_count, const nx_redis_arg *args, size_t arg_count,
                        nx_redis_reply *out, nx_error *err);

/* --- state --------------------------------------------------------------------------------------
 */

typedef enum nx_redis_state {
    NX_REDIS_CLOSED,    /* calls go through */
    NX_REDIS_OPEN,      /* they fail at once */
    NX_REDIS_HALF_OPEN, /* so they do, and one trial is under way */
} nx_redis_state;

/* "closed", "open", "half_open". */
const char *nx_redis_state_name(nx_redis_state state);

typedef struct nx_redis_stats {
    nx_redis_state state;
    uint64_t openings; /* of the breaker */
    uint64_t calls;    /* that were answered, errors of the caller included */
    uint64_t failures; /* calls that failed */
    uint64_t refused;  /* calls that the open breaker failed at once */
    uint64_t connects; /* connections that were made */
    uint32_t in_use;
    uint32_t idle;
    char reason[256]; /* of the last opening; "" while closed */
} nx_redis_stats;

nx_redis_stats nx_redis_get_stats(nx_redis *redis);

/* What `nexus check` tells. */
typedef struct nx_redis_report {
    char version[32];
    char policy[32];    /* maxmemory-policy */
    uint64_t maxmemory; /* bytes; 0: without a bound */
    uint64_t used;
} nx_redis_report;

/* Connects once, waiting up to connect_ms for each step, and asks the server about itself (INFO).
 * Errors: those of nx_redis_new and nx_redis_run. */
nx_status nx_redis_check(const nx_redis_options *options, nx_redis_report *out, nx_error *err);

#endif

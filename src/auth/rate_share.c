#include "auth/rate_share.h"

#include "base/clock.h"
#include "base/condition.h"

#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the bucket a process may be ahead by one in so many. */
#define SHARES 64
/* Buckets that wait to be told, or are being told. */
#define ITEMS  1024
#define PROBES 8
/* Requests that wait. */
#define MOST_WAITING 1024
/* In one call: a key and four arguments each, and NX_REDIS_MAX_ARGS - 3 in all. */
#define BATCH    12
#define PER_ITEM 4
/* So long tokens are gathered, unless half a share is reached. */
#define GATHER_NS (5 * NX_NS_PER_MS)

/* What a bucket has given out and Redis has not confirmed. */
typedef struct item {
    nx_rate_bucket bucket; /* its key is 0: free */
    int64_t held;          /* between begin and end */
    int64_t untold;        /* to be told; such an item is in the queue */
    int64_t sent;          /* being told */
    int64_t since_ns;      /* when it came into the queue */
    struct item *next;
} item;

struct nx_rate_share {
    nx_redis *redis;
    nx_rate_share_hooks hooks;
    nx_redis_script script;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest; not held over Redis, nor over hooks */
    pthread_cond_t more;
    item items[ITEMS];
    item *first, *last; /* the queue */
    nx_rate_wait *waiting, **waiting_end;
    size_t waiting_count;
    bool urgent; /* do not gather */
    bool nudged; /* who waits may be decided for now */
    bool alone;  /* Redis did not answer last time */
    bool stopping;
    uint64_t told, lone, waited;
};

/*
 * KEYS: buckets. ARGV, for each: nanoseconds in which a token comes back, most tokens, tokens
 * taken, microseconds for which the bucket is not full by the process's own table, these tokens
 * included. Returns for each the microseconds for which it is not full. A time that is further off
 * than twice the bucket is none (a clock that was set back).
 */
static const char script_text[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000000 + t[2]\n"
    "local out = {}\n"
    "for i = 1, #KEYS do\n"
    "  local step = tonumber(ARGV[4 * i - 3]) / 1000\n"
    "  local burst = tonumber(ARGV[4 * i - 2])\n"
    "  local taken = tonumber(ARGV[4 * i - 1])\n"
    "  local full = tonumber(redis.call('GET', KEYS[i]) or '')\n"
    "  if not full then full = now + tonumber(ARGV[4 * i]) - taken * step end\n"
    "  full = math.min(math.max(full, now), now + 2 * burst * step) + taken * step\n"
    "  local left = math.ceil(full - now)\n"
    "  redis.call('SET', KEYS[i], string.format('%.0f', full), 'PX', math.ceil(left / 1000) + 1)\n"
    "  out[i] = left\n"
    "end\n"
    "return out\n";

static int64_t share_of(const nx_rate *rate)
{
    return rate->burst < SHARES ? 1 : rate->burst / SHARES;
}

/* --- items; the lock is held --------------------------------------------------------------------
 */

static item *find(nx_rate_share *share, uint64_t key)
{
    for (size_t i = 0; i < PROBES; i++) {
        item *it = &share->items[(key + i) % ITEMS];
        if (it->bucket.key == key) {
            return it;
        }
    }
    return NULL;
}

/* NULL: there is no place, and the others don't hear of it. */
static item *find_or_make(nx_rate_share *share, const nx_rate_bucket *bucket)
{
    item *it = find(share, bucket->key);
    for (size_t i = 0; i < PROBES && it == NULL; i++) {
        item *place = &share->items[(bucket->key + i) % ITEMS];
        if (place->bucket.key == 0) {
            *place = (item){.bucket = *bucket};
            it = place;
        }
    }
    return it;
}

static void free_if_done(item *it)
{
    if (it->held == 0 && it->untold == 0 && it->sent == 0) {
        it->bucket.key = 0;
    }
}

/* Adds a token to what is to be told. */
static void add(nx_rate_share *share, item *it)
{
    bool wake = share->first == NULL;
    if (it->untold == 0) {
        it->since_ns = nx_clock_now_ns();
        it->next = NULL;
        *(share->last != NULL ? &share->last->next : &share->first) = it;
        share->last = it;
    }
    if (it->untold < it->bucket.rate.burst) {
        it->untold++;
    }
    if (!share->alone && !share->urgent && 2 * it->untold >= share_of(&it->bucket.rate)) {
        share->urgent = wake = true;
    }
    if (wake) {
        pthread_cond_signal(&share->more);
    }
}

/* --- who asks -----------------------------------------------------------------------------------
 */

bool nx_rate_share_begin(nx_rate_share *share, const nx_rate_bucket *bucket, bool patient)
{
    pthread_mutex_lock(&share->lock);
    item *it = find_or_make(share, bucket);
    bool ahead = it != NULL && it->held + it->untold + it->sent >= share_of(&bucket->rate);
    bool later = ahead && patient && !share->alone && !share->stopping;
    if (it != NULL && !later) {
        it->held++;
    }
    pthread_mutex_unlock(&share->lock);
    return !later;
}

void nx_rate_share_end(nx_rate_share *share, const nx_rate_bucket *bucket, bool taken)
{
    pthread_mutex_lock(&share->lock);
    item *it = find(share, bucket->key);
    if (it != NULL && it->held > 0) {
        it->held--;
        if (taken) {
            add(share, it);
        } else {
            free_if_done(it);
        }
    } else {
        share->lone += taken;
    }
    if (!taken && share->waiting != NULL) { /* who waits for this one waits for nothing else */
        share->nudged = true;
        pthread_cond_signal(&share->more);
    }
    pthread_mutex_unlock(&share->lock);
}

bool nx_rate_share_wait(nx_rate_share *share, nx_rate_wait *wait)
{
    pthread_mutex_lock(&share->lock);
    bool room = share->waiting_count < MOST_WAITING && !share->stopping;
    if (room) {
        wait->next = NULL;
        *share->waiting_end = wait;
        share->waiting_end = &wait->next;
        share->waiting_count++;
        share->waited++;
        share->urgent = share->nudged = true; /* what it waits for may have come by now */
        pthread_cond_signal(&share->more);
    }
    pthread_mutex_unlock(&share->lock);
    return room;
}

/* --- the thread; the lock is held ---------------------------------------------------------------
 */

/* Those who must wait on go to the end of the line. */
static void decide_waiting(nx_rate_share *share, bool last)
{
    nx_rate_wait *wait = share->waiting;
    share->waiting = NULL;
    share->waiting_end = &share->waiting;
    share->waiting_count = 0;
    share->nudged = false;
    while (wait != NULL) {
        nx_rate_wait *next = wait->next;
        pthread_mutex_unlock(&share->lock);
        bool decided = share->hooks.decide(wait, last, share->hooks.user);
        pthread_mutex_lock(&share->lock);
        if (!decided) {
            wait->next = NULL;
            *share->waiting_end = wait;
            share->waiting_end = &wait->next;
            share->waiting_count++;
        }
        wait = next;
    }
}

/* What is told in one call. */
typedef struct batch {
    size_t count;
    item *items[BATCH];
    nx_rate_bucket buckets[BATCH];
    int64_t tokens[BATCH];
} batch;

static void fill_batch(nx_rate_share *share, batch *b)
{
    b->count = 0;
    while (share->first != NULL && b->count < BATCH) {
        item *it = share->first;
        share->first = it->next;
        share->last = it->next == NULL ? NULL : share->last;
        it->sent = it->untold;
        it->untold = 0;
        b->items[b->count] = it;
        b->buckets[b->count] = it->bucket;
        b->tokens[b->count++] = it->sent;
    }
    share->urgent = share->urgent && share->first != NULL;
}

static size_t write_name(const nx_rate_bucket *bucket, char *out, size_t size)
{
    const nx_rate_subject *subject = &bucket->subject;
    char name[2 * sizeof subject->bytes + 1];
    if (subject->stranger) { /* an address's bytes */
        (void)sodium_bin2hex(name, sizeof name, subject->bytes + 1, subject->size - 1);
    } else {
        snprintf(name, sizeof name, "%.*s", (int)subject->size - 1,
                 (const char *)subject->bytes + 1);
    }
    int length = snprintf(out, size, "nexus:rate:%s:%lld/%lld/%lld:%c%s",
                          nx_rate_class_name(bucket->rate_class), (long long)bucket->rate.count,
                          (long long)bucket->rate.period_ns, (long long)bucket->rate.burst,
                          (char)subject->bytes[0], name);
    return (size_t)length;
}

static int64_t step_of(const nx_rate_bucket *bucket)
{
    return bucket->rate.period_ns / bucket->rate.count;
}

/* For how long the buckets will not be full by the process's own table, without what is told
 * later. */
static void look(nx_rate_share *share, const batch *b, int64_t now_ns, int64_t used_ns[BATCH])
{
    pthread_mutex_unlock(&share->lock);
    for (size_t i = 0; i < b->count; i++) {
        used_ns[i] = share->hooks.used_ns(&b->buckets[i], now_ns, share->hooks.user);
    }
    pthread_mutex_lock(&share->lock);
    for (size_t i = 0; i < b->count; i++) {
        used_ns[i] -= (b->items[i]->held + b->items[i]->untold) * step_of(&b->buckets[i]);
    }
}

/* Without the lock. Tells a batch; used_ns becomes what Redis says of it. */
static bool tell(nx_rate_share *share, const batch *b, int64_t used_ns[BATCH])
{
    char names[BATCH][192];
    char numbers[BATCH * PER_ITEM][24];
    nx_redis_arg keys[BATCH];
    nx_redis_arg args[BATCH * PER_ITEM];
    nx_redis_reply reply;
    nx_error err = {0};
    for (size_t i = 0; i < b->count; i++) {
        const nx_rate *rate = &b->buckets[i].rate;
        const int64_t values[PER_ITEM] = {step_of(&b->buckets[i]), rate->burst, b->tokens[i],
                                          used_ns[i] / 1000};
        keys[i] = (nx_redis_arg){names[i], write_name(&b->buckets[i], names[i], sizeof names[i])};
        for (size_t j = 0; j < PER_ITEM; j++) {
            char *text = numbers[i * PER_ITEM + j];
            int length = snprintf(text, sizeof numbers[0], "%lld", (long long)values[j]);
            args[i * PER_ITEM + j] = (nx_redis_arg){text, (size_t)length};
        }
    }
    nx_status status = nx_redis_eval(share->redis, &share->script, keys, b->count, args,
                                     b->count * PER_ITEM, &reply, &err);
    bool told = status == NX_OK && reply.type == NX_REDIS_ARRAY && reply.count == b->count;
    for (size_t i = 0; i < b->count && told; i++) {
        told = reply.items[i].type == NX_REDIS_INTEGER && reply.items[i].integer >= 0 &&
               reply.items[i].integer < INT64_MAX / 2000;
        used_ns[i] = reply.items[i].integer * 1000;
    }
    nx_redis_reply_free(&reply);
    return told;
}

/* Raises the buckets of a batch to what Redis has said; what was taken meanwhile comes on top. The
 * time is that of before the call: never later than Redis's, so that nobody is kept longer. */
static void learn(nx_rate_share *share, const batch *b, int64_t now_ns, const int64_t *used_ns)
{
    int64_t more[BATCH] = {0};
    for (size_t i = 0; i < b->count; i++) {
        more[i] = b->items[i]->untold;
    }
    pthread_mutex_unlock(&share->lock);
    for (size_t i = 0; i < b->count; i++) {
        int64_t full_ns = now_ns + used_ns[i] + more[i] * step_of(&b->buckets[i]);
        share->hooks.raise(&b->buckets[i], full_ns, share->hooks.user);
    }
    pthread_mutex_lock(&share->lock);
}

static void tell_batch(nx_rate_share *share)
{
    batch b;
    int64_t used_ns[BATCH] = {0};
    int64_t now_ns = nx_clock_now_ns();
    fill_batch(share, &b);
    look(share, &b, now_ns, used_ns);
    pthread_mutex_unlock(&share->lock);
    bool told = tell(share, &b, used_ns);
    pthread_mutex_lock(&share->lock);
    share->alone = !told;
    if (told) {
        learn(share, &b, now_ns, used_ns);
    }
    for (size_t i = 0; i < b.count; i++) {
        *(told ? &share->told : &share->lone) += (uint64_t)b.tokens[i];
        b.items[i]->sent = 0;
        free_if_done(b.items[i]);
    }
    share->nudged = true;
}

static void *work(void *user)
{
    nx_rate_share *share = user;
    pthread_mutex_lock(&share->lock);
    while (!share->stopping) {
        if (share->nudged) {
            decide_waiting(share, false);
        } else if (share->first == NULL) {
            pthread_cond_wait(&share->more, &share->lock);
        } else if (share->urgent || nx_condition_wait(&share->more, &share->lock,
                                                      share->first->since_ns + GATHER_NS) != 0) {
            tell_batch(share);
        }
    }
    while (share->waiting != NULL) {
        decide_waiting(share, true);
    }
    pthread_mutex_unlock(&share->lock);
    return NULL;
}

/* --- life ---------------------------------------------------------------------------------------
 */

nx_status nx_rate_share_new(nx_redis *redis, const nx_rate_share_hooks *hooks, nx_rate_share **out,
                            nx_error *err)
{
    nx_rate_share *share = calloc(1, sizeof *share);
    *out = NULL;
    if (share == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for limits");
    }
    share->redis = redis;
    share->hooks = *hooks;
    share->script.text = script_text;
    share->waiting_end = &share->waiting;
    share->alone = nx_redis_get_stats(redis).state != NX_REDIS_CLOSED;
    pthread_mutex_init(&share->lock, NULL);
    nx_condition_init(&share->more);
    int failure = pthread_create(&share->thread, NULL, work, share);
    if (failure != 0) {
        share->stopping = true; /* there is nothing to join */
        nx_rate_share_free(share);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure, "no thread for limits");
    }
    *out = share;
    return NX_OK;
}

static void stop(nx_rate_share *share)
{
    if (!share->stopping) {
        pthread_mutex_lock(&share->lock);
        share->stopping = true;
        pthread_cond_signal(&share->more);
        pthread_mutex_unlock(&share->lock);
        pthread_join(share->thread, NULL);
    }
}

void nx_rate_share_free(nx_rate_share *share)
{
    if (share != NULL) {
        stop(share);
        pthread_cond_destroy(&share->more);
        pthread_mutex_destroy(&share->lock);
        free(share);
    }
}

void nx_rate_share_add_stats(nx_rate_share *share, nx_rate_stats *stats)
{
    pthread_mutex_lock(&share->lock);
    stats->told += share->told;
    stats->alone += share->lone;
    stats->waited += share->waited;
    pthread_mutex_unlock(&share->lock);
}

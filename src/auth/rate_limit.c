#include "auth/rate_limit.h"

#include "base/clock.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define LOCKS     64
#define SETS      1024 /* of each table */
#define WAYS      8    /* buckets of a set; one more is shared */
#define BUCKETS   ((size_t)SETS * (WAYS + 1))
#define STRANGERS 1 /* the table of addresses */

typedef struct bucket {
    uint64_t key;   /* 0: never used */
    int64_t tat_ns; /* full from then on */
} bucket;

typedef struct table {
    pthread_mutex_t locks[LOCKS];
    bucket *buckets; /* set by set */
} table;

struct nx_rate_limiter {
    pthread_mutex_t rates_lock; /* guards the rates, for as long as copying one takes */
    nx_rate rates[NX_RATE_CLASSES];
    uint8_t secret[crypto_shorthash_KEYBYTES];
    table tables[2];
    _Atomic uint64_t refused[NX_RATE_CLASSES];
    _Atomic uint64_t crowded;
};

/* --- names --- */

static const char *const names[NX_RATE_CLASSES] = {
    [NX_RATE_CLASS_AUTH] = "auth",
    [NX_RATE_CLASS_INFER] = "infer",
    [NX_RATE_CLASS_WRITE] = "write",
    [NX_RATE_CLASS_READ] = "read",
};

const char *nx_rate_class_name(nx_rate_class rate_class)
{
    return names[rate_class];
}

nx_rate_class nx_rate_class_of(const char *name)
{
    for (int i = 0; name != NULL && i < NX_RATE_CLASSES; i++) {
        if (strcmp(names[i], name) == 0) {
            return (nx_rate_class)i;
        }
    }
    return NX_RATE_CLASSES;
}

nx_rate_subject nx_rate_subject_of(const nx_identity *identity, const nx_address *client,
                                   nx_rate_class rate_class)
{
    bool key = identity->kind == NX_IDENTITY_KEY;
    bool known = key || identity->kind == NX_IDENTITY_SESSION;
    nx_rate_subject out = {.stranger = !known || rate_class == NX_RATE_CLASS_AUTH};
    if (out.stranger) {
        const nx_address network = nx_address_network(client);
        out.bytes[0] = 'a';
        memcpy(out.bytes + 1, network.bytes, sizeof network.bytes);
        out.size = 1 + sizeof network.bytes;
    } else {
        const char *id = key ? identity->key_id : identity->user_id;
        size_t size = strlen(id);
        out.bytes[0] = key ? 'k' : 'u';
        memcpy(out.bytes + 1, id, size);
        out.size = 1 + size;
    }
    return out;
}

/* --- buckets --- */

/* The time that a token takes to come back. */
static int64_t step_of(const nx_rate *rate)
{
    return rate->period_ns / rate->count;
}

static int64_t seconds_of(int64_t ns)
{
    return (ns + NX_NS_PER_SEC - 1) / NX_NS_PER_SEC;
}

static bool take(bucket *b, const nx_rate *rate, int64_t now_ns, nx_rate_state *out)
{
    int64_t step = step_of(rate);
    int64_t capacity = step * rate->burst;
    int64_t tat = b->tat_ns > now_ns ? b->tat_ns : now_ns;
    bool allowed = tat + step - now_ns <= capacity;
    int64_t short_ns = tat + step - now_ns - capacity;
    if (allowed) {
        tat += step;
        b->tat_ns = tat;
    }
    *out = (nx_rate_state){
        .limit = rate->burst,
        .remaining = allowed ? (capacity - (tat - now_ns)) / step : 0,
        .reset_s = seconds_of(tat - now_ns),
        .retry_after_s = allowed ? 0 : seconds_of(short_ns),
    };
    return allowed;
}

/* The set's bucket of this key: its own, one that is full and so free, or the shared one. */
static bucket *find(bucket *set, uint64_t key, int64_t now_ns, bool *shared)
{
    bucket *place = NULL;
    *shared = false;
    for (size_t i = 0; i < WAYS; i++) {
        if (set[i].key == key) {
            return &set[i];
        }
        if (place == NULL && (set[i].key == 0 || set[i].tat_ns <= now_ns)) {
            place = &set[i];
        }
    }
    *shared = place == NULL;
    if (*shared) {
        return &set[WAYS];
    }
    *place = (bucket){.key = key};
    return place;
}

static nx_rate rate_of(nx_rate_limiter *limiter, nx_rate_class rate_class)
{
    pthread_mutex_lock(&limiter->rates_lock);
    nx_rate rate = limiter->rates[rate_class];
    pthread_mutex_unlock(&limiter->rates_lock);
    return rate;
}

/* Of the rate as well: a time that another rate has set would mean nothing. */
static uint64_t hash(const nx_rate_limiter *limiter, nx_rate_class rate_class, const nx_rate *rate,
                     const nx_rate_subject *subject)
{
    uint8_t text[sizeof *rate + 1 + sizeof subject->bytes];
    uint64_t out = 0;
    memcpy(text, rate, sizeof *rate);
    text[sizeof *rate] = (uint8_t)rate_class;
    memcpy(text + sizeof *rate + 1, subject->bytes, subject->size);
    crypto_shorthash((uint8_t *)&out, text, sizeof *rate + 1 + subject->size, limiter->secret);
    return out != 0 ? out : 1;
}

nx_rate_answer nx_rate_take(nx_rate_limiter *limiter, nx_rate_class rate_class,
                            const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out)
{
    const nx_rate rate = rate_of(limiter, rate_class);
    *out = (nx_rate_state){.limit = 0};
    if (rate.count == 0) {
        return NX_RATE_OFF;
    }
    bool shared = false;
    uint64_t key = hash(limiter, rate_class, &rate, subject);
    table *t = &limiter->tables[subject->stranger ? STRANGERS : 0];
    size_t set = key % SETS;
    pthread_mutex_t *lock = &t->locks[set % LOCKS];
    pthread_mutex_lock(lock);
    bool allowed =
        take(find(&t->buckets[set * (WAYS + 1)], key, now_ns, &shared), &rate, now_ns, out);
    pthread_mutex_unlock(lock);
    if (shared) {
        atomic_fetch_add_explicit(&limiter->crowded, 1, memory_order_relaxed);
    }
    if (!allowed) {
        atomic_fetch_add_explicit(&limiter->refused[rate_class], 1, memory_order_relaxed);
    }
    return allowed ? NX_RATE_ALLOWED : NX_RATE_REFUSED;
}

/* --- life --- */

nx_status nx_rate_limiter_new(const nx_rate rates[NX_RATE_CLASSES], nx_rate_limiter **out,
                              nx_error *err)
{
    *out = NULL;
    nx_rate_limiter *limiter = sodium_init() >= 0 ? calloc(1, sizeof *limiter) : NULL;
    if (limiter == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for limits");
    }
    pthread_mutex_init(&limiter->rates_lock, NULL);
    nx_rate_limiter_set(limiter, rates);
    randombytes_buf(limiter->secret, sizeof limiter->secret);
    bool complete = true;
    for (size_t i = 0; i < 2; i++) {
        table *t = &limiter->tables[i];
        for (size_t lock = 0; lock < LOCKS; lock++) {
            pthread_mutex_init(&t->locks[lock], NULL);
        }
        t->buckets = calloc(BUCKETS, sizeof *t->buckets);
        complete = complete && t->buckets != NULL;
    }
    if (!complete) {
        nx_rate_limiter_free(limiter);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for limits");
    }
    *out = limiter;
    return NX_OK;
}

void nx_rate_limiter_set(nx_rate_limiter *limiter, const nx_rate rates[NX_RATE_CLASSES])
{
    pthread_mutex_lock(&limiter->rates_lock);
    memcpy(limiter->rates, rates, sizeof limiter->rates);
    pthread_mutex_unlock(&limiter->rates_lock);
}

void nx_rate_limiter_free(nx_rate_limiter *limiter)
{
    if (limiter != NULL) {
        pthread_mutex_destroy(&limiter->rates_lock);
    }
    for (size_t i = 0; limiter != NULL && i < 2; i++) {
        for (size_t lock = 0; lock < LOCKS; lock++) {
            pthread_mutex_destroy(&limiter->tables[i].locks[lock]);
        }
        free(limiter->tables[i].buckets);
    }
    free(limiter);
}

nx_rate_stats nx_rate_get_stats(const nx_rate_limiter *limiter)
{
    nx_rate_stats stats = {.crowded = atomic_load(&limiter->crowded)};
    for (size_t i = 0; i < NX_RATE_CLASSES; i++) {
        stats.refused[i] = atomic_load(&limiter->refused[i]);
    }
    return stats;
}

#include "auth/rate_limit.h"

#include "auth/rate_share.h"
#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

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
    pthread_mutex_t locks[LOCKS]; /* that of set i is i % LOCKS */
    bucket buckets[BUCKETS];      /* set by set */
} table;

/* Nothing in it points anywhere: each process has it at an address of its own. */
struct nx_rate_memory {
    uint8_t secret[crypto_shorthash_KEYBYTES];
    table tables[2];
};

struct nx_rate_limiter {
    pthread_mutex_t rates_lock; /* guards the rates, for as long as copying one takes */
    nx_rate rates[NX_RATE_CLASSES];
    nx_rate_memory *memory;
    nx_rate_memory *own_memory; /* the same; NULL: it is borrowed */
    nx_rate_share *share;       /* NULL without Redis */
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

static nx_rate_subject of_network(char kind, const nx_address *client)
{
    const nx_address network = nx_address_network(client);
    nx_rate_subject out = {.stranger = true, .size = 1 + sizeof network.bytes};
    out.bytes[0] = (uint8_t)kind;
    memcpy(out.bytes + 1, network.bytes, sizeof network.bytes);
    return out;
}

nx_rate_subject nx_rate_subject_of_guesses(const nx_address *client)
{
    return of_network('g', client);
}

nx_rate_subject nx_rate_subject_of(const nx_identity *identity, const nx_address *client,
                                   nx_rate_class rate_class)
{
    bool key = identity->kind == NX_IDENTITY_KEY;
    bool known = key || identity->kind == NX_IDENTITY_SESSION;
    if (!known || rate_class == NX_RATE_CLASS_AUTH) {
        return of_network('a', client);
    }
    const char *id = key ? identity->key_id : identity->user_id;
    size_t size = strlen(id);
    nx_rate_subject out = {.size = 1 + size};
    out.bytes[0] = key ? 'k' : 'u';
    memcpy(out.bytes + 1, id, size);
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
static uint64_t hash(const nx_rate_limiter *limiter, const nx_rate_bucket *of)
{
    uint8_t text[sizeof of->rate + 1 + sizeof of->subject.bytes];
    uint64_t out = 0;
    memcpy(text, &of->rate, sizeof of->rate);
    text[sizeof of->rate] = (uint8_t)of->rate_class;
    memcpy(text + sizeof of->rate + 1, of->subject.bytes, of->subject.size);
    crypto_shorthash((uint8_t *)&out, text, sizeof of->rate + 1 + of->subject.size,
                     limiter->memory->secret);
    return out != 0 ? out : 1;
}

/* False: there is no limit. */
static bool name_bucket(nx_rate_limiter *limiter, nx_rate_class rate_class,
                        const nx_rate_subject *subject, nx_rate_bucket *out)
{
    *out = (nx_rate_bucket){
        .rate_class = rate_class, .rate = rate_of(limiter, rate_class), .subject = *subject};
    if (out->rate.count == 0) {
        return false;
    }
    out->key = hash(limiter, out);
    return true;
}

/* The set of a bucket, locked. */
typedef struct locked {
    pthread_mutex_t *lock;
    bucket *set;
} locked;

static locked lock_set(nx_rate_limiter *limiter, const nx_rate_bucket *of)
{
    table *t = &limiter->memory->tables[of->subject.stranger ? STRANGERS : 0];
    size_t set = of->key % SETS;
    locked out = {.lock = &t->locks[set % LOCKS], .set = &t->buckets[set * (WAYS + 1)]};
    if (pthread_mutex_lock(out.lock) == EOWNERDEAD) {
        /* a process was killed meanwhile; whatever two numbers it has left are a bucket */
        pthread_mutex_consistent(out.lock);
    }
    return out;
}

/* Its own bucket; NULL: it has none. */
static bucket *find_own(const locked *in, uint64_t key)
{
    for (size_t i = 0; i < WAYS; i++) {
        if (in->set[i].key == key) {
            return &in->set[i];
        }
    }
    return NULL;
}

static nx_rate_answer take_here(nx_rate_limiter *limiter, const nx_rate_bucket *of, int64_t now_ns,
                                bool *crowded, nx_rate_state *out)
{
    const locked in = lock_set(limiter, of);
    bool allowed = take(find(in.set, of->key, now_ns, crowded), &of->rate, now_ns, out);
    pthread_mutex_unlock(in.lock);
    if (*crowded) {
        atomic_fetch_add_explicit(&limiter->crowded, 1, memory_order_relaxed);
    }
    if (!allowed) {
        atomic_fetch_add_explicit(&limiter->refused[of->rate_class], 1, memory_order_relaxed);
    }
    return allowed ? NX_RATE_ALLOWED : NX_RATE_REFUSED;
}

static nx_rate_answer ask(nx_rate_limiter *limiter, nx_rate_class rate_class,
                          const nx_rate_subject *subject, int64_t now_ns, bool patient,
                          nx_rate_state *out)
{
    nx_rate_bucket of;
    bool crowded = false;
    *out = (nx_rate_state){.limit = 0};
    if (!name_bucket(limiter, rate_class, subject, &of)) {
        return NX_RATE_OFF;
    }
    if (limiter->share == NULL) {
        return take_here(limiter, &of, now_ns, &crowded, out);
    }
    if (!nx_rate_share_begin(limiter->share, &of, patient)) {
        return NX_RATE_LATER;
    }
    nx_rate_answer answer = take_here(limiter, &of, now_ns, &crowded, out);
    nx_rate_share_end(limiter->share, &of, answer == NX_RATE_ALLOWED && !crowded);
    return answer;
}

nx_rate_answer nx_rate_take(nx_rate_limiter *limiter, nx_rate_class rate_class,
                            const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out)
{
    return ask(limiter, rate_class, subject, now_ns, false, out);
}

nx_rate_answer nx_rate_try(nx_rate_limiter *limiter, nx_rate_class rate_class,
                           const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out)
{
    return ask(limiter, rate_class, subject, now_ns, true, out);
}

bool nx_rate_later(nx_rate_limiter *limiter, nx_rate_wait *wait)
{
    return nx_rate_share_wait(limiter->share, wait);
}

/* --- tokens that may cost nothing --- */

nx_rate_answer nx_rate_hold(nx_rate_limiter *limiter, nx_rate_class rate_class,
                            const nx_rate_subject *subject, int64_t now_ns, nx_rate_state *out)
{
    nx_rate_bucket of;
    bool crowded = false;
    *out = (nx_rate_state){.limit = 0};
    return name_bucket(limiter, rate_class, subject, &of)
               ? take_here(limiter, &of, now_ns, &crowded, out)
               : NX_RATE_OFF;
}

void nx_rate_pay(nx_rate_limiter *limiter, nx_rate_class rate_class, const nx_rate_subject *subject)
{
    nx_rate_bucket of;
    if (limiter->share != NULL && name_bucket(limiter, rate_class, subject, &of) &&
        nx_rate_share_begin(limiter->share, &of, false)) {
        nx_rate_share_end(limiter->share, &of, true);
    }
}

void nx_rate_give_back(nx_rate_limiter *limiter, nx_rate_class rate_class,
                       const nx_rate_subject *subject)
{
    nx_rate_bucket of;
    if (name_bucket(limiter, rate_class, subject, &of)) {
        const locked in = lock_set(limiter, &of);
        bucket *own = find_own(&in, of.key);
        own = own != NULL ? own : &in.set[WAYS]; /* from where it was taken then */
        own->tat_ns -= step_of(&of.rate);
        pthread_mutex_unlock(in.lock);
    }
}

/* --- what all processes know --- */

static int64_t used_ns(const nx_rate_bucket *of, int64_t now_ns, void *user)
{
    const locked in = lock_set(user, of);
    const bucket *own = find_own(&in, of->key);
    int64_t used = own != NULL && own->tat_ns > now_ns ? own->tat_ns - now_ns : 0;
    pthread_mutex_unlock(in.lock);
    return used;
}

static void raise_to(const nx_rate_bucket *of, int64_t full_ns, void *user)
{
    const locked in = lock_set(user, of);
    bucket *own = find_own(&in, of->key);
    if (own != NULL && own->tat_ns < full_ns) {
        own->tat_ns = full_ns;
    }
    pthread_mutex_unlock(in.lock);
}

static bool decide(nx_rate_wait *wait, bool last, void *user)
{
    nx_rate_state state;
    nx_rate_answer answer =
        ask(user, wait->rate_class, &wait->subject, nx_clock_now_ns(), !last, &state);
    if (answer == NX_RATE_LATER) {
        return false;
    }
    wait->decided(wait, answer, &state);
    return true;
}

/* --- life --- */

nx_status nx_rate_memory_new(nx_rate_memory **out, nx_error *err)
{
    pthread_mutexattr_t kind;
    nx_rate_memory *memory = sodium_init() >= 0 ? mmap(NULL, sizeof *memory, PROT_READ | PROT_WRITE,
                                                       MAP_SHARED | MAP_ANONYMOUS, -1, 0)
                                                : MAP_FAILED;
    *out = NULL;
    if (memory == MAP_FAILED) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for limits");
    }
    randombytes_buf(memory->secret, sizeof memory->secret);
    pthread_mutexattr_init(&kind);
    pthread_mutexattr_setpshared(&kind, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&kind, PTHREAD_MUTEX_ROBUST);
    for (size_t i = 0; i < 2; i++) {
        for (size_t lock = 0; lock < LOCKS; lock++) {
            pthread_mutex_init(&memory->tables[i].locks[lock], &kind);
        }
    }
    pthread_mutexattr_destroy(&kind);
    *out = memory;
    return NX_OK;
}

void nx_rate_memory_free(nx_rate_memory *memory)
{
    if (memory != NULL) { /* the locks have nothing to give back, and others may use them */
        munmap(memory, sizeof *memory);
    }
}

nx_status nx_rate_limiter_new(const nx_rate rates[NX_RATE_CLASSES],
                              const nx_rate_limiter_options *options, nx_rate_limiter **out,
                              nx_error *err)
{
    static const nx_rate_limiter_options alone = {.memory = NULL};
    const nx_rate_limiter_options *o = options != NULL ? options : &alone;
    nx_status status = NX_OK;
    *out = NULL;
    nx_rate_limiter *limiter = calloc(1, sizeof *limiter);
    if (limiter == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for limits");
    }
    pthread_mutex_init(&limiter->rates_lock, NULL);
    nx_rate_limiter_set(limiter, rates);
    if (o->memory == NULL) {
        status = nx_rate_memory_new(&limiter->own_memory, err);
    }
    limiter->memory = o->memory != NULL ? o->memory : limiter->own_memory;
    if (status == NX_OK && o->redis != NULL) {
        const nx_rate_share_hooks hooks = {
            .used_ns = used_ns, .raise = raise_to, .decide = decide, .user = limiter};
        status = nx_rate_share_new(o->redis, &hooks, &limiter->share, err);
    }
    if (status != NX_OK) {
        nx_rate_limiter_free(limiter);
        return status;
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
        nx_rate_share_free(limiter->share);
        nx_rate_memory_free(limiter->own_memory);
        pthread_mutex_destroy(&limiter->rates_lock);
        free(limiter);
    }
}

nx_rate_stats nx_rate_get_stats(const nx_rate_limiter *limiter)
{
    nx_rate_stats stats = {.crowded = atomic_load(&limiter->crowded)};
    for (size_t i = 0; i < NX_RATE_CLASSES; i++) {
        stats.refused[i] = atomic_load(&limiter->refused[i]);
    }
    if (limiter->share != NULL) {
        nx_rate_share_add_stats(limiter->share, &stats);
    }
    return stats;
}

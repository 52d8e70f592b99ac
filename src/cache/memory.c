#include "cache/memory.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SHARDS        16
#define FIRST_BUCKETS 64 /* a power of two */
/* Of an allocation, and of two buckets: there are at most twice as many buckets as entries were. */
#define OVERHEAD (16 + 2 * sizeof(void *))

/* The value is behind the key, both behind the struct. */
typedef struct entry {
    struct entry *next; /* in its bucket */
    struct entry *newer, *older;
    atomic_uint references; /* the shard's, and one for each reader that copies */
    nx_cache_kind kind;
    uint32_t slot;
    uint64_t hash;
    uint64_t stamp[2];
    int64_t until_ns;
    int64_t used_ns;
    size_t key_size;
    size_t size;
    unsigned char bytes[];
} entry;

typedef struct shard {
    _Alignas(64) pthread_mutex_t lock; /* guards all below */
    entry **buckets;
    size_t bucket_count;
    size_t count;
    entry *newest, *oldest;
    _Atomic int64_t oldest_ns; /* read without the lock, to find whose oldest is the oldest */
} shard;

struct nx_cache_memory {
    size_t max_bytes;
    size_t max_value;
    unsigned char hash_key[crypto_shorthash_KEYBYTES]; /* keys come from outside */
    atomic_size_t bytes;                               /* reserved before an entry is linked */
    atomic_size_t entries;
    _Atomic uint64_t evictions;
    /* What was removed how often: an entry is valid while its stamp says the same. */
    _Atomic uint64_t kind_states[NX_CACHE_KINDS];
    _Atomic uint64_t slot_states[NX_CACHE_KINDS][NX_CACHE_SLOTS];
    shard shards[SHARDS];
};

/* --- slots --------------------------------------------------------------------------------------
 */

uint32_t nx_cache_slot(const nx_cache_key *key)
{
    static const unsigned char hash_key[crypto_shorthash_KEYBYTES] = "nexus cache slot";
    unsigned char hash[crypto_shorthash_BYTES];
    crypto_shorthash(hash, key->bytes, key->size, hash_key);
    return (hash[0] | (uint32_t)hash[1] << 8) % NX_CACHE_SLOTS;
}

static void read_stamp(const nx_cache_memory *memory, nx_cache_kind kind, uint32_t slot,
                       uint64_t stamp[2])
{
    stamp[0] = atomic_load(&memory->kind_states[kind]);
    stamp[1] = atomic_load(&memory->slot_states[kind][slot]);
}

void nx_cache_memory_stamp(const nx_cache_memory *memory, const nx_cache_key *key,
                           uint64_t stamp[2])
{
    read_stamp(memory, key->kind, nx_cache_slot(key), stamp);
}

static bool is_current(const nx_cache_memory *memory, nx_cache_kind kind, uint32_t slot,
                       const uint64_t stamp[2])
{
    uint64_t now[2];
    read_stamp(memory, kind, slot, now);
    return now[0] == stamp[0] && now[1] == stamp[1];
}

void nx_cache_memory_remove(nx_cache_memory *memory, nx_cache_kind kind, uint32_t slot)
{
    atomic_fetch_add(&memory->slot_states[kind][slot], 1);
}

void nx_cache_memory_remove_kind(nx_cache_memory *memory, nx_cache_kind kind)
{
    atomic_fetch_add(&memory->kind_states[kind], 1);
}

/* --- entries ------------------------------------------------------------------------------------
 */

static uint64_t hash_of(const nx_cache_memory *memory, const nx_cache_key *key)
{
    uint64_t hash = 0;
    _Static_assert(sizeof hash == crypto_shorthash_BYTES, "a hash is 64 bits");
    crypto_shorthash((unsigned char *)&hash, key->bytes, key->size, memory->hash_key);
    return hash ^ ((uint64_t)key->kind * UINT64_C(0x9e3779b97f4a7c15));
}

static shard *shard_of(nx_cache_memory *memory, uint64_t hash)
{
    return &memory->shards[hash % SHARDS];
}

static entry **bucket_of(const shard *s, uint64_t hash)
{
    return &s->buckets[(hash / SHARDS) & (s->bucket_count - 1)];
}

static size_t cost_of(size_t key_size, size_t size)
{
    return sizeof(entry) + OVERHEAD + key_size + size;
}

static void release(entry *e)
{
    if (atomic_fetch_sub(&e->references, 1) == 1) {
        free(e);
    }
}

static bool is_entry(const entry *e, const nx_cache_key *key, uint64_t hash)
{
    return e->hash == hash && e->kind == key->kind && e->key_size == key->size &&
           memcmp(e->bytes, key->bytes, key->size) == 0;
}

/* The link that points to the key's entry, or to NULL; the shard's lock is held, as below. */
static entry **find(const shard *s, const nx_cache_key *key, uint64_t hash)
{
    entry **link = bucket_of(s, hash);
    while (*link != NULL && !is_entry(*link, key, hash)) {
        link = &(*link)->next;
    }
    return link;
}

static void leave_order(shard *s, entry *e)
{
    *(e->newer != NULL ? &e->newer->older : &s->newest) = e->older;
    *(e->older != NULL ? &e->older->newer : &s->oldest) = e->newer;
    e->newer = e->older = NULL;
    atomic_store(&s->oldest_ns, s->oldest != NULL ? s->oldest->used_ns : INT64_MAX);
}

static void enter_order(shard *s, entry *e, int64_t now_ns)
{
    e->used_ns = now_ns;
    e->older = s->newest;
    *(s->newest != NULL ? &s->newest->newer : &s->oldest) = e;
    s->newest = e;
    atomic_store(&s->oldest_ns, s->oldest->used_ns);
}

/* Takes the entry that *link points to out of the shard, and gives the shard's reference back. */
static void drop(nx_cache_memory *memory, shard *s, entry **link)
{
    entry *e = *link;
    *link = e->next;
    leave_order(s, e);
    s->count--;
    atomic_fetch_sub(&memory->bytes, cost_of(e->key_size, e->size));
    atomic_fetch_sub(&memory->entries, 1);
    release(e);
}

static entry **link_to(const shard *s, const entry *e)
{
    entry **link = bucket_of(s, e->hash);
    while (*link != e) {
        link = &(*link)->next;
    }
    return link;
}

/* Without memory the table stays as it is, and chains get longer. */
static void grow(shard *s)
{
    size_t count = s->bucket_count * 2;
    entry **buckets = calloc(count, sizeof(entry *));
    if (buckets == NULL) {
        return;
    }
    for (entry *e = s->newest; e != NULL; e = e->older) {
        entry **bucket = &buckets[(e->hash / SHARDS) & (count - 1)];
        e->next = *bucket;
        *bucket = e;
    }
    free(s->buckets);
    s->buckets = buckets;
    s->bucket_count = count;
}

/* --- room ---------------------------------------------------------------------------------------
 */

/* Gives up the entry that was used longest ago. False when there is none. */
static bool evict_one(nx_cache_memory *memory)
{
    shard *chosen = NULL;
    int64_t oldest = INT64_MAX;
    for (size_t i = 0; i < SHARDS; i++) {
        int64_t used = atomic_load(&memory->shards[i].oldest_ns);
        if (used < oldest) {
            oldest = used;
            chosen = &memory->shards[i];
        }
    }
    if (chosen == NULL) {
        return false;
    }
    pthread_mutex_lock(&chosen->lock);
    if (chosen->oldest != NULL) { /* else another thread was faster */
        drop(memory, chosen, link_to(chosen, chosen->oldest));
        atomic_fetch_add(&memory->evictions, 1);
    }
    pthread_mutex_unlock(&chosen->lock);
    return true;
}

/* Reserves room, so that all threads together never exceed the bound. False when what others have
 * reserved, and not yet linked, leaves too little. */
static bool reserve(nx_cache_memory *memory, size_t cost)
{
    size_t bytes = atomic_load(&memory->bytes);
    for (;;) {
        if (bytes + cost > memory->max_bytes) {
            if (!evict_one(memory)) {
                return false;
            }
            bytes = atomic_load(&memory->bytes);
        } else if (atomic_compare_exchange_weak(&memory->bytes, &bytes, bytes + cost)) {
            return true;
        }
    }
}

/* --- the cache's functions ----------------------------------------------------------------------
 */

nx_status nx_cache_memory_new(size_t max_bytes, nx_cache_memory **out, nx_error *err)
{
    *out = NULL;
    if (max_bytes < NX_CACHE_MIN_BYTES) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "a cache of %zu bytes is too small; give it %zu or more", max_bytes,
                            NX_CACHE_MIN_BYTES);
    }
    nx_cache_memory *memory = aligned_alloc(_Alignof(nx_cache_memory), sizeof *memory);
    if (memory == NULL) {
        goto fail;
    }
    memset(memory, 0, sizeof *memory);
    memory->max_bytes = max_bytes;
    memory->max_value = max_bytes / 8 < NX_CACHE_MAX_VALUE ? max_bytes / 8 : NX_CACHE_MAX_VALUE;
    crypto_shorthash_keygen(memory->hash_key);
    for (size_t i = 0; i < SHARDS; i++) {
        pthread_mutex_init(&memory->shards[i].lock, NULL);
        atomic_init(&memory->shards[i].oldest_ns, INT64_MAX);
        memory->shards[i].bucket_count = FIRST_BUCKETS;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        memory->shards[i].buckets = calloc(FIRST_BUCKETS, sizeof(entry *));
        if (memory->shards[i].buckets == NULL) {
            goto fail;
        }
    }
    *out = memory;
    return NX_OK;
fail:
    nx_cache_memory_free(memory);
    return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the cache");
}

void nx_cache_memory_free(nx_cache_memory *memory)
{
    if (memory == NULL) {
        return;
    }
    for (size_t i = 0; i < SHARDS; i++) {
        shard *s = &memory->shards[i];
        while (s->oldest != NULL) {
            drop(memory, s, link_to(s, s->oldest));
        }
        free(s->buckets);
        pthread_mutex_destroy(&s->lock);
    }
    free(memory);
}

/* A reference to the valid entry, or NULL; one that is too old goes. */
static entry *take(nx_cache_memory *memory, const nx_cache_key *key, int64_t now_ns)
{
    uint64_t hash = hash_of(memory, key);
    shard *s = shard_of(memory, hash);
    pthread_mutex_lock(&s->lock);
    entry **link = find(s, key, hash);
    entry *e = *link;
    if (e != NULL && (e->until_ns <= now_ns || !is_current(memory, e->kind, e->slot, e->stamp))) {
        drop(memory, s, link);
        e = NULL;
    } else if (e != NULL) {
        leave_order(s, e);
        enter_order(s, e, now_ns);
        atomic_fetch_add(&e->references, 1);
    }
    pthread_mutex_unlock(&s->lock);
    return e;
}

bool nx_cache_memory_get(nx_cache_memory *memory, const nx_cache_key *key, int64_t now_ns,
                         nx_buffer *out)
{
    entry *e = take(memory, key, now_ns);
    if (e == NULL) {
        return false;
    }
    bool room = nx_buffer_reserve(out, e->size);
    if (room) {
        nx_buffer_append(out, e->bytes + e->key_size, e->size);
    }
    release(e);
    return room;
}

/* Puts the entry into its shard, in the place of the one with its key. */
static void insert(nx_cache_memory *memory, entry *e, const nx_cache_key *key, int64_t now_ns)
{
    shard *s = shard_of(memory, e->hash);
    pthread_mutex_lock(&s->lock);
    entry **old = find(s, key, e->hash);
    if (*old != NULL) {
        drop(memory, s, old);
    }
    if (s->count >= s->bucket_count) {
        grow(s);
    }
    entry **bucket = bucket_of(s, e->hash);
    e->next = *bucket;
    *bucket = e;
    enter_order(s, e, now_ns);
    s->count++;
    atomic_fetch_add(&memory->entries, 1);
    pthread_mutex_unlock(&s->lock);
}

bool nx_cache_memory_put(nx_cache_memory *memory, const nx_cache_key *key, const uint64_t stamp[2],
                         const void *bytes, size_t size, int64_t now_ns, int64_t until_ns)
{
    uint32_t slot = nx_cache_slot(key);
    size_t cost = cost_of(key->size, size);
    if (size > memory->max_value || !is_current(memory, key->kind, slot, stamp) ||
        !reserve(memory, cost)) {
        return false;
    }
    entry *e = malloc(sizeof *e + key->size + size);
    if (e == NULL) {
        atomic_fetch_sub(&memory->bytes, cost);
        return false;
    }
    *e = (entry){
        .kind = key->kind,
        .slot = slot,
        .hash = hash_of(memory, key),
        .stamp = {stamp[0], stamp[1]},
        .until_ns = until_ns,
        .key_size = key->size,
        .size = size,
    };
    atomic_init(&e->references, 1);
    memcpy(e->bytes, key->bytes, key->size);
    if (size > 0) {
        memcpy(e->bytes + key->size, bytes, size);
    }
    insert(memory, e, key, now_ns);
    return true;
}

void nx_cache_memory_get_stats(const nx_cache_memory *memory, nx_cache_stats *out)
{
    out->bytes = atomic_load(&memory->bytes);
    out->max_bytes = memory->max_bytes;
    out->entries = atomic_load(&memory->entries);
    out->evictions = atomic_load(&memory->evictions);
}

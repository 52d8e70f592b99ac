#include "engine/embedding_cache.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* Claims on one picture that is being encoded. */
typedef struct flight {
    struct flight *next;
    nx_content_hash key;
    nx_embedding_claim *first, *last; /* who waits, in the order of coming */
} flight;

struct nx_embedding_cache {
    pthread_mutex_t lock; /* guards all below */
    size_t max_bytes;
    nx_embedding *newest, *oldest; /* a few dozen at most: looked through one by one */
    flight *flights;
    nx_embedding_stats stats;
};

/* --- hashes -------------------------------------------------------------------------------------
 */

nx_content_hash nx_content_hash_of(const void *bytes, size_t size)
{
    nx_content_hash hash;
    crypto_generichash(hash.bytes, sizeof hash.bytes, bytes, size, NULL, 0);
    return hash;
}

void nx_content_hash_write(const nx_content_hash *hash, char out[NX_CONTENT_HASH_HEX])
{
    sodium_bin2hex(out, NX_CONTENT_HASH_HEX, hash->bytes, sizeof hash->bytes);
}

bool nx_content_hash_parse(const char *text, nx_content_hash *out)
{
    size_t size = 0;
    const char *end = NULL;
    return strlen(text) == NX_CONTENT_HASH_HEX - 1 &&
           sodium_hex2bin(out->bytes, sizeof out->bytes, text, NX_CONTENT_HASH_HEX - 1, NULL, &size,
                          &end) == 0 &&
           size == sizeof out->bytes && *end == '\0';
}

static bool same(const nx_content_hash *a, const nx_content_hash *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* --- embeddings ---------------------------------------------------------------------------------
 */

nx_status nx_embedding_new(const nx_content_hash *key, uint32_t width, uint32_t height,
                           size_t count, nx_embedding **out, nx_error *err)
{
    nx_embedding *embedding = calloc(1, sizeof *embedding);
    float *values = calloc(count, sizeof *values);
    *out = NULL;
    if (embedding == NULL || values == NULL) {
        free(embedding);
        free(values);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a picture's embedding");
    }
    embedding->key = *key;
    embedding->width = width;
    embedding->height = height;
    embedding->count = count;
    embedding->values = values;
    atomic_init(&embedding->references, 1);
    *out = embedding;
    return NX_OK;
}

static nx_embedding *retain(nx_embedding *embedding)
{
    atomic_fetch_add(&embedding->references, 1);
    return embedding;
}

void nx_embedding_release(nx_embedding *embedding)
{
    if (embedding != NULL && atomic_fetch_sub(&embedding->references, 1) == 1) {
        free(embedding->values);
        free(embedding);
    }
}

/* --- what is kept -------------------------------------------------------------------------------
 */

static size_t bytes_of(const nx_embedding *embedding)
{
    return embedding->count * sizeof *embedding->values + sizeof *embedding;
}

static void unlink_embedding(nx_embedding_cache *cache, nx_embedding *e)
{
    if (e->newer != NULL) {
        e->newer->older = e->older;
    } else {
        cache->newest = e->older;
    }
    if (e->older != NULL) {
        e->older->newer = e->newer;
    } else {
        cache->oldest = e->newer;
    }
    e->newer = e->older = NULL;
}

static void link_newest(nx_embedding_cache *cache, nx_embedding *e)
{
    e->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = e;
    cache->newest = e;
}

/* Gives up the oldest until so many bytes are left. */
static void drop_until(nx_embedding_cache *cache, size_t bytes)
{
    nx_embedding *e = cache->oldest;
    while (e != NULL && cache->stats.bytes > bytes) {
        nx_embedding *newer = e->newer;
        unlink_embedding(cache, e);
        cache->stats.bytes -= bytes_of(e);
        cache->stats.count--;
        nx_embedding_release(e);
        e = newer;
    }
}

static nx_embedding *find(nx_embedding_cache *cache, const nx_content_hash *key)
{
    nx_embedding *e = cache->newest;
    while (e != NULL && !same(&e->key, key)) {
        e = e->older;
    }
    return e;
}

/* Counts a hit and gives a reference. */
static nx_embedding *use(nx_embedding_cache *cache, nx_embedding *e)
{
    unlink_embedding(cache, e);
    link_newest(cache, e);
    cache->stats.hits++;
    return retain(e);
}

static void keep(nx_embedding_cache *cache, nx_embedding *embedding)
{
    size_t bytes = bytes_of(embedding);
    if (bytes > cache->max_bytes || find(cache, &embedding->key) != NULL) {
        return;
    }
    drop_until(cache, cache->max_bytes - bytes);
    link_newest(cache, retain(embedding));
    cache->stats.bytes += bytes;
    cache->stats.count++;
}

nx_status nx_embedding_cache_new(size_t max_bytes, nx_embedding_cache **out, nx_error *err)
{
    nx_embedding_cache *cache = calloc(1, sizeof *cache);
    *out = cache;
    if (cache == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the embeddings");
    }
    cache->max_bytes = max_bytes;
    pthread_mutex_init(&cache->lock, NULL);
    return NX_OK;
}

void nx_embedding_cache_free(nx_embedding_cache *cache)
{
    if (cache == NULL) {
        return;
    }
    drop_until(cache, 0);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

nx_embedding *nx_embedding_cache_find(nx_embedding_cache *cache, const nx_content_hash *key)
{
    pthread_mutex_lock(&cache->lock);
    nx_embedding *found = find(cache, key);
    if (found != NULL) {
        found = use(cache, found);
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

nx_embedding_stats nx_embedding_cache_stats(nx_embedding_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    nx_embedding_stats stats = cache->stats;
    pthread_mutex_unlock(&cache->lock);
    return stats;
}

/* --- claims -------------------------------------------------------------------------------------
 */

/* The link that points to the flight of this picture, or to NULL at the end. */
static flight **flight_of(nx_embedding_cache *cache, const nx_content_hash *key)
{
    flight **link = &cache->flights;
    while (*link != NULL && !same(&(*link)->key, key)) {
        link = &(*link)->next;
    }
    return link;
}

/* The lock is held. */
static nx_claim_result claim_picture(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                     nx_embedding **out)
{
    nx_embedding *found = find(cache, &claim->key);
    if (found != NULL) {
        *out = use(cache, found);
        return NX_CLAIM_READY;
    }
    flight **link = flight_of(cache, &claim->key);
    if (*link != NULL) {
        flight *f = *link;
        *(f->last != NULL ? &f->last->next : &f->first) = claim;
        f->last = claim;
        return NX_CLAIM_WAITS;
    }
    *link = calloc(1, sizeof **link);
    if (*link == NULL) {
        return NX_CLAIM_NO_MEMORY;
    }
    (*link)->key = claim->key;
    cache->stats.misses++;
    return NX_CLAIM_LEADS;
}

nx_claim_result nx_embedding_cache_claim(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                         nx_embedding **out)
{
    *out = NULL;
    claim->next = NULL;
    pthread_mutex_lock(&cache->lock);
    nx_claim_result result = claim_picture(cache, claim, out);
    pthread_mutex_unlock(&cache->lock);
    return result;
}

bool nx_embedding_cache_withdraw(nx_embedding_cache *cache, nx_embedding_claim *claim)
{
    pthread_mutex_lock(&cache->lock);
    flight *f = *flight_of(cache, &claim->key);
    nx_embedding_claim *before = NULL;
    nx_embedding_claim *at = f != NULL ? f->first : NULL;
    while (at != NULL && at != claim) {
        before = at;
        at = at->next;
    }
    if (at != NULL) {
        *(before != NULL ? &before->next : &f->first) = at->next;
        f->last = f->last == at ? before : f->last;
    }
    pthread_mutex_unlock(&cache->lock);
    return at != NULL;
}

/* Ends a flight and returns who waited; the lock is held. */
static nx_embedding_claim *land(nx_embedding_cache *cache, const nx_content_hash *key)
{
    flight **link = flight_of(cache, key);
    flight *f = *link;
    nx_embedding_claim *first = NULL;
    if (f != NULL) {
        first = f->first;
        *link = f->next;
        free(f);
    }
    return first;
}

void nx_embedding_cache_publish(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                nx_embedding *embedding)
{
    pthread_mutex_lock(&cache->lock);
    keep(cache, embedding);
    nx_embedding_claim *first = land(cache, &claim->key);
    for (nx_embedding_claim *c = first; c != NULL; c = c->next) {
        (void)retain(embedding); /* before the first can give its own back */
        cache->stats.hits++;
    }
    pthread_mutex_unlock(&cache->lock);
    while (first != NULL) {
        nx_embedding_claim *next = first->next; /* the claim may be gone after the call */
        first->wake(first, embedding, NX_OK, NULL);
        first = next;
    }
}

void nx_embedding_cache_abandon(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                bool every_one, nx_status status, const nx_error *err)
{
    pthread_mutex_lock(&cache->lock);
    flight *f = *flight_of(cache, &claim->key);
    nx_embedding_claim *first = f != NULL ? f->first : NULL;
    if (every_one || first == NULL) {
        (void)land(cache, &claim->key);
    } else {
        f->first = first->next;
        f->last = f->first == NULL ? NULL : f->last;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!every_one && first != NULL) {
        first->wake(first, NULL, NX_OK, NULL);
        return;
    }
    while (first != NULL) {
        nx_embedding_claim *next = first->next;
        first->wake(first, NULL, status, err);
        first = next;
    }
}

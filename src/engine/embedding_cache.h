/*
 * Embeddings of pictures by their content, the least recently used given up first, and the rule
 * that equal pictures which come at once are encoded once: who claims a picture that nobody has
 * encoded leads, the others wait for what the leader publishes.
 *
 * Thread-safe behind one lock, which is never held while somebody is woken.
 */
#ifndef NX_ENGINE_EMBEDDING_CACHE_H
#define NX_ENGINE_EMBEDDING_CACHE_H

#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* BLAKE2b-256 of the encoded picture's bytes (RFC 7693). */
typedef struct nx_content_hash {
    uint8_t bytes[32];
} nx_content_hash;

#define NX_CONTENT_HASH_HEX 65 /* lower-case digits and the NUL */

nx_content_hash nx_content_hash_of(const void *bytes, size_t size);
void nx_content_hash_write(const nx_content_hash *hash, char out[NX_CONTENT_HASH_HEX]);
/* 64 hexadecimal digits of either case and nothing else; else false. */
bool nx_content_hash_parse(const char *text, nx_content_hash *out);

/* Shared by whoever holds a reference; immutable once it is published. */
typedef struct nx_embedding {
    nx_content_hash key;
    uint32_t width; /* of the upright picture */
    uint32_t height;
    size_t count;
    float *values; /* `count` of them, owned */
    /* the cache's own */
    atomic_uint references;
    struct nx_embedding *older, *newer;
} nx_embedding;

/* With one reference and no values written. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_embedding_new(const nx_content_hash *key, uint32_t width, uint32_t height,
                           size_t count, nx_embedding **out, nx_error *err);
/* Gives one reference back. NULL is fine. */
void nx_embedding_release(nx_embedding *embedding);

typedef struct nx_embedding_cache nx_embedding_cache;
typedef struct nx_embedding_claim nx_embedding_claim;

/* Embedded in the claimant's own struct, which fills key and wake. Not freed while it leads or
 * waits. */
struct nx_embedding_claim {
    nx_content_hash key;
    /*
     * Once, for a claim that waits, on the thread of whoever led; it may free the claim.
     * NX_OK with an embedding, whose reference is now the claimant's; NX_OK with NULL: the leader
     * gave up, and this claim leads now; anything else: what the leader failed of.
     */
    void (*wake)(nx_embedding_claim *claim, nx_embedding *embedding, nx_status status,
                 const nx_error *err);
    /* the cache's own */
    nx_embedding_claim *next;
};

typedef enum nx_claim_result {
    NX_CLAIM_READY,     /* *out is there, with a reference for the claimant */
    NX_CLAIM_LEADS,     /* the claimant must publish or abandon */
    NX_CLAIM_WAITS,     /* wake will be called, unless the claim is withdrawn */
    NX_CLAIM_NO_MEMORY, /* nothing was done */
} nx_claim_result;

typedef struct nx_embedding_stats {
    size_t bytes; /* of the embeddings that are kept */
    size_t count;
    uint64_t hits;   /* found, or shared with a leader */
    uint64_t misses; /* claims that lead */
} nx_embedding_stats;

/* max_bytes bounds what is kept; what is in use is not counted twice. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_embedding_cache_new(size_t max_bytes, nx_embedding_cache **out, nx_error *err);
/* No claim may lead or wait. NULL is fine. */
void nx_embedding_cache_free(nx_embedding_cache *cache);

/* A new reference, or NULL. Marks it as just used. */
nx_embedding *nx_embedding_cache_find(nx_embedding_cache *cache, const nx_content_hash *key);

nx_claim_result nx_embedding_cache_claim(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                         nx_embedding **out);
/* Takes a waiting claim out; false when it does not wait (any more). */
bool nx_embedding_cache_withdraw(nx_embedding_cache *cache, nx_embedding_claim *claim);

/* By the leader: keeps the embedding and wakes those who wait. The leader's reference stays. */
void nx_embedding_cache_publish(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                nx_embedding *embedding);
/* By the leader: every_one tells that the others would fail of the same, and wakes them with it;
 * else the first of them is woken to lead. */
void nx_embedding_cache_abandon(nx_embedding_cache *cache, nx_embedding_claim *claim,
                                bool every_one, nx_status status, const nx_error *err);

nx_embedding_stats nx_embedding_cache_stats(nx_embedding_cache *cache);

#endif

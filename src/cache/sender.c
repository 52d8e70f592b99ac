#include "cache/sender.h"

#include "cache/shared.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* The key and the value are behind the struct. */
typedef struct item {
    struct item *next;
    nx_cache_key key;
    uint64_t stamp[2];
    const char *value;
    size_t size;
    size_t cost;
    uint32_t ttl_ms;
    char bytes[];
} item;

struct nx_cache_sender {
    nx_redis *redis;
    void (*sent)(nx_cache_kind kind, bool kept, void *user);
    void *user;
    pthread_t thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t more;
    pthread_cond_t settled;
    item *first, *last;
    size_t count;
    size_t bytes;
    bool sending;
    bool stopping;
};

static item *take_first(nx_cache_sender *sender)
{
    item *i = sender->first;
    sender->first = i->next;
    sender->last = i->next == NULL ? NULL : sender->last;
    sender->count--;
    sender->bytes -= i->cost;
    return i;
}

static void *send_items(void *user)
{
    nx_cache_sender *sender = user;
    pthread_mutex_lock(&sender->lock);
    for (;;) {
        while (sender->first == NULL && !sender->stopping) {
            pthread_cond_wait(&sender->more, &sender->lock);
        }
        if (sender->stopping) {
            break;
        }
        item *i = take_first(sender);
        sender->sending = true;
        pthread_mutex_unlock(&sender->lock);
        bool kept = nx_shared_put(sender->redis, &i->key, i->stamp, i->value, i->size, i->ttl_ms);
        sender->sent(i->key.kind, kept, sender->user);
        free(i);
        pthread_mutex_lock(&sender->lock);
        sender->sending = false;
        if (sender->first == NULL) {
            pthread_cond_broadcast(&sender->settled);
        }
    }
    pthread_mutex_unlock(&sender->lock);
    return NULL;
}

nx_status nx_cache_sender_new(nx_redis *redis,
                              void (*sent)(nx_cache_kind kind, bool kept, void *user), void *user,
                              nx_cache_sender **out, nx_error *err)
{
    nx_cache_sender *sender = calloc(1, sizeof *sender);
    *out = NULL;
    if (sender == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the cache");
    }
    sender->redis = redis;
    sender->sent = sent;
    sender->user = user;
    pthread_mutex_init(&sender->lock, NULL);
    pthread_cond_init(&sender->more, NULL);
    pthread_cond_init(&sender->settled, NULL);
    if (pthread_create(&sender->thread, NULL, send_items, sender) != 0) {
        pthread_cond_destroy(&sender->settled);
        pthread_cond_destroy(&sender->more);
        pthread_mutex_destroy(&sender->lock);
        free(sender);
        return nx_error_set(err, NX_ERR_INTERNAL, "cannot start the thread of the cache");
    }
    *out = sender;
    return NX_OK;
}

void nx_cache_sender_free(nx_cache_sender *sender)
{
    if (sender == NULL) {
        return;
    }
    pthread_mutex_lock(&sender->lock);
    sender->stopping = true;
    pthread_cond_signal(&sender->more);
    pthread_mutex_unlock(&sender->lock);
    pthread_join(sender->thread, NULL);
    while (sender->first != NULL) {
        free(take_first(sender));
    }
    pthread_cond_destroy(&sender->settled);
    pthread_cond_destroy(&sender->more);
    pthread_mutex_destroy(&sender->lock);
    free(sender);
}

static item *item_of(const nx_cache_key *key, const uint64_t stamp[2], const void *bytes,
                     size_t size, uint32_t ttl_ms)
{
    size_t cost = sizeof(item) + key->size + size;
    item *i = malloc(cost);
    if (i == NULL) {
        return NULL;
    }
    *i = (item){
        .key = {.kind = key->kind, .bytes = i->bytes, .size = key->size},
        .stamp = {stamp[0], stamp[1]},
        .value = i->bytes + key->size,
        .size = size,
        .cost = cost,
        .ttl_ms = ttl_ms,
    };
    memcpy(i->bytes, key->bytes, key->size);
    if (size > 0) {
        memcpy(i->bytes + key->size, bytes, size);
    }
    return i;
}

bool nx_cache_sender_add(nx_cache_sender *sender, const nx_cache_key *key, const uint64_t stamp[2],
                         const void *bytes, size_t size, uint32_t ttl_ms)
{
    if (size > NX_CACHE_MAX_SHARED) {
        return false;
    }
    item *i = item_of(key, stamp, bytes, size, ttl_ms);
    if (i == NULL) {
        return false;
    }
    pthread_mutex_lock(&sender->lock);
    bool room = sender->count < NX_SENDER_ITEMS && sender->bytes + i->cost <= NX_SENDER_BYTES;
    if (room) {
        *(sender->last != NULL ? &sender->last->next : &sender->first) = i;
        sender->last = i;
        sender->count++;
        sender->bytes += i->cost;
        pthread_cond_signal(&sender->more);
    }
    pthread_mutex_unlock(&sender->lock);
    if (!room) {
        free(i);
    }
    return room;
}

void nx_cache_sender_settle(nx_cache_sender *sender)
{
    pthread_mutex_lock(&sender->lock);
    while (sender->first != NULL || sender->sending) {
        pthread_cond_wait(&sender->settled, &sender->lock);
    }
    pthread_mutex_unlock(&sender->lock);
}

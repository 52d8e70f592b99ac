#include "streams/queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Pictures that are kept for the next frame: what is on its way through the engine, and the one
 * that is shown, come back one by one. */
#define SPARE 4

struct nx_stream_queue {
    nx_stream_drop drop;
    size_t bytes;
    uint32_t size;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    nx_stream_frame frames[NX_STREAM_QUEUE_SIZE]; /* a ring */
    uint32_t first, count;
    uint8_t *spare[SPARE];
    uint32_t spare_count;
    bool poked;
    bool closed;
};

nx_status nx_stream_queue_new(nx_stream_drop drop, size_t bytes, nx_stream_queue **out,
                              nx_error *err)
{
    nx_stream_queue *queue = calloc(1, sizeof *queue);
    *out = queue;
    if (queue == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream's frames");
    }
    queue->drop = drop;
    queue->bytes = bytes;
    queue->size = drop == NX_STREAM_LATEST ? 1 : NX_STREAM_QUEUE_SIZE;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->changed, NULL);
    return NX_OK;
}

void nx_stream_queue_free(nx_stream_queue *queue)
{
    if (queue != NULL) {
        for (uint32_t i = 0; i < queue->count; i++) {
            free(queue->frames[(queue->first + i) % queue->size].pixels);
        }
        for (uint32_t i = 0; i < queue->spare_count; i++) {
            free(queue->spare[i]);
        }
        pthread_cond_destroy(&queue->changed);
        pthread_mutex_destroy(&queue->lock);
        free(queue);
    }
}

/* Under the lock. */
static void keep(nx_stream_queue *queue, uint8_t *pixels)
{
    if (queue->spare_count < SPARE) {
        queue->spare[queue->spare_count++] = pixels;
    } else {
        free(pixels);
    }
}

static uint8_t *room_for_picture(nx_stream_queue *queue)
{
    uint8_t *pixels = NULL;
    pthread_mutex_lock(&queue->lock);
    if (queue->spare_count > 0) {
        pixels = queue->spare[--queue->spare_count];
    }
    pthread_mutex_unlock(&queue->lock);
    return pixels != NULL ? pixels : malloc(queue->bytes);
}

/* Makes room for one more. Under the lock. Returns how many were dropped. */
static uint32_t make_room(nx_stream_queue *queue)
{
    uint32_t dropped = 0;
    while (queue->drop == NX_STREAM_BLOCK && queue->count == queue->size && !queue->closed) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    while (queue->drop != NX_STREAM_BLOCK && queue->count == queue->size) {
        keep(queue, queue->frames[queue->first].pixels);
        queue->first = (queue->first + 1) % queue->size;
        queue->count--;
        dropped++;
    }
    return dropped;
}

uint32_t nx_stream_queue_put(nx_stream_queue *queue, const nx_stream_frame *frame)
{
    uint8_t *pixels = room_for_picture(queue);
    if (pixels == NULL) {
        return 1;
    }
    memcpy(pixels, frame->pixels, queue->bytes);
    pthread_mutex_lock(&queue->lock);
    uint32_t dropped = make_room(queue);
    if (queue->closed) {
        keep(queue, pixels);
        dropped++;
    } else {
        nx_stream_frame *last = &queue->frames[(queue->first + queue->count) % queue->size];
        *last = *frame;
        last->pixels = pixels;
        queue->count++;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return dropped;
}

bool nx_stream_queue_take(nx_stream_queue *queue, nx_stream_frame *out)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->count == 0 && !queue->poked && !queue->closed) {
        pthread_cond_wait(&queue->changed, &queue->lock);
    }
    bool found = queue->count > 0 && !queue->poked && !queue->closed;
    queue->poked = false;
    if (found) {
        *out = queue->frames[queue->first];
        queue->first = (queue->first + 1) % queue->size;
        queue->count--;
        pthread_cond_broadcast(&queue->changed);
    }
    pthread_mutex_unlock(&queue->lock);
    return found;
}

void nx_stream_queue_poke(nx_stream_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->poked = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

bool nx_stream_queue_is_closed(nx_stream_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool closed = queue->closed;
    pthread_mutex_unlock(&queue->lock);
    return closed;
}

void nx_stream_queue_give_back(nx_stream_queue *queue, uint8_t *pixels)
{
    if (pixels != NULL) {
        pthread_mutex_lock(&queue->lock);
        keep(queue, pixels);
        pthread_mutex_unlock(&queue->lock);
    }
}

uint32_t nx_stream_queue_close(nx_stream_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    uint32_t left = queue->count;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return left;
}

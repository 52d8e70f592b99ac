#include "streams/hub.h"

#include "media/codec.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUALITY 80

struct nx_stream_hub {
    atomic_int references;
    atomic_uint_fast64_t encodings;

    pthread_mutex_t encoding; /* guards the JPEG; held while one is made */
    nx_buffer jpeg;
    uint64_t jpeg_number;
    uint8_t *copy; /* of the picture, for encoding */
    size_t copy_size;

    pthread_mutex_t lock; /* guards the rest; held for no longer than copying takes */
    nx_buffer messages[NX_HUB_MESSAGES]; /* number n lies in messages[n % NX_HUB_MESSAGES] */
    uint64_t first, next;                /* numbers of those that are there: first..next - 1 */
    uint8_t *pixels;
    uint32_t width, height;
    uint64_t picture;
    bool ended;
};

nx_stream_hub *nx_stream_hub_new(void)
{
    struct timespec now;
    nx_stream_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL) {
        return NULL;
    }
    clock_gettime(CLOCK_REALTIME, &now);
    atomic_init(&hub->references, 1);
    pthread_mutex_init(&hub->encoding, NULL);
    pthread_mutex_init(&hub->lock, NULL);
    /* milliseconds, with room for a thousand messages in each: below 2^53, which JavaScript takes
     */
    hub->first = hub->next = ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) * 1000;
    return hub;
}

nx_stream_hub *nx_stream_hub_retain(nx_stream_hub *hub)
{
    atomic_fetch_add(&hub->references, 1);
    return hub;
}

void nx_stream_hub_release(nx_stream_hub *hub)
{
    if (hub == NULL || atomic_fetch_sub(&hub->references, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < NX_HUB_MESSAGES; i++) {
        nx_buffer_free(&hub->messages[i]);
    }
    nx_buffer_free(&hub->jpeg);
    free(hub->pixels);
    free(hub->copy);
    pthread_mutex_destroy(&hub->lock);
    pthread_mutex_destroy(&hub->encoding);
    free(hub);
}

/* --- messages -----------------------------------------------------------------------------------
 */

uint64_t nx_stream_hub_tell(nx_stream_hub *hub, const char *kind, const char *data, size_t size)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t number = hub->next++;
    nx_buffer *message = &hub->messages[number % NX_HUB_MESSAGES];
    if (number - hub->first >= NX_HUB_MESSAGES) {
        hub->first = number - NX_HUB_MESSAGES + 1;
    }
    nx_buffer_clear(message);
    if (size <= NX_HUB_MESSAGE_MAX) {
        nx_buffer_printf(message, "id: %" PRIu64 "\nevent: %s\ndata: ", number, kind);
        nx_buffer_append(message, data, size);
        nx_buffer_append_str(message, "\n\n");
    }
    if (message->failed) { /* left out, as one that is too long */
        nx_buffer_free(message);
    }
    pthread_mutex_unlock(&hub->lock);
    return number;
}

uint64_t nx_stream_hub_last(nx_stream_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t last = hub->next - 1;
    pthread_mutex_unlock(&hub->lock);
    return last;
}

uint64_t nx_stream_hub_read(nx_stream_hub *hub, uint64_t after, nx_buffer *out)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t number = after + 1 > hub->first ? after + 1 : hub->first;
    uint64_t last = after;
    for (; number < hub->next; number++) {
        const nx_buffer *message = &hub->messages[number % NX_HUB_MESSAGES];
        nx_buffer_append(out, message->data, message->size);
        last = number;
    }
    pthread_mutex_unlock(&hub->lock);
    return last;
}

void nx_stream_hub_end(nx_stream_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->ended = true;
    pthread_mutex_unlock(&hub->lock);
}

bool nx_stream_hub_ended(nx_stream_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    bool ended = hub->ended;
    pthread_mutex_unlock(&hub->lock);
    return ended;
}

/* --- the picture --------------------------------------------------------------------------------
 */

uint8_t *nx_stream_hub_show(nx_stream_hub *hub, uint8_t *pixels, uint32_t width, uint32_t height)
{
    pthread_mutex_lock(&hub->lock);
    uint8_t *old = hub->pixels;
    hub->pixels = pixels;
    hub->width = width;
    hub->height = height;
    hub->picture++;
    pthread_mutex_unlock(&hub->lock);
    return old;
}

uint64_t nx_stream_hub_picture(nx_stream_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t number = hub->picture;
    pthread_mutex_unlock(&hub->lock);
    return number;
}

/* Copies the picture unless its JPEG is there. Under the encoding lock. */
static nx_status copy_picture(nx_stream_hub *hub, nx_image *out, uint64_t *number, nx_error *err)
{
    nx_status status = NX_OK;
    pthread_mutex_lock(&hub->lock);
    size_t size = (size_t)3 * hub->width * hub->height;
    *number = hub->picture;
    if (hub->picture == 0) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "no picture has come yet");
    } else if (hub->picture != hub->jpeg_number) {
        if (size > hub->copy_size) {
            free(hub->copy);
            hub->copy = malloc(size);
            hub->copy_size = hub->copy != NULL ? size : 0;
        }
        if (hub->copy == NULL) {
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a picture");
        } else {
            memcpy(hub->copy, hub->pixels, size);
            *out = (nx_image){.pixels = hub->copy,
                              .width = hub->width,
                              .height = hub->height,
                              .stride = (size_t)3 * hub->width};
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return status;
}

nx_status nx_stream_hub_jpeg(nx_stream_hub *hub, nx_buffer *out, uint64_t *number, nx_error *err)
{
    nx_image picture = {0};
    pthread_mutex_lock(&hub->encoding);
    nx_status status = copy_picture(hub, &picture, number, err);
    if (status == NX_OK && *number != hub->jpeg_number) {
        nx_buffer_clear(&hub->jpeg);
        hub->jpeg_number = 0;
        status = nx_image_encode_jpeg(&picture, QUALITY, &hub->jpeg, err);
        atomic_fetch_add(&hub->encodings, 1);
        hub->jpeg_number = status == NX_OK ? *number : 0;
    }
    if (status == NX_OK) {
        nx_buffer_append(out, hub->jpeg.data, hub->jpeg.size);
    }
    pthread_mutex_unlock(&hub->encoding);
    return status;
}

uint64_t nx_stream_hub_encodings(nx_stream_hub *hub)
{
    return atomic_load(&hub->encodings);
}

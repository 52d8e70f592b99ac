#include "streams/hub.h"

#include "base/clock.h"
#include "media/codec.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define QUALITY 80
/* So long a mirror's picture is new, though there is a newer one. */
#define YOUNG_NS (NX_NS_PER_SEC / 2)

struct nx_stream_hub {
    atomic_int references;
    atomic_uint_fast64_t encodings;

    pthread_mutex_t encoding; /* guards the JPEG; held while one is made */
    nx_stream_jpeg *jpeg;     /* a reference; NULL: none was asked for yet */
    uint8_t *copy;            /* of the picture, for encoding */
    size_t copy_size;

    pthread_mutex_t lock; /* guards the rest; held for no longer than copying takes */
    nx_buffer messages[NX_HUB_MESSAGES]; /* number n lies in messages[n % NX_HUB_MESSAGES] */
    uint64_t first, next;                /* numbers of those that are there: first..next - 1 */
    uint8_t *pixels;
    uint32_t width, height;
    uint64_t picture;
    bool ended;
    /* of a mirror, whose JPEG is guarded by this lock, too */
    bool mirror, wanted; /* wanted: want was called, and no JPEG has come since */
    void (*want)(void *user);
    void *user;
    uint64_t offset;    /* of the picture's numbers to those of the other hub */
    int64_t arrived_ns; /* when the JPEG came */
};

static nx_stream_hub *new_hub(void)
{
    nx_stream_hub *hub = calloc(1, sizeof *hub);
    if (hub == NULL) {
        return NULL;
    }
    atomic_init(&hub->references, 1);
    pthread_mutex_init(&hub->encoding, NULL);
    pthread_mutex_init(&hub->lock, NULL);
    return hub;
}

nx_stream_hub *nx_stream_hub_new(void)
{
    nx_stream_hub *hub = new_hub();
    if (hub != NULL) {
        /* milliseconds, with room for a thousand messages in each: below 2^53, which JavaScript
         * takes */
        hub->first = hub->next = (uint64_t)nx_clock_unix_ms() * 1000;
    }
    return hub;
}

nx_stream_hub *nx_stream_hub_new_mirror(void (*want)(void *user), void *user)
{
    nx_stream_hub *hub = new_hub();
    if (hub != NULL) {
        hub->first = hub->next = 1;
        hub->mirror = true;
        hub->want = want;
        hub->user = user;
    }
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
    nx_stream_jpeg_release(hub->jpeg);
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

uint64_t nx_stream_hub_read(nx_stream_hub *hub, uint64_t after, size_t room, nx_buffer *out)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t number = after + 1 > hub->first ? after + 1 : hub->first;
    uint64_t last = after;
    for (; number < hub->next; number++) {
        const nx_buffer *message = &hub->messages[number % NX_HUB_MESSAGES];
        if (message->size > room) {
            break;
        }
        nx_buffer_append(out, message->data, message->size);
        room -= message->size;
        last = number;
    }
    pthread_mutex_unlock(&hub->lock);
    return last;
}

bool nx_stream_hub_next(nx_stream_hub *hub, uint64_t after, uint64_t *number, nx_buffer *out)
{
    pthread_mutex_lock(&hub->lock);
    *number = after + 1 > hub->first ? after + 1 : hub->first;
    bool there = *number < hub->next;
    if (there) {
        const nx_buffer *message = &hub->messages[*number % NX_HUB_MESSAGES];
        nx_buffer_append(out, message->data, message->size);
    }
    pthread_mutex_unlock(&hub->lock);
    return there;
}

uint64_t nx_stream_hub_first(nx_stream_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    uint64_t first = hub->first;
    pthread_mutex_unlock(&hub->lock);
    return first;
}

void nx_stream_hub_end(nx_stream_hub *hub)
{
    pthread_mutex_lock(&hub->lock);
    hub->ended = true;
    hub->want = NULL;
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
    } else if (hub->jpeg == NULL || hub->picture != hub->jpeg->number) {
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

/* Puts a picture's JPEG in the place of the one before. Under the encoding lock. */
static nx_status encode(nx_stream_hub *hub, const nx_image *picture, uint64_t number, nx_error *err)
{
    nx_stream_jpeg *jpeg = calloc(1, sizeof *jpeg);
    if (jpeg == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a picture");
    }
    atomic_init(&jpeg->references, 1);
    jpeg->number = number;
    atomic_fetch_add(&hub->encodings, 1);
    nx_status status = nx_image_encode_jpeg(picture, QUALITY, &jpeg->bytes, err);
    if (status != NX_OK) {
        nx_stream_jpeg_release(jpeg);
        return status;
    }
    nx_stream_jpeg_release(hub->jpeg);
    hub->jpeg = jpeg;
    return NX_OK;
}

/* A mirror's: the newest one, or one that the caller has not seen and that came just now, for while
 * it came another one may have been shown already. Or else it is asked for. */
static nx_status take_mirrored(nx_stream_hub *hub, uint64_t seen, nx_stream_jpeg **out,
                               nx_error *err)
{
    nx_status status = NX_OK;
    pthread_mutex_lock(&hub->lock);
    const nx_stream_jpeg *jpeg = hub->jpeg;
    if (hub->picture == 0) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "no picture has come yet");
    } else if (jpeg != NULL &&
               (jpeg->number == hub->picture ||
                (jpeg->number != seen && nx_clock_now_ns() - hub->arrived_ns < YOUNG_NS))) {
        atomic_fetch_add(&hub->jpeg->references, 1);
        *out = hub->jpeg;
    } else {
        status = nx_error_set(err, NX_ERR_BUSY, "the picture is on its way");
        if (!hub->wanted && hub->want != NULL) {
            hub->wanted = true;
            hub->want(hub->user);
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return status;
}

nx_status nx_stream_hub_jpeg(nx_stream_hub *hub, uint64_t seen, nx_stream_jpeg **out, nx_error *err)
{
    nx_image picture = {0};
    uint64_t number = 0;
    *out = NULL;
    if (hub->mirror) {
        return take_mirrored(hub, seen, out, err);
    }
    pthread_mutex_lock(&hub->encoding);
    nx_status status = copy_picture(hub, &picture, &number, err);
    if (status == NX_OK && picture.pixels != NULL) {
        status = encode(hub, &picture, number, err);
    }
    if (status == NX_OK) {
        atomic_fetch_add(&hub->jpeg->references, 1);
        *out = hub->jpeg;
    }
    pthread_mutex_unlock(&hub->encoding);
    return status;
}

void nx_stream_jpeg_release(nx_stream_jpeg *jpeg)
{
    if (jpeg != NULL && atomic_fetch_sub(&jpeg->references, 1) == 1) {
        nx_buffer_free(&jpeg->bytes);
        free(jpeg);
    }
}

uint64_t nx_stream_hub_encodings(nx_stream_hub *hub)
{
    return atomic_load(&hub->encodings);
}

/* --- mirroring ----------------------------------------------------------------------------------
 */

bool nx_stream_hub_follow(nx_stream_hub *hub, uint64_t first, uint64_t last, uint64_t picture)
{
    pthread_mutex_lock(&hub->lock);
    bool behind = last + 1 < hub->next;
    if (!behind && first > hub->next) { /* what was between is lost */
        hub->first = hub->next = first;
    }
    hub->offset = hub->picture;
    hub->picture += picture;
    hub->wanted = false;
    nx_stream_jpeg *old = hub->jpeg;
    hub->jpeg = NULL;
    pthread_mutex_unlock(&hub->lock);
    nx_stream_jpeg_release(old);
    return !behind;
}

bool nx_stream_hub_put(nx_stream_hub *hub, uint64_t number, const char *text, size_t size)
{
    pthread_mutex_lock(&hub->lock);
    bool good = number >= hub->next;
    if (good && number > hub->next) { /* they have left the history there */
        hub->first = hub->next = number;
    }
    if (good) {
        nx_buffer *message = &hub->messages[number % NX_HUB_MESSAGES];
        nx_buffer_clear(message);
        if (size > 0) {
            nx_buffer_append(message, text, size);
        }
        if (message->failed) {
            nx_buffer_free(message);
        }
        hub->next = number + 1;
        if (hub->next - hub->first > NX_HUB_MESSAGES) {
            hub->first = hub->next - NX_HUB_MESSAGES;
        }
    }
    pthread_mutex_unlock(&hub->lock);
    return good;
}

void nx_stream_hub_note_picture(nx_stream_hub *hub, uint64_t picture)
{
    pthread_mutex_lock(&hub->lock);
    hub->picture = hub->offset + picture;
    pthread_mutex_unlock(&hub->lock);
}

bool nx_stream_hub_put_jpeg(nx_stream_hub *hub, uint64_t picture, const void *bytes, size_t size)
{
    nx_stream_jpeg *jpeg = size > 0 ? calloc(1, sizeof *jpeg) : NULL;
    if (jpeg != NULL) {
        atomic_init(&jpeg->references, 1);
        nx_buffer_append(&jpeg->bytes, bytes, size);
    }
    pthread_mutex_lock(&hub->lock);
    bool good = jpeg != NULL && !jpeg->bytes.failed;
    hub->wanted = false;
    if (good) {
        nx_stream_jpeg *old = hub->jpeg;
        jpeg->number = hub->offset + picture;
        hub->picture = hub->picture > jpeg->number ? hub->picture : jpeg->number;
        hub->arrived_ns = nx_clock_now_ns();
        hub->jpeg = jpeg;
        jpeg = old;
    }
    pthread_mutex_unlock(&hub->lock);
    nx_stream_jpeg_release(jpeg); /* the old one, or what failed */
    return good;
}

bool nx_stream_hub_is_shared(nx_stream_hub *hub)
{
    return atomic_load(&hub->references) > 1;
}

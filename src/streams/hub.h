/*
 * What a stream has to tell, for any number of listeners that cost it nothing: a short history of
 * messages, each written once, and the newest picture, encoded once however many ask. Whoever runs
 * the stream publishes and never waits; listeners read when they like, and who is too slow misses
 * what has left the history.
 *
 * Messages are numbered; numbers rise over restarts, too, for they begin with the time.
 *
 * A hub may also be the mirror of one in another process (relay_mirror.h): messages come with their
 * numbers, and the newest picture, already encoded, when somebody here wants it.
 * Thread-safe; counted references.
 */
#ifndef NX_STREAMS_HUB_H
#define NX_STREAMS_HUB_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Messages that are kept. */
#define NX_HUB_MESSAGES 64
/* Of a message's data; a longer one is left out, which its number shows. */
#define NX_HUB_MESSAGE_MAX ((size_t)128 << 10)
/* Of a message as it is read: whoever reads with less room may never get on. */
#define NX_HUB_MOST_ROOM (NX_HUB_MESSAGE_MAX + 256)

typedef struct nx_stream_hub nx_stream_hub;

/* A picture that was encoded. Whoever holds a reference may read it as long as it likes. */
typedef struct nx_stream_jpeg {
    atomic_int references;
    uint64_t number; /* of its picture */
    nx_buffer bytes;
} nx_stream_jpeg;

void nx_stream_jpeg_release(nx_stream_jpeg *jpeg); /* NULL is fine */

/* NULL: no memory. Has one reference. */
nx_stream_hub *nx_stream_hub_new(void);
/* A mirror. want: somebody waits for a picture that is not here; must not wait. */
nx_stream_hub *nx_stream_hub_new_mirror(void (*want)(void *user), void *user);
nx_stream_hub *nx_stream_hub_retain(nx_stream_hub *hub);
void nx_stream_hub_release(nx_stream_hub *hub); /* NULL is fine */

/* --- publishing --- */

/* A message of a kind (a literal) whose data is one line. Returns its number. */
uint64_t nx_stream_hub_tell(nx_stream_hub *hub, const char *kind, const char *data, size_t size);

/* Shows a picture: RGB without gaps, which becomes the hub's. Returns the one that was shown
 * before, of whatever size, for the caller to free or use again; NULL: none. */
uint8_t *nx_stream_hub_show(nx_stream_hub *hub, uint8_t *pixels, uint32_t width, uint32_t height);

/* Nothing comes any more, and nobody is asked for a picture. */
void nx_stream_hub_end(nx_stream_hub *hub);

/* --- mirroring --- */

/* What the other one has: its messages (none: first is last + 1) and the number of its picture.
 * False: its numbers are behind those that are known here. */
bool nx_stream_hub_follow(nx_stream_hub *hub, uint64_t first, uint64_t last, uint64_t picture);
/* Its next message, as nx_stream_hub_next gives it. False: its number is no next one. */
bool nx_stream_hub_put(nx_stream_hub *hub, uint64_t number, const char *text, size_t size);
/* It shows another picture by now. */
void nx_stream_hub_note_picture(nx_stream_hub *hub, uint64_t picture);
/* A picture of it, encoded; without bytes it has none, and may be asked again. False: there is none
 * now, for want of memory or bytes. */
bool nx_stream_hub_put_jpeg(nx_stream_hub *hub, uint64_t picture, const void *bytes, size_t size);
/* Has anybody but the caller a reference? */
bool nx_stream_hub_is_shared(nx_stream_hub *hub);

/* --- listening --- */

/* Number of the last message. */
uint64_t nx_stream_hub_last(nx_stream_hub *hub);
bool nx_stream_hub_ended(nx_stream_hub *hub);

/* Appends the messages that are there and come after a number, as Server-Sent Events, as many as
 * there is room for (bytes). Returns the number of the last one, or `after`. */
uint64_t nx_stream_hub_read(nx_stream_hub *hub, uint64_t after, size_t room, nx_buffer *out);

/* The first message after a number, if there is one, with its own; no text: it was too long. */
bool nx_stream_hub_next(nx_stream_hub *hub, uint64_t after, uint64_t *number, nx_buffer *out);
/* Number of the first message that is there; behind the last: there is none. */
uint64_t nx_stream_hub_first(nx_stream_hub *hub);

/* Number of the picture that is shown; 0: none yet. */
uint64_t nx_stream_hub_picture(nx_stream_hub *hub);

/* The newest picture as a JPEG, with a reference for the caller, who has seen the picture `seen`
 * (0: none). Encodes it unless somebody has, which takes milliseconds and holds up no publisher.
 * Errors: NX_ERR_UNAVAILABLE (none yet), NX_ERR_NO_MEMORY; of a mirror NX_ERR_BUSY (it is asked
 * for, and will be told of). */
nx_status nx_stream_hub_jpeg(nx_stream_hub *hub, uint64_t seen, nx_stream_jpeg **out,
                             nx_error *err);

/* JPEGs that were encoded so far. */
uint64_t nx_stream_hub_encodings(nx_stream_hub *hub);

#endif

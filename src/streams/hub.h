/*
 * What a stream has to tell, for any number of listeners that cost it nothing: a short history of
 * messages, each written once, and the newest picture, encoded once however many ask. Whoever runs
 * the stream publishes and never waits; listeners read when they like, and who is too slow misses
 * what has left the history.
 *
 * Messages are numbered; numbers rise over restarts, too, for they begin with the time.
 * Thread-safe; counted references.
 */
#ifndef NX_STREAMS_HUB_H
#define NX_STREAMS_HUB_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Messages that are kept. */
#define NX_HUB_MESSAGES 64
/* Of a message; a longer one is left out, which its number shows. */
#define NX_HUB_MESSAGE_MAX ((size_t)256 << 10)

typedef struct nx_stream_hub nx_stream_hub;

/* NULL: no memory. Has one reference. */
nx_stream_hub *nx_stream_hub_new(void);
nx_stream_hub *nx_stream_hub_retain(nx_stream_hub *hub);
void nx_stream_hub_release(nx_stream_hub *hub); /* NULL is fine */

/* --- publishing --- */

/* A message of a kind (a literal) whose data is one line. Returns its number. */
uint64_t nx_stream_hub_tell(nx_stream_hub *hub, const char *kind, const char *data, size_t size);

/* Shows a picture: RGB without gaps, which becomes the hub's. Returns the one that was shown
 * before, of whatever size, for the caller to free or use again; NULL: none. */
uint8_t *nx_stream_hub_show(nx_stream_hub *hub, uint8_t *pixels, uint32_t width, uint32_t height);

/* Nothing comes any more. */
void nx_stream_hub_end(nx_stream_hub *hub);

/* --- listening --- */

/* Number of the last message. */
uint64_t nx_stream_hub_last(nx_stream_hub *hub);
bool nx_stream_hub_ended(nx_stream_hub *hub);

/* Appends the messages that are there and come after a number, as Server-Sent Events. Returns the
 * number of the last one, or `after`. */
uint64_t nx_stream_hub_read(nx_stream_hub *hub, uint64_t after, nx_buffer *out);

/* Number of the picture that is shown; 0: none yet. */
uint64_t nx_stream_hub_picture(nx_stream_hub *hub);

/* Appends the newest picture as a JPEG; *number is its. Encodes it unless somebody has, which takes
 * milliseconds and holds up no publisher. Errors: NX_ERR_UNAVAILABLE (none yet), NX_ERR_NO_MEMORY.
 */
nx_status nx_stream_hub_jpeg(nx_stream_hub *hub, nx_buffer *out, uint64_t *number, nx_error *err);

/* JPEGs that were encoded so far. */
uint64_t nx_stream_hub_encodings(nx_stream_hub *hub);

#endif

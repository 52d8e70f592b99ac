/*
 * What a process that runs a stream and one that is asked for it say to each other: the bytes.
 *
 * The runner greets with a name and a nonce; whoever connects answers with a nonce of its own and
 * with a proof that it knows the runner's token, which itself never travels: it is in the database
 * alone. Everything after that is in frames that are sealed (ChaCha20-Poly1305, RFC 8439) under
 * keys of the token and both nonces, one for each direction and each connection, and counted: a
 * frame that was changed, left out, repeated or made by somebody else is none.
 *
 * A frame is the length of what is sealed (4 bytes, little-endian), and that: a kind, the numbers
 * that it has (8 bytes each), and bytes. Pure functions on memory; thread-safe.
 */
#ifndef NX_STREAMS_RELAY_WIRE_H
#define NX_STREAMS_RELAY_WIRE_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_RELAY_TOKEN    32
#define NX_RELAY_NONCE    32
#define NX_RELAY_PROOF    32
#define NX_RELAY_NAME     "nxrelay1"
#define NX_RELAY_GREETING (sizeof NX_RELAY_NAME - 1 + NX_RELAY_NONCE)
#define NX_RELAY_ANSWER   (NX_RELAY_NONCE + NX_RELAY_PROOF)

/* A frame's length, and what the seal adds to it. */
#define NX_RELAY_LENGTH  4
#define NX_RELAY_SEAL    16
#define NX_RELAY_NUMBERS 6
/* Who takes nothing, or says nothing, for so long is gone. */
#define NX_RELAY_PATIENCE_MS 10000
/* Of a frame that a runner gets, and of one that it sends. */
#define NX_RELAY_MOST_ASKED ((size_t)96)
#define NX_RELAY_MOST_TOLD  (((size_t)8 << 20) + 1024)
/* Of a picture: a larger one is none. */
#define NX_RELAY_PICTURE_MAX ((size_t)8 << 20)

typedef enum nx_relay_kind {
    /* to the runner */
    NX_RELAY_OPEN = 1, /* number of the last message that is known; the stream's id */
    NX_RELAY_PULL,     /* the newest picture, please */
    NX_RELAY_VIDEO,    /* 1: the video itself, please; 0: no more */
    /* from the runner */
    NX_RELAY_OPENED = 16, /* numbers of the first and the last message, and of the picture */
    NX_RELAY_REFUSED,     /* the stream is not run there */
    NX_RELAY_EVENT,       /* its number; as Server-Sent Event; no bytes: it was too long */
    NX_RELAY_SHOWN,       /* number of the picture that is shown now */
    NX_RELAY_PICTURE,     /* its number; a JPEG */
    NX_RELAY_NO_PICTURE,  /* there is none */
    NX_RELAY_TRACK,       /* hevc, width, height, shown_width, shown_height, rotation; config */
    NX_RELAY_FRAGMENT,    /* key; dts of the stream in ticks, pts in ns; a fragment */
    NX_RELAY_NO_VIDEO,    /* none yet; or the codec of what can't be shown */
    NX_RELAY_CUT,         /* the camera's connection has ended */
    NX_RELAY_ENDED,       /* the stream is not run there any more */
    NX_RELAY_ALIVE,       /* nothing is new */
} nx_relay_kind;

/* Plain data; bytes are borrowed. */
typedef struct nx_relay_message {
    nx_relay_kind kind;
    uint64_t numbers[NX_RELAY_NUMBERS];
    const void *bytes;
    size_t size;
} nx_relay_message;

/* What sits in a sealed frame. Errors: NX_ERR_CORRUPT (no such kind, or of another form). */
nx_status nx_relay_read(const uint8_t *data, size_t size, nx_relay_message *out, nx_error *err);
/* Appends it. Its form is the caller's promise. */
void nx_relay_write(const nx_relay_message *message, nx_buffer *out);

/* --- the seal --- */

/* One direction of a connection. */
typedef struct nx_relay_seal {
    uint8_t key[32];
    uint64_t count; /* of frames */
} nx_relay_seal;

typedef struct nx_relay_seals {
    nx_relay_seal asked, told; /* to the runner, from it */
    uint8_t proof[NX_RELAY_PROOF];
} nx_relay_seals;

/* runner, viewer: the nonces of both. */
void nx_relay_agree(const uint8_t token[NX_RELAY_TOKEN], const uint8_t runner[NX_RELAY_NONCE],
                    const uint8_t viewer[NX_RELAY_NONCE], nx_relay_seals *out);
bool nx_relay_proof_is(const uint8_t a[NX_RELAY_PROOF], const uint8_t b[NX_RELAY_PROOF]);

/* Appends a message as a sealed frame. */
void nx_relay_seal_message(nx_relay_seal *seal, const nx_relay_message *message, nx_buffer *out);

/* The frame at the beginning of data, which is opened in place; *used: its bytes, 0: it is not all
 * there yet. Nothing longer than `most` is waited for. Errors: NX_ERR_CORRUPT (no frame of this
 * connection, or see nx_relay_read). */
nx_status nx_relay_open_frame(nx_relay_seal *seal, uint8_t *data, size_t size, size_t most,
                              size_t *used, nx_relay_message *out, nx_error *err);

/* 64 hexadecimal digits. False: that is no token. NULL is none. */
bool nx_relay_token_read(const char *text, uint8_t out[NX_RELAY_TOKEN]);
#define NX_RELAY_TOKEN_TEXT (2 * NX_RELAY_TOKEN + 1)
void nx_relay_token_make(uint8_t token[NX_RELAY_TOKEN], char text[NX_RELAY_TOKEN_TEXT]);

#endif

#include "streams/relay_wire.h"

#include "base/uuid.h"
#include "media/decoder.h"
#include "media/mp4.h"
#include "streams/hub.h"
#include "streams/media_ring.h"

#include <sodium.h>
#include <string.h>

#define CODEC_MAX    31
#define PLAIN_HEADER ((size_t)1)
#define NUMBER       sizeof(uint64_t)

_Static_assert(NX_RELAY_NONCE == 32 && NX_RELAY_PROOF == crypto_auth_hmacsha256_BYTES, "sizes");
_Static_assert(NX_RELAY_SEAL == crypto_aead_chacha20poly1305_ietf_ABYTES, "the seal's size");
_Static_assert(NX_RELAY_MOST_TOLD >= NX_MEDIA_SAMPLE_MAX + NX_MP4_FRAGMENT_HEAD + 128,
               "room for a fragment");

/* --- messages -----------------------------------------------------------------------------------
 */

/* Of each kind: how many numbers, how many bytes. */
static const struct form {
    uint8_t known, numbers;
    size_t least, most;
} forms[] = {
    [NX_RELAY_OPEN] = {1, 1, NX_UUID_SIZE - 1, NX_UUID_SIZE - 1},
    [NX_RELAY_PULL] = {1, 0, 0, 0},
    [NX_RELAY_VIDEO] = {1, 1, 0, 0},
    [NX_RELAY_OPENED] = {1, 3, 0, 0},
    [NX_RELAY_REFUSED] = {1, 0, 0, 0},
    [NX_RELAY_EVENT] = {1, 1, 0, NX_HUB_MOST_ROOM},
    [NX_RELAY_SHOWN] = {1, 1, 0, 0},
    [NX_RELAY_PICTURE] = {1, 1, 4, NX_RELAY_PICTURE_MAX},
    [NX_RELAY_NO_PICTURE] = {1, 0, 0, 0},
    [NX_RELAY_TRACK] = {1, 6, 1, NX_MP4_CONFIG_MAX},
    [NX_RELAY_FRAGMENT] = {1, 3, NX_MP4_FRAGMENT_HEAD + 1,
                           NX_MP4_FRAGMENT_HEAD + NX_MEDIA_SAMPLE_MAX},
    [NX_RELAY_NO_VIDEO] = {1, 0, 0, CODEC_MAX},
    [NX_RELAY_CUT] = {1, 0, 0, 0},
    [NX_RELAY_ENDED] = {1, 0, 0, 0},
    [NX_RELAY_ALIVE] = {1, 0, 0, 0},
};

static uint64_t read_number(const uint8_t *at)
{
    uint64_t number = 0;
    for (size_t i = NUMBER; i > 0; i--) {
        number = number << 8 | at[i - 1];
    }
    return number;
}

static void write_number(uint8_t *at, uint64_t number)
{
    for (size_t i = 0; i < NUMBER; i++) {
        at[i] = (uint8_t)(number >> (8 * i));
    }
}

/* What numbers and bytes must be beyond their count. */
static bool is_sound(const nx_relay_message *message)
{
    const uint8_t *bytes = message->bytes;
    switch (message->kind) {
    case NX_RELAY_VIDEO:
        return message->numbers[0] <= 1;
    case NX_RELAY_FRAGMENT:
        return message->numbers[0] <= 1 && message->numbers[1] <= NX_MEDIA_MOST_TICKS;
    case NX_RELAY_OPENED: /* without messages the last is the one before the first */
        return message->numbers[0] > 0 && message->numbers[1] < UINT64_MAX &&
               message->numbers[0] <= message->numbers[1] + 1 &&
               message->numbers[1] + 1 - message->numbers[0] <= NX_HUB_MESSAGES;
    case NX_RELAY_EVENT: /* one event, of one piece */
        return message->size == 0 ||
               (message->size > 4 && memcmp(bytes, "id: ", 4) == 0 &&
                memmem(bytes, message->size, "\n\n", 2) == bytes + message->size - 2 &&
                memchr(bytes, '\r', message->size) == NULL);
    case NX_RELAY_PICTURE:
        return bytes[0] == 0xFF && bytes[1] == 0xD8;
    default:
        return true;
    }
}

nx_status nx_relay_read(const uint8_t *data, size_t size, nx_relay_message *out, nx_error *err)
{
    *out = (nx_relay_message){.size = 0};
    if (size < PLAIN_HEADER || data[0] >= sizeof forms / sizeof forms[0] ||
        forms[data[0]].known == 0) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a message between servers has no known kind");
    }
    const struct form *form = &forms[data[0]];
    size_t head = PLAIN_HEADER + form->numbers * NUMBER;
    out->kind = (nx_relay_kind)data[0];
    if (size < head || size - head < form->least || size - head > form->most) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a message between servers (%d) has a wrong size",
                            (int)data[0]);
    }
    for (size_t i = 0; i < form->numbers; i++) {
        out->numbers[i] = read_number(data + PLAIN_HEADER + i * NUMBER);
    }
    out->bytes = data + head;
    out->size = size - head;
    return is_sound(out)
               ? NX_OK
               : nx_error_set(err, NX_ERR_CORRUPT, "a message between servers (%d) is malformed",
                              (int)data[0]);
}

void nx_relay_write(const nx_relay_message *message, nx_buffer *out)
{
    uint8_t head[PLAIN_HEADER + NX_RELAY_NUMBERS * NUMBER];
    size_t numbers = forms[message->kind].numbers;
    head[0] = (uint8_t)message->kind;
    for (size_t i = 0; i < numbers; i++) {
        write_number(head + PLAIN_HEADER + i * NUMBER, message->numbers[i]);
    }
    nx_buffer_append(out, head, PLAIN_HEADER + numbers * NUMBER);
    if (message->size > 0) {
        nx_buffer_append(out, message->bytes, message->size);
    }
}

/* --- the seal -----------------------------------------------------------------------------------
 */

/* One of several values that the token and both nonces give. */
static void derive(const uint8_t token[NX_RELAY_TOKEN], const char *what,
                   const uint8_t runner[NX_RELAY_NONCE], const uint8_t viewer[NX_RELAY_NONCE],
                   uint8_t out[32])
{
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, token, NX_RELAY_TOKEN);
    crypto_auth_hmacsha256_update(&state, (const uint8_t *)what, strlen(what) + 1);
    crypto_auth_hmacsha256_update(&state, runner, NX_RELAY_NONCE);
    crypto_auth_hmacsha256_update(&state, viewer, NX_RELAY_NONCE);
    crypto_auth_hmacsha256_final(&state, out);
}

void nx_relay_agree(const uint8_t token[NX_RELAY_TOKEN], const uint8_t runner[NX_RELAY_NONCE],
                    const uint8_t viewer[NX_RELAY_NONCE], nx_relay_seals *out)
{
    *out = (nx_relay_seals){.asked = {.count = 0}};
    derive(token, NX_RELAY_NAME " proof", runner, viewer, out->proof);
    derive(token, NX_RELAY_NAME " asked", runner, viewer, out->asked.key);
    derive(token, NX_RELAY_NAME " told", runner, viewer, out->told.key);
}

bool nx_relay_proof_is(const uint8_t a[NX_RELAY_PROOF], const uint8_t b[NX_RELAY_PROOF])
{
    return sodium_memcmp(a, b, NX_RELAY_PROOF) == 0;
}

static void next_nonce(nx_relay_seal *seal,
                       uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES])
{
    memset(nonce, 0, crypto_aead_chacha20poly1305_ietf_NPUBBYTES);
    write_number(nonce, seal->count++);
}

void nx_relay_seal_message(nx_relay_seal *seal, const nx_relay_message *message, nx_buffer *out)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    const size_t head = PLAIN_HEADER + forms[message->kind].numbers * NUMBER;
    const uint32_t length = (uint32_t)(head + message->size + NX_RELAY_SEAL);
    const uint8_t size[NX_RELAY_LENGTH] = {(uint8_t)length, (uint8_t)(length >> 8),
                                           (uint8_t)(length >> 16), (uint8_t)(length >> 24)};
    if (!nx_buffer_reserve(out, NX_RELAY_LENGTH + length)) {
        return;
    }
    nx_buffer_append(out, size, sizeof size);
    uint8_t *at = (uint8_t *)out->data + out->size;
    nx_relay_write(message, out);
    next_nonce(seal, nonce);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(at, NULL, at, length - NX_RELAY_SEAL, size,
                                                    sizeof size, NULL, nonce, seal->key);
    out->size += NX_RELAY_SEAL;
}

nx_status nx_relay_open_frame(nx_relay_seal *seal, uint8_t *data, size_t size, size_t most,
                              size_t *used, nx_relay_message *out, nx_error *err)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    *used = 0;
    if (size < NX_RELAY_LENGTH) {
        return NX_OK;
    }
    const uint32_t length = (uint32_t)data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 |
                            (uint32_t)data[3] << 24;
    if (length < PLAIN_HEADER + NX_RELAY_SEAL || length > most) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a message between servers has %u bytes", length);
    }
    if (size - NX_RELAY_LENGTH < length) {
        return NX_OK;
    }
    uint8_t *at = data + NX_RELAY_LENGTH;
    next_nonce(seal, nonce);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(at, NULL, NULL, at, length, data, NX_RELAY_LENGTH,
                                                  nonce, seal->key) != 0) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "a message between servers does not bear the runner's seal");
    }
    *used = NX_RELAY_LENGTH + length;
    return nx_relay_read(at, length - NX_RELAY_SEAL, out, err);
}

/* --- the token ----------------------------------------------------------------------------------
 */

bool nx_relay_token_read(const char *text, uint8_t out[NX_RELAY_TOKEN])
{
    size_t size = 0;
    return text != NULL && strlen(text) == NX_RELAY_TOKEN_TEXT - 1 &&
           sodium_hex2bin(out, NX_RELAY_TOKEN, text, strlen(text), NULL, &size, NULL) == 0 &&
           size == NX_RELAY_TOKEN;
}

void nx_relay_token_make(uint8_t token[NX_RELAY_TOKEN], char text[NX_RELAY_TOKEN_TEXT])
{
    randombytes_buf(token, NX_RELAY_TOKEN);
    sodium_bin2hex(text, NX_RELAY_TOKEN_TEXT, token, NX_RELAY_TOKEN);
}

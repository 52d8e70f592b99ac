/*
 * What processes say to each other of a stream. The first byte says what is read: a message, which
 * is written again to the same bytes; frames, none of which can be opened without the keys; frames
 * that were sealed with them, cut into pieces; an address.
 */
#include "fuzz.h"

#include "base/buffer.h"
#include "streams/relay_listener.h"
#include "streams/relay_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static void fuzz_message(char *text, size_t size)
{
    nx_relay_message message;
    nx_error err = {0};
    nx_buffer again = NX_BUFFER_INIT;
    if (nx_relay_read((const uint8_t *)text, size, &message, &err) != NX_OK) {
        require(err.status == NX_ERR_CORRUPT && err.message[0] != '\0');
        return;
    }
    nx_relay_write(&message, &again);
    require(again.size == size && memcmp(again.data, text, size) == 0);
    nx_buffer_free(&again);
}

static void fuzz_foreign(char *text, size_t size)
{
    nx_relay_seal seal = {.key = {1}};
    nx_relay_message message;
    size_t used = 0;
    nx_status status = nx_relay_open_frame(&seal, (uint8_t *)text, size, NX_RELAY_MOST_ASKED, &used,
                                           &message, NULL);
    require(used == 0 && (status == NX_OK || status == NX_ERR_CORRUPT));
}

/* The message, sealed, comes in two pieces, of which the first alone is nothing yet. */
static void fuzz_frame(char *text, size_t size)
{
    nx_relay_seal ours = {.key = {1}};
    nx_relay_seal theirs = {.key = {1}};
    nx_relay_message message;
    nx_relay_message again;
    nx_buffer frame = NX_BUFFER_INIT;
    size_t used = 0;
    if (size == 0 || nx_relay_read((const uint8_t *)text + 1, size - 1, &message, NULL) != NX_OK) {
        return;
    }
    nx_relay_seal_message(&ours, &message, &frame);
    require(!frame.failed);
    size_t part = (uint8_t)text[0] % frame.size;
    require(nx_relay_open_frame(&theirs, (uint8_t *)frame.data, part, frame.size, &used, &again,
                                NULL) == NX_OK &&
            used == 0);
    require(nx_relay_open_frame(&theirs, (uint8_t *)frame.data, frame.size, frame.size, &used,
                                &again, NULL) == NX_OK &&
            used == frame.size && again.kind == message.kind && again.size == message.size);
    nx_buffer_free(&frame);
}

static void fuzz_address(char *text, size_t size)
{
    char host[NX_RELAY_ADDRESS_SIZE];
    char port[6];
    text[size] = '\0';
    if (nx_relay_address_split(text, host, sizeof host, port)) {
        require(host[0] != '\0' && strlen(port) >= 1 && strtoul(port, NULL, 10) <= 65535);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_message, fuzz_foreign, fuzz_frame, fuzz_address};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

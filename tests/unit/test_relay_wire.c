/* What processes say to each other of a stream: the bytes, and their seal. */
#include "testing.h"

#include "streams/hub.h"
#include "streams/relay_wire.h"

#include <sodium.h>

#define UUID "01890000-0000-7000-8000-000000000000"

static const uint8_t token[NX_RELAY_TOKEN] = {1, 2, 3};
static const uint8_t runner[NX_RELAY_NONCE] = {4};
static const uint8_t viewer[NX_RELAY_NONCE] = {5};

static nx_status read_of(const void *bytes, size_t size)
{
    nx_relay_message message;
    nx_error err = {0};
    nx_status status = nx_relay_read(bytes, size, &message, &err);
    assert_true(status == NX_OK || (status == NX_ERR_CORRUPT && err.message[0] != '\0'));
    return status;
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    static const char event[] = "id: 7\nevent: frame\ndata: {}\n\n";
    const nx_relay_message messages[] = {
        {.kind = NX_RELAY_OPEN, .numbers = {UINT64_MAX}, .bytes = UUID, .size = 36},
        {.kind = NX_RELAY_PULL},
        {.kind = NX_RELAY_VIDEO, .numbers = {1}},
        {.kind = NX_RELAY_OPENED, .numbers = {8, 7, 0}},
        {.kind = NX_RELAY_EVENT, .numbers = {7}, .bytes = event, .size = sizeof event - 1},
        {.kind = NX_RELAY_EVENT, .numbers = {7}},
        {.kind = NX_RELAY_PICTURE, .numbers = {1}, .bytes = "\xff\xd8\xff\xd9", .size = 4},
        {.kind = NX_RELAY_NO_VIDEO, .bytes = "mjpeg", .size = 5},
        {.kind = NX_RELAY_ENDED},
    };
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        nx_buffer out = NX_BUFFER_INIT;
        nx_relay_message again;
        nx_error err = {0};
        nx_relay_write(&messages[i], &out);
        nx_assert_ok(nx_relay_read((const uint8_t *)out.data, out.size, &again, &err), err);
        assert_int_equal(again.kind, messages[i].kind);
        assert_int_equal(again.size, messages[i].size);
        assert_memory_equal(again.numbers, messages[i].numbers, sizeof again.numbers);
        if (again.size > 0) {
            assert_memory_equal(again.bytes, messages[i].bytes, again.size);
        }
        assert_int_equal(read_of(out.data, out.size - 1),
                         messages[i].kind == NX_RELAY_NO_VIDEO ? NX_OK : NX_ERR_CORRUPT);
        nx_buffer_free(&out);
    }
}

static void what_is_malformed_is_refused(void **state)
{
    (void)state;
    const struct {
        nx_relay_kind kind;
        uint64_t numbers[3];
        const char *bytes;
    } wrong[] = {
        {NX_RELAY_VIDEO, {2}, ""},
        {NX_RELAY_OPEN, {0}, "short"},
        {NX_RELAY_OPENED, {0, 0, 0}, ""},            /* numbers begin with 1 */
        {NX_RELAY_OPENED, {9, 7, 0}, ""},            /* the first behind the last */
        {NX_RELAY_OPENED, {1, 66, 0}, ""},           /* more than any hub keeps */
        {NX_RELAY_OPENED, {1, UINT64_MAX, 0}, ""},   /* no number behind it */
        {NX_RELAY_EVENT, {1}, "id: 1\n\nid: 2\n\n"}, /* two */
        {NX_RELAY_EVENT, {1}, "id: 1\n"},            /* without its end */
        {NX_RELAY_EVENT, {1}, "data: 1\n\n"},
        {NX_RELAY_EVENT, {1}, "id: 1\r\ndata\n\n"},
        {NX_RELAY_PICTURE, {1}, "GIF89a"},
        {NX_RELAY_FRAGMENT, {0, 0, 0}, "no fragment"},
        {NX_RELAY_NO_VIDEO, {0}, "a codec whose name is longer than any"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        nx_relay_message message = {
            .kind = wrong[i].kind, .bytes = wrong[i].bytes, .size = strlen(wrong[i].bytes)};
        nx_buffer out = NX_BUFFER_INIT;
        memcpy(message.numbers, wrong[i].numbers, sizeof wrong[i].numbers);
        nx_relay_write(&message, &out);
        assert_int_equal(read_of(out.data, out.size), NX_ERR_CORRUPT);
        nx_buffer_free(&out);
    }
    for (int kind = 0; kind < 256; kind++) {
        const uint8_t bytes[4] = {(uint8_t)kind, 1, 2, 3};
        assert_int_equal(read_of(bytes, sizeof bytes),
                         kind == NX_RELAY_NO_VIDEO ? NX_OK : NX_ERR_CORRUPT);
    }
    assert_int_equal(read_of("", 0), NX_ERR_CORRUPT);
}

/* --- the seal --- */

static nx_relay_seals seals_of(const uint8_t secret[NX_RELAY_TOKEN])
{
    nx_relay_seals seals;
    nx_relay_agree(secret, runner, viewer, &seals);
    return seals;
}

static nx_buffer sealed(nx_relay_seal *seal, uint64_t number)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_relay_seal_message(seal, &(nx_relay_message){.kind = NX_RELAY_SHOWN, .numbers = {number}},
                          &out);
    assert_false(out.failed);
    return out;
}

static nx_status open_of(nx_relay_seal *seal, const nx_buffer *frame, size_t size)
{
    nx_relay_message message;
    nx_error err = {0};
    size_t used = 0;
    uint8_t copy[64];
    assert_in_range(frame->size, 0, sizeof copy);
    memcpy(copy, frame->data, frame->size);
    nx_status status = nx_relay_open_frame(seal, copy, size, sizeof copy, &used, &message, &err);
    return status == NX_OK && used == 0 ? NX_ERR_BUSY : status;
}

static void a_frame_is_opened_once_and_in_its_turn(void **state)
{
    (void)state;
    nx_relay_seals seals = seals_of(token);
    nx_relay_seal other = seals.told;
    nx_buffer one = sealed(&seals.told, 1);
    nx_buffer two = sealed(&seals.told, 2);
    assert_null(memmem(one.data, one.size, &(uint64_t){1}, sizeof(uint64_t)));
    for (size_t size = 0; size < one.size; size++) { /* not all there */
        assert_int_equal(open_of(&other, &one, size), NX_ERR_BUSY);
    }
    nx_relay_seal early = other;
    assert_int_equal(open_of(&early, &two, two.size), NX_ERR_CORRUPT);
    assert_int_equal(open_of(&other, &one, one.size), NX_OK);
    nx_relay_seal again = other;
    assert_int_equal(open_of(&again, &one, one.size), NX_ERR_CORRUPT);
    for (size_t i = NX_RELAY_LENGTH; i < two.size; i++) {
        nx_relay_seal tried = other;
        two.data[i] ^= 1;
        assert_int_equal(open_of(&tried, &two, two.size), NX_ERR_CORRUPT);
        two.data[i] ^= 1;
    }
    assert_int_equal(open_of(&other, &two, two.size), NX_OK);
    nx_buffer_free(&one);
    nx_buffer_free(&two);
}

static void nobody_without_the_token_makes_or_opens_one(void **state)
{
    (void)state;
    static const uint8_t guess[NX_RELAY_TOKEN] = {1, 2, 4};
    nx_relay_seals seals = seals_of(token);
    nx_relay_seals guessed = seals_of(guess);
    assert_false(nx_relay_proof_is(seals.proof, guessed.proof));
    assert_memory_not_equal(seals.asked.key, seals.told.key, sizeof seals.told.key);
    nx_buffer frame = sealed(&guessed.told, 1);
    assert_int_equal(open_of(&seals.told, &frame, frame.size), NX_ERR_CORRUPT);
    nx_buffer_free(&frame);
}

/* Nothing is waited for that would be too long. */
static void a_length_is_believed_within_bounds_alone(void **state)
{
    (void)state;
    nx_relay_seals seals = seals_of(token);
    static const uint8_t lengths[][4] = {{0}, {16}, {65}, {0xFF, 0xFF, 0xFF, 0xFF}};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        nx_buffer frame = NX_BUFFER_INIT;
        nx_buffer_append(&frame, lengths[i], 4);
        assert_int_equal(open_of(&seals.told, &frame, 4), NX_ERR_CORRUPT);
        nx_buffer_free(&frame);
    }
}

static void a_token_is_a_text(void **state)
{
    (void)state;
    uint8_t made[NX_RELAY_TOKEN];
    uint8_t read[NX_RELAY_TOKEN];
    char text[NX_RELAY_TOKEN_TEXT];
    nx_relay_token_make(made, text);
    assert_true(nx_relay_token_read(text, read));
    assert_memory_equal(made, read, sizeof made);
    text[5] = 'x';
    assert_false(nx_relay_token_read(text, read));
    assert_false(nx_relay_token_read("abcd", read));
    assert_false(nx_relay_token_read(NULL, read));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(what_is_malformed_is_refused),
        cmocka_unit_test(a_frame_is_opened_once_and_in_its_turn),
        cmocka_unit_test(nobody_without_the_token_makes_or_opens_one),
        cmocka_unit_test(a_length_is_believed_within_bounds_alone),
        cmocka_unit_test(a_token_is_a_text),
    };
    if (sodium_init() < 0) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}

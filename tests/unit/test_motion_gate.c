#include "testing.h"

#include "analytics/motion_gate.h"

#include <stdbool.h>

#define MS    INT64_C(1000000)
#define SIDE  64
#define BYTES (SIDE * SIDE * 3)

static nx_motion_gate *made(void)
{
    nx_motion_gate *gate = NULL;
    nx_error err = {0};
    const nx_motion_gate_options options = nx_motion_gate_defaults();
    nx_assert_ok(nx_motion_gate_new(&options, &gate, &err), err);
    return gate;
}

static bool look(nx_motion_gate *gate, int64_t ms, const uint8_t *pixels)
{
    const nx_motion_frame frame = {pixels, SIDE * 3, SIDE, SIDE, 3};
    nx_error err = {0};
    bool open = false;
    nx_assert_ok(nx_motion_gate_look(gate, ms * MS, &frame, &open, &err), err);
    return open;
}

/* A gray scene, and in it a light object of 16x16 pixels at x, 24; none at x < 0. */
static const uint8_t *scene(int level, int x)
{
    static uint8_t pixels[BYTES];
    memset(pixels, level, sizeof pixels);
    for (int y = 24; x >= 0 && y < 40; y++) {
        memset(pixels + (y * SIDE + x) * 3, level + 60, (size_t)16 * 3);
    }
    return pixels;
}

static void still_frames_are_held_back_and_looked_at_in_time(void **state)
{
    (void)state;
    nx_motion_gate *gate = made();
    uint64_t seen = 0;
    uint64_t skipped = 0;
    /* At 10 frames a second for 10 s: open at first, for 200 ms after that, and each 2 s. */
    int opened = 0;
    for (int i = 0; i < 100; i++) {
        bool open = look(gate, 100 * i, scene(100, 20));
        bool expected = i <= 2 || i % 20 == 2;
        assert_int_equal(open, expected);
        opened += open;
    }
    nx_motion_gate_counts(gate, &seen, &skipped);
    assert_true(seen == 100 && skipped == 100 - (uint64_t)opened);
    assert_int_equal(opened, 7);
    nx_motion_gate_free(gate);
}

static void what_moves_or_comes_or_goes_opens_it(void **state)
{
    (void)state;
    static const int places[][2] = {{-1, 20}, {20, -1}, {20, 24}, {0, 4}};
    for (size_t i = 0; i < NX_COUNT(places); i++) {
        nx_motion_gate *gate = made();
        int64_t ms = 0;
        for (; ms < 1000; ms += 100) {
            look(gate, ms, scene(100, places[i][0]));
        }
        assert_true(look(gate, ms, scene(100, places[i][1])));
        assert_true(look(gate, ms + 100, scene(100, places[i][1]))); /* lingers */
        assert_false(look(gate, ms + 400, scene(100, places[i][1])));
        nx_motion_gate_free(gate);
    }
}

static void a_slow_walker_opens_it_in_time(void **state)
{
    (void)state;
    nx_motion_gate_options options = nx_motion_gate_defaults();
    nx_motion_gate *gate = NULL;
    nx_error err = {0};
    options.refresh_ns = 3600 * 1000 * MS; /* only movement */
    nx_assert_ok(nx_motion_gate_new(&options, &gate, &err), err);
    /* One pixel a second, which is over before the picture has followed 60 levels. */
    int opened = 0;
    for (int i = 10; i < 400; i++) {
        opened += look(gate, 100 * i, scene(100, i / 10));
    }
    assert_in_range(opened, 20, 200);
    nx_motion_gate_free(gate);
}

static void dusk_and_noise_do_not_open_it(void **state)
{
    (void)state;
    static uint8_t noisy[BYTES];
    nx_motion_gate *gate = made();
    uint32_t random = 1;
    int opened = 0;
    for (int i = 0; i < 300; i++) { /* half a level a second darker, and 6 levels of noise */
        memcpy(noisy, scene(150 - i / 20, 20), sizeof noisy);
        for (size_t j = 0; j < sizeof noisy; j++) {
            random = random * 1664525U + 1013904223U;
            noisy[j] = (uint8_t)(noisy[j] + (random >> 24) % 7 - 3);
        }
        opened += look(gate, 100 * i, noisy);
    }
    assert_int_equal(opened, 3 + 14); /* the beginning, and every 2 s */
    nx_motion_gate_free(gate);
}

static void gray_frames_of_odd_and_changing_sizes_are_fine(void **state)
{
    (void)state;
    nx_motion_gate_options options = nx_motion_gate_defaults();
    nx_motion_gate *gate = NULL;
    nx_error err = {0};
    options.blocks = 1; /* some of these have no more */
    nx_assert_ok(nx_motion_gate_new(&options, &gate, &err), err);
    static const uint32_t sizes[][2] = {{1, 1}, {17, 5}, {5, 67}};
    int64_t ms = 0;
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        size_t size = (size_t)sizes[i][0] * sizes[i][1];
        uint8_t *pixels = calloc(size, 1); /* exact */
        bool open = false;
        const nx_motion_frame frame = {pixels, sizes[i][0], sizes[i][0], sizes[i][1], 1};
        assert_non_null(pixels);
        for (int j = 0; j < 6; j++, ms += 100) {
            nx_assert_ok(nx_motion_gate_look(gate, ms * MS, &frame, &open, &err), err);
            assert_int_equal(open, j <= 2);
        }
        pixels[size - 1] = 255; /* the last block is as small as the frame leaves it */
        nx_assert_ok(nx_motion_gate_look(gate, ms * MS, &frame, &open, &err), err);
        assert_true(open);
        ms += 100;
        free(pixels);
    }
    nx_motion_gate_free(gate);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    nx_motion_gate *gate = made();
    nx_motion_gate *none = NULL;
    nx_error err = {0};
    bool open = false;
    const uint8_t *pixels = scene(1, 1);
    look(gate, 100, pixels);
    nx_motion_frame frame = {pixels, SIDE * 3, SIDE, SIDE, 3};
    assert_int_equal(nx_motion_gate_look(gate, 100 * MS, &frame, &open, &err), NX_ERR_INVALID);
    frame.channels = 4;
    assert_int_equal(nx_motion_gate_look(gate, 200 * MS, &frame, &open, &err), NX_ERR_INVALID);
    frame = (nx_motion_frame){pixels, SIDE * 3, 0, SIDE, 3};
    assert_int_equal(nx_motion_gate_look(gate, 200 * MS, &frame, &open, &err), NX_ERR_INVALID);
    frame = (nx_motion_frame){pixels, SIDE * 3 - 1, SIDE, SIDE, 3};
    assert_int_equal(nx_motion_gate_look(gate, 200 * MS, &frame, &open, &err), NX_ERR_INVALID);
    nx_motion_gate_options options = nx_motion_gate_defaults();
    options.threshold = 256;
    assert_int_equal(nx_motion_gate_new(&options, &none, &err), NX_ERR_INVALID);
    options = nx_motion_gate_defaults();
    options.blocks = 0;
    assert_int_equal(nx_motion_gate_new(&options, &none, &err), NX_ERR_INVALID);
    options = nx_motion_gate_defaults();
    options.refresh_ns = 0;
    assert_int_equal(nx_motion_gate_new(&options, &none, &err), NX_ERR_INVALID);
    assert_null(none);
    nx_motion_gate_free(gate);
    nx_motion_gate_free(NULL);
}

static void states_go_on_and_damaged_ones_are_refused(void **state)
{
    (void)state;
    nx_motion_gate *whole = made();
    nx_motion_gate *parted = made();
    nx_error err = {0};
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_buffer again = NX_BUFFER_INIT;
    for (int i = 0; i < 60; i++) {
        nx_buffer_clear(&bytes);
        nx_motion_gate_save(parted, &bytes);
        nx_motion_gate_free(parted);
        nx_assert_ok(nx_motion_gate_load(bytes.data, bytes.size, &parted, &err), err);
        bool open = look(whole, 100 * i, scene(100 + i / 10, i / 7));
        assert_int_equal(look(parted, 100 * i, scene(100 + i / 10, i / 7)), open);
    }
    nx_buffer_clear(&bytes);
    nx_motion_gate_save(whole, &bytes);
    nx_motion_gate_save(parted, &again);
    assert_int_equal(bytes.size, again.size);
    assert_memory_equal(bytes.data, again.data, bytes.size);
    nx_motion_gate_free(parted);
    for (size_t size = 0; size < bytes.size; size++) {
        assert_int_equal(nx_motion_gate_load(bytes.data, size, &parted, &err), NX_ERR_CORRUPT);
        assert_null(parted);
    }
    nx_buffer_append_char(&bytes, 0);
    assert_int_equal(nx_motion_gate_load(bytes.data, bytes.size, &parted, &err), NX_ERR_CORRUPT);
    bytes.data[8] = 2;
    assert_int_equal(nx_motion_gate_load(bytes.data, bytes.size, &parted, &err),
                     NX_ERR_UNSUPPORTED);
    nx_buffer_free(&bytes);
    nx_buffer_free(&again);
    nx_motion_gate_free(whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(still_frames_are_held_back_and_looked_at_in_time),
        cmocka_unit_test(what_moves_or_comes_or_goes_opens_it),
        cmocka_unit_test(a_slow_walker_opens_it_in_time),
        cmocka_unit_test(dusk_and_noise_do_not_open_it),
        cmocka_unit_test(gray_frames_of_odd_and_changing_sizes_are_fine),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(states_go_on_and_damaged_ones_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

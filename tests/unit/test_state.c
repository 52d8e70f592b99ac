#include "testing.h"

#include "analytics/state.h"

#include <math.h>

#define KIND "NXTESTED"

static nx_buffer written(void)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_state_begin(&out, KIND, 3);
    nx_state_put_u32(&out, 0xdeadbeef);
    nx_state_put_u64(&out, UINT64_MAX - 1);
    nx_state_put_i64(&out, INT64_MIN);
    nx_state_put_double(&out, -0.1);
    nx_state_put_u32(&out, 2);
    nx_state_put_u32(&out, 7);
    nx_state_put_u32(&out, 8);
    return out;
}

static void what_was_written_is_read(void **state)
{
    (void)state;
    nx_buffer bytes = written();
    nx_state_reader reader;
    nx_error err = {0};
    nx_assert_ok(nx_state_open(bytes.data, bytes.size, KIND, 3, "test", &reader, &err), err);
    assert_int_equal(nx_state_u32(&reader), 0xdeadbeef);
    assert_true(nx_state_u64(&reader) == UINT64_MAX - 1);
    assert_true(nx_state_i64(&reader) == INT64_MIN);
    assert_true(nx_state_double(&reader) == -0.1);
    assert_int_equal(nx_state_count(&reader, 2, 4), 2);
    assert_int_equal(nx_state_u32(&reader), 7);
    assert_int_equal(nx_state_close(&reader, "test", &err), NX_ERR_CORRUPT); /* one is left */
    assert_int_equal(nx_state_u32(&reader), 8);
    nx_assert_ok(nx_state_close(&reader, "test", &err), err);
    assert_int_equal(nx_state_u32(&reader), 0); /* nothing is left */
    assert_true(reader.bad);
    assert_int_equal(nx_state_close(&reader, "test", &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "this test is damaged");
    nx_buffer_free(&bytes);
}

static void the_layout_is_little_endian(void **state)
{
    (void)state;
    nx_buffer bytes = written();
    assert_memory_equal(bytes.data, "NXTESTED\3\0\0\0\xef\xbe\xad\xde\xfe\xff", 18);
    assert_int_equal(bytes.size, 8 + 4 + 4 + 8 + 8 + 8 + 3 * 4);
    nx_buffer_free(&bytes);
}

static void other_heads_are_refused(void **state)
{
    (void)state;
    nx_buffer bytes = written();
    nx_state_reader reader;
    nx_error err = {0};
    assert_int_equal(nx_state_open(bytes.data, 11, KIND, 3, "test", &reader, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "these 11 bytes are not the state of a test");
    assert_int_equal(nx_state_open(NULL, 0, KIND, 3, "test", &reader, &err), NX_ERR_CORRUPT);
    assert_int_equal(nx_state_open(bytes.data, bytes.size, "NXOTHERS", 3, "test", &reader, &err),
                     NX_ERR_CORRUPT);
    assert_int_equal(nx_state_open(bytes.data, bytes.size, KIND, 4, "test", &reader, &err),
                     NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "version 3");
    nx_buffer_free(&bytes);
}

static void counts_and_numbers_are_bounded(void **state)
{
    (void)state;
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_state_begin(&bytes, KIND, 1);
    nx_state_put_u32(&bytes, 3); /* but there are only 8 bytes behind it */
    nx_state_put_double(&bytes, (double)INFINITY);
    nx_state_reader start;
    nx_assert_ok(nx_state_open(bytes.data, bytes.size, KIND, 1, "test", &start, &err), err);
    nx_state_reader reader = start;
    assert_int_equal(nx_state_count(&reader, 100, 4), 0);
    assert_true(reader.bad);
    reader = start;
    assert_int_equal(nx_state_count(&reader, 2, 1), 0);
    assert_true(reader.bad);
    reader = start;
    assert_int_equal(nx_state_count(&reader, 3, 2), 3);
    assert_true(nx_state_double(&reader) == 0);
    assert_true(reader.bad);
    nx_buffer_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_read),
        cmocka_unit_test(the_layout_is_little_endian),
        cmocka_unit_test(other_heads_are_refused),
        cmocka_unit_test(counts_and_numbers_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The states of a stream, its pauses, and the counts of its frames. */
#include "testing.h"

#include "base/clock.h"
#include "streams/counts.h"
#include "streams/monitor.h"

#include <string.h>

static const nx_error silence = {.status = NX_ERR_TIMEOUT, .message = "nothing came"};
static const nx_error broken = {.status = NX_ERR_IO, .message = "it ended"};

static void a_camera_comes_and_goes(void **state)
{
    (void)state;
    nx_monitor monitor;
    nx_monitor_start(&monitor, 1);
    assert_int_equal(monitor.state, NX_STREAM_CONNECTING);
    assert_false(nx_monitor_retry(&monitor, 2)); /* the first try is no news */
    assert_true(nx_monitor_frame(&monitor, 3));
    assert_int_equal(monitor.state, NX_STREAM_LIVE);
    assert_int_equal(monitor.since_ns, 3);
    assert_false(nx_monitor_frame(&monitor, 4));
    assert_int_equal(monitor.reconnects, 0);

    assert_true(nx_monitor_lost(&monitor, &silence, 5));
    assert_int_equal(monitor.state, NX_STREAM_STALLED);
    assert_string_equal(monitor.reason, "nothing came");
    assert_true(nx_monitor_retry(&monitor, 6));
    assert_int_equal(monitor.state, NX_STREAM_RECONNECTING);
    assert_string_equal(monitor.reason, "nothing came"); /* still why */
    assert_true(nx_monitor_frame(&monitor, 7));
    assert_int_equal(monitor.reconnects, 1);
    assert_string_equal(monitor.reason, "");

    assert_true(nx_monitor_lost(&monitor, &broken, 8));
    assert_int_equal(monitor.state, NX_STREAM_RECONNECTING);
    assert_false(nx_monitor_lost(&monitor, &broken, 9)); /* the same again */
    assert_int_equal(monitor.since_ns, 8);
    assert_true(nx_monitor_lost(&monitor, &silence, 10)); /* silence of one that was not live */
    assert_int_equal(monitor.state, NX_STREAM_RECONNECTING);
    assert_string_equal(monitor.reason, "nothing came");
}

static void a_camera_that_never_was_is_waited_for(void **state)
{
    (void)state;
    nx_monitor monitor;
    nx_monitor_start(&monitor, 1);
    assert_true(nx_monitor_lost(&monitor, &silence, 2));
    assert_int_equal(monitor.state, NX_STREAM_RECONNECTING);
    assert_true(nx_monitor_frame(&monitor, 3));
    assert_int_equal(monitor.reconnects, 0); /* it was never live before */
}

static void a_stop_has_a_reason_and_an_end(void **state)
{
    (void)state;
    nx_monitor monitor;
    nx_monitor_start(&monitor, 1);
    (void)nx_monitor_frame(&monitor, 2);
    assert_false(nx_monitor_resume(&monitor, 3));
    assert_true(nx_monitor_stop(&monitor, "it is night", 4));
    assert_false(nx_monitor_stop(&monitor, "it is night", 5));
    assert_string_equal(monitor.reason, "it is night");
    assert_true(nx_monitor_resume(&monitor, 6));
    assert_int_equal(monitor.state, NX_STREAM_CONNECTING);
}

static void long_reasons_are_cut(void **state)
{
    (void)state;
    nx_monitor monitor;
    nx_error why = {.status = NX_ERR_IO};
    memset(why.message, 'x', sizeof why.message - 1);
    nx_monitor_start(&monitor, 1);
    assert_true(nx_monitor_lost(&monitor, &why, 2));
    assert_int_equal(strlen(monitor.reason), sizeof monitor.reason - 1);
    assert_false(nx_monitor_lost(&monitor, &why, 3));
}

static void pauses_grow_and_have_an_end(void **state)
{
    (void)state;
    nx_monitor monitor;
    int64_t last = 0;
    nx_monitor_start(&monitor, 1);
    for (int i = 0; i < 40; i++) {
        (void)nx_monitor_lost(&monitor, &broken, 2);
        int64_t longest = nx_monitor_pause(&monitor, 0);
        int64_t shortest = nx_monitor_pause(&monitor, 1000);
        assert_true(longest >= last && longest <= NX_MONITOR_MOST_NS);
        assert_int_equal(shortest, longest - longest / 2);
        for (uint32_t noise = 0; noise < 5000; noise += 7) {
            int64_t pause = nx_monitor_pause(&monitor, noise);
            assert_true(pause >= shortest && pause <= longest);
        }
        assert_int_equal(longest, i == 0   ? NX_MONITOR_FIRST_NS
                                  : i >= 5 ? NX_MONITOR_MOST_NS
                                           : 2 * last);
        last = longest;
    }
}

/* One that gives a frame and breaks is asked less and less often; one that was good for a while is
 * asked at once. */
static void steady_ones_begin_anew(void **state)
{
    (void)state;
    nx_monitor monitor;
    int64_t now = 1;
    nx_monitor_start(&monitor, now);
    for (int i = 0; i < 3; i++) {
        (void)nx_monitor_frame(&monitor, ++now);
        (void)nx_monitor_lost(&monitor, &broken, ++now);
    }
    assert_int_equal(nx_monitor_pause(&monitor, 0), 4 * NX_MONITOR_FIRST_NS);
    (void)nx_monitor_frame(&monitor, ++now);
    now += NX_MONITOR_STEADY_NS;
    (void)nx_monitor_lost(&monitor, &broken, now);
    assert_int_equal(nx_monitor_pause(&monitor, 0), NX_MONITOR_FIRST_NS);
}

static uint64_t all_of(const nx_stream_counts *counts)
{
    uint64_t sum = counts->processed;
    for (int i = 0; i < NX_LOSS_COUNT; i++) {
        sum += counts->dropped[i];
    }
    return sum;
}

static void every_frame_counts_once(void **state)
{
    (void)state;
    nx_stream_counts counts = {0};
    nx_stream_counts sum = {0};
    uint32_t number = 1;
    for (int i = 0; i < 1000; i++) {
        number = number * 1103515245U + 12345U;
        uint32_t what = number >> 16;
        if (what % 3 == 0) {
            nx_stream_count_processed(&counts, what % 2 != 0);
        } else {
            nx_stream_count_dropped(&counts, (nx_stream_loss)(what % NX_LOSS_COUNT), what % 4);
        }
        assert_int_equal(counts.received, all_of(&counts));
    }
    nx_stream_counts_add(&sum, &counts);
    nx_stream_counts_add(&sum, &counts);
    assert_int_equal(sum.received, 2 * counts.received);
    assert_int_equal(sum.inferred, 2 * counts.inferred);
    assert_int_equal(sum.received, all_of(&sum));
    for (int i = 0; i < NX_LOSS_COUNT; i++) {
        assert_true(strlen(nx_stream_loss_name((nx_stream_loss)i)) > 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_camera_comes_and_goes),
        cmocka_unit_test(a_camera_that_never_was_is_waited_for),
        cmocka_unit_test(a_stop_has_a_reason_and_an_end),
        cmocka_unit_test(long_reasons_are_cut),
        cmocka_unit_test(pauses_grow_and_have_an_end),
        cmocka_unit_test(steady_ones_begin_anew),
        cmocka_unit_test(every_frame_counts_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

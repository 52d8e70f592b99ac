#include "base/clock.h"
#include "base/rate.h"
#include "testing.h"

static void test_takes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        nx_rate rate;
    } cases[] = {
        {"600/min", {600, 60 * NX_NS_PER_SEC, 600}},
        {"100/s", {100, NX_NS_PER_SEC, 100}},
        {"100/s burst 200", {100, NX_NS_PER_SEC, 200}},
        {"1/h  BURST\t5 ", {1, 3600 * NX_NS_PER_SEC, 5}},
        {"1000000/s burst 1000000", {1000000, NX_NS_PER_SEC, 1000000}},
        {"off", {0, NX_NS_PER_SEC, 1}},
        {"OFF", {0, NX_NS_PER_SEC, 1}},
        {"0", {0, NX_NS_PER_SEC, 1}},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_rate rate;
        nx_error err = {0};
        nx_assert_ok(nx_rate_parse(cases[i].text, &rate, &err), err);
        assert_int_equal(rate.count, cases[i].rate.count);
        assert_int_equal(rate.period_ns, cases[i].rate.period_ns);
        assert_int_equal(rate.burst, cases[i].rate.burst);
    }
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "5",
        "/s",
        "0/s",
        "-1/s",
        "5/",
        "5/d",
        "5/ s",
        "5 /s",
        "1000001/s",
        "99999999/s",
        "5/s burst",
        "5/s burst 0",
        "5/s burst 1x",
        "5/s burst1",
        "5/s 10",
        "5/s burst 1 2",
        "5.5/s",
        "5/sec",
        "none",
        "5/s burst 1000001",
    };
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_rate rate;
        nx_error err = {0};
        if (nx_rate_parse(wrong[i], &rate, &err) != NX_ERR_INVALID) {
            fail_msg("'%s' was taken", wrong[i]);
        }
        nx_assert_contains(err.message, "is no rate; write such as");
        assert_int_equal(rate.count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

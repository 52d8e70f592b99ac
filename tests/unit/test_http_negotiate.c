#include "http/negotiate.h"
#include "testing.h"

static const char *const offers[] = {"application/json", "image/jpeg", "image/png"};

static void types_follow_quality_then_exactness_then_our_order(void **state)
{
    (void)state;
    static const struct {
        const char *accept;
        int chosen;
    } cases[] = {
        {NULL, 0},
        {"", 0},
        {"*/*", 0},
        {"application/json", 0},
        {"image/jpeg", 1},
        {"IMAGE/PNG", 2},
        {"image/*", 1},
        {"image/png, image/jpeg", 1},
        {"image/png;q=0.9, image/jpeg;q=0.8", 2},
        {"image/jpeg;q=0, image/*", 2},
        {"image/*;q=0.5, */*;q=0.1", 1},
        {"text/html, */*;q=0.8", 0},
        {"image/avif,image/webp,image/png,*/*;q=0.8", 2},
        {"*/*, image/png", 2},
        {"application/xml", -1},
        {"image/webp", -1},
        {"image/png;q=0", -1},
        {"image/png;q=0.0", -1},
        {"image/png;q=nonsense", -1},
        {"application/json;charset=utf-8;q=0.2, image/png;q=0.3", 2},
        {",,;;,", -1},
        {"image", -1},
        {"*", -1},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        int chosen = nx_negotiate_type(cases[i].accept, offers, NX_COUNT(offers));
        if (chosen != cases[i].chosen) {
            fail_msg("Accept '%s' chose %d, not %d", cases[i].accept, chosen, cases[i].chosen);
        }
    }
}

static void codings(void **state)
{
    (void)state;
    assert_true(nx_negotiate_coding("gzip, deflate, br", "gzip"));
    assert_true(nx_negotiate_coding("br;q=1.0, GZIP;q=0.8", "gzip"));
    assert_true(nx_negotiate_coding("*", "gzip"));
    assert_false(nx_negotiate_coding("*, gzip;q=0", "gzip"));
    assert_false(nx_negotiate_coding("gzip;q=0, *", "gzip"));
    assert_false(nx_negotiate_coding("br", "gzip"));
    assert_false(nx_negotiate_coding("xgzip", "gzip"));
    assert_false(nx_negotiate_coding("", "gzip"));
    assert_false(nx_negotiate_coding(NULL, "gzip"));
}

static void entity_tags(void **state)
{
    (void)state;
    assert_true(nx_negotiate_none_match("\"abc\"", "\"abc\""));
    assert_true(nx_negotiate_none_match("W/\"abc\"", "\"abc\""));
    assert_true(nx_negotiate_none_match("\"x\", \"abc\"", "\"abc\""));
    assert_true(nx_negotiate_none_match("*", "\"abc\""));
    assert_false(nx_negotiate_none_match("\"ABC\"", "\"abc\""));
    assert_false(nx_negotiate_none_match("abc", "\"abc\""));
    assert_false(nx_negotiate_none_match("", "\"abc\""));
    assert_false(nx_negotiate_none_match(NULL, "\"abc\""));
}

static void ranges(void **state)
{
    (void)state;
    static const struct {
        const char *range, *if_range;
        uint64_t size;
        nx_range_kind kind;
        uint64_t first, last;
    } cases[] = {
        {NULL, NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=0-99", NULL, 100, NX_RANGE_PART, 0, 99},
        {"bytes=0-", NULL, 100, NX_RANGE_PART, 0, 99},
        {"bytes=10-20", NULL, 100, NX_RANGE_PART, 10, 20},
        {"BYTES= 10-20 ", NULL, 100, NX_RANGE_PART, 10, 20},
        {"bytes=99-200", NULL, 100, NX_RANGE_PART, 99, 99},
        {"bytes=99-99999999999999999999999", NULL, 100, NX_RANGE_PART, 99, 99},
        {"bytes=-1", NULL, 100, NX_RANGE_PART, 99, 99},
        {"bytes=-200", NULL, 100, NX_RANGE_PART, 0, 99},
        {"bytes=100-", NULL, 100, NX_RANGE_NONE, 0, 0},
        {"bytes=99999999999999999999999-", NULL, 100, NX_RANGE_NONE, 0, 0},
        {"bytes=-0", NULL, 100, NX_RANGE_NONE, 0, 0},
        {"bytes=0-", NULL, 0, NX_RANGE_NONE, 0, 0},
        {"bytes=-5", NULL, 0, NX_RANGE_NONE, 0, 0},
        {"bytes=20-10", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=0-1,5-6", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=-", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=x-5", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=1-5x", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"pages=1-5", NULL, 100, NX_RANGE_ALL, 0, 0},
        {"bytes=1-5", "\"a\"", 100, NX_RANGE_PART, 1, 5},
        {"bytes=1-5", "\"b\"", 100, NX_RANGE_ALL, 0, 0},
        {"bytes=1-5", "W/\"a\"", 100, NX_RANGE_ALL, 0, 0},
        {"bytes=1-5", "Sat, 29 Oct 1994 19:43:31 GMT", 100, NX_RANGE_ALL, 0, 0},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        uint64_t first = 0;
        uint64_t last = 0;
        nx_range_kind kind = nx_negotiate_range(cases[i].range, cases[i].if_range, "\"a\"",
                                                cases[i].size, &first, &last);
        if (kind != cases[i].kind ||
            (kind == NX_RANGE_PART && (first != cases[i].first || last != cases[i].last))) {
            fail_msg("Range '%s' gave %d, %d-%d", cases[i].range, kind, (int)first, (int)last);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_follow_quality_then_exactness_then_our_order),
        cmocka_unit_test(codings),
        cmocka_unit_test(entity_tags),
        cmocka_unit_test(ranges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

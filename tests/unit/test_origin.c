#include "api/origin.h"
#include "testing.h"

static void addresses_of_this_machine(void **state)
{
    (void)state;
    static const char *const here[] = {"127.0.0.1", "127.1.2.3", "::1", "localhost", "LocalHost"};
    static const char *const elsewhere[] = {
        "",           "0.0.0.0",    "::",
        "10.0.0.1",   "128.0.0.1",  "::ffff:127.0.0.1",
        "localhost.", "127.1",      "127.0.0.1.evil.example",
        "0x7f000001", "2130706433",
    };
    for (size_t i = 0; i < NX_COUNT(here); i++) {
        if (!nx_origin_address_is_loopback(here[i])) {
            fail_msg("'%s' is of this machine", here[i]);
        }
    }
    for (size_t i = 0; i < NX_COUNT(elsewhere); i++) {
        if (nx_origin_address_is_loopback(elsewhere[i])) {
            fail_msg("'%s' is not of this machine alone", elsewhere[i]);
        }
    }
}

static void hosts_of_this_machine(void **state)
{
    (void)state;
    static const char *const here[] = {"localhost", "localhost:8000", "127.0.0.1", "127.0.0.1:1",
                                       "[::1]",     "[::1]:8000",     "LOCALHOST"};
    static const char *const elsewhere[] = {
        "",
        ":8000",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:80",
        "localhost:80:80",
        "localhost:evil.example",
        "localhost evil.example",
        "localhost/x",
        "user@localhost",
        "localhost@evil.example",
        "::1",
        "[::1",
        "[::1]x",
        "[::1]:x",
        "[localhost]",
        "[127.0.0.1]",
        "[]",
        "[::2]",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < NX_COUNT(here); i++) {
        if (!nx_origin_host_is_loopback(here[i])) {
            fail_msg("'%s' is of this machine", here[i]);
        }
    }
    for (size_t i = 0; i < NX_COUNT(elsewhere); i++) {
        if (nx_origin_host_is_loopback(elsewhere[i])) {
            fail_msg("'%s' is not of this machine", elsewhere[i]);
        }
    }
}

static void origins_of_this_machine(void **state)
{
    (void)state;
    assert_true(nx_origin_is_loopback("http://localhost:3000"));
    assert_true(nx_origin_is_loopback("https://127.0.0.1"));
    assert_true(nx_origin_is_loopback("HTTP://[::1]:8000"));
    assert_false(nx_origin_is_loopback("null"));
    assert_false(nx_origin_is_loopback(""));
    assert_false(nx_origin_is_loopback("localhost"));
    assert_false(nx_origin_is_loopback("file://localhost"));
    assert_false(nx_origin_is_loopback("http://localhost.evil.example"));
    assert_false(nx_origin_is_loopback("http://evil.example/http://localhost"));
    assert_false(nx_origin_is_loopback("chrome-extension://localhost"));
}

static void whose_page_asks(void **state)
{
    (void)state;
    static const struct {
        const char *site, *origin, *host;
        nx_origin_verdict verdict;
    } cases[] = {
        {NULL, NULL, "nexus.example", NX_ORIGIN_UNKNOWN},
        {NULL, NULL, NULL, NX_ORIGIN_UNKNOWN},
        {"same-origin", NULL, NULL, NX_ORIGIN_SAME},
        {"none", NULL, NULL, NX_ORIGIN_SAME},
        {"same-site", NULL, "nexus.example", NX_ORIGIN_OTHER},
        {"cross-site", "https://nexus.example", "nexus.example", NX_ORIGIN_OTHER},
        {"Same-Origin", NULL, NULL, NX_ORIGIN_OTHER},
        {"", NULL, NULL, NX_ORIGIN_OTHER},
        /* a proxy may have changed Host; what the browser says holds */
        {"same-origin", "https://nexus.example", "127.0.0.1:8000", NX_ORIGIN_SAME},
        {NULL, "https://nexus.example", "nexus.example", NX_ORIGIN_SAME},
        {NULL, "http://Nexus.example:8000", "nexus.example:8000", NX_ORIGIN_SAME},
        {NULL, "http://nexus.example", "nexus.example:8000", NX_ORIGIN_OTHER},
        {NULL, "http://evil.example", "nexus.example", NX_ORIGIN_OTHER},
        {NULL, "http://nexus.example.evil.example", "nexus.example", NX_ORIGIN_OTHER},
        {NULL, "http://nexus.example", NULL, NX_ORIGIN_OTHER},
        {NULL, "null", "null", NX_ORIGIN_OTHER},
        {NULL, "", "", NX_ORIGIN_OTHER},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        if (nx_origin_judge(cases[i].site, cases[i].origin, cases[i].host) != cases[i].verdict) {
            fail_msg("case %zu", i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_this_machine),
        cmocka_unit_test(hosts_of_this_machine),
        cmocka_unit_test(origins_of_this_machine),
        cmocka_unit_test(whose_page_asks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/address.h"
#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

static nx_address of(const char *text)
{
    nx_address out;
    if (!nx_address_parse(text, strlen(text), &out)) {
        fail_msg("'%s' was not understood", text);
    }
    return out;
}

static void test_parses_and_writes(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"192.0.2.1", "192.0.2.1"},
        {"0.0.0.0", "0.0.0.0"},
        {"2001:db8::1", "2001:db8::1"},
        {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
        {"::1", "::1"},
        {"::ffff:10.1.2.3", "10.1.2.3"},
        {"1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888"},
    };
    for (size_t i = 0; i < NX_COUNT(pairs); i++) {
        char text[NX_ADDRESS_TEXT];
        nx_address address = of(pairs[i][0]);
        nx_address_text(&address, text);
        assert_string_equal(text, pairs[i][1]);
    }
}

static void test_refuses_what_is_no_address(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",          " 1.2.3.4",   "1.2.3.4 ",
        "1.2.3",     "1.2.3.4.5",  "01.2.3.4",
        "256.1.1.1", "0x7f.0.0.1", "2130706433",
        "localhost", "::g",        "fe80::1%eth0",
        "[::1]",     "1.2.3.4:80", "11111111111111111111111111111111111111111111111",
    };
    nx_address out;
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        if (nx_address_parse(wrong[i], strlen(wrong[i]), &out)) {
            fail_msg("'%s' was taken", wrong[i]);
        }
    }
    assert_false(nx_address_parse("1.2.3.4\0", 8, &out));
    assert_true(nx_address_parse("1.2.3.45", 7, &out)); /* exactly so many bytes */
    const nx_address cut = of("1.2.3.4");
    assert_true(nx_address_equal(&out, &cut));
}

static void test_of_sockets(void **state)
{
    (void)state;
    const struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    nx_address address = nx_address_of((const struct sockaddr *)&v4);
    nx_address expected = of("127.0.0.1");
    assert_true(nx_address_equal(&address, &expected));
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    assert_int_equal(inet_pton(AF_INET6, "::ffff:127.0.0.1", &v6.sin6_addr), 1);
    address = nx_address_of((const struct sockaddr *)&v6);
    assert_true(nx_address_equal(&address, &expected)); /* as a socket of both families gives it */
    const struct sockaddr other = {.sa_family = AF_UNIX};
    const nx_address none = {{0}};
    address = nx_address_of(&other);
    assert_true(nx_address_equal(&address, &none));
    address = nx_address_of(NULL);
    assert_true(nx_address_equal(&address, &none));
}

static void test_networks_and_loopback(void **state)
{
    (void)state;
    nx_address one = of("2001:db8:1:2:3:4:5:6");
    nx_address other = of("2001:db8:1:2:ffff::");
    nx_address near = of("2001:db8:1:3::");
    one = nx_address_network(&one);
    other = nx_address_network(&other);
    near = nx_address_network(&near);
    assert_true(nx_address_equal(&one, &other));
    assert_false(nx_address_equal(&one, &near));
    nx_address v4 = of("10.1.2.3");
    nx_address same = nx_address_network(&v4);
    assert_true(nx_address_equal(&v4, &same));
    static const char *const inside[] = {"127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"};
    static const char *const outside[] = {"128.0.0.1", "::2", "::", "0.0.0.0", "7f00:1::"};
    for (size_t i = 0; i < NX_COUNT(inside); i++) {
        const nx_address address = of(inside[i]);
        assert_true(nx_address_is_loopback(&address));
    }
    for (size_t i = 0; i < NX_COUNT(outside); i++) {
        const nx_address address = of(outside[i]);
        assert_false(nx_address_is_loopback(&address));
    }
}

static bool has(const char *set_text, const char *address_text)
{
    nx_address_set set;
    nx_error err = {0};
    nx_assert_ok(nx_address_set_parse(set_text, &set, &err), err);
    const nx_address address = of(address_text);
    return nx_address_set_has(&set, &address);
}

static void test_sets(void **state)
{
    (void)state;
    assert_false(has("", "10.0.0.1"));
    assert_false(has(" ,, ", "10.0.0.1"));
    assert_true(has("10.0.0.1", "10.0.0.1"));
    assert_false(has("10.0.0.1", "10.0.0.2"));
    assert_true(has("192.0.2.1,10.0.0.0/8 fd00::/8", "10.255.0.1"));
    assert_true(has("192.0.2.1, 10.0.0.0/8\tfd00::/8", "fdff::1"));
    assert_false(has("192.0.2.1, 10.0.0.0/8, fd00::/8", "11.0.0.1"));
    assert_false(has("10.128.0.0/9", "10.127.255.255"));
    assert_true(has("10.128.0.0/9", "10.128.0.0"));
    assert_true(has("128.0.0.0/1", "255.1.1.1"));
    assert_false(has("128.0.0.0/1", "127.1.1.1"));
    assert_true(has("::ffff:10.1.2.3", "10.1.2.3"));
    /* the families stay apart, though one is mapped into the other */
    assert_false(has("8000::/1, ::/1", "10.1.2.3"));
    assert_false(has("128.0.0.0/1", "::1"));
}

static void test_sets_that_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[][2] = {
        {"proxy.example", "'proxy.example' is no address"},
        {"10.0.0.0/33", "is 1 to 32"},
        {"10.0.0.0/", "is 1 to 32"},
        {"10.0.0.0/-1", "is 1 to 32"},
        {"10.0.0.0/0008", "is 1 to 32"},
        {"fd00::/129", "is 1 to 128"},
        {"0.0.0.0/0", "every address"},
        {"::/0", "every address"},
        {"10.0.0.1/8", "more bits set than the 8"},
        {"fd00::1/64", "more bits set than the 64"},
        {"10.0.0.1; 10.0.0.2", "'10.0.0.1;' is no address"},
    };
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_address_set set;
        nx_error err = {0};
        assert_int_equal(nx_address_set_parse(wrong[i][0], &set, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, wrong[i][1]);
    }
    char many[64 * 10] = "";
    for (int i = 0; i <= NX_ADDRESS_SET_MAX; i++) {
        size_t used = strlen(many);
        snprintf(many + used, sizeof many - used, "10.0.0.%d ", i);
    }
    nx_address_set set;
    nx_error err = {0};
    assert_int_equal(nx_address_set_parse(many, &set, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "more than 32");
    assert_int_equal(set.count, NX_ADDRESS_SET_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parses_and_writes),
        cmocka_unit_test(test_refuses_what_is_no_address),
        cmocka_unit_test(test_of_sockets),
        cmocka_unit_test(test_networks_and_loopback),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_sets_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

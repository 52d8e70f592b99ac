#include "jobs/webhook_url.h"
#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <sys/un.h>

/* NULL: anybody reaches it. */
static const char *refused(const char *text)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &v4.sin_addr) == 1) {
        return nx_webhook_address_refused((struct sockaddr *)&v4);
    }
    assert_int_equal(inet_pton(AF_INET6, text, &v6.sin6_addr), 1);
    return nx_webhook_address_refused((struct sockaddr *)&v6);
}

static void addresses_of_every_kind(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *what;
    } known[] = {
        {"0.0.0.0", "an unspecified address"},
        {"0.255.255.255", "an unspecified address"},
        {"1.0.0.0", NULL},
        {"1.1.1.1", NULL},
        {"8.8.8.8", NULL},
        {"9.255.255.255", NULL},
        {"10.0.0.0", "a private address"},
        {"10.255.255.255", "a private address"},
        {"11.0.0.0", NULL},
        {"100.63.255.255", NULL},
        {"100.64.0.0", "a shared address of a provider's network"},
        {"100.127.255.255", "a shared address of a provider's network"},
        {"100.128.0.0", NULL},
        {"100.100.100.200", "a cloud's metadata address"},
        {"126.255.255.255", NULL},
        {"127.0.0.1", "a loopback address"},
        {"127.255.255.254", "a loopback address"},
        {"128.0.0.0", NULL},
        {"168.63.129.15", NULL},
        {"168.63.129.16", "a cloud's metadata address"},
        {"169.253.255.255", NULL},
        {"169.254.0.0", "a link-local address"},
        {"169.254.169.254", "a link-local address"},
        {"169.255.0.0", NULL},
        {"172.15.255.255", NULL},
        {"172.16.0.0", "a private address"},
        {"172.31.255.255", "a private address"},
        {"172.32.0.0", NULL},
        {"192.0.0.8", "a reserved address"},
        {"192.0.0.192", "a cloud's metadata address"},
        {"192.0.2.1", "an address for documentation"},
        {"192.88.99.1", "a reserved address"},
        {"192.167.255.255", NULL},
        {"192.168.0.0", "a private address"},
        {"192.168.255.255", "a private address"},
        {"192.169.0.0", NULL},
        {"198.17.255.255", NULL},
        {"198.18.0.0", "an address for benchmarks"},
        {"198.19.255.255", "an address for benchmarks"},
        {"198.20.0.0", NULL},
        {"198.51.100.7", "an address for documentation"},
        {"203.0.113.7", "an address for documentation"},
        {"223.255.255.255", NULL},
        {"224.0.0.1", "a multicast address"},
        {"239.255.255.255", "a multicast address"},
        {"240.0.0.1", "a reserved address"},
        {"255.255.255.255", "the broadcast address"},
        {"::", "an unspecified address"},
        {"::1", "a loopback address"},
        {"::8.8.8.8", "an IPv4 address in IPv6 form"},
        {"::ffff:8.8.8.8", "an IPv4 address in IPv6 form"},
        {"::ffff:127.0.0.1", "an IPv4 address in IPv6 form"},
        {"64:ff9b::8.8.8.8", "a NAT64 address"},
        {"64:ff9b::7f00:1", "a NAT64 address"},
        {"64:ff9b:1::a00:1", "a NAT64 address"},
        {"100::1", "a reserved address"},
        {"1fff::1", "a reserved address"},
        {"2001::1", "a Teredo address"},
        {"2001:2::1", "a reserved address"},
        {"2001:1ff::1", "a reserved address"},
        {"2001:200::1", NULL},
        {"2001:4860:4860::8888", NULL},
        {"2001:db8::1", "an address for documentation"},
        {"2002:7f00:1::", "a 6to4 address"},
        {"2606:4700:4700::1111", NULL},
        {"3fff:fff::1", "an address for documentation"},
        {"3fff:1000::1", NULL},
        {"4000::1", "a reserved address"},
        {"fc00::1", "a private address"},
        {"fd00:ec2::254", "a cloud's metadata address"},
        {"fdff:ffff::1", "a private address"},
        {"fe80::1", "a link-local address"},
        {"febf::1", "a link-local address"},
        {"fec0::1", "a private address"},
        {"ff02::1", "a multicast address"},
    };
    for (size_t i = 0; i < NX_COUNT(known); i++) {
        const char *what = refused(known[i].text);
        if ((what == NULL) != (known[i].what == NULL) ||
            (what != NULL && strcmp(what, known[i].what) != 0)) {
            fail_msg("%s is %s, not %s", known[i].text, what != NULL ? what : "taken",
                     known[i].what != NULL ? known[i].what : "taken");
        }
    }
    const struct sockaddr_un local = {.sun_family = AF_UNIX};
    assert_string_equal(nx_webhook_address_refused((const struct sockaddr *)&local),
                        "no address of the Internet");
}

static void urls_that_are_taken(void **state)
{
    (void)state;
    static const char *const good[] = {
        "http://example.org",
        "https://example.org/hook?token=a%20b#part",
        "HTTPS://Example.ORG:8443/",
        "http://8.8.8.8/",
        "http://[2606:4700:4700::1111]:8080/hook",
        "http://localhost.example.org/",
        "http://example.org./",
    };
    for (size_t i = 0; i < NX_COUNT(good); i++) {
        nx_error err = {0};
        nx_assert_ok(nx_webhook_check_url(good[i], false, &err), err);
        nx_assert_ok(nx_webhook_check_url(good[i], true, &err), err);
    }
}

static void urls_that_nobody_may_use(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *why;
    } bad[] = {
        {"", "must begin with http:// or https://"},
        {"example.org/hook", "must begin with http:// or https://"},
        {"ftp://example.org/", "must begin with http:// or https://"},
        {"file:///etc/passwd", "must begin with http:// or https://"},
        {"http:/example.org/", "must begin with http:// or https://"},
        {"gopher://example.org:25/_HELO", "must begin with http:// or https://"},
        {"http://", "not valid"},
        {"http://example.org:99999/", "not valid"},
        {"http://example.org:port/", "not valid"},
        {"http://[::1/", "not valid"},
        {"http://me@example.org/", "must not hold a user or password"},
        {"http://me:secret@example.org/", "must not hold a user or password"},
        {"http://:secret@example.org/", "must not hold a user or password"},
        {"http://example.org@127.0.0.1/", "must not hold a user or password"},
        {"http://[fe80::1%25eth0]/", "must not name a zone"},
        {"http://exam ple.org/", "a character that must be encoded, at 12"},
        {"http://example.org/\r\nX: y", "a character that must be encoded, at 20"},
        {"http://b\xc3\xbc"
         "cher.example/",
         "a character that must be encoded, at 9"},
    };
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        nx_error err = {0};
        assert_int_equal(nx_webhook_check_url(bad[i].url, true, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, bad[i].why);
        assert_null(strstr(err.message, "secret"));
        assert_int_equal(nx_webhook_check_url(bad[i].url, false, &err), NX_ERR_INVALID);
    }
    char *long_url = calloc(1, NX_WEBHOOK_URL_MAX + 2);
    assert_non_null(long_url);
    nx_error err = {0};
    memset(long_url, 'a', NX_WEBHOOK_URL_MAX + 1);
    memcpy(long_url, "http://a/", 9);
    assert_int_equal(nx_webhook_check_url(long_url, true, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "longer than 2000 bytes");
    long_url[NX_WEBHOOK_URL_MAX] = '\0';
    nx_assert_ok(nx_webhook_check_url(long_url, true, &err), err);
    free(long_url);
}

static void hosts_that_are_private(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        const char *why;
    } private[] = {
        {"http://localhost/", "is this machine"},
        {"http://LOCALHOST:80/", "is this machine"},
        {"http://localhost./", "is this machine"},
        {"http://a.localhost/", "is this machine"},
        {"http://127.0.0.1/", "127.0.0.1 is a loopback address"},
        {"http://127.1/", "127.0.0.1 is a loopback address"},
        {"http://0x7f.0.0.1/", "127.0.0.1 is a loopback address"},
        {"http://2130706433/", "127.0.0.1 is a loopback address"},
        {"http://0177.0.0.1/", "127.0.0.1 is a loopback address"},
        {"http://%31%32%37.0.0.1/", "127.0.0.1 is a loopback address"},
        {"http://%30x7f.1/", "is a loopback address"},
        {"http://0/", "0.0.0.0 is an unspecified address"},
        {"http://169.254.169.254/latest/meta-data/", "is a link-local address"},
        {"http://10.0.0.1/", "is a private address"},
        {"http://[::1]/", "[::1] is a loopback address"},
        {"http://[::]/", "is an unspecified address"},
        {"http://[::ffff:10.0.0.1]/", "is an IPv4 address in IPv6 form"},
        {"http://[64:ff9b::a00:1]/", "is a NAT64 address"},
        {"http://[fd00:ec2::254]/", "is a cloud's metadata address"},
    };
    for (size_t i = 0; i < NX_COUNT(private); i++) {
        nx_error err = {0};
        if (nx_webhook_check_url(private[i].url, false, &err) != NX_ERR_INVALID) {
            fail_msg("%s was taken", private[i].url);
        }
        nx_assert_contains(err.message, private[i].why);
        nx_assert_contains(err.message, "WEBHOOK_ALLOW_PRIVATE");
        nx_assert_ok(nx_webhook_check_url(private[i].url, true, &err), err);
    }
}

static void the_path_is_not_for_everybody(void **state)
{
    (void)state;
    static const char *const urls[][2] = {
        {"https://hooks.example/services/T0/key?x=1", "https://hooks.example/***"},
        {"http://10.0.0.9:8080/", "http://10.0.0.9:8080"},
        {"http://[::1]:80", "http://[::1]:80"},
        {"https://a.example?key", "https://a.example/***"},
    };
    for (size_t i = 0; i < NX_COUNT(urls); i++) {
        char shown[NX_WEBHOOK_SHOWN_SIZE];
        nx_webhook_url_shown(urls[i][0], shown);
        assert_string_equal(shown, urls[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_every_kind),       cmocka_unit_test(urls_that_are_taken),
        cmocka_unit_test(urls_that_nobody_may_use),      cmocka_unit_test(hosts_that_are_private),
        cmocka_unit_test(the_path_is_not_for_everybody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

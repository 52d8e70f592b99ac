#include "base/clock.h"
#include "http/forwarded.h"
#include "http/server.h"
#include "http_client.h"
#include "testing.h"

#include <sched.h>
#include <stdatomic.h>

#define MAX_LINES 4
#define TRUSTED   "10.0.0.0/8, 127.0.0.1, fd00::/8"

static void collect(const char *const *lines, nx_http_field *out, size_t *count)
{
    for (*count = 0; *count < MAX_LINES && lines[*count] != NULL; ++*count) {
        out[*count] = (nx_http_field){.value = lines[*count], .value_size = strlen(lines[*count])};
    }
}

static void assert_client(const char *trusted_text, const char *peer_text, const char *const *lines,
                          const char *expected)
{
    nx_address_set trusted;
    nx_address peer;
    nx_error err = {0};
    nx_assert_ok(nx_address_set_parse(trusted_text, &trusted, &err), err);
    assert_true(nx_address_parse(peer_text, strlen(peer_text), &peer));
    nx_http_field fields[MAX_LINES];
    size_t count = 0;
    collect(lines, fields, &count);
    const nx_address client = nx_forwarded_client(&trusted, &peer, fields, count);
    char text[NX_ADDRESS_TEXT];
    nx_address_text(&client, text);
    if (strcmp(text, expected) != 0) {
        fail_msg("of '%s': %s instead of %s", lines[0] != NULL ? lines[0] : "", text, expected);
    }
}

static void test_reads_from_the_end(void **state)
{
    (void)state;
    static const struct {
        const char *peer;
        const char *lines[MAX_LINES];
        const char *client;
    } cases[] = {
        /* nobody believes who is not trusted */
        {"192.0.2.9", {"1.1.1.1"}, "192.0.2.9"},
        {"192.0.2.9", {"10.0.0.1"}, "192.0.2.9"},
        {"10.0.0.1", {NULL}, "10.0.0.1"},
        {"10.0.0.1", {""}, "10.0.0.1"},
        {"10.0.0.1", {" , ,, "}, "10.0.0.1"},
        {"10.0.0.1", {"192.0.2.9"}, "192.0.2.9"},
        {"fd00::1", {"2001:db8::9"}, "2001:db8::9"},
        /* what a client puts in front is not reached */
        {"10.0.0.1", {"127.0.0.1, 192.0.2.9"}, "192.0.2.9"},
        {"10.0.0.1", {"10.0.0.7,192.0.2.9"}, "192.0.2.9"},
        {"10.0.0.1", {"127.0.0.1", "192.0.2.9"}, "192.0.2.9"},
        {"10.0.0.1", {"192.0.2.9, "}, "192.0.2.9"},
        {"10.0.0.1", {"127.0.0.1,,192.0.2.9,,"}, "192.0.2.9"},
        /* a chain of trusted ones, in one line or several */
        {"10.0.0.1", {"127.0.0.1, 192.0.2.9, 10.0.0.3, 10.0.0.2"}, "192.0.2.9"},
        {"10.0.0.1", {"127.0.0.1, 192.0.2.9", "10.0.0.3", "10.0.0.2"}, "192.0.2.9"},
        {"10.0.0.1", {"192.0.2.9", "", "10.0.0.2"}, "192.0.2.9"},
        {"10.0.0.1", {"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
        /* ports */
        {"10.0.0.1", {"192.0.2.9:4711"}, "192.0.2.9"},
        {"10.0.0.1", {"[2001:db8::9]:4711"}, "2001:db8::9"},
        {"10.0.0.1", {"[2001:db8::9]"}, "2001:db8::9"},
        {"10.0.0.1", {"192.0.2.9, [fd00::2]:1\t"}, "192.0.2.9"},
        /* IPv4 in the form of IPv6 is IPv4 */
        {"::ffff:10.0.0.1", {"::ffff:192.0.2.9"}, "192.0.2.9"},
        /* what is no address ends the search where it stands */
        {"10.0.0.1", {"192.0.2.9, unknown"}, "10.0.0.1"},
        {"10.0.0.1", {"192.0.2.9, unknown, 10.0.0.2"}, "10.0.0.2"},
        {"10.0.0.1", {"192.0.2.9 10.0.0.2"}, "10.0.0.1"},
        {"10.0.0.1", {"\"192.0.2.9\""}, "10.0.0.1"},
        {"10.0.0.1", {"192.0.2.9:"}, "10.0.0.1"},
        {"10.0.0.1", {"192.0.2.9:123456"}, "10.0.0.1"},
        {"10.0.0.1", {"192.0.2.9:8x"}, "10.0.0.1"},
        {"10.0.0.1", {"["}, "10.0.0.1"},
        {"10.0.0.1", {"[]"}, "10.0.0.1"},
        {"10.0.0.1", {"[192.0.2.9]"}, "10.0.0.1"},
        {"10.0.0.1", {"[2001:db8::9]4711"}, "10.0.0.1"},
        {"10.0.0.1", {"[2001:db8::9]:"}, "10.0.0.1"},
        {"10.0.0.1", {"fe80::1%eth0"}, "10.0.0.1"},
        {"10.0.0.1", {"0300.0.2.9"}, "10.0.0.1"},
        {"10.0.0.1", {"3221225993"}, "10.0.0.1"},
        {"10.0.0.1", {"for=192.0.2.9"}, "10.0.0.1"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_client(TRUSTED, cases[i].peer, cases[i].lines, cases[i].client);
    }
}

static void test_trusts_nobody_by_itself(void **state)
{
    (void)state;
    static const char *const lines[MAX_LINES] = {"192.0.2.9"};
    assert_client("", "127.0.0.1", lines, "127.0.0.1");
    assert_client("", "10.0.0.1", lines, "10.0.0.1");
}

static void test_reads_the_protocol(void **state)
{
    (void)state;
    static const struct {
        const char *lines[MAX_LINES];
        bool https;
    } cases[] = {
        {{NULL}, false},           {{""}, false},
        {{"https"}, true},         {{"HTTPS "}, true},
        {{"http"}, false},         {{"http, https"}, true},
        {{"https, http"}, false},  {{"https", "http"}, false},
        {{"http", "https"}, true}, {{"httpsx"}, false},
        {{"wss"}, false},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_http_field fields[MAX_LINES];
        size_t count = 0;
        collect(cases[i].lines, fields, &count);
        assert_int_equal(nx_forwarded_https(fields, count), cases[i].https);
    }
}

/* --- a server -----------------------------------------------------------------------------------
 */

static void who(nx_http_request *request, void *user)
{
    (void)user;
    char client[NX_ADDRESS_TEXT];
    nx_buffer body = NX_BUFFER_INIT;
    nx_http_client_text(request, client);
    nx_buffer_printf(&body, "<%s%s%s>", client, nx_http_is_secure(request) ? " secure" : "",
                     nx_http_is_local(request) ? " local" : "");
    nx_http_reply(request, 200, "text/plain", &body);
}

/* Keeps its request until the next comes, which answers both. */
static void keep(nx_http_request *request, void *user)
{
    nx_http_request *_Atomic *kept = user;
    nx_http_request *first = atomic_exchange(kept, NULL);
    if (first == NULL) {
        atomic_store(kept, request);
        return;
    }
    nx_http_reply_static(first, 204, NULL, NULL, 0);
    nx_http_reply_static(request, 204, NULL, NULL, 0);
}

static const nx_http_route routes[] = {
    {.method = "GET", .pattern = "/who", .handle = who},
    {.method = "GET", .pattern = "/keep", .handle = keep, .per_client = true},
};

static nx_http_server *start(const nx_address_set *trusted, void *user)
{
    const nx_http_server_options options = {
        .host = "127.0.0.1",
        .threads = 1,
        .backlog = 64,
        .max_connections = 64,
        .keepalive_s = 30,
        .request_timeout_s = 30,
        .limit_concurrency = 100,
        .limit_per_client = 1,
        .max_inflight_body = 1 << 16,
        .trusted_proxies = trusted,
        .routes = routes,
        .route_count = NX_COUNT(routes),
        .user = user,
    };
    nx_http_server *server = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_http_server_start(&options, &server, &err), err);
    return server;
}

static void assert_who(nx_http_server *server, const char *headers, const char *expected)
{
    char text[1024];
    snprintf(text, sizeof text, "GET /who HTTP/1.1\r\n" HOST "%s\r\n", headers);
    int fd = nx_dial(nx_http_server_port(server));
    say(fd, text);
    char *answer = hear_one(fd);
    assert_status(answer, 200);
    nx_assert_contains(answer, expected);
    free(answer);
    close(fd);
}

static void test_server_behind_a_proxy(void **state)
{
    (void)state;
    nx_address_set trusted;
    nx_error err = {0};
    nx_assert_ok(nx_address_set_parse(TRUSTED, &trusted, &err), err);
    nx_http_server *server = start(&trusted, NULL);
    assert_who(server, "", "<127.0.0.1>"); /* of a proxy, which says nothing: not local */
    assert_who(server, "X-Forwarded-For: 192.0.2.9\r\n", "<192.0.2.9>");
    assert_who(server, "x-forwarded-for: 127.0.0.1\r\nX-FORWARDED-FOR: 192.0.2.9\r\n",
               "<192.0.2.9>");
    assert_who(server, "X-Forwarded-For: 127.0.0.1, 192.0.2.9\r\nX-Forwarded-Proto: https\r\n",
               "<192.0.2.9 secure>");
    assert_who(server, "X-Forwarded-For: 127.0.0.1\r\n", "<127.0.0.1>");
    /* more lines than are looked at: the last ones count */
    char many[1024] = "";
    for (int i = 0; i < 40; i++) {
        snprintf(many + strlen(many), sizeof many - strlen(many), "X-Forwarded-For: %d\r\n", i);
    }
    snprintf(many + strlen(many), sizeof many - strlen(many), "X-Forwarded-For: 192.0.2.7\r\n");
    assert_who(server, many, "<192.0.2.7>");
    nx_http_server_stop(server, nx_clock_now_ns());
}

static void test_server_without_proxies(void **state)
{
    (void)state;
    nx_http_server *server = start(NULL, NULL);
    assert_who(server, "", "<127.0.0.1 local>");
    assert_who(server, "X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-Proto: https\r\n", "<127.0.0.1>");
    assert_who(server, "Forwarded: for=192.0.2.9\r\n", "<127.0.0.1>");
    assert_who(server, "Via: 1.1 proxy\r\n", "<127.0.0.1>");
    assert_who(server, "X-Real-IP: 192.0.2.9\r\n", "<127.0.0.1>");
    nx_http_server_stop(server, nx_clock_now_ns());
}

static int ask(nx_http_server *server, const char *from)
{
    char text[256];
    snprintf(text, sizeof text, "GET /keep HTTP/1.1\r\n" HOST "X-Forwarded-For: %s\r\n\r\n", from);
    int fd = nx_dial(nx_http_server_port(server));
    say(fd, text);
    return fd;
}

static void hear_status(int fd, int status)
{
    char *answer = hear_one(fd);
    assert_status(answer, status);
    free(answer);
    close(fd);
}

static void test_limit_by_client_behind_a_proxy(void **state)
{
    (void)state;
    nx_address_set trusted;
    nx_error err = {0};
    nx_assert_ok(nx_address_set_parse(TRUSTED, &trusted, &err), err);
    nx_http_request *_Atomic kept = NULL;
    nx_http_server *server = start(&trusted, (void *)&kept);
    int first = ask(server, "2001:db8:1:2::1");
    while (atomic_load(&kept) == NULL) {
        sched_yield();
    }
    /* of the same /64, and whatever is put in front of it */
    hear_status(ask(server, "192.0.2.1, 2001:db8:1:2::2"), 429);
    int second = ask(server, "2001:db8:1:3::1");
    hear_status(second, 204);
    hear_status(first, 204);
    nx_http_server_stop(server, nx_clock_now_ns());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_from_the_end),
        cmocka_unit_test(test_trusts_nobody_by_itself),
        cmocka_unit_test(test_reads_the_protocol),
        cmocka_unit_test(test_server_behind_a_proxy),
        cmocka_unit_test(test_server_without_proxies),
        cmocka_unit_test(test_limit_by_client_behind_a_proxy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

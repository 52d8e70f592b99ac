#include "http/framing.h"
#include "testing.h"

#include <stdbool.h>

#define MAX_LINES 8

typedef struct framing_case {
    const char *lines[MAX_LINES]; /* "Name:value", NULL ends */
    bool http_1_0;
    const char *complaint; /* part of the message; NULL: accepted */
    nx_framing expected;
} framing_case;

static nx_status check(const framing_case *c, nx_framing *out, nx_error *err)
{
    nx_http_field fields[MAX_LINES];
    size_t count = 0;
    for (; c->lines[count] != NULL; count++) {
        const char *line = c->lines[count];
        const char *colon = strchr(line, ':');
        fields[count] = (nx_http_field){line, (size_t)(colon - line), colon + 1, strlen(colon + 1)};
    }
    return nx_framing_check(fields, count, c->http_1_0, out, err);
}

#define HOST "Host:localhost:8000"

static const framing_case cases[] = {
    {{HOST}, false, NULL, {0}},
    {{HOST, "Content-Length:0"}, false, NULL, {0}},
    {{HOST, "Content-Length:5"}, false, NULL, {.has_body = true, .length = 5}},
    {{HOST, "content-length:0005"}, false, NULL, {.has_body = true, .length = 5}},
    {{HOST, "Content-Length:9223372036854775807"},
     false,
     NULL,
     {.has_body = true, .length = INT64_MAX}},
    {{HOST, "Transfer-Encoding:Chunked"}, false, NULL, {.has_body = true, .chunked = true}},
    {{NULL}, true, NULL, {0}},
    {{"Host:"}, false, NULL, {0}},
    {{"Host:[::1]:80"}, false, NULL, {0}},
    {{HOST, "X-Any:\t caf\xc3\xa9 "}, false, NULL, {0}},

    {{HOST, "Content-Length:9223372036854775808"}, false, "not a plain decimal", {0}},
    {{HOST, "Content-Length:99999999999999999999999"}, false, "not a plain decimal", {0}},
    {{HOST, "Content-Length:18446744073709551621"}, false, "not a plain decimal", {0}},
    {{HOST, "Content-Length:+5"}, false, "'+5'", {0}},
    {{HOST, "Content-Length:-1"}, false, "'-1'", {0}},
    {{HOST, "Content-Length:5 "}, false, "'5 '", {0}},
    {{HOST, "Content-Length:0x5"}, false, "'0x5'", {0}},
    {{HOST, "Content-Length:5,5"}, false, "'5,5'", {0}},
    {{HOST, "Content-Length:5;q=1"}, false, "not a plain decimal", {0}},
    {{HOST, "Content-Length:"}, false, "''", {0}},
    {{HOST, "Content-Length:5", "Content-Length:5"}, false, "more than one Content-Length", {0}},
    {{HOST, "Content-Length:5", "content-length:6"}, false, "more than one Content-Length", {0}},
    {{HOST, "Content-Length:5", "Transfer-Encoding:chunked"}, false, "together", {0}},
    {{HOST, "Transfer-Encoding:chunked", "Content-Length:0"}, false, "together", {0}},
    {{HOST, "Transfer-Encoding:gzip, chunked"}, false, "only chunked", {0}},
    {{HOST, "Transfer-Encoding:identity"}, false, "only chunked", {0}},
    {{HOST, "Transfer-Encoding:xchunked"}, false, "only chunked", {0}},
    {{HOST, "Transfer-Encoding:chunked, chunked"}, false, "only chunked", {0}},
    {{HOST, "Transfer-Encoding:"}, false, "only chunked", {0}},
    {{HOST, "Transfer-Encoding:chunked", "Transfer-Encoding:chunked"}, false, "more than one", {0}},
    {{"Transfer-Encoding:chunked"}, true, "HTTP/1.0", {0}},
    {{NULL}, false, "needs a Host", {0}},
    {{HOST, "Host:evil"}, false, "more than one Host", {0}},
    {{HOST, HOST}, true, "more than one Host", {0}},
    {{"Host:a b"}, false, "Host header is malformed", {0}},
    {{"Host:a/b"}, false, "Host header is malformed", {0}},
    {{"Host:user@a"}, false, "Host header is malformed", {0}},
    {{HOST, "Content-Length :5"}, false, "malformed name", {0}},
    {{HOST, " Content-Length:5"}, false, "malformed name", {0}},
    {{HOST, "Content Length:5"}, false, "malformed name", {0}},
    {{HOST, ":5"}, false, "malformed name", {0}},
    {{HOST, "X-Any:a\rb"}, false, "control characters", {0}},
    {{HOST, "X-Any:a\x7f"}, false, "control characters", {0}},
    {{HOST, "Content-Length:\v5"}, false, "control characters", {0}},
};

static void every_case_is_judged(void **state)
{
    (void)state;
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_framing framing;
        nx_error err = {0};
        nx_status status = check(&cases[i], &framing, &err);
        if (cases[i].complaint == NULL) {
            nx_assert_ok(status, err);
            assert_int_equal(framing.has_body, cases[i].expected.has_body);
            assert_int_equal(framing.chunked, cases[i].expected.chunked);
            assert_true(framing.length == cases[i].expected.length);
        } else {
            if (status == NX_OK) {
                fail_msg("case %zu was let through", i);
            }
            assert_int_equal(status, NX_ERR_INVALID);
            nx_assert_contains(err.message, cases[i].complaint);
        }
    }
}

static void a_nul_is_no_part_of_a_header(void **state)
{
    (void)state;
    const nx_http_field in_value[] = {{"Host", 4, "a", 1}, {"X-A", 3, "a\0b", 3}};
    const nx_http_field in_name[] = {{"Host", 4, "a", 1}, {"X\0A", 3, "a", 1}};
    const nx_http_field in_host[] = {{"Host", 4, "a\0b", 3}};
    nx_framing framing;
    nx_error err;
    assert_int_equal(nx_framing_check(in_value, 2, false, &framing, &err), NX_ERR_INVALID);
    assert_int_equal(nx_framing_check(in_name, 2, false, &framing, &err), NX_ERR_INVALID);
    assert_int_equal(nx_framing_check(in_host, 1, false, &framing, &err), NX_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_is_judged),
        cmocka_unit_test(a_nul_is_no_part_of_a_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "testing.h"

#include "cache/redis_url.h"

static nx_redis_url parse(const char *text)
{
    nx_redis_url url;
    nx_error err = {0};
    nx_assert_ok(nx_redis_url_parse(text, &url, &err), err);
    return url;
}

static void the_parts_are_found(void **state)
{
    (void)state;
    nx_redis_url url = parse("redis://nexus:p%40s%3as%25@cache.example:6380/3");
    assert_false(url.is_unix);
    assert_string_equal(url.host, "cache.example");
    assert_int_equal(url.port, 6380);
    assert_int_equal(url.database, 3);
    assert_string_equal(url.user, "nexus");
    assert_string_equal(url.password, "p@s:s%");

    url = parse("redis://localhost");
    assert_int_equal(url.port, 6379);
    assert_int_equal(url.database, 0);
    assert_string_equal(url.user, "");
    assert_string_equal(url.password, "");
    assert_string_equal(parse("REDIS://:secret@h/").password, "secret");
    assert_string_equal(parse("redis://:a@b@h").password, "a@b"); /* an "@" that is not escaped */
    url = parse("redis://[::1]:7000/0");
    assert_string_equal(url.host, "::1");
    assert_int_equal(url.port, 7000);
    assert_string_equal(parse("redis://[fe80::2]").host, "fe80::2");

    url = parse("unix:///run/redis/redis.sock?db=5");
    assert_true(url.is_unix);
    assert_string_equal(url.host, "/run/redis/redis.sock");
    assert_int_equal(url.database, 5);
    url = parse("unix://u:p@/s");
    assert_string_equal(url.host, "/s");
    assert_string_equal(url.user, "u");
    assert_string_equal(url.password, "p");
}

static void what_is_no_url_is_refused_without_repeating_it(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "hunter2",
        "http://hunter2@h",
        "redis://",
        "redis://:hunter2@",
        "redis://:hunter2@:6379",
        "redis://:hunter2@h:0",
        "redis://:hunter2@h:65536",
        "redis://:hunter2@h:",
        "redis://:hunter2@h:6x",
        "redis://:hunter2@h:-1",
        "redis://:hunter2@h/x",
        "redis://:hunter2@h/99999999999",
        "redis://:hunter2@h/1?x=y",
        "redis://:hunter2@h#f",
        "redis://:hunter2%@h",
        "redis://:hunter2%4@h",
        "redis://:hunter2%zz@h",
        "redis://:hunter2%00@h",
        "redis://[::1",
        "redis://:hunter2@[::1]x",
        "redis://[]",
        "unix://hunter2",
        "unix://:hunter2@/s?db=x",
        "unix://:hunter2@/s?password=hunter2",
    };
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_redis_url url;
        nx_error err = {0};
        char shown[600];
        if (nx_redis_url_parse(wrong[i], &url, &err) != NX_ERR_INVALID) {
            fail_msg("%s was taken", wrong[i]);
        }
        assert_null(strstr(err.message, "hunter2"));
        nx_redis_url_shown(wrong[i], shown, sizeof shown);
        assert_string_equal(shown, wrong[i][0] != '\0' ? "***" : "");
        assert_string_equal(url.password, "");
    }
}

static void too_long_parts_are_refused(void **state)
{
    (void)state;
    char text[2000];
    char part[1000];
    nx_redis_url url;
    memset(part, 'x', sizeof part);
    part[sizeof part - 1] = '\0';
    static const char *const forms[] = {"redis://%s", "redis://:%s@h", "redis://%s:p@h",
                                        "unix:///%s"};
    for (size_t i = 0; i < NX_COUNT(forms); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(text, sizeof text, forms[i], part);
#pragma GCC diagnostic pop
        assert_int_equal(nx_redis_url_parse(text, &url, NULL), NX_ERR_INVALID);
    }
}

static void tls_is_refused_with_its_reason(void **state)
{
    (void)state;
    nx_redis_url url;
    nx_error err = {0};
    assert_int_equal(nx_redis_url_parse("rediss://:hunter2@h", &url, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "TLS");
    assert_null(strstr(err.message, "hunter2"));
}

static void the_password_is_not_shown(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"redis://u:hunter2@h:1/2", "redis://u:***@h:1/2"},
        {"redis://:hunter2@h", "redis://:***@h:6379/0"},
        {"redis://h", "redis://h:6379/0"},
        {"redis://[::1]", "redis://[::1]:6379/0"},
        {"unix://:hunter2@/run/r.sock", "unix://:***@/run/r.sock?db=0"},
        {"unix:///run/r.sock?db=7", "unix:///run/r.sock?db=7"},
        {"rediss://:hunter2@h", "***"},
    };
    for (size_t i = 0; i < NX_COUNT(pairs); i++) {
        char shown[600];
        nx_redis_url_shown(pairs[i][0], shown, sizeof shown);
        assert_string_equal(shown, pairs[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_parts_are_found),
        cmocka_unit_test(what_is_no_url_is_refused_without_repeating_it),
        cmocka_unit_test(too_long_parts_are_refused),
        cmocka_unit_test(tls_is_refused_with_its_reason),
        cmocka_unit_test(the_password_is_not_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

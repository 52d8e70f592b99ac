#include "capture.h"

#include "base/log.h"

#include <jansson.h>
#include <pthread.h>

static void levels_are_parsed(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_log_level level = NX_LOG_ERROR;
    nx_assert_ok(nx_log_level_parse("debug", &level, &err), err);
    assert_int_equal(level, NX_LOG_DEBUG);
    nx_assert_ok(nx_log_level_parse("WARN", &level, &err), err);
    assert_int_equal(level, NX_LOG_WARNING);
    nx_assert_ok(nx_log_level_parse("Warning", &level, &err), err);
    assert_int_equal(level, NX_LOG_WARNING);
    assert_int_equal(nx_log_level_parse("loud", &level, &err), NX_ERR_INVALID);
    assert_string_equal(err.message, "unknown log level 'loud'; use debug, info, warning or error");
    assert_int_equal(level, NX_LOG_WARNING);
}

static void lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    capture c;
    nx_log_configure(NX_LOG_WARNING, true);
    assert_false(nx_log_enabled(NX_LOG_INFO));
    assert_true(nx_log_enabled(NX_LOG_WARNING));
    capture_begin(&c);
    nx_log_debug("test", "no");
    nx_log_info("test", "no");
    nx_log_warn("test", "yes %d", 1);
    nx_log_error("test", "yes %d", 2);
    nx_log_configure_level(NX_LOG_ERROR);
    nx_log_warn("test", "no");
    capture_end(&c);
    assert_null(strstr(c.text, "\"no\""));
    nx_assert_contains(c.text, "\"message\":\"yes 1\"");
    nx_assert_contains(c.text, "\"message\":\"yes 2\"");
}

static void json_lines_are_json(void **state)
{
    (void)state;
    capture c;
    nx_log_configure(NX_LOG_INFO, true);
    capture_begin(&c);
    nx_log_info("http", "a \"quoted\"\nline with \xFF");
    capture_end(&c);
    json_error_t problem;
    json_t *line = json_loads(c.text, 0, &problem);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "level")), "info");
    assert_string_equal(json_string_value(json_object_get(line, "module")), "http");
    assert_string_equal(json_string_value(json_object_get(line, "message")),
                        "a \"quoted\"\nline with \xEF\xBF\xBD");
    const char *stamp = json_string_value(json_object_get(line, "time"));
    assert_int_equal(strlen(stamp), strlen("2026-01-02T03:04:05.678Z"));
    assert_int_equal(stamp[10], 'T');
    assert_int_equal(stamp[23], 'Z');
    json_decref(line);
    assert_ptr_equal(strchr(c.text, '\n'), c.text + strlen(c.text) - 1);
}

static void text_lines_cannot_be_forged(void **state)
{
    (void)state;
    capture c;
    nx_log_configure(NX_LOG_INFO, false);
    capture_begin(&c);
    nx_log_warn("cli", "file %s", "a\nb\x1b[2Jc\x7f\xC3\xA9");
    capture_end(&c);
    nx_assert_contains(c.text, "warning cli    file a?b?[2Jc?\xC3\xA9\n");
    assert_ptr_equal(strchr(c.text, '\n'), c.text + strlen(c.text) - 1);
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    capture c;
    char message[5000];
    memset(message, 'm', sizeof message - 1);
    message[sizeof message - 1] = '\0';
    capture_begin(&c);
    nx_log_error("test", "%s", message);
    capture_end(&c);
    assert_true(strlen(c.text) < 1200);
    assert_int_equal(c.text[strlen(c.text) - 1], '\n');
}

static void *log_many(void *argument)
{
    for (int i = 0; i < 50; i++) {
        nx_log_error("test", "%s", (const char *)argument);
    }
    return NULL;
}

/* Lines of several threads never mix: each is one write. */
static void lines_of_threads_stay_whole(void **state)
{
    (void)state;
    static const char *const messages[] = {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                           "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
                                           "cccccccccccccccccccccccccccccccccccccccc"};
    pthread_t threads[NX_COUNT(messages)];
    static capture c;
    nx_log_configure(NX_LOG_INFO, false);
    capture_begin(&c);
    for (size_t i = 0; i < NX_COUNT(messages); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, log_many, (void *)messages[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(messages); i++) {
        pthread_join(threads[i], NULL);
    }
    capture_end(&c);
    size_t lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(c.text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *message = strrchr(line, ' ') + 1;
        assert_true(strcmp(message, messages[0]) == 0 || strcmp(message, messages[1]) == 0 ||
                    strcmp(message, messages[2]) == 0);
        lines++;
    }
    assert_int_equal(lines, 150);
}

static void modules_have_levels_of_their_own(void **state)
{
    (void)state;
    static const struct {
        const char *text, *error;
    } wrong[] = {
        {"info,htpp=debug", "unknown module 'htpp' of the log; there are api, audit,"},
        {"info,http=loud", "unknown log level 'loud'"},
        {"info,debug", "two log levels for all modules"},
        {"http=info,http=debug", "two log levels for http"},
        {"info,", "two log levels for all modules"},
        {"http=info,", "unknown log level ''"},
        {"=debug", "unknown module ''"},
        {"", "unknown log level ''"},
    };
    nx_error err = {0};
    nx_log_levels levels;
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        assert_int_equal(nx_log_levels_parse(wrong[i].text, &levels, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, wrong[i].error);
    }
    char many[600];
    memset(many, ' ', sizeof many - 1);
    memcpy(many + sizeof many - 6, "debug", sizeof "debug"); /* good, and far behind */
    assert_int_equal(nx_log_levels_parse(many, &levels, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "too long");
    capture c;
    nx_assert_ok(nx_log_levels_parse("http=DEBUG, warning,store=error", &levels, &err), err);
    nx_log_configure(levels.usual, true);
    nx_log_configure_levels(&levels);
    capture_begin(&c);
    nx_log_debug("http", "1");
    nx_log_debug("jobs", "no");
    nx_log_info("jobs", "no");
    nx_log_info("unknown", "no");
    nx_log_warn("jobs", "2");
    nx_log_warn("unknown", "3");
    nx_log_warn("store", "no");
    nx_log_error("store", "4");
    capture_end(&c);
    assert_null(strstr(c.text, "\"no\""));
    nx_assert_contains(c.text, "\"message\":\"1\"");
    nx_assert_contains(c.text, "\"message\":\"2\"");
    nx_assert_contains(c.text, "\"message\":\"3\"");
    nx_assert_contains(c.text, "\"message\":\"4\"");
    nx_assert_ok(nx_log_levels_parse("http=debug", &levels, &err), err);
    assert_int_equal(levels.usual, NX_LOG_INFO);
}

static void lines_say_what_they_are_about(void **state)
{
    (void)state;
    capture c;
    const nx_log_context one = {
        .request_id = "r1", .trace_id = "4bf9", .user = "an\"n", .stream = "gate", .job = "j1"};
    const nx_log_context two = {.job = "j2"};
    nx_log_configure(NX_LOG_INFO, true);
    capture_begin(&c);
    assert_null(nx_log_set_context(&one));
    nx_log_info("http", "first");
    assert_ptr_equal(nx_log_set_context(&two), &one);
    nx_log_info("http", "second");
    nx_log_configure(NX_LOG_INFO, false);
    nx_log_info("http", "third");
    assert_ptr_equal(nx_log_set_context(NULL), &two);
    nx_log_info("http", "last");
    capture_end(&c);
    nx_assert_contains(c.text, "\"module\":\"http\",\"request_id\":\"r1\",\"trace_id\":\"4bf9\","
                               "\"user\":\"an\\\"n\",\"stream\":\"gate\",\"job\":\"j1\","
                               "\"message\":\"first\"}\n");
    nx_assert_contains(c.text, "\"module\":\"http\",\"job\":\"j2\",\"message\":\"second\"}\n");
    nx_assert_contains(c.text, "http   third job=j2\n");
    nx_assert_contains(c.text, "http   last\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_parsed),
        cmocka_unit_test(lines_below_the_level_are_dropped),
        cmocka_unit_test(json_lines_are_json),
        cmocka_unit_test(text_lines_cannot_be_forged),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(lines_of_threads_stay_whole),
        cmocka_unit_test(modules_have_levels_of_their_own),
        cmocka_unit_test(lines_say_what_they_are_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

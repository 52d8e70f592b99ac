/* What is written is read again: the same settings, and no secret. */
#include "testing.h"

#include "base/config.h"

#include <stdlib.h>
#include <string.h>

typedef struct variable {
    const char *name, *text;
} variable;

static const char *lookup(const char *name, void *user)
{
    for (const variable *v = user; v != NULL && v->name != NULL; v++) {
        if (strcmp(v->name, name) == 0) {
            return v->text;
        }
    }
    return NULL;
}

static nx_config *loaded(const char *text, const variable *environment)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_config_load_text(text, text != NULL ? strlen(text) : 0, "nexus.yaml", lookup,
                                     (void *)environment, &config, &err),
                 err);
    return config;
}

/* The file of a configuration; the caller frees it. */
static char *written(const nx_config *config)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_config_write_yaml(config, &out);
    assert_false(out.failed);
    char *text = strdup(nx_buffer_cstr(&out));
    assert_non_null(text);
    nx_buffer_free(&out);
    return text;
}

static nx_config *read_back(const nx_config *config)
{
    char *text = written(config);
    nx_config *again = loaded(text, NULL);
    free(text);
    return again;
}

static bool is_text(nx_config_key key)
{
    return strcmp(nx_config_describe(key).type, "text") == 0 &&
           nx_config_secrecy_of(key) == NX_CONFIG_PUBLIC;
}

/* Another value than the usual one. */
static void set_another(nx_config *config, nx_config_key key)
{
    const nx_config_about about = nx_config_describe(key);
    char text[64] = "elsewhere";
    nx_error err = {0};
    if (about.bounded) {
        double value = strtod(nx_config_default(key), NULL) == about.high ? about.low : about.high;
        snprintf(text, sizeof text, "%.15g", value);
    } else if (about.choices != NULL) {
        const char *last = strrchr(about.choices, '|') + 1;
        bool usual = strcmp(last, nx_config_default(key)) == 0;
        snprintf(text, sizeof text, "%.*s",
                 usual ? (int)strcspn(about.choices, "|") : (int)sizeof text - 1,
                 usual ? about.choices : last);
    } else if (strcmp(about.type, "rate") == 0) {
        snprintf(text, sizeof text, "7/min burst 9");
    } else if (strcmp(about.type, "addresses") == 0) {
        snprintf(text, sizeof text, "10.0.0.0/8, fd00::/8");
    } else if (nx_config_secrecy_of(key) == NX_CONFIG_SECRET_URL) {
        snprintf(text, sizeof text, "redis://host:6379/1");
    }
    assert_string_not_equal(text, nx_config_default(key));
    nx_assert_ok(nx_config_set(config, key, text, "--test", &err), err);
}

static void every_value_comes_back(void **state)
{
    (void)state;
    nx_config *config = loaded(NULL, NULL);
    for (int i = 0; i < NX_CONFIG_COUNT; i++) {
        if (nx_config_secrecy_of((nx_config_key)i) != NX_CONFIG_SECRET) {
            set_another(config, (nx_config_key)i);
        }
    }
    nx_config *again = read_back(config);
    for (int i = 0; i < NX_CONFIG_COUNT; i++) {
        nx_config_key key = (nx_config_key)i;
        assert_string_equal(nx_config_text(again, key), nx_config_text(config, key));
        assert_string_equal(nx_config_source(again, key),
                            nx_config_secrecy_of(key) == NX_CONFIG_SECRET ? "default" : "file");
    }
    nx_config_free(config);
    nx_config_free(again);
}

static void any_text_comes_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",         " a",       "a ",       "a: b",         "a:",     ": a",
        "a #b",     "#a",       "'",        "\"",           "\\",     "a\nb",
        "\n",       "a\tb",     "\t",       "\r\n",         "yes",    "null",
        "~",        "-",        "- a",      "--- a",        "...",    "? a",
        "*a",       "&a",       "!a",       "!!int 1",      "|",      ">",
        "%YAML",    "@a",       "`a`",      "{a: b}",       "[a]",    "a, b",
        ", a",      "=",        "<<",       "\x01",         "\x7F",   "gr\u00fcn",
        "\xC2\x85", "a\u2028b", "\uFEFF",   "\U0001F41E",   "\uFFFD", "C:\\x",
        "/a b/c.d", "a::b",     "\xC2\x80", "\xEF\xBF\xBE",
    };
    nx_error err = {0};
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        nx_config *config = loaded(NULL, NULL);
        for (int i = 0; i < NX_CONFIG_COUNT; i++) {
            if (is_text((nx_config_key)i)) {
                nx_assert_ok(nx_config_set(config, (nx_config_key)i, texts[t], texts[t], &err),
                             err);
            }
        }
        nx_config *again = read_back(config);
        for (int i = 0; i < NX_CONFIG_COUNT; i++) {
            if (is_text((nx_config_key)i)) {
                assert_string_equal(nx_config_text(again, (nx_config_key)i), texts[t]);
            }
        }
        nx_config_free(config);
        nx_config_free(again);
    }
}

static void bytes_that_yaml_cannot_hold_are_told(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_config *config = loaded(NULL, NULL);
    nx_assert_ok(nx_config_set(config, NX_CONFIG_MODEL, "a\xFF", "\xFE\n", &err), err);
    char *text = written(config);
    assert_non_null(strstr(text, "; from ??\n"));
    assert_non_null(strstr(text, "no UTF-8, which YAML can't hold: set NEXUS_MODEL.\n#model:\n"));
    nx_config *again = loaded(text, NULL);
    assert_string_equal(nx_config_source(again, NX_CONFIG_MODEL), "default");
    free(text);
    nx_config_free(config);
    nx_config_free(again);
}

/* With the "#" taken away in front of each setting. */
static char *uncommented(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        bool begins = from == text || from[-1] == '\n';
        if (!begins || from[0] != '#' || from[1] < 'a' || from[1] > 'z') {
            *to++ = *from;
        }
    }
    *to = '\0';
    return text;
}

static void what_is_commented_out_can_be_taken_in(void **state)
{
    (void)state;
    static const variable large[] = {{"NEXUS_PROFILE", "large"}, {NULL, NULL}};
    nx_config *config = loaded(NULL, large);
    char *text = written(config);
    nx_config *again = loaded(text, NULL);
    assert_string_equal(nx_config_source(again, NX_CONFIG_PROFILE), "file");
    assert_string_equal(nx_config_source(again, NX_CONFIG_DB_POOL_SIZE), "profile");
    assert_string_equal(nx_config_source(again, NX_CONFIG_PORT), "default");
    nx_config *all = loaded(uncommented(text), NULL);
    for (int i = 0; i < NX_CONFIG_COUNT; i++) {
        nx_config_key key = (nx_config_key)i;
        assert_string_equal(nx_config_text(again, key), nx_config_text(config, key));
        assert_string_equal(nx_config_text(all, key), nx_config_text(config, key));
        assert_string_equal(nx_config_source(all, key),
                            nx_config_secrecy_of(key) == NX_CONFIG_PUBLIC ? "file" : "secret_file");
    }
    free(text);
    nx_config_free(config);
    nx_config_free(again);
    nx_config_free(all);
}

static void secrets_stay_out(void **state)
{
    (void)state;
    static const variable environment[] = {
        {"WEBHOOK_SECRET", "geheim"},
        {"AWS_SECRET_ACCESS_KEY", "geheim"},
        {"DATABASE_URL", "postgres://u:geheim@h/n"},
        {"REDIS_URL", "redis://h:6379/1"},
        {NULL, NULL},
    };
    nx_config *config = loaded(NULL, environment);
    char *text = written(config);
    assert_null(strstr(text, "geheim"));
    assert_non_null(strstr(text, "# It is set, and a secret: postgres://u:***@h/n\n"
                                 "#database_url_file: /run/secrets/database_url\n"));
    assert_non_null(strstr(text, "\nredis_url: redis://h:6379/1\n"));
    nx_config *again = loaded(text, NULL);
    assert_string_equal(nx_config_text(again, NX_CONFIG_WEBHOOK_SECRET), "");
    free(text);
    nx_config_free(config);
    nx_config_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_comes_back),
        cmocka_unit_test(any_text_comes_back),
        cmocka_unit_test(bytes_that_yaml_cannot_hold_are_told),
        cmocka_unit_test(what_is_commented_out_can_be_taken_in),
        cmocka_unit_test(secrets_stay_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "scratch.h"

#include "base/config.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char *lookup(const char *name, void *user)
{
    for (const char *const *pair = user; pair != NULL && *pair != NULL; pair += 2) {
        if (strcmp(pair[0], name) == 0) {
            return pair[1];
        }
    }
    return NULL;
}

static char *secret_file(void **state, const char *name, const char *bytes, size_t size,
                         mode_t mode)
{
    char *path = strdup(scratch_write(state, name, bytes, size));
    assert_non_null(path);
    assert_int_equal(chmod(path, mode), 0);
    return path;
}

static nx_status load(const char *yaml, const char *const *environment, nx_config **out,
                      nx_error *err)
{
    *out = NULL;
    *err = (nx_error){0};
    return nx_config_load(yaml, lookup, (void *)environment, out, err);
}

static void the_environment_names_a_file(void **state)
{
    static const struct {
        const char *bytes;
        const char *secret;
    } cases[] = {
        {"geheim", "geheim"},       {"geheim\n", "geheim"},     {"geheim\r\n", "geheim"},
        {"geheim\n\n", "geheim\n"}, {" geheim \n", " geheim "}, {"geheim\r", "geheim\r"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_config *config = NULL;
        nx_error err = {0};
        char *path = secret_file(state, "secret", cases[i].bytes, strlen(cases[i].bytes), 0600);
        const char *const environment[] = {"WEBHOOK_SECRET_FILE", path, NULL};
        nx_assert_ok(load(NULL, environment, &config, &err), err);
        assert_string_equal(nx_config_string(config, NX_CONFIG_WEBHOOK_SECRET), cases[i].secret);
        assert_string_equal(nx_config_origin(config, NX_CONFIG_WEBHOOK_SECRET),
                            "environment WEBHOOK_SECRET_FILE");
        assert_int_equal(nx_config_warning_count(config), 0);
        nx_config_free(config);
        free(path);
    }
}

/* In YAML a relative path begins beside the file that it stands in. */
static void yaml_names_a_file(void **state)
{
    nx_config *config = NULL;
    nx_error err = {0};
    free(secret_file(state, "url", "postgres://me:geheim@h/db\n", 26, 0600));
    const char *yaml = scratch_write(state, "nexus.yaml", "database_url_file: url\n", 23);
    nx_assert_ok(load(yaml, NULL, &config, &err), err);
    assert_string_equal(nx_config_string(config, NX_CONFIG_DATABASE_URL),
                        "postgres://me:geheim@h/db");
    char space[NX_CONFIG_SHOWN_SIZE];
    assert_string_equal(nx_config_shown(config, NX_CONFIG_DATABASE_URL, space, sizeof space),
                        "postgres://me:***@h/db");
    nx_config_free(config);

    /* a stronger origin, and the file is not looked for */
    static const char *const environment[] = {"DATABASE_URL", "sqlite:/x", NULL};
    yaml = scratch_write(state, "nexus.yaml", "database_url_file: none\n", 24);
    nx_assert_ok(load(yaml, environment, &config, &err), err);
    assert_string_equal(nx_config_string(config, NX_CONFIG_DATABASE_URL), "sqlite:/x");
    nx_config_free(config);
}

static void one_way_at_a_time(void **state)
{
    nx_config *config = NULL;
    nx_error err = {0};
    static const char *const both[] = {"WEBHOOK_SECRET", "a", "WEBHOOK_SECRET_FILE", "/b", NULL};
    assert_int_equal(load(NULL, both, &config, &err), NX_ERR_INVALID);
    assert_string_equal(err.message, "environment: both WEBHOOK_SECRET and WEBHOOK_SECRET_FILE are "
                                     "set; unset one");
    static const char text[] = "webhook_secret: geheim\nwebhook_secret_file: b\n";
    const char *yaml = scratch_write(state, "nexus.yaml", text, strlen(text));
    assert_int_equal(load(yaml, NULL, &config, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message,
                       "nexus.yaml:2: both 'webhook_secret' and 'webhook_secret_file' are set");
    assert_null(strstr(err.message, "geheim"));
}

static void refuses_file(const char *path, const char *message)
{
    nx_config *config = NULL;
    nx_error err = {0};
    const char *const environment[] = {"AWS_SECRET_ACCESS_KEY_FILE", path, NULL};
    assert_int_equal(load(NULL, environment, &config, &err), NX_ERR_INVALID);
    assert_null(config);
    nx_assert_contains(err.message, "environment AWS_SECRET_ACCESS_KEY_FILE: ");
    nx_assert_contains(err.message, message);
    assert_null(strstr(err.message, "geheim"));
}

static void what_is_no_secret_says_why(void **state)
{
    refuses_file(scratch_path(state, "none"), "name a file that this user may read");
    refuses_file(*state, "is no regular file");
    assert_int_equal(mkfifo(scratch_path(state, "pipe"), 0600), 0);
    refuses_file(scratch_path(state, "pipe"), "is no regular file"); /* and does not wait */
    refuses_file(scratch_write(state, "empty", "", 0), "is empty");
    refuses_file(scratch_write(state, "newline", "\n", 1), "is empty");
    refuses_file(scratch_write(state, "nul", "ge\0heim", 7), "holds a NUL byte");
    size_t size = ((size_t)64 << 10) + 1;
    char *large = malloc(size);
    assert_non_null(large);
    memset(large, 'x', size);
    refuses_file(scratch_write(state, "large", large, size), "is larger than 65536 bytes");
    nx_config *config = NULL;
    nx_error err = {0};
    const char *yaml = scratch_write(state, "nexus.yaml", "webhook_secret_file: ''\n", 24);
    assert_int_equal(load(yaml, NULL, &config, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "nexus.yaml:1: a file's name is missing");
    char *path = secret_file(state, "just", large, size - 1, 0600);
    const char *const environment[] = {"AWS_SECRET_ACCESS_KEY_FILE", path, NULL};
    nx_assert_ok(load(NULL, environment, &config, &err), err);
    assert_int_equal(strlen(nx_config_string(config, NX_CONFIG_S3_SECRET_KEY)), size - 1);
    nx_config_free(config);
    free(path);
    free(large);
}

static void one_that_all_can_read_is_warned_of(void **state)
{
    nx_config *config = NULL;
    nx_error err = {0};
    char *path = secret_file(state, "open", "geheim", 6, 0644);
    const char *const environment[] = {"WEBHOOK_SECRET_FILE", path, NULL};
    nx_assert_ok(load(NULL, environment, &config, &err), err);
    assert_int_equal(nx_config_warning_count(config), 1);
    nx_assert_contains(nx_config_warning(config, 0), "everybody on this machine can read");
    nx_assert_contains(nx_config_warning(config, 0), path);
    nx_config_free(config);
    free(path);
}

static void secrets_are_not_shown(void **state)
{
    (void)state;
    nx_config *config = NULL;
    nx_error err = {0};
    char space[NX_CONFIG_SHOWN_SIZE];
    static const char *const environment[] = {"WEBHOOK_SECRET", "geheim", NULL};
    nx_assert_ok(load(NULL, environment, &config, &err), err);
    assert_string_equal(nx_config_shown(config, NX_CONFIG_WEBHOOK_SECRET, space, sizeof space),
                        "***");
    assert_string_equal(nx_config_shown(config, NX_CONFIG_S3_SECRET_KEY, space, sizeof space), "");
    assert_string_equal(nx_config_shown(config, NX_CONFIG_PORT, space, sizeof space), "8000");
    nx_config_free(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_names_a_file),
        cmocka_unit_test(yaml_names_a_file),
        cmocka_unit_test(one_way_at_a_time),
        cmocka_unit_test(what_is_no_secret_says_why),
        cmocka_unit_test(one_that_all_can_read_is_warned_of),
        cmocka_unit_test(secrets_are_not_shown),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

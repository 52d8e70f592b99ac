#include "testing.h"

#include "base/config.h"

#include <string.h>

static const char *lookup(const char *name, void *user)
{
    return strcmp(name, "WEBHOOK_SECRET") == 0 ? user : NULL;
}

static nx_config *loaded(const char *text, const char *secret)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_config_load_text(text, strlen(text), "nexus.yaml", lookup, (void *)secret,
                                     &config, &err),
                 err);
    return config;
}

static void write_change(const nx_config_change *change, void *user)
{
    char *all = user;
    size_t used = strlen(all);
    snprintf(all + used, 400 - used, "%s %s>%s %s %s\n", nx_config_name(change->key), change->from,
             change->to, change->origin, change->taken ? "taken" : "restart");
}

static void what_can_is_taken_and_the_rest_stays(void **state)
{
    (void)state;
    char told[400] = "";
    nx_error err = {0};
    nx_config *running = loaded("port: 8000\nconfidence: 0.3\n", "alt");
    nx_config *next = loaded("confidence: 0.5\nport: 9000\nlog_level: debug\n", "geheim");
    nx_assert_ok(nx_config_settle(running, next, write_change, told, &err), err);
    assert_string_equal(told, "port 8000>9000 nexus.yaml:2 restart\n"
                              "confidence 0.3>0.5 nexus.yaml:1 taken\n"
                              "webhook_secret ***>*** environment WEBHOOK_SECRET taken\n"
                              "log_level info>debug nexus.yaml:3 taken\n");
    assert_int_equal(nx_config_int(next, NX_CONFIG_PORT), 8000);
    assert_string_equal(nx_config_origin(next, NX_CONFIG_PORT), "nexus.yaml:1");
    assert_true(nx_config_number(next, NX_CONFIG_CONFIDENCE) == 0.5);
    assert_string_equal(nx_config_string(next, NX_CONFIG_WEBHOOK_SECRET), "geheim");

    /* said again while the file says so, and no more when it is as before */
    nx_config *again = loaded("confidence: 0.5\nport: 9000\nlog_level: debug\n", "geheim");
    told[0] = '\0';
    nx_assert_ok(nx_config_settle(next, again, write_change, told, &err), err);
    assert_string_equal(told, "port 8000>9000 nexus.yaml:2 restart\n");
    nx_config *back = loaded("confidence: 0.5\nlog_level: debug\n", "geheim");
    told[0] = '\0';
    nx_assert_ok(nx_config_settle(again, back, write_change, told, &err), err);
    assert_string_equal(told, "");
    nx_config_free(running);
    nx_config_free(next);
    nx_config_free(again);
    nx_config_free(back);
}

static void a_profile_changes_what_it_can(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_config *running = loaded("", NULL);
    nx_config *next = loaded("profile: large\n", NULL);
    nx_assert_ok(nx_config_settle(running, next, NULL, NULL, &err), err);
    assert_string_equal(nx_config_string(next, NX_CONFIG_PROFILE), "large");
    assert_int_equal(nx_config_int(next, NX_CONFIG_LIMIT_CONCURRENCY), 4000);
    assert_int_equal(nx_config_int(next, NX_CONFIG_DB_POOL_SIZE), 50);
    assert_string_equal(nx_config_origin(next, NX_CONFIG_DB_POOL_SIZE), "default");
    nx_config_free(running);
    nx_config_free(next);
}

static void limits_and_lifetimes_are_taken(void **state)
{
    (void)state;
    static const nx_config_key keys[] = {
        NX_CONFIG_RATE_LIMIT,       NX_CONFIG_RATE_LIMIT_AUTH,     NX_CONFIG_RATE_LIMIT_INFER,
        NX_CONFIG_RATE_LIMIT_WRITE, NX_CONFIG_RATE_LIMIT_READ,     NX_CONFIG_CACHE_TTL_PREDICTIONS,
        NX_CONFIG_CACHE_TTL_VIDEOS, NX_CONFIG_CACHE_TTL_RESPONSES, NX_CONFIG_CACHE_TTL_SESSIONS,
    };
    for (size_t i = 0; i < NX_COUNT(keys); i++) {
        assert_true(nx_config_can_reload(keys[i]));
    }
    assert_false(nx_config_can_reload(NX_CONFIG_CACHE_BYTES));
    assert_false(nx_config_can_reload(NX_CONFIG_REDIS_URL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_can_is_taken_and_the_rest_stays),
        cmocka_unit_test(limits_and_lifetimes_are_taken),
        cmocka_unit_test(a_profile_changes_what_it_can),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

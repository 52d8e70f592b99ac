#include "testing.h"

#include "base/config.h"

#include <string.h>
#include <unistd.h>

static const char *lookup(const char *name, void *user)
{
    for (const char *const *pair = user; pair != NULL && *pair != NULL; pair += 2) {
        if (strcmp(pair[0], name) == 0) {
            return pair[1];
        }
    }
    return NULL;
}

static nx_config *loaded(const char *text, const char *const *environment)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_config_load_text(text, text != NULL ? strlen(text) : 0, "nexus.yaml", lookup,
                                     (void *)environment, &config, &err),
                 err);
    return config;
}

static void shows(const nx_config *config, nx_config_key key, const char *text, const char *origin)
{
    assert_string_equal(nx_config_text(config, key), text);
    assert_string_equal(nx_config_origin(config, key), origin);
}

static void each_carries_its_part_of_the_guide(void **state)
{
    (void)state;
    char cores[24];
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    snprintf(cores, sizeof cores, "%ld", count < 4 ? count : 4);
    const struct {
        const char *profile;
        nx_config_key key;
        const char *text;
    } cases[] = {
        {"gpu", NX_CONFIG_INFERENCE_DEVICE, "cuda"},
        {"gpu", NX_CONFIG_USE_TENSORRT, "true"},
        {"gpu", NX_CONFIG_USE_FP16, "true"},
        {"gpu", NX_CONFIG_INFERENCE_BATCH_SIZE, "16"},
        {"gpu", NX_CONFIG_INFERENCE_PREFETCH, "4"},
        {"cpu", NX_CONFIG_INFERENCE_DEVICE, "cpu"},
        {"cpu", NX_CONFIG_USE_ONNX, "true"},
        {"cpu", NX_CONFIG_USE_TENSORRT, "false"},
        {"cpu", NX_CONFIG_INFERENCE_WORKERS, "0"},
        {"cpu", NX_CONFIG_INFERENCE_NUM_THREADS, "0"},
        {"small", NX_CONFIG_DB_POOL_SIZE, "20"},
        {"small", NX_CONFIG_DB_MAX_OVERFLOW, "10"},
        {"small", NX_CONFIG_INFERENCE_WORKERS, cores},
        {"small", NX_CONFIG_REDIS_MAXMEMORY, "512m"},
        {"large", NX_CONFIG_REDIS_MAXMEMORY, "4g"},
        {"large", NX_CONFIG_DB_POOL_SIZE, "100"},
        {"large", NX_CONFIG_DB_MAX_OVERFLOW, "50"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        const char *const environment[] = {"NEXUS_PROFILE", cases[i].profile, NULL};
        char origin[40];
        nx_error err = {0};
        nx_config *config = loaded(NULL, environment);
        snprintf(origin, sizeof origin, "profile %s", cases[i].profile);
        shows(config, cases[i].key, cases[i].text, origin);
        shows(config, NX_CONFIG_PROFILE, cases[i].profile, "environment NEXUS_PROFILE");
        shows(config, NX_CONFIG_PORT, "8000", "default");
        nx_assert_ok(nx_config_check(config, &err), err);
        assert_int_equal(nx_config_warning_count(config), 0);
        nx_config_free(config);
    }
}

static void a_profile_is_weaker_than_everything_but_defaults(void **state)
{
    (void)state;
    static const char *const environment[] = {"DB_MAX_OVERFLOW", "7", NULL};
    nx_config *config =
        loaded("db_pool_size: 5\nprofile: large\nmax_connections: 100\n", environment);
    shows(config, NX_CONFIG_PROFILE, "large", "nexus.yaml:2");
    shows(config, NX_CONFIG_DB_POOL_SIZE, "5", "nexus.yaml:1");
    shows(config, NX_CONFIG_MAX_CONNECTIONS, "100", "nexus.yaml:3");
    shows(config, NX_CONFIG_DB_MAX_OVERFLOW, "7", "environment DB_MAX_OVERFLOW");
    shows(config, NX_CONFIG_LIMIT_CONCURRENCY, "4000", "profile large");
    nx_config_free(config);
}

/* Nothing of a profile stays behind when a stronger origin chooses another. */
static void the_strongest_choice_counts_alone(void **state)
{
    (void)state;
    static const char *const environment[] = {"NEXUS_PROFILE", "small", NULL};
    nx_config *config = loaded("profile: gpu\n", environment);
    nx_error err = {0};
    shows(config, NX_CONFIG_INFERENCE_DEVICE, "auto", "default");
    shows(config, NX_CONFIG_INFERENCE_PREFETCH, "0", "default");
    shows(config, NX_CONFIG_DB_POOL_SIZE, "20", "profile small");
    nx_assert_ok(nx_config_set(config, NX_CONFIG_DB_POOL_SIZE, "3", "--pool", &err), err);
    nx_assert_ok(nx_config_set(config, NX_CONFIG_PROFILE, "GPU", "--profile", &err), err);
    shows(config, NX_CONFIG_INFERENCE_DEVICE, "cuda", "profile GPU");
    shows(config, NX_CONFIG_DB_POOL_SIZE, "3", "--pool");
    shows(config, NX_CONFIG_DB_MAX_OVERFLOW, "25", "default");
    nx_assert_ok(nx_config_set(config, NX_CONFIG_PROFILE, "none", "--profile", &err), err);
    shows(config, NX_CONFIG_INFERENCE_DEVICE, "auto", "default");
    nx_config_free(config);
}

static void an_unknown_one_gets_a_suggestion(void **state)
{
    (void)state;
    nx_config *config = NULL;
    nx_error err = {0};
    static const char text[] = "port: 1\nprofile: smal\n";
    assert_int_equal(
        nx_config_load_text(text, strlen(text), "nexus.yaml", lookup, NULL, &config, &err),
        NX_ERR_INVALID);
    assert_string_equal(err.message, "nexus.yaml:2: profile is 'smal'; use one of "
                                     "none|cpu|gpu|small|large; did you mean 'small'?");
    assert_null(config);
}

/* The names that the outside world holds. */
static void every_name_of_the_guide_is_accepted(void **state)
{
    (void)state;
    static const char *const names[] = {
        "KEEPALIVE",
        "LOG_LEVEL",
        "LIMIT_CONCURRENCY",
        "BACKLOG",
        "DB_POOL_SIZE",
        "DB_MAX_OVERFLOW",
        "DB_POOL_TIMEOUT",
        "DB_POOL_RECYCLE",
        "DB_POOL_PRE_PING",
        "DB_ECHO",
        "INFERENCE_BATCH_SIZE",
        "INFERENCE_WORKERS",
        "INFERENCE_QUEUE_SIZE",
        "INFERENCE_NUM_THREADS",
        "INFERENCE_PREFETCH",
        "INFERENCE_DEVICE",
        "USE_ONNX",
        "USE_TENSORRT",
        "USE_FP16",
        "MAX_TASKS_PER_CHILD",
        "CONCURRENCY",
        "PREFETCH_MULTIPLIER",
        "DATABASE_URL",
        "WORKERS",
        "REDIS_URL",
        "REDIS_MAXMEMORY",
    };
    for (size_t i = 0; i < NX_COUNT(names); i++) {
        int key = 0;
        while (key < NX_CONFIG_COUNT &&
               strcmp(nx_config_env_name((nx_config_key)key), names[i]) != 0) {
            key++;
        }
        if (key == NX_CONFIG_COUNT) {
            fail_msg("%s is no setting", names[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_carries_its_part_of_the_guide),
        cmocka_unit_test(a_profile_is_weaker_than_everything_but_defaults),
        cmocka_unit_test(the_strongest_choice_counts_alone),
        cmocka_unit_test(an_unknown_one_gets_a_suggestion),
        cmocka_unit_test(every_name_of_the_guide_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

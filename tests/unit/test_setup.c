/* What the configuration means for the engine, on a CPU and on a GPU. */
#include "testing.h"

#include "cli/setup.h"

static const char *environment(const char *name, void *user)
{
    const char *const *pairs = user;
    for (size_t i = 0; pairs[i] != NULL; i += 2) {
        if (strcmp(pairs[i], name) == 0) {
            return pairs[i + 1];
        }
    }
    return NULL;
}

static nx_engine_options options_of(const char *const *pairs, const char *device)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_config_load_text("", 0, "test", environment, (void *)pairs, &config, &err),
                 err);
    nx_engine_options options = nx_setup_engine_options(config, device);
    nx_config_free(config);
    return options;
}

static void a_cpu_has_a_worker_for_each_core_and_prepares_nothing_ahead(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    nx_engine_options options = options_of(none, "cpu");
    assert_int_equal(options.workers, sysconf(_SC_NPROCESSORS_ONLN));
    assert_int_equal(options.prefetch, 0);
    assert_int_equal(options.preparers, 0);
}

static void a_gpu_is_fed_by_all_cores(void **state)
{
    (void)state;
    static const char *const none[] = {NULL};
    static const char *const devices[] = {"cuda", "tensorrt"};
    uint32_t cores = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    for (size_t i = 0; i < NX_COUNT(devices); i++) {
        nx_engine_options options = options_of(none, devices[i]);
        assert_int_equal(options.workers, 2);
        assert_int_equal(options.prefetch, 2);
        assert_int_equal(options.preparers, cores + 2);
    }
}

static void what_is_set_holds_on_both(void **state)
{
    (void)state;
    static const char *const set[] = {"INFERENCE_WORKERS",
                                      "3",
                                      "INFERENCE_PREFETCH",
                                      "1",
                                      "INFERENCE_BATCH_SIZE",
                                      "8",
                                      "INFERENCE_QUEUE_SIZE",
                                      "99",
                                      NULL};
    static const char *const none_ahead[] = {"INFERENCE_PREFETCH", "0", NULL};
    nx_engine_options cpu = options_of(set, "cpu");
    nx_engine_options gpu = options_of(set, "cuda");
    assert_int_equal(cpu.workers, 3);
    assert_int_equal(gpu.workers, 3);
    assert_int_equal(cpu.prefetch, 1);
    assert_int_equal(gpu.prefetch, 1);
    assert_int_equal(cpu.batch_size, 8);
    assert_int_equal(gpu.queue_size, 99);
    assert_int_equal(options_of(none_ahead, "cuda").prefetch, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cpu_has_a_worker_for_each_core_and_prepares_nothing_ahead),
        cmocka_unit_test(a_gpu_is_fed_by_all_cores),
        cmocka_unit_test(what_is_set_holds_on_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

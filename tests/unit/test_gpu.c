/* Figures of GPUs: as metrics, without a driver, and while one hangs. */
#include "testing.h"

#include "base/clock.h"
#include "ops/gpu.h"

#include <dlfcn.h>
#include <stdatomic.h>

static char *render(nx_gpus *gpus, const nx_metrics *metrics, nx_buffer *out)
{
    nx_buffer_clear(out);
    nx_gpus_read(gpus);
    nx_metrics_render(metrics, out);
    return (char *)nx_buffer_cstr(out);
}

static void without_a_driver_there_are_no_series(void **state)
{
    (void)state;
    nx_metrics *metrics = nx_metrics_new();
    nx_buffer out = NX_BUFFER_INIT;
    static const char *const libraries[] = {"libnone-such-ml.so.1", "libc.so.6"};
    for (size_t i = 0; i < NX_COUNT(libraries); i++) {
        nx_gpus *gpus = nx_gpus_new(libraries[i]);
        assert_null(gpus);
        nx_gpus_register(gpus, metrics);
        assert_string_equal(render(gpus, metrics, &out), "");
        nx_gpus_free(gpus);
    }
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
}

static void each_has_its_index_and_name(void **state)
{
    (void)state;
    void *fake = dlopen(NX_FAKE_NVML, RTLD_NOW);
    assert_non_null(fake);
    atomic_int *uses = dlsym(fake, "fake_nvml_uses");
    nx_metrics *metrics = nx_metrics_new();
    nx_buffer out = NX_BUFFER_INIT;
    nx_gpus *gpus = nx_gpus_new(NX_FAKE_NVML);
    assert_non_null(gpus);
    assert_int_equal(*uses, 1);
    nx_gpus_register(gpus, metrics);
    const char *text = render(gpus, metrics, &out);
    static const char *const lines[] = {
        "gpu_utilization_percent{gpu=\"0\",name=\"NVIDIA H200\"} 40\n",
        "gpu_utilization_percent{gpu=\"1\",name=\"NVIDIA H200\"} 41\n",
        "gpu_memory_used_bytes{gpu=\"0\",name=\"NVIDIA H200\"} 8589934592\n",
        "gpu_memory_total_bytes{gpu=\"1\",name=\"NVIDIA H200\"} 150754820096\n",
        "gpu_temperature_celsius{gpu=\"1\",name=\"NVIDIA H200\"} 61\n",
        "gpu_power_watts{gpu=\"0\",name=\"NVIDIA H200\"} 312.5\n",
    };
    size_t series = 0;
    for (size_t i = 0; i < NX_COUNT(lines); i++) {
        nx_assert_contains(text, lines[i]);
    }
    for (const char *at = strstr(text, "\ngpu_"); at != NULL; at = strstr(at + 1, "\ngpu_")) {
        series++;
    }
    assert_int_equal(series, 9); /* five of each, less the power that the second does not say */
    nx_gpus_free(gpus);
    assert_int_equal(*uses, 0);
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
    dlclose(fake);
}

static void one_that_hangs_holds_nobody_up(void **state)
{
    (void)state;
    void *fake = dlopen(NX_FAKE_NVML, RTLD_NOW);
    assert_non_null(fake);
    atomic_bool *hangs = dlsym(fake, "fake_nvml_hangs");
    nx_metrics *metrics = nx_metrics_new();
    nx_buffer out = NX_BUFFER_INIT;
    nx_gpus *gpus = nx_gpus_new(NX_FAKE_NVML);
    nx_gpus_register(gpus, metrics);
    *hangs = true;
    assert_null(strstr(render(gpus, metrics, &out), "gpu_utilization_percent{"));
    const int64_t before = nx_clock_now_ns();
    for (int i = 0; i < 1000; i++) { /* who comes later does not wait at all */
        nx_gpus_read(gpus);
    }
    assert_true(nx_clock_now_ns() - before < 50 * NX_NS_PER_SEC);
    *hangs = false;
    const int64_t until = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    while (strstr(render(gpus, metrics, &out), "gpu_utilization_percent{gpu=\"1\"") == NULL) {
        assert_true(nx_clock_now_ns() < until);
    }
    nx_gpus_free(gpus);
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
    dlclose(fake);
}

static void one_that_hangs_at_the_end_is_left_behind(void **state)
{
    (void)state;
    void *fake = dlopen(NX_FAKE_NVML, RTLD_NOW);
    assert_non_null(fake);
    atomic_bool *hangs = dlsym(fake, "fake_nvml_hangs");
    nx_metrics *metrics = nx_metrics_new();
    nx_gpus *gpus = nx_gpus_new(NX_FAKE_NVML);
    nx_gpus_register(gpus, metrics);
    *hangs = true;
    nx_gpus_read(gpus);
    const int64_t before = nx_clock_now_ns();
    nx_gpus_free(gpus);
    assert_true(nx_clock_now_ns() - before < 50 * NX_NS_PER_SEC);
    nx_metrics_free(metrics);
    *hangs = false; /* its thread tidies up now, and needs the library until then */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_driver_there_are_no_series),
        cmocka_unit_test(each_has_its_index_and_name),
        cmocka_unit_test(one_that_hangs_holds_nobody_up),
        cmocka_unit_test(one_that_hangs_at_the_end_is_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "api/kserve_stats.h"
#include "testing.h"

static char *text_of(nx_kserve_stats *stats, const char *name, const char *version)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_kserve_stats_write(stats, name, version, &json);
    assert_non_null(nx_buffer_cstr(&out));
    return out.data;
}

static void counts_by_model_and_version(void **state)
{
    (void)state;
    nx_kserve_stats *stats = nx_kserve_stats_new();
    const nx_kserve_sample batch = {
        .batch = 3, .executions = 1, .queue_ns = 1, .input_ns = 2, .infer_ns = 30, .output_ns = 4};
    const nx_kserve_sample pictures = {.batch = 1, .executions = 5, .infer_ns = 100};
    const nx_kserve_sample failure = {.failed = true, .total_ns = 7};
    nx_kserve_stats_add(stats, "a", "1", &batch);
    nx_kserve_stats_add(stats, "a", "1", &batch);
    nx_kserve_stats_add(stats, "a", "1", &pictures);
    nx_kserve_stats_add(stats, "a", "1", &failure);
    nx_kserve_stats_add(stats, "a", "2", &failure);
    char *text = text_of(stats, "a", "1");
    nx_assert_contains(text, "\"inference_count\":11,\"execution_count\":7");
    nx_assert_contains(text, "\"success\":{\"count\":3,\"ns\":0},\"fail\":{\"count\":1,\"ns\":7}");
    nx_assert_contains(text, "\"queue\":{\"count\":3,\"ns\":2}");
    nx_assert_contains(text, "\"compute_infer\":{\"count\":3,\"ns\":160}");
    nx_assert_contains(text, "{\"batch_size\":1,\"compute_input\":{\"count\":5,\"ns\":0},"
                             "\"compute_infer\":{\"count\":5,\"ns\":100}");
    nx_assert_contains(text, "{\"batch_size\":3,\"compute_input\":{\"count\":2,\"ns\":4},"
                             "\"compute_infer\":{\"count\":2,\"ns\":60}");
    free(text);
    text = text_of(stats, "a", "2");
    nx_assert_contains(text, "\"version\":\"2\"");
    nx_assert_contains(text, "\"inference_count\":0,");
    nx_assert_contains(text, "\"batch_stats\":[]");
    free(text);
    text = text_of(stats, "b", "1");
    nx_assert_contains(text, "\"last_inference\":0,\"inference_count\":0,");
    free(text);
    nx_kserve_stats_free(stats);
    nx_kserve_stats_free(NULL);
}

static void what_is_counted_is_bounded(void **state)
{
    (void)state;
    nx_kserve_stats *stats = nx_kserve_stats_new();
    const nx_kserve_sample huge = {.batch = 100000, .executions = 1};
    char name[16];
    for (int i = 0; i < 600; i++) {
        snprintf(name, sizeof name, "m%d", i);
        nx_kserve_stats_add(stats, name, "1", &huge);
    }
    char *text = text_of(stats, "m0", "1");
    nx_assert_contains(text, "\"inference_count\":100000,");
    nx_assert_contains(text, "\"batch_size\":128");
    free(text);
    text = text_of(stats, "m599", "1");
    nx_assert_contains(text, "\"inference_count\":0,");
    free(text);
    nx_kserve_stats_free(stats);
}

static void what_the_cache_had_is_no_execution(void **state)
{
    (void)state;
    nx_kserve_stats *stats = nx_kserve_stats_new();
    const nx_kserve_sample some = {.batch = 1,
                                   .executions = 1,
                                   .infer_ns = 50,
                                   .cache_hits = 2,
                                   .cache_misses = 1,
                                   .cache_hit_ns = 6,
                                   .cache_miss_ns = 4};
    const nx_kserve_sample all = {.batch = 1, .cache_hits = 3, .cache_hit_ns = 1, .output_ns = 9};
    nx_kserve_stats_add(stats, "a", "1", &some);
    nx_kserve_stats_add(stats, "a", "1", &all);
    char *text = text_of(stats, "a", "1");
    nx_assert_contains(text, "\"inference_count\":1,\"execution_count\":1");
    nx_assert_contains(text, "\"success\":{\"count\":2,");
    nx_assert_contains(text, "\"compute_infer\":{\"count\":1,\"ns\":50}");
    nx_assert_contains(text, "\"compute_output\":{\"count\":1,\"ns\":0}");
    nx_assert_contains(text, "\"cache_hit\":{\"count\":5,\"ns\":7}");
    nx_assert_contains(text, "\"cache_miss\":{\"count\":1,\"ns\":4}");
    free(text);
    nx_kserve_stats_free(stats);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_by_model_and_version),
        cmocka_unit_test(what_the_cache_had_is_no_execution),
        cmocka_unit_test(what_is_counted_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

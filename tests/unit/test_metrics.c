#include "ops/metrics.h"
#include "ops/process.h"
#include "ops/service_metrics.h"
#include "testing.h"

#include <pthread.h>
#include <time.h>

static const char *const methods[] = {"GET", "POST", "other"};
static const char *const statuses[] = {"200", "404", "other"};
static const nx_label labels[] = {{"method", methods, 3, 0}, {"status", statuses, 3, 0}};

static void counters_show_what_they_counted(void **state)
{
    (void)state;
    nx_metrics *metrics = nx_metrics_new();
    nx_metric *requests =
        nx_metrics_counter(metrics, "http_requests_total", "Requests.", labels, 2);
    nx_metric *plain = nx_metrics_counter(metrics, "plain_total", "Without labels.", NULL, 0);
    nx_metric_show(requests, nx_metric_series(requests, 1, 0, 0), 41);
    nx_metric_add(requests, nx_metric_series(requests, 1, 0, 0), 1);
    nx_metric_add(requests, nx_metric_series(requests, 9, 7, 0), 3); /* out of range: other */
    assert_non_null(plain);

    nx_buffer out = NX_BUFFER_INIT;
    nx_metrics_render(metrics, &out);
    assert_string_equal(nx_buffer_cstr(&out),
                        "# HELP http_requests_total Requests.\n"
                        "# TYPE http_requests_total counter\n"
                        "http_requests_total{method=\"POST\",status=\"200\"} 42\n"
                        "http_requests_total{method=\"other\",status=\"other\"} 3\n"
                        "# HELP plain_total Without labels.\n"
                        "# TYPE plain_total counter\n"
                        "plain_total 0\n");
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
}

static void histograms_are_cumulative(void **state)
{
    (void)state;
    static const double bounds[] = {0.1, 0.5, 1};
    static const char *const names[] = {"a\"b\\c\nd"};
    const nx_label label = {"model", names, 1, 0};
    nx_metrics *metrics = nx_metrics_new();
    nx_metric *time = nx_metrics_histogram(metrics, "t_seconds", "Time.", bounds, 3, &label, 1);
    nx_metric_observe(time, 0, 0.05);
    nx_metric_observe(time, 0, 0.1); /* a bound belongs to its bucket: le means "or equal" */
    nx_metric_observe(time, 0, 0.75);
    nx_metric_observe(time, 0, 30);

    nx_buffer out = NX_BUFFER_INIT;
    nx_metrics_render(metrics, &out);
    assert_string_equal(nx_buffer_cstr(&out),
                        "# HELP t_seconds Time.\n"
                        "# TYPE t_seconds histogram\n"
                        "t_seconds_bucket{model=\"a\\\"b\\\\c\\nd\",le=\"0.1\"} 2\n"
                        "t_seconds_bucket{model=\"a\\\"b\\\\c\\nd\",le=\"0.5\"} 2\n"
                        "t_seconds_bucket{model=\"a\\\"b\\\\c\\nd\",le=\"1\"} 3\n"
                        "t_seconds_bucket{model=\"a\\\"b\\\\c\\nd\",le=\"+Inf\"} 4\n"
                        "t_seconds_sum{model=\"a\\\"b\\\\c\\nd\"} 30.9\n"
                        "t_seconds_count{model=\"a\\\"b\\\\c\\nd\"} 4\n");
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
}

static double read_depth(void *user)
{
    return *(double *)user;
}

static void gauges_show_the_last_value(void **state)
{
    (void)state;
    double depth = 7;
    nx_metrics *metrics = nx_metrics_new();
    nx_metric *gauge = nx_metrics_gauge(metrics, "level", "Level.", NULL, 0);
    nx_metrics_gauge_read(metrics, "depth", "Depth.", read_depth, &depth);
    nx_metric_set(gauge, 0, 2.5);
    nx_buffer out = NX_BUFFER_INIT;
    nx_metrics_render(metrics, &out);
    nx_assert_contains(nx_buffer_cstr(&out), "\nlevel 2.5\n");
    nx_assert_contains(nx_buffer_cstr(&out), "\ndepth 7\n");
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
}

#define THREADS    4
#define PER_THREAD 20000

static void *count(void *argument)
{
    nx_metric **families = argument;
    for (int i = 0; i < PER_THREAD; i++) {
        nx_metric_add(families[0], 0, 1);
        nx_metric_observe(families[1], 0, 0.5);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    static const double bounds[] = {1};
    nx_metrics *metrics = nx_metrics_new();
    nx_metric *families[] = {
        nx_metrics_counter(metrics, "n_total", "N.", NULL, 0),
        nx_metrics_histogram(metrics, "h", "H.", bounds, 1, NULL, 0),
    };
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count, families), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_metrics_render(metrics, &out);
    nx_assert_contains(nx_buffer_cstr(&out), "\nn_total 80000\n");
    nx_assert_contains(nx_buffer_cstr(&out), "\nh_sum 40000\n");
    nx_assert_contains(nx_buffer_cstr(&out), "\nh_count 80000\n");
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
}

static void labels_take_values_that_come_later(void **state)
{
    (void)state;
    static const char *const other[] = {"other"};
    const nx_label label = {"model", other, 1, 2};
    nx_metrics *metrics = nx_metrics_new();
    nx_metric *runs = nx_metrics_counter(metrics, "runs_total", "Runs.", &label, 1);
    size_t a = nx_metric_value(runs, 0, "a");
    size_t b = nx_metric_value(runs, 0, "b");
    assert_int_equal(nx_metric_value(runs, 0, "a"), a);
    assert_int_not_equal(a, b);
    nx_metric_add(runs, a, 1);
    nx_metric_add(runs, b, 2);
    nx_metric_add(runs, nx_metric_value(runs, 0, "too many"), 3);
    nx_metric_add(runs, nx_metric_value(runs, 0, "other"), 4);
    nx_buffer out = NX_BUFFER_INIT;
    nx_metrics_render(metrics, &out);
    assert_string_equal(nx_buffer_cstr(&out), "# HELP runs_total Runs.\n"
                                              "# TYPE runs_total counter\n"
                                              "runs_total{model=\"a\"} 1\n"
                                              "runs_total{model=\"b\"} 2\n"
                                              "runs_total{model=\"other\"} 7\n");
    nx_buffer_free(&out);
    nx_metrics_free(metrics);
}

static void a_missing_family_records_nothing(void **state)
{
    (void)state;
    nx_metric_add(NULL, nx_metric_series(NULL, 1, 2, 3), 1);
    nx_metric_set(NULL, 0, 1);
    nx_metric_observe(NULL, 0, 1);
}

static void the_given_names_are_all_there(void **state)
{
    (void)state;
    nx_service_metrics *metrics = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_service_metrics_new("cpu", "1.30.0", &metrics, &err), err);
    double depth = 3;
    nx_service_metrics_queue_depth(metrics, read_depth, &depth);
    nx_service_metrics_run(metrics, "yolov8n", 93 * 1000000, 1);
    nx_service_metrics_stage(metrics, NX_STAGE_DECODE, 5.5);
    nx_service_metrics_failure(metrics, NX_ERR_BUSY);
    nx_service_metrics_failure(metrics, NX_ERR_INTERNAL);

    nx_buffer out = NX_BUFFER_INIT;
    nx_metrics_render(nx_service_metrics_registry(metrics), &out);
    const char *text = nx_buffer_cstr(&out);
    nx_assert_contains(text,
                       "model_inference_duration_seconds_bucket{model=\"yolov8n\",le=\"0.1\"} 1");
    nx_assert_contains(text, "model_inference_duration_seconds_sum{model=\"yolov8n\"} 0.093\n");
    nx_assert_contains(text, "model_inference_batch_size_count{model=\"yolov8n\"} 1\n");
    nx_assert_contains(text, "inference_stage_duration_seconds_sum{stage=\"decode\"} 0.0055\n");
    nx_assert_contains(text, "inference_requests_failed_total{reason=\"busy\"} 1\n");
    nx_assert_contains(text, "inference_requests_failed_total{reason=\"internal\"} 1\n");
    nx_assert_contains(text, "inference_queue_depth 3\n");
    nx_assert_contains(text, "process_cpu_usage_percent ");
    nx_assert_contains(text, "process_memory_bytes ");
    nx_assert_contains(text,
                       "execution_provider_info{provider=\"cpu\",runtime_version=\"1.30.0\"} 1\n");
    nx_buffer_free(&out);
    nx_service_metrics_free(metrics);
}

static void memory_follows_an_allocation(void **state)
{
    (void)state;
    double before = nx_process_memory_bytes();
    assert_true(before > 0);
    size_t size = 64u << 20;
    char *block = malloc(size);
    assert_non_null(block);
    memset(block, 1, size);
    double after = nx_process_memory_bytes();
    assert_true(block[size - 1] == 1);
    free(block);
    assert_true(after - before > 0.9 * (double)size);
}

static void the_cpu_meter_sees_work(void **state)
{
    (void)state;
    nx_cpu_meter meter;
    nx_cpu_meter_init(&meter);
    assert_true(nx_cpu_meter_read(&meter) == 0); /* too early for a figure */
    meter.wall_ns -= INT64_C(2000000000);        /* as if two seconds had passed ... */
    meter.cpu_ns -= INT64_C(1000000000);         /* ... with one second of work */
    double percent = nx_cpu_meter_read(&meter);
    assert_true(percent > 45 && percent < 60);
    pthread_mutex_destroy(&meter.lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_show_what_they_counted),
        cmocka_unit_test(histograms_are_cumulative),
        cmocka_unit_test(gauges_show_the_last_value),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(labels_take_values_that_come_later),
        cmocka_unit_test(a_missing_family_records_nothing),
        cmocka_unit_test(the_given_names_are_all_there),
        cmocka_unit_test(memory_follows_an_allocation),
        cmocka_unit_test(the_cpu_meter_sees_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

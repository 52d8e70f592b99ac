#include "testing.h"

#include "analytics/kalman.h"

#include <math.h>
#include <stdbool.h>

static const nx_kalman_box person = {100, 200, 140, 300}; /* 40 x 100 */

static void assert_near(double value, double expected, double tolerance)
{
    if (!(fabs(value - expected) <= tolerance)) {
        fail_msg("%.12f is not %.12f", value, expected);
    }
}

static nx_kalman_box moved(nx_kalman_box box, double x, double y)
{
    return (nx_kalman_box){box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y};
}

static void a_start_stands_where_it_was_seen(void **state)
{
    (void)state;
    nx_kalman filter = nx_kalman_start(person);
    nx_kalman_box at = nx_kalman_at(&filter);
    assert_near(at.x1, 100, 1e-9);
    assert_near(at.y1, 200, 1e-9);
    assert_near(at.x2, 140, 1e-9);
    assert_near(at.y2, 300, 1e-9);
    /* DeepSORT: 2/20 of the height, and 10/160 of it for each of 30 steps a second. */
    assert_near(filter.axes[NX_KALMAN_CX].var_value, 10 * 10, 1e-9);
    assert_near(filter.axes[NX_KALMAN_CX].var_velocity, 6.25 * 30 * 6.25 * 30, 1e-6);
    assert_near(filter.axes[NX_KALMAN_ASPECT].value, 0.4, 1e-12);
}

static void one_step_is_that_of_deepsort(void **state)
{
    (void)state;
    /* In steps: var(x) = 100, var(v) = 39.0625; a step adds var(v) + 25 to var(x) and 0.390625 to
     * var(v), a third of which reaches x within the step, half the covariance. */
    nx_kalman filter = nx_kalman_start(person);
    nx_kalman_predict(&filter, 1.0 / 30);
    const nx_kalman_axis *x = &filter.axes[NX_KALMAN_CX];
    assert_near(x->var_value, 100 + 39.0625 + 25 + 0.390625 / 3, 1e-9);
    assert_near(x->covariance / 30, 39.0625 + 0.390625 / 2, 1e-9);
    assert_near(x->var_velocity / 900, 39.0625 + 0.390625, 1e-9);
    /* Seen 10 to the right: noise 5, so the gain is P / (P + 25). */
    double p = x->var_value;
    double gain = p / (p + 25);
    double c = x->covariance;
    nx_kalman_update(&filter, moved(person, 10, 0));
    assert_near(x->value, 120 + 10 * gain, 1e-9);
    assert_near(x->velocity, 10 * c / (p + 25), 1e-9);
    assert_near(x->var_value, p * (1 - gain), 1e-9);
    assert_near(filter.axes[NX_KALMAN_CY].value, 250, 1e-9);
}

static void two_short_predictions_are_a_long_one(void **state)
{
    (void)state;
    nx_kalman once = nx_kalman_start(person);
    nx_kalman_predict(&once, 0.1);
    nx_kalman_update(&once, moved(person, 5, -3));
    nx_kalman twice = once;
    nx_kalman_predict(&once, 0.7);
    nx_kalman_predict(&twice, 0.3);
    nx_kalman_predict(&twice, 0.4);
    /* The noise follows the height, which the velocity of an unchanged height leaves as it is. */
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        assert_near(twice.axes[i].value, once.axes[i].value, 1e-9);
        assert_near(twice.axes[i].var_value / once.axes[i].var_value, 1, 1e-9);
        assert_near(twice.axes[i].covariance / once.axes[i].covariance, 1, 1e-9);
        assert_near(twice.axes[i].var_velocity / once.axes[i].var_velocity, 1, 1e-9);
    }
}

static void a_steady_walk_is_foreseen(void **state)
{
    (void)state;
    nx_kalman filter = nx_kalman_start(person);
    for (int i = 1; i <= 100; i++) { /* 50 px/s to the right, 20 px/s up */
        nx_kalman_predict(&filter, 0.1);
        nx_kalman_update(&filter, moved(person, 5.0 * i, -2.0 * i));
    }
    assert_near(filter.axes[NX_KALMAN_CX].velocity, 50, 0.5);
    assert_near(filter.axes[NX_KALMAN_CY].velocity, -20, 0.5);
    nx_kalman before = filter;
    nx_kalman_box ahead = nx_kalman_ahead(&filter, 2);
    assert_memory_equal(&before, &filter, sizeof filter);
    assert_near(ahead.x1, 100 + 500 + 100, 1.5);
    assert_near(ahead.y2, 300 - 200 - 40, 1.5);
    assert_near(ahead.x2 - ahead.x1, 40, 0.5);
}

static void a_box_that_shrinks_away_is_empty_not_inside_out(void **state)
{
    (void)state;
    nx_kalman filter = nx_kalman_start(person);
    filter.axes[NX_KALMAN_HEIGHT].velocity = -100;
    nx_kalman_box ahead = nx_kalman_ahead(&filter, 2);
    assert_true(ahead.x1 == ahead.x2 && ahead.y1 == ahead.y2);
    nx_kalman_predict(&filter, 2);
    for (int i = 0; i < NX_KALMAN_AXES; i++) {
        assert_true(isfinite(filter.axes[i].var_value) && filter.axes[i].var_value > 0);
    }
    nx_kalman_update(&filter, person);
    assert_true(nx_kalman_at(&filter).y2 - nx_kalman_at(&filter).y1 > 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_start_stands_where_it_was_seen),
        cmocka_unit_test(one_step_is_that_of_deepsort),
        cmocka_unit_test(two_short_predictions_are_a_long_one),
        cmocka_unit_test(a_steady_walk_is_foreseen),
        cmocka_unit_test(a_box_that_shrinks_away_is_empty_not_inside_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

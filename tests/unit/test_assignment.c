#include "testing.h"

#include "analytics/assignment.h"

#include <math.h>
#include <stdbool.h>

static uint32_t seed = 1;

/* 0 .. below - 1, the same in every run. */
static uint32_t random_below(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static double sum_of(const double *cost, size_t columns, double gate, const int32_t *chosen,
                     size_t rows)
{
    double sum = 0;
    for (size_t i = 0; i < rows; i++) {
        sum += chosen[i] < 0 ? gate : cost[i * columns + (size_t)chosen[i]];
    }
    return sum;
}

/* The least sum by trying everything: rows one after the other, columns as a set of bits. */
static double brute(const double *cost, size_t rows, size_t columns, double gate, size_t row,
                    uint32_t taken)
{
    if (row == rows) {
        return 0;
    }
    double best = gate + brute(cost, rows, columns, gate, row + 1, taken);
    for (size_t j = 0; j < columns; j++) {
        double c = cost[row * columns + j];
        if ((taken >> j & 1) == 0 && c < gate) {
            double sum = c + brute(cost, rows, columns, gate, row + 1, taken | 1u << j);
            best = sum < best ? sum : best;
        }
    }
    return best;
}

static void assert_valid(const double *cost, size_t rows, size_t columns, double gate,
                         const int32_t *chosen)
{
    uint32_t taken = 0;
    for (size_t i = 0; i < rows; i++) {
        if (chosen[i] == NX_ASSIGN_NONE) {
            continue;
        }
        assert_true(chosen[i] >= 0 && (size_t)chosen[i] < columns);
        assert_true(cost[i * columns + (size_t)chosen[i]] < gate);
        assert_true((taken >> chosen[i] & 1) == 0);
        taken |= 1u << chosen[i];
    }
}

static void it_is_as_good_as_trying_everything(void **state)
{
    (void)state;
    for (int round = 0; round < 4000; round++) {
        double cost[49];
        int32_t chosen[7];
        nx_error err = {0};
        size_t rows = random_below(7) + 1;
        size_t columns = random_below(8);
        uint32_t levels = round % 2 == 0 ? 5 : 1000; /* few levels: many ties */
        for (size_t i = 0; i < rows * columns; i++) {
            cost[i] =
                random_below(6) == 0 ? (double)INFINITY : (double)random_below(levels) - levels / 3;
        }
        double gate = (double)random_below(levels) - levels / 4;
        nx_assert_ok(nx_assign(cost, rows, columns, gate, chosen, &err), err);
        assert_valid(cost, rows, columns, gate, chosen);
        double expected = brute(cost, rows, columns, gate, 0, 0);
        double found = sum_of(cost, columns, gate, chosen, rows);
        if (fabs(found - expected) > 1e-9) {
            fail_msg("round %d, %zux%zu: %g, the best is %g", round, rows, columns, found,
                     expected);
        }
    }
}

static void the_best_pair_is_not_always_made(void **state)
{
    (void)state;
    /* Greedy takes 1 and is left with 10: 11. The best is 2 + 3. */
    const double cost[] = {1, 2, 3, 10};
    int32_t chosen[2];
    nx_error err = {0};
    nx_assert_ok(nx_assign(cost, 2, 2, 100, chosen, &err), err);
    assert_int_equal(chosen[0], 1);
    assert_int_equal(chosen[1], 0);
    /* With the gate at 3 that pair may not be made: one row stays alone. */
    nx_assert_ok(nx_assign(cost, 2, 2, 3, chosen, &err), err);
    assert_int_equal(chosen[0], 0);
    assert_int_equal(chosen[1], NX_ASSIGN_NONE);
}

static void what_may_not_be_paired_stays_alone(void **state)
{
    (void)state;
    const double cost[] = {(double)NAN, (double)INFINITY, 0.5, 0.5};
    int32_t chosen[2];
    nx_error err = {0};
    nx_assert_ok(nx_assign(cost, 2, 2, 0.5, chosen, &err), err);
    assert_int_equal(chosen[0], NX_ASSIGN_NONE);
    assert_int_equal(chosen[1], NX_ASSIGN_NONE);
    nx_assert_ok(nx_assign(cost, 2, 2, 0.6, chosen, &err), err);
    assert_int_equal(chosen[0], NX_ASSIGN_NONE);
    assert_int_equal(chosen[1], 0);
    nx_assert_ok(nx_assign(NULL, 2, 0, 1, chosen, &err), err);
    assert_int_equal(chosen[0], NX_ASSIGN_NONE);
    nx_assert_ok(nx_assign(NULL, 0, 5, 1, NULL, &err), err);
}

static void a_large_one_is_solved(void **state)
{
    (void)state;
    /* Row i fits column (i * 7) % 300 with cost 0 and all others with 1 to 100. */
    enum { N = 300 };
    double *cost = calloc((size_t)N * N, sizeof *cost);
    int32_t chosen[N];
    nx_error err = {0};
    assert_non_null(cost);
    for (size_t i = 0; i < (size_t)N * N; i++) {
        cost[i] = 1 + random_below(100);
    }
    for (size_t i = 0; i < N; i++) {
        cost[i * N + i * 7 % N] = 0;
    }
    nx_assert_ok(nx_assign(cost, N, N, 1000, chosen, &err), err);
    for (int i = 0; i < N; i++) {
        assert_int_equal(chosen[i], i * 7 % N);
    }
    free(cost);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    const double cost[] = {(double)-INFINITY};
    int32_t chosen[1];
    nx_error err = {0};
    assert_int_equal(nx_assign(cost, 1, 1, 1, chosen, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "minus infinity");
    assert_int_equal(nx_assign(cost, 1, 1, (double)NAN, chosen, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "gate");
    assert_int_equal(nx_assign(NULL, NX_ASSIGN_MAX + 1, 0, 1, chosen, &err), NX_ERR_TOO_LARGE);
    nx_assert_contains(err.message, "2049");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_as_good_as_trying_everything),
        cmocka_unit_test(the_best_pair_is_not_always_made),
        cmocka_unit_test(what_may_not_be_paired_stays_alone),
        cmocka_unit_test(a_large_one_is_solved),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "testing.h"

#include "eval/coco_ap.h"

#include <math.h>

/*
 * Cases with their arithmetic. A truth is a 100x100 box; a detection that lies in it, as high as it
 * and w wide, has IoU w * 100 / (100 * 100) = w / 100. Precision at rank n is TP / (TP + FP),
 * recall TP / truths; a curve that holds precision p until recall r covers the points 0.00, 0.01
 * ... r of the 101.
 */
#define NEAR 1e-12

static const nx_coco_box unit = {0, 0, 100, 100};
static const nx_coco_box elsewhere = {500, 500, 100, 100};

static nx_coco_box wide(double width)
{
    return (nx_coco_box){0, 0, width, 100};
}

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= NEAR)) {
        fail_msg("%.15f is not %.15f", value, expected);
    }
}

static nx_coco_ap evaluate(const nx_coco_truth *truths, size_t truth_count,
                           const nx_coco_result *results, size_t result_count,
                           nx_coco_ap *per_category)
{
    nx_coco_ap ap;
    nx_error err;
    nx_status status =
        nx_coco_evaluate(truths, truth_count, results, result_count, 3, 3, &ap, per_category, &err);
    nx_assert_ok(status, err);
    return ap;
}

static void assert_ap(nx_coco_ap ap, double all, double at50, double at75)
{
    assert_near(ap.ap, all);
    assert_near(ap.ap50, at50);
    assert_near(ap.ap75, at75);
}

static void perfect_is_one(void **state)
{
    (void)state;
    const nx_coco_truth truths[] = {{0, 0, unit, false}, {1, 1, elsewhere, false}};
    const nx_coco_result results[] = {{1, 1, elsewhere, 0.3}, {0, 0, unit, 0.9}};
    nx_coco_ap ap = evaluate(truths, 2, results, 2, NULL);
    assert_ap(ap, 1, 1, 1);
    assert_int_equal(ap.truths, 2);
    assert_int_equal(ap.results, 2);
}

static void a_false_positive_below_costs_nothing(void **state)
{
    (void)state;
    /* Ranks: TP, FP. Recall is 1 at rank 1 with precision 1; what follows lies past the curve. */
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    const nx_coco_result results[] = {{0, 0, elsewhere, 0.1}, {0, 0, unit, 0.9}};
    assert_ap(evaluate(truths, 1, results, 2, NULL), 1, 1, 1);
}

static void a_false_positive_above_halves(void **state)
{
    (void)state;
    /* Ranks: FP, TP. Precision 0/1, 1/2; made monotone 1/2, 1/2: 101 * 0.5 / 101. */
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    const nx_coco_result results[] = {{0, 0, elsewhere, 0.9}, {0, 0, unit, 0.1}};
    assert_ap(evaluate(truths, 1, results, 2, NULL), 0.5, 0.5, 0.5);
}

static void half_recall_is_51_points(void **state)
{
    (void)state;
    /* 2 truths, 1 found: precision 1 up to recall 0.5, the points 0.00 to 0.50: 51 / 101. */
    const nx_coco_truth truths[] = {{0, 0, unit, false}, {0, 0, elsewhere, false}};
    const nx_coco_result results[] = {{0, 0, unit, 0.9}};
    assert_ap(evaluate(truths, 2, results, 1, NULL), 51.0 / 101, 51.0 / 101, 51.0 / 101);
}

static void precision_is_made_monotone_and_a_duplicate_is_wrong(void **state)
{
    (void)state;
    /* Ranks: TP, FP (the truth is taken), TP. Precision 1, 1/2, 2/3; monotone 1, 2/3, 2/3;
     * recall 1/2, 1/2, 1: (51 * 1 + 50 * 2/3) / 101. */
    const nx_coco_truth truths[] = {{0, 0, unit, false}, {0, 0, elsewhere, false}};
    const nx_coco_result results[] = {{0, 0, unit, 0.9}, {0, 0, unit, 0.8}, {0, 0, elsewhere, 0.7}};
    double expected = (51 + 50 * 2.0 / 3) / 101;
    assert_ap(evaluate(truths, 2, results, 3, NULL), expected, expected, expected);
}

static void each_threshold_includes_its_own_value(void **state)
{
    (void)state;
    /* One truth, one detection of IoU w/100: AP is the share of the ten thresholds it reaches. */
    static const struct {
        double width;
        int reached;
    } cases[] = {{49, 0}, {50, 1}, {54, 1}, {55, 2}, {60, 3}, {65, 4},  {69.9, 4}, {70, 5},
                 {74, 5}, {75, 6}, {80, 7}, {85, 8}, {90, 9}, {95, 10}, {100, 10}};
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        const nx_coco_result results[] = {{0, 0, wide(cases[i].width), 0.5}};
        assert_ap(evaluate(truths, 1, results, 1, NULL), cases[i].reached / 10.0,
                  cases[i].reached >= 1, cases[i].reached >= 6);
    }
}

static void a_detection_takes_the_truth_that_it_overlaps_best(void **state)
{
    (void)state;
    /* The first detection overlaps the truths with IoU 0.60 and 1; the second only the first one,
     * with 1. Taking the first truth that will do would leave the second detection without. */
    const nx_coco_truth truths[] = {{0, 0, wide(60), false}, {0, 0, unit, false}};
    const nx_coco_result results[] = {{0, 0, unit, 0.9}, {0, 0, wide(60), 0.8}};
    assert_ap(evaluate(truths, 2, results, 2, NULL), 1, 1, 1);
}

static void a_crowd_swallows_any_number_of_detections(void **state)
{
    (void)state;
    /* Two small boxes inside the crowd: intersection over their own area is 1 at every threshold,
     * so both are ignored although they rank above the TP. The crowd is no truth: 1/1. */
    const nx_coco_truth truths[] = {{0, 0, unit, true}, {0, 0, elsewhere, false}};
    const nx_coco_result results[] = {
        {0, 0, {5, 5, 10, 10}, 0.9}, {0, 0, {50, 50, 10, 10}, 0.8}, {0, 0, elsewhere, 0.7}};
    nx_coco_ap ap = evaluate(truths, 2, results, 3, NULL);
    assert_ap(ap, 1, 1, 1);
    assert_int_equal(ap.truths, 1);
    /* Half outside of the crowd: IoU 50/100 is ignored at 0.50 only. At the nine thresholds above,
     * FP ranks before TP: precision 1/2. (1 + 9 * 0.5) / 10. */
    const nx_coco_result outside[] = {{0, 0, {95, 0, 10, 10}, 0.9}, {0, 0, elsewhere, 0.7}};
    assert_ap(evaluate(truths, 2, outside, 2, NULL), 0.55, 1, 0.5);
}

static void a_regular_truth_goes_before_a_crowd(void **state)
{
    (void)state;
    /* The detection overlaps the truth with 60/100 and lies wholly in the crowd (60/60 = 1). It
     * takes the truth where that suffices (0.50, 0.55, 0.60), and is ignored at the seven others,
     * where the truth is then missed: 3 / 10. The crowd comes first in the array on purpose. */
    const nx_coco_truth truths[] = {{0, 0, {0, 0, 1000, 1000}, true}, {0, 0, unit, false}};
    const nx_coco_result results[] = {{0, 0, wide(60), 0.9}};
    assert_ap(evaluate(truths, 2, results, 1, NULL), 0.3, 1, 0);
}

static void only_the_best_hundred_of_an_image_and_category_count(void **state)
{
    (void)state;
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    nx_coco_result results[101];
    results[0] = (nx_coco_result){0, 0, unit, 0.5};
    for (size_t i = 1; i < NX_COUNT(results); i++) {
        results[i] = (nx_coco_result){0, 0, elsewhere, 0.9};
    }
    /* 99 FP, then TP at rank 100: precision 1/100. */
    nx_coco_ap ap = evaluate(truths, 1, results, 100, NULL);
    assert_ap(ap, 0.01, 0.01, 0.01);
    assert_int_equal(ap.results, 100);
    /* 100 FP fill the hundred; the TP is the 101st. */
    ap = evaluate(truths, 1, results, 101, NULL);
    assert_ap(ap, 0, 0, 0);
    assert_int_equal(ap.results, 100);
    /* The same 101 with one FP in another image: none is left out. TP at rank 101. */
    results[100].image = 1;
    ap = evaluate(truths, 1, results, 101, NULL);
    assert_ap(ap, 1.0 / 101, 1.0 / 101, 1.0 / 101);
    assert_int_equal(ap.results, 101);
}

static void equal_scores_rank_by_image_then_place(void **state)
{
    (void)state;
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    /* Image 0 goes first: TP, FP. */
    const nx_coco_result by_image[] = {{1, 0, unit, 0.5}, {0, 0, unit, 0.5}};
    assert_ap(evaluate(truths, 1, by_image, 2, NULL), 1, 1, 1);
    /* In one image the order of the array stands: FP, TP. */
    const nx_coco_result by_place[] = {{0, 0, elsewhere, 0.5}, {0, 0, unit, 0.5}};
    assert_ap(evaluate(truths, 1, by_place, 2, NULL), 0.5, 0.5, 0.5);
}

static void the_mean_leaves_out_categories_without_truth(void **state)
{
    (void)state;
    /* Category 0: perfect, 1. Category 1: 51/101 as above. Category 2: results, only a crowd. */
    const nx_coco_truth truths[] = {
        {0, 0, unit, false}, {0, 1, unit, false}, {0, 1, elsewhere, false}, {0, 2, unit, true}};
    const nx_coco_result results[] = {
        {0, 0, unit, 0.9}, {0, 1, unit, 0.9}, {0, 2, elsewhere, 0.9}, {1, 2, elsewhere, 0.9}};
    nx_coco_ap each[3];
    nx_coco_ap ap = evaluate(truths, 4, results, 4, each);
    double mean = (1 + 51.0 / 101) / 2;
    assert_ap(ap, mean, mean, mean);
    assert_int_equal(ap.truths, 3);
    assert_int_equal(ap.results, 4);
    assert_ap(each[0], 1, 1, 1);
    assert_ap(each[1], 51.0 / 101, 51.0 / 101, 51.0 / 101);
    assert_int_equal(each[1].truths, 2);
    assert_ap(each[2], -1, -1, -1);
    assert_int_equal(each[2].truths, 0);
    assert_int_equal(each[2].results, 2);
}

static void category_and_image_must_both_agree(void **state)
{
    (void)state;
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    const nx_coco_result results[] = {{0, 1, unit, 0.9}, {1, 0, unit, 0.9}};
    assert_ap(evaluate(truths, 1, results, 2, NULL), 0, 0, 0);
}

static void nothing_found_is_zero_and_nothing_to_find_is_undefined(void **state)
{
    (void)state;
    const nx_coco_truth truths[] = {{0, 0, unit, false}};
    const nx_coco_result results[] = {{0, 0, unit, 0.9}};
    assert_ap(evaluate(truths, 1, NULL, 0, NULL), 0, 0, 0);
    assert_ap(evaluate(NULL, 0, results, 1, NULL), -1, -1, -1);
    assert_ap(evaluate(NULL, 0, NULL, 0, NULL), -1, -1, -1);
}

static void refuse(const nx_coco_truth *truth, const nx_coco_result *result, const char *words)
{
    nx_coco_ap ap;
    nx_error err;
    assert_int_equal(
        nx_coco_evaluate(truth, truth != NULL, result, result != NULL, 3, 2, &ap, NULL, &err),
        NX_ERR_INVALID);
    nx_assert_contains(err.message, words);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    const nx_coco_box infinite = {0, 0, (double)INFINITY, 1};
    refuse(&(nx_coco_truth){3, 0, unit, false}, NULL, "truth 0 names image index 3");
    refuse(&(nx_coco_truth){-1, 0, unit, false}, NULL, "image index -1");
    refuse(&(nx_coco_truth){0, 2, unit, false}, NULL, "category index 2");
    refuse(&(nx_coco_truth){0, 0, infinite, false}, NULL, "truth 0 has a box");
    refuse(NULL, &(nx_coco_result){3, 0, unit, 0.5}, "result 0 names image index 3");
    refuse(NULL, &(nx_coco_result){0, -1, unit, 0.5}, "category index -1");
    refuse(NULL, &(nx_coco_result){0, 0, infinite, 0.5}, "result 0 has a box");
    refuse(NULL, &(nx_coco_result){0, 0, unit, (double)NAN}, "result 0 has a score");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_is_one),
        cmocka_unit_test(a_false_positive_below_costs_nothing),
        cmocka_unit_test(a_false_positive_above_halves),
        cmocka_unit_test(half_recall_is_51_points),
        cmocka_unit_test(precision_is_made_monotone_and_a_duplicate_is_wrong),
        cmocka_unit_test(each_threshold_includes_its_own_value),
        cmocka_unit_test(a_detection_takes_the_truth_that_it_overlaps_best),
        cmocka_unit_test(a_crowd_swallows_any_number_of_detections),
        cmocka_unit_test(a_regular_truth_goes_before_a_crowd),
        cmocka_unit_test(only_the_best_hundred_of_an_image_and_category_count),
        cmocka_unit_test(equal_scores_rank_by_image_then_place),
        cmocka_unit_test(the_mean_leaves_out_categories_without_truth),
        cmocka_unit_test(category_and_image_must_both_agree),
        cmocka_unit_test(nothing_found_is_zero_and_nothing_to_find_is_undefined),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

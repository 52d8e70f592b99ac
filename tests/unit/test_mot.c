#include "testing.h"

#include "eval/mot.h"
#include "eval/mot_file.h"

#include <math.h>

/* Where nothing else is said, the expected numbers are those of TrackEval 1.3.0 for this input. */

static void assert_near(double value, double expected)
{
    if (!(fabs(value - expected) <= 5e-7)) {
        fail_msg("%.9f is not %.9f", value, expected);
    }
}

static nx_mot_box box(int32_t frame, int64_t id, double x, double width)
{
    return (nx_mot_box){.frame = frame, .id = id, .x = x, .width = width, .height = 100};
}

static nx_mot_scores evaluate(const nx_mot_box *truth, size_t truth_count, const nx_mot_box *tracks,
                              size_t track_count, int32_t last_frame)
{
    nx_mot_scores scores;
    nx_error err = {0};
    nx_assert_ok(
        nx_mot_evaluate(truth, truth_count, tracks, track_count, last_frame, &scores, &err), err);
    return scores;
}

/* Two who stand still for four frames. */
static const nx_mot_box *standing(void)
{
    static nx_mot_box truth[8];
    for (int32_t i = 0; i < 8; i++) {
        truth[i] = box(i / 2 + 1, i % 2 + 1, 500.0 * (i % 2), 100);
    }
    return truth;
}

static void perfect_is_one(void **state)
{
    (void)state;
    nx_mot_scores s = evaluate(standing(), 8, standing(), 8, 4);
    assert_true(s.mota == 1 && s.motp == 1 && s.idf1 == 1 && s.matches == 8);
    assert_true(s.mostly_tracked == 2 && s.truth_ids == 2 && s.switches == 0);
    assert_near(s.hota, 1);
    assert_near(s.association, 1);
}

static void ids_that_swap_cost_two_switches(void **state)
{
    (void)state;
    /* IoUs: 1, 0.8; 0.6, 1; swapped 1, 1; then one elsewhere and both missed. 6 matches, 2
     * switches, 1 false positive, 2 misses: MOTA (6 - 1 - 2) / 8, MOTP 5.4 / 6. The best identities
     * agree in 2 frames each: IDF1 2 * 4 / (8 + 7). */
    const nx_mot_box tracks[] = {box(1, 7, 0, 100),   box(1, 8, 500, 80), box(2, 7, 0, 60),
                                 box(2, 8, 500, 100), box(3, 8, 0, 100),  box(3, 7, 500, 100),
                                 box(4, 9, 900, 100)};
    nx_mot_scores s = evaluate(standing(), 8, tracks, 7, 4);
    assert_true(s.matches == 6 && s.switches == 2 && s.false_positives == 1 && s.misses == 2);
    assert_true(s.fragments == 0 && s.partly_tracked == 2 && s.track_ids == 3);
    assert_near(s.mota, 3.0 / 8);
    assert_near(s.motp, 5.4 / 6);
    assert_near(s.idf1, 8.0 / 15);
    assert_near(s.id_precision, 4.0 / 7);
    assert_near(s.id_recall, 4.0 / 8);
    assert_near(s.hota, 0.407502);
    assert_near(s.detection, 0.583732);
    assert_near(s.association, 0.284561);
    assert_near(s.localization, 0.928421);
}

static void a_match_goes_on_though_another_is_nearer(void **state)
{
    (void)state;
    /* In frame 2 track 2 covers the truth better (0.9 to 0.6), but track 1 had it before. */
    const nx_mot_box truth[] = {box(1, 1, 0, 100), box(2, 1, 0, 100)};
    const nx_mot_box tracks[] = {box(1, 1, 0, 100), box(2, 1, 0, 60), box(2, 2, 0, 90)};
    nx_mot_scores s = evaluate(truth, 2, tracks, 3, 2);
    assert_true(s.switches == 0 && s.matches == 2 && s.false_positives == 1);
    assert_near(s.motp, 0.8);
}

static void a_gap_is_a_fragment_and_no_switch(void **state)
{
    (void)state;
    const nx_mot_box truth[] = {box(1, 1, 0, 100), box(2, 1, 0, 100), box(3, 1, 0, 100)};
    const nx_mot_box tracks[] = {box(1, 5, 0, 100), box(2, 6, 300, 100), box(3, 5, 0, 100)};
    nx_mot_scores s = evaluate(truth, 3, tracks, 3, 3);
    assert_true(s.switches == 0 && s.fragments == 1 && s.misses == 1 && s.false_positives == 1);
    assert_true(s.partly_tracked == 1);
}

static void later_frames_are_left_out(void **state)
{
    (void)state;
    nx_mot_scores s = evaluate(standing(), 8, standing(), 8, 2);
    assert_true(s.truths == 4 && s.boxes == 4 && s.matches == 4);
}

static void nothing_found_is_zero(void **state)
{
    (void)state;
    nx_mot_scores s = evaluate(standing(), 8, NULL, 0, 4);
    assert_true(s.mota == 0 && s.motp == 0 && s.idf1 == 0 && s.hota == 0 && s.misses == 8);
    assert_true(s.mostly_lost == 2);
}

/* The ground truth of the shared clip, worn by a rule: boxes jitter and are missing, two swap their
 * ids, one changes his, and some are there twice. */
static size_t worn(const nx_mot_boxes *truth, nx_mot_box *out)
{
    size_t count = 0;
    for (size_t i = 0; i < truth->count; i++) {
        nx_mot_box b = truth->items[i];
        int r = (b.frame * 31 + (int)b.id * 17) % 97;
        int64_t id = b.id;
        if (r % 11 == 0) {
            continue;
        }
        if (b.frame > 60 && (id == 11 || id == 12)) {
            b.id = 23 - id;
        } else if (b.frame > 90 && id == 9) {
            b.id = 109;
        }
        b.x += r % 13 - 6;
        b.y += r % 7 - 3;
        b.width += r % 5;
        out[count++] = b;
        if (r % 10 == 3) {
            b.id = 500 + id + 100 * (b.frame / 20);
            b.x += 200;
            out[count++] = b;
        }
    }
    return count;
}

static void a_real_sequence_has_trackevals_scores(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_mot_boxes truth;
    nx_mot_box tracks[2 * 676];
    nx_error err = {0};
    nx_assert_ok(nx_mot_read(nx_shared_path("videos/pets09-s2l1-gt/gt.txt"), true, &truth, &err),
                 err);
    assert_int_equal(truth.count, 676);
    size_t count = worn(&truth, tracks);
    nx_mot_scores s = evaluate(truth.items, truth.count, tracks, count, 124);
    assert_true(s.matches == 609 && s.misses == 67 && s.false_positives == 64 && s.switches == 3);
    assert_true(s.fragments == 44 && s.mostly_tracked == 6 && s.mostly_lost == 0);
    assert_near(s.mota, 0.801775);
    assert_near(s.motp, 0.766976);
    assert_near(s.idf1, 0.747220);
    assert_near(s.id_precision, 0.748886);
    assert_near(s.id_recall, 0.745562);
    assert_near(s.hota, 0.551545);
    assert_near(s.detection, 0.613967);
    assert_near(s.association, 0.495569);
    assert_near(s.localization, 0.807743);
    nx_mot_boxes_free(&truth);
}

static void bad_input_is_refused(void **state)
{
    (void)state;
    nx_mot_scores scores;
    nx_error err = {0};
    nx_mot_box bad[] = {box(1, 1, 0, 100), box(1, 1, 5, 100)};
    assert_int_equal(nx_mot_evaluate(bad, 2, NULL, 0, 9, &scores, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "frame 1 has the id 1 twice");
    bad[1] = box(0, 2, 0, 100);
    assert_int_equal(nx_mot_evaluate(bad, 2, NULL, 0, 9, &scores, &err), NX_ERR_INVALID);
    bad[1] = box(1, 2, (double)NAN, 100);
    assert_int_equal(nx_mot_evaluate(bad, 1, bad, 2, 9, &scores, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "track box 1");
    bad[0].frame = 10;
    assert_int_equal(nx_mot_evaluate(bad, 1, NULL, 0, 9, &scores, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "no true box in frames 1 to 9");
    nx_mot_box *many = calloc(NX_MOT_MAX_IDS + 1, sizeof *many);
    assert_non_null(many);
    for (int32_t i = 0; i <= NX_MOT_MAX_IDS; i++) {
        many[i] = box(i + 1, i, 0, 100);
    }
    assert_int_equal(nx_mot_evaluate(many, NX_MOT_MAX_IDS + 1, NULL, 0, 9999, &scores, &err),
                     NX_ERR_TOO_LARGE);
    free(many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(perfect_is_one),
        cmocka_unit_test(ids_that_swap_cost_two_switches),
        cmocka_unit_test(a_match_goes_on_though_another_is_nearer),
        cmocka_unit_test(a_gap_is_a_fragment_and_no_switch),
        cmocka_unit_test(later_frames_are_left_out),
        cmocka_unit_test(nothing_found_is_zero),
        cmocka_unit_test(a_real_sequence_has_trackevals_scores),
        cmocka_unit_test(bad_input_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

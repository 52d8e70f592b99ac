#include "eval/coco_ap.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#define THRESHOLDS     10
#define RECALL_POINTS  101
#define MAX_DETECTIONS 100 /* for each image and category */
#define INDEX_AP50     0
#define INDEX_AP75     5

/* numpy.linspace(0.5, 0.95, 10) to the bit: the ninth is one unit below 0.9. */
static const double iou_thresholds[THRESHOLDS] = {
    0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.8999999999999999, 0.95};

/* One kept detection; bit i of the masks belongs to iou_thresholds[i]. */
typedef struct match {
    double score;
    size_t order; /* place among equals: images by index, then falling score */
    uint16_t matched;
    uint16_t ignored; /* matched to a crowd: neither right nor wrong */
} match;

typedef struct evaluation {
    const nx_coco_truth **truths;   /* by category, image, crowds last, place */
    const nx_coco_result **results; /* by category, image, falling score, place */
    size_t truth_count;
    size_t result_count;

    double *ious;    /* of one detection with each truth of its image and category */
    uint16_t *taken; /* thresholds at which each of those truths has its detection */

    match *matches; /* the current category's */
    size_t match_count;
    double *precision; /* of the current category at one threshold, by rank */
    double *recall;
} evaluation;

static void evaluation_free(evaluation *e)
{
    free(e->truths);
    free(e->results);
    free(e->ious);
    free(e->taken);
    free(e->matches);
    free(e->precision);
    free(e->recall);
}

/* ---- input --------------------------------------------------------------------------------- */

static nx_status check_entry(const char *what, size_t index, int32_t image, int32_t image_count,
                             int32_t category, int32_t category_count, const nx_coco_box *box,
                             nx_error *err)
{
    if (image < 0 || image >= image_count) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "%s %zu names image index %" PRId32 ", but there are %" PRId32
                            " images",
                            what, index, image, image_count);
    }
    if (category < 0 || category >= category_count) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "%s %zu names category index %" PRId32 ", but there are %" PRId32
                            " categories",
                            what, index, category, category_count);
    }
    if (!isfinite(box->x) || !isfinite(box->y) || !isfinite(box->width) || !isfinite(box->height)) {
        return nx_error_set(err, NX_ERR_INVALID, "%s %zu has a box that is not finite", what,
                            index);
    }
    return NX_OK;
}

static int compare_truths(const void *left, const void *right)
{
    const nx_coco_truth *a = *(const nx_coco_truth *const *)left;
    const nx_coco_truth *b = *(const nx_coco_truth *const *)right;
    if (a->category != b->category) {
        return a->category < b->category ? -1 : 1;
    }
    if (a->image != b->image) {
        return a->image < b->image ? -1 : 1;
    }
    if (a->crowd != b->crowd) {
        return a->crowd ? 1 : -1;
    }
    return a < b ? -1 : a > b;
}

static int compare_results(const void *left, const void *right)
{
    const nx_coco_result *a = *(const nx_coco_result *const *)left;
    const nx_coco_result *b = *(const nx_coco_result *const *)right;
    if (a->category != b->category) {
        return a->category < b->category ? -1 : 1;
    }
    if (a->image != b->image) {
        return a->image < b->image ? -1 : 1;
    }
    if (a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a < b ? -1 : a > b;
}

/* Where the truths of one image and category end. */
static size_t truths_end(const evaluation *e, size_t begin, int32_t category, int32_t image)
{
    size_t end = begin;
    while (end < e->truth_count && e->truths[end]->category == category &&
           e->truths[end]->image == image) {
        end++;
    }
    return end;
}

static size_t results_end(const evaluation *e, size_t begin, int32_t category, int32_t image)
{
    size_t end = begin;
    while (end < e->result_count && e->results[end]->category == category &&
           e->results[end]->image == image) {
        end++;
    }
    return end;
}

static size_t largest_truth_group(const evaluation *e)
{
    size_t largest = 0;
    for (size_t begin = 0; begin < e->truth_count;) {
        size_t end = truths_end(e, begin, e->truths[begin]->category, e->truths[begin]->image);
        largest = end - begin > largest ? end - begin : largest;
        begin = end;
    }
    return largest;
}

static nx_status no_memory(nx_error *err)
{
    return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to evaluate the detections");
}

static nx_status take_truths(evaluation *e, const nx_coco_truth *truths, int32_t image_count,
                             int32_t category_count, nx_error *err)
{
    e->truths = calloc(e->truth_count + 1, sizeof(const nx_coco_truth *));
    if (e->truths == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < e->truth_count; i++) {
        const nx_coco_truth *t = &truths[i];
        nx_status status = check_entry("truth", i, t->image, image_count, t->category,
                                       category_count, &t->box, err);
        if (status != NX_OK) {
            return status;
        }
        e->truths[i] = t;
    }
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is sorted */
    qsort(e->truths, e->truth_count, sizeof e->truths[0], compare_truths);
    size_t group = largest_truth_group(e);
    e->ious = calloc(group + 1, sizeof *e->ious);
    e->taken = calloc(group + 1, sizeof *e->taken);
    return e->ious != NULL && e->taken != NULL ? NX_OK : no_memory(err);
}

static nx_status take_results(evaluation *e, const nx_coco_result *results, int32_t image_count,
                              int32_t category_count, nx_error *err)
{
    e->results = calloc(e->result_count + 1, sizeof(const nx_coco_result *));
    e->matches = calloc(e->result_count + 1, sizeof *e->matches);
    e->precision = calloc(e->result_count + 1, sizeof *e->precision);
    e->recall = calloc(e->result_count + 1, sizeof *e->recall);
    if (e->results == NULL || e->matches == NULL || e->precision == NULL || e->recall == NULL) {
        return no_memory(err);
    }
    for (size_t i = 0; i < e->result_count; i++) {
        const nx_coco_result *r = &results[i];
        nx_status status = check_entry("result", i, r->image, image_count, r->category,
                                       category_count, &r->box, err);
        if (status != NX_OK) {
            return status;
        }
        if (!isfinite(r->score)) {
            return nx_error_set(err, NX_ERR_INVALID, "result %zu has a score that is not finite",
                                i);
        }
        e->results[i] = r;
    }
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what is sorted */
    qsort(e->results, e->result_count, sizeof e->results[0], compare_results);
    return NX_OK;
}

/* ---- matching ------------------------------------------------------------------------------ */

/* Intersection over union; over the detection's own area for a crowd, which may hold many. */
static double overlap(const nx_coco_box *d, const nx_coco_truth *truth)
{
    const nx_coco_box *t = &truth->box;
    double width = fmin(d->x + d->width, t->x + t->width) - fmax(d->x, t->x);
    double height = fmin(d->y + d->height, t->y + t->height) - fmax(d->y, t->y);
    if (width <= 0 || height <= 0) {
        return 0;
    }
    double common = width * height;
    double area = d->width * d->height;
    return common / (truth->crowd ? area : area + t->width * t->height - common);
}

/*
 * The truth that a detection takes at one threshold: the free one that it overlaps best, the last
 * one among equals; a crowd (never used up) only when there is no other. SIZE_MAX for none.
 */
static size_t best_truth(const evaluation *e, const nx_coco_truth *const *truths, size_t count,
                         size_t threshold)
{
    size_t best = SIZE_MAX;
    double iou = iou_thresholds[threshold];
    for (size_t i = 0; i < count; i++) {
        bool crowd = truths[i]->crowd;
        if (!crowd && (e->taken[i] >> threshold & 1) != 0) {
            continue;
        }
        if (crowd && best != SIZE_MAX && !truths[best]->crowd) {
            break;
        }
        if (e->ious[i] >= iou) {
            iou = e->ious[i];
            best = i;
        }
    }
    return best;
}

/* Matches one image's detections, best first, with its truths of the same category. */
static void match_image(evaluation *e, const nx_coco_truth *const *truths, size_t truth_count,
                        const nx_coco_result *const *results, size_t result_count)
{
    for (size_t i = 0; i < truth_count; i++) {
        e->taken[i] = 0;
    }
    for (size_t r = 0; r < result_count; r++) {
        match *m = &e->matches[e->match_count];
        *m = (match){.score = results[r]->score, .order = e->match_count};
        e->match_count++;
        for (size_t i = 0; i < truth_count; i++) {
            e->ious[i] = overlap(&results[r]->box, truths[i]);
        }
        for (size_t t = 0; t < THRESHOLDS; t++) {
            size_t best = best_truth(e, truths, truth_count, t);
            if (best != SIZE_MAX) {
                uint16_t bit = (uint16_t)(1u << t);
                e->taken[best] |= bit;
                m->matched |= bit;
                m->ignored |= truths[best]->crowd ? bit : 0;
            }
        }
    }
}

/* ---- average precision --------------------------------------------------------------------- */

static int compare_matches(const void *left, const void *right)
{
    const match *a = left;
    const match *b = right;
    if (a->score != b->score) {
        return a->score > b->score ? -1 : 1;
    }
    return a->order < b->order ? -1 : a->order > b->order;
}

/* Area under the monotone precision-recall curve of the ranked matches, at 101 points of recall. */
static double average_precision(evaluation *e, size_t truths, size_t threshold)
{
    double right = 0;
    double wrong = 0;
    for (size_t i = 0; i < e->match_count; i++) {
        bool ignored = (e->matches[i].ignored >> threshold & 1) != 0;
        bool matched = (e->matches[i].matched >> threshold & 1) != 0;
        right += !ignored && matched;
        wrong += !ignored && !matched;
        e->recall[i] = right / (double)truths;
        e->precision[i] = right / (wrong + right + DBL_EPSILON);
    }
    for (size_t i = e->match_count; i > 1; i--) {
        e->precision[i - 2] = fmax(e->precision[i - 2], e->precision[i - 1]);
    }
    double sum = 0;
    size_t rank = 0;
    for (int point = 0; point < RECALL_POINTS; point++) {
        while (rank < e->match_count && e->recall[rank] < point * 0.01) {
            rank++;
        }
        sum += rank < e->match_count ? e->precision[rank] : 0;
    }
    return sum / RECALL_POINTS;
}

static nx_coco_ap rate_category(evaluation *e, size_t truths)
{
    nx_coco_ap ap = {-1, -1, -1, truths, e->match_count};
    if (truths == 0) {
        return ap;
    }
    qsort(e->matches, e->match_count, sizeof *e->matches, compare_matches);
    double sum = 0;
    for (size_t t = 0; t < THRESHOLDS; t++) {
        double value = average_precision(e, truths, t);
        sum += value;
        if (t == INDEX_AP50) {
            ap.ap50 = value;
        } else if (t == INDEX_AP75) {
            ap.ap75 = value;
        }
    }
    ap.ap = sum / THRESHOLDS;
    return ap;
}

/* Evaluates a category whose truths and results begin at *truth and *result, and moves both on. */
static nx_coco_ap evaluate_category(evaluation *e, int32_t category, size_t *truth, size_t *result)
{
    size_t counting = 0;
    e->match_count = 0;
    for (;;) {
        int32_t image = INT32_MAX; /* the next one with either; no index is this large */
        if (*truth < e->truth_count && e->truths[*truth]->category == category) {
            image = e->truths[*truth]->image;
        }
        if (*result < e->result_count && e->results[*result]->category == category &&
            e->results[*result]->image < image) {
            image = e->results[*result]->image;
        }
        if (image == INT32_MAX) {
            return rate_category(e, counting);
        }
        size_t truth_end = truths_end(e, *truth, category, image);
        size_t result_end = results_end(e, *result, category, image);
        size_t kept = result_end - *result < MAX_DETECTIONS ? result_end - *result : MAX_DETECTIONS;
        match_image(e, e->truths + *truth, truth_end - *truth, e->results + *result, kept);
        for (; *truth < truth_end; (*truth)++) {
            counting += !e->truths[*truth]->crowd;
        }
        *result = result_end;
    }
}

/* Means over the categories that have ground truth. */
static nx_coco_ap evaluate_all(evaluation *e, int32_t category_count, nx_coco_ap *per_category)
{
    nx_coco_ap sum = {0};
    size_t rated = 0;
    size_t truth = 0;
    size_t result = 0;
    for (int32_t category = 0; category < category_count; category++) {
        nx_coco_ap ap = evaluate_category(e, category, &truth, &result);
        sum.truths += ap.truths;
        sum.results += ap.results;
        if (ap.truths > 0) {
            rated++;
            sum.ap += ap.ap;
            sum.ap50 += ap.ap50;
            sum.ap75 += ap.ap75;
        }
        if (per_category != NULL) {
            per_category[category] = ap;
        }
    }
    if (rated == 0) {
        return (nx_coco_ap){-1, -1, -1, 0, sum.results};
    }
    sum.ap /= (double)rated;
    sum.ap50 /= (double)rated;
    sum.ap75 /= (double)rated;
    return sum;
}

nx_status nx_coco_evaluate(const nx_coco_truth *truths, size_t truth_count,
                           const nx_coco_result *results, size_t result_count, int32_t image_count,
                           int32_t category_count, nx_coco_ap *overall, nx_coco_ap *per_category,
                           nx_error *err)
{
    evaluation e = {.truth_count = truth_count, .result_count = result_count};
    nx_status status = take_truths(&e, truths, image_count, category_count, err);
    if (status == NX_OK) {
        status = take_results(&e, results, image_count, category_count, err);
    }
    if (status == NX_OK) {
        *overall = evaluate_all(&e, category_count, per_category);
    }
    evaluation_free(&e);
    return status;
}

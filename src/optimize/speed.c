#include "optimize/speed.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>

/* Runs of each of the two threads in a round: so many that their start weighs little. */
#define PAIR_RUNS 2

typedef struct lane {
    const nx_speed *what;
    void *slot;
    size_t runs;
    nx_status status;
    nx_error err;
} lane;

static nx_status read_nothing(const nx_head_output *output, void *user, nx_error *err)
{
    (void)output;
    (void)user;
    (void)err;
    return NX_OK;
}

static void *run_lane(void *user)
{
    lane *l = user;
    for (size_t i = 0; i < l->runs && l->status == NX_OK; i++) {
        l->status = nx_model_run(l->what->model, l->slot, l->what->width, l->what->height,
                                 read_nothing, NULL, &l->err);
    }
    return NULL;
}

/* Nanoseconds of one Run; 0 after an error. */
static double time_one(lane *l)
{
    int64_t start = nx_clock_now_ns();
    l->runs = 1;
    (void)run_lane(l);
    return (double)(nx_clock_now_ns() - start);
}

/* Nanoseconds for each picture with two lanes at once. */
static double time_two(lane *first, lane *second)
{
    pthread_t thread;
    first->runs = PAIR_RUNS;
    second->runs = PAIR_RUNS;
    int64_t start = nx_clock_now_ns();
    if (pthread_create(&thread, NULL, run_lane, second) != 0) {
        first->status = nx_error_set(&first->err, NX_ERR_UNAVAILABLE, "no thread can be started");
        return 0;
    }
    (void)run_lane(first);
    pthread_join(thread, NULL);
    return (double)(nx_clock_now_ns() - start) / (2 * PAIR_RUNS);
}

static int by_size(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return (a > b) - (a < b);
}

static double median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, by_size);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

typedef struct bench {
    lane lanes[NX_SPEED_MAX][2];
    double one[NX_SPEED_MAX][NX_SPEED_MAX_ROUNDS];
    double two[NX_SPEED_MAX][NX_SPEED_MAX_ROUNDS];
} bench;

static nx_status first_error(const lane pair[2], nx_error *err)
{
    for (size_t i = 0; i < 2; i++) {
        if (pair[i].status != NX_OK) {
            nx_error_set(err, pair[i].status, "%s", pair[i].err.message);
            return pair[i].status;
        }
    }
    return NX_OK;
}

/* Round 0 warms up and is not counted. */
static nx_status run_rounds(bench *b, size_t count, size_t rounds, nx_error *err)
{
    for (size_t round = 0; round <= rounds; round++) {
        for (size_t i = 0; i < count; i++) {
            lane *pair = b->lanes[i];
            double one = time_one(&pair[0]);
            double two = time_two(&pair[0], &pair[1]);
            nx_status status = first_error(pair, err);
            if (status != NX_OK) {
                return status;
            }
            if (round > 0) {
                b->one[i][round - 1] = one;
                b->two[i][round - 1] = two;
            }
        }
    }
    return NX_OK;
}

static nx_status make_lanes(bench *b, const nx_speed *cases, size_t count, nx_error *err)
{
    for (size_t i = 0; i < count; i++) {
        size_t bytes = nx_model_slot_bytes(cases[i].model, cases[i].width, cases[i].height);
        for (size_t k = 0; k < 2; k++) {
            b->lanes[i][k] = (lane){
                .what = &cases[i],
                .slot = aligned_alloc(64, (bytes + 63) / 64 * 64),
            };
            if (b->lanes[i][k].slot == NULL) {
                return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to measure");
            }
            nx_model_fill_gray(cases[i].model, b->lanes[i][k].slot, 1, cases[i].width,
                               cases[i].height);
        }
    }
    return NX_OK;
}

nx_status nx_speed_measure(nx_speed *cases, size_t count, size_t rounds, nx_error *err)
{
    bench *b = calloc(1, sizeof *b);
    if (b == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to measure");
    }
    count = count < NX_SPEED_MAX ? count : NX_SPEED_MAX;
    rounds = rounds < 1 ? 1 : rounds < NX_SPEED_MAX_ROUNDS ? rounds : NX_SPEED_MAX_ROUNDS;
    nx_status status = make_lanes(b, cases, count, err);
    if (status == NX_OK) {
        status = run_rounds(b, count, rounds, err);
    }
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        cases[i].run_ms = median(b->one[i], rounds) / 1e6;
        cases[i].per_second = 1e9 / median(b->two[i], rounds);
    }
    for (size_t i = 0; i < count; i++) {
        free(b->lanes[i][0].slot);
        free(b->lanes[i][1].slot);
    }
    free(b);
    return status;
}

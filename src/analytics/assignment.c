#include "analytics/assignment.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

/*
 * Each row has one more column of its own behind the real ones, which costs the gate: the row stays
 * alone. So every row finds a column, and the matrix need not be square.
 */
typedef struct problem {
    const double *cost;
    size_t rows, columns;
    double gate;
    double *u;        /* by row: dual variables */
    double *v;        /* by column */
    double *shortest; /* by column: the shortest path to it that is known */
    int32_t *path;    /* by column: the row before it on that path */
    int32_t *row_of;  /* by column: the row that has it */
    int32_t *column_of;
    bool *row_seen;
    bool *column_seen;
} problem;

static double pair_cost(const problem *p, size_t row, size_t column)
{
    if (column >= p->columns) {
        return column - p->columns == row ? p->gate : INFINITY;
    }
    double cost = p->cost[row * p->columns + column];
    return cost < p->gate ? cost : INFINITY;
}

static void relax(problem *p, size_t row, size_t column, double so_far)
{
    double length = so_far + pair_cost(p, row, column) - p->u[row] - p->v[column];
    if (length < p->shortest[column]) {
        p->shortest[column] = length;
        p->path[column] = (int32_t)row;
    }
}

/* The unseen column with the shortest path; among equals a free one, then the first. */
static size_t nearest(const problem *p)
{
    size_t best = SIZE_MAX;
    for (size_t j = 0; j < p->columns + p->rows; j++) {
        if (!p->column_seen[j] && p->shortest[j] < INFINITY &&
            (best == SIZE_MAX || p->shortest[j] < p->shortest[best] ||
             (p->shortest[j] <= p->shortest[best] && p->row_of[j] < 0 && p->row_of[best] >= 0))) {
            best = j;
        }
    }
    return best;
}

/* The free column at the end of the shortest augmenting path from a row; *length is the path's. */
static size_t shortest_path(problem *p, size_t start, double *length)
{
    size_t all = p->columns + p->rows;
    size_t row = start;
    *length = 0;
    for (size_t i = 0; i < p->rows; i++) {
        p->row_seen[i] = false;
    }
    for (size_t j = 0; j < all; j++) {
        p->column_seen[j] = false;
        p->shortest[j] = INFINITY;
        p->path[j] = -1;
    }
    for (;;) {
        p->row_seen[row] = true;
        for (size_t j = 0; j < p->columns; j++) {
            if (!p->column_seen[j]) {
                relax(p, row, j, *length);
            }
        }
        relax(p, row, p->columns + row, *length);
        size_t column = nearest(p); /* the row's own, at the worst */
        *length = p->shortest[column];
        p->column_seen[column] = true;
        if (p->row_of[column] < 0) {
            return column;
        }
        row = (size_t)p->row_of[column];
    }
}

static void add_row(problem *p, size_t start)
{
    double length = 0;
    size_t column = shortest_path(p, start, &length);
    for (size_t i = 0; i < p->rows; i++) { /* keeps reduced costs from becoming negative */
        if (p->row_seen[i]) {
            p->u[i] += i == start ? length : length - p->shortest[p->column_of[i]];
        }
    }
    for (size_t j = 0; j < p->columns + p->rows; j++) {
        if (p->column_seen[j]) {
            p->v[j] -= length - p->shortest[j];
        }
    }
    for (;;) { /* backwards, each row takes the column that the path reached from it */
        size_t row = (size_t)p->path[column];
        int32_t before = p->column_of[row];
        p->row_of[column] = (int32_t)row;
        p->column_of[row] = (int32_t)column;
        if (row == start) {
            return;
        }
        column = (size_t)before;
    }
}

static void free_problem(problem *p)
{
    free(p->u);
    free(p->v);
    free(p->shortest);
    free(p->path);
    free(p->row_of);
    free(p->column_of);
    free(p->row_seen);
    free(p->column_seen);
}

static bool make_problem(problem *p)
{
    size_t all = p->columns + p->rows;
    p->u = calloc(p->rows, sizeof *p->u);
    p->v = calloc(all, sizeof *p->v);
    p->shortest = calloc(all, sizeof *p->shortest);
    p->path = calloc(all, sizeof *p->path);
    p->row_of = calloc(all, sizeof *p->row_of);
    p->column_of = calloc(p->rows, sizeof *p->column_of);
    p->row_seen = calloc(p->rows, sizeof *p->row_seen);
    p->column_seen = calloc(all, sizeof *p->column_seen);
    bool enough = p->u != NULL && p->v != NULL && p->shortest != NULL && p->path != NULL &&
                  p->row_of != NULL && p->column_of != NULL && p->row_seen != NULL &&
                  p->column_seen != NULL;
    for (size_t j = 0; enough && j < all; j++) {
        p->row_of[j] = -1;
    }
    for (size_t i = 0; enough && i < p->rows; i++) {
        p->column_of[i] = -1;
    }
    return enough;
}

static nx_status check(const double *cost, size_t rows, size_t columns, double gate, nx_error *err)
{
    if (rows > NX_ASSIGN_MAX || columns > NX_ASSIGN_MAX) {
        return nx_error_set(err, NX_ERR_TOO_LARGE,
                            "cannot assign %zu to %zu: the most on either side is %d", rows,
                            columns, NX_ASSIGN_MAX);
    }
    if (!isfinite(gate)) {
        return nx_error_set(err, NX_ERR_INVALID, "the gate of an assignment must be finite");
    }
    for (size_t i = 0; i < rows * columns; i++) {
        if (isinf(cost[i]) && cost[i] < 0) {
            return nx_error_set(err, NX_ERR_INVALID, "a cost of an assignment is minus infinity");
        }
    }
    return NX_OK;
}

nx_status nx_assign(const double *cost, size_t rows, size_t columns, double gate,
                    int32_t *out_columns, nx_error *err)
{
    nx_status status = check(cost, rows, columns, gate, err);
    if (status != NX_OK || rows == 0) {
        return status;
    }
    problem p = {.cost = cost, .rows = rows, .columns = columns, .gate = gate};
    if (!make_problem(&p)) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory to assign %zu to %zu", rows,
                              columns);
        goto done;
    }
    for (size_t i = 0; i < rows; i++) {
        add_row(&p, i);
    }
    for (size_t i = 0; i < rows; i++) {
        bool real = (size_t)p.column_of[i] < columns;
        out_columns[i] = real ? p.column_of[i] : NX_ASSIGN_NONE;
    }
done:
    free_problem(&p);
    return status;
}

/*
 * The optimal assignment of rows to columns by shortest augmenting paths (Jonker and Volgenant, "A
 * shortest augmenting path algorithm for dense and sparse linear assignment problems", 1987), in
 * the form for rectangular matrices (Crouse, "On implementing 2D rectangular assignment
 * algorithms", 2016), with a gate: a row may also stay alone, which costs as much as the gate.
 *
 * Pure functions on memory; thread-safe; the same input always gives the same output.
 */
#ifndef NX_ANALYTICS_ASSIGNMENT_H
#define NX_ANALYTICS_ASSIGNMENT_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define NX_ASSIGN_MAX 2048 /* rows, and columns */

/* A row that has no column. */
#define NX_ASSIGN_NONE (-1)

/*
 * cost: rows * columns, row by row. Pairs of a cost below `gate` may be made (so NAN and INFINITY
 * forbid a pair); of all choices, that with the least sum of cost - gate over its pairs is made.
 * out_columns: for each row its column, or NX_ASSIGN_NONE.
 * Errors: NX_ERR_TOO_LARGE (beyond NX_ASSIGN_MAX), NX_ERR_INVALID (a gate that is not finite, a
 * cost of -INFINITY), NX_ERR_NO_MEMORY.
 */
nx_status nx_assign(const double *cost, size_t rows, size_t columns, double gate,
                    int32_t *out_columns, nx_error *err);

#endif

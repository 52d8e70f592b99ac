/* Models for GPUs with fast binary16 arithmetic. */
#ifndef NX_OPTIMIZE_TO_HALF_H
#define NX_OPTIMIZE_TO_HALF_H

#include "optimize/graph.h"

/*
 * Makes weights, values between layers and the input float16. The outputs are cast back to float32,
 * so that boxes are decoded from them in full precision; a Softmax inside works in float32, too.
 * Errors: NX_ERR_UNSUPPORTED (a node that fixes a type; a weight too large for float16),
 * NX_ERR_NO_MEMORY.
 */
nx_status nx_graph_to_half(nx_graph *graph, nx_error *err);

#endif

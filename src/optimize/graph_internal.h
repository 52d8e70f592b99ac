/* What the files of graph.h share. Not for passes. */
#ifndef NX_OPTIMIZE_GRAPH_INTERNAL_H
#define NX_OPTIMIZE_GRAPH_INTERNAL_H

#include "base/arena.h"
#include "optimize/graph.h"

struct nx_graph {
    nx_arena arena;
    const char *name;
    Onnx__ModelProto *model;
    size_t node_room; /* of the arrays that editing made; 0 while they are protobuf-c's */
    size_t initializer_room;
};

/* Whether a tensor has its data, of a known type and as many as its shape says. Errors:
 * NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED. */
nx_status nx_graph_check_tensor(const nx_graph *self, const Onnx__TensorProto *tensor,
                                nx_error *err);

/* Constant nodes become initializers, Identity nodes go. Errors: NX_ERR_NO_MEMORY,
 * NX_ERR_UNSUPPORTED (a Constant that is no tensor). */
nx_status nx_graph_normalise(nx_graph *graph, nx_error *err);

#endif

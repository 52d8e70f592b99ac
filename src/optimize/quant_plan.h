/*
 * A cut detector seen as the few kinds of layers that are quantised, and which of its values share
 * one scale: what only moves values about (a Concat, a pooling, an upsampling, a slice of channels)
 * has the same numbers on both sides, so the inputs of a Concat share theirs.
 */
#ifndef NX_OPTIMIZE_QUANT_PLAN_H
#define NX_OPTIMIZE_QUANT_PLAN_H

#include "optimize/graph_index.h"

typedef enum nx_quant_kind {
    NX_QUANT_CONV,     /* with SiLU behind it or without */
    NX_QUANT_FINAL,    /* a 1x1 convolution whose output is one of the graph: stays float */
    NX_QUANT_ADD,      /* of two */
    NX_QUANT_CONCAT,   /* by channel */
    NX_QUANT_PART,     /* some channels of a value */
    NX_QUANT_POOL,     /* MaxPool */
    NX_QUANT_UPSAMPLE, /* nearest, by 2 */
} nx_quant_kind;

typedef struct nx_quant_layer {
    nx_quant_kind kind;
    size_t node;        /* in the graph */
    nx_value inputs[2]; /* data inputs; a CONCAT's are those of its node */
    nx_value output;
    /* CONV and FINAL */
    nx_value before; /* what the convolution gives; the output, too, when no SiLU follows */
    bool silu;
    const Onnx__TensorProto *weights;
    const Onnx__TensorProto *bias; /* or NULL */
    /* PART */
    int64_t start, end;
} nx_quant_layer;

typedef struct nx_quant_plan {
    nx_graph *graph; /* borrowed; unchanged while the plan lives */
    nx_graph_index index;
    nx_quant_layer *layers; /* in an order in which they can run */
    size_t layer_count;
    nx_value *groups;  /* by value: the value that stands for all that share its scale */
    int64_t *channels; /* by value; 0 for what is no layer's input or output */
    nx_value input;    /* the picture */
} nx_quant_plan;

/*
 * graph: cut (nx_head_cut), and free in size. Errors: NX_ERR_UNSUPPORTED with the first node that
 * is none of the kinds, NX_ERR_NO_MEMORY. out is to be freed whatever is returned.
 */
nx_status nx_quant_plan_make(nx_graph *graph, nx_quant_plan *out, nx_error *err);
void nx_quant_plan_free(nx_quant_plan *plan);

/* The value that stands for the group of a value. */
nx_value nx_quant_plan_group(const nx_quant_plan *plan, nx_value value);

#endif

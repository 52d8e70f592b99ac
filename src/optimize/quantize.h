/*
 * A quantised detector written out as ONNX Runtime runs it fastest: channels last throughout,
 * com.microsoft's QLinearConv, QLinearAdd and NhwcMaxPool, and SiLU and the upsampling as the
 * operators of engine/custom_ops.h. The last 1x1 convolutions stay float32.
 */
#ifndef NX_OPTIMIZE_QUANTIZE_H
#define NX_OPTIMIZE_QUANTIZE_H

#include "optimize/head_cut.h"
#include "optimize/quant_plan.h"
#include "optimize/quant_weights.h"
#include "optimize/ranges.h"

/* What calibration found; arrays by value of the plan (groups) and by layer (before SiLU). */
typedef struct nx_quant_ranges {
    nx_quant_range *groups; /* at the value that stands for the group */
    nx_quant_range *before; /* CONV with SiLU only */
} nx_quant_ranges;

/*
 * Chooses every range from histograms by layer: of what a CONV gives before SiLU, and of what an
 * ADD gives; the others are not read. Errors: NX_ERR_NO_MEMORY. Release with nx_quant_ranges_free.
 */
nx_status nx_quant_ranges_choose(const nx_quant_plan *plan, const nx_histogram *histograms,
                                 nx_quant_ranges *out, nx_error *err);
void nx_quant_ranges_free(nx_quant_ranges *ranges);

/*
 * The quantised model: input u8 [batch,height,width,3], outputs float32 channels last. The plan's
 * graph is left as it is. Errors: NX_ERR_NO_MEMORY.
 */
nx_status nx_quantize_graph(const nx_quant_plan *plan, const nx_split_head *head,
                            const nx_quant_ranges *ranges, nx_weight_form form, nx_graph **out,
                            nx_error *err);

#endif

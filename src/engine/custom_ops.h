/*
 * Operators that ONNX has not and quantised detectors need, in the domain "ai.nexus", version 1:
 *
 * - TableU8 (X uint8 of any shape, T uint8[256]) -> Y uint8 of X's shape, Y = T[X]. Any function of
 *   one quantised number, such as SiLU with its rescaling: as ONNX operators it is two passes and
 *   much arithmetic.
 * - UpsampleNearest2xU8 (X uint8 [N,H,W,C]) -> Y uint8 [N,2H,2W,C], each pixel four times. ONNX
 *   Runtime's own Resize has a fast path for channels first alone.
 *
 * An input of another type or shape ends the Run with a message.
 */
#ifndef NX_ENGINE_CUSTOM_OPS_H
#define NX_ENGINE_CUSTOM_OPS_H

#include "base/error.h"

#include <onnxruntime_c_api.h>

#define NX_CUSTOM_OPS_DOMAIN "ai.nexus"

typedef struct nx_custom_ops nx_custom_ops;

/* api is borrowed. Free it only after every session that was opened with its domain.
 * Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE with ONNX Runtime's words. */
nx_status nx_custom_ops_new(const OrtApi *api, nx_custom_ops **out, nx_error *err);
void nx_custom_ops_free(nx_custom_ops *ops);

/* What OrtApi.AddCustomOpDomain takes, any number of times, from any thread. */
OrtCustomOpDomain *nx_custom_ops_domain(nx_custom_ops *ops);

#endif

/*
 * Memory for ONNX Runtime: a cache of large blocks that can be given back.
 *
 * A Run asks for the same few big blocks every time. ONNX Runtime's own arena keeps them for ever
 * (126 MB after two parallel yolov8n Runs), and plain malloc maps and faults them in anew each time
 * (10 % slower). This keeps freed blocks for the next Run of the same shape and gives them all back
 * when the engine is idle (50 MB). Thread-safe behind one lock, held for a list walk.
 */
#ifndef NX_ENGINE_ALLOCATOR_H
#define NX_ENGINE_ALLOCATOR_H

#include "base/error.h"

#include <onnxruntime_c_api.h>
#include <stddef.h>

typedef struct nx_allocator nx_allocator;

/* api is borrowed. Free it only after every session and the environment. */
nx_status nx_allocator_new(const OrtApi *api, nx_allocator **out, nx_error *err);
void nx_allocator_free(nx_allocator *allocator);

/* What OrtApi.RegisterAllocator takes. */
OrtAllocator *nx_allocator_ort(nx_allocator *allocator);

/* Frees every cached block. */
void nx_allocator_trim(nx_allocator *allocator);

#endif

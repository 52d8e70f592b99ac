/*
 * What the engine runs batches on: a model seen from the batcher, and nothing of ONNX Runtime. A
 * detector gives its own (nx_model_backend), tests give a fake one.
 */
#ifndef NX_ENGINE_BACKEND_H
#define NX_ENGINE_BACKEND_H

#include "base/error.h"
#include "engine/tensor.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `count` pictures of one size, one behind the other in `data` (64-byte aligned). */
typedef struct nx_batch {
    void *data;
    uint32_t count;
    uint32_t width; /* of the model input, in pixels */
    uint32_t height;
    /* Nothing else waits or runs: the backend may spend every core on this one (intra-op threads).
     */
    bool alone;
} nx_batch;

/* Reads the outputs in place; dimension 0 of each is the batch. The view ends when it returns. */
typedef nx_status (*nx_batch_read)(const nx_tensor *outputs, size_t count, void *user,
                                   nx_error *err);

typedef struct nx_backend {
    void *self;
    const char *name; /* of the model, for metrics; lives as long as the backend; or NULL */
    /* Pictures that one Run takes; 1 for a model of fixed batch 1. */
    uint32_t max_batch;
    /* Pictures in one Run that give the most a second, as measured; 0: 1. */
    uint32_t best_batch;
    /* Bytes of one picture's input at this size. */
    size_t (*slot_bytes)(void *self, uint32_t width, uint32_t height);
    /* Any number of calls at once. Errors: NX_ERR_INTERNAL in the model's words; what read says. */
    nx_status (*run)(void *self, const nx_batch *batch, nx_batch_read read, void *user,
                     nx_error *err);
    /* Memory for batches that this backend reads fastest, 64-byte aligned, which may outlive it;
     * any other works too. allocate gives NULL without memory. Both NULL: ordinary memory. Any
     * thread; the engine may hold its lock meanwhile, so they must not call it.
     */
    void *(*allocate)(void *self, size_t bytes);
    void (*release)(void *memory);
} nx_backend;

#endif

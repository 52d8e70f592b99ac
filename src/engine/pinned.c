#include "engine/session_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#define ALIGNMENT 64

struct nx_pinned {
    const OrtApi *api;
    OrtMemoryInfo *info;
    OrtAllocator *allocator;
    /* The session and each block: a batch's memory may outlive the model that it was made for. */
    atomic_uint references;
};

/* Stands in front of each block; as large as the alignment. */
typedef struct block {
    nx_pinned *owner; /* NULL: ordinary memory */
    char padding[ALIGNMENT - sizeof(nx_pinned *)];
} block;

nx_status nx_pinned_new(const nx_runtime *runtime, const OrtSession *session, nx_pinned **out,
                        nx_error *err)
{
    *out = NULL;
    const OrtApi *api = runtime->api;
    nx_pinned *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a model");
    }
    self->api = api;
    atomic_init(&self->references, 1);
    OrtStatus *failure = api->CreateMemoryInfo("CudaPinned", OrtDeviceAllocator, 0,
                                               OrtMemTypeCPUOutput, &self->info);
    if (failure == NULL) {
        failure = api->CreateAllocator(session, self->info, &self->allocator);
    }
    nx_status status = nx_runtime_check(runtime, failure, NX_ERR_UNAVAILABLE,
                                        "ONNX Runtime gives no pinned memory", err);
    if (status != NX_OK) {
        nx_pinned_release(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_pinned_release(nx_pinned *pinned)
{
    if (pinned == NULL || atomic_fetch_sub(&pinned->references, 1) != 1) {
        return;
    }
    if (pinned->allocator != NULL) {
        pinned->api->ReleaseAllocator(pinned->allocator);
    }
    if (pinned->info != NULL) {
        pinned->api->ReleaseMemoryInfo(pinned->info);
    }
    free(pinned);
}

const OrtMemoryInfo *nx_pinned_info(const nx_pinned *pinned)
{
    return pinned->info;
}

static void *allocate_pinned(nx_pinned *pinned, size_t bytes)
{
    void *memory = NULL;
    OrtStatus *failure = pinned->api->AllocatorAlloc(pinned->allocator, bytes, &memory);
    if (failure != NULL) {
        pinned->api->ReleaseStatus(failure);
        return NULL;
    }
    if (memory != NULL) {
        atomic_fetch_add(&pinned->references, 1);
    }
    return memory;
}

void *nx_session_allocate(nx_session *session, size_t bytes)
{
    size_t whole = 0;
    void *memory = NULL;
    if (__builtin_add_overflow(bytes, sizeof(block), &whole)) {
        return NULL;
    }
    if (session->pinned != NULL) {
        memory = allocate_pinned(session->pinned, whole);
    } else if (posix_memalign(&memory, ALIGNMENT, whole) != 0) {
        return NULL;
    }
    if (memory == NULL) {
        return NULL;
    }
    block *got = memory;
    got->owner = session->pinned;
    return got + 1;
}

void nx_session_release(void *memory)
{
    if (memory == NULL) {
        return;
    }
    block *given = (block *)memory - 1;
    nx_pinned *owner = given->owner;
    if (owner == NULL) {
        free(given);
        return;
    }
    OrtStatus *failure = owner->api->AllocatorFree(owner->allocator, given);
    if (failure != NULL) {
        owner->api->ReleaseStatus(failure);
    }
    nx_pinned_release(owner);
}

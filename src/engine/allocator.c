#include "engine/allocator.h"

#include <pthread.h>
#include <stdlib.h>

/* Smaller blocks go to malloc, which handles them well. */
#define CACHE_FROM ((size_t)64 * 1024)
/* The most that is cached. Beyond it the cache starts anew: what fills it then are blocks of input
 * sizes that came once and may not come again. */
#define CACHE_LIMIT ((size_t)1024 * 1024 * 1024)
#define ALIGNMENT   64
#define PAGE        4096

/* Stands in front of each block; as large as the alignment. */
typedef struct block {
    struct block *next;
    size_t size; /* of the whole, header included; 0: never cached */
    char padding[ALIGNMENT - sizeof(struct block *) - sizeof(size_t)];
} block;
_Static_assert(sizeof(block) == ALIGNMENT, "the header must keep the alignment");

struct nx_allocator {
    OrtAllocator ort; /* first, so that ONNX Runtime's pointer is ours */
    const OrtApi *api;
    OrtMemoryInfo *info;
    pthread_mutex_t lock; /* guards the two below */
    block *cached;
    size_t cached_bytes;
};

static block *take_cached(nx_allocator *allocator, size_t size)
{
    block *found = NULL;
    pthread_mutex_lock(&allocator->lock);
    for (block **link = &allocator->cached; *link != NULL; link = &(*link)->next) {
        if ((*link)->size == size) {
            found = *link;
            *link = found->next;
            allocator->cached_bytes -= size;
            break;
        }
    }
    pthread_mutex_unlock(&allocator->lock);
    return found;
}

/* Takes the whole cache out; the lock is held. */
static block *take_all(nx_allocator *allocator)
{
    block *list = allocator->cached;
    allocator->cached = NULL;
    allocator->cached_bytes = 0;
    return list;
}

static void free_list(block *list)
{
    while (list != NULL) {
        block *next = list->next;
        free(list);
        list = next;
    }
}

static void *allocate(OrtAllocator *ort, size_t size)
{
    nx_allocator *allocator = (nx_allocator *)ort;
    bool cacheable = size >= CACHE_FROM;
    size_t unit = cacheable ? PAGE : ALIGNMENT;
    size_t whole = 0;
    if (size == 0 || __builtin_add_overflow(size, sizeof(block) + unit - 1, &whole)) {
        return NULL;
    }
    whole = whole / unit * unit;
    block *got = cacheable ? take_cached(allocator, whole) : NULL;
    if (got == NULL) {
        got = aligned_alloc(unit, whole);
        if (got == NULL) {
            return NULL;
        }
        got->size = cacheable ? whole : 0;
    }
    return got + 1;
}

/* For what lives as long as the session (weights): freed straight away when it ends. */
static void *reserve(OrtAllocator *ort, size_t size)
{
    void *bytes = allocate(ort, size);
    if (bytes != NULL) {
        ((block *)bytes - 1)->size = 0;
    }
    return bytes;
}

static void release(OrtAllocator *ort, void *bytes)
{
    nx_allocator *allocator = (nx_allocator *)ort;
    if (bytes == NULL) {
        return;
    }
    block *given = (block *)bytes - 1;
    if (given->size == 0 || given->size > CACHE_LIMIT) {
        free(given);
        return;
    }
    block *stale = NULL;
    pthread_mutex_lock(&allocator->lock);
    if (allocator->cached_bytes + given->size > CACHE_LIMIT) {
        stale = take_all(allocator);
    }
    given->next = allocator->cached;
    allocator->cached = given;
    allocator->cached_bytes += given->size;
    pthread_mutex_unlock(&allocator->lock);
    free_list(stale);
}

static const OrtMemoryInfo *memory_info(const OrtAllocator *ort)
{
    return ((const nx_allocator *)ort)->info;
}

nx_status nx_allocator_new(const OrtApi *api, nx_allocator **out, nx_error *err)
{
    *out = NULL;
    nx_allocator *allocator = calloc(1, sizeof *allocator);
    if (allocator == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the inference engine");
    }
    allocator->api = api;
    allocator->ort = (OrtAllocator){
        .version = ORT_API_VERSION,
        .Alloc = allocate,
        .Free = release,
        .Info = memory_info,
        .Reserve = reserve,
    };
    OrtStatus *failure =
        api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &allocator->info);
    if (failure != NULL) {
        api->ReleaseStatus(failure);
        free(allocator);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the inference engine");
    }
    pthread_mutex_init(&allocator->lock, NULL);
    *out = allocator;
    return NX_OK;
}

void nx_allocator_free(nx_allocator *allocator)
{
    if (allocator == NULL) {
        return;
    }
    nx_allocator_trim(allocator);
    allocator->api->ReleaseMemoryInfo(allocator->info);
    pthread_mutex_destroy(&allocator->lock);
    free(allocator);
}

OrtAllocator *nx_allocator_ort(nx_allocator *allocator)
{
    return &allocator->ort;
}

void nx_allocator_trim(nx_allocator *allocator)
{
    pthread_mutex_lock(&allocator->lock);
    block *list = take_all(allocator);
    pthread_mutex_unlock(&allocator->lock);
    free_list(list);
}

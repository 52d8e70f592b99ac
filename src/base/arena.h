/*
 * Memory for many small pieces that end together: a bump allocator in blocks, with a limit. Not
 * thread-safe; one owner.
 */
#ifndef NX_BASE_ARENA_H
#define NX_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

typedef struct nx_arena_block nx_arena_block;

typedef struct nx_arena {
    nx_arena_block *blocks; /* newest first */
    size_t used;            /* bytes of all blocks */
    size_t limit;           /* no more than this many bytes of blocks */
    bool failed;            /* an allocation was refused: short memory, or the limit */
} nx_arena;

/* limit 0: none. */
nx_arena nx_arena_make(size_t limit);

/* Frees every piece. NULL is fine. */
void nx_arena_free(nx_arena *arena);

/* Uninitialised, 16-byte aligned, never NULL for size 0. NULL (and `failed`) when it is refused. */
void *nx_arena_alloc(nx_arena *arena, size_t size);

/* Zeroed array; the product is checked. */
void *nx_arena_calloc(nx_arena *arena, size_t count, size_t size);

#endif

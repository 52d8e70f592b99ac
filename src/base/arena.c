#include "base/arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ALIGNMENT   16
#define BLOCK_BYTES ((size_t)256 << 10)

struct nx_arena_block {
    nx_arena_block *next;
    size_t size; /* of bytes */
    size_t used;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

nx_arena nx_arena_make(size_t limit)
{
    return (nx_arena){.limit = limit > 0 ? limit : SIZE_MAX};
}

void nx_arena_free(nx_arena *arena)
{
    if (arena == NULL) {
        return;
    }
    for (nx_arena_block *block = arena->blocks; block != NULL;) {
        nx_arena_block *next = block->next;
        free(block);
        block = next;
    }
    *arena = (nx_arena){.limit = arena->limit};
}

/* A block with room for size bytes in front of the others; a large one goes behind the first, which
 * keeps its room. */
static nx_arena_block *add_block(nx_arena *arena, size_t size)
{
    size_t wanted = size > BLOCK_BYTES / 4 ? size : BLOCK_BYTES;
    if (wanted > arena->limit || arena->used > arena->limit - wanted ||
        wanted > SIZE_MAX - sizeof(nx_arena_block)) {
        return NULL;
    }
    nx_arena_block *block = malloc(sizeof *block + wanted);
    if (block == NULL) {
        return NULL;
    }
    block->size = wanted;
    block->used = 0;
    arena->used += wanted;
    if (wanted != BLOCK_BYTES && arena->blocks != NULL) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else {
        block->next = arena->blocks;
        arena->blocks = block;
    }
    return block;
}

void *nx_arena_alloc(nx_arena *arena, size_t size)
{
    nx_arena_block *block = arena->blocks;
    if (size > SIZE_MAX - ALIGNMENT) {
        arena->failed = true;
        return NULL;
    }
    size = size == 0 ? ALIGNMENT : (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (block == NULL || block->size - block->used < size) {
        block = add_block(arena, size);
    }
    if (block == NULL) {
        arena->failed = true;
        return NULL;
    }
    void *piece = block->bytes + block->used;
    block->used += size;
    return piece;
}

void *nx_arena_calloc(nx_arena *arena, size_t count, size_t size)
{
    size_t bytes = 0;
    if (__builtin_mul_overflow(count, size, &bytes)) {
        arena->failed = true;
        return NULL;
    }
    void *piece = nx_arena_alloc(arena, bytes);
    if (piece != NULL) {
        memset(piece, 0, bytes);
    }
    return piece;
}

#include "engine/lane.h"

#include <stdlib.h>
#include <string.h>

bool nx_lane_init(nx_lane *lane, uint32_t limit)
{
    *lane = (nx_lane){.limit = limit, .slots = calloc(limit, sizeof *lane->slots)};
    return lane->slots != NULL;
}

static void free_memory(nx_lane *lane)
{
    if (lane->data != NULL) {
        lane->release(lane->data);
    }
    lane->data = NULL;
    lane->bytes = 0;
}

void nx_lane_free(nx_lane *lane)
{
    free(lane->slots);
    free_memory(lane);
    *lane = (nx_lane){0};
}

/* Makes the memory large enough for every slot; false: there is not so much. */
static bool get_memory(nx_lane *lane)
{
    const nx_backend *backend = lane->backend;
    void (*release)(void *) = backend->release != NULL ? backend->release : free;
    size_t needed = 0;
    void *memory = NULL;
    if (__builtin_mul_overflow(lane->slot_bytes, (size_t)lane->capacity, &needed)) {
        return false;
    }
    if (lane->data != NULL && lane->bytes >= needed && lane->release == release) {
        return true;
    }
    free_memory(lane);
    if (backend->allocate != NULL) {
        memory = backend->allocate(backend->self, needed);
        if (memory == NULL) {
            return false;
        }
    } else if (posix_memalign(&memory, 64, needed > 0 ? needed : 1) != 0) {
        return false;
    }
    lane->data = memory;
    lane->release = release;
    lane->bytes = needed;
    return true;
}

void nx_lane_open(nx_lane *lane, const nx_engine_task *task, uint32_t most)
{
    const nx_backend *backend = task->execute == NULL ? task->backend : NULL;
    *lane = (nx_lane){
        .state = NX_LANE_FORMING,
        .backend = backend,
        .width = task->input_width,
        .height = task->input_height,
        .capacity = 1,
        .slots = lane->slots,
        .limit = lane->limit,
        .data = lane->data,
        .release = lane->release,
        .bytes = lane->bytes,
    };
    if (backend != NULL) {
        lane->capacity = most < lane->limit ? most : lane->limit;
        lane->slot_bytes = backend->slot_bytes(backend->self, lane->width, lane->height);
        lane->capacity = get_memory(lane) ? lane->capacity : 0;
    }
}

uint32_t nx_lane_add(nx_lane *lane, nx_engine_task *task)
{
    uint32_t slot = 0;
    while (slot < lane->used && lane->slots[slot].task != NULL) {
        slot++;
    }
    lane->used += slot == lane->used;
    lane->slots[slot] = (nx_slot){.task = task};
    lane->count++;
    return slot;
}

void nx_lane_drop(nx_lane *lane, uint32_t slot)
{
    lane->slots[slot].task = NULL;
    lane->count--;
    while (lane->used > 0 && lane->slots[lane->used - 1].task == NULL) {
        lane->used--;
    }
}

void *nx_lane_slot(const nx_lane *lane, uint32_t slot)
{
    return lane->data + slot * lane->slot_bytes;
}

void nx_lane_compact(nx_lane *lane)
{
    for (uint32_t hole = 0; hole < lane->count; hole++) {
        if (lane->slots[hole].task == NULL) {
            uint32_t last = lane->used - 1; /* holds a task: holes at the end are cut off */
            memcpy(nx_lane_slot(lane, hole), nx_lane_slot(lane, last), lane->slot_bytes);
            lane->slots[hole] = lane->slots[last];
            nx_lane_drop(lane, last);
            lane->count++; /* it was moved */
        }
    }
}

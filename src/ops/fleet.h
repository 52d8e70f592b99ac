/*
 * One exposition for several processes that serve the same port. Each publishes its metrics in
 * memory that all share, and whoever is asked answers for all: counters add up, also across the end
 * of a process, whose successor goes on with what it had counted (all but the last second, when it
 * was killed).
 *
 * The parent makes the fleet before it forks; a member belongs to one process.
 */
#ifndef NX_OPS_FLEET_H
#define NX_OPS_FLEET_H

#include "base/buffer.h"
#include "base/error.h"
#include "ops/metrics.h"

#include <stdint.h>

typedef struct nx_fleet nx_fleet;
typedef struct nx_fleet_member nx_fleet_member;

/* Shared memory for the metrics of count processes. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_fleet_new(uint32_t count, nx_fleet **out, nx_error *err);
/* In each process that has it, after its member. NULL is fine. */
void nx_fleet_free(nx_fleet *fleet);

/* The parent, when it has seen a process's end: its gauges count no more. expected: it was told to
 * end; otherwise it counts as lost. */
void nx_fleet_lost(nx_fleet *fleet, uint32_t index, bool expected);

/* How many were lost since the start. */
uint64_t nx_fleet_losses(const nx_fleet *fleet);

/* Becomes the index-th (from 0) process and publishes from now on, on a thread: every second, and
 * when another one is asked. render writes this process's metrics; it may be called by that thread
 * and by nx_fleet_render's callers. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE. */
nx_status nx_fleet_join(nx_fleet *fleet, uint32_t index, const nx_metrics *metrics,
                        void (*render)(nx_buffer *out, void *user), void *user,
                        nx_fleet_member **out, nx_error *err);

/* Publishes for the last time and ends. NULL is fine. */
void nx_fleet_leave(nx_fleet_member *member);

/* The sum over all processes as of now. Waits up to wait_ms for the others to publish; of one that
 * does not in time, and with 0, what it published last counts. Thread-safe. */
void nx_fleet_render(nx_fleet_member *member, uint32_t wait_ms, nx_buffer *out);

#endif

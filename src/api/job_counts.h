/*
 * How many jobs there are, who is still to be told what, and when a backup was last made, for
 * whoever must not wait for the database: a thread of its own asks, when somebody wants to know,
 * and what it was told last is there at any time.
 *
 * Thread-safe.
 */
#ifndef NX_API_JOB_COUNTS_H
#define NX_API_JOB_COUNTS_H

#include "store/deliveries.h"
#include "store/jobs.h"

#include <stdint.h>

typedef struct nx_job_counts nx_job_counts;

typedef struct nx_job_census {
    int64_t jobs[NX_JOB_STATE_COUNT]; /* by state; all -1: not counted yet */
    nx_deliveries_waiting deliveries; /* as of then */
    int64_t age_ns;                   /* since they were counted; -1: not counted yet */
    int64_t backup_at;                /* when the last backup was made; 0: never, or not known */
    uint64_t failures;                /* since the start: the database refused, or took too long */
} nx_job_census;

/* The store is borrowed and outlives it. Starts the thread. */
nx_status nx_job_counts_new(nx_store *store, nx_job_counts **out, nx_error *err);
/* Waits for the statement that is on its way. NULL is fine. */
void nx_job_counts_free(nx_job_counts *counts);

/* As of now, when the database answers within wait_ms; else as of the last time. While it owes an
 * answer for longer than that nobody waits. */
nx_job_census nx_job_counts_read(nx_job_counts *counts, uint32_t wait_ms);

/* As of the last time; waits for nobody. */
nx_job_census nx_job_counts_last(nx_job_counts *counts);

#endif

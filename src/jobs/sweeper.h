/*
 * Takes away what nothing refers to any more, jobs that ended longer ago than is to be kept, and
 * events that are older, or more, than that: uploads whose time is over, files that killed
 * processes have left in DATA_DIR/uploads, folders of leases that are none any more in
 * DATA_DIR/jobs, parts of jobs that have ended, and objects that nothing names.
 *
 * What is in use is never touched. Objects are looked up in the database under their rows' locks
 * (store/object_uses.h), a folder stays while the job's lease is the one it is named after, and a
 * file that no row knows stays while it is young. Any number of processes and hosts may sweep one
 * database and one data folder at once.
 */
#ifndef NX_JOBS_SWEEPER_H
#define NX_JOBS_SWEEPER_H

#include "base/config.h"
#include "base/error.h"
#include "store/objects.h"
#include "store/store.h"

#include <stdatomic.h>
#include <stdint.h>

typedef struct nx_sweep_options {
    nx_store *store;     /* borrowed, as all of these */
    nx_objects *objects; /* those of data_dir */
    const char *data_dir;
    int64_t file_ms;     /* how long nobody has written into a file or folder that goes */
    int64_t parts_ms;    /* how long ago a job ended whose parts go: until then it may be tried
                            again from its last checkpoint */
    int64_t job_ms;      /* how long ago a job ended that goes, with its results; 0: none goes */
    int64_t event_ms;    /* how long ago an event happened that goes; 0: none goes */
    int64_t event_bytes; /* what all events may take, with their pictures and clips */
    const atomic_bool *stop; /* true: end soon; NULL: never */
} nx_sweep_options;

/* What the configuration says: an upload's lifetime, at least an hour; a day for parts;
 * what it says of jobs and events. */
nx_sweep_options nx_sweep_options_of(const nx_config *config, nx_store *store, nx_objects *objects,
                                     const char *data_dir);

/* How many of each were taken away. */
typedef struct nx_swept {
    uint64_t uploads; /* whose time was over */
    uint64_t files;   /* in uploads/ */
    uint64_t folders; /* of leases */
    uint64_t jobs;
    uint64_t events;
    uint64_t objects;
} nx_swept;

/* Sweeps once. What one kind fails of does not keep the others: the first error is told at the end.
 * Errors: those of the store and the objects; NX_ERR_IO. */
nx_status nx_sweep(const nx_sweep_options *options, nx_swept *out, nx_error *err);

/* --- again and again --- */

typedef struct nx_sweeper nx_sweeper;

/* Sweeps at once and then each period_ms, on a thread of its own; the options' stop is not looked
 * at. swept (may be NULL) is called there behind each. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE
 * (no thread). */
nx_status nx_sweeper_start(const nx_sweep_options *options, int64_t period_ms,
                           void (*swept)(const nx_swept *what, void *user), void *user,
                           nx_sweeper **out, nx_error *err);

/* Waits for what it is at. NULL is fine. */
void nx_sweeper_stop(nx_sweeper *sweeper);

#endif

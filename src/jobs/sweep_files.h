/* Between sweeper.c and sweep_files.c: what is on this machine's disk. */
#ifndef NX_JOBS_SWEEP_FILES_H
#define NX_JOBS_SWEEP_FILES_H

#include "jobs/sweeper.h"

/* Files in DATA_DIR/uploads that no row of the database knows and nobody writes any more. */
nx_status nx_sweep_upload_files(const nx_sweep_options *options, nx_swept *out, nx_error *err);

/* Folders DATA_DIR/jobs/ID/FENCE whose lease is over. */
nx_status nx_sweep_lease_folders(const nx_sweep_options *options, nx_swept *out, nx_error *err);

#endif

/*
 * States of what is in the database, by which kept answers are valid: as long as a state is the
 * same, so is what it stands for. A change makes it another value by chance, in its own transaction
 * and whoever makes it: triggers do that. So an answer that was made of rows that were read after a
 * state is found under that state for as long as it holds, and never again.
 */
#ifndef NX_STORE_STATES_H
#define NX_STORE_STATES_H

#include "store/store.h"

typedef enum nx_state_of {
    NX_STATE_VIDEOS,       /* no video that was there is another or gone */
    NX_STATE_VIDEOS_ADDED, /* none has come */
    NX_STATE_JOBS_ENDED,   /* no job that had ended is another or gone */
    NX_STATE_COUNT,
} nx_state_of;

#define NX_STATE_SIZE 40 /* with its NUL */

/* Plain data. */
typedef struct nx_states {
    char of[NX_STATE_COUNT][NX_STATE_SIZE];
} nx_states;

/* One small read. Thread-safe; errors: NX_ERR_CORRUPT (one is missing), and as in store.h. */
nx_status nx_store_states(nx_store *store, nx_states *out, nx_error *err);

#endif

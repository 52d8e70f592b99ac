/* Inside src/store: what the files about models share. */
#ifndef NX_STORE_MODELS_ROWS_H
#define NX_STORE_MODELS_ROWS_H

#include "store/db.h"

/* Takes the next generation, which nobody else takes before this transaction ends. */
nx_status nx_models_next_generation(nx_db *db, int64_t *generation, nx_error *err);

/* Notes for whom a job uses its model, in the transaction that enters it; key NULL: none. */
nx_status nx_model_subject_enter(nx_db *db, const char *job, const char *user, const char *key,
                                 nx_error *err);

#endif

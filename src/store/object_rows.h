/* Inside src/store: an object that becomes used, in the transaction that enters what for. */
#ifndef NX_STORE_OBJECT_ROWS_H
#define NX_STORE_OBJECT_ROWS_H

#include "store/db.h"

/* Until the transaction ends nobody begins to take the object away; what names it must be entered
 * in the same. Errors: NX_ERR_BUSY (somebody does already). */
nx_status nx_object_use(nx_db *db, const char *name, nx_error *err);

/* A job's objects, in an order that all transactions have in common. */
nx_status nx_object_use_for_job(nx_db *db, const char *job, const char *const *names, size_t count,
                                bool part, nx_error *err);

/* No part of the job is needed any more, but those that are entered after it. */
nx_status nx_object_forget_parts(nx_db *db, const char *job, nx_error *err);

/* Nor its results. */
nx_status nx_object_forget_results(nx_db *db, const char *job, nx_error *err);

/* The name of every object that something names, those that are only held not among them. */
nx_status nx_object_each_named(nx_db *db, nx_row_fn each, void *user, nx_error *err);

#endif

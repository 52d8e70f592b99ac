/* Inside src/store: what the subjects of accounts share. */
#ifndef NX_STORE_ACCOUNT_ROWS_H
#define NX_STORE_ACCOUNT_ROWS_H

#include "store/users.h"

/* A user's id or name as statements want it: `id = $1 OR lower(name) = $1`. Errors:
 * NX_ERR_NOT_FOUND for what can't be either, which then never reaches the database. */
nx_status nx_user_reference(const char *who, char out[NX_USER_NAME_MAX + 1], nx_error *err);

/* NX_ERR_NOT_FOUND with the name in the message. */
nx_status nx_user_missing(const char *who, nx_error *err);

#endif

/* Inside src/store: the schema, brought up to date migration by migration. */
#ifndef NX_STORE_MIGRATE_H
#define NX_STORE_MIGRATE_H

#include "store/db.h"

/* In a transaction of NX_TX_MIGRATE: applies what is missing. Errors: NX_ERR_UNSUPPORTED (the
 * schema is newer), NX_ERR_CORRUPT (a migration was applied in another form), and what the SQL
 * gives. */
nx_status nx_migrate(nx_db *db, nx_error *err);

/* The same up to that number and no further. */
nx_status nx_migrate_to(nx_db *db, int number, nx_error *err);

/* The number of the last migration that was applied; 0 in a database that has none. Checks as
 * nx_migrate does and changes nothing. schema is also set when the checks fail. */
nx_status nx_migrate_look(nx_db *db, int *schema, nx_error *err);

#endif

/* Inside src/store: one connection to an SQLite database. Not thread-safe; one user at a time. */
#ifndef NX_STORE_SQLITE_CONNECTION_H
#define NX_STORE_SQLITE_CONNECTION_H

#include "store/db.h"

#include <sqlite3.h>

typedef struct nx_lite nx_lite;

typedef enum nx_lite_mode {
    NX_LITE_WRITE, /* makes the file when it is not there */
    NX_LITE_READ,
    NX_LITE_LOOK, /* changes nothing: the file must be there, and stays in the mode that it has */
} nx_lite_mode;

/* timeout_ms: longest wait for a lock that another process holds. */
nx_status nx_lite_open(const char *path, nx_lite_mode mode, int timeout_ms, bool echo,
                       nx_lite **out, nx_error *err);
void nx_lite_close(nx_lite *lite); /* NULL is fine */

nx_db *nx_lite_db(nx_lite *lite);

/* BEGIN [IMMEDIATE]; with full, its COMMIT is on the disk when it returns. */
nx_status nx_lite_begin(nx_lite *lite, bool immediate, bool full, nx_error *err);
nx_status nx_lite_commit(nx_lite *lite, nx_error *err);
void nx_lite_rollback(nx_lite *lite); /* fine when SQLite has rolled back by itself */
/* Whether a transaction is open: some errors (a full disk) end it. */
bool nx_lite_in_transaction(const nx_lite *lite);

/* One statement of those that SQLite always knows: SAVEPOINT and so on. */
nx_status nx_lite_simple(nx_lite *lite, const char *sql, nx_error *err);

/* Whether no other connection to the file is open, in any process; outside a transaction. Errors:
 * NX_ERR_BUSY. */
nx_status nx_lite_alone(nx_lite *lite, nx_error *err);

#endif

/* Inside src/store: the tables that migrations made, as the database describes them. */
#ifndef NX_STORE_CATALOG_H
#define NX_STORE_CATALOG_H

#include "base/buffer.h"
#include "store/db.h"
#include "store/dump.h"

typedef struct nx_catalog {
    nx_dump_table tables[NX_DUMP_MOST_TABLES]; /* after those that they refer to */
    size_t count;
} nx_catalog;

/* Reads them; the caller frees *out with free(). Tables that others keep in the same database are
 * not among them. */
nx_status nx_catalog_read(nx_db *db, nx_catalog **out, nx_error *err);

/* NULL: there is none of that name. */
const nx_dump_table *nx_catalog_find(const nx_catalog *catalog, const char *name);

/* Whether its rows stay behind. */
bool nx_catalog_stays(const char *table);

/* "a", "b", "c" */
void nx_catalog_columns(const nx_dump_table *table, nx_buffer *out);

#endif

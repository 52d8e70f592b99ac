/* Between migrate.c and the file that scripts/embed_sql.py makes of src/store/migrations. */
#ifndef NX_STORE_MIGRATIONS_H
#define NX_STORE_MIGRATIONS_H

#include <stddef.h>

typedef struct nx_migration {
    int number; /* 1, 2, 3, ... */
    const char *name;
    const char *checksum; /* SHA-256 of the file, lower-case hexadecimal digits */
    const char *sql;
} nx_migration;

extern const nx_migration nx_migrations_sqlite[];
extern const nx_migration nx_migrations_postgres[];
extern const size_t nx_migration_count; /* of either */

#endif

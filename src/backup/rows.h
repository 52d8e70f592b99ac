/* The file with the database's rows: lines (backup/lines.h), compressed (zstd, RFC 8878). */
#ifndef NX_BACKUP_ROWS_H
#define NX_BACKUP_ROWS_H

#include "backup/manifest.h"
#include "backup/vault.h"

typedef struct nx_rows_writer nx_rows_writer;

/* Fills the manifest's tables, database_size and database_sha256 as it goes; borrowed. */
nx_status nx_rows_create(nx_vault *vault, const char *path, nx_manifest *manifest,
                         nx_rows_writer **out, nx_error *err);
nx_status nx_rows_put_table(nx_rows_writer *writer, const nx_dump_table *table, nx_error *err);
nx_status nx_rows_put_row(nx_rows_writer *writer, const nx_cell *cells, size_t count,
                          nx_error *err);
/* The file waits for its name. Frees the writer, also on failure. */
nx_status nx_rows_finish(nx_rows_writer *writer, nx_error *err);
void nx_rows_abandon(nx_rows_writer *writer); /* NULL is fine */

/* Takes what is read; either may be NULL. */
typedef struct nx_rows_sink {
    nx_status (*table)(void *user, const nx_dump_table *table, nx_error *err);
    nx_status (*row)(void *user, const nx_cell *cells, size_t count, nx_error *err);
    void *user;
} nx_rows_sink;

/* Reads the whole file, and holds it to what the manifest says of it. Errors: NX_ERR_CORRUPT,
 * NX_ERR_NOT_FOUND, those of the sink. */
nx_status nx_rows_read(nx_vault *vault, const char *path, const nx_manifest *manifest,
                       const nx_rows_sink *sink, nx_error *err);

#endif

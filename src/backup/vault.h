/*
 * The folder that backups are in, as files that are written whole or not at all, and encrypted when
 * a key is given (libsodium's secretstream, XChaCha20-Poly1305: doc.libsodium.org).
 *
 *     nexus-backup.json                    what the folder is, and how its key is made
 *     lock                                 held by whoever writes
 *     objects/ab/abcd...                   by their SHA-256; encrypted: by a keyed hash of it
 *     backups/ID/database.jsonl.zst, manifest.json     of a backup; the manifest comes last
 *     tmp/                                 what is being written
 *
 * A file is written into tmp/ and gets its name once it is on the disk, so that whoever is killed,
 * or has no room left, leaves nothing half. Encrypted files (with ".enc" behind their names) are
 * bound to those names: one in another's place is found as one that was changed or cut is.
 *
 * Not thread-safe; one process writes at a time.
 */
#ifndef NX_BACKUP_VAULT_H
#define NX_BACKUP_VAULT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_VAULT_PATH_SIZE 128

typedef struct nx_vault nx_vault;
typedef struct nx_vault_writer nx_vault_writer;
typedef struct nx_vault_reader nx_vault_reader;

typedef struct nx_vault_options {
    const char *path;
    const char
        *key_file; /* its bytes are the pass phrase, a line break at the end aside; NULL: none */
    bool make;     /* for a writer: a folder that is not there, or empty, becomes one */
    bool cheap;    /* tests: little work to make the key of a new folder */
} nx_vault_options;

/* Errors: NX_ERR_NOT_FOUND (no backups are there), NX_ERR_INVALID (the key file; a key where none
 * is wanted, none where one is; one that does not fit), NX_ERR_CONFLICT (a folder of other things),
 * NX_ERR_UNSUPPORTED (of a newer Nexus), NX_ERR_CORRUPT, NX_ERR_IO; for a writer, who has the
 * folder to itself until it is closed, NX_ERR_BUSY. */
nx_status nx_vault_open(const nx_vault_options *options, nx_vault **out, nx_error *err);
void nx_vault_close(nx_vault *vault); /* NULL is fine; what waits for its name goes */

const char *nx_vault_place(const nx_vault *vault);

/* For a reader: keeps writers away until it is closed, where the folder has locks. Errors:
 * NX_ERR_BUSY, NX_ERR_IO. */
nx_status nx_vault_lock(nx_vault *vault, nx_error *err);

/* Where the object of that SHA-256 is: a path as the functions below take it. */
void nx_vault_object_path(const nx_vault *vault, const char *sha256, char out[NX_VAULT_PATH_SIZE]);

/* How many bytes the file holds, by its length; false: there is none. */
bool nx_vault_size(const nx_vault *vault, const char *path, int64_t *size);

/* --- writing: create, put, finish, and publish after any number of those --- */

nx_status nx_vault_create(nx_vault *vault, const char *path, nx_vault_writer **out, nx_error *err);
nx_status nx_vault_put(nx_vault_writer *writer, const void *bytes, size_t size, nx_error *err);
/* The file waits for its name. Frees the writer, also on failure. */
nx_status nx_vault_finish(nx_vault_writer *writer, nx_error *err);
void nx_vault_abandon(nx_vault_writer *writer); /* NULL is fine */
/* What was finished gets its names, in that order, and is on the disk. */
nx_status nx_vault_publish(nx_vault *vault, nx_error *err);
/* Publishes when so much waits that it should. */
nx_status nx_vault_publish_some(nx_vault *vault, nx_error *err);

/* --- reading --- */

nx_status nx_vault_read(nx_vault *vault, const char *path, nx_vault_reader **out, nx_error *err);
/* got is less than size only at the end. Errors: NX_ERR_CORRUPT (changed or cut, when encrypted).
 */
nx_status nx_vault_get(nx_vault_reader *reader, void *bytes, size_t size, size_t *got,
                       nx_error *err);
void nx_vault_read_end(nx_vault_reader *reader); /* NULL is fine */

/* --- the folder itself --- */

/* Calls each for the names in a folder of it, in no order. */
nx_status nx_vault_list(nx_vault *vault, const char *folder,
                        nx_status (*each)(void *user, const char *name, nx_error *err), void *user,
                        nx_error *err);
/* A file, or a folder with what is in it. None is as good. */
void nx_vault_remove(nx_vault *vault, const char *path);

#endif

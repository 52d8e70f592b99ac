/*
 * What a backup is made of: a line of JSON, and behind it the SHA-256 of that line.
 */
#ifndef NX_BACKUP_MANIFEST_H
#define NX_BACKUP_MANIFEST_H

#include "base/buffer.h"
#include "base/error.h"
#include "store/dump.h"
#include "store/objects.h"

#include <stddef.h>
#include <stdint.h>

#define NX_BACKUP_ID_SIZE 32 /* "20261129T101500123Z-1a2b" */

typedef struct nx_manifest_table {
    char name[NX_DUMP_NAME_SIZE];
    int64_t rows;
    char sha256[NX_OBJECT_NAME_SIZE]; /* of its lines */
} nx_manifest_table;

typedef struct nx_manifest_object {
    char sha256[NX_OBJECT_NAME_SIZE];
    int64_t size;
} nx_manifest_object;

/* A file beside the database and the objects: of a model. Kept among the objects. */
typedef struct nx_manifest_file {
    char *name; /* below the folder that it came from */
    nx_manifest_object content;
} nx_manifest_file;

typedef struct nx_manifest {
    char id[NX_BACKUP_ID_SIZE];
    int64_t made_at; /* milliseconds since 1970 */
    char nexus[32];  /* version */
    char host[256];
    char kind[16]; /* of the database */
    int schema;
    int64_t database_size; /* of database.jsonl.zst */
    char database_sha256[NX_OBJECT_NAME_SIZE];
    nx_manifest_table tables[NX_DUMP_MOST_TABLES];
    size_t table_count;
    nx_manifest_object *objects; /* by name */
    size_t object_count;
    nx_manifest_object *missing; /* named by the database, and lost or damaged; size is 0 */
    size_t missing_count;
    nx_manifest_file *files;
    size_t file_count;
} nx_manifest;

void nx_manifest_write(const nx_manifest *manifest, nx_buffer *out);

/* Errors: NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED (of a newer Nexus). On failure out is empty. */
nx_status nx_manifest_read(const char *text, size_t size, nx_manifest *out, nx_error *err);

void nx_manifest_free(nx_manifest *manifest);

/* Bytes of all objects and files, each once as the manifest names it. */
int64_t nx_manifest_bytes(const nx_manifest *manifest);

/* Whether a file's name is one that a backup has: folders and a name of letters, digits, '.', '_'
 * and '-', none beginning with a dot. */
bool nx_manifest_is_name(const char *name);
bool nx_manifest_is_id(const char *id);

#endif

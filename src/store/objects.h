/*
 * Large things by their content: videos, results. A name is the SHA-256 of the bytes, so that what
 * is stored twice is there once and never changes. On this machine's disk (DATA_DIR/objects), or in
 * a bucket of S3 (docs.aws.amazon.com/AmazonS3/latest/API) for several hosts.
 *
 * What comes in is first written into a file under DATA_DIR/uploads, from any offset on, as often
 * as its sender is interrupted; then it is kept under its name. Who is killed in between does the
 * same again: the upload stays until it is discarded.
 *
 * What is kept for good is kept by store/object_uses.h, which knows who else uses the same bytes.
 *
 * Thread-safe, and an upload has one writer at a time, in whatever process: it holds a lock on the
 * file (flock), which goes with its process. Memory is bounded: one part (8 MiB, more
 * only for objects beyond 72 GB) for each call that sends to S3. Errors, beside those named:
 * NX_ERR_IO (a full disk), NX_ERR_UNAVAILABLE (S3 can't be reached or refuses, after several
 * tries), NX_ERR_INVALID (a name or id that is none), NX_ERR_NO_MEMORY.
 */
#ifndef NX_STORE_OBJECTS_H
#define NX_STORE_OBJECTS_H

#include "base/config.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_OBJECT_NAME_SIZE 65 /* 64 lower-case hexadecimal digits and the NUL */

typedef struct nx_objects nx_objects;

/* Strings are borrowed while nx_objects_open runs. */
typedef struct nx_objects_options {
    const char *data_dir;
    const char *url;        /* "": the disk; s3://BUCKET or s3://BUCKET/PREFIX */
    const char *endpoint;   /* of S3, "http://host:9000"; "": Amazon's own for the region */
    const char *region;     /* "us-east-1" */
    const char *access_key; /* requests are signed with it (Signature Version 4) */
    const char *secret_key;
} nx_objects_options;

/* What the configuration says; data_dir is borrowed. */
nx_objects_options nx_objects_options_of(const nx_config *config, const char *data_dir);

/* Makes nothing and does not speak to S3 yet: folders are made when they are needed. */
nx_status nx_objects_open(const nx_objects_options *options, nx_objects **out, nx_error *err);
/* No call may be in progress, and writers are closed. NULL is fine. */
void nx_objects_close(nx_objects *objects);

/* "the disk at PATH" or "s3://BUCKET/PREFIX at ENDPOINT". */
const char *nx_objects_place(const nx_objects *objects);

/* Whether other hosts reach the same objects; on the disk only processes with this data folder do.
 */
bool nx_objects_are_shared(const nx_objects *objects);

/* For `nexus check`: whether the disk, or the bucket, is there and lets us in. */
nx_status nx_objects_check(nx_objects *objects, nx_error *err);

/* --- coming in --- */

typedef struct nx_object_writer nx_object_writer;

/*
 * Opens an upload for writing at offset; at 0 it is made. id: letters, digits and dashes (a UUID).
 * What it has beyond the offset is cut off: bytes whose receipt was never confirmed. Errors:
 * NX_ERR_CONFLICT (it is shorter than that, or kept), NX_ERR_NOT_FOUND, NX_ERR_BUSY (somebody
 * writes into it).
 */
nx_status nx_objects_write(nx_objects *objects, const char *id, int64_t offset,
                           nx_object_writer **out, nx_error *err);

/* The same in two steps, for who finds out in between where to go on: the upload is the caller's
 * alone until the writer is closed, and nothing may be put before nx_object_writer_begin. make: it
 * need not be there yet. Errors as above. */
nx_status nx_objects_claim(nx_objects *objects, const char *id, bool make, nx_object_writer **out,
                           nx_error *err);
nx_status nx_object_writer_begin(nx_object_writer *writer, int64_t offset, nx_error *err);

nx_status nx_object_writer_put(nx_object_writer *writer, const void *bytes, size_t size,
                               nx_error *err);
/* Everything that was put is on the disk now; size: of the upload so far. */
nx_status nx_object_writer_sync(nx_object_writer *writer, int64_t *size, nx_error *err);
void nx_object_writer_close(nx_object_writer *writer); /* NULL is fine */

/* Keeps what an upload holds as an object. Takes as long as reading it, and sending it to S3. The
 * upload stays, and is not to be written any more. Errors: NX_ERR_NOT_FOUND. */
nx_status nx_objects_keep(nx_objects *objects, const char *id, char name[NX_OBJECT_NAME_SIZE],
                          int64_t *size, nx_error *err);

/* The same in two steps, for who must know the name before the object is there: the name that the
 * upload will have, and keeping it under that name. Errors as above. */
nx_status nx_objects_name(nx_objects *objects, const char *id, char name[NX_OBJECT_NAME_SIZE],
                          int64_t *size, nx_error *err);
nx_status nx_objects_put(nx_objects *objects, const char *id, const char *name, int64_t size,
                         nx_error *err);

/* Forgets an upload. None is no error. */
nx_status nx_objects_discard(nx_objects *objects, const char *id, nx_error *err);

/* --- going out --- */

/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_objects_size(nx_objects *objects, const char *name, int64_t *size, nx_error *err);

/* Reads up to size bytes from offset on; got is less only at the end. Errors: NX_ERR_NOT_FOUND. */
nx_status nx_objects_read(nx_objects *objects, const char *name, int64_t offset, void *buffer,
                          size_t size, size_t *got, nx_error *err);

/* A descriptor for reading at the beginning, for decoders; the caller closes it. From S3 it is
 * fetched whole, into a file without a name that goes with its descriptor. Errors:
 * NX_ERR_NOT_FOUND. */
nx_status nx_objects_fetch(nx_objects *objects, const char *name, int *fd, nx_error *err);

/* A file without a name on this machine's disk, for what is made of objects; it goes with its
 * descriptor, which the caller closes. */
nx_status nx_objects_scratch(nx_objects *objects, int *fd, nx_error *err);

/* None is no error. */
nx_status nx_objects_remove(nx_objects *objects, const char *name, nx_error *err);

#endif

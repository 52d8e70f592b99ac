/*
 * What of a job must outlive its worker: the finished parts of the record (jobs/frame_log.h) as
 * objects, and a checkpoint that names them. An object of a part begins with the job's id, so that
 * it is no other job's and may go when the job has ended.
 *
 * What is kept is held (store/object_uses.h) by the keeper's holder until a checkpoint or a result
 * that names it is entered.
 */
#ifndef NX_JOBS_WORKER_PARTS_H
#define NX_JOBS_WORKER_PARTS_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/uuid.h"
#include "engine/model_store.h"
#include "store/objects.h"
#include "store/store.h"

#include <stddef.h>
#include <stdint.h>

/* When there are so many, the next one is all of the record so far: checkpoints stay small. */
#define NX_WORKER_MOST_PARTS 256

/* Where things are kept, and for whom. Borrowed. */
typedef struct nx_worker_keeper {
    nx_store *store;
    nx_objects *objects;
    const char *holder;
} nx_worker_keeper;

typedef struct nx_worker_part {
    char object[NX_OBJECT_NAME_SIZE];
    uint64_t size; /* of the record; the object has the job's id before */
} nx_worker_part;

typedef struct nx_worker_parts {
    char job[NX_UUID_SIZE];
    char model[NX_MODEL_NAME_MAX + 1]; /* with which the parts were made */
    uint32_t version;
    nx_worker_part items[NX_WORKER_MOST_PARTS];
    size_t count;
} nx_worker_parts;

/* Bytes of the record that they hold. */
uint64_t nx_worker_parts_size(const nx_worker_parts *parts);

/* Keeps what the first log_bytes of the record have beyond the parts. Errors: those of
 * nx_store_keep_upload. */
nx_status nx_worker_parts_add(nx_worker_parts *parts, const nx_worker_keeper *keeper,
                              const char *log_path, uint64_t log_bytes, nx_error *err);

/* Writes the record of the parts over what is there. Errors: NX_ERR_NOT_FOUND (a part is gone),
 * NX_ERR_CORRUPT, NX_ERR_IO, those of nx_objects_read. */
nx_status nx_worker_parts_restore(const nx_worker_parts *parts, nx_objects *objects,
                                  const char *log_path, nx_error *err);

/* Writes the parts of the record that bytes first to last (both included) lie in into a file that
 * is open for writing, at their places; elsewhere the file, which becomes as long as the record, is
 * left as it is, holes where there was nothing. Errors as above. */
nx_status nx_worker_parts_copy(const nx_worker_parts *parts, nx_objects *objects, int fd,
                               uint64_t first, uint64_t last, nx_error *err);

/* Takes those of the objects away that no checkpoint names; what can't be is left. */
void nx_worker_parts_remove(const nx_worker_parts *parts, const nx_worker_keeper *keeper);

/* A checkpoint: the parts, and the run's own state behind them. */
void nx_worker_parts_write(const nx_worker_parts *parts, const void *state, size_t size,
                           nx_buffer *out);
/* state points into bytes. Errors: NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED (another version). */
nx_status nx_worker_parts_read(const void *bytes, size_t size, nx_worker_parts *out,
                               const void **state, size_t *state_size, nx_error *err);

/* Keeps size bytes of a file from an offset on as an object, head (NULL: nothing) before them. */
nx_status nx_worker_keep_file(const nx_worker_keeper *keeper, const char *path, uint64_t from,
                              uint64_t size, const char *head, char name[NX_OBJECT_NAME_SIZE],
                              nx_error *err);

#endif

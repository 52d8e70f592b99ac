/*
 * Who uses which object (store/objects.h). Objects are content, so that two videos, or a video and
 * a result, may be one object: the database knows which there are and what names them, and an
 * object is taken away only when nothing does.
 *
 * Nothing is lost between those who store and those who take away, on any hosts: who stores an
 * object first holds it (nx_store_keep_upload), then enters what needs it, then lets go. Who takes
 * one away first says so in the database, and is refused while it is used or held; a holder waits
 * until that is done and then stores it anew.
 *
 * Thread-safe. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_OBJECT_USES_H
#define NX_STORE_OBJECT_USES_H

#include "base/arena.h"
#include "base/buffer.h"
#include "base/uuid.h"
#include "store/objects.h"
#include "store/store.h"

#include <stddef.h>

/* How long a hold lasts whose holder was killed; nothing is stored for as long as that. */
#define NX_OBJECT_HOLD_MS (INT64_C(24) * 3600 * 1000)

/* Most bytes of a holder's name, which is any text of its own: an upload's id, a lease's. */
#define NX_OBJECT_HOLDER_MAX 80

/* Until the time is over or nx_store_object_release. Errors: NX_ERR_BUSY (it is being taken away:
 * try again in a moment). */
nx_status nx_store_object_hold(nx_store *store, const char *name, const char *holder,
                               int64_t hold_ms, nx_error *err);

/* Lets go of everything that holder holds. */
nx_status nx_store_object_release(nx_store *store, const char *holder, nx_error *err);

/* nx_objects_keep for an object that is held before it is stored. Errors: those of nx_objects_keep;
 * NX_ERR_BUSY after ten seconds. On failure nothing is held. */
nx_status nx_store_keep_upload(nx_store *store, nx_objects *objects, const char *upload,
                               const char *holder, char name[NX_OBJECT_NAME_SIZE], int64_t *size,
                               nx_error *err);

/* The same of bytes in memory; *holder is a new one. Errors: those of nx_objects_write, too. */
nx_status nx_store_keep_bytes(nx_store *store, nx_objects *objects, const nx_buffer *bytes,
                              char holder[NX_UUID_SIZE], char name[NX_OBJECT_NAME_SIZE],
                              int64_t *size, nx_error *err);

/* Takes away those of the objects that nothing uses or holds; removed (may be NULL): how many. What
 * an error keeps there is found by nx_store_objects_unused again. Errors: those of
 * nx_objects_remove. */
nx_status nx_store_objects_collect(nx_store *store, nx_objects *objects, const char *const *names,
                                   size_t count, size_t *removed, nx_error *err);

/* Objects that nothing uses or holds, by name, behind the name after ("": from the first). */
nx_status nx_store_objects_unused(nx_store *store, const char *after, size_t limit, nx_arena *arena,
                                  const char **names, size_t *count, nx_error *err);

/* The parts that a job's checkpoints named are not needed any more: its end is entered. One that is
 * tried again by now goes on from them, and keeps them. */
nx_status nx_store_job_drop_parts(nx_store *store, nx_objects *objects, const char *job,
                                  nx_error *err);

/* Forgets holds whose time is over, and the parts of jobs that ended longer ago than safe_ms, for
 * which there was nobody to drop them. */
nx_status nx_store_objects_tidy(nx_store *store, int64_t safe_ms, nx_error *err);

#endif

/*
 * Videos that were uploaded, and uploads that are under way. The bytes are in the object store
 * (store/objects.h); here is what is known of them. Texts in results live in the caller's arena.
 * Thread-safe; errors as in store.h besides those named.
 */
#ifndef NX_STORE_VIDEOS_H
#define NX_STORE_VIDEOS_H

#include "base/arena.h"
#include "store/store.h"

#include <stddef.h>

typedef struct nx_video {
    const char *id;    /* UUID; sorts by age */
    const char *owner; /* "" without accounts */
    const char *hash;  /* SHA-256, 64 lower-case digits: the object's name */
    int64_t size;      /* bytes */
    const char *name;  /* as the uploader named the file */
    const char *probe; /* JSON */
    int64_t created_at;
} nx_video;

/*
 * Enters a video; id and created_at of video are not looked at. When its owner has the same content
 * already, that row is the result and made is false. Its object is held until then, so that it is
 * there (store/object_uses.h). Errors: NX_ERR_INVALID; NX_ERR_BUSY (it was not, and the object is
 * just being removed).
 */
nx_status nx_store_video_add(nx_store *store, const nx_video *video, nx_arena *arena, nx_video *out,
                             bool *made, nx_error *err);

/* Errors: NX_ERR_NOT_FOUND. */
nx_status nx_store_video_get(nx_store *store, const char *id, nx_arena *arena, nx_video *out,
                             nx_error *err);

/* The newest first: those of an owner (NULL: of all), older than the id before (NULL: from the
 * start); at most limit, which is also the room in out. */
nx_status nx_store_videos_list(nx_store *store, const char *owner, const char *before, size_t limit,
                               nx_arena *arena, nx_video *out, size_t *count, nx_error *err);

/*
 * Takes a video out; jobs that used it keep their results. Its object is then to be collected
 * (store/object_uses.h), which looks who else uses it. Errors: NX_ERR_NOT_FOUND; NX_ERR_CONFLICT
 * while a job that is queued or running needs it.
 */
nx_status nx_store_video_remove(nx_store *store, const char *id, nx_error *err);

typedef struct nx_upload {
    const char *id;
    const char *owner;
    int64_t length;   /* bytes to come in all */
    int64_t received; /* of them, on the disk */
    const char *metadata;
    const char *video_id; /* what it became; NULL: not finished */
    int64_t created_at;
    int64_t expires_at;
} nx_upload;

/* Of upload: owner, length and metadata are looked at. lifetime_ms counts from now. */
nx_status nx_store_upload_add(nx_store *store, const nx_upload *upload, int64_t lifetime_ms,
                              nx_arena *arena, nx_upload *out, nx_error *err);
nx_status nx_store_upload_get(nx_store *store, const char *id, nx_arena *arena, nx_upload *out,
                              nx_error *err);

/* From so many bytes to so many more. Errors: NX_ERR_CONFLICT (another request has advanced it, or
 * it would pass the length, or it is finished), NX_ERR_NOT_FOUND. */
nx_status nx_store_upload_advance(nx_store *store, const char *id, int64_t from, int64_t to,
                                  int64_t lifetime_ms, nx_error *err);

/* It has become a video. Errors: NX_ERR_CONFLICT (bytes are missing), NX_ERR_NOT_FOUND. */
nx_status nx_store_upload_finish(nx_store *store, const char *id, const char *video_id,
                                 nx_error *err);
nx_status nx_store_upload_remove(nx_store *store, const char *id, nx_error *err);

/* Takes out at most limit of those whose time is over; their ids, so that the bytes can go. */
nx_status nx_store_uploads_expire(nx_store *store, size_t limit, nx_arena *arena, const char **ids,
                                  size_t *count, nx_error *err);

#endif

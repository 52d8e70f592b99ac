#include "jobs/worker_parts.h"

#include "analytics/state.h"
#include "store/object_uses.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KIND    "NXWORKER"
#define VERSION 1
#define WHAT    "checkpoint of a job"
#define BLOCK   ((size_t)256 << 10)
#define HEAD    (NX_UUID_SIZE - 1) /* the job's id, before a part */

uint64_t nx_worker_parts_size(const nx_worker_parts *parts)
{
    uint64_t size = 0;
    for (size_t i = 0; i < parts->count; i++) {
        size += parts->items[i].size;
    }
    return size;
}

/* --- coming in ----------------------------------------------------------------------------------
 */

static nx_status copy_in(nx_object_writer *writer, const char *path, uint64_t from, uint64_t size,
                         char *block, nx_error *err)
{
    nx_status status = NX_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
    }
    while (size > 0 && status == NX_OK) {
        ssize_t got = pread(fd, block, size < BLOCK ? (size_t)size : BLOCK, (off_t)from);
        if (got > 0) {
            status = nx_object_writer_put(writer, block, (size_t)got, err);
            from += (uint64_t)got;
            size -= (uint64_t)got;
        } else if (got == 0) {
            status = nx_error_set(err, NX_ERR_IO, "%s is shorter than it was", path);
        } else if (errno != EINTR) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
        }
    }
    close(fd);
    return status;
}

nx_status nx_worker_keep_file(const nx_worker_keeper *keeper, const char *path, uint64_t from,
                              uint64_t size, const char *head, char name[NX_OBJECT_NAME_SIZE],
                              nx_error *err)
{
    nx_objects *objects = keeper->objects;
    char id[NX_UUID_SIZE];
    int64_t kept = 0;
    nx_object_writer *writer = NULL;
    char *block = malloc(BLOCK);
    if (block == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to keep results");
    }
    nx_status status = nx_uuid_make(id, err);
    if (status != NX_OK) {
        free(block);
        return status;
    }
    status = nx_objects_write(objects, id, 0, &writer, err);
    if (status == NX_OK && head != NULL) {
        status = nx_object_writer_put(writer, head, strlen(head), err);
    }
    if (status == NX_OK) {
        status = copy_in(writer, path, from, size, block, err);
    }
    if (status == NX_OK) {
        status = nx_object_writer_sync(writer, &kept, err);
    }
    nx_object_writer_close(writer);
    if (status == NX_OK) {
        status = nx_store_keep_upload(keeper->store, objects, id, keeper->holder, name, &kept, err);
    }
    (void)nx_objects_discard(objects, id, NULL); /* what is left there is an upload that expires */
    free(block);
    return status;
}

nx_status nx_worker_parts_add(nx_worker_parts *parts, const nx_worker_keeper *keeper,
                              const char *log_path, uint64_t log_bytes, nx_error *err)
{
    bool full = parts->count == NX_WORKER_MOST_PARTS;
    uint64_t from = full ? 0 : nx_worker_parts_size(parts);
    nx_worker_part part = {.size = log_bytes - from};
    nx_status status =
        nx_worker_keep_file(keeper, log_path, from, part.size, parts->job, part.object, err);
    if (status == NX_OK) {
        parts->count = full ? 0 : parts->count;
        parts->items[parts->count++] = part;
    }
    return status;
}

/* --- going out ----------------------------------------------------------------------------------
 */

static int write_all(int fd, const char *bytes, size_t size, uint64_t at)
{
    while (size > 0) {
        ssize_t put = pwrite(fd, bytes, size, (off_t)at);
        if (put < 0 && errno != EINTR) {
            return errno;
        }
        if (put > 0) {
            bytes += put;
            size -= (size_t)put;
            at += (uint64_t)put;
        }
    }
    return 0;
}

static nx_status copy_out(const nx_worker_part *part, nx_objects *objects, int fd, uint64_t at,
                          char *block, nx_error *err)
{
    for (uint64_t done = 0; done < part->size;) {
        uint64_t left = part->size - done;
        size_t got = 0;
        nx_status status = nx_objects_read(objects, part->object, (int64_t)(HEAD + done), block,
                                           left < BLOCK ? (size_t)left : BLOCK, &got, err);
        if (status != NX_OK) {
            return status;
        }
        if (got == 0) {
            return nx_error_set(err, NX_ERR_CORRUPT, "the part %.64s of the results is cut short",
                                part->object);
        }
        int failure = write_all(fd, block, got, at + done);
        if (failure != 0) {
            return nx_error_set_errno(err, NX_ERR_IO, failure, "cannot write the results");
        }
        done += got;
    }
    return NX_OK;
}

nx_status nx_worker_parts_copy(const nx_worker_parts *parts, nx_objects *objects, int fd,
                               uint64_t first, uint64_t last, nx_error *err)
{
    nx_status status = NX_OK;
    uint64_t at = 0;
    char *block = malloc(BLOCK);
    if (block == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to fetch results");
    }
    if (ftruncate(fd, (off_t)nx_worker_parts_size(parts)) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write the results");
    }
    for (size_t i = 0; i < parts->count && status == NX_OK; i++) {
        const nx_worker_part *part = &parts->items[i];
        if (at <= last && at + part->size > first) {
            status = copy_out(part, objects, fd, at, block, err);
        }
        at += part->size;
    }
    free(block);
    return status;
}

nx_status nx_worker_parts_restore(const nx_worker_parts *parts, nx_objects *objects,
                                  const char *log_path, nx_error *err)
{
    int fd = open(log_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", log_path);
    }
    nx_status status = nx_worker_parts_copy(parts, objects, fd, 0, UINT64_MAX, err);
    if (close(fd) != 0 && status == NX_OK) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", log_path);
    }
    return status;
}

void nx_worker_parts_remove(const nx_worker_parts *parts, const nx_worker_keeper *keeper)
{
    const char *names[NX_WORKER_MOST_PARTS];
    for (size_t i = 0; i < parts->count; i++) {
        names[i] = parts->items[i].object;
    }
    (void)nx_store_objects_collect(keeper->store, keeper->objects, names, parts->count, NULL, NULL);
}

/* --- as bytes -----------------------------------------------------------------------------------
 */

static void put_text(nx_buffer *out, const char *text)
{
    size_t size = strlen(text);
    nx_state_put_u32(out, (uint32_t)size);
    nx_buffer_append(out, text, size);
}

/* room: of out, the NUL included. */
static void read_text(nx_state_reader *reader, char *out, size_t room)
{
    size_t size = nx_state_count(reader, room - 1, 1);
    memcpy(out, reader->at, size);
    out[size] = '\0';
    reader->at += size;
}

void nx_worker_parts_write(const nx_worker_parts *parts, const void *state, size_t size,
                           nx_buffer *out)
{
    nx_state_begin(out, KIND, VERSION);
    put_text(out, parts->job);
    put_text(out, parts->model);
    nx_state_put_u32(out, parts->version);
    nx_state_put_u32(out, (uint32_t)parts->count);
    for (size_t i = 0; i < parts->count; i++) {
        put_text(out, parts->items[i].object);
        nx_state_put_u64(out, parts->items[i].size);
    }
    nx_state_put_u32(out, (uint32_t)size);
    nx_buffer_append(out, state, size);
    out->failed = out->failed || size > UINT32_MAX;
}

nx_status nx_worker_parts_read(const void *bytes, size_t size, nx_worker_parts *out,
                               const void **state, size_t *state_size, nx_error *err)
{
    nx_state_reader reader;
    *out = (nx_worker_parts){.count = 0};
    nx_status status = nx_state_open(bytes, size, KIND, VERSION, WHAT, &reader, err);
    if (status != NX_OK) {
        return status;
    }
    read_text(&reader, out->job, sizeof out->job);
    read_text(&reader, out->model, sizeof out->model);
    out->version = nx_state_u32(&reader);
    out->count = nx_state_count(&reader, NX_WORKER_MOST_PARTS, 1);
    for (size_t i = 0; i < out->count; i++) {
        read_text(&reader, out->items[i].object, sizeof out->items[i].object);
        out->items[i].size = nx_state_u64(&reader);
    }
    *state_size = nx_state_count(&reader, UINT32_MAX, 1);
    *state = reader.at;
    reader.at += *state_size;
    return nx_state_close(&reader, WHAT, err);
}

#include "backup/internal.h"

#include "backup/rows.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- objects --- */

static nx_status put_bytes(void *user, const void *bytes, size_t size, nx_error *err)
{
    return nx_object_writer_put(user, bytes, size, err);
}

/* Whether the store has the object, and its bytes are those of its name. One that is damaged goes,
 * so that the good one can take its place. */
static nx_status is_there(nx_objects *objects, const nx_manifest_object *object,
                          unsigned char *chunk, bool *out, nx_error *err)
{
    crypto_hash_sha256_state state;
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[NX_OBJECT_NAME_SIZE];
    int64_t size = 0;
    size_t got = NX_BACKUP_CHUNK;
    *out = false;
    nx_status status = nx_objects_size(objects, object->sha256, &size, err);
    if (status == NX_ERR_NOT_FOUND) {
        return NX_OK;
    }
    (void)crypto_hash_sha256_init(&state);
    for (int64_t at = 0; status == NX_OK && got == NX_BACKUP_CHUNK; at += (int64_t)got) {
        status = nx_objects_read(objects, object->sha256, at, chunk, NX_BACKUP_CHUNK, &got, err);
        (void)crypto_hash_sha256_update(&state, chunk, status == NX_OK ? got : 0);
    }
    (void)crypto_hash_sha256_final(&state, hash);
    (void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    if (status == NX_OK && strcmp(hex, object->sha256) != 0) {
        return nx_objects_remove(objects, object->sha256, err);
    }
    *out = status == NX_OK;
    return status;
}

static nx_status restore_object(const nx_backup *backup, const nx_manifest_object *object,
                                nx_error *err)
{
    char upload[64];
    char name[NX_OBJECT_NAME_SIZE];
    nx_object_writer *writer = NULL;
    int64_t size = 0;
    snprintf(upload, sizeof upload, "restore-%.40s", object->sha256);
    nx_status status = nx_objects_write(backup->objects, upload, 0, &writer, err);
    if (status == NX_OK) {
        status = nx_backup_read_object(backup->vault, object, put_bytes, writer, err);
    }
    nx_object_writer_close(writer);
    if (status == NX_OK) {
        status = nx_objects_keep(backup->objects, upload, name, &size, err);
    }
    nx_error ignored;
    (void)nx_objects_discard(backup->objects, upload, &ignored);
    return status;
}

static nx_status restore_objects(const nx_backup *backup, const nx_manifest *manifest,
                                 nx_restore_report *out, nx_error *err)
{
    unsigned char *chunk = malloc(NX_BACKUP_CHUNK);
    nx_status status =
        chunk != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the objects");
    for (size_t i = 0; i < manifest->object_count && status == NX_OK; i++) {
        bool there = false;
        nx_backup_tell(backup, "objects", i, manifest->object_count);
        status = is_there(backup->objects, &manifest->objects[i], chunk, &there, err);
        if (status == NX_OK && !there) {
            status = restore_object(backup, &manifest->objects[i], err);
            out->objects += status == NX_OK;
        }
    }
    free(chunk);
    return status;
}

/* --- files --- */

static bool file_place(const nx_backup *backup, const nx_manifest_file *file, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s/%s", backup->files, file->name) < PATH_MAX;
}

/* Whether the file is there, and whether it is that of the backup. */
static nx_status compare_file(const char *path, const nx_manifest_object *content, bool *there,
                              bool *same, nx_error *err)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[NX_OBJECT_NAME_SIZE];
    nx_file_map map;
    *same = false;
    nx_status status = nx_file_map_open(path, &map, err);
    *there = status != NX_ERR_NOT_FOUND;
    if (status == NX_ERR_NOT_FOUND) {
        return NX_OK;
    }
    if (status == NX_OK) {
        (void)crypto_hash_sha256(hash, map.data, map.size);
        (void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
        *same = strcmp(hex, content->sha256) == 0;
        nx_file_unmap(&map);
    }
    return status;
}

/* Without force no file of another content is written over. */
static nx_status check_files(const nx_backup *backup, const nx_manifest *manifest, nx_error *err)
{
    char path[PATH_MAX];
    nx_status status = NX_OK;
    for (size_t i = 0; i < manifest->file_count && status == NX_OK; i++) {
        bool there = false;
        bool same = false;
        if (!file_place(backup, &manifest->files[i], path)) {
            return nx_error_set(err, NX_ERR_INVALID, "the path of the models is too long");
        }
        status = compare_file(path, &manifest->files[i].content, &there, &same, err);
        if (status == NX_OK && there && !same) {
            status = nx_error_set(err, NX_ERR_CONFLICT,
                                  "%s is there and is another file than that of the backup; "
                                  "--force writes it over",
                                  path);
        }
    }
    return status;
}

typedef struct file_sink {
    int fd;
    const char *path;
} file_sink;

static nx_status write_bytes(void *user, const void *bytes, size_t size, nx_error *err)
{
    const file_sink *sink = user;
    const char *at = bytes;
    while (size > 0) {
        ssize_t put = write(sink->fd, at, size);
        if (put < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", sink->path);
        }
        at += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
    }
    return NX_OK;
}

static nx_status restore_file(const nx_backup *backup, const nx_manifest_file *file, nx_error *err)
{
    char path[PATH_MAX];
    char beside[PATH_MAX + 16];
    (void)file_place(backup, file, path);
    char *slash = strrchr(path, '/');
    *slash = '\0';
    nx_status status = nx_file_make_dirs(path, err);
    *slash = '/';
    if (status != NX_OK) {
        return status;
    }
    snprintf(beside, sizeof beside, "%.*s/.restoring", (int)(slash - path), path);
    file_sink sink = {.fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644),
                      .path = path};
    if (sink.fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", path);
    }
    status = nx_backup_read_object(backup->vault, &file->content, write_bytes, &sink, err);
    if (status == NX_OK && fsync(sink.fd) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", path);
    }
    close(sink.fd);
    if (status == NX_OK && rename(beside, path) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", path);
    }
    if (status != NX_OK) {
        (void)unlink(beside);
    }
    return status;
}

static nx_status restore_files(const nx_backup *backup, const nx_manifest *manifest,
                               nx_restore_report *out, nx_error *err)
{
    char path[PATH_MAX];
    nx_status status = NX_OK;
    for (size_t i = 0; i < manifest->file_count && status == NX_OK; i++) {
        bool there = false;
        bool same = false;
        nx_backup_tell(backup, "models", i, manifest->file_count);
        (void)file_place(backup, &manifest->files[i], path);
        status = compare_file(path, &manifest->files[i].content, &there, &same, err);
        if (status == NX_OK && !same) {
            status = restore_file(backup, &manifest->files[i], err);
            out->files += status == NX_OK;
        }
    }
    return status;
}

/* --- the database --- */

typedef struct feeding {
    const nx_backup *backup;
    const nx_manifest *manifest;
    nx_loader *loader;
    size_t tables;
    int64_t rows;
} feeding;

static nx_status feed_table(void *user, const nx_dump_table *table, nx_error *err)
{
    feeding *f = user;
    nx_backup_tell(f->backup, "database", f->tables++, f->manifest->table_count);
    return nx_loader_table(f->loader, table, err);
}

static nx_status feed_row(void *user, const nx_cell *cells, size_t count, nx_error *err)
{
    feeding *f = user;
    f->rows++;
    return nx_loader_row(f->loader, cells, count, err);
}

static nx_status feed(void *user, nx_loader *loader, nx_error *err)
{
    feeding *f = user;
    char path[NX_VAULT_PATH_SIZE];
    const nx_rows_sink sink = {.table = feed_table, .row = feed_row, .user = f};
    f->loader = loader;
    f->tables = 0;
    f->rows = 0;
    nx_backup_rows_path(f->manifest->id, path);
    return nx_rows_read(f->backup->vault, path, f->manifest, &sink, err);
}

/* What can be known before the backup is read through. */
static nx_status check_place(const nx_backup *backup, const nx_manifest *manifest, nx_error *err)
{
    char contents[256];
    nx_status status = nx_store_contents(backup->store, contents, sizeof contents, err);
    if (status == NX_OK && contents[0] != '\0') {
        return nx_error_set(err, NX_ERR_CONFLICT,
                            "the database is not empty (%s); --force puts the backup in the place "
                            "of all that",
                            contents);
    }
    return status == NX_OK ? check_files(backup, manifest, err) : status;
}

nx_status nx_backup_restore(const nx_backup *backup, const nx_manifest *manifest, bool force,
                            nx_restore_report *out, nx_error *err)
{
    feeding f = {.backup = backup, .manifest = manifest};
    *out = (nx_restore_report){0};
    nx_status status = nx_store_can_load(backup->store, manifest->schema, err);
    if (status == NX_OK && !force) {
        status = check_place(backup, manifest, err);
    }
    if (status == NX_OK) {
        status = nx_backup_verify(backup, manifest, err);
    }
    if (status == NX_OK) {
        status = restore_objects(backup, manifest, out, err);
    }
    if (status == NX_OK) {
        status = restore_files(backup, manifest, out, err);
    }
    if (status == NX_OK) {
        status = nx_store_load(backup->store, manifest->schema, feed, &f, err);
    }
    out->rows = f.rows;
    return status;
}

#include "backup/internal.h"

#include "backup/rows.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* How often the database is read again because objects went meanwhile. */
#define MOST_PASSES 5
/* Folders below that of the files; models have NAME/VERSION/FILE. */
#define MOST_DEPTH 4
#define MOST_FILES ((size_t)100000)

typedef struct making {
    const nx_backup *backup;
    nx_backup_report *report;
    nx_manifest manifest;
    nx_rows_writer *rows;
    size_t named; /* objects that the snapshot names: those in manifest.objects, before copying */
    size_t room;  /* of manifest.objects */
    unsigned char *chunk;
} making;

/* --- the database --- */

static nx_status begin_rows(void *user, int schema, nx_error *err)
{
    making *m = user;
    char path[NX_VAULT_PATH_SIZE];
    nx_rows_abandon(m->rows);
    m->rows = NULL;
    m->manifest.schema = schema;
    m->named = 0;
    nx_backup_rows_path(m->manifest.id, path);
    return nx_rows_create(m->backup->vault, path, &m->manifest, &m->rows, err);
}

static nx_status put_table(void *user, const nx_dump_table *table, nx_error *err)
{
    making *m = user;
    nx_backup_tell(m->backup, "database", m->manifest.table_count, 0);
    return nx_rows_put_table(m->rows, table, err);
}

static nx_status put_row(void *user, const nx_cell *cells, size_t count, nx_error *err)
{
    return nx_rows_put_row(((making *)user)->rows, cells, count, err);
}

static nx_status put_name(void *user, const char *name, nx_error *err)
{
    making *m = user;
    if (m->named == m->room) {
        size_t room = m->room > 0 ? 2 * m->room : 256;
        nx_manifest_object *more = realloc(m->manifest.objects, room * sizeof *more);
        if (more == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the names of the objects");
        }
        m->manifest.objects = more;
        m->room = room;
    }
    m->manifest.objects[m->named] = (nx_manifest_object){.size = 0};
    snprintf(m->manifest.objects[m->named++].sha256, NX_OBJECT_NAME_SIZE, "%s", name);
    return NX_OK;
}

/* --- what is copied --- */

/* Reads the bytes of an object, from wherever it is. */
typedef nx_status (*read_at)(void *user, const char *name, int64_t offset, void *buffer,
                             size_t size, size_t *got, nx_error *err);

static nx_status read_object(void *user, const char *name, int64_t offset, void *buffer,
                             size_t size, size_t *got, nx_error *err)
{
    return nx_objects_read(user, name, offset, buffer, size, got, err);
}

static nx_status read_file(void *user, const char *name, int64_t offset, void *buffer, size_t size,
                           size_t *got, nx_error *err)
{
    const int *fd = user;
    *got = 0;
    while (*got < size) {
        ssize_t some = pread(*fd, (char *)buffer + *got, size - *got, offset + (int64_t)*got);
        if (some < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", name);
        }
        if (some == 0) {
            break;
        }
        *got += some > 0 ? (size_t)some : 0;
    }
    return NX_OK;
}

/* Through all of it, into the writer unless that is NULL. */
static nx_status read_through(making *m, read_at read, void *user, const char *name,
                              nx_vault_writer *writer, nx_manifest_object *out, nx_error *err)
{
    crypto_hash_sha256_state state;
    unsigned char hash[crypto_hash_sha256_BYTES];
    size_t got = NX_BACKUP_CHUNK;
    nx_status status = NX_OK;
    out->size = 0;
    (void)crypto_hash_sha256_init(&state);
    while (status == NX_OK && got == NX_BACKUP_CHUNK) {
        status = read(user, name, out->size, m->chunk, NX_BACKUP_CHUNK, &got, err);
        if (status == NX_OK) {
            (void)crypto_hash_sha256_update(&state, m->chunk, got);
            out->size += (int64_t)got;
            status = writer != NULL ? nx_vault_put(writer, m->chunk, got, err) : NX_OK;
        }
    }
    (void)crypto_hash_sha256_final(&state, hash);
    (void)sodium_bin2hex(out->sha256, sizeof out->sha256, hash, sizeof hash);
    return status;
}

/* Into the folder, unless it has it. Errors: NX_ERR_NOT_FOUND, NX_ERR_CORRUPT (its bytes are not
 * those of its name). */
static nx_status copy_in(making *m, read_at read, void *user, const char *shown,
                         nx_manifest_object *object, nx_error *err)
{
    char path[NX_VAULT_PATH_SIZE];
    nx_manifest_object copied;
    nx_vault_writer *writer = NULL;
    nx_vault_object_path(m->backup->vault, object->sha256, path);
    if (nx_vault_size(m->backup->vault, path, &object->size)) {
        return NX_OK;
    }
    nx_status status = nx_vault_create(m->backup->vault, path, &writer, err);
    if (status == NX_OK) {
        status = read_through(m, read, user, shown, writer, &copied, err);
    }
    if (status == NX_OK && strcmp(copied.sha256, object->sha256) != 0) {
        status = nx_error_set(err, NX_ERR_CORRUPT, "the bytes of %s are not what they were", shown);
    }
    if (status != NX_OK) {
        nx_vault_abandon(writer);
        return status;
    }
    object->size = copied.size;
    m->report->copied++;
    m->report->copied_bytes += copied.size;
    status = nx_vault_finish(writer, err);
    return status == NX_OK ? nx_vault_publish_some(m->backup->vault, err) : status;
}

static nx_status add_missing(making *m, const nx_manifest_object *object, nx_error *err)
{
    size_t count = m->manifest.missing_count;
    nx_manifest_object *more = realloc(m->manifest.missing, (count + 1) * sizeof *more);
    if (more == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the names of the objects");
    }
    m->manifest.missing = more;
    more[count] = *object;
    more[count].size = 0;
    m->manifest.missing_count++;
    return NX_OK;
}

/* Those that are named; the ones that nobody has go over to `missing`. */
static nx_status copy_objects(making *m, nx_error *err)
{
    nx_manifest *manifest = &m->manifest;
    nx_status status = NX_OK;
    manifest->object_count = 0;
    manifest->missing_count = 0;
    for (size_t i = 0; i < m->named && status == NX_OK; i++) {
        nx_error why = {0};
        nx_manifest_object object = manifest->objects[i];
        nx_backup_tell(m->backup, "objects", i, m->named);
        status = copy_in(m, read_object, m->backup->objects, object.sha256, &object, &why);
        if (status == NX_OK) {
            manifest->objects[manifest->object_count++] = object;
        } else if (status == NX_ERR_NOT_FOUND || status == NX_ERR_CORRUPT) {
            status = add_missing(m, &object, err);
        } else if (err != NULL) {
            *err = why;
        }
    }
    return status;
}

/* Whether all that is missing now was so before the database was read again: nobody took it away,
 * it is lost. */
static bool is_lost(const nx_manifest_object *before, size_t before_count, const nx_manifest *now)
{
    size_t known = 0;
    for (size_t i = 0, j = 0; i < now->missing_count; i++) { /* both are in order */
        while (j < before_count && strcmp(before[j].sha256, now->missing[i].sha256) < 0) {
            j++;
        }
        known += j < before_count && strcmp(before[j].sha256, now->missing[i].sha256) == 0;
    }
    return known == now->missing_count;
}

static nx_status take_snapshot(making *m, nx_error *err)
{
    const nx_dump_sink sink = {
        .begin = begin_rows, .table = put_table, .row = put_row, .object = put_name, .user = m};
    nx_manifest_object *before = NULL;
    size_t before_count = 0;
    bool again = true;
    nx_status status = NX_OK;
    for (int pass = 0; pass < MOST_PASSES && again && status == NX_OK; pass++) {
        free(before);
        before = m->manifest.missing;
        before_count = m->manifest.missing_count;
        m->manifest.missing = NULL;
        m->manifest.missing_count = 0;
        status = nx_store_dump(m->backup->store, &sink, err);
        if (status == NX_OK) {
            status = copy_objects(m, err);
        }
        again = status == NX_OK && !is_lost(before, before_count, &m->manifest);
    }
    free(before);
    return status;
}

/* --- files beside the objects --- */

static nx_status add_file(making *m, const char *path, const char *name, nx_error *err)
{
    nx_manifest *manifest = &m->manifest;
    nx_manifest_file file = {.name = NULL};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        return NX_OK; /* gone since the folder was read */
    }
    if (fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
    }
    nx_status status = read_through(m, read_file, &fd, path, NULL, &file.content, err);
    if (status == NX_OK) {
        status = copy_in(m, read_file, &fd, path, &file.content, err);
    }
    close(fd);
    if (status != NX_OK) {
        return status;
    }
    nx_manifest_file *more =
        realloc(manifest->files, (manifest->file_count + 1) * sizeof *manifest->files);
    manifest->files = more != NULL ? more : manifest->files;
    file.name = strdup(name);
    if (more == NULL || file.name == NULL) {
        free(file.name);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the names of the models");
    }
    manifest->files[manifest->file_count++] = file;
    nx_backup_tell(m->backup, "models", manifest->file_count, 0);
    return NX_OK;
}

static nx_status add_folder(making *m, const char *path, const char *name, int depth,
                            nx_error *err);

/* An entry of the folder `name`; "" is the uppermost. */
static nx_status add_entry(making *m, const char *folder, const char *name, const char *entry,
                           int depth, nx_error *err)
{
    char path[PATH_MAX];
    char below[PATH_MAX];
    struct stat info;
    if (snprintf(path, sizeof path, "%s/%s", folder, entry) >= (int)sizeof path ||
        snprintf(below, sizeof below, "%s%s%s", name, name[0] != '\0' ? "/" : "", entry) >=
            (int)sizeof below ||
        !nx_manifest_is_name(below) || stat(path, &info) != 0) {
        return NX_OK; /* what is being written begins with a dot */
    }
    if (S_ISDIR(info.st_mode)) {
        return depth < MOST_DEPTH ? add_folder(m, path, below, depth + 1, err) : NX_OK;
    }
    return S_ISREG(info.st_mode) && m->manifest.file_count < MOST_FILES
               ? add_file(m, path, below, err)
               : NX_OK;
}

static nx_status add_folder(making *m, const char *path, const char *name, int depth, nx_error *err)
{
    struct dirent *entry = NULL;
    nx_status status = NX_OK;
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return errno == ENOENT ? NX_OK
                               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
    }
    while (status == NX_OK && (entry = readdir(folder)) != NULL) {
        status = add_entry(m, path, name, entry->d_name, depth, err);
    }
    closedir(folder);
    return status;
}

/* --- all of it --- */

static nx_status write_manifest(making *m, nx_error *err)
{
    char path[NX_VAULT_PATH_SIZE];
    nx_buffer text = NX_BUFFER_INIT;
    nx_vault_writer *writer = NULL;
    nx_manifest_write(&m->manifest, &text);
    nx_backup_manifest_path(m->manifest.id, path);
    nx_status status = text.failed
                           ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the manifest")
                           : nx_vault_create(m->backup->vault, path, &writer, err);
    if (status == NX_OK) {
        status = nx_vault_put(writer, text.data, text.size, err);
        if (status == NX_OK) {
            status = nx_vault_finish(writer, err);
        } else {
            nx_vault_abandon(writer);
        }
    }
    nx_buffer_free(&text);
    return status == NX_OK ? nx_vault_publish(m->backup->vault, err) : status;
}

static nx_status make(making *m, nx_error *err)
{
    nx_status status = take_snapshot(m, err);
    if (status == NX_OK && m->backup->files != NULL) {
        status = add_folder(m, m->backup->files, "", 0, err);
    }
    if (status == NX_OK) {
        nx_rows_writer *rows = m->rows;
        m->rows = NULL;
        status = nx_rows_finish(rows, err);
    }
    if (status == NX_OK) { /* all that the manifest names is there before it is */
        status = nx_vault_publish(m->backup->vault, err);
    }
    return status == NX_OK ? write_manifest(m, err) : status;
}

static void name_backup(nx_manifest *manifest, const nx_backup *backup)
{
    struct timespec now;
    struct tm parts;
    char day[20] = "";
    clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &parts);
    (void)strftime(day, sizeof day, "%Y%m%dT%H%M%S", &parts);
    manifest->made_at = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    snprintf(manifest->id, sizeof manifest->id, "%s%03dZ-%04x", day, (int)(now.tv_nsec / 1000000),
             randombytes_uniform(0x10000));
    snprintf(manifest->nexus, sizeof manifest->nexus, "%s", backup->nexus);
    snprintf(manifest->kind, sizeof manifest->kind, "%s", nx_store_kind(backup->store));
    if (gethostname(manifest->host, sizeof manifest->host - 1) != 0) {
        manifest->host[0] = '\0';
    }
}

static void fill_report(const making *m)
{
    nx_backup_report *report = m->report;
    report->tables = m->manifest.table_count;
    report->objects = m->manifest.object_count + m->manifest.file_count;
    report->missing = m->manifest.missing_count;
    for (size_t i = 0; i < m->manifest.table_count; i++) {
        report->rows += m->manifest.tables[i].rows;
    }
    if (report->missing > 0) {
        memcpy(report->first_missing, m->manifest.missing[0].sha256, NX_OBJECT_NAME_SIZE);
    }
    memcpy(report->id, m->manifest.id, sizeof report->id);
}

/* Not when the clock has gone back: then those that seem the newest are not. */
static nx_status prune(const nx_backup *backup, size_t keep, nx_backup_report *out, nx_error *err)
{
    char(*ids)[NX_BACKUP_ID_SIZE] = NULL;
    size_t count = 0;
    nx_status status = nx_backup_list(backup->vault, &ids, &count, err);
    if (status == NX_OK && strcmp(ids[count - 1], out->id) != 0) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "%s is of a later time than this one: is the clock right?",
                              ids[count - 1]);
    }
    free(ids);
    if (status == NX_OK) {
        status = nx_backup_prune(backup->vault, keep, &out->removed, err);
    }
    return status == NX_OK
               ? NX_OK
               : nx_error_prefix(err, "the backup is made, but older ones are not removed");
}

nx_status nx_backup_make(const nx_backup *backup, size_t keep, nx_backup_report *out, nx_error *err)
{
    making m = {.backup = backup, .report = out, .chunk = malloc(NX_BACKUP_CHUNK)};
    size_t ignored = 0;
    *out = (nx_backup_report){0};
    nx_status status = m.chunk != NULL
                           ? nx_backup_tidy(backup->vault, err)
                           : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a backup");
    if (status == NX_OK) {
        name_backup(&m.manifest, backup);
        status = make(&m, err);
    }
    nx_rows_abandon(m.rows);
    if (status == NX_OK) {
        fill_report(&m);
    } else if (m.chunk != NULL) { /* a disk that is full has room again */
        (void)nx_backup_tidy(backup->vault, NULL);
        (void)nx_backup_prune(backup->vault, 0, &ignored, NULL);
    }
    if (status == NX_OK && keep > 0) {
        status = prune(backup, keep, out, err);
    }
    nx_manifest_free(&m.manifest);
    free(m.chunk);
    return status;
}

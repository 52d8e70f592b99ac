#include "backup/vault_key.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK  ((size_t)64 * 1024) /* of plain bytes that are sealed together */
#define SEAL   crypto_secretstream_xchacha20poly1305_ABYTES
#define HEADER crypto_secretstream_xchacha20poly1305_HEADERBYTES
#define LOCK   "lock" /* the file */

/* So many files, or bytes, are synced and named together. */
#define MOST_WAITING       ((size_t)1000)
#define MOST_WAITING_BYTES (INT64_C(256) << 20)

typedef struct waiting {
    char from[NX_VAULT_PATH_SIZE];
    char to[NX_VAULT_PATH_SIZE];
} waiting;

struct nx_vault {
    char *path;
    nx_vault_keys keys;
    int lock; /* descriptor; -1: none */
    waiting *waiting;
    size_t waiting_count;
    int64_t waiting_bytes;
    unsigned made; /* files in tmp/, for their names */
};

struct nx_vault_writer {
    nx_vault *vault;
    int fd;
    int64_t bytes;
    waiting names;
    size_t used; /* of plain */
    crypto_secretstream_xchacha20poly1305_state state;
    unsigned char plain[CHUNK];
    unsigned char sealed[CHUNK + SEAL];
};

struct nx_vault_reader {
    nx_vault *vault;
    int fd;
    bool final; /* the last chunk has been read */
    char path[NX_VAULT_PATH_SIZE];
    size_t at, used; /* of plain */
    crypto_secretstream_xchacha20poly1305_state state;
    unsigned char plain[CHUNK];
    unsigned char sealed[CHUNK + SEAL + 1];
};

/* --- the folder --- */

static bool full_path(const nx_vault *vault, const char *path, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s/%s", vault->path, path) < PATH_MAX;
}

/* With ".enc" behind it where the file is encrypted. */
static bool file_path(const nx_vault *vault, const char *path, char out[PATH_MAX])
{
    return snprintf(out, PATH_MAX, "%s/%s%s", vault->path, path,
                    vault->keys.encrypted ? ".enc" : "") < PATH_MAX;
}

/* The folders of a file, for their owner alone. */
static nx_status make_folders(const nx_vault *vault, const char *path, nx_error *err)
{
    char full[PATH_MAX];
    if (!full_path(vault, path, full)) {
        return nx_error_set(err, NX_ERR_INVALID, "the path of the backups is too long");
    }
    for (char *slash = full + strlen(vault->path); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        int made = mkdir(full, 0700);
        if (made != 0 && errno != EEXIST) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot make %s", full);
        }
        *slash = '/';
    }
    return NX_OK;
}

/* Nothing is in it, but for a lock: of another who begins just now, or was killed at that. */
static bool is_empty(const char *path)
{
    DIR *folder = opendir(path);
    struct dirent *entry = NULL;
    bool empty = true;
    while (folder != NULL && empty && (entry = readdir(folder)) != NULL) {
        empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                strcmp(entry->d_name, LOCK) == 0;
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return empty;
}

static nx_status take_lock(nx_vault *vault, bool writes, nx_error *err)
{
    char path[PATH_MAX];
    (void)full_path(vault, LOCK, path);
    vault->lock = open(path, (writes ? O_RDWR | O_CREAT : O_RDONLY) | O_CLOEXEC, 0600);
    if (vault->lock < 0 && !writes && errno != EACCES) {
        return NX_OK; /* a copy on a medium that nobody writes to */
    }
    if (vault->lock < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s", vault->path);
    }
    if (flock(vault->lock, (writes ? LOCK_EX : LOCK_SH) | LOCK_NB) == 0) {
        return NX_OK;
    }
    if (errno == EWOULDBLOCK) {
        return nx_error_set(err, NX_ERR_BUSY, "another backup is being written to %s", vault->path);
    }
    return !writes ? NX_OK
                   : nx_error_set_errno(err, NX_ERR_IO, errno,
                                        "cannot lock %s, without which two backups at once would "
                                        "spoil each other; name a folder on a file system that has "
                                        "locks, or mount this one with them",
                                        path);
}

static nx_status refuse_others(const char *path, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CONFLICT,
                        "%s holds other things than backups of Nexus; name an empty folder", path);
}

/* A folder, locked: who makes the mark, with the salt of all keys, must be the only one. Nothing is
 * put into a folder of other things. */
static nx_status lock_folder(nx_vault *vault, const char *mark, nx_error *err)
{
    char lock[PATH_MAX];
    if (!full_path(vault, LOCK, lock)) {
        return nx_error_set(err, NX_ERR_INVALID, "the path of the backups is too long");
    }
    nx_status status = nx_file_make_dirs(vault->path, err);
    if (status == NX_OK && !is_empty(vault->path) && access(lock, F_OK) != 0 &&
        access(mark, F_OK) != 0) {
        status = refuse_others(vault->path, err);
    }
    return status == NX_OK ? take_lock(vault, true, err) : status;
}

static nx_status begin_folder(const nx_vault_options *options, nx_vault *vault, nx_error *err)
{
    char mark[PATH_MAX];
    if (!full_path(vault, NX_VAULT_MARK, mark)) {
        return nx_error_set(err, NX_ERR_INVALID, "the path of the backups is too long");
    }
    nx_status status = options->make ? lock_folder(vault, mark, err) : NX_OK;
    if (status != NX_OK) {
        return status;
    }
    if (access(mark, F_OK) == 0) {
        return nx_vault_keys_read(options, mark, &vault->keys, err);
    }
    if (!options->make) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "there are no backups in %s", options->path);
    }
    return is_empty(options->path) ? nx_vault_keys_make(options, mark, &vault->keys, err)
                                   : refuse_others(options->path, err);
}

nx_status nx_vault_open(const nx_vault_options *options, nx_vault **out, nx_error *err)
{
    *out = NULL;
    if (sodium_init() < 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libsodium does not start");
    }
    nx_vault *vault = calloc(1, sizeof *vault);
    if (vault == NULL || (vault->path = strdup(options->path)) == NULL ||
        (vault->waiting = calloc(MOST_WAITING, sizeof *vault->waiting)) == NULL) {
        nx_vault_close(vault);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for backups");
    }
    vault->lock = -1;
    nx_status status = begin_folder(options, vault, err);
    if (status != NX_OK) {
        nx_vault_close(vault);
        return status;
    }
    *out = vault;
    return NX_OK;
}

void nx_vault_close(nx_vault *vault)
{
    if (vault == NULL) {
        return;
    }
    for (size_t i = 0; i < vault->waiting_count; i++) {
        nx_vault_remove(vault, vault->waiting[i].from);
    }
    if (vault->lock > 0) {
        close(vault->lock);
    }
    sodium_memzero(&vault->keys, sizeof vault->keys);
    free(vault->waiting);
    free(vault->path);
    free(vault);
}

const char *nx_vault_place(const nx_vault *vault)
{
    return vault->path;
}

nx_status nx_vault_lock(nx_vault *vault, nx_error *err)
{
    return take_lock(vault, false, err);
}

void nx_vault_object_path(const nx_vault *vault, const char *sha256, char out[NX_VAULT_PATH_SIZE])
{
    unsigned char hash[32];
    char name[2 * sizeof hash + 1];
    if (vault->keys.encrypted) {
        (void)crypto_generichash(hash, sizeof hash, (const unsigned char *)sha256, strlen(sha256),
                                 vault->keys.names, sizeof vault->keys.names);
        (void)sodium_bin2hex(name, sizeof name, hash, sizeof hash);
    } else {
        snprintf(name, sizeof name, "%s", sha256);
    }
    snprintf(out, NX_VAULT_PATH_SIZE, "objects/%.2s/%s", name, name);
}

bool nx_vault_size(const nx_vault *vault, const char *path, int64_t *size)
{
    char full[PATH_MAX];
    struct stat info;
    if (!file_path(vault, path, full) || stat(full, &info) != 0 || !S_ISREG(info.st_mode)) {
        return false;
    }
    *size = info.st_size;
    if (vault->keys.encrypted) { /* whole chunks and a last one that is shorter */
        int64_t sealed = info.st_size - (int64_t)HEADER;
        int64_t whole = sealed / (int64_t)(CHUNK + SEAL);
        *size = sealed - (whole + 1) * (int64_t)SEAL;
    }
    return *size >= 0;
}

nx_status nx_vault_list(nx_vault *vault, const char *folder,
                        nx_status (*each)(void *user, const char *name, nx_error *err), void *user,
                        nx_error *err)
{
    char full[PATH_MAX];
    nx_status status = NX_OK;
    struct dirent *entry = NULL;
    DIR *open_folder = full_path(vault, folder, full) ? opendir(full) : NULL;
    if (open_folder == NULL) {
        return errno == ENOENT ? NX_OK
                               : nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", full);
    }
    while (status == NX_OK && (entry = readdir(open_folder)) != NULL) {
        char name[NAME_MAX + 1];
        snprintf(name, sizeof name, "%s", entry->d_name);
        if (name[0] != '.') {
            char *suffix = strstr(name, ".enc");
            if (suffix != NULL && suffix[4] == '\0') {
                *suffix = '\0';
            }
            status = each(user, name, err);
        }
    }
    closedir(open_folder);
    return status;
}

void nx_vault_remove(nx_vault *vault, const char *path)
{
    char full[PATH_MAX];
    if (file_path(vault, path, full) && unlink(full) == 0) {
        return;
    }
    if (full_path(vault, path, full)) {
        nx_file_remove_tree(full);
    }
}

/* --- writing --- */

static nx_status write_all(nx_vault_writer *writer, const void *bytes, size_t size, nx_error *err)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t put = write(writer->fd, at, size);
        if (put < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s",
                                      writer->vault->path);
        }
        at += put > 0 ? put : 0;
        size -= put > 0 ? (size_t)put : 0;
        writer->bytes += put > 0 ? put : 0;
    }
    return NX_OK;
}

/* Seals what is in plain. */
static nx_status seal(nx_vault_writer *writer, bool last, nx_error *err)
{
    unsigned char tag = last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL
                             : crypto_secretstream_xchacha20poly1305_TAG_MESSAGE;
    (void)crypto_secretstream_xchacha20poly1305_push(
        &writer->state, writer->sealed, NULL, writer->plain, writer->used,
        (const unsigned char *)writer->names.to, strlen(writer->names.to), tag);
    size_t size = writer->used + SEAL;
    writer->used = 0;
    return write_all(writer, writer->sealed, size, err);
}

nx_status nx_vault_create(nx_vault *vault, const char *path, nx_vault_writer **out, nx_error *err)
{
    char full[PATH_MAX];
    unsigned char header[HEADER];
    *out = NULL;
    nx_vault_writer *writer = calloc(1, sizeof *writer);
    if (writer == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a file of the backup");
    }
    writer->vault = vault;
    snprintf(writer->names.to, sizeof writer->names.to, "%s", path);
    snprintf(writer->names.from, sizeof writer->names.from, "tmp/%u", ++vault->made);
    writer->fd = -1;
    nx_status status = make_folders(vault, writer->names.from, err);
    if (status == NX_OK) {
        (void)file_path(vault, writer->names.from, full);
        writer->fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (writer->fd < 0) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", full);
        }
    }
    if (status == NX_OK && vault->keys.encrypted) {
        (void)crypto_secretstream_xchacha20poly1305_init_push(&writer->state, header,
                                                              vault->keys.files);
        status = write_all(writer, header, sizeof header, err);
    }
    if (status != NX_OK) {
        nx_vault_abandon(writer);
        return status;
    }
    *out = writer;
    return NX_OK;
}

nx_status nx_vault_put(nx_vault_writer *writer, const void *bytes, size_t size, nx_error *err)
{
    const char *at = bytes;
    nx_status status = NX_OK;
    if (!writer->vault->keys.encrypted) {
        return write_all(writer, bytes, size, err);
    }
    while (size > 0 && status == NX_OK) {
        size_t some = size < CHUNK - writer->used ? size : CHUNK - writer->used;
        memcpy(writer->plain + writer->used, at, some);
        writer->used += some;
        at += some;
        size -= some;
        if (writer->used == CHUNK) {
            status = seal(writer, false, err);
        }
    }
    return status;
}

void nx_vault_abandon(nx_vault_writer *writer)
{
    if (writer == NULL) {
        return;
    }
    if (writer->fd >= 0) {
        close(writer->fd);
        nx_vault_remove(writer->vault, writer->names.from);
    }
    sodium_memzero(writer, sizeof *writer);
    free(writer);
}

nx_status nx_vault_finish(nx_vault_writer *writer, nx_error *err)
{
    nx_vault *vault = writer->vault;
    nx_status status = vault->keys.encrypted ? seal(writer, true, err) : NX_OK;
    if (status == NX_OK && vault->waiting_count == MOST_WAITING) {
        status = nx_vault_publish(vault, err);
    }
    if (status == NX_OK) { /* network file systems tell of a full disk here */
        int fd = writer->fd;
        writer->fd = -1;
        vault->waiting[vault->waiting_count++] = writer->names;
        vault->waiting_bytes += writer->bytes;
        if (close(fd) != 0) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s", vault->path);
        }
    }
    nx_vault_abandon(writer);
    return status;
}

/* All files at once: one call for the file system costs less than one for each. */
static nx_status sync_all(const nx_vault *vault, nx_error *err)
{
    int fd = open(vault->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int failure = fd < 0 || syncfs(fd) != 0 ? errno : 0;
    if (fd >= 0) {
        close(fd);
    }
    return failure == 0
               ? NX_OK
               : nx_error_set_errno(err, NX_ERR_IO, failure, "cannot write into %s", vault->path);
}

static nx_status give_name(const nx_vault *vault, const waiting *names, nx_error *err)
{
    char from[PATH_MAX];
    char to[PATH_MAX];
    nx_status status = make_folders(vault, names->to, err);
    if (status == NX_OK && (!file_path(vault, names->from, from) ||
                            !file_path(vault, names->to, to) || rename(from, to) != 0)) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s", vault->path);
    }
    return status;
}

nx_status nx_vault_publish(nx_vault *vault, nx_error *err)
{
    nx_status status = vault->waiting_count > 0 ? sync_all(vault, err) : NX_OK;
    size_t named = 0;
    while (status == NX_OK && named < vault->waiting_count) {
        status = give_name(vault, &vault->waiting[named], err);
        named += status == NX_OK;
    }
    if (status == NX_OK && named > 0) {
        status = sync_all(vault, err);
    }
    memmove(vault->waiting, vault->waiting + named,
            (vault->waiting_count - named) * sizeof vault->waiting[0]);
    vault->waiting_count -= named;
    vault->waiting_bytes = vault->waiting_count > 0 ? vault->waiting_bytes : 0;
    return status;
}

nx_status nx_vault_publish_some(nx_vault *vault, nx_error *err)
{
    return vault->waiting_bytes > MOST_WAITING_BYTES ? nx_vault_publish(vault, err) : NX_OK;
}

/* --- reading --- */

static nx_status read_all(nx_vault_reader *reader, void *bytes, size_t size, size_t *got,
                          nx_error *err)
{
    *got = 0;
    while (*got < size) {
        ssize_t some = read(reader->fd, (char *)bytes + *got, size - *got);
        if (some < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s/%s",
                                      reader->vault->path, reader->path);
        }
        if (some == 0) {
            break;
        }
        *got += some > 0 ? (size_t)some : 0;
    }
    return NX_OK;
}

static nx_status damaged(const nx_vault_reader *reader, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CORRUPT, "%s/%s.enc is damaged: its bytes were changed or cut",
                        reader->vault->path, reader->path);
}

nx_status nx_vault_read(nx_vault *vault, const char *path, nx_vault_reader **out, nx_error *err)
{
    char full[PATH_MAX];
    unsigned char header[HEADER];
    size_t got = 0;
    *out = NULL;
    nx_vault_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a file of the backup");
    }
    reader->vault = vault;
    snprintf(reader->path, sizeof reader->path, "%s", path);
    (void)file_path(vault, path, full);
    reader->fd = open(full, O_RDONLY | O_CLOEXEC);
    nx_status status = NX_OK;
    if (reader->fd < 0) {
        status = nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                    "cannot read %s", full);
    } else if (vault->keys.encrypted) {
        status = read_all(reader, header, sizeof header, &got, err);
        if (status == NX_OK &&
            (got < sizeof header || crypto_secretstream_xchacha20poly1305_init_pull(
                                        &reader->state, header, vault->keys.files) != 0)) {
            status = damaged(reader, err);
        }
    }
    if (status != NX_OK) {
        nx_vault_read_end(reader);
        return status;
    }
    *out = reader;
    return NX_OK;
}

/* The next chunk into plain. */
static nx_status unseal(nx_vault_reader *reader, nx_error *err)
{
    unsigned char tag = 0;
    size_t got = 0;
    unsigned long long size = 0;
    nx_status status = read_all(reader, reader->sealed, CHUNK + SEAL, &got, err);
    if (status != NX_OK) {
        return status;
    }
    if (got < SEAL || crypto_secretstream_xchacha20poly1305_pull(
                          &reader->state, reader->plain, &size, &tag, reader->sealed, got,
                          (const unsigned char *)reader->path, strlen(reader->path)) != 0) {
        return damaged(reader, err);
    }
    reader->at = 0;
    reader->used = (size_t)size;
    reader->final = tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL;
    if (reader->final) {
        status = read_all(reader, reader->sealed, 1, &got, err);
        return status == NX_OK && got > 0 ? damaged(reader, err) : status;
    }
    return NX_OK;
}

nx_status nx_vault_get(nx_vault_reader *reader, void *bytes, size_t size, size_t *got,
                       nx_error *err)
{
    nx_status status = NX_OK;
    if (!reader->vault->keys.encrypted) {
        return read_all(reader, bytes, size, got, err);
    }
    *got = 0;
    while (*got < size && status == NX_OK) {
        if (reader->at == reader->used && reader->final) {
            break;
        }
        if (reader->at == reader->used) {
            status = unseal(reader, err);
            continue;
        }
        size_t some = reader->used - reader->at;
        some = some < size - *got ? some : size - *got;
        memcpy((char *)bytes + *got, reader->plain + reader->at, some);
        reader->at += some;
        *got += some;
    }
    return status;
}

void nx_vault_read_end(nx_vault_reader *reader)
{
    if (reader != NULL) {
        if (reader->fd >= 0) {
            close(reader->fd);
        }
        sodium_memzero(reader, sizeof *reader);
        free(reader);
    }
}

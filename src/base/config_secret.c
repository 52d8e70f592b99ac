/* Secrets that stand in files: those of Docker and Kubernetes, or an operator's own. */
#include "base/buffer.h"
#include "base/config_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_BYTES ((size_t)64 << 10)

nx_status nx_config_put_file(nx_config *config, nx_config_key key, const char *path,
                             const char *base, const char *origin, nx_config_rank rank,
                             nx_error *err)
{
    const char *slash = base != NULL ? strrchr(base, '/') : NULL;
    char *file = NULL;
    if (path[0] == '\0') {
        return nx_error_set(err, NX_ERR_INVALID, "%s: a file's name is missing", origin);
    }
    int length = path[0] != '/' && slash != NULL
                     ? asprintf(&file, "%.*s/%s", (int)(slash - base), base, path)
                     : asprintf(&file, "%s", path);
    if (length < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the configuration");
    }
    nx_status status = nx_config_put(config, key, "", origin, rank, err);
    if (status != NX_OK) {
        free(file);
        return status;
    }
    config->values[key].file = file;
    config->values[key].in_file = true;
    return NX_OK;
}

/* Containers keep theirs in memory, open to all of that container. */
static bool is_container_secret(const char *path)
{
    return strncmp(path, "/run/secrets/", 13) == 0 || strncmp(path, "/var/run/secrets/", 17) == 0;
}

/* Reads an open file; what is no file (a pipe, a terminal) would keep the start waiting. */
static nx_status read_open(int fd, const char *path, nx_buffer *out, struct stat *info,
                           nx_error *err)
{
    ssize_t got = 0;
    if (fstat(fd, info) != 0 || !S_ISREG(info->st_mode)) {
        return nx_error_set(err, NX_ERR_INVALID, "%.200s is no regular file", path);
    }
    if (!nx_buffer_reserve(out, MOST_BYTES + 1)) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for %.200s", path);
    }
    do {
        got = read(fd, out->data + out->size, MOST_BYTES + 1 - out->size);
        out->size += got > 0 ? (size_t)got : 0;
    } while ((got > 0 && out->size <= MOST_BYTES) || (got < 0 && errno == EINTR));
    if (got < 0) {
        return nx_error_set_errno(err, NX_ERR_INVALID, errno, "cannot read %.200s", path);
    }
    return out->size > MOST_BYTES
               ? nx_error_set(err, NX_ERR_INVALID,
                              "%.200s is larger than %zu bytes; a secret is not", path, MOST_BYTES)
               : NX_OK;
}

/* What was read, without the newline that editors and echo leave. */
static nx_status take_text(nx_buffer *text, const char *path, nx_error *err)
{
    size_t size = text->size;
    size -= size > 0 && text->data[size - 1] == '\n';
    size -= size < text->size && size > 0 && text->data[size - 1] == '\r';
    text->size = size;
    if (size == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "%.200s is empty", path);
    }
    return memchr(text->data, '\0', size) != NULL
               ? nx_error_set(err, NX_ERR_INVALID, "%.200s holds a NUL byte", path)
               : NX_OK;
}

static nx_status read_secret(nx_config *config, nx_config_key key, nx_error *err)
{
    nx_config_value *slot = &config->values[key];
    nx_buffer text = NX_BUFFER_INIT;
    struct stat info;
    nx_error why = {0};
    int fd = open(slot->file, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    nx_status status = fd >= 0
                           ? read_open(fd, slot->file, &text, &info, &why)
                           : nx_error_set_errno(&why, NX_ERR_INVALID, errno,
                                                "cannot open %.200s; name a file that this user "
                                                "may read",
                                                slot->file);
    status = status == NX_OK ? take_text(&text, slot->file, &why) : status;
    char *copy = status == NX_OK ? strdup(nx_buffer_cstr(&text)) : NULL;
    if (status != NX_OK) {
        nx_error_set(err, status, "%s: %s", slot->origin, why.message);
    } else if (copy == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the configuration");
    } else {
        if ((info.st_mode & S_IROTH) != 0 && !is_container_secret(slot->file)) {
            nx_config_warn(config, "%s: everybody on this machine can read %.200s; chmod 600 it",
                           slot->origin, slot->file);
        }
        free(slot->text);
        free(slot->file);
        slot->text = copy;
        slot->file = NULL;
    }
    if (text.data != NULL) {
        explicit_bzero(text.data, text.size);
    }
    nx_buffer_free(&text);
    if (fd >= 0) {
        close(fd);
    }
    return status;
}

nx_status nx_config_read_secrets(nx_config *config, nx_error *err)
{
    nx_status status = NX_OK;
    for (size_t i = 0; i < NX_CONFIG_COUNT && status == NX_OK; i++) {
        if (config->values[i].file != NULL) {
            status = read_secret(config, (nx_config_key)i, err);
        }
    }
    return status;
}

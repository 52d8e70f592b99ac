/* What is known of optimisations: files in DATA_DIR/optimize, one for each model. */
#include "api/optimize.h"

#include "api/storage.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const states[] = {
    [NX_OPTIMIZE_RUNNING] = "running",     [NX_OPTIMIZE_SUCCEEDED] = "succeeded",
    [NX_OPTIMIZE_REFUSED] = "refused",     [NX_OPTIMIZE_FAILED] = "failed",
    [NX_OPTIMIZE_CANCELLED] = "cancelled",
};

/* NULL without memory. */
static char *path_of(const char *folder, const char *name, const char *ending)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s%s", folder, name, ending) >= 0 ? path : NULL;
}

/* --- the lock -----------------------------------------------------------------------------------
 */

static int open_lock(const char *folder, int flags)
{
    char *path = path_of(folder, "lock", "");
    int fd = path != NULL ? open(path, flags | O_CLOEXEC, 0600) : -1;
    free(path);
    return fd;
}

nx_status nx_optimize_lock(const char *folder, int *fd, nx_error *err)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    nx_status status = nx_file_make_dirs(folder, err);
    if (status != NX_OK) {
        return status;
    }
    *fd = open_lock(folder, O_RDWR | O_CREAT);
    if (*fd < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write into %s", folder);
    }
    if (fcntl(*fd, F_OFD_SETLK, &whole) != 0) {
        int reason = errno;
        close(*fd);
        *fd = -1;
        return reason == EAGAIN || reason == EACCES
                   ? nx_error_set(err, NX_ERR_BUSY, "another model is being optimised already")
                   : nx_error_set_errno(err, NX_ERR_IO, reason, "cannot lock %s/lock", folder);
    }
    return NX_OK;
}

static bool is_locked(const char *folder)
{
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    int fd = open_lock(folder, O_RDWR);
    if (fd < 0) {
        return false;
    }
    bool locked = fcntl(fd, F_OFD_GETLK, &whole) == 0 && whole.l_type != F_UNLCK;
    close(fd);
    return locked;
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void write_wishes(const nx_optimization *what, nx_json *json)
{
    nx_json_key_string(json, "model", what->model);
    nx_json_key_int(json, "version", what->version);
    nx_json_key_string(json, "precision", what->precision);
    nx_json_key_string(json, "video_id", what->video[0] != '\0' ? what->video : NULL);
    nx_json_key_int(json, "limit", what->limit);
    nx_json_key_int(json, "rounds", what->rounds);
    nx_json_key_bool(json, "force", what->force);
    nx_json_key_string(json, "by", what->by[0] != '\0' ? what->by : NULL);
}

static void write_count(nx_json *json, const char *key, bool known, size_t count)
{
    nx_json_key(json, key);
    if (known) {
        nx_json_int(json, (int64_t)count);
    } else {
        nx_json_null(json);
    }
}

nx_status nx_optimize_note(const char *folder, const nx_optimization *what, nx_error *err)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    char *path = path_of(folder, what->model, ".json");
    nx_json_object_begin(&json);
    write_wishes(what, &json);
    nx_json_key_string(&json, "state", states[what->state]);
    nx_json_key_string(&json, "stage", what->stage[0] != '\0' ? what->stage : NULL);
    write_count(&json, "done", what->total > 0, what->done);
    write_count(&json, "total", what->total > 0, what->total);
    nx_json_key_string(&json, "error", what->error[0] != '\0' ? what->error : NULL);
    write_count(&json, "installed_version", what->installed > 0, what->installed);
    nx_api_json_text(&json, "report", what->report);
    nx_api_json_time(&json, "started_at", what->started_at);
    nx_api_json_time(&json, "finished_at", what->finished_at);
    nx_json_object_end(&json);
    nx_status status = path != NULL && !out.failed
                           ? nx_file_write(path, out.data, out.size, err)
                           : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to note it");
    nx_buffer_free(&out);
    free(path);
    return status;
}

/* --- reading ------------------------------------------------------------------------------------
 */

static json_t *read_known(const char *path)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_error ignored = {0};
    json_t *known = NULL;
    if (nx_file_read(path, 2 * NX_OPTIMIZE_MAX_TEXT, &bytes, &ignored) == NX_OK) {
        known = json_loadb((const char *)bytes.data, bytes.size, 0, NULL);
    }
    nx_buffer_free(&bytes);
    return known;
}

static bool is_running(const json_t *known)
{
    const char *state = json_string_value(json_object_get(known, "state"));
    return state != NULL && strcmp(state, states[NX_OPTIMIZE_RUNNING]) == 0;
}

json_t *nx_optimize_known(const char *folder, const char *model)
{
    char *path = path_of(folder, model, ".json");
    json_t *known = path != NULL ? read_known(path) : NULL;
    if (is_running(known) && !is_locked(folder)) {
        json_decref(known);
        known = read_known(path); /* it may have ended between the two looks */
        if (is_running(known)) {
            json_object_set_new(known, "state", json_string(states[NX_OPTIMIZE_FAILED]));
            json_object_set_new(known, "error", json_string("the server ended before it was done"));
        }
    }
    free(path);
    return known;
}

/* --- ending it ----------------------------------------------------------------------------------
 */

nx_status nx_optimize_ask_end(const char *folder, nx_error *err)
{
    char *path = path_of(folder, "cancel", "");
    nx_status status = path != NULL ? nx_file_write(path, "", 0, err)
                                    : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    free(path);
    return status;
}

bool nx_optimize_end_asked(const char *folder)
{
    char *path = path_of(folder, "cancel", "");
    bool asked = path != NULL && access(path, F_OK) == 0;
    free(path);
    return asked;
}

void nx_optimize_forget_end(const char *folder)
{
    char *path = path_of(folder, "cancel", "");
    if (path != NULL) {
        (void)unlink(path);
    }
    free(path);
}

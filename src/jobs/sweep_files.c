#include "jobs/sweep_files.h"

#include "base/file.h"
#include "base/uuid.h"
#include "store/jobs.h"
#include "store/videos.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What is looked at of a folder: what is in it. */
typedef nx_status (*look_fn)(const nx_sweep_options *options, int folder, const char *name,
                             nx_swept *out, nx_error *err);

static bool is_stopped(const nx_sweep_options *options)
{
    return options->stop != NULL && atomic_load(options->stop);
}

/* Whether the last change of a thing is old enough. False as well when there is none. */
static bool is_old(const nx_sweep_options *options, int folder, const char *name, bool *is_folder)
{
    struct stat info;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) != 0) {
        return false;
    }
    *is_folder = S_ISDIR(info.st_mode);
    int64_t age_ms = (int64_t)(now.tv_sec - info.st_mtim.tv_sec) * 1000 +
                     (now.tv_nsec - info.st_mtim.tv_nsec) / 1000000;
    return (*is_folder || S_ISREG(info.st_mode)) && age_ms >= options->file_ms;
}

/* Looks at everything in a folder. What fails is told at the end. No folder is as good as an empty
 * one. */
static nx_status look_at_all(const nx_sweep_options *options, DIR *folder, look_fn look,
                             nx_swept *out, nx_error *err)
{
    nx_status status = NX_OK;
    const struct dirent *entry = NULL;
    while (!is_stopped(options) && (entry = readdir(folder)) != NULL) {
        nx_error why = {0};
        nx_status one = entry->d_name[0] == '.' && strncmp(entry->d_name, ".upload.", 8) != 0
                            ? NX_OK
                            : look(options, dirfd(folder), entry->d_name, out, &why);
        if (one != NX_OK && status == NX_OK) {
            status = one;
            *err = why;
        }
    }
    return status;
}

static nx_status look_into(const nx_sweep_options *options, const char *name, look_fn look,
                           nx_swept *out, nx_error *err)
{
    char *path = NULL;
    if (asprintf(&path, "%s/%s", options->data_dir, name) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to look for what is left");
    }
    DIR *folder = opendir(path);
    nx_status status = NX_OK;
    if (folder != NULL) {
        status = look_at_all(options, folder, look, out, err);
        closedir(folder);
    } else if (errno != ENOENT) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot look into %s", path);
    }
    free(path);
    return status;
}

/* --- uploads ------------------------------------------------------------------------------------
 */

/* The id in "ID.part"; false: it is another file. */
static bool read_id(const char *name, char id[NX_UUID_SIZE])
{
    snprintf(id, NX_UUID_SIZE, "%.36s", name);
    return nx_uuid_is(id) && strcmp(name + strlen(id), ".part") == 0;
}

static nx_status look_at_file(const nx_sweep_options *options, int folder, const char *name,
                              nx_swept *out, nx_error *err)
{
    char id[NX_UUID_SIZE];
    bool is_folder = false;
    nx_upload upload;
    nx_error none = {0};
    /* a form's, and one that was to have no name (objects_s3.c) */
    bool temporary = strncmp(name, ".upload.", 8) == 0 || strncmp(name, "fetch.", 6) == 0;
    if ((!temporary && !read_id(name, id)) || !is_old(options, folder, name, &is_folder) ||
        is_folder) {
        return NX_OK;
    }
    if (!temporary) {
        nx_arena arena = nx_arena_make(0);
        nx_status known = nx_store_upload_get(options->store, id, &arena, &upload, &none);
        nx_arena_free(&arena);
        if (known != NX_ERR_NOT_FOUND) {
            *err = none;
            return known;
        }
    }
    if (unlinkat(folder, name, 0) == 0) {
        out->files++;
    } else if (errno != ENOENT) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot remove uploads/%s", name);
    }
    return NX_OK;
}

nx_status nx_sweep_upload_files(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    return look_into(options, "uploads", look_at_file, out, err);
}

/* --- leases -------------------------------------------------------------------------------------
 */

/* A folder and everything in it; young is the youngest of them. */
static bool is_old_folder(const nx_sweep_options *options, const char *path)
{
    bool is_folder = false;
    bool old = is_old(options, AT_FDCWD, path, &is_folder) && is_folder;
    DIR *folder = old ? opendir(path) : NULL;
    const struct dirent *entry = NULL;
    while (old && folder != NULL && (entry = readdir(folder)) != NULL) {
        old = entry->d_name[0] == '.' || is_old(options, dirfd(folder), entry->d_name, &is_folder);
    }
    if (folder != NULL) {
        closedir(folder);
    }
    return old;
}

static void look_at_lease(const nx_sweep_options *options, const char *home, const char *name,
                          const char *held, nx_swept *out)
{
    char *path = NULL;
    size_t digits = strspn(name, "0123456789");
    if (digits == 0 || name[digits] != '\0' || strcmp(name, held) == 0 ||
        asprintf(&path, "%s/%s", home, name) < 0) {
        return;
    }
    if (is_old_folder(options, path)) {
        nx_file_remove_tree(path);
        out->folders += access(path, F_OK) != 0;
    }
    free(path);
}

/* A job's folder: leases in it. The folder itself stays while somebody may be making one in it. */
static nx_status look_at_job(const nx_sweep_options *options, int folder, const char *name,
                             nx_swept *out, nx_error *err)
{
    char held[24] = "";
    char *home = NULL;
    nx_job job = {0};
    nx_error none = {0};
    if (!nx_uuid_is(name)) {
        return NX_OK;
    }
    nx_arena arena = nx_arena_make(0);
    nx_status known = nx_store_job_get(options->store, name, &arena, &job, &none);
    bool running = known == NX_OK && job.state == NX_JOB_RUNNING;
    bool waiting = known == NX_OK && job.state == NX_JOB_QUEUED;
    if (running) {
        snprintf(held, sizeof held, "%lld", (long long)job.fence);
    }
    nx_arena_free(&arena);
    if (known != NX_OK && known != NX_ERR_NOT_FOUND) {
        *err = none;
        return known;
    }
    if (asprintf(&home, "%s/jobs/%s", options->data_dir, name) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to look for what is left");
    }
    DIR *leases = opendir(home);
    const struct dirent *entry = NULL;
    while (leases != NULL && (entry = readdir(leases)) != NULL) {
        look_at_lease(options, home, entry->d_name, held, out);
    }
    if (leases != NULL) {
        closedir(leases);
    }
    if (!running && !waiting) {
        (void)unlinkat(folder, name, AT_REMOVEDIR); /* unless something is in it */
    }
    free(home);
    return NX_OK;
}

nx_status nx_sweep_lease_folders(const nx_sweep_options *options, nx_swept *out, nx_error *err)
{
    return look_into(options, "jobs", look_at_job, out, err);
}

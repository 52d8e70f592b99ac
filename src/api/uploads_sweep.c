/* What a server that was killed has left in the folder of uploads: files that nobody writes any
 * more and no row of the database knows. */
#include "api/uploads.h"
#include "base/log.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

typedef struct sweep {
    nx_api_work work; /* first */
    nx_api *api;
} sweep;

/* Whether a file got its last byte longer ago than an upload waits for the next one. */
static bool is_old(const nx_api *api, int folder, const char *name)
{
    struct stat info;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
           info.st_mtim.tv_sec < now.tv_sec - api->upload_ms / 1000;
}

/* The id in "ID.part"; false: it is another file. */
static bool read_id(const char *name, char id[NX_UUID_SIZE])
{
    snprintf(id, NX_UUID_SIZE, "%.36s", name);
    return nx_uuid_is(id) && strcmp(name + strlen(id), ".part") == 0;
}

static void look_at(nx_api *api, int folder, const char *name)
{
    char id[NX_UUID_SIZE];
    nx_error err = {0};
    nx_upload upload;
    nx_arena arena = nx_arena_make(0);
    nx_status status = NX_OK;
    if (strncmp(name, ".upload.", 8) == 0 && is_old(api, folder, name)) { /* a form's */
        status = unlinkat(folder, name, 0) == 0 ? NX_OK : NX_ERR_IO;
    } else if (read_id(name, id) && is_old(api, folder, name) &&
               nx_store_upload_get(api->deps.database, id, &arena, &upload, &err) ==
                   NX_ERR_NOT_FOUND) {
        status = nx_objects_discard(api->deps.objects, id, &err);
    }
    if (status != NX_OK) {
        nx_log_warn("api", "cannot remove what is left of an upload: %s", name);
    }
    nx_arena_free(&arena);
}

static void run(nx_api_work *work)
{
    nx_api *api = ((sweep *)work)->api;
    free(work);
    nx_api_uploads_expire(api);
    DIR *folder = opendir(api->upload_dir);
    const struct dirent *entry = folder != NULL ? readdir(folder) : NULL;
    for (; entry != NULL; entry = readdir(folder)) {
        look_at(api, dirfd(folder), entry->d_name);
    }
    if (folder != NULL) {
        closedir(folder);
    }
}

void nx_api_uploads_sweep(nx_api *api)
{
    sweep *self = malloc(sizeof *self);
    if (self != NULL) {
        *self = (sweep){.work = {.run = run}, .api = api};
        if (!nx_api_pool_put(api->slow, &self->work)) {
            free(self); /* the next start does it */
        }
    }
}

#include "engine/runtime.h"

#include "base/buffer.h"
#include "engine/ort.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_PLACES 6

nx_status nx_runtime_check(const nx_runtime *runtime, OrtStatus *status, nx_status code,
                           const char *prefix, nx_error *err)
{
    if (status == NULL) {
        return NX_OK;
    }
    nx_error_set(err, code, "%s: %.400s", prefix, runtime->api->GetErrorMessage(status));
    runtime->api->ReleaseStatus(status);
    return code;
}

/* Where the library may lie, best first; owns its strings. */
typedef struct places {
    char *paths[MAX_PLACES];
    size_t count;
    bool no_memory;
} places;

static void add_place(places *list, const char *folder, const char *file)
{
    if (asprintf(&list->paths[list->count], "%s%s", folder, file) < 0) {
        list->no_memory = true;
    } else {
        list->count++;
    }
}

static void free_places(places *list)
{
    for (size_t i = 0; i < list->count; i++) {
        free(list->paths[i]);
    }
}

static void usual_places(const char *data_dir, places *list)
{
    if (data_dir != NULL && data_dir[0] != '\0') {
        add_place(list, data_dir, "/lib/libonnxruntime.so.1");
    }
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);
    if (length > 0) {
        program[length] = '\0';
        char *slash = strrchr(program, '/');
        if (slash != NULL) {
            *slash = '\0';
            add_place(list, program, "/../lib/nexus/libonnxruntime.so.1");
        }
    }
    add_place(list, "", "libonnxruntime.so.1"); /* the system's own search path */
    add_place(list, "", "libonnxruntime.so");
}

/* Opens the first place that works; the reasons of the others go into err. */
static nx_status open_library(nx_runtime *runtime, const places *list, nx_error *err)
{
    nx_buffer tried = NX_BUFFER_INIT;
    for (size_t i = 0; i < list->count; i++) {
        runtime->library = dlopen(list->paths[i], RTLD_NOW | RTLD_LOCAL);
        if (runtime->library != NULL) {
            nx_buffer_free(&tried);
            return NX_OK;
        }
        const char *reason = dlerror();
        nx_buffer_printf(&tried, "%s%s", i > 0 ? "; " : "",
                         reason != NULL ? reason : list->paths[i]);
    }
    nx_error_set(
        err, NX_ERR_UNAVAILABLE,
        "cannot load ONNX Runtime: run 'make run' once to fetch it, or name the library in "
        "NEXUS_ORT_LIBRARY. Tried: %.330s",
        nx_buffer_cstr(&tried));
    nx_buffer_free(&tried);
    return NX_ERR_UNAVAILABLE;
}

static nx_status load_api(nx_runtime *runtime, nx_error *err)
{
    const OrtApiBase *(*get_base)(void) = NULL;
    void *symbol = dlsym(runtime->library, "OrtGetApiBase");
    Dl_info where;
    if (symbol == NULL || dladdr(symbol, &where) == 0) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "the library that was loaded is not ONNX Runtime (no OrtGetApiBase)");
    }
    runtime->path = strdup(where.dli_fname);
    /* POSIX lets dlsym's pointer stand for a function; C has no cast for it */
    memcpy(&get_base, &symbol, sizeof get_base);
    const OrtApiBase *base = get_base();
    runtime->version = strdup(base->GetVersionString());
    if (runtime->path == NULL || runtime->version == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to load ONNX Runtime");
    }
    runtime->api = base->GetApi(ORT_API_VERSION);
    if (runtime->api == NULL) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "ONNX Runtime %s at %s is too old: 1.%d or newer is needed",
                            runtime->version, runtime->path, ORT_API_VERSION);
    }
    return NX_OK;
}

nx_status nx_runtime_open(const char *library, const char *data_dir, nx_runtime **out,
                          nx_error *err)
{
    *out = NULL;
    nx_runtime *runtime = calloc(1, sizeof *runtime);
    if (runtime == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to load ONNX Runtime");
    }
    /* Some builds of ONNX Runtime (npm's 1.30) report their use to their maker over the network,
     * from a database in the user's cache folder, unless this is set before they start. */
    if (setenv("ORT_DISABLE_TELEMETRY", "1", 1) != 0) {
        free(runtime);
        return nx_error_set_errno(err, NX_ERR_NO_MEMORY, errno,
                                  "cannot switch ONNX Runtime's telemetry off");
    }
    places list = {0};
    if (library != NULL && library[0] != '\0') {
        add_place(&list, "", library);
    } else {
        usual_places(data_dir, &list);
    }
    nx_status status = list.no_memory
                           ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to load ONNX Runtime")
                           : open_library(runtime, &list, err);
    free_places(&list);
    if (status != NX_OK) {
        goto fail;
    }
    status = load_api(runtime, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = nx_runtime_check(
        runtime, runtime->api->CreateEnv(ORT_LOGGING_LEVEL_FATAL, "nexus", &runtime->env),
        NX_ERR_UNAVAILABLE, "cannot start ONNX Runtime", err);
    if (status != NX_OK) {
        goto fail;
    }
    status = nx_allocator_new(runtime->api, &runtime->allocator, err);
    if (status != NX_OK) {
        goto fail;
    }
    status = nx_runtime_check(
        runtime,
        runtime->api->RegisterAllocator(runtime->env, nx_allocator_ort(runtime->allocator)),
        NX_ERR_UNAVAILABLE, "cannot give ONNX Runtime its memory", err);
    if (status != NX_OK) {
        goto fail;
    }
    status = nx_runtime_check(
        runtime,
        runtime->api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &runtime->memory),
        NX_ERR_NO_MEMORY, "cannot describe memory to ONNX Runtime", err);
    if (status != NX_OK) {
        goto fail;
    }
    status = nx_custom_ops_new(runtime->api, &runtime->custom_ops, err);
    if (status != NX_OK) {
        goto fail;
    }
    *out = runtime;
    return NX_OK;

fail:
    nx_runtime_free(runtime);
    return status;
}

void nx_runtime_free(nx_runtime *runtime)
{
    if (runtime == NULL) {
        return;
    }
    if (runtime->memory != NULL) {
        runtime->api->ReleaseMemoryInfo(runtime->memory);
    }
    nx_custom_ops_free(runtime->custom_ops);
    if (runtime->env != NULL) {
        runtime->api->ReleaseEnv(runtime->env);
    }
    nx_allocator_free(runtime->allocator);
    /* the library stays loaded: its threads and thread-local destructors may outlive us */
    free(runtime->path);
    free(runtime->version);
    free(runtime);
}

const char *nx_runtime_version(const nx_runtime *runtime)
{
    return runtime->version;
}

const char *nx_runtime_path(const nx_runtime *runtime)
{
    return runtime->path;
}

void nx_runtime_trim(nx_runtime *runtime)
{
    nx_allocator_trim(runtime->allocator);
    malloc_trim(0);
}

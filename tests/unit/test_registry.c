/*
 * The registry with real models in the real ONNX Runtime: small ones made by hand, and for memory a
 * real detector. What is tested above all: that requests never notice a change.
 */
#include "engine/registry.h"
#include "models.h"
#include "open_files.h"
#include "process_memory.h"

#include "base/clock.h"
#include "base/file.h"

#include <malloc.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

typedef struct fixture {
    char *folder;
    nx_runtime *runtime;
    nx_model_store *store;
    nx_registry *registry;
} fixture;

static int make(void **state)
{
    char template[] = "/tmp/nexus-registry-XXXXXX";
    fixture *f = calloc(1, sizeof *f);
    f->folder = strdup(mkdtemp(template));
    *state = f;
    return 0;
}

static int unmake(void **state)
{
    fixture *f = *state;
    nx_registry_free(f->registry);
    nx_model_store_free(f->store);
    nx_runtime_free(f->runtime);
    int result = nftw(f->folder, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(f->folder);
    free(f);
    return result;
}

static void start(fixture *f, const char *default_model, uint32_t max_loaded)
{
    nx_error err = {0};
    f->runtime = f->runtime != NULL ? f->runtime : models_runtime();
    if (f->store == NULL) {
        nx_assert_ok(nx_model_store_new(f->folder, &f->store, &err), err);
    }
    nx_registry_free(f->registry);
    f->registry = NULL;
    const nx_registry_options options = {.runtime = f->runtime,
                                         .store = f->store,
                                         .default_model = default_model,
                                         .max_loaded = max_loaded};
    nx_assert_ok(nx_registry_new(&options, &f->registry, &err), err);
}

/* A small detector whose first class has this name. */
static void write_model(fixture *f, const char *path, const char *class_name)
{
    nx_error err = {0};
    char names[100];
    void *folder = f->folder;
    char whole[PATH_MAX];
    snprintf(names, sizeof names, "{0: '%s', 1: 'b', 2: 'c'}", class_name);
    tiny_model model = TINY_YOLOV8;
    model.names = names;
    snprintf(whole, sizeof whole, "%s/%s", f->folder, path);
    *strrchr(whole, '/') = '\0';
    nx_assert_ok(nx_file_make_dirs(whole, &err), err);
    tiny_model_write(&folder, path, &model);
}

static nx_status run(fixture *f, nx_registry_op op, const char *name, uint32_t version,
                     nx_registry_task *out, nx_error *err)
{
    nx_registry_task task = {.op = op, .version = version};
    snprintf(task.name, sizeof task.name, "%s", name);
    nx_status status = nx_registry_run(f->registry, &task, err);
    if (out != NULL) {
        *out = task;
    }
    return status;
}

static void run_ok(fixture *f, nx_registry_op op, const char *name, uint32_t version)
{
    nx_error err = {0};
    nx_assert_ok(run(f, op, name, version, NULL, &err), err);
}

static nx_registry_handle *fetch(fixture *f, const char *name, uint32_t version)
{
    nx_error err = {0};
    nx_registry_task task;
    nx_assert_ok(run(f, NX_REGISTRY_ACQUIRE, name, version, &task, &err), err);
    assert_non_null(task.handle);
    return task.handle;
}

static nx_registry_handle *acquire(fixture *f, const char *name)
{
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    nx_assert_ok(nx_registry_acquire(f->registry, name, 0, &handle, &err), err);
    return handle;
}

static const char *first_class(const nx_registry_handle *handle)
{
    return nx_model_get_spec(nx_registry_model(handle))->names.names[0];
}

/* Which class a request without a version would get. */
static void assert_serves(fixture *f, const char *name, const char *class_name)
{
    nx_registry_handle *handle = acquire(f, name);
    assert_string_equal(first_class(handle), class_name);
    nx_registry_release(handle);
}

/* Adds as an upload does; the folder is put away after a failure. */
static nx_status add_file(fixture *f, const char *name, const char *path, uint32_t *version,
                          nx_error *err)
{
    char *folder = NULL;
    nx_assert_ok(nx_model_store_begin(f->store, &folder, err), *err);
    nx_assert_ok(nx_model_store_copy(folder, "model.onnx", path, UINT64_MAX, err), *err);
    nx_registry_task task = {.op = NX_REGISTRY_ADD, .folder = folder};
    snprintf(task.name, sizeof task.name, "%s", name);
    nx_status status = nx_registry_run(f->registry, &task, err);
    if (status != NX_OK) {
        nx_model_store_discard(folder);
    } else {
        assert_int_equal(access(folder, F_OK), -1);
    }
    *version = task.version;
    free(folder);
    return status;
}

static uint32_t add_tiny(fixture *f, const char *name, const char *class_name)
{
    nx_error err = {0};
    char path[PATH_MAX];
    uint32_t version = 0;
    write_model(f, "upload.onnx", class_name);
    snprintf(path, sizeof path, "%s/upload.onnx", f->folder);
    nx_assert_ok(add_file(f, name, path, &version, &err), err);
    return version;
}

static nx_status ignore(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    (void)outputs, (void)err;
    *(size_t *)user = count;
    return NX_OK;
}

/* A Run of a small model: it is alive. */
static void run_model(const nx_registry_handle *handle)
{
    nx_error err = {0};
    const nx_backend *backend = nx_model_backend(nx_registry_model(handle));
    size_t bytes = backend->slot_bytes(backend->self, 64, 64);
    void *data = aligned_alloc(64, bytes);
    memset(data, 0, bytes);
    const nx_batch batch = {.data = data, .count = 1, .width = 64, .height = 64};
    size_t outputs = 0;
    nx_assert_ok(backend->run(backend->self, &batch, ignore, &outputs, &err), err);
    assert_int_equal(outputs, 1);
    free(data);
}

static nx_registry_entry entry(fixture *f, const char *name, uint32_t version)
{
    nx_error err = {0};
    nx_registry_entry *entries = NULL;
    nx_registry_entry found = {0};
    size_t count = 0;
    nx_assert_ok(nx_registry_list(f->registry, &entries, &count, &err), err);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].name, name) == 0 && entries[i].version == version) {
            found = entries[i];
        }
    }
    free(entries);
    return found;
}

/* --- the tests ----------------------------------------------------------------------------------
 */

/* The device is known before and after; an upload is opened once, where it was tried, and says
 * afterwards where it lies. */
static void an_upload_serves_as_it_was_tried(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    char expected[2 * PATH_MAX];
    start(f, "first", 2);
    assert_string_equal(nx_registry_device(f->registry), "cpu");
    assert_int_equal(add_tiny(f, "first", "one"), 1);
    assert_string_equal(nx_registry_device(f->registry), "cpu");
    nx_registry_handle *handle = acquire(f, "first");
    const nx_model_spec *spec = nx_model_get_spec(nx_registry_model(handle));
    snprintf(expected, sizeof expected, "%s/models/first/1/model.onnx", f->folder);
    assert_string_equal(spec->path, expected);
    assert_string_equal(spec->name, "first");
    assert_int_equal(nx_registry_version(handle), 1);
    run_model(handle);
    nx_registry_release(handle);
    assert_int_equal(entry(f, "first", 1).state, NX_MODEL_READY);
    assert_true(entry(f, "first", 1).loaded_s > 0);
    run_ok(f, NX_REGISTRY_LOAD, "first", 0); /* the same file: it is not loaded again */
    nx_registry_handle *again = acquire(f, "first");
    assert_ptr_equal(again, handle);
    nx_registry_release(again);
}

/* With no room beside the default an upload is refused, and nothing of it is left. */
static void an_upload_without_room_leaves_nothing(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    uint32_t version = 0;
    char path[PATH_MAX];
    start(f, "first", 1);
    (void)add_tiny(f, "first", "one");
    write_model(f, "upload.onnx", "two");
    snprintf(path, sizeof path, "%s/upload.onnx", f->folder);
    assert_int_equal(add_file(f, "second", path, &version, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "MAX_LOADED_MODELS=1");
    assert_int_equal(entry(f, "second", 1).file_bytes, 0);
    assert_serves(f, "first", "one");
}

static void a_failed_upload_keeps_the_pin(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    uint32_t version = 0;
    char path[PATH_MAX];
    write_model(f, "models/first.onnx", "one");
    write_model(f, "models/second/1/model.onnx", "two");
    write_model(f, "models/second/2/model.onnx", "other");
    write_model(f, "upload.onnx", "third");
    snprintf(path, sizeof path, "%s/upload.onnx", f->folder);
    start(f, "first", 1);
    nx_registry_release(fetch(f, "", 0));
    nx_assert_ok(nx_model_store_activate(f->store, "second", 1, &err), err);
    assert_int_equal(add_file(f, "second", path, &version, &err), NX_ERR_UNAVAILABLE);
    assert_int_equal(entry(f, "second", 3).version, 0);
    assert_true(entry(f, "second", 1).serves);
    start(f, "first", 2); /* with room it goes, and the pin too */
    nx_registry_release(fetch(f, "", 0));
    nx_assert_ok(add_file(f, "second", path, &version, &err), err);
    assert_int_equal(version, 3);
    start(f, "first", 2);
    assert_true(entry(f, "second", 3).serves);
}

/* What can't be loaded drives nothing out. */
static void a_failed_load_makes_no_room(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    void *folder = f->folder;
    write_model(f, "models/one.onnx", "one");
    write_model(f, "models/two.onnx", "two");
    scratch_write(&folder, "models/broken.onnx", "not a model", 11);
    start(f, "one", 2);
    nx_registry_release(fetch(f, "", 0));
    nx_registry_release(fetch(f, "two", 0));
    assert_int_equal(run(f, NX_REGISTRY_ACQUIRE, "broken", 0, NULL, &err), NX_ERR_CORRUPT);
    assert_int_equal(run(f, NX_REGISTRY_LOAD, "broken", 1, NULL, &err), NX_ERR_CORRUPT);
    assert_serves(f, "two", "two");
    assert_int_equal(entry(f, "two", 1).state, NX_MODEL_READY);
}

/* A version that is a link to somewhere else can't be moved out of the way. */
static void a_failed_removal_changes_nothing(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    char target[PATH_MAX];
    void *folder = f->folder;
    write_model(f, "models/one/1/model.onnx", "one");
    write_model(f, "models/two/1/model.onnx", "two");
    write_model(f, "elsewhere/model.onnx", "linked");
    snprintf(target, sizeof target, "%s/elsewhere", f->folder);
    assert_int_equal(symlink(target, scratch_path(&folder, "models/one/2")), 0);
    assert_int_equal(symlink(target, scratch_path(&folder, "models/two/2")), 0);
    start(f, "one", 4);
    nx_registry_release(fetch(f, "", 0));
    nx_registry_release(fetch(f, "two", 0));
    nx_registry_release(fetch(f, "two", 1));
    assert_int_equal(run(f, NX_REGISTRY_REMOVE, "two", 0, NULL, &err), NX_ERR_IO);
    assert_serves(f, "two", "linked");
    assert_int_equal(entry(f, "two", 1).state, NX_MODEL_READY);
    assert_true(entry(f, "two", 1).file_bytes > 0);
    assert_int_equal(run(f, NX_REGISTRY_REMOVE, "one", 2, NULL, &err), NX_ERR_IO);
    assert_serves(f, NULL, "linked"); /* its heir does not take over */
    assert_int_equal(entry(f, "one", 1).state, NX_MODEL_UNLOADED);
    assert_int_equal(unlink(scratch_path(&folder, "models/one/2")), 0);
    assert_int_equal(unlink(scratch_path(&folder, "models/two/2")), 0);
}

static void loads_when_asked(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    write_model(f, "models/one.onnx", "first");
    start(f, "one", 4);
    assert_string_equal(nx_registry_default(f->registry), "one");
    assert_int_equal(nx_registry_acquire(f->registry, NULL, 0, &handle, &err), NX_ERR_UNAVAILABLE);
    assert_int_equal(entry(f, "one", 1).state, NX_MODEL_UNLOADED);
    handle = fetch(f, "", 0);
    assert_string_equal(nx_registry_name(handle), "one");
    assert_int_equal(nx_registry_version(handle), 1);
    assert_string_equal(nx_model_get_spec(nx_registry_model(handle))->name, "one");
    run_model(handle);
    nx_registry_count(handle, 3);
    nx_registry_entry one = entry(f, "one", 1);
    assert_int_equal(one.state, NX_MODEL_READY);
    assert_true(one.serves && one.is_default);
    assert_int_equal(one.users, 1);
    assert_int_equal(one.inferences, 3);
    assert_true(one.loaded_s > 1600000000 && one.file_bytes > 0);
    nx_registry_handle *again = acquire(f, NULL);
    assert_ptr_equal(nx_registry_model(again), nx_registry_model(handle));
    nx_registry_release(again);
    nx_registry_release(handle);
    assert_int_equal(entry(f, "one", 1).users, 0);
}

static void tells_what_is_not_there(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    write_model(f, "models/one.onnx", "first");
    start(f, "one", 4);
    assert_int_equal(nx_registry_acquire(f->registry, "on", 0, &handle, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "did you mean 'one'?");
    assert_int_equal(nx_registry_acquire(f->registry, "one", 2, &handle, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_registry_acquire(f->registry, "../one", 0, &handle, &err), NX_ERR_INVALID);
    assert_int_equal(run(f, NX_REGISTRY_ACQUIRE, "none", 0, NULL, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(run(f, NX_REGISTRY_LOAD, "one", 7, NULL, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(run(f, NX_REGISTRY_UNLOAD, "none", 0, NULL, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(run(f, NX_REGISTRY_REMOVE, "../one", 0, NULL, &err), NX_ERR_INVALID);
    assert_int_equal(run(f, NX_REGISTRY_ROLLBACK, "one", 0, NULL, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "no version below 1");
}

static void swaps_under_a_request(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    write_model(f, "models/one.onnx", "first");
    start(f, "one", 4);
    nx_registry_handle *old = fetch(f, "one", 0);
    assert_int_equal(add_tiny(f, "one", "second"), 2);
    assert_serves(f, "one", "second");
    assert_int_equal(entry(f, "one", 1).state, NX_MODEL_UNLOADED);
    assert_true(entry(f, "one", 2).serves);
    /* the request that began before goes on with what it began with */
    assert_string_equal(first_class(old), "first");
    run_model(old);
    nx_registry_count(old, 1);
    nx_registry_release(old);
    assert_int_equal(entry(f, "one", 1).inferences, 1);
}

static void keeps_serving_when_a_new_version_fails(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    void *folder = f->folder;
    uint32_t version = 0;
    write_model(f, "models/one.onnx", "first");
    start(f, "one", 4);
    nx_registry_release(fetch(f, "one", 0));
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", scratch_write(&folder, "text.onnx", "not a model", 11));
    assert_int_equal(add_file(f, "one", path, &version, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "the file is not an ONNX model");
    assert_int_equal(add_file(f, "two", path, &version, &err), NX_ERR_CORRUPT);
    assert_serves(f, "one", "first");
    nx_stored_model *models = NULL;
    size_t count = 0;
    nx_assert_ok(nx_model_store_list(f->store, &models, &count, &err), err);
    assert_int_equal(count, 1);
    assert_int_equal(models[0].count, 1);
    nx_stored_models_free(models, count);
    /* and when what was put there by hand fails */
    nx_assert_ok(nx_file_make_dirs(scratch_path(&folder, "models/one/2"), &err), err);
    scratch_write(&folder, "models/one/2/model.onnx", "not a model", 11);
    assert_int_equal(run(f, NX_REGISTRY_LOAD, "one", 0, NULL, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "one:2 is not an ONNX model");
    assert_serves(f, "one", "first");
    assert_int_equal(entry(f, "one", 2).state, NX_MODEL_FAILED);
    nx_assert_contains(entry(f, "one", 2).reason, "not an ONNX model");
    assert_true(entry(f, "one", 1).serves);
    assert_false(entry(f, "one", 2).serves);
}

static void remembers_a_failure_until_the_file_changes(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    void *folder = f->folder;
    write_model(f, "models/one.onnx", "first");
    start(f, "one", 4);
    scratch_write(&folder, "models/two.onnx", "not a model", 11);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(f, NX_REGISTRY_ACQUIRE, "two", 0, NULL, &err), NX_ERR_CORRUPT);
        nx_assert_contains(err.message, "two:1 is not an ONNX model");
    }
    write_model(f, "models/two.onnx", "better");
    nx_registry_release(fetch(f, "two", 0));
    assert_serves(f, "two", "better");
}

/* Whichever file it is that can't be opened: it is no reason to give the model up. */
static void tries_again_after_too_many_open_files(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    open_files files;
    nx_registry_task task = {0};
    write_model(f, "models/one.onnx", "first");
    write_model(f, "models/two/1/model.onnx", "pinned");
    write_model(f, "models/two/2/model.onnx", "highest");
    start(f, "one", 4);
    nx_assert_ok(nx_model_store_activate(f->store, "two", 1, &err), err);
    open_files_begin(&files);
    nx_status status = NX_ERR_IO;
    for (rlim_t more = 0; status != NX_OK; more++) {
        assert_true(more < 20);
        open_files_allow(&files, more);
        status = run(f, NX_REGISTRY_ACQUIRE, "two", 0, &task, &err);
        open_files_allow_all(&files);
        if (status != NX_OK) {
            assert_int_equal(status, NX_ERR_IO);
            nx_assert_contains(err.message, "Too many open files");
            assert_int_equal(entry(f, "two", 1).state, NX_MODEL_UNLOADED);
            assert_int_equal(entry(f, "two", 2).state, NX_MODEL_UNLOADED);
        }
    }
    open_files_end(&files);
    assert_string_equal(first_class(task.handle), "pinned");
    nx_registry_release(task.handle);
}

static void rolls_back_for_good(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_registry_task task;
    nx_error err = {0};
    write_model(f, "models/one.onnx", "first");
    start(f, "one", 4);
    nx_registry_release(fetch(f, "one", 0));
    add_tiny(f, "one", "second");
    add_tiny(f, "one", "third");
    nx_assert_ok(run(f, NX_REGISTRY_ROLLBACK, "one", 0, &task, &err), err);
    assert_int_equal(task.version, 2);
    assert_serves(f, "one", "second");
    start(f, "one", 4);
    nx_registry_release(fetch(f, "one", 0));
    assert_serves(f, "one", "second");
    run_ok(f, NX_REGISTRY_ROLLBACK, "one", 0);
    assert_serves(f, "one", "first");
    assert_int_equal(run(f, NX_REGISTRY_ROLLBACK, "one", 0, NULL, &err), NX_ERR_CONFLICT);
    run_ok(f, NX_REGISTRY_LOAD, "one", 3);
    start(f, "one", 4);
    nx_registry_release(fetch(f, "one", 0));
    assert_serves(f, "one", "third");
}

static void serves_versions_beside_each_other(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    write_model(f, "models/one/1/model.onnx", "first");
    write_model(f, "models/one/2/model.onnx", "second");
    start(f, "one", 4);
    nx_registry_release(fetch(f, "one", 0));
    nx_registry_handle *first = fetch(f, "one", 1);
    assert_string_equal(first_class(first), "first");
    assert_serves(f, "one", "second");
    nx_registry_release(first);
    assert_int_equal(entry(f, "one", 1).state, NX_MODEL_READY);
    run_ok(f, NX_REGISTRY_UNLOAD, "one", 1);
    assert_int_equal(entry(f, "one", 1).state, NX_MODEL_UNLOADED);
    /* a default with a version stays on it */
    start(f, "one:1", 4);
    nx_registry_release(fetch(f, "", 0));
    run_ok(f, NX_REGISTRY_LOAD, "one", 2);
    assert_serves(f, NULL, "first");
    assert_serves(f, "one", "second");
    assert_true(entry(f, "one", 1).is_default);
}

static void makes_room(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    write_model(f, "models/one.onnx", "one");
    write_model(f, "models/two.onnx", "two");
    write_model(f, "models/three.onnx", "three");
    write_model(f, "models/four.onnx", "four");
    start(f, "one", 3);
    nx_registry_release(fetch(f, "one", 0));
    nx_registry_release(fetch(f, "two", 0));
    nx_registry_release(fetch(f, "three", 0));
    nx_registry_release(acquire(f, "two")); /* now three is the least recently used */
    nx_registry_release(fetch(f, "four", 0));
    assert_int_equal(entry(f, "one", 1).state, NX_MODEL_READY);
    assert_int_equal(entry(f, "two", 1).state, NX_MODEL_READY);
    assert_int_equal(entry(f, "three", 1).state, NX_MODEL_UNLOADED);
    /* what is in use goes last, and goes on */
    nx_registry_handle *two = acquire(f, "two");
    nx_registry_handle *four = acquire(f, "four");
    nx_registry_release(fetch(f, "three", 0));
    assert_int_equal(entry(f, "two", 1).state, NX_MODEL_UNLOADED);
    run_model(two);
    nx_registry_release(two);
    nx_registry_release(four);
    start(f, "one", 1);
    nx_registry_release(fetch(f, "one", 0));
    assert_int_equal(run(f, NX_REGISTRY_ACQUIRE, "two", 0, NULL, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "MAX_LOADED_MODELS=1");
    add_tiny(f, "one", "new"); /* a swap needs no room of its own */
    assert_serves(f, "one", "new");
}

static void keeps_the_default(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    write_model(f, "models/one.onnx", "first");
    write_model(f, "models/two.onnx", "two");
    start(f, "one", 4);
    nx_registry_release(fetch(f, "one", 0));
    assert_int_equal(run(f, NX_REGISTRY_UNLOAD, "one", 0, NULL, &err), NX_ERR_CONFLICT);
    assert_int_equal(run(f, NX_REGISTRY_REMOVE, "one", 0, NULL, &err), NX_ERR_CONFLICT);
    assert_int_equal(run(f, NX_REGISTRY_REMOVE, "one", 1, NULL, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "no other version of it can take over");
    assert_serves(f, "one", "first");
    add_tiny(f, "one", "second");
    run_ok(f, NX_REGISTRY_REMOVE, "one", 2);
    assert_serves(f, NULL, "first");
    assert_int_equal(entry(f, "one", 2).version, 0);
    nx_registry_handle *two = fetch(f, "two", 0);
    run_ok(f, NX_REGISTRY_REMOVE, "two", 0);
    run_model(two); /* gone from disk and list, but not from under a request */
    nx_registry_release(two);
    assert_int_equal(run(f, NX_REGISTRY_ACQUIRE, "two", 0, NULL, &err), NX_ERR_NOT_FOUND);
}

static void serves_a_file_by_its_path(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    char path[PATH_MAX];
    uint32_t version = 0;
    write_model(f, "elsewhere/best.onnx", "file");
    write_model(f, "models/best.onnx", "installed");
    snprintf(path, sizeof path, "%s/elsewhere/best.onnx", f->folder);
    start(f, path, 4);
    nx_registry_release(fetch(f, "", 0));
    assert_string_equal(nx_registry_default(f->registry), "best");
    assert_serves(f, NULL, "file");
    assert_serves(f, "best", "file");
    assert_true(entry(f, "best", 1).is_default);
    assert_int_equal(run(f, NX_REGISTRY_REMOVE, "best", 0, NULL, &err), NX_ERR_CONFLICT);
    assert_int_equal(run(f, NX_REGISTRY_ROLLBACK, "best", 0, NULL, &err), NX_ERR_CONFLICT);
    assert_int_equal(add_file(f, "best", path, &version, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "served from a path");
    assert_int_equal(run(f, NX_REGISTRY_ACQUIRE, "best", 2, NULL, &err), NX_ERR_NOT_FOUND);
}

/* --- waiting ------------------------------------------------------------------------------------
 */

typedef struct waiting {
    nx_registry_task task; /* first */
    sem_t *hold;           /* its done waits for this, and so does the loader */
    sem_t finished;
    nx_status status;
} waiting;

static void note_done(nx_registry_task *task, nx_status status, const nx_error *err)
{
    (void)err;
    waiting *self = (waiting *)task;
    sem_t *hold = self->hold;
    self->status = status;
    sem_post(&self->finished); /* self may be gone from here on */
    if (hold != NULL) {
        sem_wait(hold);
    }
}

static void submit(fixture *f, waiting *self, const char *name, sem_t *hold)
{
    nx_error err = {0};
    *self = (waiting){.task = {.op = NX_REGISTRY_ACQUIRE, .done = note_done}, .hold = hold};
    snprintf(self->task.name, sizeof self->task.name, "%s", name);
    sem_init(&self->finished, 0, 0);
    nx_assert_ok(nx_registry_submit(f->registry, &self->task, &err), err);
}

static void wait_in_line(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    sem_t hold;
    waiting tasks[5];
    sem_init(&hold, 0, 0);
    write_model(f, "models/one.onnx", "one");
    write_model(f, "models/two.onnx", "two");
    start(f, "one", 4);
    submit(f, &tasks[0], "one", &hold);
    sem_wait(&tasks[0].finished); /* from here on the loader waits for us */
    submit(f, &tasks[1], "two", NULL);
    submit(f, &tasks[2], "two", NULL);
    submit(f, &tasks[3], "one", NULL);
    submit(f, &tasks[4], "two", NULL);
    assert_true(nx_registry_cancel(f->registry, &tasks[2].task));
    assert_int_equal(tasks[2].status, NX_ERR_CANCELLED);
    assert_true(nx_registry_cancel(f->registry, &tasks[4].task));
    assert_false(nx_registry_cancel(f->registry, &tasks[4].task));
    waiting late = {.task = {.op = NX_REGISTRY_ACQUIRE,
                             .name = "two",
                             .deadline_ns = nx_clock_now_ns(),
                             .done = note_done}};
    sem_init(&late.finished, 0, 0);
    nx_assert_ok(nx_registry_submit(f->registry, &late.task, &err), err);
    sem_post(&hold);
    for (int i = 1; i < 5; i++) {
        sem_wait(&tasks[i].finished);
    }
    sem_wait(&late.finished);
    assert_int_equal(late.status, NX_ERR_TIMEOUT);
    assert_int_equal(tasks[1].status, NX_OK);
    assert_int_equal(tasks[3].status, NX_OK);
    assert_string_equal(first_class(tasks[1].task.handle), "two");
    nx_registry_release(tasks[0].task.handle);
    nx_registry_release(tasks[1].task.handle);
    nx_registry_release(tasks[3].task.handle);
    sem_destroy(&hold);
}

/* The loader is busy all the while. */
static void what_waits_ends_in_time(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    sem_t hold;
    waiting busy;
    waiting patient;
    waiting late[3];
    sem_init(&hold, 0, 0);
    write_model(f, "models/one.onnx", "one");
    start(f, "one", 4);
    submit(f, &busy, "one", &hold);
    sem_wait(&busy.finished);
    submit(f, &patient, "one", NULL);
    for (int i = 2; i >= 0; i--) { /* the last to come is the first to go */
        late[i] = (waiting){.task = {.op = NX_REGISTRY_ACQUIRE,
                                     .name = "one",
                                     .deadline_ns = nx_clock_now_ns() + i * NX_NS_PER_MS,
                                     .done = note_done}};
        sem_init(&late[i].finished, 0, 0);
        nx_assert_ok(nx_registry_submit(f->registry, &late[i].task, &err), err);
    }
    for (int i = 0; i < 3; i++) {
        sem_wait(&late[i].finished);
        assert_int_equal(late[i].status, NX_ERR_TIMEOUT);
        assert_false(nx_registry_cancel(f->registry, &late[i].task));
    }
    assert_int_equal(sem_trywait(&patient.finished), -1);
    sem_post(&hold);
    sem_wait(&patient.finished);
    assert_int_equal(patient.status, NX_OK);
    nx_registry_release(busy.task.handle);
    nx_registry_release(patient.task.handle);
    sem_destroy(&hold);
}

static void cancels_what_waits_when_it_ends(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    sem_t hold;
    waiting tasks[2];
    sem_init(&hold, 0, 1); /* the loader goes on at once */
    write_model(f, "models/one.onnx", "one");
    start(f, "one", 4);
    submit(f, &tasks[0], "one", &hold);
    submit(f, &tasks[1], "none", NULL);
    sem_wait(&tasks[0].finished);
    nx_registry_release(tasks[0].task.handle);
    nx_registry_free(f->registry); /* whatever state the second is in, it ends */
    f->registry = NULL;
    assert_int_equal(sem_trywait(&tasks[1].finished), 0);
    assert_true(tasks[1].status == NX_ERR_CANCELLED || tasks[1].status == NX_ERR_NOT_FOUND);
    sem_destroy(&hold);
}

/* --- many at once -------------------------------------------------------------------------------
 */

#define READERS 4
#define SWAPS   12

typedef struct crowd {
    fixture *fixture;
    _Atomic bool stop;
    _Atomic uint64_t requests;
} crowd;

static void *keep_asking(void *user)
{
    crowd *all = user;
    while (!atomic_load(&all->stop)) {
        nx_registry_handle *handle = acquire(all->fixture, NULL);
        run_model(handle);
        nx_registry_count(handle, 1);
        atomic_fetch_add(&all->requests, 1);
        nx_registry_release(handle);
    }
    return NULL;
}

static void no_request_fails_while_versions_change(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    crowd all = {.fixture = f};
    pthread_t threads[READERS];
    write_model(f, "models/one.onnx", "v1");
    start(f, "one", 2);
    nx_registry_release(fetch(f, "one", 0));
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, keep_asking, &all), 0);
    }
    for (uint32_t i = 2; i < 2 + SWAPS; i++) {
        char class_name[16];
        snprintf(class_name, sizeof class_name, "v%u", i);
        assert_int_equal(add_tiny(f, "one", class_name), i);
        assert_serves(f, NULL, class_name);
        if (i % 3 == 0) {
            run_ok(f, NX_REGISTRY_ROLLBACK, "one", 0);
        }
    }
    atomic_store(&all.stop, true);
    uint64_t counted = 0;
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 1; i < 2 + SWAPS; i++) {
        counted += entry(f, "one", i).inferences;
    }
    assert_true(atomic_load(&all.requests) >= READERS);
    assert_int_equal(counted, atomic_load(&all.requests));
}

typedef struct memory {
    long resident_kb;
    size_t used; /* bytes that malloc has given out */
} memory;

/* The least over some swaps: malloc keeps the end of a thread's heap for a while, up to a graph's
 * size, which says nothing about what the models hold. */
static memory swap_and_measure(fixture *f, const char *file, int swaps, int measured)
{
    nx_error err = {0};
    memory least = {.resident_kb = LONG_MAX, .used = SIZE_MAX};
    for (int i = 0; i < swaps; i++) {
        uint32_t version = 0;
        nx_assert_ok(add_file(f, "yolo", file, &version, &err), err);
        if (i >= swaps - measured) {
            struct mallinfo2 info = mallinfo2();
            size_t used = info.uordblks + info.hblkhd;
            long resident = process_kb("VmRSS:");
            least.used = used < least.used ? used : least.used;
            least.resident_kb = resident < least.resident_kb ? resident : least.resident_kb;
        }
    }
    return least;
}

static void memory_comes_back(void **state)
{
    NX_NEED_YOLOV8N();
    fixture *f = *state;
    nx_error err = {0};
    char file[2 * PATH_MAX];
    if (sanitized()) {
        skip();
    }
    snprintf(file, sizeof file, "%s", models_data_path("models/yolov8n.onnx"));
    nx_assert_ok(nx_file_make_dirs(scratch_path((void **)&f->folder, "models"), &err), err);
    assert_int_equal(symlink(file, scratch_path((void **)&f->folder, "models/yolo.onnx")), 0);
    start(f, "yolo", 4);
    nx_registry_release(fetch(f, "", 0));
    memory before = swap_and_measure(f, file, 3, 3);
    memory after = swap_and_measure(f, file, 20, 5);
    print_message("20 swaps: resident %ld kB before, %ld kB after; in use %zu kB, %zu kB\n",
                  before.resident_kb, after.resident_kb, before.used / 1024, after.used / 1024);
    assert_true(after.resident_kb < before.resident_kb + before.resident_kb / 10);
    assert_true(after.used < before.used + before.used / 50);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_upload_serves_as_it_was_tried, make, unmake),
        cmocka_unit_test_setup_teardown(an_upload_without_room_leaves_nothing, make, unmake),
        cmocka_unit_test_setup_teardown(a_failed_upload_keeps_the_pin, make, unmake),
        cmocka_unit_test_setup_teardown(a_failed_load_makes_no_room, make, unmake),
        cmocka_unit_test_setup_teardown(a_failed_removal_changes_nothing, make, unmake),
        cmocka_unit_test_setup_teardown(loads_when_asked, make, unmake),
        cmocka_unit_test_setup_teardown(tells_what_is_not_there, make, unmake),
        cmocka_unit_test_setup_teardown(swaps_under_a_request, make, unmake),
        cmocka_unit_test_setup_teardown(keeps_serving_when_a_new_version_fails, make, unmake),
        cmocka_unit_test_setup_teardown(remembers_a_failure_until_the_file_changes, make, unmake),
        cmocka_unit_test_setup_teardown(tries_again_after_too_many_open_files, make, unmake),
        cmocka_unit_test_setup_teardown(rolls_back_for_good, make, unmake),
        cmocka_unit_test_setup_teardown(serves_versions_beside_each_other, make, unmake),
        cmocka_unit_test_setup_teardown(makes_room, make, unmake),
        cmocka_unit_test_setup_teardown(keeps_the_default, make, unmake),
        cmocka_unit_test_setup_teardown(serves_a_file_by_its_path, make, unmake),
        cmocka_unit_test_setup_teardown(wait_in_line, make, unmake),
        cmocka_unit_test_setup_teardown(what_waits_ends_in_time, make, unmake),
        cmocka_unit_test_setup_teardown(cancels_what_waits_when_it_ends, make, unmake),
        cmocka_unit_test_setup_teardown(no_request_fails_while_versions_change, make, unmake),
        cmocka_unit_test_setup_teardown(memory_comes_back, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

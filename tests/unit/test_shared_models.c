/* Servers that follow each other: with one data folder, and with one of their own each that has the
 * objects on its disk, so that nothing is fetched (tests/e2e/models_shared.test.mjs goes by S3). */
#include "models.h"
#include "store_fixture.h"

#include "jobs/shared_models.h"

#include "base/clock.h"
#include "base/file.h"

#include <pthread.h>

typedef struct host {
    char data_dir[96];
    nx_objects *objects;
    nx_model_store *store;
    nx_registry *registry;
    nx_shared_models *shared;
    nx_shared_upload upload;
} host;

typedef struct adding {
    nx_registry_task task; /* first */
    host *at;
    nx_status refusal; /* what confirm says */
} adding;

static nx_runtime *runtime;

#define NEED(state)                                                                                \
    STORE_FIXTURE(state);                                                                          \
    NX_NEED_RUNTIME();                                                                             \
    runtime = runtime != NULL ? runtime : models_runtime()

/* A small detector whose first class has this name. */
static void write_model(const char *folder, const char *path, const char *class_name)
{
    nx_error err = {0};
    char names[100];
    char whole[PATH_MAX];
    void *place = (void *)folder; // NOLINT: scratch_path wants it so
    snprintf(names, sizeof names, "{0: '%s', 1: 'b', 2: 'c'}", class_name);
    tiny_model model = TINY_YOLOV8;
    model.names = names;
    snprintf(whole, sizeof whole, "%s/%s", folder, path);
    *strrchr(whole, '/') = '\0';
    nx_assert_ok(nx_file_make_dirs(whole, &err), err);
    tiny_model_write(&place, path, &model);
}

static void open_host(store_fixture *fixture, const char *name, host *out)
{
    nx_error err = {0};
    snprintf(out->data_dir, sizeof out->data_dir, "%s/%s", fixture->folder, name);
    if (access(out->data_dir, F_OK) != 0) {
        write_model(out->data_dir, "models/base.onnx", "first");
    }
    const nx_objects_options objects = {.data_dir = out->data_dir, .url = ""};
    nx_assert_ok(nx_objects_open(&objects, &out->objects, &err), err);
    nx_assert_ok(nx_model_store_new(out->data_dir, &out->store, &err), err);
    const nx_shared_models_options options = {.database = fixture->store,
                                              .objects = out->objects,
                                              .store = out->store,
                                              .data_dir = out->data_dir,
                                              .period_ms = 20};
    nx_assert_ok(nx_shared_models_open(&options, &out->shared, &err), err);
    const nx_registry_options registry = {
        .runtime = runtime, .store = out->store, .default_model = "base", .max_loaded = 4};
    nx_assert_ok(nx_registry_new(&registry, &out->registry, &err), err);
    nx_registry_task task = {.op = NX_REGISTRY_ACQUIRE};
    nx_assert_ok(nx_registry_run(out->registry, &task, &err), err);
    nx_registry_release(task.handle);
    nx_assert_ok(nx_shared_models_follow(out->shared, out->registry, &err), err);
}

static void close_host(host *at)
{
    nx_shared_models_close(at->shared);
    nx_registry_free(at->registry);
    nx_model_store_free(at->store);
    nx_objects_close(at->objects);
    *at = (host){.shared = NULL};
}

/* Waits until a version serves, as the follower tells nobody. */
static void wait_for(host *at, const char *name, uint32_t version)
{
    const int64_t end = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    while (nx_registry_serving(at->registry, name) != version && nx_clock_now_ns() < end) {
        usleep(2000);
    }
    assert_int_equal(nx_registry_serving(at->registry, name), version);
}

static nx_status give_number(nx_registry_task *task, nx_error *err)
{
    return nx_shared_models_number(((adding *)task)->at->shared, task->name, &task->version, err);
}

static nx_status tell(nx_registry_task *task, nx_error *err)
{
    const adding *self = (const adding *)task;
    if (self->refusal != NX_OK) {
        return nx_error_set(err, self->refusal, "the database is away");
    }
    switch (task->op) {
    case NX_REGISTRY_ADD:
        return nx_shared_models_publish(self->at->shared, task->name, task->version,
                                        &self->at->upload, "ann", err);
    case NX_REGISTRY_REMOVE:
        return nx_shared_models_remove(self->at->shared, task->name, task->version, task->successor,
                                       err);
    case NX_REGISTRY_UNLOAD:
        return nx_shared_models_unload(self->at->shared, task->name, task->version, err);
    default:
        return nx_shared_models_activate(self->at->shared, task->name, task->version, true, "ann",
                                         err);
    }
}

typedef struct waited {
    adding adding; /* first */
    pthread_mutex_t lock;
    pthread_cond_t over;
    bool done;
    nx_status status;
    nx_error err;
} waited;

static void finish(nx_registry_task *task, nx_status status, const nx_error *err)
{
    waited *self = (waited *)task;
    pthread_mutex_lock(&self->lock);
    self->done = true;
    self->status = status;
    self->err = *err;
    pthread_cond_signal(&self->over);
    pthread_mutex_unlock(&self->lock);
}

/* As the API does it; nx_registry_run copies the task, and the hooks need what is around it. */
static nx_status change(host *at, nx_registry_op op, const char *name, uint32_t *version,
                        const char *folder, nx_status refusal, nx_error *err)
{
    waited self = {.adding = {.task = {.op = op,
                                       .version = *version,
                                       .folder = folder,
                                       .number = give_number,
                                       .confirm = tell,
                                       .done = finish},
                              .at = at,
                              .refusal = refusal}};
    snprintf(self.adding.task.name, sizeof self.adding.task.name, "%s", name);
    pthread_mutex_init(&self.lock, NULL);
    pthread_cond_init(&self.over, NULL);
    nx_assert_ok(nx_registry_submit(at->registry, &self.adding.task, err), *err);
    pthread_mutex_lock(&self.lock);
    while (!self.done) {
        pthread_cond_wait(&self.over, &self.lock);
    }
    pthread_mutex_unlock(&self.lock);
    pthread_cond_destroy(&self.over);
    pthread_mutex_destroy(&self.lock);
    *version = self.adding.task.version;
    *err = self.err;
    return self.status;
}

static nx_status add(host *at, const char *name, const char *class_name, uint32_t *version,
                     nx_status refusal, nx_error *err)
{
    char *folder = NULL;
    nx_assert_ok(nx_model_store_begin(at->store, &folder, err), *err);
    write_model(folder, "model.onnx", class_name);
    nx_assert_ok(nx_shared_upload_prepare(at->shared, folder, &at->upload, err), *err);
    *version = 0;
    nx_status status = change(at, NX_REGISTRY_ADD, name, version, folder, refusal, err);
    nx_shared_upload_end(at->shared, &at->upload);
    nx_model_store_discard(folder);
    free(folder);
    return status;
}

static uint32_t add_ok(host *at, const char *name, const char *class_name)
{
    uint32_t version = 0;
    nx_error err = {0};
    nx_assert_ok(add(at, name, class_name, &version, NX_OK, &err), err);
    return version;
}

static void change_ok(host *at, nx_registry_op op, const char *name, uint32_t version)
{
    nx_error err = {0};
    nx_assert_ok(change(at, op, name, &version, NULL, NX_OK, &err), err);
}

static nx_stored_model stored(host *at, const char *name)
{
    nx_stored_model model = {0};
    (void)nx_model_store_find(at->store, name, &model, NULL);
    return model;
}

static void servers_of_one_disk_follow_each_other(void **state)
{
    NEED(state);
    host a = {0};
    host b = {0};
    open_host(fixture, "one", &a);
    open_host(fixture, "one", &b);
    assert_int_equal(add_ok(&a, "base", "second"), 2);
    wait_for(&b, "base", 2);
    change_ok(&b, NX_REGISTRY_ROLLBACK, "base", 0);
    assert_int_equal(nx_registry_serving(b.registry, "base"), 1);
    wait_for(&a, "base", 1);
    change_ok(&a, NX_REGISTRY_LOAD, "base", 2);
    wait_for(&b, "base", 2);
    change_ok(&b, NX_REGISTRY_REMOVE, "base", 2);
    wait_for(&a, "base", 1);
    nx_stored_model model = stored(&a, "base");
    assert_int_equal(model.count, 1);
    assert_int_equal(model.active, 1);
    nx_stored_model_free(&model);
    assert_int_equal(add_ok(&b, "base", "third"), 3); /* 2 was given */
    wait_for(&a, "base", 3);
    assert_int_equal(add_ok(&b, "other", "x"), 1);
    change_ok(&a, NX_REGISTRY_LOAD, "other", 1);
    change_ok(&b, NX_REGISTRY_UNLOAD, "other", 0);
    wait_for(&a, "other", 0);
    close_host(&a);
    close_host(&b);
}

static void a_refusal_changes_nothing(void **state)
{
    NEED(state);
    host a = {0};
    uint32_t version = 0;
    open_host(fixture, "refused", &a);
    assert_int_equal(add(&a, "base", "second", &version, NX_ERR_UNAVAILABLE, &err),
                     NX_ERR_UNAVAILABLE);
    nx_stored_model model = stored(&a, "base");
    assert_int_equal(model.count, 1);
    assert_int_equal(model.active, 1);
    assert_false(model.pinned);
    nx_stored_model_free(&model);
    assert_int_equal(nx_registry_serving(a.registry, "base"), 1);
    assert_int_equal(add_ok(&a, "base", "second"), 3); /* 2 was given, and is not given again */
    version = 1;
    assert_int_equal(change(&a, NX_REGISTRY_LOAD, "base", &version, NULL, NX_ERR_UNAVAILABLE, &err),
                     NX_ERR_UNAVAILABLE);
    assert_int_equal(nx_registry_serving(a.registry, "base"), 3);
    assert_int_equal(
        change(&a, NX_REGISTRY_REMOVE, "base", &version, NULL, NX_ERR_UNAVAILABLE, &err),
        NX_ERR_UNAVAILABLE);
    model = stored(&a, "base");
    assert_int_equal(model.count, 2);
    assert_true(nx_stored_model_version(&model, 3)->shared);
    assert_false(nx_stored_model_version(&model, 1)->shared);
    nx_stored_model_free(&model);
    close_host(&a);
}

static void what_the_disk_was_told_since_stands_after_a_restart(void **state)
{
    NEED(state);
    host a = {0};
    char *folder = NULL;
    uint32_t version = 0;
    open_host(fixture, "restart", &a);
    assert_int_equal(add_ok(&a, "base", "second"), 2);
    change_ok(&a, NX_REGISTRY_ROLLBACK, "base", 0);
    nx_shared_models_poke(a.shared);
    const int64_t end = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    while (nx_shared_models_get_stats(a.shared).generation < 2 && nx_clock_now_ns() < end) {
        usleep(2000);
    }
    close_host(&a);
    /* a restart keeps the rollback ... */
    open_host(fixture, "restart", &a);
    assert_int_equal(nx_registry_serving(a.registry, "base"), 1);
    close_host(&a);
    /* ... and `nexus models add` is the later word on this disk */
    nx_model_store *store = NULL;
    char data_dir[96];
    snprintf(data_dir, sizeof data_dir, "%s/restart", fixture->folder);
    nx_assert_ok(nx_model_store_new(data_dir, &store, &err), err);
    nx_assert_ok(nx_model_store_begin(store, &folder, &err), err);
    write_model(folder, "model.onnx", "third");
    nx_assert_ok(nx_model_store_commit(store, folder, "base", &version, &err), err);
    assert_int_equal(version, 3);
    free(folder);
    nx_model_store_free(store);
    open_host(fixture, "restart", &a);
    assert_int_equal(nx_registry_serving(a.registry, "base"), 3);
    close_host(&a);
}

static void another_file_in_its_place_is_told_and_not_touched(void **state)
{
    NEED(state);
    host a = {0};
    host b = {0};
    nx_shared_entry *entries = NULL;
    size_t count = 0;
    open_host(fixture, "first", &a);
    assert_int_equal(add_ok(&a, "base", "second"), 2);
    char path[160];
    snprintf(path, sizeof path, "%s/second", fixture->folder);
    write_model(path, "models/base.onnx", "first");
    write_model(path, "models/base/2/model.onnx", "its own");
    open_host(fixture, "second", &b);
    assert_int_equal(nx_shared_models_get_stats(b.shared).behind, 1);
    assert_true(nx_shared_models_get_stats(b.shared).failures > 0);
    nx_assert_ok(nx_shared_models_list(b.shared, &entries, &count, &err), err);
    assert_int_equal(count, 1);
    assert_non_null(strstr(entries[0].problem, "is another file than the one that"));
    free(entries);
    nx_stored_model model = stored(&b, "base");
    assert_int_equal(model.count, 2);
    assert_false(nx_stored_model_version(&model, 2)->shared);
    nx_stored_model_free(&model);
    /* the very file is taken for what it is */
    write_model(path, "models/base/2/model.onnx", "second");
    const int64_t end = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    while (nx_shared_models_get_stats(b.shared).behind > 0 && nx_clock_now_ns() < end) {
        usleep(2000);
    }
    model = stored(&b, "base");
    assert_true(nx_stored_model_version(&model, 2)->shared);
    nx_stored_model_free(&model);
    /* and goes when it is removed elsewhere; what was put there by hand stays */
    change_ok(&a, NX_REGISTRY_REMOVE, "base", 2);
    wait_for(&b, "base", 1);
    const nx_model_subject anybody = {.all = false};
    assert_false(nx_shared_models_allow(b.shared, "base", &anybody));
    close_host(&a);
    close_host(&b);
}

/* --- access --- */

static void wait_for_generation(host *at, int64_t generation)
{
    const int64_t end = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    while (nx_shared_models_get_stats(at->shared).generation < generation &&
           nx_clock_now_ns() < end) {
        usleep(2000);
    }
    assert_true(nx_shared_models_get_stats(at->shared).generation >= generation);
}

static bool may(host *at, const char *name, const char *user, const char *key)
{
    const nx_model_subject subject = {.user = user, .key = key};
    return nx_shared_models_allow(at->shared, name, &subject);
}

static void access_is_what_the_table_says(void **state)
{
    NEED(state);
    host a = {0};
    open_host(fixture, "access", &a);
    const nx_model_subject admin = {.all = true};
    const nx_model_grant to_user = {
        .name = "secret", .kind = NX_GRANT_USER, .subject = "u1", .granted_by = ""};
    nx_model_grant to_key = {
        .name = "secret", .kind = NX_GRANT_KEY, .subject = "k1", .granted_by = ""};
    assert_false(may(&a, "base", NULL, NULL));
    assert_true(may(&a, "base", "u1", ""));
    nx_assert_ok(nx_store_model_level_set(fixture->store, "base", NX_MODEL_PUBLIC, "", &err), err);
    nx_assert_ok(nx_store_model_level_set(fixture->store, "secret", NX_MODEL_PRIVATE, "", &err),
                 err);
    wait_for_generation(&a, 2);
    assert_true(may(&a, "base", NULL, NULL));
    assert_false(may(&a, "secret", "u1", "k1"));
    assert_true(nx_shared_models_allow(a.shared, "secret", &admin));
    nx_assert_ok(nx_store_model_grant(fixture->store, &to_user, &err), err);
    const int64_t soon = STORE_NUMBER(fixture->store, "SELECT nx_now()") + 1500;
    to_key.expires_at = soon;
    nx_assert_ok(nx_store_model_grant(fixture->store, &to_key, &err), err);
    wait_for_generation(&a, 4);
    assert_true(may(&a, "secret", "u1", ""));
    assert_false(may(&a, "secret", "u2", ""));
    assert_false(may(&a, "secret", "k1", "u1")); /* each in its own place */
    bool before = may(&a, "secret", "u2", "k1");
    assert_true(before || STORE_NUMBER(fixture->store, "SELECT nx_now()") >= soon);
    const int64_t end = nx_clock_now_ns() + 60 * NX_NS_PER_SEC;
    while (may(&a, "secret", "u2", "k1") && nx_clock_now_ns() < end) {
        usleep(10000); /* the grant ends without anybody telling */
    }
    assert_false(may(&a, "secret", "u2", "k1"));
    nx_assert_ok(nx_store_model_revoke(fixture->store, "secret", NX_GRANT_USER, "u1", &err), err);
    wait_for_generation(&a, 5);
    assert_false(may(&a, "secret", "u1", ""));
    close_host(&a);
}

/* Each test has folders of its own in the fixture's. */
static int group_end(void **state)
{
    nx_runtime_free(runtime);
    runtime = NULL;
    return store_group_end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(servers_of_one_disk_follow_each_other),
        store_test(a_refusal_changes_nothing),
        store_test(what_the_disk_was_told_since_stands_after_a_restart),
        store_test(another_file_in_its_place_is_told_and_not_touched),
        store_test(access_is_what_the_table_says),
    };
    return cmocka_run_group_tests_name("sqlite", tests, store_group_sqlite, group_end) +
           cmocka_run_group_tests_name("postgres", tests, store_group_postgres, group_end);
}

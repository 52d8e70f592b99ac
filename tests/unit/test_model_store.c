/* The folder of models: what is seen in it, and that changes happen whole or not at all. */
#include "engine/model_store.h"
#include "scratch.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/syscall.h>

/* In the C library's place: the one that brings this to 0 fails, as on a broken disk. */
static int syncs_until_failure = -1;

int fsync(int fd)
{
    if (syncs_until_failure > 0 && --syncs_until_failure == 0) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

/* Each test has a data folder of its own. */
static int make(void **state)
{
    char template[] = "/tmp/nexus-store-XXXXXX";
    *state = mkdtemp(template) != NULL ? strdup(template) : NULL;
    return *state != NULL ? 0 : -1;
}

static int unmake(void **state)
{
    int result = scratch_remove(state);
    free(*state);
    return result;
}

static nx_model_store *open_store(void **state)
{
    nx_error err = {0};
    nx_model_store *store = NULL;
    nx_assert_ok(nx_model_store_new(*state, &store, &err), err);
    return store;
}

static void put(void **state, const char *path, const char *text)
{
    nx_error err = {0};
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%s", scratch_path(state, path));
    *strrchr(folder, '/') = '\0';
    nx_assert_ok(nx_file_make_dirs(folder, &err), err);
    nx_assert_ok(nx_file_write(scratch_path(state, path), text, strlen(text), &err), err);
}

static bool exists(void **state, const char *path)
{
    return access(scratch_path(state, path), F_OK) == 0;
}

static uint32_t add(nx_model_store *store, const char *name, const char *text)
{
    nx_error err = {0};
    char *folder = NULL;
    char path[PATH_MAX];
    uint32_t version = 0;
    nx_assert_ok(nx_model_store_begin(store, &folder, &err), err);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    nx_assert_ok(nx_file_write(path, text, strlen(text), &err), err);
    nx_assert_ok(nx_model_store_commit(store, folder, name, &version, &err), err);
    free(folder);
    return version;
}

static nx_stored_model find(nx_model_store *store, const char *name)
{
    nx_error err = {0};
    nx_stored_model model;
    nx_assert_ok(nx_model_store_find(store, name, &model, &err), err);
    return model;
}

static void takes_only_names_that_make_no_path(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a",   "yolov8n", "8",
        "a.b", "A-b_c.1", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    static const char *const bad[] = {
        "",
        ".",
        "..",
        ".hidden",
        "../up",
        "a/b",
        "/etc/passwd",
        "a\\b",
        "a b",
        "a\n",
        "a%2fb",
        "-option",
        "_a",
        "a:1",
        "a.onnx",
        "\xc3\xa4",
        "a\x01",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(good); i++) {
        nx_assert_ok(nx_model_name_check(good[i], &err), err);
    }
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        assert_int_equal(nx_model_name_check(bad[i], &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, "letters, digits");
    }
}

static void takes_references_apart(void **state)
{
    (void)state;
    nx_error err = {0};
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version = 7;
    nx_assert_ok(nx_model_reference_parse("yolov8n", name, &version, &err), err);
    assert_string_equal(name, "yolov8n");
    assert_int_equal(version, 0);
    nx_assert_ok(nx_model_reference_parse("yolov8n:12", name, &version, &err), err);
    assert_string_equal(name, "yolov8n");
    assert_int_equal(version, 12);
    static const char *const bad[] = {"a:", "a:0",   "a:01", "a:-1",         "a:+1",   "a:1 ",
                                      ":1", "a:1:2", "a:x",  "a:1234567890", "../a:1", ""};
    for (size_t i = 0; i < NX_COUNT(bad); i++) {
        assert_int_equal(nx_model_reference_parse(bad[i], name, &version, &err), NX_ERR_INVALID);
    }
}

static void lists_what_follows_the_layout(void **state)
{
    nx_model_store *store = open_store(state);
    nx_stored_model *models = NULL;
    size_t count = 9;
    nx_error err = {0};
    nx_assert_ok(nx_model_store_list(store, &models, &count, &err), err);
    assert_int_equal(count, 0);
    put(state, "models/flat.onnx", "12345");
    put(state, "models/both.onnx", "1");
    put(state, "models/both/2/model.onnx", "22");
    put(state, "models/both/10/model.onnx", "333");
    put(state, "models/sam/3/encoder.onnx", "1234");
    put(state, "models/sam/3/decoder.onnx", "12");
    put(state, "models/half/1/encoder.onnx", "1");
    put(state, "models/odd/01/model.onnx", "1");
    put(state, "models/odd/x/model.onnx", "1");
    put(state, "models/.incoming.abc/model.onnx", "1");
    put(state, "models/notes.txt", "1");
    put(state, "models/.onnx", "1");
    nx_assert_ok(nx_model_store_list(store, &models, &count, &err), err);
    assert_int_equal(count, 3);
    assert_string_equal(models[0].name, "both");
    assert_int_equal(models[0].count, 3);
    assert_int_equal(models[0].versions[0].version, 1);
    assert_true(models[0].versions[0].flat);
    assert_int_equal(models[0].versions[2].version, 10);
    assert_int_equal(models[0].versions[2].bytes, 3);
    assert_int_equal(models[0].active, 10);
    assert_false(models[0].pinned);
    assert_string_equal(models[1].name, "flat");
    assert_int_equal(models[1].active, 1);
    assert_int_equal(models[1].versions[0].kind, NX_STORED_DETECTOR);
    assert_true(models[1].versions[0].added_s > 1600000000);
    assert_string_equal(models[2].name, "sam");
    assert_int_equal(models[2].versions[0].kind, NX_STORED_SAM);
    assert_int_equal(models[2].versions[0].bytes, 6);
    nx_stored_models_free(models, count);
    nx_model_store_free(store);
}

static void says_where_a_file_lies(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    char *path = NULL;
    put(state, "models/a.onnx", "one");
    put(state, "models/a/2/model.onnx", "two");
    nx_stored_model model = find(store, "a");
    for (uint32_t version = 1; version <= 2; version++) {
        nx_buffer text = NX_BUFFER_INIT;
        nx_assert_ok(nx_model_store_path(store, "a", nx_stored_model_version(&model, version),
                                         "model.onnx", &path, &err),
                     err);
        nx_assert_ok(nx_file_read(path, 100, &text, &err), err);
        assert_string_equal(nx_buffer_cstr(&text), version == 1 ? "one" : "two");
        nx_buffer_free(&text);
        free(path);
    }
    assert_ptr_equal(nx_stored_model_version(&model, 0), nx_stored_model_version(&model, 2));
    assert_null(nx_stored_model_version(&model, 3));
    nx_stored_model_free(&model);
    nx_model_store_free(store);
}

static void names_what_is_there_when_a_model_is_not(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    nx_stored_model model;
    assert_int_equal(nx_model_store_find(store, "yolov8n", &model, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "there: none");
    put(state, "models/yolov8n.onnx", "1");
    put(state, "models/other.onnx", "1");
    assert_int_equal(nx_model_store_find(store, "yolo8n", &model, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "did you mean 'yolov8n'?");
    nx_assert_contains(err.message, "there: other, yolov8n");
    assert_int_equal(nx_model_store_find(store, "../models/yolov8n", &model, &err), NX_ERR_INVALID);
    nx_model_store_free(store);
}

static void adds_versions(void **state)
{
    nx_model_store *store = open_store(state);
    assert_int_equal(add(store, "a", "one"), 1);
    assert_int_equal(add(store, "a", "two"), 2);
    put(state, "models/flat.onnx", "1");
    assert_int_equal(add(store, "flat", "two"), 2);
    nx_stored_model model = find(store, "a");
    assert_int_equal(model.count, 2);
    assert_int_equal(model.active, 2);
    nx_stored_model_free(&model);
    nx_model_store_free(store);
}

/* As a server does with what another has shared: the number is given. */
static nx_status install(nx_model_store *store, const char *name, uint32_t version, nx_error *err)
{
    char *folder = NULL;
    char path[PATH_MAX];
    nx_assert_ok(nx_model_store_begin(store, &folder, err), *err);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    nx_assert_ok(nx_file_write(path, "text", 4, err), *err);
    nx_status status = nx_model_store_install(store, folder, name, &version, err);
    nx_model_store_discard(folder);
    free(folder);
    return status;
}

static void a_version_is_not_replaced(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    assert_int_equal(add(store, "a", "one"), 1);
    nx_assert_ok(install(store, "a", 7, &err), err);
    assert_int_equal(install(store, "a", 7, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "has a version 7 already");
    put(state, "models/flat.onnx", "1");
    assert_int_equal(install(store, "flat", 1, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "flat has a version 1 already");
    nx_stored_model model = find(store, "a");
    assert_int_equal(model.count, 2);
    assert_int_equal(model.active, 1);
    nx_stored_model_free(&model);
    model = find(store, "flat");
    assert_int_equal(model.count, 1);
    nx_stored_model_free(&model);
    nx_model_store_free(store);
}

static size_t entries(const char *folder)
{
    size_t count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count - 2;
}

static void leaves_nothing_of_what_was_not_committed(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    char *folder = NULL;
    uint32_t version = 0;
    nx_assert_ok(nx_model_store_begin(store, &folder, &err), err);
    assert_int_equal(nx_model_store_commit(store, folder, "a", &version, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "neither model.onnx");
    put(state, "source", "bytes");
    assert_int_equal(
        nx_model_store_copy(folder, "model.onnx", scratch_path(state, "source"), 4, &err),
        NX_ERR_TOO_LARGE);
    assert_int_equal(nx_model_store_copy(folder, "x", scratch_path(state, "none"), 4, &err),
                     NX_ERR_NOT_FOUND);
    assert_int_equal(nx_model_store_copy(folder, "y", *state, 4, &err), NX_ERR_INVALID);
    assert_int_equal(nx_model_store_commit(store, folder, "../b", &version, &err), NX_ERR_INVALID);
    nx_model_store_discard(folder);
    free(folder);
    assert_int_equal(entries(scratch_path(state, "models")), 0);
    nx_model_store_free(store);
}

/* A file that may not grow says no in the same way as a full disk. */
static void tells_of_a_file_that_can_t_be_written(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    char *folder = NULL;
    put(state, "source", "more than four bytes");
    nx_assert_ok(nx_model_store_begin(store, &folder, &err), err);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit small = {.rlim_cur = 4, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    nx_status status =
        nx_model_store_copy(folder, "model.onnx", scratch_path(state, "source"), 100, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, "cannot copy");
    nx_assert_contains(err.message, "File too large");
    nx_model_store_discard(folder);
    free(folder);
    assert_int_equal(entries(scratch_path(state, "models")), 0);
    nx_model_store_free(store);
}

static void keeps_the_active_version(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    add(store, "a", "one");
    add(store, "a", "two");
    add(store, "a", "three");
    nx_assert_ok(nx_model_store_activate(store, "a", 2, &err), err);
    nx_stored_model model = find(store, "a");
    assert_int_equal(model.active, 2);
    assert_true(model.pinned);
    nx_stored_model_free(&model);
    assert_int_equal(nx_model_store_activate(store, "a", 4, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "there: 1, 2, 3");
    /* the highest needs no pin, and what comes next is used */
    nx_assert_ok(nx_model_store_activate(store, "a", 3, &err), err);
    assert_false(exists(state, "models/a/active"));
    nx_assert_ok(nx_model_store_activate(store, "a", 1, &err), err);
    assert_int_equal(add(store, "a", "four"), 4);
    model = find(store, "a");
    assert_int_equal(model.active, 4);
    nx_stored_model_free(&model);
    /* nonsense in the file is no reason to have no model */
    put(state, "models/a/active", "../../etc/passwd");
    model = find(store, "a");
    assert_int_equal(model.active, 4);
    nx_stored_model_free(&model);
    nx_model_store_free(store);
}

static void assert_model(nx_model_store *store, const char *name, size_t count, uint32_t active,
                         bool pinned)
{
    nx_stored_model model = find(store, name);
    assert_int_equal(model.count, count);
    assert_int_equal(model.active, active);
    assert_int_equal(model.pinned, pinned);
    nx_stored_model_free(&model);
}

static nx_status commit_file(nx_model_store *store, const char *name, bool *left, nx_error *err)
{
    char *folder = NULL;
    char path[PATH_MAX];
    uint32_t version = 0;
    nx_assert_ok(nx_model_store_begin(store, &folder, err), *err);
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    nx_assert_ok(nx_file_write(path, "new", 3, err), *err);
    nx_status status = nx_model_store_commit(store, folder, name, &version, err);
    *left = access(path, F_OK) == 0;
    nx_model_store_discard(folder);
    free(folder);
    return status;
}

/* Whichever step it is that does not get to the disk. */
static void takes_back_what_can_t_be_synced(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    add(store, "a", "one");
    add(store, "a", "two");
    add(store, "a", "three");
    nx_assert_ok(nx_model_store_activate(store, "a", 1, &err), err);
    const char *const names[] = {"a", "b"};
    for (size_t i = 0; i < 2; i++) {
        nx_status status = NX_ERR_IO;
        bool left = false;
        int failing = 1;
        for (; status != NX_OK; failing++) {
            assert_true(failing < 10);
            syncs_until_failure = failing;
            status = commit_file(store, names[i], &left, &err);
            syncs_until_failure = -1;
            assert_int_equal(left, status != NX_OK);
            if (status != NX_OK) {
                assert_int_equal(status, NX_ERR_IO);
                assert_model(store, "a", 3 + i, i == 0 ? 1 : 4, i == 0);
                assert_false(exists(state, "models/b"));
            }
        }
        assert_true(failing > 4);
    }
    assert_model(store, "a", 4, 4, false);
    for (uint32_t version = 2; version <= 4; version++) {
        nx_assert_ok(nx_model_store_activate(store, "a", 1, &err), err);
        syncs_until_failure = 1;
        assert_int_equal(nx_model_store_activate(store, "a", version, &err), NX_ERR_IO);
        syncs_until_failure = -1;
        assert_model(store, "a", 4, 1, true);
    }
    nx_model_store_free(store);
}

static void removes_all_or_nothing(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    put(state, "models/a.onnx", "one");
    add(store, "a", "two");
    add(store, "a", "three");
    put(state, "elsewhere/model.onnx", "four");
    char target[PATH_MAX];
    snprintf(target, sizeof target, "%s", scratch_path(state, "elsewhere"));
    assert_int_equal(symlink(target, scratch_path(state, "models/a/4")), 0); /* not ours to move */
    nx_assert_ok(nx_model_store_activate(store, "a", 2, &err), err);
    assert_int_equal(nx_model_store_remove(store, "a", 0, &err), NX_ERR_IO);
    nx_assert_contains(err.message, "cannot remove");
    assert_model(store, "a", 4, 2, true);
    assert_true(exists(state, "models/a.onnx"));
    assert_int_equal(nx_model_store_remove(store, "a", 4, &err), NX_ERR_IO);
    assert_int_equal(entries(scratch_path(state, "models")), 2); /* nothing lies aside */
    assert_int_equal(unlink(scratch_path(state, "models/a/4")), 0);
    nx_assert_ok(nx_model_store_remove(store, "a", 0, &err), err);
    assert_int_equal(entries(scratch_path(state, "models")), 0);
    nx_model_store_free(store);
}

static void removes_versions_and_models(void **state)
{
    nx_model_store *store = open_store(state);
    nx_error err = {0};
    nx_stored_model model;
    put(state, "models/a.onnx", "one");
    add(store, "a", "two");
    add(store, "a", "three");
    nx_assert_ok(nx_model_store_activate(store, "a", 2, &err), err);
    assert_int_equal(nx_model_store_remove(store, "a", 9, &err), NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_model_store_remove(store, "a", 2, &err), err);
    model = find(store, "a");
    assert_int_equal(model.count, 2);
    assert_int_equal(model.active, 3);
    assert_false(model.pinned);
    nx_stored_model_free(&model);
    nx_assert_ok(nx_model_store_remove(store, "a", 1, &err), err);
    assert_false(exists(state, "models/a.onnx"));
    nx_assert_ok(nx_model_store_remove(store, "a", 0, &err), err);
    assert_int_equal(nx_model_store_remove(store, "a", 0, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_model_store_remove(store, "../a", 0, &err), NX_ERR_INVALID);
    assert_int_equal(entries(scratch_path(state, "models")), 0);
    nx_model_store_free(store);
}

/* --- many at once -------------------------------------------------------------------------------
 */

#define ADDERS 4
#define ADDS   5

static void *add_some(void *user)
{
    for (int i = 0; i < ADDS; i++) {
        add(user, "shared", "bytes");
    }
    return NULL;
}

static void gives_each_of_many_a_version_of_its_own(void **state)
{
    nx_model_store *store = open_store(state);
    pthread_t threads[ADDERS];
    for (int i = 0; i < ADDERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, add_some, store), 0);
    }
    for (int i = 0; i < ADDERS; i++) {
        pthread_join(threads[i], NULL);
    }
    nx_stored_model model = find(store, "shared");
    assert_int_equal(model.count, ADDERS * ADDS);
    assert_int_equal(model.active, ADDERS * ADDS);
    nx_stored_model_free(&model);
    nx_model_store_free(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_only_names_that_make_no_path),
        cmocka_unit_test(takes_references_apart),
        cmocka_unit_test_setup_teardown(lists_what_follows_the_layout, make, unmake),
        cmocka_unit_test_setup_teardown(says_where_a_file_lies, make, unmake),
        cmocka_unit_test_setup_teardown(names_what_is_there_when_a_model_is_not, make, unmake),
        cmocka_unit_test_setup_teardown(adds_versions, make, unmake),
        cmocka_unit_test_setup_teardown(a_version_is_not_replaced, make, unmake),
        cmocka_unit_test_setup_teardown(leaves_nothing_of_what_was_not_committed, make, unmake),
        cmocka_unit_test_setup_teardown(tells_of_a_file_that_can_t_be_written, make, unmake),
        cmocka_unit_test_setup_teardown(keeps_the_active_version, make, unmake),
        cmocka_unit_test_setup_teardown(takes_back_what_can_t_be_synced, make, unmake),
        cmocka_unit_test_setup_teardown(removes_versions_and_models, make, unmake),
        cmocka_unit_test_setup_teardown(removes_all_or_nothing, make, unmake),
        cmocka_unit_test_setup_teardown(gives_each_of_many_a_version_of_its_own, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

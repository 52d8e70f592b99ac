/*
 * Pairs of networks that segment in the registry, with the real MobileSAM: what is asked for ends
 * on the version that it began with, whoever changes the store meanwhile, and what is replaced
 * goes.
 */
#include "engine/registry.h"
#include "models.h"
#include "process_memory.h"

#include "base/clock.h"
#include "base/file.h"

#include <pthread.h>
#include <stdatomic.h>

typedef struct fixture {
    char *folder;
    nx_runtime *runtime;
    nx_model_store *store;
    nx_registry *registry;
} fixture;

static int make(void **state)
{
    char template[] = "/tmp/nexus-registry-sam-XXXXXX";
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

/* --- graphs -------------------------------------------------------------------------------------
 */

typedef struct port {
    const char *name;
    int64_t dims[4];
    size_t rank;
} port;

/* A graph whose outputs are zeros of these shapes, whatever comes in. */
static void write_graph(fixture *f, const char *file, const port *inputs, size_t input_count,
                        const port *outputs, size_t output_count)
{
    nx_buffer graph = NX_BUFFER_INIT;
    nx_buffer model = NX_BUFFER_INIT;
    void *folder = f->folder;
    for (size_t i = 0; i < output_count; i++) {
        char shape[16];
        snprintf(shape, sizeof shape, "shape%zu", i);
        tiny_initializer(&graph, shape, outputs[i].dims, outputs[i].rank);
        tiny_node(&graph, "ConstantOfShape", shape, outputs[i].name, NULL);
    }
    pb_text(&graph, 2, "tiny");
    for (size_t i = 0; i < input_count; i++) {
        tiny_value_info(&graph, 11, inputs[i].name, TINY_FLOAT, inputs[i].dims, inputs[i].rank);
    }
    for (size_t i = 0; i < output_count; i++) {
        tiny_value_info(&graph, 12, outputs[i].name, TINY_FLOAT, outputs[i].dims, outputs[i].rank);
    }
    pb_int(&model, 1, 8);
    pb_message(&model, 7, &graph);
    pb_opset(&model, NULL, 17);
    scratch_write(&folder, file, model.data, model.size);
    nx_buffer_free(&model);
}

static void write_encoder(fixture *f, const char *file, int64_t side)
{
    const port input = {"input", {1, 3, 1024, 1024}, 4};
    const port output = {"output", {1, 256, side, side}, 4};
    write_graph(f, file, &input, 1, &output, 1);
}

static void write_decoder(fixture *f, const char *file, int64_t masks)
{
    const port inputs[] = {{"image_embeddings", {1, 256, 64, 64}, 4},
                           {"point_coords", {1, -1, 2}, 3},
                           {"point_labels", {1, -1}, 2},
                           {"mask_input", {1, 1, 256, 256}, 4},
                           {"has_mask_input", {1}, 1},
                           {"orig_im_size", {2}, 1}};
    const port outputs[] = {{"low_res_masks", {1, masks, 256, 256}, 4},
                            {"iou_predictions", {1, masks}, 2}};
    write_graph(f, file, inputs, NX_COUNT(inputs), outputs, NX_COUNT(outputs));
}

#define ENCODER "encoder.onnx"
#define DECODER "decoder.onnx"
#define TINY    "models/tiny.onnx"

/* A store with a small detector as the default, and no pair yet. */
static void start(fixture *f)
{
    nx_error err = {0};
    void *folder = f->folder;
    const tiny_model model = TINY_YOLOV8;
    nx_assert_ok(nx_file_make_dirs(scratch_path(&folder, "models"), &err), err);
    tiny_model_write(&folder, TINY, &model);
    write_encoder(f, ENCODER, 64);
    write_decoder(f, DECODER, 1);
    f->runtime = models_runtime();
    nx_assert_ok(nx_model_store_new(f->folder, &f->store, &err), err);
    const nx_registry_options options = {.runtime = f->runtime,
                                         .store = f->store,
                                         .default_model = "tiny",
                                         .sam_model = "pair",
                                         .sam = {.cache_bytes = 64 << 20, .alone_threads = 2},
                                         .max_loaded = 2};
    nx_assert_ok(nx_registry_new(&options, &f->registry, &err), err);
    nx_registry_task task = {.op = NX_REGISTRY_ACQUIRE};
    nx_assert_ok(nx_registry_run(f->registry, &task, &err), err);
    nx_registry_release(task.handle);
}

/* A folder that is to become a version; the caller frees its name. */
static char *begin(fixture *f, const char *encoder, const char *decoder)
{
    nx_error err = {0};
    char *folder = NULL;
    void *files = f->folder;
    nx_assert_ok(nx_model_store_begin(f->store, &folder, &err), err);
    nx_assert_ok(nx_model_store_copy(folder, "encoder.onnx", scratch_path(&files, encoder),
                                     UINT64_MAX, &err),
                 err);
    nx_assert_ok(nx_model_store_copy(folder, "decoder.onnx", scratch_path(&files, decoder),
                                     UINT64_MAX, &err),
                 err);
    return folder;
}

/* Installs a version behind the registry's back, as another process does. */
static uint32_t install(fixture *f)
{
    nx_error err = {0};
    uint32_t version = 0;
    char *folder = begin(f, ENCODER, DECODER);
    nx_assert_ok(nx_model_store_commit(f->store, folder, "pair", &version, &err), err);
    free(folder);
    return version;
}

static nx_status run(fixture *f, nx_registry_op op, const char *name, uint32_t version,
                     const char *folder, nx_error *err)
{
    nx_registry_task task = {.op = op, .version = version, .folder = folder};
    snprintf(task.name, sizeof task.name, "%s", name);
    return nx_registry_run(f->registry, &task, err);
}

static void run_ok(fixture *f, nx_registry_op op, uint32_t version)
{
    nx_error err = {0};
    nx_assert_ok(run(f, op, "pair", version, NULL, &err), err);
}

/* As a request does: at once, or by a task. */
static nx_status acquire_any(fixture *f, uint32_t version, nx_registry_handle **out, nx_error *err)
{
    nx_status status = nx_registry_acquire_sam(f->registry, NULL, version, out, err);
    if (status == NX_ERR_UNAVAILABLE) {
        nx_registry_task task = {
            .op = NX_REGISTRY_ACQUIRE, .kind = NX_STORED_SAM, .version = version};
        status = nx_registry_run(f->registry, &task, err);
        *out = task.handle;
    }
    return status;
}

static nx_registry_handle *acquire(fixture *f, uint32_t version)
{
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    nx_assert_ok(acquire_any(f, version, &handle, &err), err);
    assert_non_null(nx_registry_sam(handle));
    assert_null(nx_registry_model(handle));
    return handle;
}

static void assert_serves(fixture *f, uint32_t version)
{
    nx_registry_handle *handle = acquire(f, 0);
    assert_int_equal(nx_registry_version(handle), version);
    nx_registry_release(handle);
}

static nx_registry_entry entry(fixture *f, uint32_t version)
{
    nx_error err = {0};
    nx_registry_entry *entries = NULL;
    nx_registry_entry found = {0};
    size_t count = 0;
    nx_assert_ok(nx_registry_list(f->registry, &entries, &count, &err), err);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(entries[i].name, "pair") == 0 && entries[i].version == version) {
            found = entries[i];
        }
    }
    free(entries);
    return found;
}

static nx_content_hash key_of(uint8_t picture)
{
    return nx_content_hash_of(&picture, 1);
}

/* Keeps an embedding in a version's cache, as a request with that picture does. */
static void remember(const nx_registry_handle *handle, uint8_t picture)
{
    nx_error err = {0};
    nx_embedding_cache *cache = nx_sam_cache(nx_registry_sam(handle));
    nx_embedding *embedding = NULL;
    nx_embedding_claim claim = {.key = key_of(picture)};
    assert_int_equal(nx_embedding_cache_claim(cache, &claim, &embedding), NX_CLAIM_LEADS);
    nx_assert_ok(nx_embedding_new(&claim.key, 8, 8, NX_SAM_EMBEDDING_COUNT, &embedding, &err), err);
    memset(embedding->values, 0, NX_SAM_EMBEDDING_COUNT * sizeof(float));
    nx_embedding_cache_publish(cache, &claim, embedding);
    nx_embedding_release(embedding);
}

static bool remembers(const nx_registry_handle *handle, uint8_t picture)
{
    const nx_content_hash key = key_of(picture);
    nx_embedding *embedding = nx_embedding_cache_find(nx_sam_cache(nx_registry_sam(handle)), &key);
    nx_embedding_release(embedding);
    return embedding != NULL;
}

/* A mask of an empty embedding: what comes out does not matter, that it comes does. */
static void decode(const nx_registry_handle *handle, bool alone)
{
    nx_error err = {0};
    nx_embedding *embedding = NULL;
    nx_sam_masks masks = {0};
    const nx_content_hash key = key_of(0);
    const nx_sam_prompt prompt = {.points = {{4, 4, true}}, .point_count = 1};
    nx_assert_ok(nx_embedding_new(&key, 8, 8, NX_SAM_EMBEDDING_COUNT, &embedding, &err), err);
    memset(embedding->values, 0, NX_SAM_EMBEDDING_COUNT * sizeof(float));
    nx_assert_ok(nx_sam_decode(nx_registry_sam(handle), embedding, &prompt, 0, alone, &masks, &err),
                 err);
    assert_int_equal(masks.count, 1);
    assert_int_equal(masks.runs, 1);
    assert_true(masks.runs_ns[0] > 0 && masks.runs_ns[0] <= masks.run_ns);
    nx_sam_masks_free(&masks);
    nx_embedding_release(embedding);
}

static void says_what_is_not_there(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    start(f);
    assert_int_equal(acquire_any(f, 0, &handle, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "there is no model 'pair'");
    assert_int_equal(nx_registry_acquire_sam(f->registry, "tiny", 0, &handle, &err),
                     NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "tiny is a detector");
    install(f);
    assert_int_equal(acquire_any(f, 9, &handle, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_registry_acquire(f->registry, "pair", 0, &handle, &err),
                     NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "does not detect");
    nx_registry_release(acquire(f, 0)); /* in memory it is none either */
    assert_int_equal(nx_registry_acquire(f->registry, "pair", 0, &handle, &err),
                     NX_ERR_UNSUPPORTED);
    nx_registry_task task = {.op = NX_REGISTRY_ACQUIRE, .name = "pair"};
    assert_int_equal(nx_registry_run(f->registry, &task, &err), NX_ERR_UNSUPPORTED);
    assert_null(task.handle);
}

static void follows_the_store(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    nx_registry_handle *handle = NULL;
    start(f);
    assert_int_equal(install(f), 1);
    nx_registry_handle *first = acquire(f, 0);
    nx_registry_handle *again = acquire(f, 0);
    assert_ptr_equal(first, again);
    nx_registry_release(again);
    remember(first, 7);
    assert_int_equal(install(f), 2);
    nx_registry_handle *second = acquire(f, 0);
    assert_int_equal(nx_registry_version(second), 2);
    assert_false(remembers(second, 7));
    assert_true(remembers(first, 7));
    assert_int_equal(entry(f, 1).state, NX_MODEL_UNLOADED); /* but for who began with it */
    assert_true(entry(f, 2).serves && entry(f, 2).state == NX_MODEL_READY);
    nx_assert_ok(nx_model_store_activate(f->store, "pair", 1, &err), err); /* a rollback */
    assert_serves(f, 1);
    assert_true(entry(f, 1).serves && !entry(f, 2).serves);
    nx_assert_ok(nx_model_store_remove(f->store, "pair", 1, &err), err);
    assert_serves(f, 2);
    decode(first, true);  /* open */
    decode(first, false); /* cannot be opened any more, and is not needed */
    nx_registry_release(first);
    nx_registry_release(second);
    nx_assert_ok(nx_model_store_remove(f->store, "pair", 0, &err), err);
    assert_int_equal(acquire_any(f, 0, &handle, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(entry(f, 2).version, 0); /* neither on disk nor in memory */
}

/* The same number, other files: what was learnt from the old ones must not be used. */
static void notices_a_version_that_was_replaced(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    start(f);
    install(f);
    nx_registry_handle *first = acquire(f, 0);
    remember(first, 7);
    nx_assert_ok(nx_model_store_remove(f->store, "pair", 1, &err), err);
    assert_int_equal(install(f), 1);
    decode(first, false); /* a session of the new files would not do */
    nx_registry_handle *second = acquire(f, 0);
    assert_ptr_not_equal(first, second);
    assert_int_equal(nx_registry_version(second), 1);
    assert_false(remembers(second, 7));
    nx_registry_release(first);
    nx_registry_release(second);
}

static void changes_through_tasks(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    nx_error err = {0};
    start(f);
    for (uint32_t i = 1; i <= 2; i++) {
        char *folder = begin(f, ENCODER, DECODER);
        nx_assert_ok(run(f, NX_REGISTRY_ADD, "pair", 0, folder, &err), err);
        assert_int_equal(access(folder, F_OK), -1);
        free(folder);
        assert_true(entry(f, i).serves && entry(f, i).state == NX_MODEL_READY);
        assert_serves(f, i);
    }
    run_ok(f, NX_REGISTRY_ROLLBACK, 0);
    assert_serves(f, 1);
    assert_true(entry(f, 1).serves && entry(f, 1).state == NX_MODEL_READY);
    assert_true(!entry(f, 2).serves && entry(f, 2).state == NX_MODEL_UNLOADED);
    assert_int_equal(run(f, NX_REGISTRY_ROLLBACK, "pair", 0, NULL, &err), NX_ERR_CONFLICT);
    run_ok(f, NX_REGISTRY_LOAD, 2);
    assert_serves(f, 2);
    run_ok(f, NX_REGISTRY_UNLOAD, 0);
    assert_int_equal(entry(f, 2).state, NX_MODEL_UNLOADED);
    assert_serves(f, 2); /* loaded anew */
    run_ok(f, NX_REGISTRY_REMOVE, 2);
    assert_serves(f, 1);
    run_ok(f, NX_REGISTRY_REMOVE, 0);
    assert_int_equal(entry(f, 1).version, 0);
}

static void refuses_wrong_pairs(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    static const struct {
        const char *encoder, *decoder, *words, *name;
    } wrong[] = {
        {DECODER, ENCODER, "encoder.onnx is not a network of SAM", "pair"},
        {ENCODER, ENCODER, "decoder.onnx is not a network of SAM", "pair"},
        {TINY, DECODER, "encoder.onnx is not a network of SAM", "pair"},
        {"small.onnx", DECODER, "encoder.onnx fails on an empty picture", "pair"},
        {ENCODER, "two.onnx", "decoder.onnx fails on an empty picture", "pair"},
        {ENCODER, "text.onnx", "decoder.onnx", "pair"},
        {ENCODER, DECODER, "tiny is the name of a model that detects", "tiny"},
    };
    void *files = f->folder;
    start(f);
    write_encoder(f, "small.onnx", 32);
    write_decoder(f, "two.onnx", 2);
    scratch_write(&files, "text.onnx", "no model", 8);
    install(f);
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_error err = {0};
        char *folder = begin(f, wrong[i].encoder, wrong[i].decoder);
        assert_int_not_equal(run(f, NX_REGISTRY_ADD, wrong[i].name, 0, folder, &err), NX_OK);
        nx_assert_contains(err.message, wrong[i].words);
        assert_null(strstr(err.message, folder));
        nx_model_store_discard(folder);
        free(folder);
    }
    assert_int_equal(entry(f, 2).version, 0);
    assert_serves(f, 1);
}

/* --- many at once -------------------------------------------------------------------------------
 */

#define READERS 4
#define SWAPS   40

typedef struct crowd {
    fixture *fixture;
    atomic_bool stop;
    _Atomic uint32_t requests;
} crowd;

/* Decodes on whatever it gets: that must live as long as it is held. */
static void *keep_asking(void *user)
{
    crowd *all = user;
    while (!atomic_load(&all->stop)) {
        nx_registry_handle *handle = acquire(all->fixture, 0);
        uint32_t version = nx_registry_version(handle);
        decode(handle, version % 2 == 0);
        nx_registry_count(handle, 1);
        nx_registry_release(handle);
        atomic_fetch_add(&all->requests, 1);
    }
    return NULL;
}

static void no_request_fails_while_versions_change(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    crowd all = {.fixture = f};
    pthread_t threads[READERS];
    start(f);
    install(f);
    install(f);
    assert_serves(f, 2);
    for (int i = 0; i < READERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, keep_asking, &all), 0);
    }
    for (int i = 0; i < SWAPS; i++) {
        nx_error err = {0};
        uint32_t version = i % 2 == 0 ? 1 : 2;
        if (i % 4 < 2) {
            run_ok(f, NX_REGISTRY_LOAD, version);
        } else {
            nx_assert_ok(nx_model_store_activate(f->store, "pair", version, &err), err);
        }
        assert_serves(f, version);
    }
    atomic_store(&all.stop, true);
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&all.requests) >= READERS);
    assert_int_equal(entry(f, 1).inferences + entry(f, 2).inferences, atomic_load(&all.requests));
    assert_int_equal(entry(f, 1).users + entry(f, 2).users, 0);
}

static void memory_comes_back(void **state)
{
    NX_NEED_RUNTIME();
    fixture *f = *state;
    long least[2] = {LONG_MAX, LONG_MAX};
    if (sanitized()) {
        skip();
    }
    start(f);
    install(f);
    install(f);
    for (int i = 0; i < 12; i++) {
        run_ok(f, NX_REGISTRY_LOAD, i % 2 == 0 ? 1 : 2);
        nx_registry_handle *handle = acquire(f, 0);
        for (uint8_t picture = 0; picture < 8; picture++) { /* 32 MiB */
            remember(handle, picture);
        }
        nx_registry_release(handle);
        long *group = i < 4 ? &least[0] : i >= 8 ? &least[1] : NULL;
        long now = process_kb("VmRSS:");
        if (group != NULL && now < *group) {
            *group = now;
        }
    }
    run_ok(f, NX_REGISTRY_UNLOAD, 0);
    long without = process_kb("VmRSS:");
    print_message("12 swaps: resident %ld kB at first, %ld kB later, %ld kB unloaded\n", least[0],
                  least[1], without);
    assert_true(least[1] < least[0] + least[0] / 10);
    assert_true(without < least[1] - (32 << 10)); /* the embeddings at least */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(says_what_is_not_there, make, unmake),
        cmocka_unit_test_setup_teardown(follows_the_store, make, unmake),
        cmocka_unit_test_setup_teardown(notices_a_version_that_was_replaced, make, unmake),
        cmocka_unit_test_setup_teardown(changes_through_tasks, make, unmake),
        cmocka_unit_test_setup_teardown(refuses_wrong_pairs, make, unmake),
        cmocka_unit_test_setup_teardown(no_request_fails_while_versions_change, make, unmake),
        cmocka_unit_test_setup_teardown(memory_comes_back, make, unmake),
    };
    return cmocka_run_group_tests_name("registry_sam", tests, NULL, NULL);
}

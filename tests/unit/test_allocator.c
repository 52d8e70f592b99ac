#include "models.h"
#include "process_memory.h"

#include "engine/allocator.h"
#include "engine/ort.h"

#include <malloc.h>
#include <pthread.h>

#define KB ((size_t)1024)
#define MB (1024 * KB)

static nx_runtime *runtime;
static nx_allocator *allocator;
static OrtAllocator *ort;

/* A new allocator for each test, from the real API. */
static int setup(void **state)
{
    nx_error err = {0};
    (void)state;
    if (access(models_data_path("lib/libonnxruntime.so.1"), R_OK) != 0) {
        return 0; /* the tests skip */
    }
    if (nx_runtime_open(NULL, models_data_dir(), &runtime, &err) != NX_OK ||
        nx_allocator_new(runtime->api, &allocator, &err) != NX_OK) {
        fprintf(stderr, "%s\n", err.message);
        return -1;
    }
    ort = nx_allocator_ort(allocator);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    nx_allocator_free(allocator);
    nx_runtime_free(runtime);
    allocator = NULL;
    runtime = NULL;
    return 0;
}

static void blocks_are_aligned_and_usable(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    static const size_t sizes[] = {1,       63,          64,           65,     4000,  64 * KB - 1,
                                   64 * KB, 64 * KB + 1, 100 * KB + 7, 3 * MB, 9 * MB};
    for (size_t i = 0; i < NX_COUNT(sizes); i++) {
        void *a = ort->Alloc(ort, sizes[i]);
        void *b = ort->Reserve(ort, sizes[i]);
        assert_non_null(a);
        assert_non_null(b);
        assert_int_equal((uintptr_t)a % 64, 0);
        assert_int_equal((uintptr_t)b % 64, 0);
        memset(a, 1, sizes[i]); /* to the last byte, for ASan to see */
        memset(b, 2, sizes[i]);
        assert_int_equal(((char *)a)[sizes[i] - 1], 1);
        ort->Free(ort, a);
        ort->Free(ort, b);
    }
    ort->Free(ort, NULL);
}

static void impossible_sizes_get_nothing(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    assert_null(ort->Alloc(ort, 0));
    assert_null(ort->Reserve(ort, 0));
    assert_null(ort->Alloc(ort, SIZE_MAX));
    assert_null(ort->Alloc(ort, SIZE_MAX - 64));
    assert_null(ort->Alloc(ort, SIZE_MAX / 2));
    assert_null(ort->Reserve(ort, SIZE_MAX - 4096));
}

static void large_blocks_are_kept_for_the_same_size(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    void *a = ort->Alloc(ort, 2 * MB);
    void *b = ort->Alloc(ort, 2 * MB);
    void *c = ort->Alloc(ort, 3 * MB);
    assert_ptr_not_equal(a, b);
    ort->Free(ort, a);
    ort->Free(ort, b);
    ort->Free(ort, c);
    assert_ptr_equal(ort->Alloc(ort, 2 * MB), b); /* the last freed is the warmest */
    assert_ptr_equal(ort->Alloc(ort, 2 * MB), a);
    assert_ptr_equal(ort->Alloc(ort, 3 * MB), c);
    ort->Free(ort, a);
    ort->Free(ort, b);
    ort->Free(ort, c);
}

static void trimming_gives_memory_back(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    long before = process_kb("VmRSS:");
    void *used = ort->Alloc(ort, 20 * MB);
    void *freed = ort->Alloc(ort, 30 * MB);
    void *reserved = ort->Reserve(ort, 40 * MB);
    memset(used, 1, 20 * MB);
    memset(freed, 1, 30 * MB);
    memset(reserved, 1, 40 * MB);
    ort->Free(ort, freed);
    ort->Free(ort, reserved); /* weights of a model that is gone: not kept */
    long kept = process_kb("VmRSS:") - before;
    nx_allocator_trim(allocator);
    long trimmed = process_kb("VmRSS:") - before;
    assert_int_equal(((char *)used)[20 * MB - 1], 1);
    if (!sanitized()) {
        assert_true(kept > 48 * 1024 && kept < 60 * 1024);
        assert_true(trimmed > 18 * 1024 && trimmed < 30 * 1024);
    }
    ort->Free(ort, used);
}

/* Sizes that do not come again must not fill the cache for ever. */
static void a_full_cache_starts_anew(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    mallopt(M_PERTURB, 0); /* which would touch it all */
    long before = process_kb("VmSize:");
    void *stale = ort->Alloc(ort, 600 * MB); /* never touched: address space alone */
    void *recent = ort->Alloc(ort, 601 * MB);
    assert_non_null(stale);
    assert_non_null(recent);
    ort->Free(ort, stale);
    long with_stale = process_kb("VmSize:") - before;
    ort->Free(ort, recent);
    long with_recent = process_kb("VmSize:") - before;
    if (!sanitized()) {
        assert_true(with_stale > 1200 * 1024);
        assert_true(with_recent > 600 * 1024 && with_recent < 610 * 1024);
    }
    assert_ptr_equal(ort->Alloc(ort, 601 * MB), recent);
    ort->Free(ort, recent);
    void *too_large = ort->Alloc(ort, 1100 * MB);
    assert_non_null(too_large);
    ort->Free(ort, too_large); /* does not push the others out */
    assert_ptr_equal(ort->Alloc(ort, 601 * MB), recent);
    ort->Free(ort, recent);
}

/* A block that comes and goes is counted once, and pushes nothing out. */
static void use_does_not_fill_the_cache(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    mallopt(M_PERTURB, 0);
    long before = process_kb("VmSize:");
    void *kept = ort->Alloc(ort, 100 * MB);
    assert_non_null(kept);
    ort->Free(ort, kept);
    for (int i = 0; i < 20; i++) {
        void *used = ort->Alloc(ort, 200 * MB);
        assert_non_null(used);
        ort->Free(ort, used);
    }
    if (!sanitized()) {
        assert_true(process_kb("VmSize:") - before > 300 * 1024);
    }
    assert_ptr_equal(ort->Alloc(ort, 100 * MB), kept);
    ort->Free(ort, kept);
}

static void *allocate_and_check(void *argument)
{
    char mark = *(char *)argument;
    for (int round = 0; round < 300; round++) {
        size_t size = (size_t)(round % 7 + 1) * 48 * KB;
        char *block = ort->Alloc(ort, size);
        if (block == NULL) {
            return NULL;
        }
        memset(block, mark, 256);
        memset(block + size - 256, mark, 256);
        if (round % 50 == 0) {
            nx_allocator_trim(allocator);
        }
        for (size_t i = 0; i < 256; i++) { /* nobody else writes here */
            if (block[i] != mark || block[size - 1 - i] != mark) {
                return NULL;
            }
        }
        ort->Free(ort, block);
    }
    return argument;
}

static void threads_share_it(void **state)
{
    (void)state;
    NX_NEED_RUNTIME();
    pthread_t threads[4];
    char marks[NX_COUNT(threads)] = {1, 2, 3, 4};
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, allocate_and_check, &marks[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        void *result = NULL;
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, &marks[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_are_aligned_and_usable, setup, teardown),
        cmocka_unit_test_setup_teardown(impossible_sizes_get_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(large_blocks_are_kept_for_the_same_size, setup, teardown),
        cmocka_unit_test_setup_teardown(trimming_gives_memory_back, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_cache_starts_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(use_does_not_fill_the_cache, setup, teardown),
        cmocka_unit_test_setup_teardown(threads_share_it, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

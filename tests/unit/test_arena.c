#include "testing.h"

#include "base/arena.h"

static void pieces_are_apart_and_aligned(void **state)
{
    (void)state;
    nx_arena arena = nx_arena_make(0);
    unsigned char *pieces[100];
    for (size_t i = 0; i < NX_COUNT(pieces); i++) {
        size_t size = i * i * 7; /* from nothing to more than a quarter of a block */
        pieces[i] = nx_arena_alloc(&arena, size);
        assert_non_null(pieces[i]);
        assert_int_equal((uintptr_t)pieces[i] % 16, 0);
        memset(pieces[i], (int)i, size);
    }
    for (size_t i = 0; i < NX_COUNT(pieces); i++) {
        for (size_t k = 0; k < i * i * 7; k++) {
            assert_int_equal(pieces[i][k], i);
        }
    }
    assert_false(arena.failed);
    nx_arena_free(&arena);
    assert_null(arena.blocks);
    nx_arena_free(NULL);
}

static void refuses_what_is_over_the_limit(void **state)
{
    (void)state;
    nx_arena arena = nx_arena_make(1 << 20);
    assert_non_null(nx_arena_alloc(&arena, 1 << 19));
    assert_false(arena.failed);
    assert_null(nx_arena_alloc(&arena, 1 << 20));
    assert_true(arena.failed);
    assert_null(nx_arena_alloc(&arena, SIZE_MAX));
    assert_null(nx_arena_calloc(&arena, SIZE_MAX / 2, 3));
    nx_arena_free(&arena);
}

static void zeroes_arrays(void **state)
{
    (void)state;
    nx_arena arena = nx_arena_make(0);
    memset(nx_arena_alloc(&arena, 64), 0xFF, 64);
    nx_arena_free(&arena);
    const unsigned char *array = nx_arena_calloc(&arena, 16, 4);
    for (size_t i = 0; i < 64; i++) {
        assert_int_equal(array[i], 0);
    }
    nx_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_apart_and_aligned),
        cmocka_unit_test(refuses_what_is_over_the_limit),
        cmocka_unit_test(zeroes_arrays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

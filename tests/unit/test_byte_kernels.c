#include "testing.h"

#include "engine/byte_kernels.h"

#include <stdbool.h>

/* A permutation of all bytes that no arithmetic of the kernels follows. */
static void fill_table(uint8_t table[NX_TABLE_SIZE])
{
    uint32_t random = 12345;
    for (int i = 0; i < NX_TABLE_SIZE; i++) {
        table[i] = (uint8_t)i;
    }
    for (int i = NX_TABLE_SIZE - 1; i > 0; i--) {
        random = random * 1664525 + 1013904223;
        int j = (int)((random >> 16) % (uint32_t)(i + 1));
        uint8_t swapped = table[i];
        table[i] = table[j];
        table[j] = swapped;
    }
}

static void the_best_set_is_one_of_those_that_run(void **state)
{
    (void)state;
    bool found = false;
    assert_non_null(nx_byte_kernels_get(0));
    for (size_t i = 0; nx_byte_kernels_get(i) != NULL; i++) {
        printf("kernels that run here: %s\n", nx_byte_kernels_get(i)->name);
        found = found || nx_byte_kernels_get(i) == nx_byte_kernels_best();
    }
    assert_true(found);
    assert_null(nx_byte_kernels_get(100));
}

/* Every byte at every place of a vector, and every length about the sizes of vectors and blocks, at
 * every alignment; what lies beside the output stays as it is. */
static void every_set_looks_up_as_c_does(void **state)
{
    (void)state;
    enum { LONGEST = 700, GUARD = 64 };
    uint8_t table[NX_TABLE_SIZE];
    static uint8_t bytes[LONGEST + 64];
    static uint8_t out[GUARD + LONGEST + 64 + GUARD];
    fill_table(table);
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    }
    for (size_t set = 0; nx_byte_kernels_get(set) != NULL; set++) {
        const nx_byte_kernels *kernels = nx_byte_kernels_get(set);
        for (size_t count = 0; count <= LONGEST; count += count < 300 ? 1 : 37) {
            size_t offset = count % 64;
            memset(out, 0xA5, sizeof out);
            uint8_t *to = out + GUARD + (count * 5) % 64;
            kernels->look_up(bytes + offset, table, to, count);
            for (size_t i = 0; i < count; i++) {
                if (to[i] != table[bytes[offset + i]]) {
                    fail_msg("%s: byte %zu of %zu is %d and not %d", kernels->name, i, count, to[i],
                             table[bytes[offset + i]]);
                }
            }
            for (size_t i = 0; i < GUARD; i++) {
                assert_int_equal(to[(ptrdiff_t)i - GUARD], 0xA5);
                assert_int_equal(to[count + i], 0xA5);
            }
        }
    }
}

static void looking_up_works_in_place(void **state)
{
    (void)state;
    uint8_t table[NX_TABLE_SIZE];
    fill_table(table);
    for (size_t set = 0; nx_byte_kernels_get(set) != NULL; set++) {
        uint8_t bytes[NX_TABLE_SIZE + 17];
        for (size_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)i;
        }
        nx_byte_kernels_get(set)->look_up(bytes, table, bytes, sizeof bytes);
        assert_memory_equal(bytes, table, NX_TABLE_SIZE);
        assert_memory_equal(bytes + NX_TABLE_SIZE, table, 17);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_set_is_one_of_those_that_run),
        cmocka_unit_test(every_set_looks_up_as_c_does),
        cmocka_unit_test(looking_up_works_in_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

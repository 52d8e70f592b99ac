/* What a process remembers of tokens: for a second, bounded, and not past a change. */
#include "testing.h"

#include "auth/table.h"
#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>

#define NOW (100 * NX_NS_PER_SEC)

static void fill_hash(unsigned char hash[NX_TOKEN_HASH], uint32_t number)
{
    memset(hash, 0, NX_TOKEN_HASH);
    memcpy(hash, &number, sizeof number);
}

static nx_identity identity_of(uint32_t number)
{
    nx_identity identity = {.kind = NX_IDENTITY_KEY, .scopes = number};
    snprintf(identity.name, sizeof identity.name, "user%u", number);
    return identity;
}

static int make(void **state)
{
    *state = nx_auth_table_new();
    return *state != NULL ? 0 : -1;
}

static int drop(void **state)
{
    nx_auth_table_free(*state);
    return 0;
}

static void put(nx_auth_table *table, uint32_t number, int64_t now_ns)
{
    unsigned char hash[NX_TOKEN_HASH];
    const nx_identity identity = identity_of(number);
    fill_hash(hash, number);
    nx_auth_table_put(table, nx_auth_table_era(table), hash, now_ns, &identity);
}

static bool has(nx_auth_table *table, uint32_t number, int64_t now_ns)
{
    unsigned char hash[NX_TOKEN_HASH];
    nx_identity found = {0};
    fill_hash(hash, number);
    bool there = nx_auth_table_get(table, hash, now_ns, &found);
    if (there) {
        const nx_identity right = identity_of(number);
        assert_int_equal(found.scopes, number);
        assert_string_equal(found.name, right.name);
    }
    return there;
}

static void an_entry_holds_for_a_second(void **state)
{
    nx_auth_table *table = *state;
    assert_false(has(table, 1, NOW));
    put(table, 1, NOW);
    assert_true(has(table, 1, NOW));
    assert_true(has(table, 1, NOW + NX_NS_PER_SEC - 1));
    assert_false(has(table, 1, NOW + NX_NS_PER_SEC));
    assert_false(has(table, 2, NOW));
    put(table, 1, NOW + NX_NS_PER_SEC);
    assert_true(has(table, 1, NOW + NX_NS_PER_SEC));
}

/* Tokens whose hashes begin alike share four places. */
static void a_full_set_loses_the_oldest(void **state)
{
    nx_auth_table *table = *state;
    for (uint32_t i = 0; i < 5; i++) {
        put(table, 7 + (i << 16), NOW + i);
    }
    assert_false(has(table, 7, NOW + 10));
    for (uint32_t i = 1; i < 5; i++) {
        assert_true(has(table, 7 + (i << 16), NOW + 10));
    }
}

static void what_was_asked_before_a_change_is_not_kept(void **state)
{
    nx_auth_table *table = *state;
    unsigned char hash[NX_TOKEN_HASH];
    const nx_identity identity = identity_of(3);
    fill_hash(hash, 3);
    put(table, 4, NOW);
    uint64_t era = nx_auth_table_era(table);
    nx_auth_table_clear(table);
    assert_false(has(table, 4, NOW));
    nx_auth_table_put(table, era, hash, NOW, &identity);
    assert_false(has(table, 3, NOW));
    put(table, 3, NOW);
    assert_true(has(table, 3, NOW));
}

typedef struct crowd {
    nx_auth_table *table;
    atomic_int found;
    atomic_int wrong;
} crowd;

static void *visit(void *user)
{
    crowd *all = user;
    for (uint32_t i = 0; i < 20000; i++) {
        unsigned char hash[NX_TOKEN_HASH];
        nx_identity found = {0};
        uint32_t number = i % 97 + (i % 7 << 16);
        fill_hash(hash, number);
        if (nx_auth_table_get(all->table, hash, NOW, &found)) {
            atomic_fetch_add(&all->found, 1);
            atomic_fetch_add(&all->wrong, found.scopes != number);
        } else {
            const nx_identity identity = identity_of(number);
            nx_auth_table_put(all->table, nx_auth_table_era(all->table), hash, NOW, &identity);
        }
        if (i % 5000 == 0) {
            nx_auth_table_clear(all->table);
        }
    }
    return NULL;
}

static void many_threads_see_whole_entries(void **state)
{
    crowd all = {.table = *state};
    pthread_t threads[4];
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, visit, &all), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    assert_true(atomic_load(&all.found) > 0);
    assert_int_equal(atomic_load(&all.wrong), 0);
}

static void what_was_good_is_remembered(void **state)
{
    unsigned char hash[NX_TOKEN_HASH];
    nx_identity found;
    put(*state, 7, NOW);
    fill_hash(hash, 7);
    int64_t later = NOW + 100 * NX_NS_PER_SEC;
    assert_false(nx_auth_table_get(*state, hash, later, &found));
    assert_true(nx_auth_table_remembers(*state, hash, later, 100 * NX_NS_PER_SEC));
    assert_false(nx_auth_table_remembers(*state, hash, later, 98 * NX_NS_PER_SEC));
    nx_auth_table_forget(*state, hash);
    assert_false(nx_auth_table_remembers(*state, hash, later, 100 * NX_NS_PER_SEC));
    put(*state, 7, NOW);
    nx_auth_table_clear(*state);
    assert_false(nx_auth_table_remembers(*state, hash, NOW, 100 * NX_NS_PER_SEC));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_entry_holds_for_a_second, make, drop),
        cmocka_unit_test_setup_teardown(a_full_set_loses_the_oldest, make, drop),
        cmocka_unit_test_setup_teardown(what_was_asked_before_a_change_is_not_kept, make, drop),
        cmocka_unit_test_setup_teardown(what_was_good_is_remembered, make, drop),
        cmocka_unit_test_setup_teardown(many_threads_see_whole_entries, make, drop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

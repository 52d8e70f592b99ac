#include "testing.h"

#include "base/uuid.h"

#include <pthread.h>

static void has_the_form_of_version_7(void **state)
{
    (void)state;
    nx_error err = {0};
    char id[NX_UUID_SIZE];
    nx_assert_ok(nx_uuid_make(id, &err), err);
    assert_true(nx_uuid_is(id));
    assert_int_equal(id[14], '7');
    assert_non_null(strchr("89ab", id[19])); /* the variant of RFC 9562 */
}

static void holds_the_time(void **state)
{
    (void)state;
    nx_error err = {0};
    char id[NX_UUID_SIZE];
    char digits[13] = "";
    struct timespec now;
    nx_assert_ok(nx_uuid_make(id, &err), err);
    clock_gettime(CLOCK_REALTIME, &now);
    memcpy(digits, id, 8);
    memcpy(digits + 8, id + 9, 4);
    int64_t told = strtoll(digits, NULL, 16);
    int64_t truth = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    assert_true(told <= truth + 1000 && told > truth - 60000);
}

#define COUNT 5000

static void *make_many(void *user)
{
    char(*ids)[NX_UUID_SIZE] = user;
    nx_error err = {0};
    for (size_t i = 0; i < COUNT; i++) {
        if (nx_uuid_make(ids[i], &err) != NX_OK) {
            ids[i][0] = '\0';
        }
    }
    return NULL;
}

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void sorts_by_making_and_never_repeats(void **state)
{
    (void)state;
    static char ids[4 * COUNT][NX_UUID_SIZE];
    pthread_t threads[4];
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_many, ids[i * COUNT]), 0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        for (size_t k = 1; k < COUNT; k++) {
            assert_true(strcmp(ids[i * COUNT + k - 1], ids[i * COUNT + k]) < 0);
        }
    }
    qsort(ids, NX_COUNT(ids), NX_UUID_SIZE, compare);
    for (size_t i = 1; i < NX_COUNT(ids); i++) {
        assert_string_not_equal(ids[i - 1], ids[i]);
    }
}

static void knows_one_when_it_sees_one(void **state)
{
    (void)state;
    assert_true(nx_uuid_is("01890a5d-ac96-774b-bcce-b302099a8057"));
    assert_false(nx_uuid_is(NULL));
    assert_false(nx_uuid_is(""));
    assert_false(nx_uuid_is("01890A5D-ac96-774b-bcce-b302099a8057"));
    assert_false(nx_uuid_is("01890a5dxac96-774b-bcce-b302099a8057"));
    assert_false(nx_uuid_is("01890a5d-ac96-774b-bcce-b302099a805"));
    assert_false(nx_uuid_is("01890a5d-ac96-774b-bcce-b302099a80577"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(has_the_form_of_version_7),
        cmocka_unit_test(holds_the_time),
        cmocka_unit_test(sorts_by_making_and_never_repeats),
        cmocka_unit_test(knows_one_when_it_sees_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

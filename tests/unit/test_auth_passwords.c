/* Passwords as argon2id: what is stored, how many at a time, and the same work for nobody. */
#include "testing.h"

#include "auth/passwords.h"

#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>

static const nx_passwords_options cheap = {.slots = 2,
                                           .wait_ms = 60000,
                                           .ops = crypto_pwhash_OPSLIMIT_MIN,
                                           .bytes = crypto_pwhash_MEMLIMIT_MIN};

static nx_passwords *open_with(nx_passwords_options options)
{
    nx_passwords *passwords = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_passwords_new(&options, &passwords, &err), err);
    return passwords;
}

static bool verify(nx_passwords *passwords, const char *hash, const char *password)
{
    bool right = true;
    nx_error err = {0};
    nx_assert_ok(nx_passwords_verify(passwords, hash, password, &right, &err), err);
    return right;
}

static void a_password_is_known_by_its_hash(void **state)
{
    (void)state;
    nx_passwords *passwords = open_with(cheap);
    nx_error err = {0};
    char hash[NX_PASSWORD_HASH];
    char again[NX_PASSWORD_HASH];
    nx_assert_ok(nx_passwords_hash(passwords, "secret words", hash, &err), err);
    nx_assert_ok(nx_passwords_hash(passwords, "secret words", again, &err), err);
    assert_string_not_equal(hash, again); /* each has its own salt */
    nx_assert_contains(hash, "$argon2id$v=19$m=8,t=1,p=1$");
    assert_true(verify(passwords, hash, "secret words"));
    assert_true(verify(passwords, again, "secret words"));
    assert_false(verify(passwords, hash, "secret word"));
    assert_false(verify(passwords, hash, ""));
    assert_false(nx_passwords_outdated(passwords, hash));
    nx_passwords_free(passwords);
}

static void the_usual_parameters_are_those_of_libsodium(void **state)
{
    (void)state;
    nx_passwords_options usual = cheap;
    usual.ops = crypto_pwhash_OPSLIMIT_INTERACTIVE;
    usual.bytes = crypto_pwhash_MEMLIMIT_INTERACTIVE;
    nx_passwords *passwords = open_with(usual);
    nx_passwords *other = open_with(cheap);
    nx_error err = {0};
    char hash[NX_PASSWORD_HASH];
    nx_assert_ok(nx_passwords_hash(passwords, "secret words", hash, &err), err);
    nx_assert_contains(hash, "$argon2id$v=19$m=65536,t=2,p=1$");
    assert_false(nx_passwords_outdated(passwords, hash));
    assert_true(nx_passwords_outdated(other, hash));
    assert_true(verify(other, hash, "secret words"));      /* by the parameters that it names */
    assert_false(verify(passwords, NULL, "secret words")); /* nobody has a whole hash, too */
    nx_passwords_free(passwords);
    nx_passwords_free(other);
}

static void nobody_is_as_much_work(void **state)
{
    (void)state;
    nx_passwords *passwords = open_with(cheap);
    assert_false(verify(passwords, NULL, "secret words"));
    assert_false(verify(passwords, NULL, ""));
    assert_int_equal(nx_passwords_get_stats(passwords).hashings, 2);
    nx_passwords_free(passwords);
}

static void parameters_that_argon2id_does_not_take(void **state)
{
    (void)state;
    nx_error err = {0};
    nx_passwords *passwords = NULL;
    nx_passwords_options wrong[] = {cheap, cheap, cheap};
    wrong[0].bytes = 1024;
    wrong[1].ops = 0;
    wrong[2].slots = 0;
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        assert_int_equal(nx_passwords_new(&wrong[i], &passwords, &err), NX_ERR_INVALID);
        assert_null(passwords);
    }
    nx_passwords_free(NULL);
}

/* A hash that is none could not be checked: no answer, rather than "wrong". */
static void a_broken_hash_is_an_error(void **state)
{
    (void)state;
    nx_passwords *passwords = open_with(cheap);
    nx_error err = {0};
    bool right = true;
    assert_int_equal(nx_passwords_verify(passwords, "$argon2id$v=19$m=8", "x", &right, &err),
                     NX_ERR_NO_MEMORY);
    assert_false(right);
    nx_passwords_free(passwords);
}

static void *hash_some(void *user)
{
    char hash[NX_PASSWORD_HASH];
    nx_error err = {0};
    for (int i = 0; i < 50; i++) {
        if (nx_passwords_hash(user, "secret words", hash, &err) != NX_OK) {
            return user;
        }
    }
    return NULL;
}

static void only_so_many_at_a_time(void **state)
{
    (void)state;
    nx_passwords *passwords = open_with(cheap);
    pthread_t threads[8];
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, hash_some, passwords), 0);
    }
    for (size_t i = 0; i < NX_COUNT(threads); i++) {
        void *failed = NULL;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    const nx_passwords_stats stats = nx_passwords_get_stats(passwords);
    assert_int_equal(stats.hashings, 8 * 50);
    assert_true(stats.most_at_once >= 1 && stats.most_at_once <= 2);
    assert_int_equal(stats.timeouts, 0);
    nx_passwords_free(passwords);
}

typedef struct keeper {
    nx_passwords *passwords;
    atomic_bool over;
} keeper;

static void *keep_hashing(void *user)
{
    keeper *self = user;
    char hash[NX_PASSWORD_HASH];
    nx_error err = {0};
    while (!atomic_load(&self->over)) {
        (void)nx_passwords_hash(self->passwords, "secret words", hash, &err);
    }
    return NULL;
}

/* Whoever finds the one slot taken for longer than the wait is told to come again. */
static void the_wait_for_a_slot_ends(void **state)
{
    (void)state;
    const nx_passwords_options options = {
        .slots = 1, .wait_ms = 1, .ops = 2, .bytes = (size_t)16 << 20};
    keeper self = {.passwords = open_with(options)};
    pthread_t thread;
    nx_error err = {0};
    nx_status status = NX_OK;
    bool right = true;
    assert_int_equal(pthread_create(&thread, NULL, keep_hashing, &self), 0);
    while (status == NX_OK) {
        status = nx_passwords_verify(self.passwords, NULL, "secret words", &right, &err);
    }
    atomic_store(&self.over, true);
    pthread_join(thread, NULL);
    assert_int_equal(status, NX_ERR_BUSY);
    assert_false(right);
    nx_assert_contains(err.message, "try again");
    assert_true(nx_passwords_get_stats(self.passwords).timeouts > 0);
    assert_int_equal(nx_passwords_get_stats(self.passwords).most_at_once, 1);
    nx_passwords_free(self.passwords);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_password_is_known_by_its_hash),
        cmocka_unit_test(the_usual_parameters_are_those_of_libsodium),
        cmocka_unit_test(nobody_is_as_much_work),
        cmocka_unit_test(parameters_that_argon2id_does_not_take),
        cmocka_unit_test(a_broken_hash_is_an_error),
        cmocka_unit_test(only_so_many_at_a_time),
        cmocka_unit_test(the_wait_for_a_slot_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

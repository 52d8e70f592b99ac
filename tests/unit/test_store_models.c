/* Shared models and who may use them, the same on SQLite and on PostgreSQL. */
#include "store_fixture.h"
#include "store_jobs.h"

#include "store/model_access.h"
#include "store/models.h"
#include "store/object_uses.h"
#include "store/users.h"

#include <pthread.h>

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static nx_model_version version_of(const char *name, int64_t version, const char *sha256)
{
    return (nx_model_version){
        .name = name,
        .version = version,
        .kind = "detector",
        .added_by = "ann",
        .files = {{.file = "model.onnx", .sha256 = sha256, .size = 7}},
        .file_count = 1,
    };
}

static nx_models_known known(store_fixture *fixture, int64_t unloads_after)
{
    nx_models_known out;
    nx_error err = {0};
    nx_assert_ok(nx_store_models_load(fixture->store, unloads_after, &fixture->arena, &out, &err),
                 err);
    return out;
}

static int64_t generation(store_fixture *fixture)
{
    char service[NX_MODEL_SERVICE_SIZE] = "";
    int64_t out = -1;
    nx_error err = {0};
    nx_assert_ok(nx_store_models_generation(fixture->store, service, &out, &err), err);
    assert_int_equal(strlen(service), 32);
    return out;
}

static void changes_take_the_next_generation(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    assert_int_equal(generation(fixture), 0);
    const nx_model_version first = version_of("doors", 1, HASH_A);
    nx_assert_ok(nx_store_model_publish(store, &first, &err), err);
    assert_int_equal(generation(fixture), 1);
    nx_models_known all = known(fixture, 0);
    assert_int_equal(all.generation, 1);
    assert_int_equal(all.name_count, 1);
    assert_string_equal(all.names[0].name, "doors");
    assert_int_equal(all.names[0].active, 1);
    assert_int_equal(all.names[0].changed, 1);
    assert_int_equal(all.version_count, 1);
    assert_string_equal(all.versions[0].added_by, "ann");
    assert_string_equal(all.versions[0].kind, "detector");
    assert_true(all.versions[0].added_at > 0);
    assert_false(all.versions[0].removed);
    assert_int_equal(all.versions[0].file_count, 1);
    assert_string_equal(all.versions[0].files[0].sha256, HASH_A);
    assert_int_equal(all.versions[0].files[0].size, 7);

    const nx_model_version second = version_of("doors", 2, HASH_B);
    nx_assert_ok(nx_store_model_publish(store, &second, &err), err);
    nx_assert_ok(nx_store_model_activate(store, "doors", 1, &err), err);
    nx_assert_ok(nx_store_model_unload(store, "doors", 0, &err), err);
    all = known(fixture, 3);
    assert_int_equal(all.generation, 4);
    assert_int_equal(all.names[0].active, 1);
    assert_int_equal(all.names[0].active_changed, 3);
    assert_int_equal(all.names[0].changed, 4);
    assert_int_equal(all.unload_count, 1);
    assert_int_equal(all.unloads[0].generation, 4);
    assert_int_equal(known(fixture, 4).unload_count, 0);

    nx_assert_ok(nx_store_model_remove(store, "doors", 1, 2, &err), err);
    all = known(fixture, 4);
    assert_int_equal(all.version_count, 2);
    assert_true(all.versions[0].removed);
    assert_int_equal(all.versions[0].file_count, 0);
    assert_false(all.versions[1].removed);
    assert_string_equal(all.versions[1].files[0].sha256, HASH_B);
    assert_int_equal(all.names[0].active, 2);
    assert_int_equal(all.unload_count, 1);
}

static void the_same_again_is_no_change_and_other_files_are_refused(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    const nx_model_version version = version_of("doors", 3, HASH_A);
    const nx_model_version other = version_of("doors", 3, HASH_B);
    nx_assert_ok(nx_store_model_publish(store, &version, &err), err);
    nx_assert_ok(nx_store_model_publish(store, &version, &err), err);
    int64_t before = generation(fixture);
    assert_int_equal(nx_store_model_publish(store, &other, &err), NX_ERR_CONFLICT);
    assert_non_null(strstr(err.message, "doors has a version 3 already, of other files"));
    assert_int_equal(generation(fixture), before);
    nx_assert_ok(nx_store_model_remove(store, "doors", 0, 0, &err), err);
    nx_assert_ok(nx_store_model_publish(store, &other, &err), err); /* entered anew */
    nx_models_known all = known(fixture, 0);
    assert_int_equal(all.version_count, 1);
    assert_false(all.versions[0].removed);
    assert_string_equal(all.versions[0].files[0].sha256, HASH_B);
}

typedef struct asker {
    store_fixture *fixture;
    int64_t got[20];
} asker;

static void *ask_for_numbers(void *user)
{
    asker *self = user;
    nx_error err = {0};
    for (int i = 0; i < 20; i++) {
        nx_assert_ok(nx_store_model_number(self->fixture->store, "doors", 1, &self->got[i], &err),
                     err);
    }
    return NULL;
}

static void a_number_is_given_once(void **state)
{
    STORE_FIXTURE(state);
    pthread_t threads[4];
    asker askers[4];
    bool seen[100] = {false};
    int64_t number = 0;
    for (int i = 0; i < 4; i++) {
        askers[i] = (asker){.fixture = fixture};
        assert_int_equal(pthread_create(&threads[i], NULL, ask_for_numbers, &askers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 80; i++) {
        int64_t got = askers[i / 20].got[i % 20];
        assert_true(got >= 1 && got <= 80);
        assert_false(seen[got]);
        seen[got] = true;
    }
    nx_assert_ok(nx_store_model_number(fixture->store, "doors", 500, &number, &err), err);
    assert_int_equal(number, 500); /* a disk has got that far */
    const nx_model_version version = version_of("doors", 500, HASH_A);
    nx_assert_ok(nx_store_model_publish(fixture->store, &version, &err), err);
    nx_assert_ok(nx_store_model_remove(fixture->store, "doors", 0, 0, &err), err);
    nx_assert_ok(nx_store_model_number(fixture->store, "doors", 1, &number, &err), err);
    assert_int_equal(number, 501);
    assert_int_equal(generation(fixture), 2); /* numbers are nothing to follow */
}

static void objects_of_models_stay_until_the_model_goes(void **state)
{
    STORE_FIXTURE(state);
    const char *names[4];
    size_t count = 9;
    nx_model_version version = version_of("doors", 1, HASH_A);
    version.stored = true;
    nx_assert_ok(nx_store_model_publish(fixture->store, &version, &err), err);
    nx_assert_ok(
        nx_store_objects_unused(fixture->store, "", 4, &fixture->arena, names, &count, &err), err);
    assert_int_equal(count, 0);
    nx_assert_ok(nx_store_model_remove(fixture->store, "doors", 1, 0, &err), err);
    nx_assert_ok(
        nx_store_objects_unused(fixture->store, "", 4, &fixture->arena, names, &count, &err), err);
    assert_int_equal(count, 1);
    assert_string_equal(names[0], HASH_A);
}

/* --- access --- */

static nx_status grant(store_fixture *fixture, const char *name, nx_grantee kind,
                       const char *subject, int64_t expires_at, nx_error *err)
{
    const nx_model_grant wanted = {.name = name,
                                   .kind = kind,
                                   .subject = subject,
                                   .expires_at = expires_at,
                                   .granted_by = "root"};
    return nx_store_model_grant(fixture->store, &wanted, err);
}

static void levels_and_grants_are_kept(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    nx_model_level level = NX_MODEL_PUBLIC;
    nx_model_grant *grants = NULL;
    size_t count = 0;
    nx_assert_ok(nx_store_model_level_get(store, "doors", &level, &err), err);
    assert_int_equal(level, NX_MODEL_AUTHENTICATED);
    nx_assert_ok(nx_store_model_level_set(store, "doors", NX_MODEL_PRIVATE, "root", &err), err);
    nx_assert_ok(nx_store_model_level_get(store, "doors", &level, &err), err);
    assert_int_equal(level, NX_MODEL_PRIVATE);
    nx_assert_ok(nx_store_model_level_set(store, "doors", NX_MODEL_PUBLIC, "root", &err), err);
    nx_assert_ok(grant(fixture, "doors", NX_GRANT_USER, "u1", 0, &err), err);
    nx_assert_ok(grant(fixture, "doors", NX_GRANT_KEY, "k1", INT64_C(32503680000000), &err), err);
    nx_assert_ok(grant(fixture, "doors", NX_GRANT_USER, "u1", INT64_C(32503680000001), &err), err);
    assert_int_equal(grant(fixture, "doors", NX_GRANT_USER, "u2", 1000, &err), NX_ERR_INVALID);
    nx_assert_ok(nx_store_model_grants(store, "doors", &fixture->arena, &grants, &count, &err),
                 err);
    assert_int_equal(count, 2);
    assert_string_equal(grants[0].subject, "u1");
    assert_true(grants[0].expires_at == INT64_C(32503680000001));
    assert_string_equal(grants[0].granted_by, "root");
    assert_true(grants[0].granted_at > 0);
    assert_int_equal(grants[1].kind, NX_GRANT_KEY);
    assert_null(grants[0].subject_name); /* nobody has these ids */
    assert_null(grants[1].subject_name);
    nx_model_rules rules;
    nx_assert_ok(nx_store_model_rules(store, &fixture->arena, &rules, &err), err);
    assert_int_equal(rules.rule_count, 1);
    assert_int_equal(rules.rules[0].level, NX_MODEL_PUBLIC);
    assert_int_equal(rules.grant_count, 2);
    assert_true(rules.now > 0);
    assert_int_equal(generation(fixture), 5); /* what was refused is none */
    nx_assert_ok(nx_store_model_revoke(store, "doors", NX_GRANT_KEY, "k1", &err), err);
    assert_int_equal(nx_store_model_revoke(store, "doors", NX_GRANT_KEY, "k1", &err),
                     NX_ERR_NOT_FOUND);
    assert_int_equal(generation(fixture), 6);
}

static void grants_tell_whose_they_are(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    nx_user user;
    nx_model_grant *grants = NULL;
    size_t count = 0;
    nx_assert_ok(
        nx_store_user_add(store, "Ann", "hash", NX_USER_ADMIN, &fixture->arena, &user, &err), err);
    nx_assert_ok(grant(fixture, "gates", NX_GRANT_KEY, user.id, 0, &err), err); /* no key's id */
    nx_assert_ok(grant(fixture, "gates", NX_GRANT_USER, user.id, 0, &err), err);
    nx_assert_ok(nx_store_model_grants(store, "gates", &fixture->arena, &grants, &count, &err),
                 err);
    assert_int_equal(count, 2);
    assert_string_equal(grants[0].subject_name, "Ann");
    assert_null(grants[1].subject_name);
}

static void quotes_are_nothing_special(void **state)
{
    STORE_FIXTURE(state);
    static const char odd[] = "x'; DROP TABLE models; --";
    nx_model_grant *grants = NULL;
    size_t count = 0;
    nx_assert_ok(nx_store_model_level_set(fixture->store, odd, NX_MODEL_PRIVATE, odd, &err), err);
    nx_assert_ok(grant(fixture, odd, NX_GRANT_USER, odd, 0, &err), err);
    nx_assert_ok(nx_store_model_unload(fixture->store, odd, 0, &err), err);
    nx_assert_ok(nx_store_model_grants(fixture->store, odd, &fixture->arena, &grants, &count, &err),
                 err);
    assert_int_equal(count, 1);
    assert_string_equal(grants[0].subject, odd);
    assert_string_equal(known(fixture, 0).names[0].name, odd);
}

static void a_job_knows_for_whom_it_is(void **state)
{
    STORE_FIXTURE(state);
    nx_job job;
    bool made = false;
    const char *user = "x";
    const char *key = "x";
    nx_job_request request = {.owner = "o",
                              .kind = "test",
                              .options = "{}",
                              .max_attempts = 1,
                              .user = "u1",
                              .key = "k1"};
    nx_assert_ok(nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &job, &made, &err),
                 err);
    nx_assert_ok(nx_store_job_subject(fixture->store, job.id, &fixture->arena, &user, &key, &err),
                 err);
    assert_string_equal(user, "u1");
    assert_string_equal(key, "k1");
    request.key = NULL;
    nx_assert_ok(nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &job, &made, &err),
                 err);
    nx_assert_ok(nx_store_job_subject(fixture->store, job.id, &fixture->arena, &user, &key, &err),
                 err);
    assert_string_equal(key, "");
    request.user = NULL;
    nx_assert_ok(nx_store_job_enqueue(fixture->store, &request, &fixture->arena, &job, &made, &err),
                 err);
    nx_assert_ok(nx_store_job_subject(fixture->store, job.id, &fixture->arena, &user, &key, &err),
                 err);
    assert_null(user);
    assert_null(key);
}

static void levels_have_names(void **state)
{
    (void)state;
    nx_model_level level = NX_MODEL_PRIVATE;
    assert_true(nx_model_level_parse("public", &level));
    assert_int_equal(level, NX_MODEL_PUBLIC);
    assert_string_equal(nx_model_level_name(NX_MODEL_PRIVATE), "private");
    assert_false(nx_model_level_parse("Public", &level));
    assert_false(nx_model_level_parse("", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(changes_take_the_next_generation),
        store_test(the_same_again_is_no_change_and_other_files_are_refused),
        store_test(a_number_is_given_once),
        store_test(objects_of_models_stay_until_the_model_goes),
        store_test(levels_and_grants_are_kept),
        store_test(grants_tell_whose_they_are),
        store_test(quotes_are_nothing_special),
        store_test(a_job_knows_for_whom_it_is),
        cmocka_unit_test(levels_have_names),
    };
    return store_run_on_both(tests);
}

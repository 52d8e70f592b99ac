/* Who uses which object, the same on SQLite and on PostgreSQL; the objects themselves on the disk.
 */
#include "store_jobs.h"

#include "base/uuid.h"
#include "store/object_uses.h"
#include "store/videos.h"

#include <pthread.h>

#define TEXT_A "the same bytes"
#define TEXT_B "other bytes"

/* An upload that holds the text; its id is the result's, in the fixture's arena. */
static nx_status make_upload(nx_objects *objects, const char *id, const char *text, nx_error *err)
{
    nx_object_writer *writer = NULL;
    nx_status status = nx_objects_write(objects, id, 0, &writer, err);
    if (status == NX_OK) {
        status = nx_object_writer_put(writer, text, strlen(text), err);
    }
    nx_object_writer_close(writer);
    return status;
}

typedef struct kept {
    char name[NX_OBJECT_NAME_SIZE];
} kept;

static kept keep(store_fixture *fixture, nx_objects *objects, const char *text)
{
    kept out;
    int64_t size = 0;
    nx_error err = {0};
    nx_assert_ok(make_upload(objects, "one", text, &err), err);
    nx_assert_ok(nx_store_keep_upload(fixture->store, objects, "one", "me", out.name, &size, &err),
                 err);
    nx_assert_ok(nx_objects_discard(objects, "one", &err), err);
    assert_int_equal(size, strlen(text));
    return out;
}

static void let_go(store_fixture *fixture)
{
    nx_error err = {0};
    nx_assert_ok(nx_store_object_release(fixture->store, "me", &err), err);
}

static const char *add_video(store_fixture *fixture, const char *owner, const kept *object)
{
    nx_video made = {0};
    bool is_new = false;
    nx_error err = {0};
    const nx_video video = {
        .owner = owner, .hash = object->name, .size = 1, .name = "a", .probe = "{}"};
    nx_assert_ok(nx_store_video_add(fixture->store, &video, &fixture->arena, &made, &is_new, &err),
                 err);
    return made.id;
}

static void remove_video(store_fixture *fixture, const char *id)
{
    nx_error err = {0};
    nx_assert_ok(nx_store_video_remove(fixture->store, id, &err), err);
}

/* Takes the object away if it may be; tells whether it is there afterwards. */
static bool stays(store_fixture *fixture, nx_objects *objects, const kept *object)
{
    size_t removed = 9;
    int64_t size = 0;
    nx_error err = {0};
    const char *const names[] = {object->name};
    nx_assert_ok(nx_store_objects_collect(fixture->store, objects, names, 1, &removed, &err), err);
    nx_status status = nx_objects_size(objects, object->name, &size, &err);
    assert_true(removed == (status == NX_ERR_NOT_FOUND ? 1 : 0));
    return status == NX_OK;
}

static size_t unused(store_fixture *fixture)
{
    const char *names[8];
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(
        nx_store_objects_unused(fixture->store, "", 8, &fixture->arena, names, &count, &err), err);
    return count;
}

static nx_status finish_with(store_fixture *fixture, const nx_job *job, const kept *result)
{
    const char *const names[] = {result->name};
    nx_error err = {0};
    nx_status became = NX_ERR_INTERNAL;
    const nx_job_outcome outcome = {.lease = lease_of(job),
                                    .state = NX_JOB_SUCCEEDED,
                                    .result = "{}",
                                    .objects = names,
                                    .object_count = 1};
    nx_assert_ok(nx_store_jobs_finish(fixture->store, &outcome, 1, &became, &err), err);
    return became;
}

static void save_with(store_fixture *fixture, const nx_job *job, const kept *part, bool replaces)
{
    const char *const names[] = {part->name};
    const nx_job_lease lease = lease_of(job);
    bool cancel = false;
    nx_error err = {0};
    const nx_job_checkpoint checkpoint = {.position = 1,
                                          .state = "s",
                                          .state_size = 1,
                                          .objects = names,
                                          .object_count = 1,
                                          .replaces = replaces};
    nx_assert_ok(
        nx_store_job_save(fixture->store, &lease, &checkpoint, LONG_LEASE, NULL, &cancel, &err),
        err);
}

/* --- tests --- */

static void equal_videos_share_their_object(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_A);
    const char *ann = add_video(fixture, "ann", &object);
    const char *bob = add_video(fixture, "bob", &object);
    let_go(fixture);
    remove_video(fixture, ann);
    assert_true(stays(fixture, objects, &object));
    assert_int_equal(unused(fixture), 0);
    remove_video(fixture, bob);
    assert_int_equal(unused(fixture), 1);
    assert_false(stays(fixture, objects, &object));
    assert_int_equal(unused(fixture), 0);
    nx_objects_close(objects);
}

static void a_result_outlives_the_video_that_has_its_bytes(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_A);
    const char *video = add_video(fixture, "ann", &object);
    int64_t removed = 0;
    enqueue_any(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    assert_int_equal(finish_with(fixture, &job, &object), NX_OK);
    assert_int_equal(finish_with(fixture, &job, &object), NX_OK); /* who lost the answer */
    let_go(fixture);
    remove_video(fixture, video);
    assert_true(stays(fixture, objects, &object));
    nx_assert_ok(nx_store_jobs_purge(fixture->store, -3600000, 9, &removed, &err), err);
    assert_int_equal(removed, 1);
    assert_false(stays(fixture, objects, &object));
    nx_objects_close(objects);
}

static void a_lost_lease_enters_no_results(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_A);
    enqueue_any(fixture);
    nx_job job = take_one(fixture, LONG_LEASE);
    job.fence++;
    assert_int_equal(finish_with(fixture, &job, &object), NX_ERR_CONFLICT);
    let_go(fixture);
    assert_false(stays(fixture, objects, &object));
    nx_objects_close(objects);
}

static void a_job_that_is_tried_again_has_no_results(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_A);
    const char *const names[] = {object.name};
    nx_status became = NX_ERR_INTERNAL;
    enqueue_any(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    const nx_job_outcome outcome = {.lease = lease_of(&job),
                                    .state = NX_JOB_FAILED,
                                    .result = "{}",
                                    .objects = names,
                                    .object_count = 1};
    nx_assert_ok(nx_store_jobs_finish(fixture->store, &outcome, 1, &became, &err), err);
    let_go(fixture);
    assert_true(stays(fixture, objects, &object));
    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err);
    assert_false(stays(fixture, objects, &object));
    nx_objects_close(objects);
}

static void parts_stay_as_long_as_a_checkpoint_names_them(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept first = keep(fixture, objects, "1");
    const kept second = keep(fixture, objects, "2");
    const kept all = keep(fixture, objects, "12");
    int64_t size = 0;
    enqueue_any(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    save_with(fixture, &job, &first, true);
    save_with(fixture, &job, &second, false);
    let_go(fixture);
    assert_true(stays(fixture, objects, &first) && stays(fixture, objects, &second));
    assert_false(stays(fixture, objects, &all));
    keep(fixture, objects, "12");
    save_with(fixture, &job, &all, true);
    let_go(fixture);
    assert_false(stays(fixture, objects, &first) || stays(fixture, objects, &second));
    assert_true(stays(fixture, objects, &all));
    assert_int_equal(finish_as(fixture, &job, NX_JOB_SUCCEEDED), NX_OK);
    nx_assert_ok(nx_store_objects_tidy(fixture->store, 60000, &err), err); /* ended just now */
    assert_true(stays(fixture, objects, &all));
    nx_assert_ok(nx_store_job_drop_parts(fixture->store, objects, job.id, &err), err);
    assert_int_equal(nx_objects_size(objects, all.name, &size, &err), NX_ERR_NOT_FOUND);
    nx_objects_close(objects);
}

static void parts_of_ended_jobs_are_forgotten_in_time(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept ended = keep(fixture, objects, "1");
    const kept running = keep(fixture, objects, "2");
    enqueue_any(fixture);
    enqueue_any(fixture);
    const nx_job one = take_one(fixture, LONG_LEASE);
    const nx_job two = take_one(fixture, LONG_LEASE);
    save_with(fixture, &one, &ended, true);
    save_with(fixture, &two, &running, true);
    let_go(fixture);
    assert_int_equal(finish_as(fixture, &one, NX_JOB_FAILED), NX_OK);
    nx_assert_ok(nx_store_objects_tidy(fixture->store, 0, &err), err);
    assert_false(stays(fixture, objects, &ended));
    assert_true(stays(fixture, objects, &running));
    nx_objects_close(objects);
}

static void what_is_held_stays(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_A);
    nx_assert_ok(nx_store_object_hold(fixture->store, object.name, "you", 0, &err), err);
    assert_true(stays(fixture, objects, &object));
    assert_int_equal(unused(fixture), 0);
    let_go(fixture); /* the other hold is over */
    assert_int_equal(unused(fixture), 1);
    nx_assert_ok(nx_store_objects_tidy(fixture->store, 0, &err), err);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM object_holds"), 0);
    assert_false(stays(fixture, objects, &object));
    nx_objects_close(objects);
}

static void what_is_being_removed_is_not_used(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_A);
    const nx_video video = {
        .owner = "ann", .hash = object.name, .size = 1, .name = "a", .probe = "{}"};
    nx_video made = {0};
    bool is_new = false;
    let_go(fixture);
    (void)STORE_NUMBER(fixture->store, "UPDATE objects SET removal = 'x', removal_at = nx_now()");
    assert_int_equal(
        nx_store_video_add(fixture->store, &video, &fixture->arena, &made, &is_new, &err),
        NX_ERR_BUSY);
    assert_int_equal(nx_store_object_hold(fixture->store, object.name, "me", 1000, &err),
                     NX_ERR_BUSY);
    nx_assert_contains(err.message, "being removed");
    assert_int_equal(unused(fixture), 0);
    assert_true(stays(fixture, objects, &object)); /* somebody else is at it */
    (void)STORE_NUMBER(fixture->store, "UPDATE objects SET removal_at = nx_now() - 600000");
    assert_int_equal(unused(fixture), 1); /* and has died of it */
    nx_assert_ok(nx_store_object_hold(fixture->store, object.name, "me", 1000, &err), err);
    assert_true(stays(fixture, objects, &object));
    nx_objects_close(objects);
}

/* As with an S3 that answers slowly: once the first object is to go, the time of the removal is
 * over and somebody uses all of the others. */
static void be_slow_after_the_first(const store_fixture *fixture)
{
    if (fixture->postgres) {
        (void)STORE_NUMBER(fixture->store,
                           "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                           " UPDATE objects SET removal = NULL, removal_at = NULL"
                           " WHERE name <> NEW.name; RETURN NEW; END $$");
        (void)STORE_NUMBER(fixture->store,
                           "CREATE TRIGGER slow AFTER UPDATE OF removal_at ON objects FOR EACH ROW"
                           " WHEN (OLD.removal = NEW.removal) EXECUTE FUNCTION slow()");
    } else {
        (void)STORE_NUMBER(fixture->store,
                           "CREATE TRIGGER slow AFTER UPDATE OF removal_at ON objects"
                           " WHEN OLD.removal = NEW.removal BEGIN"
                           " UPDATE objects SET removal = NULL, removal_at = NULL"
                           " WHERE name <> NEW.name; END");
    }
}

static void who_removes_too_slowly_takes_nothing_from_others(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept first = keep(fixture, objects, TEXT_A);
    const kept second = keep(fixture, objects, TEXT_B);
    const char *const names[] = {first.name, second.name};
    size_t removed = 9;
    int64_t size = 0;
    let_go(fixture);
    be_slow_after_the_first(fixture);
    nx_assert_ok(nx_store_objects_collect(fixture->store, objects, names, 2, &removed, &err), err);
    if (fixture->postgres) {
        (void)STORE_NUMBER(fixture->store, "DROP FUNCTION slow() CASCADE");
    } else {
        (void)STORE_NUMBER(fixture->store, "DROP TRIGGER slow");
    }
    assert_int_equal(removed, 1);
    assert_int_equal(nx_objects_size(objects, first.name, &size, &err), NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_objects_size(objects, second.name, &size, &err), err);
    assert_int_equal(unused(fixture), 1);
    assert_false(stays(fixture, objects, &second));
    nx_objects_close(objects);
}

static void a_job_that_is_tried_again_keeps_its_parts(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept part = keep(fixture, objects, TEXT_A);
    enqueue_any(fixture);
    const nx_job job = take_one(fixture, LONG_LEASE);
    save_with(fixture, &job, &part, true);
    let_go(fixture);
    assert_int_equal(finish_as(fixture, &job, NX_JOB_CANCELLED), NX_OK);
    nx_assert_ok(nx_store_job_retry(fixture->store, job.id, &err), err);
    /* the worker that ended it comes to it only now */
    nx_assert_ok(nx_store_job_drop_parts(fixture->store, objects, job.id, &err), err);
    assert_true(stays(fixture, objects, &part));
    nx_objects_close(objects);
}

static void a_removal_that_fails_is_tried_again(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept object = keep(fixture, objects, TEXT_B);
    const char *const names[] = {object.name};
    char path[256];
    let_go(fixture);
    snprintf(path, sizeof path, "%s/objects/%.2s/%.2s/%s", fixture->folder, object.name,
             object.name + 2, object.name);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* can't be unlinked */
    assert_int_equal(nx_store_objects_collect(fixture->store, objects, names, 1, NULL, &err),
                     NX_ERR_IO);
    nx_assert_contains(err.message, object.name);
    assert_int_equal(unused(fixture), 1);
    assert_int_equal(rmdir(path), 0);
    assert_false(stays(fixture, objects, &object)); /* none is as good */
    assert_int_equal(unused(fixture), 0);
    nx_objects_close(objects);
}

static void a_failed_store_holds_nothing(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    char name[NX_OBJECT_NAME_SIZE];
    char path[160];
    int64_t size = 0;
    snprintf(path, sizeof path, "%s/objects", fixture->folder);
    (void)nftw(path, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    close(file);
    nx_assert_ok(make_upload(objects, "one", TEXT_A, &err), err);
    assert_int_equal(nx_store_keep_upload(fixture->store, objects, "one", "me", name, &size, &err),
                     NX_ERR_IO);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM object_holds"), 0);
    assert_int_equal(nx_store_keep_upload(fixture->store, objects, "none", "me", name, &size, &err),
                     NX_ERR_NOT_FOUND);
    assert_int_equal(unlink(path), 0);
    nx_objects_close(objects);
}

static void what_there_was_before_is_known(void **state)
{
    STORE_FIXTURE(state);
    nx_objects *objects = store_open_objects(fixture);
    const kept video = keep(fixture, objects, TEXT_A);
    const kept result = keep(fixture, objects, TEXT_B);
    nx_status became = NX_ERR_INTERNAL;
    char text[300];
    snprintf(text, sizeof text, "{\"files\":[{\"name\":\"a\",\"object\":\"%s\"}],\"summary\":{}}",
             result.name);
    const char *id = add_video(fixture, "ann", &video);
    for (int i = 0; i < 2; i++) {
        enqueue_any(fixture);
        const nx_job job = take_one(fixture, LONG_LEASE);
        const nx_job_outcome outcome = {.lease = lease_of(&job),
                                        .state = NX_JOB_SUCCEEDED,
                                        .result = i == 0 ? text : "no JSON"};
        nx_assert_ok(nx_store_jobs_finish(fixture->store, &outcome, 1, &became, &err), err);
    }
    static const nx_sql later[] = {
        NX_SQL("ALTER TABLE jobs DROP COLUMN traceparent"),
        {.sqlite = "DROP TRIGGER videos_changed",
         .postgres = "DROP FUNCTION nx_state_changes CASCADE"},
        {.sqlite = "DROP TRIGGER videos_removed", .postgres = "SELECT 1"},
        {.sqlite = "DROP TRIGGER videos_added", .postgres = "SELECT 1"},
        {.sqlite = "DROP TRIGGER jobs_ended_changed", .postgres = "SELECT 1"},
        {.sqlite = "DROP TRIGGER jobs_ended_removed", .postgres = "SELECT 1"},
        NX_SQL("DROP TABLE states"),
        NX_SQL("DROP TABLE event_attempts"),
        NX_SQL("DROP TABLE event_deliveries"),
        NX_SQL("DROP TABLE events"),
        NX_SQL("DROP TABLE event_head"),
        NX_SQL("DROP TABLE streams"),
        NX_SQL("DROP TABLE login_attempts"),
        NX_SQL("DROP TABLE setup_tokens"),
        NX_SQL("DROP TABLE api_keys"),
        NX_SQL("DROP TABLE sessions"),
        NX_SQL("DROP TABLE users"),
        NX_SQL("DROP TABLE job_subjects"),
        NX_SQL("DROP TABLE model_grants"),
        NX_SQL("DROP TABLE model_access"),
        NX_SQL("DROP TABLE model_unloads"),
        NX_SQL("DROP TABLE model_files"),
        NX_SQL("DROP TABLE model_versions"),
        NX_SQL("DROP TABLE models"),
        NX_SQL("DROP TABLE model_state"),
        NX_SQL("DROP TABLE audit_log"),
        NX_SQL("DROP TABLE audit_head"),
        NX_SQL("DROP TABLE object_holds"),
        NX_SQL("DROP TABLE job_objects"),
        NX_SQL("DROP TABLE objects"),
    };
    for (size_t i = 0; i < sizeof later / sizeof later[0]; i++) {
        (void)store_number(fixture->store, &later[i]);
    }
    (void)STORE_NUMBER(fixture->store, "DELETE FROM nx_migrations WHERE number >= 5");
    nx_store_close(fixture->store);
    fixture->store = store_open_another(fixture);
    assert_true(stays(fixture, objects, &video) && stays(fixture, objects, &result));
    remove_video(fixture, id);
    assert_false(stays(fixture, objects, &video));
    nx_objects_close(objects);
}

/* --- many at once --- */

#define THREADS 4
#define TURNS   60

typedef struct racer {
    const store_fixture *fixture;
    nx_store *store;
    int number;
    const char *wrong; /* what was seen; NULL: nothing */
} racer;

/* Stores, looks, takes away: while its own video is entered, the object is there. */
static const char *race_once(const racer *self, nx_objects *objects, nx_arena *arena, nx_error *err)
{
    char owner[16];
    char upload[NX_UUID_SIZE];
    char name[NX_OBJECT_NAME_SIZE];
    const char *const names[] = {name};
    int64_t size = 0;
    bool made = false;
    nx_video out = {0};
    snprintf(owner, sizeof owner, "owner %d", self->number);
    nx_video video = {.owner = owner, .hash = name, .size = 14, .name = "a", .probe = "{}"};
    if (nx_uuid_make(upload, err) != NX_OK || make_upload(objects, upload, TEXT_A, err) != NX_OK ||
        nx_store_keep_upload(self->store, objects, upload, upload, name, &size, err) != NX_OK ||
        nx_objects_discard(objects, upload, err) != NX_OK) {
        return "it is not stored";
    }
    if (nx_store_video_add(self->store, &video, arena, &out, &made, err) != NX_OK || !made ||
        nx_store_object_release(self->store, upload, err) != NX_OK) {
        return "it is not entered";
    }
    for (int i = 0; i < 3; i++) {
        if (nx_objects_size(objects, name, &size, err) != NX_OK || size != 14) {
            return "the object of a video is gone";
        }
    }
    if (nx_store_video_remove(self->store, out.id, err) != NX_OK ||
        nx_store_objects_collect(self->store, objects, names, 1, NULL, err) != NX_OK) {
        return "it is not removed";
    }
    return NULL;
}

static void *race(void *user)
{
    racer *self = user;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    nx_objects *objects = NULL;
    const nx_objects_options options = {.data_dir = self->fixture->folder, .url = ""};
    if (nx_objects_open(&options, &objects, &err) != NX_OK) {
        self->wrong = "no objects";
        return NULL;
    }
    for (int i = 0; i < TURNS && self->wrong == NULL; i++) {
        self->wrong = race_once(self, objects, &arena, &err);
    }
    if (self->wrong != NULL) {
        fprintf(stderr, "%s: %s\n", self->wrong, err.message);
    }
    nx_arena_free(&arena);
    nx_objects_close(objects);
    return NULL;
}

/* Each with a store of its own, as on several hosts. */
static void nothing_is_lost_between_those_who_store_and_those_who_remove(void **state)
{
    STORE_FIXTURE(state);
    racer racers[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        racers[i] = (racer){.fixture = fixture, .store = store_open_another(fixture), .number = i};
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        nx_store_close(racers[i].store);
        assert_null(racers[i].wrong);
    }
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM object_holds"), 0);
    nx_objects *objects = store_open_objects(fixture);
    const kept left = keep(fixture, objects, TEXT_A);
    let_go(fixture);
    assert_false(stays(fixture, objects, &left));
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM objects"), 0);
    nx_objects_close(objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(equal_videos_share_their_object),
        store_test(a_result_outlives_the_video_that_has_its_bytes),
        store_test(a_lost_lease_enters_no_results),
        store_test(a_job_that_is_tried_again_has_no_results),
        store_test(parts_stay_as_long_as_a_checkpoint_names_them),
        store_test(parts_of_ended_jobs_are_forgotten_in_time),
        store_test(what_is_held_stays),
        store_test(what_is_being_removed_is_not_used),
        store_test(who_removes_too_slowly_takes_nothing_from_others),
        store_test(a_job_that_is_tried_again_keeps_its_parts),
        store_test(a_removal_that_fails_is_tried_again),
        store_test(a_failed_store_holds_nothing),
        store_test(what_there_was_before_is_known),
        store_test(nothing_is_lost_between_those_who_store_and_those_who_remove),
    };
    return store_run_on_both(tests);
}

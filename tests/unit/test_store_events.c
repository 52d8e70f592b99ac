/* Events and who is to be told of them, the same on SQLite and on PostgreSQL. */
#include "store_fixture.h"

#include "store/event_deliveries.h"
#include "store/events.h"
#include "store/object_uses.h"
#include "store/streams.h"

#include <pthread.h>

static const nx_event_targets nobody = {0};
static const nx_event_targets both = {.webhook = "https://example.org/hook", .mqtt = true};
static const nx_event_filter any = {0};
static const nx_job_retry_policy policy = {.first_ms = 0, .most_ms = 0};

static nx_event_row event_at(int64_t at)
{
    return (nx_event_row){.stream_id = "s1",
                          .stream_name = "yard",
                          .kind = "zone_entered",
                          .rule = "came",
                          .class_name = "person",
                          .track = 7,
                          .zone = "door",
                          .at = at,
                          .details = "{}"};
}

/* Enters it under an id of its own, which is written to id. Returns its number. */
static int64_t enter(nx_store *store, nx_event_row event, const nx_event_targets *targets,
                     char id[NX_UUID_SIZE])
{
    int64_t seq = 0;
    nx_error err = {0};
    nx_assert_ok(nx_uuid_make(id, &err), err);
    event.id = id;
    nx_assert_ok(nx_store_event_add(store, &event, targets, &seq, &err), err);
    return seq;
}

static size_t list_before(store_fixture *fixture, const nx_event_filter *filter, int64_t before,
                          nx_event_row *out, size_t limit)
{
    size_t count = 0;
    nx_error err = {0};
    nx_assert_ok(nx_store_events_before(fixture->store, filter, before, limit, &fixture->arena, out,
                                        &count, &err),
                 err);
    return count;
}

static void an_event_comes_back_as_it_was(void **state)
{
    STORE_FIXTURE(state);
    char id[NX_UUID_SIZE];
    nx_event_row row;
    nx_event_row given = event_at(1700000000123);
    given.details = "{\"dwell\":3.5}";
    assert_int_equal(enter(fixture->store, given, &nobody, id), 1);
    nx_assert_ok(nx_store_event_get(fixture->store, id, &fixture->arena, &row, &err), err);
    assert_int_equal(row.seq, 1);
    assert_string_equal(row.id, id);
    assert_string_equal(row.stream_id, "s1");
    assert_string_equal(row.stream_name, "yard");
    assert_string_equal(row.kind, "zone_entered");
    assert_string_equal(row.rule, "came");
    assert_string_equal(row.class_name, "person");
    assert_int_equal(row.track, 7);
    assert_string_equal(row.zone, "door");
    assert_true(row.at == 1700000000123 && row.created_at > 1700000000123);
    assert_string_equal(row.details, "{\"dwell\":3.5}");
    assert_true(row.snapshot == NULL && row.clip == NULL && row.bytes == 0);
    given = event_at(5);
    given.class_name = given.zone = NULL;
    given.track = 0;
    assert_int_equal(enter(fixture->store, given, &nobody, id), 2);
    nx_assert_ok(nx_store_event_get(fixture->store, id, &fixture->arena, &row, &err), err);
    assert_true(row.class_name == NULL && row.zone == NULL && row.track == 0);
    given.id = id;
    assert_int_equal(nx_store_event_add(fixture->store, &given, &nobody, NULL, &err),
                     NX_ERR_CONFLICT);
    given.id = "7";
    assert_int_equal(nx_store_event_add(fixture->store, &given, &nobody, NULL, &err),
                     NX_ERR_INVALID);
    int64_t last = 0;
    nx_assert_ok(nx_store_events_last(fixture->store, &last, &err), err);
    assert_int_equal(last, 2); /* what failed has taken no number */
    nx_assert_ok(nx_store_event_remove(fixture->store, id, &err), err);
    assert_int_equal(nx_store_event_get(fixture->store, id, &fixture->arena, &row, &err),
                     NX_ERR_NOT_FOUND);
    assert_int_equal(nx_store_event_remove(fixture->store, id, &err), NX_ERR_NOT_FOUND);
}

static void lists_are_filtered_and_paged(void **state)
{
    STORE_FIXTURE(state);
    char id[NX_UUID_SIZE];
    nx_event_row rows[32];
    size_t count = 0;
    for (int i = 0; i < 20; i++) {
        nx_event_row event = event_at(1000 * i);
        event.stream_id = i % 2 == 0 ? "s1" : "s2";
        event.kind = i % 5 == 0 ? "loitering" : "zone_entered";
        event.class_name = i % 4 == 0 ? "car" : "person";
        event.zone = i < 10 ? "door" : "yard";
        event.rule = i == 19 ? "last" : "came";
        (void)enter(fixture->store, event, &nobody, id);
    }
    assert_int_equal(list_before(fixture, &any, 0, rows, 8), 8);
    assert_true(rows[0].seq == 20 && rows[7].seq == 13);
    assert_int_equal(list_before(fixture, &any, 13, rows, 32), 12);
    assert_true(rows[0].seq == 12 && rows[11].seq == 1);
    static const struct {
        nx_event_filter filter;
        size_t count;
    } cases[] = {
        {{.stream = "s2"}, 10},
        {{.stream = "s3"}, 0},
        {{.kind = "loitering"}, 4},
        {{.class_name = "car"}, 5},
        {{.zone = "yard"}, 10},
        {{.rule = "last"}, 1},
        {{.since = 5000}, 15},
        {{.until = 5000}, 5},
        {{.since = 5000, .until = 6000}, 1},
        {{.stream = "s1", .kind = "loitering", .class_name = "car", .zone = "door"}, 1},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        assert_int_equal(list_before(fixture, &cases[i].filter, 0, rows, 32), cases[i].count);
        nx_assert_ok(nx_store_events_after(fixture->store, &cases[i].filter, 0, 32, &fixture->arena,
                                           rows, &count, &err),
                     err);
        assert_int_equal(count, cases[i].count);
    }
    nx_assert_ok(
        nx_store_events_after(fixture->store, &any, 18, 32, &fixture->arena, rows, &count, &err),
        err);
    assert_true(count == 2 && rows[0].seq == 19 && rows[1].seq == 20);
}

/* --- several at once ----------------------------------------------------------------------------
 */

#define WRITERS 3
#define EACH    40

static void *write_some(void *user)
{
    char id[NX_UUID_SIZE];
    for (int i = 0; i < EACH; i++) {
        (void)enter(user, event_at(i), &nobody, id);
    }
    return NULL;
}

/* Whoever reads on behind the last number sees every event, though several enter them. */
static void readers_miss_nothing(void **state)
{
    STORE_FIXTURE(state);
    pthread_t threads[WRITERS];
    int64_t after = 0;
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_some, fixture->store), 0);
    }
    while (after < WRITERS * EACH) {
        nx_event_row rows[16];
        size_t count = 0;
        nx_assert_ok(nx_store_events_after(fixture->store, &any, after, NX_COUNT(rows),
                                           &fixture->arena, rows, &count, &err),
                     err);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(rows[i].seq, after + 1);
            after = rows[i].seq;
        }
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* --- who is to be told --------------------------------------------------------------------------
 */

static void each_target_is_told(void **state)
{
    STORE_FIXTURE(state);
    char first[NX_UUID_SIZE];
    char second[NX_UUID_SIZE];
    nx_webhook hooks[4];
    nx_webhook mqtt[4];
    size_t count = 0;
    nx_webhook_state became = NX_WEBHOOK_PENDING;
    (void)enter(fixture->store, event_at(1), &both, first);
    (void)enter(fixture->store, event_at(2), &nobody, second);
    nx_assert_ok(nx_store_event_webhooks_take(fixture->store, 4, 60000, &fixture->arena, hooks,
                                              &count, &err),
                 err);
    assert_int_equal(count, 1);
    assert_string_equal(hooks[0].job_id, first);
    assert_string_equal(hooks[0].url, "https://example.org/hook");
    nx_assert_ok(
        nx_store_event_mqtt_take(fixture->store, 4, 60000, &fixture->arena, mqtt, &count, &err),
        err);
    assert_int_equal(count, 1);
    assert_string_not_equal(mqtt[0].id, hooks[0].id);
    nx_assert_ok(nx_store_event_webhooks_take(fixture->store, 4, 60000, &fixture->arena, hooks + 1,
                                              &count, &err),
                 err);
    assert_int_equal(count, 0); /* it is being told */
    const nx_webhook_outcome bad = {.status = 500, .error = "no", .duration_ms = 3};
    const nx_webhook_outcome good = {.status = 200};
    nx_assert_ok(
        nx_store_event_delivery_note(fixture->store, &hooks[0], &bad, &policy, 5, &became, &err),
        err);
    assert_int_equal(became, NX_WEBHOOK_PENDING);
    nx_assert_ok(nx_store_event_webhooks_take(fixture->store, 4, 60000, &fixture->arena, hooks,
                                              &count, &err),
                 err); /* due again at once */
    assert_true(count == 1 && hooks[0].attempts == 2);
    nx_assert_ok(
        nx_store_event_delivery_note(fixture->store, &hooks[0], &good, &policy, 5, &became, &err),
        err);
    assert_int_equal(became, NX_WEBHOOK_DELIVERED);
    assert_int_equal(
        nx_store_event_delivery_note(fixture->store, &hooks[0], &good, &policy, 1, &became, &err),
        NX_ERR_CONFLICT);
    nx_assert_ok(
        nx_store_event_delivery_note(fixture->store, &mqtt[0], &bad, &policy, 1, &became, &err),
        err);
    assert_int_equal(became, NX_WEBHOOK_FAILED);
    nx_assert_ok(nx_store_event_deliveries_list(fixture->store, first, 4, &fixture->arena, hooks,
                                                &count, &err),
                 err);
    assert_int_equal(count, 2);
    nx_webhook_attempt log[4];
    nx_assert_ok(
        nx_store_event_attempts(fixture->store, mqtt[0].id, 4, &fixture->arena, log, &count, &err),
        err);
    assert_true(count == 1 && log[0].status == 500 && log[0].attempt == 1);
    assert_string_equal(log[0].error, "no");
    nx_assert_ok(nx_store_event_remove(fixture->store, first, &err), err);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM event_deliveries"), 0);
    assert_int_equal(STORE_NUMBER(fixture->store, "SELECT count(*) FROM event_attempts"), 0);
}

static nx_stream add_stream(store_fixture *fixture, const char *name, const char *url,
                            const char *secret)
{
    const nx_stream_request request = {.name = name,
                                       .url = "rtsp://camera/1",
                                       .options = "{}",
                                       .enabled = true,
                                       .created_by = "",
                                       .webhook_url = url,
                                       .webhook_secret = secret};
    nx_stream stream;
    nx_error err = {0};
    nx_assert_ok(nx_store_stream_add(fixture->store, &request, &fixture->arena, &stream, &err),
                 err);
    return stream;
}

static void a_stream_tells_its_own(void **state)
{
    STORE_FIXTURE(state);
    char id[NX_UUID_SIZE];
    nx_webhook hooks[4];
    size_t count = 0;
    const char *secret = "";
    static const char *const url = "https://example.org/own";
    const nx_stream plain = add_stream(fixture, "plain", NULL, NULL);
    const nx_stream own = add_stream(fixture, "own", url, "its own");
    nx_event_row event = event_at(1);
    event.stream_id = plain.id;
    (void)enter(fixture->store, event, &nobody, id);
    nx_assert_ok(nx_store_event_webhooks_take(fixture->store, 4, 60000, &fixture->arena, hooks,
                                              &count, &err),
                 err);
    assert_int_equal(count, 0);
    event.stream_id = own.id;
    (void)enter(fixture->store, event, &both, id);
    nx_assert_ok(nx_store_event_webhooks_take(fixture->store, 4, 60000, &fixture->arena, hooks,
                                              &count, &err),
                 err);
    assert_int_equal(count, 2); /* beside the server's */
    for (size_t i = 0; i < count; i++) {
        nx_assert_ok(nx_store_event_webhook_secret(fixture->store, &hooks[i], &fixture->arena,
                                                   &secret, &err),
                     err);
        bool is_own = strcmp(hooks[i].url, url) == 0;
        assert_true(is_own ? secret != NULL && strcmp(secret, "its own") == 0 : secret == NULL);
    }
    size_t of_own = strcmp(hooks[0].url, url) == 0 ? 0 : 1;
    nx_assert_ok(nx_store_stream_remove(fixture->store, own.id, &err), err);
    assert_int_equal(nx_store_event_webhook_secret(fixture->store, &hooks[of_own], &fixture->arena,
                                                   &secret, &err),
                     NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_store_event_webhook_secret(fixture->store, &hooks[1 - of_own], &fixture->arena,
                                               &secret, &err),
                 err);
    (void)enter(fixture->store, event, &nobody, id);
    nx_assert_ok(nx_store_event_webhooks_take(fixture->store, 4, 60000, &fixture->arena, hooks,
                                              &count, &err),
                 err);
    assert_int_equal(count, 0);
}

static void a_killed_sender_leaves_it_due(void **state)
{
    STORE_FIXTURE(state);
    char id[NX_UUID_SIZE];
    nx_webhook one;
    size_t count = 0;
    nx_webhook_state became;
    const nx_webhook_outcome good = {.status = 200};
    (void)enter(fixture->store, event_at(1), &both, id);
    nx_assert_ok(
        nx_store_event_mqtt_take(fixture->store, 1, 0, &fixture->arena, &one, &count, &err), err);
    nx_webhook again;
    nx_assert_ok(
        nx_store_event_mqtt_take(fixture->store, 1, 60000, &fixture->arena, &again, &count, &err),
        err);
    assert_true(count == 1 && again.attempts == 2);
    assert_int_equal(
        nx_store_event_delivery_note(fixture->store, &one, &good, &policy, 5, &became, &err),
        NX_ERR_CONFLICT);
}

/* --- objects and retention ----------------------------------------------------------------------
 */

static void keep(store_fixture *fixture, nx_objects *objects, const char *text, const char *holder,
                 char name[NX_OBJECT_NAME_SIZE])
{
    nx_object_writer *writer = NULL;
    int64_t size = 0;
    nx_error err = {0};
    nx_assert_ok(nx_objects_write(objects, holder, 0, &writer, &err), err);
    nx_assert_ok(nx_object_writer_put(writer, text, strlen(text), &err), err);
    nx_assert_ok(nx_object_writer_sync(writer, &size, &err), err);
    nx_object_writer_close(writer);
    nx_assert_ok(nx_store_keep_upload(fixture->store, objects, holder, holder, name, &size, &err),
                 err);
    nx_assert_ok(nx_objects_discard(objects, holder, &err), err);
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

static void pictures_and_clips_are_kept_as_long_as_the_event(void **state)
{
    STORE_FIXTURE(state);
    char picture[NX_OBJECT_NAME_SIZE];
    char clip[NX_OBJECT_NAME_SIZE];
    char id[NX_UUID_SIZE];
    nx_event_row row;
    nx_objects *objects = store_open_objects(fixture);
    keep(fixture, objects, "picture", "up-1", picture);
    keep(fixture, objects, "clip", "up-2", clip);
    nx_event_row event = event_at(1);
    event.snapshot = picture;
    event.bytes = 7;
    (void)enter(fixture->store, event, &nobody, id);
    nx_assert_ok(nx_store_event_set_clip(fixture->store, id, clip, 4, 5040, &err), err);
    assert_int_equal(nx_store_event_set_clip(fixture->store, "none", clip, 4, 0, &err),
                     NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_store_object_release(fixture->store, "up-1", &err), err);
    nx_assert_ok(nx_store_object_release(fixture->store, "up-2", &err), err);
    assert_int_equal(unused(fixture), 0);
    nx_assert_ok(nx_store_event_get(fixture->store, id, &fixture->arena, &row, &err), err);
    assert_string_equal(row.snapshot, picture);
    assert_string_equal(row.clip, clip);
    assert_int_equal(row.bytes, 11);
    nx_assert_ok(nx_store_event_remove(fixture->store, id, &err), err);
    assert_int_equal(unused(fixture), 2);
    nx_objects_close(objects);
}

static void the_oldest_go_by_age_and_by_size(void **state)
{
    STORE_FIXTURE(state);
    char id[NX_UUID_SIZE];
    nx_event_row rows[32];
    size_t removed = 0;
    const int64_t now = STORE_NUMBER(fixture->store, "SELECT nx_now()");
    const int64_t day = 86400000;
    for (int i = 0; i < 10; i++) { /* the last ten days */
        nx_event_row event = event_at(now - (9 - i) * day - 1000);
        event.bytes = 1000;
        (void)enter(fixture->store, event, &nobody, id);
    }
    const int64_t each = 1000 + NX_EVENT_ROW_BYTES;
    nx_assert_ok(nx_store_events_expire(fixture->store, 100 * day, 100 * each, 8, &removed, &err),
                 err);
    assert_int_equal(removed, 0);
    nx_assert_ok(nx_store_events_expire(fixture->store, 7 * day, 100 * each, 2, &removed, &err),
                 err);
    assert_int_equal(removed, 2); /* as many as were asked for, of three */
    nx_assert_ok(nx_store_events_expire(fixture->store, 7 * day, 100 * each, 2, &removed, &err),
                 err);
    assert_int_equal(removed, 1);
    nx_assert_ok(nx_store_events_expire(fixture->store, 7 * day, 5 * each, 8, &removed, &err), err);
    assert_int_equal(removed, 2);
    assert_int_equal(list_before(fixture, &any, 0, rows, 32), 5);
    assert_true(rows[0].seq == 10 && rows[4].seq == 6);
    assert_int_equal(enter(fixture->store, event_at(now), &nobody, id), 11); /* never given twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(an_event_comes_back_as_it_was),
        store_test(lists_are_filtered_and_paged),
        store_test(readers_miss_nothing),
        store_test(each_target_is_told),
        store_test(a_stream_tells_its_own),
        store_test(a_killed_sender_leaves_it_due),
        store_test(pictures_and_clips_are_kept_as_long_as_the_event),
        store_test(the_oldest_go_by_age_and_by_size),
    };
    return store_run_on_both(tests);
}

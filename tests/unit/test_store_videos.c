/* Videos and uploads, the same on SQLite and on PostgreSQL. */
#include "store_fixture.h"

#include "base/uuid.h"
#include "store/videos.h"

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

static nx_video enter(store_fixture *fixture, const char *owner, const char *hash, bool expected)
{
    nx_video made = {0};
    bool is_new = false;
    nx_error err = {0};
    const nx_video video = {.owner = owner,
                            .hash = hash,
                            .size = INT64_C(5000000000),
                            .name = "a \"street\" ü.mp4",
                            .probe = "{\"fps\": 25}"};
    nx_assert_ok(nx_store_video_add(fixture->store, &video, &fixture->arena, &made, &is_new, &err),
                 err);
    assert_true(is_new == expected);
    return made;
}

static void a_video_comes_back(void **state)
{
    STORE_FIXTURE(state);
    nx_video made = enter(fixture, "ann", HASH_A, true);
    nx_video got = {0};
    assert_true(nx_uuid_is(made.id));
    nx_assert_ok(nx_store_video_get(fixture->store, made.id, &fixture->arena, &got, &err), err);
    assert_string_equal(got.id, made.id);
    assert_string_equal(got.owner, "ann");
    assert_string_equal(got.hash, HASH_A);
    assert_true(got.size == INT64_C(5000000000));
    assert_string_equal(got.name, "a \"street\" ü.mp4");
    assert_string_equal(got.probe, "{\"fps\": 25}");
    assert_true(got.created_at == made.created_at && got.created_at > 0);
    assert_int_equal(nx_store_video_get(fixture->store, "none", &fixture->arena, &got, &err),
                     NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, "no video none");
}

static void equal_content_of_an_owner_is_one_video(void **state)
{
    STORE_FIXTURE(state);
    nx_video first = enter(fixture, "ann", HASH_A, true);
    nx_video again = enter(fixture, "ann", HASH_A, false);
    nx_video other = enter(fixture, "bob", HASH_A, true);
    assert_string_equal(first.id, again.id);
    assert_string_not_equal(first.id, other.id);
    nx_assert_ok(nx_store_video_remove(fixture->store, first.id, &err), err);
    assert_int_equal(nx_store_video_remove(fixture->store, first.id, &err), NX_ERR_NOT_FOUND);
    nx_assert_ok(nx_store_video_remove(fixture->store, other.id, &err), err);
}

static void videos_are_listed_newest_first(void **state)
{
    STORE_FIXTURE(state);
    const char *ids[5];
    nx_video page[3];
    size_t count = 0;
    for (size_t i = 0; i < NX_COUNT(ids); i++) {
        char hash[65] = HASH_A;
        hash[0] = (char)('0' + i);
        ids[i] = enter(fixture, i == 2 ? "bob" : "ann", hash, true).id;
    }
    nx_assert_ok(
        nx_store_videos_list(fixture->store, NULL, NULL, 3, &fixture->arena, page, &count, &err),
        err);
    assert_int_equal(count, 3);
    assert_string_equal(page[0].id, ids[4]);
    assert_string_equal(page[2].id, ids[2]);
    nx_assert_ok(
        nx_store_videos_list(fixture->store, NULL, ids[2], 3, &fixture->arena, page, &count, &err),
        err);
    assert_int_equal(count, 2);
    assert_string_equal(page[1].id, ids[0]);
    nx_assert_ok(
        nx_store_videos_list(fixture->store, "bob", NULL, 3, &fixture->arena, page, &count, &err),
        err);
    assert_int_equal(count, 1);
    assert_string_equal(page[0].id, ids[2]);
}

static void videos_need_their_hash(void **state)
{
    STORE_FIXTURE(state);
    const nx_video video = {.owner = "", .hash = "abc", .size = 1, .name = "", .probe = "{}"};
    nx_video made;
    bool is_new = true;
    assert_int_equal(
        nx_store_video_add(fixture->store, &video, &fixture->arena, &made, &is_new, &err),
        NX_ERR_INVALID);
}

/* --- uploads --- */

static nx_upload begin(store_fixture *fixture, int64_t length, int64_t lifetime_ms)
{
    nx_upload made = {0};
    nx_error err = {0};
    const nx_upload upload = {.owner = "ann", .length = length, .metadata = "filename Zm9v"};
    nx_assert_ok(
        nx_store_upload_add(fixture->store, &upload, lifetime_ms, &fixture->arena, &made, &err),
        err);
    return made;
}

static void an_upload_goes_on_where_it_stopped(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    nx_upload upload = begin(fixture, 100, 60000);
    nx_upload got = {0};
    assert_int_equal(upload.received, 0);
    assert_true(upload.expires_at == upload.created_at + 60000);
    nx_assert_ok(nx_store_upload_advance(store, upload.id, 0, 40, 90000, &err), err);
    assert_int_equal(nx_store_upload_advance(store, upload.id, 0, 60, 1, &err), NX_ERR_CONFLICT);
    nx_assert_contains(err.message, "has 40 of 100 bytes");
    assert_int_equal(nx_store_upload_advance(store, upload.id, 40, 101, 1, &err), NX_ERR_CONFLICT);
    assert_int_equal(nx_store_upload_finish(store, upload.id, "x", &err), NX_ERR_CONFLICT);
    nx_assert_ok(nx_store_upload_advance(store, upload.id, 40, 100, 90000, &err), err);
    nx_assert_ok(nx_store_upload_get(store, upload.id, &fixture->arena, &got, &err), err);
    assert_int_equal(got.received, 100);
    assert_int_equal(got.length, 100);
    assert_string_equal(got.metadata, "filename Zm9v");
    assert_null(got.video_id);
    assert_true(got.expires_at > upload.expires_at);
}

static void an_upload_becomes_one_video(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    nx_upload upload = begin(fixture, 0, 60000);
    nx_video video = enter(fixture, "ann", HASH_A, true);
    nx_video other = enter(fixture, "ann", HASH_B, true);
    nx_upload got = {0};
    nx_assert_ok(nx_store_upload_finish(store, upload.id, video.id, &err), err);
    nx_assert_ok(nx_store_upload_finish(store, upload.id, video.id, &err), err);
    assert_int_equal(nx_store_upload_finish(store, upload.id, other.id, &err), NX_ERR_CONFLICT);
    assert_int_equal(nx_store_upload_advance(store, upload.id, 0, 0, 1, &err), NX_ERR_CONFLICT);
    nx_assert_ok(nx_store_upload_get(store, upload.id, &fixture->arena, &got, &err), err);
    assert_string_equal(got.video_id, video.id);
}

static void old_uploads_are_taken_out(void **state)
{
    STORE_FIXTURE(state);
    nx_store *store = fixture->store;
    nx_upload old = begin(fixture, 10, 0);
    nx_upload young = begin(fixture, 10, 60000);
    const char *ids[4];
    size_t count = 0;
    nx_assert_ok(nx_store_uploads_expire(store, 4, &fixture->arena, ids, &count, &err), err);
    assert_int_equal(count, 1);
    assert_string_equal(ids[0], old.id);
    nx_assert_ok(nx_store_uploads_expire(store, 4, &fixture->arena, ids, &count, &err), err);
    assert_int_equal(count, 0);
    nx_assert_ok(nx_store_upload_remove(store, young.id, &err), err);
    assert_int_equal(nx_store_upload_remove(store, young.id, &err), NX_ERR_NOT_FOUND);
    nx_upload got;
    assert_int_equal(nx_store_upload_get(store, young.id, &fixture->arena, &got, &err),
                     NX_ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_video_comes_back),
        store_test(equal_content_of_an_owner_is_one_video),
        store_test(videos_are_listed_newest_first),
        store_test(videos_need_their_hash),
        store_test(an_upload_goes_on_where_it_stopped),
        store_test(an_upload_becomes_one_video),
        store_test(old_uploads_are_taken_out),
    };
    return store_run_on_both(tests);
}

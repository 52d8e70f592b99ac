/* Clips of events, of a real ring, store and folder of objects: what they do while the database or
 * the folder is away. */
#include "capture.h"
#include "store_fixture.h"

#include "base/clock.h"
#include "base/uuid.h"
#include "streams/event_clips.h"

#define FRAME   (40 * NX_NS_PER_MS)
#define SECOND  NX_NS_PER_SEC
#define BYTES   1000
#define CLIPS   5
#define PATIENT (10 * SECOND) /* less than a statement waits for a lock here */

static const nx_mp4_track track = {.width = 64,
                                   .height = 48,
                                   .shown_width = 64,
                                   .shown_height = 48,
                                   .config_size = 8,
                                   .config = {1, 0x64, 0, 0x1F}};

static nx_media_ring *new_ring(void)
{
    const nx_media_ring_options options = {.most_bytes = 1 << 20, .keep_ns = SECOND};
    nx_media_ring *ring = nx_media_ring_new(&options);
    assert_non_null(ring);
    nx_media_ring_begin(ring);
    nx_media_ring_track(ring, &track);
    nx_media_ring_place(ring, 0);
    return ring;
}

/* Frames of 40 ms, a key frame every ten. */
static void put(nx_media_ring *ring, int first, int end)
{
    for (int i = first; i < end; i++) {
        const nx_media_sample sample = {.block = calloc(1, NX_MP4_FRAGMENT_HEAD + BYTES),
                                        .size = BYTES,
                                        .key = i % 10 == 0,
                                        .dts_ns = i * FRAME,
                                        .pts_ns = i * FRAME};
        assert_non_null(sample.block);
        nx_media_ring_put(ring, &sample);
    }
}

static nx_event_clips *start(const store_fixture *fixture, nx_objects *objects)
{
    nx_event_clips *clips = NULL;
    nx_error err = {0};
    const nx_event_clips_options options = {
        .store = fixture->store, .objects = objects, .clip_ns = SECOND};
    nx_assert_ok(nx_event_clips_start(&options, &clips, &err), err);
    return clips;
}

static nx_event_row event_of(char id[NX_UUID_SIZE])
{
    nx_error err = {0};
    nx_assert_ok(nx_uuid_make(id, &err), err);
    return (nx_event_row){.id = id,
                          .stream_id = "s1",
                          .stream_name = "yard",
                          .kind = "loitering",
                          .rule = "waits",
                          .at = 1,
                          .details = "{}"};
}

/* Nobody waits for each of them when the first one shows that nothing can be kept. */
static void a_stop_tries_once_what_is_away(void **state)
{
    STORE_FIXTURE(state);
    static capture log;
    char path[PATH_MAX];
    char id[NX_UUID_SIZE];
    const nx_event_row row = event_of(id);
    nx_objects *objects = store_open_objects(fixture);
    nx_media_ring *ring = new_ring();
    snprintf(path, sizeof path, "%s/objects", fixture->folder);
    (void)nftw(path, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600); /* no folder */
    assert_true(file >= 0);
    put(ring, 0, 12);
    nx_event_clips *clips = start(fixture, objects);
    for (int i = 0; i < CLIPS; i++) { /* none is near another */
        nx_event_clips_add(clips, ring, i * 2 * SECOND, &row, 1);
    }
    assert_int_equal(nx_event_clips_get_stats(clips).making, CLIPS);
    capture_begin(&log);
    nx_event_clips_stop(clips);
    capture_end(&log);
    nx_assert_contains(log.text, "a clip of 1 events is lost: ");
    nx_assert_contains(log.text, "4 clips of events are lost");
    close(file);
    assert_int_equal(unlink(path), 0);
    nx_media_ring_release(ring);
    nx_objects_close(objects);
}

typedef struct scene {
    const store_fixture *fixture;
    nx_objects *objects;
    nx_event_clips *clips;
    nx_media_ring *ring;
    nx_event_row events[2];
    char ids[2][NX_UUID_SIZE];
} scene;

/* The ring has one reference and the caller another: somebody else has one, or nobody. */
static void wait_until_held(nx_media_piece *piece, bool held)
{
    int64_t end_ns = nx_clock_now_ns() + PATIENT;
    while ((atomic_load(&piece->references) > 2) != held) {
        assert_true(nx_clock_now_ns() < end_ns);
        usleep(2000);
    }
}

static nx_media_piece *newest_key(nx_media_ring *ring)
{
    nx_media_view view;
    nx_media_piece *piece = NULL;
    assert_true(nx_media_view_open(ring, INT64_MAX, &view));
    assert_int_equal(nx_media_view_next(&view, &piece), NX_MEDIA_PIECE);
    nx_media_view_close(&view);
    return piece;
}

/* With the table of objects locked: the first clip waits to be entered, the second one is gathered
 * all the same before the ring forgets its first pictures. */
static nx_status play(nx_db *db, void *user, nx_error *err)
{
    static const nx_sql lock = {.sqlite = "UPDATE objects SET name = name",
                                .postgres = "LOCK TABLE objects IN ACCESS EXCLUSIVE MODE"};
    const nx_call call = {.sql = &lock};
    scene *it = user;
    nx_status status = nx_db_run(db, &call, NULL, err);
    if (status != NX_OK) {
        return status;
    }
    put(it->ring, 0, 12);
    nx_event_clips_add(it->clips, it->ring, 0, &it->events[0], 1);
    nx_media_piece *piece = newest_key(it->ring);
    wait_until_held(piece, true);
    put(it->ring, 12, 40); /* 1.6 s: it ends with a second */
    wait_until_held(piece, false);
    nx_media_piece_release(piece);

    nx_event_clips_add(it->clips, it->ring, 2 * SECOND, &it->events[1], 1);
    piece = newest_key(it->ring);
    wait_until_held(piece, true);
    put(it->ring, 40, 150); /* six seconds: all that was there is forgotten */
    nx_media_piece_release(piece);
    return NX_OK;
}

static void pictures_are_gathered_while_the_database_waits(void **state)
{
    STORE_FIXTURE(state);
    const nx_event_targets targets = {0};
    nx_event_row row;
    scene it = {.fixture = fixture, .objects = store_open_objects(fixture), .ring = new_ring()};
    for (size_t i = 0; i < 2; i++) {
        it.events[i] = event_of(it.ids[i]);
        nx_assert_ok(nx_store_event_add(fixture->store, &it.events[i], &targets, NULL, &err), err);
    }
    it.clips = start(fixture, it.objects);
    nx_store *another = store_open_another(fixture);
    nx_assert_ok(nx_store_transact(another, NX_TX_WRITE, play, &it, &err), err);
    nx_store_close(another);
    nx_event_clips_stop(it.clips);
    for (size_t i = 0; i < 2; i++) {
        nx_assert_ok(nx_store_event_get(fixture->store, it.ids[i], &fixture->arena, &row, &err),
                     err);
        assert_non_null(row.clip);
        assert_true(row.bytes > 10 * BYTES);
    }
    assert_true(row.clip_offset_ms >= 1000); /* the second before it is there */
    nx_media_ring_release(it.ring);
    nx_objects_close(it.objects);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(a_stop_tries_once_what_is_away),
        store_test(pictures_are_gathered_while_the_database_waits),
    };
    return store_run_on_both(tests);
}

/* The newest seconds of a stream's video: what is kept, what readers see, and when. */
#include "testing.h"

#include "base/clock.h"
#include "streams/media_ring.h"

#include <pthread.h>

#define MS    NX_NS_PER_MS
#define FRAME (40 * MS)
#define BYTES 1000

static unsigned told;

static void note(void *user)
{
    (void)user;
    told++;
}

static const nx_mp4_track track = {.width = 64,
                                   .height = 48,
                                   .shown_width = 64,
                                   .shown_height = 48,
                                   .config_size = 8,
                                   .config = {1, 0x64, 0, 0x1F}};

static nx_media_ring *ring_of(size_t most_bytes, int64_t keep_ns)
{
    const nx_media_ring_options options = {
        .most_bytes = most_bytes, .keep_ns = keep_ns, .told = note};
    nx_media_ring *ring = nx_media_ring_new(&options);
    assert_non_null(ring);
    nx_media_ring_begin(ring);
    nx_media_ring_track(ring, &track);
    return ring;
}

/* Frame i, 40 ms after the one before; pts is one frame behind, as with B-frames. */
static void put(nx_media_ring *ring, int i, bool key)
{
    const nx_media_sample sample = {.block = calloc(1, NX_MP4_FRAGMENT_HEAD + BYTES),
                                    .size = BYTES,
                                    .key = key,
                                    .dts_ns = i * FRAME,
                                    .pts_ns = (i + 1) * FRAME};
    assert_non_null(sample.block);
    sample.block[NX_MP4_FRAGMENT_HEAD] = (uint8_t)i;
    nx_media_ring_put(ring, &sample);
}

static uint32_t word_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The next piece's frame; -1: nothing, -2: the end. */
static int next_of(nx_media_view *view, bool *skipped)
{
    nx_media_piece *piece = NULL;
    nx_media_news news = nx_media_view_next(view, &piece);
    if (skipped != NULL) {
        *skipped = news == NX_MEDIA_SKIPPED;
    }
    if (news == NX_MEDIA_NOTHING || news == NX_MEDIA_ENDED) {
        assert_null(piece);
        return news == NX_MEDIA_NOTHING ? -1 : -2;
    }
    int frame = piece->block[NX_MP4_FRAGMENT_HEAD];
    assert_int_equal(piece->size, NX_MP4_FRAGMENT_HEAD + BYTES);
    assert_int_equal(word_at(piece->block), 104);
    nx_media_piece_release(piece);
    return frame;
}

static void a_picture_comes_when_its_length_is_known(void **state)
{
    (void)state;
    char type[NX_MP4_TYPE_SIZE];
    nx_media_view view;
    nx_media_ring *ring = ring_of(1 << 20, NX_NS_PER_SEC);
    put(ring, 0, true);
    put(ring, 1, false);
    assert_false(nx_media_view_open(ring, INT64_MAX, &view)); /* where it lies is not known */
    assert_false(nx_media_ring_type(ring, type));
    nx_media_ring_place(ring, 10 * NX_NS_PER_SEC);
    assert_true(nx_media_ring_type(ring, type));
    assert_string_equal(type, "video/mp4; codecs=\"avc1.64001f\"");
    assert_true(nx_media_view_open(ring, INT64_MAX, &view));
    nx_media_piece *piece = NULL;
    assert_int_equal(nx_media_view_next(&view, &piece), NX_MEDIA_PIECE);
    assert_int_equal(piece->sample.dts, 900000);
    assert_int_equal(piece->sample.duration, 3600);
    assert_int_equal(piece->sample.shown, 3600);
    assert_true(piece->pts_ns == 10 * NX_NS_PER_SEC + FRAME);
    assert_int_equal(word_at(piece->block + 64), 900000); /* tfdt */
    nx_media_piece_release(piece);
    assert_int_equal(next_of(&view, NULL), -1);
    told = 0;
    put(ring, 2, false);
    assert_int_equal(told, 1);
    assert_int_equal(next_of(&view, NULL), 1);
    assert_int_equal(next_of(&view, NULL), -1);
    nx_media_ring_cut(ring); /* the last one is as long as the one before */
    assert_int_equal(next_of(&view, NULL), 2);
    assert_int_equal(next_of(&view, NULL), -2);
    assert_false(nx_media_ring_type(ring, type));
    nx_media_view_close(&view);
    assert_int_equal(nx_media_ring_fragments(ring), 3);
    nx_media_ring_release(ring);
}

static void whole_groups_are_kept_and_go(void **state)
{
    (void)state;
    nx_media_view late;
    nx_media_view view;
    bool skipped = false;
    nx_media_ring *ring = ring_of(1 << 20, NX_NS_PER_SEC);
    nx_media_ring_place(ring, 0);
    put(ring, 0, true);
    put(ring, 1, false);
    assert_true(nx_media_view_open(ring, INT64_MAX, &late));
    for (int i = 2; i <= 100; i++) { /* four seconds, a key frame each 0.4 s */
        put(ring, i, i % 10 == 0);
    }
    /* the last key frame that is a second old, and all behind it */
    assert_int_equal(next_of(&late, &skipped), 70);
    assert_true(skipped);
    assert_int_equal(next_of(&late, &skipped), 71);
    assert_false(skipped);
    assert_true(nx_media_view_skip(&late, NX_NS_PER_SEC));
    assert_int_equal(next_of(&late, &skipped), 90); /* 100 can't be read yet */
    assert_false(nx_media_view_skip(&late, 0));
    /* from a time on: the key frame before it is shown */
    assert_true(nx_media_view_open(ring, 85 * FRAME, &view));
    assert_int_equal(next_of(&view, NULL), 80);
    nx_media_view_close(&view);
    assert_true(nx_media_view_open(ring, 0, &view));
    assert_int_equal(next_of(&view, NULL), 70);
    nx_media_view_close(&view);
    nx_media_view_close(&late);
    nx_media_ring_release(ring);
}

static void bytes_are_bounded(void **state)
{
    (void)state;
    nx_media_view view;
    nx_media_ring *ring = ring_of(25 * (size_t)BYTES, 60 * NX_NS_PER_SEC);
    nx_media_ring_place(ring, 0);
    for (int i = 0; i < 35; i++) {
        put(ring, i, i % 10 == 0);
    }
    assert_true(nx_media_view_open(ring, 0, &view));
    assert_int_equal(next_of(&view, NULL), 20);
    nx_media_view_close(&view);
    for (int i = 35; i < 100; i++) { /* one group that is too large goes, up to the next one */
        put(ring, i, false);
    }
    assert_false(nx_media_view_open(ring, 0, &view));
    put(ring, 100, true);
    put(ring, 101, false);
    assert_true(nx_media_view_open(ring, 0, &view));
    assert_int_equal(next_of(&view, NULL), 100);
    nx_media_view_close(&view);
    nx_media_ring_release(ring);
}

static void another_connection_or_track_is_another_video(void **state)
{
    (void)state;
    nx_media_view view;
    nx_media_view open;
    nx_mp4_track other = track;
    nx_media_ring *ring = ring_of(1 << 20, NX_NS_PER_SEC);
    nx_media_ring_place(ring, 0);
    put(ring, 0, true);
    put(ring, 1, false);
    assert_true(nx_media_view_open(ring, INT64_MAX, &view));
    nx_media_ring_track(ring, &track); /* the same again: a file that begins anew */
    put(ring, 2, false);               /* which begins with a key frame */
    put(ring, 3, true);
    put(ring, 4, false);
    assert_int_equal(next_of(&view, NULL), 0);
    assert_int_equal(next_of(&view, NULL), 1);
    assert_int_equal(next_of(&view, NULL), 3);
    other.config[7] = 7;
    nx_media_ring_track(ring, &other);
    assert_int_equal(next_of(&view, NULL), -2);
    nx_media_view_close(&view);
    put(ring, 5, true);
    put(ring, 6, false);
    assert_true(nx_media_view_open(ring, INT64_MAX, &view));
    nx_media_ring_cut(ring);
    put(ring, 7, false); /* too late */
    nx_media_ring_begin(ring);
    assert_int_equal(next_of(&view, NULL), -2);
    assert_false(nx_media_view_open(ring, INT64_MAX, &open));
    nx_media_ring_release(ring); /* the view has its own */
    assert_int_equal(next_of(&view, NULL), -2);
    nx_media_view_close(&view);
}

/* What a file has is there before it is due. */
static void what_is_paced_comes_in_time(void **state)
{
    (void)state;
    nx_media_view view;
    nx_media_ring *ring = ring_of(1 << 20, NX_NS_PER_SEC);
    nx_media_ring_place(ring, 0);
    nx_media_ring_pace(ring, nx_clock_now_ns() + 1000 * NX_NS_PER_SEC - FRAME / 2);
    put(ring, 0, true);
    put(ring, 1, false);
    put(ring, 2, false);
    assert_false(nx_media_view_open(ring, INT64_MAX, &view));
    nx_media_ring_pace(ring, nx_clock_now_ns() - FRAME / 2);
    assert_true(nx_media_view_open(ring, INT64_MAX, &view));
    assert_true(nx_media_view_is_paced(&view));
    assert_int_equal(next_of(&view, NULL), 0);
    nx_media_ring_pace(ring, nx_clock_now_ns() - 1000 * NX_NS_PER_SEC);
    assert_int_equal(next_of(&view, NULL), 1);
    nx_media_view_close(&view);
    nx_media_ring_release(ring);
}

static void decoding_before_time_0_has_room(void **state)
{
    (void)state;
    nx_media_view view;
    nx_media_piece *piece = NULL;
    uint64_t last = 0;
    nx_media_ring *ring = ring_of(1 << 20, NX_NS_PER_SEC);
    nx_media_ring_place(ring, -3 * FRAME);
    for (int i = 0; i < 6; i++) {
        put(ring, i, i == 0);
    }
    assert_true(nx_media_view_open(ring, INT64_MAX, &view));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(nx_media_view_next(&view, &piece), NX_MEDIA_PIECE);
        assert_true(i == 0 || piece->sample.dts > last);
        assert_true(piece->sample.duration > 0);
        last = piece->sample.dts;
        nx_media_piece_release(piece);
    }
    assert_int_equal(last, 3600);
    nx_media_view_close(&view);
    nx_media_ring_release(ring);
}

typedef struct reader {
    nx_media_ring *ring;
    pthread_barrier_t *opened;
    unsigned seen;
    bool good;
} reader;

static void *read_all(void *user)
{
    reader *self = user;
    nx_media_view view;
    uint64_t last = 0;
    self->good = nx_media_view_open(self->ring, INT64_MAX, &view);
    (void)pthread_barrier_wait(self->opened);
    if (!self->good) {
        return NULL;
    }
    for (;;) {
        nx_media_piece *piece = NULL;
        nx_media_news news = nx_media_view_next(&view, &piece);
        if (news == NX_MEDIA_ENDED) {
            nx_media_view_close(&view);
            return NULL;
        }
        if (piece != NULL) {
            self->good = self->good && (self->seen == 0 || piece->sample.dts > last) &&
                         (news == NX_MEDIA_PIECE || piece->sample.key);
            last = piece->sample.dts;
            self->seen++;
            nx_media_piece_release(piece);
        }
    }
}

static void many_read_while_one_puts(void **state)
{
    (void)state;
    reader readers[4];
    pthread_t threads[4];
    pthread_barrier_t opened;
    nx_media_ring *ring = ring_of(1 << 20, NX_NS_PER_SEC);
    nx_media_ring_place(ring, 0);
    put(ring, 0, true);
    put(ring, 1, false);
    assert_int_equal(pthread_barrier_init(&opened, NULL, 5), 0);
    for (size_t i = 0; i < 4; i++) {
        readers[i] = (reader){.ring = ring, .opened = &opened};
        assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
    }
    (void)pthread_barrier_wait(&opened);
    for (int i = 2; i < 3000; i++) {
        put(ring, i, i % 10 == 0);
    }
    nx_media_ring_cut(ring);
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_true(readers[i].good);
        assert_true(readers[i].seen > 0);
    }
    pthread_barrier_destroy(&opened);
    assert_int_equal(nx_media_ring_fragments(ring), 3000);
    nx_media_ring_release(ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_comes_when_its_length_is_known),
        cmocka_unit_test(whole_groups_are_kept_and_go),
        cmocka_unit_test(bytes_are_bounded),
        cmocka_unit_test(another_connection_or_track_is_another_video),
        cmocka_unit_test(what_is_paced_comes_in_time),
        cmocka_unit_test(decoding_before_time_0_has_room),
        cmocka_unit_test(many_read_while_one_puts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

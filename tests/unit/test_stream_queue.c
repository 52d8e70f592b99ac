/* Frames between two threads, with each way to drop them; and the hub that shows what comes of
 * them. */
#include "testing.h"

#include "streams/hub.h"
#include "streams/queue.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define BYTES 12 /* a picture of 2 x 2 */
#define ROOM  (2 * NX_HUB_MOST_ROOM)

static nx_stream_queue *queue_of(nx_stream_drop drop)
{
    nx_stream_queue *queue = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_stream_queue_new(drop, BYTES, &queue, &err), err);
    return queue;
}

static uint32_t put(nx_stream_queue *queue, uint64_t index)
{
    uint8_t pixels[BYTES];
    memset(pixels, (int)index, sizeof pixels);
    const nx_stream_frame frame = {.pixels = pixels, .index = index};
    return nx_stream_queue_put(queue, &frame);
}

static void expect(nx_stream_queue *queue, uint64_t index)
{
    nx_stream_frame frame = {0};
    assert_true(nx_stream_queue_take(queue, &frame));
    assert_int_equal(frame.index, index);
    assert_int_equal(frame.pixels[BYTES - 1], index);
    nx_stream_queue_give_back(queue, frame.pixels);
}

static void expect_none(nx_stream_queue *queue)
{
    nx_stream_frame frame;
    nx_stream_queue_poke(queue);
    assert_false(nx_stream_queue_take(queue, &frame));
}

/* Once for each time, and before the frames that wait. */
static void who_is_poked_takes_nothing(void **state)
{
    (void)state;
    nx_stream_queue *queue = queue_of(NX_STREAM_DROP_OLDEST);
    (void)put(queue, 1);
    expect_none(queue);
    expect(queue, 1);
    nx_stream_queue_free(queue);
}

static void the_latest_wins(void **state)
{
    (void)state;
    nx_stream_queue *queue = queue_of(NX_STREAM_LATEST);
    expect_none(queue);
    assert_int_equal(put(queue, 1), 0);
    assert_int_equal(put(queue, 2), 1);
    assert_int_equal(put(queue, 3), 1);
    expect(queue, 3);
    expect_none(queue);
    assert_int_equal(put(queue, 4), 0);
    nx_stream_queue_free(queue); /* with what waits */
}

static void the_oldest_goes(void **state)
{
    (void)state;
    nx_stream_queue *queue = queue_of(NX_STREAM_DROP_OLDEST);
    for (uint64_t i = 0; i < NX_STREAM_QUEUE_SIZE; i++) {
        assert_int_equal(put(queue, i), 0);
    }
    assert_int_equal(put(queue, NX_STREAM_QUEUE_SIZE), 1);
    for (uint64_t i = 1; i <= NX_STREAM_QUEUE_SIZE; i++) {
        expect(queue, i);
    }
    expect_none(queue);
    nx_stream_queue_free(queue);
}

static void who_closes_gets_what_is_left(void **state)
{
    (void)state;
    nx_stream_queue *queue = queue_of(NX_STREAM_DROP_OLDEST);
    nx_stream_frame frame;
    (void)put(queue, 1);
    (void)put(queue, 2);
    assert_int_equal(nx_stream_queue_close(queue), 2);
    assert_false(nx_stream_queue_take(queue, &frame));
    assert_int_equal(put(queue, 3), 1);
    nx_stream_queue_give_back(queue, NULL);
    nx_stream_queue_free(queue);
}

#define MANY 2000

typedef struct party {
    nx_stream_queue *queue;
    atomic_uint dropped;
} party;

static void *put_many(void *user)
{
    party *p = user;
    for (uint64_t i = 1; i <= MANY; i++) {
        atomic_fetch_add(&p->dropped, put(p->queue, i));
    }
    atomic_fetch_add(&p->dropped, nx_stream_queue_close(p->queue));
    return NULL;
}

/* Whatever the policy, each frame is taken or told as dropped, and they come in order. */
static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    for (int drop = 0; drop < NX_STREAM_DROP_COUNT; drop++) {
        party p = {.queue = queue_of((nx_stream_drop)drop)};
        pthread_t thread;
        nx_stream_frame frame;
        uint64_t last = 0;
        uint32_t taken = 0;
        atomic_init(&p.dropped, 0);
        assert_int_equal(pthread_create(&thread, NULL, put_many, &p), 0);
        while (nx_stream_queue_take(p.queue, &frame)) {
            assert_true(frame.index > last);
            assert_int_equal(frame.pixels[0], (uint8_t)frame.index);
            last = frame.index;
            taken++;
            nx_stream_queue_give_back(p.queue, frame.pixels);
        }
        pthread_join(thread, NULL);
        assert_int_equal(taken + atomic_load(&p.dropped), MANY);
        if (drop == NX_STREAM_BLOCK) { /* but for those that waited when it was closed */
            assert_true(atomic_load(&p.dropped) <= NX_STREAM_QUEUE_SIZE);
        }
        nx_stream_queue_free(p.queue);
    }
}

static void *put_one_more(void *user)
{
    party *p = user;
    atomic_store(&p->dropped, put(p->queue, 99));
    return NULL;
}

static void a_close_wakes_who_waits(void **state)
{
    (void)state;
    party p = {.queue = queue_of(NX_STREAM_BLOCK)};
    pthread_t thread;
    atomic_init(&p.dropped, 0);
    for (uint64_t i = 0; i < NX_STREAM_QUEUE_SIZE; i++) {
        assert_int_equal(put(p.queue, i), 0);
    }
    assert_int_equal(pthread_create(&thread, NULL, put_one_more, &p), 0);
    assert_int_equal(nx_stream_queue_close(p.queue), NX_STREAM_QUEUE_SIZE);
    pthread_join(thread, NULL);
    assert_int_equal(atomic_load(&p.dropped), 1);
    nx_stream_queue_free(p.queue);
}

/* --- the hub ------------------------------------------------------------------------------------
 */

static void listeners_read_what_is_there(void **state)
{
    (void)state;
    nx_stream_hub *hub = nx_stream_hub_new();
    nx_buffer out = NX_BUFFER_INIT;
    char line[128];
    assert_non_null(hub);
    uint64_t before = nx_stream_hub_last(hub);
    assert_int_equal(nx_stream_hub_read(hub, before, ROOM, &out), before);
    assert_int_equal(out.size, 0);
    uint64_t first = nx_stream_hub_tell(hub, "state", "{}", 2);
    assert_int_equal(first, before + 1);
    (void)nx_stream_hub_tell(hub, "frame", "[1]", 3);
    assert_int_equal(nx_stream_hub_read(hub, before, ROOM, &out), first + 1);
    snprintf(line, sizeof line,
             "id: %llu\nevent: state\ndata: {}\n\nid: %llu\nevent: frame\ndata: [1]\n\n",
             (unsigned long long)first, (unsigned long long)first + 1);
    assert_string_equal(nx_buffer_cstr(&out), line);

    /* who is late gets what is left, and no number twice */
    for (int i = 0; i < 2 * NX_HUB_MESSAGES; i++) {
        (void)nx_stream_hub_tell(hub, "frame", "[]", 2);
    }
    nx_buffer_clear(&out);
    uint64_t last = nx_stream_hub_read(hub, first, ROOM, &out);
    assert_int_equal(last, nx_stream_hub_last(hub));
    snprintf(line, sizeof line, "id: %llu\n", (unsigned long long)(last - NX_HUB_MESSAGES + 1));
    assert_memory_equal(nx_buffer_cstr(&out), line, strlen(line));
    nx_buffer_clear(&out);
    assert_int_equal(nx_stream_hub_read(hub, last, ROOM, &out), last);
    assert_int_equal(out.size, 0);

    char *large = calloc(1, NX_HUB_MESSAGE_MAX + 1);
    assert_non_null(large);
    assert_int_equal(nx_stream_hub_tell(hub, "frame", large, NX_HUB_MESSAGE_MAX + 1), last + 1);
    assert_int_equal(nx_stream_hub_read(hub, last, ROOM, &out), last + 1);
    assert_int_equal(out.size, 0); /* left out */
    free(large);
    assert_false(nx_stream_hub_ended(hub));
    nx_stream_hub_end(hub);
    assert_true(nx_stream_hub_ended(hub));
    nx_buffer_free(&out);
    nx_stream_hub_release(hub);
}

static uint8_t *picture(uint32_t width, uint32_t height)
{
    uint8_t *pixels = calloc(3, (size_t)width * height);
    assert_non_null(pixels);
    return pixels;
}

/* Of messages that are more than an answer has room for each is read once, and none is skipped. */
static void messages_are_read_as_there_is_room(void **state)
{
    (void)state;
    nx_stream_hub *hub = nx_stream_hub_new();
    nx_buffer out = NX_BUFFER_INIT;
    char *large = malloc(NX_HUB_MESSAGE_MAX);
    assert_non_null(hub);
    assert_non_null(large);
    memset(large, '1', NX_HUB_MESSAGE_MAX);
    uint64_t after = nx_stream_hub_last(hub);
    for (int i = 0; i < NX_HUB_MESSAGES; i++) {
        (void)nx_stream_hub_tell(hub, "frame", large, NX_HUB_MESSAGE_MAX);
    }
    assert_int_equal(nx_stream_hub_read(hub, after, NX_HUB_MESSAGE_MAX, &out), after);
    assert_int_equal(out.size, 0);
    for (int reads = 0; after < nx_stream_hub_last(hub); reads++) {
        nx_buffer_clear(&out);
        uint64_t last = nx_stream_hub_read(hub, after, NX_HUB_MOST_ROOM, &out);
        assert_int_equal(last, after + 1);
        assert_in_range(out.size, NX_HUB_MESSAGE_MAX, NX_HUB_MOST_ROOM);
        assert_in_range(reads, 0, NX_HUB_MESSAGES);
        after = last;
    }
    free(large);
    nx_buffer_free(&out);
    nx_stream_hub_release(hub);
}

static void a_picture_is_encoded_once(void **state)
{
    (void)state;
    nx_stream_hub *hub = nx_stream_hub_new();
    nx_stream_jpeg *one = NULL;
    nx_stream_jpeg *two = NULL;
    nx_error err = {0};
    assert_int_equal(nx_stream_hub_jpeg(hub, 0, &one, &err), NX_ERR_UNAVAILABLE);
    assert_null(nx_stream_hub_show(hub, picture(16, 8), 16, 8));
    assert_int_equal(nx_stream_hub_picture(hub), 1);
    assert_int_equal(nx_stream_hub_encodings(hub), 0); /* nobody has asked */
    nx_assert_ok(nx_stream_hub_jpeg(hub, 0, &one, &err), err);
    for (int i = 0; i < 50; i++) {
        nx_assert_ok(nx_stream_hub_jpeg(hub, 0, &two, &err), err);
        assert_ptr_equal(one, two);
        nx_stream_jpeg_release(two);
    }
    assert_int_equal(one->number, 1);
    assert_int_equal(nx_stream_hub_encodings(hub), 1);
    free(nx_stream_hub_show(hub, picture(64, 32), 64, 32)); /* a larger one */
    nx_assert_ok(nx_stream_hub_jpeg(hub, 0, &two, &err), err);
    assert_int_equal(two->number, 2);
    assert_int_equal(nx_stream_hub_encodings(hub), 2);
    assert_memory_equal(one->bytes.data, "\xff\xd8", 2); /* as long as somebody has it */
    assert_memory_equal(two->bytes.data, "\xff\xd8", 2);
    nx_stream_hub *other = nx_stream_hub_retain(hub);
    nx_stream_hub_release(hub);
    assert_int_equal(nx_stream_hub_picture(other), 2);
    nx_stream_hub_release(other);
    nx_stream_hub_release(NULL);
    nx_stream_jpeg_release(one);
    nx_stream_jpeg_release(two);
    nx_stream_jpeg_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_poked_takes_nothing),
        cmocka_unit_test(the_latest_wins),
        cmocka_unit_test(the_oldest_goes),
        cmocka_unit_test(who_closes_gets_what_is_left),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(a_close_wakes_who_waits),
        cmocka_unit_test(listeners_read_what_is_there),
        cmocka_unit_test(messages_are_read_as_there_is_room),
        cmocka_unit_test(a_picture_is_encoded_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

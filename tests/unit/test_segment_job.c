/* Jobs on the real MobileSAM: what waits, shares, fails and is cancelled. tests/e2e looks at the
 * masks. */
#include "jobs.h"
#include "masks.h"

#include "base/file.h"
#include "jobs/segment_job.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <semaphore.h>

#define NEED_SAM()                                                                                 \
    do {                                                                                           \
        NX_NEED_SHARED();                                                                          \
        if (engine == NULL) {                                                                      \
            fprintf(stderr, "SKIPPED %s: no ONNX Runtime in the data folder\n", __func__);         \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

static nx_sam *sam_of(size_t cache_bytes)
{
    char encoder[4096];
    nx_error err = {0};
    nx_sam *sam = NULL;
    const nx_sam_options options = {.cache_bytes = cache_bytes};
    snprintf(encoder, sizeof encoder, "%s", nx_shared_path("models/mobile_sam_encoder.onnx"));
    nx_assert_ok(nx_sam_new(runtime, encoder, nx_shared_path("models/mobile_sam_decoder.onnx"),
                            &options, &sam, &err),
                 err);
    return sam;
}

static nx_buffer read_picture(const char *name)
{
    nx_error err = {0};
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read(nx_shared_path(name), (size_t)1 << 24, &bytes, &err), err);
    return bytes;
}

static nx_segment_job_options at(double x, double y)
{
    return (nx_segment_job_options){
        .prompt = {.points = {{x, y, true}}, .point_count = 1},
    };
}

static nx_segment_job *job_of(nx_sam *sam, const nx_buffer *picture, double x, double y)
{
    nx_error err = {0};
    nx_segment_job *job = NULL;
    const nx_segment_job_options options = at(x, y);
    nx_assert_ok(
        nx_segment_job_new(sam, engine, picture->data, picture->size, &options, &job, &err), err);
    return job;
}

/* How a job ended. */
typedef struct ending {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int count;
    nx_status status;
} ending;

#define ENDING_INIT                                                                                \
    {                                                                                              \
        .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER                        \
    }

static void ended(nx_segment_job *job, nx_status status, const nx_error *err, void *user)
{
    ending *self = user;
    (void)job;
    (void)err;
    pthread_mutex_lock(&self->lock);
    self->count++;
    self->status = status;
    pthread_cond_signal(&self->cond);
    pthread_mutex_unlock(&self->lock);
}

static nx_status wait_for(ending *self)
{
    pthread_mutex_lock(&self->lock);
    while (self->count == 0) {
        pthread_cond_wait(&self->cond, &self->lock);
    }
    assert_int_equal(self->count, 1);
    nx_status status = self->status;
    pthread_mutex_unlock(&self->lock);
    return status;
}

static void equal_pictures_are_encoded_once(void **state)
{
    (void)state;
    NEED_SAM();
    nx_sam *sam = sam_of((size_t)64 << 20);
    nx_buffer picture = read_picture("images/bus.jpg");
    nx_segment_job *jobs[4];
    ending ends[4] = {ENDING_INIT, ENDING_INIT, ENDING_INIT, ENDING_INIT};
    nx_error err = {0};
    for (size_t i = 0; i < 4; i++) {
        jobs[i] = job_of(sam, &picture, 400, 300);
        nx_assert_ok(nx_segment_job_submit(jobs[i], ended, &ends[i], &err), err);
    }
    assert_true(nx_segment_job_cancel(jobs[3])); /* it waits: the encoder is not done yet */
    assert_int_equal(wait_for(&ends[3]), NX_ERR_CANCELLED);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(wait_for(&ends[i]), NX_OK);
        nx_segment_result result = nx_segment_job_result(jobs[i]);
        assert_int_equal(result.origin, i == 0 ? NX_EMBEDDING_COMPUTED : NX_EMBEDDING_SHARED);
        assert_int_equal(result.masks->count, 1);
        assert_in_range(nx_rle_area(&result.masks->items[0].rle), 282000, 289000);
    }
    assert_int_equal(nx_embedding_cache_stats(nx_sam_cache(sam)).misses, 1);
    const nx_segment_job_options options = at(150, 650);
    nx_segment_job *again = NULL;
    const nx_content_hash id = nx_content_hash_of(picture.data, picture.size);
    nx_assert_ok(nx_segment_job_new_by_id(sam, engine, &id, &options, &again, &err), err);
    nx_assert_ok(nx_segment_job_run(again, &err), err);
    assert_int_equal(nx_segment_job_result(again).origin, NX_EMBEDDING_CACHED);
    assert_int_equal(nx_segment_job_result(again).image_width, 810);
    nx_segment_job_free(again);
    for (size_t i = 0; i < 4; i++) {
        nx_segment_job_free(jobs[i]);
    }
    nx_sam_free(sam);
    nx_buffer_free(&picture);
}

/* Says no before the mask that comes after `enough`. */
typedef struct limited {
    size_t enough, asked;
} limited;

static nx_status allow(void *user, size_t done, nx_error *err)
{
    limited *self = user;
    assert_int_equal(done, self->asked++);
    return done < self->enough ? NX_OK : nx_error_set(err, NX_ERR_CANCELLED, "enough");
}

static void writing_ends_between_masks(void **state)
{
    (void)state;
    static const char *const rows[] = {"..##", ".###", "...."};
    static const char *const keys[] = {[NX_MASK_RLE] = "\"mask\":",
                                       [NX_MASK_POLYGON] = "\"polygon\":",
                                       [NX_MASK_PNG] = "\"png\":"};
    nx_error err = {0};
    nx_mask mask = mask_of(rows, NX_COUNT(rows));
    nx_sam_masks masks = {.count = 3};
    for (size_t i = 0; i < masks.count; i++) {
        masks.items[i].rle = rle_of(&mask);
        masks.items[i].thing = i;
    }
    const nx_segment_result result = {.model = "a", .device = "cpu", .masks = &masks};
    for (size_t format = 0; format < NX_COUNT(keys); format++) {
        for (size_t enough = 0; enough <= masks.count; enough++) {
            nx_buffer text = NX_BUFFER_INIT;
            nx_json json = nx_json_begin(&text);
            limited some = {.enough = enough};
            size_t written = 0;
            nx_status status =
                nx_segment_json_members(&result, (nx_mask_format)format, allow, &some, &json, &err);
            bool all = enough == masks.count;
            assert_int_equal(status, all ? NX_OK : NX_ERR_CANCELLED);
            assert_int_equal(some.asked, all ? enough : enough + 1);
            for (const char *at = nx_buffer_cstr(&text); (at = strstr(at, keys[format])) != NULL;
                 at++) {
                written++;
            }
            assert_int_equal(written, enough);
            nx_buffer_free(&text);
        }
    }
    nx_sam_masks_free(&masks);
    nx_mask_free(&mask);
}

static void a_job_brings_its_masks_as_text(void **state)
{
    (void)state;
    NEED_SAM();
    nx_sam *sam = sam_of((size_t)64 << 20);
    nx_buffer picture = read_picture("images/bus.jpg");
    nx_segment_job_options options = at(400, 300);
    options.json =
        (nx_segment_json_options){.wanted = true, .format = NX_MASK_PNG, .name = "n", .value = "v"};
    nx_segment_job *job = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_segment_job_new(sam, engine, picture.data, picture.size, &options, &job, &err),
                 err);
    nx_assert_ok(nx_segment_job_run(job, &err), err);
    nx_buffer text = nx_segment_job_take_json(job);
    json_error_t wrong;
    json_t *document = json_loadb(text.data, text.size, 0, &wrong);
    assert_non_null(document);
    const char *value = NULL;
    const char *png = NULL;
    double total = 0;
    assert_int_equal(json_unpack(document, "{s:s, s:[{s:s}], s:{s:F}}", "n", &value, "masks", "png",
                                 &png, "timings_ms", "total", &total),
                     0);
    assert_string_equal(value, "v");
    assert_true(strncmp(png, "iVBORw0KGgo", 11) == 0); /* PNG's signature in base64 */
    assert_true(total > 0);
    json_decref(document);
    nx_buffer_free(&text);
    nx_segment_job_free(job);
    nx_sam_free(sam);
    nx_buffer_free(&picture);
}

static void damage_fails_every_job_for_the_picture(void **state)
{
    (void)state;
    NEED_SAM();
    nx_sam *sam = sam_of((size_t)64 << 20);
    nx_buffer picture = read_picture("images/odd/truncated.jpg");
    nx_segment_job *jobs[3];
    ending ends[3] = {ENDING_INIT, ENDING_INIT, ENDING_INIT};
    nx_error err = {0};
    for (size_t i = 0; i < 3; i++) {
        jobs[i] = job_of(sam, &picture, 400, 100);
        nx_assert_ok(nx_segment_job_submit(jobs[i], ended, &ends[i], &err), err);
    }
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(wait_for(&ends[i]), NX_ERR_CORRUPT);
        nx_segment_job_free(jobs[i]);
    }
    nx_sam_free(sam);
    nx_buffer_free(&picture);
}

static void wait_for_post(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0 && errno == EINTR) {
    }
}

/* Order of the jobs' ends; all are on one thread. */
typedef struct line {
    nx_segment_job *jobs[8];
    size_t order[8];
    size_t count;
} line;

static void step_out(nx_segment_job *job, nx_status status, const nx_error *err, void *user)
{
    line *self = user;
    size_t which = 0;
    (void)err;
    while (self->jobs[which] != job) {
        which++;
    }
    assert_int_equal(status, which == 0 ? NX_ERR_CANCELLED : NX_ERR_UNAVAILABLE);
    self->order[self->count++] = which;
}

typedef struct blocker {
    nx_engine_task task; /* first */
    sem_t begun, let_go, done;
} blocker;

static nx_status block(nx_engine_task *task, nx_error *err)
{
    blocker *self = (blocker *)task;
    (void)err;
    sem_post(&self->begun);
    wait_for_post(&self->let_go);
    return NX_OK;
}

static void unblocked(nx_engine_task *task, nx_status status, const nx_error *err)
{
    (void)status;
    (void)err;
    sem_post(&((blocker *)task)->done);
}

/* Before, the first woke the second inside its own failure, and so on: as deep as they are many. */
static void who_waits_fails_at_once_when_nothing_can_be_queued(void **state)
{
    (void)state;
    NEED_SAM();
    nx_sam *sam = sam_of((size_t)64 << 20);
    nx_buffer picture = read_picture("images/bus.jpg");
    nx_engine *narrow = NULL;
    nx_error err = {0};
    line all = {0};
    blocker held = {.task = {.execute = block, .done = unblocked}};
    const nx_engine_options one = {.workers = 1, .runtime = runtime};
    const nx_segment_job_options options = at(400, 300);
    nx_assert_ok(nx_engine_new(&one, &narrow, &err), err);
    sem_init(&held.begun, 0, 0);
    sem_init(&held.let_go, 0, 0);
    sem_init(&held.done, 0, 0);
    nx_assert_ok(nx_engine_submit(narrow, &held.task, &err), err);
    wait_for_post(&held.begun);
    for (size_t i = 0; i < NX_COUNT(all.jobs); i++) {
        nx_assert_ok(nx_segment_job_new(sam, narrow, picture.data, picture.size, &options,
                                        &all.jobs[i], &err),
                     err);
        nx_assert_ok(nx_segment_job_submit(all.jobs[i], step_out, &all, &err), err);
    }
    assert_false(nx_engine_drain(narrow, 1)); /* from now on it takes no more */
    assert_true(nx_segment_job_cancel(all.jobs[0]));
    assert_int_equal(all.count, NX_COUNT(all.jobs));
    /* the second tried, and failed last of all that wait; the first told them before it ended */
    for (size_t i = 0; i + 2 < NX_COUNT(all.jobs); i++) {
        assert_int_equal(all.order[i], i + 2);
    }
    assert_int_equal(all.order[NX_COUNT(all.jobs) - 2], 1);
    assert_int_equal(all.order[NX_COUNT(all.jobs) - 1], 0);
    sem_post(&held.let_go);
    wait_for_post(&held.done);
    nx_engine_free(narrow);
    for (size_t i = 0; i < NX_COUNT(all.jobs); i++) {
        nx_segment_job_free(all.jobs[i]);
    }
    sem_destroy(&held.begun);
    sem_destroy(&held.let_go);
    sem_destroy(&held.done);
    nx_sam_free(sam);
    nx_buffer_free(&picture);
}

static void a_job_says_what_it_cannot_do(void **state)
{
    (void)state;
    NEED_SAM();
    nx_sam *sam = sam_of((size_t)64 << 20);
    nx_buffer picture = read_picture("images/bus.jpg");
    nx_segment_job *job = NULL;
    nx_error err = {0};
    nx_segment_job_options options = at(811, 5);
    const nx_content_hash id = nx_content_hash_of(picture.data, picture.size);
    assert_int_equal(
        nx_segment_job_new(sam, engine, picture.data, picture.size, &options, &job, &err),
        NX_ERR_INVALID);
    assert_int_equal(nx_segment_job_new_by_id(sam, engine, &id, &options, &job, &err),
                     NX_ERR_NOT_FOUND);
    assert_int_equal(nx_segment_job_new(sam, engine, "text", 4, &options, &job, &err),
                     NX_ERR_UNSUPPORTED);
    assert_null(job);
    options = at(5, 5);
    options.deadline_ns = 1; /* long past */
    nx_assert_ok(nx_segment_job_new(sam, engine, picture.data, picture.size, &options, &job, &err),
                 err);
    assert_int_equal(nx_segment_job_run(job, &err), NX_ERR_TIMEOUT);
    nx_segment_job_free(job);
    nx_sam_free(sam);
    nx_buffer_free(&picture);
}

static void other_graphs_are_refused(void **state)
{
    (void)state;
    NEED_SAM();
    char path[4096];
    nx_error err = {0};
    nx_sam *sam = NULL;
    const nx_sam_options options = {.cache_bytes = 0};
    nx_buffer picture = read_picture("images/bus.jpg");
    snprintf(path, sizeof path, "%s", nx_shared_path("models/yolov8n.onnx"));
    nx_assert_ok(nx_sam_new(runtime, path, path, &options, &sam, &err), err);
    nx_segment_job *job = job_of(sam, &picture, 5, 5);
    assert_int_equal(nx_segment_job_run(job, &err), NX_ERR_UNSUPPORTED);
    nx_assert_contains(err.message, "not a network of SAM");
    nx_segment_job_free(job);
    nx_sam_free(sam);
    nx_buffer_free(&picture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_pictures_are_encoded_once),
        cmocka_unit_test(writing_ends_between_masks),
        cmocka_unit_test(a_job_brings_its_masks_as_text),
        cmocka_unit_test(damage_fails_every_job_for_the_picture),
        cmocka_unit_test(who_waits_fails_at_once_when_nothing_can_be_queued),
        cmocka_unit_test(a_job_says_what_it_cannot_do),
        cmocka_unit_test(other_graphs_are_refused),
    };
    return cmocka_run_group_tests_name("segment_job", tests, jobs_setup, jobs_teardown);
}

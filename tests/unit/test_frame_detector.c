/* Frames through a real engine: in order, at the frames' own places, with a queue that is full. */
#include "jobs.h"
#include "pictures.h"

#include "base/file.h"
#include "jobs/frame_detector.h"
#include "jobs/image_job.h"
#include "media/codec.h"

#include <math.h>
#include <pthread.h>

/* Of a seeing tiny model (models.h): a white picture gives boxes, a black one none. */
static nx_model *seeing_model(void **state)
{
    const tiny_model seeing = TINY_YOLOV8;
    return models_open(runtime, tiny_model_write(state, "seeing.onnx", &seeing));
}

static nx_frame_detector *detector_of(nx_engine *e, nx_model *model, uint32_t width,
                                      uint32_t height, uint32_t window, const atomic_bool *stop)
{
    const nx_frame_detector_options options = {
        .source_width = width,
        .source_height = height,
        .postprocess = nx_postprocess_defaults(),
        .priority = NX_PRIORITY_BATCH,
        .window = window,
        .stop = stop,
    };
    nx_frame_detector *detector = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_frame_detector_new(e, model, &options, &detector, &err), err);
    return detector;
}

static uint8_t *plain_frame(const nx_frame_detector *detector, uint8_t level)
{
    uint32_t width = 0;
    uint32_t height = 0;
    nx_frame_detector_size(detector, &width, &height);
    uint8_t *pixels = malloc((size_t)3 * width * height);
    assert_non_null(pixels);
    memset(pixels, level, (size_t)3 * width * height);
    return pixels;
}

/* Which frames are white is told by the number's bits. */
static bool is_white(uint32_t number)
{
    return (number * 2654435761U >> 28) % 3 == 0;
}

static void results_come_in_order(void **state)
{
    NX_NEED_RUNTIME();
    nx_model *model = seeing_model(state);
    nx_frame_detector *detector = detector_of(engine, model, 128, 128, 0, NULL);
    uint8_t *white = plain_frame(detector, 255);
    uint8_t *black = plain_frame(detector, 0);
    uint32_t sent = 0;
    nx_error err = {0};
    for (uint32_t got = 0; got < 300; got++) {
        while (sent < 300 && nx_frame_detector_has_room(detector)) {
            nx_assert_ok(nx_frame_detector_submit(detector, is_white(sent) ? white : black, &err),
                         err);
            sent++;
        }
        const nx_detections *found = NULL;
        assert_int_equal(nx_frame_detector_pending(detector), sent - got);
        nx_assert_ok(nx_frame_detector_take(detector, &found, &err), err);
        assert_int_equal(found->count > 0, is_white(got));
    }
    nx_frame_detector_free(detector);
    free(white);
    free(black);
    nx_model_free(model);
}

/* The same picture as a frame and as a JPEG: the boxes are in pixels of the video. */
static void a_frame_is_seen_as_a_picture_is(void **state)
{
    (void)state;
    NX_NEED_YOLOV8N();
    NX_NEED_SHARED();
    nx_error err = {0};
    nx_model *model = models_open(runtime, models_data_path("models/yolov8n.onnx"));
    nx_frame_detector *detector = detector_of(engine, model, 810, 1080, 0, NULL);
    uint32_t width = 0;
    uint32_t height = 0;
    nx_frame_detector_size(detector, &width, &height);
    assert_int_equal(width, 480);
    assert_int_equal(height, 640);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read(nx_shared_path("images/bus.jpg"), 1 << 22, &bytes, &err), err);
    nx_image image = {0};
    const nx_decode_options decode = {0};
    nx_assert_ok(nx_image_decode(bytes.data, bytes.size, &decode, &image, NULL, &err), err);
    const nx_letterbox scale = nx_letterbox_fit(810, 1080, width, height, true);
    uint8_t *pixels = malloc((size_t)3 * width * height);
    assert_non_null(pixels);
    nx_assert_ok(nx_letterbox_apply(&scale, &image, NX_PIXELS_RGB_BYTE_NHWC, pixels, &err), err);
    nx_assert_ok(nx_frame_detector_submit(detector, pixels, &err), err);
    const nx_detections *found = NULL;
    nx_assert_ok(nx_frame_detector_take(detector, &found, &err), err);

    nx_image_job *job = NULL;
    const nx_image_job_options options = {.postprocess = nx_postprocess_defaults()};
    nx_assert_ok(nx_image_job_new(model, bytes.data, bytes.size, &options, &job, &err), err);
    nx_assert_ok(nx_image_job_run(job, engine, &err), err);
    const nx_result picture = nx_image_job_result(job);
    assert_int_equal(found->count, picture.count);
    for (size_t i = 0; i < found->count; i++) {
        assert_int_equal(found->items[i].class_id, picture.detections[i].class_id);
        assert_true(fabsf(found->items[i].x1 - picture.detections[i].x1) < 0.5F);
        assert_true(fabsf(found->items[i].y2 - picture.detections[i].y2) < 0.5F);
        assert_true(fabsf(found->items[i].confidence - picture.detections[i].confidence) < 0.01F);
    }
    nx_image_job_free(job);
    nx_frame_detector_free(detector);
    nx_image_free(&image);
    nx_buffer_free(&bytes);
    free(pixels);
    nx_model_free(model);
}

/* Several videos on an engine whose queue holds two: each goes on, none is refused. */
typedef struct video {
    nx_engine *engine;
    nx_model *model;
    uint32_t done;
    bool failed;
} video;

static void *run_video(void *argument)
{
    video *self = argument;
    nx_frame_detector *detector = detector_of(self->engine, self->model, 64, 64, 3, NULL);
    uint8_t *white = plain_frame(detector, 255);
    nx_error err = {0};
    uint32_t sent = 0;
    while (self->done < 100 && !self->failed) {
        while (sent < 100 && nx_frame_detector_has_room(detector)) {
            self->failed |= nx_frame_detector_submit(detector, white, &err) != NX_OK;
            sent++;
        }
        const nx_detections *found = NULL;
        self->failed |= nx_frame_detector_take(detector, &found, &err) != NX_OK;
        self->done++;
    }
    nx_frame_detector_free(detector);
    free(white);
    return NULL;
}

static void a_full_queue_is_waited_for(void **state)
{
    NX_NEED_RUNTIME();
    nx_engine *small = NULL;
    nx_error err = {0};
    const nx_engine_options options = {.workers = 1, .queue_size = 2, .runtime = runtime};
    nx_assert_ok(nx_engine_new(&options, &small, &err), err);
    nx_model *model = seeing_model(state);
    video videos[4];
    pthread_t threads[4];
    for (size_t i = 0; i < NX_COUNT(videos); i++) {
        videos[i] = (video){.engine = small, .model = model};
        assert_int_equal(pthread_create(&threads[i], NULL, run_video, &videos[i]), 0);
    }
    for (size_t i = 0; i < NX_COUNT(videos); i++) {
        pthread_join(threads[i], NULL);
        assert_false(videos[i].failed);
        assert_int_equal(videos[i].done, 100);
    }
    nx_engine_free(small);
    nx_model_free(model);
}

static void stopping_and_leaving_lose_nothing(void **state)
{
    NX_NEED_RUNTIME();
    nx_model *model = seeing_model(state);
    nx_error err = {0};
    atomic_bool stop = false;
    nx_frame_detector *detector = detector_of(engine, model, 64, 64, 4, &stop);
    uint8_t *white = plain_frame(detector, 255);
    for (int i = 0; i < 4; i++) {
        nx_assert_ok(nx_frame_detector_submit(detector, white, &err), err);
    }
    assert_false(nx_frame_detector_has_room(detector));
    const nx_detections *found = NULL;
    nx_assert_ok(nx_frame_detector_take(detector, &found, &err), err);
    atomic_store(&stop, true);
    assert_int_equal(nx_frame_detector_submit(detector, white, &err), NX_ERR_CANCELLED);
    nx_frame_detector_free(detector); /* three are on their way */
    nx_frame_detector_free(NULL);
    const nx_frame_detector_options none = {.postprocess = nx_postprocess_defaults()};
    assert_int_equal(nx_frame_detector_new(engine, model, &none, &detector, &err), NX_ERR_INVALID);
    assert_null(detector);
    free(white);
    nx_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_come_in_order),
        cmocka_unit_test(a_frame_is_seen_as_a_picture_is),
        cmocka_unit_test(a_full_queue_is_waited_for),
        cmocka_unit_test(stopping_and_leaving_lose_nothing),
    };
    return cmocka_run_group_tests(tests, jobs_setup, jobs_teardown);
}

/*
 * Videos from file to results: a real decoder child, a real engine, small models. Above all: a run
 * that is stopped at any checkpoint and goes on elsewhere ends with the same bytes.
 */
#include "jobs.h"
#include "walk.h"

#include "base/file.h"
#include "jobs/frame_log.h"
#include "jobs/video_results.h"
#include "jobs/video_run.h"
#include "media/video_reader.h"

#include <fcntl.h>
#include <sys/stat.h>

/* --- one run ------------------------------------------------------------------------------------
 */

typedef struct keeper {
    uint64_t stop_at; /* ends the run behind the checkpoint of so many frames; 0: never */
    nx_buffer state;  /* of the last checkpoint */
    uint64_t log_bytes;
    uint64_t checkpoints;
    uint64_t progressed;
} keeper;

static nx_status keep(const nx_video_checkpoint *checkpoint, void *user, nx_error *err)
{
    keeper *k = user;
    nx_buffer_clear(&k->state);
    nx_buffer_append(&k->state, checkpoint->state, checkpoint->state_size);
    k->log_bytes = checkpoint->log_bytes;
    k->checkpoints++;
    assert_int_equal(checkpoint->progress.frames % NX_VIDEO_PART_FRAMES, 0);
    return checkpoint->progress.frames == k->stop_at
               ? nx_error_set(err, NX_ERR_CONFLICT, "the lease is lost")
               : NX_OK;
}

static void note(const nx_video_progress *progress, void *user)
{
    keeper *k = user;
    assert_true(progress->frames > k->progressed);
    k->progressed = progress->frames;
}

typedef struct setting {
    nx_model *model;
    nx_video_spec spec;
    char *video;
    char log[PATH_MAX];
} setting;

static setting begin(void **state, const char *spec)
{
    setting s = {.model = models_open(runtime, walk_model(state)), .video = walk_video(state)};
    nx_error err = {0};
    nx_assert_ok(nx_video_spec_parse(spec, strlen(spec), &s.spec, &err), err);
    snprintf(s.log, sizeof s.log, "%s", scratch_path(state, "frames.ndjson.zst"));
    return s;
}

static void end(setting *s)
{
    nx_video_spec_free(&s->spec);
    nx_model_free(s->model);
    free(s->video);
}

static nx_status run(const setting *s, keeper *k, const atomic_bool *stop, nx_video_outcome *out,
                     nx_error *err)
{
    int fd = open(s->video, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    nx_buffer from = k->state; /* it is written over meanwhile */
    k->state = (nx_buffer)NX_BUFFER_INIT;
    k->progressed = 0;
    const nx_video_run_options options = {
        .engine = engine,
        .model = s->model,
        .spec = &s->spec,
        .postprocess = nx_postprocess_defaults(),
        .priority = NX_PRIORITY_BATCH,
        .fd = fd,
        .name = "video.mp4",
        .log_path = s->log,
        .stop = stop,
        .state = from.size > 0 ? from.data : NULL,
        .state_size = from.size,
        .log_bytes = k->log_bytes,
        .progress = note,
        .checkpoint = keep,
        .user = k,
    };
    nx_status status = nx_video_run(&options, out, err);
    nx_buffer_free(&from);
    close(fd);
    return status;
}

static nx_buffer bytes_of(const char *path)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_assert_ok(nx_file_read(path, 1 << 26, &bytes, &err), err);
    return bytes;
}

/* --- tests --------------------------------------------------------------------------------------
 */

#define PLACES                                                                                     \
    "\"zones\":[{\"name\":\"left\",\"polygon\":[[0,0],[0.5,0],[0.5,1],[0,1]]}],"                   \
    "\"lines\":[{\"name\":\"middle\",\"from\":[0.5,1],\"to\":[0.5,0]}]"

static const char *const specs[] = {
    "{\"confidence\":0.3}",
    "{\"track\":false}",
    "{\"stride\":2}",
    "{\"fps\":10,\"confidence\":0.3}",
    "{\"confidence\":0.3," PLACES "}",
    "{\"confidence\":0.3,\"motion_gate\":true," PLACES "}",
    "{\"confidence\":0.3,\"adaptive_stride\":true," PLACES "}",
    "{\"confidence\":0.3,\"adaptive_stride\":true,\"motion_gate\":true}",
};

static void a_run_that_goes_on_gives_the_same_bytes(void **state)
{
    NX_NEED_RUNTIME();
    for (size_t i = 0; i < NX_COUNT(specs); i++) {
        setting s = begin(state, specs[i]);
        nx_error err = {0};
        nx_video_outcome whole;
        nx_video_outcome again;
        keeper k = {0};
        nx_assert_ok(run(&s, &k, NULL, &whole, &err), err);
        nx_buffer expected = bytes_of(s.log);
        assert_int_equal(whole.log_bytes, expected.size);
        assert_int_equal(k.checkpoints, whole.progress.frames / NX_VIDEO_PART_FRAMES);
        for (uint64_t stop = 100; stop <= whole.progress.frames; stop += 100) {
            nx_buffer_free(&k.state);
            k = (keeper){.stop_at = stop};
            assert_int_equal(run(&s, &k, NULL, &again, &err), NX_ERR_CONFLICT);
            k.stop_at = 0;
            nx_assert_ok(run(&s, &k, NULL, &again, &err), err);
            nx_buffer got = bytes_of(s.log);
            assert_int_equal(got.size, expected.size);
            assert_memory_equal(got.data, expected.data, got.size);
            assert_int_equal(again.progress.frames, whole.progress.frames);
            assert_int_equal(again.progress.inferred, whole.progress.inferred);
            nx_buffer_free(&got);
        }
        nx_buffer_free(&expected);
        nx_buffer_free(&k.state);
        end(&s);
    }
}

static void strides_gates_and_rates_look_at_fewer_frames(void **state)
{
    NX_NEED_RUNTIME();
    static const struct {
        const char *spec;
        uint64_t frames, least, most; /* looked at */
    } cases[] = {
        {"{}", FRAMES, FRAMES, FRAMES},
        {"{\"stride\":3}", 84, 84, 84},
        {"{\"fps\":5}", 50, 50, 50},
        {"{\"motion_gate\":true}", FRAMES, 150, 230}, /* it rests for 60 frames */
        {"{\"adaptive_stride\":true}", FRAMES, 50, 240},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        setting s = begin(state, cases[i].spec);
        nx_error err = {0};
        nx_video_outcome outcome;
        keeper k = {0};
        nx_assert_ok(run(&s, &k, NULL, &outcome, &err), err);
        assert_int_equal(outcome.progress.frames, cases[i].frames);
        assert_int_equal(outcome.progress.frames_total, cases[i].frames);
        if (outcome.progress.inferred < cases[i].least ||
            outcome.progress.inferred > cases[i].most) {
            fail_msg("%s: %d frames were looked at", cases[i].spec, (int)outcome.progress.inferred);
        }
        nx_buffer_free(&k.state);
        end(&s);
    }
}

/* Opens the results folder's file. */
static nx_buffer result(void **state, nx_video_output output)
{
    return bytes_of(scratch_path(state, nx_video_output_file(output)));
}

static nx_status write_results(void **state, const setting *s, const nx_video_outcome *outcome,
                               const char *error, nx_error *err)
{
    int fd = open(s->video, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    const nx_video_results_options options = {
        .folder = *state,
        .spec = &s->spec,
        .outcome = outcome,
        .model = nx_model_get_spec(s->model),
        .source = "walk.mp4",
        .fd = fd,
        .error = error,
    };
    nx_status status = nx_video_results_write(&options, err);
    close(fd);
    return status;
}

static void every_file_is_written(void **state)
{
    NX_NEED_RUNTIME();
    setting s = begin(state, "{\"confidence\":0.3,\"counts_every\":1,\"outputs\":[\"csv\",\"coco\","
                             "\"mot\",\"counts\",\"heatmap\",\"video\"]," PLACES "}");
    nx_error err = {0};
    nx_video_outcome outcome;
    keeper k = {0};
    nx_assert_ok(run(&s, &k, NULL, &outcome, &err), err);
    nx_assert_ok(write_results(state, &s, &outcome, NULL, &err), err);
    nx_buffer summary = result(state, NX_VIDEO_SUMMARY);
    nx_assert_contains(nx_buffer_cstr(&summary), "{\"source\":\"walk.mp4\",\"video\":{");
    nx_assert_contains(nx_buffer_cstr(&summary), "\"codec\":\"h264\",\"width\":128");
    nx_assert_contains(nx_buffer_cstr(&summary), "\"complete\":true,");
    nx_assert_contains(nx_buffer_cstr(&summary), "\"frames\":250,\"frames_inferred\":250,");
    nx_assert_contains(nx_buffer_cstr(&summary), "\"name\":\"left\"");
    nx_buffer first[NX_VIDEO_OUTPUTS];
    for (int i = 0; i < NX_VIDEO_OUTPUTS; i++) {
        first[i] = result(state, (nx_video_output)i);
        assert_true(first[i].size > 2);
    }
    assert_memory_equal(first[NX_VIDEO_CSV].data, "frame,time,", 11);
    assert_memory_equal(first[NX_VIDEO_COCO].data, "[{\"image_id\":", 13);
    assert_memory_equal(first[NX_VIDEO_HEATMAP].data, "\x89PNG", 4);
    assert_memory_equal(first[NX_VIDEO_COUNTS].data, "from,to,kind", 12);
    /* the same record gives the same files */
    nx_assert_ok(write_results(state, &s, &outcome, NULL, &err), err);
    for (int i = 0; i < NX_VIDEO_OUTPUTS; i++) {
        nx_buffer again = result(state, (nx_video_output)i);
        assert_int_equal(again.size, first[i].size);
        assert_memory_equal(again.data, first[i].data, again.size);
        nx_buffer_free(&again);
        nx_buffer_free(&first[i]);
    }
    nx_video_reader *reader = NULL;
    nx_assert_ok(nx_video_reader_open(scratch_path(state, "annotated.mp4"), 0, &reader, &err), err);
    assert_int_equal(nx_video_reader_info(reader)->frames, FRAMES);
    assert_int_equal(nx_video_reader_info(reader)->width, WIDTH);
    nx_video_reader_free(reader);
    nx_buffer_free(&summary);
    nx_buffer_free(&k.state);
    end(&s);
}

/* What was seen before a file is cut short is kept, and why it ends is said. */
static void a_damaged_video_keeps_what_was_seen(void **state)
{
    NX_NEED_RUNTIME();
    setting s = begin(state, "{\"confidence\":0.3,\"outputs\":[\"csv\"]}");
    nx_error err = {0};
    nx_video_outcome outcome;
    keeper k = {0};
    nx_buffer bytes = bytes_of(s.video);
    memset(bytes.data + bytes.size * 3 / 5, 0xff, bytes.size * 2 / 5);
    free(s.video);
    s.video = strdup(scratch_write(state, "damaged.mp4", bytes.data, bytes.size));
    nx_status status = run(&s, &k, NULL, &outcome, &err);
    assert_true(status != NX_OK || outcome.damaged > 0);
    assert_true(outcome.progress.frames > 20);
    if (status != NX_OK) {
        nx_assert_contains(err.message, "video.mp4");
    }
    nx_assert_ok(write_results(state, &s, &outcome, status != NX_OK ? err.message : NULL, &err),
                 err);
    nx_frame_log_reader *reader = NULL;
    nx_frame_record record;
    bool last = false;
    uint64_t frames = 0;
    nx_assert_ok(nx_frame_log_reader_open(s.log, outcome.log_bytes, &reader, &err), err);
    for (;; frames++) {
        nx_assert_ok(nx_frame_log_next(reader, &record, &last, &err), err);
        if (last) {
            break;
        }
    }
    assert_int_equal(frames, outcome.progress.frames);
    nx_frame_log_reader_free(reader);
    nx_buffer_free(&bytes);
    nx_buffer_free(&k.state);
    end(&s);
}

static void what_is_wrong_is_told(void **state)
{
    NX_NEED_RUNTIME();
    static const struct {
        const char *spec, *told;
    } cases[] = {
        {"{\"classes\":[\"unicorn\"]}", "unicorn"},
        {"{\"zones\":[{\"name\":\"a\",\"polygon\":[[0,0],[2,0],[0,1]]}]}", "zones[0]"},
        {"{\"lines\":[{\"name\":\"a\",\"from\":[0,0]}]}", "lines[0]"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        setting s = begin(state, cases[i].spec);
        nx_error err = {0};
        nx_video_outcome outcome;
        keeper k = {0};
        assert_int_equal(run(&s, &k, NULL, &outcome, &err), NX_ERR_INVALID);
        nx_assert_contains(err.message, cases[i].told);
        end(&s);
    }
    setting s = begin(state, "{}");
    nx_error err = {0};
    nx_video_outcome outcome;
    keeper k = {0};
    const atomic_bool stop = true;
    assert_int_equal(run(&s, &k, &stop, &outcome, &err), NX_ERR_CANCELLED);
    nx_buffer_append_str(&k.state, "NXVIDRUN and nothing of use");
    assert_int_equal(run(&s, &k, NULL, &outcome, &err), NX_ERR_UNSUPPORTED);
    nx_buffer_append_str(&k.state, "else");
    assert_int_equal(run(&s, &k, NULL, &outcome, &err), NX_ERR_CORRUPT);
    nx_buffer_free(&k.state);
    end(&s);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_goes_on_gives_the_same_bytes),
        cmocka_unit_test(strides_gates_and_rates_look_at_fewer_frames),
        cmocka_unit_test(every_file_is_written),
        cmocka_unit_test(a_damaged_video_keeps_what_was_seen),
        cmocka_unit_test(what_is_wrong_is_told),
    };
    return cmocka_run_group_tests(tests, jobs_setup, jobs_teardown);
}

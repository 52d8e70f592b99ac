/* A decoder that can't keep up with its camera: GStreamer's RTSP server, and nobody who takes the
 * frames for a while. */
#include "videos.h"

#include "base/clock.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define PYTHON "/usr/bin/python3" /* Debian's, whose packages have GStreamer */
#define SCRIPT "tests/e2e/lib/rtsp_server.py"
#define FPS    10
#define FRAME  ((int64_t)NX_NS_PER_SEC / FPS)
#define AWAY   (2 * NX_NS_PER_SEC)
#define LONG   (60 * NX_NS_PER_SEC)

#define NEED_RTSP()                                                                                \
    do {                                                                                           \
        NX_NEED_FFMPEG();                                                                          \
        if (system(PYTHON " -c 'import gi; gi.require_version(\"GstRtspServer\", \"1.0\")' "       \
                          "2>/dev/null") != 0) { /* NOLINT(cert-env33-c) */                        \
            fprintf(stderr, "SKIPPED %s: no RTSP server (scripts/bootstrap test)\n", __func__);    \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

typedef struct camera {
    pid_t process;
    char url[64];
} camera;

static camera start_camera(const char *film)
{
    camera self = {0};
    int out[2];
    char text[64] = "";
    unsigned port = 0;
    pid_t parent = getpid();
    assert_int_equal(pipe(out), 0);
    self.process = fork();
    assert_true(self.process >= 0);
    if (self.process == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || dup2(out[1], STDOUT_FILENO) < 0) {
            _exit(126);
        }
        close(out[0]);
        close(out[1]);
        execl(PYTHON, PYTHON, SCRIPT, film, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *said = fdopen(out[0], "r");
    assert_non_null(said);
    assert_non_null(fgets(text, sizeof text, said));
    fclose(said);
    assert_int_equal(sscanf(text, "port %u", &port), 1); /* NOLINT(cert-err34-c) */
    snprintf(self.url, sizeof self.url, "rtsp://127.0.0.1:%u/cam", port);
    return self;
}

static void stop_camera(const camera *self)
{
    kill(self->process, SIGKILL);
    assert_int_equal(waitpid(self->process, NULL, 0), self->process);
}

/* Takes frames for so long by the camera's clock; returns the last one. */
static nx_decoder_frame take_for(nx_decoder *decoder, int64_t ns)
{
    nx_decoder_frame frame = {0};
    nx_error err = {0};
    int64_t first_ns = -1;
    int64_t last_ns = -1;
    do {
        bool end = false;
        nx_assert_ok(nx_decoder_next(decoder, &frame, &end, &err), err);
        assert_false(end);
        assert_true(frame.pts_ns > last_ns);
        first_ns = first_ns < 0 ? frame.pts_ns : first_ns;
        last_ns = frame.pts_ns;
    } while (last_ns - first_ns < ns);
    return frame;
}

/* Frames that were passed over when nobody took any for a while. Whether or not, times stay those
 * of the camera, and each frame is counted. */
static uint64_t frames_late(const char *film, bool catch_up)
{
    const camera self = start_camera(film);
    const nx_decoder_live live = {.url = self.url, .connect_ns = LONG, .silence_ns = LONG};
    const nx_decoder_options options = {.catch_up = catch_up};
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_decoder_open_live(&live, "gate", &options, &decoder, &err), err);
    const nx_decoder_frame before = take_for(decoder, 3 * NX_NS_PER_SEC); /* two key frames */
    assert_int_equal(before.late, 0);
    const struct timespec away = {.tv_sec = AWAY / NX_NS_PER_SEC};
    assert_int_equal(nanosleep(&away, NULL), 0); /* the camera goes on meanwhile */
    const nx_decoder_frame after = take_for(decoder, 4 * NX_NS_PER_SEC);
    assert_true(llabs((after.pts_ns - before.pts_ns) -
                      (int64_t)(after.index - before.index) * FRAME) < FRAME);
    nx_decoder_free(decoder);
    stop_camera(&self);
    return after.late;
}

static void what_waited_too_long_is_passed_over(void **state)
{
    NEED_RTSP();
    const char *film = make_video(state, "film.mp4",
                                  "-f lavfi -i testsrc2=size=128x96:rate=10:duration=60 "
                                  "-pix_fmt yuv420p -c:v libx264 -g 10 -bf 0");
    uint64_t late = frames_late(film, true);
    assert_in_range(late, 1, (AWAY + NX_NS_PER_SEC) / FRAME);
    assert_int_equal(frames_late(film, false), 0);
}

/* Until the next of them the camera would seem to hang. */
static void rare_key_frames_are_not_waited_for(void **state)
{
    NEED_RTSP();
    const char *film = make_video(state, "rare.mp4",
                                  "-f lavfi -i testsrc2=size=128x96:rate=10:duration=60 "
                                  "-pix_fmt yuv420p -c:v libx264 -g 100 -bf 0");
    assert_int_equal(frames_late(film, true), 0);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_waited_too_long_is_passed_over),
        cmocka_unit_test(rare_key_frames_are_not_waited_for),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

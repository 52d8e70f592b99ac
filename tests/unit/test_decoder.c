/* The decoder as its caller sees it: frames, sizes, choices, and a child that comes to harm. */
#include "videos.h"

#include "media/video_reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CARS "videos/car-detection.mp4"

static nx_decoder *open_cars(const nx_decoder_options *options)
{
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_decoder_open(nx_shared_path(CARS), options, &decoder, &err), err);
    nx_assert_ok(nx_decoder_set_size(decoder, 96, 54, &err), err);
    return decoder;
}

static void files_say_what_they_hold(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const struct {
        const char *path, *codec;
        uint32_t width, height;
        double fps, seconds;
        uint64_t frames;
    } cases[] = {
        {CARS, "h264", 768, 432, 12.5, 30.16, 377},
        {"videos/traffic-1080p.mp4", "h264", 1920, 1080, 30, 10.4, 312},
        {"videos/traffic-1080p-vp9-aac.mp4", "vp9", 1920, 1080, 30, 10.4, 312},
        {"videos/pets09-s2l1.mp4", "h264", 768, 576, 10, 79.5, 795},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_decoder *decoder = NULL;
        nx_error err = {0};
        nx_assert_ok(nx_decoder_open(nx_shared_path(cases[i].path), NULL, &decoder, &err), err);
        const nx_decoder_info *info = nx_decoder_get_info(decoder);
        assert_string_equal(info->codec, cases[i].codec);
        assert_string_equal(info->container, "mov");
        assert_int_equal(info->width, cases[i].width);
        assert_int_equal(info->height, cases[i].height);
        assert_int_equal(info->frames, cases[i].frames);
        assert_int_equal(info->rotation, 0);
        assert_true(info->fps > cases[i].fps * 0.99 && info->fps < cases[i].fps * 1.01);
        double seconds = (double)info->duration_ns / 1e9;
        assert_true(seconds > cases[i].seconds * 0.99 && seconds < cases[i].seconds * 1.01);
        nx_decoder_free(decoder);
    }
    nx_decoder_free(NULL);
}

/* The very frames that the reader of this process gives, scaled by the very same filter. */
static void frames_are_those_of_the_reader(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    enum { WIDTH = 200, HEIGHT = 112 };
    static uint8_t expected[WIDTH * HEIGHT * 3];
    nx_decoder *decoder = open_cars(NULL);
    nx_video_reader *reader = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_video_reader_open(nx_shared_path(CARS), 0, &reader, &err), err);
    nx_assert_ok(nx_decoder_set_size(decoder, WIDTH, HEIGHT, &err), err);
    nx_letterbox box = nx_letterbox_fit(768, 432, WIDTH, HEIGHT, true);
    box.top = box.left = 0;
    box.width = WIDTH;
    box.height = HEIGHT;
    for (uint64_t i = 0; i <= 377; i++) {
        nx_decoder_frame frame = {.width = 7};
        nx_yuv_frame yuv = {0};
        bool end = false;
        bool reader_end = false;
        nx_assert_ok(nx_decoder_next(decoder, &frame, &end, &err), err);
        nx_assert_ok(nx_video_reader_next(reader, &yuv, &reader_end, &err), err);
        assert_int_equal(end, i == 377);
        assert_int_equal(reader_end, i == 377);
        if (end) {
            assert_int_equal(frame.width, 7);
            break;
        }
        assert_int_equal(frame.index, i);
        assert_true(llabs(frame.pts_ns - (int64_t)(i * 80000000)) < 1000000);
        if (i % 25 == 0) {
            nx_assert_ok(
                nx_letterbox_apply_yuv(&box, &yuv, NX_PIXELS_RGB_BYTE_NHWC, expected, &err), err);
            assert_memory_equal(frame.pixels, expected, sizeof expected);
        }
    }
    nx_decoder_frame frame;
    bool end = false; /* and the end stays the end */
    nx_assert_ok(nx_decoder_next(decoder, &frame, &end, &err), err);
    assert_true(end);
    assert_int_equal(nx_decoder_pid(decoder), 0);
    assert_int_equal(nx_decoder_damaged(decoder), 0);
    nx_decoder_free(decoder);
    nx_video_reader_free(reader);
}

static void every_so_many_frames(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    const char *path = nx_shared_path(CARS);
    clip *all = decode_whole(path, NULL, 96, 54);
    assert_int_equal(all->count, 377);
    static const uint32_t strides[] = {2, 7, 400};
    for (size_t s = 0; s < NX_COUNT(strides); s++) {
        uint32_t stride = strides[s];
        clip *some = decode_whole(path, &(nx_decoder_options){.stride = stride}, 96, 54);
        assert_int_equal(some->count, (377 + stride - 1) / stride);
        for (size_t i = 0; i < some->count; i++) {
            assert_same_frame(some, i, all, i * stride);
        }
        free(some);
    }
    /* 12.5 a second: two a second are the first at or behind each half */
    clip *timed = decode_whole(path, &(nx_decoder_options){.fps = 2}, 96, 54);
    assert_int_equal(timed->count, 61);
    for (size_t i = 0; i < timed->count; i++) {
        size_t index = (size_t)timed->frames[i].index;
        assert_same_frame(timed, i, all, index);
        assert_int_equal((int64_t)((double)timed->frames[i].pts_ns / 5e8), i);
    }
    free(timed);
    clip *fast = decode_whole(path, &(nx_decoder_options){.fps = 100, .threads = 2}, 96, 54);
    assert_int_equal(fast->count, 377);
    for (size_t i = 0; i < fast->count; i++) {
        assert_same_frame(fast, i, all, i);
    }
    free(fast);
    free(all);
}

static void sizes_are_as_asked(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const struct {
        uint32_t max_width, max_height, width, height;
    } cases[] = {{0, 0, 768, 432},   {640, 0, 640, 360}, {640, 640, 640, 360},
                 {0, 100, 178, 100}, {101, 99, 101, 57}, {4000, 3000, 768, 432},
                 {1, 1, 1, 1}};
    nx_error err = {0};
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_decoder *decoder = NULL;
        const nx_decoder_options options = {.max_width = cases[i].max_width,
                                            .max_height = cases[i].max_height};
        nx_assert_ok(nx_decoder_open(nx_shared_path(CARS), &options, &decoder, &err), err);
        nx_decoder_frame frame;
        bool end = false;
        uint32_t width = 0;
        uint32_t height = 0;
        nx_decoder_get_size(decoder, &width, &height);
        nx_assert_ok(nx_decoder_next(decoder, &frame, &end, &err), err);
        assert_int_equal(frame.width, cases[i].width);
        assert_int_equal(frame.height, cases[i].height);
        assert_int_equal(width, cases[i].width);
        assert_int_equal(height, cases[i].height);
        assert_int_equal(nx_decoder_set_size(decoder, 10, 10, &err), NX_ERR_CONFLICT);
        nx_decoder_free(decoder);
    }
    nx_decoder *decoder = open_cars(NULL);
    assert_int_equal(nx_decoder_set_size(decoder, 0, 10, &err), NX_ERR_INVALID);
    assert_int_equal(nx_decoder_set_size(decoder, 10, NX_DECODER_MOST_SIDE + 1, &err),
                     NX_ERR_INVALID);
    nx_decoder_free(decoder);
}

static void assert_refused(const char *path, const nx_decoder_options *options, nx_status status,
                           const char *words)
{
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    nx_status got = nx_decoder_open(path, options, &decoder, &err);
    if (got != status) {
        fail_msg("%s: %s, %s", path, nx_status_name(got), err.message);
    }
    assert_null(decoder);
    nx_assert_contains(err.message, words);
}

static void what_is_no_video_is_refused(void **state)
{
    static const char text[] = "This is a text and no video.\n";
    static const char list[] = "ffconcat version 1.0\nfile '/etc/hostname'\n";
    static const char playlist[] = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n"
                                   "/etc/hostname\n#EXT-X-ENDLIST\n";
    assert_refused("/nowhere/video.mp4", NULL, NX_ERR_NOT_FOUND, "/nowhere/video.mp4");
    assert_refused((const char *)*state, NULL, NX_ERR_INVALID, "not a file");
    assert_refused("/dev/zero", NULL, NX_ERR_INVALID, "not a file");
    const char *pipe = scratch_path(state, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_refused(pipe, NULL, NX_ERR_INVALID, "not a file");
    assert_refused(scratch_write(state, "empty.mp4", "", 0), NULL, NX_ERR_UNSUPPORTED, "empty.mp4");
    assert_refused(scratch_write(state, "text.mp4", text, sizeof text - 1), NULL,
                   NX_ERR_UNSUPPORTED, "text.mp4: not a video");
    assert_refused(scratch_write(state, "list.ffconcat", list, sizeof list - 1), NULL,
                   NX_ERR_UNSUPPORTED, "not a video");
    assert_refused(scratch_write(state, "list.m3u8", playlist, sizeof playlist - 1), NULL,
                   NX_ERR_UNSUPPORTED, "not a video");
}

static void options_are_checked(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    const char *path = nx_shared_path(CARS);
    assert_refused(path, &(nx_decoder_options){.threads = 3}, NX_ERR_INVALID, "threads");
    assert_refused(path, &(nx_decoder_options){.slots = 1}, NX_ERR_INVALID, "slots");
    assert_refused(path, &(nx_decoder_options){.slots = 17}, NX_ERR_INVALID, "slots");
    assert_refused(path, &(nx_decoder_options){.fps = -1}, NX_ERR_INVALID, "rate");
    assert_refused(path, &(nx_decoder_options){.fps = 5, .stride = 2}, NX_ERR_INVALID, "stride");
    assert_refused(path, &(nx_decoder_options){.timeout_ns = -1}, NX_ERR_INVALID, "timeout");
    assert_refused(path, &(nx_decoder_options){.max_pixels = 768 * 432 - 1}, NX_ERR_TOO_LARGE,
                   "768x432");
}

/* The descriptor's offset counts for nothing, and it may be closed at once. */
static void an_open_file_is_enough(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    int fd = open(nx_shared_path(CARS), O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 1000, SEEK_SET), 1000);
    nx_assert_ok(nx_decoder_open_fd(fd, "upload 17", NULL, &decoder, &err), err);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 1000);
    close(fd);
    nx_assert_ok(nx_decoder_set_size(decoder, 96, 54, &err), err);
    clip *all = calloc(1, sizeof *all);
    assert_non_null(all);
    all->width = 96;
    all->height = 54;
    take_frames(decoder, SIZE_MAX, all);
    nx_assert_ok(all->status, all->err);
    assert_int_equal(all->count, 377);
    free(all);
    nx_decoder_free(decoder);
}

/* --- a child that comes to harm -----------------------------------------------------------------
 */

/* What a child that dies has delivered before still comes; then the error, again and again. */
static void assert_dies(int number, nx_status status, const char *words)
{
    nx_decoder *decoder = open_cars(NULL);
    clip *some = calloc(1, sizeof *some);
    assert_non_null(some);
    some->width = 96;
    some->height = 54;
    take_frames(decoder, 5, some);
    nx_assert_ok(some->status, some->err);
    assert_int_equal(kill(nx_decoder_pid(decoder), number), 0);
    take_frames(decoder, SIZE_MAX, some);
    assert_int_equal(some->status, status);
    nx_assert_contains(some->err.message, "car-detection.mp4");
    nx_assert_contains(some->err.message, words);
    char place[64];
    snprintf(place, sizeof place, "behind frame %zu (", some->count - 1);
    nx_assert_contains(some->err.message, place);
    assert_true(some->count >= 5 && some->count <= 5 + 2 * NX_DECODER_DEFAULT_SLOTS);
    for (size_t i = 0; i < some->count; i++) {
        assert_int_equal(some->frames[i].index, i);
    }
    assert_int_equal(nx_decoder_pid(decoder), 0);
    nx_decoder_frame frame;
    bool end = false;
    nx_error again = {0};
    assert_int_equal(nx_decoder_next(decoder, &frame, &end, &again), status);
    assert_string_equal(again.message, some->err.message);
    free(some);
    nx_decoder_free(decoder);
}

static void a_child_that_dies_is_an_error(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    assert_dies(SIGKILL, NX_ERR_UNAVAILABLE, "the decoder was killed");
    assert_dies(SIGTRAP, NX_ERR_CORRUPT, "crashed the decoder (SIGTRAP)"); /* no sanitizer's own */
    assert_dies(SIGSYS, NX_ERR_CORRUPT, "sandbox forbids");
}

/* Ctrl-C in a terminal goes to all processes there. */
static void a_child_leaves_ending_to_its_parent(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_decoder *decoder = open_cars(NULL);
    assert_int_equal(kill(nx_decoder_pid(decoder), SIGINT), 0);
    assert_int_equal(kill(nx_decoder_pid(decoder), SIGTERM), 0);
    clip *all = calloc(1, sizeof *all);
    assert_non_null(all);
    all->width = 96;
    all->height = 54;
    take_frames(decoder, SIZE_MAX, all);
    nx_assert_ok(all->status, all->err);
    assert_int_equal(all->count, 377);
    free(all);
    nx_decoder_free(decoder);
}

static void a_child_that_hangs_is_an_error(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_decoder *decoder = open_cars(&(nx_decoder_options){.timeout_ns = 5000000000});
    clip *some = calloc(1, sizeof *some);
    assert_non_null(some);
    some->width = 96;
    some->height = 54;
    assert_int_equal(kill(nx_decoder_pid(decoder), SIGSTOP), 0);
    take_frames(decoder, SIZE_MAX, some);
    assert_int_equal(some->status, NX_ERR_TIMEOUT);
    nx_assert_contains(some->err.message, "no progress for 5 s");
    assert_int_equal(nx_decoder_pid(decoder), 0);
    free(some);
    nx_decoder_free(decoder);
}

static void *cancel(void *decoder)
{
    nx_decoder_cancel(decoder);
    return NULL;
}

/* The child is stopped, so the call waits, or is about to, when it is cancelled. */
static void decoding_is_cancelled(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_decoder *decoder = open_cars(NULL);
    clip *some = calloc(1, sizeof *some);
    pthread_t thread;
    assert_non_null(some);
    some->width = 96;
    some->height = 54;
    assert_int_equal(kill(nx_decoder_pid(decoder), SIGSTOP), 0);
    assert_int_equal(pthread_create(&thread, NULL, cancel, decoder), 0);
    take_frames(decoder, SIZE_MAX, some);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(some->status, NX_ERR_CANCELLED);
    nx_decoder_frame frame;
    bool end = false;
    assert_int_equal(nx_decoder_next(decoder, &frame, &end, &some->err), NX_ERR_CANCELLED);
    free(some);
    nx_decoder_free(decoder);
}

static size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    while (readdir(folder) != NULL) {
        count++;
    }
    closedir(folder);
    return count;
}

static void a_stop_ends_opening_and_decoding(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    atomic_bool stop = true;
    const nx_decoder_options options = {.stop = &stop};
    nx_decoder_frame frame;
    nx_decoder *decoder = NULL;
    nx_error err = {0};
    bool end = false;
    assert_int_equal(nx_decoder_open(nx_shared_path(CARS), &options, &decoder, &err),
                     NX_ERR_CANCELLED);
    assert_null(decoder);
    atomic_store(&stop, false);
    nx_assert_ok(nx_decoder_open(nx_shared_path(CARS), &options, &decoder, &err), err);
    nx_assert_ok(nx_decoder_next(decoder, &frame, &end, &err), err);
    atomic_store(&stop, true);
    assert_int_equal(nx_decoder_next(decoder, &frame, &end, &err), NX_ERR_CANCELLED);
    nx_decoder_free(decoder);
}

static void nothing_is_left_behind(void **state)
{
    NX_NEED_SHARED();
    const char *text = scratch_write(state, "text.mp4", "text", 4);
    size_t before = count_descriptors();
    for (int i = 0; i < 10; i++) {
        nx_decoder_frame frame;
        bool end = false;
        nx_error err = {0};
        nx_decoder *decoder = open_cars(NULL);
        if (i % 2 == 0) {
            nx_assert_ok(nx_decoder_next(decoder, &frame, &end, &err), err);
        }
        nx_decoder_free(decoder);
        assert_int_equal(nx_decoder_open(text, NULL, &decoder, &err), NX_ERR_UNSUPPORTED);
    }
    assert_int_equal(count_descriptors(), before);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child, dead or alive */
    assert_int_equal(errno, ECHILD);
}

/* A file of /proc about a process, as a string; false if it may not be read. */
static bool read_proc(int pid, const char *name, char *text, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    assert_int_equal(fclose(file), 0);
    for (size_t i = 0; i < got; i++) { /* an environment's variables end so */
        text[i] = (char)(text[i] == '\0' ? '\n' : text[i]);
    }
    return true;
}

static void a_child_has_nothing_to_spare(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static char text[65536];
    assert_int_equal(setenv("NEXUS_TEST_SECRET", "hunter2", 1), 0);
    int spare = open("/dev/null", O_RDONLY); /* not closed by exec */
    assert_true(spare >= 0);
    nx_decoder *decoder = open_cars(NULL);
    int pid = nx_decoder_pid(decoder);
    assert_true(read_proc(pid, "status", text, sizeof text));
    nx_assert_contains(text, "NoNewPrivs:\t1");
    nx_assert_contains(text, "Seccomp:\t2"); /* a filter */
    assert_true(read_proc(pid, "limits", text, sizeof text));
    nx_assert_contains(text, "Max core file size        0 ");
    nx_assert_contains(text, "Max file size             0 ");
    if (read_proc(pid, "environ", text, sizeof text)) { /* root may */
        assert_null(strstr(text, "NEXUS_TEST_SECRET"));
    }
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", pid);
    DIR *folder = opendir(path);
    if (folder != NULL) {
        for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
            assert_true(atoi(entry->d_name) <= 5);
        }
        closedir(folder);
    }
    nx_decoder_free(decoder);
    close(spare);
    assert_int_equal(unsetenv("NEXUS_TEST_SECRET"), 0);
}

/* "nexus decoder" typed by a person. */
static void a_decoder_without_a_parent_says_so(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL) {
            _exit(98);
        }
        (void)close(3);
        (void)execl("/proc/self/exe", "nexus", "decoder", NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
}

/* A process that opens a decoder, tells its child's number and is killed. */
static void no_child_outlives_its_parent(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    int ends[2];
    int pid = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t parent = fork();
    assert_true(parent >= 0);
    if (parent == 0) {
        nx_decoder *decoder = open_cars(NULL);
        pid = nx_decoder_pid(decoder);
        (void)kill(pid, SIGSTOP); /* it will not end by itself */
        if (write(ends[1], &pid, sizeof pid) == (ssize_t)sizeof pid) {
            pause();
        }
        _exit(1);
    }
    assert_int_equal(read(ends[0], &pid, sizeof pid), sizeof pid);
    struct pollfd child = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    assert_true(child.fd >= 0);
    assert_int_equal(poll(&child, 1, 0), 0);
    assert_int_equal(kill(parent, SIGKILL), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    assert_int_equal(poll(&child, 1, 60000), 1);
    close(child.fd);
    close(ends[0]);
    close(ends[1]);
}

int main(int argc, char **argv)
{
    nx_decoder_dispatch(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_say_what_they_hold),
        cmocka_unit_test(frames_are_those_of_the_reader),
        cmocka_unit_test(every_so_many_frames),
        cmocka_unit_test(sizes_are_as_asked),
        cmocka_unit_test(what_is_no_video_is_refused),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(an_open_file_is_enough),
        cmocka_unit_test(a_child_that_dies_is_an_error),
        cmocka_unit_test(a_child_leaves_ending_to_its_parent),
        cmocka_unit_test(a_child_that_hangs_is_an_error),
        cmocka_unit_test(decoding_is_cancelled),
        cmocka_unit_test(a_stop_ends_opening_and_decoding),
        cmocka_unit_test(nothing_is_left_behind),
        cmocka_unit_test(a_child_has_nothing_to_spare),
        cmocka_unit_test(a_decoder_without_a_parent_says_so),
        cmocka_unit_test(no_child_outlives_its_parent),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

#include "scratch.h"

#include "api/video_paths.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST 100

/* Below the scratch folder: in/a.mp4, in/deep/b.mp4, in/link -> deep/b.mp4, in/out -> ../secret,
 * in/abs -> /etc/passwd, in/pipe, in/big, in2/c.mp4, secret. */
static int fill(void **state)
{
    static const char *const files[] = {"in/a.mp4", "in/deep/b.mp4", "in2/c.mp4", "secret"};
    static const char *const links[][2] = {
        {"deep/b.mp4", "in/link"}, {"../secret", "in/out"}, {"/etc/passwd", "in/abs"}};
    char large[MOST + 1] = {0};
    if (scratch_make(state) != 0 || mkdir(scratch_path(state, "in"), 0700) != 0 ||
        mkdir(scratch_path(state, "in/deep"), 0700) != 0 ||
        mkdir(scratch_path(state, "in2"), 0700) != 0) {
        return -1;
    }
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        (void)scratch_write(state, files[i], files[i], strlen(files[i]));
    }
    (void)scratch_write(state, "in/big", large, sizeof large);
    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        if (symlink(links[i][0], scratch_path(state, links[i][1])) != 0) {
            return -1;
        }
    }
    return mkfifo(scratch_path(state, "in/pipe"), 0600);
}

static nx_status try_path(void **state, const char *path, char text[64], nx_error *err)
{
    char folders[4 * PATH_MAX];
    char full[2 * PATH_MAX];
    const char *root = *state;
    int fd = -1;
    snprintf(folders, sizeof folders, "relative::%s/none:%s/in//:%s/in/deep", root, root, root);
    snprintf(full, sizeof full, "%s/%s", root, path);
    nx_status status = nx_api_video_path_open(folders, full, MOST, &fd, err);
    assert_true((status == NX_OK) == (fd >= 0));
    if (fd >= 0) {
        ssize_t got = read(fd, text, 63);
        assert_true(got >= 0);
        text[got] = '\0';
        assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
        close(fd);
    }
    return status;
}

static void opens_what_lies_in_a_folder(void **state)
{
    static const char *const good[][2] = {
        {"in/a.mp4", "in/a.mp4"},           {"in//a.mp4", "in/a.mp4"},
        {"in/deep/b.mp4", "in/deep/b.mp4"}, {"in/link", "in/deep/b.mp4"},
        {"in/deep/../a.mp4", "in/a.mp4"},
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        char text[64] = "";
        nx_error err = {0};
        nx_assert_ok(try_path(state, good[i][0], text, &err), err);
        assert_string_equal(text, good[i][1]);
    }
}

static void lets_nothing_lead_out(void **state)
{
    static const char *const bad[] = {"secret", "in/../secret", "in/out",
                                      "in/abs", "in2/c.mp4",    "in/deep/../../secret",
                                      "in",     "in/",          "relative/x"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char text[64] = "";
        nx_error err = {0};
        assert_int_equal(try_path(state, bad[i], text, &err), NX_ERR_CONFLICT);
        assert_non_null(strstr(err.message, "folder"));
    }
}

static void says_what_is_wrong_with_a_file(void **state)
{
    char text[64] = "";
    nx_error err = {0};
    assert_int_equal(try_path(state, "in/none.mp4", text, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(try_path(state, "none/x.mp4", text, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(try_path(state, "in/a.mp4/x", text, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(try_path(state, "in/deep", text, &err), NX_ERR_INVALID);
    assert_int_equal(try_path(state, "in/pipe", text, &err), NX_ERR_INVALID);
    assert_int_equal(try_path(state, "in/big", text, &err), NX_ERR_TOO_LARGE);
    assert_non_null(strstr(err.message, "MAX_VIDEO_BYTES"));
}

static void wants_an_absolute_path(void **state)
{
    (void)state;
    char large[NX_API_VIDEO_PATH_MAX + 2];
    int fd = 0;
    nx_error err = {0};
    memset(large, '/', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    const char *const bad[] = {NULL, "", "etc/passwd", "../etc/passwd", large};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(nx_api_video_path_open("/", bad[i], MOST, &fd, &err), NX_ERR_INVALID);
        assert_int_equal(fd, -1);
    }
    assert_int_equal(nx_api_video_path_open("", "/etc/passwd", MOST, &fd, &err), NX_ERR_CONFLICT);
    nx_assert_ok(nx_api_video_path_open("/", "/etc/hostname", MOST, &fd, &err), err);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_what_lies_in_a_folder),
        cmocka_unit_test(lets_nothing_lead_out),
        cmocka_unit_test(says_what_is_wrong_with_a_file),
        cmocka_unit_test(wants_an_absolute_path),
    };
    return cmocka_run_group_tests(tests, fill, scratch_remove);
}

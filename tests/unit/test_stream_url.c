/* Where a stream may come from, and what is shown of it. */
#include "scratch.h"
#include "testing.h"

#include "streams/url.h"

#include <string.h>
#include <unistd.h>

static nx_status check(const char *url, bool loopback, nx_stream_kind *kind, nx_error *err)
{
    *err = (nx_error){0};
    return nx_stream_url_check(url, loopback, kind, err);
}

static void cameras_and_files_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *url;
        nx_stream_kind kind;
    } good[] = {
        {"rtsp://192.168.1.20/stream1", NX_STREAM_RTSP},
        {"RTSP://me:p%40ss@camera.local:8554/a?b=c", NX_STREAM_RTSP},
        {"rtsp://[fd00::20]:554/cam", NX_STREAM_RTSP},
        {"http://10.0.0.9:8080/video.mjpg", NX_STREAM_HTTP},
        {"rtsp://me:12%2F3@camera.local/of/me@home", NX_STREAM_RTSP},
        {"http://100.64.0.7/live.m3u8", NX_STREAM_HTTP},
        {"http://8.8.8.8/", NX_STREAM_HTTP},
        {"https://10.0.0.9/x", NX_STREAM_HTTP},
        {"rtsps://me:secret@camera.local/x", NX_STREAM_RTSP},
        {"v4l2:/dev/video0", NX_STREAM_DEVICE},
        {"v4l2:/dev/v4l/by-id/usb-046d_HD_Pro_Webcam_C920_ABC-video-index0", NX_STREAM_DEVICE},
        {"v4l2:/dev/v4l/by-path/pci-0000:00:14.0-usb-0:1:1.0-video-index0", NX_STREAM_DEVICE},
        {"file:gate.mp4", NX_STREAM_FILE},
        {"file:sub/../gate.mp4", NX_STREAM_FILE}, /* the kernel sees to it when it is opened */
    };
    for (size_t i = 0; i < NX_COUNT(good); i++) {
        nx_stream_kind kind;
        nx_error err;
        nx_assert_ok(check(good[i].url, false, &kind, &err), err);
        assert_int_equal(kind, good[i].kind);
    }
}

static void others_are_not(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "gate.mp4",
        "/dev/video0",
        "ftp://10.0.0.9/x",
        "https://",
        "rtsps://127.0.0.1/x",
        "rtsp://",
        "rtsp:///me:secret@10.0.0.9/cam",
        "rtsp://host name/",
        "rtsp://h\xc3\xb6st/",
        "http://10.0.0.9:99999/",
        "http://127.0.0.1/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.9]/", /* IPv4 in disguise */
        "http://0.0.0.0/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://2852039166/",
        "http://168.63.129.16/",
        "http://100.100.100.200/",
        "http://[fd00:ec2::254]/",
        "http://[fe80::1]/",
        "http://[fe80::1%25eth0]/",
        "rtsp://224.0.0.1/",
        "rtsp://255.255.255.255/",
        "rtsp://me:12/3@10.0.0.9/cam",
        "rtsp://***@10.0.0.9/",
        "http://10.0.0.9/?***",
        "v4l2:",
        "v4l2:/dev/video",
        "v4l2:/dev/video0/../sda",
        "v4l2:/dev/videoX",
        "v4l2:/dev/v4l/by-id/",
        "v4l2:/dev/v4l/by-id/..",
        "v4l2:/dev/v4l/by-id/a/b",
        "v4l2:/dev/sda",
        "v4l2://dev/video0",
        "file:",
        "file:/etc/passwd",
        "file:///etc/passwd",
    };
    for (size_t i = 0; i < NX_COUNT(wrong); i++) {
        nx_stream_kind kind;
        nx_error err;
        assert_int_equal(check(wrong[i], false, &kind, &err), NX_ERR_INVALID);
        assert_non_null(strstr(err.message, "url: "));
    }
    char long_url[NX_STREAM_URL_MAX + 2] = "rtsp://10.0.0.9/";
    memset(long_url + strlen(long_url), 'x', sizeof long_url - 1 - strlen(long_url));
    long_url[sizeof long_url - 1] = '\0';
    nx_stream_kind kind;
    nx_error err;
    assert_int_equal(check(long_url, false, &kind, &err), NX_ERR_INVALID);
}

static void this_machine_is_taken_on_request(void **state)
{
    (void)state;
    nx_stream_kind kind;
    nx_error err;
    nx_assert_ok(check("http://127.0.0.1:8080/", true, &kind, &err), err);
    nx_assert_ok(check("rtsp://[::1]/", true, &kind, &err), err);
    assert_int_equal(check("http://169.254.169.254/", true, &kind, &err), NX_ERR_INVALID);
}

static void passwords_are_not_shown(void **state)
{
    (void)state;
    static const char *const shown[][2] = {
        {"rtsp://10.0.0.9/cam", "rtsp://10.0.0.9/cam"},
        {"rtsp://me:secret@10.0.0.9:554/cam", "rtsp://***@10.0.0.9:554/cam"},
        {"rtsp://me:sec@ret@10.0.0.9/cam", "rtsp://***@10.0.0.9/cam"},
        {"http://10.0.0.9/v?user=me&pwd=secret", "http://10.0.0.9/v?***"},
        {"http://me@10.0.0.9/v?secret#secret", "http://***@10.0.0.9/v?***"},
        {"rtsp:///me:secret@10.0.0.9/cam", "rtsp:///***@10.0.0.9/cam"},
        {"http://10.0.0.9?secret", "http://10.0.0.9?***"},
        {"http://10.0.0.9/a@b", "http://10.0.0.9/***"},
        {"rtsp://me:p@ss/secret@10.0.0.9/cam", "rtsp://***@ss/***"},
        {"file:gate.mp4", "file:gate.mp4"},
    };
    for (size_t i = 0; i < NX_COUNT(shown); i++) {
        char out[NX_STREAM_SHOWN_SIZE];
        nx_stream_url_shown(shown[i][0], out);
        assert_string_equal(out, shown[i][1]);
        assert_null(strstr(out, "secret"));
    }
}

static void what_is_connected_to_is_an_address(void **state)
{
    (void)state;
    nx_stream_target target;
    nx_error err = {0};
    nx_assert_ok(nx_stream_url_resolve("http://me:pw@10.9.8.7:81/a?b=c", false, &target, &err),
                 err);
    assert_string_equal(target.url, "http://me:pw@10.9.8.7:81/a?b=c");
    assert_string_equal(target.host, "10.9.8.7:81");
    nx_assert_ok(nx_stream_url_resolve("rtsp://0x0a090807/", false, &target, &err), err);
    assert_non_null(strstr(target.url, "10.9.8.7"));
    nx_assert_ok(nx_stream_url_resolve("http://localhost:81/a", true, &target, &err), err);
    assert_string_equal(target.host, "localhost:81");
    assert_null(strstr(target.url, "localhost"));
    /* a name that stands for this machine */
    assert_int_equal(nx_stream_url_resolve("http://localhost/", false, &target, &err),
                     NX_ERR_INVALID);
    assert_non_null(strstr(err.message, "STREAM_ALLOW_LOOPBACK"));
    nx_status none = nx_stream_url_resolve("http://no-such-host.invalid/", false, &target, &err);
    assert_true(none == NX_ERR_NOT_FOUND || none == NX_ERR_UNAVAILABLE);
}

static void files_stay_in_their_folder(void **state)
{
    nx_error err = {0};
    int fd = -1;
    char outside[256];
    (void)scratch_write(state, "gate.mp4", "video", 5);
    assert_int_equal(symlink("/etc/passwd", scratch_path(state, "link.mp4")), 0);
    const char *folder = *state;
    nx_assert_ok(nx_stream_url_open_file("file:gate.mp4", folder, &fd, &err), err);
    close(fd);
    assert_int_equal(nx_stream_url_open_file("file:none.mp4", folder, &fd, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_stream_url_open_file("file:link.mp4", folder, &fd, &err), NX_ERR_INVALID);
    snprintf(outside, sizeof outside, "file:../%s/gate.mp4", strrchr(folder, '/') + 1);
    assert_int_equal(nx_stream_url_open_file(outside, folder, &fd, &err), NX_ERR_INVALID);
    assert_int_equal(nx_stream_url_open_file("file:.", folder, &fd, &err), NX_ERR_INVALID);
    assert_int_equal(nx_stream_url_open_file("file:gate.mp4", "", &fd, &err), NX_ERR_INVALID);
    assert_int_equal(nx_stream_url_open_file("file:gate.mp4", "/no/such/folder", &fd, &err),
                     NX_ERR_IO);
    assert_int_equal(fd, -1);
}

static void devices_are_looked_at(void **state)
{
    (void)state;
    const char *path = NULL;
    nx_error err = {0};
    assert_int_equal(nx_stream_url_device("v4l2:/dev/video4242", &path, &err), NX_ERR_NOT_FOUND);
    assert_string_equal(path, "/dev/video4242");
    assert_string_equal(err.message, "url: there is no device /dev/video4242");
    assert_int_equal(nx_stream_url_device("v4l2:/dev/null", &path, &err), NX_ERR_UNSUPPORTED);
    assert_string_equal(err.message, "url: /dev/null is no V4L2 device");
    assert_int_equal(nx_stream_url_device("v4l2:/dev/", &path, &err), NX_ERR_IO); /* a folder */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_are_looked_at),
        cmocka_unit_test(cameras_and_files_are_taken),
        cmocka_unit_test(others_are_not),
        cmocka_unit_test(this_machine_is_taken_on_request),
        cmocka_unit_test(passwords_are_not_shown),
        cmocka_unit_test(what_is_connected_to_is_an_address),
        cmocka_unit_test_setup_teardown(files_stay_in_their_folder, scratch_make, scratch_remove),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "api/video_record.h"
#include "testing.h"

static const nx_video video = {.id = "0190-1",
                               .owner = "",
                               .hash = "abc",
                               .size = INT64_C(5000000000),
                               .name = "a \"street\" ü.mp4",
                               .probe = "{\"fps\": 25}",
                               .created_at = -5};

static void a_record_is_read_again(void **state)
{
    (void)state;
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_video read = {0};
    nx_video_record_write(&video, &bytes);
    assert_true(nx_video_record_read(bytes.data, bytes.size, &read));
    assert_string_equal(read.id, video.id);
    assert_string_equal(read.owner, "");
    assert_string_equal(read.hash, video.hash);
    assert_string_equal(read.name, video.name);
    assert_string_equal(read.probe, video.probe);
    assert_true(read.size == video.size && read.created_at == video.created_at);
    nx_buffer_free(&bytes);
}

static void what_is_no_record_is_none(void **state)
{
    (void)state;
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_video read = {0};
    nx_video_record_write(&video, &bytes);
    for (size_t size = 0; size < bytes.size; size++) {
        char *exact = malloc(size > 0 ? size : 1); /* so that a byte too far is seen */
        assert_non_null(exact);
        memcpy(exact, bytes.data, size);
        assert_false(nx_video_record_read(exact, size, &read));
        free(exact);
    }
    nx_buffer_append_char(&bytes, '\0');
    assert_false(nx_video_record_read(bytes.data, bytes.size, &read));
    bytes.data[0] = 'X';
    assert_false(nx_video_record_read(bytes.data, bytes.size - 1, &read));
    nx_buffer_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_again),
        cmocka_unit_test(what_is_no_record_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "testing.h"

#include "vision/image.h"

static void images_have_their_size(void **state)
{
    (void)state;
    nx_image image = {0};
    nx_error err = {0};
    nx_assert_ok(nx_image_alloc(7, 3, &image, &err), err);
    assert_int_equal(image.width, 7);
    assert_int_equal(image.height, 3);
    assert_true(image.stride >= 21);
    memset(image.pixels, 1, image.stride * 3); /* to the last byte, for ASan to see */
    nx_image_free(&image);
    assert_null(image.pixels);
    assert_int_equal(image.width, 0);
    nx_image_free(&image);
    nx_image_free(NULL);
}

static void impossible_sizes_are_refused(void **state)
{
    (void)state;
    static const struct {
        uint32_t width, height;
        nx_status status;
    } cases[] = {
        {0, 5, NX_ERR_INVALID},
        {5, 0, NX_ERR_INVALID},
        {UINT32_MAX, UINT32_MAX, NX_ERR_TOO_LARGE}, /* 3 * 2^64 bytes */
        {UINT32_MAX, 1U << 30, NX_ERR_NO_MEMORY},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_image image = {.width = 1};
        nx_error err = {0};
        assert_int_equal(nx_image_alloc(cases[i].width, cases[i].height, &image, &err),
                         cases[i].status);
        assert_int_equal(err.status, cases[i].status);
        assert_null(image.pixels);
        assert_int_equal(image.width, 0);
        char size[40];
        snprintf(size, sizeof size, "%ux%u", cases[i].width, cases[i].height);
        nx_assert_contains(err.message, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_have_their_size),
        cmocka_unit_test(impossible_sizes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

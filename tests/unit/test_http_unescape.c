#include "testing.h"

#include "http/internal.h"

static void escapes_are_undone_but_for_nul(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"a%20b%2Fc%2f", "a b/c/"},
        {"%C3%a9", "\xc3\xa9"},
        {"%00", "%00"},
        {"/health%00x", "/health%00x"},
        {"%2500", "%00"},
        {"%", "%"},
        {"%4", "%4"},
        {"%g1%1g%%41", "%g1%1g%A"},
        {"+", "+"},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        char text[64];
        snprintf(text, sizeof text, "%s", cases[i][0]);
        assert_int_equal(nx_http_unescape(NULL, NULL, text), strlen(cases[i][1]));
        assert_string_equal(text, cases[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes_are_undone_but_for_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

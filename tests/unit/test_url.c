#include "testing.h"

#include "base/url.h"

static void hides_passwords(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"postgres://me:geheim@h:5/db", "postgres://me:***@h:5/db"},
        {"postgres://me:ge@heim@h/db", "postgres://me:***@h/db"},
        {"postgres://me:ge/heim@h/db", "postgres://me:***@h/db"},
        {"postgres://me:ge?heim@h/db", "postgres://me:***@h/db"},
        {"postgres://me@h/db?password=geheim", "postgres://me@h/db?password=***"},
        {"postgres://me@h:5/db?password=ge@heim&a=b", "postgres://me@h:5/db?password=***"},
        {"redis://:geheim@h:6379/0", "redis://:***@h:6379/0"},
        {"postgres://h/db", "postgres://h/db"},
        {"sqlite:/a/b:c@d", "sqlite:/a/b:c@d"},
        {"", ""},
    };
    for (size_t i = 0; i < NX_COUNT(pairs); i++) {
        char shown[100];
        nx_url_shown(pairs[i][0], shown, sizeof shown);
        assert_string_equal(shown, pairs[i][1]);
    }
}

static void cuts_what_does_not_fit(void **state)
{
    (void)state;
    char shown[12];
    nx_url_shown("redis://:geheim@h:6379/0", shown, sizeof shown);
    assert_string_equal(shown, "redis://:**");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hides_passwords),
        cmocka_unit_test(cuts_what_does_not_fit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "testing.h"

#include "base/suggest.h"

static const char *const words[] = {
    "inference_workers", "port", "host", "log_level", "person", "bus", "", "tv", "7"};

static const char *suggest(const char *word)
{
    return nx_suggest(word, words, NX_COUNT(words));
}

static void finds_likely_slips(void **state)
{
    (void)state;
    assert_string_equal(suggest("prot"), "port");                          /* swapped */
    assert_string_equal(suggest("prt"), "port");                           /* left out */
    assert_string_equal(suggest("poort"), "port");                         /* doubled */
    assert_string_equal(suggest("pert"), "port");                          /* replaced */
    assert_string_equal(suggest("PORT"), "port");                          /* case is no distance */
    assert_string_equal(suggest("persons"), "person");                     /* plural */
    assert_string_equal(suggest("inferense_workes"), "inference_workers"); /* two at once */
    assert_string_equal(suggest("t"), "tv");
}

static void the_nearest_wins(void **state)
{
    (void)state;
    static const char *const near[] = {"abcdefghi", "abcdefgxy", "abcdefgh"};
    assert_string_equal(nx_suggest("abcdefgxz", near, NX_COUNT(near)), "abcdefgxy");
    assert_string_equal(nx_suggest("abcdefgh", near, NX_COUNT(near)), "abcdefgh");
    /* of two that are equally near, the earlier */
    assert_string_equal(nx_suggest("abcdefghj", near, NX_COUNT(near)), "abcdefghi");
}

static void unlike_words_get_none(void **state)
{
    (void)state;
    assert_null(suggest(""));
    assert_null(suggest("zebra"));
    assert_null(suggest("x")); /* neither "7" nor "" shares anything with it */
    assert_null(nx_suggest("port", words, 0));
}

static void long_words_are_left_alone(void **state)
{
    (void)state;
    char word[80];
    memset(word, 'a', sizeof word);
    const char *const same[] = {word};
    word[63] = '\0';
    assert_ptr_equal(nx_suggest(word, same, 1), word);
    char longer[80];
    memset(longer, 'a', sizeof longer);
    longer[64] = '\0';
    assert_null(nx_suggest(longer, same, 1));
    const char *const long_candidate[] = {longer};
    assert_null(nx_suggest(word, long_candidate, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_likely_slips),
        cmocka_unit_test(the_nearest_wins),
        cmocka_unit_test(unlike_words_get_none),
        cmocka_unit_test(long_words_are_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "testing.h"

#include "vision/class_filter.h"

static const char *const coco[] = {"person", "bicycle", "sports ball", "7", "Person", "bus"};
static const nx_class_names names = {coco, NX_COUNT(coco)};

/* The classes that pass, as a set of bits. */
static uint64_t parsed(const char *list)
{
    nx_error err = {0};
    nx_postprocess_options options = nx_postprocess_defaults();
    nx_assert_ok(nx_class_filter_parse(list, names, &options, &err), err);
    assert_true(options.filter_classes);
    for (size_t i = 1; i < NX_COUNT(options.class_mask); i++) {
        assert_int_equal(options.class_mask[i], 0);
    }
    return options.class_mask[0];
}

static void refuses(const char *list, const char *message)
{
    nx_error err = {0};
    nx_postprocess_options options = nx_postprocess_defaults();
    assert_int_equal(nx_class_filter_parse(list, names, &options, &err), NX_ERR_INVALID);
    assert_string_equal(err.message, message);
}

static void names_and_numbers(void **state)
{
    (void)state;
    assert_int_equal(parsed("bus"), 1 << 5);
    assert_int_equal(parsed("BUS"), 1 << 5);
    assert_int_equal(parsed(" sports ball ,\tbus "), 1 << 2 | 1 << 5);
    assert_int_equal(parsed("1,5"), 1 << 1 | 1 << 5);
    assert_int_equal(parsed("bus,bus,5"), 1 << 5);
    assert_int_equal(parsed("7"), 1 << 3);               /* a name before a number */
    assert_int_equal(parsed("person"), 1 << 0 | 1 << 4); /* two of that name */
}

static void unknown_classes_get_a_suggestion(void **state)
{
    (void)state;
    refuses("buss", "the model has no class 'buss'; did you mean 'bus'? (it has 6, from 'person' "
                    "to 'bus')");
    refuses("zebra", "the model has no class 'zebra' (it has 6, from 'person' to 'bus')");
    refuses("bus,6", "the model has no class '6' (it has 6, from 'person' to 'bus')");
    refuses("-1", "the model has no class '-1' (it has 6, from 'person' to 'bus')");
    refuses("1x", "the model has no class '1x' (it has 6, from 'person' to 'bus')");
    refuses("99999999999999999999",
            "the model has no class '99999999999999999999' (it has 6, from 'person' to 'bus')");
}

static void empty_entries_are_refused(void **state)
{
    (void)state;
    static const char *const lists[] = {"",     " ",           ",",           "bus,",
                                        ",bus", "bus,,person", "bus, ,person"};
    for (size_t i = 0; i < NX_COUNT(lists); i++) {
        refuses(lists[i], "the list of classes has an empty entry");
    }
}

static void long_words_are_refused(void **state)
{
    (void)state;
    char word[400];
    memset(word, 'a', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    refuses(word, "a class name of over 255 bytes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_numbers),
        cmocka_unit_test(unknown_classes_get_a_suggestion),
        cmocka_unit_test(empty_entries_are_refused),
        cmocka_unit_test(long_words_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

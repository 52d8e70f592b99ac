#include "scratch.h"

#include "cli/inputs.h"

#include <sys/stat.h>

/* Each test has a folder of its own: what one leaves must not be found by the next. */
static int make_folder(void **state)
{
    char *folder = strdup("/tmp/nexus-test-XXXXXX");
    *state = folder;
    return folder != NULL && mkdtemp(folder) != NULL ? 0 : -1;
}

static int remove_folder(void **state)
{
    int result = scratch_remove(state);
    free(*state);
    return result;
}

static void touch(void **state, const char *name)
{
    (void)scratch_write(state, name, "", 0);
}

static void make_dir(void **state, const char *name)
{
    assert_int_equal(mkdir(scratch_path(state, name), 0755), 0);
}

static nx_status expand(const char *const *operands, int count, bool recursive, nx_inputs *out,
                        nx_error *err)
{
    return nx_inputs_expand((char *const *)(uintptr_t)operands, count, recursive, out, err);
}

/* Expands one operand, relative to the test's folder, and compares with names relative to it. */
static void assert_expands(void **state, const char *operand, bool recursive,
                           const char *const *names, size_t count)
{
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {scratch_path(state, operand)};
    nx_assert_ok(expand(operands, 1, recursive, &inputs, &err), err);
    for (size_t i = 0; i < inputs.count && i < count; i++) {
        assert_string_equal(inputs.paths[i], scratch_path(state, names[i]));
    }
    assert_int_equal(inputs.count, count);
    nx_inputs_free(&inputs);
}

static void assert_refused(void **state, const char *operand, bool recursive, const char *message)
{
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {scratch_path(state, operand)};
    assert_int_equal(expand(operands, 1, recursive, &inputs, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, message);
    nx_assert_contains(err.message, operands[0]);
    assert_int_equal(inputs.count, 0);
    assert_null(inputs.paths);
}

static void keeps_files_in_their_order(void **state)
{
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {"z.jpg", "no such file", "-", "a.bmp", "z.jpg"};
    (void)state;
    nx_assert_ok(expand(operands, 5, false, &inputs, &err), err);
    assert_int_equal(inputs.count, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(inputs.paths[i], operands[i]);
    }
    nx_inputs_free(&inputs);
    assert_null(inputs.paths);
    nx_inputs_free(&inputs);
}

static void keeps_more_than_the_first_block(void **state)
{
    enum { MANY = 1000 };
    static char names[MANY][16];
    static const char *operands[MANY];
    nx_error err = {0};
    nx_inputs inputs;
    (void)state;
    for (int i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof names[i], "%d.jpg", i);
        operands[i] = names[i];
    }
    nx_assert_ok(expand(operands, MANY, false, &inputs, &err), err);
    assert_int_equal(inputs.count, MANY);
    assert_string_equal(inputs.paths[MANY - 1], "999.jpg");
    nx_inputs_free(&inputs);
}

static void standard_input_is_read_once(void **state)
{
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {"a.jpg", "-", "-"};
    (void)state;
    assert_int_equal(expand(operands, 3, false, &inputs, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "only once");
    assert_null(inputs.paths);
}

static void standard_input_is_no_folder(void **state)
{
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {"-"};
    char before[PATH_MAX];
    assert_non_null(getcwd(before, sizeof before));
    make_dir(state, "-");
    assert_int_equal(chdir(*state), 0);
    nx_status status = expand(operands, 1, false, &inputs, &err);
    assert_int_equal(chdir(before), 0);
    nx_assert_ok(status, err);
    assert_int_equal(inputs.count, 1);
    assert_string_equal(inputs.paths[0], "-");
    nx_inputs_free(&inputs);
}

static void folder_gives_its_pictures_sorted(void **state)
{
    static const char *const there[] = {"d/c.png",  "d/a.jpg",    "d/b.JPEG", "d/e.WebP",
                                        "d/.f.jpg", "d/g.txt",    "d/jpg",    "d/h.jpg.part",
                                        "d/i.bmp",  "d/sub/x.jpg"};
    static const char *const expected[] = {"d/a.jpg", "d/b.JPEG", "d/c.png", "d/e.WebP"};
    make_dir(state, "d");
    make_dir(state, "d/sub");
    make_dir(state, "d/sub.jpg");
    for (size_t i = 0; i < NX_COUNT(there); i++) {
        touch(state, there[i]);
    }
    assert_expands(state, "d", false, expected, NX_COUNT(expected));
    assert_expands(state, "d/", false, expected, NX_COUNT(expected));
}

static void recursion_goes_into_subfolders(void **state)
{
    static const char *const expected[] = {"d/a.jpg", "d/b/c/deep.png", "d/b/x.jpg", "d/z.webp"};
    make_dir(state, "d");
    make_dir(state, "d/b");
    make_dir(state, "d/b/c");
    make_dir(state, "d/.hidden");
    for (size_t i = 0; i < NX_COUNT(expected); i++) {
        touch(state, expected[i]);
    }
    touch(state, "d/.hidden/y.jpg");
    assert_expands(state, "d", true, expected, NX_COUNT(expected));
}

/* Two links that lead back would be 2^depth rounds of the same pictures. */
static void recursion_does_not_follow_links_to_folders(void **state)
{
    static const char *const expected[] = {"d/a.jpg", "d/link.jpg"};
    make_dir(state, "d");
    make_dir(state, "d/sub");
    touch(state, "d/a.jpg");
    assert_int_equal(symlink("..", scratch_path(state, "d/sub/one")), 0);
    assert_int_equal(symlink("..", scratch_path(state, "d/sub/two")), 0);
    assert_int_equal(symlink("sub", scratch_path(state, "d/folder.jpg")), 0);
    assert_int_equal(symlink("a.jpg", scratch_path(state, "d/link.jpg")), 0);
    assert_expands(state, "d", true, expected, NX_COUNT(expected));
}

static void named_link_to_a_folder_is_that_folder(void **state)
{
    static const char *const expected[] = {"link/a.jpg"};
    make_dir(state, "d");
    touch(state, "d/a.jpg");
    assert_int_equal(symlink("d", scratch_path(state, "link")), 0);
    assert_expands(state, "link", false, expected, 1);
}

static void folder_skips_pipes_and_keeps_broken_links(void **state)
{
    static const char *const expected[] = {"d/broken.jpg"};
    make_dir(state, "d");
    assert_int_equal(mkfifo(scratch_path(state, "d/pipe.jpg"), 0600), 0);
    assert_int_equal(symlink("nowhere", scratch_path(state, "d/broken.jpg")), 0);
    assert_expands(state, "d", false, expected, 1);
}

/* What cannot be listed is an input that will fail; the rest is found. Root may list everything. */
static void folder_that_cannot_be_listed_is_kept(void **state)
{
    static const char *const expected[] = {"d/a.jpg", "d/closed", "d/open/b.jpg"};
    bool root = geteuid() == 0;
    make_dir(state, "d");
    make_dir(state, "d/closed");
    make_dir(state, "d/open");
    touch(state, "d/a.jpg");
    touch(state, "d/closed/c.jpg");
    touch(state, "d/open/b.jpg");
    assert_int_equal(chmod(*state, 0755), 0);
    assert_int_equal(chmod(scratch_path(state, "d/closed"), 0), 0);
    assert_int_equal(root ? seteuid(65534) : 0, 0);
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {scratch_path(state, "d")};
    nx_status status = expand(operands, 1, true, &inputs, &err);
    assert_int_equal(root ? seteuid(0) : 0, 0);
    assert_int_equal(chmod(scratch_path(state, "d/closed"), 0755), 0);
    nx_assert_ok(status, err);
    assert_int_equal(inputs.count, NX_COUNT(expected));
    for (size_t i = 0; i < NX_COUNT(expected); i++) {
        assert_string_equal(inputs.paths[i], scratch_path(state, expected[i]));
    }
    nx_inputs_free(&inputs);
}

static void folder_without_pictures_is_refused(void **state)
{
    make_dir(state, "d");
    make_dir(state, "d/sub");
    touch(state, "d/notes.txt");
    assert_refused(state, "d", true, "has no .jpg, .jpeg, .png or .webp file");
    touch(state, "d/sub/a.jpg");
    assert_refused(state, "d", false, "--recursive looks into its subfolders");
}

static void pattern_gives_its_matches_sorted(void **state)
{
    static const char *const jpgs[] = {"a1.jpg", "a2.jpg", "b.jpg"};
    static const char *const one[] = {"a1.jpg"};
    touch(state, "b.jpg");
    touch(state, "a2.jpg");
    touch(state, "a1.jpg");
    touch(state, "a.png");
    assert_expands(state, "*.jpg", false, jpgs, NX_COUNT(jpgs));
    assert_expands(state, "a?.jpg", false, jpgs, 2);
    assert_expands(state, "a[0-1].jpg", false, one, 1);
}

static void pattern_without_a_match_is_refused(void **state)
{
    assert_refused(state, "*.jpg", false, "nothing matches the pattern");
}

/* As the shell would have done without the quotes. */
static void folder_in_a_pattern_counts_as_named(void **state)
{
    static const char *const expected[] = {"cam1/a.jpg", "cam2/b.jpg", "cam3.jpg"};
    make_dir(state, "cam1");
    make_dir(state, "cam2");
    for (size_t i = 0; i < NX_COUNT(expected); i++) {
        touch(state, expected[i]);
    }
    assert_expands(state, "cam*", false, expected, NX_COUNT(expected));
    make_dir(state, "cam4");
    nx_error err = {0};
    nx_inputs inputs;
    const char *const operands[] = {scratch_path(state, "cam*")};
    assert_int_equal(expand(operands, 1, false, &inputs, &err), NX_ERR_NOT_FOUND);
    nx_assert_contains(err.message, scratch_path(state, "cam4"));
}

static void file_with_the_signs_of_a_pattern_is_a_file(void **state)
{
    static const char *const expected[] = {"a[1]*.jpg"};
    touch(state, "a[1]*.jpg");
    touch(state, "a1x.jpg");
    assert_expands(state, "a[1]*.jpg", false, expected, 1);
}

/* Whatever the names: a picture that is read must not be written over. */
static void knows_where_the_inputs_are(void **state)
{
    nx_error err = {0};
    nx_inputs inputs;
    make_dir(state, "d");
    make_dir(state, "d/out");
    touch(state, "d/a.jpg");
    touch(state, "d/b.jpg");
    assert_int_equal(symlink("d", scratch_path(state, "link")), 0);
    const char *const operands[] = {"-", "gone.jpg", scratch_path(state, "d/a.jpg")};
    nx_assert_ok(expand(operands, 3, false, &inputs, &err), err);
    assert_true(nx_inputs_at(&inputs, scratch_path(state, "d/a.jpg")));
    assert_true(nx_inputs_at(&inputs, scratch_path(state, "link/../d//a.jpg")));
    assert_true(nx_inputs_at(&inputs, scratch_path(state, "d")));
    assert_true(nx_inputs_at(&inputs, scratch_path(state, "link/")));
    assert_true(nx_inputs_at(&inputs, ".")); /* where gone.jpg would be */
    assert_false(nx_inputs_at(&inputs, scratch_path(state, "d/b.jpg")));
    assert_false(nx_inputs_at(&inputs, scratch_path(state, "d/out")));
    assert_false(nx_inputs_at(&inputs, scratch_path(state, "d/new")));
    assert_false(nx_inputs_at(&inputs, *state));
    nx_inputs_free(&inputs);
}

#define in_folder(function) cmocka_unit_test_setup_teardown(function, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_files_in_their_order),
        cmocka_unit_test(keeps_more_than_the_first_block),
        cmocka_unit_test(standard_input_is_read_once),
        in_folder(standard_input_is_no_folder),
        in_folder(folder_gives_its_pictures_sorted),
        in_folder(recursion_goes_into_subfolders),
        in_folder(recursion_does_not_follow_links_to_folders),
        in_folder(named_link_to_a_folder_is_that_folder),
        in_folder(folder_skips_pipes_and_keeps_broken_links),
        in_folder(folder_that_cannot_be_listed_is_kept),
        in_folder(folder_without_pictures_is_refused),
        in_folder(pattern_gives_its_matches_sorted),
        in_folder(pattern_without_a_match_is_refused),
        in_folder(folder_in_a_pattern_counts_as_named),
        in_folder(file_with_the_signs_of_a_pattern_is_a_file),
        in_folder(knows_where_the_inputs_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

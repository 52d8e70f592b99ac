#include "scratch.h"

#include "base/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static size_t open_descriptors(void)
{
    size_t count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

static void maps_a_file(void **state)
{
    const char *path = scratch_write(state, "mapped", "hello", 5);
    nx_error err = {0};
    nx_file_map map = {0};
    nx_assert_ok(nx_file_map_open(path, &map, &err), err);
    assert_int_equal(map.size, 5);
    assert_memory_equal(map.data, "hello", 5);
    nx_file_unmap(&map);
    assert_null(map.data);
    nx_file_unmap(&map);
    nx_file_unmap(NULL);
}

static void maps_an_empty_file_as_nothing(void **state)
{
    const char *path = scratch_write(state, "empty", "", 0);
    nx_error err = {0};
    nx_file_map map = {0};
    nx_assert_ok(nx_file_map_open(path, &map, &err), err);
    assert_null(map.data);
    assert_int_equal(map.size, 0);
    nx_file_unmap(&map);
}

static void map_refuses(const char *path, nx_status expected, const char *part)
{
    nx_error err = {0};
    nx_file_map map = {.size = 1};
    assert_int_equal(nx_file_map_open(path, &map, &err), expected);
    assert_int_equal(err.status, expected);
    nx_assert_contains(err.message, path);
    nx_assert_contains(err.message, part);
    assert_null(map.data);
    assert_int_equal(map.size, 0);
}

static void map_says_what_is_wrong(void **state)
{
    size_t before = open_descriptors();
    map_refuses(scratch_path(state, "missing"), NX_ERR_NOT_FOUND, "No such file or directory");
    map_refuses(*state, NX_ERR_INVALID, "is a folder");
    map_refuses("/dev/null", NX_ERR_INVALID, "not a regular file");
    const char *pipe = scratch_path(state, "pipe");
    assert_int_equal(mkfifo(pipe, 0600), 0);
    map_refuses(pipe, NX_ERR_INVALID, "not a regular file"); /* and does not wait for a writer */
    assert_int_equal(open_descriptors(), before);
}

static void reads_up_to_the_limit(void **state)
{
    const char *path = scratch_write(state, "read", "0123456789", 10);
    nx_error err = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_buffer_append_str(&out, "old");
    nx_assert_ok(nx_file_read(path, 10, &out, &err), err);
    assert_string_equal(nx_buffer_cstr(&out), "0123456789");
    assert_int_equal(nx_file_read(path, 9, &out, &err), NX_ERR_TOO_LARGE);
    nx_assert_contains(err.message, "larger than the limit of 9 bytes");
    assert_int_equal(nx_file_read(*state, 9, &out, &err), NX_ERR_INVALID);
    assert_int_equal(nx_file_read(scratch_path(state, "missing"), 9, &out, &err), NX_ERR_NOT_FOUND);
    /* has no size of its own, so only reading tells */
    nx_assert_ok(nx_file_read("/proc/self/status", 1 << 20, &out, &err), err);
    nx_assert_contains(nx_buffer_cstr(&out), "VmRSS");
    assert_int_equal(nx_file_read("/proc/self/status", 10, &out, &err), NX_ERR_TOO_LARGE);
    nx_buffer_free(&out);
}

static void reads_a_large_file_whole(void **state)
{
    size_t size = 300001;
    char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (char)(i * 31 >> 3);
    }
    const char *path = scratch_write(state, "large", bytes, size);
    nx_error err = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read(path, size, &out, &err), err);
    assert_int_equal(out.size, size);
    assert_memory_equal(out.data, bytes, size);
    nx_buffer_free(&out);
    free(bytes);
}

static void reads_standard_input(void **state)
{
    (void)state;
    int ends[2];
    int kept = dup(STDIN_FILENO);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "piped", 5), 5);
    close(ends[1]);
    assert_int_equal(dup2(ends[0], STDIN_FILENO), STDIN_FILENO);
    close(ends[0]);
    nx_error err = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_status status = nx_file_read("-", 100, &out, &err);
    dup2(kept, STDIN_FILENO);
    close(kept);
    nx_assert_ok(status, err);
    assert_string_equal(nx_buffer_cstr(&out), "piped");
    nx_buffer_free(&out);
}

static void assert_holds(const char *path, const char *expected)
{
    nx_error err = {0};
    nx_buffer out = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read(path, 1000, &out, &err), err);
    assert_string_equal(nx_buffer_cstr(&out), expected);
    nx_buffer_free(&out);
}

static void writes_and_replaces(void **state)
{
    const char *path = scratch_path(state, "written");
    nx_error err = {0};
    nx_assert_ok(nx_file_write(path, "one", 3, &err), err);
    nx_assert_ok(nx_file_write(path, "two!", 4, &err), err);
    assert_holds(path, "two!");
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0644);
}

/* A limit on file sizes stands for a full disk: the old file stays, and nothing lies around. */
static void failed_write_leaves_the_old_file(void **state)
{
    char folder[PATH_MAX];
    nx_error err = {0};
    snprintf(folder, sizeof folder, "%s", scratch_path(state, "full"));
    assert_int_equal(mkdir(folder, 0700), 0);
    const char *path = scratch_path(state, "full/file");
    nx_assert_ok(nx_file_write(path, "old", 3, &err), err);

    struct rlimit kept;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    struct rlimit small = {.rlim_cur = 1000, .rlim_max = kept.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    char bytes[5000] = {0};
    nx_status status = nx_file_write(path, bytes, sizeof bytes, &err);
    setrlimit(RLIMIT_FSIZE, &kept);
    signal(SIGXFSZ, handler);

    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, path);
    nx_assert_contains(err.message, "File too large");
    assert_holds(path, "old");
    size_t entries = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while (readdir(dir) != NULL) {
        entries++;
    }
    closedir(dir);
    assert_int_equal(entries, 3); /* ".", ".." and the file */
}

static void write_says_what_is_wrong(void **state)
{
    nx_error err = {0};
    size_t before = open_descriptors();
    assert_int_equal(nx_file_write(scratch_path(state, "no/folder"), "x", 1, &err), NX_ERR_IO);
    nx_assert_contains(err.message, "No such file or directory");
    assert_int_equal(nx_file_write(*state, "x", 1, &err), NX_ERR_IO);
    nx_assert_contains(err.message, "Is a directory");
    char path[PATH_MAX + 10];
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_int_equal(nx_file_write(path, "x", 1, &err), NX_ERR_INVALID);
    nx_assert_contains(err.message, "too long");
    assert_int_equal(open_descriptors(), before);
}

static void links_stay_links(void **state)
{
    char target[PATH_MAX];
    nx_error err = {0};
    snprintf(target, sizeof target, "%s", scratch_write(state, "target", "a longer text", 13));
    const char *path = scratch_path(state, "link");
    assert_int_equal(symlink(target, path), 0);
    nx_assert_ok(nx_file_write(path, "new", 3, &err), err);
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_holds(target, "new");
}

static void pipes_are_written_into(void **state)
{
    const char *path = scratch_path(state, "out");
    nx_error err = {0};
    char got[10] = {0};
    assert_int_equal(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    assert_true(reader >= 0);
    nx_assert_ok(nx_file_write(path, "through", 7, &err), err);
    assert_int_equal(read(reader, got, sizeof got), 7);
    assert_string_equal(got, "through");
    close(reader);
    struct stat info;
    assert_int_equal(lstat(path, &info), 0);
    assert_true(S_ISFIFO(info.st_mode));
}

static void makes_folders_and_their_parents(void **state)
{
    nx_error err = {0};
    struct stat info;
    nx_assert_ok(nx_file_make_dirs(scratch_path(state, "a//b/c/"), &err), err);
    assert_int_equal(stat(scratch_path(state, "a/b/c"), &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    nx_assert_ok(nx_file_make_dirs(scratch_path(state, "a/b/c"), &err), err);
    nx_assert_ok(nx_file_write(scratch_path(state, "a/b/c/file"), "x", 1, &err), err);
    assert_int_equal(symlink("/etc", scratch_path(state, "a/b/link")), 0);
    nx_file_remove_tree(scratch_path(state, "a/b"));
    assert_int_not_equal(access(scratch_path(state, "a/b"), F_OK), 0);
    assert_int_equal(access("/etc", F_OK), 0);
    nx_file_remove_tree(scratch_path(state, "a/b"));
    nx_assert_ok(nx_file_make_dirs("/", &err), err);
    (void)scratch_write(state, "a/file", "x", 1);
    assert_int_equal(nx_file_make_dirs(scratch_path(state, "a/file/d"), &err), NX_ERR_IO);
    nx_assert_contains(err.message, "a/file");
    assert_int_equal(nx_file_make_dirs("", &err), NX_ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(maps_a_file),
        cmocka_unit_test(maps_an_empty_file_as_nothing),
        cmocka_unit_test(map_says_what_is_wrong),
        cmocka_unit_test(reads_up_to_the_limit),
        cmocka_unit_test(reads_a_large_file_whole),
        cmocka_unit_test(reads_standard_input),
        cmocka_unit_test(writes_and_replaces),
        cmocka_unit_test(failed_write_leaves_the_old_file),
        cmocka_unit_test(write_says_what_is_wrong),
        cmocka_unit_test(links_stay_links),
        cmocka_unit_test(pipes_are_written_into),
        cmocka_unit_test(makes_folders_and_their_parents),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

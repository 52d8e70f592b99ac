/* The record of a video job on disk: written in parts, cut, gone on with, read while it grows. */
#include "jobs/frame_log.h"
#include "scratch.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

static const char *const class_names[] = {"person", "car"};
static const nx_class_names names = {class_names, NX_COUNT(class_names)};

/* The record of a frame: the same for a number, another for each. */
static nx_status put(nx_frame_log *log, uint64_t number, nx_error *err)
{
    nx_frame_object objects[20];
    for (size_t i = 0; i < NX_COUNT(objects); i++) {
        float x = (float)(number % 100) + (float)i / 4;
        objects[i] = (nx_frame_object){.box = {x, 2, x + 30, 40, 0.5F, (int32_t)(i % 2), 0},
                                       .track_id = i + 1 + number / 50};
    }
    const nx_frame_record record = {.index = number,
                                    .time_ns = (int64_t)number * 40000000,
                                    .inferred = true,
                                    .objects = objects,
                                    .object_count = number % (NX_COUNT(objects) + 1)};
    return nx_frame_log_add(log, &record, names, err);
}

static void add(nx_frame_log *log, uint64_t number)
{
    nx_error err = {0};
    nx_assert_ok(put(log, number, &err), err);
}

static uint64_t end_part(nx_frame_log *log)
{
    uint64_t size = 0;
    nx_error err = {0};
    nx_assert_ok(nx_frame_log_end_part(log, &size, &err), err);
    return size;
}

static nx_frame_log *open_log(const char *path, uint64_t size)
{
    nx_frame_log *log = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_frame_log_open(path, size, &log, &err), err);
    return log;
}

/* Reads `size` bytes of it and checks that they are frames 0, 1, ... in order; returns how many. */
static uint64_t count_frames(const char *path, uint64_t size)
{
    nx_frame_log_reader *reader = NULL;
    nx_frame_record record;
    nx_error err = {0};
    bool end = false;
    uint64_t count = 0;
    nx_assert_ok(nx_frame_log_reader_open(path, size, &reader, &err), err);
    for (;; count++) {
        nx_assert_ok(nx_frame_log_next(reader, &record, &end, &err), err);
        if (end) {
            break;
        }
        assert_int_equal(record.index, count);
        assert_int_equal(record.time_ns, (int64_t)count * 40000000);
        assert_int_equal(record.object_count, count % 21);
        if (record.object_count > 0) {
            assert_int_equal(record.objects[0].track_id, 1 + count / 50);
        }
    }
    nx_frame_log_reader_free(reader);
    return count;
}

static char *slurp(const char *path, size_t *size)
{
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    *size = (size_t)info.st_size;
    FILE *file = fopen(path, "rb");
    char *bytes = malloc(*size + 1);
    assert_non_null(file);
    assert_non_null(bytes);
    assert_int_equal(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

static void what_is_written_is_read(void **state)
{
    const char *path = scratch_path(state, "log");
    nx_frame_log *log = open_log(path, 0);
    uint64_t sizes[5];
    for (uint64_t i = 0; i < 500; i++) {
        add(log, i);
        if (i % 100 == 99) {
            sizes[i / 100] = end_part(log);
            assert_int_equal(count_frames(path, UINT64_MAX), i + 1); /* while the writer has it */
        }
    }
    assert_int_equal(end_part(log), sizes[4]); /* an empty part is none */
    nx_frame_log_close(log);
    for (uint64_t i = 0; i < 5; i++) {
        assert_int_equal(count_frames(path, sizes[i]), 100 * (i + 1));
    }
    assert_int_equal(count_frames(path, 0), 0);
    struct stat info;
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_size, sizes[4]);
    assert_true(sizes[4] < 500 * 10 * 130 / 5); /* of what the lines take */
}

static void write_all(const char *path, uint64_t stop_at)
{
    uint64_t kept = 0;
    uint64_t begin = 0;
    nx_frame_log *log = open_log(path, 0);
    for (uint64_t i = 0; i < 300; i++) {
        add(log, i);
        if (i % 50 == 49) {
            kept = end_part(log);
            begin = i + 1;
        }
        if (i == stop_at) { /* a crash: what was written of the open part is there or not */
            nx_frame_log_close(log);
            log = open_log(path, kept);
            i = begin - 1;
            stop_at = UINT64_MAX;
        }
    }
    (void)end_part(log);
    nx_frame_log_close(log);
}

static void a_writer_that_goes_on_gives_the_same_bytes(void **state)
{
    size_t size = 0;
    write_all(scratch_path(state, "whole"), UINT64_MAX);
    char *whole = slurp(scratch_path(state, "whole"), &size);
    static const uint64_t stops[] = {0, 1, 49, 50, 120, 298};
    for (size_t i = 0; i < NX_COUNT(stops); i++) {
        size_t again_size = 0;
        write_all(scratch_path(state, "again"), stops[i]);
        char *again = slurp(scratch_path(state, "again"), &again_size);
        assert_int_equal(again_size, size);
        assert_memory_equal(again, whole, size);
        free(again);
    }
    free(whole);
}

static void damage_is_found(void **state)
{
    const char *path = scratch_path(state, "damaged");
    size_t size = 0;
    nx_error err = {0};
    write_all(path, UINT64_MAX);
    char *bytes = slurp(path, &size);
    for (size_t i = 0; i < 60; i++) {
        bool cut = i % 2 == 0;
        size_t at = 1 + i * (size - 2) / 60;
        bytes[at] ^= 0x5a;
        scratch_write(state, "damaged", bytes, cut ? at : size);
        bytes[at] ^= 0x5a;
        nx_frame_log_reader *reader = NULL;
        nx_frame_record record;
        bool end = false;
        uint64_t count = 0;
        nx_assert_ok(nx_frame_log_reader_open(path, UINT64_MAX, &reader, &err), err);
        nx_status status = NX_OK;
        while (status == NX_OK && !end) {
            status = nx_frame_log_next(reader, &record, &end, &err);
            count += status == NX_OK && !end;
        }
        if (status != NX_OK) {
            assert_int_equal(status, NX_ERR_CORRUPT);
            nx_assert_contains(err.message, path);
        } else {
            assert_true(cut && count % 50 == 0); /* it was cut behind a part */
        }
        nx_frame_log_reader_free(reader);
    }
    free(bytes);
}

static void what_is_wrong_is_told(void **state)
{
    nx_error err = {0};
    nx_frame_log *log = NULL;
    nx_frame_log_reader *reader = NULL;
    const char *path = scratch_write(state, "short", "abc", 3);
    assert_int_equal(nx_frame_log_open(path, 4, &log, &err), NX_ERR_CORRUPT);
    nx_assert_contains(err.message, "cut short: 3 bytes of 4");
    assert_int_equal(nx_frame_log_open("/nonexistent/log", 0, &log, &err), NX_ERR_IO);
    assert_null(log);
    assert_int_equal(
        nx_frame_log_reader_open(scratch_path(state, "none"), UINT64_MAX, &reader, &err),
        NX_ERR_NOT_FOUND);
    assert_null(reader);
    nx_frame_log_close(NULL);
    nx_frame_log_reader_free(NULL);
}

static void a_full_disk_is_told(void **state)
{
    const char *path = scratch_path(state, "full");
    struct rlimit before;
    nx_error err = {0};
    uint64_t size = 0;
    nx_frame_log *log = open_log(path, 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    const struct rlimit little = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &little), 0);
    nx_status status = NX_OK;
    for (uint64_t i = 0; status == NX_OK && i < 500; i++) {
        status = put(log, i, &err);
    }
    if (status == NX_OK) {
        status = nx_frame_log_end_part(log, &size, &err);
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, path);
    nx_frame_log_close(log);
}

/* The lines of the first `size` bytes, as nx_frame_log_expand writes them. */
static nx_status expand(void **state, const char *path, uint64_t size, uint64_t most, char **out,
                        uint64_t *written, nx_error *err)
{
    char *lines = strdup(scratch_path(state, "lines"));
    size_t there = 0;
    int from = open(path, O_RDONLY | O_CLOEXEC);
    int to = open(lines, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(from >= 0 && to >= 0);
    nx_status status = nx_frame_log_expand(from, size, to, most, written, err);
    close(from);
    close(to);
    *out = NULL;
    if (status == NX_OK) {
        *out = slurp(lines, &there);
        assert_int_equal(there, *written);
    }
    free(lines);
    return status;
}

static void all_lines_come_at_once(void **state)
{
    char *path = strdup(scratch_path(state, "whole"));
    nx_frame_log *log = open_log(path, 0);
    nx_error err = {0};
    uint64_t sizes[3];
    uint64_t written = 0;
    uint64_t before = 0;
    char *lines = NULL;
    for (uint64_t i = 0; i < 3000; i++) { /* more than the decompressor gives at once */
        add(log, i);
        if (i % 1000 == 999) {
            sizes[i / 1000] = end_part(log);
        }
    }
    nx_frame_log_close(log);
    nx_assert_ok(expand(state, path, 0, 100, &lines, &written, &err), err);
    assert_int_equal(written, 0);
    free(lines);
    for (size_t part = 0; part < NX_COUNT(sizes); part++) {
        nx_frame_log_reader *reader = NULL;
        const char *text = NULL;
        size_t size = 0;
        uint64_t at = 0;
        nx_assert_ok(expand(state, path, sizes[part], UINT64_MAX, &lines, &written, &err), err);
        nx_assert_ok(nx_frame_log_reader_open(path, sizes[part], &reader, &err), err);
        nx_assert_ok(nx_frame_log_line(reader, &text, &size, &err), err);
        while (text != NULL) {
            assert_true(at + size <= written);
            assert_memory_equal(lines + at, text, size);
            at += size;
            nx_assert_ok(nx_frame_log_line(reader, &text, &size, &err), err);
        }
        assert_int_equal(at, written);
        assert_true(written > before);
        before = written;
        nx_frame_log_reader_free(reader);
        free(lines);
    }
    nx_assert_ok(expand(state, path, sizes[2], before, &lines, &written, &err), err);
    free(lines);
    assert_int_equal(expand(state, path, sizes[2], before - 1, &lines, &written, &err),
                     NX_ERR_TOO_LARGE);
    assert_int_equal(expand(state, path, sizes[1] - 1, UINT64_MAX, &lines, &written, &err),
                     NX_ERR_CORRUPT);
    assert_int_equal(expand(state, path, sizes[2] + 1, UINT64_MAX, &lines, &written, &err),
                     NX_ERR_CORRUPT);
    size_t size = 0;
    char *bytes = slurp(path, &size);
    bytes[size / 2] ^= 0x10;
    (void)scratch_write(state, "broken", bytes, size);
    assert_int_equal(
        expand(state, scratch_path(state, "broken"), size, UINT64_MAX, &lines, &written, &err),
        NX_ERR_CORRUPT);
    free(bytes);
    free(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_writer_that_goes_on_gives_the_same_bytes),
        cmocka_unit_test(damage_is_found),
        cmocka_unit_test(what_is_wrong_is_told),
        cmocka_unit_test(a_full_disk_is_told),
        cmocka_unit_test(all_lines_come_at_once),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}

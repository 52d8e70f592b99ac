/* The formats of a backup: lines of rows, and the manifest. */
#include "testing.h"

#include "backup/lines.h"
#include "backup/manifest.h"

#include <sodium.h>

static nx_cell text_cell(const char *text)
{
    return (nx_cell){.kind = NX_CELL_TEXT, .bytes = text, .size = strlen(text)};
}

static void rows_come_back_as_they_were(void **state)
{
    (void)state;
    const nx_cell cells[] = {
        {.kind = NX_CELL_NULL},
        {.kind = NX_CELL_INT, .number = INT64_MIN},
        {.kind = NX_CELL_INT, .number = INT64_MAX},
        text_cell(""),
        text_cell("tab\t quote\" back\\slash \n line \x01 \xc3\xa9 \xf0\x9f\x8e\xa5"),
        text_cell("no UTF-8: \xff\xfe \xed\xa0\x80"),
        {.kind = NX_CELL_BLOB, .bytes = "", .size = 0},
        {.kind = NX_CELL_BLOB, .bytes = "\0\1\2\377", .size = 4},
    };
    nx_buffer text = NX_BUFFER_INIT;
    nx_line line = {0};
    nx_error err = {0};
    nx_lines_row(cells, NX_COUNT(cells), &text);
    assert_int_equal(text.data[text.size - 1], '\n');
    assert_null(memchr(text.data, '\n', text.size - 1));
    nx_assert_ok(nx_line_read(&line, text.data, text.size - 1, &err), err);
    assert_false(line.is_table);
    assert_int_equal(line.count, NX_COUNT(cells));
    for (size_t i = 0; i < NX_COUNT(cells); i++) {
        assert_int_equal(line.cells[i].kind, cells[i].kind);
        assert_true(line.cells[i].number == cells[i].number);
        assert_int_equal(line.cells[i].size, cells[i].size);
        if (cells[i].size > 0) {
            assert_memory_equal(line.cells[i].bytes, cells[i].bytes, cells[i].size);
        }
    }
    nx_line_free(&line);
    nx_buffer_free(&text);
}

static void tables_come_back_as_they_were(void **state)
{
    (void)state;
    const nx_dump_table table = {
        .name = "job_events",
        .columns = {{"job_id", NX_CELL_TEXT}, {"seq", NX_CELL_INT}, {"state", NX_CELL_BLOB}},
        .count = 3};
    nx_buffer text = NX_BUFFER_INIT;
    nx_line line = {0};
    nx_error err = {0};
    nx_lines_table(&table, &text);
    nx_assert_ok(nx_line_read(&line, text.data, text.size - 1, &err), err);
    assert_true(line.is_table);
    assert_memory_equal(&line.table, &table, sizeof table);
    nx_line_free(&line);
    nx_buffer_free(&text);
}

static void other_lines_are_refused(void **state)
{
    (void)state;
    static const char *const lines[] = {
        "",
        "1",
        "[1.5]",
        "[1e3]",
        "[9223372036854775808]",
        "[true]",
        "[[1]]",
        "[1",
        "[1] ]",
        "[\"a\\u0000b\"]",
        "[{\"base64\":\"?\"}]",
        "[{\"base64\":\"AA==\",\"x\":1}]",
        "[{\"text64\":\"AA==\"}]",
        "[{}]",
        "[{\"hex\":\"00\"}]",
        "{}",
        "{\"table\":\"a\"}",
        "{\"table\":\"a\",\"columns\":[]}",
        "{\"table\":\"a\\\"; DROP TABLE b\",\"columns\":[[\"a\",\"int\"]]}",
        "{\"table\":\"a\",\"columns\":[[\"a b\",\"int\"]]}",
        "{\"table\":\"a\",\"columns\":[[\"a\",\"real\"]]}",
        "{\"table\":\"a\",\"columns\":[[\"a\"]]}",
        "{\"table\":\"a\",\"columns\":[[\"a\",\"int\",\"x\"]]}",
        "{\"table\":\"a\",\"columns\":[[\"a\",\"int\"]],\"more\":1}",
    };
    nx_line line = {0};
    for (size_t i = 0; i < NX_COUNT(lines); i++) {
        nx_error err = {0};
        if (nx_line_read(&line, lines[i], strlen(lines[i]), &err) != NX_ERR_CORRUPT) {
            fail_msg("taken: %s", lines[i]);
        }
        assert_true(err.message[0] != '\0');
    }
    nx_line_free(&line);
}

static nx_manifest small_manifest(void)
{
    nx_manifest made = {.id = "20261129T101500123Z-1a2b",
                        .made_at = 1795948500123,
                        .nexus = "0.1.0",
                        .host = "a \"host\"",
                        .kind = "sqlite",
                        .schema = 11,
                        .database_size = 77};
    memset(made.database_sha256, 'a', 64);
    made.table_count = 1;
    strcpy(made.tables[0].name, "videos");
    made.tables[0].rows = 3;
    memset(made.tables[0].sha256, 'b', 64);
    made.object_count = 40; /* so that arrays grow */
    made.objects = calloc(40, sizeof *made.objects);
    for (size_t i = 0; i < 40; i++) {
        memset(made.objects[i].sha256, "0123456789abcdef"[i % 16], 64);
        made.objects[i].size = (int64_t)i * 1000;
    }
    made.missing_count = 1;
    made.missing = calloc(1, sizeof *made.missing);
    memset(made.missing[0].sha256, 'd', 64);
    made.file_count = 1;
    made.files = calloc(1, sizeof *made.files);
    made.files[0].name = strdup("yolov8n/1/model.onnx");
    memset(made.files[0].content.sha256, 'e', 64);
    made.files[0].content.size = 12;
    return made;
}

static void a_manifest_comes_back_as_it_was(void **state)
{
    (void)state;
    nx_manifest made = small_manifest();
    nx_manifest read;
    nx_buffer text = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_manifest_write(&made, &text);
    nx_assert_ok(nx_manifest_read(text.data, text.size, &read, &err), err);
    assert_string_equal(read.id, made.id);
    assert_string_equal(read.host, made.host);
    assert_string_equal(read.kind, made.kind);
    assert_true(read.made_at == made.made_at && read.schema == 11 && read.database_size == 77);
    assert_int_equal(read.table_count, 1);
    assert_memory_equal(&read.tables[0], &made.tables[0], sizeof read.tables[0]);
    assert_int_equal(read.object_count, 40);
    for (size_t i = 0; i < 40; i++) {
        assert_string_equal(read.objects[i].sha256, made.objects[i].sha256);
        assert_true(read.objects[i].size == made.objects[i].size);
    }
    assert_int_equal(read.missing_count, 1);
    assert_string_equal(read.files[0].name, "yolov8n/1/model.onnx");
    assert_true(nx_manifest_bytes(&read) == 780000 + 12);
    nx_manifest_free(&read);
    for (size_t i = 0; i < text.size; i++) { /* each byte counts */
        text.data[i] ^= 1;
        assert_int_equal(nx_manifest_read(text.data, text.size, &read, &err), NX_ERR_CORRUPT);
        text.data[i] ^= 1;
        assert_int_equal(nx_manifest_read(text.data, i, &read, &err), NX_ERR_CORRUPT);
    }
    nx_manifest_free(&made);
    nx_buffer_free(&text);
}

/* A manifest whose hash fits is still no reason to believe it. */
static void a_manifest_of_bad_words_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
        nx_status status;
    } changes[] = {
        {"\"version\":1", "\"version\":2", NX_ERR_UNSUPPORTED},
        {"20261129T101500123Z", "../../x", NX_ERR_CORRUPT},
        {"yolov8n/1/model.onnx", "yolov8n/../../model.onnx", NX_ERR_CORRUPT},
        {"yolov8n/1/model.onnx", "/etc/passwd", NX_ERR_CORRUPT},
        {"yolov8n/1/model.onnx", "a\\u0000b", NX_ERR_CORRUPT},
        {"\"schema\":11", "\"schema\":-1", NX_ERR_CORRUPT},
        {"\"size\":12", "\"size\":1.5", NX_ERR_CORRUPT},
        {"\"rows\":3", "\"rows\":\"3\"", NX_ERR_CORRUPT},
        {"\"objects\":[", "\"objects\":[[\"x\",1],", NX_ERR_CORRUPT},
    };
    nx_manifest made = small_manifest();
    nx_buffer text = NX_BUFFER_INIT;
    nx_manifest_write(&made, &text);
    for (size_t i = 0; i < NX_COUNT(changes); i++) {
        nx_buffer other = NX_BUFFER_INIT;
        nx_manifest read;
        nx_error err = {0};
        unsigned char hash[crypto_hash_sha256_BYTES];
        char hex[65];
        const char *at = strstr(nx_buffer_cstr(&text), changes[i].from);
        assert_non_null(at);
        nx_buffer_append(&other, text.data, (size_t)(at - text.data));
        nx_buffer_append_str(&other, changes[i].to);
        at += strlen(changes[i].from);
        nx_buffer_append(&other, at, strcspn(at, "\n"));
        crypto_hash_sha256(hash, (const unsigned char *)other.data, other.size);
        sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
        nx_buffer_printf(&other, "\n%s\n", hex);
        if (nx_manifest_read(other.data, other.size, &read, &err) != changes[i].status) {
            fail_msg("%s: %s", changes[i].to, err.message);
        }
        nx_buffer_free(&other);
    }
    nx_manifest_free(&made);
    nx_buffer_free(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_were),
        cmocka_unit_test(tables_come_back_as_they_were),
        cmocka_unit_test(other_lines_are_refused),
        cmocka_unit_test(a_manifest_comes_back_as_it_was),
        cmocka_unit_test(a_manifest_of_bad_words_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

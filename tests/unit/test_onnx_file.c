#include "protobuf.h"

#include "base/file.h"
#include "engine/onnx_file.h"

#include <stdbool.h>

/* As PyTorch's exporter writes them: version, producer, graph, operator set, metadata. */
static nx_buffer small_model(void)
{
    nx_buffer file = NX_BUFFER_INIT;
    pb_int(&file, 1, 8);
    pb_text(&file, 2, "pytorch");
    pb_text(&file, 3, "2.0.1");
    pb_text(&file, 7, "the graph, which nobody looks into here");
    pb_opset(&file, NULL, 17);
    pb_metadata(&file, "task", "detect");
    pb_metadata(&file, "names", "{0: 'person'}");
    assert_false(file.failed);
    return file;
}

static bool is(nx_onnx_text text, const char *expected)
{
    return text.text != NULL && text.size == strlen(expected) &&
           memcmp(text.text, expected, text.size) == 0;
}

static nx_onnx_info inspected(const nx_buffer *file)
{
    nx_onnx_info info;
    nx_error err = {0};
    nx_assert_ok(nx_onnx_inspect(file->data, file->size, "x.onnx", &info, &err), err);
    return info;
}

static void refuses(const void *bytes, size_t size, const char *message)
{
    nx_onnx_info info;
    nx_error err = {0};
    assert_int_equal(nx_onnx_inspect(bytes, size, "x.onnx", &info, &err), NX_ERR_CORRUPT);
    assert_int_equal(err.status, NX_ERR_CORRUPT);
    assert_string_equal(err.message, message);
}

static void refuses_buffer(nx_buffer *file, const char *message)
{
    refuses(file->data, file->size, message);
    nx_buffer_free(file);
}

static void reads_what_the_file_says(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    nx_onnx_info info = inspected(&file);
    assert_int_equal(info.ir_version, 8);
    assert_int_equal(info.opset, 17);
    assert_true(is(info.producer, "pytorch"));
    assert_int_equal(info.metadata_count, 2);
    assert_true(is(nx_onnx_metadata(&info, "task"), "detect"));
    assert_true(is(nx_onnx_metadata(&info, "names"), "{0: 'person'}"));
    assert_null(nx_onnx_metadata(&info, "stride").text);
    assert_null(nx_onnx_metadata(&info, "tas").text);
    assert_null(nx_onnx_metadata(&info, "").text);
    nx_buffer_free(&file);
}

static void fields_come_in_any_order(void **state)
{
    (void)state;
    nx_buffer file = NX_BUFFER_INIT;
    pb_metadata(&file, "task", "detect");
    pb_opset(&file, "com.microsoft", 1); /* other domains have versions of their own */
    pb_opset(&file, "ai.onnx", 12);
    pb_opset(&file, "ai.onnx.ml", 3);
    pb_text(&file, 7, "graph");
    pb_int(&file, 1, 7);
    nx_onnx_info info = inspected(&file);
    assert_int_equal(info.ir_version, 7);
    assert_int_equal(info.opset, 12);
    assert_true(is(nx_onnx_metadata(&info, "task"), "detect"));
    nx_buffer_free(&file);
}

static void unknown_fields_are_skipped(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    pb_int(&file, 5, UINT64_MAX); /* model_version */
    pb_text(&file, 25, "functions");
    pb_text(&file, 500, "from the future");
    pb_varint(&file, 600 << 3 | 1); /* 64 bits */
    nx_buffer_append(&file, "12345678", 8);
    pb_varint(&file, 600 << 3 | 5); /* 32 bits */
    nx_buffer_append(&file, "1234", 4);
    pb_metadata(&file, "author", "someone");
    nx_onnx_info info = inspected(&file);
    assert_true(is(nx_onnx_metadata(&info, "author"), "someone"));
    nx_buffer_free(&file);
}

static void metadata_is_bounded(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    for (int i = 0; i < 100; i++) {
        char key[20];
        snprintf(key, sizeof key, "key%d", i);
        pb_metadata(&file, key, "value");
    }
    pb_metadata(&file, "", "a value without a key");
    nx_onnx_info info = inspected(&file);
    assert_int_equal(info.metadata_count, NX_ONNX_MAX_METADATA);
    assert_non_null(nx_onnx_metadata(&info, "key61").text);
    assert_null(nx_onnx_metadata(&info, "key62").text);
    nx_buffer_free(&file);
}

static void damaged_entries_are_no_metadata(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    pb_bytes(&file, 14, "\x0a\x7f", 2); /* a key of 127 bytes in an entry of 2 */
    pb_bytes(&file, 14, "", 0);
    pb_bytes(&file, 8, "\x0a\x7f", 2);
    pb_opset(&file, NULL, 18);
    nx_onnx_info info = inspected(&file);
    assert_int_equal(info.metadata_count, 2);
    assert_int_equal(info.opset, 18);
    nx_buffer_free(&file);
}

/* A copy that ends exactly where its allocation ends, so that ASan sees every read beyond. */
static char *exact_copy(const char *bytes, size_t size)
{
    char *copy = malloc(size);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    return copy;
}

static void a_cut_at_any_byte_is_noticed(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    /* behind the operator set and behind each metadata entry the file is a whole model again */
    size_t complete[3] = {0};
    nx_buffer part = NX_BUFFER_INIT;
    pb_metadata(&part, "names", "{0: 'person'}");
    complete[1] = file.size - part.size;
    pb_metadata(&part, "task", "detect");
    complete[0] = file.size - part.size;
    complete[2] = file.size;
    nx_buffer_free(&part);
    for (size_t size = 1; size <= file.size; size++) {
        nx_onnx_info info;
        nx_error err = {0};
        char *copy = exact_copy(file.data, size);
        nx_status status = nx_onnx_inspect(copy, size, "x.onnx", &info, &err);
        if (size == complete[0] || size == complete[1] || size == complete[2]) {
            nx_assert_ok(status, err);
        } else if (status != NX_ERR_CORRUPT) {
            fail_msg("%zu of %zu bytes were accepted", size, file.size);
        } else if (size >= 2) { /* the version is there, so this was a model */
            nx_assert_contains(err.message, "x.onnx is cut short");
        }
        free(copy);
    }
    nx_buffer_free(&file);
}

static void changed_bytes_never_crash(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    for (size_t at = 0; at < file.size; at++) {
        for (unsigned value = 0; value < 256; value++) {
            nx_onnx_info info;
            nx_error err = {0};
            char *copy = exact_copy(file.data, file.size);
            copy[at] = (char)value;
            nx_status status = nx_onnx_inspect(copy, file.size, "x.onnx", &info, &err);
            assert_true(status == NX_OK || (status == NX_ERR_CORRUPT && err.message[0] != '\0'));
            for (size_t i = 0; status == NX_OK && i < info.metadata_count; i++) {
                const nx_onnx_text *key = &info.metadata[i].key;
                assert_true(key->text >= copy && key->text + key->size <= copy + file.size);
            }
            free(copy);
        }
    }
    nx_buffer_free(&file);
}

static void a_cut_graph_says_how_much_is_missing(void **state)
{
    (void)state;
    nx_buffer file = NX_BUFFER_INIT;
    pb_int(&file, 1, 8);
    pb_varint(&file, 7 << 3 | 2);
    pb_varint(&file, 5000000);
    nx_buffer_append(&file, "graph", 5);
    refuses_buffer(&file, "x.onnx is cut short: the graph at byte 7 needs 5000000 bytes, but the "
                          "file ends after 12; copy or download it again");

    pb_int(&file, 1, 8);
    pb_varint(&file, 2 << 3 | 2);
    pb_varint(&file, UINT64_MAX); /* more than can be added to any address */
    refuses_buffer(&file, "x.onnx is cut short: a field at byte 13 needs 18446744073709551615 "
                          "bytes, but the file ends after 13; copy or download it again");

    pb_int(&file, 1, 8);
    pb_text(&file, 7, "graph");
    refuses_buffer(&file, "x.onnx is cut short at byte 9: it has no operator set; copy or "
                          "download it again");

    pb_int(&file, 1, 8);
    pb_text(&file, 2, "pytorch");
    refuses_buffer(&file, "x.onnx is cut short at byte 11: it has no graph; copy or download it "
                          "again");

    pb_int(&file, 1, 2); /* before operator sets were required */
    pb_text(&file, 7, "graph");
    (void)inspected(&file);
    nx_buffer_free(&file);
}

static void damage_behind_the_graph_is_located(void **state)
{
    (void)state;
    nx_buffer file = small_model();
    size_t at = file.size;
    char expected[200];
    nx_buffer_append(&file, "\x0b\x0b\x0b\x0b", 4); /* a group, which onnx.proto3 has none of */
    snprintf(expected, sizeof expected,
             "x.onnx is damaged: what stands at byte %zu belongs into no ONNX file; copy or "
             "download it again",
             at);
    refuses_buffer(&file, expected);

    file = small_model();
    nx_buffer_append(&file, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11);
    refuses_buffer(&file, expected);
}

static void other_files_are_described(void **state)
{
    (void)state;
    refuses("", 0, "x.onnx is empty (0 bytes)");
    refuses("not a model\n", 12,
            "x.onnx is not an ONNX model: it is text that starts with 'not a model '");
    refuses("version https://git-lfs.github.com/spec/v1\n", 43,
            "x.onnx is not an ONNX model: it is text that starts with 'version https://git-lfs.'");
    refuses("PK\x03\x04zip", 7, "x.onnx is not an ONNX model: its first bytes are 50 4b 03 04");
    refuses("\x89PNG\r\n\x1a\n", 8, "x.onnx is not an ONNX model: its first bytes are 89 50 4e 47");
    refuses("\xff", 1, "x.onnx is not an ONNX model: its first bytes are ff 00 00 00");
    refuses("\x08", 1, "x.onnx is not an ONNX model: its first bytes are 08 00 00 00");
    nx_buffer file = NX_BUFFER_INIT;
    pb_text(&file, 7, "a graph without a version");
    pb_opset(&file, NULL, 17);
    refuses_buffer(&file, "x.onnx is not an ONNX model: its first bytes are 3a 19 61 20");
}

static void each_broken_file_has_its_own_message(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const struct {
        const char *file;
        const char *message; /* NULL: the file as such is whole */
    } cases[] = {
        {"models/broken/empty.onnx", " is empty (0 bytes)"},
        {"models/broken/text.onnx", " is not an ONNX model: it is text that starts with '"},
        {"models/broken/truncated.onnx",
         " bytes, but the file ends after 1000000; copy or download it again"},
        {"models/broken/not-a-detector.onnx", NULL},
        {"models/broken/declared-320-graph-640.onnx", NULL},
    };
    for (size_t i = 0; i < NX_COUNT(cases); i++) {
        nx_file_map map = {0};
        nx_onnx_info info;
        nx_error err = {0};
        nx_assert_ok(nx_file_map_open(nx_shared_path(cases[i].file), &map, &err), err);
        nx_status status = nx_onnx_inspect(map.data, map.size, cases[i].file, &info, &err);
        if (cases[i].message == NULL) {
            nx_assert_ok(status, err);
            assert_true(info.opset > 0);
        } else {
            assert_int_equal(status, NX_ERR_CORRUPT);
            nx_assert_contains(err.message, cases[i].file);
            nx_assert_contains(err.message, cases[i].message);
        }
        nx_file_unmap(&map);
    }
}

static void the_real_model_is_read(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_file_map map = {0};
    nx_onnx_info info;
    nx_error err = {0};
    nx_assert_ok(nx_file_map_open(nx_shared_path("models/yolov8n.onnx"), &map, &err), err);
    nx_assert_ok(nx_onnx_inspect(map.data, map.size, "yolov8n", &info, &err), err);
    assert_int_equal(info.opset, 17);
    assert_true(is(info.producer, "pytorch"));
    assert_true(is(nx_onnx_metadata(&info, "task"), "detect"));
    assert_true(is(nx_onnx_metadata(&info, "stride"), "32"));
    assert_true(is(nx_onnx_metadata(&info, "imgsz"), "[640, 640]"));
    nx_file_unmap(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_file_says),
        cmocka_unit_test(fields_come_in_any_order),
        cmocka_unit_test(unknown_fields_are_skipped),
        cmocka_unit_test(metadata_is_bounded),
        cmocka_unit_test(damaged_entries_are_no_metadata),
        cmocka_unit_test(a_cut_at_any_byte_is_noticed),
        cmocka_unit_test(changed_bytes_never_crash),
        cmocka_unit_test(a_cut_graph_says_how_much_is_missing),
        cmocka_unit_test(damage_behind_the_graph_is_located),
        cmocka_unit_test(other_files_are_described),
        cmocka_unit_test(each_broken_file_has_its_own_message),
        cmocka_unit_test(the_real_model_is_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

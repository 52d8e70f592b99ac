#include "testing.h"

#include "base/file.h"
#include "engine/sam_graph.h"

static nx_buffer read_shared(const char *name)
{
    nx_error err = {0};
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_assert_ok(nx_file_read(nx_shared_path(name), (size_t)1 << 26, &bytes, &err), err);
    return bytes;
}

static void the_four_masks_of_mobile_sam_are_shown(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_buffer decoder = read_shared("models/mobile_sam_decoder.onnx");
    nx_buffer edited = NX_BUFFER_INIT;
    nx_sam_graph all = {0};
    assert_true(nx_sam_graph_show_all(decoder.data, decoder.size, &edited, &all));
    assert_string_equal(all.masks, "/Reshape_9_output_0");
    assert_string_equal(all.scores, "/iou_prediction_head/layers.2/Gemm_output_0");
    /* nothing is lost: two outputs of a name and four bytes of type, and their headers */
    assert_in_range(edited.size - decoder.size, strlen(all.masks) + strlen(all.scores),
                    strlen(all.masks) + strlen(all.scores) + 24);
    nx_buffer_free(&edited);
    nx_buffer_free(&decoder);
}

static void other_graphs_are_left_alone(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    static const char *const names[] = {
        "models/mobile_sam_encoder.onnx",    "models/yolov8n.onnx",
        "models/broken/not-a-detector.onnx", "models/broken/truncated.onnx",
        "models/broken/text.onnx",           "models/broken/empty.onnx"};
    for (size_t i = 0; i < NX_COUNT(names); i++) {
        nx_buffer file = read_shared(names[i]);
        nx_buffer edited = NX_BUFFER_INIT;
        nx_sam_graph all = {0};
        assert_false(nx_sam_graph_show_all(file.data, file.size, &edited, &all));
        assert_int_equal(edited.size, 0);
        nx_buffer_free(&edited);
        nx_buffer_free(&file);
    }
}

static void damaged_bytes_are_read_safely(void **state)
{
    (void)state;
    NX_NEED_SHARED();
    nx_buffer decoder = read_shared("models/mobile_sam_decoder.onnx");
    nx_buffer edited = NX_BUFFER_INIT;
    nx_sam_graph all;
    uint32_t random = 1;
    for (int i = 0; i < 20; i++) { /* cut, in a block of its exact size for the sanitizer */
        random = random * 1664525 + 1013904223;
        size_t size = random % (i < 10 ? 4096 : decoder.size);
        char *part = malloc(size + 1);
        assert_non_null(part);
        memcpy(part, decoder.data, size);
        (void)nx_sam_graph_show_all(part, size, &edited, &all);
        free(part);
    }
    for (int i = 0; i < 20; i++) { /* and with nodes overwritten */
        for (int n = 0; n < 50; n++) {
            random = random * 1664525 + 1013904223;
            decoder.data[random % (i < 10 ? 4096 : decoder.size)] = (char)(random >> 24);
        }
        (void)nx_sam_graph_show_all(decoder.data, decoder.size, &edited, &all);
    }
    nx_buffer_free(&edited);
    nx_buffer_free(&decoder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_four_masks_of_mobile_sam_are_shown),
        cmocka_unit_test(other_graphs_are_left_alone),
        cmocka_unit_test(damaged_bytes_are_read_safely),
    };
    return cmocka_run_group_tests_name("sam_graph", tests, NULL, NULL);
}

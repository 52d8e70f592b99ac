/* Loading, checking and editing graphs (src/optimize/graph*.c, wire.c). */
#include "onnx_graph.h"

#include "optimize/graph_index.h"
#include "optimize/wire.h"

static const int64_t picture[] = {1, 3, 32, 32};

/* images -> Relu -> a -> Sigmoid -> output, and a Relu that nobody reads. */
static nx_buffer chain(void)
{
    nx_buffer graph = NX_BUFFER_INIT;
    tiny_node(&graph, "Relu", "images", "a", NULL);
    tiny_node(&graph, "Relu", "a", "unread", NULL);
    tiny_node(&graph, "Sigmoid", "a", "output", NULL);
    tiny_value_info(&graph, 11, "images", TINY_FLOAT, picture, 4);
    tiny_value_info(&graph, 12, "output", TINY_FLOAT, picture, 4);
    return graph;
}

/* 0: not imported. */
static int64_t opset_of(nx_graph *graph, const char *domain)
{
    const Onnx__ModelProto *model = nx_graph_model(graph);
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const char *imported = model->opset_import[i]->domain;
        if (strcmp(imported != NULL ? imported : "", domain) == 0) {
            return model->opset_import[i]->version;
        }
    }
    return 0;
}

static void writes_what_it_read(void **state)
{
    (void)state;
    nx_buffer body = chain();
    nx_buffer file = og_file(&body);
    nx_buffer again = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_graph *graph = NULL;
    nx_assert_ok(nx_graph_parse(file.data, file.size, "test.onnx", &graph, &err), err);
    nx_assert_ok(nx_graph_pack(graph, &again, &err), err);
    nx_graph *second = og_parse(&again);
    assert_int_equal(nx_graph_model(second)->graph->n_node, 3);
    assert_string_equal(nx_graph_model(second)->graph->node[2]->op_type, "Sigmoid");
    assert_int_equal(opset_of(second, ""), 17);
    assert_int_equal(opset_of(second, "com.microsoft"), 0);
    nx_graph_free(second);
    nx_graph_free(graph);
    nx_graph_free(NULL);
    nx_buffer_free(&file);
}

static void refuses_what_contradicts_itself(void **state)
{
    (void)state;
    nx_buffer graph = chain();
    tiny_node(&graph, "Relu", "images", "a", NULL);
    nx_buffer file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "the value a is made twice");

    tiny_node(&graph, "Relu", "later", "output", NULL);
    tiny_node(&graph, "Relu", "images", "later", NULL);
    tiny_value_info(&graph, 11, "images", TINY_FLOAT, picture, 4);
    tiny_value_info(&graph, 12, "output", TINY_FLOAT, picture, 4);
    file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "reads later, which nothing has made before it");

    graph = chain();
    tiny_value_info(&graph, 12, "nowhere", TINY_FLOAT, picture, 4);
    file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "nothing makes its output nowhere");

    graph = chain();
    og_floats(&graph, "short", (const int64_t[]){2, 2}, 2, (const float[]){1, 2, 3}, 3);
    file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "the tensor short has not as much data");

    graph = chain();
    og_floats(&graph, "vast", (const int64_t[]){INT64_MAX, INT64_MAX}, 2, (const float[]){1}, 1);
    file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "the tensor vast has not as much data");

    tiny_node(&graph, "Relu", "images", "a", NULL);
    file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "no graph with inputs and outputs");
}

static void refuses_graphs_in_nodes(void **state)
{
    (void)state;
    nx_buffer graph = chain();
    nx_buffer attribute = NX_BUFFER_INIT;
    pb_text(&attribute, 1, "body");
    pb_text(&attribute, 6, ""); /* an empty GraphProto */
    tiny_node(&graph, "Loop", "images", "z", &attribute);
    nx_buffer file = og_file(&graph);
    og_refuses(&file, NX_ERR_UNSUPPORTED, "a graph inside its Loop node");
}

/* A type of a sequence of a sequence of ... must not unpack by as deep a recursion. */
static void refuses_deep_nesting(void **state)
{
    (void)state;
    nx_buffer type = NX_BUFFER_INIT;
    for (int i = 0; i < 5000; i++) {
        nx_buffer sequence = NX_BUFFER_INIT;
        nx_buffer outer = NX_BUFFER_INIT;
        pb_message(&sequence, 1, &type);
        pb_message(&outer, 4, &sequence);
        type = outer;
    }
    nx_buffer graph = chain();
    nx_buffer info = NX_BUFFER_INIT;
    pb_text(&info, 1, "deep");
    pb_message(&info, 2, &type);
    pb_message(&graph, 13, &info);
    nx_buffer file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "deeper than 16 levels");
}

static void refuses_a_length_beyond_its_message(void **state)
{
    (void)state;
    nx_buffer graph = NX_BUFFER_INIT;
    pb_varint(&graph, 1 << 3 | 2); /* a node that says it is longer than the graph */
    pb_varint(&graph, 1000);
    nx_buffer file = og_file(&graph);
    og_refuses(&file, NX_ERR_CORRUPT, "belongs into no ONNX file");
}

/* Constants become initializers, and an Identity only another name, unless it names an output. */
static void takes_constants_and_identities_away(void **state)
{
    (void)state;
    nx_buffer graph = NX_BUFFER_INIT;
    nx_buffer tensor = NX_BUFFER_INIT;
    nx_buffer value = NX_BUFFER_INIT;
    const float two = 2;
    pb_int(&tensor, 1, 1);
    pb_int(&tensor, 2, TINY_FLOAT);
    pb_bytes(&tensor, 9, &two, sizeof two);
    pb_text(&value, 1, "value");
    pb_message(&value, 5, &tensor);
    tiny_node(&graph, "Constant", "", "two", &value);
    tiny_node(&graph, "Identity", "images", "same", NULL);
    tiny_node(&graph, "Mul", "same two", "twice", NULL);
    tiny_node(&graph, "Identity", "twice", "output", NULL);
    tiny_value_info(&graph, 11, "images", TINY_FLOAT, picture, 4);
    tiny_value_info(&graph, 12, "output", TINY_FLOAT, picture, 4);
    nx_buffer file = og_file(&graph);
    nx_graph *g = og_parse(&file);
    const Onnx__GraphProto *body = nx_graph_model(g)->graph;
    assert_int_equal(body->n_node, 2);
    assert_string_equal(body->node[0]->op_type, "Mul");
    assert_string_equal(body->node[0]->input[0], "images");
    assert_string_equal(body->node[1]->op_type, "Identity");
    assert_int_equal(body->n_initializer, 1);
    assert_string_equal(body->initializer[0]->name, "two");
    const float *values = nx_initializer_floats(g, body->initializer[0]);
    assert_true(values[0] == 2);
    nx_graph_free(g);
}

static void sweeps_what_nothing_needs(void **state)
{
    (void)state;
    nx_buffer graph = chain();
    og_floats(&graph, "unused", (const int64_t[]){1}, 1, (const float[]){1}, 1);
    nx_buffer file = og_file(&graph);
    nx_graph *g = og_parse(&file);
    nx_error err = {0};
    nx_assert_ok(nx_graph_sweep(g, &err), err);
    const Onnx__GraphProto *body = nx_graph_model(g)->graph;
    assert_int_equal(body->n_node, 2);
    assert_int_equal(body->n_initializer, 0);
    assert_int_equal(body->n_input, 1);
    nx_graph_free(g);
}

static void knows_makers_and_readers(void **state)
{
    (void)state;
    nx_buffer graph = chain();
    nx_buffer file = og_file(&graph);
    nx_graph *g = og_parse(&file);
    nx_graph_index index;
    nx_error err = {0};
    nx_assert_ok(nx_graph_index_build(g, &index, &err), err);
    nx_value a = nx_graph_index_find(&index, "a");
    assert_int_equal(index.producers[a], 0);
    assert_int_equal(nx_graph_index_readers(&index, a), 2);
    assert_int_equal(index.consumers[index.consumer_at[a]], 1);
    assert_int_equal(index.consumers[index.consumer_at[a] + 1], 2);
    assert_int_equal(nx_graph_index_find(&index, "nothing"), NX_NO_VALUE);
    assert_int_equal(nx_graph_index_input(&index, 0, 1), NX_NO_VALUE);
    assert_true(index.outputs[nx_graph_index_output(&index, 2, 0)]);
    assert_int_equal(nx_graph_index_readers(&index, nx_graph_index_find(&index, "unread")), 0);
    nx_graph_index_free(&index);
    nx_graph_free(g);
}

static void edits(void **state)
{
    (void)state;
    nx_buffer graph = chain();
    nx_buffer file = og_file(&graph);
    nx_graph *g = og_parse(&file);
    nx_error err = {0};
    nx_graph_rename(g, "a", "b");
    nx_graph_set_metadata(g, "key", "one");
    nx_graph_set_metadata(g, "key", "two");
    nx_graph_set_opset(g, "ai.nexus", 1);
    Onnx__NodeProto *node =
        nx_graph_add_node(g, "ai.nexus", "TableU8", (const char *const[]){"b", "b", NULL}, "c");
    nx_node_set_ints(g, node, "list", (const int64_t[]){3, 4}, 2);
    nx_node_set_int(g, node, "one", 7);
    nx_graph_add_initializer(g, "d", ONNX__TENSOR_PROTO__DATA_TYPE__INT64, (const int64_t[]){2}, 1,
                             (const int64_t[]){5, -6}, 16);
    nx_graph_add_output(g, "c", ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT,
                        (const char *const[]){"batch", "3"}, 2);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_assert_ok(nx_graph_pack(g, &bytes, &err), err);
    nx_graph_free(g);
    g = og_parse(&bytes);
    const Onnx__GraphProto *body = nx_graph_model(g)->graph;
    assert_string_equal(body->node[0]->output[0], "b");
    assert_string_equal(body->node[3]->domain, "ai.nexus");
    assert_string_equal(nx_graph_metadata(g, "key"), "two");
    assert_null(nx_graph_metadata(g, "other"));
    assert_int_equal(opset_of(g, "ai.nexus"), 1);
    int64_t list[2];
    assert_true(nx_node_ints(body->node[3], "list", list, 2));
    assert_int_equal(list[1], 4);
    assert_false(nx_node_ints(body->node[3], "list", list, 1));
    assert_int_equal(nx_node_int(body->node[3], "one", 0), 7);
    assert_int_equal(nx_node_int(body->node[3], "none", -1), -1);
    assert_int_equal(nx_initializer_ints(body->initializer[0], list, 2), 2);
    assert_int_equal(list[1], -6);
    assert_int_equal(nx_initializer_ints(body->initializer[0], list, 1), 0);
    const Onnx__TensorShapeProto *shape = body->output[1]->type->tensor_type->shape;
    assert_string_equal(shape->dim[0]->dim_param, "batch");
    assert_int_equal(shape->dim[1]->dim_value, 3);
    nx_graph_free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_what_it_read),
        cmocka_unit_test(refuses_what_contradicts_itself),
        cmocka_unit_test(refuses_graphs_in_nodes),
        cmocka_unit_test(refuses_deep_nesting),
        cmocka_unit_test(refuses_a_length_beyond_its_message),
        cmocka_unit_test(takes_constants_and_identities_away),
        cmocka_unit_test(sweeps_what_nothing_needs),
        cmocka_unit_test(knows_makers_and_readers),
        cmocka_unit_test(edits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "optimize/graph_index.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a */
static size_t hash_of(const char *text)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text != '\0'; text++) {
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    }
    return (size_t)hash;
}

/* The slot of a name: its value's, or the free one where it would go. */
static int32_t *slot_of(const nx_graph_index *index, const char *name)
{
    size_t at = hash_of(name) & (index->slot_count - 1);
    while (index->slots[at] != NX_NO_VALUE && strcmp(index->names[index->slots[at]], name) != 0) {
        at = (at + 1) & (index->slot_count - 1);
    }
    return &index->slots[at];
}

nx_value nx_graph_index_find(const nx_graph_index *index, const char *name)
{
    return *slot_of(index, name);
}

/* Most values there can be, and most inputs and outputs of nodes. */
static void count_names(const Onnx__GraphProto *graph, size_t *inputs, size_t *outputs)
{
    *inputs = 0;
    *outputs = 0;
    for (size_t i = 0; i < graph->n_node; i++) {
        *inputs += graph->node[i]->n_input;
        *outputs += graph->node[i]->n_output;
    }
}

static bool allocate(nx_graph_index *index, const Onnx__GraphProto *graph)
{
    size_t inputs = 0;
    size_t outputs = 0;
    count_names(graph, &inputs, &outputs);
    size_t values = graph->n_input + graph->n_initializer + outputs + 1;
    index->slot_count = 16;
    while (index->slot_count < 2 * values) {
        index->slot_count *= 2;
    }
    index->node_count = graph->n_node;
    index->slots = malloc(index->slot_count * sizeof *index->slots);
    index->names = calloc(values, sizeof *index->names);
    index->producers = calloc(values, sizeof *index->producers);
    index->initializers = calloc(values, sizeof *index->initializers);
    index->outputs = calloc(values, sizeof *index->outputs);
    index->consumer_at = calloc(values + 1, sizeof *index->consumer_at);
    index->consumers = calloc(inputs + 1, sizeof *index->consumers);
    index->input_at = calloc(graph->n_node + 1, sizeof *index->input_at);
    index->inputs = calloc(inputs + 1, sizeof *index->inputs);
    index->output_at = calloc(graph->n_node + 1, sizeof *index->output_at);
    index->made = calloc(outputs + 1, sizeof *index->made);
    if (index->slots == NULL || index->names == NULL || index->producers == NULL ||
        index->initializers == NULL || index->outputs == NULL || index->consumer_at == NULL ||
        index->consumers == NULL || index->input_at == NULL || index->inputs == NULL ||
        index->output_at == NULL || index->made == NULL) {
        return false;
    }
    for (size_t i = 0; i < index->slot_count; i++) {
        index->slots[i] = NX_NO_VALUE;
    }
    return true;
}

/* A new value, or NX_NO_VALUE when the name is taken. */
static nx_value add_value(nx_graph_index *index, const char *name, int32_t producer,
                          int32_t initializer)
{
    int32_t *slot = slot_of(index, name);
    if (*slot != NX_NO_VALUE) {
        return NX_NO_VALUE;
    }
    nx_value value = (nx_value)index->value_count++;
    *slot = value;
    index->names[value] = name;
    index->producers[value] = producer;
    index->initializers[value] = initializer;
    return value;
}

static nx_status made_twice(const nx_graph *graph, const char *name, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CORRUPT, "%s is damaged: the value %.100s is made twice",
                        nx_graph_name(graph), name);
}

static nx_status add_sources(const nx_graph *graph, const Onnx__GraphProto *body,
                             nx_graph_index *index, nx_error *err)
{
    for (size_t i = 0; i < body->n_initializer; i++) {
        if (add_value(index, body->initializer[i]->name, NX_NO_NODE, (int32_t)i) == NX_NO_VALUE) {
            return made_twice(graph, body->initializer[i]->name, err);
        }
    }
    for (size_t i = 0; i < body->n_input; i++) {
        const char *name = body->input[i]->name;
        nx_value known = nx_graph_index_find(index, name); /* an input may have a default */
        if ((known != NX_NO_VALUE && index->initializers[known] < 0) ||
            (known == NX_NO_VALUE && add_value(index, name, NX_NO_NODE, -1) == NX_NO_VALUE)) {
            return made_twice(graph, name, err);
        }
    }
    return NX_OK;
}

static nx_status add_node(const nx_graph *graph, const Onnx__NodeProto *node, size_t n,
                          nx_graph_index *index, nx_error *err)
{
    size_t at = index->input_at[n];
    for (size_t i = 0; i < node->n_input; i++) {
        nx_value value = NX_NO_VALUE;
        if (node->input[i][0] != '\0') {
            value = nx_graph_index_find(index, node->input[i]);
            if (value == NX_NO_VALUE) {
                return nx_error_set(err, NX_ERR_CORRUPT,
                                    "%s is damaged: a %.40s node reads %.100s, which nothing has "
                                    "made before it",
                                    nx_graph_name(graph), node->op_type, node->input[i]);
            }
            index->consumer_at[value + 1]++; /* counts first, places later */
        }
        index->inputs[at++] = value;
    }
    index->input_at[n + 1] = at;
    at = index->output_at[n];
    for (size_t i = 0; i < node->n_output; i++) {
        nx_value value = NX_NO_VALUE;
        if (node->output[i][0] != '\0') {
            value = add_value(index, node->output[i], (int32_t)n, -1);
            if (value == NX_NO_VALUE) {
                return made_twice(graph, node->output[i], err);
            }
        }
        index->made[at++] = value;
    }
    index->output_at[n + 1] = at;
    return NX_OK;
}

/* From counts to places, then the readers into them. */
static bool place_consumers(nx_graph_index *index)
{
    size_t *next = calloc(index->value_count + 1, sizeof *next);
    if (next == NULL) {
        return false;
    }
    for (size_t v = 0; v < index->value_count; v++) {
        index->consumer_at[v + 1] += index->consumer_at[v];
        next[v] = index->consumer_at[v];
    }
    for (size_t n = 0; n < index->node_count; n++) {
        for (size_t i = index->input_at[n]; i < index->input_at[n + 1]; i++) {
            if (index->inputs[i] != NX_NO_VALUE) {
                index->consumers[next[index->inputs[i]]++] = (int32_t)n;
            }
        }
    }
    free(next);
    return true;
}

nx_status nx_graph_index_build(nx_graph *graph, nx_graph_index *out, nx_error *err)
{
    const Onnx__GraphProto *body = nx_graph_model(graph)->graph;
    *out = (nx_graph_index){0};
    nx_status status = NX_OK;
    if (!allocate(out, body)) {
        status =
            nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for %s", nx_graph_name(graph));
    } else {
        status = add_sources(graph, body, out, err);
    }
    for (size_t n = 0; n < body->n_node && status == NX_OK; n++) {
        status = add_node(graph, body->node[n], n, out, err);
    }
    for (size_t i = 0; i < body->n_output && status == NX_OK; i++) {
        nx_value value = nx_graph_index_find(out, body->output[i]->name);
        if (value == NX_NO_VALUE) {
            status =
                nx_error_set(err, NX_ERR_CORRUPT, "%s is damaged: nothing makes its output %.100s",
                             nx_graph_name(graph), body->output[i]->name);
        } else {
            out->outputs[value] = true;
        }
    }
    if (status == NX_OK && !place_consumers(out)) {
        status =
            nx_error_set(err, NX_ERR_NO_MEMORY, "not enough memory for %s", nx_graph_name(graph));
    }
    if (status != NX_OK) {
        nx_graph_index_free(out);
    }
    return status;
}

void nx_graph_index_free(nx_graph_index *index)
{
    free(index->names);
    free(index->producers);
    free(index->initializers);
    free(index->outputs);
    free(index->consumer_at);
    free(index->consumers);
    free(index->input_at);
    free(index->inputs);
    free(index->output_at);
    free(index->made);
    free(index->slots);
    *index = (nx_graph_index){0};
}

nx_value nx_graph_index_input(const nx_graph_index *index, size_t node, size_t i)
{
    size_t at = index->input_at[node] + i;
    return at < index->input_at[node + 1] ? index->inputs[at] : NX_NO_VALUE;
}

nx_value nx_graph_index_output(const nx_graph_index *index, size_t node, size_t i)
{
    size_t at = index->output_at[node] + i;
    return at < index->output_at[node + 1] ? index->made[at] : NX_NO_VALUE;
}

size_t nx_graph_index_readers(const nx_graph_index *index, nx_value value)
{
    return index->consumer_at[value + 1] - index->consumer_at[value];
}

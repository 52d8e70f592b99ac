/* Who makes and who reads each value of a graph. Built after an edit, used, and thrown away. */
#ifndef NX_OPTIMIZE_GRAPH_INDEX_H
#define NX_OPTIMIZE_GRAPH_INDEX_H

#include "optimize/graph.h"

/* A value, as an index into the arrays of nx_graph_index; NX_NO_VALUE for an omitted input. */
typedef int32_t nx_value;
#define NX_NO_VALUE (-1)
#define NX_NO_NODE  (-1)

/* All arrays by value, but the last two pairs. Borrows the names from the graph. */
typedef struct nx_graph_index {
    size_t value_count;
    const char **names;
    int32_t *producers;    /* node; NX_NO_NODE for inputs and initializers */
    int32_t *initializers; /* index into graph->initializer, or -1 */
    bool *outputs;         /* is an output of the graph */
    size_t *consumer_at;   /* value v's readers are consumers[consumer_at[v]..consumer_at[v + 1]) */
    int32_t *consumers;    /* nodes, rising; twice when a node reads a value twice */
    size_t node_count;
    size_t *input_at; /* node n reads inputs[input_at[n]..input_at[n + 1]) */
    nx_value *inputs;
    size_t *output_at; /* likewise */
    nx_value *made;
    int32_t *slots; /* hash table over names */
    size_t slot_count;
} nx_graph_index;

/*
 * Errors: NX_ERR_CORRUPT (a value that is made twice, or read before or without being made, or an
 * output of the graph that nothing makes), NX_ERR_NO_MEMORY. out is empty after an error.
 */
nx_status nx_graph_index_build(nx_graph *graph, nx_graph_index *out, nx_error *err);
void nx_graph_index_free(nx_graph_index *index);

nx_value nx_graph_index_find(const nx_graph_index *index, const char *name); /* or NX_NO_VALUE */

/* Input (output) i of a node; NX_NO_VALUE when it has not so many or leaves it out. */
nx_value nx_graph_index_input(const nx_graph_index *index, size_t node, size_t i);
nx_value nx_graph_index_output(const nx_graph_index *index, size_t node, size_t i);

/* How many times a value is read by nodes. */
size_t nx_graph_index_readers(const nx_graph_index *index, nx_value value);

#endif

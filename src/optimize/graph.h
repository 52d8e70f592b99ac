/*
 * An ONNX model in memory as its protobuf messages (onnx.proto, package libonnx-dev), checked so
 * that what follows can rely on it, and the editing that passes need. Everything that belongs to a
 * graph, what passes add included, lives in one arena and ends with it: a pass drops what it no
 * longer wants and frees nothing.
 *
 * A failed allocation while editing is remembered; nx_graph_pack and nx_graph_save then fail. So
 * builders are called without checks, and take NULL where an earlier one failed.
 *
 * Not thread-safe on one graph.
 */
#ifndef NX_OPTIMIZE_GRAPH_H
#define NX_OPTIMIZE_GRAPH_H

#include "base/buffer.h"
#include "base/error.h"
#include "optimize/onnx.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Beyond these no detector lies, and the time of a pass would not be bounded. */
#define NX_GRAPH_MAX_NODES        20000
#define NX_GRAPH_MAX_INITIALIZERS 20000
#define NX_GRAPH_MAX_RANK         8

typedef struct nx_graph nx_graph;

/*
 * Reads and checks a file. A graph that is loaded
 * - is in static single assignment form, its nodes in an order in which they can run,
 * - has no subgraphs, functions, sparse or external tensors,
 * - has no Constant or Identity nodes (they became initializers and other names),
 * - has initializers whose data are as many bytes as their dimensions say.
 * Errors: NX_ERR_NOT_FOUND, NX_ERR_IO, NX_ERR_CORRUPT (empty, text, cut short, damaged, contradicts
 * itself), NX_ERR_UNSUPPORTED (valid, and one of the things above), NX_ERR_TOO_LARGE,
 * NX_ERR_NO_MEMORY.
 */
nx_status nx_graph_load(const char *path, nx_graph **out, nx_error *err);

/* The same from bytes, which may go afterwards; name is for messages. */
nx_status nx_graph_parse(const void *bytes, size_t size, const char *name, nx_graph **out,
                         nx_error *err);

/* An independent copy. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_graph_copy(const nx_graph *graph, nx_graph **out, nx_error *err);

/* NULL is fine. */
void nx_graph_free(nx_graph *graph);

/* The file's bytes, replacing what out held. Errors: NX_ERR_NO_MEMORY (also of an earlier edit),
 * NX_ERR_TOO_LARGE (over protobuf's 2 GiB). */
nx_status nx_graph_pack(const nx_graph *graph, nx_buffer *out, nx_error *err);

/* Packs and writes beside its place, then renames. Errors: as nx_graph_pack; NX_ERR_IO. */
nx_status nx_graph_save(const nx_graph *graph, const char *path, nx_error *err);

/* The messages, for passes. Never NULL, nor is ->graph. */
Onnx__ModelProto *nx_graph_model(nx_graph *graph);
const char *nx_graph_name(const nx_graph *graph); /* for messages */

/* --- reading ------------------------------------------------------------------------------------
 */

const Onnx__AttributeProto *nx_node_attribute(const Onnx__NodeProto *node, const char *name);
int64_t nx_node_int(const Onnx__NodeProto *node, const char *name, int64_t fallback);
/* Whether there is an attribute of exactly count integers, which are copied. */
bool nx_node_ints(const Onnx__NodeProto *node, const char *name, int64_t *out, size_t count);
/* Whether a text attribute is that text; fallback when it is absent. */
bool nx_node_text_is(const Onnx__NodeProto *node, const char *name, const char *text,
                     bool fallback);
/* Whether the node is this operator of the default domain. */
bool nx_node_is(const Onnx__NodeProto *node, const char *op);

/* Product of the dimensions; they were checked when the graph was loaded. */
size_t nx_initializer_count(const Onnx__TensorProto *tensor);

/* The values of a FLOAT or FLOAT16 tensor as floats in the graph's arena; NULL for another type or
 * without memory. */
const float *nx_initializer_floats(nx_graph *graph, const Onnx__TensorProto *tensor);

/* The values of an INT64 or INT32 tensor; at most max of them. Returns how many there are, 0 for
 * another type or more values. */
size_t nx_initializer_ints(const Onnx__TensorProto *tensor, int64_t *out, size_t max);

/* The value of a metadata key; NULL when it is absent. */
const char *nx_graph_metadata(const nx_graph *graph, const char *key);

/* --- editing ------------------------------------------------------------------------------------
 */

/* Text in the arena; "" when memory is short. */
const char *nx_graph_text(nx_graph *graph, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Zeroed memory in the arena; NULL when it is short. */
void *nx_graph_alloc(nx_graph *graph, size_t count, size_t size);

/* Replaces all nodes or initializers, to be filled by nx_graph_add_...; the old arrays stay
 * readable. */
void nx_graph_clear_nodes(nx_graph *graph);
void nx_graph_clear_initializers(nx_graph *graph);

/* Appends a node with one output. inputs: up to the first NULL; "" for one that is left out. */
Onnx__NodeProto *nx_graph_add_node(nx_graph *graph, const char *domain, const char *op,
                                   const char *const *inputs, const char *output);
/* Appends a node that the graph already owns: one that nx_graph_clear_nodes took out. */
void nx_graph_append_node(nx_graph *graph, Onnx__NodeProto *node);

void nx_node_set_int(nx_graph *graph, Onnx__NodeProto *node, const char *name, int64_t value);
void nx_node_set_ints(nx_graph *graph, Onnx__NodeProto *node, const char *name,
                      const int64_t *values, size_t count);

/* Appends an initializer and copies its data, which are size bytes in memory order (as raw_data).
 */
void nx_graph_add_initializer(nx_graph *graph, const char *name, int32_t type, const int64_t *dims,
                              size_t rank, const void *data, size_t size);

/* Appends an output (or input) of the graph. dims are texts: a number, or a symbol's name; NULL
 * leaves the shape open. */
void nx_graph_add_output(nx_graph *graph, const char *name, int32_t type, const char *const *dims,
                         size_t rank);
void nx_graph_set_input(nx_graph *graph, const char *name, int32_t type, const char *const *dims,
                        size_t rank);
void nx_graph_clear_outputs(nx_graph *graph);

void nx_graph_set_metadata(nx_graph *graph, const char *key, const char *value);
/* Sets the version of an operator set ("" for the default one). */
void nx_graph_set_opset(nx_graph *graph, const char *domain, int64_t version);

/* Removes nodes, initializers and inputs that no output depends on, and every recorded shape of an
 * inner value, for they may no longer be right. Errors: NX_ERR_NO_MEMORY. */
nx_status nx_graph_sweep(nx_graph *graph, nx_error *err);

/* Renames a value everywhere. */
void nx_graph_rename(nx_graph *graph, const char *from, const char *to);

#endif

/* ONNX graphs as `nexus models optimize` reads, cuts and plans them. */
#include "optimize/dynamic.h"
#include "optimize/quant_plan.h"
#include "optimize/to_half.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was edited must still be a graph that can be read. */
static void read_again(nx_graph *graph)
{
    nx_graph *copy = NULL;
    nx_error err = {0};
    nx_status status = nx_graph_copy(graph, &copy, &err);
    if (status != NX_OK && err.message[0] == '\0') {
        abort();
    }
    nx_graph_free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_graph *graph = NULL;
    nx_split_head head;
    nx_quant_plan plan;
    nx_error err = {0};
    if (nx_graph_parse(data, size, "fuzz.onnx", &graph, &err) != NX_OK) {
        if (err.message[0] == '\0' || graph != NULL) {
            abort();
        }
        return 0;
    }
    if (nx_head_cut(graph, &head, &err) == NX_OK) {
        read_again(graph);
        (void)nx_make_dynamic(graph, &head, &err);
    }
    (void)nx_quant_plan_make(graph, &plan, &err);
    nx_quant_plan_free(&plan);
    if (nx_graph_to_half(graph, &err) == NX_OK) {
        read_again(graph);
    }
    nx_graph_free(graph);
    return 0;
}

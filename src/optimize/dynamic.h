/* Freeing the sizes that an exporter fixed. */
#ifndef NX_OPTIMIZE_DYNAMIC_H
#define NX_OPTIMIZE_DYNAMIC_H

#include "optimize/head_cut.h"

/*
 * Makes batch, height and width of a cut graph free, after a look at each node: only operators that
 * work alike at every size may be left, so this is safe without a trial. head: what nx_head_cut
 * gave. Errors: NX_ERR_UNSUPPORTED with the first operator that holds a size; the graph is then
 * unchanged.
 */
nx_status nx_make_dynamic(nx_graph *graph, const nx_split_head *head, nx_error *err);

#endif

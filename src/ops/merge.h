/* The expositions of several processes made one, as if they were one process. */
#ifndef NX_OPS_MERGE_H
#define NX_OPS_MERGE_H

#include "base/buffer.h"
#include "ops/metrics.h"

#include <stdbool.h>
#include <stddef.h>

/* What nx_metrics_render wrote in some process of this program. */
typedef struct nx_exposition {
    const char *text;
    size_t size;
    bool gone; /* of a process that has ended: what it counted counts on, its gauges do not */
} nx_exposition;

/*
 * Appends their sum to out: counters, histograms and gauges are added up series by series; but
 * gauges that are the same in every process (nx_metric_is_shared) are those of the first. Families
 * and series keep the order in which they are found.
 */
void nx_metrics_merge(const nx_metrics *metrics, const nx_exposition *texts, size_t count,
                      nx_buffer *out);

#endif

/*
 * Counters, gauges and histograms in Prometheus' text format 0.0.4
 * (prometheus.io/docs/instrumenting/exposition_formats).
 *
 * Families are registered before threads start, and so are the values of their labels but for those
 * that are only known later; afterwards updates are lock-free, allocate nothing and may come from
 * any thread.
 */
#ifndef NX_OPS_METRICS_H
#define NX_OPS_METRICS_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_metrics nx_metrics;
typedef struct nx_metric nx_metric;

/* A label and the values that it can have. Strings are copied. */
typedef struct nx_label {
    const char *name;
    const char *const *values;
    size_t count;
    size_t spare; /* so many more values can be named later, by nx_metric_value */
} nx_label;

#define NX_METRIC_MAX_LABELS 3
#define NX_METRIC_MAX_BOUNDS 32

nx_metrics *nx_metrics_new(void); /* NULL when memory is short */
void nx_metrics_free(nx_metrics *metrics);

/*
 * Register a family; labels may be NULL with label_count 0. The family has a series for each
 * combination of label values; a counter or histogram without labels is shown from the start, one
 * with labels once it has counted something. NULL when memory is short, and every function below
 * takes NULL as a family that records nothing, so that only rendering must be checked.
 */
nx_metric *nx_metrics_counter(nx_metrics *metrics, const char *name, const char *help,
                              const nx_label *labels, size_t label_count);
nx_metric *nx_metrics_gauge(nx_metrics *metrics, const char *name, const char *help,
                            const nx_label *labels, size_t label_count);
/* bounds: at most NX_METRIC_MAX_BOUNDS rising upper bounds, without +Inf. */
nx_metric *nx_metrics_histogram(nx_metrics *metrics, const char *name, const char *help,
                                const double *bounds, size_t count, const nx_label *labels,
                                size_t label_count);
/* A gauge without labels that is read when it is rendered. */
nx_metric *nx_metrics_gauge_read(nx_metrics *metrics, const char *name, const char *help,
                                 double (*read)(void *user), void *user);

/* A counter with labels shows all its series from the start: the first of them to count can be told
 * from none before (prometheus.io/docs/practices/instrumentation, "avoid missing metrics"). */
void nx_metric_show_zeros(nx_metric *metric);

/* A gauge's series are not shown while they are NaN, which they are from here on until they are
 * set: for those of which not every combination of labels exists. */
void nx_metric_leave_out_nan(nx_metric *metric);

/* The family says the same in every process (how many jobs there are): of several processes' values
 * one is shown, instead of their sum. */
void nx_metric_share(nx_metric *metric);
/* Whether the family of that name does. */
bool nx_metric_is_shared(const nx_metrics *metrics, const char *name, size_t size);

/* The series of these value indexes, one for each label in their order; unused ones are 0. Indexes
 * out of range take the last value, which by convention is "other". */
size_t nx_metric_series(const nx_metric *metric, size_t first, size_t second, size_t third);

/* The index of a label's value. One that is not known takes a spare place, or, when there is none
 * left, the last value's. Thread-safe behind the family's lock. */
size_t nx_metric_value(nx_metric *metric, size_t index, const char *value);

void nx_metric_add(nx_metric *metric, size_t series, uint64_t amount); /* a counter */
/* A counter that somebody else keeps: what it says now. */
void nx_metric_show(nx_metric *metric, size_t series, uint64_t total);
void nx_metric_set(nx_metric *metric, size_t series, double value);     /* a gauge */
void nx_metric_observe(nx_metric *metric, size_t series, double value); /* a histogram */

/* The whole exposition, appended to out. Thread-safe. */
void nx_metrics_render(const nx_metrics *metrics, nx_buffer *out);

#endif

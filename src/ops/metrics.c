#include "ops/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum metric_kind {
    KIND_COUNTER,
    KIND_GAUGE,
    KIND_HISTOGRAM,
} metric_kind;

typedef struct label {
    char *name;
    char **values; /* NULL where none was named yet */
    size_t count;  /* all, the spare ones before the last */
} label;

struct nx_metric {
    nx_metric *next;
    metric_kind kind;
    char *name;
    char *help;
    bool shared;
    bool zeros;  /* are shown */
    bool sparse; /* a gauge whose NaNs are not */
    label labels[NX_METRIC_MAX_LABELS];
    size_t label_count;
    size_t series_count;
    double *bounds;
    size_t bound_count;
    /* counter: one for each series; histogram: bound_count + 1 (the last is +Inf) for each */
    _Atomic uint64_t *counts;
    _Atomic double *values; /* gauge: the value; histogram: the sum */
    double (*read)(void *user);
    void *user;
    pthread_mutex_t lock; /* guards the spare values of labels */
};

struct nx_metrics {
    nx_metric *first;
    nx_metric **end; /* keeps the order of registration */
    bool failed;
};

nx_metrics *nx_metrics_new(void)
{
    nx_metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics != NULL) {
        metrics->end = &metrics->first;
    }
    return metrics;
}

static void free_metric(nx_metric *metric)
{
    if (metric == NULL) {
        return;
    }
    for (size_t i = 0; i < NX_METRIC_MAX_LABELS; i++) {
        for (size_t v = 0; metric->labels[i].values != NULL && v < metric->labels[i].count; v++) {
            free(metric->labels[i].values[v]);
        }
        free(metric->labels[i].values);
        free(metric->labels[i].name);
    }
    free(metric->name);
    free(metric->help);
    free(metric->bounds);
    free(metric->counts);
    free(metric->values);
    pthread_mutex_destroy(&metric->lock);
    free(metric);
}

void nx_metrics_free(nx_metrics *metrics)
{
    if (metrics == NULL) {
        return;
    }
    while (metrics->first != NULL) {
        nx_metric *metric = metrics->first;
        metrics->first = metric->next;
        free_metric(metric);
    }
    free(metrics);
}

/* --- registration -------------------------------------------------------------------------------
 */

static bool copy_label(label *to, const nx_label *from)
{
    to->name = strdup(from->name);
    to->count = from->count + from->spare;
    to->values = calloc(to->count, sizeof *to->values);
    if (to->name == NULL || to->values == NULL) {
        return false;
    }
    /* with spare values the last registered one stays the last: it stands for what finds no place
     */
    size_t known = from->spare > 0 ? from->count - 1 : from->count;
    for (size_t i = 0; i < from->count; i++) {
        char *copy = strdup(from->values[i]);
        if (copy == NULL) {
            return false;
        }
        to->values[i < known ? i : to->count - 1] = copy;
    }
    return true;
}

static nx_metric *new_metric(metric_kind kind, const char *name, const char *help,
                             const nx_label *labels, size_t label_count)
{
    nx_metric *metric = calloc(1, sizeof *metric);
    if (metric == NULL) {
        return NULL;
    }
    pthread_mutex_init(&metric->lock, NULL);
    metric->kind = kind;
    metric->name = strdup(name);
    metric->help = strdup(help);
    metric->series_count = 1;
    bool copied = metric->name != NULL && metric->help != NULL;
    for (size_t i = 0; copied && i < label_count && i < NX_METRIC_MAX_LABELS; i++) {
        metric->label_count++;
        metric->series_count *= labels[i].count + labels[i].spare;
        copied = copy_label(&metric->labels[i], &labels[i]);
    }
    if (!copied) {
        free_metric(metric);
        return NULL;
    }
    return metric;
}

/* Takes the metric in when its memory could be had; else frees it and remembers the failure. */
static nx_metric *adopt(nx_metrics *metrics, nx_metric *metric, bool complete)
{
    if (!complete) {
        free_metric(metric);
        metrics->failed = true;
        return NULL;
    }
    *metrics->end = metric;
    metrics->end = &metric->next;
    return metric;
}

nx_metric *nx_metrics_counter(nx_metrics *metrics, const char *name, const char *help,
                              const nx_label *labels, size_t label_count)
{
    nx_metric *metric = new_metric(KIND_COUNTER, name, help, labels, label_count);
    if (metric != NULL) {
        metric->counts = calloc(metric->series_count, sizeof *metric->counts);
    }
    return adopt(metrics, metric, metric != NULL && metric->counts != NULL);
}

nx_metric *nx_metrics_gauge(nx_metrics *metrics, const char *name, const char *help,
                            const nx_label *labels, size_t label_count)
{
    nx_metric *metric = new_metric(KIND_GAUGE, name, help, labels, label_count);
    if (metric != NULL) {
        metric->values = calloc(metric->series_count, sizeof *metric->values);
    }
    return adopt(metrics, metric, metric != NULL && metric->values != NULL);
}

nx_metric *nx_metrics_histogram(nx_metrics *metrics, const char *name, const char *help,
                                const double *bounds, size_t count, const nx_label *labels,
                                size_t label_count)
{
    nx_metric *metric = new_metric(KIND_HISTOGRAM, name, help, labels, label_count);
    if (metric != NULL) {
        metric->bounds = calloc(count, sizeof *metric->bounds);
        metric->counts = calloc(metric->series_count * (count + 1), sizeof *metric->counts);
        metric->values = calloc(metric->series_count, sizeof *metric->values);
    }
    bool complete = metric != NULL && metric->bounds != NULL && metric->counts != NULL &&
                    metric->values != NULL && count <= NX_METRIC_MAX_BOUNDS;
    if (complete) {
        memcpy(metric->bounds, bounds, count * sizeof *bounds);
        metric->bound_count = count;
    }
    return adopt(metrics, metric, complete);
}

nx_metric *nx_metrics_gauge_read(nx_metrics *metrics, const char *name, const char *help,
                                 double (*read)(void *user), void *user)
{
    nx_metric *metric = nx_metrics_gauge(metrics, name, help, NULL, 0);
    if (metric != NULL) {
        metric->read = read;
        metric->user = user;
    }
    return metric;
}

void nx_metric_share(nx_metric *metric)
{
    if (metric != NULL) {
        metric->shared = true;
    }
}

void nx_metric_leave_out_nan(nx_metric *metric)
{
    for (size_t i = 0; metric != NULL && i < metric->series_count; i++) {
        metric->sparse = true;
        nx_metric_set(metric, i, NAN);
    }
}

void nx_metric_show_zeros(nx_metric *metric)
{
    if (metric != NULL) {
        metric->zeros = true;
    }
}

bool nx_metric_is_shared(const nx_metrics *metrics, const char *name, size_t size)
{
    const nx_metric *metric = metrics->first;
    while (metric != NULL &&
           (strncmp(metric->name, name, size) != 0 || metric->name[size] != '\0')) {
        metric = metric->next;
    }
    return metric != NULL && metric->shared;
}

/* --- recording ----------------------------------------------------------------------------------
 */

size_t nx_metric_series(const nx_metric *metric, size_t first, size_t second, size_t third)
{
    const size_t wanted[NX_METRIC_MAX_LABELS] = {first, second, third};
    size_t series = 0;
    size_t used = metric != NULL ? metric->label_count : 0;
    for (size_t i = 0; i < used && i < NX_METRIC_MAX_LABELS; i++) {
        size_t count = metric->labels[i].count;
        series = series * count + (wanted[i] < count ? wanted[i] : count - 1);
    }
    return series;
}

size_t nx_metric_value(nx_metric *metric, size_t index, const char *value)
{
    if (metric == NULL || index >= metric->label_count) {
        return 0;
    }
    label *values = &metric->labels[index];
    pthread_mutex_lock(&metric->lock);
    size_t i = 0;
    while (i < values->count - 1 && values->values[i] != NULL &&
           strcmp(values->values[i], value) != 0) {
        i++;
    }
    if (values->values[i] == NULL) {
        values->values[i] = strdup(value);
        i = values->values[i] != NULL ? i : values->count - 1;
    }
    pthread_mutex_unlock(&metric->lock);
    return i;
}

void nx_metric_add(nx_metric *metric, size_t series, uint64_t amount)
{
    if (metric != NULL) {
        atomic_fetch_add_explicit(&metric->counts[series], amount, memory_order_relaxed);
    }
}

void nx_metric_show(nx_metric *metric, size_t series, uint64_t total)
{
    if (metric != NULL) {
        atomic_store_explicit(&metric->counts[series], total, memory_order_relaxed);
    }
}

void nx_metric_set(nx_metric *metric, size_t series, double value)
{
    if (metric != NULL) {
        atomic_store_explicit(&metric->values[series], value, memory_order_relaxed);
    }
}

static void add_double(_Atomic double *sum, double value)
{
    double old = atomic_load_explicit(sum, memory_order_relaxed);
    while (!atomic_compare_exchange_weak_explicit(sum, &old, old + value, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
}

void nx_metric_observe(nx_metric *metric, size_t series, double value)
{
    if (metric == NULL) {
        return;
    }
    size_t bucket = 0;
    while (bucket < metric->bound_count && value > metric->bounds[bucket]) {
        bucket++;
    }
    atomic_fetch_add_explicit(&metric->counts[series * (metric->bound_count + 1) + bucket], 1,
                              memory_order_relaxed);
    add_double(&metric->values[series], value);
}

/* --- rendering ----------------------------------------------------------------------------------
 */

static void append_escaped(nx_buffer *out, const char *text)
{
    for (const char *c = text; *c != '\0'; c++) {
        if (*c == '\n') {
            nx_buffer_append_str(out, "\\n");
            continue;
        }
        if (*c == '\\' || *c == '"') {
            nx_buffer_append_char(out, '\\');
        }
        nx_buffer_append_char(out, *c);
    }
}

/* `{a="x",le="0.5"}`; le is NULL outside of histogram buckets. */
static void append_labels(const nx_metric *metric, size_t series, const char *le, nx_buffer *out)
{
    if (metric->label_count == 0 && le == NULL) {
        return;
    }
    size_t stride = metric->series_count;
    char before = '{';
    for (size_t i = 0; i < metric->label_count; i++) {
        stride /= metric->labels[i].count;
        nx_buffer_printf(out, "%c%s=\"", before, metric->labels[i].name);
        const char *value = metric->labels[i].values[series / stride % metric->labels[i].count];
        append_escaped(out, value != NULL ? value : "");
        nx_buffer_append_char(out, '"');
        before = ',';
    }
    if (le != NULL) {
        nx_buffer_printf(out, "%cle=\"%s\"", before, le);
    }
    nx_buffer_append_char(out, '}');
}

static void render_counter(const nx_metric *metric, size_t series, nx_buffer *out)
{
    uint64_t count = atomic_load_explicit(&metric->counts[series], memory_order_relaxed);
    if (count == 0 && metric->label_count > 0 && !metric->zeros) {
        return;
    }
    nx_buffer_append_str(out, metric->name);
    append_labels(metric, series, NULL, out);
    nx_buffer_printf(out, " %llu\n", (unsigned long long)count);
}

static void render_gauge(const nx_metric *metric, size_t series, nx_buffer *out)
{
    double value = metric->read != NULL
                       ? metric->read(metric->user)
                       : atomic_load_explicit(&metric->values[series], memory_order_relaxed);
    if (metric->sparse && isnan(value)) {
        return;
    }
    nx_buffer_append_str(out, metric->name);
    append_labels(metric, series, NULL, out);
    if (isnan(value)) { /* printf would add its sign */
        nx_buffer_append_str(out, " NaN\n");
    } else {
        nx_buffer_printf(out, " %.12g\n", value);
    }
}

static void render_histogram(const nx_metric *metric, size_t series, nx_buffer *out)
{
    /* read once, so that +Inf and _count agree while others go on counting */
    uint64_t counts[NX_METRIC_MAX_BOUNDS + 1] = {0};
    uint64_t total = 0;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        counts[i] = atomic_load_explicit(&metric->counts[series * (metric->bound_count + 1) + i],
                                         memory_order_relaxed);
        total += counts[i];
    }
    if (total == 0 && metric->label_count > 0) {
        return;
    }
    uint64_t cumulative = 0;
    for (size_t i = 0; i <= metric->bound_count; i++) {
        char le[32] = "+Inf";
        if (i < metric->bound_count) {
            snprintf(le, sizeof le, "%g", metric->bounds[i]);
        }
        cumulative += counts[i];
        nx_buffer_printf(out, "%s_bucket", metric->name);
        append_labels(metric, series, le, out);
        nx_buffer_printf(out, " %llu\n", (unsigned long long)cumulative);
    }
    nx_buffer_printf(out, "%s_sum", metric->name);
    append_labels(metric, series, NULL, out);
    nx_buffer_printf(out, " %.12g\n",
                     atomic_load_explicit(&metric->values[series], memory_order_relaxed));
    nx_buffer_printf(out, "%s_count", metric->name);
    append_labels(metric, series, NULL, out);
    nx_buffer_printf(out, " %llu\n", (unsigned long long)total);
}

/* Is each of the series' values named? */
static bool is_named(const nx_metric *metric, size_t series)
{
    size_t stride = metric->series_count;
    for (size_t i = 0; i < metric->label_count; i++) {
        stride /= metric->labels[i].count;
        if (metric->labels[i].values[series / stride % metric->labels[i].count] == NULL) {
            return false;
        }
    }
    return true;
}

void nx_metrics_render(const nx_metrics *metrics, nx_buffer *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    static void (*const renderers[])(const nx_metric *, size_t, nx_buffer *) = {
        render_counter, render_gauge, render_histogram};
    for (const nx_metric *metric = metrics->first; metric != NULL; metric = metric->next) {
        nx_buffer_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                         metric->name, kinds[metric->kind]);
        pthread_mutex_lock((pthread_mutex_t *)&metric->lock);
        for (size_t series = 0; series < metric->series_count; series++) {
            if (is_named(metric, series)) {
                renderers[metric->kind](metric, series, out);
            }
        }
        pthread_mutex_unlock((pthread_mutex_t *)&metric->lock);
    }
    if (metrics->failed) {
        out->failed = true;
    }
}

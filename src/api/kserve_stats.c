#include "api/kserve_stats.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MODELS  512
#define MAX_BATCHES 128 /* batch sizes from 1 on; larger ones count as the largest */

/* Triton's duration: how often, and how long together. */
typedef struct duration {
    uint64_t count;
    int64_t ns;
} duration;

typedef struct batch_entry {
    duration input, infer, output;
} batch_entry;

typedef struct entry {
    struct entry *next;
    char *name;
    char *version;
    int64_t last_ms; /* since 1970 */
    uint64_t inferences;
    uint64_t executions;
    duration success, fail, queue, input, infer, output, cache_hit, cache_miss;
    batch_entry batches[MAX_BATCHES];
} entry;

struct nx_kserve_stats {
    pthread_mutex_t lock; /* guards the rest */
    entry *entries;
    size_t count;
};

nx_kserve_stats *nx_kserve_stats_new(void)
{
    nx_kserve_stats *stats = calloc(1, sizeof *stats);
    if (stats != NULL) {
        pthread_mutex_init(&stats->lock, NULL);
    }
    return stats;
}

void nx_kserve_stats_free(nx_kserve_stats *stats)
{
    if (stats == NULL) {
        return;
    }
    while (stats->entries != NULL) {
        entry *first = stats->entries;
        stats->entries = first->next;
        free(first->name);
        free(first->version);
        free(first);
    }
    pthread_mutex_destroy(&stats->lock);
    free(stats);
}

/* The lock is held. */
static entry *find(nx_kserve_stats *stats, const char *name, const char *version)
{
    entry *at = stats->entries;
    while (at != NULL && (strcmp(at->name, name) != 0 || strcmp(at->version, version) != 0)) {
        at = at->next;
    }
    return at;
}

/* The lock is held. NULL: no memory, or too many. */
static entry *add_entry(nx_kserve_stats *stats, const char *name, const char *version)
{
    entry *made = stats->count < MAX_MODELS ? calloc(1, sizeof *made) : NULL;
    if (made == NULL) {
        return NULL;
    }
    made->name = strdup(name);
    made->version = strdup(version);
    if (made->name == NULL || made->version == NULL) {
        free(made->name);
        free(made->version);
        free(made);
        return NULL;
    }
    made->next = stats->entries;
    stats->entries = made;
    stats->count++;
    return made;
}

static void add(duration *to, uint64_t count, int64_t ns)
{
    to->count += count;
    to->ns += ns;
}

static void add_success(entry *to, const nx_kserve_sample *sample)
{
    uint32_t size = sample->batch < 1             ? 1
                    : sample->batch > MAX_BATCHES ? MAX_BATCHES
                                                  : sample->batch;
    batch_entry *batch = &to->batches[size - 1];
    uint64_t runs = sample->executions;
    to->inferences += (uint64_t)sample->batch * runs;
    to->executions += runs;
    add(&to->success, 1, sample->total_ns);
    add(&to->cache_hit, sample->cache_hits, sample->cache_hit_ns);
    add(&to->cache_miss, sample->cache_misses, sample->cache_miss_ns);
    if (runs == 0) { /* all from the cache */
        return;
    }
    add(&to->queue, 1, sample->queue_ns);
    add(&to->input, 1, sample->input_ns);
    add(&to->infer, 1, sample->infer_ns);
    add(&to->output, 1, sample->output_ns);
    add(&batch->input, runs, sample->input_ns);
    add(&batch->infer, runs, sample->infer_ns);
    add(&batch->output, runs, sample->output_ns);
}

void nx_kserve_stats_add(nx_kserve_stats *stats, const char *name, const char *version,
                         const nx_kserve_sample *sample)
{
    int64_t now_ms = nx_clock_unix_ms();
    pthread_mutex_lock(&stats->lock);
    entry *to = find(stats, name, version);
    to = to != NULL ? to : add_entry(stats, name, version);
    if (to != NULL) {
        to->last_ms = now_ms;
        if (sample->failed) {
            add(&to->fail, 1, sample->total_ns);
        } else {
            add_success(to, sample);
        }
    }
    pthread_mutex_unlock(&stats->lock);
}

static void write_duration(const char *key, duration value, nx_json *json)
{
    nx_json_key(json, key);
    nx_json_object_begin(json);
    nx_json_key_int(json, "count", (int64_t)value.count);
    nx_json_key_int(json, "ns", value.ns);
    nx_json_object_end(json);
}

static void write_batches(const entry *from, nx_json *json)
{
    nx_json_key(json, "batch_stats");
    nx_json_array_begin(json);
    for (int i = 0; i < MAX_BATCHES; i++) {
        const batch_entry *batch = &from->batches[i];
        if (batch->infer.count > 0) {
            nx_json_object_begin(json);
            nx_json_key_int(json, "batch_size", i + 1);
            write_duration("compute_input", batch->input, json);
            write_duration("compute_infer", batch->infer, json);
            write_duration("compute_output", batch->output, json);
            nx_json_object_end(json);
        }
    }
    nx_json_array_end(json);
}

void nx_kserve_stats_write(nx_kserve_stats *stats, const char *name, const char *version,
                           nx_json *json)
{
    static const entry nothing;
    pthread_mutex_lock(&stats->lock);
    const entry *found = find(stats, name, version);
    const entry *from = found != NULL ? found : &nothing;
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", name);
    nx_json_key_string(json, "version", version);
    nx_json_key_int(json, "last_inference", from->last_ms);
    nx_json_key_int(json, "inference_count", (int64_t)from->inferences);
    nx_json_key_int(json, "execution_count", (int64_t)from->executions);
    nx_json_key(json, "inference_stats");
    nx_json_object_begin(json);
    write_duration("success", from->success, json);
    write_duration("fail", from->fail, json);
    write_duration("queue", from->queue, json);
    write_duration("compute_input", from->input, json);
    write_duration("compute_infer", from->infer, json);
    write_duration("compute_output", from->output, json);
    write_duration("cache_hit", from->cache_hit, json);
    write_duration("cache_miss", from->cache_miss, json);
    nx_json_object_end(json);
    write_batches(from, json);
    nx_json_object_end(json);
    pthread_mutex_unlock(&stats->lock);
}

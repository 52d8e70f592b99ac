/*
 * Statistics of the inferences that came through the KServe protocol, by model and version, as
 * Triton's statistics extension has them. Thread-safe.
 */
#ifndef NX_API_KSERVE_STATS_H
#define NX_API_KSERVE_STATS_H

#include "base/json_writer.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_kserve_stats nx_kserve_stats;

/* One request. */
typedef struct nx_kserve_sample {
    bool failed;
    uint32_t batch;      /* inferences in one execution: dimension 0 of a batch, else 1 */
    uint32_t executions; /* of a request that succeeded */
    int64_t total_ns;    /* from the whole header of the request to its answer */
    /* sums over the executions */
    int64_t queue_ns;
    int64_t input_ns;  /* reading and preparing what goes in */
    int64_t infer_ns;  /* the Run */
    int64_t output_ns; /* writing what comes out */
    /* looks into the cache, of which those that hit were no executions */
    uint32_t cache_hits, cache_misses;
    int64_t cache_hit_ns, cache_miss_ns;
} nx_kserve_sample;

/* NULL when memory is short. */
nx_kserve_stats *nx_kserve_stats_new(void);
void nx_kserve_stats_free(nx_kserve_stats *stats);

/* Counts a request. The models that are counted are bounded; what is beyond is left out. */
void nx_kserve_stats_add(nx_kserve_stats *stats, const char *name, const char *version,
                         const nx_kserve_sample *sample);

/* Writes the model's object, zeros when nothing was counted. */
void nx_kserve_stats_write(nx_kserve_stats *stats, const char *name, const char *version,
                           nx_json *json);

#endif

/*
 * Predictions that are asked for more than once: from the cache, and by single-flight from another
 * request that is at work on the same.
 *
 * A request begins a prediction with its picture and options, and hears of exactly one of these:
 * `run` (it leads: run the model, then tell how that went), `found` (what another has found, now or
 * before), `failed` (what another failed of). What is kept is the record of the detections; names,
 * timings, request_id and format are each request's own.
 *
 * Cache-Control of the request (RFC 9111 section 5.2.1): no-store leaves it out altogether;
 * no-cache (and max-age=0) runs the model and keeps the new result.
 *
 * Threads. Nothing here waits on the thread that begins a prediction; where the cache may wait for
 * a network, it is asked on threads of this module's own.
 */
#ifndef NX_API_PREDICTIONS_H
#define NX_API_PREDICTIONS_H

#include "api/flights.h"
#include "api/internal.h"
#include "api/prediction_key.h"
#include "api/work.h"
#include "results/record.h"

typedef struct nx_predictions nx_predictions;

/* cache is borrowed; NULL: nothing is kept, and equal requests are not joined. Errors:
 * NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no threads). */
nx_status nx_predictions_new(nx_cache *cache, nx_predictions **out, nx_error *err);
/* None is under way any more. NULL is fine. */
void nx_predictions_free(nx_predictions *self);

/* Requests that waited for another's result, since the beginning. */
uint64_t nx_predictions_joined(nx_predictions *self);

/* How a request's result came about. */
typedef enum nx_prediction_origin {
    NX_PREDICTION_PLAIN, /* the model ran; there is no cache */
    NX_PREDICTION_MISS,  /* the model ran */
    NX_PREDICTION_HIT,   /* from the cache */
    NX_PREDICTION_JOIN,  /* from another request at the same time */
} nx_prediction_origin;

/* What X-Cache says of it: "miss", "hit", "join"; NULL for nothing. */
const char *nx_prediction_origin_name(nx_prediction_origin origin);

/* What a request may take from the cache and leave there. */
typedef struct nx_prediction_policy {
    bool read;
    bool write;
} nx_prediction_policy;

/* By the request's Cache-Control. */
nx_prediction_policy nx_prediction_policy_of(const nx_http_request *request);

/* --- one that waits, asleep ---------------------------------------------------------------------
 */

typedef struct nx_prediction nx_prediction;

/* Embedded in the request's context, zeroed; lives until the request was answered. */
struct nx_prediction {
    nx_flight_claim claim; /* first */
    nx_api_work work;
    nx_predictions *predictions;
    nx_prediction_policy policy;
    nx_prediction_origin origin; /* since run, found or failed was called */
    /* Each may be called on any thread, also before nx_prediction_begin returns, and may answer the
     * request. */
    void (*run)(nx_prediction *prediction);
    /* The result has neither names nor timings; borrowed for the call. */
    void (*found)(nx_prediction *prediction, const nx_result *result);
    void (*failed)(nx_prediction *prediction, nx_status status, const nx_error *err);
};

/* Before anybody may withdraw it. gone: turns true before that happens. The caller sets run, found
 * and failed itself. */
void nx_prediction_prepare(nx_prediction *self, nx_predictions *predictions,
                           nx_prediction_policy policy, const atomic_bool *gone);

/* The prediction may be gone when this returns. */
void nx_prediction_begin(nx_prediction *self, const nx_prediction_question *question,
                         const void *picture, size_t size);

/* After `run`, exactly one of them, before the request is answered: */
void nx_prediction_ran(nx_prediction *self, const nx_result *result);
void nx_prediction_did_not_run(nx_prediction *self, nx_status status, const nx_error *err);

/* The request is not wanted any more: true when it waited for another's result, and then nothing
 * will be called. Any thread, once it is prepared. */
bool nx_prediction_withdraw(nx_prediction *self);

/* --- one of many --------------------------------------------------------------------------------
 */

/* A picture of a batch: looks only into this process's memory, and joins nobody. */
typedef struct nx_prediction_look {
    uint8_t key[NX_PREDICTION_KEY];
    nx_prediction_policy policy;
    bool keyed;
} nx_prediction_look;

/* True: *out is there, to be freed with nx_record_free. */
bool nx_predictions_look(nx_predictions *self, nx_prediction_look *look,
                         const nx_prediction_question *question, const void *picture, size_t size,
                         nx_record *out);
/* Keeps what the model found after a look in vain. */
void nx_predictions_keep(nx_predictions *self, const nx_prediction_look *look,
                         const nx_result *result);

#endif

#include "api/predictions.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Where the cache may wait for a network, so many threads ask it; more wait in line, and what has
 * no place in that is run instead. */
#define ASKING_THREADS 4
#define MOST_ASKING    1024

struct nx_predictions {
    nx_cache *cache; /* borrowed; NULL: off */
    nx_prediction_keys keys;
    nx_flights *flights;
    nx_api_pool *pool; /* NULL: the cache never waits */
};

nx_status nx_predictions_new(nx_cache *cache, nx_predictions **out, nx_error *err)
{
    nx_status status = NX_OK;
    nx_predictions *self = calloc(1, sizeof *self);
    *out = NULL;
    if (self == NULL || (self->flights = nx_flights_new()) == NULL) {
        free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the predictions");
    }
    const bool shared = cache != NULL && nx_cache_waits(cache);
    self->cache = cache;
    self->keys = nx_prediction_keys_new(shared);
    if (shared) {
        status = nx_api_pool_new(ASKING_THREADS, MOST_ASKING, &self->pool, err);
    }
    if (status != NX_OK) {
        nx_predictions_free(self);
        return status;
    }
    *out = self;
    return NX_OK;
}

void nx_predictions_free(nx_predictions *self)
{
    if (self != NULL) {
        nx_api_pool_free(self->pool);
        nx_flights_free(self->flights);
        free(self);
    }
}

uint64_t nx_predictions_joined(nx_predictions *self)
{
    return nx_flights_joined(self->flights);
}

const char *nx_prediction_origin_name(nx_prediction_origin origin)
{
    static const char *const names[] = {
        [NX_PREDICTION_MISS] = "miss", [NX_PREDICTION_HIT] = "hit", [NX_PREDICTION_JOIN] = "join"};
    return (size_t)origin < sizeof names / sizeof names[0] ? names[origin] : NULL;
}

/* --- what a request asks for --------------------------------------------------------------------
 */

/* Is this directive, of `size` characters, the one of that name? */
static bool is_directive(const char *text, size_t size, const char *name)
{
    return size == strlen(name) && strncasecmp(text, name, size) == 0;
}

nx_prediction_policy nx_prediction_policy_of(const nx_http_request *request)
{
    nx_prediction_policy policy = {.read = true, .write = true};
    const char *at = nx_http_header(request, "Cache-Control");
    while (at != NULL && *at != '\0') {
        at += strspn(at, " \t,");
        size_t size = strcspn(at, ",");
        const char *next = at + size;
        while (size > 0 && (at[size - 1] == ' ' || at[size - 1] == '\t')) {
            size--;
        }
        if (is_directive(at, size, "no-store")) {
            policy = (nx_prediction_policy){0};
            break;
        }
        if (is_directive(at, size, "no-cache") || is_directive(at, size, "max-age=0")) {
            policy.read = false;
        }
        at = next;
    }
    return policy;
}

/* --- the cache ----------------------------------------------------------------------------------
 */

static nx_cache_key cache_key(const uint8_t *key)
{
    return (nx_cache_key){.kind = NX_CACHE_PREDICTIONS, .bytes = key, .size = NX_PREDICTION_KEY};
}

static void keep(nx_predictions *self, const uint8_t *key, const nx_result *result)
{
    const nx_cache_key at = cache_key(key);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_record_write(result, &bytes);
    if (!bytes.failed) {
        nx_cache_put(self->cache, &at, bytes.data, bytes.size, 0);
    }
    nx_buffer_free(&bytes);
}

/* Takes what the cache has given. False: it is no record, or memory is short. */
static bool read_record(nx_cache_answer answer, nx_buffer *bytes, nx_record *out)
{
    bool read = answer == NX_CACHE_HIT && nx_record_read(bytes->data, bytes->size, out);
    nx_buffer_free(bytes);
    return read;
}

/* --- one that waits, asleep ---------------------------------------------------------------------
 */

static void run_alone(nx_prediction *self, nx_prediction_origin origin)
{
    self->origin = origin;
    self->run(self);
}

/* What a leader found in the cache is everybody's. */
static void give(nx_prediction *self, nx_record *record)
{
    const nx_result result = nx_record_result(record);
    self->origin = NX_PREDICTION_HIT;
    nx_flights_publish(self->predictions->flights, &self->claim, &result);
    self->found(self, &result);
    nx_record_free(record);
}

/* On a thread that may wait. */
static void ask(nx_api_work *work)
{
    nx_prediction *self = (nx_prediction *)((char *)work - offsetof(nx_prediction, work));
    nx_cache_key key = cache_key(self->claim.key);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_record record;
    nx_cache_answer answer = nx_cache_get(self->predictions->cache, &key, &bytes);
    if (read_record(answer, &bytes, &record)) {
        give(self, &record);
    } else {
        run_alone(self, NX_PREDICTION_MISS);
    }
}

/* It leads: the first look, or the first after another has given up. */
static void lead(nx_prediction *self)
{
    nx_predictions *predictions = self->predictions;
    nx_cache_key key = cache_key(self->claim.key);
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_record record;
    nx_cache_answer answer = nx_cache_peek(predictions->cache, &key, &bytes);
    if (read_record(answer, &bytes, &record)) {
        give(self, &record);
    } else if (answer == NX_CACHE_ASK && predictions->pool != NULL) {
        self->work.run = ask;
        if (!nx_api_pool_put(predictions->pool, &self->work)) {
            run_alone(self, NX_PREDICTION_MISS);
        }
    } else {
        run_alone(self, NX_PREDICTION_MISS);
    }
}

static void wake(nx_flight_claim *claim, const void *outcome, nx_status status, const nx_error *err)
{
    nx_prediction *self = (nx_prediction *)claim;
    if (status != NX_OK) {
        self->failed(self, status, err);
    } else if (outcome != NULL) {
        self->origin = NX_PREDICTION_JOIN;
        self->found(self, outcome);
    } else { /* whoever led has looked into the cache */
        run_alone(self, NX_PREDICTION_MISS);
    }
}

void nx_prediction_prepare(nx_prediction *self, nx_predictions *predictions,
                           nx_prediction_policy policy, const atomic_bool *gone)
{
    self->predictions = predictions;
    self->policy = nx_cache_keeps(predictions->cache, NX_CACHE_PREDICTIONS)
                       ? policy
                       : (nx_prediction_policy){0};
    self->claim.gone = gone;
    self->claim.wake = wake;
}

void nx_prediction_begin(nx_prediction *self, const nx_prediction_question *question,
                         const void *picture, size_t size)
{
    nx_predictions *predictions = self->predictions;
    if (!self->policy.read && !self->policy.write) {
        run_alone(self, NX_PREDICTION_PLAIN);
        return;
    }
    nx_prediction_key(&predictions->keys, question, picture, size, self->claim.key);
    if (!self->policy.read) {
        run_alone(self, NX_PREDICTION_MISS);
        return;
    }
    switch (nx_flights_claim(predictions->flights, &self->claim)) {
    case NX_FLIGHT_LEADS:
        lead(self);
        break;
    case NX_FLIGHT_WAITS:
        break;
    case NX_FLIGHT_ALONE:
        run_alone(self, NX_PREDICTION_MISS);
        break;
    }
}

/* Would everybody with the same picture and options meet it? */
static bool is_everybodys(nx_status status)
{
    return status == NX_ERR_INVALID || status == NX_ERR_UNSUPPORTED || status == NX_ERR_CORRUPT ||
           status == NX_ERR_TOO_LARGE || status == NX_ERR_INTERNAL;
}

void nx_prediction_ran(nx_prediction *self, const nx_result *result)
{
    if (self->policy.write) {
        keep(self->predictions, self->claim.key, result);
    }
    if (self->claim.flight != NULL) { /* after it was kept: who comes now finds it there */
        nx_flights_publish(self->predictions->flights, &self->claim, result);
    }
}

void nx_prediction_did_not_run(nx_prediction *self, nx_status status, const nx_error *err)
{
    if (self->claim.flight == NULL) {
        return;
    }
    if (is_everybodys(status)) {
        nx_flights_fail(self->predictions->flights, &self->claim, status, err);
    } else {
        nx_flights_abandon(self->predictions->flights, &self->claim);
    }
}

bool nx_prediction_withdraw(nx_prediction *self)
{
    return nx_flights_withdraw(self->predictions->flights, &self->claim);
}

/* --- one of many --------------------------------------------------------------------------------
 */

bool nx_predictions_look(nx_predictions *self, nx_prediction_look *look,
                         const nx_prediction_question *question, const void *picture, size_t size,
                         nx_record *out)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    look->keyed = nx_cache_keeps(self->cache, NX_CACHE_PREDICTIONS) &&
                  (look->policy.read || look->policy.write);
    if (!look->keyed) {
        return false;
    }
    nx_prediction_key(&self->keys, question, picture, size, look->key);
    if (!look->policy.read) {
        return false;
    }
    nx_cache_key key = cache_key(look->key);
    nx_cache_answer answer = nx_cache_peek(self->cache, &key, &bytes);
    return read_record(answer, &bytes, out);
}

void nx_predictions_keep(nx_predictions *self, const nx_prediction_look *look,
                         const nx_result *result)
{
    if (look->keyed && look->policy.write) {
        keep(self, look->key, result);
    }
}

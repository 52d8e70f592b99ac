#include "base/tracer.h"

#include "base/clock.h"
#include "base/condition.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct nx_tracer {
    nx_sampler sampler;
    uint64_t bound; /* of the 63 bits of a trace's id that the ratio is held against */
    size_t capacity;
    size_t batch;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    nx_span *spans; /* a ring */
    size_t first, count;
    uint64_t dropped;
    bool woken;
};

/* --- sampling -----------------------------------------------------------------------------------
 */

bool nx_sampler_parse(const char *name, nx_sampler *out)
{
    static const char *const names[] = {
        [NX_SAMPLER_ALWAYS_ON] = "always_on",
        [NX_SAMPLER_ALWAYS_OFF] = "always_off",
        [NX_SAMPLER_RATIO] = "traceidratio",
        [NX_SAMPLER_PARENT_ON] = "parentbased_always_on",
        [NX_SAMPLER_PARENT_OFF] = "parentbased_always_off",
        [NX_SAMPLER_PARENT_RATIO] = "parentbased_traceidratio",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(name, names[i]) == 0) {
            *out = (nx_sampler)i;
            return true;
        }
    }
    return false;
}

/* As OpenTelemetry's SDKs for Go and Java have it: the last 8 bytes without their last bit. */
static bool is_in_ratio(const nx_tracer *tracer, const char *id)
{
    return strtoull(id + 16, NULL, 16) >> 1 < tracer->bound;
}

void nx_tracer_decide(const nx_tracer *tracer, nx_trace *trace)
{
    if (tracer == NULL) {
        return;
    }
    const bool has_parent = trace->parent[0] != '\0';
    switch (tracer->sampler) {
    case NX_SAMPLER_ALWAYS_ON:
    case NX_SAMPLER_ALWAYS_OFF:
        trace->sampled = tracer->sampler == NX_SAMPLER_ALWAYS_ON;
        break;
    case NX_SAMPLER_RATIO:
        trace->sampled = is_in_ratio(tracer, trace->id);
        break;
    case NX_SAMPLER_PARENT_ON:
    case NX_SAMPLER_PARENT_OFF:
        trace->sampled = has_parent ? trace->sampled : tracer->sampler == NX_SAMPLER_PARENT_ON;
        break;
    case NX_SAMPLER_PARENT_RATIO:
        trace->sampled = has_parent ? trace->sampled : is_in_ratio(tracer, trace->id);
        break;
    }
}

bool nx_tracer_keeps(const nx_tracer *tracer, const nx_trace *trace)
{
    return tracer != NULL && trace->sampled && trace->span[0] != '\0';
}

/* --- a span -------------------------------------------------------------------------------------
 */

/* Returns where it lies, or NX_SPAN_TEXT when nothing of it has room. */
static uint16_t keep_text(nx_span *span, const char *text)
{
    size_t room = NX_SPAN_TEXT - span->text_size;
    if (room <= 1) {
        return NX_SPAN_TEXT;
    }
    size_t size = strnlen(text, room - 1);
    uint16_t at = (uint16_t)span->text_size;
    memcpy(span->text + at, text, size);
    span->text[at + size] = '\0';
    span->text_size += size + 1;
    return at;
}

void nx_span_begin(nx_span *span, const nx_trace *trace, nx_span_kind kind, const char *name,
                   int64_t began_ns)
{
    memcpy(span->trace, trace->id, sizeof span->trace);
    memcpy(span->id, trace->span, sizeof span->id);
    memcpy(span->parent, trace->parent, sizeof span->parent);
    span->kind = kind;
    span->failed = false;
    span->began_ns = began_ns;
    span->attribute_count = span->text_size = 0;
    (void)keep_text(span, name);
}

void nx_span_begin_child(nx_span *span, const nx_trace *trace, nx_span_kind kind, const char *name,
                         int64_t began_ns)
{
    const nx_trace own = nx_trace_below(trace);
    nx_span_begin(span, &own, kind, name, began_ns);
}

void nx_span_set_text(nx_span *span, const char *key, const char *text)
{
    uint16_t at = NX_SPAN_TEXT;
    if (text != NULL && span->attribute_count < NX_SPAN_MAX_ATTRIBUTES) {
        at = keep_text(span, text);
    }
    if (at < NX_SPAN_TEXT) {
        span->attributes[span->attribute_count++] = (nx_span_attribute){.key = key, .text = at};
    }
}

void nx_span_set_number(nx_span *span, const char *key, int64_t number)
{
    if (span->attribute_count < NX_SPAN_MAX_ATTRIBUTES) {
        span->attributes[span->attribute_count++] =
            (nx_span_attribute){.key = key, .number = number, .text = NX_SPAN_TEXT};
    }
}

/* --- the queue ----------------------------------------------------------------------------------
 */

nx_status nx_tracer_new(nx_sampler sampler, double ratio, size_t capacity, size_t batch,
                        nx_tracer **out, nx_error *err)
{
    *out = NULL;
    nx_tracer *tracer = calloc(1, sizeof *tracer);
    nx_span *spans = calloc(capacity, sizeof *spans);
    if (tracer == NULL || spans == NULL) {
        free(tracer);
        free(spans);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for traces");
    }
    tracer->sampler = sampler;
    tracer->bound = ratio >= 1 ? UINT64_C(1) << 63 : ratio > 0 ? (uint64_t)(ratio * 0x1p63) : 0;
    tracer->capacity = capacity;
    tracer->batch = batch;
    tracer->spans = spans;
    pthread_mutex_init(&tracer->lock, NULL);
    nx_condition_init(&tracer->changed);
    *out = tracer;
    return NX_OK;
}

void nx_tracer_free(nx_tracer *tracer)
{
    if (tracer != NULL) {
        pthread_cond_destroy(&tracer->changed);
        pthread_mutex_destroy(&tracer->lock);
        free(tracer->spans);
        free(tracer);
    }
}

/* Only what is in use of its text. */
static void copy_span(nx_span *to, const nx_span *from)
{
    memcpy(to, from, offsetof(nx_span, text) + from->text_size);
}

void nx_tracer_end(nx_tracer *tracer, nx_span *span, int64_t ended_ns)
{
    if (tracer == NULL) {
        return;
    }
    const int64_t since_1970 = nx_clock_unix_ns() - nx_clock_now_ns();
    span->began_ns += since_1970;
    span->ended_ns = ended_ns + since_1970;
    pthread_mutex_lock(&tracer->lock);
    if (tracer->count < tracer->capacity) {
        copy_span(&tracer->spans[(tracer->first + tracer->count) % tracer->capacity], span);
        if (++tracer->count == tracer->batch) {
            pthread_cond_signal(&tracer->changed);
        }
    } else {
        tracer->dropped++;
    }
    pthread_mutex_unlock(&tracer->lock);
}

size_t nx_tracer_take(nx_tracer *tracer, nx_span *out, size_t limit, int64_t until_ns)
{
    int late = 0;
    size_t taken = 0;
    if (tracer == NULL) {
        return 0;
    }
    pthread_mutex_lock(&tracer->lock);
    while (tracer->count < tracer->batch && !tracer->woken && late == 0) {
        late = nx_condition_wait(&tracer->changed, &tracer->lock, until_ns);
    }
    for (; taken < limit && tracer->count > 0; taken++) {
        copy_span(&out[taken], &tracer->spans[tracer->first]);
        tracer->first = (tracer->first + 1) % tracer->capacity;
        tracer->count--;
    }
    pthread_mutex_unlock(&tracer->lock);
    return taken;
}

void nx_tracer_wake(nx_tracer *tracer)
{
    if (tracer != NULL) {
        pthread_mutex_lock(&tracer->lock);
        tracer->woken = true;
        pthread_cond_broadcast(&tracer->changed);
        pthread_mutex_unlock(&tracer->lock);
    }
}

uint64_t nx_tracer_dropped(nx_tracer *tracer)
{
    if (tracer == NULL) {
        return 0;
    }
    pthread_mutex_lock(&tracer->lock);
    uint64_t dropped = tracer->dropped;
    pthread_mutex_unlock(&tracer->lock);
    return dropped;
}

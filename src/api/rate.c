#include "api/rate.h"

#include "base/clock.h"

#include <stdio.h>

/* Without RATE_LIMIT all are off. */
static void read_rates(const nx_config *config, nx_rate out[NX_RATE_CLASSES])
{
    static const nx_config_key keys[NX_RATE_CLASSES] = {
        [NX_RATE_CLASS_AUTH] = NX_CONFIG_RATE_LIMIT_AUTH,
        [NX_RATE_CLASS_INFER] = NX_CONFIG_RATE_LIMIT_INFER,
        [NX_RATE_CLASS_WRITE] = NX_CONFIG_RATE_LIMIT_WRITE,
        [NX_RATE_CLASS_READ] = NX_CONFIG_RATE_LIMIT_READ,
    };
    bool on = nx_config_bool(config, NX_CONFIG_RATE_LIMIT);
    for (size_t i = 0; i < NX_RATE_CLASSES; i++) {
        const char *text = on ? nx_config_string(config, keys[i]) : "off";
        (void)nx_rate_parse(text, &out[i], NULL); /* the configuration has refused what is none */
    }
}

nx_status nx_api_rate_start(nx_api *api, nx_error *err)
{
    nx_rate rates[NX_RATE_CLASSES];
    read_rates(api->deps.config, rates);
    const nx_rate_limiter_options options = {.memory = api->deps.rate_memory,
                                             .redis = api->deps.redis};
    return nx_rate_limiter_new(rates, &options, &api->rates, err);
}

void nx_api_rate_set(nx_api *api, const nx_config *config)
{
    nx_rate rates[NX_RATE_CLASSES];
    read_rates(config, rates);
    nx_rate_limiter_set(api->rates, rates);
}

static void add_number(nx_http_request *request, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    nx_http_add_header(request, name, text);
}

static void refuse(nx_http_request *request, nx_rate_class rate_class, const nx_rate_state *state,
                   const nx_rate_subject *subject)
{
    nx_problem problem = nx_problem_make(
        429, "Wait for the seconds in Retry-After, and ask less often.",
        "too many requests of the kind '%s' came from this %s", nx_rate_class_name(rate_class),
        subject->stranger          ? "address"
        : subject->bytes[0] == 'k' ? "API key"
                                   : "user");
    problem.retry_after_s = (int)state->retry_after_s;
    nx_http_reply_problem(request, &problem);
}

static void add_headers(nx_http_request *request, const nx_rate_state *state)
{
    add_number(request, "RateLimit-Limit", state->limit);
    add_number(request, "RateLimit-Remaining", state->remaining);
    add_number(request, "RateLimit-Reset", state->reset_s);
}

static nx_api_rate_verdict tell(nx_http_request *request, nx_rate_class rate_class,
                                const nx_rate_subject *subject, nx_rate_answer answer,
                                const nx_rate_state *state)
{
    if (answer == NX_RATE_OFF) {
        return NX_API_RATE_PASS;
    }
    add_headers(request, state);
    if (answer == NX_RATE_REFUSED) {
        refuse(request, rate_class, state, subject);
    }
    return answer == NX_RATE_ALLOWED ? NX_API_RATE_PASS : NX_API_RATE_ANSWERED;
}

nx_api_rate_verdict nx_api_rate_ask(nx_api *api, nx_http_request *request, const nx_identity *who)
{
    nx_rate_class rate_class = nx_rate_class_of(nx_http_request_route(request)->rate_class);
    if (api->rates == NULL || rate_class == NX_RATE_CLASSES || who->kind == NX_IDENTITY_LOCAL) {
        return NX_API_RATE_PASS;
    }
    nx_rate_state state;
    const nx_address client = nx_http_client(request);
    const nx_rate_subject subject = nx_rate_subject_of(who, &client, rate_class);
    nx_rate_answer answer =
        nx_rate_try(api->rates, rate_class, &subject, nx_clock_now_ns(), &state);
    return answer == NX_RATE_LATER ? NX_API_RATE_LATER
                                   : tell(request, rate_class, &subject, answer, &state);
}

static void decided(nx_rate_wait *wait, nx_rate_answer answer, const nx_rate_state *state)
{
    nx_api_rate_wait *self = (nx_api_rate_wait *)wait;
    self->decided(self, tell(self->request, wait->rate_class, &wait->subject, answer, state));
}

nx_api_rate_verdict nx_api_rate_wait_for(nx_api *api, nx_api_rate_wait *wait,
                                         const nx_identity *who)
{
    nx_rate_state state;
    nx_http_request *request = wait->request; /* after nx_rate_later wait may be gone */
    nx_rate_class rate_class = nx_rate_class_of(nx_http_request_route(request)->rate_class);
    const nx_address client = nx_http_client(request);
    const nx_rate_subject subject = nx_rate_subject_of(who, &client, rate_class);
    wait->wait = (nx_rate_wait){.rate_class = rate_class, .subject = subject, .decided = decided};
    if (nx_rate_later(api->rates, &wait->wait)) {
        return NX_API_RATE_LATER;
    }
    nx_rate_answer answer =
        nx_rate_take(api->rates, rate_class, &subject, nx_clock_now_ns(), &state);
    return tell(request, rate_class, &subject, answer, &state);
}

/* --- guesses -----------------------------------------------------------------------------------
 */

bool nx_api_rate_hold_one(nx_api *api, const nx_http_request *request, nx_api_rate_hold *out)
{
    const nx_address client = nx_http_client(request);
    *out = (nx_api_rate_hold){.rate_class =
                                  nx_rate_class_of(nx_http_request_route(request)->rate_class)};
    if (api->rates == NULL) {
        return true;
    }
    if (out->rate_class ==
        NX_RATE_CLASSES) { /* an open route that looks up who asks all the same */
        out->rate_class = NX_RATE_CLASS_READ;
    }
    out->subject = nx_rate_subject_of_guesses(&client);
    nx_rate_answer answer =
        nx_rate_hold(api->rates, out->rate_class, &out->subject, nx_clock_now_ns(), &out->state);
    out->held = answer == NX_RATE_ALLOWED;
    return answer != NX_RATE_REFUSED;
}

void nx_api_rate_refuse_hold(nx_http_request *request, const nx_api_rate_hold *hold)
{
    (void)tell(request, hold->rate_class, &hold->subject, NX_RATE_REFUSED, &hold->state);
}

void nx_api_rate_release(nx_api *api, const nx_api_rate_hold *hold, bool guessed)
{
    if (hold->held && guessed) {
        nx_rate_pay(api->rates, hold->rate_class, &hold->subject);
    } else if (hold->held) {
        nx_rate_give_back(api->rates, hold->rate_class, &hold->subject);
    }
}

/* --- metrics ------------------------------------------------------------------------------------
 */

void nx_api_rate_metrics_register(nx_api *api)
{
    const char *names[NX_RATE_CLASSES];
    for (int i = 0; i < NX_RATE_CLASSES; i++) {
        names[i] = nx_rate_class_name((nx_rate_class)i);
    }
    const nx_label label = {"class", names, NX_RATE_CLASSES, 0};
    nx_metrics *registry = nx_service_metrics_registry(api->deps.metrics);
    if (api->deps.auth != NULL) {
        static const char *const places[] = {"memory", "database"};
        const nx_label by = {"by", places, 2, 0};
        api->auth_looks = nx_metrics_counter(
            registry, "auth_looks_total",
            "Sessions and API keys that were looked up, in this process's memory or by a question "
            "to the database or Redis.",
            &by, 1);
        api->auth_refused =
            nx_metrics_counter(registry, "auth_refused_total",
                               "Sessions and API keys that were looked up and are none.", NULL, 0);
    }
    api->rate_limited = nx_metrics_counter(registry, "rate_limited_total",
                                           "Requests refused because too many came.", &label, 1);
    api->rate_crowded = nx_metrics_counter(
        registry, "rate_limit_crowded_total",
        "Requests counted together with those of others, for want of place.", NULL, 0);
    if (api->deps.redis != NULL) {
        static const char *const outcomes[] = {"told", "alone"};
        const nx_label outcome = {"outcome", outcomes, 2, 0};
        api->rate_shared = nx_metrics_counter(
            registry, "rate_limit_shared_total",
            "Requests that the limits of all hosts know of, and that only this one could count.",
            &outcome, 1);
        api->rate_waits = nx_metrics_counter(
            registry, "rate_limit_waits_total",
            "Requests that waited for what other hosts had let through.", NULL, 0);
    }
}

void nx_api_rate_metrics_read(nx_api *api)
{
    const nx_rate_stats stats = nx_rate_get_stats(api->rates);
    if (api->deps.auth != NULL) {
        const nx_auth_stats auth = nx_auth_get_stats(api->deps.auth);
        nx_metric_show(api->auth_looks, nx_metric_series(api->auth_looks, 0, 0, 0), auth.hits);
        nx_metric_show(api->auth_looks, nx_metric_series(api->auth_looks, 1, 0, 0), auth.asked);
        nx_metric_show(api->auth_refused, 0, auth.refused);
    }
    for (size_t i = 0; i < NX_RATE_CLASSES; i++) {
        nx_metric_show(api->rate_limited, nx_metric_series(api->rate_limited, i, 0, 0),
                       stats.refused[i]);
    }
    nx_metric_show(api->rate_crowded, 0, stats.crowded);
    if (api->deps.redis != NULL) {
        nx_metric_show(api->rate_shared, nx_metric_series(api->rate_shared, 0, 0, 0), stats.told);
        nx_metric_show(api->rate_shared, nx_metric_series(api->rate_shared, 1, 0, 0), stats.alone);
        nx_metric_show(api->rate_waits, 0, stats.waited);
    }
}

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
    return nx_rate_limiter_new(rates, &api->rates, err);
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

bool nx_api_rate_allow(nx_api *api, nx_http_request *request, const nx_identity *who)
{
    nx_rate_class rate_class = nx_rate_class_of(nx_http_request_route(request)->rate_class);
    if (api->rates == NULL || rate_class == NX_RATE_CLASSES || who->kind == NX_IDENTITY_LOCAL) {
        return true;
    }
    nx_rate_state state;
    const nx_address client = nx_http_client(request);
    const nx_rate_subject subject = nx_rate_subject_of(who, &client, rate_class);
    nx_rate_answer answer =
        nx_rate_take(api->rates, rate_class, &subject, nx_clock_now_ns(), &state);
    if (answer == NX_RATE_OFF) {
        return true;
    }
    add_number(request, "RateLimit-Limit", state.limit);
    add_number(request, "RateLimit-Remaining", state.remaining);
    add_number(request, "RateLimit-Reset", state.reset_s);
    if (answer == NX_RATE_REFUSED) {
        refuse(request, rate_class, &state, &subject);
    }
    return answer == NX_RATE_ALLOWED;
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
    api->rate_limited = nx_metrics_counter(registry, "rate_limited_total",
                                           "Requests refused because too many came.", &label, 1);
    api->rate_crowded = nx_metrics_counter(
        registry, "rate_limit_crowded_total",
        "Requests counted together with those of others, for want of place.", NULL, 0);
}

void nx_api_rate_metrics_read(nx_api *api)
{
    const nx_rate_stats stats = nx_rate_get_stats(api->rates);
    for (size_t i = 0; i < NX_RATE_CLASSES; i++) {
        nx_metric_show(api->rate_limited, nx_metric_series(api->rate_limited, i, 0, 0),
                       stats.refused[i]);
    }
    nx_metric_show(api->rate_crowded, 0, stats.crowded);
}

/* How often users, keys and addresses may ask: RateLimit-* and 429. */
#ifndef NX_API_RATE_H
#define NX_API_RATE_H

#include "api/internal.h"
#include "auth/rate_limit.h"

/* What the configuration says. */
nx_status nx_api_rate_start(nx_api *api, nx_error *err);
/* The same of one that was read again, for requests from now on. */
void nx_api_rate_set(nx_api *api, const nx_config *config);

typedef enum nx_api_rate_verdict {
    NX_API_RATE_PASS,
    NX_API_RATE_ANSWERED, /* 429 */
    NX_API_RATE_LATER,    /* the other hosts have to be asked: nx_api_rate_wait */
} nx_api_rate_verdict;

/*
 * Takes a token of whoever asks, for the class of the request's route; for the gate, once it is
 * known who that is. Adds RateLimit-Limit, -Remaining and -Reset to the coming answer (the names of
 * draft-ietf-httpapi-ratelimit-headers-03). Where there was none the request is answered 429 with
 * Retry-After. Whoever has a server without users to himself is not limited. Any thread; does not
 * wait.
 */
nx_api_rate_verdict nx_api_rate_ask(nx_api *api, nx_http_request *request, const nx_identity *who);

/* Embedded in whoever waits; lives until decided was called, which may free it. */
typedef struct nx_api_rate_wait {
    nx_rate_wait wait; /* first */
    nx_http_request *request;
    /* verdict is not LATER; on a thread that must not wait */
    void (*decided)(struct nx_api_rate_wait *wait, nx_api_rate_verdict verdict);
} nx_api_rate_wait;

/* After LATER: does the same as soon as it is known. The verdict is LATER again when decided will
 * be called; else it is final. */
nx_api_rate_verdict nx_api_rate_wait_for(nx_api *api, nx_api_rate_wait *wait,
                                         const nx_identity *who);

/*
 * Before it is looked up whose token somebody shows: whoever tries out tokens is limited before he
 * costs a look-up. Takes a token of a bucket that the address has for that, of the route's class,
 * which is given back to those who turn out to be somebody.
 */
typedef struct nx_api_rate_hold {
    bool held;
    nx_rate_class rate_class;
    nx_rate_subject subject;
    nx_rate_state state;
} nx_api_rate_hold;

/* False: there was none, and nothing is held. */
bool nx_api_rate_hold_one(nx_api *api, const nx_http_request *request, nx_api_rate_hold *out);
/* Answers 429 after that. */
void nx_api_rate_refuse_hold(nx_http_request *request, const nx_api_rate_hold *hold);
/* Ends it. guessed: the token is nobody's. */
void nx_api_rate_release(nx_api *api, const nx_api_rate_hold *hold, bool guessed);

/* auth_looks_total{by} and auth_refused_total, of those whose token was looked at;
 * rate_limited_total{class}, rate_limit_crowded_total; with Redis rate_limit_shared_total{outcome}
 * and rate_limit_waits_total, too. */
void nx_api_rate_metrics_register(nx_api *api);
void nx_api_rate_metrics_read(nx_api *api);

#endif

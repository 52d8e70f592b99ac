/*
 * The HTTP/1.1 server: libmicrohttpd with epoll and a pool of connection threads behind a routing
 * table, limits and deadlines. README.md describes the life of a request.
 */
#ifndef NX_HTTP_SERVER_H
#define NX_HTTP_SERVER_H

#include "base/address.h"
#include "base/error.h"
#include "http/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_http_server nx_http_server;

/* user is nx_http_server_options.user. */
typedef void (*nx_http_handler)(nx_http_request *request, void *user);

typedef struct nx_http_route {
    const char *method; /* "GET" (which answers HEAD too), "HEAD", "POST", "PUT", "PATCH", "DELETE"
                         * or "OPTIONS" */
    /* A whole path, in which "{name}" stands for any one segment (at most 4 of them), or "/prefix/"
     * followed by "*" for everything below. The first route that fits path and method is taken. */
    const char *pattern;
    nx_http_handler handle; /* the request is complete */
    /* Called when only the header is in; may answer, which refuses the request before its body.
     * May be NULL. */
    nx_http_handler admit;
    /* Bytes; 0: the route takes no body. May be changed while the server runs. */
    _Atomic uint64_t max_body;
    bool body_optional;       /* a request without one is not refused */
    const char *const *types; /* media types of the body, "image/" standing for all of them; ends
                                 with NULL. NULL: any. Others are 415. */
    const char *types_text;   /* the same for people, in the 415's advice */
    /* Takes the raw body as it comes in, which is then kept nowhere else; returning false refuses
     * it with *problem. Connection thread; may wait for a disk. Forms go their usual way. NULL:
     * the body is kept. */
    bool (*receive)(nx_http_request *request, const char *bytes, size_t size, nx_problem *problem,
                    void *user);
    /* Bodies (of forms: their files) go into files of this folder instead of memory, and do not
     * count towards max_inflight_body. NULL: memory. */
    const char *spool_dir;
    uint32_t max_files; /* of a form; what one more is answered with stands below */
    int too_many_files_status;
    const char *too_many_files_advice;
    bool always;     /* answered even above limit_concurrency: health, metrics */
    bool per_client; /* counts towards limit_per_client */
    /* For the gate, which alone knows what they mean. */
    uint32_t access;
    const char *rate_class; /* NULL: none */
} nx_http_route;

/* The route that fits a request; never NULL in its handlers and in the gate. */
const nx_http_route *nx_http_request_route(const nx_http_request *request);

typedef enum nx_http_gate_result {
    NX_HTTP_GATE_PASS,
    NX_HTTP_GATE_ANSWERED, /* refused, by nx_http_reply_problem or another short answer */
    NX_HTTP_GATE_WAIT,     /* kept, as by a handler; later nx_http_gate_done, or an answer */
} nx_http_gate_result;

/* A finished request, for metrics and logs. */
typedef struct nx_http_access {
    const nx_http_request *request;
    const char *method;
    const nx_http_route *route; /* NULL: none matched, or the header was refused before routing */
    const char *request_id;
    int status;          /* 0: the client went away before the answer */
    int64_t duration_ns; /* from the complete header to the sent answer */
} nx_http_access;

typedef struct nx_http_server_options {
    const char *host; /* a numeric address or a name; "" for every address */
    uint16_t port;    /* 0: a free one */
    /* A socket that listens already, and that other processes accept from as well; the server
     * closes its own descriptor of it. 0: none, host and port say where to listen. */
    int shared_socket;
    uint32_t threads; /* 0: number of cores, at most 4 */
    uint32_t backlog;
    uint32_t max_connections;
    uint32_t keepalive_s;       /* for a whole header since opening or the last answer */
    uint32_t request_timeout_s; /* for a whole body, and for taking the answer */
    uint32_t limit_concurrency; /* requests in flight; beyond it 503 */
    uint32_t limit_per_client;  /* per_client requests in flight from one address; 0: no limit */
    /* Whose X-Forwarded-For and -Proto are believed; borrowed for the server's life. NULL: nobody's
     */
    const nx_address_set *trusted_proxies;
    uint64_t max_inflight_body; /* bytes of all bodies in memory; beyond it 503 */
    /* Below this path ("/v2") problems are answered as {"error": "..."} instead of RFC 9457, for
     * protocols that have it so. NULL: nowhere. A literal. */
    const char *plain_errors;
    /* Decides who may go on, once the header is in and fits a route, before all limits, `admit`
     * and the body. On the connection thread, so it must not wait: the connection sleeps after
     * NX_HTTP_GATE_WAIT and its body is not read. No nx_http_on_gone here: what it waits for must
     * end by itself. nx_http_server_stop waits for it. NULL: all may. */
    nx_http_gate_result (*gate)(nx_http_request *request, void *user);
    /* Decides whether a request's trace is kept; its path is known, and no more. Connection thread;
     * may be NULL. */
    void (*on_trace)(const nx_http_request *request, nx_trace *trace, void *user);
    const nx_http_route *routes; /* borrowed for the server's life */
    size_t route_count;
    void (*on_access)(const nx_http_access *access,
                      void *user); /* connection thread; may be NULL */
    void *user;                    /* for handlers, gate and the two hooks */
} nx_http_server_options;

/* Listens and serves on its own threads. Errors: NX_ERR_UNAVAILABLE (port in use, not permitted,
 * no such address; the message says what to do), NX_ERR_NO_MEMORY. */
nx_status nx_http_server_start(const nx_http_server_options *options, nx_http_server **out,
                               nx_error *err);

uint16_t nx_http_server_port(const nx_http_server *server);

/* What may be changed while the server runs; as in the options. */
typedef struct nx_http_limits {
    uint32_t request_timeout_s;
    uint32_t concurrency;
    uint32_t per_client;
    uint64_t inflight_body;
} nx_http_limits;

/* From now on these count, for the requests in flight too; nobody is refused for what he was let
 * in with. A longer request_timeout_s than at the start lets a body come slowly for longer, but a
 * connection that is silent is still closed after what it was at the start. Any thread. */
void nx_http_server_set_limits(nx_http_server *server, const nx_http_limits *limits);

/* From now on every answer carries Connection: close. Thread-safe. */
void nx_http_server_announce_stop(nx_http_server *server);

/* Takes no more connections but those that are made already, and gives clients of open ones a
 * moment to see that they are to go: each brings one more request at most after
 * nx_http_server_announce_stop. Returns when none is open, or after about a second. */
void nx_http_server_close_door(nx_http_server *server);

/*
 * Takes no more connections, ends streams, waits until deadline_ns (nx_clock_now_ns() scale) for
 * the requests in flight, cancels the rest, waits for their answers and frees the server. Whoever
 * answers must still be at work. NULL is fine.
 */
void nx_http_server_stop(nx_http_server *server, int64_t deadline_ns);

typedef struct nx_http_stats {
    uint32_t connections;
    uint32_t requests;   /* in flight */
    uint64_t body_bytes; /* in memory for bodies */
} nx_http_stats;
nx_http_stats nx_http_server_get_stats(nx_http_server *server);

#endif

/* What the files of this module share. Included by nobody else. */
#ifndef NX_HTTP_INTERNAL_H
#define NX_HTTP_INTERNAL_H

#include "base/log.h"
#include "base/trace.h"
#include "http/accept.h"
#include "http/form.h"
#include "http/framing.h"
#include "http/request.h"
#include "http/server.h"
#include "http/spool.h"
#include "http/watch.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define NX_HTTP_MAX_REPLY_HEADERS 16
#define NX_HTTP_MAX_ID            64
#define NX_HTTP_MAX_PARAMS        4

/* Who acts next on a request, as README.md's table has it. */
typedef enum nx_request_state {
    NX_REQUEST_WORKING,   /* the connection thread, or a gate or handler that keeps the request */
    NX_REQUEST_SUSPENDED, /* the answerer, who then resumes the connection */
    NX_REQUEST_PASSED,    /* the connection thread, which goes on behind the gate */
    NX_REQUEST_ANSWERED,  /* the connection thread, which sends the answer */
} nx_request_state;

typedef struct nx_http_answer {
    int status;
    const char *content_type; /* literal; NULL: no body */
    nx_buffer body;           /* either this ... */
    const void *bytes;        /* ... or these, which outlive the server */
    size_t size;
    struct nx_http_file *file; /* ... or this, owned */
    nx_http_stream *stream;    /* ... or this; a reference */
    struct {
        const char *name; /* literal */
        char *value;      /* owned */
    } headers[NX_HTTP_MAX_REPLY_HEADERS];
    size_t header_count;
} nx_http_answer;

struct nx_http_request {
    nx_http_server *server;
    struct MHD_Connection *connection;
    nx_watch_conn *conn;
    const nx_http_route *route; /* NULL until one matched */
    const char *method;
    const char *path;
    char *path_copy; /* cut into the values of params; NULL when the pattern has none */
    struct {
        const char *name; /* in the pattern, up to its "}" */
        const char *value;
    } params[NX_HTTP_MAX_PARAMS];
    size_t param_count;
    char id[NX_HTTP_MAX_ID + 1];
    nx_trace trace;
    nx_log_context log; /* of the threads that work for it */
    int64_t started_ns;
    nx_address client; /* behind trusted proxies; see nx_http_client */
    bool secure;
    bool local;
    nx_framing framing;

    nx_buffer body;
    nx_http_spool spool; /* the body, on a route with a spool_dir */
    nx_http_form *form;
    uint64_t received; /* bytes of the body */
    uint64_t counted;  /* of these in the server's in_flight_body */

    bool in_limits;                   /* counts towards limit_concurrency */
    bool in_clients;                  /* is in the server's list of per_client requests */
    nx_address network;               /* what those are counted by */
    nx_http_request *next, *previous; /* in that list */

    bool at_gate; /* the next call by libmicrohttpd is about the header again */
    size_t identity_size;
    _Alignas(max_align_t) unsigned char identity[NX_HTTP_MAX_IDENTITY];

    _Atomic nx_request_state state;
    nx_http_answer answer;
    int sent_status; /* 0: nothing was sent; written by one thread at a time, see watch.h on_late */

    void *context;
    void (*free_context)(void *);
    void (*cancel)(nx_http_request *, void *);
    void *cancel_user;
};

/* Memory of bodies that have been, for those to come: a large block costs more to get from the
 * system, page by page, than the bytes in it cost to receive. */
#define NX_HTTP_KEPT_BODIES 8
typedef struct nx_http_kept_bodies {
    pthread_mutex_t lock; /* guards the rest */
    nx_buffer items[NX_HTTP_KEPT_BODIES];
    size_t count;
} nx_http_kept_bodies;

struct nx_http_server {
    nx_http_server_options options;
    nx_http_kept_bodies kept_bodies;
    struct MHD_Daemon *daemon;
    nx_acceptor *acceptor;
    nx_watch *watch;
    uint16_t port;
    uint64_t id_seed;
    _Atomic uint64_t id_count;

    struct { /* nx_http_server_set_limits may change them at any time */
        _Atomic uint32_t request_timeout_s, concurrency, per_client;
        _Atomic uint64_t inflight_body;
    } limits;
    _Atomic uint32_t requests;       /* in flight, all of them */
    _Atomic uint32_t limited;        /* in flight, those that limit_concurrency counts */
    _Atomic uint64_t in_flight_body; /* bytes */
    _Atomic bool closing;            /* answers carry Connection: close */
    _Atomic bool stopping;           /* nx_http_server_stop waits for the counts to fall */

    pthread_mutex_t lock; /* guards what follows; also what stopping waits with */
    pthread_cond_t quiet; /* a count that stopping waits for has fallen to 0 */
    int32_t opening;      /* connections handed to libmicrohttpd that it has not begun with */
    bool refusing;        /* no handler is called any more */
    uint32_t pending;     /* handlers called whose connection may still be asleep */
    nx_http_request *clients;
};

/* request.c */
nx_http_request *nx_http_request_new(nx_http_server *server, struct MHD_Connection *connection,
                                     const char *method, const char *path);
void nx_http_request_free(nx_http_request *request);

/* client.c: fills client, secure and local. */
void nx_http_find_client(nx_http_request *request);

/* limits.c: false fills problem (503 or 429). Releasing what was not taken is harmless. */
bool nx_http_limits_take(nx_http_request *request, nx_problem *problem);
void nx_http_limits_release(nx_http_request *request);

/* server.c: around each call of a handler. False: the server stops, call none. */
bool nx_http_pending_take(nx_http_server *server);
/* One more, by who holds one: a stream whose connection may be asleep. */
void nx_http_pending_add(nx_http_server *server);
/* Any thread; the last that a thread which is not libmicrohttpd's may do with the server. */
void nx_http_pending_release(nx_http_server *server);
/* A request was put away; connection threads. */
void nx_http_request_ended(nx_http_server *server);

/* body.c: false fills problem. */
bool nx_http_body_begin(nx_http_request *request, nx_problem *problem);
bool nx_http_body_feed(nx_http_request *request, const char *bytes, size_t size,
                       nx_problem *problem);
bool nx_http_body_finish(nx_http_request *request, nx_problem *problem);
void nx_http_body_free(nx_http_request *request);
/* Before the server is freed. */
void nx_http_kept_bodies_free(nx_http_kept_bodies *kept);

/* request.c: hands the answer over; the request may be gone afterwards. */
void nx_http_publish(nx_http_request *request);

/* gate.c */
/* Asks the server's gate, if it has one. After WAIT the request is somebody else's. */
nx_http_gate_result nx_http_gate_ask(nx_http_request *request);
/* Lets the connection sleep until somebody has decided. */
enum MHD_Result nx_http_gate_wait(nx_http_request *request);
/* The connection was resumed. Returns what was decided: PASS or ANSWERED. */
nx_http_gate_result nx_http_gate_leave(nx_http_request *request);
/* request.c: changes the state and wakes the connection if it sleeps, after which the request may
 * be gone. */
void nx_http_wake(nx_http_request *request, nx_request_state next);

/* reply_file.c: the response owns the file from then on. */
struct MHD_Response *nx_http_file_response(nx_http_request *request);
void nx_http_file_free(struct nx_http_file *file);

/* stream.c: with a reference of its own. */
struct MHD_Response *nx_http_stream_response(nx_http_stream *stream);
/* Tells the writer, unless it has ended the stream or was told before. */
void nx_http_stream_gone(nx_http_stream *stream);
/* Gives a reference back. NULL is fine. */
void nx_http_stream_release(nx_http_stream *stream);

/* respond.c */
/* Writes a problem's body, as the server's options want it below this path. Returns its media type,
 * a literal. */
const char *nx_http_write_problem(const nx_http_request *request, const nx_problem *problem,
                                  nx_buffer *out);
/* Queues the request's answer; connection thread, in libmicrohttpd's callback. */
enum MHD_Result nx_http_respond(nx_http_request *request);
/* Writes a problem straight to the socket, for when libmicrohttpd takes no answer (in the middle of
 * a body). The connection must be closed afterwards. */
void nx_http_respond_raw(nx_http_request *request, int fd, const nx_problem *problem);

/* dispatch.c: libmicrohttpd's callbacks; cls is the server. */
enum MHD_Result nx_http_dispatch(void *cls, struct MHD_Connection *connection, const char *url,
                                 const char *method, const char *version, const char *upload_data,
                                 size_t *upload_data_size, void **slot);
void nx_http_completed(void *cls, struct MHD_Connection *connection, void **request,
                       enum MHD_RequestTerminationCode code);

/* route.c: the route of the request's method and path; NULL fills problem (404 or 405). */
const nx_http_route *nx_http_route_find(nx_http_request *request, nx_problem *problem);

/* unescape.c: undoes percent escapes in place, in paths and in queries, and returns the new length
 * (libmicrohttpd's callback). "%00" stays as it is, as does what is no escape: a NUL would end the
 * text, and so make "/health%00x" another name of "/health". */
size_t nx_http_unescape(void *user, struct MHD_Connection *connection, char *text);

#endif

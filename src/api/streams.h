/*
 * The resource /api/v1/streams. What a stream does is told by whoever runs it: this process, and
 * then it is read from there, or another one, and then from the database, a second or so old. Live
 * pictures and events there are only from the process that runs it.
 */
#ifndef NX_API_STREAMS_H
#define NX_API_STREAMS_H

#include "api/internal.h"
#include "streams/streams.h"

#define NX_API_STREAM_MAX_BODY ((uint64_t)1 << 20)

/* --- stream_watch.c: those who look on --- */

typedef struct nx_api_watchers nx_api_watchers;

/* One thread writes to all of them. streams is borrowed. Errors: NX_ERR_NO_MEMORY,
 * NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_api_watchers_new(nx_streams *streams, nx_api_watchers **out, nx_error *err);
/* Ends the answers that are left, whose server is still there. NULL is fine. */
void nx_api_watchers_free(nx_api_watchers *watchers);

/* --- stream_metrics.c --- */

void nx_api_stream_metrics_register(nx_api *api);
void nx_api_stream_metrics_read(nx_api *api);

/* --- handlers; user is the nx_api --- */

void nx_api_streams_list(nx_http_request *request, void *user);
void nx_api_streams_add(nx_http_request *request, void *user);
void nx_api_streams_get(nx_http_request *request, void *user);
void nx_api_streams_change(nx_http_request *request, void *user);
void nx_api_streams_remove(nx_http_request *request, void *user);
void nx_api_streams_events(nx_http_request *request, void *user);
void nx_api_streams_frame(nx_http_request *request, void *user);
void nx_api_streams_live(nx_http_request *request, void *user);

/* For them: the hub of the path's stream, with a reference. NULL: the request is answered. On a
 * thread that may wait. */
nx_stream_hub *nx_api_find_hub(nx_api *api, nx_http_request *request);

#endif

/*
 * The resource /api/v1/streams. What a stream does is told by whoever runs it: this process, and
 * then it is read from there, or another one, and then from the database, a second or so old. Live
 * pictures, video and events of that come over a connection to it (streams/relay.h).
 */
#ifndef NX_API_STREAMS_H
#define NX_API_STREAMS_H

#include "api/internal.h"
#include "api/work.h"
#include "streams/streams.h"

#define NX_API_STREAM_MAX_BODY ((uint64_t)1 << 20)

/* --- stream_watch.c: those who look on --- */

typedef struct nx_api_watchers nx_api_watchers;

/* One thread writes to all of them. streams is borrowed. Errors: NX_ERR_NO_MEMORY,
 * NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_api_watchers_new(nx_streams *streams, nx_api_watchers **out, nx_error *err);
/* Ends the answers that are left, whose server is still there. NULL is fine. */
void nx_api_watchers_free(nx_api_watchers *watchers);

/* --- stream_video.c: those of them who look at the video itself --- */

typedef struct nx_api_video nx_api_video;

void nx_api_video_free(nx_api_video *video); /* NULL is fine */
/* Its content type, valid as long as it is. */
const char *nx_api_video_type(const nx_api_video *video);
/* Does what is to be written come at times of its own, which nobody tells? */
bool nx_api_video_is_paced(const nx_api_video *video);
/* Writes what there is and has room. False: the answer is to be ended. */
bool nx_api_video_write(nx_api_video *video, nx_http_stream *stream, int64_t now_ns);
/* stream_watch.c: answers with it. Hub's reference and video are its own from here on. */
void nx_api_watch_video(nx_api *api, nx_http_request *request, nx_stream_hub *hub,
                        nx_api_video *video);

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
void nx_api_streams_video(nx_http_request *request, void *user);

/* For them: the hub of the path's stream, or its mirror, with a reference. NULL: the request is
 * answered. On a thread that may wait. */
nx_stream_hub *nx_api_find_hub(nx_api *api, nx_http_request *request, int64_t until_ns);
/* Until when they wait for another process. */
int64_t nx_api_live_deadline(void);
/* Has a request for the path's stream answered, which may wait where another process runs it. From
 * a handler; the request must not be touched afterwards. */
void nx_api_answer_watched(nx_api *api, nx_http_request *request, nx_api_answer answer);

#endif

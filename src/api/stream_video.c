/* GET /api/v1/streams/{id}/live.mp4: a camera's video as it encoded it, in fragments that are there
 * once however many look on (streams/media_ring.h). Written by the thread of stream_watch.c. */
#include "api/streams.h"

#include "api/jobs.h"
#include "api/storage.h"
#include "base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who is further behind goes on with the newest key frame. */
#define MOST_BEHIND_NS (2 * NX_NS_PER_SEC)
/* Who reads nothing for so long while there is something reads no more. */
#define STUCK_NS (30 * NX_NS_PER_SEC)

struct nx_api_video {
    nx_media_view view;
    char type[NX_MP4_TYPE_SIZE];
    nx_buffer init;
    nx_media_piece *piece; /* a reference; NULL: init is being sent, or nothing */
    size_t sent;           /* bytes of either */
    int64_t written_ns;
};

/* NULL: there is nothing yet, or no memory. */
static nx_api_video *video_of(nx_media_ring *ring)
{
    nx_api_video *video = calloc(1, sizeof *video);
    if (video == NULL || !nx_media_view_open(ring, INT64_MAX, &video->view)) {
        free(video);
        return NULL;
    }
    nx_mp4_content_type(&video->view.track, video->type);
    nx_mp4_write_init(&video->view.track, &video->init);
    video->written_ns = nx_clock_now_ns();
    return video;
}

void nx_api_video_free(nx_api_video *video)
{
    if (video != NULL) {
        nx_media_piece_release(video->piece);
        nx_media_view_close(&video->view);
        nx_buffer_free(&video->init);
        free(video);
    }
}

const char *nx_api_video_type(const nx_api_video *video)
{
    return video->type;
}

bool nx_api_video_is_paced(const nx_api_video *video)
{
    return nx_media_view_is_paced(&video->view);
}

/* Writes of what is being sent as much as there is room for; *all: nothing is left. False: the
 * answer is to be ended. */
static bool write_rest(nx_api_video *video, nx_http_stream *stream, int64_t now_ns, bool *all)
{
    const nx_media_piece *piece = video->piece;
    const void *bytes = piece != NULL ? (const void *)piece->block : video->init.data;
    size_t left = (piece != NULL ? piece->size : video->init.size) - video->sent;
    size_t waiting = nx_http_stream_waiting(stream);
    size_t room = waiting < NX_HTTP_STREAM_MAX ? NX_HTTP_STREAM_MAX - waiting : 0;
    size_t size = left < room ? left : room;
    *all = size == left;
    if (size == 0) {
        return left == 0 || now_ns - video->written_ns < STUCK_NS;
    }
    if (!nx_http_stream_write(stream, (const char *)bytes + video->sent, size)) {
        return false;
    }
    video->written_ns = now_ns;
    video->sent += size;
    return true;
}

bool nx_api_video_write(nx_api_video *video, nx_http_stream *stream, int64_t now_ns)
{
    for (;;) {
        bool all = false;
        if (video->init.failed || !write_rest(video, stream, now_ns, &all)) {
            return false;
        }
        if (!all) {
            return true; /* the rest when there is room */
        }
        nx_media_piece *next = NULL;
        (void)nx_media_view_skip(&video->view, MOST_BEHIND_NS);
        nx_media_news news = nx_media_view_next(&video->view, &next);
        if (next == NULL) {
            return news != NX_MEDIA_ENDED;
        }
        nx_media_piece_release(video->piece);
        video->piece = next;
        video->sent = 0;
    }
}

/* --- the request --------------------------------------------------------------------------------
 */

/* Why there is no video. */
static void refuse(nx_http_request *request, const char *unfit)
{
    nx_problem problem;
    if (unfit[0] != '\0') {
        problem =
            nx_problem_make(409, "Take .../live.mjpeg.",
                            "the camera sends %.31s, which browsers do not play as it is", unfit);
    } else {
        problem =
            nx_problem_make(503, "Ask again when the stream is live.", "no video has come yet");
        problem.retry_after_s = 1;
    }
    nx_http_reply_problem(request, &problem);
}

/* The video of the path's stream, with a reference. NULL: there is none, or of a codec (unfit) that
 * can't be shown as it is. */
static nx_media_ring *find_video(nx_api *api, const char *id, int64_t until_ns,
                                 char unfit[NX_RELAY_CODEC])
{
    nx_error err = {0};
    nx_media_ring *ring = nx_streams_media(api->deps.streams, id);
    if (ring != NULL) {
        nx_streams_unfit(api->deps.streams, id, unfit);
    } else if (nx_relay_media(nx_streams_relay(api->deps.streams), id, until_ns, &ring, &err) ==
               NX_ERR_UNSUPPORTED) {
        snprintf(unfit, NX_RELAY_CODEC, "%.31s", err.message);
    }
    return ring;
}

static void answer_video(nx_api *api, nx_http_request *request)
{
    char unfit[NX_RELAY_CODEC] = "";
    int64_t until_ns = nx_api_live_deadline();
    nx_stream_hub *hub = nx_api_find_hub(api, request, until_ns);
    if (hub == NULL) {
        return;
    }
    nx_media_ring *ring = find_video(api, nx_api_path_id(request, "stream"), until_ns, unfit);
    nx_api_video *video = ring != NULL ? video_of(ring) : NULL;
    nx_media_ring_release(ring);
    if (video != NULL) {
        nx_api_watch_video(api, request, hub, video);
    } else {
        nx_stream_hub_release(hub);
        refuse(request, unfit);
    }
}

void nx_api_streams_video(nx_http_request *request, void *user)
{
    nx_api_answer_watched(user, request, answer_video);
}

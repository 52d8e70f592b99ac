/*
 * Answers that go on. A stream has two halves: the writer's, on any thread, and the response's, on
 * the connection thread; whoever lets go last frees it (the request holds it as well). While there
 * is nothing to send the connection sleeps, as it does while a request waits for its answer
 * (README.md).
 */
#include "http/internal.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK ((size_t)16 << 10)

struct nx_http_stream {
    nx_http_server *server;
    struct MHD_Connection *connection;
    nx_watch_conn *conn;
    void (*gone)(void *user);
    void *user;

    pthread_mutex_t lock; /* guards the rest */
    int references;       /* the writer's, the request's and the response's */
    nx_buffer waiting;    /* written and not sent; its first `sent` bytes are */
    size_t sent;
    bool asleep; /* the connection is suspended, for us to wake */
    bool ended;  /* by the writer */
    bool told;   /* the writer, that nobody listens */
    bool closed; /* the response has gone */
};

void nx_http_stream_release(nx_http_stream *stream)
{
    if (stream == NULL) {
        return;
    }
    pthread_mutex_lock(&stream->lock);
    bool last = --stream->references == 0;
    pthread_mutex_unlock(&stream->lock);
    if (last) {
        pthread_mutex_destroy(&stream->lock);
        nx_buffer_free(&stream->waiting);
        free(stream);
    }
}

void nx_http_stream_gone(nx_http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    bool tell = !stream->ended && !stream->told;
    stream->told = true;
    pthread_mutex_unlock(&stream->lock);
    if (tell) {
        stream->gone(stream->user);
    }
}

/* --- the response's half ------------------------------------------------------------------------
 */

/* The lock is held. */
static size_t take(nx_http_stream *stream, char *out, size_t size)
{
    size_t left = stream->waiting.size - stream->sent;
    size_t count = left < size ? left : size;
    memcpy(out, stream->waiting.data + stream->sent, count);
    stream->sent += count;
    if (stream->sent == stream->waiting.size) {
        nx_buffer_free(&stream->waiting);
        stream->sent = 0;
    }
    return count;
}

static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t size)
{
    (void)position;
    nx_http_stream *stream = cls;
    ssize_t result = 0;
    pthread_mutex_lock(&stream->lock);
    if (stream->ended) {
        nx_watch_sending(stream->conn); /* from now on there is a limit on the time */
    }
    if (stream->waiting.size > 0) {
        result = (ssize_t)take(stream, out, size);
    } else if (stream->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        MHD_suspend_connection(stream->connection);
        stream->asleep = true;
    }
    pthread_mutex_unlock(&stream->lock);
    return result;
}

static void close_stream(void *cls)
{
    nx_http_stream *stream = cls;
    pthread_mutex_lock(&stream->lock);
    stream->closed = true;
    pthread_mutex_unlock(&stream->lock);
    nx_http_stream_release(stream);
}

struct MHD_Response *nx_http_stream_response(nx_http_stream *stream)
{
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, BLOCK, read_stream, stream, close_stream);
    if (response != NULL) {
        pthread_mutex_lock(&stream->lock);
        stream->references++;
        pthread_mutex_unlock(&stream->lock);
    }
    return response;
}

/* --- the writer's half --------------------------------------------------------------------------
 */

nx_http_stream *nx_http_reply_stream(nx_http_request *request, const char *content_type,
                                     void (*gone)(void *user), void *user)
{
    nx_http_stream *stream = calloc(1, sizeof *stream);
    if (stream == NULL) {
        nx_problem problem = nx_problem_make(503, "Try again later.", "no memory for the answer");
        nx_http_reply_problem(request, &problem);
        return NULL;
    }
    pthread_mutex_init(&stream->lock, NULL);
    stream->server = request->server;
    stream->connection = request->connection;
    stream->conn = request->conn;
    stream->gone = gone;
    stream->user = user;
    stream->references = 2;
    nx_http_pending_add(request->server);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_add_header(request, "X-Accel-Buffering", "no"); /* nginx would hold pieces back */
    request->answer.status = 200;
    request->answer.content_type = content_type;
    request->answer.stream = stream;
    nx_http_publish(request);
    return stream;
}

/* The lock is held. */
static void wake(nx_http_stream *stream)
{
    if (stream->asleep) {
        stream->asleep = false;
        MHD_resume_connection(stream->connection);
    }
}

/* What was sent makes room. The lock is held. */
static void compact(nx_http_stream *stream)
{
    size_t left = stream->waiting.size - stream->sent;
    if (stream->sent > left) {
        memcpy(stream->waiting.data, stream->waiting.data + stream->sent, left);
        stream->waiting.size = left;
        stream->sent = 0;
    }
}

size_t nx_http_stream_waiting(nx_http_stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    size_t waiting = stream->waiting.size - stream->sent;
    pthread_mutex_unlock(&stream->lock);
    return waiting;
}

bool nx_http_stream_write(nx_http_stream *stream, const void *bytes, size_t size)
{
    pthread_mutex_lock(&stream->lock);
    compact(stream);
    bool fits =
        !stream->closed && size <= NX_HTTP_STREAM_MAX - (stream->waiting.size - stream->sent);
    if (fits) {
        nx_buffer_append(&stream->waiting, bytes, size);
        fits = !stream->waiting.failed;
        wake(stream);
    }
    pthread_mutex_unlock(&stream->lock);
    return fits;
}

void nx_http_stream_end(nx_http_stream *stream)
{
    nx_http_server *server = stream->server;
    pthread_mutex_lock(&stream->lock);
    stream->ended = true;
    wake(stream);
    pthread_mutex_unlock(&stream->lock);
    nx_http_stream_release(stream);
    nx_http_pending_release(server);
}

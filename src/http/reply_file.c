/* Answers that are files, or ranges of files. */
#include "http/internal.h"
#include "http/negotiate.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The response's own buffer, and what a client has to take within REQUEST_TIMEOUT. */
#define BLOCK ((size_t)64 << 10)

struct nx_http_file {
    int fd;
    uint64_t offset; /* of the first byte that is sent */
    uint64_t size;   /* from there */
    nx_watch_conn *conn;
};

void nx_http_file_free(struct nx_http_file *file)
{
    if (file != NULL) {
        close(file->fd);
        free(file);
    }
}

static void free_file(void *cls)
{
    nx_http_file_free(cls);
}

static ssize_t read_file(void *cls, uint64_t position, char *out, size_t size)
{
    const struct nx_http_file *file = cls;
    if (position >= file->size) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    uint64_t left = file->size - position;
    size_t wanted = left < size ? (size_t)left : size;
    nx_watch_sending(file->conn); /* the client took what was before */
    ssize_t got = 0;
    do {
        got = pread(file->fd, out, wanted, (off_t)(file->offset + position));
    } while (got < 0 && errno == EINTR);
    /* shorter than it was: better a broken connection than a wrong answer */
    return got > 0 ? got : MHD_CONTENT_READER_END_WITH_ERROR;
}

struct MHD_Response *nx_http_file_response(nx_http_request *request)
{
    struct nx_http_file *file = request->answer.file;
    struct MHD_Response *response =
        MHD_create_response_from_callback(file->size, BLOCK, read_file, file, free_file);
    if (response != NULL) {
        request->answer.file = NULL;
    }
    return response;
}

static void reply_with(nx_http_request *request, int status, const char *content_type,
                       const struct nx_http_file *part)
{
    struct nx_http_file *file = malloc(sizeof *file);
    if (file == NULL) {
        close(part->fd);
        nx_problem problem = nx_problem_make(503, "Try again later.", "no memory for the answer");
        nx_http_reply_problem(request, &problem);
        return;
    }
    *file = *part;
    request->answer.status = status;
    request->answer.content_type = content_type;
    request->answer.file = file;
    nx_http_publish(request);
}

/* What is sent of a representation. */
typedef struct part {
    int status; /* 200, 206; 0: the request was answered without any of it */
    uint64_t offset;
    uint64_t size;
} part;

/* Adds the headers that tell of it, or answers 304 or 416. */
static part choose_part(nx_http_request *request, const char *etag, uint64_t size)
{
    char text[64];
    uint64_t first = 0;
    uint64_t last = 0;
    if (etag != NULL) {
        nx_http_add_header(request, "ETag", etag);
        if (nx_negotiate_none_match(nx_http_header(request, "If-None-Match"), etag)) {
            nx_http_reply_static(request, 304, NULL, NULL, 0);
            return (part){0};
        }
    }
    nx_http_add_header(request, "Accept-Ranges", "bytes");
    nx_range_kind kind =
        nx_negotiate_range(nx_http_header(request, "Range"), nx_http_header(request, "If-Range"),
                           etag, size, &first, &last);
    if (kind == NX_RANGE_NONE) {
        snprintf(text, sizeof text, "bytes */%" PRIu64, size);
        nx_http_add_header(request, "Content-Range", text);
        nx_problem problem =
            nx_problem_make(416, "Ask for bytes that are there, or leave Range out.",
                            "the range begins behind the end; there are %" PRIu64 " bytes", size);
        nx_http_reply_problem(request, &problem);
        return (part){0};
    }
    if (kind == NX_RANGE_ALL) {
        return (part){.status = 200, .size = size};
    }
    snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, first, last, size);
    nx_http_add_header(request, "Content-Range", text);
    return (part){.status = 206, .offset = first, .size = last - first + 1};
}

void nx_http_reply_file(nx_http_request *request, const char *content_type, const char *etag,
                        int fd, uint64_t size)
{
    nx_watch_conn *conn = request->conn;
    const part chosen = choose_part(request, etag, size);
    if (chosen.status == 0) {
        close(fd);
        return;
    }
    const struct nx_http_file file = {
        .fd = fd, .offset = chosen.offset, .size = chosen.size, .conn = conn};
    reply_with(request, chosen.status, content_type, &file);
}

void nx_http_reply_content(nx_http_request *request, const char *content_type, const char *etag,
                           nx_buffer *body)
{
    const part chosen = choose_part(request, etag, body->size);
    if (chosen.status == 0) {
        nx_buffer_free(body);
        return;
    }
    if (chosen.status == 206) { /* a part is at least a byte */
        memmove(body->data, body->data + chosen.offset, (size_t)chosen.size);
        body->size = (size_t)chosen.size;
    }
    nx_http_reply(request, chosen.status, content_type, body);
}

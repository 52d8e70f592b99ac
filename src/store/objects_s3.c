/* Objects in a bucket of S3: BUCKET/PREFIX/abcd.... Large ones are sent in parts. */
#include "store/objects_backend.h"
#include "store/s3.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* S3 wants parts of at least 5 MiB and at most 10,000 of them. */
#define PART_BYTES ((int64_t)8 * 1024 * 1024)
#define MAX_PARTS  9000
#define HTTP_OK    200
#define HTTP_RANGE 206
#define HTTP_EMPTY 204
#define HTTP_PAST  416

typedef struct bucket {
    nx_objects_backend base;
    nx_s3 *s3;
    char *prefix; /* "" or "/videos" */
} bucket;

/* The path of an object behind the bucket's URL. */
#define PATH_SIZE 400
static void path_of(const bucket *self, const char *name, char path[PATH_SIZE])
{
    snprintf(path, PATH_SIZE, "%s/%s", self->prefix, name);
}

/* Sends and takes anything but success for a refusal; the answer is the caller's to free. */
static nx_status ask(const bucket *self, const nx_s3_request *request, const char *what,
                     nx_s3_answer *answer, nx_error *err)
{
    nx_status status = nx_s3_send(self->s3, request, answer, err);
    if (status == NX_OK && answer->status != HTTP_OK && answer->status != HTTP_RANGE &&
        answer->status != HTTP_EMPTY) {
        status = nx_s3_refused(answer, what, err);
    }
    return status;
}

static nx_status check(nx_objects_backend *base, nx_error *err)
{
    nx_s3_answer answer;
    const nx_s3_request request = {.method = "HEAD", .path = "", .to = -1};
    nx_status status = ask((bucket *)base, &request, "bucket", &answer, err);
    nx_buffer_free(&answer.body);
    return status;
}

static nx_status size_of(nx_objects_backend *base, const char *name, int64_t *size, nx_error *err)
{
    char path[PATH_SIZE];
    nx_s3_answer answer;
    path_of((bucket *)base, name, path);
    const nx_s3_request request = {.method = "HEAD", .path = path, .to = -1};
    nx_status status = ask((bucket *)base, &request, "object of that name", &answer, err);
    if (status == NX_OK) {
        *size = answer.length;
    }
    nx_buffer_free(&answer.body);
    return status;
}

/* --- sending --- */

/* An upload in parts; `list` grows to the XML that ends it (CompleteMultipartUpload). */
typedef struct parts {
    const bucket *self;
    const char *path;
    char query_id[600]; /* "uploadId=...", escaped */
    int fd;
    int64_t size;
    int64_t part_size;
    char *room; /* one part */
    nx_buffer list;
} parts;

static nx_status read_part(const parts *what, int64_t offset, size_t *size, nx_error *err)
{
    int64_t left = what->size - offset;
    *size = (size_t)(left < what->part_size ? left : what->part_size);
    if (nx_objects_read_all(what->fd, what->room, *size, offset) != (int64_t)*size) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read an upload");
    }
    return NX_OK;
}

static nx_status send_whole(const parts *what, nx_error *err)
{
    size_t size = 0;
    nx_status status = read_part(what, 0, &size, err);
    if (status != NX_OK) {
        return status;
    }
    nx_s3_answer answer;
    const nx_s3_request request = {
        .method = "PUT", .path = what->path, .body = what->room, .body_size = size, .to = -1};
    status = ask(what->self, &request, "to take an object", &answer, err);
    nx_buffer_free(&answer.body);
    return status;
}

static nx_status begin_parts(parts *what, nx_error *err)
{
    char id[256];
    char escaped[580];
    nx_s3_answer answer;
    const nx_s3_request request = {
        .method = "POST", .path = what->path, .query = "uploads=", .to = -1};
    nx_status status = ask(what->self, &request, "to begin an upload", &answer, err);
    if (status == NX_OK && (!nx_s3_element(&answer, "UploadId", id, sizeof id) ||
                            !nx_s3_escape(id, escaped, sizeof escaped))) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "S3 began an upload without an id");
    }
    if (status == NX_OK) {
        snprintf(what->query_id, sizeof what->query_id, "uploadId=%s", escaped);
    }
    nx_buffer_free(&answer.body);
    return status;
}

static nx_status send_part(parts *what, int number, int64_t offset, nx_error *err)
{
    char query[700];
    size_t size = 0;
    nx_status status = read_part(what, offset, &size, err);
    if (status != NX_OK) {
        return status;
    }
    nx_s3_answer answer;
    snprintf(query, sizeof query, "partNumber=%d&%s", number, what->query_id);
    const nx_s3_request request = {.method = "PUT",
                                   .path = what->path,
                                   .query = query,
                                   .body = what->room,
                                   .body_size = size,
                                   .to = -1};
    status = ask(what->self, &request, "to take a part", &answer, err);
    if (status == NX_OK && answer.etag[0] == '\0') {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "S3 took a part without an ETag");
    }
    nx_buffer_printf(&what->list, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number,
                     answer.etag);
    nx_buffer_free(&answer.body);
    return status;
}

/* S3 may answer 200 at once and tell of a failure in the body. */
static nx_status end_parts(parts *what, nx_error *err)
{
    char etag[160];
    nx_s3_answer answer;
    nx_buffer_append_str(&what->list, "</CompleteMultipartUpload>");
    if (what->list.failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of parts");
    }
    const nx_s3_request request = {.method = "POST",
                                   .path = what->path,
                                   .query = what->query_id,
                                   .body = what->list.data,
                                   .body_size = what->list.size,
                                   .to = -1};
    nx_status status = ask(what->self, &request, "to end an upload", &answer, err);
    if (status == NX_OK && !nx_s3_element(&answer, "ETag", etag, sizeof etag)) {
        status = nx_s3_refused(&answer, "to end an upload", err);
    }
    nx_buffer_free(&answer.body);
    return status;
}

/* Parts that nobody will complete are paid for until they are given up. */
static void abandon_parts(const parts *what)
{
    nx_error ignored;
    nx_s3_answer answer;
    const nx_s3_request request = {
        .method = "DELETE", .path = what->path, .query = what->query_id, .to = -1};
    (void)nx_s3_send(what->self->s3, &request, &answer, &ignored);
    nx_buffer_free(&answer.body);
}

static nx_status send_parts(parts *what, nx_error *err)
{
    nx_status status = begin_parts(what, err);
    if (status != NX_OK) {
        return status;
    }
    int number = 1;
    nx_buffer_append_str(&what->list, "<CompleteMultipartUpload>");
    for (int64_t at = 0; at < what->size && status == NX_OK; at += what->part_size) {
        status = send_part(what, number++, at, err);
    }
    if (status == NX_OK) {
        status = end_parts(what, err);
    }
    if (status != NX_OK) {
        abandon_parts(what);
    }
    return status;
}

static nx_status keep(nx_objects_backend *base, const char *name, const char *upload, int fd,
                      int64_t size, nx_error *err)
{
    char path[PATH_SIZE];
    int64_t there = -1;
    nx_error none;
    (void)upload;
    if (size_of(base, name, &there, &none) == NX_OK && there == size) {
        return NX_OK; /* the same content was kept before */
    }
    path_of((bucket *)base, name, path);
    parts what = {.self = (bucket *)base,
                  .path = path,
                  .fd = fd,
                  .size = size,
                  .part_size = size / MAX_PARTS > PART_BYTES ? size / MAX_PARTS : PART_BYTES,
                  .list = NX_BUFFER_INIT};
    int64_t room = size < what.part_size ? size : what.part_size;
    what.room = malloc(room > 0 ? (size_t)room : 1);
    if (what.room == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a part of %lld bytes",
                            (long long)room);
    }
    nx_status status = size <= what.part_size ? send_whole(&what, err) : send_parts(&what, err);
    free(what.room);
    nx_buffer_free(&what.list);
    return status;
}

/* --- fetching --- */

typedef struct into_memory {
    char *bytes;
    size_t size;
    size_t done;
} into_memory;

static bool memory_begin(void *user)
{
    ((into_memory *)user)->done = 0;
    return true;
}

static bool memory_bytes(void *user, const void *bytes, size_t size)
{
    into_memory *to = user;
    if (size > to->size - to->done) {
        return false;
    }
    memcpy(to->bytes + to->done, bytes, size);
    to->done += size;
    return true;
}

static nx_status read_range(nx_objects_backend *base, const char *name, int64_t offset,
                            void *buffer, size_t size, size_t *got, nx_error *err)
{
    char path[PATH_SIZE];
    nx_s3_answer answer;
    into_memory to = {.bytes = buffer, .size = size};
    const nx_s3_sink sink = {.begin = memory_begin, .bytes = memory_bytes, .user = &to};
    path_of((bucket *)base, name, path);
    const nx_s3_request request = {.method = "GET",
                                   .path = path,
                                   .from = offset,
                                   .to = offset + (int64_t)size - 1,
                                   .sink = &sink};
    nx_status status = nx_s3_send(((bucket *)base)->s3, &request, &answer, err);
    if (status == NX_OK && answer.status == HTTP_PAST) {
        to.done = 0; /* nothing lies behind the end */
    } else if (status == NX_OK && answer.status != HTTP_RANGE && answer.status != HTTP_OK) {
        status = nx_s3_refused(&answer, "object of that name", err);
    } else if (status == NX_OK && answer.status == HTTP_OK && offset > 0) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "S3 sent all of an object for a part of it");
    }
    *got = status == NX_OK ? to.done : 0;
    nx_buffer_free(&answer.body);
    return status;
}

static bool file_begin(void *user)
{
    int fd = *(const int *)user;
    return ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0;
}

static bool file_bytes(void *user, const void *bytes, size_t size)
{
    return nx_objects_write_all(*(const int *)user, bytes, size) == 0;
}

static nx_status fetch(nx_objects_backend *base, const char *name, const char *folder, int *fd,
                       nx_error *err)
{
    char path[PATH_SIZE];
    nx_s3_answer answer;
    int made = -1;
    nx_status status = nx_objects_nameless(folder, &made, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_s3_sink sink = {.begin = file_begin, .bytes = file_bytes, .user = &made};
    path_of((bucket *)base, name, path);
    const nx_s3_request request = {.method = "GET", .path = path, .to = -1, .sink = &sink};
    status = ask((bucket *)base, &request, "object of that name", &answer, err);
    nx_buffer_free(&answer.body);
    if (status == NX_OK && lseek(made, 0, SEEK_SET) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read what came from S3");
    }
    if (status != NX_OK) {
        close(made);
        return status;
    }
    *fd = made;
    return NX_OK;
}

static nx_status remove_object(nx_objects_backend *base, const char *name, nx_error *err)
{
    char path[PATH_SIZE];
    nx_s3_answer answer;
    path_of((bucket *)base, name, path);
    const nx_s3_request request = {.method = "DELETE", .path = path, .to = -1};
    nx_status status = ask((bucket *)base, &request, "to remove an object", &answer, err);
    nx_buffer_free(&answer.body);
    return status == NX_ERR_NOT_FOUND ? NX_OK : status;
}

/* --- opening --- */

static void close_backend(nx_objects_backend *base)
{
    bucket *self = (bucket *)base;
    nx_s3_free(self->s3);
    free(self->prefix);
    free(self);
}

static const nx_objects_ops ops = {
    .check = check,
    .keep = keep,
    .size = size_of,
    .read = read_range,
    .fetch = fetch,
    .remove = remove_object,
    .close = close_backend,
};

/* s3://BUCKET[/PREFIX] of letters that mean themselves in a URL; longer ones than AWS allows would
 * not fit path_of. */
static nx_status read_url(const char *url, char name[64], char prefix[256], nx_error *err)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._/";
    static const char scheme[] = "s3://";
    size_t head = strlen(scheme);
    size_t length = strlen(url);
    if (strncmp(url, scheme, head) == 0 && strspn(url + head, plain) == length - head) {
        const char *start = url + head;
        size_t size = strcspn(start, "/");
        const char *rest = start + size;
        size_t rest_size = strlen(rest);
        while (rest_size > 0 && rest[rest_size - 1] == '/') {
            rest_size--;
        }
        if (size > 0 && size < 64 && rest_size < 256) {
            snprintf(name, 64, "%.*s", (int)size, start);
            snprintf(prefix, 256, "%.*s", (int)rest_size, rest);
            return NX_OK;
        }
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "OBJECTS_URL is '%.100s'; use s3://BUCKET or s3://BUCKET/PREFIX, or leave "
                        "it empty for the disk",
                        url);
}

nx_status nx_objects_s3_open(const nx_objects_options *options, char place[512],
                             nx_objects_backend **out, nx_error *err)
{
    char name[64];
    char prefix[256];
    char endpoint[300];
    char base[400];
    nx_status status = read_url(options->url, name, prefix, err);
    if (status != NX_OK) {
        return status;
    }
    if (options->endpoint[0] != '\0') {
        snprintf(endpoint, sizeof endpoint, "%.280s", options->endpoint);
    } else {
        snprintf(endpoint, sizeof endpoint, "https://s3.%.100s.amazonaws.com", options->region);
    }
    if (strncmp(endpoint, "http://", 7) != 0 && strncmp(endpoint, "https://", 8) != 0) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "S3_ENDPOINT is '%.100s'; it begins with http:// or https://",
                            endpoint);
    }
    endpoint[strlen(endpoint) - (endpoint[strlen(endpoint) - 1] == '/')] = '\0';
    snprintf(base, sizeof base, "%s/%s", endpoint, name);
    snprintf(place, 512, "s3://%s%s at %s", name, prefix, endpoint);
    bucket *self = calloc(1, sizeof *self);
    if (self == NULL || (self->prefix = strdup(prefix)) == NULL) {
        free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the object store");
    }
    self->base.ops = &ops;
    status =
        nx_s3_new(base, options->region, options->access_key, options->secret_key, &self->s3, err);
    if (status != NX_OK) {
        close_backend(&self->base);
        return status;
    }
    *out = &self->base;
    return NX_OK;
}

/*
 * Inside src/store: requests to S3 (docs.aws.amazon.com/AmazonS3/latest/API), signed with Signature
 * Version 4 by libcurl, path style, tried again after failures of the network and of the server.
 * Thread-safe: each call has a connection of its own, and connections are used again.
 */
#ifndef NX_STORE_S3_H
#define NX_STORE_S3_H

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_s3 nx_s3;

/* base: "http://host:9000/bucket", without a slash at its end. Strings are copied. */
nx_status nx_s3_new(const char *base, const char *region, const char *access_key,
                    const char *secret_key, nx_s3 **out, nx_error *err);
void nx_s3_free(nx_s3 *s3); /* NULL is fine; no call may be in progress */

/* Takes an object's bytes; begin is called before each try, and false from bytes ends it. */
typedef struct nx_s3_sink {
    bool (*begin)(void *user);
    bool (*bytes)(void *user, const void *bytes, size_t size);
    void *user;
} nx_s3_sink;

typedef struct nx_s3_request {
    const char *method;
    const char *path;  /* behind base: "/key", or "" for the bucket */
    const char *query; /* sorted by name, "uploads="; NULL: none */
    const void *body;  /* borrowed */
    size_t body_size;
    int64_t from, to;       /* GET: a range, both ends included; to -1: everything */
    const nx_s3_sink *sink; /* of a successful GET; NULL: into the answer */
} nx_s3_request;

typedef struct nx_s3_answer {
    long status;
    int64_t length; /* Content-Length; -1: not told */
    char etag[160]; /* with its quotes; "": none */
    nx_buffer body; /* XML, 64 KiB at most; freed by the caller */
} nx_s3_answer;

/* NX_OK: an answer came, be it a refusal. Errors: NX_ERR_UNAVAILABLE (none came, or only 5xx and
 * 429, in all tries), NX_ERR_IO (the sink refused). */
nx_status nx_s3_send(nx_s3 *s3, const nx_s3_request *request, nx_s3_answer *answer, nx_error *err);

/* What a refusal means: NX_ERR_NOT_FOUND for 404, else NX_ERR_UNAVAILABLE with S3's own code. */
nx_status nx_s3_refused(nx_s3_answer *answer, const char *what, nx_error *err);

/* The text of the first <name> in an XML answer; false: there is none, or it is too long. */
bool nx_s3_element(nx_s3_answer *answer, const char *name, char *out, size_t size);

/* Escapes a value for a query. False: too long. */
bool nx_s3_escape(const char *text, char *out, size_t size);

#endif

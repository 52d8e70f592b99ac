/*
 * Where a stream comes from: rtsp(s):// and http(s):// for cameras, v4l2:PATH for a camera on this
 * machine, and file:PATH for a video of the folder STREAM_FILES_DIR that is shown over and over.
 * Who names a URL has the server connect to it, so an address is looked at before anything is sent
 * there (server-side request forgery; see jobs/webhook_url.h): a name is looked up once, and what
 * is connected to is the address that was looked at.
 *
 * A URL may hold a password, in front of its host or in its query. Only nx_stream_url_shown is for
 * people; no message of an error repeats any part of a URL but its address. Thread-safe.
 */
#ifndef NX_STREAMS_URL_H
#define NX_STREAMS_URL_H

#include "base/error.h"
#include "media/decoder.h"
#include "store/streams.h"

#include <stdbool.h>
#include <stdint.h>

typedef enum nx_stream_kind {
    NX_STREAM_RTSP,
    NX_STREAM_HTTP,
    NX_STREAM_FILE,
    NX_STREAM_DEVICE,
} nx_stream_kind;

/* Form and, where the host is an address, that. Errors: NX_ERR_INVALID with what to change. */
nx_status nx_stream_url_check(const char *url, bool allow_loopback, nx_stream_kind *kind,
                              nx_error *err);

/* Without what may be secret: user and password, and the query, become three stars. out has
 * NX_STREAM_SHOWN_SIZE bytes. */
#define NX_STREAM_SHOWN_SIZE (NX_STREAM_URL_MAX + 16)
void nx_stream_url_shown(const char *url, char *out);

/* What is connected to. */
typedef struct nx_stream_target {
    char url[NX_DECODER_MOST_URL];  /* with an address for its host */
    char host[NX_DECODER_MOST_URL]; /* for HTTP's header Host: the name and port that it had */
    bool tls;                       /* rtsps:// or https://: through a tunnel to what follows */
    char name[256], address[64];    /* in brackets where they are of IPv6 */
    uint16_t port;
} nx_stream_target;

/* Looks a camera's host up, which may take seconds. Errors: NX_ERR_INVALID (an address that is
 * refused), NX_ERR_NOT_FOUND (there is no such name), NX_ERR_UNAVAILABLE (nobody answers). */
nx_status nx_stream_url_resolve(const char *url, bool allow_loopback, nx_stream_target *out,
                                nx_error *err);

/* Has the target's url, with tls, go through a port of 127.0.0.1 without. Errors: NX_ERR_INVALID.
 */
nx_status nx_stream_url_through(nx_stream_target *target, uint16_t port, nx_error *err);

/* The path of v4l2:PATH, in the URL, if there is a V4L2 device. Errors: NX_ERR_NOT_FOUND,
 * NX_ERR_UNSUPPORTED (it is something else), NX_ERR_IO (it can't be opened). */
nx_status nx_stream_url_device(const char *url, const char **path, nx_error *err);

/* Opens the video of file:PATH in a folder ("": there is none), out of which nothing leads. *fd is
 * the caller's. Errors: NX_ERR_INVALID, NX_ERR_NOT_FOUND, NX_ERR_IO. */
nx_status nx_stream_url_open_file(const char *url, const char *folder, int *fd, nx_error *err);

#endif

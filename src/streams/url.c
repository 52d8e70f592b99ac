#include "streams/url.h"

#include "jobs/webhook_url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define FILE_SCHEME   "file:"
#define DEVICE_SCHEME "v4l2:"
#define HIDDEN        "***"
/* Of V4L2's devices: linux/major.h has no name for it (Documentation/admin-guide/devices.txt). */
#define VIDEO_MAJOR 81

static const char forms[] = "send a URL that begins with rtsp://, rtsps://, http:// or https://, "
                            "or file: and a path in STREAM_FILES_DIR, or "
                            "v4l2: and a device";

/* --- parts --------------------------------------------------------------------------------------
 */

static nx_status check_text(const char *url, nx_error *err)
{
    size_t length = strnlen(url, NX_STREAM_URL_MAX + 1);
    if (length > NX_STREAM_URL_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "url: it is longer than %d bytes",
                            NX_STREAM_URL_MAX);
    }
    for (size_t i = 0; i < length; i++) {
        if (url[i] <= ' ' || url[i] > '~') {
            return nx_error_set(err, NX_ERR_INVALID,
                                "url: it has a character that must be encoded, at %zu", i + 1);
        }
    }
    return NX_OK;
}

/* Copies a part of a parsed URL. False: it has none, or there is no room. */
static bool copy_part(CURLU *parser, CURLUPart part, char *out, size_t size)
{
    char *text = NULL;
    if (curl_url_get(parser, part, &text, 0) != CURLUE_OK) {
        return false;
    }
    int length = snprintf(out, size, "%s", text);
    curl_free(text);
    return length >= 0 && (size_t)length < size;
}

/* host: in brackets for IPv6, as the parser gives it. False: it is a name. */
static bool host_address(const char *host, struct sockaddr_storage *out)
{
    char inner[64] = "";
    size_t length = strlen(host);
    struct sockaddr_in *v4 = (struct sockaddr_in *)out;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
    memset(out, 0, sizeof *out);
    if (length > 2 && length < sizeof inner && host[0] == '[') {
        memcpy(inner, host + 1, length - 2);
        v6->sin6_family = AF_INET6;
        return inet_pton(AF_INET6, inner, &v6->sin6_addr) == 1;
    }
    v4->sin_family = AF_INET;
    return inet_aton(host, &v4->sin_addr) != 0; /* 0x7f.1 among them */
}

static nx_status refuse_address(const struct sockaddr *address, bool allow_loopback, nx_error *err)
{
    const char *what = nx_camera_address_refused(address, allow_loopback);
    return what == NULL ? NX_OK
                        : nx_error_set(err, NX_ERR_INVALID, "url: the camera's host is %s%s", what,
                                       strstr(what, "loopback") != NULL
                                           ? ", which STREAM_ALLOW_LOOPBACK would allow"
                                           : "");
}

static nx_status parse(const char *url, CURLU **out, nx_error *err)
{
    *out = curl_url();
    if (*out == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a URL");
    }
    CURLUcode code = curl_url_set(*out, CURLUPART_URL, url, CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK) {
        curl_url_cleanup(*out);
        *out = NULL;
        return nx_error_set(err, NX_ERR_INVALID, "url: %s", curl_url_strerror(code));
    }
    return NX_OK;
}

static bool begins(const char *url, const char *scheme)
{
    return strncasecmp(url, scheme, strlen(scheme)) == 0;
}

/* --- checking -----------------------------------------------------------------------------------
 */

static nx_status check_file(const char *url, nx_error *err)
{
    const char *path = url + strlen(FILE_SCHEME);
    if (path[0] == '\0' || path[0] == '/') {
        return nx_error_set(err, NX_ERR_INVALID,
                            "url: behind file: comes a path in STREAM_FILES_DIR, such as "
                            "file:gate.mp4");
    }
    return NX_OK;
}

/* /dev/video0, or what names the same camera after it was plugged in elsewhere. */
static nx_status check_device(const char *url, nx_error *err)
{
    static const char *const folders[] = {"/dev/video", "/dev/v4l/by-id/", "/dev/v4l/by-path/"};
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._:+-";
    static const char digits[] = "0123456789";
    char known[sizeof letters + sizeof digits];
    const char *path = url + strlen(DEVICE_SCHEME);
    bool good = false;
    snprintf(known, sizeof known, "%s%s", digits, letters);
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        size_t length = strlen(folders[i]);
        if (strncmp(path, folders[i], length) == 0) {
            const char *name = path + length;
            size_t right = strspn(name, i == 0 ? digits : known);
            good = good || (right > 0 && name[right] == '\0' && name[0] != '.');
        }
    }
    return good ? NX_OK
                : nx_error_set(err, NX_ERR_INVALID,
                               "url: behind v4l2: comes a device such as /dev/video0, or one in "
                               "/dev/v4l/by-id/ or /dev/v4l/by-path/");
}

/* What comes of a password with a slash in it, as in rtsp://me:12/3@camera/1: its host is "me", and
 * the rest of the password would be shown to all. */
static bool is_torn(CURLU *parser)
{
    char text[NX_STREAM_URL_MAX + 1];
    return !copy_part(parser, CURLUPART_USER, text, sizeof text) &&
           copy_part(parser, CURLUPART_PATH, text, sizeof text) && strchr(text, '@') != NULL;
}

static nx_status check_camera(const char *url, bool allow_loopback, nx_error *err)
{
    char host[NX_STREAM_URL_MAX + 1];
    struct sockaddr_storage address;
    CURLU *parser = NULL;
    nx_status status = parse(url, &parser, err);
    if (status != NX_OK) {
        return status;
    }
    char *zone = NULL;
    const char *behind = strstr(url, "://");
    if (behind != NULL && behind[3] == '/') {
        status = nx_error_set(err, NX_ERR_INVALID, "url: it has no host behind ://");
    } else if (!copy_part(parser, CURLUPART_HOST, host, sizeof host) || host[0] == '\0') {
        status = nx_error_set(err, NX_ERR_INVALID, "url: it has no host");
    } else if (is_torn(parser)) {
        status =
            nx_error_set(err, NX_ERR_INVALID,
                         "url: there is an @ behind the host: write a / of a password as %%2F, "
                         "and an @ of a path as %%40");
    } else if (curl_url_get(parser, CURLUPART_ZONEID, &zone, 0) == CURLUE_OK) {
        status = nx_error_set(err, NX_ERR_INVALID, "url: it must not name a zone");
    } else if (host_address(host, &address)) {
        status = refuse_address((const struct sockaddr *)&address, allow_loopback, err);
    }
    curl_free(zone);
    curl_url_cleanup(parser);
    return status;
}

nx_status nx_stream_url_check(const char *url, bool allow_loopback, nx_stream_kind *kind,
                              nx_error *err)
{
    nx_status status = check_text(url, err);
    *kind = NX_STREAM_FILE;
    if (status != NX_OK) {
        return status;
    }
    if (strstr(url, HIDDEN) != NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "url: the password in it is hidden; leave url out, or send all of it");
    }
    if (begins(url, FILE_SCHEME)) {
        return check_file(url, err);
    }
    if (begins(url, DEVICE_SCHEME)) {
        *kind = NX_STREAM_DEVICE;
        return check_device(url, err);
    }
    bool rtsp = begins(url, "rtsp://") || begins(url, "rtsps://");
    *kind = rtsp ? NX_STREAM_RTSP : NX_STREAM_HTTP;
    if (!rtsp && !begins(url, "http://") && !begins(url, "https://")) {
        return nx_error_set(err, NX_ERR_INVALID, "url: %s", forms);
    }
    return check_camera(url, allow_loopback, err);
}

/* --- showing ------------------------------------------------------------------------------------
 */

void nx_stream_url_shown(const char *url, char *out)
{
    const char *behind = strstr(url, "://");
    if (behind == NULL) {
        snprintf(out, NX_STREAM_SHOWN_SIZE, "%.*s", NX_STREAM_URL_MAX, url);
        return;
    }
    behind += 3;
    behind += strspn(behind, "/"); /* which libcurl passes over, too */
    const char *host = behind;
    size_t length = strcspn(behind, "/?#");
    for (size_t i = 0; i < length; i++) {
        if (behind[i] == '@') {
            host = behind + i + 1;
        }
    }
    size_t shown = strcspn(host, "?#");
    const char *rest = host[shown] != '\0' ? "?" HIDDEN : "";
    size_t name = strcspn(host, "/?#");
    if (memchr(host + name, '@', shown - name) != NULL) { /* it may be the end of a password */
        shown = name;
        rest = "/" HIDDEN;
    }
    snprintf(out, NX_STREAM_SHOWN_SIZE, "%.*s%s%.*s%s", (int)(behind - url), url,
             host != behind ? HIDDEN "@" : "", (int)shown, host, rest);
}

/* --- looking up ---------------------------------------------------------------------------------
 */

/* IANA's: https and rtsps. */
#define HTTPS_PORT 443
#define RTSPS_PORT 322

/* The first address that may be connected to, as a URL has it. */
static nx_status look_up(const char *host, bool allow_loopback, char *out, size_t size,
                         nx_error *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    char text[INET6_ADDRSTRLEN] = "";
    int failure = getaddrinfo(host, NULL, &hints, &found);
    if (failure != 0) {
        bool none = failure == EAI_NONAME || failure == EAI_NODATA;
        return nx_error_set(err, none ? NX_ERR_NOT_FOUND : NX_ERR_UNAVAILABLE,
                            "the camera's name cannot be looked up: %s", gai_strerror(failure));
    }
    nx_status status = nx_error_set(err, NX_ERR_NOT_FOUND, "the camera's name has no address");
    for (const struct addrinfo *one = found; one != NULL; one = one->ai_next) {
        if (one->ai_family != AF_INET && one->ai_family != AF_INET6) {
            continue;
        }
        status = refuse_address(one->ai_addr, allow_loopback, err);
        if (status == NX_OK) {
            bool v6 = one->ai_family == AF_INET6;
            (void)getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, NULL, 0,
                              NI_NUMERICHOST);
            snprintf(out, size, "%s%s%s", v6 ? "[" : "", text, v6 ? "]" : "");
            break;
        }
    }
    freeaddrinfo(found);
    return status;
}

typedef enum tls_scheme { TLS_NONE, TLS_RTSP, TLS_HTTP } tls_scheme;

static nx_status rewrite(CURLU *parser, tls_scheme scheme, const char *address,
                         nx_stream_target *out, nx_error *err)
{
    char host[NX_STREAM_URL_MAX + 1] = "";
    char port[8] = "";
    bool has_port = copy_part(parser, CURLUPART_PORT, port, sizeof port);
    (void)copy_part(parser, CURLUPART_HOST, host, sizeof host);
    snprintf(out->host, sizeof out->host, "%s%s%s", host, has_port ? ":" : "", port);
    if (strlen(host) >= sizeof out->name) {
        return nx_error_set(err, NX_ERR_INVALID, "url: its host's name is too long");
    }
    snprintf(out->name, sizeof out->name, "%.255s", host);
    snprintf(out->address, sizeof out->address, "%s", address);
    unsigned usual = scheme == TLS_RTSP ? RTSPS_PORT : HTTPS_PORT;
    out->port = (uint16_t)(has_port ? strtoul(port, NULL, 10) : usual);
    out->tls = scheme != TLS_NONE;
    if (curl_url_set(parser, CURLUPART_HOST, address, 0) != CURLUE_OK ||
        curl_url_set(parser, CURLUPART_FRAGMENT, NULL, 0) != CURLUE_OK ||
        !copy_part(parser, CURLUPART_URL, out->url, sizeof out->url)) {
        return nx_error_set(err, NX_ERR_INVALID, "url: it cannot be connected to");
    }
    return NX_OK;
}

nx_status nx_stream_url_resolve(const char *url, bool allow_loopback, nx_stream_target *out,
                                nx_error *err)
{
    char host[NX_STREAM_URL_MAX + 1] = "";
    char address[64] = "";
    struct sockaddr_storage literal;
    CURLU *parser = NULL;
    nx_status status = parse(url, &parser, err);
    if (status != NX_OK) {
        return status;
    }
    (void)copy_part(parser, CURLUPART_HOST, host, sizeof host);
    if (host_address(host, &literal)) {
        status = refuse_address((const struct sockaddr *)&literal, allow_loopback, err);
        if (literal.ss_family == AF_INET) { /* in its usual form */
            (void)inet_ntop(AF_INET, &((const struct sockaddr_in *)&literal)->sin_addr, address,
                            sizeof address);
        } else {
            snprintf(address, sizeof address, "%.60s", host);
        }
    } else {
        status = look_up(host, allow_loopback, address, sizeof address, err);
    }
    if (status == NX_OK) {
        const tls_scheme scheme = begins(url, "rtsps://")   ? TLS_RTSP
                                  : begins(url, "https://") ? TLS_HTTP
                                                            : TLS_NONE;
        status = rewrite(parser, scheme, address, out, err);
    }
    curl_url_cleanup(parser);
    return status;
}

nx_status nx_stream_url_through(nx_stream_target *target, uint16_t port, nx_error *err)
{
    char text[8];
    CURLU *parser = NULL;
    bool rtsp = begins(target->url, "rtsps://");
    nx_status status = parse(target->url, &parser, err);
    if (status != NX_OK) {
        return status;
    }
    snprintf(text, sizeof text, "%u", port);
    if (curl_url_set(parser, CURLUPART_SCHEME, rtsp ? "rtsp" : "http", CURLU_NON_SUPPORT_SCHEME) !=
            CURLUE_OK ||
        curl_url_set(parser, CURLUPART_HOST, "127.0.0.1", 0) != CURLUE_OK ||
        curl_url_set(parser, CURLUPART_PORT, text, 0) != CURLUE_OK ||
        !copy_part(parser, CURLUPART_URL, target->url, sizeof target->url)) {
        status = nx_error_set(err, NX_ERR_INVALID, "url: it cannot be connected to");
    }
    curl_url_cleanup(parser);
    return status;
}

/* --- devices ------------------------------------------------------------------------------------
 */

nx_status nx_stream_url_device(const char *url, const char **path, nx_error *err)
{
    struct stat info;
    *path = url + strlen(DEVICE_SCHEME);
    int fd = open(*path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (fd < 0) {
        bool none = errno == ENOENT || errno == ENXIO || errno == ENODEV || errno == ENOTDIR;
        return none ? nx_error_set(err, NX_ERR_NOT_FOUND, "url: there is no device %.200s", *path)
                    : nx_error_set_errno(err, NX_ERR_IO, errno, "url: cannot open %.200s", *path);
    }
    bool good =
        fstat(fd, &info) == 0 && S_ISCHR(info.st_mode) && major(info.st_rdev) == VIDEO_MAJOR;
    close(fd);
    return good ? NX_OK
                : nx_error_set(err, NX_ERR_UNSUPPORTED, "url: %.200s is no V4L2 device", *path);
}

/* --- files --------------------------------------------------------------------------------------
 */

nx_status nx_stream_url_open_file(const char *url, const char *folder, int *fd, nx_error *err)
{
    const struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, /* no waiting at a FIFO */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    const char *path = url + strlen(FILE_SCHEME);
    struct stat info;
    *fd = -1;
    if (folder[0] == '\0') {
        return nx_error_set(err, NX_ERR_INVALID,
                            "url: files are streams only where STREAM_FILES_DIR names a folder");
    }
    int parent = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "STREAM_FILES_DIR cannot be read");
    }
    int opened = (int)syscall(SYS_openat2, parent, path, &how, sizeof how);
    int failure = errno;
    close(parent);
    if (opened < 0) {
        return failure == ENOENT || failure == ENOTDIR
                   ? nx_error_set(err, NX_ERR_NOT_FOUND, "url: there is no file %.200s", path)
                   : nx_error_set_errno(err, failure == EXDEV ? NX_ERR_INVALID : NX_ERR_IO, failure,
                                        "url: cannot read %.200s", path);
    }
    if (fstat(opened, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(opened);
        return nx_error_set(err, NX_ERR_INVALID, "url: %.200s is no file", path);
    }
    *fd = opened;
    return NX_OK;
}

#include "cache/redis_url.h"

#include "base/url.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_PORT 6379

static nx_status invalid(nx_error *err, const char *what)
{
    return nx_error_set(err, NX_ERR_INVALID,
                        "REDIS_URL: %s; write redis://USER:PASSWORD@HOST:PORT/DATABASE or "
                        "unix:///PATH/OF/SOCKET",
                        what);
}

/* Copies size bytes, with percent escapes undone when decode says so; false when they don't fit,
 * or hold a NUL or a broken escape. */
static bool copy(const char *from, size_t size, bool decode, char *out, size_t room)
{
    size_t used = 0;
    for (size_t i = 0; i < size; i++) {
        char c = from[i];
        if (decode && c == '%') {
            int high = i + 2 < size ? nx_url_hex_digit(from[i + 1]) : -1;
            int low = i + 2 < size ? nx_url_hex_digit(from[i + 2]) : -1;
            if (high < 0 || low < 0) {
                return false;
            }
            c = (char)(high << 4 | low);
            i += 2;
        }
        if (c == '\0' || used + 1 >= room) {
            return false;
        }
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

/* A decimal number without sign, of the whole text. */
static bool number(const char *text, size_t size, uint32_t highest, uint32_t *out)
{
    uint64_t value = 0;
    if (size == 0 || size > 9) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        value = value * 10 + (uint64_t)(text[i] - '0');
    }
    *out = (uint32_t)value;
    return value <= highest;
}

/* The "@" that ends user and password: the last one before the path. */
static const char *end_of_user(const char *rest)
{
    const char *end = rest + strcspn(rest, "/?#");
    for (const char *at = end; at > rest; at--) {
        if (at[-1] == '@') {
            return at - 1;
        }
    }
    return NULL;
}

static nx_status take_user(const char *text, size_t size, nx_redis_url *out, nx_error *err)
{
    const char *colon = memchr(text, ':', size);
    size_t user = colon != NULL ? (size_t)(colon - text) : size;
    const char *password = colon != NULL ? colon + 1 : text + size;
    if (!copy(text, user, true, out->user, sizeof out->user) ||
        !copy(password, (size_t)(text + size - password), true, out->password,
              sizeof out->password)) {
        return invalid(err, "the user or the password is too long, or a '%' in it does not begin "
                            "a percent escape ('%25' stands for one)");
    }
    return NX_OK;
}

static nx_status take_socket(const char *text, nx_redis_url *out, nx_error *err)
{
    size_t path = strcspn(text, "?#");
    const char *query = text + path;
    out->is_unix = true;
    if (text[0] != '/' || path >= 108 || !copy(text, path, true, out->host, sizeof out->host)) {
        return invalid(err, "the path of the socket is not absolute, or longer than 107 bytes");
    }
    if (query[0] != '\0' && (strncmp(query, "?db=", 4) != 0 ||
                             !number(query + 4, strlen(query + 4), 65535, &out->database))) {
        return invalid(err, "behind the socket only '?db=NUMBER' may follow");
    }
    return NX_OK;
}

static nx_status take_place(const char *text, nx_redis_url *out, nx_error *err)
{
    size_t size = strcspn(text, "/?#");
    const char *rest = text + size;
    bool in_brackets = text[0] == '[';
    const char *close = in_brackets ? memchr(text, ']', size) : NULL;
    const char *host = in_brackets ? text + 1 : text;
    const char *host_end = in_brackets ? close : text + strcspn(text, ":/?#");
    uint32_t port = DEFAULT_PORT;
    if (host_end == NULL || host_end == host ||
        !copy(host, (size_t)(host_end - host), false, out->host, sizeof out->host)) {
        return invalid(err, "there is no host");
    }
    const char *after = in_brackets ? host_end + 1 : host_end;
    if (after != rest &&
        (after[0] != ':' || !number(after + 1, (size_t)(rest - after - 1), 65535, &port) ||
         port == 0)) {
        return invalid(err, "the port is not a number from 1 to 65535");
    }
    out->port = (uint16_t)port;
    if (rest[0] == '/' && rest[1] != '\0' &&
        !number(rest + 1, strlen(rest + 1), 65535, &out->database)) {
        return invalid(err, "the database is not a number");
    }
    return rest[0] == '\0' || rest[0] == '/' ? NX_OK
                                             : invalid(err, "there is a '?' or a '#' in it");
}

nx_status nx_redis_url_parse(const char *text, nx_redis_url *out, nx_error *err)
{
    static const char tcp[] = "redis://";
    static const char local[] = "unix://";
    *out = (nx_redis_url){.port = DEFAULT_PORT};
    if (strncasecmp(text, "rediss://", 9) == 0) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "REDIS_URL: rediss:// asks for TLS, which is not built in; let a local "
                            "proxy such as stunnel speak it, and give its redis:// address");
    }
    bool is_tcp = strncasecmp(text, tcp, sizeof tcp - 1) == 0;
    if (!is_tcp && strncasecmp(text, local, sizeof local - 1) != 0) {
        return invalid(err, "it begins with neither redis:// nor unix://");
    }
    const char *rest = text + (is_tcp ? sizeof tcp : sizeof local) - 1;
    const char *at = end_of_user(rest);
    nx_status status = NX_OK;
    if (at != NULL) {
        status = take_user(rest, (size_t)(at - rest), out, err);
        rest = at + 1;
    }
    if (status == NX_OK) {
        status = is_tcp ? take_place(rest, out, err) : take_socket(rest, out, err);
    }
    if (status != NX_OK) {
        *out = (nx_redis_url){0};
    }
    return status;
}

void nx_redis_url_shown(const char *text, char *out, size_t size)
{
    nx_redis_url url;
    if (text[0] == '\0' || nx_redis_url_parse(text, &url, NULL) != NX_OK) {
        snprintf(out, size, "%s", text[0] == '\0' ? "" : "***");
        return;
    }
    const char *user = url.user;
    const char *secret = url.password[0] != '\0' ? ":***" : "";
    const char *at = user[0] != '\0' || secret[0] != '\0' ? "@" : "";
    bool v6 = strchr(url.host, ':') != NULL;
    if (url.is_unix) {
        snprintf(out, size, "unix://%s%s%s%s?db=%u", user, secret, at, url.host, url.database);
    } else {
        snprintf(out, size, "redis://%s%s%s%s%s%s:%u/%u", user, secret, at, v6 ? "[" : "", url.host,
                 v6 ? "]" : "", url.port, url.database);
    }
}

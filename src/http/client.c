/* Who a request comes from, found out once when its header is complete. */
#include "http/forwarded.h"
#include "http/internal.h"

#include <string.h>
#include <strings.h>

#define MAX_LINES 32

typedef struct lines {
    const char *name;
    nx_http_field items[MAX_LINES];
    size_t count;
} lines;

static enum MHD_Result collect(void *cls, enum MHD_ValueKind kind, const char *name,
                               size_t name_size, const char *value, size_t value_size)
{
    (void)kind;
    lines *out = cls;
    if (strlen(out->name) != name_size || strncasecmp(name, out->name, name_size) != 0 ||
        value == NULL) {
        return MHD_YES;
    }
    if (out->count == MAX_LINES) { /* the last ones are what proxies wrote */
        memmove(out->items, out->items + 1, sizeof out->items - sizeof out->items[0]);
        out->count--;
    }
    out->items[out->count++] = (nx_http_field){name, name_size, value, value_size};
    return MHD_YES;
}

static void find_lines(const nx_http_request *request, const char *name, lines *out)
{
    out->name = name;
    out->count = 0;
    MHD_get_connection_values_n(request->connection, MHD_HEADER_KIND, collect, out);
}

/* Does anything say that a proxy had it in its hands? */
static bool was_forwarded(const nx_http_request *request)
{
    static const char *const signs[] = {"X-Forwarded-For",   "Forwarded", "Via",
                                        "X-Forwarded-Proto", "X-Real-IP", "X-Forwarded-Host"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (nx_http_header(request, signs[i]) != NULL) {
            return true;
        }
    }
    return false;
}

void nx_http_find_client(nx_http_request *request)
{
    const nx_address_set *trusted = request->server->options.trusted_proxies;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    nx_address peer = nx_address_of(info != NULL ? info->client_addr : NULL);
    request->client = peer;
    if (trusted != NULL && nx_address_set_has(trusted, &peer)) {
        lines found;
        find_lines(request, "X-Forwarded-For", &found);
        request->client = nx_forwarded_client(trusted, &peer, found.items, found.count);
        find_lines(request, "X-Forwarded-Proto", &found);
        request->secure = nx_forwarded_https(found.items, found.count);
    } else {
        request->local = nx_address_is_loopback(&peer) && !was_forwarded(request);
    }
}

nx_address nx_http_client(const nx_http_request *request)
{
    return request->client;
}

void nx_http_client_text(const nx_http_request *request, char out[NX_ADDRESS_TEXT])
{
    nx_address_text(&request->client, out);
}

bool nx_http_is_secure(const nx_http_request *request)
{
    return request->secure;
}

bool nx_http_is_local(const nx_http_request *request)
{
    return request->local;
}

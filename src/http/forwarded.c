#include "http/forwarded.h"

#include <string.h>
#include <strings.h>

/* Walks the entries of a list header backwards, over all of its lines. */
typedef struct walk {
    const nx_http_field *lines;
    size_t line;   /* how many are not done, the present one included */
    size_t left;   /* bytes of the present one that are not done */
    bool has_line; /* left is valid */
} walk;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Empty entries are none (RFC 9110 section 5.6.1.2). False: there are no more. */
static bool previous(walk *w, const char **entry, size_t *size)
{
    for (;;) {
        if (!w->has_line) {
            if (w->line == 0) {
                return false;
            }
            w->left = w->lines[w->line - 1].value_size;
            w->has_line = true;
        }
        const char *text = w->lines[w->line - 1].value;
        size_t end = w->left;
        size_t start = end;
        while (start > 0 && text[start - 1] != ',') {
            start--;
        }
        if (start > 0) {
            w->left = start - 1;
        } else {
            w->line--;
            w->has_line = false;
        }
        while (start < end && is_blank(text[start])) {
            start++;
        }
        while (end > start && is_blank(text[end - 1])) {
            end--;
        }
        if (end > start) {
            *entry = text + start;
            *size = end - start;
            return true;
        }
    }
}

static bool is_port(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
    }
    return size > 0 && size <= 5;
}

/* An address, which may have a port. */
static bool parse_node(const char *text, size_t size, nx_address *out)
{
    if (text[0] == '[') {
        const char *close = memchr(text, ']', size);
        if (close == NULL) {
            return false;
        }
        size_t inner = (size_t)(close - text) - 1;
        size_t rest = size - inner - 2;
        return memchr(text + 1, ':', inner) != NULL && nx_address_parse(text + 1, inner, out) &&
               (rest == 0 || (close[1] == ':' && is_port(close + 2, rest - 1)));
    }
    const char *colon = memchr(text, ':', size);
    size_t host = colon != NULL ? (size_t)(colon - text) : size;
    if (colon != NULL && memchr(text, '.', host) != NULL) { /* IPv4 with a port */
        return is_port(colon + 1, size - host - 1) && nx_address_parse(text, host, out);
    }
    return nx_address_parse(text, size, out);
}

nx_address nx_forwarded_client(const nx_address_set *trusted, const nx_address *peer,
                               const nx_http_field *lines, size_t count)
{
    walk w = {.lines = lines, .line = count};
    nx_address client = *peer;
    const char *entry = NULL;
    size_t size = 0;
    while (nx_address_set_has(trusted, &client) && previous(&w, &entry, &size)) {
        nx_address before;
        if (!parse_node(entry, size, &before)) {
            break;
        }
        client = before;
    }
    return client;
}

bool nx_forwarded_https(const nx_http_field *lines, size_t count)
{
    walk w = {.lines = lines, .line = count};
    const char *entry = NULL;
    size_t size = 0;
    return previous(&w, &entry, &size) && size == 5 && strncasecmp(entry, "https", 5) == 0;
}

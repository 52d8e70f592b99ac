/*
 * X-Forwarded-For and -Proto, and the sets of trusted proxies. The first byte says which is read.
 * Of the header: lines are as good as one line with commas, and what stands in front of an entry
 * that is not trusted changes nothing.
 */
#include "fuzz.h"
#include "http/forwarded.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_LINES 32
#define FORGED    "203.0.113.66, "

static void require(bool truth)
{
    if (!truth) {
        abort();
    }
}

static nx_address parse(const char *text)
{
    nx_address out;
    require(nx_address_parse(text, strlen(text), &out));
    return out;
}

static size_t split(const char *text, size_t size, nx_http_field *lines)
{
    size_t count = 0;
    const char *end = text + size;
    for (const char *at = text; at < end && count < MAX_LINES;) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        /* the rest, where there are too many */
        stop = stop != NULL && count + 1 < MAX_LINES ? stop : end;
        lines[count++] = (nx_http_field){.value = at, .value_size = (size_t)(stop - at)};
        at = stop < end ? stop + 1 : end;
    }
    return count;
}

static char *joined(const char *text, size_t size, const char *before)
{
    char *out = malloc(size + strlen(before) + 1);
    require(out != NULL);
    memcpy(out, before, strlen(before));
    memcpy(out + strlen(before), text, size);
    for (size_t i = 0; i < size; i++) {
        if (out[strlen(before) + i] == '\n') {
            out[strlen(before) + i] = ',';
        }
    }
    return out;
}

static nx_address client_of(const nx_address_set *trusted, const nx_address *peer, const char *text,
                            size_t size)
{
    const nx_http_field line = {.value = text, .value_size = size};
    return nx_forwarded_client(trusted, peer, &line, 1);
}

static void fuzz_header(char *text, size_t size)
{
    nx_address_set trusted;
    require(nx_address_set_parse("10.0.0.0/8, fd00::/8, 127.0.0.1", &trusted, NULL) == NX_OK);
    const nx_address peer = parse("10.0.0.1");
    const nx_address stranger = parse("192.0.2.1");
    const nx_address forged = parse("203.0.113.66");
    nx_http_field lines[MAX_LINES];
    size_t count = split(text, size, lines);
    const nx_address client = nx_forwarded_client(&trusted, &peer, lines, count);
    const nx_address unbelieved = nx_forwarded_client(&trusted, &stranger, lines, count);
    require(nx_address_equal(&unbelieved, &stranger));
    if (count < MAX_LINES) {
        char *one = joined(text, size, "");
        const nx_address same = client_of(&trusted, &peer, one, size);
        require(nx_address_equal(&same, &client));
        free(one);
        char *longer = joined(text, size, FORGED);
        const nx_address after = client_of(&trusted, &peer, longer, size + strlen(FORGED));
        require(nx_address_equal(&after, &client) ||
                (nx_address_equal(&after, &forged) && nx_address_set_has(&trusted, &client)));
        free(longer);
    }
    (void)nx_forwarded_https(lines, count);
    char out[NX_ADDRESS_TEXT];
    nx_address_text(&client, out);
    const nx_address again = parse(out);
    require(nx_address_equal(&again, &client));
}

static void fuzz_set(char *text, size_t size)
{
    nx_address_set set;
    nx_error err = {0};
    text[size] = '\0';
    if (nx_address_set_parse(text, &set, &err) != NX_OK) {
        require(err.status == NX_ERR_INVALID && err.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < set.count; i++) {
        require(set.blocks[i].bits > 0);
        require(nx_address_set_has(&set, &set.blocks[i].prefix));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_header, fuzz_set};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

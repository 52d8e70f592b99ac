#include "base/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define BLANKS ", \t"

static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

static bool is_v4(const nx_address *address)
{
    return memcmp(address->bytes, mapped, sizeof mapped) == 0;
}

nx_address nx_address_of(const struct sockaddr *address)
{
    nx_address out = {{0}};
    if (address != NULL && address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        memcpy(out.bytes, mapped, sizeof mapped);
        memcpy(out.bytes + sizeof mapped, &v4.sin_addr, 4);
    } else if (address != NULL && address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        memcpy(out.bytes, &v6.sin6_addr, sizeof out.bytes);
    }
    return out;
}

bool nx_address_parse(const char *text, size_t size, nx_address *out)
{
    char copy[NX_ADDRESS_TEXT];
    *out = (nx_address){{0}};
    if (size == 0 || size >= sizeof copy || memchr(text, '\0', size) != NULL) {
        return false;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (inet_pton(AF_INET, copy, out->bytes + sizeof mapped) == 1) {
        memcpy(out->bytes, mapped, sizeof mapped);
        return true;
    }
    return inet_pton(AF_INET6, copy, out->bytes) == 1;
}

void nx_address_text(const nx_address *address, char out[NX_ADDRESS_TEXT])
{
    const void *bytes = is_v4(address) ? address->bytes + sizeof mapped : address->bytes;
    if (inet_ntop(is_v4(address) ? AF_INET : AF_INET6, bytes, out, NX_ADDRESS_TEXT) == NULL) {
        out[0] = '\0'; /* there is room for every one, so this does not happen */
    }
}

bool nx_address_equal(const nx_address *a, const nx_address *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

bool nx_address_is_loopback(const nx_address *address)
{
    static const nx_address v6 = {{[15] = 1}};
    return nx_address_equal(address, &v6) || (is_v4(address) && address->bytes[12] == 127);
}

nx_address nx_address_network(const nx_address *address)
{
    nx_address out = *address;
    if (!is_v4(address)) {
        memset(out.bytes + 8, 0, 8);
    }
    return out;
}

/* --- sets ---------------------------------------------------------------------------------------
 */

static bool is_in(const nx_address_block *block, const nx_address *address)
{
    size_t whole = block->bits / 8;
    unsigned rest = block->bits % 8;
    if (is_v4(address) != is_v4(&block->prefix) ||
        memcmp(address->bytes, block->prefix.bytes, whole) != 0) {
        return false;
    }
    return rest == 0 || ((address->bytes[whole] ^ block->prefix.bytes[whole]) >> (8 - rest)) == 0;
}

/* Is the address nothing but zeros behind so many bits? */
static bool is_prefix(const nx_address *address, unsigned bits)
{
    for (unsigned i = bits; i < 128; i++) {
        if ((address->bytes[i / 8] >> (7 - i % 8) & 1) != 0) {
            return false;
        }
    }
    return true;
}

/* "24": 1 to 3 digits. Anything else is too much for every family. */
static unsigned parse_bits(const char *text, size_t size)
{
    unsigned bits = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9' || size > 3) {
            return 1000;
        }
        bits = bits * 10 + (unsigned)(text[i] - '0');
    }
    return size > 0 ? bits : 1000;
}

static nx_status parse_block(const char *text, size_t size, nx_address_block *out, nx_error *err)
{
    const char *slash = memchr(text, '/', size);
    size_t host = slash != NULL ? (size_t)(slash - text) : size;
    int shown = size < 60 ? (int)size : 60;
    if (!nx_address_parse(text, host, &out->prefix)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "'%.*s' is no address; write such as 10.1.2.3, 10.0.0.0/8 or fd00::/8",
                            shown, text);
    }
    unsigned family = is_v4(&out->prefix) ? 32 : 128;
    unsigned bits = slash != NULL ? parse_bits(slash + 1, size - host - 1) : family;
    if (bits == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "'%.*s' is every address there is", shown, text);
    }
    if (bits > family) {
        return nx_error_set(err, NX_ERR_INVALID, "'%.*s': the number behind '/' is 1 to %u", shown,
                            text, family);
    }
    out->bits = (uint8_t)(bits + 128 - family);
    if (!is_prefix(&out->prefix, out->bits)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "'%.*s' has more bits set than the %u that count; which is meant?",
                            shown, text, bits);
    }
    return NX_OK;
}

nx_status nx_address_set_parse(const char *text, nx_address_set *out, nx_error *err)
{
    *out = (nx_address_set){.count = 0};
    for (const char *at = text + strspn(text, BLANKS); *at != '\0'; at += strspn(at, BLANKS)) {
        size_t size = strcspn(at, BLANKS);
        if (out->count == NX_ADDRESS_SET_MAX) {
            return nx_error_set(err, NX_ERR_INVALID, "there are more than %d addresses",
                                NX_ADDRESS_SET_MAX);
        }
        nx_status status = parse_block(at, size, &out->blocks[out->count], err);
        if (status != NX_OK) {
            return status;
        }
        out->count++;
        at += size;
    }
    return NX_OK;
}

bool nx_address_set_has(const nx_address_set *set, const nx_address *address)
{
    for (size_t i = 0; i < set->count; i++) {
        if (is_in(&set->blocks[i], address)) {
            return true;
        }
    }
    return false;
}

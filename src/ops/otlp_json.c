#include "ops/otlp_json.h"

#include "base/json_writer.h"
#include "base/url.h"
#include "base/uuid.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* --- pairs --------------------------------------------------------------------------------------
 */

/* In place. False: a "%" without two digits, or a control character, which no header may have. */
static bool decode(char *text)
{
    char *to = text;
    for (const char *from = text; *from != '\0'; from++) {
        unsigned char c = (unsigned char)*from;
        if (*from == '%') {
            int high = nx_url_hex_digit(from[1]);
            int low = high >= 0 ? nx_url_hex_digit(from[2]) : -1;
            if (low < 0) {
                return false;
            }
            c = (unsigned char)(high << 4 | low);
            from += 2;
        }
        if (c < 0x20 || c == 0x7F) {
            return false;
        }
        *to++ = (char)c;
    }
    *to = '\0';
    return true;
}

static char *trim(char *text)
{
    size_t size = strlen(text);
    while (size > 0 && isspace((unsigned char)text[size - 1])) {
        text[--size] = '\0';
    }
    return text + strspn(text, " \t\r\n");
}

/* A token of RFC 9110: what a header may be called. */
static bool is_token(const char *name)
{
    static const char other[] = "!#$%&'*+-.^_`|~";
    for (const char *c = name; *c != '\0'; c++) {
        if (!isalnum((unsigned char)*c) && strchr(other, *c) == NULL) {
            return false;
        }
    }
    return name[0] != '\0';
}

nx_status nx_otlp_pairs(const char *text, nx_otlp_pair each, void *user, nx_error *err)
{
    char pair[NX_OTLP_MAX_PAIR];
    unsigned number = 0;
    for (const char *at = text; *at != '\0';) {
        size_t size = strcspn(at, ",");
        number++;
        if (size >= sizeof pair) {
            return nx_error_set(err, NX_ERR_INVALID, "a pair has more than %zu bytes",
                                sizeof pair - 1);
        }
        memcpy(pair, at, size);
        pair[size] = '\0';
        at += size + (at[size] == ',');
        char *equals = strchr(pair, '=');
        if (equals == NULL) {
            if (trim(pair)[0] != '\0') {
                return nx_error_set(err, NX_ERR_INVALID,
                                    "write name=value,name=value: there is a pair without '='");
            }
            continue;
        }
        *equals = '\0';
        const char *name = trim(pair);
        char *value = trim(equals + 1);
        if (!is_token(name) || !decode(value)) {
            /* not what stands there: it may well be a secret, after a colon instead of '=' */
            return nx_error_set(err, NX_ERR_INVALID,
                                "pair %u: before its '=' is no name, or behind it no "
                                "percent-encoded text: write name=value",
                                number);
        }
        if (!each(name, value, user)) {
            return nx_error_set(err, NX_ERR_CANCELLED, "there is no more to be done with pairs");
        }
    }
    return NX_OK;
}

/* --- who sends ----------------------------------------------------------------------------------
 */

/* Of a type, such as "stringValue", whose JSON is a text: numbers of 64 bits are, too. */
static void write_attribute(nx_json *json, const char *key, const char *type, const char *text)
{
    nx_json_object_begin(json);
    nx_json_key_string(json, "key", key);
    nx_json_key(json, "value");
    nx_json_object_begin(json);
    nx_json_key_string(json, type, text);
    nx_json_object_end(json);
    nx_json_object_end(json);
}

static void write_text(nx_json *json, const char *key, const char *text)
{
    write_attribute(json, key, "stringValue", text);
}

/* A text: JSON's numbers have no 64 bits. */
static void write_64(nx_json *json, const char *key, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    nx_json_key_string(json, key, text);
}

static void write_number(nx_json *json, const char *key, int64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)number);
    write_attribute(json, key, "intValue", text);
}

/* What we say of ourselves, unless somebody says otherwise. */
enum { SERVICE, VERSION, INSTANCE, HOST, OWN };
static const char *const own_names[OWN] = {
    [SERVICE] = "service.name",
    [VERSION] = "service.version",
    [INSTANCE] = "service.instance.id",
    [HOST] = "host.name",
};

typedef struct resource {
    nx_json json;
    bool said[OWN];
} resource;

static bool add_pair(const char *name, const char *value, void *user)
{
    resource *self = user;
    bool ours = strcmp(name, own_names[SERVICE]) == 0; /* OTEL_SERVICE_NAME is the stronger */
    for (int i = VERSION; i < OWN; i++) {
        self->said[i] |= strcmp(name, own_names[i]) == 0;
    }
    if (!ours) {
        write_text(&self->json, name, value);
    }
    return true;
}

nx_status nx_otlp_write_resource(const char *service, const char *attributes, nx_buffer *out,
                                 nx_error *err)
{
    char instance[NX_UUID_SIZE] = "";
    char host[256] = "";
    resource self = {.json = nx_json_begin(out)};
    nx_status status = nx_uuid_make(instance, err);
    if (status != NX_OK) {
        return status;
    }
    (void)gethostname(host, sizeof host - 1);
    const char *const texts[OWN] = {service, NX_VERSION, instance, host};
    nx_json_array_begin(&self.json);
    status = nx_otlp_pairs(attributes, add_pair, &self, err);
    for (int i = SERVICE; i < OWN; i++) {
        if (!self.said[i] && texts[i][0] != '\0') {
            write_text(&self.json, own_names[i], texts[i]);
        }
    }
    write_number(&self.json, "process.pid", getpid());
    nx_json_array_end(&self.json);
    return status == NX_OK && out->failed
               ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for traces")
               : status;
}

/* --- spans --------------------------------------------------------------------------------------
 */

/* Bits of SpanFlags: whether the parent is another process's is known, and is so. */
#define FLAG_SAMPLED      1
#define FLAG_HAS_REMOTE   0x100
#define FLAG_IS_REMOTE    0x200
#define STATUS_CODE_ERROR 2

static void write_attributes(nx_json *json, const nx_span *span)
{
    nx_json_key(json, "attributes");
    nx_json_array_begin(json);
    for (size_t i = 0; i < span->attribute_count; i++) {
        const nx_span_attribute *one = &span->attributes[i];
        if (one->text < NX_SPAN_TEXT) {
            write_text(json, one->key, span->text + one->text);
        } else {
            write_number(json, one->key, one->number);
        }
    }
    nx_json_array_end(json);
}

static void write_span(nx_json *json, const nx_span *span)
{
    bool remote = span->kind == NX_SPAN_SERVER || span->kind == NX_SPAN_CONSUMER;
    nx_json_object_begin(json);
    nx_json_key_string(json, "traceId", span->trace);
    nx_json_key_string(json, "spanId", span->id);
    if (span->parent[0] != '\0') {
        nx_json_key_string(json, "parentSpanId", span->parent);
        nx_json_key_int(json, "flags",
                        FLAG_SAMPLED | FLAG_HAS_REMOTE | (remote ? FLAG_IS_REMOTE : 0));
    } else {
        nx_json_key_int(json, "flags", FLAG_SAMPLED);
    }
    nx_json_key_string(json, "name", span->text);
    nx_json_key_int(json, "kind", span->kind);
    write_64(json, "startTimeUnixNano", span->began_ns);
    write_64(json, "endTimeUnixNano", span->ended_ns);
    if (span->attribute_count > 0) {
        write_attributes(json, span);
    }
    if (span->failed) {
        nx_json_key(json, "status");
        nx_json_object_begin(json);
        nx_json_key_int(json, "code", STATUS_CODE_ERROR);
        nx_json_object_end(json);
    }
    nx_json_object_end(json);
}

void nx_otlp_write(const nx_buffer *resource_attributes, const nx_span *spans, size_t count,
                   nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key(&json, "resourceSpans");
    nx_json_array_begin(&json);
    nx_json_object_begin(&json);
    nx_json_key(&json, "resource");
    nx_json_object_begin(&json);
    nx_json_key(&json, "attributes");
    nx_json_raw(&json, resource_attributes->data, resource_attributes->size);
    nx_json_object_end(&json);
    nx_json_key(&json, "scopeSpans");
    nx_json_array_begin(&json);
    nx_json_object_begin(&json);
    nx_json_key(&json, "scope");
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "name", "nexus");
    nx_json_key_string(&json, "version", NX_VERSION);
    nx_json_object_end(&json);
    nx_json_key(&json, "spans");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        write_span(&json, &spans[i]);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_json_array_end(&json);
    nx_json_object_end(&json);
}

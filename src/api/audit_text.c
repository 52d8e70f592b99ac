#include "api/audit_text.h"

#include "results/csv_field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void nx_audit_time(int64_t ms, char out[NX_AUDIT_TIME_SIZE])
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm utc;
    char text[24];
    (void)gmtime_r(&seconds, &utc);
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(out, NX_AUDIT_TIME_SIZE, "%s.%03dZ", text, (int)(ms % 1000));
}

/* "24h": false when it is no such thing. */
static bool parse_before(const char *text, int64_t now_ms, int64_t *out)
{
    static const struct {
        char unit;
        int64_t ms;
    } units[] = {{'s', 1000}, {'m', 60000}, {'h', 3600000}, {'d', 86400000}};
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 6 || text[digits] == '\0' || text[digits + 1] != '\0') {
        return false;
    }
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (units[i].unit == text[digits]) {
            *out = now_ms - strtoll(text, NULL, 10) * units[i].ms;
            return true;
        }
    }
    return false;
}

static bool parse_date(const char *text, int64_t *out)
{
    struct tm utc = {.tm_mday = 0};
    int64_t fraction = 0;
    const char *rest = strptime(text, "%Y-%m-%d", &utc);
    if (rest != NULL && (*rest == 'T' || *rest == ' ')) {
        rest = strptime(rest + 1, "%H:%M:%S", &utc);
        if (rest != NULL && *rest == '.') {
            size_t digits = strspn(rest + 1, "0123456789");
            for (size_t i = 0; i < 3; i++) {
                fraction = fraction * 10 + (i < digits ? rest[1 + i] - '0' : 0);
            }
            rest = digits > 0 ? rest + 1 + digits : NULL;
        }
        rest = rest != NULL && *rest == 'Z' ? rest + 1 : NULL;
    }
    *out = rest != NULL && *rest == '\0' ? (int64_t)timegm(&utc) * 1000 + fraction : 0;
    return *out > 0;
}

nx_status nx_audit_parse_time(const char *text, int64_t now_ms, int64_t *out, nx_error *err)
{
    if (parse_before(text, now_ms, out) || parse_date(text, out)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "'%.60s' is no time; write such as 2026-01-31, 2026-01-31T12:00:00Z, or so "
                        "long ago: 90s, 15m, 24h, 7d",
                        text);
}

void nx_audit_row_json(const nx_audit_row *row, nx_json *json)
{
    char at[NX_AUDIT_TIME_SIZE];
    const nx_audit_entry *entry = &row->entry;
    nx_audit_time(row->at, at);
    nx_json_object_begin(json);
    nx_json_key_int(json, "seq", row->seq);
    nx_json_key_string(json, "at", at);
    nx_json_key_string(json, "actor_kind", entry->actor_kind);
    nx_json_key_string(json, "actor", entry->actor);
    nx_json_key_string(json, "actor_key", entry->actor_key);
    nx_json_key_string(json, "address", entry->address);
    nx_json_key_string(json, "action", entry->action);
    nx_json_key_string(json, "object", entry->object);
    nx_json_key_string(json, "result", entry->result);
    /* as it is hashed, which parsing and writing it again would not keep */
    nx_json_key_string(json, "details", entry->details);
    nx_json_key_string(json, "request_id", entry->request_id);
    nx_json_key_string(json, "hash", row->hash);
    nx_json_object_end(json);
}

void nx_audit_csv_head(nx_buffer *out)
{
    nx_buffer_append_str(out, "seq,at,actor_kind,actor,actor_key,address,action,object,result,"
                              "details,request_id,hash\r\n");
}

static void append_field(nx_buffer *out, const char *text)
{
    nx_buffer_append_char(out, ',');
    if (text[0] == '\0' || strchr("=+-@\t", text[0]) == NULL) {
        nx_append_csv_field(out, text);
        return;
    }
    nx_buffer safe = NX_BUFFER_INIT;
    nx_buffer_printf(&safe, "'%s", text);
    nx_append_csv_field(out, nx_buffer_cstr(&safe));
    out->failed |= safe.failed;
    nx_buffer_free(&safe);
}

void nx_audit_row_csv(const nx_audit_row *row, nx_buffer *out)
{
    char at[NX_AUDIT_TIME_SIZE];
    const nx_audit_entry *entry = &row->entry;
    const char *const fields[] = {
        entry->actor_kind, entry->actor,  entry->actor_key, entry->address,    entry->action,
        entry->object,     entry->result, entry->details,   entry->request_id, row->hash,
    };
    nx_audit_time(row->at, at);
    nx_buffer_printf(out, "%lld,%s", (long long)row->seq, at);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        append_field(out, fields[i]);
    }
    nx_buffer_append_str(out, "\r\n");
}

#include "api/audit_text.h"

#include "base/time_text.h"
#include "results/csv_field.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void nx_audit_row_json(const nx_audit_row *row, nx_json *json)
{
    char at[NX_TIME_TEXT_SIZE];
    const nx_audit_entry *entry = &row->entry;
    nx_time_text(row->at, at);
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
    char at[NX_TIME_TEXT_SIZE];
    const nx_audit_entry *entry = &row->entry;
    const char *const fields[] = {
        entry->actor_kind, entry->actor,  entry->actor_key, entry->address,    entry->action,
        entry->object,     entry->result, entry->details,   entry->request_id, row->hash,
    };
    nx_time_text(row->at, at);
    nx_buffer_printf(out, "%lld,%s", (long long)row->seq, at);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        append_field(out, fields[i]);
    }
    nx_buffer_append_str(out, "\r\n");
}

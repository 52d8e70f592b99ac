/* GET /api/v1/models and /api/v1/models/{name}: what is installed, and what of it is in memory. */
#include "api/models.h"

#include "api/inference.h"
#include "api/model_access.h"
#include "api/storage.h"
#include "base/json_writer.h"
#include "base/time_text.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT 50
#define MAX_LIMIT     200

nx_problem nx_api_models_problem(nx_api *api, const nx_http_request *request, nx_status status,
                                 const nx_error *err)
{
    nx_error told = *err;
    nx_api_model_hide(request, status, &told);
    if (nx_api_tells_full(status, err)) {
        return nx_problem_make(507, "Free some space on the server's disk.", "%s", err->message);
    }
    switch (status) {
    case NX_ERR_CORRUPT:
        return nx_problem_make(422, "Send the whole ONNX file; check that it was not cut short.",
                               "%s", err->message);
    case NX_ERR_UNSUPPORTED:
        return nx_problem_make(
            422,
            "Send a detector that Nexus knows, or the encoder and decoder of SAM, as "
            "ONNX files.",
            "%s", err->message);
    case NX_ERR_INVALID:
        return nx_problem_make(422, "Check the name and the file.", "%s", err->message);
    case NX_ERR_CONFLICT:
        return nx_problem_make(409, "Load another version or another model first.", "%s",
                               err->message);
    case NX_ERR_NOT_FOUND:
        return nx_problem_make(404, "GET /api/v1/models lists what there is.", "%s", told.message);
    default:
        break;
    }
    return nx_api_problem_of(api, request, status, err);
}

static void refuse(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err)
{
    nx_problem problem = nx_api_models_problem(api, request, status, err);
    nx_http_reply_problem(request, &problem);
}

/* --- writing ------------------------------------------------------------------------------------
 */

static void write_time(const char *key, int64_t seconds, nx_json *json)
{
    char text[NX_TIME_TEXT_SIZE];
    nx_time_text_seconds(seconds, text);
    nx_json_key_string(json, key, seconds != 0 ? text : NULL);
}

static void write_version(const nx_registry_entry *entry, nx_json *json)
{
    bool ready = entry->loaded_s != 0;
    nx_json_object_begin(json);
    nx_json_key_int(json, "version", entry->version);
    nx_json_key_string(json, "state", nx_registry_state_name(entry->state));
    nx_json_key_string(json, "reason", entry->reason[0] != '\0' ? entry->reason : NULL);
    nx_json_key_bool(json, "serving", entry->serves);
    nx_json_key_bool(json, "default", entry->is_default);
    nx_json_key_bool(json, "shared", entry->shared);
    nx_json_key_int(json, "size_bytes", (int64_t)entry->file_bytes);
    nx_json_key(json, "memory_bytes");
    if (ready) {
        nx_json_int(json, (int64_t)entry->memory_bytes);
    } else {
        nx_json_null(json);
    }
    write_time("added_at", entry->added_s, json);
    nx_json_key_string(json, "added_by", entry->added_by[0] != '\0' ? entry->added_by : NULL);
    write_time("loaded_at", entry->loaded_s, json);
    nx_json_key_int(json, "inferences", (int64_t)entry->inferences);
    nx_json_object_end(json);
}

/* The entries of one name, which lie one behind the other. */
static size_t count_versions(const nx_registry_entry *entries, size_t count)
{
    size_t versions = 1;
    while (versions < count && strcmp(entries[versions].name, entries[0].name) == 0) {
        versions++;
    }
    return versions;
}

/* The members of a model, inside an object that the caller has opened. */
static void write_members(const nx_registry_entry *entries, size_t versions, nx_json *json)
{
    bool is_default = false;
    const nx_registry_entry *serving = NULL;
    for (size_t i = 0; i < versions; i++) {
        is_default |= entries[i].is_default;
        serving = entries[i].serves ? &entries[i] : serving;
    }
    nx_json_key_string(json, "name", entries[0].name);
    nx_json_key_string(json, "kind", entries[0].kind == NX_STORED_SAM ? "sam" : "detector");
    nx_json_key_bool(json, "default", is_default);
    nx_json_key_string(json, "state",
                       serving != NULL ? nx_registry_state_name(serving->state) : "unloaded");
    nx_json_key(json, "serving_version");
    if (serving != NULL) {
        nx_json_int(json, serving->version);
    } else {
        nx_json_null(json);
    }
    nx_json_key(json, "versions");
    nx_json_array_begin(json);
    for (size_t i = 0; i < versions; i++) {
        write_version(&entries[i], json);
    }
    nx_json_array_end(json);
}

/* What only the model in memory tells. */
static void write_spec(const nx_model_spec *spec, nx_json *json)
{
    nx_json_key(json, "input");
    nx_json_object_begin(json);
    nx_json_key_int(json, "width", spec->input_width);
    nx_json_key_int(json, "height", spec->input_height);
    nx_json_key_bool(json, "dynamic", spec->dynamic_size);
    nx_json_object_end(json);
    nx_json_key(json, "classes");
    nx_json_array_begin(json);
    for (size_t i = 0; i < spec->names.count; i++) {
        nx_json_string(json, spec->names.names[i]);
    }
    nx_json_array_end(json);
    nx_json_key_string(json, "license", spec->license);
}

/* --- one ----------------------------------------------------------------------------------------
 */

void nx_api_reply_model(nx_api *api, nx_http_request *request, int status, const char *name)
{
    nx_error err = {0};
    nx_registry_entry *entries = NULL;
    size_t count = 0;
    nx_status listed = nx_api_models_entries(api, &entries, &count, &err);
    size_t at = 0;
    while (at < count && strcmp(entries[at].name, name) != 0) {
        at++;
    }
    at = at < count && !nx_api_model_visible(api, request, name) ? count : at;
    if (listed == NX_OK && at == count) {
        listed = nx_error_set(&err, NX_ERR_NOT_FOUND, "there is no model '%.64s'", name);
    }
    if (listed != NX_OK) {
        free(entries);
        refuse(api, request, listed, &err);
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    nx_json_object_begin(&json);
    write_members(&entries[at], count_versions(&entries[at], count - at), &json);
    nx_registry_handle *handle = NULL;
    if (nx_registry_acquire(api->deps.registry, name, 0, &handle, &err) == NX_OK) {
        write_spec(nx_model_get_spec(nx_registry_model(handle)), &json);
        nx_registry_release(handle);
    }
    nx_json_object_end(&json);
    free(entries);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, status, "application/json", &out);
}

void nx_api_models_get(nx_http_request *request, void *user)
{
    nx_api_reply_model(user, request, 200, nx_http_path_param(request, "name"));
}

/* --- the list -----------------------------------------------------------------------------------
 */

typedef struct page {
    long limit;
    const char *cursor; /* the last name of the page before; NULL: the first page */
    const char *wrong;  /* the option that is not understood */
} page;

static bool take_option(const char *name, const char *value, void *user)
{
    page *self = user;
    char *end = NULL;
    if (strcmp(name, "limit") == 0 && value != NULL) {
        self->limit = strtol(value, &end, 10);
        if (end == value || *end != '\0' || self->limit < 1 || self->limit > MAX_LIMIT) {
            self->wrong = name;
        }
    } else if (strcmp(name, "cursor") == 0 && value != NULL && value[0] != '\0') {
        self->cursor = value;
    } else {
        self->wrong = name;
    }
    return self->wrong == NULL;
}

static void write_page(nx_api *api, const nx_http_request *request, const page *wanted,
                       const nx_registry_entry *entries, size_t count, nx_json *json)
{
    const char *last = NULL;
    long written = 0;
    size_t at = 0;
    nx_json_object_begin(json);
    nx_json_key(json, "items");
    nx_json_array_begin(json);
    while (at < count && written < wanted->limit) {
        size_t versions = count_versions(&entries[at], count - at);
        if ((wanted->cursor == NULL || strcmp(entries[at].name, wanted->cursor) > 0) &&
            nx_api_model_visible(api, request, entries[at].name)) {
            nx_json_object_begin(json);
            write_members(&entries[at], versions, json);
            nx_json_object_end(json);
            last = entries[at].name;
            written++;
        }
        at += versions;
    }
    nx_json_array_end(json);
    nx_json_key_string(json, "next_cursor", at < count ? last : NULL);
    nx_json_object_end(json);
}

void nx_api_models_list(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_error err = {0};
    page wanted = {.limit = DEFAULT_LIMIT};
    nx_registry_entry *entries = NULL;
    size_t count = 0;
    if (!nx_http_each_query(request, take_option, &wanted)) {
        nx_problem problem =
            nx_problem_make(422, "Options are limit (1 to 200) and cursor (a next_cursor).",
                            "the option '%.60s' is not understood", wanted.wrong);
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_status status = nx_api_models_entries(api, &entries, &count, &err);
    if (status != NX_OK) {
        refuse(api, request, status, &err);
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    write_page(api, request, &wanted, entries, count, &json);
    free(entries);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, 200, "application/json", &out);
}

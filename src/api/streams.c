/* GET and POST /api/v1/streams; GET, PATCH and DELETE .../{id}; GET .../{id}/frame.jpeg. */
#include "api/streams.h"

#include "api/audit.h"
#include "api/gate.h"
#include "api/jobs.h"
#include "api/model_access.h"
#include "api/payload.h"
#include "api/storage.h"
#include "base/clock.h"
#include "base/uuid.h"
#include "jobs/webhook_url.h"
#include "store/streams.h"
#include "streams/spec.h"
#include "streams/url.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define SECRET_MAX 256

/* For a page of streams, each of which may have a megabyte of zones. */
#define MOST_MEMORY ((size_t)256 << 20)

/* --- showing ------------------------------------------------------------------------------------
 */

/* What is known here is newer than what the database has. */
static void write_live(const nx_api *api, const nx_stream *stream, nx_json *json)
{
    nx_stream_status status;
    nx_buffer places = NX_BUFFER_INIT;
    bool here = nx_streams_status(api->deps.streams, stream->id, &status, &places);
    bool known = here || stream->leased;
    const char *reason = here ? status.monitor.reason : stream->reason;
    const nx_stream_state state = here ? status.monitor.state : stream->state;
    nx_json_key_string(json, "state", nx_stream_state_name(known ? state : NX_STREAM_STOPPED));
    if (!known && stream->state != NX_STREAM_STOPPED) {
        reason = "whoever ran it is gone";
    }
    if (!known && stream->enabled && reason[0] == '\0') {
        reason = "it waits for a server that has room for it";
    }
    if (!known && !stream->enabled) {
        reason = "it is switched off";
    }
    nx_json_key_string(json, "reason", reason[0] != '\0' ? reason : NULL);
    nx_json_key_string(json, "host", stream->leased ? stream->lease_owner : NULL);
    nx_json_key_bool(json, "here", here);
    nx_json_key(json, "status");
    if (here) {
        nx_json_object_begin(json);
        nx_stream_status_json(&status, json);
        nx_json_object_end(json);
    } else if (stream->leased && stream->status != NULL) {
        nx_json_raw(json, stream->status, strlen(stream->status));
    } else {
        nx_json_null(json);
    }
    const char *counts = stream->leased ? stream->counts : NULL;
    if (here) {
        counts = places.size > 0 && !places.failed ? nx_buffer_cstr(&places) : NULL;
    }
    nx_api_json_text(json, "counts", counts);
    nx_buffer_free(&places);
}

/* Admins know all of it: they see where each delivery went, too. */
static void write_webhook(const nx_http_request *request, const nx_stream *stream, nx_json *json)
{
    char shown[NX_WEBHOOK_SHOWN_SIZE];
    const char *url = stream->webhook_url;
    if (url != NULL && nx_api_identity(request)->role < NX_ROLE_ADMIN) {
        nx_webhook_url_shown(url, shown);
        url = shown;
    }
    nx_json_key_string(json, "webhook_url", url);
    nx_json_key_bool(json, "webhook_signed", stream->webhook_secret != NULL);
}

static void write_stream(const nx_api *api, const nx_http_request *request, const nx_stream *stream,
                         nx_json *json)
{
    char url[NX_STREAM_SHOWN_SIZE];
    nx_stream_url_shown(stream->url, url);
    nx_json_object_begin(json);
    nx_json_key_string(json, "id", stream->id);
    nx_json_key_string(json, "name", stream->name);
    nx_json_key_string(json, "url", url);
    nx_json_key_bool(json, "enabled", stream->enabled);
    nx_json_key_int(json, "version", stream->version);
    nx_api_json_text(json, "options", stream->options);
    write_webhook(request, stream, json);
    write_live(api, stream, json);
    nx_json_key_string(json, "created_by",
                       stream->created_by[0] != '\0' ? stream->created_by : NULL);
    nx_api_json_time(json, "created_at", stream->created_at);
    nx_api_json_time(json, "updated_at", stream->updated_at);
    nx_json_object_end(json);
}

static void reply_stream(const nx_api *api, nx_http_request *request, int status,
                         const nx_stream *stream)
{
    char location[80];
    nx_buffer out = NX_BUFFER_INIT;
    nx_json json = nx_json_begin(&out);
    write_stream(api, request, stream, &json);
    if (status == 201) {
        snprintf(location, sizeof location, "/api/v1/streams/%.40s", stream->id);
        nx_http_add_header(request, "Location", location);
    }
    nx_api_reply_json(request, status, &out);
}

static void refuse(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err)
{
    nx_problem problem = nx_api_storage_problem(api, request, status, err);
    if (status == NX_ERR_NOT_FOUND) {
        problem =
            nx_problem_make(404, "GET /api/v1/streams lists what there is.", "%s", err->message);
    }
    nx_http_reply_problem(request, &problem);
}

/* --- the list, and one --------------------------------------------------------------------------
 */

static void answer_list(nx_api *api, nx_http_request *request)
{
    nx_api_page page;
    nx_error err = {0};
    nx_stream streams[NX_API_PAGE_MAX + 1]; /* one more tells whether there is another page */
    size_t count = 0;
    if (!nx_api_page_read(request, false, &page)) {
        return;
    }
    nx_arena arena = nx_arena_make(MOST_MEMORY);
    nx_status status = nx_store_streams_list(api->deps.database, page.cursor, page.limit + 1,
                                             &arena, streams, &count, &err);
    if (status != NX_OK) {
        refuse(api, request, status, &err);
    } else {
        nx_buffer out = NX_BUFFER_INIT;
        nx_json json = nx_api_page_begin(&out);
        for (size_t i = 0; i < count && i < page.limit; i++) {
            write_stream(api, request, &streams[i], &json);
        }
        nx_api_page_end(&json, count > page.limit ? streams[page.limit - 1].id : NULL);
        nx_api_reply_json(request, 200, &out);
    }
    nx_arena_free(&arena);
}

void nx_api_streams_list(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_list);
}

/* The stream of the path, in the arena. False: the request is answered. */
static bool find_stream(nx_api *api, nx_http_request *request, nx_arena *arena, nx_stream *out)
{
    nx_error err = {0};
    const char *id = nx_api_path_id(request, "stream");
    if (id == NULL || !nx_api_no_options(request)) {
        return false;
    }
    nx_status status = nx_store_stream_get(api->deps.database, id, arena, out, &err);
    if (status != NX_OK) {
        refuse(api, request, status, &err);
    }
    return status == NX_OK;
}

static void answer_get(nx_api *api, nx_http_request *request)
{
    nx_arena arena = nx_arena_make(0);
    nx_stream stream;
    if (find_stream(api, request, &arena, &stream)) {
        reply_stream(api, request, 200, &stream);
    }
    nx_arena_free(&arena);
}

void nx_api_streams_get(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_get);
}

/* --- what is wanted -----------------------------------------------------------------------------
 */

/* A stream as it is to be. Strings belong to the request's document or to the row before. */
typedef struct wanted {
    const char *name, *url;
    const char *webhook_url, *webhook_secret; /* NULL: none */
    bool enabled;
    bool new_url;
    json_t *options; /* owned */
    nx_buffer text;  /* of the options */
} wanted;

static void wanted_free(wanted *self)
{
    json_decref(self->options);
    nx_buffer_free(&self->text);
}

static nx_status take_name(wanted *self, const json_t *value, nx_error *err)
{
    const char *name = json_string_value(value);
    if (name == NULL || name[0] == '\0' || strlen(name) > NX_STREAM_NAME_MAX ||
        !nx_api_is_clean_text(name)) {
        return nx_error_set(err, NX_ERR_INVALID, "name: send a text of 1 to %d bytes",
                            NX_STREAM_NAME_MAX);
    }
    self->name = name;
    return NX_OK;
}

static nx_status take_webhook_url(wanted *self, const json_t *value, bool allow_private,
                                  nx_error *err)
{
    nx_error why = {0};
    self->webhook_url = json_string_value(value);
    if (json_is_null(value)) {
        return NX_OK;
    }
    if (self->webhook_url == NULL) {
        return nx_error_set(err, NX_ERR_INVALID, "webhook_url: send an http or https URL, or null");
    }
    if (strstr(self->webhook_url, "***") != NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "webhook_url: the three stars stand for what is not shown: send all of "
                            "it, or leave it out to keep it");
    }
    nx_status status = nx_webhook_check_url(self->webhook_url, allow_private, &why);
    return status == NX_OK ? NX_OK : nx_error_set(err, status, "webhook_url: %s", why.message);
}

static nx_status take_webhook_secret(wanted *self, const json_t *value, nx_error *err)
{
    const char *secret = json_string_value(value);
    if (!json_is_null(value) && (secret == NULL || secret[0] == '\0' ||
                                 strlen(secret) > SECRET_MAX || !nx_api_is_clean_text(secret))) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "webhook_secret: send a text of 1 to %d bytes, or null", SECRET_MAX);
    }
    self->webhook_secret = secret;
    return NX_OK;
}

/* What is null goes back to what it is without; everything else is checked as a whole. */
static nx_status take_member(const nx_api *api, wanted *self, const char *name, json_t *value,
                             nx_error *err)
{
    if (strcmp(name, "name") == 0) {
        return take_name(self, value, err);
    }
    if (strcmp(name, "webhook_url") == 0) {
        return take_webhook_url(self, value, api->webhook_allow_private, err);
    }
    if (strcmp(name, "webhook_secret") == 0) {
        return take_webhook_secret(self, value, err);
    }
    if (strcmp(name, "url") == 0) {
        self->url = json_string_value(value);
        self->new_url = true;
        return self->url != NULL ? NX_OK
                                 : nx_error_set(err, NX_ERR_INVALID, "url: this is no text");
    }
    if (strcmp(name, "enabled") == 0) {
        self->enabled = json_is_true(value);
        return json_is_boolean(value)
                   ? NX_OK
                   : nx_error_set(err, NX_ERR_INVALID, "enabled: send true or false");
    }
    int failure = json_is_null(value) ? (json_object_del(self->options, name), 0)
                                      : json_object_set(self->options, name, value);
    return failure == 0 ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a stream");
}

/* Who may name a file of the server's. */
static nx_status check_url(const nx_api *api, const nx_http_request *request, const wanted *self,
                           nx_error *err)
{
    nx_stream_kind kind = NX_STREAM_RTSP;
    nx_status status =
        nx_stream_url_check(self->url, nx_streams_allow_loopback(api->deps.streams), &kind, err);
    if (status == NX_OK && (kind == NX_STREAM_FILE || kind == NX_STREAM_DEVICE) &&
        nx_api_identity(request)->role < NX_ROLE_ADMIN) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "url: files and devices of the server are for admins");
    }
    return status;
}

/* False fills problem. */
static bool check_all(nx_api *api, nx_http_request *request, wanted *self, nx_problem *problem)
{
    nx_error err = {0};
    nx_stream_spec spec;
    nx_status status = NX_OK;
    if (self->name == NULL || self->url == NULL) {
        status = nx_error_set(&err, NX_ERR_INVALID, "%s: this is needed",
                              self->name == NULL ? "name" : "url");
    } else if (self->new_url) {
        status = check_url(api, request, self, &err);
    }
    if (self->webhook_url == NULL) {
        self->webhook_secret = NULL; /* there is nothing to sign */
    }
    if (status == NX_OK) {
        status = nx_stream_spec_read(self->options, &spec, &err);
    }
    if (status != NX_OK) {
        *problem =
            nx_problem_make(status == NX_ERR_CONFLICT ? 403 : 422,
                            "/docs lists what a stream has, with the ranges.", "%s", err.message);
        return false;
    }
    bool good = nx_api_check_model(api, request, &spec.video, problem);
    nx_json json = nx_json_begin(&self->text);
    nx_json_object_begin(&json);
    nx_stream_spec_json_members(&spec, &json);
    nx_json_object_end(&json);
    nx_stream_spec_free(&spec);
    return good;
}

/* Puts the body's members over what self has. NULL: the request is answered. The document is the
 * caller's, and self's strings may be in it. */
static json_t *read_body(nx_api *api, nx_http_request *request, wanted *self)
{
    size_t size = 0;
    const char *body = nx_http_body(request, &size);
    const char *name = NULL;
    json_t *value = NULL;
    json_t *document = NULL;
    nx_problem problem;
    nx_error err = {0};
    nx_status status = NX_OK;
    if (!nx_payload_parse(body != NULL ? body : "", size, &document, &problem)) {
        nx_http_reply_problem(request, &problem);
        return NULL;
    }
    json_object_foreach(document, name, value)
    {
        if (status == NX_OK) {
            status = take_member(api, self, name, value, &err);
        }
    }
    bool good = status == NX_OK;
    if (!good) {
        problem = nx_problem_make(422, "/docs lists what a stream has, with the ranges.", "%s",
                                  err.message);
    } else {
        good = check_all(api, request, self, &problem);
    }
    if (!good) {
        nx_http_reply_problem(request, &problem);
        json_decref(document);
        return NULL;
    }
    return document;
}

static nx_stream_request request_of(wanted *self)
{
    return (nx_stream_request){.name = self->name,
                               .url = self->url,
                               .options = nx_buffer_cstr(&self->text),
                               .enabled = self->enabled,
                               .webhook_url = self->webhook_url,
                               .webhook_secret = self->webhook_secret};
}

static void note(nx_api *api, nx_http_request *request, const char *action, const char *name,
                 nx_status status)
{
    const nx_api_event event = {
        .action = action, .kind = "stream", .name = name, .outcome = status};
    nx_api_audit(api, request, &event);
}

/* A change has been made, or not. */
static void answer_changed(nx_api *api, nx_http_request *request, nx_status status, int code,
                           const nx_stream *stream, const nx_error *err)
{
    if (status == NX_OK) {
        nx_streams_poke(api->deps.streams);
        reply_stream(api, request, code, stream);
    } else if (status == NX_ERR_CONFLICT) {
        nx_problem problem = nx_problem_make(
            409, "Look at the streams that there are, and send it again.", "%s", err->message);
        nx_http_reply_problem(request, &problem);
    } else {
        refuse(api, request, status, err);
    }
}

/* --- making, changing, removing -----------------------------------------------------------------
 */

static void answer_add(nx_api *api, nx_http_request *request)
{
    wanted self = {.enabled = true, .options = json_object(), .text = NX_BUFFER_INIT};
    nx_stream stream;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    json_t *document = nx_api_no_options(request) ? read_body(api, request, &self) : NULL;
    if (document != NULL) {
        const nx_model_subject subject = nx_api_subject(request);
        nx_stream_request ask = request_of(&self);
        ask.created_by = nx_api_identity(request)->name;
        ask.user = subject.all ? NULL : subject.user;
        ask.key = subject.key;
        nx_status status = nx_store_stream_add(api->deps.database, &ask, &arena, &stream, &err);
        note(api, request, "stream.add", status == NX_OK ? stream.id : self.name, status);
        answer_changed(api, request, status, 201, &stream, &err);
    }
    json_decref(document);
    wanted_free(&self);
    nx_arena_free(&arena);
}

void nx_api_streams_add(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_add);
}

static void answer_change(nx_api *api, nx_http_request *request)
{
    nx_stream before;
    nx_stream after;
    nx_error err = {0};
    nx_arena arena = nx_arena_make(0);
    wanted self = {.text = NX_BUFFER_INIT};
    json_t *document = NULL;
    if (find_stream(api, request, &arena, &before)) {
        self.name = before.name;
        self.url = before.url;
        self.enabled = before.enabled;
        self.webhook_url = before.webhook_url;
        self.webhook_secret = before.webhook_secret;
        self.options = json_loads(before.options, 0, NULL);
        document = read_body(api, request, &self);
    }
    if (document != NULL) {
        if (self.webhook_url != before.webhook_url && self.webhook_url != NULL &&
            (before.webhook_url == NULL || strcmp(self.webhook_url, before.webhook_url) != 0) &&
            self.webhook_secret == before.webhook_secret) {
            self.webhook_secret = NULL; /* a secret is for whom it was given for */
        }
        const nx_stream_request ask = request_of(&self);
        nx_status status = nx_store_stream_change(api->deps.database, before.id, before.version,
                                                  &ask, &arena, &after, &err);
        note(api, request, "stream.change", before.id, status);
        answer_changed(api, request, status, 200, &after, &err);
    }
    json_decref(document);
    wanted_free(&self);
    nx_arena_free(&arena);
}

void nx_api_streams_change(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_change);
}

static void answer_remove(nx_api *api, nx_http_request *request)
{
    nx_error err = {0};
    const char *id = nx_api_path_id(request, "stream");
    if (id == NULL || !nx_api_no_options(request)) {
        return;
    }
    nx_status status = nx_store_stream_remove(api->deps.database, id, &err);
    note(api, request, "stream.remove", id, status);
    if (status == NX_OK) {
        nx_streams_poke(api->deps.streams);
        nx_http_reply_static(request, 204, NULL, NULL, 0);
    } else {
        refuse(api, request, status, &err);
    }
}

void nx_api_streams_remove(nx_http_request *request, void *user)
{
    nx_api_answer_quickly(user, request, answer_remove);
}

/* --- live ---------------------------------------------------------------------------------------
 */

#define LIVE_NS (3 * NX_NS_PER_SEC)

int64_t nx_api_live_deadline(void)
{
    return nx_clock_now_ns() + LIVE_NS;
}

/* The path's stream that may be looked at: its id, and its hub (a reference) where this process
 * runs it. False: the request is answered. */
static bool find_live(nx_api *api, nx_http_request *request, char id[NX_UUID_SIZE],
                      nx_stream_hub **here)
{
    nx_arena arena = nx_arena_make(0);
    nx_stream stream;
    nx_problem problem;
    *here = NULL;
    if (!find_stream(api, request, &arena, &stream)) {
        nx_arena_free(&arena);
        return false;
    }
    snprintf(id, NX_UUID_SIZE, "%s", stream.id);
    *here = nx_streams_hub(api->deps.streams, id);
    bool there = *here != NULL || (stream.enabled && stream.leased);
    if (!stream.enabled) {
        problem = nx_problem_make(409, "Switch it on with PATCH {\"enabled\": true}.",
                                  "the stream is switched off");
    } else {
        problem = nx_problem_make(503, "Ask again a little later.",
                                  "the stream waits for a server that has room for it");
        problem.retry_after_s = 2;
    }
    nx_arena_free(&arena);
    if (!there) {
        nx_http_reply_problem(request, &problem);
    }
    return there;
}

static void refuse_live(nx_http_request *request, const nx_error *err)
{
    nx_problem problem = nx_problem_make(503, "Ask again a little later.", "%s", err->message);
    problem.retry_after_s = 2;
    nx_http_reply_problem(request, &problem);
}

void nx_api_answer_watched(nx_api *api, nx_http_request *request, nx_api_answer answer)
{
    const char *id = nx_http_path_param(request, "id");
    nx_stream_hub *here =
        api->deps.streams != NULL && nx_uuid_is(id) ? nx_streams_hub(api->deps.streams, id) : NULL;
    if (here != NULL) { /* not behind those that wait for another process */
        nx_stream_hub_release(here);
        nx_api_answer_quickly(api, request, answer);
    } else {
        nx_api_answer_live(api, request, answer);
    }
}

nx_stream_hub *nx_api_find_hub(nx_api *api, nx_http_request *request, int64_t until_ns)
{
    char id[NX_UUID_SIZE];
    nx_stream_hub *hub = NULL;
    nx_error err = {0};
    if (find_live(api, request, id, &hub) && hub == NULL &&
        nx_relay_hub(nx_streams_relay(api->deps.streams), id, until_ns, &hub, &err) != NX_OK) {
        refuse_live(request, &err);
    }
    return hub;
}

static void answer_frame(nx_api *api, nx_http_request *request)
{
    char id[NX_UUID_SIZE];
    nx_stream_hub *here = NULL;
    nx_stream_jpeg *jpeg = NULL;
    nx_buffer bytes = NX_BUFFER_INIT;
    nx_error err = {0};
    if (!find_live(api, request, id, &here)) {
        return;
    }
    nx_status status = here != NULL ? nx_stream_hub_jpeg(here, 0, &jpeg, &err)
                                    : nx_relay_jpeg(nx_streams_relay(api->deps.streams), id,
                                                    nx_api_live_deadline(), &jpeg, &err);
    nx_stream_hub_release(here);
    if (status != NX_OK) {
        refuse_live(request, &err);
        return;
    }
    nx_buffer_append(&bytes, jpeg->bytes.data, jpeg->bytes.size);
    nx_stream_jpeg_release(jpeg);
    nx_http_add_header(request, "Cache-Control", "no-store");
    nx_http_reply(request, 200, "image/jpeg", &bytes);
}

void nx_api_streams_frame(nx_http_request *request, void *user)
{
    nx_api_answer_watched(user, request, answer_frame);
}

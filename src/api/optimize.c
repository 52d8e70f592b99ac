/* POST, GET and DELETE /api/v1/models/{name}/optimize. */
#include "api/optimize.h"

#include "api/accounts.h"
#include "api/audit.h"
#include "api/models.h"
#include "base/arena.h"
#include "store/videos.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_LIMIT  64
#define MOST_LIMIT     512
#define DEFAULT_ROUNDS 5
#define MOST_ROUNDS    15

/* --- answers ------------------------------------------------------------------------------------
 */

static void refuse_with(nx_http_request *request, const nx_problem *problem)
{
    nx_http_reply_problem(request, problem);
}

/* What is known of the model's last one. */
static void reply_known(nx_api *api, nx_http_request *request, int status, const char *model)
{
    nx_buffer out = NX_BUFFER_INIT;
    json_t *known = nx_optimize_known(nx_optimizer_folder(api->optimizer), model);
    char *text = json_dumps(known, JSON_COMPACT | JSON_REAL_PRECISION(8));
    if (text != NULL) {
        nx_buffer_append_str(&out, text);
    } else {
        nx_json json = nx_json_begin(&out);
        nx_json_object_begin(&json);
        nx_json_key_string(&json, "model", model);
        nx_json_key_string(&json, "state", "none");
        nx_json_object_end(&json);
    }
    free(text);
    json_decref(known);
    nx_api_reply_json(request, status, &out);
}

/* The model of the path, which is one of the store's. False: the request is answered. */
static bool find_model(nx_api *api, nx_http_request *request, nx_stored_model *out)
{
    const char *name = nx_http_path_param(request, "name");
    nx_error err = {0};
    nx_status status = NX_OK;
    *out = (nx_stored_model){.count = 0};
    if (nx_registry_is_fixed(api->deps.registry, name)) {
        status =
            nx_error_set(&err, NX_ERR_CONFLICT, "'%.64s' is served from a path of its own", name);
    }
    if (status == NX_OK) {
        status = nx_model_store_find(api->deps.store, name, out, &err);
    }
    if (status != NX_OK) {
        nx_problem problem = nx_api_models_problem(api, request, status, &err);
        if (status == NX_ERR_CONFLICT) {
            problem =
                nx_problem_make(409, "Install it first: nexus models add.", "%s", err.message);
        }
        refuse_with(request, &problem);
    }
    return status == NX_OK;
}

/* --- beginning ----------------------------------------------------------------------------------
 */

/* A whole number that may be left out. False: the request is answered. */
static bool read_number(nx_http_request *request, const json_t *body, const char *name,
                        int64_t least, int64_t most, int64_t usual, int64_t *out)
{
    const json_t *value = json_object_get(body, name);
    *out = value != NULL ? json_integer_value(value) : usual;
    if (value == NULL || (json_is_integer(value) && *out >= least && *out <= most)) {
        return true;
    }
    nx_problem problem = nx_problem_make(422, "Leave it out, or send one of these.",
                                         "'%s' must be a whole number from %lld to %lld", name,
                                         (long long)least, (long long)most);
    refuse_with(request, &problem);
    return false;
}

static bool is_precision(const char *text)
{
    return strcmp(text, "float32") == 0 || strcmp(text, "int8") == 0 ||
           strcmp(text, "float16") == 0;
}

/* False: the request is answered. */
static bool read_wishes(nx_http_request *request, const json_t *body, nx_optimization *what)
{
    const json_t *force = json_object_get(body, "force");
    const char *precision = NULL;
    const char *video = "";
    int64_t version = 0;
    if (!nx_api_read_string(request, body, "precision", &precision) ||
        (json_object_get(body, "video_id") != NULL &&
         !nx_api_read_string(request, body, "video_id", &video)) ||
        !read_number(request, body, "version", 1, NX_MODEL_VERSION_MAX, 0, &version) ||
        !read_number(request, body, "limit", 1, MOST_LIMIT, DEFAULT_LIMIT, &what->limit) ||
        !read_number(request, body, "rounds", 0, MOST_ROUNDS, DEFAULT_ROUNDS, &what->rounds)) {
        return false;
    }
    nx_problem problem = {0};
    if (!is_precision(precision)) {
        problem = nx_problem_make(422, "It is float32, int8 or float16.",
                                  "there is no precision '%.40s'", precision);
    } else if (strcmp(precision, "int8") == 0 && video[0] == '\0') {
        problem = nx_problem_make(422,
                                  "Send the video_id of an uploaded video that shows what the "
                                  "model is to see.",
                                  "int8 needs pictures to calibrate with");
    } else if (force != NULL && !json_is_boolean(force)) {
        problem = nx_problem_make(422, "Send true or false.", "'force' must be true or false");
    } else {
        what->version = (uint32_t)version;
        what->force = json_is_true(force);
        snprintf(what->precision, sizeof what->precision, "%s", precision);
        snprintf(what->video, sizeof what->video, "%s", video);
        return true;
    }
    refuse_with(request, &problem);
    return false;
}

/* The file of the version. False: the request is answered. */
static bool find_file(nx_api *api, nx_http_request *request, const nx_stored_model *model,
                      nx_optimization *what, char **file)
{
    nx_error err = {0};
    const nx_stored_version *version = nx_stored_model_version(model, what->version);
    nx_status status = NX_OK;
    if (version == NULL) {
        status = nx_error_set(&err, NX_ERR_NOT_FOUND, "%s has no version %u", model->name,
                              what->version);
    } else if (version->kind != NX_STORED_DETECTOR) {
        status = nx_error_set(&err, NX_ERR_UNSUPPORTED, "%s segments; only detectors are optimised",
                              model->name);
    } else {
        what->version = version->version;
        memcpy(what->model, model->name, sizeof what->model);
        status =
            nx_model_store_path(api->deps.store, model->name, version, "model.onnx", file, &err);
    }
    if (status != NX_OK) {
        nx_problem problem = nx_api_models_problem(api, request, status, &err);
        refuse_with(request, &problem);
    }
    return status == NX_OK;
}

/* hash: of the video's object. False: the request is answered. */
static bool find_video(nx_api *api, nx_http_request *request, const nx_optimization *what,
                       char hash[65])
{
    nx_arena arena = nx_arena_make(0);
    nx_error err = {0};
    nx_video video;
    nx_status status = NX_OK;
    hash[0] = '\0';
    if (what->video[0] != '\0') {
        status = nx_store_video_get(api->deps.database, what->video, &arena, &video, &err);
        if (status == NX_OK) {
            snprintf(hash, 65, "%s", video.hash);
        }
    }
    nx_arena_free(&arena);
    if (status == NX_ERR_NOT_FOUND || status == NX_ERR_INVALID) {
        nx_problem problem = nx_problem_make(422, "GET /api/v1/videos lists what there is.",
                                             "there is no video '%.40s'", what->video);
        refuse_with(request, &problem);
    } else if (status != NX_OK) {
        nx_api_storage_refuse(api, request, status, &err);
    }
    return status == NX_OK;
}

static void note(nx_api *api, nx_http_request *request, const char *action, const char *model,
                 nx_status status, const char *details)
{
    const nx_api_event event = {
        .action = action, .kind = "model", .name = model, .outcome = status, .details = details};
    nx_api_audit(api, request, &event);
}

static void begin(nx_api *api, nx_http_request *request, const nx_optimization *what,
                  const char *file, const char *hash)
{
    char details[96];
    char location[NX_MODEL_NAME_MAX + 40];
    nx_error err = {0};
    nx_status status = nx_optimizer_begin(api->optimizer, what, file, hash, &err);
    snprintf(details, sizeof details, "{\"version\":%u,\"precision\":\"%s\"}", what->version,
             what->precision);
    note(api, request, "model.optimize", what->model, status, details);
    if (status == NX_OK) {
        snprintf(location, sizeof location, "/api/v1/models/%s/optimize", what->model);
        nx_http_add_header(request, "Location", location);
        reply_known(api, request, 202, what->model);
        return;
    }
    nx_problem problem =
        status == NX_ERR_BUSY
            ? nx_problem_make(409, "Wait until it is done, or end it.", "%s", err.message)
            : nx_api_models_problem(api, request, status, &err);
    refuse_with(request, &problem);
}

static void answer_begin(nx_api *api, nx_http_request *request)
{
    static const char *const names[] = {"precision", "version", "video_id", "limit",
                                        "rounds",    "force",   NULL};
    nx_optimization what = {.state = NX_OPTIMIZE_RUNNING};
    nx_stored_model model = {.count = 0};
    char *file = NULL;
    char hash[65];
    json_t *body = nx_api_read_object(request, names);
    const nx_identity *who = nx_http_identity(request);
    snprintf(what.by, sizeof what.by, "%s", who != NULL ? who->name : "");
    if (body != NULL && read_wishes(request, body, &what) && find_model(api, request, &model) &&
        find_file(api, request, &model, &what, &file) && find_video(api, request, &what, hash)) {
        begin(api, request, &what, file, hash);
    }
    nx_stored_model_free(&model);
    json_decref(body);
    free(file);
}

void nx_api_optimize_begin(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, answer_begin);
    }
}

/* --- looking, and ending ------------------------------------------------------------------------
 */

static void answer_get(nx_api *api, nx_http_request *request)
{
    nx_stored_model model;
    if (find_model(api, request, &model)) {
        reply_known(api, request, 200, model.name);
    }
    nx_stored_model_free(&model);
}

void nx_api_optimize_get(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, answer_get);
    }
}

static void answer_cancel(nx_api *api, nx_http_request *request)
{
    const char *folder = nx_optimizer_folder(api->optimizer);
    nx_stored_model model;
    nx_error err = {0};
    if (find_model(api, request, &model)) {
        json_t *known = nx_optimize_known(folder, model.name);
        const char *state = json_string_value(json_object_get(known, "state"));
        nx_status status =
            state != NULL && strcmp(state, "running") == 0
                ? nx_optimize_ask_end(folder, &err)
                : nx_error_set(&err, NX_ERR_CONFLICT, "%s is not being optimised", model.name);
        note(api, request, "model.optimize.cancel", model.name, status, NULL);
        if (status == NX_OK) {
            nx_optimizer_wake(api->optimizer);
            reply_known(api, request, 202, model.name);
        } else {
            nx_problem problem =
                status == NX_ERR_CONFLICT
                    ? nx_problem_make(409, "GET tells how the last one went.", "%s", err.message)
                    : nx_api_models_problem(api, request, status, &err);
            refuse_with(request, &problem);
        }
        json_decref(known);
    }
    nx_stored_model_free(&model);
}

void nx_api_optimize_cancel(nx_http_request *request, void *user)
{
    if (nx_api_no_options(request)) {
        nx_api_answer_quickly(user, request, answer_cancel);
    }
}

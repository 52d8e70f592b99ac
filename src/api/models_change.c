/*
 * POST /api/v1/models (an upload), POST .../{name}/load, unload and rollback, DELETE .../{name}.
 * Each waits, asleep, for the registry's thread to have done it, and is answered with the outcome.
 * Where several servers share their models, the database is told before the change is made.
 */
#include "api/audit.h"
#include "api/model_access.h"
#include "api/models.h"
#include "api/work.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct change {
    nx_model_change to; /* first */
    char *folder;       /* of an upload; NULL: none */
} change;

static void free_change(void *context)
{
    change *self = context;
    if (self->to.api->deps.shared != NULL) {
        nx_shared_upload_end(self->to.api->deps.shared, &self->to.upload);
    }
    nx_model_store_discard(self->folder); /* not there any more after success */
    free(self->folder);
    free(self);
}

static void refuse(change *self, nx_status status, const nx_error *err)
{
    nx_problem problem = nx_api_models_problem(self->to.api, self->to.request, status, err);
    nx_http_reply_problem(self->to.request, &problem);
}

static void note(const change *self, nx_status status)
{
    static const char *const actions[] = {
        [NX_REGISTRY_ADD] = "model.add",           [NX_REGISTRY_LOAD] = "model.load",
        [NX_REGISTRY_UNLOAD] = "model.unload",     [NX_REGISTRY_REMOVE] = "model.remove",
        [NX_REGISTRY_ROLLBACK] = "model.rollback",
    };
    const nx_api_event event = {.action = actions[self->to.task.op],
                                .kind = "model",
                                .name = self->to.task.name,
                                .outcome = status};
    if (status == NX_OK) {
        nx_api_audit(self->to.api, self->to.request, &event);
    } else {
        nx_api_audit_soon(self->to.api, self->to.request,
                          &event); /* whoever cancels must not wait */
    }
}

/* On the registry's thread, or on the one that cancels. */
static void changed(nx_registry_task *task, nx_status status, const nx_error *err)
{
    change *self = (change *)task;
    nx_error why = *err;
    if (task->op == NX_REGISTRY_REMOVE && status == NX_ERR_NOT_FOUND) {
        status = nx_api_models_remove_elsewhere(&self->to, status, &why);
    }
    note(self, status);
    if (status != NX_OK) {
        refuse(self, status, &why);
    } else if (task->op == NX_REGISTRY_REMOVE) {
        nx_http_reply_static(self->to.request, 204, NULL, NULL, 0);
    } else if (task->op == NX_REGISTRY_ADD) {
        char location[NX_MODEL_NAME_MAX + 20];
        snprintf(location, sizeof location, "/api/v1/models/%s", task->name);
        nx_http_add_header(self->to.request, "Location", location);
        nx_api_reply_model(self->to.api, self->to.request, 201, task->name);
    } else {
        nx_api_reply_model(self->to.api, self->to.request, 200, task->name);
    }
}

static void cancel(nx_http_request *request, void *user)
{
    (void)request;
    change *self = user;
    (void)nx_registry_cancel(self->to.api->deps.registry, &self->to.task);
}

/* NULL: the request is answered. */
static change *new_change(nx_http_request *request, nx_api *api, nx_registry_op op)
{
    change *self = calloc(1, sizeof *self);
    if (self == NULL) {
        nx_problem problem = nx_problem_make(503, "Try again later.", "no memory for the request");
        nx_http_reply_problem(request, &problem);
        return NULL;
    }
    self->to.task.op = op;
    self->to.task.done = changed;
    self->to.api = api;
    self->to.request = request;
    const nx_identity *who = nx_http_identity(request);
    snprintf(self->to.by, sizeof self->to.by, "%s", who != NULL ? who->name : "");
    nx_http_set_context(request, self, free_change);
    return self;
}

static void submit(change *self)
{
    nx_error err = {0};
    self->to.wanted = self->to.task.op == NX_REGISTRY_ROLLBACK || self->to.task.version != 0;
    nx_api_models_share(&self->to);
    nx_http_on_gone(self->to.request, cancel, self);
    nx_status status = nx_registry_submit(self->to.api->deps.registry, &self->to.task, &err);
    if (status != NX_OK) {
        refuse(self, status, &err);
    }
}

/* --- changes by name ----------------------------------------------------------------------------
 */

typedef struct option {
    const char *name; /* the one option that there is */
    const char *value;
    const char *wrong;
} option;

static bool take_option(const char *name, const char *value, void *user)
{
    option *self = user;
    if (strcmp(name, self->name) != 0 || value == NULL || self->value != NULL) {
        self->wrong = name;
        return false;
    }
    self->value = value;
    return true;
}

/* The name of the path and the version of the query. False: refused. */
static bool read_target(change *self)
{
    option version = {.name = "version"};
    nx_error err = {0};
    char reference[NX_MODEL_NAME_MAX + 32];
    const char *name = nx_http_path_param(self->to.request, "name");
    nx_http_each_query(self->to.request, take_option, &version);
    if (version.wrong != NULL) {
        nx_problem problem = nx_problem_make(422, "The one option is version, as in ?version=2.",
                                             "the option '%.60s' is not understood", version.wrong);
        nx_http_reply_problem(self->to.request, &problem);
        return false;
    }
    snprintf(reference, sizeof reference, "%.*s%s%.20s", NX_MODEL_NAME_MAX + 1, name,
             version.value != NULL ? ":" : "", version.value != NULL ? version.value : "");
    nx_status status =
        nx_model_reference_parse(reference, self->to.task.name, &self->to.task.version, &err);
    if (status == NX_OK &&
        !nx_api_model_visible(self->to.api, self->to.request, self->to.task.name)) {
        status =
            nx_error_set(&err, NX_ERR_NOT_FOUND, "there is no model '%.64s'", self->to.task.name);
    }
    if (status != NX_OK) {
        refuse(self, status, &err);
    }
    return status == NX_OK;
}

static void start(nx_http_request *request, nx_api *api, nx_registry_op op)
{
    change *self = new_change(request, api, op);
    if (self != NULL && read_target(self)) {
        submit(self);
    }
}

void nx_api_models_load(nx_http_request *request, void *user)
{
    start(request, user, NX_REGISTRY_LOAD);
}

void nx_api_models_unload(nx_http_request *request, void *user)
{
    start(request, user, NX_REGISTRY_UNLOAD);
}

void nx_api_models_rollback(nx_http_request *request, void *user)
{
    start(request, user, NX_REGISTRY_ROLLBACK);
}

void nx_api_models_remove(nx_http_request *request, void *user)
{
    start(request, user, NX_REGISTRY_REMOVE);
}

/* --- uploads ------------------------------------------------------------------------------------
 */

void nx_api_models_admit(nx_http_request *request, void *user)
{
    option name = {.name = "name"};
    nx_error err = {0};
    nx_http_each_query(request, take_option, &name);
    if (name.wrong == NULL && name.value != NULL &&
        nx_model_name_check(name.value, &err) != NX_OK) {
        nx_problem problem =
            nx_problem_make(422, "Choose another name, as in ?name=doors.", "%s", err.message);
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_api_admit_inference(request, user);
}

/* The name: of the query, of the form, or of the form's file. */
static bool read_name(change *self, nx_problem *problem)
{
    option name = {.name = "name"};
    nx_error err = {0};
    size_t count = 0;
    const char *file = NULL;
    const nx_http_part *parts = nx_http_parts(self->to.request, &count);
    nx_http_each_query(self->to.request, take_option, &name);
    for (size_t i = 0; i < count && name.wrong == NULL; i++) {
        if (parts[i].filename != NULL) {
            file = parts[i].filename;
        } else {
            take_option(parts[i].name, parts[i].data, &name);
        }
    }
    if (name.wrong != NULL) {
        *problem =
            nx_problem_make(422, "The one option is name, given once.",
                            "the option '%.60s' is not understood, or given twice", name.wrong);
        return false;
    }
    char text[NX_MODEL_NAME_MAX + 2];
    snprintf(text, sizeof text, "%s", name.value != NULL ? name.value : file != NULL ? file : "");
    size_t length = strlen(text);
    if (name.value == NULL && length > 5 && strcmp(text + length - 5, ".onnx") == 0) {
        text[length - 5] = '\0';
    }
    if (text[0] == '\0') {
        *problem = nx_problem_make(422, "Name it in the query, as in ?name=doors.",
                                   "the model has no name");
        return false;
    }
    if (nx_model_name_check(text, &err) != NX_OK) {
        *problem =
            nx_problem_make(422, "Choose another name, as in ?name=doors.", "%s", err.message);
        return false;
    }
    /* the same for one that is hidden from them and for a name that an admin has restricted before
     * there is such a model, so that it tells of no model */
    if (!nx_api_model_visible(self->to.api, self->to.request, text)) {
        *problem = nx_problem_make(409, "Choose another name, as in ?name=doors.",
                                   "the name '%.64s' is taken", text);
        return false;
    }
    memcpy(self->to.task.name, text, strlen(text) + 1);
    return true;
}

/* Moves an uploaded file into the folder under its proper name. */
static nx_status take_file(change *self, const char *path, const char *file, nx_error *err)
{
    char *target = NULL;
    if (asprintf(&target, "%s/%s", self->folder, file) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the request");
    }
    nx_status status = NX_OK;
    if (rename(path, target) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot put the upload into %s",
                                    self->folder);
    }
    free(target);
    return status;
}

/* One file is a model; a pair named encoder and decoder is one of the SAM family. */
static nx_status take_form(change *self, nx_error *err)
{
    size_t count = 0;
    size_t files = 0;
    const nx_http_part *parts = nx_http_parts(self->to.request, &count);
    for (size_t i = 0; i < count; i++) {
        files += parts[i].filename != NULL;
    }
    nx_status status = files > 0 ? NX_OK
                                 : nx_error_set(err, NX_ERR_INVALID,
                                                "the form has no file: curl -F model=@best.onnx");
    for (size_t i = 0; i < count && status == NX_OK; i++) {
        bool half = strcmp(parts[i].name, "encoder") == 0 || strcmp(parts[i].name, "decoder") == 0;
        if (parts[i].filename == NULL) {
            continue;
        }
        if (files == 2 && !half) {
            status = nx_error_set(err, NX_ERR_INVALID,
                                  "two files must be named encoder and decoder, not '%.40s'",
                                  parts[i].name);
        } else {
            char file[32];
            snprintf(file, sizeof file, "%.16s.onnx", files == 2 ? parts[i].name : "model");
            status = take_file(self, parts[i].path, file, err);
        }
    }
    return status;
}

static nx_status take_upload(change *self, nx_error *err)
{
    uint64_t size = 0;
    const char *path = nx_http_body_file(self->to.request, &size);
    nx_status status = nx_model_store_begin(self->to.api->deps.store, &self->folder, err);
    if (status != NX_OK) {
        return status;
    }
    self->to.task.folder = self->folder;
    return path != NULL ? take_file(self, path, "model.onnx", err) : take_form(self, err);
}

/* On a thread that may wait: reads the files, and stores them for other hosts. */
static void prepare(nx_api *api, nx_http_request *request)
{
    change *self = nx_http_context(request);
    nx_error err = {0};
    nx_status status =
        nx_shared_upload_prepare(api->deps.shared, self->folder, &self->to.upload, &err);
    if (status == NX_OK) {
        submit(self);
    } else {
        refuse(self, status, &err);
    }
}

void nx_api_models_add(nx_http_request *request, void *user)
{
    nx_error err = {0};
    nx_problem problem;
    change *self = new_change(request, user, NX_REGISTRY_ADD);
    if (self == NULL) {
        return;
    }
    if (!read_name(self, &problem)) {
        nx_http_reply_problem(request, &problem);
        return;
    }
    nx_status status = take_upload(self, &err);
    if (status != NX_OK) {
        refuse(self, status, &err);
    } else if (self->to.api->deps.shared != NULL) {
        nx_api_answer_slowly(self->to.api, request, prepare);
    } else {
        submit(self);
    }
}

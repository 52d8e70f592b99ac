/* The thread that sees to an optimisation: pictures, the child, the new version. */
#include "api/optimize.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "store/objects.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LOWEST_PRIORITY 19
#define NOTE_NS         NX_NS_PER_SEC /* between two notes of steps */

struct nx_optimizer {
    nx_api *api;
    char *folder;
    char *pictures; /* folder, while there are some */
    atomic_bool ending;
    int wake[2];
    pthread_mutex_t lock; /* guards started and thread, and who sets stop */
    bool started;
    pthread_t thread;
    atomic_bool stop; /* the one that is under way */
    /* of the one that is under way; the thread's own */
    nx_optimization what;
    char *file; /* of the model */
    char hash[65];
    int held; /* the folder's lock */
    char *output;
    int64_t noted_ns;
};

/* --- progress -----------------------------------------------------------------------------------
 */

static void note(nx_optimizer *self)
{
    nx_error err = {0};
    if (nx_optimize_note(self->folder, &self->what, &err) != NX_OK) {
        nx_log_warn("api", "an optimisation goes on unseen: %s", err.message);
    }
    self->noted_ns = nx_clock_now_ns();
}

static bool go_on(void *user)
{
    nx_optimizer *self = user;
    return !atomic_load(&self->ending) && !nx_optimize_end_asked(self->folder);
}

static void begin_stage(nx_optimizer *self, const char *text, size_t length)
{
    snprintf(self->what.stage, sizeof self->what.stage, "%.*s", (int)length, text);
    self->what.done = 0;
    self->what.total = 0;
    note(self);
}

static void take_step(size_t done, size_t total, void *user)
{
    nx_optimizer *self = user;
    self->what.done = done;
    self->what.total = total;
    if (nx_clock_now_ns() - self->noted_ns > NOTE_NS) {
        note(self);
    }
}

/* "3 of 64" */
static bool read_step(const char *text, size_t *done, size_t *total)
{
    static const char between[] = " of ";
    char *end = NULL;
    *done = strtoul(text, &end, 10);
    if (end == text || strncmp(end, between, sizeof between - 1) != 0) {
        return false;
    }
    text = end + sizeof between - 1;
    *total = strtoul(text, &end, 10);
    return end != text && *end == '\0' && *total > 0;
}

/* "Calibrating ...", "3 of 64", "nexus models optimize: what went wrong" */
static void take_line(const char *text, void *user)
{
    static const char said[] = "nexus models optimize: ";
    static const char warning[] = "warning: ";
    nx_optimizer *self = user;
    const size_t length = strlen(text);
    size_t done = 0;
    size_t total = 0;
    if (strncmp(text, said, sizeof said - 1) == 0) {
        const char *rest = text + sizeof said - 1;
        if (strncmp(rest, warning, sizeof warning - 1) != 0) {
            snprintf(self->what.error, sizeof self->what.error, "%s", rest);
        }
    } else if (length > 4 && strcmp(text + length - 4, " ...") == 0) {
        begin_stage(self, text, length - 4);
    } else if (read_step(text, &done, &total)) {
        take_step(done, total, self);
    }
}

/* --- the work -----------------------------------------------------------------------------------
 */

static nx_status take_pictures(nx_optimizer *self, nx_error *err)
{
    static const char stage[] = "Taking pictures from the video";
    int video = -1;
    if (asprintf(&self->pictures, "%s/pictures", self->folder) < 0) {
        self->pictures = NULL;
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the pictures");
    }
    begin_stage(self, stage, sizeof stage - 1);
    nx_file_remove_tree(self->pictures); /* of one whose process died */
    nx_status status = nx_file_make_dirs(self->pictures, err);
    if (status == NX_OK) {
        status = nx_objects_fetch(self->api->deps.objects, self->hash, &video, err);
    }
    if (status == NX_OK) {
        const bool halves = strcmp(self->what.precision, "int8") == 0; /* calibrate, and judge */
        const size_t most = (size_t)self->what.limit * (halves ? 2 : 1);
        const nx_optimize_follower follower = {
            .step = take_step, .go_on = go_on, .stop = &self->stop, .user = self};
        status = nx_optimize_take_pictures(video, self->pictures, most, &follower, err);
        close(video);
    }
    return status;
}

/* What it printed, if it is JSON: the report. Whether the model was written. */
static bool take_report(nx_optimizer *self, const nx_buffer *printed)
{
    json_t *report = json_loadb((const char *)printed->data, printed->size, 0, NULL);
    bool written = json_is_true(json_object_get(report, "written"));
    if (json_is_object(report)) {
        (void)json_object_del(report, "written");
        self->what.report = json_dumps(report, JSON_COMPACT | JSON_REAL_PRECISION(8));
    }
    json_decref(report);
    return written;
}

static nx_status run_child(nx_optimizer *self, nx_error *err)
{
    const nx_config *config = self->api->deps.config;
    nx_buffer printed = NX_BUFFER_INIT;
    const nx_optimize_order order = {
        .model = self->file,
        .output = self->output,
        .pictures = self->pictures,
        .data_dir = self->api->deps.data_dir,
        .library = nx_config_string(config, NX_CONFIG_ORT_LIBRARY),
        .precision = self->what.precision,
        .limit = self->what.limit,
        .rounds = self->what.rounds,
        .force = self->what.force,
        .lock = self->held,
        .wake = self->wake[0],
        .line = take_line,
        .go_on = go_on,
        .user = self,
    };
    nx_status status = nx_optimize_child_run(&order, &printed, err);
    bool written = take_report(self, &printed);
    nx_buffer_free(&printed);
    if (status == NX_ERR_UNSUPPORTED && self->what.error[0] != '\0') {
        (void)nx_error_set(err, status, "%s", self->what.error);
        nx_model_store_rename_in(err, self->output, self->what.model);
    }
    if (status == NX_ERR_UNSUPPORTED && self->what.report != NULL && !written) {
        self->what.state = NX_OPTIMIZE_REFUSED;
    }
    return status;
}

/* The new version is there for whoever names it; the one that serves stays. */
static nx_status make_version(nx_optimizer *self, nx_error *err)
{
    const nx_model_store *store = self->api->deps.store;
    char *folder = NULL;
    nx_status status = nx_model_store_begin(store, &folder, err);
    if (status == NX_OK && asprintf(&self->output, "%s/model.onnx", folder) < 0) {
        self->output = NULL;
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    }
    if (status == NX_OK) {
        status = run_child(self, err);
    }
    if (status == NX_OK) {
        status =
            nx_model_store_install(store, folder, self->what.model, &self->what.installed, err);
    }
    nx_model_store_discard(folder);
    free(folder);
    return status;
}

static void conclude(nx_optimizer *self, nx_status status, const nx_error *err)
{
    nx_optimization *what = &self->what;
    char details[192];
    if (status == NX_OK) {
        what->state = NX_OPTIMIZE_SUCCEEDED;
        what->error[0] = '\0';
    } else {
        const char *why = err->message;
        if (status == NX_ERR_CANCELLED) {
            what->state = NX_OPTIMIZE_CANCELLED;
            why = atomic_load(&self->ending) ? "the server was stopped" : "somebody ended it";
        } else if (what->state == NX_OPTIMIZE_RUNNING) {
            what->state = NX_OPTIMIZE_FAILED;
        }
        what->installed = 0;
        snprintf(what->error, sizeof what->error, "%s", why);
    }
    what->stage[0] = '\0';
    what->total = 0;
    what->finished_at = nx_clock_unix_ms();
    snprintf(details, sizeof details, "{\"model\":\"%s\",\"version\":%u,\"installed_version\":%u}",
             what->model, what->version, what->installed);
    nx_api_note(self->api, "model.optimize.end", status, details);
    note(self);
}

static void *optimize(void *user)
{
    nx_optimizer *self = user;
    nx_error err = {0};
    /* Of this thread alone, and of the programs that it starts. */
    (void)setpriority(PRIO_PROCESS, 0, LOWEST_PRIORITY);
    nx_status status = self->hash[0] != '\0' ? take_pictures(self, &err) : NX_OK;
    if (status == NX_OK) {
        status = make_version(self, &err);
    }
    if (self->pictures != NULL) {
        nx_file_remove_tree(self->pictures);
    }
    conclude(self, status, &err);
    free(self->pictures);
    free(self->output);
    free(self->file);
    free(self->what.report);
    self->pictures = NULL;
    self->output = NULL;
    self->file = NULL;
    self->what.report = NULL;
    close(self->held); /* from here on another may begin */
    return NULL;
}

/* --- from outside -------------------------------------------------------------------------------
 */

nx_status nx_optimizer_new(nx_api *api, nx_optimizer **out, nx_error *err)
{
    *out = NULL;
    nx_optimizer *self = calloc(1, sizeof *self);
    if (self == NULL || pipe2(self->wake, O_CLOEXEC | O_NONBLOCK) != 0) {
        free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    pthread_mutex_init(&self->lock, NULL);
    self->api = api;
    if (asprintf(&self->folder, "%s/optimize", api->deps.data_dir) < 0) {
        self->folder = NULL;
        nx_optimizer_free(self);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    *out = self;
    return NX_OK;
}

void nx_optimizer_free(nx_optimizer *self)
{
    if (self == NULL) {
        return;
    }
    atomic_store(&self->ending, true);
    nx_optimizer_wake(self);
    if (self->started) {
        pthread_join(self->thread, NULL);
    }
    pthread_mutex_destroy(&self->lock);
    close(self->wake[0]);
    close(self->wake[1]);
    free(self->folder);
    free(self);
}

const char *nx_optimizer_folder(const nx_optimizer *self)
{
    return self->folder;
}

void nx_optimizer_wake(nx_optimizer *self)
{
    (void)!write(self->wake[1], "", 1);
    pthread_mutex_lock(&self->lock);
    if (!go_on(self)) { /* else it is the next one by now */
        atomic_store(&self->stop, true);
    }
    pthread_mutex_unlock(&self->lock);
}

/* With the folder's lock, so that the thread before is at its end. */
static nx_status start(nx_optimizer *self, const nx_optimization *what, const char *file,
                       const char *hash, nx_error *err)
{
    if (self->started) {
        pthread_join(self->thread, NULL);
        self->started = false;
    }
    nx_optimize_forget_end(self->folder);
    atomic_store(&self->stop, false);
    self->what = *what;
    self->what.started_at = nx_clock_unix_ms();
    self->file = strdup(file);
    snprintf(self->hash, sizeof self->hash, "%s", hash);
    if (self->file == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the work");
    }
    nx_status status = nx_optimize_note(self->folder, &self->what, err);
    if (status == NX_OK) {
        int failure = pthread_create(&self->thread, NULL, optimize, self);
        self->started = failure == 0;
        status = failure == 0 ? NX_OK
                              : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                                   "no thread can be started for it");
    }
    if (status != NX_OK) {
        free(self->file);
        self->file = NULL;
    }
    return status;
}

nx_status nx_optimizer_begin(nx_optimizer *self, const nx_optimization *what, const char *file,
                             const char *hash, nx_error *err)
{
    int held = -1;
    pthread_mutex_lock(&self->lock);
    nx_status status = nx_optimize_lock(self->folder, &held, err);
    if (status == NX_OK) {
        self->held = held;
        status = start(self, what, file, hash, err);
        if (status != NX_OK) {
            close(held);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return status;
}

/* Does here what the database says of shared models: brings files, activates, unloads, removes. */
#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/waiter.h"
#include "jobs/shared_models_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_PAUSE_NS NX_NS_PER_SEC
#define MOST_DOUBLINGS 6U /* about a minute */
#define MOST_PROGRESS  ((size_t)256)

/* --- progress -----------------------------------------------------------------------------------
 * The generation that the disk is at: what `nexus models` has changed on it since then stands, also
 * after a restart.
 */

void nx_shared_read_progress(nx_shared_models *self)
{
    nx_buffer text = NX_BUFFER_INIT;
    char service[NX_MODEL_SERVICE_SIZE] = "";
    if (nx_file_read(self->progress_path, MOST_PROGRESS, &text, NULL) == NX_OK) {
        const char *line = nx_buffer_cstr(&text);
        size_t length = strcspn(line, " ");
        if (length < sizeof service && line[length] == ' ') {
            memcpy(service, line, length);
            self->start = strtoll(line + length, NULL, 10);
        }
    }
    if (strcmp(service, self->service) != 0) {
        self->start = 0; /* another database's */
    }
    self->written = self->start;
    self->unloads = self->start;
    nx_buffer_free(&text);
}

static void write_progress(nx_shared_models *self, int64_t generation)
{
    char line[MOST_PROGRESS];
    nx_error err = {0};
    int length = snprintf(line, sizeof line, "%s %lld\n", self->service, (long long)generation);
    if (nx_file_write(self->progress_path, line, (size_t)length, &err) == NX_OK) {
        self->written = generation;
    } else {
        nx_log_warn("models", "%s", err.message); /* a restart does again what was done */
    }
}

/* --- a name -------------------------------------------------------------------------------------
 */

static nx_status run(nx_shared_models *self, nx_registry_op op, const char *name, uint32_t version,
                     nx_error *err)
{
    nx_registry_task task = {.op = op, .version = version};
    snprintf(task.name, sizeof task.name, "%s", name);
    return nx_registry_run(self->registry, &task, err);
}

/* An activation that is followed. */
typedef struct following {
    nx_registry_task task; /* first, so that the task's pointer is ours */
    nx_waiter waiter;
    nx_shared_models *shared;
    int64_t changed; /* generation of the activation */
    bool outdated;
} following;

static void wake(nx_registry_task *task, nx_status status, const nx_error *err)
{
    nx_waiter_finish(&((following *)task)->waiter, status, err);
}

/* Is an activation still the last one of its name? */
static nx_status look_whether_outdated(nx_shared_models *self, const char *name, int64_t changed,
                                       bool *outdated, nx_error *err)
{
    nx_models_known known = {0};
    nx_arena arena = nx_arena_make(0);
    nx_status status = nx_store_models_load(self->database, INT64_MAX, &arena, &known, err);
    for (size_t i = 0; i < known.name_count && status == NX_OK; i++) {
        if (strcmp(known.names[i].name, name) == 0) {
            *outdated = known.names[i].active_changed != changed;
        }
    }
    nx_arena_free(&arena);
    return status;
}

/* On the registry's thread, which is also where this process changes models and tells the database:
 * what it has changed since we asked must not be undone. */
static nx_status confirm_current(nx_registry_task *task, nx_error *err)
{
    following *self = (following *)task;
    nx_status status =
        look_whether_outdated(self->shared, task->name, self->changed, &self->outdated, err);
    return self->outdated
               ? nx_error_set(err, NX_ERR_CONFLICT, "another version was activated meanwhile")
               : status;
}

/* Outdated is as good as done: what is newer is looked at next. */
static nx_status load(nx_shared_models *self, const nx_model_name *row, nx_error *err)
{
    following load = {
        .task = {.op = NX_REGISTRY_LOAD,
                 .version = (uint32_t)row->active,
                 .confirm = confirm_current,
                 .done = wake},
        .shared = self,
        .changed = row->active_changed,
    };
    snprintf(load.task.name, sizeof load.task.name, "%s", row->name);
    nx_waiter_init(&load.waiter);
    nx_status status = nx_registry_submit(self->registry, &load.task, err);
    status = nx_waiter_end(&load.waiter, status, err);
    return load.outdated ? NX_OK : status;
}

/* Without the model every host may still serve others: a name that is not there has no versions. */
static nx_status find_stored(const nx_shared_models *self, const char *name, nx_stored_model *out,
                             nx_error *err)
{
    nx_status status = nx_model_store_find(self->store, name, out, err);
    return status == NX_ERR_NOT_FOUND ? NX_OK : status;
}

static const nx_stored_version *version_of(const nx_stored_model *model, int64_t version)
{
    return model->count > 0 && version > 0 ? nx_stored_model_version(model, (uint32_t)version)
                                           : NULL;
}

/* The first thing that went wrong is what is told. */
static void keep_first(nx_status status, const nx_error *why, nx_status *first, nx_error *err)
{
    if (status != NX_OK && *first == NX_OK) {
        *first = status;
        *err = *why;
    }
}

static nx_status bring_files(nx_shared_models *self, const nx_models_known *known, const char *name,
                             const nx_stored_model *stored, nx_error *err)
{
    nx_status first = NX_OK;
    for (size_t i = 0; i < known->version_count; i++) {
        const nx_model_version *version = &known->versions[i];
        nx_error why = {0};
        if (version->removed || strcmp(version->name, name) != 0) {
            continue;
        }
        keep_first(nx_shared_bring(self, version, version_of(stored, version->version), &why), &why,
                   &first, err);
    }
    return first;
}

/* Bringing files may have taken long: who else uses this disk may be ahead. */
static nx_status activate_on_disk(nx_shared_models *self, const nx_model_name *row, nx_error *err)
{
    bool outdated = false;
    nx_status status = look_whether_outdated(self, row->name, row->active_changed, &outdated, err);
    return status != NX_OK || outdated
               ? status
               : nx_model_store_activate(self->store, row->name, (uint32_t)row->active, err);
}

/* Loads it where requests would notice, else it is enough that the disk says so. */
static nx_status activate(nx_shared_models *self, const nx_model_name *row,
                          const nx_stored_model *stored, nx_error *err)
{
    uint32_t version = (uint32_t)row->active;
    if (version_of(stored, row->active) == NULL) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "its active version %u is not on this host",
                            version);
    }
    bool in_memory = self->registry != NULL && !nx_registry_is_fixed(self->registry, row->name) &&
                     (nx_registry_serving(self->registry, row->name) != 0 ||
                      strcmp(nx_registry_default(self->registry), row->name) == 0);
    if (in_memory) {
        return load(self, row, err);
    }
    return stored->active == version ? NX_OK : activate_on_disk(self, row, err);
}

static nx_status remove_one(nx_shared_models *self, const char *name, uint32_t version,
                            nx_error *err)
{
    nx_status status = self->registry != NULL && !nx_registry_is_fixed(self->registry, name)
                           ? run(self, NX_REGISTRY_REMOVE, name, version, err)
                           : nx_model_store_remove(self->store, name, version, err);
    if (status == NX_ERR_CONFLICT) { /* others have another default */
        nx_log_warn("models", "%s:%u was removed by another server and stays here: %s", name,
                    version, err->message);
        return NX_OK;
    }
    if (status == NX_OK) {
        nx_log_info("models", "%s:%u is removed, as it was by another server", name, version);
    }
    return status == NX_ERR_NOT_FOUND ? NX_OK : status; /* a process of this disk was faster */
}

/* What came from the database and is no more there. */
static nx_status remove_gone(nx_shared_models *self, const nx_models_known *known, const char *name,
                             const nx_stored_model *stored, nx_error *err)
{
    nx_status first = NX_OK;
    for (size_t i = 0; i < known->version_count; i++) {
        const nx_model_version *version = &known->versions[i];
        const nx_stored_version *there = version->removed && strcmp(version->name, name) == 0
                                             ? version_of(stored, version->version)
                                             : NULL;
        nx_error why = {0};
        if (there != NULL && nx_shared_is_marked(self, name, there)) {
            keep_first(remove_one(self, name, there->version, &why), &why, &first, err);
        }
    }
    return first;
}

static nx_status follow_name(nx_shared_models *self, const nx_models_known *known,
                             const nx_model_name *row, nx_followed *state, nx_error *err)
{
    nx_stored_model stored = {0};
    nx_error why = {0};
    nx_status first = NX_OK;
    nx_status status = find_stored(self, row->name, &stored, err);
    if (status != NX_OK) {
        return status;
    }
    keep_first(bring_files(self, known, row->name, &stored, &why), &why, &first, err);
    nx_stored_model_free(&stored);
    status = find_stored(self, row->name, &stored, err);
    if (status != NX_OK) {
        return status;
    }
    if (row->active != 0 && row->active_changed > state->active_done) {
        status = activate(self, row, &stored, &why);
        keep_first(status, &why, &first, err);
        state->active_done = status == NX_OK ? row->active_changed : state->active_done;
    }
    if (status == NX_OK) { /* else what is to go may be what serves */
        keep_first(remove_gone(self, known, row->name, &stored, &why), &why, &first, err);
    }
    nx_stored_model_free(&stored);
    return first;
}

/* --- all ----------------------------------------------------------------------------------------
 */

/* NULL: no memory. */
static nx_followed *state_of(nx_shared_models *self, const char *name)
{
    nx_followed *state = self->names;
    while (state != NULL && strcmp(state->name, name) != 0) {
        state = state->next;
    }
    if (state == NULL) {
        state = calloc(1, sizeof *state);
    }
    if (state != NULL && state->name[0] == '\0') {
        snprintf(state->name, sizeof state->name, "%.64s", name);
        state->done = state->active_done = self->start;
        state->next = self->names;
        self->names = state;
    }
    return state;
}

static void note(nx_shared_models *self, nx_followed *state, nx_status status, const nx_error *why)
{
    if (status == NX_OK) {
        state->failures = 0;
        state->retry_ns = 0;
        state->problem[0] = '\0';
        return;
    }
    uint32_t doublings = state->failures < MOST_DOUBLINGS ? state->failures : MOST_DOUBLINGS;
    bool said = strcmp(state->problem, why->message) == 0;
    state->failures++;
    state->retry_ns = nx_clock_now_ns() + (FIRST_PAUSE_NS << doublings);
    snprintf(state->problem, sizeof state->problem, "%.255s", why->message);
    if (!said) {
        nx_log_warn("models", "%s can't be followed, and is tried again: %s", state->name,
                    why->message);
    }
    pthread_mutex_lock(&self->lock);
    self->stats.failures++;
    pthread_mutex_unlock(&self->lock);
}

static void follow_names(nx_shared_models *self, const nx_models_known *known)
{
    int64_t now = nx_clock_now_ns();
    for (size_t i = 0; i < known->name_count; i++) {
        const nx_model_name *row = &known->names[i];
        nx_followed *state =
            nx_model_name_check(row->name, NULL) == NX_OK ? state_of(self, row->name) : NULL;
        nx_error why = {0};
        /* what failed waits for its time, unless something new is said */
        if (state == NULL ||
            (state->looked && row->changed <= state->done && state->failures == 0) ||
            (row->changed <= state->done && now < state->retry_ns)) {
            continue;
        }
        nx_status status = follow_name(self, known, row, state, &why);
        state->looked = true;
        state->done = row->changed;
        note(self, state, status, &why);
    }
}

/* A version that is the default here, or not in memory, is no failure. */
static void follow_unloads(nx_shared_models *self, const nx_models_known *known)
{
    for (size_t i = 0; i < known->unload_count && self->registry != NULL; i++) {
        const nx_model_unload *unload = &known->unloads[i];
        nx_error why = {0};
        if (nx_model_name_check(unload->name, NULL) == NX_OK) {
            (void)run(self, NX_REGISTRY_UNLOAD, unload->name, (uint32_t)unload->version, &why);
        }
        self->unloads = unload->generation;
    }
}

/* What others may look at. */
static void show(nx_shared_models *self, const nx_models_known *known)
{
    nx_shared_entry *entries =
        calloc(known->version_count > 0 ? known->version_count : 1, sizeof *entries);
    uint32_t behind = 0;
    size_t count = 0;
    for (const nx_followed *state = self->names; state != NULL; state = state->next) {
        behind += state->failures > 0;
    }
    for (size_t i = 0; i < known->version_count && entries != NULL; i++) {
        const nx_model_version *version = &known->versions[i];
        if (version->removed) {
            continue;
        }
        nx_shared_entry *entry = &entries[count++];
        const nx_followed *state = self->names;
        while (state != NULL && strcmp(state->name, version->name) != 0) {
            state = state->next;
        }
        snprintf(entry->name, sizeof entry->name, "%.64s", version->name);
        entry->version = (uint32_t)version->version;
        entry->kind = strcmp(version->kind, "sam") == 0 ? NX_STORED_SAM : NX_STORED_DETECTOR;
        entry->added_s = version->added_at / 1000;
        snprintf(entry->added_by, sizeof entry->added_by, "%s", version->added_by);
        for (size_t f = 0; f < version->file_count; f++) {
            entry->bytes += version->files[f].size;
        }
        snprintf(entry->problem, sizeof entry->problem, "%s", state != NULL ? state->problem : "");
    }
    pthread_mutex_lock(&self->lock);
    if (entries != NULL) {
        free(self->entries);
        self->entries = entries;
        self->entry_count = count;
    }
    self->stats.behind = behind;
    self->stats.generation = known->generation;
    pthread_mutex_unlock(&self->lock);
}

static bool is_pending(const nx_shared_models *self)
{
    bool pending = false;
    for (const nx_followed *state = self->names; state != NULL; state = state->next) {
        pending |= state->failures > 0;
    }
    return pending;
}

static bool is_due(const nx_shared_models *self)
{
    bool due = false;
    int64_t now = nx_clock_now_ns();
    for (const nx_followed *state = self->names; state != NULL; state = state->next) {
        due |= state->failures > 0 && now >= state->retry_ns;
    }
    return due;
}

nx_status nx_shared_look(nx_shared_models *self, nx_error *err)
{
    char service[NX_MODEL_SERVICE_SIZE]; /* stays what it was when we began */
    int64_t generation = 0;
    nx_models_known known = {0};
    nx_status status = nx_store_models_generation(self->database, service, &generation, err);
    if (status != NX_OK || (generation == self->stats.generation && !is_due(self))) {
        return status;
    }
    if (generation != self->stats.generation) {
        status = nx_shared_load_access(self, err);
    }
    nx_arena arena = nx_arena_make(0);
    if (status == NX_OK) {
        status = nx_store_models_load(self->database, self->unloads, &arena, &known, err);
    }
    if (status == NX_OK) {
        follow_names(self, &known);
        follow_unloads(self, &known);
        show(self, &known);
        if (known.generation != self->written && !is_pending(self)) {
            write_progress(self, known.generation);
        }
    }
    nx_arena_free(&arena);
    return status;
}

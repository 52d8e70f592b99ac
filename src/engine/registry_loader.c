#include "engine/registry_internal.h"

#include "base/clock.h"
#include "base/log.h"

#include <stdlib.h>
#include <string.h>

/* --- loading ------------------------------------------------------------------------------------
 */

static bool holds(const nx_slot *slot, nx_stored_kind kind)
{
    return slot->handle != NULL && (slot->handle->sam != NULL) == (kind == NX_STORED_SAM);
}

/* The lock is held. The least recently used of this kind that may go, or NULL. */
static nx_slot *find_victim(nx_registry *registry, nx_stored_kind kind)
{
    nx_slot *victim = NULL;
    for (nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
        bool may_go = holds(slot, kind) && !nx_slot_is_default(registry, slot);
        bool idle = may_go && slot->handle->refs == 1;
        bool victim_idle = victim != NULL && victim->handle->refs == 1;
        if (may_go && (victim == NULL || (idle && !victim_idle) ||
                       (idle == victim_idle && slot->used_ns < victim->used_ns))) {
            victim = slot;
        }
    }
    return victim;
}

/* The lock is held. May one more model of this kind be in memory once others have made room? */
static bool has_room(nx_registry *registry, nx_stored_kind kind)
{
    uint32_t staying = 0;
    for (const nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
        staying += holds(slot, kind) && nx_slot_is_default(registry, slot);
    }
    return staying < registry->max_loaded;
}

/* The lock is held. Lets others of this kind go until there may be one more. */
static void make_room(nx_registry *registry, nx_stored_kind kind)
{
    for (;;) {
        uint32_t loaded = 0;
        for (const nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
            loaded += holds(slot, kind);
        }
        nx_slot *victim = loaded < registry->max_loaded ? NULL : find_victim(registry, kind);
        if (victim == NULL) {
            return;
        }
        nx_family *family = nx_family_find(registry, victim->name);
        if (family != NULL && family->serving == victim->version) {
            family->serving = 0;
        }
        nx_slot_drop(victim);
    }
}

/* What can be said before anything is loaded: it is there already (*out), it failed before, there
 * is no room. */
static nx_status begin_load(nx_registry *registry, const nx_registry_source *from, bool again,
                            bool swaps, nx_registry_handle **out, nx_error *err)
{
    *out = NULL;
    nx_status status = NX_OK;
    pthread_mutex_lock(&registry->lock);
    nx_slot *slot = nx_slot_get(registry, from->name, from->version);
    if (slot == NULL || nx_family_get(registry, from->name) == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the model");
    } else if (slot->handle != NULL && nx_file_stamp_same(slot->handle->stamp, from->stamp)) {
        *out = nx_registry_take(registry, from->name, from->version, from->kind);
    } else if (slot->state == NX_MODEL_FAILED && !again &&
               nx_file_stamp_same(slot->failed, from->stamp)) {
        *err = slot->failure;
        status = slot->failure.status;
    } else if (!swaps && slot->handle == NULL && !has_room(registry, from->kind)) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE,
                              "MAX_LOADED_MODELS=%u leaves no room beside the default model %s",
                              registry->max_loaded, registry->default_name);
    } else {
        slot->state = NX_MODEL_LOADING;
    }
    pthread_mutex_unlock(&registry->lock);
    return status;
}

/* Else the machine lacked something that it may have the next time. */
static bool is_of_file(nx_status status)
{
    return status == NX_ERR_CORRUPT || status == NX_ERR_INVALID || status == NX_ERR_UNSUPPORTED ||
           status == NX_ERR_TOO_LARGE;
}

static void note_failure(nx_registry *registry, const nx_registry_source *from, const nx_error *err)
{
    pthread_mutex_lock(&registry->lock);
    nx_slot *slot = nx_slot_find(registry, from->name, from->version);
    slot->state = slot->handle != NULL      ? NX_MODEL_READY
                  : is_of_file(err->status) ? NX_MODEL_FAILED
                                            : NX_MODEL_UNLOADED;
    slot->failed = from->stamp;
    slot->failure = *err;
    pthread_mutex_unlock(&registry->lock);
}

/*
 * Opens a version unless it is in memory; *out is the caller's reference. Nothing of it shows, and
 * nothing else changes, before it settles. prove: somebody wants this very version to serve, so it
 * is tried also when it failed before, and tried to the end. swaps: it is to take the place of
 * another, so that there is room for it.
 */
static nx_status prepare(nx_registry *registry, nx_registry_source *from, bool prove, bool swaps,
                         nx_registry_handle **out, nx_error *err)
{
    nx_status status = begin_load(registry, from, prove, swaps, out, err);
    if (status != NX_OK || *out != NULL) {
        return status;
    }
    nx_registry_free_trash(registry); /* what goes is to be gone before more is taken */
    status = nx_registry_open(registry, from, prove, out, err);
    if (status != NX_OK) {
        nx_log_warn("engine", "model %s could not be loaded: %s", from->label, err->message);
        note_failure(registry, from, err);
    }
    return status;
}

/* The atomic swap: what was prepared is in memory from here on, others make room for it, and when
 * it serves requests get it. */
static void settle(nx_registry *registry, const nx_registry_source *from,
                   nx_registry_handle *handle, bool swaps, bool serves)
{
    pthread_mutex_lock(&registry->lock);
    nx_slot *slot = nx_slot_find(registry, from->name, from->version);
    nx_registry_handle *old = slot->handle;
    if (old != handle) {
        if (old == NULL && !swaps) {
            make_room(registry, from->kind);
        }
        handle->refs++;
        slot->handle = handle;
        slot->state = NX_MODEL_READY;
        slot->used_ns = nx_clock_now_ns();
        if (old != NULL) {
            nx_handle_unref(old); /* of a file that has changed since */
        }
    }
    if (serves) {
        (void)nx_family_serve(registry, from->name, from->version); /* begin_load had memory */
    }
    pthread_mutex_unlock(&registry->lock);
}

/* What was prepared is not wanted after all. NULL is fine. */
static void abandon(nx_registry *registry, nx_registry_handle *handle)
{
    if (handle == NULL) {
        return;
    }
    pthread_mutex_lock(&registry->lock);
    nx_slot *slot = nx_slot_find(registry, handle->name, handle->version);
    if (slot != NULL && slot->state == NX_MODEL_LOADING) {
        slot->state = slot->handle != NULL ? NX_MODEL_READY : NX_MODEL_UNLOADED;
    }
    nx_handle_unref(handle);
    pthread_mutex_unlock(&registry->lock);
}

/* --- serving ------------------------------------------------------------------------------------
 */

/* Prepares a version that is to serve. */
static nx_status prepare_to_serve(nx_registry *registry, nx_registry_source *from,
                                  nx_registry_handle **out, nx_error *err)
{
    *out = NULL;
    if (from->kind == NX_STORED_SAM && strcmp(from->name, registry->default_name) == 0) {
        return nx_registry_wrong_kind(from->label, from->kind, err);
    }
    return prepare(registry, from, true, nx_registry_serving(registry, from->name) != 0, out, err);
}

static void settle_to_serve(nx_registry *registry, const nx_registry_source *from,
                            nx_registry_handle *handle)
{
    settle(registry, from, handle, nx_registry_serving(registry, from->name) != 0, true);
    nx_registry_release(handle);
}

static nx_status confirm(nx_registry_task *task, nx_error *err)
{
    return task->confirm != NULL ? task->confirm(task, err) : NX_OK;
}

/* Loads a version and lets it serve. keep: after a restart too. */
static nx_status serve(nx_registry *registry, nx_registry_task *task, nx_registry_source *from,
                       bool keep, nx_error *err)
{
    nx_registry_handle *handle = NULL;
    nx_status status = prepare_to_serve(registry, from, &handle, err);
    task->version = from->version;
    if (status == NX_OK) {
        status = confirm(task, err);
    }
    if (status == NX_OK && keep && !from->active) {
        status = nx_model_store_activate(registry->store, from->name, from->version, err);
    }
    if (status == NX_OK && handle != NULL) {
        settle_to_serve(registry, from, handle);
    } else {
        abandon(registry, handle);
    }
    return status;
}

/* --- the tasks ----------------------------------------------------------------------------------
 */

static nx_status refuse_fixed(const nx_registry *registry, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CONFLICT,
                        "model %s is served from a path, and can't be changed here",
                        registry->default_name);
}

/* Is this the version that requests get from now on? One that segments follows the store; a
 * detector stays until somebody says so. */
static bool takes_over(nx_registry *registry, const nx_registry_source *from, uint32_t now)
{
    bool sam = from->kind == NX_STORED_SAM;
    return from->active && (now == 0 || (sam && now != from->version)) &&
           !(sam && strcmp(from->name, registry->default_name) == 0);
}

static nx_status run_acquire(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    nx_registry_source from;
    bool swaps = false;
    uint32_t now = nx_registry_serving(registry, task->name);
    nx_status status = nx_registry_find(registry, task->name, task->version, &from, err);
    if (status == NX_OK && from.kind != task->kind) {
        status = nx_registry_wrong_kind(from.label, from.kind, err);
    }
    if (status == NX_OK) {
        swaps = takes_over(registry, &from, now);
        status = prepare(registry, &from, false, swaps && now != 0, &task->handle, err);
    }
    if (status == NX_OK) {
        settle(registry, &from, task->handle, swaps && now != 0, swaps);
    }
    task->version = from.version;
    nx_registry_source_end(&from);
    return status;
}

static nx_status run_load(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    nx_registry_source from;
    nx_status status = nx_registry_find(registry, task->name, task->version, &from, err);
    if (status == NX_OK) {
        status = serve(registry, task, &from, task->version != 0, err);
    }
    nx_registry_source_end(&from);
    return status;
}

static nx_status run_rollback(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    if (nx_registry_is_fixed(registry, task->name)) {
        return refuse_fixed(registry, err);
    }
    if (task->version == 0) {
        nx_stored_model model = {0};
        nx_status status = nx_model_store_find(registry->store, task->name, &model, err);
        if (status != NX_OK) {
            return status;
        }
        uint32_t now = nx_registry_serving(registry, task->name);
        bool follows = nx_stored_model_version(&model, 0)->kind == NX_STORED_SAM;
        now = now != 0 && !follows ? now : model.active;
        for (size_t i = 0; i < model.count && model.versions[i].version < now; i++) {
            task->version = model.versions[i].version;
        }
        nx_stored_model_free(&model);
        if (task->version == 0) {
            return nx_error_set(err, NX_ERR_CONFLICT,
                                "model %s has no version below %u to go back to", task->name, now);
        }
    }
    return run_load(registry, task, err);
}

static bool fits(const nx_slot *slot, const nx_registry_task *task)
{
    return strcmp(slot->name, task->name) == 0 &&
           (task->version == 0 || slot->version == task->version);
}

/* The lock is held. */
static void drop_slots(nx_registry *registry, const nx_registry_task *task, bool forget)
{
    nx_family *family = nx_family_find(registry, task->name);
    for (nx_slot **at = &registry->slots; *at != NULL;) {
        nx_slot *slot = *at;
        if (!fits(slot, task)) {
            at = &slot->next;
            continue;
        }
        if (family != NULL && family->serving == slot->version) {
            family->serving = 0;
        }
        nx_slot_drop(slot);
        if (forget) {
            *at = slot->next;
            free(slot);
        } else {
            at = &slot->next;
        }
    }
}

static nx_status run_unload(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    nx_registry_source from;
    nx_status status = nx_registry_find(registry, task->name, task->version, &from, err);
    nx_registry_source_end(&from);
    pthread_mutex_lock(&registry->lock);
    bool known = false;
    bool is_default = false;
    for (const nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
        known |= fits(slot, task);
        is_default |= fits(slot, task) && nx_slot_is_default(registry, slot);
    }
    if (status == NX_ERR_NOT_FOUND && known) {
        status = NX_OK; /* removed from the disk by somebody else, and in memory still */
    }
    if (status == NX_OK && is_default) {
        status = nx_error_set(err, NX_ERR_CONFLICT,
                              "%s is the default model, which stays in memory", task->name);
    }
    pthread_mutex_unlock(&registry->lock);
    if (status == NX_OK) {
        status = confirm(task, err);
    }
    if (status == NX_OK) {
        pthread_mutex_lock(&registry->lock);
        drop_slots(registry, task, false);
        pthread_mutex_unlock(&registry->lock);
    }
    return status;
}

#define NUMBER_TRIES 20

/* The number that a folder would have as the next version. */
static nx_status next_version(const nx_registry *registry, const char *name, uint32_t *out,
                              uint32_t *active, nx_error *err)
{
    nx_stored_model model = {0};
    nx_error none = {0};
    nx_status status = nx_model_store_find(registry->store, name, &model, &none);
    if (status != NX_OK && status != NX_ERR_NOT_FOUND) {
        *err = none;
        return status;
    }
    *out = model.count > 0 ? model.versions[model.count - 1].version + 1 : 1;
    *active = model.active;
    nx_stored_model_free(&model);
    return NX_OK;
}

/* Puts the folder where it belongs; what was active stays so. */
static nx_status install(nx_registry *registry, nx_registry_task *task, uint32_t *before,
                         nx_error *err)
{
    nx_status status = NX_ERR_CONFLICT;
    for (int i = 0; i < NUMBER_TRIES && status == NX_ERR_CONFLICT; i++) {
        uint32_t version = 0;
        status = next_version(registry, task->name, &task->version, before, err);
        if (status == NX_OK && task->number != NULL) {
            status = task->number(task, err);
            version = task->version;
            if (status != NX_OK) {
                return status;
            }
        }
        if (status == NX_OK) {
            status =
                nx_model_store_install(registry->store, task->folder, task->name, &version, err);
            task->version = version;
        }
    }
    return status;
}

/* What was installed is not to serve after all. */
static void withdraw(nx_registry *registry, const char *name, uint32_t version, uint32_t before)
{
    nx_error err = {0};
    nx_status status = nx_model_store_remove(registry->store, name, version, &err);
    if (status == NX_OK && before != 0) {
        /* of the highest there is no pin, as there was none */
        status = nx_model_store_activate(registry->store, name, before, &err);
    }
    if (status != NX_OK) {
        nx_log_warn("engine", "%s", err.message);
    }
}

static nx_status run_add(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    if (nx_registry_is_fixed(registry, task->name)) {
        return refuse_fixed(registry, err);
    }
    nx_registry_handle *tried = NULL;
    nx_status status = nx_model_name_check(task->name, err);
    if (status == NX_OK) {
        status = nx_registry_try(registry, task->name, task->folder, &tried, err);
    }
    uint32_t before = 0;
    if (status == NX_OK) {
        status = install(registry, task, &before, err);
    }
    if (status != NX_OK) {
        nx_handle_free(tried);
        return status;
    }
    const uint32_t version = task->version;
    nx_registry_source from;
    status = nx_registry_find(registry, task->name, version, &from, err);
    from.tried = tried;
    if (status == NX_OK) {
        status = serve(registry, task, &from, true, err); /* only now a pin goes */
    }
    nx_handle_free(from.tried); /* unless it serves */
    if (status != NX_OK) {
        withdraw(registry, task->name, version, before);
    }
    nx_registry_source_end(&from);
    return status;
}

/* Which version is active when `version` goes; 0: none. */
static uint32_t find_successor(const nx_stored_model *model, uint32_t version)
{
    if (model->active != version) {
        return model->active;
    }
    uint32_t successor = 0;
    for (size_t i = 0; i < model->count; i++) {
        if (model->versions[i].version != version) {
            successor = model->versions[i].version;
        }
    }
    return successor;
}

/* Prepares the version of the default model that is to take over when this one goes; *handle stays
 * NULL when none has to. nx_registry_source_end(from) also after a failure. */
static nx_status prepare_heir(nx_registry *registry, const nx_registry_task *task,
                              const nx_stored_model *model, nx_registry_source *from,
                              nx_registry_handle **handle, nx_error *err)
{
    uint32_t successor = find_successor(model, task->version);
    if (task->version == 0 || successor == 0 || registry->default_version == task->version) {
        return nx_error_set(err, NX_ERR_CONFLICT, "%s is the default model, which must stay%s",
                            task->name,
                            task->version != 0 ? ", and no other version of it can take over" : "");
    }
    if (nx_registry_serving(registry, task->name) != task->version) {
        return NX_OK;
    }
    nx_status status = nx_registry_find(registry, task->name, successor, from, err);
    return status == NX_OK ? prepare_to_serve(registry, from, handle, err) : status;
}

/* First from the disk, which may fail, and then from memory. */
static nx_status run_remove(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    if (nx_registry_is_fixed(registry, task->name)) {
        return refuse_fixed(registry, err);
    }
    nx_stored_model model = {0};
    nx_registry_source heir = {0};
    nx_registry_handle *handle = NULL;
    nx_status status = nx_model_store_find(registry->store, task->name, &model, err);
    if (status == NX_OK && task->version != 0 &&
        nx_stored_model_version(&model, task->version) == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", task->name,
                              task->version);
    }
    if (status == NX_OK) {
        task->successor = task->version != 0 ? find_successor(&model, task->version) : 0;
    }
    if (status == NX_OK && strcmp(task->name, registry->default_name) == 0) {
        status = prepare_heir(registry, task, &model, &heir, &handle, err);
    }
    nx_stored_model_free(&model);
    if (status == NX_OK) {
        status = confirm(task, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_remove(registry->store, task->name, task->version, err);
    }
    if (status != NX_OK) {
        abandon(registry, handle);
    } else if (handle != NULL) {
        settle_to_serve(registry, &heir, handle);
    }
    if (status == NX_OK) {
        pthread_mutex_lock(&registry->lock);
        drop_slots(registry, task, true);
        pthread_mutex_unlock(&registry->lock);
    }
    nx_registry_source_end(&heir);
    return status;
}

/* --- the loop -----------------------------------------------------------------------------------
 */

static void run_task(nx_registry *registry, nx_registry_task *task)
{
    static nx_status (*const runs[])(nx_registry *, nx_registry_task *, nx_error *) = {
        [NX_REGISTRY_ACQUIRE] = run_acquire,   [NX_REGISTRY_LOAD] = run_load,
        [NX_REGISTRY_ROLLBACK] = run_rollback, [NX_REGISTRY_UNLOAD] = run_unload,
        [NX_REGISTRY_ADD] = run_add,           [NX_REGISTRY_REMOVE] = run_remove,
    };
    nx_error err = {0};
    nx_status status = runs[task->op](registry, task, &err);
    nx_registry_free_trash(registry); /* before the answer: who reads it may look at the memory */
    task->done(task, status, &err);
}

void *nx_registry_load_loop(void *user)
{
    nx_registry *registry = user;
    bool ending = false;
    for (;;) {
        nx_registry_task *task = nx_registry_take_task(registry, &ending);
        if (task == NULL && ending) {
            return NULL;
        }
        if (task == NULL) {
            nx_registry_free_trash(registry);
        } else if (ending) {
            nx_error err;
            nx_error_set(&err, NX_ERR_CANCELLED, "the server is shutting down");
            task->done(task, NX_ERR_CANCELLED, &err);
        } else if (!nx_registry_end_if_late(task)) {
            run_task(registry, task);
            nx_registry_serve_waiting(registry);
        }
    }
}

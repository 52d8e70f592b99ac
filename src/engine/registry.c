#include "engine/registry_internal.h"

#include "base/clock.h"
#include "base/condition.h"
#include "engine/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *nx_registry_state_name(nx_registry_state state)
{
    static const char *const names[] = {"unloaded", "loading", "ready", "failed"};
    return (unsigned)state < sizeof names / sizeof names[0] ? names[state] : "unknown";
}

/* --- the tables; the lock is held ---------------------------------------------------------------
 */

nx_slot *nx_slot_find(nx_registry *registry, const char *name, uint32_t version)
{
    for (nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
        if (slot->version == version && strcmp(slot->name, name) == 0) {
            return slot;
        }
    }
    return NULL;
}

nx_slot *nx_slot_get(nx_registry *registry, const char *name, uint32_t version)
{
    nx_slot *slot = nx_slot_find(registry, name, version);
    if (slot == NULL) {
        slot = calloc(1, sizeof *slot);
        if (slot != NULL) {
            snprintf(slot->name, sizeof slot->name, "%s", name);
            slot->version = version;
            slot->next = registry->slots;
            registry->slots = slot;
        }
    }
    return slot;
}

nx_family *nx_family_find(nx_registry *registry, const char *name)
{
    for (nx_family *family = registry->families; family != NULL; family = family->next) {
        if (strcmp(family->name, name) == 0) {
            return family;
        }
    }
    return NULL;
}

nx_family *nx_family_get(nx_registry *registry, const char *name)
{
    nx_family *family = nx_family_find(registry, name);
    if (family == NULL) {
        family = calloc(1, sizeof *family);
        if (family != NULL) {
            snprintf(family->name, sizeof family->name, "%s", name);
            family->next = registry->families;
            registry->families = family;
        }
    }
    return family;
}

void nx_handle_unref(nx_registry_handle *handle)
{
    nx_registry *registry = handle->registry;
    if (--handle->refs > 0) {
        return;
    }
    nx_slot *slot = nx_slot_find(registry, handle->name, handle->version);
    if (slot != NULL) {
        slot->inferences += atomic_load(&handle->inferences);
    }
    handle->next = registry->trash;
    registry->trash = handle;
    pthread_cond_signal(&registry->wake);
}

void nx_slot_drop(nx_slot *slot)
{
    if (slot->handle != NULL) {
        nx_registry_handle *handle = slot->handle;
        slot->handle = NULL;
        nx_handle_unref(handle);
    }
    slot->state = NX_MODEL_UNLOADED;
}

bool nx_slot_is_default(nx_registry *registry, const nx_slot *slot)
{
    if (strcmp(slot->name, registry->default_name) != 0) {
        return false;
    }
    nx_family *family = nx_family_find(registry, slot->name);
    return registry->default_version != 0 ? slot->version == registry->default_version
                                          : family != NULL && slot->version == family->serving;
}

bool nx_family_serve(nx_registry *registry, const char *name, uint32_t version)
{
    nx_family *family = nx_family_get(registry, name);
    if (family != NULL && family->serving != version) {
        nx_slot *old = nx_slot_find(registry, name, family->serving);
        family->serving = version;
        if (old != NULL && !nx_slot_is_default(registry, old)) {
            nx_slot_drop(old);
        }
    }
    return family != NULL;
}

nx_registry_handle *nx_registry_take(nx_registry *registry, const char *name, uint32_t version,
                                     nx_stored_kind kind)
{
    const nx_family *family = nx_family_find(registry, name);
    uint32_t wanted = version != 0 ? version : family != NULL ? family->serving : 0;
    nx_slot *slot = wanted != 0 ? nx_slot_find(registry, name, wanted) : NULL;
    if (slot == NULL || slot->handle == NULL ||
        (slot->handle->sam != NULL) != (kind == NX_STORED_SAM)) {
        return NULL;
    }
    slot->used_ns = nx_clock_now_ns();
    slot->handle->refs++;
    return slot->handle;
}

uint32_t nx_registry_serving(nx_registry *registry, const char *name)
{
    pthread_mutex_lock(&registry->lock);
    const nx_family *family = nx_family_find(registry, name);
    uint32_t version = family != NULL ? family->serving : 0;
    pthread_mutex_unlock(&registry->lock);
    return version;
}

/* --- handles ------------------------------------------------------------------------------------
 */

bool nx_registry_is_fixed(const nx_registry *registry, const char *name)
{
    return registry->fixed_path != NULL && strcmp(name, registry->default_name) == 0;
}

/* Why it is not in memory. */
static nx_status explain_absence(nx_registry *registry, const char *name, uint32_t version,
                                 nx_error *err)
{
    bool fixed = nx_registry_is_fixed(registry, name);
    nx_stored_model stored = {0};
    nx_status status = fixed ? NX_OK : nx_model_store_find(registry->store, name, &stored, err);
    const nx_stored_version *found =
        status == NX_OK && !fixed ? nx_stored_model_version(&stored, version) : NULL;
    if (status == NX_OK && (fixed ? version > 1 : found == NULL)) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", name, version);
    } else if (found != NULL && found->kind == NX_STORED_SAM) {
        status = nx_registry_wrong_kind(name, found->kind, err);
    } else if (status == NX_OK) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "model %s is not in memory", name);
    }
    nx_stored_model_free(&stored);
    return status;
}

nx_status nx_registry_acquire(nx_registry *registry, const char *name, uint32_t version,
                              nx_registry_handle **out, nx_error *err)
{
    if (name == NULL || name[0] == '\0') {
        name = registry->default_name;
        version = version != 0 ? version : registry->default_version;
    }
    pthread_mutex_lock(&registry->lock);
    *out = nx_registry_take(registry, name, version, NX_STORED_DETECTOR);
    pthread_mutex_unlock(&registry->lock);
    return *out != NULL ? NX_OK : explain_absence(registry, name, version, err);
}

void nx_registry_release(nx_registry_handle *handle)
{
    if (handle != NULL) {
        nx_registry *registry = handle->registry;
        pthread_mutex_lock(&registry->lock);
        nx_handle_unref(handle);
        pthread_mutex_unlock(&registry->lock);
    }
}

nx_model *nx_registry_model(const nx_registry_handle *handle)
{
    return handle->model;
}

const char *nx_registry_name(const nx_registry_handle *handle)
{
    return handle->name;
}

uint32_t nx_registry_version(const nx_registry_handle *handle)
{
    return handle->version;
}

void nx_registry_count(nx_registry_handle *handle, uint64_t inferences)
{
    atomic_fetch_add(&handle->inferences, inferences);
}

/* --- looking ------------------------------------------------------------------------------------
 */

typedef struct listing {
    nx_registry_entry *items;
    size_t count;
    size_t capacity;
} listing;

static nx_registry_entry *find_entry(const listing *list, const char *name, uint32_t version)
{
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].version == version && strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

/* A new entry, or NULL when memory is short. */
static nx_registry_entry *add_entry(listing *list, const char *name, uint32_t version)
{
    if (list->count == list->capacity) {
        size_t capacity = list->capacity > 0 ? list->capacity * 2 : 16;
        nx_registry_entry *grown = realloc(list->items, capacity * sizeof *grown);
        if (grown == NULL) {
            return NULL;
        }
        list->items = grown;
        list->capacity = capacity;
    }
    nx_registry_entry *entry = &list->items[list->count++];
    *entry = (nx_registry_entry){.version = version};
    snprintf(entry->name, sizeof entry->name, "%s", name);
    return entry;
}

static bool add_stored(nx_registry *registry, const nx_stored_model *model, listing *list)
{
    for (size_t v = 0; v < model->count; v++) {
        const nx_stored_version *version = &model->versions[v];
        nx_registry_entry *entry = NULL;
        if (nx_registry_is_fixed(registry, model->name)) {
            return true; /* hidden behind the file of that name */
        }
        entry = add_entry(list, model->name, version->version);
        if (entry == NULL) {
            return false;
        }
        entry->kind = version->kind;
        entry->file_bytes = version->bytes;
        entry->added_s = version->added_s;
        entry->shared = version->shared;
        entry->serves = version->version == model->active;
    }
    return true;
}

/* What is in memory, over what is on disk; the lock is held. */
static bool add_slots(nx_registry *registry, listing *list)
{
    for (const nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
        nx_registry_entry *entry = find_entry(list, slot->name, slot->version);
        if (entry == NULL && slot->state == NX_MODEL_UNLOADED) {
            continue;
        }
        if (entry == NULL) {
            entry = add_entry(list, slot->name, slot->version);
            if (entry == NULL) {
                return false;
            }
        }
        if (slot->handle != NULL) {
            entry->kind = slot->handle->sam != NULL ? NX_STORED_SAM : NX_STORED_DETECTOR;
        }
        entry->state = slot->state;
        entry->inferences = slot->inferences;
        if (slot->state == NX_MODEL_FAILED) {
            snprintf(entry->reason, sizeof entry->reason, "%.255s", slot->failure.message);
        }
        if (slot->handle != NULL) {
            entry->inferences += atomic_load(&slot->handle->inferences);
            entry->memory_bytes = slot->handle->memory_bytes;
            entry->loaded_s = slot->handle->loaded_s;
            entry->users = slot->handle->refs - 1;
        }
    }
    return true;
}

/* Which of a name's versions serves, and which is the default; the lock is held. */
static void mark_entries(nx_registry *registry, listing *list)
{
    for (size_t i = 0; i < list->count; i++) {
        nx_registry_entry *entry = &list->items[i];
        const nx_family *family = nx_family_find(registry, entry->name);
        /* one that segments follows the store, whatever was used last */
        if (family != NULL && family->serving != 0 && entry->kind != NX_STORED_SAM) {
            entry->serves = entry->version == family->serving;
        }
        if (strcmp(entry->name, registry->default_name) == 0) {
            entry->is_default = registry->default_version != 0
                                    ? entry->version == registry->default_version
                                    : entry->serves;
        }
    }
}

static bool add_fixed(nx_registry *registry, listing *list)
{
    struct stat info;
    if (registry->fixed_path == NULL) {
        return true;
    }
    nx_registry_entry *entry = add_entry(list, registry->default_name, 1);
    if (entry == NULL) {
        return false;
    }
    entry->serves = true;
    if (stat(registry->fixed_path, &info) == 0) {
        entry->file_bytes = (uint64_t)info.st_size;
        entry->added_s = info.st_mtim.tv_sec;
    }
    return true;
}

static int by_name_and_version(const void *a, const void *b)
{
    const nx_registry_entry *first = a;
    const nx_registry_entry *second = b;
    int order = strcmp(first->name, second->name);
    return order != 0                         ? order
           : first->version < second->version ? -1
                                              : first->version > second->version;
}

nx_status nx_registry_list(nx_registry *registry, nx_registry_entry **out, size_t *count,
                           nx_error *err)
{
    nx_stored_model *models = NULL;
    size_t model_count = 0;
    listing list = {0};
    *out = NULL;
    *count = 0;
    nx_status status = nx_model_store_list(registry->store, &models, &model_count, err);
    if (status != NX_OK) {
        return status;
    }
    bool enough = add_fixed(registry, &list);
    for (size_t i = 0; i < model_count && enough; i++) {
        enough = add_stored(registry, &models[i], &list);
    }
    nx_stored_models_free(models, model_count);
    pthread_mutex_lock(&registry->lock);
    enough = enough && add_slots(registry, &list);
    mark_entries(registry, &list);
    pthread_mutex_unlock(&registry->lock);
    if (!enough) {
        free(list.items);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of models");
    }
    if (list.count > 0) {
        qsort(list.items, list.count, sizeof *list.items, by_name_and_version);
    }
    *out = list.items;
    *count = list.count;
    return NX_OK;
}

const char *nx_registry_default(const nx_registry *registry)
{
    return registry->default_name;
}

const char *nx_registry_default_sam(const nx_registry *registry)
{
    return registry->sam_name;
}

const char *nx_registry_device(const nx_registry *registry)
{
    return atomic_load(&registry->device);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static nx_status set_default(nx_registry *registry, const char *text, nx_error *err)
{
    size_t length = strlen(text);
    bool is_path =
        strchr(text, '/') != NULL || (length > 5 && strcmp(text + length - 5, ".onnx") == 0);
    if (!is_path) {
        return nx_model_reference_parse(text, registry->default_name, &registry->default_version,
                                        err);
    }
    const char *slash = strrchr(text, '/');
    const char *file = slash != NULL ? slash + 1 : text;
    size_t size = strlen(file);
    if (size > 5 && strcmp(file + size - 5, ".onnx") == 0) {
        size -= 5;
    }
    /* a file may be called as it likes: its name is only shown */
    snprintf(registry->default_name, sizeof registry->default_name, "%.*s", (int)size, file);
    registry->fixed_path = strdup(text);
    return registry->fixed_path != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
}

static void free_tables(nx_registry *registry)
{
    while (registry->slots != NULL) {
        nx_slot *slot = registry->slots;
        registry->slots = slot->next;
        nx_slot_drop(slot);
        free(slot);
    }
    while (registry->families != NULL) {
        nx_family *family = registry->families;
        registry->families = family->next;
        free(family);
    }
    while (registry->trash != NULL) {
        nx_registry_handle *handle = registry->trash;
        registry->trash = handle->next;
        nx_handle_free(handle);
    }
}

static void free_registry(nx_registry *registry)
{
    pthread_mutex_lock(&registry->lock);
    free_tables(registry);
    pthread_mutex_unlock(&registry->lock);
    pthread_cond_destroy(&registry->wake);
    pthread_cond_destroy(&registry->hurry);
    pthread_mutex_destroy(&registry->lock);
    free(registry->fixed_path);
    free(registry);
}

static void end_thread(nx_registry *registry, pthread_t thread)
{
    pthread_mutex_lock(&registry->lock);
    registry->ending = true;
    pthread_cond_signal(&registry->wake);
    pthread_cond_signal(&registry->hurry);
    pthread_mutex_unlock(&registry->lock);
    pthread_join(thread, NULL);
}

static nx_status start_threads(nx_registry *registry, nx_error *err)
{
    int failure = pthread_create(&registry->loader, NULL, nx_registry_load_loop, registry);
    if (failure == 0) {
        failure = pthread_create(&registry->clock, NULL, nx_registry_clock_loop, registry);
        if (failure != 0) {
            end_thread(registry, registry->loader);
        }
    }
    return failure == 0 ? NX_OK
                        : nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure,
                                             "cannot start the threads that load models");
}

nx_status nx_registry_new(const nx_registry_options *options, nx_registry **out, nx_error *err)
{
    *out = NULL;
    nx_registry *registry = calloc(1, sizeof *registry);
    if (registry == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the models");
    }
    registry->runtime = options->runtime;
    registry->store = options->store;
    registry->model = options->model;
    atomic_init(&registry->device, nx_session_likely_device(&options->model.device));
    registry->sam = options->sam;
    registry->max_loaded = options->max_loaded > 0 ? options->max_loaded : 1;
    registry->last = &registry->first;
    pthread_mutex_init(&registry->lock, NULL);
    pthread_cond_init(&registry->wake, NULL);
    nx_condition_init(&registry->hurry);
    nx_status status = set_default(registry, options->default_model, err);
    if (status == NX_OK && options->sam_model != NULL) {
        status = nx_model_reference_parse(options->sam_model, registry->sam_name,
                                          &registry->sam_version, err);
    }
    if (status == NX_OK) {
        status = start_threads(registry, err);
    }
    if (status != NX_OK) {
        free_registry(registry);
        return status;
    }
    *out = registry;
    return NX_OK;
}

void nx_registry_free(nx_registry *registry)
{
    if (registry == NULL) {
        return;
    }
    end_thread(registry, registry->clock);
    end_thread(registry, registry->loader);
    free_registry(registry);
}

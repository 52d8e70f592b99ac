/* Models that other servers share: what is changed here is told to the database first, and what
 * only others have so far is listed. */
#include "api/models.h"
#include "base/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- telling ------------------------------------------------------------------------------------
 * On the registry's thread: short transactions only.
 */

static nx_status number(nx_registry_task *task, nx_error *err)
{
    const nx_model_change *change = (const nx_model_change *)task;
    return nx_shared_models_number(change->api->deps.shared, task->name, &task->version, err);
}

static nx_status confirm(nx_registry_task *task, nx_error *err)
{
    const nx_model_change *change = (const nx_model_change *)task;
    nx_shared_models *shared = change->api->deps.shared;
    if (nx_registry_is_fixed(change->api->deps.registry, task->name)) {
        return NX_OK; /* a file of this server's own */
    }
    switch (task->op) {
    case NX_REGISTRY_ADD:
        return nx_shared_models_publish(shared, task->name, task->version, &change->upload,
                                        change->by, err);
    case NX_REGISTRY_LOAD:
    case NX_REGISTRY_ROLLBACK:
        return nx_shared_models_activate(shared, task->name, task->version, change->wanted,
                                         change->by, err);
    case NX_REGISTRY_UNLOAD:
        return nx_shared_models_unload(shared, task->name, task->version, err);
    case NX_REGISTRY_REMOVE:
        return nx_shared_models_remove(shared, task->name, task->version, task->successor, err);
    default:
        return NX_OK;
    }
}

void nx_api_models_share(nx_model_change *change)
{
    if (change->api->deps.shared != NULL) {
        change->task.number = number;
        change->task.confirm = confirm;
    }
}

/* --- what only others have ----------------------------------------------------------------------
 */

static bool is_known(const nx_shared_entry *entries, size_t count, const char *name,
                     uint32_t version)
{
    bool known = false;
    for (size_t i = 0; i < count; i++) {
        known |=
            strcmp(entries[i].name, name) == 0 && (version == 0 || version == entries[i].version);
    }
    return known;
}

nx_status nx_api_models_remove_elsewhere(const nx_model_change *change, nx_status status,
                                         nx_error *err)
{
    const nx_api *api = change->api;
    nx_shared_entry *entries = NULL;
    nx_stored_model stored = {0};
    nx_error ignored = {0};
    size_t count = 0;
    if (api->deps.shared == NULL ||
        nx_shared_models_list(api->deps.shared, &entries, &count, &ignored) != NX_OK) {
        return status;
    }
    if (is_known(entries, count, change->task.name, change->task.version)) {
        (void)nx_model_store_find(api->deps.store, change->task.name, &stored, &ignored);
        status = nx_shared_models_remove(api->deps.shared, change->task.name, change->task.version,
                                         stored.active, err);
    }
    nx_stored_model_free(&stored);
    free(entries);
    return status;
}

/* NULL: it is not among them. */
static nx_registry_entry *find_entry(nx_registry_entry *entries, size_t count,
                                     const nx_shared_entry *wanted)
{
    for (size_t i = 0; i < count; i++) {
        if (entries[i].version == wanted->version && strcmp(entries[i].name, wanted->name) == 0) {
            return &entries[i];
        }
    }
    return NULL;
}

static int by_name_and_version(const void *a, const void *b)
{
    const nx_registry_entry *first = a;
    const nx_registry_entry *second = b;
    int order = strcmp(first->name, second->name);
    return order != 0 ? order
                      : (first->version > second->version) - (first->version < second->version);
}

static void add_missing(const nx_shared_entry *missing, nx_registry_entry *out)
{
    *out = (nx_registry_entry){
        .version = missing->version,
        .kind = missing->kind,
        .state = missing->problem[0] != '\0' ? NX_MODEL_FAILED : NX_MODEL_UNLOADED,
        .shared = true,
        .file_bytes = (uint64_t)missing->bytes,
        .added_s = missing->added_s,
    };
    memcpy(out->name, missing->name, sizeof out->name);
    snprintf(out->reason, sizeof out->reason, "%s", missing->problem);
}

nx_status nx_api_models_entries(nx_api *api, nx_registry_entry **out, size_t *count, nx_error *err)
{
    nx_shared_entry *known = NULL;
    size_t known_count = 0;
    nx_status status = nx_registry_list(api->deps.registry, out, count, err);
    if (status == NX_OK && api->deps.shared != NULL) {
        status = nx_shared_models_list(api->deps.shared, &known, &known_count, err);
    }
    if (status == NX_OK && known_count > 0) {
        nx_registry_entry *grown = realloc(*out, (*count + known_count) * sizeof *grown);
        if (grown == NULL) {
            status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of models");
        } else {
            *out = grown;
        }
        const size_t listed = *count;
        for (size_t i = 0; i < known_count && grown != NULL; i++) {
            nx_registry_entry *entry = find_entry(grown, listed, &known[i]);
            if (entry == NULL) {
                entry = &grown[(*count)++];
                add_missing(&known[i], entry);
            }
            if (entry->shared) { /* else it is another one that has the number here */
                memcpy(entry->added_by, known[i].added_by, sizeof entry->added_by);
            }
        }
        if (*count > listed) {
            qsort(*out, *count, sizeof **out, by_name_and_version);
        }
    }
    free(known);
    if (status != NX_OK) {
        free(*out);
        *out = NULL;
        *count = 0;
    }
    return status;
}

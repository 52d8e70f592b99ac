/* The models of the registry that segment: they follow the store, so that a pair of networks that
 * another process installs or takes away is noticed by the next request. */
#include "engine/registry_internal.h"

#include <string.h>

nx_sam *nx_registry_sam(const nx_registry_handle *handle)
{
    return handle->sam;
}

nx_status nx_registry_wrong_kind(const char *label, nx_stored_kind kind, nx_error *err)
{
    return kind == NX_STORED_SAM
               ? nx_error_set(err, NX_ERR_UNSUPPORTED,
                              "%s segments by points and boxes; it does not detect", label)
               : nx_error_set(err, NX_ERR_UNSUPPORTED,
                              "%s is a detector; masks by points and boxes need a model with an "
                              "encoder and a decoder",
                              label);
}

/* Lets go of versions that the store has no more. The lock is held. */
static void forget_removed(nx_registry *registry, const char *name, const nx_stored_model *stored)
{
    for (nx_slot *slot = registry->slots; slot != NULL; slot = slot->next) {
        bool sam = slot->handle != NULL && slot->handle->sam != NULL;
        if (!sam || strcmp(slot->name, name) != 0 ||
            nx_stored_model_version(stored, slot->version) != NULL) {
            continue;
        }
        nx_family *family = nx_family_find(registry, name);
        if (family != NULL && family->serving == slot->version) {
            family->serving = 0;
        }
        nx_slot_drop(slot);
    }
}

/* What is in memory of the very files that lie there, or NULL. */
static nx_registry_handle *take_same(nx_registry *registry, const nx_stored_model *stored,
                                     const nx_stored_version *version)
{
    const nx_file_stamp now = {version->bytes, version->added_s, version->mark};
    nx_registry_handle *handle =
        nx_registry_take(registry, stored->name, version->version, NX_STORED_SAM);
    if (handle != NULL && !nx_file_stamp_same(handle->stamp, now)) {
        nx_handle_unref(handle);
        return NULL;
    }
    /* without memory it serves all the same, and what served before goes later */
    if (handle != NULL && version->version == stored->active) {
        (void)nx_family_serve(registry, stored->name, version->version);
    }
    return handle;
}

nx_status nx_registry_acquire_sam(nx_registry *registry, const char *name, uint32_t version,
                                  nx_registry_handle **out, nx_error *err)
{
    *out = NULL;
    nx_stored_model stored = {0};
    if (name == NULL || name[0] == '\0') {
        name = registry->sam_name;
        version = version != 0 ? version : registry->sam_version;
    }
    if (nx_registry_is_fixed(registry, name)) {
        return nx_registry_wrong_kind(name, NX_STORED_DETECTOR, err);
    }
    nx_status status = nx_model_store_find(registry->store, name, &stored, err);
    const nx_stored_version *found =
        status == NX_OK ? nx_stored_model_version(&stored, version) : NULL;
    if (status == NX_OK && found == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", name, version);
    } else if (status == NX_OK && found->kind != NX_STORED_SAM) {
        status = nx_registry_wrong_kind(name, found->kind, err);
    }
    if (status == NX_OK || status == NX_ERR_NOT_FOUND) {
        pthread_mutex_lock(&registry->lock);
        forget_removed(registry, name, &stored);
        *out = status == NX_OK ? take_same(registry, &stored, found) : NULL;
        pthread_mutex_unlock(&registry->lock);
    }
    if (status == NX_OK && *out == NULL) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "model %s is not in memory", name);
    }
    nx_stored_model_free(&stored);
    return status;
}

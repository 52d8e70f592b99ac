/* What a running process takes of a configuration that was loaded anew. */
#include "base/config_internal.h"

#include <stdlib.h>
#include <string.h>

/* Whoever adds a key here sees to it that what uses it hears of a new value: cli/reload.c. */
static const nx_config_key reloadable[] = {
    NX_CONFIG_PROFILE, /* its values, each if it can */
    NX_CONFIG_CONFIDENCE,
    NX_CONFIG_IOU,
    NX_CONFIG_MAX_DETECTIONS,
    NX_CONFIG_LIMIT_CONCURRENCY,
    NX_CONFIG_LIMIT_CONCURRENCY_PER_CLIENT,
    NX_CONFIG_RATE_LIMIT,
    NX_CONFIG_RATE_LIMIT_AUTH,
    NX_CONFIG_RATE_LIMIT_INFER,
    NX_CONFIG_RATE_LIMIT_WRITE,
    NX_CONFIG_RATE_LIMIT_READ,
    NX_CONFIG_REQUEST_TIMEOUT,
    NX_CONFIG_MAX_BODY_BYTES,
    NX_CONFIG_MAX_BATCH_BODY_BYTES,
    NX_CONFIG_MAX_INFLIGHT_BODY_BYTES,
    NX_CONFIG_MAX_IMAGE_PIXELS,
    NX_CONFIG_MAX_MODEL_BYTES,
    NX_CONFIG_MAX_VIDEO_BYTES,
    NX_CONFIG_VIDEO_FOLDERS,
    NX_CONFIG_CACHE_TTL_PREDICTIONS,
    NX_CONFIG_CACHE_TTL_VIDEOS,
    NX_CONFIG_CACHE_TTL_SESSIONS,
    NX_CONFIG_CACHE_TTL_RESPONSES,
    NX_CONFIG_WEBHOOK_SECRET,
    NX_CONFIG_WEBHOOK_ALLOW_PRIVATE,
    NX_CONFIG_LOG_LEVEL,
    NX_CONFIG_LOG_FORMAT,
};

bool nx_config_can_reload(nx_config_key key)
{
    for (size_t i = 0; i < sizeof reloadable / sizeof reloadable[0]; i++) {
        if (reloadable[i] == key) {
            return true;
        }
    }
    return false;
}

static nx_status keep_running(const nx_config_value *from, nx_config_value *to, nx_error *err)
{
    char *text = strdup(from->text);
    char *origin = strdup(from->origin);
    if (text == NULL || origin == NULL) {
        free(text);
        free(origin);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the configuration");
    }
    free(to->text);
    free(to->origin);
    free(to->file);
    *to = (nx_config_value){.text = text,
                            .origin = origin,
                            .in_file = from->in_file,
                            .number = from->number,
                            .rank = from->rank};
    return NX_OK;
}

nx_status nx_config_settle(const nx_config *running, nx_config *next,
                           void (*each)(const nx_config_change *change, void *user), void *user,
                           nx_error *err)
{
    nx_status status = NX_OK;
    for (size_t i = 0; i < NX_CONFIG_COUNT && status == NX_OK; i++) {
        nx_config_key key = (nx_config_key)i;
        char before[NX_CONFIG_SHOWN_SIZE];
        char after[NX_CONFIG_SHOWN_SIZE];
        if (strcmp(running->values[i].text, next->values[i].text) == 0) {
            continue;
        }
        const nx_config_change change = {
            .key = key,
            .taken = nx_config_can_reload(key),
            .from = nx_config_shown(running, key, before, sizeof before),
            .to = nx_config_shown(next, key, after, sizeof after),
            .origin = next->values[i].origin,
        };
        if (each != NULL) {
            each(&change, user);
        }
        if (!change.taken) {
            status = keep_running(&running->values[i], &next->values[i], err);
        }
    }
    return status;
}

/* What a setting is, for those who show it: its type, unit, range, and where its value is from. */
#include "base/config_internal.h"

#include <stdio.h>
#include <string.h>

/* Of numbers that are no plain counts; sizes are bytes unless they are here. */
static const struct {
    nx_config_key key;
    const char *unit;
} units[] = {
    {NX_CONFIG_INFERENCE_BATCH_DELAY, "microseconds"},
    {NX_CONFIG_KEEPALIVE, "seconds"},
    {NX_CONFIG_REQUEST_TIMEOUT, "seconds"},
    {NX_CONFIG_DRAIN_DELAY, "seconds"},
    {NX_CONFIG_MAX_IMAGE_PIXELS, "pixels"},
    {NX_CONFIG_UPLOAD_LIFETIME, "seconds"},
    {NX_CONFIG_DB_POOL_TIMEOUT, "seconds"},
    {NX_CONFIG_DB_POOL_RECYCLE, "seconds"},
    {NX_CONFIG_CACHE_TTL_PREDICTIONS, "seconds"},
    {NX_CONFIG_CACHE_TTL_VIDEOS, "seconds"},
    {NX_CONFIG_CACHE_TTL_SESSIONS, "seconds"},
    {NX_CONFIG_CACHE_TTL_RESPONSES, "seconds"},
    {NX_CONFIG_JOB_LEASE, "seconds"},
    {NX_CONFIG_JOB_LIFETIME, "seconds"},
    {NX_CONFIG_EVENT_LIFETIME, "seconds"},
    {NX_CONFIG_EVENT_CLIP_SECONDS, "seconds"},
};

static bool is_boolean(const key_info *info)
{
    return info->type == TYPE_CHOICE && strcmp(info->choices, BOOLEAN) == 0;
}

static bool is_number(const key_info *info)
{
    return info->type == TYPE_INT || info->type == TYPE_BYTES || info->type == TYPE_NUMBER;
}

nx_config_about nx_config_describe(nx_config_key key)
{
    static const char *const types[] = {
        [TYPE_STRING] = "text",   [TYPE_RATE] = "rate",  [TYPE_ADDRESSES] = "addresses",
        [TYPE_INT] = "integer",   [TYPE_BYTES] = "size", [TYPE_NUMBER] = "number",
        [TYPE_CHOICE] = "choice",
    };
    const key_info *info = &nx_config_keys[key];
    nx_config_about about = {
        .type = is_boolean(info) ? "boolean" : types[info->type],
        .unit = info->type == TYPE_BYTES ? "bytes" : NULL,
        .choices = is_boolean(info) ? "true|false" : info->choices,
        .bounded = is_number(info),
        .low = info->low,
        .high = info->high,
    };
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        about.unit = units[i].key == key ? units[i].unit : about.unit;
    }
    return about;
}

void nx_config_allowed(nx_config_key key, char *out, size_t size)
{
    const nx_config_about about = nx_config_describe(key);
    switch (nx_config_keys[key].type) {
    case TYPE_STRING:
    case TYPE_ADDRESSES:
        snprintf(out, size, "%s", "");
        break;
    case TYPE_RATE:
        snprintf(out, size, "%s", "N/s, N/min or N/h, burst M; off");
        break;
    case TYPE_CHOICE:
        snprintf(out, size, "%s", about.choices);
        break;
    case TYPE_INT:
    case TYPE_BYTES:
    case TYPE_NUMBER:
        snprintf(out, size, "%.15g to %.15g%s", about.low, about.high,
                 nx_config_keys[key].type == TYPE_BYTES ? " (k, m, g may follow)" : "");
        break;
    }
}

const char *nx_config_source(const nx_config *config, nx_config_key key)
{
    static const char *const names[] = {
        [NX_CONFIG_RANK_DEFAULT] = "default", [NX_CONFIG_RANK_PROFILE] = "profile",
        [NX_CONFIG_RANK_FILE] = "file",       [NX_CONFIG_RANK_ENVIRONMENT] = "environment",
        [NX_CONFIG_RANK_OPTION] = "option",
    };
    const nx_config_value *value = &config->values[key];
    return value->in_file ? "secret_file" : names[value->rank];
}

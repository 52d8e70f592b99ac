/* What the configuration says of requests, at the start and when it is read again while they come
 * in: plain numbers are atomics, each read by itself. */
#include "api/internal.h"
#include "api/jobs.h"
#include "api/kserve.h"
#include "api/models.h"
#include "api/rate.h"
#include "api/settings.h"
#include "api/uploads.h"
#include "api/videos.h"
#include "base/clock.h"

#include <stdlib.h>
#include <string.h>

static uint64_t bytes(const nx_config *config, nx_config_key key)
{
    return (uint64_t)nx_config_int(config, key);
}

/* The largest body of a route, by who handles it; 0: what the route's table says. */
static uint64_t largest_body(const nx_config *config, nx_http_handler handle)
{
    if (handle == nx_api_infer_image || handle == nx_api_infer_segment) {
        return bytes(config, NX_CONFIG_MAX_BODY_BYTES);
    }
    /* tensors are as large as batches */
    if (handle == nx_api_infer_batch || handle == nx_kserve_infer) {
        return bytes(config, NX_CONFIG_MAX_BATCH_BODY_BYTES);
    }
    if (handle == nx_api_models_add) {
        return bytes(config, NX_CONFIG_MAX_MODEL_BYTES);
    }
    if (handle == nx_api_videos_add || handle == nx_api_process || handle == nx_api_uploads_patch) {
        return bytes(config, NX_CONFIG_MAX_VIDEO_BYTES);
    }
    return 0;
}

nx_status nx_api_set_rules(nx_api *api, const nx_config *config, nx_error *err)
{
    nx_buffer settings = NX_BUFFER_INIT;
    char *folders = strdup(nx_config_string(config, NX_CONFIG_VIDEO_FOLDERS));
    nx_api_settings_render(config, &settings);
    if (folders == NULL || settings.failed) {
        free(folders);
        nx_buffer_free(&settings);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the API");
    }
    api->confidence = (float)nx_config_number(config, NX_CONFIG_CONFIDENCE);
    api->iou = (float)nx_config_number(config, NX_CONFIG_IOU);
    api->max_detections = (int32_t)nx_config_int(config, NX_CONFIG_MAX_DETECTIONS);
    api->timeout_ns = nx_config_int(config, NX_CONFIG_REQUEST_TIMEOUT) * NX_NS_PER_SEC;
    api->max_pixels = bytes(config, NX_CONFIG_MAX_IMAGE_PIXELS);
    api->max_video = bytes(config, NX_CONFIG_MAX_VIDEO_BYTES);
    api->webhook_allow_private = nx_config_bool(config, NX_CONFIG_WEBHOOK_ALLOW_PRIVATE);
    for (size_t i = 0; i < api->route_count; i++) {
        uint64_t most = largest_body(config, api->routes[i].handle);
        if (most > 0) {
            api->routes[i].max_body = most;
        }
    }
    pthread_mutex_lock(&api->lock);
    char *old = api->video_folders;
    nx_buffer old_settings = api->settings;
    api->video_folders = folders;
    api->settings = settings;
    pthread_mutex_unlock(&api->lock);
    free(old);
    nx_buffer_free(&old_settings);
    return NX_OK;
}

nx_status nx_api_reconfigure(nx_api *api, const nx_config *config, nx_error *err)
{
    const nx_http_limits limits = {
        .request_timeout_s = (uint32_t)nx_config_int(config, NX_CONFIG_REQUEST_TIMEOUT),
        .concurrency = (uint32_t)nx_config_int(config, NX_CONFIG_LIMIT_CONCURRENCY),
        .per_client = (uint32_t)nx_config_int(config, NX_CONFIG_LIMIT_CONCURRENCY_PER_CLIENT),
        .inflight_body = bytes(config, NX_CONFIG_MAX_INFLIGHT_BODY_BYTES),
    };
    const nx_cache_options cache = nx_cache_options_of(config);
    nx_status status = nx_api_set_rules(api, config, err);
    if (status == NX_OK) {
        nx_http_server_set_limits(api->server, &limits);
        nx_api_rate_set(api, config);
        if (api->deps.cache != NULL) {
            nx_cache_set_lifetimes(api->deps.cache, cache.ttl_ms);
        }
    }
    return status;
}

nx_postprocess_options nx_api_defaults(const nx_api *api)
{
    nx_postprocess_options defaults = nx_postprocess_defaults();
    defaults.confidence = api->confidence;
    defaults.iou = api->iou;
    defaults.max_detections = api->max_detections;
    return defaults;
}

char *nx_api_video_folders(nx_api *api)
{
    pthread_mutex_lock(&api->lock);
    char *folders = strdup(api->video_folders);
    pthread_mutex_unlock(&api->lock);
    return folders;
}

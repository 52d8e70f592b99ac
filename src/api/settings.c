/*
 * GET /api/v1/settings: what the server runs with, for admins. The answer is written when the
 * configuration is read, at the start and on SIGHUP: requests never look at a configuration that
 * the next reading frees.
 */
#include "api/settings.h"

#include "api/internal.h"
#include "api/storage.h"

#include <math.h>
#include <string.h>

static void write_choices(const char *choices, nx_json *json)
{
    if (choices == NULL) {
        nx_json_null(json);
        return;
    }
    nx_json_array_begin(json);
    for (const char *at = choices; *at != '\0';) {
        size_t size = strcspn(at, "|");
        nx_json_string_n(json, at, size);
        at += size + (at[size] == '|');
    }
    nx_json_array_end(json);
}

static void write_about(nx_config_key key, nx_json *json)
{
    const nx_config_about about = nx_config_describe(key);
    nx_json_key_string(json, "type", about.type);
    nx_json_key_string(json, "unit", about.unit);
    nx_json_key_number(json, "minimum", about.bounded ? about.low : NAN, 3);
    nx_json_key_number(json, "maximum", about.bounded ? about.high : NAN, 3);
    nx_json_key(json, "choices");
    write_choices(about.choices, json);
}

void nx_api_setting_json(const nx_config *config, nx_config_key key, nx_json *json)
{
    char space[NX_CONFIG_SHOWN_SIZE];
    nx_json_object_begin(json);
    nx_json_key_string(json, "name", nx_config_name(key));
    nx_json_key_string(json, "environment", nx_config_env_name(key));
    nx_json_key_string(json, "value", nx_config_shown(config, key, space, sizeof space));
    nx_json_key_bool(json, "is_set", nx_config_text(config, key)[0] != '\0');
    nx_json_key_string(json, "origin", nx_config_origin(config, key));
    nx_json_key_string(json, "source", nx_config_source(config, key));
    nx_json_key_string(json, "default", nx_config_default(key));
    nx_json_key_string(json, "description", nx_config_help(key));
    nx_json_key_bool(json, "reloadable", nx_config_can_reload(key));
    nx_json_key_bool(json, "secret", nx_config_secrecy_of(key) != NX_CONFIG_PUBLIC);
    write_about(key, json);
    nx_json_object_end(json);
}

void nx_api_settings_render(const nx_config *config, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key(&json, "items");
    nx_json_array_begin(&json);
    for (int key = 0; key < NX_CONFIG_COUNT; key++) {
        nx_api_setting_json(config, (nx_config_key)key, &json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
}

void nx_api_settings_list(nx_http_request *request, void *user)
{
    nx_api *api = user;
    nx_buffer out = NX_BUFFER_INIT;
    pthread_mutex_lock(&api->lock);
    nx_buffer_append(&out, api->settings.data, api->settings.size);
    pthread_mutex_unlock(&api->lock);
    nx_api_reply_json(request, 200, &out);
}

/* The settings of a server, for those who may see them; secrets are not among what is shown. */
#ifndef NX_API_SETTINGS_H
#define NX_API_SETTINGS_H

#include "base/config.h"
#include "base/json_writer.h"
#include "http/server.h"

/* One setting as an object: name, value as it may be shown, origin, what it may be. */
void nx_api_setting_json(const nx_config *config, nx_config_key key, nx_json *json);

/* All of them as the answer to GET /api/v1/settings; out->failed without memory. */
void nx_api_settings_render(const nx_config *config, nx_buffer *out);

/* handler; user is the nx_api */
void nx_api_settings_list(nx_http_request *request, void *user);

#endif

/* Inside src/jobs: where an MQTT broker is and who speaks to it, from a URL:
 * mqtt://[USER[:PASSWORD]@]HOST[:PORT], or mqtts:// with TLS. User and password may be
 * percent-encoded. No state. */
#ifndef NX_JOBS_MQTT_URL_H
#define NX_JOBS_MQTT_URL_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Plain data. user and password may be empty. */
typedef struct nx_mqtt_url {
    bool tls;
    char host[256];
    uint16_t port; /* 1883, or 8883 with TLS */
    char user[256];
    char password[512];
} nx_mqtt_url;

/* Errors, whose messages never hold any of the text: NX_ERR_INVALID, NX_ERR_NO_MEMORY. */
nx_status nx_mqtt_url_parse(const char *text, nx_mqtt_url *out, nx_error *err);

#endif

#include "jobs/mqtt_url.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PORT     1883
#define TLS_PORT 8883

static nx_status invalid(nx_error *err, const char *what)
{
    return nx_error_set(err, NX_ERR_INVALID,
                        "MQTT_URL: %s; write mqtt://USER:PASSWORD@HOST:PORT or mqtts://...", what);
}

/* A part into out; *there: it is there. False: it is too long, or not to be decoded. */
static bool take(CURLU *url, CURLUPart part, unsigned flags, char *out, size_t room, bool *there)
{
    char *text = NULL;
    CURLUcode code = curl_url_get(url, part, &text, flags);
    *there = code == CURLUE_OK && text != NULL && text[0] != '\0';
    bool fits = text == NULL || strlen(text) < room;
    if (*there && fits) {
        memcpy(out, text, strlen(text) + 1);
    }
    curl_free(text);
    return fits && code != CURLUE_URLDECODE && code != CURLUE_OUT_OF_MEMORY;
}

/* [::1] without its brackets. */
static void strip_brackets(char *host)
{
    size_t size = strlen(host);
    if (size > 2 && host[0] == '[' && host[size - 1] == ']') {
        memmove(host, host + 1, size - 2);
        host[size - 2] = '\0';
    }
}

static nx_status read_parts(CURLU *url, nx_mqtt_url *out, nx_error *err)
{
    char scheme[16] = "";
    char text[8] = "";
    bool there = false;
    if (!take(url, CURLUPART_SCHEME, 0, scheme, sizeof scheme, &there) ||
        (strcasecmp(scheme, "mqtt") != 0 && strcasecmp(scheme, "mqtts") != 0)) {
        return invalid(err, "it does not begin with mqtt:// or mqtts://");
    }
    out->tls = strcasecmp(scheme, "mqtts") == 0;
    out->port = out->tls ? TLS_PORT : PORT;
    if (!take(url, CURLUPART_HOST, 0, out->host, sizeof out->host, &there) || !there) {
        return invalid(err, "there is no host, or it is too long");
    }
    strip_brackets(out->host);
    if (!take(url, CURLUPART_PORT, 0, text, sizeof text, &there)) {
        return invalid(err, "the port is not a number from 1 to 65535");
    }
    out->port = there ? (uint16_t)strtoul(text, NULL, 10) : out->port;
    if (!take(url, CURLUPART_USER, CURLU_URLDECODE, out->user, sizeof out->user, &there) ||
        !take(url, CURLUPART_PASSWORD, CURLU_URLDECODE, out->password, sizeof out->password,
              &there)) {
        return invalid(err, "the user or the password is too long, or a '%' in it does not begin a "
                            "percent escape ('%25' stands for one)");
    }
    char path[8] = "";
    bool plain = take(url, CURLUPART_PATH, 0, path, sizeof path, &there) &&
                 (!there || strcmp(path, "/") == 0);
    plain = plain && take(url, CURLUPART_QUERY, 0, path, sizeof path, &there) && !there;
    return plain && out->port != 0 ? NX_OK : invalid(err, "nothing follows host and port");
}

nx_status nx_mqtt_url_parse(const char *text, nx_mqtt_url *out, nx_error *err)
{
    *out = (nx_mqtt_url){.tls = false};
    CURLU *url = curl_url();
    if (url == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for MQTT_URL");
    }
    CURLUcode code = curl_url_set(url, CURLUPART_URL, text, CURLU_NON_SUPPORT_SCHEME);
    nx_status status = code == CURLUE_OK ? read_parts(url, out, err)
                       : code == CURLUE_OUT_OF_MEMORY
                           ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for MQTT_URL")
                           : invalid(err, "it is no URL");
    curl_url_cleanup(url);
    return status;
}

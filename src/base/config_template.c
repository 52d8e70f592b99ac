/* The settings as a YAML file that explains itself. */
#include "base/config_internal.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>

/* Where a group of settings begins. */
static const struct {
    nx_config_key first;
    const char *title;
} groups[] = {
    {NX_CONFIG_HOST, "Where it listens, and what it runs"},
    {NX_CONFIG_CONFIDENCE, "What is found"},
    {NX_CONFIG_INFERENCE_DEVICE, "How models run"},
    {NX_CONFIG_WORKERS, "Serving, and its limits"},
    {NX_CONFIG_DATABASE_URL, "Database"},
    {NX_CONFIG_REDIS_URL, "Cache"},
    {NX_CONFIG_RUN_JOBS, "Jobs"},
    {NX_CONFIG_OBJECTS_URL, "Objects"},
    {NX_CONFIG_WEBHOOK_SECRET, "Webhooks"},
    {NX_CONFIG_LOG_LEVEL, "Log"},
    {NX_CONFIG_OTLP_ENDPOINT, "Traces"},
};

/* --- text in YAML -------------------------------------------------------------------------------
 */

/* The code point of a valid sequence. */
static uint32_t code_point(const unsigned char *text, size_t size)
{
    uint32_t code = text[0] & (0x7FU >> size);
    for (size_t i = 1; i < size; i++) {
        code = code << 6 | (text[i] & 0x3FU);
    }
    return code;
}

/* May stand in a file as it is: YAML 1.1, 5.1, without what ends a line, and without a byte order
 * mark. */
static bool is_printable(uint32_t code)
{
    return (code >= 0x20 && code <= 0x7E) ||
           (code >= 0xA0 && code <= 0xD7FF && code != 0x2028 && code != 0x2029) ||
           (code >= 0xE000 && code <= 0xFFFD && code != 0xFEFF) || code >= 0x10000;
}

/* Takes the next character; 0: it is no UTF-8. */
static size_t next_character(const char *text, size_t left, uint32_t *code)
{
    const unsigned char *bytes = (const unsigned char *)text;
    size_t size = bytes[0] < 0x80 ? 1 : nx_utf8_sequence(bytes, left);
    *code = size == 1 ? bytes[0] : size > 1 ? code_point(bytes, size) : 0;
    return size;
}

/* Of a comment, which ends with the line; what it is about may be any bytes. */
static void append_comment(nx_buffer *out, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        uint32_t code = 0;
        size_t size = next_character(text, left, &code);
        if (size > 0 && is_printable(code)) {
            nx_buffer_append(out, text, size);
        } else {
            nx_buffer_append_char(out, '?');
        }
        size = size > 0 ? size : 1;
        text += size;
        left -= size;
    }
}

/* Needs no quotes. Less than all that needs none. */
static bool is_plain(const char *text)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._+-:, ";
    size_t size = strlen(text);
    return size > 0 && strspn(text, letters) == size && strchr("+-:, ", text[0]) == NULL &&
           strchr(": ", text[size - 1]) == NULL && strstr(text, ": ") == NULL;
}

static bool is_utf8(const char *text)
{
    size_t left = strlen(text);
    uint32_t code = 0;
    for (size_t size = 0; left > 0; text += size, left -= size) {
        size = next_character(text, left, &code);
        if (size == 0) {
            return false;
        }
    }
    return true;
}

/* text: UTF-8 */
static void append_scalar(nx_buffer *out, const char *text)
{
    if (is_plain(text)) {
        nx_buffer_append_str(out, text);
        return;
    }
    size_t left = strlen(text);
    nx_buffer_append_char(out, '"');
    while (left > 0) {
        uint32_t code = 0;
        size_t size = next_character(text, left, &code);
        if (code == '"' || code == '\\') {
            nx_buffer_printf(out, "\\%c", (char)code);
        } else if (is_printable(code)) {
            nx_buffer_append(out, text, size);
        } else {
            nx_buffer_printf(out, code <= 0xFF ? "\\x%02X" : "\\u%04X", (unsigned)code);
        }
        text += size;
        left -= size;
    }
    nx_buffer_append_char(out, '"');
}

/* --- settings -----------------------------------------------------------------------------------
 */

/* What it means, what it may be, what it is called elsewhere and where its value comes from. */
static void append_explanation(const nx_config *config, nx_config_key key, nx_buffer *out)
{
    char allowed[160];
    const char *fallback = nx_config_default(key);
    nx_config_allowed(key, allowed, sizeof allowed);
    nx_buffer_printf(out, "\n# %s\n# %s; %s%s%s", nx_config_help(key), nx_config_env_name(key),
                     allowed[0] != '\0' ? allowed : nx_config_describe(key).type,
                     fallback[0] != '\0' ? "; default " : "", fallback);
    if (nx_config_can_reload(key)) {
        nx_buffer_append_str(out, "; SIGHUP takes a new value");
    }
    if (config->values[key].rank > NX_CONFIG_RANK_DEFAULT) {
        nx_buffer_append_str(out, "; from ");
        append_comment(out, nx_config_origin(config, key));
    }
    nx_buffer_append_char(out, '\n');
}

/* The part of it that may be shown stands in a comment. */
static void append_secret(const nx_config *config, nx_config_key key, nx_buffer *out)
{
    char space[NX_CONFIG_SHOWN_SIZE];
    const char *shown = nx_config_shown(config, key, space, sizeof space);
    if (shown[0] != '\0') {
        nx_buffer_append_str(out, "# It is set, and a secret: ");
        append_comment(out, shown);
        nx_buffer_append_char(out, '\n');
    }
    nx_buffer_printf(out, "#%s_file: /run/secrets/%s\n", nx_config_name(key), nx_config_name(key));
}

/* A URL without a password is none. */
static bool is_secret(const nx_config *config, nx_config_key key)
{
    char space[NX_CONFIG_SHOWN_SIZE];
    bool shown_whole =
        strcmp(nx_config_shown(config, key, space, sizeof space), nx_config_text(config, key)) == 0;
    return nx_config_secrecy_of(key) != NX_CONFIG_PUBLIC &&
           (!shown_whole || config->values[key].in_file || nx_config_text(config, key)[0] == '\0');
}

static void append_setting(const nx_config *config, nx_config_key key, nx_buffer *out)
{
    const char *text = nx_config_text(config, key);
    append_explanation(config, key, out);
    if (is_secret(config, key)) {
        append_secret(config, key, out);
    } else if (!is_utf8(text)) {
        nx_buffer_printf(out, "# Its value is no UTF-8, which YAML can't hold: set %s.\n#%s:\n",
                         nx_config_env_name(key), nx_config_name(key));
    } else {
        bool own = config->values[key].rank > NX_CONFIG_RANK_PROFILE;
        nx_buffer_printf(out, "%s%s: ", own ? "" : "#", nx_config_name(key));
        append_scalar(out, text);
        nx_buffer_append_char(out, '\n');
    }
}

void nx_config_write_yaml(const nx_config *config, nx_buffer *out)
{
    nx_buffer_append_str(out, "# Every setting of Nexus " NX_VERSION
                              ", for --config FILE or NEXUS_CONFIG.\n"
                              "# Defaults and what a profile says are commented out, and so are "
                              "secrets:\n# take away the \"#\" to set one. The environment and the "
                              "command line are stronger.\n");
    for (size_t i = 0, group = 0; i < NX_CONFIG_COUNT; i++) {
        if (group < sizeof groups / sizeof groups[0] && groups[group].first == i) {
            nx_buffer_printf(out, "\n\n# --- %s ---\n", groups[group].title);
            group++;
        }
        append_setting(config, (nx_config_key)i, out);
    }
}

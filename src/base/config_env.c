/* Settings from the environment, and names in it that were meant as settings. */
#include "base/config_internal.h"
#include "base/suggest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define PREFIX       "NEXUS_"
#define NAME_SIZE    64
#define MOST_NAMES   (2 * NX_CONFIG_COUNT + 1)
#define FILE_SUFFIX  "_FILE"
#define LEAST_LENGTH 6 /* of a name without our prefixes, to be taken for a slip */

/* Ours, but no settings: what names the file, and what scripts and tests use. */
static const char *const others[] = {"NEXUS_CONFIG", "NEXUS_SHARED", "NEXUS_BIN", "NEXUS_STEP"};

/* What the settings of other servers are called. */
static const struct {
    const char *name;
    const char *hint;
} foreign[] = {
    {"worker_class", "it chooses a Python server's workers; here there is one kind"},
    {"timeout_keep_alive", "here it is 'keepalive' (KEEPALIVE)"},
    {"celery_broker_url", "jobs are in the database, 'database_url' (DATABASE_URL)"},
};

const char *nx_config_foreign_name(const char *name)
{
    for (size_t i = 0; i < sizeof foreign / sizeof foreign[0]; i++) {
        if (strcasecmp(name, foreign[i].name) == 0) {
            return foreign[i].hint;
        }
    }
    return NULL;
}

static nx_status apply_one(nx_config *config, nx_config_key key, nx_config_env env, void *user,
                           nx_error *err)
{
    const char *name = nx_config_keys[key].env;
    const char *text = env(name, user);
    const char *file = NULL;
    char file_name[NAME_SIZE];
    char origin[NAME_SIZE + 16];
    snprintf(file_name, sizeof file_name, "%s" FILE_SUFFIX, name);
    if (nx_config_secrecy_of(key) != NX_CONFIG_PUBLIC) {
        file = env(file_name, user);
    }
    bool has_text = text != NULL && text[0] != '\0';
    bool has_file = file != NULL && file[0] != '\0';
    if (has_text && has_file) {
        return nx_error_set(err, NX_ERR_INVALID, "environment: both %s and %s are set; unset one",
                            name, file_name);
    }
    snprintf(origin, sizeof origin, "environment %s", has_file ? file_name : name);
    if (has_file) {
        return nx_config_put_file(config, key, file, NULL, origin, NX_CONFIG_RANK_ENVIRONMENT, err);
    }
    return has_text ? nx_config_put(config, key, text, origin, NX_CONFIG_RANK_ENVIRONMENT, err)
                    : NX_OK;
}

nx_status nx_config_apply_environment(nx_config *config, nx_config_env env, void *user,
                                      nx_error *err)
{
    nx_status status = NX_OK;
    for (size_t i = 0; i < NX_CONFIG_COUNT && status == NX_OK; i++) {
        status = apply_one(config, (nx_config_key)i, env, user, err);
    }
    return status;
}

/* --- names that are none ------------------------------------------------------------------------
 */

typedef struct name_list {
    char files[NX_CONFIG_COUNT][NAME_SIZE]; /* NAME_FILE of the secrets */
    const char *names[MOST_NAMES];
    size_t count;
} name_list;

static void list_names(name_list *list)
{
    list->count = 0;
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        const char *name = nx_config_keys[i].env;
        list->names[list->count++] = name;
        if (nx_config_secrecy_of((nx_config_key)i) != NX_CONFIG_PUBLIC) {
            snprintf(list->files[i], NAME_SIZE, "%s" FILE_SUFFIX, name);
            list->names[list->count++] = list->files[i];
        }
    }
}

static bool is_known(const name_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++) {
        if (strcmp(list->names[i], name) == 0) {
            return true;
        }
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(others[i], name) == 0) {
            return true;
        }
    }
    return strncmp(name, PREFIX "TEST_", strlen(PREFIX "TEST_")) == 0;
}

/* Kubernetes puts NAME_SERVICE_HOST, NAME_PORT_8000_TCP and more there for each Service. */
static bool is_service_link(const char *name, const char *text)
{
    return strstr(name, "_SERVICE_") != NULL || strstr(name, "_PORT_") != NULL ||
           strncmp(text, "tcp://", 6) == 0 || strncmp(text, "udp://", 6) == 0;
}

/* The known name that differs from this one by a slip behind the first "_". What stands before it
 * is equal, or a known name would be near to everything that begins as it does. */
static const char *near_name(const name_list *list, const char *name)
{
    const char *rests[MOST_NAMES];
    size_t whole[MOST_NAMES];
    size_t count = 0;
    size_t prefix = strcspn(name, "_") + 1;
    for (size_t i = 0; prefix < strlen(name) && i < list->count; i++) {
        if (strncmp(list->names[i], name, prefix) == 0) {
            rests[count] = list->names[i] + prefix;
            whole[count++] = i;
        }
    }
    const char *near = nx_suggest(name + (count > 0 ? prefix : 0), rests, count);
    for (size_t i = 0; i < count; i++) {
        if (rests[i] == near) {
            return list->names[whole[i]];
        }
    }
    return NULL;
}

/* One letter more, less or other in the whole of it. */
static const char *nearly_equal(const name_list *list, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < list->count && length >= LEAST_LENGTH; i++) {
        const char *known = list->names[i];
        size_t other = strlen(known);
        size_t start = 0;
        size_t end = 0;
        while (name[start] != '\0' && name[start] == known[start]) {
            start++;
        }
        while (end < length - start && end < other - start &&
               name[length - 1 - end] == known[other - 1 - end]) {
            end++;
        }
        size_t left = length - start - end;
        size_t left_other = other - start - end;
        if (left <= 1 && left_other <= 1 && other >= LEAST_LENGTH) {
            return known;
        }
    }
    return NULL;
}

static nx_status check_name(nx_config *config, const name_list *list, const char *name,
                            const char *text, nx_error *err)
{
    const char *hint = nx_config_foreign_name(name);
    bool ours = strncmp(name, PREFIX, strlen(PREFIX)) == 0;
    if (is_known(list, name) || is_service_link(name, text)) {
        return NX_OK;
    }
    if (hint != NULL) {
        nx_config_warn(config, "environment %s has no meaning here: %s", name, hint);
        return NX_OK;
    }
    const char *bare = ours ? name + strlen(PREFIX) : name;
    const char *near = ours && is_known(list, bare) ? bare : near_name(list, name);
    near = near != NULL ? near : nearly_equal(list, name);
    if (ours) {
        return nx_error_set(err, NX_ERR_INVALID, "environment: there is no setting %s%s%s%s", name,
                            near != NULL ? "; did you mean " : "; see nexus check, or unset it",
                            near != NULL ? near : "", near != NULL ? "?" : "");
    }
    if (near != NULL) {
        nx_config_warn(config, "environment %s is no setting; did you mean %s?", name, near);
    }
    return NX_OK;
}

nx_status nx_config_check_names(nx_config *config, char *const *environment, nx_error *err)
{
    char name[NAME_SIZE];
    nx_status status = NX_OK;
    name_list *list = malloc(sizeof *list);
    if (list == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the configuration");
    }
    list_names(list);
    for (size_t i = 0; environment != NULL && environment[i] != NULL && status == NX_OK; i++) {
        const char *equals = strchr(environment[i], '=');
        size_t length = equals != NULL ? (size_t)(equals - environment[i]) : 0;
        if (length > 0 && length < sizeof name && equals[1] != '\0') {
            snprintf(name, sizeof name, "%.*s", (int)length, environment[i]);
            status = check_name(config, list, name, equals + 1, err);
        }
    }
    free(list);
    return status;
}

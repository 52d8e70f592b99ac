/* What the files of the configuration share. Included by nobody else. */
#ifndef NX_BASE_CONFIG_INTERNAL_H
#define NX_BASE_CONFIG_INTERNAL_H

#include "base/config.h"

#define MOST_WARNINGS 16

/* The choices of a setting that is on or off. */
#define BOOLEAN "true|false|yes|no|on|off|1|0"

typedef enum value_type {
    TYPE_STRING,
    TYPE_RATE,      /* as nx_rate_parse takes it */
    TYPE_ADDRESSES, /* as nx_address_set_parse takes them */
    TYPE_INT,
    TYPE_BYTES, /* an integer that may carry k, m or g (powers of 1024), and a "b" behind it */
    TYPE_NUMBER,
    TYPE_CHOICE,
} value_type;

typedef struct key_info {
    const char *name;
    const char *env;
    value_type type;
    const char *fallback;
    double low, high;
    const char *choices; /* "a|b|c" for TYPE_CHOICE */
    const char *help;
} key_info;

extern const key_info nx_config_keys[NX_CONFIG_COUNT];

/* Where a value comes from; the stronger is the larger. */
typedef enum nx_config_rank {
    NX_CONFIG_RANK_DEFAULT,
    NX_CONFIG_RANK_PROFILE,
    NX_CONFIG_RANK_FILE,
    NX_CONFIG_RANK_ENVIRONMENT,
    NX_CONFIG_RANK_OPTION,
} nx_config_rank;

typedef struct nx_config_value {
    char *text;
    char *origin;
    char *file;    /* of a secret: where its text is to be read from, until it is; else NULL */
    bool in_file;  /* of a secret: it stands, or stood, in a file of its own */
    double number; /* for the types that have one; exact for integers up to 2^53 */
    nx_config_rank rank;
} nx_config_value;

struct nx_config {
    nx_config_value values[NX_CONFIG_COUNT];
    char *warnings[MOST_WARNINGS]; /* more are dropped */
    size_t warning_count;
};

/* Checks a value and puts it in the place of the one there. Of the profile: the values of that
 * follow, under those which have a stronger origin. */
nx_status nx_config_put(nx_config *config, nx_config_key key, const char *text, const char *origin,
                        nx_config_rank rank, nx_error *err);

void nx_config_warn(nx_config *config, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* config_profile.c: the defaults, and over them what the profile says. */
nx_status nx_config_apply_profile(nx_config *config, nx_error *err);

/* config_secret.c: notes where a secret is to be read from; it is empty until it is. base: a file
 * in whose folder a relative path begins, or NULL for the working folder. */
nx_status nx_config_put_file(nx_config *config, nx_config_key key, const char *path,
                             const char *base, const char *origin, nx_config_rank rank,
                             nx_error *err);
nx_status nx_config_read_secrets(nx_config *config, nx_error *err);

/* config_yaml.c */
nx_status nx_config_apply_yaml(nx_config *config, const char *text, size_t size, const char *file,
                               nx_error *err);

/* config_env.c */
nx_status nx_config_apply_environment(nx_config *config, nx_config_env env, void *user,
                                      nx_error *err);
/* Why a name of other software means nothing here, and what does; NULL: not known. */
const char *nx_config_foreign_name(const char *name);

#endif

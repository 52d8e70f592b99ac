/* Configuration files: any bytes give a configuration or an error message, never anything else. No
 * file is read, whatever name of one the bytes hold. */
#include "base/config.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *no_environment(const char *name, void *user)
{
    (void)name;
    (void)user;
    return NULL;
}

static void must(bool condition)
{
    if (!condition) {
        abort();
    }
}

/* Written as a file it is the same again, but for secrets. */
static void write_and_read(const nx_config *config)
{
    nx_buffer text = NX_BUFFER_INIT;
    nx_config *again = NULL;
    nx_error err = {0};
    nx_config_write_yaml(config, &text);
    must(nx_config_load_text(nx_buffer_cstr(&text), text.size, "again.yaml", no_environment, NULL,
                             &again, &err) == NX_OK);
    for (int key = 0; key < NX_CONFIG_COUNT; key++) {
        must(nx_config_secrecy_of((nx_config_key)key) != NX_CONFIG_PUBLIC ||
             strcmp(nx_config_text(config, (nx_config_key)key),
                    nx_config_text(again, (nx_config_key)key)) == 0);
    }
    nx_config_free(again);
    nx_buffer_free(&text);
}

/* What a server does with it next. */
static void use(nx_config *config)
{
    nx_config *other = NULL;
    nx_error err = {0};
    nx_status status = nx_config_check(config, &err);
    must(status == NX_OK || err.message[0] != '\0');
    must(nx_config_load_text("", 0, "none", no_environment, NULL, &other, &err) == NX_OK);
    must(nx_config_settle(other, config, NULL, NULL, &err) == NX_OK);
    for (int key = 0; key < NX_CONFIG_COUNT; key++) {
        char space[NX_CONFIG_SHOWN_SIZE];
        (void)nx_config_shown(config, (nx_config_key)key, space, sizeof space);
        if (!nx_config_can_reload((nx_config_key)key)) {
            must(strcmp(nx_config_text(config, (nx_config_key)key),
                        nx_config_text(other, (nx_config_key)key)) == 0);
        }
    }
    nx_config_free(other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_status status = nx_config_load_text((const char *)data, size, "fuzz.yaml", no_environment,
                                           NULL, &config, &err);
    must((status == NX_OK) == (config != NULL));
    must(status == NX_OK || err.message[0] != '\0');
    if (config != NULL) {
        write_and_read(config);
        use(config);
    }
    nx_config_free(config);
    return 0;
}

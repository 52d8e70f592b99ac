/* Configuration files: any bytes give a configuration or an error message, never anything else. */
#include "base/config.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *no_environment(const char *name, void *user)
{
    (void)name;
    (void)user;
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    nx_config *config = NULL;
    nx_error err = {0};
    nx_status status = nx_config_load_text((const char *)data, size, "fuzz.yaml", no_environment,
                                           NULL, &config, &err);
    if ((status == NX_OK) != (config != NULL) || (status != NX_OK && err.message[0] == '\0')) {
        abort();
    }
    nx_config_free(config);
    return 0;
}

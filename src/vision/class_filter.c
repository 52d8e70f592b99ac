#include "vision/class_filter.h"

#include "base/suggest.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static nx_status unknown_class(const char *word, nx_class_names names, nx_error *err)
{
    const char *near = nx_suggest(word, names.names, names.count);
    return nx_error_set(err, NX_ERR_INVALID,
                        "the model has no class '%.60s'%s%s%s (it has %zu, from '%s' to '%s')",
                        word, near != NULL ? "; did you mean '" : "", near != NULL ? near : "",
                        near != NULL ? "'?" : "", names.count, nx_class_name(names, 0),
                        nx_class_name(names, (int32_t)names.count - 1));
}

nx_status nx_class_filter_add(const char *word, nx_class_names names,
                              nx_postprocess_options *options, nx_error *err)
{
    if (word[0] == '\0') {
        return nx_error_set(err, NX_ERR_INVALID, "the list of classes has an empty entry");
    }
    bool known = false;
    for (size_t i = 0; i < names.count; i++) { /* names first: a class may be called "7" */
        if (strcasecmp(word, names.names[i]) == 0) {
            nx_postprocess_allow_class(options, (int32_t)i);
            known = true; /* go on: "Bus" and "bus" may both be there */
        }
    }
    if (known) {
        return NX_OK;
    }
    char *end = NULL;
    errno = 0;
    long number = strtol(word, &end, 10);
    if (*end != '\0' || errno != 0 || number < 0 || (size_t)number >= names.count) {
        return unknown_class(word, names, err);
    }
    nx_postprocess_allow_class(options, (int32_t)number);
    return NX_OK;
}

nx_status nx_class_filter_parse(const char *list, nx_class_names names,
                                nx_postprocess_options *options, nx_error *err)
{
    const char *at = list;
    for (;;) {
        char word[256];
        size_t length = strcspn(at, ",");
        const char *first = at;
        const char *last = at + length;
        while (first < last && isspace((unsigned char)*first)) {
            first++;
        }
        while (last > first && isspace((unsigned char)last[-1])) {
            last--;
        }
        if ((size_t)(last - first) >= sizeof word) {
            return nx_error_set(err, NX_ERR_INVALID, "a class name of over 255 bytes");
        }
        memcpy(word, first, (size_t)(last - first));
        word[last - first] = '\0';
        nx_status status = nx_class_filter_add(word, names, options, err);
        if (status != NX_OK || at[length] == '\0') {
            return status;
        }
        at += length + 1;
    }
}

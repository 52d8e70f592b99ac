/* What fuzz targets of several parsers share. */
#ifndef NX_TESTS_FUZZ_H
#define NX_TESTS_FUZZ_H

#include "api/payload.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Gets bytes of its own behind which there is room for a NUL, and nothing more. */
typedef void (*fuzz_parser)(char *text, size_t size);

/* The first byte chooses the parser, which gets the others. */
static inline int fuzz_one_of(const fuzz_parser *parsers, size_t count, const uint8_t *data,
                              size_t size)
{
    char *text = size > 0 ? malloc(size) : NULL; /* exact, so that reading past it is seen */
    if (text != NULL) {
        memcpy(text, data + 1, size - 1);
        parsers[data[0] % count](text, size - 1);
        free(text);
    }
    return 0;
}

/* value is NULL without a '='. */
typedef void (*fuzz_take)(const char *name, const char *value, void *user);

/* name=value lines, as a query or a form would give them. */
static inline void fuzz_lines(char *text, size_t size, fuzz_take take, void *user)
{
    char *rest = NULL;
    text[size] = '\0';
    for (char *line = strtok_r(text, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');
        if (equals != NULL) {
            *equals = '\0';
        }
        take(line, equals != NULL ? equals + 1 : NULL, user);
    }
}

typedef void (*fuzz_take_json)(const char *name, const json_t *value, void *user);

/* The members of a JSON body. False: it is none, and problem says why. */
static inline bool fuzz_members(const char *text, size_t size, fuzz_take_json take, void *user,
                                nx_problem *problem)
{
    json_t *document = NULL;
    const char *name;
    json_t *value;
    if (!nx_payload_parse(text, size, &document, problem)) {
        return false;
    }
    json_object_foreach(document, name, value)
    {
        take(name, value, user);
    }
    json_decref(document);
    return true;
}

#endif

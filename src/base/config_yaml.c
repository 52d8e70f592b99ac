/* The YAML file: one map of settings, read by libyaml. */
#include "base/config_internal.h"
#include "base/suggest.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#define FILE_SUFFIX "_file"

static nx_status unknown_key(const char *name, const char *file, size_t line, nx_error *err)
{
    const char *names[NX_CONFIG_COUNT];
    const char *near = NULL;
    const char *hint = nx_config_foreign_name(name);
    if (hint != NULL) {
        return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: '%.60s' has no meaning here: %s", file,
                            line, name, hint);
    }
    for (size_t i = 0; i < NX_CONFIG_COUNT; i++) {
        names[i] = nx_config_keys[i].name;
        near = strcasecmp(nx_config_keys[i].env, name) == 0 ? names[i] : near;
    }
    near = near != NULL ? near : nx_suggest(name, names, NX_CONFIG_COUNT);
    return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: there is no setting '%.60s'%s%s%s", file,
                        line, name, near != NULL ? "; did you mean '" : "; see nexus check",
                        near != NULL ? near : "", near != NULL ? "'?" : "");
}

/* Is it the key's name, or that of the file with it ("webhook_secret_file")? */
static bool is_named(nx_config_key key, const char *name, bool *file)
{
    const char *own = nx_config_keys[key].name;
    size_t length = strlen(own);
    *file = nx_config_secrecy_of(key) != NX_CONFIG_PUBLIC && strncmp(name, own, length) == 0 &&
            strcmp(name + length, FILE_SUFFIX) == 0;
    return *file || strcmp(name, own) == 0;
}

/* seen: the names by which keys were set, by key. */
static nx_status apply_pair(nx_config *config, const char *name, const char *text, const char *file,
                            size_t line, const char **seen, nx_error *err)
{
    char origin[256];
    bool from_file = false;
    size_t key = 0;
    while (key < NX_CONFIG_COUNT && !is_named((nx_config_key)key, name, &from_file)) {
        key++;
    }
    if (key == NX_CONFIG_COUNT) {
        return unknown_key(name, file, line, err);
    }
    if (seen[key] != NULL && strcmp(seen[key], name) == 0) {
        return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: '%s' is set twice", file, line, name);
    }
    if (seen[key] != NULL) {
        return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: both '%s' and '%s' are set", file, line,
                            seen[key], name);
    }
    seen[key] = name;
    /* a very long path loses its end, never the line */
    snprintf(origin, sizeof origin, "%.230s:%zu", file, line);
    if (from_file) {
        return nx_config_put_file(config, (nx_config_key)key, text, file, origin,
                                  NX_CONFIG_RANK_FILE, err);
    }
    return nx_config_put(config, (nx_config_key)key, text, origin, NX_CONFIG_RANK_FILE, err);
}

/* An empty file, or one of "---" alone. */
static bool is_empty(const yaml_node_t *root)
{
    return root == NULL || (root->type == YAML_SCALAR_NODE && root->data.scalar.length == 0);
}

/* Walks the mapping at the root of the document: scalar keys, scalar values, no key twice. */
static nx_status apply_document(nx_config *config, yaml_document_t *document, const char *file,
                                nx_error *err)
{
    yaml_node_t *root = yaml_document_get_root_node(document);
    if (is_empty(root)) {
        return NX_OK;
    }
    if (root->type != YAML_MAPPING_NODE) {
        return nx_error_set(err, NX_ERR_INVALID, "%s: expected lines of the form 'setting: value'",
                            file);
    }
    const char *seen[NX_CONFIG_COUNT] = {NULL};
    for (yaml_node_pair_t *pair = root->data.mapping.pairs.start;
         pair < root->data.mapping.pairs.top; pair++) {
        yaml_node_t *name = yaml_document_get_node(document, pair->key);
        yaml_node_t *text = yaml_document_get_node(document, pair->value);
        size_t line = name->start_mark.line + 1;
        if (name->type != YAML_SCALAR_NODE || text->type != YAML_SCALAR_NODE) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "%s:%zu: a setting has one plain value, not a list or a map", file,
                                line);
        }
        const char *key = (const char *)name->data.scalar.value;
        const char *setting = (const char *)text->data.scalar.value;
        if (strlen(key) != name->data.scalar.length ||
            strlen(setting) != text->data.scalar.length) {
            return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: a NUL byte (\\0) in a setting", file,
                                line);
        }
        nx_status status = apply_pair(config, key, setting, file, line, seen, err);
        if (status != NX_OK) {
            return status;
        }
    }
    return NX_OK;
}

/* Where libyaml stopped. Of bytes that are not text it gives the offset alone. */
static size_t problem_line(const yaml_parser_t *parser, const char *text, size_t size)
{
    if (parser->error != YAML_READER_ERROR) {
        return parser->problem_mark.line + 1;
    }
    size_t line = 1;
    for (size_t i = 0; i < size && i < parser->problem_offset; i++) {
        line += text[i] == '\n';
    }
    return line;
}

static nx_status bad_yaml(const yaml_parser_t *parser, const char *text, size_t size,
                          const char *file, nx_error *err)
{
    return nx_error_set(err, NX_ERR_INVALID, "%s:%zu: not valid YAML: %s", file,
                        problem_line(parser, text, size),
                        parser->problem != NULL ? parser->problem : "it could not be understood");
}

/* A second document ("---") would be read by nobody: better refused than ignored. */
static nx_status expect_end(yaml_parser_t *parser, const char *text, size_t size, const char *file,
                            nx_error *err)
{
    yaml_document_t document;
    if (!yaml_parser_load(parser, &document)) {
        return bad_yaml(parser, text, size, file, err);
    }
    yaml_node_t *root = yaml_document_get_root_node(&document);
    nx_status status = is_empty(root)
                           ? NX_OK
                           : nx_error_set(err, NX_ERR_INVALID,
                                          "%s:%zu: a second document; all settings belong into one",
                                          file, root->start_mark.line + 1);
    yaml_document_delete(&document);
    return status;
}

nx_status nx_config_apply_yaml(nx_config *config, const char *text, size_t size, const char *file,
                               nx_error *err)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read %s", file);
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, size);
    nx_status status = NX_OK;
    if (!yaml_parser_load(&parser, &document)) {
        status = bad_yaml(&parser, text, size, file, err);
    } else {
        status = apply_document(config, &document, file, err);
        yaml_document_delete(&document);
        if (status == NX_OK) {
            status = expect_end(&parser, text, size, file, err);
        }
    }
    yaml_parser_delete(&parser);
    return status;
}

#include "cli/inputs.h"

#include <dirent.h>
#include <glob.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

static nx_status add(nx_inputs *inputs, const char *path, nx_error *err)
{
    if (inputs->count == inputs->capacity) {
        size_t capacity = inputs->capacity == 0 ? 64 : inputs->capacity * 2;
        char **paths = realloc(inputs->paths, capacity * sizeof *paths);
        if (paths == NULL) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of pictures");
        }
        inputs->paths = paths;
        inputs->capacity = capacity;
    }
    char *copy = strdup(path);
    if (copy == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of pictures");
    }
    inputs->paths[inputs->count++] = copy;
    return NX_OK;
}

static bool is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Whether recursion goes into it: not through a link, which may lead back to where we are. */
static bool is_real_folder(const char *path)
{
    struct stat info;
    return lstat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

/* Whether a folder's entry is taken: a broken link is, so that it is reported; a pipe or device,
 * which might keep us waiting, is not. */
static bool is_file_or_gone(const char *path)
{
    struct stat info;
    return stat(path, &info) != 0 || S_ISREG(info.st_mode);
}

static bool is_picture_name(const char *name)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot != NULL && i < sizeof endings / sizeof endings[0]; i++) {
        if (strcasecmp(dot, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

static nx_status add_folder(nx_inputs *inputs, const char *folder, bool recursive, nx_error *err);

static nx_status add_entry(nx_inputs *inputs, const char *folder, const char *name, bool recursive,
                           nx_error *err)
{
    char *path = NULL;
    size_t length = strlen(folder);
    const char *slash = length > 0 && folder[length - 1] == '/' ? "" : "/";
    if (asprintf(&path, "%s%s%s", folder, slash, name) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of pictures");
    }
    nx_status status = NX_OK;
    if (recursive && is_real_folder(path)) {
        status = add_folder(inputs, path, true, err);
    } else if (is_picture_name(name) && is_file_or_gone(path)) {
        status = add(inputs, path, err);
    }
    free(path);
    return status;
}

/* The depth is bounded by the longest path that the system lists. */
static nx_status add_folder(nx_inputs *inputs, const char *folder, bool recursive, nx_error *err)
{
    struct dirent **entries = NULL;
    int count = scandir(folder, &entries, NULL, alphasort);
    if (count < 0) {
        return add(inputs, folder, err); /* opening it fails for the same reason */
    }
    nx_status status = NX_OK;
    for (int i = 0; i < count; i++) {
        if (status == NX_OK && entries[i]->d_name[0] != '.') {
            status = add_entry(inputs, folder, entries[i]->d_name, recursive, err);
        }
        free(entries[i]);
    }
    free(entries);
    return status;
}

static nx_status add_named_folder(nx_inputs *inputs, const char *folder, bool recursive,
                                  nx_error *err)
{
    size_t before = inputs->count;
    nx_status status = add_folder(inputs, folder, recursive, err);
    if (status == NX_OK && inputs->count == before) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND,
                              "the folder %s has no .jpg, .jpeg, .png or .webp file%s", folder,
                              recursive ? "" : " (--recursive looks into its subfolders)");
    }
    return status;
}

static nx_status add_pattern(nx_inputs *inputs, const char *pattern, bool recursive, nx_error *err)
{
    glob_t found;
    nx_status status = NX_OK;
    int result = glob(pattern, 0, NULL, &found);
    if (result == GLOB_NOSPACE) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the list of pictures");
    }
    if (result != 0) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "nothing matches the pattern '%s'", pattern);
    }
    for (size_t i = 0; i < found.gl_pathc && status == NX_OK; i++) {
        status = is_folder(found.gl_pathv[i])
                     ? add_named_folder(inputs, found.gl_pathv[i], recursive, err)
                     : add(inputs, found.gl_pathv[i], err);
    }
    globfree(&found);
    return status;
}

static nx_status add_operand(nx_inputs *inputs, const char *operand, bool recursive, nx_error *err)
{
    struct stat info;
    if (strcmp(operand, "-") == 0) {
        return add(inputs, operand, err);
    }
    if (is_folder(operand)) {
        return add_named_folder(inputs, operand, recursive, err);
    }
    if (strpbrk(operand, "*?[") != NULL && stat(operand, &info) != 0) {
        return add_pattern(inputs, operand, recursive, err);
    }
    return add(inputs, operand, err);
}

nx_status nx_inputs_expand(char *const *operands, int count, bool recursive, nx_inputs *out,
                           nx_error *err)
{
    *out = (nx_inputs){0};
    nx_status status = NX_OK;
    int standard_inputs = 0;
    for (int i = 0; i < count && status == NX_OK; i++) {
        standard_inputs += strcmp(operands[i], "-") == 0;
        if (standard_inputs > 1) {
            status = nx_error_set(err, NX_ERR_INVALID, "standard input (-) can be read only once");
        } else {
            status = add_operand(out, operands[i], recursive, err);
        }
    }
    if (status != NX_OK) {
        nx_inputs_free(out);
    }
    return status;
}

static bool is_same(const struct stat *known, const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && info.st_dev == known->st_dev && info.st_ino == known->st_ino;
}

static bool is_folder_of(const struct stat *known, const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (slash == NULL) {
        return is_same(known, ".");
    }
    int length = snprintf(folder, sizeof folder, "%.*s", (int)(slash - path + 1), path);
    return length > 0 && (size_t)length < sizeof folder && is_same(known, folder);
}

bool nx_inputs_at(const nx_inputs *inputs, const char *path)
{
    struct stat known;
    if (stat(path, &known) != 0) {
        return false;
    }
    for (size_t i = 0; i < inputs->count; i++) {
        const char *input = inputs->paths[i];
        if (strcmp(input, "-") != 0 && (is_same(&known, input) || is_folder_of(&known, input))) {
            return true;
        }
    }
    return false;
}

void nx_inputs_free(nx_inputs *inputs)
{
    for (size_t i = 0; i < inputs->count; i++) {
        free(inputs->paths[i]);
    }
    free(inputs->paths);
    *inputs = (nx_inputs){0};
}

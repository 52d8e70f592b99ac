#include "http/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* In the order in which Allow lists them. HEAD goes with GET. */
static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"};

#define METHOD_COUNT (sizeof methods / sizeof methods[0])

/* Where the segment that begins here ends. */
static const char *segment_end(const char *at)
{
    return at + strcspn(at, "/");
}

/* Does the path fit a pattern with "{name}" segments? Each stands for one segment, not empty. */
static bool fits_segments(const char *pattern, const char *path)
{
    for (;;) {
        const char *pattern_end = segment_end(pattern);
        const char *path_end = segment_end(path);
        size_t size = (size_t)(path_end - path);
        if (*pattern == '{') {
            if (size == 0) {
                return false;
            }
        } else if (size != (size_t)(pattern_end - pattern) || memcmp(pattern, path, size) != 0) {
            return false;
        }
        if (*pattern_end == '\0' || *path_end == '\0') {
            return *pattern_end == *path_end;
        }
        pattern = pattern_end + 1;
        path = path_end + 1;
    }
}

/* Does the pattern match? A "*" at its end stands for anything. */
static bool matches(const char *pattern, const char *path)
{
    size_t size = strlen(pattern);
    if (size > 0 && pattern[size - 1] == '*') {
        return strncmp(pattern, path, size - 1) == 0;
    }
    return strchr(pattern, '{') != NULL ? fits_segments(pattern, path) : strcmp(pattern, path) == 0;
}

/* Cuts a copy of the path, which fits the route's pattern, into its parameters. */
static bool take_params(nx_http_request *request, const nx_http_route *route)
{
    const char *pattern = route->pattern;
    if (strchr(pattern, '{') == NULL) {
        return true;
    }
    char *path = strdup(request->path);
    request->path_copy = path;
    while (path != NULL && request->param_count < NX_HTTP_MAX_PARAMS) {
        bool more = path[strcspn(path, "/")] != '\0';
        path[strcspn(path, "/")] = '\0';
        if (*pattern == '{') {
            request->params[request->param_count].name = pattern + 1;
            request->params[request->param_count++].value = path;
        }
        if (!more) {
            return true;
        }
        path += strlen(path) + 1;
        pattern = segment_end(pattern) + 1;
    }
    return path != NULL;
}

const char *nx_http_path_param(const nx_http_request *request, const char *name)
{
    size_t size = strlen(name);
    for (size_t i = 0; i < request->param_count; i++) {
        const char *candidate = request->params[i].name; /* "name}/rest of the pattern" */
        if (strncmp(candidate, name, size) == 0 && candidate[size] == '}') {
            return request->params[i].value;
        }
    }
    return "";
}

static bool method_fits(const nx_http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void add_methods(const nx_http_route *route, bool allowed[METHOD_COUNT])
{
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        allowed[i] |= method_fits(route, methods[i]);
    }
}

static nx_problem wrong_method(const nx_http_request *request, const bool allowed[METHOD_COUNT])
{
    nx_problem problem =
        nx_problem_make(405, NULL, "%.200s does not answer %.20s", request->path, request->method);
    size_t used = 0;
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (allowed[i]) { /* all of them together fit */
            used += (size_t)snprintf(problem.allow + used, sizeof problem.allow - used, "%s%s",
                                     used > 0 ? ", " : "", methods[i]);
        }
    }
    snprintf(problem.advice, sizeof problem.advice, "Use %s.", problem.allow);
    return problem;
}

const nx_http_route *nx_http_route_find(nx_http_request *request, nx_problem *problem)
{
    const nx_http_server_options *options = &request->server->options;
    bool allowed[METHOD_COUNT] = {false};
    bool found = false;
    for (size_t i = 0; i < options->route_count; i++) {
        const nx_http_route *route = &options->routes[i];
        if (!matches(route->pattern, request->path)) {
            continue;
        }
        if (method_fits(route, request->method)) {
            if (!take_params(request, route)) {
                *problem = nx_problem_make(503, "Try again later.", "no memory for the request");
                return NULL;
            }
            return route;
        }
        add_methods(route, allowed);
        found = true;
    }
    if (found) {
        *problem = wrong_method(request, allowed);
    } else {
        *problem = nx_problem_make(404, "GET /openapi.json lists what there is; /docs shows it.",
                                   "there is nothing at %.200s", request->path);
    }
    return NULL;
}

#include "http/internal.h"

#include <stdio.h>
#include <string.h>

/* Does the pattern match? rest is set to what its "*" stands for. */
static bool matches(const char *pattern, const char *path, const char **rest)
{
    size_t size = strlen(pattern);
    if (size > 0 && pattern[size - 1] == '*') {
        if (strncmp(pattern, path, size - 1) != 0) {
            return false;
        }
        *rest = path + size - 1;
        return true;
    }
    return strcmp(pattern, path) == 0;
}

static bool method_fits(const nx_http_route *route, const char *method)
{
    return strcmp(route->method, method) == 0 ||
           (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

const nx_http_route *nx_http_route_find(nx_http_request *request, nx_problem *problem)
{
    const nx_http_server_options *options = &request->server->options;
    const nx_http_route *other_method = NULL;
    for (size_t i = 0; i < options->route_count; i++) {
        const nx_http_route *route = &options->routes[i];
        const char *rest = "";
        if (matches(route->pattern, request->path, &rest)) {
            if (method_fits(route, request->method)) {
                request->path_rest = rest;
                return route;
            }
            other_method = route;
        }
    }
    if (other_method != NULL) {
        bool get = strcmp(other_method->method, "GET") == 0;
        *problem = nx_problem_make(405, NULL, "%.200s does not answer %.20s", request->path,
                                   request->method);
        problem->allow = get ? "GET, HEAD" : other_method->method;
        snprintf(problem->advice, sizeof problem->advice, "Use %s.", other_method->method);
    } else {
        *problem = nx_problem_make(404, "GET /openapi.json lists what there is; /docs shows it.",
                                   "there is nothing at %.200s", request->path);
    }
    return NULL;
}

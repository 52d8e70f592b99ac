#include "http/problem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

nx_problem nx_problem_make(int status, const char *advice, const char *format, ...)
{
    nx_problem problem = {.status = status};
    va_list args;
    va_start(args, format);
    vsnprintf(problem.detail, sizeof problem.detail, format, args);
    va_end(args);
    snprintf(problem.advice, sizeof problem.advice, "%s", advice != NULL ? advice : "");
    return problem;
}

const char *nx_http_status_title(int status)
{
    static const struct {
        int status;
        const char *title;
    } titles[] = {
        {200, "OK"},
        {201, "Created"},
        {202, "Accepted"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {406, "Not Acceptable"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {410, "Gone"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {416, "Range Not Satisfiable"},
        {422, "Unprocessable Content"},
        {423, "Locked"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {507, "Insufficient Storage"},
    };
    for (size_t i = 0; i < sizeof titles / sizeof titles[0]; i++) {
        if (titles[i].status == status) {
            return titles[i].title;
        }
    }
    return "Error";
}

/* A decoded path as a reference has it (RFC 3986 section 3.3). */
static void write_instance(const char *path, nx_json *json)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "-._~!$&'()*+,;=:@/";
    nx_buffer out = NX_BUFFER_INIT;
    for (const char *c = path; *c != '\0'; c++) {
        if (strchr(plain, *c) != NULL) {
            nx_buffer_append_char(&out, *c);
        } else {
            nx_buffer_printf(&out, "%%%02X", (unsigned)(unsigned char)*c);
        }
    }
    nx_json_key_string(json, "instance", nx_buffer_cstr(&out));
    nx_buffer_free(&out);
}

void nx_problem_json_members(const nx_problem *problem, const char *instance,
                             const char *request_id, nx_json *json)
{
    nx_json_key_string(json, "type", "about:blank");
    nx_json_key_string(json, "title", nx_http_status_title(problem->status));
    nx_json_key_int(json, "status", problem->status);
    nx_json_key_string(json, "detail", problem->detail);
    if (problem->advice[0] != '\0') {
        nx_json_key_string(json, "advice", problem->advice);
    }
    if (instance != NULL) {
        write_instance(instance, json);
    }
    if (request_id != NULL) {
        nx_json_key_string(json, "request_id", request_id);
    }
}

#include "api/accounts.h"

#include "api/audit.h"

#include <string.h>

void nx_api_audit_account(nx_api *api, const nx_http_request *request, const char *action,
                          const char *name, nx_status outcome)
{
    bool key = strncmp(action, "key.", 4) == 0;
    const nx_api_event event = {
        .action = action, .kind = key ? "key" : "user", .name = name, .outcome = outcome};
    nx_api_audit(api, request, &event);
}

json_t *nx_api_read_object(nx_http_request *request, const char *const *names)
{
    size_t size = 0;
    const char *body = nx_http_body(request, &size);
    json_error_t error;
    nx_problem problem;
    json_t *object = json_loadb(body != NULL ? body : "", size, JSON_REJECT_DUPLICATES, &error);
    const char *wrong = NULL;
    const char *key;
    json_t *value;
    if (!json_is_object(object)) {
        problem = nx_problem_make(400, "Send a JSON object as /docs describes it.",
                                  "the body is no JSON object: %.200s",
                                  object == NULL ? error.text : "another value");
        nx_http_reply_problem(request, &problem);
        json_decref(object);
        return NULL;
    }
    json_object_foreach(object, key, value)
    {
        bool known = false;
        for (size_t i = 0; names[i] != NULL && !known; i++) {
            known = strcmp(names[i], key) == 0;
        }
        wrong = known ? wrong : key;
    }
    if (wrong != NULL) {
        problem = nx_problem_make(422, "See /docs for what there is.", "there is no member '%.60s'",
                                  wrong);
        nx_http_reply_problem(request, &problem);
        json_decref(object);
        return NULL;
    }
    return object;
}

bool nx_api_read_string(nx_http_request *request, const json_t *object, const char *name,
                        const char **out)
{
    *out = json_string_value(json_object_get(object, name));
    if (*out == NULL) {
        nx_problem problem =
            nx_problem_make(422, "See /docs for what it takes.", "'%.60s' must be a string", name);
        nx_http_reply_problem(request, &problem);
    }
    return *out != NULL;
}

void nx_api_accounts_refuse(nx_api *api, nx_http_request *request, nx_status status,
                            const nx_error *err, const char *advice)
{
    nx_problem problem = nx_api_storage_problem(api, request, status, err);
    if (advice != NULL || status == NX_ERR_NOT_FOUND) {
        problem = nx_problem_make(problem.status,
                                  advice != NULL ? advice : "GET /api/v1/users lists who there is.",
                                  "%s", err->message);
    }
    nx_http_reply_problem(request, &problem);
}

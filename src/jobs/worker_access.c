/* Whether whoever submitted a job may still use its model. */
#include "jobs/worker_internal.h"
#include "store/users.h"

#include <stdio.h>

/* Whether the user may use every model: today, whatever was so when the job was submitted. */
static nx_status is_admin(nx_store *store, const char *id, nx_arena *arena, bool *out,
                          nx_error *err)
{
    nx_user user;
    nx_status status = nx_store_user_get(store, id, arena, &user, err);
    *out = status == NX_OK && user.role == NX_USER_ADMIN && !user.disabled;
    return status == NX_ERR_NOT_FOUND ? NX_OK : status;
}

nx_status nx_worker_check_access(const nx_worker *worker, const char *job, const char *model,
                                 nx_arena *arena, nx_error *err)
{
    const nx_worker_options *options = &worker->options;
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version = 0;
    nx_model_subject subject = {.all = false};
    if (options->shared == NULL) {
        return NX_OK;
    }
    snprintf(name, sizeof name, "%s", nx_registry_default(options->registry));
    nx_status status =
        model[0] != '\0' ? nx_model_reference_parse(model, name, &version, err) : NX_OK;
    if (status == NX_OK) {
        status = nx_store_job_subject(options->store, job, arena, &subject.user, &subject.key, err);
    }
    subject.all = subject.user == NULL;
    if (status == NX_OK && !subject.all) {
        status = is_admin(options->store, subject.user, arena, &subject.all, err);
    }
    if (status == NX_OK && !nx_shared_models_allow(options->shared, name, &subject)) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "model: whoever submitted the job may not use %s any more", name);
    }
    return status;
}

/* The tasks of the registry that wait: handed in, taken out, served early and ended in time. */
#include "base/clock.h"
#include "base/condition.h"
#include "base/waiter.h"
#include "engine/registry_internal.h"

#include <string.h>

#define MAX_WAITING 256

/* --- in and out ---------------------------------------------------------------------------------
 */

/* Takes the task that *at points to out of those that wait. The lock is held. */
static nx_registry_task *unlink_task(nx_registry *registry, nx_registry_task **at)
{
    nx_registry_task *task = *at;
    *at = task->next;
    registry->last = task->next == NULL ? at : registry->last;
    registry->waiting--;
    task->next = NULL;
    return task;
}

nx_status nx_registry_submit(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    nx_status status = NX_OK;
    if (task->name[0] == '\0') {
        bool sam = task->kind == NX_STORED_SAM;
        memcpy(task->name, sam ? registry->sam_name : registry->default_name, sizeof task->name);
        if (task->version == 0) {
            task->version = sam ? registry->sam_version : registry->default_version;
        }
    }
    pthread_mutex_lock(&registry->lock);
    if (registry->ending) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "the server is shutting down");
    } else if (registry->waiting == MAX_WAITING) {
        status = nx_error_set(err, NX_ERR_BUSY, "%d tasks wait for models to be loaded already",
                              MAX_WAITING);
    } else {
        task->handle = NULL;
        task->next = NULL;
        *registry->last = task;
        registry->last = &task->next;
        registry->waiting++;
        pthread_cond_signal(&registry->wake);
        pthread_cond_signal(&registry->hurry);
    }
    pthread_mutex_unlock(&registry->lock);
    return status;
}

bool nx_registry_cancel(nx_registry *registry, nx_registry_task *task)
{
    pthread_mutex_lock(&registry->lock);
    nx_registry_task **at = &registry->first;
    while (*at != NULL && *at != task) {
        at = &(*at)->next;
    }
    bool found = *at != NULL;
    if (found) {
        (void)unlink_task(registry, at);
    }
    pthread_mutex_unlock(&registry->lock);
    if (found) {
        nx_error err;
        nx_error_set(&err, NX_ERR_CANCELLED, "nobody waits for the model any more");
        task->done(task, NX_ERR_CANCELLED, &err);
    }
    return found;
}

nx_registry_task *nx_registry_take_task(nx_registry *registry, bool *ending)
{
    pthread_mutex_lock(&registry->lock);
    while (registry->first == NULL && registry->trash == NULL && !registry->ending) {
        pthread_cond_wait(&registry->wake, &registry->lock);
    }
    *ending = registry->ending;
    bool take = registry->first != NULL && (registry->trash == NULL || registry->ending);
    nx_registry_task *task = take ? unlink_task(registry, &registry->first) : NULL;
    pthread_mutex_unlock(&registry->lock);
    return task;
}

/* Whoever waits for it was promised an end by then, even when the clock's thread has not run yet.
 */
static bool is_late(const nx_registry_task *task)
{
    return task->deadline_ns != 0 && task->deadline_ns <= nx_clock_now_ns();
}

static void end_late(nx_registry_task *task)
{
    nx_error err;
    nx_error_set(&err, NX_ERR_TIMEOUT, "model %s was not loaded in time", task->name);
    task->done(task, NX_ERR_TIMEOUT, &err);
}

bool nx_registry_end_if_late(nx_registry_task *task)
{
    bool late = is_late(task);
    if (late) {
        end_late(task);
    }
    return late;
}

/* A task that somebody waits for. */
typedef struct waited {
    nx_registry_task task; /* first, so that the task's pointer is ours */
    nx_waiter waiter;
} waited;

static void wake(nx_registry_task *task, nx_status status, const nx_error *err)
{
    nx_waiter_finish(&((waited *)task)->waiter, status, err);
}

nx_status nx_registry_run(nx_registry *registry, nx_registry_task *task, nx_error *err)
{
    waited self = {.task = *task};
    self.task.done = wake;
    nx_waiter_init(&self.waiter);
    nx_status status = nx_registry_submit(registry, &self.task, err);
    bool submitted = status == NX_OK;
    status = nx_waiter_end(&self.waiter, status, err);
    if (submitted) {
        *task = self.task;
    }
    return status;
}

/* --- early --------------------------------------------------------------------------------------
 */

void nx_registry_serve_waiting(nx_registry *registry)
{
    const nx_error none = {0};
    nx_registry_task *over = NULL;
    pthread_mutex_lock(&registry->lock);
    for (nx_registry_task **at = &registry->first; *at != NULL;) {
        nx_registry_task *task = *at;
        /* one that segments is looked up in the store: what serves here may be outdated */
        if (task->op == NX_REGISTRY_ACQUIRE && task->kind == NX_STORED_DETECTOR && !is_late(task)) {
            task->handle = nx_registry_take(registry, task->name, task->version, task->kind);
        }
        if (task->handle == NULL) {
            at = &task->next;
            continue;
        }
        (void)unlink_task(registry, at);
        task->next = over;
        over = task;
    }
    pthread_mutex_unlock(&registry->lock);
    while (over != NULL) {
        nx_registry_task *task = over;
        over = task->next;
        task->version = task->handle->version;
        task->done(task, NX_OK, &none);
    }
}

/* --- in time ------------------------------------------------------------------------------------
 */

/* The lock is held. Where the task stands whose deadline is the first; NULL: there is none. */
static nx_registry_task **find_hurried(nx_registry *registry)
{
    nx_registry_task **first = NULL;
    for (nx_registry_task **at = &registry->first; *at != NULL; at = &(*at)->next) {
        if ((*at)->deadline_ns != 0 &&
            (first == NULL || (*at)->deadline_ns < (*first)->deadline_ns)) {
            first = at;
        }
    }
    return first;
}

/* Waits until a task is late and takes it out; NULL: the registry ends. */
static nx_registry_task *take_late(nx_registry *registry)
{
    nx_registry_task *late = NULL;
    pthread_mutex_lock(&registry->lock);
    while (late == NULL && !registry->ending) {
        nx_registry_task **at = find_hurried(registry);
        int64_t deadline = at != NULL ? (*at)->deadline_ns : 0;
        if (at == NULL) {
            pthread_cond_wait(&registry->hurry, &registry->lock);
        } else if (deadline <= nx_clock_now_ns()) {
            late = unlink_task(registry, at);
        } else {
            (void)nx_condition_wait(&registry->hurry, &registry->lock, deadline);
        }
    }
    pthread_mutex_unlock(&registry->lock);
    return late;
}

void *nx_registry_clock_loop(void *user)
{
    nx_registry *registry = user;
    nx_registry_task *late = take_late(registry);
    while (late != NULL) {
        end_late(late);
        late = take_late(registry);
    }
    return NULL;
}

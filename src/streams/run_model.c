/* Which model a stream looks with: the one that serves by now, as long as whoever made the stream
 * may use it. A swap or a rollback is followed between two frames. */
#include "base/clock.h"
#include "streams/run_internal.h"

#include <stdio.h>
#include <string.h>

/* A frame that has waited in the engine's queue for so long is an old one. */
#define MOST_WAIT_NS (NX_NS_PER_SEC / 2)

/* --- which --------------------------------------------------------------------------------------
 */

/* Of the stream's option; name "": the default model. */
static nx_status wanted(const nx_stream_run *run, nx_registry_task *out, nx_error *err)
{
    *out = (nx_registry_task){.op = NX_REGISTRY_ACQUIRE, .kind = NX_STORED_DETECTOR};
    return run->spec.video.model[0] == '\0'
               ? NX_OK
               : nx_model_reference_parse(run->spec.video.model, out->name, &out->version, err);
}

/* Whoever made the stream may have lost the right to its model since. */
static nx_status check_access(const nx_stream_run *run, const nx_registry_task *task, nx_error *err)
{
    const nx_model_subject subject = {.all = run->user == NULL, .user = run->user, .key = run->key};
    const char *name =
        task->name[0] != '\0' ? task->name : nx_registry_default(run->options.registry);
    if (run->options.shared == NULL ||
        nx_shared_models_allow(run->options.shared, name, &subject)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_INVALID, "model: whoever made the stream may not use %s", name);
}

/* FNV-1a (RFC 9923) over the names with their ends: tracks of one set of classes go on. */
static uint64_t hash_classes(nx_class_names names)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < names.count; i++) {
        const char *at = names.names[i];
        do {
            hash = (hash ^ (uint8_t)*at) * UINT64_C(0x100000001b3);
        } while (*at++ != '\0');
    }
    return hash;
}

static nx_run_model model_of(nx_registry_handle *handle)
{
    const nx_class_names names = nx_model_get_spec(nx_registry_model(handle))->names;
    return (nx_run_model){.handle = handle, .names = names, .classes = hash_classes(names)};
}

void nx_run_model_free(nx_run_model *model)
{
    nx_frame_detector_free(model->detector);
    nx_registry_release(model->handle);
    *model = (nx_run_model){.handle = NULL};
}

/* --- at the beginning ---------------------------------------------------------------------------
 */

nx_status nx_run_acquire_model(nx_run_session *session, nx_error *err)
{
    const nx_stream_run *run = session->run;
    nx_registry_task task;
    nx_status status = wanted(run, &task, err);
    if (status == NX_OK) {
        status = check_access(run, &task, err);
    }
    if (status == NX_OK) {
        status = nx_registry_run(run->options.registry, &task, err);
    }
    if (status == NX_OK) {
        session->model = model_of(task.handle);
        session->newest = task.handle;
    }
    return status;
}

/* The queue is there before the first frame is submitted, and until behind the last one's end. */
static void tell_looker(void *user)
{
    const nx_run_session *session = user;
    nx_stream_queue_poke(session->queue);
}

nx_status nx_run_open_detector(nx_run_session *session, nx_run_model *model, nx_error *err)
{
    nx_stream_run *run = session->run;
    nx_frame_detector_options options = {
        .source_width = session->info.width,
        .source_height = session->info.height,
        .postprocess = run->options.postprocess,
        .priority = NX_PRIORITY_STREAM,
        .window = NX_RUN_WINDOW,
        .stop = &run->stop,
        .most_wait_ns = MOST_WAIT_NS,
        .ended = tell_looker,
        .user = session,
    };
    nx_status status =
        nx_video_track_thresholds(&run->spec.video, model->names, &options.postprocess, err);
    if (status == NX_OK) {
        status = nx_frame_detector_new(run->options.engine, nx_registry_model(model->handle),
                                       &options, &model->detector, err);
    }
    return status;
}

void nx_run_note_model(nx_run_session *session)
{
    nx_stream_run *run = session->run;
    pthread_mutex_lock(&run->lock);
    snprintf(run->model, sizeof run->model, "%s", nx_registry_name(session->model.handle));
    run->model_version = nx_registry_version(session->model.handle);
    pthread_mutex_unlock(&run->lock);
}

/* --- from then on -------------------------------------------------------------------------------
 */

/* Hands a model over to the looking thread. One that takes pictures of another size, or knows other
 * classes, needs a connection of its own. */
static nx_status offer(nx_run_session *session, nx_registry_handle *handle, nx_error *err)
{
    nx_stream_run *run = session->run;
    nx_run_model next = model_of(handle);
    uint32_t width = 0;
    uint32_t height = 0;
    nx_status status = nx_run_open_detector(session, &next, err);
    if (status == NX_OK) {
        nx_frame_detector_size(next.detector, &width, &height);
    }
    if (status != NX_OK || width != session->width || height != session->height ||
        next.classes != run->track_classes) {
        nx_run_model_free(&next);
        session->anew = true;
        return nx_error_set(err, NX_ERR_CANCELLED, "another version of its model serves");
    }
    session->newest = handle;
    pthread_mutex_lock(&run->lock);
    nx_run_model before = session->next; /* which was not taken yet */
    session->next = next;
    atomic_store(&session->has_next, true);
    pthread_mutex_unlock(&run->lock);
    nx_run_model_free(&before);
    return NX_OK;
}

nx_status nx_run_follow_model(nx_run_session *session, nx_error *err)
{
    const nx_stream_run *run = session->run;
    nx_registry_task task;
    nx_registry_handle *handle = NULL;
    nx_error why = {0};
    nx_status status = wanted(run, &task, err);
    if (status == NX_OK) {
        status = check_access(run, &task, err);
    }
    if (status != NX_OK) {
        return status;
    }
    status = nx_registry_acquire(run->options.registry, task.name, task.version, &handle, &why);
    if (status == NX_ERR_NOT_FOUND || status == NX_ERR_UNSUPPORTED) {
        *err = why;
        return status;
    }
    if (status != NX_OK) { /* it was taken out of memory, where this stream still has it */
        return NX_OK;
    }
    if (handle == session->newest) {
        nx_registry_release(handle);
        return NX_OK;
    }
    return offer(session, handle, err);
}

void nx_run_take_model(nx_run_session *session)
{
    nx_stream_run *run = session->run;
    nx_run_model before = session->model;
    pthread_mutex_lock(&run->lock);
    session->model = session->next;
    session->next = (nx_run_model){.handle = NULL};
    atomic_store(&session->has_next, false);
    pthread_mutex_unlock(&run->lock);
    nx_run_model_free(&before);
    nx_run_note_model(session);
}

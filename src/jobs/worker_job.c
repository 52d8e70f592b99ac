/* One job of a worker, from its lease to its end. */
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "jobs/video_results.h"
#include "jobs/video_run.h"
#include "jobs/worker_internal.h"
#include "jobs/worker_parts.h"
#include "store/object_uses.h"
#include "store/videos.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_SUMMARY ((size_t)64 << 20)
#define TELL_NS      NX_NS_PER_SEC /* between two messages of progress */

typedef struct work {
    nx_worker *worker;
    nx_worker_job *job;
    nx_video_spec spec;
    nx_arena arena;             /* of the video's row and the checkpoint */
    nx_video_checkpoint resume; /* state NULL: from the beginning */
    const char *hash, *source;  /* of the video */
    nx_worker_parts parts;
    nx_worker_parts replaced; /* which the next checkpoint does not name; to be removed then */
    char holder[NX_OBJECT_HOLDER_MAX + 1]; /* of what is kept and not entered: this lease */
    nx_worker_keeper keeper;
    char results[NX_VIDEO_OUTPUTS][NX_OBJECT_NAME_SIZE]; /* that are kept */
    size_t result_count;
    nx_registry_handle *model;
    nx_video_outcome outcome;
    int fd;
    char *home;   /* DATA_DIR/jobs/ID; in it a folder for each lease, so that a worker which lost
                     its lease unknowingly writes into none but its own */
    char *folder; /* of this lease */
    char *log;
    const char *ended; /* how, for its trace */
    int64_t start_ns, told_ns;
    uint64_t start_frames;
} work;

/* --- folders ------------------------------------------------------------------------------------
 */

/* A path of two or three (third may be NULL); NULL without memory. The caller frees it. */
static char *join(const char *first, const char *second, const char *third)
{
    char *path = NULL;
    int made = asprintf(&path, "%s/%s%s%s", first, second, third != NULL ? "/" : "",
                        third != NULL ? third : "");
    return made >= 0 ? path : NULL;
}

/* Folders of earlier leases go: who was killed has left them, who was too slow has lost. */
static nx_status make_folder(work *w, nx_error *err)
{
    char lease[24];
    const char *frames = nx_video_output_file(NX_VIDEO_FRAMES);
    w->home = join(w->worker->options.data_dir, "jobs", w->job->id);
    snprintf(lease, sizeof lease, "%lld", (long long)w->job->fence);
    w->folder = w->home != NULL ? join(w->home, lease, NULL) : NULL;
    w->log = w->folder != NULL ? join(w->folder, frames, NULL) : NULL;
    if (w->home == NULL || w->folder == NULL || w->log == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a job");
    }
    nx_file_remove_tree(w->home);
    return nx_file_make_dirs(w->folder, err);
}

/* --- what the job is about ----------------------------------------------------------------------
 */

static nx_status find_video(work *w, nx_error *err)
{
    nx_video video = {0};
    if (w->job->video_id == NULL) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "the job's video was removed");
    }
    nx_status status =
        nx_store_video_get(w->worker->options.store, w->job->video_id, &w->arena, &video, err);
    w->hash = video.hash;
    w->source = video.name;
    return status;
}

static nx_status acquire(work *w, const char *name, uint32_t version, nx_error *err)
{
    nx_registry_task task = {
        .op = NX_REGISTRY_ACQUIRE, .kind = NX_STORED_DETECTOR, .version = version};
    snprintf(task.name, sizeof task.name, "%s", name);
    nx_status status = nx_registry_run(w->worker->options.registry, &task, err);
    w->model = status == NX_OK ? task.handle : NULL;
    return status;
}

static bool is_permanent(nx_status status)
{
    return status == NX_ERR_INVALID || status == NX_ERR_UNSUPPORTED || status == NX_ERR_CORRUPT ||
           status == NX_ERR_TOO_LARGE || status == NX_ERR_NOT_FOUND;
}

/* The last checkpoint with its model and its part of the record. */
static nx_status load_checkpoint(work *w, nx_error *err)
{
    nx_job_checkpoint saved = {0};
    const void *state = NULL;
    size_t size = 0;
    nx_status status =
        nx_store_job_load(w->worker->options.store, w->job->id, &w->arena, &saved, err);
    if (status == NX_OK) {
        status = nx_worker_parts_read(saved.state, saved.state_size, &w->parts, &state, &size, err);
    }
    if (status == NX_OK && nx_worker_parts_size(&w->parts) != (uint64_t)saved.result_offset) {
        status = nx_error_set(err, NX_ERR_CORRUPT, "the checkpoint's parts do not fit it");
    }
    if (status == NX_OK) {
        status = acquire(w, w->parts.model, w->parts.version, err);
    }
    if (status == NX_OK) {
        status = nx_worker_parts_restore(&w->parts, w->worker->options.objects, w->log, err);
    }
    if (status == NX_OK) {
        w->resume = (nx_video_checkpoint){.progress.frames = (uint64_t)saved.position,
                                          .log_bytes = (uint64_t)saved.result_offset,
                                          .state = state,
                                          .state_size = size};
    }
    return status;
}

/* Goes on from the checkpoint, or begins when there is none, or none that can be used: an ended job
 * that is tried again has no parts any more, another version may not know the state. */
static nx_status find_beginning(work *w, nx_error *err)
{
    char name[NX_MODEL_NAME_MAX + 1] = "";
    uint32_t version = 0;
    nx_error why = {0};
    nx_status status = load_checkpoint(w, &why);
    if (status == NX_OK) {
        return NX_OK;
    }
    if (!is_permanent(status)) {
        *err = why;
        return status;
    }
    if (w->parts.count > 0) {
        nx_log_warn("jobs", "job %s begins again: %s", w->job->id, why.message);
    }
    nx_registry_release(w->model);
    w->model = NULL;
    w->parts = (nx_worker_parts){.count = 0};
    status = w->spec.model[0] != '\0' ? nx_model_reference_parse(w->spec.model, name, &version, err)
                                      : NX_OK;
    if (status == NX_OK) {
        status = acquire(w, name, version, err);
    }
    if (status == NX_OK) {
        snprintf(w->parts.job, sizeof w->parts.job, "%s", w->job->id);
        snprintf(w->parts.model, sizeof w->parts.model, "%s", nx_registry_name(w->model));
        w->parts.version = nx_registry_version(w->model);
    }
    return status;
}

static nx_status prepare(work *w, nx_error *err)
{
    nx_status status = nx_video_spec_parse(w->job->options, strlen(w->job->options), &w->spec, err);
    if (status == NX_OK) {
        status = nx_worker_check_access(w->worker, w->job->id, w->spec.model, &w->arena, err);
    }
    if (status == NX_OK) {
        status = find_video(w, err);
    }
    if (status == NX_OK) {
        status = make_folder(w, err);
    }
    if (status == NX_OK) {
        status = find_beginning(w, err);
    }
    if (status == NX_OK) {
        status = nx_objects_fetch(w->worker->options.objects, w->hash, &w->fd, err);
    }
    return status;
}

/* --- the run ------------------------------------------------------------------------------------
 */

/* {"frames_done","frames_total","fps","eta_s"} on one line; null: not known. */
static void write_progress(const work *w, const nx_video_progress *progress, nx_buffer *out)
{
    double seconds = (double)(nx_clock_now_ns() - w->start_ns) / (double)NX_NS_PER_SEC;
    double done = (double)(progress->frames - w->start_frames);
    double fps = seconds > 0 ? done / seconds : 0;
    nx_buffer_printf(out, "{\"frames_done\":%llu", (unsigned long long)progress->frames);
    if (progress->frames_total >= progress->frames && progress->frames_total > 0 && fps > 0) {
        nx_buffer_printf(out, ",\"frames_total\":%llu,\"fps\":%.2f,\"eta_s\":%.1f}",
                         (unsigned long long)progress->frames_total, fps,
                         (double)(progress->frames_total - progress->frames) / fps);
    } else {
        nx_buffer_printf(out, ",\"frames_total\":null,\"fps\":%.2f,\"eta_s\":null}", fps);
    }
}

/* Leaves a message for the next heartbeat. */
static void note_progress(const nx_video_progress *progress, void *user)
{
    work *w = user;
    int64_t now = nx_clock_now_ns();
    if (now - w->told_ns < TELL_NS) {
        return;
    }
    w->told_ns = now;
    nx_buffer text = NX_BUFFER_INIT;
    write_progress(w, progress, &text);
    pthread_mutex_lock(&w->worker->lock);
    snprintf(w->job->progress, sizeof w->job->progress, "%s", nx_buffer_cstr(&text));
    pthread_mutex_unlock(&w->worker->lock);
    nx_buffer_free(&text);
}

static nx_status save(work *w, const nx_video_checkpoint *checkpoint, nx_error *err)
{
    const nx_job_lease lease = {.id = w->job->id, .fence = w->job->fence};
    nx_buffer state = NX_BUFFER_INIT;
    nx_buffer progress = NX_BUFFER_INIT;
    bool cancel = false;
    const char *const part[] = {w->parts.items[w->parts.count - 1].object};
    nx_worker_parts_write(&w->parts, checkpoint->state, checkpoint->state_size, &state);
    write_progress(w, &checkpoint->progress, &progress);
    nx_status status = NX_OK;
    if (state.failed || progress.failed) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a checkpoint");
    } else {
        const nx_job_checkpoint made = {.position = (int64_t)checkpoint->progress.frames,
                                        .result_offset = (int64_t)checkpoint->log_bytes,
                                        .state = state.data,
                                        .state_size = state.size,
                                        .objects = part,
                                        .object_count = 1,
                                        .replaces = w->parts.count == 1};
        char older[NX_WORKER_PROGRESS_SIZE];
        pthread_mutex_lock(&w->job->progress_lock);
        nx_worker_take_progress(w->worker, w->job, older);
        status =
            nx_store_job_save(w->worker->options.store, &lease, &made, w->worker->options.lease_ms,
                              nx_buffer_cstr(&progress), &cancel, err);
        pthread_mutex_unlock(&w->job->progress_lock);
    }
    nx_buffer_free(&state);
    nx_buffer_free(&progress);
    if (status == NX_ERR_CONFLICT || status == NX_ERR_NOT_FOUND) {
        nx_worker_end_soon(w->worker, w->job, NX_WORKER_LOST);
    } else if (status == NX_OK && cancel) {
        nx_worker_end_soon(w->worker, w->job, NX_WORKER_CANCEL);
    }
    return status;
}

static nx_status keep_checkpoint(const nx_video_checkpoint *checkpoint, void *user, nx_error *err)
{
    work *w = user;
    const nx_worker_options *options = &w->worker->options;
    if (w->parts.count == NX_WORKER_MOST_PARTS) {
        w->replaced = w->parts;
    }
    nx_status status =
        nx_worker_parts_add(&w->parts, &w->keeper, w->log, checkpoint->log_bytes, err);
    if (status == NX_OK) {
        status = save(w, checkpoint, err);
    }
    if (status == NX_OK) {
        (void)nx_store_object_release(options->store, w->holder, NULL); /* it ends by itself */
        nx_worker_parts_remove(&w->replaced, &w->keeper);
        w->replaced.count = 0;
        if (options->on_checkpoint != NULL) {
            options->on_checkpoint(w->job->id, checkpoint->progress.frames, options->user);
        }
    }
    return status;
}

static nx_status run(work *w, nx_error *err)
{
    const nx_worker_options *worker = &w->worker->options;
    const nx_worker_rules rules = nx_worker_get_rules(w->worker);
    const nx_video_run_options options = {
        .engine = worker->engine,
        .model = nx_registry_model(w->model),
        .spec = &w->spec,
        .postprocess = rules.postprocess,
        .priority = NX_PRIORITY_BACKGROUND,
        .fd = w->fd,
        .name = w->source,
        .log_path = w->log,
        .max_pixels = rules.max_pixels,
        .stop = &w->job->stop,
        .state = w->resume.state,
        .state_size = w->resume.state_size,
        .log_bytes = w->resume.log_bytes,
        .progress = note_progress,
        .checkpoint = keep_checkpoint,
        .user = w,
    };
    w->start_ns = w->told_ns = nx_clock_now_ns();
    w->start_frames = w->resume.state != NULL ? w->resume.progress.frames : 0;
    return nx_video_run(&options, &w->outcome, err);
}

/* --- results ------------------------------------------------------------------------------------
 */

static const char *const types[NX_VIDEO_OUTPUTS] = {
    [NX_VIDEO_FRAMES] = "application/zstd",
    [NX_VIDEO_SUMMARY] = "application/json",
    [NX_VIDEO_CSV] = "text/csv",
    [NX_VIDEO_COCO] = "application/json",
    [NX_VIDEO_MOT] = "text/plain",
    [NX_VIDEO_COUNTS] = "text/csv",
    [NX_VIDEO_HEATMAP] = "image/png",
    [NX_VIDEO_VIDEO] = "video/mp4",
};

static nx_status write_files(work *w, const char *error, nx_error *err)
{
    const nx_video_results_options options = {
        .folder = w->folder,
        .spec = &w->spec,
        .outcome = &w->outcome,
        .model = nx_model_get_spec(nx_registry_model(w->model)),
        .source = w->source,
        .fd = w->fd,
        .error = error,
        .max_pixels = nx_worker_get_rules(w->worker).max_pixels,
        .stop = &w->job->stop,
    };
    return nx_video_results_write(&options, err);
}

static nx_status keep_output(work *w, nx_video_output output, nx_json *json, nx_error *err)
{
    char *object = w->results[w->result_count];
    struct stat info;
    char *path = NULL;
    if (asprintf(&path, "%s/%s", w->folder, nx_video_output_file(output)) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for results");
    }
    nx_status status = NX_OK;
    if (stat(path, &info) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
    } else {
        status =
            nx_worker_keep_file(&w->keeper, path, 0, (uint64_t)info.st_size, NULL, object, err);
    }
    free(path);
    if (status == NX_OK) {
        w->result_count++;
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", nx_video_output_file(output));
        nx_json_key_string(json, "type", types[output]);
        nx_json_key_int(json, "size", info.st_size);
        nx_json_key_string(json, "object", object);
        nx_json_object_end(json);
    }
    return status;
}

/* The text of summary.json, as a member. */
static nx_status put_summary(work *w, nx_json *json, nx_error *err)
{
    char *path = NULL;
    nx_buffer text = NX_BUFFER_INIT;
    if (asprintf(&path, "%s/%s", w->folder, nx_video_output_file(NX_VIDEO_SUMMARY)) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for results");
    }
    nx_status status = nx_file_read(path, MOST_SUMMARY, &text, err);
    if (status == NX_OK) {
        while (text.size > 0 && text.data[text.size - 1] == '\n') {
            text.size--;
        }
        nx_json_key(json, "summary");
        nx_json_raw(json, text.data, text.size);
    }
    nx_buffer_free(&text);
    free(path);
    return status;
}

/* Writes the files and keeps them; out is the job's result. error: why the video ends early. */
static nx_status make_results(work *w, const char *error, nx_buffer *out, nx_error *err)
{
    nx_status status = write_files(w, error, err);
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key(&json, "files");
    nx_json_array_begin(&json);
    for (int i = 0; i < NX_VIDEO_OUTPUTS && status == NX_OK; i++) {
        if ((w->spec.outputs & 1U << i) != 0) {
            status = keep_output(w, (nx_video_output)i, &json, err);
        }
    }
    nx_json_array_end(&json);
    if (status == NX_OK) {
        status = put_summary(w, &json, err);
    }
    nx_json_object_end(&json);
    return status == NX_OK && out->failed
               ? nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for results")
               : status;
}

/* --- the end ------------------------------------------------------------------------------------
 */

/* The parts of a job that has ended so. What can't be taken away now is later. */
static void drop_parts(work *w)
{
    nx_error err = {0};
    nx_store *store = w->worker->options.store;
    nx_status status = nx_store_object_release(store, w->holder, &err);
    if (status == NX_OK) {
        status = nx_store_job_drop_parts(store, w->worker->options.objects, w->job->id, &err);
    }
    if (status != NX_OK) {
        nx_log_warn("jobs", "parts of job %s are left: %s", w->job->id, err.message);
    }
    nx_worker_parts_remove(&w->replaced, &w->keeper);
}

static void finish(work *w, nx_job_state state, const char *result, const char *error)
{
    const char *objects[NX_VIDEO_OUTPUTS];
    for (size_t i = 0; i < w->result_count; i++) {
        objects[i] = w->results[i];
    }
    const nx_job_outcome outcome = {.state = state,
                                    .result = result,
                                    .error = error,
                                    .objects = objects,
                                    .object_count = result != NULL ? w->result_count : 0};
    if (nx_worker_finish(w->worker, w->job, outcome)) {
        w->ended = nx_job_state_name(state);
        nx_log_info("jobs", "job %s has %s after %llu frames%s%s", w->job->id,
                    state == NX_JOB_CANCELLED ? "been cancelled" : nx_job_state_name(state),
                    (unsigned long long)w->outcome.progress.frames, error != NULL ? ": " : "",
                    error != NULL ? error : "");
        drop_parts(w);
    }
}

/* Ends or gives back a job that has no results, for a reason. */
static void give_up(work *w, nx_status status, const nx_error *err)
{
    const nx_job_lease lease = {.id = w->job->id, .fence = w->job->fence};
    nx_store *store = w->worker->options.store;
    nx_worker_why why = nx_worker_why_of(w->worker, w->job);
    nx_job_state became = NX_JOB_QUEUED;
    nx_error second = {0};
    nx_status told = NX_OK;
    if (w->folder != NULL) {
        nx_file_remove_tree(w->folder); /* on a full disk there is room then for what is told */
    }
    if (why == NX_WORKER_LOST || status == NX_ERR_CONFLICT) {
        nx_log_warn("jobs", "job %s goes on at another worker", w->job->id);
    } else if (why == NX_WORKER_CANCEL) {
        finish(w, NX_JOB_CANCELLED, NULL, NULL);
    } else if (why == NX_WORKER_STOPS) {
        w->ended = "released";
        told = nx_store_job_release(store, &lease, &second);
    } else if (is_permanent(status)) {
        finish(w, NX_JOB_FAILED, NULL, err->message);
    } else {
        w->ended = "retried";
        nx_log_warn("jobs", "job %s is tried again later: %s", w->job->id, err->message);
        told = nx_store_job_fail(store, &lease, err->message, NULL, &became, &second);
        if (told == NX_OK && became == NX_JOB_CANCELLED) { /* a dead one may be tried again */
            drop_parts(w);
        }
    }
    if (told != NX_OK) { /* its lease runs out instead */
        nx_log_warn("jobs", "job %s is not given back: %s", w->job->id, second.message);
    }
}

/* A video that is damaged, or ends the analysis otherwise for good, has results until there. */
static bool has_results(const work *w, nx_status status)
{
    return status == NX_OK || (is_permanent(status) && w->outcome.progress.frames > 0);
}

/* How far it came in the end; finishing says whether the lease still holds. */
static void tell_last(work *w)
{
    const nx_job_lease lease = {.id = w->job->id, .fence = w->job->fence};
    char older[NX_WORKER_PROGRESS_SIZE];
    nx_buffer text = NX_BUFFER_INIT;
    bool cancel = false;
    nx_error err = {0};
    write_progress(w, &w->outcome.progress, &text);
    pthread_mutex_lock(&w->job->progress_lock);
    nx_worker_take_progress(w->worker, w->job, older);
    if (!text.failed &&
        nx_store_job_heartbeat(w->worker->options.store, &lease, w->worker->options.lease_ms,
                               nx_buffer_cstr(&text), &cancel, &err) != NX_OK) {
        nx_log_debug("jobs", "the last progress of job %s is not told: %s", w->job->id,
                     err.message);
    }
    pthread_mutex_unlock(&w->job->progress_lock);
    nx_buffer_free(&text);
}

static void do_work(work *w)
{
    nx_buffer result = NX_BUFFER_INIT;
    nx_error err = {0};
    nx_error second = {0};
    nx_status status = prepare(w, &err);
    if (status == NX_OK) {
        status = run(w, &err);
    }
    if (is_permanent(status) && w->resume.state != NULL && w->outcome.progress.frames == 0) {
        nx_log_warn("jobs", "job %s begins again: %s", w->job->id, err.message);
        w->replaced = w->parts;
        w->parts.count = 0;
        w->resume = (nx_video_checkpoint){.state = NULL}; /* as of another version of Nexus */
        status = run(w, &err);
    }
    if (!has_results(w, status)) {
        give_up(w, status, &err);
        return;
    }
    if (status != NX_OK) {
        w->spec.outputs &= ~(1U << NX_VIDEO_VIDEO); /* it would end in the same place */
    }
    const char *error = status != NX_OK ? err.message : NULL;
    nx_status made = make_results(w, error, &result, &second);
    if (made == NX_OK) {
        tell_last(w);
        finish(w, error == NULL ? NX_JOB_SUCCEEDED : NX_JOB_FAILED, nx_buffer_cstr(&result), error);
    } else {
        give_up(w, made, &second);
    }
    nx_buffer_free(&result);
}

void nx_worker_do(nx_worker *worker, nx_worker_job *job)
{
    work *w = calloc(1, sizeof *w);
    if (w == NULL) {
        const nx_job_lease lease = {.id = job->id, .fence = job->fence};
        nx_job_state became = NX_JOB_QUEUED;
        (void)nx_store_job_fail(worker->options.store, &lease, "no memory for a job", NULL, &became,
                                NULL);
        return;
    }
    const int64_t began = nx_clock_now_ns();
    w->worker = worker;
    w->job = job;
    w->ended = "lost";
    w->arena = nx_arena_make(0);
    w->fd = -1;
    snprintf(w->holder, sizeof w->holder, "%s:%lld", job->id, (long long)job->fence);
    w->keeper = (nx_worker_keeper){
        .store = worker->options.store, .objects = worker->options.objects, .holder = w->holder};
    nx_video_spec_init(&w->spec);
    do_work(w);
    nx_worker_trace(worker, job, began, w->outcome.progress.frames, w->ended);
    (void)nx_store_object_release(worker->options.store, w->holder, NULL); /* ends by itself */
    if (w->fd >= 0) {
        close(w->fd);
    }
    if (w->folder != NULL) {
        nx_file_remove_tree(w->folder);
        (void)rmdir(w->home); /* another lease's folder may be in it */
    }
    nx_registry_release(w->model);
    nx_video_spec_free(&w->spec);
    nx_arena_free(&w->arena);
    free(w->home);
    free(w->folder);
    free(w->log);
    free(w);
}

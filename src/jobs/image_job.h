/*
 * One picture through the engine: encoded bytes in, detections (and, when asked for, the annotated
 * picture) out. The command line and the HTTP API both submit these.
 */
#ifndef NX_JOBS_IMAGE_JOB_H
#define NX_JOBS_IMAGE_JOB_H

#include "base/buffer.h"
#include "base/error.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "media/codec.h"
#include "results/results.h"
#include "vision/postprocess.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nx_annotate {
    NX_ANNOTATE_NONE,
    NX_ANNOTATE_JPEG,
    NX_ANNOTATE_PNG,
} nx_annotate;

typedef struct nx_image_job nx_image_job;

typedef struct nx_image_job_options {
    nx_postprocess_options postprocess; /* thresholds and filters */
    nx_annotate annotate;
    nx_priority priority;
    uint64_t max_pixels; /* 0: NX_DECODE_DEFAULT_MAX_PIXELS */
    int64_t deadline_ns; /* nx_clock_now_ns() scale; 0 waits without end */
} nx_image_job_options;

/*
 * Called exactly once for a submitted job, on an engine thread, with the outcome. The callback may
 * free the job. status is NX_OK, or what went wrong with err's message (NX_ERR_CANCELLED and
 * NX_ERR_TIMEOUT included).
 */
typedef void (*nx_image_job_done)(nx_image_job *job, nx_status status, const nx_error *err,
                                  void *user);

/*
 * Prepares a job: probes the header of bytes (which must outlive the job; they are not copied).
 * model is borrowed and must outlive the job. Cheap: no pixels are decoded here.
 * Errors: those of nx_image_probe; NX_ERR_NO_MEMORY.
 */
nx_status nx_image_job_new(nx_model *model, const void *bytes, size_t size,
                           const nx_image_job_options *options, nx_image_job **out, nx_error *err);

/* Queues the job. NX_ERR_BUSY when the queue is full and NX_ERR_UNAVAILABLE when the engine is
 * draining; then done is not called and the job still belongs to the caller. */
nx_status nx_image_job_submit(nx_image_job *job, nx_engine *engine, nx_image_job_done done,
                              void *user, nx_error *err);

/* Takes the job out of the queue if it still waits there: done is then called with
 * NX_ERR_CANCELLED (on this thread) before this returns. A job that is submitted only afterwards
 * ends so before its picture is decoded; one that is further is left to finish. Must not race with
 * the freeing of the job. Returns whether it was taken out. */
bool nx_image_job_cancel(nx_image_job *job, nx_engine *engine);

/* Submits and waits. */
nx_status nx_image_job_run(nx_image_job *job, nx_engine *engine, nx_error *err);

/* Valid after success, until the job is freed. source is left NULL for the caller to set. */
nx_result nx_image_job_result(const nx_image_job *job);

/* The annotated picture, when it was asked for; moves ownership to the caller. */
nx_buffer nx_image_job_take_picture(nx_image_job *job);

/* Not while it is queued or running. NULL is fine. */
void nx_image_job_free(nx_image_job *job);

#endif

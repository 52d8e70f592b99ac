/*
 * Segmentation of one picture by a prompt: encoded bytes (or the id of a picture that was encoded
 * before) and points or boxes in, masks out. The command line and the HTTP API both submit these.
 *
 * A picture that the cache holds goes straight to the decoder. Another is encoded first, once for
 * all jobs that ask for it at the same time.
 */
#ifndef NX_JOBS_SEGMENT_JOB_H
#define NX_JOBS_SEGMENT_JOB_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/json_writer.h"
#include "engine/engine.h"
#include "engine/sam.h"
#include "jobs/image_job.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_segment_job nx_segment_job;

typedef enum nx_mask_format {
    NX_MASK_RLE,     /* {"size":[h,w],"counts":"..."}, COCO's compressed run lengths */
    NX_MASK_POLYGON, /* [[x1,y1,x2,y2,...],...], outlines and holes, filled even-odd */
    NX_MASK_PNG,     /* base64 of a gray PNG of the picture's size, 255 where the mask is */
} nx_mask_format;

/* The result as a JSON object, which takes long for many masks of a large picture. */
typedef struct nx_segment_json_options {
    bool wanted;
    nx_mask_format format;
    const char *name; /* the object's first member; both live as long as the job */
    const char *value;
} nx_segment_json_options;

typedef struct nx_segment_job_options {
    nx_sam_prompt prompt; /* checked: nx_sam_prompt_check */
    bool mask_png;        /* also make a gray PNG: 255 where a mask is */
    nx_annotate annotate; /* also draw the masks on the picture; needs its bytes */
    nx_segment_json_options json;
    nx_priority priority;
    uint64_t max_pixels; /* 0: NX_DECODE_DEFAULT_MAX_PIXELS */
    int64_t deadline_ns; /* nx_clock_now_ns() scale; 0 waits without end. One that runs ends with
                            NX_ERR_TIMEOUT after the mask that it is at */
} nx_segment_job_options;

/* Where the embedding came from. */
typedef enum nx_embedding_origin {
    NX_EMBEDDING_COMPUTED, /* by this job */
    NX_EMBEDDING_CACHED,   /* it was there */
    NX_EMBEDDING_SHARED,   /* by another job that ran meanwhile */
} nx_embedding_origin;

/* Milliseconds. */
typedef struct nx_segment_timings {
    double queue;
    double decode; /* the picture */
    double preprocess;
    double encoder;     /* its Run; with the opening of the model, the first time */
    double decoder;     /* its Runs */
    double postprocess; /* masks to the picture's size, drawing, JSON */
    double total;
} nx_segment_timings;

typedef struct nx_segment_result {
    const char *model;  /* lives as long as the job's sam */
    const char *device; /* "cpu", "cuda" or "tensorrt" */
    char image_id[NX_CONTENT_HASH_HEX];
    uint32_t image_width; /* of the original, upright image */
    uint32_t image_height;
    const nx_sam_masks *masks; /* lives as long as the job */
    nx_embedding_origin origin;
    nx_segment_timings timings;
} nx_segment_result;

/* As nx_image_job_done. */
typedef void (*nx_segment_job_done)(nx_segment_job *job, nx_status status, const nx_error *err,
                                    void *user);

/*
 * Prepares a job: probes the header of bytes (which must outlive the job; they are not copied),
 * hashes them and checks the prompt against the picture's size. sam and engine are borrowed and
 * must outlive the job. No pixels are decoded here.
 * Errors: those of nx_image_probe; NX_ERR_INVALID (a point or box outside); NX_ERR_NO_MEMORY.
 */
nx_status nx_segment_job_new(nx_sam *sam, nx_engine *engine, const void *bytes, size_t size,
                             const nx_segment_job_options *options, nx_segment_job **out,
                             nx_error *err);

/* The same for a picture that was encoded before; options->annotate must be none.
 * Errors: NX_ERR_NOT_FOUND (never seen, or given up since); NX_ERR_INVALID; NX_ERR_NO_MEMORY. */
nx_status nx_segment_job_new_by_id(nx_sam *sam, nx_engine *engine, const nx_content_hash *id,
                                   const nx_segment_job_options *options, nx_segment_job **out,
                                   nx_error *err);

/* As nx_image_job_submit: done is called exactly once after NX_OK, on an engine thread (or the one
 * that cancels), and may free the job; it is not called after an error. */
nx_status nx_segment_job_submit(nx_segment_job *job, nx_segment_job_done done, void *user,
                                nx_error *err);

/* Ends a job that waits: done is then called with NX_ERR_CANCELLED on this thread before this
 * returns true. One that runs ends at its next step. Must not race with the job's freeing. */
bool nx_segment_job_cancel(nx_segment_job *job);

/* Submits and waits. */
nx_status nx_segment_job_run(nx_segment_job *job, nx_error *err);

/* Valid after success, until the job is freed. */
nx_segment_result nx_segment_job_result(const nx_segment_job *job);

/* What was made beside the masks; moves ownership to the caller. */
nx_buffer nx_segment_job_take_mask_png(nx_segment_job *job);
nx_buffer nx_segment_job_take_picture(nx_segment_job *job);
nx_buffer nx_segment_job_take_json(nx_segment_job *job);

/* Not while it is queued or running. NULL is fine. */
void nx_segment_job_free(nx_segment_job *job);

/* --- as JSON ------------------------------------------------------------------------------------
 */

/* The name in options: "rle", "polygon", "png". False: another. */
bool nx_mask_format_parse(const char *name, nx_mask_format *out);

/* Asked before each mask, of which `done` are written: NX_OK, or why no more shall be. */
typedef nx_status (*nx_segment_json_check)(void *user, size_t done, nx_error *err);

/* The members of one result but its timings, inside an object that the caller has opened: "model",
 * "execution_provider", "image_id", "image", "embedding",
 * "masks":[{"mask"|"polygon"|"png","score","area","box","prompt"}]. Errors: NX_ERR_NO_MEMORY,
 * NX_ERR_INTERNAL, check's. */
nx_status nx_segment_json_members(const nx_segment_result *result, nx_mask_format format,
                                  nx_segment_json_check check, void *user, nx_json *json,
                                  nx_error *err);

/* "timings_ms", the last member. */
void nx_segment_json_timings(const nx_segment_timings *timings, nx_json *json);

#endif

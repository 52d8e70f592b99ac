/*
 * What is wanted of a video: the options of a job, as JSON in requests and in the database, or set
 * one by one from the command line. Plain values, checked as far as they can be without the model
 * (whose class names are not known here).
 */
#ifndef NX_JOBS_VIDEO_SPEC_H
#define NX_JOBS_VIDEO_SPEC_H

#include "base/error.h"
#include "base/json_writer.h"
#include "engine/model_store.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* The files that a job gives. */
typedef enum nx_video_output {
    NX_VIDEO_FRAMES,  /* frames.ndjson.zst, of which the others are made; always there */
    NX_VIDEO_SUMMARY, /* summary.json; always there */
    NX_VIDEO_CSV,     /* objects.csv */
    NX_VIDEO_COCO,    /* coco.json */
    NX_VIDEO_MOT,     /* mot.txt */
    NX_VIDEO_COUNTS,  /* counts.csv */
    NX_VIDEO_HEATMAP, /* heatmap.png */
    NX_VIDEO_VIDEO,   /* annotated.mp4 */
    NX_VIDEO_OUTPUTS,
} nx_video_output;

/* "frames.ndjson.zst", "summary.json" and so on. */
const char *nx_video_output_file(nx_video_output output);

#define NX_VIDEO_MAX_STRIDE 1000
#define NX_VIDEO_MAX_FPS    1000

typedef struct nx_video_spec {
    char model[NX_MODEL_NAME_MAX + 12]; /* "NAME" or "NAME:VERSION"; "": the default one */
    double confidence;                  /* 0..1; negative: as the server's */
    double iou;                         /* 0..1; negative: as the server's */
    char *classes;                      /* "person,bus,7", owned; NULL: all */
    uint32_t stride;                    /* every so many frames is looked at */
    double fps;                         /* or at most so many a second of video; 0: no such limit */
    bool track;
    bool motion_gate;
    bool adaptive_stride;
    char *places;          /* {"zones":[...],"lines":[...]} as text, owned; NULL: none */
    uint32_t outputs;      /* a bit for each nx_video_output */
    double counts_every_s; /* of the rows of counts.csv */
} nx_video_spec;

/* Every frame, tracked, of all classes; every file but the annotated video. */
void nx_video_spec_init(nx_video_spec *spec);
void nx_video_spec_free(nx_video_spec *spec);

/* Of a list "csv,mot": these, and those that are always there. Errors: NX_ERR_INVALID with a
 * suggestion. */
nx_status nx_video_spec_set_outputs(nx_video_spec *spec, const char *list, nx_error *err);

/*
 * Takes one member of a JSON object into spec: "model", "confidence", "iou", "classes" (a list of
 * names and numbers, or "person,bus"), "stride", "fps", "track", "motion_gate", "adaptive_stride",
 * "zones", "lines", "outputs", "counts_every". *known is false when it is none of these, and then
 * nothing has happened. Errors: NX_ERR_INVALID (what is wrong, and where), NX_ERR_NO_MEMORY.
 */
nx_status nx_video_spec_take(nx_video_spec *spec, const char *name, const json_t *value,
                             bool *known, nx_error *err);

/* The names that nx_video_spec_take knows. */
const char *const *nx_video_spec_names(size_t *count);

/* What holds between the members. Errors: NX_ERR_INVALID. */
nx_status nx_video_spec_check(const nx_video_spec *spec, nx_error *err);

/* The whole spec as members, inside an object that the caller has opened; reading them gives the
 * same again. */
void nx_video_spec_json_members(const nx_video_spec *spec, nx_json *json);

/* Reads an object of such members and nothing else; spec is initialised by it, and empty after an
 * error. Errors as above. */
nx_status nx_video_spec_parse(const char *text, size_t size, nx_video_spec *spec, nx_error *err);

#endif

/*
 * Making a detector faster: the whole way from a model file to a better one, with the proof.
 *
 * The head is cut off (head_cut.h) and batch, height and width become free (dynamic.h). Then, as
 * asked for, weights and activations become 8-bit integers (calibrate.h, quantize.h) or float16
 * (to_half.h). Pictures that had no part in the calibration judge the result by average precision,
 * and both models run alternately for their speed.
 */
#ifndef NX_OPTIMIZE_OPTIMIZE_H
#define NX_OPTIMIZE_OPTIMIZE_H

#include "engine/runtime.h"
#include "eval/coco_ap.h"
#include "optimize/quant_weights.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * What AP50-95 may be lost at most; more is for the caller to refuse. The second holds against the
 * original's own detections: those are all "right", so any change of a box or of the order of
 * scores is a loss there, while against annotations gains and losses meet. On 64 COCO pictures a
 * quantised yolov8n that is 0.006 better against the annotations is 0.026 off the original.
 */
#define NX_OPTIMIZE_MAX_LOSS         0.01
#define NX_OPTIMIZE_MAX_DISAGREEMENT 0.05

typedef enum nx_precision {
    NX_PRECISION_FLOAT32,
    NX_PRECISION_INT8,
    NX_PRECISION_FLOAT16,
} nx_precision;

/* Strings are borrowed for the call. */
typedef struct nx_optimize_options {
    const char *model;  /* .onnx file */
    const char *output; /* file that is written, whatever the verdict on it */
    nx_precision precision;
    nx_weight_form weights; /* INT8 */
    /* Folder or video to calibrate INT8 with; NULL: `images`. Without other pictures, or when both
     * are one folder, every second picture calibrates and the others judge. */
    const char *calibrate;
    const char *images;      /* folder of pictures that judge; NULL: as above, or nothing judges */
    const char *annotations; /* COCO file for `images`; NULL: the original's own detections judge */
    size_t limit;            /* most pictures to calibrate with, and to judge by; 0: 128 */
    uint32_t threads;        /* 0: 1 */
    size_t rounds;           /* of the speed measurement; 0: none */
    /* All may be NULL. stage: a new part of the work begins; step: how far it is. */
    void (*stage)(const char *what, void *user);
    void (*step)(size_t done, size_t total, void *user);
    void (*warn)(const char *message, void *user);
    void *user;
} nx_optimize_options;

/* One Run of a model at one size. */
typedef struct nx_optimize_speed {
    bool optimized; /* false: the original */
    uint32_t width, height;
    double run_ms;     /* median on one thread */
    double per_second; /* pictures, two Runs at once */
} nx_optimize_speed;

#define NX_OPTIMIZE_SPEEDS 3

typedef struct nx_optimize_report {
    bool dynamic;        /* the sizes could be freed */
    size_t calibrated;   /* pictures */
    size_t judged;       /* pictures; 0: no average precision was measured */
    bool by_annotations; /* else against the original's own detections */
    uint64_t bytes_before, bytes_after;
    nx_coco_ap before, after; /* at the same input size */
    bool own_aspect;          /* at each picture's own aspect, which only the new one can do: */
    nx_coco_ap after_own;
    nx_optimize_speed speeds[NX_OPTIMIZE_SPEEDS]; /* the original first */
    size_t speed_count;
} nx_optimize_report;

/*
 * Blocking; minutes for INT8. Errors: those of nx_graph_load, nx_head_cut, nx_quant_plan_make and
 * nx_samples_open; NX_ERR_INVALID (INT8 without pictures), NX_ERR_CORRUPT (no picture could be
 * decoded), NX_ERR_IO (output), those of nx_model_open and of a Run.
 */
nx_status nx_optimize(nx_runtime *runtime, const nx_optimize_options *options,
                      nx_optimize_report *out, nx_error *err);

/* The limit that applies to a report. */
double nx_optimize_limit(const nx_optimize_report *report);

/* Whether the report allows the model to be used: no more than the limit is lost, or nothing was
 * measured. */
bool nx_optimize_acceptable(const nx_optimize_report *report);

#endif

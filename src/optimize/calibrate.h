/* Watching what numbers a model's layers give for real pictures. */
#ifndef NX_OPTIMIZE_CALIBRATE_H
#define NX_OPTIMIZE_CALIBRATE_H

#include "engine/session.h"
#include "optimize/histogram.h"
#include "optimize/quant_plan.h"

typedef struct nx_calibration nx_calibration;

/*
 * Builds a session of the plan's graph that shows what its layers give; threads: for one Run.
 * plan and runtime are borrowed. Errors: those of nx_session_open; NX_ERR_NO_MEMORY.
 */
nx_status nx_calibration_new(nx_runtime *runtime, const nx_quant_plan *plan, uint32_t threads,
                             nx_calibration **out, nx_error *err);
void nx_calibration_free(nx_calibration *calibration);

/* Runs a picture: 3 planes of height rows of width floats, 0..1. Errors: those of nx_session_run.
 */
nx_status nx_calibration_add(nx_calibration *calibration, const float *planes, uint32_t width,
                             uint32_t height, nx_error *err);

/* By layer of the plan, empty for layers that are not measured (quantize.h). */
const nx_histogram *nx_calibration_histograms(const nx_calibration *calibration);

#endif

/*
 * How good detections are: against annotations or, without those, against what the original model
 * found with confidence.
 */
#ifndef NX_OPTIMIZE_JUDGE_H
#define NX_OPTIMIZE_JUDGE_H

#include "eval/coco_json.h"
#include "optimize/detect.h"

/* The original's boxes from this confidence on stand for the truth where there is none. */
#define NX_JUDGE_CONFIDENCE 0.25

typedef struct nx_judge nx_judge;

/*
 * Judges by annotations: images are matched to samples by file name. original is what the original
 * model found: samples that failed there don't count. All is borrowed during the call only.
 * Errors: NX_ERR_INVALID (no class in common, no boxes on these pictures), NX_ERR_NO_MEMORY.
 */
nx_status nx_judge_by_annotations(const nx_coco_dataset *dataset, const nx_model_spec *spec,
                                  const nx_samples *samples, const nx_found *original,
                                  nx_judge **out, nx_error *err);

/* Judges by the original's own detections. Errors: NX_ERR_INVALID (it found nothing with
 * confidence), NX_ERR_NO_MEMORY. */
nx_status nx_judge_by_original(const nx_model_spec *spec, const nx_samples *samples,
                               const nx_found *original, nx_judge **out, nx_error *err);

/* NULL is fine. */
void nx_judge_free(nx_judge *judge);

/* Errors: those of nx_coco_evaluate. */
nx_status nx_judge_evaluate(const nx_judge *judge, const nx_found *found, nx_coco_ap *out,
                            nx_error *err);

#endif

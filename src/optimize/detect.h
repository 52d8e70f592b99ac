/* What a model finds in many pictures, as the engine would run it. */
#ifndef NX_OPTIMIZE_DETECT_H
#define NX_OPTIMIZE_DETECT_H

#include "engine/model.h"
#include "eval/coco_ap.h"
#include "optimize/samples.h"

#include <stdbool.h>

/* Called between pictures, on one thread at a time; done counts up to total. */
typedef void (*nx_detect_progress)(size_t done, size_t total, void *user);

/* Owns its arrays; release with nx_found_free. */
typedef struct nx_found {
    nx_coco_result *results; /* image: which sample; category: the model's class */
    size_t count;
    size_t capacity;
    bool *failed; /* by sample: it could not be decoded */
    size_t failed_count;
    nx_error failure; /* of the first that failed */
} nx_found;

/*
 * Detects in every picture with the settings of an evaluation (confidence 0.001, IoU 0.7, several
 * labels a box, 300 boxes), on `threads` threads. width and height: of the model's input, or 0 for
 * what nx_model_input_size gives each picture. A picture that can't be decoded counts as failed
 * and is no error. Errors: those of a Run; NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread).
 */
nx_status nx_detect_all(nx_model *model, const nx_samples *samples, uint32_t width, uint32_t height,
                        uint32_t threads, nx_detect_progress progress, void *user, nx_found *out,
                        nx_error *err);
void nx_found_free(nx_found *found);

#endif

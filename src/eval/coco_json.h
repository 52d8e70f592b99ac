/*
 * COCO's JSON files (cocodataset.org/#format-data, #format-results): an "instances" file with the
 * images, categories and boxes that are true, and a "results" file with a detector's boxes.
 *
 * Reading is strict, because an evaluation of half understood input is worse than none: an error
 * names the file, the place and the member ("x.json: annotations[17].bbox ..."). Members that are
 * not needed here are let pass. Thread-safe; no state.
 */
#ifndef NX_EVAL_COCO_JSON_H
#define NX_EVAL_COCO_JSON_H

#include "base/error.h"
#include "eval/coco_ap.h"

#include <stddef.h>
#include <stdint.h>

/* Larger files are refused before they are parsed (COCO's own largest has 450 MB). */
#define NX_COCO_MAX_FILE_BYTES ((size_t)512 << 20)

typedef struct nx_coco_image {
    int64_t id;
    char *file_name;
    uint32_t width; /* 0 when the file does not say */
    uint32_t height;
} nx_coco_image;

typedef struct nx_coco_category {
    int64_t id;
    char *name;
} nx_coco_category;

/* Owns everything it points to; release with nx_coco_dataset_free. */
typedef struct nx_coco_dataset {
    nx_coco_image *images; /* by rising id, which is unique */
    size_t image_count;
    nx_coco_category *categories; /* by rising id; ids and names are unique */
    size_t category_count;
    nx_coco_truth *truths; /* in the file's order; indices into the two lists above */
    size_t truth_count;
} nx_coco_dataset;

/*
 * Reads an instances file ("-" is standard input). out is empty after a failure.
 * Errors: NX_ERR_INVALID (not JSON, or a member that is missing or wrong), NX_ERR_TOO_LARGE,
 * NX_ERR_NOT_FOUND, NX_ERR_IO, NX_ERR_NO_MEMORY.
 */
nx_status nx_coco_dataset_read(const char *path, nx_coco_dataset *out, nx_error *err);

/* As nx_coco_dataset_read, from text in memory; file is for messages. */
nx_status nx_coco_dataset_parse(const char *text, size_t size, const char *file,
                                nx_coco_dataset *out, nx_error *err);
void nx_coco_dataset_free(nx_coco_dataset *dataset);

/*
 * Reads a results file: every entry must name an image and a category of dataset. The caller frees
 * *out. Errors: as nx_coco_dataset_read.
 */
nx_status nx_coco_results_read(const char *path, const nx_coco_dataset *dataset,
                               nx_coco_result **out, size_t *out_count, nx_error *err);

/* As nx_coco_results_read, from text in memory. */
nx_status nx_coco_results_parse(const char *text, size_t size, const char *file,
                                const nx_coco_dataset *dataset, nx_coco_result **out,
                                size_t *out_count, nx_error *err);

#endif

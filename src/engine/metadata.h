/*
 * What a detector's file says about itself in ONNX metadata, before anything is built: the keys
 * that Ultralytics' exporter writes, and those of files that Nexus has optimised. For model.c.
 */
#ifndef NX_ENGINE_METADATA_H
#define NX_ENGINE_METADATA_H

#include "base/error.h"
#include "engine/class_names.h"
#include "engine/model.h"

#include <stdbool.h>
#include <stdint.h>

#define NX_MODEL_MAX_SIDE      8192
#define NX_MODEL_MAX_KEYPOINTS 256

typedef struct nx_metadata {
    bool has_task;
    nx_model_task task;
    nx_name_table names; /* owned; empty when the file has none */
    bool has_names;
    uint32_t stride;
    uint32_t size;            /* longer side of "imgsz"; 640 when there is none */
    uint32_t keypoints;       /* of "kpt_shape"; 0 when there is none */
    uint32_t keypoint_values; /* 2 or 3 */
    bool split;               /* nexus_head=split */
    bool channels_last;       /* nexus_layout=nhwc */
    uint32_t reg_max;
    bool quantized; /* has integer kernels */
    uint64_t file_size;
    uint8_t content[32];                     /* BLAKE2b-256 of the file (RFC 7693) */
    bool has_external_data;                  /* weights in other files, probably */
    char *description, *license, *optimized; /* owned; "" when there is none */
} nx_metadata;

/* out is to be freed whatever is returned. Errors: NX_ERR_NOT_FOUND, NX_ERR_CORRUPT,
 * NX_ERR_UNSUPPORTED (another task than Nexus knows), NX_ERR_NO_MEMORY. */
nx_status nx_metadata_read(const char *path, nx_metadata *out, nx_error *err);
void nx_metadata_free(nx_metadata *metadata);

#endif

/* What the files of a session share: session.c, session_run.c and pinned.c. */
#ifndef NX_ENGINE_SESSION_INTERNAL_H
#define NX_ENGINE_SESSION_INTERNAL_H

#include "engine/ort.h"
#include "engine/provider.h"
#include "engine/session.h"

/* One side of a session. */
typedef struct nx_ports {
    nx_tensor *items; /* names are owned */
    size_t count;
} nx_ports;

/* Memory that a GPU reads without a copy in between; shared by a session and what it gave out. */
typedef struct nx_pinned nx_pinned;

struct nx_session {
    nx_runtime *runtime; /* borrowed */
    OrtSession *session;
    char *name; /* the path, for messages */
    nx_ports inputs;
    nx_ports outputs;
    const char **output_names; /* of `outputs`, as Run takes them */
    nx_provider provider;
    nx_pinned *pinned; /* NULL on the CPU */
};

ONNXTensorElementDataType nx_type_to_ort(nx_type ours);

/* Fills type, rank and dims; NX_TYPE_OTHER of rank 0 for more than NX_TENSOR_MAX_RANK dimensions.
 * The caller releases the OrtStatus; NULL is success. */
OrtStatus *nx_tensor_read_shape(const OrtApi *api, const OrtTensorTypeAndShapeInfo *info,
                                nx_tensor *out);

/* For a session on a GPU. Errors: NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE. */
nx_status nx_pinned_new(const nx_runtime *runtime, const OrtSession *session, nx_pinned **out,
                        nx_error *err);
void nx_pinned_release(nx_pinned *pinned); /* NULL is fine */
const OrtMemoryInfo *nx_pinned_info(const nx_pinned *pinned);

#endif

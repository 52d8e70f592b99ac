/*
 * The Open Inference Protocol v2 (github.com/kserve/open-inference-protocol) below /v2, with
 * Triton's extensions for binary data, model configuration, statistics and the model repository, so
 * that their clients and load generators work unchanged. What the kserve_*.c files share.
 *
 * Every detector has two faces: NAME takes and gives the tensors of its graph, NAME.image takes
 * encoded pictures and gives detections. A NAME that is given pictures gives detections too.
 */
#ifndef NX_API_KSERVE_H
#define NX_API_KSERVE_H

#include "api/internal.h"
#include "api/kserve_request.h"
#include "api/kserve_stats.h"
#include "engine/session.h"

#include <stdatomic.h>
#include <stdbool.h>

#define NX_KSERVE_PREFIX    "/v2"
#define NX_KSERVE_MAX_BATCH 64 /* dimension 0 of a graph that takes batches */

/* A model in use, from nx_kserve_acquire_path to nx_kserve_release. */
typedef struct nx_kserve_model {
    char name[128];                   /* with ".image" when pictures */
    char base[NX_MODEL_NAME_MAX + 1]; /* without */
    uint32_t wanted;                  /* the version that was asked for; 0: the one that serves */
    char version[16];
    nx_registry_handle *handle;
    nx_model *model;
    nx_session *session; /* the model's graph */
    bool pictures;       /* it goes by NAME.image */
} nx_kserve_model;

/* The model of a request's path; without a version in it the one that serves. out is to be released
 * after success. Errors: NX_ERR_NOT_FOUND, NX_ERR_UNAVAILABLE (not in memory: load out->base in
 * version out->wanted, and adopt it). */
nx_status nx_kserve_acquire_path(nx_api *api, const nx_http_request *request, nx_kserve_model *out,
                                 nx_error *err);
/* Takes over the caller's handle of a model that was not in memory. */
void nx_kserve_adopt(nx_kserve_model *model, nx_registry_handle *handle);
void nx_kserve_release(nx_kserve_model *model);

/* NAME of NAME.image, or the name as it is; returns whether it is the former. "" when it is too
 * long for a model's name. */
bool nx_kserve_base_name(const char *name, char base[NX_MODEL_NAME_MAX + 1]);

/* What comes out, as the protocol sees it. NX_TYPE_OTHER is BYTES. */
const nx_tensor *nx_kserve_outputs(const nx_kserve_model *model, size_t *count);
/* Most of dimension 0 when that is a batch; 0: the model has no such dimension. */
uint32_t nx_kserve_max_batch(const nx_kserve_model *model);

/* Answers with {"error": ...} and the status that fits. */
void nx_kserve_fail(nx_api *api, nx_http_request *request, nx_status status, const nx_error *err);

/* --- one inference ------------------------------------------------------------------------------
 */

/* An inference from its handler until the request is put away. */
typedef struct nx_kserve_call {
    nx_registry_task load; /* first; of a model that was not in memory */
    nx_api *api;
    nx_http_request *request;
    nx_kserve_model model;
    nx_kserve_request parsed; /* borrows the request's body */
    int64_t deadline_ns;
    nx_buffer answer;
    size_t answer_header; /* bytes of JSON in front of binary data; 0: there is no such data */
    void *work;           /* of kserve_graph.c or kserve_pictures.c */
    void (*free_work)(void *work);
    /* Ends the work early when the client has gone; set once that is possible, read at any time. */
    void (*_Atomic cancel_work)(void *work);
    atomic_bool gone; /* the client; set before cancel_work is looked at */
} nx_kserve_call;

/* NX_ERR_CANCELLED when the client is gone. Asked after cancel_work is set, it leaves no moment in
 * which a cancel is lost. */
nx_status nx_kserve_check_gone(const nx_kserve_call *call, nx_error *err);

/* Builds the answer from tensors in the order of call->parsed.outputs, or of all outputs. Errors:
 * NX_ERR_INVALID (a type that must be asked for as binary data), NX_ERR_NO_MEMORY. */
nx_status nx_kserve_write_answer(nx_kserve_call *call, const nx_tensor *outputs, size_t count,
                                 nx_error *err);

/* What was found in a picture; borrowed. */
typedef struct nx_kserve_found {
    const nx_detection *items;
    size_t count;
} nx_kserve_found;

/* Builds the answer of an inference on so many pictures. Errors: as nx_kserve_write_answer. */
nx_status nx_kserve_write_detections(nx_kserve_call *call, const nx_kserve_found *pictures,
                                     size_t count, nx_error *err);

/* Sends the answer, or the error, and counts it. The call may be freed before it returns. */
void nx_kserve_finish(nx_kserve_call *call, nx_status status, const nx_error *err,
                      const nx_kserve_sample *sample);

/* Starts the call on the model's graph (one picture's tensor of a usual size goes with others into
 * a batch; several in one request, other sizes and outputs that no head reads have a Run of their
 * own), or on pictures; it is answered in any case, perhaps before
 * they return. */
void nx_kserve_start_graph(nx_kserve_call *call);
void nx_kserve_start_pictures(nx_kserve_call *call);

/* --- handlers; user is the nx_api ---------------------------------------------------------------
 */

void nx_kserve_server(nx_http_request *request, void *user);
void nx_kserve_live(nx_http_request *request, void *user);
void nx_kserve_ready(nx_http_request *request, void *user);
void nx_kserve_metadata(nx_http_request *request, void *user);
void nx_kserve_model_ready(nx_http_request *request, void *user);
void nx_kserve_config(nx_http_request *request, void *user);
void nx_kserve_model_stats(nx_http_request *request, void *user);
void nx_kserve_all_stats(nx_http_request *request, void *user);
void nx_kserve_infer(nx_http_request *request, void *user);
void nx_kserve_admit_infer(nx_http_request *request, void *user);
void nx_kserve_index(nx_http_request *request, void *user);
void nx_kserve_load(nx_http_request *request, void *user);
void nx_kserve_unload(nx_http_request *request, void *user);

/* The routes; those of inferences have max_body 0 and get the operator's limit. */
const nx_http_route *nx_kserve_routes(size_t *count);

#endif

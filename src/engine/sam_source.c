#include "engine/sam_source.h"

#include "engine/model_store.h"

#include <pthread.h>
#include <stdlib.h>

struct nx_sam_source {
    nx_runtime *runtime;
    nx_model_store *store;
    nx_sam_options options;
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version; /* 0: the active one */
    pthread_mutex_t lock;
    nx_sam *sam; /* guarded by lock until it is set */
};

nx_status nx_sam_source_new(nx_runtime *runtime, const char *data_dir, const char *reference,
                            const nx_sam_options *options, nx_sam_source **out, nx_error *err)
{
    *out = NULL;
    nx_sam_source *source = calloc(1, sizeof *source);
    if (source == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for SAM");
    }
    pthread_mutex_init(&source->lock, NULL);
    source->runtime = runtime;
    source->options = *options;
    nx_status status = nx_model_reference_parse(reference, source->name, &source->version, err);
    if (status == NX_OK) {
        status = nx_model_store_new(data_dir, &source->store, err);
    }
    if (status != NX_OK) {
        nx_sam_source_free(source);
        return status;
    }
    *out = source;
    return NX_OK;
}

void nx_sam_source_free(nx_sam_source *source)
{
    if (source == NULL) {
        return;
    }
    nx_sam_free(source->sam);
    nx_model_store_free(source->store);
    pthread_mutex_destroy(&source->lock);
    free(source);
}

static nx_status new_sam(nx_sam_source *source, const nx_stored_version *version, nx_error *err)
{
    char *encoder = NULL;
    char *decoder = NULL;
    nx_status status =
        nx_model_store_path(source->store, source->name, version, "encoder.onnx", &encoder, err);
    if (status == NX_OK) {
        status = nx_model_store_path(source->store, source->name, version, "decoder.onnx", &decoder,
                                     err);
    }
    if (status == NX_OK) {
        status = nx_sam_new(source->runtime, encoder, decoder, &source->options, &source->sam, err);
    }
    free(encoder);
    free(decoder);
    return status;
}

/* The lock is held. */
static nx_status look_up(nx_sam_source *source, nx_error *err)
{
    nx_stored_model model;
    nx_status status = nx_model_store_find(source->store, source->name, &model, NULL);
    const nx_stored_version *version =
        status == NX_OK ? nx_stored_model_version(&model, source->version) : NULL;
    if (status != NX_OK && status != NX_ERR_NOT_FOUND) {
        return nx_error_set(err, status, "cannot look for the model %s in %.300s", source->name,
                            nx_model_store_folder(source->store));
    }
    if (version == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND,
                              "the segmentation model %s is not installed: run 'nexus models pull "
                              "mobile-sam'",
                              source->name);
    } else if (version->kind != NX_STORED_SAM) {
        status = nx_error_set(err, NX_ERR_UNSUPPORTED,
                              "the model %s is a detector; NEXUS_SAM_MODEL must name one with an "
                              "encoder and a decoder",
                              source->name);
    } else {
        status = new_sam(source, version, err);
    }
    nx_stored_model_free(&model);
    return status;
}

nx_status nx_sam_source_get(nx_sam_source *source, nx_sam **out, nx_error *err)
{
    nx_status status = NX_OK;
    pthread_mutex_lock(&source->lock);
    if (source->sam == NULL) {
        status = look_up(source, err);
    }
    *out = source->sam;
    pthread_mutex_unlock(&source->lock);
    return status;
}

nx_embedding_stats nx_sam_source_stats(nx_sam_source *source)
{
    pthread_mutex_lock(&source->lock);
    nx_sam *sam = source->sam;
    pthread_mutex_unlock(&source->lock);
    return sam != NULL ? nx_embedding_cache_stats(nx_sam_cache(sam)) : (nx_embedding_stats){0};
}

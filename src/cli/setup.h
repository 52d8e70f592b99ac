/* What several commands set up alike: data folder, runtime, model, engine. */
#ifndef NX_CLI_SETUP_H
#define NX_CLI_SETUP_H

#include "base/config.h"
#include "base/share.h"
#include "cache/cache.h"
#include "cache/redis_client.h"
#include "engine/engine.h"
#include "engine/model.h"
#include "engine/registry.h"
#include "engine/sam.h"
#include "jobs/shared_models.h"
#include "ops/otlp.h"
#include "store/objects.h"
#include "store/store.h"
#include "vision/postprocess.h"

/* Everything that inference needs; plain owner, freed by nx_setup_close. */
typedef struct nx_setup {
    nx_runtime *runtime;
    nx_model *model;
    nx_engine *engine;
    /* these are set by `serve` alone, which has no model of its own */
    nx_model_store *store;
    nx_registry *registry;
    char *cache_dir; /* where devices keep what they built */
    /* by nx_setup_open_cache */
    nx_redis *redis; /* NULL without REDIS_URL */
    nx_cache *cache;
    /* these by nx_setup_open_storage */
    nx_store *database;
    nx_objects *objects;
    char *data_dir;
    nx_shared_models *shared; /* by nx_setup_open_serving */
    nx_otlp *otlp; /* its owner's, who stops it when the rest is closed; NULL: no traces are sent */
    nx_share share; /* of the machine: one of several processes; set before anything is opened */
} nx_setup;

/* The data folder by the configuration, XDG_DATA_HOME or HOME; the caller frees it. */
char *nx_setup_data_dir(const nx_config *config);

/* Path of the configured model: a path as it is, NAME or NAME:VERSION looked up in the data folder;
 * the caller frees it. Errors: NX_ERR_NOT_FOUND with the models that are there; NX_ERR_INVALID. */
nx_status nx_setup_model_path(const nx_config *config, char **out, nx_error *err);

/* Loads ONNX Runtime by the configuration. */
nx_status nx_setup_runtime(const nx_config *config, nx_runtime **out, nx_error *err);

/* What a model is opened for. Only a server's requests come one at a time with pauses between them,
 * so only there a second session that spreads one run over all cores is worth its start. */
typedef enum nx_setup_use { NX_SETUP_COMMAND, NX_SETUP_SERVER } nx_setup_use;

/* What the configuration says about every model. cache_dir is borrowed as long as the options are
 * used; NULL keeps nothing. */
nx_model_options nx_setup_model_options(const nx_config *config, nx_setup_use use,
                                        const char *cache_dir);

/* The folder for that, in the data folder; the caller frees it. NULL without memory. */
char *nx_setup_cache_dir(const nx_config *config);

/* Opens a model for a command. Whatever is wrong with the file, the command line is not: never
 * NX_ERR_INVALID, so that the exit code is NX_EXIT_UNAVAILABLE. */
nx_status nx_setup_open_model(nx_runtime *runtime, const char *path,
                              const nx_model_options *options, nx_model **out, nx_error *err);

/* Runtime and model. On failure everything is closed again. */
nx_status nx_setup_open(const nx_config *config, nx_setup_use use, nx_setup *out, nx_error *err);

/* All that serving needs before the engine: the storage, the models that other servers have, then
 * runtime and registry, with the configured model in memory. out is all zero but for its share. On
 * failure everything is closed again. */
nx_status nx_setup_open_serving(const nx_config *config, nx_setup *out, nx_error *err);

/* The database and the object store by the configuration, added to a setup. On failure the setup is
 * to be closed all the same. Errors: those of nx_store_open and nx_objects_open. */
nx_status nx_setup_open_storage(const nx_config *config, nx_setup *setup, nx_error *err);

/* The client of Redis, where there is one, and the cache by the configuration, added to a setup. A
 * Redis that does not answer is no failure. On failure the setup is to be closed all the same.
 * Errors: those of nx_redis_new and nx_cache_new. */
nx_status nx_setup_open_cache(const nx_config *config, nx_setup *setup, nx_error *err);

/* The sender of traces by the configuration; *out is NULL when they go nowhere. The first to be
 * started and the last to be stopped. Errors: those of nx_otlp_start. */
nx_status nx_setup_start_traces(const nx_config *config, nx_otlp **out, nx_error *err);
/* Sends what is queued, for a few seconds at most. NULL is fine. */
void nx_setup_stop_traces(nx_otlp *otlp);

/* What the configuration says about the engine; device: what runs the models, "cpu" or a GPU's
 * label. A GPU gets two batches at once, so that one is copied while the other is calculated,
 * batches ahead of them, and every core to prepare those. */
nx_engine_options nx_setup_engine_options(const nx_config *config, const char *device);

/* Then the engine, for the device that runs setup's models. hooks (may be NULL) supplies on_run and
 * its user pointer. */
nx_status nx_setup_start_engine(const nx_config *config, const nx_engine_options *hooks,
                                nx_setup *setup, nx_error *err);
void nx_setup_close(nx_setup *setup);

/* The segmentation model by the configuration, for a command; nothing is opened yet. cache_dir as
 * above. Freed by nx_sam_free, after the engine. Errors: NX_ERR_INVALID (the name),
 * NX_ERR_NOT_FOUND (what there is, and what to do), NX_ERR_UNSUPPORTED (a detector). */
nx_status nx_setup_sam(const nx_config *config, nx_runtime *runtime, const char *cache_dir,
                       nx_sam **out, nx_error *err);

/* Thresholds by the configuration. */
nx_postprocess_options nx_setup_postprocess(const nx_config *config);

/* How many inference workers the configuration means on this machine. */
uint32_t nx_setup_workers(const nx_config *config);

#endif

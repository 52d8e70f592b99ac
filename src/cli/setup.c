#include "cli/setup.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* Without settings to the contrary; what they gain was not measured. */
#define GPU_WORKERS  2
#define GPU_PREFETCH 2
/* At the end, for a collector that hangs must not. */
#define LAST_TRACES_NS (5 * NX_NS_PER_SEC)

char *nx_setup_data_dir(const nx_config *config)
{
    const char *configured = nx_config_string(config, NX_CONFIG_DATA_DIR);
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    char *path = NULL;
    int length = 0;
    if (configured[0] != '\0') {
        return strdup(configured);
    }
    if (xdg != NULL && xdg[0] != '\0') {
        length = asprintf(&path, "%s/nexus", xdg);
    } else {
        length = asprintf(&path, "%s/.local/share/nexus", home != NULL ? home : "");
    }
    return length < 0 ? NULL : path;
}

static bool is_path(const char *model)
{
    size_t length = strlen(model);
    return strchr(model, '/') != NULL || (length > 5 && strcmp(model + length - 5, ".onnx") == 0);
}

static nx_status open_store(const nx_config *config, nx_model_store **out, nx_error *err)
{
    char *data_dir = nx_setup_data_dir(config);
    nx_status status = data_dir != NULL ? nx_model_store_new(data_dir, out, err)
                                        : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    free(data_dir);
    return status;
}

/* Says where models come from. */
static nx_status no_model(const nx_config *config, const nx_model_store *store, nx_error *err)
{
    char found[256];
    snprintf(found, sizeof found, "%.250s", err->message);
    return nx_error_set(err, NX_ERR_NOT_FOUND,
                        "%s (in %.150s). 'nexus models pull %.40s' may fetch it; or give the path "
                        "of an .onnx file with --model",
                        found, nx_model_store_folder(store),
                        nx_config_string(config, NX_CONFIG_MODEL));
}

static nx_status find_model(const nx_config *config, const nx_model_store *store, char **out,
                            nx_error *err)
{
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version = 0;
    nx_stored_model model = {0};
    nx_status status =
        nx_model_reference_parse(nx_config_string(config, NX_CONFIG_MODEL), name, &version, err);
    if (status == NX_OK) {
        status = nx_model_store_find(store, name, &model, err);
    }
    const nx_stored_version *found =
        status == NX_OK ? nx_stored_model_version(&model, version) : NULL;
    if (status == NX_OK && found == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", name, version);
    } else if (status == NX_OK && found->kind != NX_STORED_DETECTOR) {
        status = nx_error_set(err, NX_ERR_UNSUPPORTED,
                              "%s segments by points and boxes ('nexus segment'); it does not "
                              "detect",
                              name);
    }
    if (status == NX_OK) {
        status = nx_model_store_path(store, name, found, "model.onnx", out, err);
    }
    nx_stored_model_free(&model);
    return status == NX_ERR_NOT_FOUND ? no_model(config, store, err) : status;
}

nx_status nx_setup_model_path(const nx_config *config, char **out, nx_error *err)
{
    const char *model = nx_config_string(config, NX_CONFIG_MODEL);
    nx_model_store *store = NULL;
    *out = NULL;
    if (is_path(model)) {
        *out = strdup(model);
        return *out != NULL ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory");
    }
    nx_status status = open_store(config, &store, err);
    if (status == NX_OK) {
        status = find_model(config, store, out, err);
    }
    nx_model_store_free(store);
    return status;
}

nx_status nx_setup_runtime(const nx_config *config, nx_runtime **out, nx_error *err)
{
    char *data_dir = nx_setup_data_dir(config);
    nx_status status =
        nx_runtime_open(nx_config_string(config, NX_CONFIG_ORT_LIBRARY), data_dir, out, err);
    free(data_dir);
    return status;
}

static uint32_t cores(void)
{
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (uint32_t)count : 1;
}

uint32_t nx_setup_workers(const nx_config *config)
{
    int64_t workers = nx_config_int(config, NX_CONFIG_INFERENCE_WORKERS);
    return workers > 0 ? (uint32_t)workers : cores();
}

char *nx_setup_cache_dir(const nx_config *config)
{
    char *path = NULL;
    char *data_dir = nx_setup_data_dir(config);
    if (data_dir == NULL || asprintf(&path, "%s/cache", data_dir) < 0) {
        path = NULL;
    }
    free(data_dir);
    return path;
}

static nx_device device_of(const nx_config *config, const char *cache_dir)
{
    const char *kind = nx_config_string(config, NX_CONFIG_INFERENCE_DEVICE);
    return (nx_device){
        .kind = strcasecmp(kind, "cuda") == 0   ? NX_DEVICE_CUDA
                : strcasecmp(kind, "auto") == 0 ? NX_DEVICE_AUTO
                                                : NX_DEVICE_CPU,
        .tensorrt = nx_config_bool(config, NX_CONFIG_USE_TENSORRT),
        .tensorrt_only = !nx_config_bool(config, NX_CONFIG_USE_ONNX),
        .fp16 = nx_config_bool(config, NX_CONFIG_USE_FP16),
        .cache_dir = cache_dir,
    };
}

nx_model_options nx_setup_model_options(const nx_config *config, nx_setup_use use,
                                        const char *cache_dir)
{
    int64_t threads = nx_config_int(config, NX_CONFIG_INFERENCE_NUM_THREADS);
    nx_model_options options = {
        .max_batch = (uint32_t)nx_config_int(config, NX_CONFIG_INFERENCE_BATCH_SIZE),
        .device = device_of(config, cache_dir),
    };
    if (use == NX_SETUP_SERVER) {
        options.alone_threads = threads > 0 ? (uint32_t)threads : cores();
    }
    return options;
}

nx_status nx_setup_open_model(nx_runtime *runtime, const char *path,
                              const nx_model_options *options, nx_model **out, nx_error *err)
{
    nx_status status = nx_model_open(runtime, path, options, out, err);
    return status == NX_ERR_INVALID ? NX_ERR_UNSUPPORTED : status;
}

nx_status nx_setup_open(const nx_config *config, nx_setup_use use, nx_setup *out, nx_error *err)
{
    *out = (nx_setup){0};
    char *path = NULL;
    nx_status status = nx_setup_model_path(config, &path, err);
    if (status == NX_OK) {
        status = nx_setup_runtime(config, &out->runtime, err);
    }
    if (status == NX_OK) {
        out->cache_dir = nx_setup_cache_dir(config);
        const nx_model_options options = nx_setup_model_options(config, use, out->cache_dir);
        status = nx_setup_open_model(out->runtime, path, &options, &out->model, err);
    }
    free(path);
    if (status != NX_OK) {
        nx_setup_close(out);
    }
    return status;
}

/* Somebody waits for each mask, in a command too: the one who is alone gets all cores. */
static nx_sam_options sam_options(const nx_config *config, const char *cache_dir)
{
    const nx_model_options model = nx_setup_model_options(config, NX_SETUP_SERVER, cache_dir);
    return (nx_sam_options){
        .alone_threads = model.alone_threads,
        .cache_bytes = (size_t)nx_config_int(config, NX_CONFIG_SAM_CACHE_BYTES),
        .device = model.device,
    };
}

/* What is left to the program is this process's part of the cores. */
static uint32_t threads_alone(const nx_config *config, const nx_setup *setup, uint32_t all)
{
    bool is_set = nx_config_int(config, NX_CONFIG_INFERENCE_NUM_THREADS) > 0;
    return is_set ? all : nx_share_some(setup->share, all);
}

static nx_status load_default(const nx_config *config, nx_setup *setup, nx_error *err)
{
    nx_registry_options options = {
        .runtime = setup->runtime,
        .store = setup->store,
        .default_model = nx_config_string(config, NX_CONFIG_MODEL),
        .model = nx_setup_model_options(config, NX_SETUP_SERVER, setup->cache_dir),
        .sam_model = nx_config_string(config, NX_CONFIG_SAM_MODEL),
        .sam = sam_options(config, setup->cache_dir),
        .max_loaded = (uint32_t)nx_config_int(config, NX_CONFIG_MAX_LOADED_MODELS),
    };
    options.model.alone_threads = threads_alone(config, setup, options.model.alone_threads);
    options.sam.alone_threads = threads_alone(config, setup, options.sam.alone_threads);
    nx_status status = nx_registry_new(&options, &setup->registry, err);
    if (status == NX_OK) {
        nx_registry_task task = {.op = NX_REGISTRY_ACQUIRE};
        status = nx_registry_run(setup->registry, &task, err);
        nx_registry_release(task.handle);
        status = status == NX_ERR_INVALID ? NX_ERR_UNSUPPORTED : status;
    }
    return status;
}

/* What other servers have changed while this one was away is done before a model is loaded. */
static nx_status open_shared(nx_setup *setup, nx_error *err)
{
    const nx_shared_models_options options = {
        .database = setup->database,
        .objects = setup->objects,
        .store = setup->store,
        .data_dir = setup->data_dir,
    };
    return nx_shared_models_open(&options, &setup->shared, err);
}

nx_status nx_setup_open_serving(const nx_config *config, nx_setup *out, nx_error *err)
{
    char *path = NULL; /* looked up before it is opened, for the better message */
    nx_status status = open_store(config, &out->store, err);
    if (status == NX_OK) {
        status = nx_setup_open_storage(config, out, err);
    }
    if (status == NX_OK) {
        status = open_shared(out, err);
    }
    if (status == NX_OK) {
        status = nx_setup_model_path(config, &path, err);
        free(path);
    }
    if (status == NX_OK) {
        status = nx_setup_runtime(config, &out->runtime, err);
    }
    out->cache_dir = nx_setup_cache_dir(config);
    if (status == NX_OK) {
        status = load_default(config, out, err);
    }
    if (status == NX_OK) {
        status = nx_shared_models_follow(out->shared, out->registry, err);
    }
    if (status != NX_OK) {
        nx_setup_close(out);
    }
    return status;
}

nx_status nx_setup_open_storage(const nx_config *config, nx_setup *setup, nx_error *err)
{
    setup->data_dir = nx_setup_data_dir(config);
    if (setup->data_dir == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the data folder's name");
    }
    nx_store_options database = nx_store_options_of(config, setup->data_dir);
    database.pool_size = (int)nx_share_some(setup->share, (uint32_t)database.pool_size);
    database.max_overflow = (int)nx_share_of(setup->share, (uint32_t)database.max_overflow);
    const nx_objects_options objects = nx_objects_options_of(config, setup->data_dir);
    nx_status status = nx_file_make_dirs(setup->data_dir, err);
    if (status == NX_OK) {
        status = nx_store_open(&database, &setup->database, err);
    }
    return status == NX_OK ? nx_objects_open(&objects, &setup->objects, err) : status;
}

nx_status nx_setup_start_traces(const nx_config *config, nx_otlp **out, nx_error *err)
{
    const nx_otlp_options options = nx_otlp_options_of(config);
    return nx_otlp_start(&options, out, err);
}

void nx_setup_stop_traces(nx_otlp *otlp)
{
    nx_otlp_stop(otlp, nx_clock_now_ns() + LAST_TRACES_NS);
}

nx_status nx_setup_open_cache(const nx_config *config, nx_setup *setup, nx_error *err)
{
    static const nx_redis_arg ping[] = {NX_REDIS_WORD("PING")};
    nx_cache_options options = nx_cache_options_of(config);
    const nx_redis_options redis = {.url = nx_config_string(config, NX_CONFIG_REDIS_URL)};
    if (redis.url[0] != '\0') {
        nx_redis_reply reply;
        nx_status status = nx_redis_new(&redis, &setup->redis, err);
        if (status != NX_OK) {
            return status;
        }
        /* so that it is known from the start whether it answers; the breaker remembers */
        (void)nx_redis_run(setup->redis, ping, 1, &reply, NULL);
        nx_redis_reply_free(&reply);
    }
    options.redis = setup->redis;
    return nx_cache_new(&options, &setup->cache, err);
}

nx_engine_options nx_setup_engine_options(const nx_config *config, const char *device)
{
    bool cpu = strcmp(device, "cpu") == 0;
    bool is_set = strcmp(nx_config_origin(config, NX_CONFIG_INFERENCE_PREFETCH), "default") != 0;
    nx_engine_options options = {
        .workers = nx_setup_workers(config),
        .prefetch = (uint32_t)nx_config_int(config, NX_CONFIG_INFERENCE_PREFETCH),
        .batch_size = (uint32_t)nx_config_int(config, NX_CONFIG_INFERENCE_BATCH_SIZE),
        .batch_delay_ns = 1000 * nx_config_int(config, NX_CONFIG_INFERENCE_BATCH_DELAY),
        .queue_size = (uint32_t)nx_config_int(config, NX_CONFIG_INFERENCE_QUEUE_SIZE),
    };
    if (!cpu) {
        if (nx_config_int(config, NX_CONFIG_INFERENCE_WORKERS) == 0) {
            options.workers = GPU_WORKERS;
        }
        if (!is_set) {
            options.prefetch = GPU_PREFETCH;
        }
        options.preparers = options.workers + cores(); /* beside the threads that wait for it */
    }
    return options;
}

/* What runs the models: of a command its one model, of a server the default. */
static const char *device_in_use(const nx_setup *setup)
{
    if (setup->model != NULL) {
        return nx_model_get_spec(setup->model)->device;
    }
    return setup->registry != NULL ? nx_registry_device(setup->registry) : "cpu";
}

nx_status nx_setup_start_engine(const nx_config *config, const nx_engine_options *hooks,
                                nx_setup *setup, nx_error *err)
{
    const char *device = device_in_use(setup);
    nx_engine_options options = nx_setup_engine_options(config, device);
    if (strcmp(device, "cpu") == 0 && nx_config_int(config, NX_CONFIG_INFERENCE_WORKERS) == 0) {
        options.workers = nx_share_some(setup->share, options.workers);
    }
    options.runtime = setup->runtime;
    options.on_run = hooks != NULL ? hooks->on_run : NULL;
    options.user = hooks != NULL ? hooks->user : NULL;
    return nx_engine_new(&options, &setup->engine, err);
}

void nx_setup_close(nx_setup *setup)
{
    nx_engine_free(setup->engine);
    nx_shared_models_close(setup->shared);
    nx_registry_free(setup->registry);
    nx_model_store_free(setup->store);
    nx_model_free(setup->model);
    nx_runtime_free(setup->runtime);
    free(setup->cache_dir);
    nx_cache_free(setup->cache);
    nx_redis_free(setup->redis);
    nx_objects_close(setup->objects);
    nx_store_close(setup->database);
    free(setup->data_dir);
    *setup = (nx_setup){.share = setup->share};
}

static nx_status find_sam(const nx_config *config, const nx_model_store *store,
                          nx_stored_model *model, const nx_stored_version **out, nx_error *err)
{
    char name[NX_MODEL_NAME_MAX + 1];
    uint32_t version = 0;
    const char *wanted = nx_config_string(config, NX_CONFIG_SAM_MODEL);
    nx_status status = nx_model_reference_parse(wanted, name, &version, err);
    if (status == NX_OK) {
        status = nx_model_store_find(store, name, model, err);
    }
    *out = status == NX_OK ? nx_stored_model_version(model, version) : NULL;
    if (status == NX_OK && *out == NULL) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "model %s has no version %u", name, version);
    } else if (status == NX_OK && (*out)->kind != NX_STORED_SAM) {
        status = nx_error_set(err, NX_ERR_UNSUPPORTED,
                              "the model %s is a detector ('nexus detect'); masks by points and "
                              "boxes need one with an encoder and a decoder",
                              wanted);
    }
    if (status == NX_ERR_NOT_FOUND) {
        const nx_error words = *err;
        status = nx_error_set(err, status,
                              "%.300s (in %.150s). 'nexus models pull mobile-sam' fetches the "
                              "usual model for this",
                              words.message, nx_model_store_folder(store));
    }
    return status;
}

nx_status nx_setup_sam(const nx_config *config, nx_runtime *runtime, const char *cache_dir,
                       nx_sam **out, nx_error *err)
{
    nx_model_store *store = NULL;
    nx_stored_model model = {0};
    const nx_stored_version *version = NULL;
    char *encoder = NULL;
    char *decoder = NULL;
    *out = NULL;
    nx_status status = open_store(config, &store, err);
    if (status == NX_OK) {
        status = find_sam(config, store, &model, &version, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_path(store, model.name, version, "encoder.onnx", &encoder, err);
    }
    if (status == NX_OK) {
        status = nx_model_store_path(store, model.name, version, "decoder.onnx", &decoder, err);
    }
    if (status == NX_OK) {
        nx_sam_options options = sam_options(config, cache_dir);
        options.name = model.name;
        status = nx_sam_new(runtime, encoder, decoder, &options, out, err);
    }
    free(encoder);
    free(decoder);
    nx_stored_model_free(&model);
    nx_model_store_free(store);
    return status;
}

nx_postprocess_options nx_setup_postprocess(const nx_config *config)
{
    nx_postprocess_options options = nx_postprocess_defaults();
    options.confidence = (float)nx_config_number(config, NX_CONFIG_CONFIDENCE);
    options.iou = (float)nx_config_number(config, NX_CONFIG_IOU);
    options.max_detections = (int32_t)nx_config_int(config, NX_CONFIG_MAX_DETECTIONS);
    return options;
}

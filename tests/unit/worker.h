/* Jobs for workers: a queue, objects, a small model and a small video. */
#ifndef NX_TESTS_WORKER_H
#define NX_TESTS_WORKER_H

#include "store_jobs.h"
#include "walk.h"

#include "jobs/worker.h"
#include "jobs/worker_parts.h"
#include "store/videos.h"

#include <jansson.h>
#include <sys/stat.h>

/* What a worker stands on. */
typedef struct ground {
    nx_runtime *runtime;
    nx_engine *engine;
    nx_model_store *models;
    nx_registry *registry;
    nx_objects *objects;
} ground;

static inline nx_objects *worker_objects(void **folder)
{
    nx_objects *objects = NULL;
    nx_error err = {0};
    const nx_objects_options options = {.data_dir = *folder, .url = ""};
    nx_assert_ok(nx_objects_open(&options, &objects, &err), err);
    return objects;
}

static inline ground ground_open(void **folder)
{
    ground g = {.objects = worker_objects(folder)};
    nx_error err = {0};
    char *model = strdup(walk_model(folder));
    g.runtime = models_runtime();
    const nx_engine_options engine = {.workers = 2, .runtime = g.runtime};
    nx_assert_ok(nx_engine_new(&engine, &g.engine, &err), err);
    nx_assert_ok(nx_model_store_new(*folder, &g.models, &err), err);
    const nx_registry_options registry = {
        .runtime = g.runtime, .store = g.models, .default_model = model, .max_loaded = 2};
    nx_assert_ok(nx_registry_new(&registry, &g.registry, &err), err);
    free(model);
    return g;
}

static inline void ground_close(ground *g)
{
    nx_engine_free(g->engine);
    nx_registry_free(g->registry);
    nx_model_store_free(g->models);
    nx_runtime_free(g->runtime);
    nx_objects_close(g->objects);
}

/* Borrows g and folder. */
static inline nx_worker_options worker_options(const ground *g, nx_store *store, void **folder)
{
    return (nx_worker_options){
        .store = store,
        .objects = g->objects,
        .registry = g->registry,
        .engine = g->engine,
        .data_dir = *folder,
        .postprocess = nx_postprocess_defaults(),
        .concurrency = 2,
        .prefetch = 2,
    };
}

#define WORKER_SPEC                                                                                \
    "{\"confidence\":0.3,\"outputs\":[\"csv\",\"mot\"],"                                           \
    "\"lines\":[{\"name\":\"middle\",\"from\":[0.5,1],\"to\":[0.5,0]}]}"

/* Keeps a file as a video and puts a job for it into the queue. */
static inline nx_job worker_enqueue(store_fixture *fixture, nx_objects *objects, const char *path,
                                    const char *options)
{
    char name[NX_OBJECT_NAME_SIZE];
    struct stat info;
    bool made = false;
    nx_video video = {0};
    nx_error err = {0};
    assert_int_equal(stat(path, &info), 0);
    const nx_worker_keeper keeper = {
        .store = fixture->store, .objects = objects, .holder = "the test"};
    nx_assert_ok(nx_worker_keep_file(&keeper, path, 0, (uint64_t)info.st_size, NULL, name, &err),
                 err);
    const nx_video wanted = {
        .owner = "ann", .hash = name, .size = info.st_size, .name = "walk.mp4", .probe = "{}"};
    nx_assert_ok(nx_store_video_add(fixture->store, &wanted, &fixture->arena, &video, &made, &err),
                 err);
    nx_job_request request = job_request();
    request.video_id = video.id;
    request.options = options;
    request.max_attempts = 100;
    return enqueue(fixture, &request);
}

#endif

#include "ops/gpu.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY   "libnvidia-ml.so.1"
#define MOST_GPUS 16
#define NAME_SIZE 96 /* NVML_DEVICE_NAME_V2_BUFFER_SIZE */
#define FRESH_NS  NX_NS_PER_SEC
#define STALE_NS  (60 * NX_NS_PER_SEC)
#define WAIT_NS   (100 * NX_NS_PER_MS)
/* For an answer that is still owed at the end. */
#define PATIENCE_S 1

/* --- the few things of NVML's ABI that are used, as nvml.h of CUDA 12.9 declares them ------------
 */

typedef struct nvml_device *nvml_device;
typedef struct nvml_utilization {
    unsigned int gpu, memory; /* per cent of the time of the last sample */
} nvml_utilization;
typedef struct nvml_memory {
    unsigned long long total, free, used; /* bytes */
} nvml_memory;
#define NVML_TEMPERATURE_GPU 0

typedef struct nvml {
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error)(int result);
    int (*count)(unsigned int *count);
    int (*device)(unsigned int index, nvml_device *device);
    int (*name)(nvml_device device, char *name, unsigned int size);
    int (*utilization)(nvml_device device, nvml_utilization *out);
    int (*memory)(nvml_device device, nvml_memory *out);
    int (*temperature)(nvml_device device, int sensor, unsigned int *celsius);
    int (*power)(nvml_device device, unsigned int *milliwatts);
} nvml;

static const struct {
    const char *name;
    size_t at;
} symbols[] = {
    {"nvmlInit_v2", offsetof(nvml, init)},
    {"nvmlShutdown", offsetof(nvml, shutdown)},
    {"nvmlErrorString", offsetof(nvml, error)},
    {"nvmlDeviceGetCount_v2", offsetof(nvml, count)},
    {"nvmlDeviceGetHandleByIndex_v2", offsetof(nvml, device)},
    {"nvmlDeviceGetName", offsetof(nvml, name)},
    {"nvmlDeviceGetUtilizationRates", offsetof(nvml, utilization)},
    {"nvmlDeviceGetMemoryInfo", offsetof(nvml, memory)},
    {"nvmlDeviceGetTemperature", offsetof(nvml, temperature)},
    {"nvmlDeviceGetPowerUsage", offsetof(nvml, power)},
};

/* --- the GPUs -----------------------------------------------------------------------------------
 */

enum { UTILIZATION, USED, TOTAL, TEMPERATURE, POWER, FIGURES };

typedef struct gpu {
    nvml_device device;
    char index[12];
    char name[NAME_SIZE];
    double figures[FIGURES]; /* NaN: it does not say; under the lock */
} gpu;

struct nx_gpus {
    void *library;
    nvml nvml;
    bool initialised;
    gpu gpus[MOST_GPUS];
    size_t count;
    nx_metric *metrics[FIGURES];
    pthread_t thread;
    bool has_thread;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t changed;
    bool wanted, ending;
    bool ended, left; /* the thread; left behind, to tidy up when NVML answers after all */
    int64_t asked_ns; /* when the figures were; 0: never */
};

/* Without the lock, for it may take long; the thread alone calls it. */
static void ask(const nx_gpus *self, const gpu *one, double out[FIGURES])
{
    nvml_utilization use = {0};
    nvml_memory memory = {0};
    unsigned int celsius = 0;
    unsigned int milliwatts = 0;
    for (int i = 0; i < FIGURES; i++) {
        out[i] = NAN;
    }
    if (self->nvml.utilization(one->device, &use) == 0) {
        out[UTILIZATION] = use.gpu;
    }
    if (self->nvml.memory(one->device, &memory) == 0) {
        out[USED] = (double)memory.used;
        out[TOTAL] = (double)memory.total;
    }
    if (self->nvml.temperature(one->device, NVML_TEMPERATURE_GPU, &celsius) == 0) {
        out[TEMPERATURE] = celsius;
    }
    if (self->nvml.power(one->device, &milliwatts) == 0) {
        out[POWER] = milliwatts / 1e3;
    }
}

static void discard(nx_gpus *gpus)
{
    if (gpus->initialised) {
        (void)gpus->nvml.shutdown();
    }
    if (gpus->library != NULL) {
        (void)dlclose(gpus->library);
    }
    pthread_cond_destroy(&gpus->changed);
    pthread_mutex_destroy(&gpus->lock);
    free(gpus);
}

static void *run(void *user)
{
    nx_gpus *self = user;
    pthread_mutex_lock(&self->lock);
    while (!self->ending) {
        if (!self->wanted) {
            pthread_cond_wait(&self->changed, &self->lock);
            continue;
        }
        for (size_t i = 0; i < self->count; i++) {
            double figures[FIGURES];
            pthread_mutex_unlock(&self->lock);
            ask(self, &self->gpus[i], figures);
            pthread_mutex_lock(&self->lock);
            memcpy(self->gpus[i].figures, figures, sizeof figures);
        }
        self->wanted = false;
        self->asked_ns = nx_clock_now_ns();
        pthread_cond_broadcast(&self->changed);
    }
    self->ended = true;
    pthread_cond_broadcast(&self->changed);
    bool left = self->left;
    pthread_mutex_unlock(&self->lock);
    if (left) {
        discard(self);
    }
    return NULL;
}

/* --- beginning and end --------------------------------------------------------------------------
 */

static bool load(nx_gpus *self, const char *library)
{
    self->library = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (self->library == NULL) {
        nx_log_info("ops", "no figures of GPUs: %s is not there", library);
        return false;
    }
    for (size_t i = 0; i < sizeof symbols / sizeof symbols[0]; i++) {
        void *symbol = dlsym(self->library, symbols[i].name);
        if (symbol == NULL) {
            nx_log_info("ops", "no figures of GPUs: %s has no %s", library, symbols[i].name);
            return false;
        }
        memcpy((char *)&self->nvml + symbols[i].at, &symbol, sizeof symbol);
    }
    return true;
}

static void find(nx_gpus *self)
{
    unsigned int count = 0;
    int result = self->nvml.init();
    self->initialised = result == 0;
    if (result == 0) {
        result = self->nvml.count(&count);
    }
    if (result != 0) {
        nx_log_info("ops", "no figures of GPUs: NVML says \"%s\"", self->nvml.error(result));
        return;
    }
    for (unsigned int i = 0; i < count && self->count < MOST_GPUS; i++) {
        gpu *one = &self->gpus[self->count];
        snprintf(one->index, sizeof one->index, "%u", i);
        result = self->nvml.device(i, &one->device);
        if (result == 0) {
            result = self->nvml.name(one->device, one->name, sizeof one->name);
        }
        if (result != 0) { /* one that this process may not see, or that has fallen off the bus */
            nx_log_info("ops", "no figures of GPU %u: %s", i, self->nvml.error(result));
            continue;
        }
        one->name[NAME_SIZE - 1] = '\0';
        self->count++;
    }
    if (self->count == 0) {
        nx_log_info("ops", "no figures of GPUs: there is none");
    }
}

nx_gpus *nx_gpus_new(const char *library)
{
    nx_gpus *self = calloc(1, sizeof *self);
    if (self == NULL) {
        return NULL;
    }
    pthread_mutex_init(&self->lock, NULL);
    nx_condition_init(&self->changed);
    if (load(self, library != NULL ? library : LIBRARY)) {
        find(self);
    }
    self->has_thread = self->count > 0 && pthread_create(&self->thread, NULL, run, self) == 0;
    if (!self->has_thread) {
        nx_gpus_free(self);
        return NULL;
    }
    return self;
}

/* False: NVML owes an answer, and the thread is left to itself. */
static bool end_thread(nx_gpus *gpus)
{
    int64_t until_ns = nx_clock_now_ns() + PATIENCE_S * NX_NS_PER_SEC;
    pthread_mutex_lock(&gpus->lock);
    gpus->ending = true;
    pthread_cond_broadcast(&gpus->changed);
    while (!gpus->ended && nx_clock_now_ns() < until_ns) {
        (void)nx_condition_wait(&gpus->changed, &gpus->lock, until_ns);
    }
    gpus->left = !gpus->ended;
    pthread_t thread = gpus->thread;
    bool left = gpus->left;
    pthread_mutex_unlock(&gpus->lock);
    if (left) {
        nx_log_warn("ops", "NVML does not answer: it is left behind");
        (void)pthread_detach(thread);
    } else {
        (void)pthread_join(thread, NULL);
    }
    return !left;
}

void nx_gpus_free(nx_gpus *gpus)
{
    if (gpus != NULL && (!gpus->has_thread || end_thread(gpus))) {
        discard(gpus);
    }
}

/* --- metrics ------------------------------------------------------------------------------------
 */

static const struct {
    const char *name, *help;
} about[FIGURES] = {
    [UTILIZATION] = {"gpu_utilization_percent",
                     "Share of the time in which something ran on the GPU."},
    [USED] = {"gpu_memory_used_bytes", "Memory of the GPU that is in use."},
    [TOTAL] = {"gpu_memory_total_bytes", "Memory that the GPU has."},
    [TEMPERATURE] = {"gpu_temperature_celsius", "Temperature of the GPU."},
    [POWER] = {"gpu_power_watts", "What the GPU draws."},
};

void nx_gpus_register(nx_gpus *gpus, nx_metrics *metrics)
{
    const char *indexes[MOST_GPUS];
    const char *names[MOST_GPUS];
    if (gpus == NULL) {
        return;
    }
    for (size_t i = 0; i < gpus->count; i++) {
        indexes[i] = gpus->gpus[i].index;
        names[i] = gpus->gpus[i].name; /* the i-th GPU has the i-th, also where they are equal */
    }
    const nx_label labels[] = {{"gpu", indexes, gpus->count, 0}, {"name", names, gpus->count, 0}};
    for (int i = 0; i < FIGURES; i++) {
        gpus->metrics[i] = nx_metrics_gauge(metrics, about[i].name, about[i].help, labels, 2);
        nx_metric_leave_out_nan(gpus->metrics[i]);
        nx_metric_share(gpus->metrics[i]);
    }
}

void nx_gpus_read(nx_gpus *gpus)
{
    int late = 0;
    if (gpus == NULL) {
        return;
    }
    const int64_t now = nx_clock_now_ns();
    pthread_mutex_lock(&gpus->lock);
    const int64_t before = gpus->asked_ns;
    /* of one that owed an answer before nobody waits */
    const bool hangs = gpus->wanted;
    if (before == 0 || now - before >= FRESH_NS) {
        gpus->wanted = true;
        pthread_cond_broadcast(&gpus->changed);
        while (!hangs && late == 0 && gpus->asked_ns == before) {
            late = nx_condition_wait(&gpus->changed, &gpus->lock, now + WAIT_NS);
        }
    }
    const bool stale = gpus->asked_ns == 0 || now - gpus->asked_ns > STALE_NS;
    for (size_t i = 0; i < gpus->count; i++) {
        for (int k = 0; k < FIGURES; k++) {
            nx_metric_set(gpus->metrics[k], nx_metric_series(gpus->metrics[k], i, i, 0),
                          stale ? NAN : gpus->gpus[i].figures[k]);
        }
    }
    pthread_mutex_unlock(&gpus->lock);
}

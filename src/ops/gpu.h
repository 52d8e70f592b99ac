/*
 * What NVIDIA's GPUs of this machine say of themselves, through NVML
 * (docs.nvidia.com/deploy/nvml-api), whose library comes with the driver and is loaded when it is
 * there. A driver may take its time, or hang: a thread asks it, at most once a second, and who
 * reads waits for that only a moment.
 *
 * Thread-safe. It belongs to one process: it is made after a fork.
 */
#ifndef NX_OPS_GPU_H
#define NX_OPS_GPU_H

#include "ops/metrics.h"

typedef struct nx_gpus nx_gpus;

/* The GPUs that are there now; NULL, which every function takes, without NVML, a driver or a GPU,
 * and the log says why. library: NULL is the driver's own. */
nx_gpus *nx_gpus_new(const char *library);
void nx_gpus_free(nx_gpus *gpus);

/* gpu_utilization_percent, gpu_memory_used_bytes, gpu_memory_total_bytes, gpu_temperature_celsius
 * and gpu_power_watts, each by gpu (its index) and name. Before threads start. */
void nx_gpus_register(nx_gpus *gpus, nx_metrics *metrics);

/* Brings them up to date. What a GPU does not say, or has not said for a minute, is left out. */
void nx_gpus_read(nx_gpus *gpus);

#endif

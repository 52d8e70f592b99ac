/* A library with NVML's ABI for two GPUs, since no machine that tests this has one: what it is
 * asked is what the real one would be. The second one says less, as a GPU in a laptop does. The
 * declarations are written anew here, from nvml.h, so that a slip on one side is seen. */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };

struct nvmlDevice_st {
    unsigned int index;
};
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct {
    unsigned int gpu, memory;
} nvmlUtilization_t;
typedef struct {
    unsigned long long total, free, used;
} nvmlMemory_t;

atomic_int fake_nvml_uses;   /* nvmlInit less nvmlShutdown */
atomic_bool fake_nvml_hangs; /* in the next question, until it is false again */

int nvmlInit_v2(void);
int nvmlShutdown(void);
const char *nvmlErrorString(int result);
int nvmlDeviceGetCount_v2(unsigned int *count);
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device);
int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length);
int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization);
int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory);
int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius);
int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts);

static struct nvmlDevice_st devices[] = {{0}, {1}};

static int check(nvmlDevice_t device)
{
    return fake_nvml_uses < 1                               ? UNINITIALIZED
           : device == &devices[0] || device == &devices[1] ? SUCCESS
                                                            : INVALID_ARGUMENT;
}

int nvmlInit_v2(void)
{
    fake_nvml_uses++;
    return SUCCESS;
}

int nvmlShutdown(void)
{
    fake_nvml_uses--;
    return SUCCESS;
}

const char *nvmlErrorString(int result)
{
    return result == SUCCESS ? "Success" : "Failure";
}

int nvmlDeviceGetCount_v2(unsigned int *count)
{
    *count = 2;
    return fake_nvml_uses < 1 ? UNINITIALIZED : SUCCESS;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device)
{
    *device = &devices[index % 2];
    return index < 2 ? check(*device) : INVALID_ARGUMENT;
}

int nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length)
{
    int result = check(device);
    if (result == SUCCESS) {
        strncpy(name, "NVIDIA H200", length - 1);
    }
    return result;
}

int nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *utilization)
{
    while (fake_nvml_hangs) {
        (void)usleep(1000);
    }
    int result = check(device);
    if (result == SUCCESS) {
        *utilization = (nvmlUtilization_t){.gpu = 40 + device->index, .memory = 7};
    }
    return result;
}

int nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory)
{
    int result = check(device);
    if (result == SUCCESS) {
        *memory = (nvmlMemory_t){.total = 150754820096ULL, .free = 1, .used = 8589934592ULL};
    }
    return result;
}

int nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *celsius)
{
    int result = sensor == 0 ? check(device) : INVALID_ARGUMENT;
    if (result == SUCCESS) {
        *celsius = 61;
    }
    return result;
}

int nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *milliwatts)
{
    int result = check(device);
    if (result == SUCCESS && device->index == 1) {
        return NOT_SUPPORTED;
    }
    *milliwatts = 312500;
    return result;
}

#include "ops/process.h"

#include "base/clock.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static int64_t cpu_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * NX_NS_PER_SEC + now.tv_nsec;
}

void nx_cpu_meter_init(nx_cpu_meter *meter)
{
    pthread_mutex_init(&meter->lock, NULL);
    meter->wall_ns = nx_clock_now_ns();
    meter->cpu_ns = cpu_now_ns();
    meter->percent = 0;
}

double nx_cpu_meter_read(nx_cpu_meter *meter)
{
    pthread_mutex_lock(&meter->lock);
    int64_t wall = nx_clock_now_ns();
    if (wall - meter->wall_ns >= NX_NS_PER_SEC) {
        int64_t cpu = cpu_now_ns();
        meter->percent = 100.0 * (double)(cpu - meter->cpu_ns) / (double)(wall - meter->wall_ns);
        meter->wall_ns = wall;
        meter->cpu_ns = cpu;
    }
    double percent = meter->percent;
    pthread_mutex_unlock(&meter->lock);
    return percent;
}

double nx_process_memory_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    unsigned long long pages = 0;
    int matched = fscanf(file, "%*u %llu", &pages);
    fclose(file);
    return matched == 1 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
}

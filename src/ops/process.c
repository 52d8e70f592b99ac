#include "ops/process.h"

#include "base/clock.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/statvfs.h>
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
    /* proc(5): sizes in pages, of which the second is what is resident */
    FILE *file = fopen("/proc/self/statm", "re");
    char line[128];
    char *end = NULL;
    double pages = 0;
    if (file != NULL && fgets(line, sizeof line, file) != NULL) {
        (void)strtoull(line, &end, 10);
        pages = (double)strtoull(end, NULL, 10);
    }
    if (file != NULL) {
        fclose(file);
    }
    return pages * (double)sysconf(_SC_PAGESIZE);
}

double nx_process_open_fds(void)
{
    double count = 0;
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL) {
        return 0;
    }
    for (const struct dirent *one = readdir(folder); one != NULL; one = readdir(folder)) {
        count += one->d_name[0] != '.';
    }
    closedir(folder);
    return count - 1; /* the folder itself was one */
}

double nx_process_max_fds(void)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_NOFILE, &limit) == 0 ? (double)limit.rlim_cur : 0;
}

bool nx_process_disk(const char *path, double *size, double *free)
{
    struct statvfs space;
    if (statvfs(path, &space) != 0) {
        return false;
    }
    *size = (double)space.f_blocks * (double)space.f_frsize;
    *free = (double)space.f_bavail * (double)space.f_frsize;
    return true;
}

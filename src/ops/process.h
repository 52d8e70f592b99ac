/* What the operating system says of this process, for the process_* metrics. */
#ifndef NX_OPS_PROCESS_H
#define NX_OPS_PROCESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

/* Use of the CPU between two looks. Its own lock guards it; any thread may ask. */
typedef struct nx_cpu_meter {
    pthread_mutex_t lock;
    int64_t wall_ns;
    int64_t cpu_ns;
    double percent;
} nx_cpu_meter;

void nx_cpu_meter_init(nx_cpu_meter *meter);

/* Per cent of one core since the last look (200 on two busy cores). Looks within a second of each
 * other share their value, so that several scrapers do not cut the time into noise. */
double nx_cpu_meter_read(nx_cpu_meter *meter);

/* Resident bytes; 0 when /proc is not there. */
double nx_process_memory_bytes(void);

/* Descriptors that are open, and how many may be. 0 when that can't be found out. */
double nx_process_open_fds(void);
double nx_process_max_fds(void);

/* Bytes of the file system that a path is on, and those that this user may still fill. False: it
 * can't be asked, and errno says why. */
bool nx_process_disk(const char *path, double *size, double *free);

#endif

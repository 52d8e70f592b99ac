#include "cli/progress.h"

#include "base/clock.h"

#include <stdio.h>
#include <unistd.h>

#define BAR_CELLS 30

nx_progress nx_progress_begin(size_t total)
{
    nx_progress progress = {
        .total = total,
        .started_ns = nx_clock_now_ns(),
        .visible = total > 1 && isatty(STDERR_FILENO),
    };
    nx_progress_update(&progress, 0);
    return progress;
}

void nx_progress_update(nx_progress *progress, size_t done)
{
    int64_t now = nx_clock_now_ns();
    bool fresh = progress->drawn_ns != 0 && now - progress->drawn_ns < 100 * NX_NS_PER_MS;
    if (!progress->visible || fresh) {
        return;
    }
    progress->drawn_ns = now;
    double seconds = (double)(now - progress->started_ns) / (double)NX_NS_PER_SEC;
    double rate = seconds > 0 ? (double)done / seconds : 0;
    size_t filled = done * BAR_CELLS / progress->total;
    char bar[BAR_CELLS + 1];
    for (size_t i = 0; i < BAR_CELLS; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR_CELLS] = '\0';
    char pace[64] = "";
    if (rate > 0) {
        snprintf(pace, sizeof pace, "  %.1f/s  %.0f s left", rate,
                 (double)(progress->total - done) / rate);
    }
    fprintf(stderr, "\r[%s] %zu/%zu%s\033[K", bar, done, progress->total, pace);
}

void nx_progress_end(nx_progress *progress)
{
    if (progress->visible && progress->drawn_ns != 0) {
        fputs("\r\033[K", stderr);
        progress->drawn_ns = 0;
    }
}

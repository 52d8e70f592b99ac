#include "streams/monitor.h"

#include <stdio.h>
#include <string.h>

static bool enter(nx_monitor *monitor, nx_stream_state state, const char *reason, int64_t now_ns)
{
    bool other = state != monitor->state;
    bool news = other || strncmp(reason, monitor->reason, sizeof monitor->reason - 1) != 0;
    monitor->since_ns = other ? now_ns : monitor->since_ns;
    monitor->state = state;
    if (reason != monitor->reason) {
        snprintf(monitor->reason, sizeof monitor->reason, "%.255s", reason);
    }
    return news;
}

void nx_monitor_start(nx_monitor *monitor, int64_t now_ns)
{
    *monitor = (nx_monitor){.state = NX_STREAM_CONNECTING, .since_ns = now_ns};
}

bool nx_monitor_frame(nx_monitor *monitor, int64_t now_ns)
{
    if (monitor->state == NX_STREAM_LIVE) {
        if (monitor->failures > 0 && now_ns - monitor->since_ns >= NX_MONITOR_STEADY_NS) {
            monitor->failures = 0;
        }
        return false;
    }
    monitor->reconnects += monitor->lives > 0;
    monitor->lives++;
    return enter(monitor, NX_STREAM_LIVE, "", now_ns);
}

bool nx_monitor_lost(nx_monitor *monitor, const nx_error *why, int64_t now_ns)
{
    bool live = monitor->state == NX_STREAM_LIVE;
    if (live && now_ns - monitor->since_ns >= NX_MONITOR_STEADY_NS) {
        monitor->failures = 0;
    }
    monitor->failures++;
    return enter(monitor,
                 live && why->status == NX_ERR_TIMEOUT ? NX_STREAM_STALLED : NX_STREAM_RECONNECTING,
                 why->message, now_ns);
}

bool nx_monitor_retry(nx_monitor *monitor, int64_t now_ns)
{
    if (monitor->state == NX_STREAM_CONNECTING) {
        return false;
    }
    return enter(monitor, NX_STREAM_RECONNECTING, monitor->reason, now_ns);
}

bool nx_monitor_stop(nx_monitor *monitor, const char *reason, int64_t now_ns)
{
    monitor->failures = 0;
    return enter(monitor, NX_STREAM_STOPPED, reason, now_ns);
}

bool nx_monitor_resume(nx_monitor *monitor, int64_t now_ns)
{
    return monitor->state == NX_STREAM_STOPPED ? enter(monitor, NX_STREAM_CONNECTING, "", now_ns)
                                               : false;
}

int64_t nx_monitor_pause(const nx_monitor *monitor, uint32_t noise)
{
    uint32_t doublings = monitor->failures > 0 ? monitor->failures - 1 : 0;
    int64_t pause = NX_MONITOR_FIRST_NS << (doublings < 8 ? doublings : 8);
    pause = pause < NX_MONITOR_MOST_NS ? pause : NX_MONITOR_MOST_NS;
    return pause - pause / 2 * (int64_t)(noise % 1001) / 1000;
}

#include "streams/counts.h"

const char *nx_stream_loss_name(nx_stream_loss loss)
{
    static const char *const names[NX_LOSS_COUNT] = {
        [NX_LOSS_NEWER] = "newer_frame",    [NX_LOSS_RATE] = "fps_limit",
        [NX_LOSS_BUSY] = "engine_busy",     [NX_LOSS_FAILED] = "model_failed",
        [NX_LOSS_STOPPED] = "stream_ended",
    };
    return names[loss];
}

void nx_stream_count_processed(nx_stream_counts *counts, int inferred)
{
    counts->received++;
    counts->processed++;
    counts->inferred += inferred != 0;
}

void nx_stream_count_dropped(nx_stream_counts *counts, nx_stream_loss loss, uint64_t frames)
{
    counts->received += frames;
    counts->dropped[loss] += frames;
}

void nx_stream_counts_add(nx_stream_counts *counts, const nx_stream_counts *other)
{
    counts->received += other->received;
    counts->processed += other->processed;
    counts->inferred += other->inferred;
    for (int i = 0; i < NX_LOSS_COUNT; i++) {
        counts->dropped[i] += other->dropped[i];
    }
}

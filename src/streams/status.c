#include "streams/status.h"

static void write_dropped(const nx_stream_counts *counts, nx_json *json)
{
    nx_json_key(json, "frames_dropped");
    nx_json_object_begin(json);
    for (int i = 0; i < NX_LOSS_COUNT; i++) {
        nx_json_key_int(json, nx_stream_loss_name((nx_stream_loss)i), (int64_t)counts->dropped[i]);
    }
    nx_json_object_end(json);
}

static void write_source(const nx_stream_status *status, nx_json *json)
{
    const nx_decoder_info *source = &status->source;
    nx_json_key(json, "source");
    if (source->width == 0) {
        nx_json_null(json);
        return;
    }
    nx_json_object_begin(json);
    nx_json_key_string(json, "format", source->container);
    nx_json_key_string(json, "codec", source->codec);
    nx_json_key_int(json, "width", source->width);
    nx_json_key_int(json, "height", source->height);
    nx_json_key_string(json, "video", status->video[0] != '\0' ? status->video : NULL);
    nx_json_object_end(json);
}

void nx_stream_status_json(const nx_stream_status *status, nx_json *json)
{
    const nx_stream_counts *counts = &status->counts;
    nx_json_key_int(json, "frames_received", (int64_t)counts->received);
    nx_json_key_int(json, "frames_processed", (int64_t)counts->processed);
    nx_json_key_int(json, "frames_inferred", (int64_t)counts->inferred);
    write_dropped(counts, json);
    nx_json_key_number(json, "fps", status->fps, 2);
    nx_json_key(json, "latency_ms");
    nx_json_object_begin(json);
    nx_json_key_number(json, "p50", status->latency_ms_p50, 1);
    nx_json_key_number(json, "p95", status->latency_ms_p95, 1);
    nx_json_object_end(json);
    nx_json_key_int(json, "reconnects", (int64_t)status->monitor.reconnects);
    write_source(status, json);
    nx_json_key(json, "model");
    if (status->model[0] == '\0') {
        nx_json_null(json);
    } else {
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", status->model);
        nx_json_key_int(json, "version", status->model_version);
        nx_json_object_end(json);
    }
}

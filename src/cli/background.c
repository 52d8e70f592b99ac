#include "cli/background.h"

#include "base/clock.h"

/* Between two looks for what is left behind. */
#define SWEEP_MS (INT64_C(15) * 60 * 1000)

nx_worker_options nx_background_worker_options(const nx_config *config, const nx_setup *setup)
{
    return (nx_worker_options){
        .store = setup->database,
        .objects = setup->objects,
        .registry = setup->registry,
        .shared = setup->shared,
        .engine = setup->engine,
        .data_dir = setup->data_dir,
        .postprocess = nx_setup_postprocess(config),
        .max_pixels = (uint64_t)nx_config_int(config, NX_CONFIG_MAX_IMAGE_PIXELS),
        .concurrency =
            nx_share_of(setup->share, (uint32_t)nx_config_int(config, NX_CONFIG_CONCURRENCY)),
        .prefetch = (uint32_t)nx_config_int(config, NX_CONFIG_PREFETCH_MULTIPLIER),
        .tracer = nx_otlp_tracer(setup->otlp),
        .lease_ms = 1000 * nx_config_int(config, NX_CONFIG_JOB_LEASE),
    };
}

nx_status nx_background_start(const nx_config *config, const nx_setup *setup,
                              const nx_worker_options *worker, nx_delivery_metrics *deliveries,
                              nx_background *out, nx_error *err)
{
    nx_webhooks_options hooks = nx_webhooks_options_of(config, setup->database);
    const nx_sweep_options sweep =
        nx_sweep_options_of(config, setup->database, setup->objects, setup->data_dir);
    *out = (nx_background){.worker = NULL};
    nx_mqtt_options mqtt = nx_mqtt_options_of(config, setup->database);
    hooks.noted = mqtt.noted = deliveries != NULL ? nx_delivery_metrics_count : NULL;
    hooks.user = mqtt.user = deliveries;
    hooks.tracer = nx_otlp_tracer(setup->otlp);
    nx_status status = nx_webhooks_start(&hooks, &out->webhooks, err);
    if (status == NX_OK && mqtt.url[0] != '\0') {
        status = nx_mqtt_start(&mqtt, &out->mqtt, err);
    }
    if (status == NX_OK) {
        status = nx_sweeper_start(&sweep, SWEEP_MS, NULL, NULL, &out->sweeper, err);
    }
    if (status == NX_OK && worker != NULL) {
        status = nx_worker_start(worker, &out->worker, err);
    }
    if (status != NX_OK) {
        nx_background_stop(out);
    }
    return status;
}

nx_status nx_background_make_streams(const nx_config *config, const nx_setup *setup,
                                     nx_streams **out, nx_error *err)
{
    const nx_streams_options options = {
        .store = setup->database,
        .engine = setup->engine,
        .registry = setup->registry,
        .shared = setup->shared,
        .postprocess = nx_setup_postprocess(config),
        .max_pixels = (uint64_t)nx_config_int(config, NX_CONFIG_MAX_IMAGE_PIXELS),
        .files_dir = nx_config_string(config, NX_CONFIG_STREAM_FILES_DIR),
        .ca_file = nx_config_string(config, NX_CONFIG_STREAM_CA_FILE),
        .relay = nx_config_string(config, NX_CONFIG_STREAM_RELAY),
        .allow_loopback = nx_config_bool(config, NX_CONFIG_STREAM_ALLOW_LOOPBACK),
        .clip_ns = nx_config_int(config, NX_CONFIG_EVENT_CLIP_SECONDS) * NX_NS_PER_SEC,
        .most =
            nx_share_of(setup->share, (uint32_t)nx_config_int(config, NX_CONFIG_STREAMS_AT_ONCE)),
    };
    return nx_streams_new(&options, out, err);
}

static bool write_counts(const char *stream, nx_buffer *out, void *user)
{
    nx_stream_status status;
    return nx_streams_status(user, stream, &status, out);
}

nx_status nx_background_run_streams(const nx_config *config, const nx_setup *setup,
                                    nx_background *background, nx_streams *streams, nx_error *err)
{
    const nx_event_recorder_options record =
        nx_event_recorder_options_of(config, setup->database, setup->objects);
    const nx_stream_hooks next = nx_streams_get_hooks(streams);
    nx_status status = nx_stream_events_start(&record, &next, &background->events, err);
    if (status == NX_OK) {
        const nx_stream_hooks hooks = nx_stream_events_hooks(background->events);
        nx_streams_set_hooks(streams, &hooks);
        status = nx_streams_start(streams, err);
    }
    background->streams = status == NX_OK ? streams : NULL;
    if (status == NX_OK) {
        nx_mqtt_set_counts(background->mqtt, write_counts, streams);
    }
    return status;
}

nx_status nx_background_reconfigure(const nx_background *background, const nx_config *config,
                                    nx_error *err)
{
    const nx_worker_rules rules = {
        .postprocess = nx_setup_postprocess(config),
        .max_pixels = (uint64_t)nx_config_int(config, NX_CONFIG_MAX_IMAGE_PIXELS),
    };
    nx_status status = nx_webhooks_reconfigure(
        background->webhooks, nx_config_string(config, NX_CONFIG_WEBHOOK_SECRET),
        nx_config_bool(config, NX_CONFIG_WEBHOOK_ALLOW_PRIVATE), err);
    if (status == NX_OK && background->worker != NULL) {
        nx_worker_set_rules(background->worker, &rules);
    }
    if (status == NX_OK && background->streams != NULL) {
        nx_streams_set_rules(background->streams, &rules.postprocess, rules.max_pixels);
    }
    return status;
}

void nx_background_ask_stop(const nx_background *background)
{
    if (background->worker != NULL) {
        nx_worker_ask_stop(background->worker);
    }
    if (background->streams != NULL) {
        nx_streams_ask_stop(background->streams);
    }
}

void nx_background_stop(nx_background *background)
{
    nx_mqtt_set_counts(background->mqtt, NULL, NULL);
    nx_streams_free(background->streams);
    nx_stream_events_stop(background->events); /* enters what is still queued */
    nx_worker_stop(background->worker);
    nx_sweeper_stop(background->sweeper);
    nx_mqtt_stop(background->mqtt);
    nx_webhooks_stop(background->webhooks); /* the last, for jobs end until then */
    *background = (nx_background){.worker = NULL};
}

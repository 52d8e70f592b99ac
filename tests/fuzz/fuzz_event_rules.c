/* Rules of events as people write them: any bytes are taken or refused with a sentence, and what is
 * taken works on frames. */
#include "fuzz.h"

#include "analytics/event_rules_parse.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = {"person", "bicycle", "car"};
static nx_zone zone = {
    .name = "z", .points = {{0, 0}, {0.5, 0}, {0.5, 1}, {0, 1}}, .point_count = 4};
static nx_line line = {.name = "l", .from = {0.5, 1}, .to = {0.5, 0}};
static const nx_zones_spec places = {&zone, 1, &line, 1};

/* Three who walk through the picture, and a camera that goes off and on. */
static void use(nx_event_rules *rules, nx_zones *zones)
{
    nx_error err = {0};
    size_t count = 0;
    for (int i = 0; i < 60; i++) {
        int64_t time = i * INT64_C(700000000);
        nx_track tracks[3] = {
            {.id = 4, .state = NX_TRACK_CONFIRMED, .x1 = i * 5, .x2 = i * 5 + 20, .y2 = 90},
            {.id = 2, .state = NX_TRACK_LOST, .class_id = 1, .x2 = 90, .y2 = 90},
            {.id = 9, .state = NX_TRACK_CONFIRMED, .class_id = 2, .x2 = 300 - i * 5, .y2 = 90},
        };
        for (size_t j = 0; j < 3; j++) {
            tracks[j].confidence = 0.5F;
            tracks[j].seen_ns = time;
        }
        if (nx_zones_update(zones, time, 320, 240, tracks, 3, &err) != NX_OK ||
            nx_event_rules_update(rules, time, zones, tracks, 3, &err) != NX_OK) {
            return; /* without memory */
        }
        const nx_event *events = nx_event_rules_events(rules, &count);
        for (size_t j = 0; j < count; j++) {
            if (events[j].rule >= nx_event_rules_get_spec(rules)->count ||
                events[j].kind >= NX_EVENT_KINDS || events[j].duration_ns < 0) {
                abort();
            }
        }
        if (nx_event_rules_camera(rules, time, i % 20 < 10, &err) != NX_OK) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const nx_zones_options options = nx_zones_defaults();
    nx_event_rules_spec spec;
    nx_event_rules *rules = NULL;
    nx_zones *zones = NULL;
    nx_error err = {0};
    if (nx_event_rules_parse((const char *)data, size, "fuzz", (nx_class_names){words, 3}, &places,
                             &spec, &err) != NX_OK) {
        if (spec.rules != NULL || err.message[0] == '\0') {
            abort();
        }
        return 0;
    }
    if (nx_event_rules_new(&spec, &places, &rules, &err) != NX_OK &&
        err.status != NX_ERR_NO_MEMORY) {
        abort(); /* the parser let it pass */
    }
    if (rules != NULL && nx_zones_new(&places, &options, &zones, &err) == NX_OK) {
        use(rules, zones);
    }
    nx_zones_free(zones);
    nx_event_rules_free(rules);
    nx_event_rules_spec_free(&spec);
    return 0;
}

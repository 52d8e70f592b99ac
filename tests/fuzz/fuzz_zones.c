/* Zones as people write them, and their saved state: any bytes are taken or refused with a
 * sentence, and what is taken counts on. */
#include "fuzz.h"

#include "analytics/zones_parse.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const words[] = {"person", "bicycle", "car"};

/* Two who walk over the picture and out of it. */
static void use(nx_zones *zones)
{
    nx_error err = {0};
    for (int i = 0; i < 40; i++) {
        nx_track tracks[2] = {
            {.id = 1, .state = NX_TRACK_CONFIRMED, .x1 = i * 10, .x2 = i * 10 + 20, .y2 = i * 5},
            {.id = 9,
             .state = NX_TRACK_CONFIRMED,
             .class_id = 2,
             .x1 = 300 - i * 9,
             .x2 = 300,
             .y2 = 90},
        };
        int64_t time = i < 20 ? i * INT64_C(100000000) : (INT64_C(1) << 61) - 100 + i;
        (void)nx_zones_update(zones, time, 320, 240, tracks, 2, &err);
    }
    for (size_t i = 0; i < nx_zones_get_spec(zones)->zone_count; i++) {
        nx_zone_totals totals = nx_zones_zone(zones, i);
        if (totals.dwell_ns < 0 || totals.class_count > NX_MAX_CLASSES) {
            abort();
        }
    }
}

static void fuzz_text(char *text, size_t size)
{
    const nx_zones_options options = nx_zones_defaults();
    nx_zones_spec spec;
    nx_zones *zones = NULL;
    nx_error err = {0};
    if (nx_zones_parse(text, size, "fuzz", (nx_class_names){words, 3}, &spec, &err) != NX_OK) {
        if (spec.zones != NULL || err.message[0] == '\0') {
            abort();
        }
        return;
    }
    if (nx_zones_new(&spec, &options, &zones, &err) == NX_OK) {
        use(zones);
        nx_zones_free(zones);
    } else if (err.status != NX_ERR_NO_MEMORY) {
        abort(); /* the parser let it pass */
    }
    nx_zones_spec_free(&spec);
}

static void fuzz_state(char *text, size_t size)
{
    static nx_zone zone = {
        .name = "z", .points = {{0, 0}, {0.5, 0}, {0.5, 1}, {0, 1}}, .point_count = 4};
    static nx_line line = {.name = "l", .from = {0.5, 0.8}, .to = {0.5, 0.2}};
    const nx_zones_spec spec = {&zone, 1, &line, 1};
    nx_zones *zones = NULL;
    nx_error err = {0};
    if (nx_zones_load(&spec, text, size, &zones, &err) != NX_OK) {
        if (zones != NULL || err.message[0] == '\0') {
            abort();
        }
        return;
    }
    nx_buffer out = NX_BUFFER_INIT;
    nx_zones_save(zones, &out);
    if (!out.failed && (out.size != size || memcmp(out.data, text, size) != 0)) {
        abort();
    }
    nx_buffer_free(&out);
    use(zones);
    nx_zones_free(zones);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_text, fuzz_state};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

/* Options, JSON bodies and base64 of a request: any bytes are taken or refused with a sentence. */
#include "fuzz.h"

#include "api/options.h"
#include "api/payload.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const names[] = {"person", "bicycle", "car", "traffic light", "bus"};
static const nx_option_rules rules = {
    .defaults = {.confidence = 0.25f, .iou = 0.45f, .max_detections = 300},
    .names = {names, 5},
    .model = "yolov8n",
    .has_format = true,
};

static void check(bool taken, const nx_problem *problem, const nx_api_options *options)
{
    if (!taken && (problem->status < 400 || problem->status > 599 || problem->detail[0] == '\0' ||
                   memchr(problem->detail, '\0', sizeof problem->detail) == NULL)) {
        abort();
    }
    const nx_postprocess_options *o = &options->postprocess;
    if (!(o->confidence >= 0 && o->confidence <= 1 && o->iou >= 0 && o->iou <= 1 &&
          o->max_detections >= 1 && o->max_detections <= 1000) ||
        (o->class_mask[0] >> 5) != 0) { /* a class that the model does not have */
        abort();
    }
}

static void take_pair(const char *name, const char *value, void *user)
{
    nx_api_options *options = user;
    nx_problem problem = {0};
    bool taken = nx_api_options_set(options, name, value, &problem);
    check(taken, &problem, options);
}

static void fuzz_text(char *text, size_t size)
{
    nx_api_options options = nx_api_options_start(&rules);
    fuzz_lines(text, size, take_pair, &options);
}

static void take_member(const char *name, const json_t *value, void *user)
{
    nx_api_options *options = user;
    nx_problem problem = {0};
    bool taken = nx_api_options_set_json(options, name, value, &problem);
    check(taken, &problem, options);
}

static void fuzz_json(char *text, size_t size)
{
    nx_problem problem = {0};
    nx_api_options options = nx_api_options_start(&rules);
    bool parsed = fuzz_members(text, size, take_member, &options, &problem);
    check(parsed, &problem, &options);
}

static void fuzz_base64(char *text, size_t size)
{
    nx_buffer out = NX_BUFFER_INIT;
    nx_problem problem = {0};
    nx_api_options options = nx_api_options_start(&rules);
    bool decoded = nx_payload_base64("image", text, size, &out, &problem);
    check(decoded, &problem, &options);
    if (out.size > size / 4 * 3 + 3) {
        abort();
    }
    nx_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_text, fuzz_json, fuzz_base64};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

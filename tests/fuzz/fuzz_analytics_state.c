/* Saved motion gates and strides: any bytes are taken or refused with a sentence; what is
 * taken is saved as the bytes that it was, and goes on. */
#include "fuzz.h"

#include "analytics/motion_gate.h"
#include "analytics/stride.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const nx_track track = {
    .id = 1, .state = NX_TRACK_CONFIRMED, .x1 = 10, .y1 = 10, .x2 = 30, .y2 = 60, .vx = 20};

static void check_refusal(const void *made, const nx_error *err)
{
    if (made != NULL || err->message[0] == '\0') {
        abort();
    }
}

static void check_saved(nx_buffer *out, const char *text, size_t size)
{
    if (!out->failed && (out->size != size || memcmp(out->data, text, size) != 0)) {
        abort();
    }
    nx_buffer_free(out);
}

static void fuzz_gate(char *text, size_t size)
{
    static const uint8_t pixels[20 * 20];
    const nx_motion_frame frame = {pixels, 20, 20, 20, 1};
    nx_motion_gate *gate = NULL;
    nx_buffer out = NX_BUFFER_INIT;
    nx_error err = {0};
    bool open = false;
    if (nx_motion_gate_load(text, size, &gate, &err) != NX_OK) {
        check_refusal(gate, &err);
        return;
    }
    nx_motion_gate_save(gate, &out);
    check_saved(&out, text, size);
    (void)nx_motion_gate_look(gate, 0, &frame, &open, &err);
    (void)nx_motion_gate_look(gate, (INT64_C(1) << 61) - 1, &frame, &open, &err);
    (void)nx_motion_gate_look(gate, INT64_C(1) << 61, &frame, &open, &err);
    nx_motion_gate_free(gate);
}

static void fuzz_stride(char *text, size_t size)
{
    nx_stride stride;
    nx_buffer out = NX_BUFFER_INIT;
    nx_error err = {0};
    if (nx_stride_load(text, size, &stride, &err) != NX_OK) {
        check_refusal(NULL, &err);
        return;
    }
    nx_stride_save(&stride, &out);
    check_saved(&out, text, size);
    for (int64_t i = 1; i < 1002; i++) {
        if (nx_stride_due(&stride, stride.looked_ns + i)) {
            nx_stride_looked(&stride, stride.looked_ns + i, &track, 1);
            return;
        }
    }
    abort(); /* no stride is longer than 1000 frames */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const fuzz_parser parsers[] = {fuzz_gate, fuzz_stride};
    return fuzz_one_of(parsers, sizeof parsers / sizeof parsers[0], data, size);
}

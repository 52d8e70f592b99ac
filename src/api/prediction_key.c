#include "api/prediction_key.h"

#include <endian.h>
#include <sodium.h>
#include <string.h>

nx_prediction_keys nx_prediction_keys_new(bool shared)
{
    nx_prediction_keys keys = {.shared = shared};
    if (!shared) {
        randombytes_buf(keys.picture, sizeof keys.picture);
        randombytes_buf(keys.whole, sizeof keys.whole);
    }
    return keys;
}

static void add_number(crypto_generichash_state *state, uint64_t value)
{
    const uint64_t wire = htole64(value);
    crypto_generichash_update(state, (const uint8_t *)&wire, sizeof wire);
}

static void add_float(crypto_generichash_state *state, float value)
{
    uint32_t bits = 0;
    memcpy(&bits, &value, sizeof bits);
    add_number(state, bits);
}

/* With its length before it, so that no two lists of texts look the same. */
static void add_text(crypto_generichash_state *state, const char *text)
{
    size_t size = strlen(text);
    add_number(state, size);
    crypto_generichash_update(state, (const uint8_t *)text, size);
}

static void add_options(crypto_generichash_state *state, const nx_postprocess_options *options)
{
    add_float(state, options->confidence);
    add_float(state, options->iou);
    add_number(state, (uint64_t)options->max_detections);
    add_number(state, options->multi_label);
    add_number(state, options->filter_classes);
    for (size_t i = 0; options->filter_classes && i < NX_MAX_CLASSES / 64; i++) {
        add_number(state, options->class_mask[i]);
    }
}

static void add_picture(crypto_generichash_state *state, const nx_prediction_keys *keys,
                        const void *picture, size_t size)
{
    uint8_t hash[32] = {0};
    if (keys->shared) {
        crypto_generichash(hash, sizeof hash, picture, size, NULL, 0);
    } else {
        crypto_onetimeauth(hash, picture, size, keys->picture);
    }
    add_number(state, size);
    crypto_generichash_update(state, hash, sizeof hash);
}

void nx_prediction_key(const nx_prediction_keys *keys, const nx_prediction_question *question,
                       const void *picture, size_t size, uint8_t out[NX_PREDICTION_KEY])
{
    crypto_generichash_state state;
    crypto_generichash_init(&state, keys->shared ? NULL : keys->whole,
                            keys->shared ? 0 : sizeof keys->whole, NX_PREDICTION_KEY);
    add_text(&state, "prediction " NX_VERSION);
    add_text(&state, question->model->name);
    add_number(&state, question->version);
    crypto_generichash_update(&state, question->model->identity, NX_MODEL_IDENTITY);
    add_number(&state, question->max_pixels);
    add_options(&state, question->options);
    add_picture(&state, keys, picture, size);
    crypto_generichash_final(&state, out, NX_PREDICTION_KEY);
}

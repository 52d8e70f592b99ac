/*
 * What a prediction is found by: the picture's bytes and all that what is found in them depends on
 * (the model's name, version and identity, the options, this program's version). Not the format of
 * the answer.
 *
 * How the bytes are hashed depends on who shares the cache. Pictures come from strangers, so nobody
 * may be able to make two that are found by one key:
 *
 * - Within one process the bytes go through Poly1305 (RFC 8439) under a secret by chance, and what
 *   comes out, which is never shown, through BLAKE2b under another: for two pictures of up to 32
 * MiB that were chosen without the secret, the chance of one key is under 2^-80. It takes a quarter
 * of the time of BLAKE2b of all bytes.
 * - Processes that share a cache have no secret that an attacker could not know as well, so that
 *   the bytes are hashed with BLAKE2b-256 (RFC 7693), which nobody finds collisions of.
 *
 * Thread-safe; a maker does not change.
 */
#ifndef NX_API_PREDICTION_KEY_H
#define NX_API_PREDICTION_KEY_H

#include "engine/model.h"
#include "vision/postprocess.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_PREDICTION_KEY 32 /* bytes */

typedef struct nx_prediction_keys {
    bool shared;         /* with other processes */
    uint8_t picture[32]; /* the secrets of a process by itself */
    uint8_t whole[32];
} nx_prediction_keys;

/* sodium_init must have been called. */
nx_prediction_keys nx_prediction_keys_new(bool shared);

/* What a picture is looked for in. */
typedef struct nx_prediction_question {
    const nx_model_spec *model;
    uint32_t version;
    const nx_postprocess_options *options;
    uint64_t max_pixels;
} nx_prediction_question;

void nx_prediction_key(const nx_prediction_keys *keys, const nx_prediction_question *question,
                       const void *picture, size_t size, uint8_t out[NX_PREDICTION_KEY]);

#endif

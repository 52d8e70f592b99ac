/*
 * Segment Anything in the engine: the encoder as a backend for batches, the decoder, and the
 * embeddings of the pictures that were seen last.
 *
 * Nothing is loaded before it is needed, so that a server that nobody asks for masks stays small.
 * Each network has up to two sessions: one that stays on its thread, for when others work too, and
 * one with intra-op threads for whoever is alone.
 */
#ifndef NX_ENGINE_SAM_H
#define NX_ENGINE_SAM_H

#include "base/error.h"
#include "engine/backend.h"
#include "engine/device.h"
#include "engine/embedding_cache.h"
#include "engine/runtime.h"
#include "vision/sam.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct nx_sam nx_sam;

#define NX_SAM_EMBEDDING_COUNT ((size_t)256 * 64 * 64)

typedef struct nx_sam_options {
    const char *name;       /* copied; NULL: "sam" */
    uint32_t alone_threads; /* intra-op threads of who is alone; 0 and 1: no second session */
    size_t cache_bytes;     /* for embeddings of 4 MiB each */
    nx_device device;       /* zeros: the CPU; cache_dir is borrowed while the model lives */
} nx_sam_options;

/* Remembers the files; runtime is borrowed and must outlive it. The files are opened at first use,
 * and what is opened later of files that have changed since is not used. Errors: NX_ERR_NO_MEMORY.
 */
nx_status nx_sam_new(nx_runtime *runtime, const char *encoder_path, const char *decoder_path,
                     const nx_sam_options *options, nx_sam **out, nx_error *err);
/* No Run may be under way, no claim on the cache open. NULL is fine. */
void nx_sam_free(nx_sam *sam);

/*
 * Opens both networks, as their first use would. Before other threads know of sam, or never.
 * Errors: NX_ERR_NOT_FOUND and NX_ERR_CORRUPT (a file), NX_ERR_UNSUPPORTED (not a network of SAM:
 * which, and what it lacks), NX_ERR_UNAVAILABLE and NX_ERR_INVALID (the device), NX_ERR_NO_MEMORY.
 */
nx_status nx_sam_open(nx_sam *sam, nx_error *err);

/* Runs an empty picture through both. Errors: as above; NX_ERR_INVALID (a graph fails, or the
 * encoder's output is not what the decoder takes). */
nx_status nx_sam_try(nx_sam *sam, nx_error *err);

/* The files, which may be open, lie there from now on. Before other threads know of sam.
 * Errors: NX_ERR_NO_MEMORY. */
nx_status nx_sam_moved(nx_sam *sam, const char *encoder_path, const char *decoder_path,
                       nx_error *err);

/* What to call it, and each of its networks in metrics: "NAME.decoder" (the encoder's is its
 * backend's name). They live as long as sam. */
const char *nx_sam_name(const nx_sam *sam);
const char *nx_sam_decoder_name(const nx_sam *sam);

/* What runs the encoder, "cpu", "cuda" or "tensorrt"; the CPU until it is open. A constant.
 * Thread-safe. */
const char *nx_sam_device(nx_sam *sam);

/* Batch of 1, NX_SAM_SIDE squared, as nx_sam_preprocess writes it. The output is one embedding of
 * NX_SAM_EMBEDDING_COUNT floats. Lives as long as sam. */
const nx_backend *nx_sam_encoder(nx_sam *sam);

/* Copies what the encoder put out. Errors: NX_ERR_UNSUPPORTED (another shape). */
nx_status nx_sam_read_embedding(const nx_tensor *outputs, size_t count, nx_embedding *out,
                                nx_error *err);

nx_embedding_cache *nx_sam_cache(nx_sam *sam);

/* A mask as the decoder answers. */
typedef struct nx_sam_mask_item {
    nx_rle rle;
    float score;  /* predicted intersection over union, 0..1 but for the network's whims */
    size_t thing; /* of the prompt: the index of its box */
} nx_sam_mask_item;

typedef struct nx_sam_masks {
    nx_sam_mask_item items[3 * NX_SAM_MAX_BOXES];
    size_t count;
    int64_t run_ns;                    /* in the decoder; with its opening, the first time */
    int64_t runs_ns[NX_SAM_MAX_BOXES]; /* of each Run alone */
    size_t runs;
} nx_sam_masks;

void nx_sam_masks_free(nx_sam_masks *masks);

/*
 * Runs the decoder for one thing of a prompt and appends its mask to out, or with multimask three,
 * the best first. Any thread, any number of calls at once; alone: it may use every core.
 * Errors: NX_ERR_NOT_FOUND and NX_ERR_CORRUPT (the file), NX_ERR_UNSUPPORTED (another graph, or
 * multimask of a decoder that has one mask), NX_ERR_INTERNAL, NX_ERR_NO_MEMORY.
 */
nx_status nx_sam_decode(nx_sam *sam, const nx_embedding *embedding, const nx_sam_prompt *prompt,
                        size_t thing, bool alone, nx_sam_masks *out, nx_error *err);

#endif

#include "engine/sam.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/sam_graph.h"
#include "engine/session.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MASK_COUNT ((size_t)NX_SAM_MASK_SIDE * NX_SAM_MASK_SIDE)

/* One network and its sessions, which are opened when they are needed. */
typedef struct network {
    char *path;
    pthread_mutex_t lock;    /* guards the sessions' opening */
    nx_session *sessions[2]; /* on one thread; on all */
} network;

struct nx_sam {
    nx_runtime *runtime;
    nx_sam_options options;
    network encoder, decoder;
    nx_weights *weights; /* packed once for both sessions of a network */
    nx_sam_graph all;    /* the decoder's four masks; empty names where it has one */
    nx_backend backend;
    nx_embedding_cache *cache;
};

/* --- sessions -----------------------------------------------------------------------------------
 */

static nx_status check_tensor(const network *net, const nx_tensor *tensor, const char *name,
                              uint32_t rank, nx_error *err)
{
    if (tensor != NULL && tensor->type == NX_TYPE_FLOAT32 && tensor->rank == rank) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_UNSUPPORTED,
                        "%.200s is not a network of SAM: it has no '%s', float32 of %u dimensions",
                        net->path, name, rank);
}

static nx_status check_encoder(const nx_sam *sam, const nx_session *session, nx_error *err)
{
    size_t inputs = 0;
    size_t outputs = 0;
    const nx_tensor *input = nx_session_inputs(session, &inputs);
    const nx_tensor *output = nx_session_outputs(session, &outputs);
    nx_status status = check_tensor(&sam->encoder, inputs == 1 ? input : NULL, "input", 4, err);
    return status != NX_OK
               ? status
               : check_tensor(&sam->encoder, outputs == 1 ? output : NULL, "output", 4, err);
}

static nx_status check_decoder(const nx_sam *sam, const nx_session *session, nx_error *err)
{
    static const struct {
        const char *name;
        uint32_t rank;
    } inputs[] = {{"image_embeddings", 4}, {"point_coords", 3},   {"point_labels", 2},
                  {"mask_input", 4},       {"has_mask_input", 1}, {"orig_im_size", 1}};
    nx_status status = NX_OK;
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0] && status == NX_OK; i++) {
        status = check_tensor(&sam->decoder, nx_session_find_input(session, inputs[i].name),
                              inputs[i].name, inputs[i].rank, err);
    }
    const nx_tensor *masks = nx_session_find_output(session, "low_res_masks");
    const nx_tensor *scores = nx_session_find_output(session, "iou_predictions");
    if (status == NX_OK) {
        status = check_tensor(&sam->decoder, masks, "low_res_masks", 4, err);
    }
    if (status == NX_OK) {
        status = check_tensor(&sam->decoder, scores, "iou_predictions", 2, err);
    }
    return status;
}

static nx_status open_decoder(nx_sam *sam, const nx_session_options *options, nx_session **out,
                              nx_error *err)
{
    nx_file_map map;
    nx_buffer edited = NX_BUFFER_INIT;
    nx_sam_graph all = {0};
    nx_status status = nx_file_map_open(sam->decoder.path, &map, err);
    if (status != NX_OK) {
        return status;
    }
    bool shown = nx_sam_graph_show_all(map.data, map.size, &edited, &all);
    nx_file_unmap(&map);
    if (shown) {
        status = nx_session_open_bytes(sam->runtime, edited.data, edited.size, sam->decoder.path,
                                       options, out, err);
    } else {
        status = nx_session_open(sam->runtime, sam->decoder.path, options, out, err);
    }
    nx_buffer_free(&edited);
    if (status == NX_OK) {
        if (sam->decoder.sessions[0] == NULL && sam->decoder.sessions[1] == NULL) {
            sam->all = all; /* once: who has a session reads it without the lock */
        }
        status = check_decoder(sam, *out, err);
    }
    return status;
}

/* The lock of net is held. */
static nx_status open_session(nx_sam *sam, network *net, bool alone, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    nx_session *session = NULL;
    const nx_session_options options = {
        .intra_op_threads = alone ? sam->options.alone_threads : 1,
        .weights = sam->weights,
    };
    nx_status status = NX_OK;
    if (net == &sam->decoder) {
        status = open_decoder(sam, &options, &session, err);
    } else {
        status = nx_session_open(sam->runtime, net->path, &options, &session, err);
        if (status == NX_OK) {
            status = check_encoder(sam, session, err);
        }
    }
    if (status != NX_OK) {
        nx_session_free(session);
        return status;
    }
    net->sessions[alone] = session;
    nx_log_debug("sam", "opened %s for %u threads in %.0f ms", net->path, options.intra_op_threads,
                 nx_clock_ms(nx_clock_now_ns() - start));
    return NX_OK;
}

static nx_status session_of(nx_sam *sam, network *net, bool alone, nx_session **out, nx_error *err)
{
    bool many = alone && sam->options.alone_threads > 1;
    nx_status status = NX_OK;
    pthread_mutex_lock(&net->lock);
    if (net->sessions[many] == NULL) {
        status = open_session(sam, net, many, err);
    }
    *out = net->sessions[many];
    pthread_mutex_unlock(&net->lock);
    return status;
}

/* --- the encoder --------------------------------------------------------------------------------
 */

static size_t slot_bytes(void *self, uint32_t width, uint32_t height)
{
    (void)self;
    return (size_t)3 * width * height * sizeof(float);
}

static nx_status run_encoder(void *self, const nx_batch *batch, nx_batch_read read, void *user,
                             nx_error *err)
{
    nx_sam *sam = self;
    nx_session *session = NULL;
    nx_status status = session_of(sam, &sam->encoder, batch->alone, &session, err);
    if (status != NX_OK) {
        return status;
    }
    size_t count = 0;
    const nx_tensor input = {
        .name = nx_session_inputs(session, &count)->name,
        .type = NX_TYPE_FLOAT32,
        .rank = 4,
        .dims = {batch->count, 3, batch->height, batch->width},
        .data = batch->data,
        .bytes = batch->count * slot_bytes(NULL, batch->width, batch->height),
    };
    return nx_session_run(session, &input, 1, NULL, 0, read, user, err);
}

const nx_backend *nx_sam_encoder(nx_sam *sam)
{
    return &sam->backend;
}

nx_status nx_sam_read_embedding(const nx_tensor *outputs, size_t count, nx_embedding *out,
                                nx_error *err)
{
    size_t bytes = NX_SAM_EMBEDDING_COUNT * sizeof(float);
    if (count != 1 || outputs[0].type != NX_TYPE_FLOAT32 || outputs[0].bytes != bytes ||
        out->count != NX_SAM_EMBEDDING_COUNT) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "the encoder's output is not an embedding of 256x64x64 numbers");
    }
    memcpy(out->values, outputs[0].data, bytes);
    return NX_OK;
}

/* --- the decoder --------------------------------------------------------------------------------
 */

void nx_sam_masks_free(nx_sam_masks *masks)
{
    for (size_t i = 0; masks != NULL && i < masks->count; i++) {
        nx_rle_free(&masks->items[i].rle);
    }
    if (masks != NULL) {
        masks->count = 0;
    }
}

/* What one Run is for. */
typedef struct decoding {
    const nx_sam *sam;
    const nx_letterbox *letterbox;
    size_t thing;
    size_t rows;
    bool multimask;
    int64_t ended_ns;
    nx_sam_masks *out;
} decoding;

static nx_status add_mask(const decoding *d, const float *low_res, float score, nx_error *err)
{
    nx_sam_masks *out = d->out;
    if (out->count == sizeof out->items / sizeof out->items[0]) {
        return nx_error_set(err, NX_ERR_INTERNAL, "more masks than a prompt can have");
    }
    nx_sam_mask_item *item = &out->items[out->count];
    *item = (nx_sam_mask_item){.score = score, .thing = d->thing};
    nx_status status = nx_sam_mask(low_res, d->letterbox, &item->rle, err);
    out->count += status == NX_OK;
    return status;
}

/* The three masks of an ambiguous prompt, the best first. */
static nx_status add_three(const decoding *d, const float *masks, const float *scores,
                           nx_error *err)
{
    bool taken[4] = {true, false, false, false}; /* the first is for prompts without doubt */
    nx_status status = NX_OK;
    for (int n = 0; n < 3 && status == NX_OK; n++) {
        size_t best = 0;
        for (size_t i = 1; i < 4; i++) {
            if (!taken[i] && (taken[best] || scores[i] > scores[best])) {
                best = i;
            }
        }
        taken[best] = true;
        status = add_mask(d, masks + best * MASK_COUNT, scores[best], err);
    }
    return status;
}

static nx_status read_masks(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    decoding *d = user;
    d->ended_ns = nx_clock_now_ns();
    const nx_tensor *masks = &outputs[0];
    const nx_tensor *scores = &outputs[1];
    size_t found = masks->bytes / (MASK_COUNT * sizeof(float));
    if (count != 2 || masks->type != NX_TYPE_FLOAT32 || scores->type != NX_TYPE_FLOAT32 ||
        (found != 1 && found != 4) || masks->bytes != found * MASK_COUNT * sizeof(float) ||
        scores->bytes != found * sizeof(float)) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "the decoder's outputs are not 1 or 4 masks of 256x256 with a score");
    }
    const float *values = masks->data;
    const float *score = scores->data;
    if (found == 1 && d->multimask) {
        return nx_error_set(err, NX_ERR_UNSUPPORTED,
                            "this decoder gives one mask for a prompt: leave multimask out");
    }
    if (found == 1) {
        return add_mask(d, values, score[0], err);
    }
    if (d->multimask) {
        return add_three(d, values, score, err);
    }
    size_t best = nx_sam_choose(score, d->rows);
    return add_mask(d, values + best * MASK_COUNT, score[best], err);
}

static nx_status run_decoder(nx_sam *sam, nx_session *session, const nx_embedding *embedding,
                             const nx_sam_prompt *prompt, decoding *d, nx_error *err)
{
    static const float no_mask[MASK_COUNT]; /* static: 256 KB of zeros */
    float coords[2 * NX_SAM_MAX_ROWS];
    float labels[NX_SAM_MAX_ROWS];
    float has_mask = 0;
    float size[2] = {1, 1}; /* its own scaled masks are not used: as small as can be */
    d->rows = nx_sam_prompt_rows(prompt, d->thing, d->letterbox, coords, labels);
    int64_t rows = (int64_t)d->rows;
#define FLOATS(input, n, values, ...)                                                              \
    {.name = (input),                                                                              \
     .type = NX_TYPE_FLOAT32,                                                                      \
     .rank = (n),                                                                                  \
     .dims = {__VA_ARGS__},                                                                        \
     .data = (void *)(uintptr_t)(values)}
    nx_tensor inputs[] = {
        FLOATS("image_embeddings", 4, embedding->values, 1, 256, 64, 64),
        FLOATS("point_coords", 3, coords, 1, rows, 2),
        FLOATS("point_labels", 2, labels, 1, rows),
        FLOATS("mask_input", 4, no_mask, 1, 1, NX_SAM_MASK_SIDE, NX_SAM_MASK_SIDE),
        FLOATS("has_mask_input", 1, &has_mask, 1),
        FLOATS("orig_im_size", 1, size, 2),
    };
#undef FLOATS
    size_t count = sizeof inputs / sizeof inputs[0];
    for (size_t i = 0; i < count; i++) {
        size_t elements = 1;
        for (uint32_t r = 0; r < inputs[i].rank; r++) {
            elements *= (size_t)inputs[i].dims[r];
        }
        inputs[i].bytes = elements * sizeof(float);
    }
    bool all = sam->all.masks[0] != '\0';
    const char *const outputs[] = {all ? sam->all.masks : "low_res_masks",
                                   all ? sam->all.scores : "iou_predictions"};
    return nx_session_run(session, inputs, count, outputs, 2, read_masks, d, err);
}

nx_status nx_sam_decode(nx_sam *sam, const nx_embedding *embedding, const nx_sam_prompt *prompt,
                        size_t thing, bool alone, nx_sam_masks *out, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    nx_session *session = NULL;
    nx_status status = session_of(sam, &sam->decoder, alone, &session, err);
    if (status != NX_OK) {
        return status;
    }
    const nx_letterbox letterbox = nx_sam_letterbox(embedding->width, embedding->height);
    decoding d = {
        .sam = sam,
        .letterbox = &letterbox,
        .thing = thing,
        .multimask = prompt->multimask,
        .out = out,
    };
    status = run_decoder(sam, session, embedding, prompt, &d, err);
    out->run_ns += d.ended_ns > start ? d.ended_ns - start : 0;
    return status;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static bool network_init(network *net, const char *path)
{
    pthread_mutex_init(&net->lock, NULL);
    net->path = strdup(path);
    return net->path != NULL;
}

static void network_end(network *net)
{
    nx_session_free(net->sessions[0]);
    nx_session_free(net->sessions[1]);
    pthread_mutex_destroy(&net->lock);
    free(net->path);
}

nx_status nx_sam_new(nx_runtime *runtime, const char *encoder_path, const char *decoder_path,
                     const nx_sam_options *options, nx_sam **out, nx_error *err)
{
    *out = NULL;
    nx_sam *sam = calloc(1, sizeof *sam);
    if (sam == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for SAM");
    }
    sam->runtime = runtime;
    sam->options = *options;
    sam->backend = (nx_backend){
        .self = sam,
        .max_batch = 1,
        .slot_bytes = slot_bytes,
        .run = run_encoder,
    };
    bool ok = network_init(&sam->encoder, encoder_path);
    ok = network_init(&sam->decoder, decoder_path) && ok;
    nx_status status =
        ok ? NX_OK : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for SAM's file names");
    if (status == NX_OK) {
        status = nx_weights_new(runtime, &sam->weights, err);
    }
    if (status == NX_OK) {
        status = nx_embedding_cache_new(options->cache_bytes, &sam->cache, err);
    }
    if (status != NX_OK) {
        nx_sam_free(sam);
        return status;
    }
    *out = sam;
    return NX_OK;
}

void nx_sam_free(nx_sam *sam)
{
    if (sam == NULL) {
        return;
    }
    network_end(&sam->encoder);
    network_end(&sam->decoder);
    nx_weights_free(sam->weights);
    nx_embedding_cache_free(sam->cache);
    free(sam);
}

nx_embedding_cache *nx_sam_cache(nx_sam *sam)
{
    return sam->cache;
}

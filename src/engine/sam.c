#include "engine/sam.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "engine/sam_graph.h"
#include "engine/session.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define MASK_COUNT ((size_t)NX_SAM_MASK_SIDE * NX_SAM_MASK_SIDE)

/* One network and its sessions, which are opened when they are needed. */
typedef struct network {
    char *path;
    char *name;              /* "NAME.encoder", for metrics */
    pthread_mutex_t lock;    /* guards what is below */
    struct stat file;        /* as it was when the first session was opened */
    nx_session *sessions[2]; /* on one thread, or a GPU; on all of the CPU's */
} network;

struct nx_sam {
    nx_runtime *runtime;
    nx_sam_options options;
    char *name;
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

/* TensorRT must hear of the shapes to come before it builds. */

#define FIXED(...) .min = {__VA_ARGS__}, .usual = {__VA_ARGS__}, .max = {__VA_ARGS__}

static nx_status open_decoder_on(nx_sam *sam, const nx_session_options *plan, nx_session **out,
                                 nx_error *err)
{
    static const nx_input_range ranges[] = {
        {.name = "point_coords",
         .rank = 3,
         .min = {1, 1, 2},
         .usual = {1, 2, 2},
         .max = {1, NX_SAM_MAX_ROWS, 2}},
        {.name = "point_labels",
         .rank = 2,
         .min = {1, 1},
         .usual = {1, 2},
         .max = {1, NX_SAM_MAX_ROWS}},
        {.name = "image_embeddings", .rank = 4, FIXED(1, 256, 64, 64)},
        {.name = "mask_input", .rank = 4, FIXED(1, 1, NX_SAM_MASK_SIDE, NX_SAM_MASK_SIDE)},
        {.name = "has_mask_input", .rank = 1, FIXED(1)},
        {.name = "orig_im_size", .rank = 1, FIXED(2)},
    };
    nx_session_options options = *plan;
    options.ranges = ranges;
    options.range_count = sizeof ranges / sizeof ranges[0];
    return open_decoder(sam, &options, out, err);
}

/* The encoder's input is called as its exporter liked. */
static nx_status open_encoder_on(nx_sam *sam, const nx_session_options *plan, nx_session **out,
                                 nx_error *err)
{
    nx_session *plain = NULL;
    nx_session_options options = *plan;
    nx_status status = NX_OK;
    nx_input_range range = {.rank = 4, FIXED(1, 3, NX_SAM_SIDE, NX_SAM_SIDE)};
    if (options.device != NULL && options.device->tensorrt) {
        const nx_session_options as_is = {.optimization = NX_GRAPH_AS_IS};
        status = nx_session_open(sam->runtime, sam->encoder.path, &as_is, &plain, err);
        if (status == NX_OK) {
            status = check_encoder(sam, plain, err);
        }
        if (status == NX_OK) {
            size_t count = 0;
            range.name = nx_session_inputs(plain, &count)->name;
            options.ranges = &range;
            options.range_count = 1;
        }
    }
    if (status == NX_OK) {
        status = nx_session_open(sam->runtime, sam->encoder.path, &options, out, err);
    }
    nx_session_free(plain);
    return status == NX_OK ? check_encoder(sam, *out, err) : status;
}

#undef FIXED

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* Both sessions of a network, and the embeddings with them, are of one file: another one that has
 * taken its place meanwhile is refused. The lock of net is held. */
static nx_status check_file(const network *net, const struct stat *first, nx_error *err)
{
    struct stat now;
    if (stat(net->path, &now) == 0 && same_file(first, &now)) {
        return NX_OK;
    }
    return nx_error_set(err, NX_ERR_NOT_FOUND, "%.300s is not there, or has changed meanwhile",
                        net->path);
}

/* The lock of net is held. */
static nx_status open_session(nx_sam *sam, network *net, size_t many, nx_error *err)
{
    int64_t start = nx_clock_now_ns();
    nx_session *session = NULL;
    const nx_session_options options = {
        .intra_op_threads = many ? sam->options.alone_threads : 1,
        .weights = sam->weights,
        .device = many ? NULL : &sam->options.device,
    };
    struct stat file = net->file;
    bool first = net->sessions[0] == NULL && net->sessions[1] == NULL;
    nx_status status = NX_OK;
    if (!first) {
        status = check_file(net, &net->file, err);
    } else if (stat(net->path, &file) != 0) {
        file = (struct stat){0}; /* opening it says what is wrong */
    }
    if (status == NX_OK) {
        status = net == &sam->decoder ? open_decoder_on(sam, &options, &session, err)
                                      : open_encoder_on(sam, &options, &session, err);
    }
    if (status == NX_OK) {
        status = check_file(net, &file, err);
    }
    if (status != NX_OK) {
        nx_session_free(session);
        return status;
    }
    net->file = file;
    net->sessions[many] = session;
    nx_log_debug("sam", "opened %s for %u threads in %.0f ms", net->path, options.intra_op_threads,
                 nx_clock_ms(nx_clock_now_ns() - start));
    return NX_OK;
}

/* Which session a Run gets: a GPU has one, however many ask. The lock of net is held. */
static size_t choose_session(const nx_sam *sam, const network *net, bool alone)
{
    if (!alone || sam->options.alone_threads < 2) {
        return 0;
    }
    return sam->options.device.kind == NX_DEVICE_CPU ||
           (net->sessions[0] != NULL && strcmp(nx_session_device(net->sessions[0]), "cpu") == 0);
}

static nx_status session_of(nx_sam *sam, network *net, bool alone, nx_session **out, nx_error *err)
{
    nx_status status = NX_OK;
    pthread_mutex_lock(&net->lock);
    size_t wanted = choose_session(sam, net, alone);
    if (net->sessions[wanted] == NULL) {
        status = open_session(sam, net, wanted, err);
    }
    if (status != NX_OK && net->sessions[!wanted] != NULL) {
        wanted = !wanted; /* the version was removed under its last requests: as good, but slower */
        status = NX_OK;
    }
    *out = net->sessions[wanted];
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
    size_t count = 0; /* one: check_encoder has seen to it */
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

static void *allocate(void *self, size_t bytes)
{
    nx_sam *sam = self;
    return nx_session_allocate(sam->encoder.sessions[0], bytes);
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
    int64_t run_start = nx_clock_now_ns();
    status = run_decoder(sam, session, embedding, prompt, &d, err);
    out->run_ns += d.ended_ns > start ? d.ended_ns - start : 0;
    if (status == NX_OK && out->runs < NX_SAM_MAX_BOXES) {
        out->runs_ns[out->runs++] = d.ended_ns - run_start;
    }
    return status;
}

/* --- opening and trying -------------------------------------------------------------------------
 */

nx_status nx_sam_open(nx_sam *sam, nx_error *err)
{
    nx_session *session = NULL;
    nx_status status = session_of(sam, &sam->encoder, true, &session, err);
    if (status == NX_OK && strcmp(nx_session_device(session), "cpu") != 0) {
        sam->backend.allocate = allocate;
        sam->backend.release = nx_session_release;
    }
    return status == NX_OK ? session_of(sam, &sam->decoder, true, &session, err) : status;
}

static nx_status keep_embedding(const nx_tensor *outputs, size_t count, void *user, nx_error *err)
{
    return nx_sam_read_embedding(outputs, count, user, err);
}

static nx_status run_empty(nx_sam *sam, void *picture, nx_embedding *embedding, nx_error *err)
{
    const nx_batch batch = {
        .data = picture, .count = 1, .width = NX_SAM_SIDE, .height = NX_SAM_SIDE, .alone = true};
    const nx_sam_prompt prompt = {.points = {{NX_SAM_SIDE / 2.0, NX_SAM_SIDE / 2.0, true}},
                                  .point_count = 1};
    nx_sam_masks masks = {0};
    const char *path = sam->encoder.path;
    nx_status status = run_encoder(sam, &batch, keep_embedding, embedding, err);
    if (status == NX_OK) {
        path = sam->decoder.path;
        status = nx_sam_decode(sam, embedding, &prompt, 0, true, &masks, err);
    }
    nx_sam_masks_free(&masks);
    if (status == NX_ERR_INTERNAL || status == NX_ERR_UNSUPPORTED || status == NX_ERR_INVALID) {
        const nx_error words = *err;
        status = nx_error_set(err, NX_ERR_INVALID, "%.200s fails on an empty picture: %.200s", path,
                              words.message);
    }
    return status;
}

nx_status nx_sam_try(nx_sam *sam, nx_error *err)
{
    const nx_content_hash none = {{0}};
    nx_embedding *embedding = NULL;
    nx_status status =
        nx_embedding_new(&none, NX_SAM_SIDE, NX_SAM_SIDE, NX_SAM_EMBEDDING_COUNT, &embedding, err);
    if (status != NX_OK) {
        return status;
    }
    size_t bytes = slot_bytes(NULL, NX_SAM_SIDE, NX_SAM_SIDE);
    void *picture = NULL;
    if (posix_memalign(&picture, 64, bytes) != 0) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a picture to try");
    } else {
        memset(picture, 0, bytes); /* the mean of all pictures */
        status = run_empty(sam, picture, embedding, err);
    }
    free(picture);
    nx_embedding_release(embedding);
    return status;
}

/* --- life ---------------------------------------------------------------------------------------
 */

static bool network_init(network *net, const char *path, const char *name, const char *part)
{
    pthread_mutex_init(&net->lock, NULL);
    net->path = strdup(path);
    if (asprintf(&net->name, "%s.%s", name, part) < 0) {
        net->name = NULL;
    }
    return net->path != NULL && net->name != NULL;
}

static void network_end(network *net)
{
    nx_session_free(net->sessions[0]);
    nx_session_free(net->sessions[1]);
    pthread_mutex_destroy(&net->lock);
    free(net->path);
    free(net->name);
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
    const char *name = options->name != NULL ? options->name : "sam";
    sam->options.name = NULL; /* the caller's */
    sam->name = strdup(name);
    bool ok = network_init(&sam->encoder, encoder_path, name, "encoder");
    ok = network_init(&sam->decoder, decoder_path, name, "decoder") && ok && sam->name != NULL;
    sam->backend = (nx_backend){
        .self = sam,
        .name = sam->encoder.name,
        .max_batch = 1,
        .slot_bytes = slot_bytes,
        .run = run_encoder,
    };
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
    free(sam->name);
    free(sam);
}

nx_status nx_sam_moved(nx_sam *sam, const char *encoder_path, const char *decoder_path,
                       nx_error *err)
{
    char *encoder = strdup(encoder_path);
    char *decoder = strdup(decoder_path);
    if (encoder == NULL || decoder == NULL) {
        free(encoder);
        free(decoder);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for SAM's file names");
    }
    free(sam->encoder.path);
    free(sam->decoder.path);
    sam->encoder.path = encoder;
    sam->decoder.path = decoder;
    return NX_OK;
}

const char *nx_sam_name(const nx_sam *sam)
{
    return sam->name;
}

const char *nx_sam_decoder_name(const nx_sam *sam)
{
    return sam->decoder.name;
}

const char *nx_sam_device(nx_sam *sam)
{
    network *net = &sam->encoder;
    pthread_mutex_lock(&net->lock);
    const nx_session *session = net->sessions[0] != NULL ? net->sessions[0] : net->sessions[1];
    const char *device = session != NULL ? nx_session_device(session) : "cpu";
    pthread_mutex_unlock(&net->lock);
    return device;
}

nx_embedding_cache *nx_sam_cache(nx_sam *sam)
{
    return sam->cache;
}

/*
 * /api/v1/models/{name}/optimize: a faster version of a model, made in the background.
 *
 * The work is that of `nexus models optimize`, and this program does it as a child process: its
 * memory goes with it, it can be ended at any moment, and at the lowest priority requests keep
 * their latency. One is under way on a data folder at a time, whichever process was asked for it:
 * who holds DATA_DIR/optimize/lock may work, and what is known of a model's last one lies beside
 * it, so that every process of this host tells of it.
 */
#ifndef NX_API_OPTIMIZE_H
#define NX_API_OPTIMIZE_H

#include "api/internal.h"
#include "media/decoder.h"

#include <jansson.h>

/* --- optimize_state.c: what is known ------------------------------------------------------------
 */

#define NX_OPTIMIZE_VIDEO_ID 40
#define NX_OPTIMIZE_MAX_TEXT ((size_t)64 << 10) /* of a report, and of what is known of one */

typedef enum nx_optimize_state {
    NX_OPTIMIZE_RUNNING,
    NX_OPTIMIZE_SUCCEEDED,
    NX_OPTIMIZE_REFUSED, /* it would lose too much */
    NX_OPTIMIZE_FAILED,
    NX_OPTIMIZE_CANCELLED,
} nx_optimize_state;

/* What was asked for, and how it goes. */
typedef struct nx_optimization {
    char model[NX_MODEL_NAME_MAX + 1];
    uint32_t version;
    char precision[12]; /* "float32", "int8", "float16" */
    char video[NX_OPTIMIZE_VIDEO_ID + 1];
    int64_t limit;
    int64_t rounds;
    bool force;
    char by[NX_USER_NAME_MAX + 1]; /* "" without accounts */
    nx_optimize_state state;
    char stage[64];
    size_t done, total; /* of the stage; total 0: it has no steps */
    char error[512];
    uint32_t installed; /* the new version; 0: none */
    char *report;       /* JSON, owned; NULL: none yet */
    int64_t started_at; /* milliseconds since 1970 */
    int64_t finished_at;
} nx_optimization;

/* Takes the lock of a folder, which goes with its descriptor and all copies of that. Errors:
 * NX_ERR_BUSY (one is under way), NX_ERR_IO. */
nx_status nx_optimize_lock(const char *folder, int *fd, nx_error *err);

/* Errors: NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_optimize_note(const char *folder, const nx_optimization *what, nx_error *err);

/* What is known of a model's last one; NULL: nothing. One whose process has died has failed. */
json_t *nx_optimize_known(const char *folder, const char *model);

/* Has the one that is under way end, in whichever process; and whether somebody has wanted that. */
nx_status nx_optimize_ask_end(const char *folder, nx_error *err);
bool nx_optimize_end_asked(const char *folder);
void nx_optimize_forget_end(const char *folder);

/* --- optimize_run.c: doing it -------------------------------------------------------------------
 */

typedef struct nx_optimizer nx_optimizer;

/* Errors: NX_ERR_NO_MEMORY. */
nx_status nx_optimizer_new(nx_api *api, nx_optimizer **out, nx_error *err);
/* Ends what is under way, at once. NULL is fine. */
void nx_optimizer_free(nx_optimizer *self);

const char *nx_optimizer_folder(const nx_optimizer *self);

/* Begins one. file: of the model; hash: of the video, or "". Errors: NX_ERR_BUSY (another is under
 * way), NX_ERR_IO, NX_ERR_NO_MEMORY, NX_ERR_UNAVAILABLE (no thread). */
nx_status nx_optimizer_begin(nx_optimizer *self, const nx_optimization *what, const char *file,
                             const char *hash, nx_error *err);

/* Looks at once whether an end was asked for. Any thread. */
void nx_optimizer_wake(nx_optimizer *self);

/* --- optimize_child.c: the program that does it --------------------------------------------------
 */

typedef struct nx_optimize_order {
    const char *model;     /* file */
    const char *output;    /* file */
    const char *pictures;  /* folder; NULL: none */
    const char *data_dir;  /* of the configuration, as what follows */
    const char *library;   /* ONNX Runtime's; "": the usual one */
    const char *precision; /* "float32", "int8", "float16" */
    int64_t limit;
    int64_t rounds;
    bool force;
    int lock; /* which it holds, too */
    int wake; /* something to read there, or a while: ask whether to go on */
    /* A line of its standard error has come. */
    void (*line)(const char *text, void *user);
    bool (*go_on)(void *user);
    void *user;
} nx_optimize_order;

/* Runs it to its end. report takes what it prints. Errors: NX_ERR_UNAVAILABLE (it can't be
 * started), NX_ERR_CANCELLED, NX_ERR_INTERNAL (a signal ended it), NX_ERR_UNSUPPORTED (it has said
 * why not, on a line). */
nx_status nx_optimize_child_run(const nx_optimize_order *order, nx_buffer *report, nx_error *err);

/* --- optimize_pictures.c ------------------------------------------------------------------------
 */

/* Who wants to know how it goes, and may end it. */
typedef struct nx_optimize_follower {
    void (*step)(size_t done, size_t total, void *user);
    bool (*go_on)(void *user); /* asked before each frame */
    const atomic_bool *stop;   /* true: neither is what is waited for in between */
    void *user;
} nx_optimize_follower;

/* Puts at most `most` frames of a video, spread evenly, as pictures into a folder. Errors: those of
 * the decoder, NX_ERR_IO, NX_ERR_CANCELLED. */
nx_status nx_optimize_take_pictures(int video, const char *folder, size_t most,
                                    const nx_optimize_follower *follower, nx_error *err);

/* --- optimize.c: handlers; user is the nx_api ---------------------------------------------------
 */

void nx_api_optimize_begin(nx_http_request *request, void *user);
void nx_api_optimize_get(nx_http_request *request, void *user);
void nx_api_optimize_cancel(nx_http_request *request, void *user);

#endif

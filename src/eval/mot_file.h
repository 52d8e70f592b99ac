/*
 * MOTChallenge's text files (motchallenge.net/instructions): a line for each box,
 *
 *   frame,id,left,top,width,height,confidence,...
 *
 * with frames from 1. Further columns are let pass. Reading is strict and errors name the line.
 * Thread-safe; no state.
 */
#ifndef NX_EVAL_MOT_FILE_H
#define NX_EVAL_MOT_FILE_H

#include "base/buffer.h"
#include "base/error.h"
#include "eval/mot.h"

#include <stdbool.h>
#include <stddef.h>

#define NX_MOT_MAX_FILE_BYTES ((size_t)256 << 20)

/* Owns its boxes, which stand by rising frame and id; release with nx_mot_boxes_free. */
typedef struct nx_mot_boxes {
    nx_mot_box *items;
    size_t count;
    int32_t last_frame; /* 0: none */
} nx_mot_boxes;

void nx_mot_boxes_free(nx_mot_boxes *boxes);

/*
 * Reads a file ("-" is standard input). truth: boxes with a confidence of 0 are left out, which is
 * how ground truth marks what is not to be measured. out is empty after a failure.
 * Errors: NX_ERR_INVALID (with the line), NX_ERR_TOO_LARGE, NX_ERR_NOT_FOUND, NX_ERR_IO,
 * NX_ERR_NO_MEMORY.
 */
nx_status nx_mot_read(const char *path, bool truth, nx_mot_boxes *out, nx_error *err);

/* The same from text in memory; file is for messages. */
nx_status nx_mot_parse(const char *text, size_t size, const char *file, bool truth,
                       nx_mot_boxes *out, nx_error *err);

/* Appends a line. */
void nx_mot_append(nx_buffer *out, const nx_mot_box *box);

#endif

/*
 * The record of a video job on disk: lines of results/frames.h, compressed with zstd (RFC 8878).
 *
 * The file is a row of zstd frames ("parts"), each of which ends where the writer says. A part is
 * there for good once it is ended: it can be read while the job runs, and a job that goes on after
 * a crash cuts the file behind its last part and writes the same bytes again. Any zstd reader takes
 * the row of parts for one stream.
 *
 * A writer or reader belongs to one thread at a time; readers and a writer of one file may be in
 * different processes.
 */
#ifndef NX_JOBS_FRAME_LOG_H
#define NX_JOBS_FRAME_LOG_H

#include "base/error.h"
#include "results/frames.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct nx_frame_log nx_frame_log;

/* Opens a file to go on behind `size` bytes, which are whole parts; what is behind them is cut off.
 * 0 begins a new one. Errors: NX_ERR_IO, NX_ERR_CORRUPT (it is shorter than that),
 * NX_ERR_NO_MEMORY. */
nx_status nx_frame_log_open(const char *path, uint64_t size, nx_frame_log **out, nx_error *err);

/* Errors: NX_ERR_IO (a full disk), NX_ERR_NO_MEMORY. */
nx_status nx_frame_log_add(nx_frame_log *log, const nx_frame_record *record, nx_class_names names,
                           nx_error *err);

/* Ends the part, unless nothing was added to it, and writes it to the disk. *size is how many bytes
 * of the file are there for good. Errors as above. */
nx_status nx_frame_log_end_part(nx_frame_log *log, uint64_t *size, nx_error *err);

/* What was added since the last part ended is lost. NULL is fine. */
void nx_frame_log_close(nx_frame_log *log);

/* --- reading ------------------------------------------------------------------------------------
 */

typedef struct nx_frame_log_reader nx_frame_log_reader;

/* Reads the first `size` bytes, which are whole parts; UINT64_MAX: the whole file. Errors:
 * NX_ERR_NOT_FOUND, NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_frame_log_reader_open(const char *path, uint64_t size, nx_frame_log_reader **out,
                                   nx_error *err);

/* The next line with its line break, valid until the next call; *text is NULL behind the last.
 * Errors: NX_ERR_CORRUPT, NX_ERR_TOO_LARGE (a line without end), NX_ERR_IO, NX_ERR_NO_MEMORY. */
nx_status nx_frame_log_line(nx_frame_log_reader *reader, const char **text, size_t *size,
                            nx_error *err);

/* The same, as a record; *end is set behind the last. Errors as above. */
nx_status nx_frame_log_next(nx_frame_log_reader *reader, nx_frame_record *out, bool *end,
                            nx_error *err);

/*
 * Writes the lines of a record into a file that is open for writing: those of the first `size`
 * bytes of `from`, which are whole parts. *written: how many bytes they are. Neither file's
 * position is looked at or kept. Errors: NX_ERR_CORRUPT, NX_ERR_TOO_LARGE (more than `most` bytes
 * of lines), NX_ERR_IO, NX_ERR_NO_MEMORY.
 */
nx_status nx_frame_log_expand(int from, uint64_t size, int to, uint64_t most, uint64_t *written,
                              nx_error *err);

/* NULL is fine. */
void nx_frame_log_reader_free(nx_frame_log_reader *reader);

#endif

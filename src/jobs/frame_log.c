#include "jobs/frame_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#define LEVEL     3 /* zstd's default */
#define MOST_LINE ((size_t)256 << 20)

/* --- writing ------------------------------------------------------------------------------------
 */

struct nx_frame_log {
    char *path;
    int fd;
    ZSTD_CStream *compressor;
    nx_buffer line; /* reused */
    char *block;    /* what comes out of the compressor */
    size_t block_size;
    uint64_t written; /* bytes of the file, the open part included */
    bool open;        /* something was added to the part */
};

static nx_status cannot_write(const nx_frame_log *log, int reason, nx_error *err)
{
    return nx_error_set_errno(err, NX_ERR_IO, reason, "cannot write the results %s", log->path);
}

static nx_status prepare_file(nx_frame_log *log, uint64_t size, nx_error *err)
{
    struct stat info;
    log->fd = open(log->path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (log->fd < 0 || fstat(log->fd, &info) != 0) {
        return cannot_write(log, errno, err);
    }
    if ((uint64_t)info.st_size < size) {
        return nx_error_set(err, NX_ERR_CORRUPT,
                            "the results %s are cut short: %lld bytes of %llu are there", log->path,
                            (long long)info.st_size, (unsigned long long)size);
    }
    if (ftruncate(log->fd, (off_t)size) != 0 || lseek(log->fd, 0, SEEK_END) < 0) {
        return cannot_write(log, errno, err);
    }
    log->written = size;
    return NX_OK;
}

nx_status nx_frame_log_open(const char *path, uint64_t size, nx_frame_log **out, nx_error *err)
{
    *out = NULL;
    nx_frame_log *log = calloc(1, sizeof *log);
    if (log == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the results");
    }
    log->fd = -1;
    log->path = strdup(path);
    log->block_size = ZSTD_CStreamOutSize();
    log->block = malloc(log->block_size);
    log->compressor = ZSTD_createCStream();
    nx_status status = NX_OK;
    if (log->path == NULL || log->block == NULL || log->compressor == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the results");
    } else {
        (void)ZSTD_CCtx_setParameter(log->compressor, ZSTD_c_compressionLevel, LEVEL);
        (void)ZSTD_CCtx_setParameter(log->compressor, ZSTD_c_checksumFlag, 1);
        status = prepare_file(log, size, err);
    }
    if (status != NX_OK) {
        nx_frame_log_close(log);
        return status;
    }
    *out = log;
    return NX_OK;
}

void nx_frame_log_close(nx_frame_log *log)
{
    if (log == NULL) {
        return;
    }
    if (log->fd >= 0) {
        close(log->fd);
    }
    ZSTD_freeCStream(log->compressor);
    nx_buffer_free(&log->line);
    free(log->block);
    free(log->path);
    free(log);
}

static nx_status write_block(nx_frame_log *log, size_t size, nx_error *err)
{
    for (size_t done = 0; done < size;) {
        ssize_t put = write(log->fd, log->block + done, size - done);
        if (put < 0 && errno != EINTR) {
            return cannot_write(log, errno, err);
        }
        done += put > 0 ? (size_t)put : 0;
    }
    log->written += size;
    return NX_OK;
}

/* Compresses all of text; with ZSTD_e_end also ends the part. */
static nx_status compress(nx_frame_log *log, const char *text, size_t size, ZSTD_EndDirective how,
                          nx_error *err)
{
    ZSTD_inBuffer in = {text, size, 0};
    for (;;) {
        ZSTD_outBuffer out = {log->block, log->block_size, 0};
        size_t left = ZSTD_compressStream2(log->compressor, &out, &in, how);
        if (ZSTD_isError(left)) {
            return nx_error_set(err, NX_ERR_NO_MEMORY, "cannot compress the results: %s",
                                ZSTD_getErrorName(left));
        }
        nx_status status = write_block(log, out.pos, err);
        bool done = how == ZSTD_e_end ? left == 0 : in.pos == in.size;
        if (status != NX_OK || done) {
            return status;
        }
    }
}

nx_status nx_frame_log_add(nx_frame_log *log, const nx_frame_record *record, nx_class_names names,
                           nx_error *err)
{
    nx_buffer_clear(&log->line);
    nx_frame_write(record, names, &log->line);
    if (log->line.failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the results");
    }
    log->open = true;
    return compress(log, log->line.data, log->line.size, ZSTD_e_continue, err);
}

nx_status nx_frame_log_end_part(nx_frame_log *log, uint64_t *size, nx_error *err)
{
    if (log->open) {
        nx_status status = compress(log, NULL, 0, ZSTD_e_end, err);
        if (status != NX_OK) {
            return status;
        }
        if (fdatasync(log->fd) != 0) {
            return cannot_write(log, errno, err);
        }
        log->open = false;
    }
    *size = log->written;
    return NX_OK;
}

/* --- reading ------------------------------------------------------------------------------------
 */

struct nx_frame_log_reader {
    char *path;
    FILE *file;
    uint64_t left; /* bytes of the file that may be read */
    ZSTD_DStream *decompressor;
    char *block; /* read from the file */
    size_t block_size;
    ZSTD_inBuffer in;
    bool inside; /* a part has begun and not ended */
    nx_buffer text;
    size_t line; /* where in text the next line begins */
    nx_frame_reader *frames;
};

void nx_frame_log_reader_free(nx_frame_log_reader *reader)
{
    if (reader == NULL) {
        return;
    }
    if (reader->file != NULL) {
        (void)fclose(reader->file); /* it was only read */
    }
    ZSTD_freeDStream(reader->decompressor);
    nx_frame_reader_free(reader->frames);
    nx_buffer_free(&reader->text);
    free(reader->block);
    free(reader->path);
    free(reader);
}

nx_status nx_frame_log_reader_open(const char *path, uint64_t size, nx_frame_log_reader **out,
                                   nx_error *err)
{
    *out = NULL;
    nx_frame_log_reader *reader = calloc(1, sizeof *reader);
    if (reader == NULL) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read results");
    }
    reader->left = size;
    reader->path = strdup(path);
    reader->block_size = ZSTD_DStreamInSize();
    reader->block = malloc(reader->block_size);
    reader->decompressor = ZSTD_createDStream();
    reader->frames = nx_frame_reader_new();
    reader->in.src = reader->block;
    nx_status status = NX_OK;
    if (reader->path == NULL || reader->block == NULL || reader->decompressor == NULL ||
        reader->frames == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read results");
    } else {
        reader->file = fopen(path, "rbe");
        if (reader->file == NULL) {
            status = nx_error_set_errno(err, errno == ENOENT ? NX_ERR_NOT_FOUND : NX_ERR_IO, errno,
                                        "cannot read the results %s", path);
        }
    }
    if (status != NX_OK) {
        nx_frame_log_reader_free(reader);
        return status;
    }
    *out = reader;
    return NX_OK;
}

static nx_status damaged(const nx_frame_log_reader *reader, const char *what, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CORRUPT, "the results %s are damaged: %s", reader->path, what);
}

/* Reads a block of the file; none is left when reader->in.size is 0 afterwards. */
static nx_status read_block(nx_frame_log_reader *reader, nx_error *err)
{
    size_t wanted = reader->left < reader->block_size ? (size_t)reader->left : reader->block_size;
    reader->in.size = fread(reader->block, 1, wanted, reader->file);
    reader->in.pos = 0;
    reader->left -= reader->in.size;
    if (reader->in.size < wanted && ferror(reader->file)) {
        return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read the results %s",
                                  reader->path);
    }
    return NX_OK;
}

/* Decompresses something more to the end of text. *end: there is nothing more. */
static nx_status read_more(nx_frame_log_reader *reader, bool *end, nx_error *err)
{
    *end = false;
    if (reader->in.pos == reader->in.size) {
        nx_status status = read_block(reader, err);
        if (status != NX_OK) {
            return status;
        }
        if (reader->in.size == 0) {
            *end = true;
            return reader->inside ? damaged(reader, "they end in the middle", err) : NX_OK;
        }
    }
    if (!nx_buffer_reserve(&reader->text, ZSTD_DStreamOutSize())) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read results");
    }
    ZSTD_outBuffer out = {reader->text.data + reader->text.size, ZSTD_DStreamOutSize(), 0};
    size_t left = ZSTD_decompressStream(reader->decompressor, &out, &reader->in);
    if (ZSTD_isError(left)) {
        return damaged(reader, ZSTD_getErrorName(left), err);
    }
    reader->inside = left != 0;
    reader->text.size += out.pos;
    return NX_OK;
}

/* Throws away what was given out. */
static void forget_lines(nx_frame_log_reader *reader)
{
    size_t left = reader->text.size - reader->line;
    if (reader->line > 0 && left > 0) {
        memmove(reader->text.data, reader->text.data + reader->line, left);
    }
    reader->text.size = left;
    reader->line = 0;
}

nx_status nx_frame_log_line(nx_frame_log_reader *reader, const char **text, size_t *size,
                            nx_error *err)
{
    size_t searched = reader->line;
    *text = NULL;
    for (;;) {
        size_t count = reader->text.size - searched;
        const char *end = count > 0 ? memchr(reader->text.data + searched, '\n', count) : NULL;
        if (end != NULL) {
            *text = reader->text.data + reader->line;
            *size = (size_t)(end + 1 - *text);
            reader->line += *size;
            return NX_OK;
        }
        forget_lines(reader);
        searched = reader->text.size;
        if (searched > MOST_LINE) {
            return nx_error_set(err, NX_ERR_TOO_LARGE, "a line of the results %s has no end",
                                reader->path);
        }
        bool none = false;
        nx_status status = read_more(reader, &none, err);
        if (status != NX_OK || none) {
            return status == NX_OK && searched > 0
                       ? damaged(reader, "the last line has no end", err)
                       : status;
        }
    }
}

nx_status nx_frame_log_next(nx_frame_log_reader *reader, nx_frame_record *out, bool *end,
                            nx_error *err)
{
    const char *text = NULL;
    size_t size = 0;
    nx_status status = nx_frame_log_line(reader, &text, &size, err);
    *end = status == NX_OK && text == NULL;
    if (status != NX_OK || text == NULL) {
        return status;
    }
    status = nx_frame_read(reader->frames, text, size, out, err);
    return status == NX_OK ? NX_OK : nx_error_prefix(err, "%s", reader->path);
}

/* --- all of it at once --------------------------------------------------------------------------
 */

typedef struct expansion {
    int from, to;
    uint64_t left; /* of the first, to be read */
    uint64_t at;   /* in it */
    uint64_t written, most;
    ZSTD_DStream *decompressor;
    char *in, *out;
    bool inside; /* a part has begun and not ended */
} expansion;

static nx_status write_lines(expansion *x, size_t size, nx_error *err)
{
    if (size > x->most - x->written) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "the results are more than %llu bytes of lines",
                            (unsigned long long)x->most);
    }
    for (size_t done = 0; done < size;) {
        ssize_t put = pwrite(x->to, x->out + done, size - done, (off_t)(x->written + done));
        if (put < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write the results");
        }
        done += put > 0 ? (size_t)put : 0;
    }
    x->written += size;
    return NX_OK;
}

static nx_status expand_block(expansion *x, size_t size, nx_error *err)
{
    ZSTD_inBuffer in = {x->in, size, 0};
    nx_status status = NX_OK;
    bool full = false; /* there may be more behind what fitted */
    while (status == NX_OK && (in.pos < in.size || full)) {
        ZSTD_outBuffer out = {x->out, ZSTD_DStreamOutSize(), 0};
        size_t left = ZSTD_decompressStream(x->decompressor, &out, &in);
        if (ZSTD_isError(left)) {
            return nx_error_set(err, NX_ERR_CORRUPT, "the results are damaged: %s",
                                ZSTD_getErrorName(left));
        }
        x->inside = left != 0;
        full = out.pos == out.size && left != 0;
        status = write_lines(x, out.pos, err);
    }
    return status;
}

static nx_status expand_all(expansion *x, nx_error *err)
{
    nx_status status = NX_OK;
    while (x->left > 0 && status == NX_OK) {
        size_t wanted = ZSTD_DStreamInSize() < x->left ? ZSTD_DStreamInSize() : (size_t)x->left;
        ssize_t got = pread(x->from, x->in, wanted, (off_t)x->at);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read the results");
        }
        if (got == 0) {
            return nx_error_set(err, NX_ERR_CORRUPT, "the results are cut short");
        }
        x->at += (uint64_t)got;
        x->left -= (uint64_t)got;
        status = expand_block(x, (size_t)got, err);
    }
    return status == NX_OK && x->inside
               ? nx_error_set(err, NX_ERR_CORRUPT, "the results end in the middle")
               : status;
}

nx_status nx_frame_log_expand(int from, uint64_t size, int to, uint64_t most, uint64_t *written,
                              nx_error *err)
{
    expansion x = {.from = from, .to = to, .left = size, .most = most};
    x.decompressor = ZSTD_createDStream();
    x.in = malloc(ZSTD_DStreamInSize());
    x.out = malloc(ZSTD_DStreamOutSize());
    nx_status status = x.decompressor != NULL && x.in != NULL && x.out != NULL
                           ? expand_all(&x, err)
                           : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read results");
    *written = x.written;
    ZSTD_freeDStream(x.decompressor);
    free(x.in);
    free(x.out);
    return status;
}

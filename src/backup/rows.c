#include "backup/rows.h"

#include "backup/lines.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define LEVEL 3
/* Lines that are compressed together. */
#define BATCH ((size_t)256 * 1024)
/* Largest window that a file may ask of us; level 3 takes 2 MiB. */
#define WINDOW_LOG 27

typedef crypto_hash_sha256_state hash_state;

static void end_hash(hash_state *state, char out[NX_OBJECT_NAME_SIZE])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256_final(state, hash);
    (void)sodium_bin2hex(out, NX_OBJECT_NAME_SIZE, hash, sizeof hash);
}

/* --- writing --- */

struct nx_rows_writer {
    nx_vault_writer *file;
    nx_manifest *manifest;
    ZSTD_CCtx *zstd;
    nx_buffer lines;
    size_t hashed; /* of lines: what the table's hash is over already */
    hash_state whole, table;
    size_t room; /* of packed */
    char packed[];
};

nx_status nx_rows_create(nx_vault *vault, const char *path, nx_manifest *manifest,
                         nx_rows_writer **out, nx_error *err)
{
    size_t room = ZSTD_CStreamOutSize();
    *out = NULL;
    nx_rows_writer *writer = calloc(1, sizeof *writer + room);
    if (writer == NULL || (writer->zstd = ZSTD_createCCtx()) == NULL) {
        free(writer);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a backup");
    }
    writer->room = room;
    writer->manifest = manifest;
    manifest->table_count = 0;
    manifest->database_size = 0;
    (void)crypto_hash_sha256_init(&writer->whole);
    (void)ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_compressionLevel, LEVEL);
    (void)ZSTD_CCtx_setParameter(writer->zstd, ZSTD_c_checksumFlag, 1);
    nx_status status = nx_vault_create(vault, path, &writer->file, err);
    if (status != NX_OK) {
        nx_rows_abandon(writer);
        return status;
    }
    *out = writer;
    return NX_OK;
}

/* Compresses the lines that wait, and with end all of the stream. */
static nx_status pack(nx_rows_writer *writer, bool end, nx_error *err)
{
    ZSTD_inBuffer in = {writer->lines.data, writer->lines.size, 0};
    nx_status status = NX_OK;
    size_t left = 1;
    if (writer->lines.failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for rows of a backup");
    }
    while (status == NX_OK && (in.pos < in.size || (end && left > 0))) {
        ZSTD_outBuffer piece = {writer->packed, writer->room, 0};
        left = ZSTD_compressStream2(writer->zstd, &piece, &in, end ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left)) {
            return nx_error_set(err, NX_ERR_INTERNAL, "zstd: %s", ZSTD_getErrorName(left));
        }
        (void)crypto_hash_sha256_update(&writer->whole, (const unsigned char *)writer->packed,
                                        piece.pos);
        writer->manifest->database_size += (int64_t)piece.pos;
        status = nx_vault_put(writer->file, writer->packed, piece.pos, err);
    }
    nx_buffer_clear(&writer->lines);
    writer->hashed = 0;
    return status;
}

/* The line that was just put behind the others. */
static nx_status end_line(nx_rows_writer *writer, nx_error *err)
{
    if (!writer->lines.failed) {
        (void)crypto_hash_sha256_update(&writer->table,
                                        (const unsigned char *)writer->lines.data + writer->hashed,
                                        writer->lines.size - writer->hashed);
        writer->hashed = writer->lines.size;
    }
    return writer->lines.size >= BATCH || writer->lines.failed ? pack(writer, false, err) : NX_OK;
}

static void end_table(nx_rows_writer *writer)
{
    if (writer->manifest->table_count > 0) {
        end_hash(&writer->table,
                 writer->manifest->tables[writer->manifest->table_count - 1].sha256);
    }
}

nx_status nx_rows_put_table(nx_rows_writer *writer, const nx_dump_table *table, nx_error *err)
{
    end_table(writer);
    if (writer->manifest->table_count == NX_DUMP_MOST_TABLES) {
        return nx_error_set(err, NX_ERR_INTERNAL, "more tables than %d", NX_DUMP_MOST_TABLES);
    }
    nx_manifest_table *entry = &writer->manifest->tables[writer->manifest->table_count++];
    *entry = (nx_manifest_table){.rows = 0};
    memcpy(entry->name, table->name, sizeof entry->name);
    (void)crypto_hash_sha256_init(&writer->table);
    nx_lines_table(table, &writer->lines);
    return end_line(writer, err);
}

nx_status nx_rows_put_row(nx_rows_writer *writer, const nx_cell *cells, size_t count, nx_error *err)
{
    size_t before = writer->lines.size;
    writer->manifest->tables[writer->manifest->table_count - 1].rows++;
    nx_lines_row(cells, count, &writer->lines);
    if (writer->lines.size - before > NX_LINE_MOST_BYTES) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "a row of the database is longer than %zu MiB",
                            NX_LINE_MOST_BYTES >> 20);
    }
    return end_line(writer, err);
}

void nx_rows_abandon(nx_rows_writer *writer)
{
    if (writer != NULL) {
        nx_vault_abandon(writer->file);
        ZSTD_freeCCtx(writer->zstd);
        nx_buffer_free(&writer->lines);
        free(writer);
    }
}

nx_status nx_rows_finish(nx_rows_writer *writer, nx_error *err)
{
    end_table(writer);
    nx_status status = pack(writer, true, err);
    if (status == NX_OK) {
        end_hash(&writer->whole, writer->manifest->database_sha256);
        nx_vault_writer *file = writer->file;
        writer->file = NULL;
        status = nx_vault_finish(file, err);
    }
    nx_rows_abandon(writer);
    return status;
}

/* --- reading --- */

typedef struct rows_reader {
    const nx_manifest *manifest;
    const nx_rows_sink *sink;
    nx_buffer text; /* a line that is not whole yet */
    nx_line line;
    hash_state whole, table;
    int64_t size; /* of the file so far */
    int64_t rows; /* of the table */
    size_t tables;
} rows_reader;

static nx_status differs(const char *what, nx_error *err)
{
    return nx_error_set(err, NX_ERR_CORRUPT, "%s is not what the manifest says", what);
}

static nx_status check_table(rows_reader *reader, nx_error *err)
{
    char hash[NX_OBJECT_NAME_SIZE];
    if (reader->tables == 0) {
        return NX_OK;
    }
    const nx_manifest_table *told = &reader->manifest->tables[reader->tables - 1];
    end_hash(&reader->table, hash);
    return told->rows == reader->rows && strcmp(told->sha256, hash) == 0 ? NX_OK
                                                                         : differs(told->name, err);
}

static nx_status begin_table(rows_reader *reader, nx_error *err)
{
    const nx_dump_table *table = &reader->line.table;
    nx_status status = check_table(reader, err);
    if (status == NX_OK &&
        (reader->tables == reader->manifest->table_count ||
         strcmp(reader->manifest->tables[reader->tables].name, table->name) != 0)) {
        status = differs(table->name, err);
    }
    reader->tables++;
    reader->rows = 0;
    (void)crypto_hash_sha256_init(&reader->table);
    return status == NX_OK && reader->sink->table != NULL
               ? reader->sink->table(reader->sink->user, table, err)
               : status;
}

static nx_status take_row(rows_reader *reader, nx_error *err)
{
    const nx_line *line = &reader->line;
    if (reader->tables == 0 || line->count != line->table.count) {
        return nx_error_set(err, NX_ERR_CORRUPT, "a row has another number of values than columns");
    }
    for (size_t i = 0; i < line->count; i++) {
        if (line->cells[i].kind != NX_CELL_NULL &&
            line->cells[i].kind != line->table.columns[i].kind) {
            return nx_error_set(err, NX_ERR_CORRUPT, "a value of %s.%s is of another kind",
                                line->table.name, line->table.columns[i].name);
        }
    }
    reader->rows++;
    return reader->sink->row != NULL
               ? reader->sink->row(reader->sink->user, line->cells, line->count, err)
               : NX_OK;
}

/* A line with its break. */
static nx_status take_line(rows_reader *reader, const char *text, size_t size, nx_error *err)
{
    nx_status status = nx_line_read(&reader->line, text, size - 1, err);
    if (status == NX_OK && reader->line.is_table) {
        status = begin_table(reader, err);
    } else if (status == NX_OK) {
        status = take_row(reader, err);
    }
    if (status == NX_OK) {
        (void)crypto_hash_sha256_update(&reader->table, (const unsigned char *)text, size);
    }
    return status;
}

/* Bytes as they come out of zstd. */
static nx_status take_text(rows_reader *reader, const char *text, size_t size, nx_error *err)
{
    nx_status status = NX_OK;
    while (size > 0 && status == NX_OK) {
        const char *end = memchr(text, '\n', size);
        size_t some = end != NULL ? (size_t)(end - text) + 1 : size;
        if (end != NULL && reader->text.size == 0) {
            status = take_line(reader, text, some, err);
        } else {
            nx_buffer_append(&reader->text, text, some);
            if (reader->text.failed || reader->text.size > NX_LINE_MOST_BYTES) {
                return nx_error_set(err, NX_ERR_CORRUPT, "a line of the database is too long");
            }
            if (end != NULL) {
                status = take_line(reader, reader->text.data, reader->text.size, err);
                nx_buffer_clear(&reader->text);
            }
        }
        text += some;
        size -= some;
    }
    return status;
}

typedef struct unpacking {
    nx_vault_reader *file;
    ZSTD_DCtx *zstd;
    size_t in_room, out_room;
    char *in, *out;
} unpacking;

/* Through the whole file; *over: zstd saw the end of its frame there. */
static nx_status unpack(const unpacking *from, rows_reader *reader, bool *over, nx_error *err)
{
    nx_status status = NX_OK;
    size_t got = 1;
    *over = false;
    while (status == NX_OK && got > 0) {
        status = nx_vault_get(from->file, from->in, from->in_room, &got, err);
        ZSTD_inBuffer in = {from->in, got, 0};
        reader->size += (int64_t)got;
        (void)crypto_hash_sha256_update(&reader->whole, (const unsigned char *)from->in, got);
        while (status == NX_OK && in.pos < in.size) {
            ZSTD_outBuffer piece = {from->out, from->out_room, 0};
            size_t left = ZSTD_decompressStream(from->zstd, &piece, &in);
            if (ZSTD_isError(left)) {
                return nx_error_set(err, NX_ERR_CORRUPT, "the database's rows are damaged: %s",
                                    ZSTD_getErrorName(left));
            }
            *over = left == 0;
            status = take_text(reader, from->out, piece.pos, err);
        }
    }
    return status;
}

static nx_status check_end(rows_reader *reader, bool over, nx_error *err)
{
    char hash[NX_OBJECT_NAME_SIZE];
    nx_status status = check_table(reader, err);
    end_hash(&reader->whole, hash);
    if (status == NX_OK &&
        (!over || reader->text.size > 0 || reader->tables != reader->manifest->table_count ||
         reader->size != reader->manifest->database_size ||
         strcmp(hash, reader->manifest->database_sha256) != 0)) {
        status = differs("the file with the database's rows", err);
    }
    return status;
}

nx_status nx_rows_read(nx_vault *vault, const char *path, const nx_manifest *manifest,
                       const nx_rows_sink *sink, nx_error *err)
{
    unpacking from = {.in_room = ZSTD_DStreamInSize(), .out_room = ZSTD_DStreamOutSize()};
    bool over = false;
    nx_status status = NX_OK;
    rows_reader *reader = calloc(1, sizeof *reader);
    from.zstd = ZSTD_createDCtx();
    from.in = malloc(from.in_room);
    from.out = malloc(from.out_room);
    if (reader == NULL || from.zstd == NULL || from.in == NULL || from.out == NULL) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read a backup");
        goto done;
    }
    reader->manifest = manifest;
    reader->sink = sink;
    (void)crypto_hash_sha256_init(&reader->whole);
    (void)ZSTD_DCtx_setParameter(from.zstd, ZSTD_d_windowLogMax, WINDOW_LOG);
    status = nx_vault_read(vault, path, &from.file, err);
    if (status == NX_OK) {
        status = unpack(&from, reader, &over, err);
    }
    if (status == NX_OK) {
        status = check_end(reader, over, err);
    }
done:
    nx_vault_read_end(from.file);
    ZSTD_freeDCtx(from.zstd);
    free(from.in);
    free(from.out);
    if (reader != NULL) {
        nx_buffer_free(&reader->text);
        nx_line_free(&reader->line);
        free(reader);
    }
    return status;
}

#include "backup/lines.h"

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/utf8.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BASE64 sodium_base64_VARIANT_ORIGINAL

static const char *const kinds[] = {
    [NX_CELL_NULL] = "", [NX_CELL_INT] = "int", [NX_CELL_TEXT] = "text", [NX_CELL_BLOB] = "blob"};

/* --- writing --- */

void nx_lines_table(const nx_dump_table *table, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_object_begin(&json);
    nx_json_key_string(&json, "table", table->name);
    nx_json_key(&json, "columns");
    nx_json_array_begin(&json);
    for (size_t i = 0; i < table->count; i++) {
        nx_json_array_begin(&json);
        nx_json_string(&json, table->columns[i].name);
        nx_json_string(&json, kinds[table->columns[i].kind]);
        nx_json_array_end(&json);
    }
    nx_json_array_end(&json);
    nx_json_object_end(&json);
    nx_buffer_append_char(out, '\n');
}

static void write_base64(nx_json *json, const char *key, const nx_cell *cell)
{
    size_t room = sodium_base64_ENCODED_LEN(cell->size, BASE64);
    nx_json_object_begin(json);
    nx_json_key(json, key);
    nx_buffer_append_char(json->out, '"');
    if (nx_buffer_reserve(json->out, room)) {
        (void)sodium_bin2base64(json->out->data + json->out->size, room, cell->bytes, cell->size,
                                BASE64);
        json->out->size += room - 1;
    }
    nx_buffer_append_char(json->out, '"');
    nx_json_object_end(json);
}

static bool is_utf8(const char *text, size_t size)
{
    for (size_t i = 0; i < size;) {
        bool plain = (unsigned char)text[i] < 0x80;
        size_t length = plain ? 1 : nx_utf8_sequence((const unsigned char *)text + i, size - i);
        if (length == 0) {
            return false;
        }
        i += length;
    }
    return true;
}

void nx_lines_row(const nx_cell *cells, size_t count, nx_buffer *out)
{
    nx_json json = nx_json_begin(out);
    nx_json_array_begin(&json);
    for (size_t i = 0; i < count; i++) {
        switch (cells[i].kind) {
        case NX_CELL_NULL:
            nx_json_null(&json);
            break;
        case NX_CELL_INT:
            nx_json_int(&json, cells[i].number);
            break;
        case NX_CELL_TEXT:
            if (is_utf8(cells[i].bytes, cells[i].size)) {
                nx_json_string_n(&json, cells[i].bytes, cells[i].size);
            } else {
                write_base64(&json, "text64", &cells[i]);
            }
            break;
        case NX_CELL_BLOB:
            write_base64(&json, "base64", &cells[i]);
            break;
        }
    }
    nx_json_array_end(&json);
    nx_buffer_append_char(out, '\n');
}

/* --- reading --- */

/* Into bytes, from where `from` is; a NUL is put behind it. */
static bool take_string(nx_json_reader *reader, nx_buffer *bytes, size_t *from, size_t *size)
{
    *from = bytes->size;
    if (!nx_json_read_string(reader, bytes)) {
        return false;
    }
    *size = bytes->size - *from;
    if (*size > 0 && memchr(bytes->data + *from, '\0', *size) != NULL) {
        return nx_json_refuse(reader, "a text holds a NUL");
    }
    nx_buffer_append_char(bytes, '\0');
    return !bytes->failed;
}

static bool take_base64(nx_json_reader *reader, nx_line *line, nx_cell *cell, size_t *from)
{
    nx_json_span key = {0};
    size_t size = 0;
    if (!nx_json_enter_object(reader) || !nx_json_next_member(reader, &key)) {
        return nx_json_refuse(reader, "an object that holds no bytes");
    }
    bool text = nx_json_key_is(key, "text64");
    if (!text && !nx_json_key_is(key, "base64")) {
        return nx_json_refuse(reader, "an object that holds no bytes");
    }
    if (!take_string(reader, &line->bytes, from, &size)) {
        return false;
    }
    char *at = line->bytes.data + *from;
    /* decoded in its own place: what is written never passes what is read */
    if (sodium_base642bin((unsigned char *)at, size, at, size, NULL, &cell->size, NULL, BASE64) !=
        0) {
        return nx_json_refuse(reader, "bytes that are no base64");
    }
    if (text && cell->size > 0 && memchr(at, '\0', cell->size) != NULL) {
        return nx_json_refuse(reader, "a text holds a NUL");
    }
    at[cell->size] = '\0';
    cell->kind = text ? NX_CELL_TEXT : NX_CELL_BLOB;
    return !nx_json_next_member(reader, &key) && reader->wrong == NULL;
}

static bool take_cell(nx_json_reader *reader, nx_line *line, nx_cell *cell, size_t *from)
{
    *cell = (nx_cell){.kind = NX_CELL_NULL};
    *from = SIZE_MAX;
    switch (nx_json_peek(reader)) {
    case NX_JSON_NULL:
        return nx_json_skip(reader, NULL);
    case NX_JSON_NUMBER:
        cell->kind = NX_CELL_INT;
        return nx_json_read_int(reader, &cell->number) ||
               nx_json_refuse(reader, "a number that is not whole");
    case NX_JSON_STRING:
        cell->kind = NX_CELL_TEXT;
        return take_string(reader, &line->bytes, from, &cell->size);
    case NX_JSON_OBJECT:
        return take_base64(reader, line, cell, from);
    default:
        return nx_json_refuse(reader, "a value of another kind");
    }
}

static bool take_row(nx_json_reader *reader, nx_line *line)
{
    size_t from[NX_DUMP_MOST_COLUMNS] = {0};
    bool good = nx_json_enter_array(reader);
    while (good && nx_json_next_element(reader)) {
        if (line->count == NX_DUMP_MOST_COLUMNS) {
            return nx_json_refuse(reader, "too many values");
        }
        good = take_cell(reader, line, &line->cells[line->count], &from[line->count]);
        line->count += good;
    }
    for (size_t i = 0; i < line->count; i++) { /* the buffer does not move any more */
        line->cells[i].bytes = from[i] != SIZE_MAX ? line->bytes.data + from[i] : NULL;
    }
    return good;
}

/* A name as the databases' own: it becomes part of a statement. */
static bool take_name(nx_json_reader *reader, char out[NX_DUMP_NAME_SIZE])
{
    nx_buffer text = NX_BUFFER_INIT;
    bool good = nx_json_read_string(reader, &text);
    const char *name = nx_buffer_cstr(&text);
    size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
    if (good && (length == 0 || length != text.size || length >= NX_DUMP_NAME_SIZE)) {
        good = nx_json_refuse(reader, "a name that is none");
    }
    if (good) {
        memcpy(out, name, length + 1);
    }
    nx_buffer_free(&text);
    return good;
}

static bool take_column(nx_json_reader *reader, nx_dump_column *out)
{
    char kind[NX_DUMP_NAME_SIZE];
    bool good = nx_json_enter_array(reader) && nx_json_next_element(reader) &&
                take_name(reader, out->name) && nx_json_next_element(reader) &&
                take_name(reader, kind) && !nx_json_next_element(reader);
    for (int i = NX_CELL_INT; good && i <= NX_CELL_BLOB; i++) {
        if (strcmp(kinds[i], kind) == 0) {
            out->kind = (nx_cell_kind)i;
            return true;
        }
    }
    return nx_json_refuse(reader, "a column that is none");
}

static bool take_columns(nx_json_reader *reader, nx_dump_table *out)
{
    bool good = nx_json_enter_array(reader);
    while (good && nx_json_next_element(reader)) {
        if (out->count == NX_DUMP_MOST_COLUMNS) {
            return nx_json_refuse(reader, "too many columns");
        }
        good = take_column(reader, &out->columns[out->count++]);
    }
    return good && reader->wrong == NULL;
}

static bool take_table(nx_json_reader *reader, nx_line *line)
{
    nx_json_span key;
    bool good = nx_json_enter_object(reader);
    line->table = (nx_dump_table){.count = 0};
    while (good && nx_json_next_member(reader, &key)) {
        if (nx_json_key_is(key, "table")) {
            good = take_name(reader, line->table.name);
        } else if (nx_json_key_is(key, "columns") && line->table.count == 0) {
            good = take_columns(reader, &line->table);
        } else {
            good = nx_json_refuse(reader, "a member that no table has");
        }
    }
    if (good && (line->table.name[0] == '\0' || line->table.count == 0)) {
        good = nx_json_refuse(reader, "a table without a name or columns");
    }
    return good;
}

nx_status nx_line_read(nx_line *line, const char *text, size_t size, nx_error *err)
{
    nx_json_reader reader = nx_json_reader_begin(text, size);
    nx_buffer_clear(&line->bytes);
    line->count = 0;
    line->is_table = nx_json_peek(&reader) == NX_JSON_OBJECT;
    bool good = line->is_table ? take_table(&reader, line) : take_row(&reader, line);
    good = good && nx_json_at_end(&reader);
    if (line->bytes.failed) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a row of the backup");
    }
    if (!good || reader.wrong != NULL) {
        (void)nx_json_reader_error(&reader, err);
        (void)nx_error_prefix(err, "a line of the database's backup");
        if (err != NULL) {
            err->status = NX_ERR_CORRUPT;
        }
        return NX_ERR_CORRUPT;
    }
    return NX_OK;
}

void nx_line_free(nx_line *line)
{
    nx_buffer_free(&line->bytes);
}

#include "backup/manifest.h"

#include "base/json_reader.h"
#include "base/json_writer.h"
#include "base/time_text.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VERSION      1
#define HEX          ((size_t)64)
#define MOST_OBJECTS ((size_t)1 << 26)

/* --- names --- */

bool nx_manifest_is_id(const char *id)
{
    size_t length = strspn(id, "0123456789abcdefTZ-");
    return length > 0 && length < NX_BACKUP_ID_SIZE && id[length] == '\0' && id[0] != '-';
}

bool nx_manifest_is_name(const char *name)
{
    bool start = true;
    size_t length = 0;
    for (; name[length] != '\0'; length++) {
        char c = name[length];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || c == '-' || (c == '.' && !start);
        if (!plain && (c != '/' || start)) {
            return false;
        }
        start = c == '/';
    }
    return length > 0 && length < 512 && !start;
}

static bool is_hash(const char *text)
{
    return strspn(text, "0123456789abcdef") == HEX && text[HEX] == '\0';
}

/* --- writing --- */

static void write_objects(nx_json *json, const char *key, const nx_manifest_object *objects,
                          size_t count)
{
    nx_json_key(json, key);
    nx_json_array_begin(json);
    for (size_t i = 0; i < count; i++) {
        nx_json_array_begin(json);
        nx_json_string(json, objects[i].sha256);
        nx_json_int(json, objects[i].size);
        nx_json_array_end(json);
    }
    nx_json_array_end(json);
}

static void write_tables(nx_json *json, const nx_manifest *manifest)
{
    nx_json_key(json, "tables");
    nx_json_array_begin(json);
    for (size_t i = 0; i < manifest->table_count; i++) {
        const nx_manifest_table *table = &manifest->tables[i];
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", table->name);
        nx_json_key_int(json, "rows", table->rows);
        nx_json_key_string(json, "sha256", table->sha256);
        nx_json_object_end(json);
    }
    nx_json_array_end(json);
}

static void write_files(nx_json *json, const nx_manifest *manifest)
{
    nx_json_key(json, "files");
    nx_json_array_begin(json);
    for (size_t i = 0; i < manifest->file_count; i++) {
        const nx_manifest_file *file = &manifest->files[i];
        nx_json_object_begin(json);
        nx_json_key_string(json, "name", file->name);
        nx_json_key_string(json, "sha256", file->content.sha256);
        nx_json_key_int(json, "size", file->content.size);
        nx_json_object_end(json);
    }
    nx_json_array_end(json);
}

static void hash_text(const char *text, size_t size, char out[NX_OBJECT_NAME_SIZE])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    (void)crypto_hash_sha256(hash, (const unsigned char *)text, size);
    (void)sodium_bin2hex(out, NX_OBJECT_NAME_SIZE, hash, sizeof hash);
}

void nx_manifest_write(const nx_manifest *manifest, nx_buffer *out)
{
    char at[NX_TIME_TEXT_SIZE];
    char hash[NX_OBJECT_NAME_SIZE];
    size_t from = out->size;
    nx_json json = nx_json_begin(out);
    nx_time_text(manifest->made_at, at);
    nx_json_object_begin(&json);
    nx_json_key_int(&json, "version", VERSION);
    nx_json_key_string(&json, "id", manifest->id);
    nx_json_key_string(&json, "made_at", at);
    nx_json_key_int(&json, "made_at_ms", manifest->made_at);
    nx_json_key_string(&json, "nexus", manifest->nexus);
    nx_json_key_string(&json, "host", manifest->host);
    nx_json_key_string(&json, "database", manifest->kind);
    nx_json_key_int(&json, "schema", manifest->schema);
    nx_json_key_int(&json, "database_size", manifest->database_size);
    nx_json_key_string(&json, "database_sha256", manifest->database_sha256);
    write_tables(&json, manifest);
    write_objects(&json, "objects", manifest->objects, manifest->object_count);
    write_objects(&json, "missing", manifest->missing, manifest->missing_count);
    write_files(&json, manifest);
    nx_json_object_end(&json);
    if (!out->failed) {
        hash_text(out->data + from, out->size - from, hash);
        nx_buffer_printf(out, "\n%s\n", hash);
    }
}

/* --- reading --- */

static bool take_text(nx_json_reader *reader, char *out, size_t size)
{
    nx_buffer text = NX_BUFFER_INIT;
    bool good = nx_json_read_string(reader, &text);
    if (good && text.size >= size) {
        good = nx_json_refuse(reader, "a text that is too long");
    }
    if (good) {
        snprintf(out, size, "%s", nx_buffer_cstr(&text));
    }
    nx_buffer_free(&text);
    return good;
}

static bool take_hash(nx_json_reader *reader, char out[NX_OBJECT_NAME_SIZE])
{
    return take_text(reader, out, NX_OBJECT_NAME_SIZE) &&
           (is_hash(out) || nx_json_refuse(reader, "a hash that is none"));
}

static bool take_count(nx_json_reader *reader, int64_t *out)
{
    return nx_json_read_int(reader, out) &&
           (*out >= 0 || nx_json_refuse(reader, "a number below 0"));
}

/* Room for one more; arrays grow by doubling. */
static bool grow(nx_json_reader *reader, void **items, size_t count, size_t size)
{
    bool full = count == 0 || (count >= 16 && (count & (count - 1)) == 0);
    if (!full) {
        return true;
    }
    void *more =
        count < MOST_OBJECTS ? realloc(*items, (count == 0 ? 16 : 2 * count) * size) : NULL;
    if (more == NULL) {
        return nx_json_refuse(reader, "more than there is memory for");
    }
    *items = more;
    return true;
}

static bool take_object(nx_json_reader *reader, nx_manifest_object *out)
{
    return nx_json_enter_array(reader) && nx_json_next_element(reader) &&
           take_hash(reader, out->sha256) && nx_json_next_element(reader) &&
           take_count(reader, &out->size) && !nx_json_next_element(reader) && reader->wrong == NULL;
}

static bool take_objects(nx_json_reader *reader, nx_manifest_object **objects, size_t *count)
{
    void *items = *objects;
    bool good = nx_json_enter_array(reader) && *count == 0;
    while (good && nx_json_next_element(reader)) {
        good = grow(reader, &items, *count, sizeof **objects);
        *objects = items;
        good = good && take_object(reader, &(*objects)[*count]);
        *count += good;
    }
    return good;
}

static bool take_table(nx_json_reader *reader, nx_manifest_table *out)
{
    nx_json_span key;
    bool good = nx_json_enter_object(reader);
    while (good && nx_json_next_member(reader, &key)) {
        good = nx_json_key_is(key, "name")     ? take_text(reader, out->name, sizeof out->name)
               : nx_json_key_is(key, "rows")   ? take_count(reader, &out->rows)
               : nx_json_key_is(key, "sha256") ? take_hash(reader, out->sha256)
                                               : nx_json_skip(reader, NULL);
    }
    return good;
}

static bool take_tables(nx_json_reader *reader, nx_manifest *out)
{
    bool good = nx_json_enter_array(reader);
    while (good && nx_json_next_element(reader)) {
        if (out->table_count == NX_DUMP_MOST_TABLES) {
            return nx_json_refuse(reader, "too many tables");
        }
        good = take_table(reader, &out->tables[out->table_count++]);
    }
    return good;
}

static bool take_file(nx_json_reader *reader, nx_manifest_file *out)
{
    nx_json_span key;
    nx_buffer name = NX_BUFFER_INIT;
    bool good = nx_json_enter_object(reader);
    while (good && nx_json_next_member(reader, &key)) {
        good = nx_json_key_is(key, "name") ? name.size == 0 && nx_json_read_string(reader, &name)
               : nx_json_key_is(key, "sha256") ? take_hash(reader, out->content.sha256)
               : nx_json_key_is(key, "size")   ? take_count(reader, &out->content.size)
                                               : nx_json_skip(reader, NULL);
    }
    if (good && (strlen(nx_buffer_cstr(&name)) != name.size || !nx_manifest_is_name(name.data) ||
                 !is_hash(out->content.sha256))) {
        good = nx_json_refuse(reader, "a file without a good name and hash");
    }
    out->name = good ? strdup(name.data) : NULL;
    nx_buffer_free(&name);
    return out->name != NULL;
}

static bool take_files(nx_json_reader *reader, nx_manifest *out)
{
    void *items = out->files;
    bool good = nx_json_enter_array(reader) && out->file_count == 0;
    while (good && nx_json_next_element(reader)) {
        good = grow(reader, &items, out->file_count, sizeof out->files[0]);
        out->files = items;
        if (good) {
            out->files[out->file_count] = (nx_manifest_file){0};
            good = take_file(reader, &out->files[out->file_count]);
            out->file_count += good;
        }
    }
    return good;
}

static bool take_version(nx_json_reader *reader, nx_error *err)
{
    int64_t version = 0;
    bool good = nx_json_read_int(reader, &version);
    if (good && version != VERSION) {
        nx_error_set(err, NX_ERR_UNSUPPORTED,
                     "the backup has format %lld and this program knows %d: use the Nexus that "
                     "made it",
                     (long long)version, VERSION);
        return nx_json_refuse(reader, "another version");
    }
    return good;
}

static bool take_schema(nx_json_reader *reader, nx_manifest *out)
{
    int64_t schema = 0;
    bool good = take_count(reader, &schema) && schema <= INT32_MAX;
    out->schema = good ? (int)schema : 0;
    return good;
}

static bool take_member(nx_json_reader *reader, nx_json_span key, nx_manifest *out, nx_error *err)
{
    if (nx_json_key_is(key, "version")) {
        return take_version(reader, err);
    }
    if (nx_json_key_is(key, "id")) {
        return take_text(reader, out->id, sizeof out->id) &&
               (nx_manifest_is_id(out->id) || nx_json_refuse(reader, "an id that is none"));
    }
    if (nx_json_key_is(key, "made_at_ms")) {
        return take_count(reader, &out->made_at);
    }
    if (nx_json_key_is(key, "nexus")) {
        return take_text(reader, out->nexus, sizeof out->nexus);
    }
    if (nx_json_key_is(key, "host")) {
        return take_text(reader, out->host, sizeof out->host);
    }
    if (nx_json_key_is(key, "database")) {
        return take_text(reader, out->kind, sizeof out->kind);
    }
    if (nx_json_key_is(key, "schema")) {
        return take_schema(reader, out);
    }
    if (nx_json_key_is(key, "database_size")) {
        return take_count(reader, &out->database_size);
    }
    if (nx_json_key_is(key, "database_sha256")) {
        return take_hash(reader, out->database_sha256);
    }
    if (nx_json_key_is(key, "tables")) {
        return take_tables(reader, out);
    }
    if (nx_json_key_is(key, "objects")) {
        return take_objects(reader, &out->objects, &out->object_count);
    }
    if (nx_json_key_is(key, "missing")) {
        return take_objects(reader, &out->missing, &out->missing_count);
    }
    if (nx_json_key_is(key, "files")) {
        return take_files(reader, out);
    }
    return nx_json_skip(reader, NULL);
}

/* The line without what stands behind it, whose hash is checked. */
static nx_status check_hash(const char *text, size_t *size, nx_error *err)
{
    char hash[NX_OBJECT_NAME_SIZE];
    const size_t tail = HEX + 2;
    bool good = *size > tail && text[*size - 1] == '\n' && text[*size - tail] == '\n';
    if (good) {
        hash_text(text, *size - tail, hash);
        good = memcmp(hash, text + *size - HEX - 1, HEX) == 0;
        *size -= tail;
    }
    return good ? NX_OK
                : nx_error_set(err, NX_ERR_CORRUPT,
                               "the manifest is damaged: its bytes were changed or cut");
}

nx_status nx_manifest_read(const char *text, size_t size, nx_manifest *out, nx_error *err)
{
    nx_error why = {0};
    nx_json_span key;
    *out = (nx_manifest){0};
    nx_status status = check_hash(text, &size, err);
    if (status != NX_OK) {
        return status;
    }
    nx_json_reader reader = nx_json_reader_begin(text, size);
    bool good = nx_json_enter_object(&reader);
    while (good && nx_json_next_member(&reader, &key)) {
        good = take_member(&reader, key, out, &why);
    }
    good = good && nx_json_at_end(&reader) && out->id[0] != '\0' && is_hash(out->database_sha256);
    if (good) {
        return NX_OK;
    }
    nx_manifest_free(out);
    if (why.status != NX_OK) {
        *err = why;
        return why.status;
    }
    (void)nx_json_reader_error(&reader, &why);
    return nx_error_set(err, NX_ERR_CORRUPT, "the manifest is none: %.300s", why.message);
}

void nx_manifest_free(nx_manifest *manifest)
{
    for (size_t i = 0; i < manifest->file_count; i++) {
        free(manifest->files[i].name);
    }
    free(manifest->files);
    free(manifest->missing);
    free(manifest->objects);
    *manifest = (nx_manifest){0};
}

int64_t nx_manifest_bytes(const nx_manifest *manifest)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < manifest->object_count; i++) {
        bytes += (uint64_t)manifest->objects[i].size;
    }
    for (size_t i = 0; i < manifest->file_count; i++) {
        bytes += (uint64_t)manifest->files[i].content.size;
    }
    return (int64_t)bytes;
}

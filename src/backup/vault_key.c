#include "backup/vault_key.h"

#include "base/buffer.h"
#include "base/file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_KEY_FILE  ((size_t)4096)
#define LEAST_KEY_FILE 16
#define CONTEXT        "nxbackup"
/* Bounds of what a folder may ask of us: a changed one must not take all memory. */
#define MOST_OPS    UINT64_C(16)
#define MOST_MEMORY (UINT64_C(1) << 30)

#define PLAIN_MARK "{\"format\":\"nexus-backup\",\"version\":1,\"encryption\":null}\n"
#define HEX_SALT   (2 * (size_t)crypto_pwhash_SALTBYTES)
#define HEX_CHECK  ((size_t)32)

/* How the key is made of the pass phrase, and what tells a wrong one. */
typedef struct mark {
    uint64_t ops;
    uint64_t memory;
    char salt[HEX_SALT + 1];
    char check[HEX_CHECK + 1];
} mark;

static int write_mark(const mark *what, char *out, size_t size)
{
    return snprintf(out, size,
                    "{\"format\":\"nexus-backup\",\"version\":1,\"encryption\":{\"cipher\":"
                    "\"xchacha20poly1305\",\"kdf\":\"argon2id\",\"operations\":%" PRIu64
                    ",\"memory\":%" PRIu64 ",\"salt\":\"%s\",\"check\":\"%s\"}}\n",
                    what->ops, what->memory, what->salt, what->check);
}

static bool find(const char *text, const char *key, const char **out)
{
    const char *found = strstr(text, key);
    *out = found != NULL ? found + strlen(key) : "";
    return found != NULL;
}

static bool find_hex(const char *text, const char *key, size_t digits, char *out)
{
    const char *at = NULL;
    if (!find(text, key, &at) || strspn(at, "0123456789abcdef") != digits) {
        return false;
    }
    memcpy(out, at, digits);
    out[digits] = '\0';
    return true;
}

/* The text exactly as write_mark writes it: whatever was changed in it is found. */
static bool parse_mark(const char *text, mark *out)
{
    char again[512];
    const char *ops = NULL;
    const char *memory = NULL;
    if (!find(text, "\"operations\":", &ops) || !find(text, "\"memory\":", &memory) ||
        !find_hex(text, "\"salt\":\"", HEX_SALT, out->salt) ||
        !find_hex(text, "\"check\":\"", HEX_CHECK, out->check)) {
        return false;
    }
    out->ops = strtoull(ops, NULL, 10);
    out->memory = strtoull(memory, NULL, 10);
    return write_mark(out, again, sizeof again) > 0 && strcmp(again, text) == 0;
}

static nx_status read_phrase(const char *path, nx_buffer *out, nx_error *err)
{
    nx_status status = nx_file_read(path, MOST_KEY_FILE, out, err);
    if (status != NX_OK) {
        status = nx_error_prefix(err, "key file");
        return status == NX_ERR_NOT_FOUND || status == NX_ERR_TOO_LARGE ? NX_ERR_INVALID : status;
    }
    while (out->size > 0 &&
           (out->data[out->size - 1] == '\n' || out->data[out->size - 1] == '\r')) {
        out->size--;
    }
    if (out->size < LEAST_KEY_FILE) {
        return nx_error_set(
            err, NX_ERR_INVALID,
            "key file %s holds %zu bytes, and at least %d are needed; make one with "
            "'openssl rand -hex 32'",
            path, out->size, LEAST_KEY_FILE);
    }
    return NX_OK;
}

/* Fills out, and check with what the folder must say. */
static nx_status derive(const char *key_file, const mark *how, nx_vault_keys *out,
                        char check[HEX_CHECK + 1], nx_error *err)
{
    nx_buffer phrase = NX_BUFFER_INIT;
    unsigned char salt[crypto_pwhash_SALTBYTES];
    unsigned char master[crypto_kdf_KEYBYTES];
    unsigned char proof[HEX_CHECK / 2];
    nx_status status = read_phrase(key_file, &phrase, err);
    (void)sodium_hex2bin(salt, sizeof salt, how->salt, HEX_SALT, NULL, NULL, NULL);
    if (status == NX_OK &&
        crypto_pwhash(master, sizeof master, phrase.data, phrase.size, salt, how->ops,
                      (size_t)how->memory, crypto_pwhash_ALG_ARGON2ID13) != 0) {
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory (%" PRIu64 " MiB) to make the key",
                              how->memory >> 20);
    }
    if (status == NX_OK) {
        (void)crypto_kdf_derive_from_key(out->files, sizeof out->files, 1, CONTEXT, master);
        (void)crypto_kdf_derive_from_key(out->names, sizeof out->names, 2, CONTEXT, master);
        (void)crypto_kdf_derive_from_key(proof, sizeof proof, 3, CONTEXT, master);
        (void)sodium_bin2hex(check, HEX_CHECK + 1, proof, sizeof proof);
        out->encrypted = true;
    }
    sodium_memzero(master, sizeof master);
    if (phrase.data != NULL) {
        sodium_memzero(phrase.data, phrase.capacity);
    }
    nx_buffer_free(&phrase);
    return status;
}

nx_status nx_vault_keys_make(const nx_vault_options *options, const char *path, nx_vault_keys *out,
                             nx_error *err)
{
    char text[512] = PLAIN_MARK;
    unsigned char salt[crypto_pwhash_SALTBYTES];
    mark how = {
        .ops = options->cheap ? crypto_pwhash_OPSLIMIT_MIN : crypto_pwhash_OPSLIMIT_MODERATE,
        .memory = options->cheap ? crypto_pwhash_MEMLIMIT_MIN : crypto_pwhash_MEMLIMIT_MODERATE};
    nx_status status = NX_OK;
    *out = (nx_vault_keys){.encrypted = false};
    if (options->key_file != NULL) {
        randombytes_buf(salt, sizeof salt);
        (void)sodium_bin2hex(how.salt, sizeof how.salt, salt, sizeof salt);
        status = derive(options->key_file, &how, out, how.check, err);
        (void)write_mark(&how, text, sizeof text);
    }
    return status == NX_OK ? nx_file_write(path, text, strlen(text), err) : status;
}

static nx_status read_encrypted(const nx_vault_options *options, const char *text,
                                nx_vault_keys *out, nx_error *err)
{
    mark how;
    char check[HEX_CHECK + 1];
    if (!parse_mark(text, &how) || how.ops < 1 || how.ops > MOST_OPS ||
        how.memory < crypto_pwhash_MEMLIMIT_MIN || how.memory > MOST_MEMORY ||
        how.memory % 1024 != 0) {
        return nx_error_set(
            err, NX_ERR_CORRUPT,
            "%s/%s is damaged, or of a newer Nexus; a copy of it, which every other "
            "copy of the folder has, helps",
            options->path, NX_VAULT_MARK);
    }
    if (options->key_file == NULL) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "the backups in %s are encrypted; give the key with --key-file",
                            options->path);
    }
    nx_status status = derive(options->key_file, &how, out, check, err);
    if (status == NX_OK && strcmp(check, how.check) != 0) {
        status = nx_error_set(err, NX_ERR_INVALID, "the key in %s is not that of the backups in %s",
                              options->key_file, options->path);
    }
    return status;
}

nx_status nx_vault_keys_read(const nx_vault_options *options, const char *path, nx_vault_keys *out,
                             nx_error *err)
{
    nx_buffer text = NX_BUFFER_INIT;
    *out = (nx_vault_keys){.encrypted = false};
    nx_status status = nx_file_read(path, MOST_KEY_FILE, &text, err);
    if (status != NX_OK) {
        goto done;
    }
    if (text.size != strlen(nx_buffer_cstr(&text)) || strcmp(text.data, PLAIN_MARK) != 0) {
        status = read_encrypted(options, nx_buffer_cstr(&text), out, err);
    } else if (options->key_file != NULL) {
        status = nx_error_set(err, NX_ERR_INVALID,
                              "the backups in %s are not encrypted; leave --key-file out, or take "
                              "another folder",
                              options->path);
    }
done:
    nx_buffer_free(&text);
    return status;
}

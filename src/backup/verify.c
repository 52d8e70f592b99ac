#include "backup/internal.h"

#include "backup/rows.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

static nx_status wrong(nx_vault *vault, const nx_manifest_object *object, nx_error *err)
{
    char path[NX_VAULT_PATH_SIZE];
    nx_vault_object_path(vault, object->sha256, path);
    return nx_error_set(err, NX_ERR_CORRUPT,
                        "%s/%s is damaged; remove it, and the next backup copies it again while "
                        "Nexus still has it",
                        nx_vault_place(vault), path);
}

nx_status nx_backup_read_object(nx_vault *vault, const nx_manifest_object *object,
                                nx_backup_take take, void *user, nx_error *err)
{
    char path[NX_VAULT_PATH_SIZE];
    char hex[NX_OBJECT_NAME_SIZE];
    unsigned char hash[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_state state;
    nx_vault_reader *file = NULL;
    unsigned char *chunk = malloc(NX_BACKUP_CHUNK);
    size_t got = NX_BACKUP_CHUNK;
    int64_t size = 0;
    nx_vault_object_path(vault, object->sha256, path);
    nx_status status = chunk != NULL
                           ? nx_vault_read(vault, path, &file, err)
                           : nx_error_set(err, NX_ERR_NO_MEMORY, "no memory to read %s", path);
    (void)crypto_hash_sha256_init(&state);
    while (status == NX_OK && got == NX_BACKUP_CHUNK) {
        status = nx_vault_get(file, chunk, NX_BACKUP_CHUNK, &got, err);
        if (status == NX_OK) {
            (void)crypto_hash_sha256_update(&state, chunk, got);
            size += (int64_t)got;
            status = take != NULL && got > 0 ? take(user, chunk, got, err) : NX_OK;
        }
    }
    nx_vault_read_end(file);
    free(chunk);
    (void)crypto_hash_sha256_final(&state, hash);
    (void)sodium_bin2hex(hex, sizeof hex, hash, sizeof hash);
    if (status == NX_ERR_NOT_FOUND) {
        return NX_ERR_CORRUPT; /* the message names the file */
    }
    return status == NX_OK && (size != object->size || strcmp(hex, object->sha256) != 0)
               ? wrong(vault, object, err)
               : status;
}

nx_status nx_backup_verify(const nx_backup *backup, const nx_manifest *manifest, nx_error *err)
{
    char path[NX_VAULT_PATH_SIZE];
    const nx_rows_sink sink = {.user = NULL};
    size_t total = manifest->object_count + manifest->file_count;
    nx_backup_rows_path(manifest->id, path);
    nx_backup_tell(backup, "verify", 0, total);
    nx_status status = nx_rows_read(backup->vault, path, manifest, &sink, err);
    for (size_t i = 0; i < total && status == NX_OK; i++) {
        bool object = i < manifest->object_count;
        nx_backup_tell(backup, "verify", i, total);
        status = nx_backup_read_object(
            backup->vault,
            object ? &manifest->objects[i] : &manifest->files[i - manifest->object_count].content,
            NULL, NULL, err);
    }
    if (status == NX_ERR_NOT_FOUND) {
        status = NX_ERR_CORRUPT;
    }
    return status == NX_OK ? NX_OK : nx_error_prefix(err, "backup %s", manifest->id);
}

/* Inside src/backup: the file that tells what a folder is, and the keys that are made of it. */
#ifndef NX_BACKUP_VAULT_KEY_H
#define NX_BACKUP_VAULT_KEY_H

#include "backup/vault.h"

#include <sodium.h>

#define NX_VAULT_MARK "nexus-backup.json"

typedef struct nx_vault_keys {
    bool encrypted;
    unsigned char files[crypto_secretstream_xchacha20poly1305_KEYBYTES];
    unsigned char names[crypto_generichash_KEYBYTES];
} nx_vault_keys;

/* Reads the mark at path, or makes it. Errors as in vault.h. */
nx_status nx_vault_keys_read(const nx_vault_options *options, const char *path, nx_vault_keys *out,
                             nx_error *err);
nx_status nx_vault_keys_make(const nx_vault_options *options, const char *path, nx_vault_keys *out,
                             nx_error *err);

#endif

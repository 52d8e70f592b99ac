/* Inside src/backup: what making, checking and restoring have in common. */
#ifndef NX_BACKUP_INTERNAL_H
#define NX_BACKUP_INTERNAL_H

#include "backup/backup.h"

#define NX_BACKUP_CHUNK ((size_t)4 << 20)

/* "backups/ID/database.jsonl.zst" and "backups/ID/manifest.json". */
void nx_backup_rows_path(const char *id, char out[NX_VAULT_PATH_SIZE]);
void nx_backup_manifest_path(const char *id, char out[NX_VAULT_PATH_SIZE]);

/* What a writer that was killed has left. */
nx_status nx_backup_tidy(nx_vault *vault, nx_error *err);
/* All but the newest `keep` backups go, and with them the objects that no backup names; 0: no
 * backup goes. Nothing does when a manifest can't be read. */
nx_status nx_backup_prune(nx_vault *vault, size_t keep, size_t *removed, nx_error *err);

/* Takes the bytes of an object of the folder. */
typedef nx_status (*nx_backup_take)(void *user, const void *bytes, size_t size, nx_error *err);

/* Reads it to its end and holds it to its hash and size. take may be NULL. Errors: NX_ERR_CORRUPT,
 * those of take. */
nx_status nx_backup_read_object(nx_vault *vault, const nx_manifest_object *object,
                                nx_backup_take take, void *user, nx_error *err);

static inline void nx_backup_tell(const nx_backup *backup, const char *stage, size_t done,
                                  size_t total)
{
    if (backup->progress != NULL) {
        backup->progress(backup->user, stage, done, total);
    }
}

#endif

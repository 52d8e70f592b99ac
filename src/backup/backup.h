/*
 * Backups: the database, the objects that it names and the files of models, as one state, in a
 * folder that holds any number of them (backup/vault.h). Objects are content and never change, so a
 * backup copies those alone that the folder has not yet, and all share them.
 *
 * The database is read as one snapshot, and then the objects that the snapshot names. One that is
 * taken away meanwhile, for a video was removed, makes us read the database again: what a backup
 * names it holds. What is lost or damaged at its place is told, and does not hold up the rest.
 *
 * Not thread-safe; the store and the objects may be in use by others while a backup is made.
 */
#ifndef NX_BACKUP_BACKUP_H
#define NX_BACKUP_BACKUP_H

#include "backup/manifest.h"
#include "backup/vault.h"
#include "store/objects.h"
#include "store/store.h"

/* Tells how far it is: "objects", 12 of 300. */
typedef void (*nx_backup_progress)(void *user, const char *stage, size_t done, size_t total);

/* All borrowed. */
typedef struct nx_backup {
    nx_vault *vault;
    nx_store *store;
    nx_objects *objects;
    const char *files;           /* folder of the models, with all below it; may be missing */
    const char *nexus;           /* version of the program */
    nx_backup_progress progress; /* may be NULL */
    void *user;
} nx_backup;

typedef struct nx_backup_report {
    char id[NX_BACKUP_ID_SIZE];
    int64_t rows;
    size_t tables;
    size_t objects;       /* that it holds, files among them */
    size_t copied;        /* of them: new in the folder */
    int64_t copied_bytes; /* and how long they are */
    size_t missing;       /* that the database names and nobody has */
    char first_missing[NX_OBJECT_NAME_SIZE];
    size_t removed; /* older backups, by `keep` */
} nx_backup_report;

/* Makes a backup, and with keep > 0 removes all but that many of the newest. The vault is locked
 * for writing. On failure, a full disk among others, what it has written is gone again. Errors:
 * those of the store, of the objects and of vault.h. */
nx_status nx_backup_make(const nx_backup *backup, size_t keep, nx_backup_report *out,
                         nx_error *err);

/* The ids of all backups, oldest first; the caller frees *ids. */
nx_status nx_backup_list(nx_vault *vault, char (**ids)[NX_BACKUP_ID_SIZE], size_t *count,
                         nx_error *err);

/* The manifest of one; id NULL: of the newest. Freed by nx_manifest_free. Errors: NX_ERR_NOT_FOUND,
 * NX_ERR_CORRUPT. */
nx_status nx_backup_manifest(nx_vault *vault, const char *id, nx_manifest *out, nx_error *err);

/* Reads all that a backup holds and checks each hash. Of the backup only vault, progress and user
 * are looked at. Errors: NX_ERR_CORRUPT with the first thing that is wrong. */
nx_status nx_backup_verify(const nx_backup *backup, const nx_manifest *manifest, nx_error *err);

typedef struct nx_restore_report {
    int64_t rows;
    size_t objects;
    size_t files;
} nx_restore_report;

/*
 * Puts a backup in the place of what the database holds, and its objects and files beside those
 * that are there. It is verified before anything is written, and the database changes in one
 * transaction, at the end: who is killed on the way has changed nothing that counts, and does the
 * same again. The store has just been opened. force: over a database that is not empty, and files
 * of other contents. Errors: NX_ERR_CONFLICT (it is not empty), NX_ERR_CORRUPT, NX_ERR_UNSUPPORTED
 * (of a newer Nexus), NX_ERR_BUSY (others have the database open), those of the stores.
 */
nx_status nx_backup_restore(const nx_backup *backup, const nx_manifest *manifest, bool force,
                            nx_restore_report *out, nx_error *err);

#endif

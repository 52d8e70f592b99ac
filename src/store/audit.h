/*
 * The audit log: who did what, in rows that are only ever added. Each row carries a hash over the
 * one before it and itself, so that a row that was changed, taken out, put in or moved is found; a
 * head row tells the count and the last hash, so that rows missing at the end are found as well.
 * Triggers refuse changes, which keeps accidents and careless programs out. Who may write to the
 * database at will can drop the triggers and calculate every hash anew, head included: only a head
 * that was noted elsewhere (nx_store_audit_head) shows that.
 *
 * The hash of row n is SHA-256 of the ASCII bytes "nexus-audit-1", the 32 bytes of the hash of row
 * n - 1 (zeros for the first), seq and at as eight bytes each, big-endian, and then actor_kind,
 * actor, actor_key, address, action, object, result, details and request_id, each as its length in
 * four bytes, big-endian, and its bytes of UTF-8. In the database it is in hexadecimal digits.
 *
 * Thread-safe, and safe between processes and hosts: appending is one transaction that holds the
 * head. Errors as in store.h besides those named.
 */
#ifndef NX_STORE_AUDIT_H
#define NX_STORE_AUDIT_H

#include "base/arena.h"
#include "store/store.h"

#include <stddef.h>

#define NX_AUDIT_TEXT_MAX    256  /* bytes of each column but details */
#define NX_AUDIT_DETAILS_MAX 4096 /* bytes */
#define NX_AUDIT_HASH        65   /* hexadecimal digits and the NUL */

/* What happened; strings are borrowed, and NULL is "". Too long ones are cut between characters,
 * and bytes that are not UTF-8 and control characters become U+FFFD. */
typedef struct nx_audit_entry {
    const char *actor_kind; /* "user", "key", "local", "anonymous", "command", "system" */
    const char *actor;      /* name of the user */
    const char *actor_key;  /* public part of an API key */
    const char *address;
    const char *action; /* "auth.login" */
    const char *object; /* "user:NAME" */
    const char *result; /* "ok", "refused" or "failed"; NULL: "ok" */
    /* a JSON object; NULL: "{}". One that is too long becomes {"cut":true}. */
    const char *details;
    const char *request_id;
} nx_audit_entry;

/* Appends them in this order, all or none. */
nx_status nx_store_audit_append(nx_store *store, const nx_audit_entry *entries, size_t count,
                                nx_error *err);

typedef struct nx_audit_row {
    int64_t seq; /* 1, 2, 3, ... */
    int64_t at;
    nx_audit_entry entry;
    const char *hash;
} nx_audit_row;

typedef struct nx_audit_filter {
    int64_t since;      /* at >= since; 0: no bound */
    int64_t until;      /* at < until; 0: no bound */
    const char *actor;  /* exactly; NULL: any */
    const char *action; /* exactly, or all of a kind when it ends with "." ("auth."); NULL: any */
} nx_audit_filter;

/* Rows that fit with a seq above `after`, oldest first. */
nx_status nx_store_audit_after(nx_store *store, const nx_audit_filter *filter, int64_t after,
                               size_t limit, nx_arena *arena, nx_audit_row *out, size_t *count,
                               nx_error *err);
/* Rows that fit with a seq below `before` (0: the newest), newest first. */
nx_status nx_store_audit_before(nx_store *store, const nx_audit_filter *filter, int64_t before,
                                size_t limit, nx_arena *arena, nx_audit_row *out, size_t *count,
                                nx_error *err);

/* When that was last done and went well; 0: never. Cheap. */
nx_status nx_store_audit_last(nx_store *store, const char *action, int64_t *at, nx_error *err);

typedef struct nx_audit_head {
    int64_t seq; /* 0: the log is empty */
    char hash[NX_AUDIT_HASH];
} nx_audit_head;

/* To be noted elsewhere. Errors: NX_ERR_CORRUPT (there is none). */
nx_status nx_store_audit_head(nx_store *store, nx_audit_head *out, nx_error *err);

typedef struct nx_audit_verdict {
    bool intact;
    int64_t checked;   /* rows whose hash was calculated and fits */
    int64_t first_bad; /* seq of the first row that does not; 0: none */
    char reason[200];  /* what is wrong; "" while nothing is */
    nx_audit_head head;
} nx_audit_verdict;

typedef struct nx_audit_check {
    /* A head that was noted earlier, which the log must still have; NULL: none. */
    const nx_audit_head *noted;
    /* Called now and then; returning false ends it with NX_ERR_CANCELLED. May be NULL. */
    bool (*progress)(int64_t checked, int64_t total, void *user);
    void *user;
} nx_audit_check;

/* Reads the log as it was when the call began and calculates every hash. NX_OK also when it is not
 * intact: out says so. */
nx_status nx_store_audit_verify(nx_store *store, const nx_audit_check *check, nx_audit_verdict *out,
                                nx_error *err);

#endif

/*
 * Writing into the audit log (store/audit.h) from a server: what happened is handed over and one
 * thread writes it, many rows in one transaction.
 *
 * Three ways in. nx_audit_write waits until the row is on the disk: for threads that may wait,
 * before they answer. nx_audit_post does not wait. nx_audit_note is for what a stranger can cause
 * at will (refused accesses, wrong passwords): of one action from one network at most
 * NX_AUDIT_BURST rows a minute are written one by one, and then one that counts the rest
 * ({"more":N}), so that nobody can fill a disk; of NX_AUDIT_SOURCES such sources at a time, the
 * others counted together.
 *
 * When the database fails rows wait in memory, up to NX_AUDIT_QUEUE, and are tried again every
 * second; nx_audit_write says so and the row still waits. What finds no place, and what could not
 * be written until the end, goes to the process's own log with all that it says, at level error.
 *
 * Thread-safe. Everything is copied.
 */
#ifndef NX_AUTH_AUDIT_H
#define NX_AUTH_AUDIT_H

#include "auth/identity.h"
#include "base/address.h"
#include "store/audit.h"

typedef struct nx_audit nx_audit;

#define NX_AUDIT_QUEUE   1024 /* rows */
#define NX_AUDIT_BURST   3    /* rows a minute */
#define NX_AUDIT_SOURCES 32

/* The store is borrowed and outlives it. Starts the thread. */
nx_status nx_audit_new(nx_store *store, nx_audit **out, nx_error *err);
/* Writes what waits and what was counted, and ends. NULL is fine. */
void nx_audit_free(nx_audit *audit);

/* On the disk with NX_OK. Errors: those of the store, NX_ERR_TIMEOUT (the database takes longer
 * than 5 s), NX_ERR_BUSY (the queue is full; the row is in the process's log alone). */
nx_status nx_audit_write(nx_audit *audit, const nx_audit_entry *entry, nx_error *err);

/* Does not wait. */
void nx_audit_post(nx_audit *audit, const nx_audit_entry *entry);

/* Does not wait. address: the client's, counted by its network; entry->action must be a literal. */
void nx_audit_note(nx_audit *audit, const nx_address *address, const nx_audit_entry *entry);

/* Fills actor_kind, actor and actor_key; identity is borrowed as long as the entry is used. */
void nx_audit_actor(const nx_identity *identity, nx_audit_entry *entry);

/* Counts since the start. */
typedef struct nx_audit_stats {
    uint64_t written;
    uint64_t lost;     /* in the process's log alone */
    uint64_t counted;  /* of nx_audit_note, without a row of their own */
    uint64_t failures; /* of the database, each of which was or will be tried again */
    size_t waiting;
} nx_audit_stats;
nx_audit_stats nx_audit_get_stats(nx_audit *audit);

#endif

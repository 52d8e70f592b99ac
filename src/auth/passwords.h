/*
 * Inside src/auth: passwords as argon2id (RFC 9106) by libsodium. Each hashing takes its own tens
 * of megabytes, so only a few run at a time; the others wait, for a bounded time. Thread-safe.
 */
#ifndef NX_AUTH_PASSWORDS_H
#define NX_AUTH_PASSWORDS_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NX_PASSWORD_HASH 128 /* libsodium's crypto_pwhash_STRBYTES */

typedef struct nx_passwords nx_passwords;

typedef struct nx_passwords_options {
    int slots;
    int wait_ms;
    uint64_t ops;
    size_t bytes;
} nx_passwords_options;

/* Errors: NX_ERR_INVALID (what libsodium would not take), NX_ERR_NO_MEMORY. */
nx_status nx_passwords_new(const nx_passwords_options *options, nx_passwords **out, nx_error *err);
void nx_passwords_free(nx_passwords *passwords);

/* Errors of both: NX_ERR_BUSY (no slot within the wait), NX_ERR_NO_MEMORY. */
nx_status nx_passwords_hash(nx_passwords *passwords, const char *password,
                            char out[NX_PASSWORD_HASH], nx_error *err);
/* hash NULL: of nobody; the same work is done for the answer no. */
nx_status nx_passwords_verify(nx_passwords *passwords, const char *hash, const char *password,
                              bool *right, nx_error *err);

/* Made with other parameters than those in force? */
bool nx_passwords_outdated(const nx_passwords *passwords, const char *hash);

typedef struct nx_passwords_stats {
    int64_t hashings;
    int64_t timeouts;
    int64_t most_at_once;
} nx_passwords_stats;
nx_passwords_stats nx_passwords_get_stats(nx_passwords *passwords);

#endif

/* What `nexus users` and `nexus keys` share: the accounts of the configured database, passwords
 * from people and from scripts, times as text. */
#ifndef NX_CLI_ACCOUNTS_H
#define NX_CLI_ACCOUNTS_H

#include "auth/auth.h"
#include "base/json_writer.h"
#include "base/time_text.h"
#include "cache/cache.h"
#include "cache/redis_client.h"
#include "cli/cli.h"

/* Plain owner; all zero is none. */
typedef struct nx_cli_accounts {
    nx_store *store;
    nx_redis *redis; /* where there is one: what a command ends is ended in the shared cache, too */
    nx_cache *cache;
    nx_auth *auth;
    nx_arena arena; /* for what is read */
} nx_cli_accounts;

/* Errors: those of nx_store_open and nx_setup_open_cache. On failure everything is closed again. */
nx_status nx_cli_accounts_open(const nx_cli_args *args, nx_cli_accounts *out, nx_error *err);
void nx_cli_accounts_close(nx_cli_accounts *accounts);

/* What a command does with the accounts; said is what it prints when that went well. */
typedef nx_status (*nx_cli_accounts_work)(const nx_cli_args *args, nx_cli_accounts *accounts,
                                          nx_buffer *said, nx_error *err);
/* Opens the accounts, works, closes them, and prints; the exit code. */
int nx_cli_accounts_run(const nx_cli_args *args, nx_cli_accounts_work work);

/* A password and its NUL, and two bytes more, so that what is too long shows. */
#define NX_CLI_PASSWORD_SIZE (NX_PASSWORD_MAX + 3)

/*
 * The first line of --password-file FILE ("-": of standard input), or of standard input when that
 * is no terminal, or what somebody types twice, unseen. The caller wipes it (sodium_memzero).
 * Errors: NX_ERR_INVALID (none, or not twice the same), NX_ERR_NOT_FOUND, NX_ERR_IO (the file),
 * NX_ERR_CANCELLED (a signal came; it is raised again).
 */
nx_status nx_cli_password(const nx_cli_args *args, char out[NX_CLI_PASSWORD_SIZE], nx_error *err);

/* Options of those who call nx_cli_password. */
#define NX_CLI_PASSWORD_OPTION                                                                     \
    {                                                                                              \
        "password-file", 0, "FILE", "read the password from there; - is standard input",           \
            NX_CLI_NO_KEY, NULL                                                                    \
    }

/* "2026-11-28T23:00:00Z" of milliseconds since 1970; "-" of 0. */
const char *nx_cli_time(int64_t ms, char out[NX_TIME_TEXT_SIZE]);
/* The same as a member; null of 0. */
void nx_cli_json_time(nx_json *json, const char *key, int64_t ms);

#endif

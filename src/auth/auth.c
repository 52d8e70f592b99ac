#include "auth/auth.h"

#include "auth/internal.h"
#include "base/clock.h"
#include "base/log.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MINUTE_MS INT64_C(60000)
#define DAY_MS    INT64_C(86400000)
/* So long a token that was good is remembered as no guess. */
#define REMEMBER_NS (600 * NX_NS_PER_SEC)

static int64_t or_usual(int64_t value, int64_t usual)
{
    return value != 0 ? value : usual;
}

nx_status nx_auth_new(const nx_auth_options *options, nx_auth **out, nx_error *err)
{
    *out = NULL;
    nx_auth *auth = calloc(1, sizeof *auth);
    if (auth == NULL || (auth->table = nx_auth_table_new()) == NULL) {
        free(auth);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for accounts");
    }
    const nx_passwords_options passwords = {
        .slots = (int)or_usual(options->hash_slots, 2),
        .wait_ms = (int)or_usual(options->hash_wait_ms, 5000),
        .ops = options->hash_ops != 0 ? options->hash_ops : crypto_pwhash_OPSLIMIT_INTERACTIVE,
        .bytes =
            options->hash_bytes != 0 ? options->hash_bytes : crypto_pwhash_MEMLIMIT_INTERACTIVE,
    };
    auth->store = options->store;
    auth->cache = nx_cache_waits(options->cache) ? options->cache : NULL;
    auth->life = (nx_session_life){
        .idle_ms = or_usual(options->session_idle_ms, 60 * MINUTE_MS),
        .max_ms = or_usual(options->session_max_ms, 30 * DAY_MS),
    };
    atomic_init(&auth->asked_users, INT64_MIN);
    nx_status status = nx_passwords_new(&passwords, &auth->passwords, err);
    if (status != NX_OK) {
        nx_auth_free(auth);
        return status;
    }
    *out = auth;
    return NX_OK;
}

void nx_auth_free(nx_auth *auth)
{
    if (auth != NULL) {
        nx_passwords_free(auth->passwords);
        nx_auth_table_free(auth->table);
        free(auth);
    }
}

/* --- who is it --- */

/* A token, looked at once. */
typedef struct shown {
    nx_token_kind kind;
    char id[NX_KEY_ID_SIZE];
    unsigned char hash[NX_TOKEN_HASH];
    char hex[NX_HASH_HEX];
} shown;

static bool read_token(const char *text, shown *out)
{
    *out = (shown){0};
    out->kind = nx_token_look(text, out->id);
    if (out->kind != NX_TOKEN_SESSION && out->kind != NX_TOKEN_KEY) {
        return false;
    }
    nx_token_hash(text, out->hash);
    return true;
}

nx_auth_peeked nx_auth_peek(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out)
{
    shown t;
    *out = (nx_identity){0};
    if (!read_token(token, &t)) {
        return NX_AUTH_REFUSED;
    }
    if (nx_auth_table_get(auth->table, t.hash, now_ns, out)) {
        atomic_fetch_add(&auth->hits, 1);
        return NX_AUTH_KNOWN;
    }
    return NX_AUTH_ASK;
}

bool nx_auth_remembers(nx_auth *auth, const char *token, int64_t now_ns)
{
    shown t;
    return read_token(token, &t) &&
           nx_auth_table_remembers(auth->table, t.hash, now_ns, REMEMBER_NS);
}

static nx_role read_role(int64_t role)
{
    return role >= NX_ROLE_VIEWER && role <= NX_ROLE_ADMIN ? (nx_role)role : NX_ROLE_NONE;
}

/* A use that could not be noted makes a session end early at worst: no reason to refuse it now. */
static void note_failure(nx_status status, const nx_error *err)
{
    if (status != NX_OK) {
        nx_log_warn("auth", "the use of a session or key was not noted: %s", err->message);
    }
}

static nx_status ask_session(nx_auth *auth, const shown *t, nx_identity *out, nx_error *err)
{
    nx_session_owner owner;
    nx_cache_key key = nx_auth_session_key(t->hash);
    int64_t every_ms = auth->life.idle_ms / 4 < MINUTE_MS ? auth->life.idle_ms / 4 : MINUTE_MS;
    if (nx_auth_session_get(auth, &key, out)) {
        return NX_OK;
    }
    nx_status status = nx_store_session_check(auth->store, t->hex, &auth->life, &owner, err);
    if (status != NX_OK) {
        return status;
    }
    if (owner.unseen_ms >= every_ms) {
        nx_error failure = {0};
        note_failure(nx_store_session_seen(auth->store, t->hex, every_ms, &failure), &failure);
    }
    out->kind = NX_IDENTITY_SESSION;
    out->role = read_role(owner.role);
    out->scopes = nx_role_scopes(out->role);
    memcpy(out->user_id, owner.user_id, sizeof out->user_id);
    memcpy(out->name, owner.name, sizeof out->name);
    memcpy(out->session, t->hex, sizeof out->session);
    nx_auth_session_put(auth, &key, out,
                        owner.unseen_ms < every_ms ? every_ms - owner.unseen_ms : every_ms);
    return NX_OK;
}

static nx_status ask_key(nx_auth *auth, const shown *t, nx_identity *out, nx_error *err)
{
    nx_key_owner owner;
    nx_error failure = {0};
    nx_status status = nx_store_key_check(auth->store, t->id, &owner, err);
    if (status == NX_OK && sodium_memcmp(owner.hash, t->hex, NX_HASH_HEX) != 0) {
        status = nx_error_set(err, NX_ERR_NOT_FOUND, "the API key is not, or no longer, good");
    }
    if (status != NX_OK) {
        return status;
    }
    note_failure(nx_store_key_used(auth->store, t->id, &failure), &failure);
    out->kind = NX_IDENTITY_KEY;
    out->role = read_role(owner.role);
    out->scopes = (uint32_t)owner.scopes & nx_role_scopes(out->role);
    memcpy(out->user_id, owner.user_id, sizeof out->user_id);
    memcpy(out->name, owner.name, sizeof out->name);
    memcpy(out->key_id, t->id, sizeof out->key_id);
    return NX_OK;
}

static nx_status check(nx_auth *auth, const char *text, nx_token_kind wanted, int64_t now_ns,
                       nx_identity *out, nx_error *err)
{
    shown t;
    *out = (nx_identity){0};
    if (!read_token(text, &t) || (wanted != NX_TOKEN_NONE && t.kind != wanted)) {
        return nx_error_set(err, NX_ERR_NOT_FOUND, "this is no %s",
                            wanted == NX_TOKEN_KEY       ? "API key"
                            : wanted == NX_TOKEN_SESSION ? "session"
                                                         : "session or API key");
    }
    if (nx_auth_table_get(auth->table, t.hash, now_ns, out)) {
        atomic_fetch_add(&auth->hits, 1);
        return NX_OK;
    }
    uint64_t era = nx_auth_table_era(auth->table);
    nx_token_hash_hex(t.hash, t.hex);
    atomic_fetch_add(&auth->asked, 1);
    nx_status status =
        t.kind == NX_TOKEN_SESSION ? ask_session(auth, &t, out, err) : ask_key(auth, &t, out, err);
    if (status == NX_OK) {
        nx_auth_table_put(auth->table, era, t.hash, now_ns, out);
    } else {
        *out = (nx_identity){0};
        atomic_fetch_add(&auth->refused, status == NX_ERR_NOT_FOUND);
        if (status == NX_ERR_NOT_FOUND) {
            nx_auth_table_forget(auth->table, t.hash);
        }
    }
    return status;
}

nx_status nx_auth_check(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out,
                        nx_error *err)
{
    return check(auth, token, NX_TOKEN_NONE, now_ns, out, err);
}

nx_status nx_auth_check_session(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out,
                                nx_error *err)
{
    return check(auth, token, NX_TOKEN_SESSION, now_ns, out, err);
}

nx_status nx_auth_check_key(nx_auth *auth, const char *token, int64_t now_ns, nx_identity *out,
                            nx_error *err)
{
    return check(auth, token, NX_TOKEN_KEY, now_ns, out, err);
}

nx_auth_peeked nx_auth_peek_users(nx_auth *auth, int64_t now_ns, bool *out)
{
    int64_t asked = atomic_load(&auth->asked_users);
    *out = atomic_load(&auth->has_users);
    return *out || (asked != INT64_MIN && now_ns - asked < NX_NS_PER_SEC) ? NX_AUTH_KNOWN
                                                                          : NX_AUTH_ASK;
}

nx_status nx_auth_check_users(nx_auth *auth, int64_t now_ns, bool *out, nx_error *err)
{
    *out = atomic_load(&auth->has_users);
    if (*out) {
        return NX_OK;
    }
    nx_status status = nx_store_users_any(auth->store, out, err);
    if (status == NX_OK && *out) {
        atomic_store(&auth->has_users, true);
    } else if (status == NX_OK) {
        atomic_store(&auth->asked_users, now_ns);
    }
    return status;
}

nx_auth_stats nx_auth_get_stats(nx_auth *auth)
{
    const nx_passwords_stats passwords = nx_passwords_get_stats(auth->passwords);
    return (nx_auth_stats){
        .hits = atomic_load(&auth->hits),
        .asked = atomic_load(&auth->asked),
        .refused = atomic_load(&auth->refused),
        .welcomed = atomic_load(&auth->welcomed),
        .wrong = atomic_load(&auth->wrong),
        .locked = atomic_load(&auth->locked),
        .hashings = passwords.hashings,
        .hash_timeouts = passwords.timeouts,
    };
}

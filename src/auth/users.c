/* Users, set-up and API keys: what is asked of names, passwords and scopes, and then the store. */
#include "auth/internal.h"
#include "base/utf8.h"

#include <string.h>

#define SETUP_MS (INT64_C(24) * 3600 * 1000)

nx_status nx_user_name_check(const char *name, nx_error *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > NX_USER_NAME_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "a user's name has 1 to %d characters, not %zu",
                            NX_USER_NAME_MAX, length);
    }
    if (!nx_user_name_is(name)) {
        return nx_error_set(err, NX_ERR_INVALID,
                            "'%.64s' is no name for a user: it has letters (a to z), digits and "
                            ". _ - @ in it, and is no UUID",
                            name);
    }
    return NX_OK;
}

nx_status nx_password_check(const char *password, nx_error *err)
{
    size_t length = strlen(password);
    if (length < NX_PASSWORD_MIN || length > NX_PASSWORD_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "a password has %d to %d bytes; this one has %zu",
                            NX_PASSWORD_MIN, NX_PASSWORD_MAX, length);
    }
    return NX_OK;
}

/* --- users --- */

static nx_status hash_new(nx_auth *auth, const char *password, char out[NX_PASSWORD_HASH],
                          nx_error *err)
{
    nx_status status = nx_password_check(password, err);
    return status == NX_OK ? nx_passwords_hash(auth->passwords, password, out, err) : status;
}

static nx_status check_role(nx_role role, nx_error *err)
{
    return role >= NX_ROLE_VIEWER && role <= NX_ROLE_ADMIN
               ? NX_OK
               : nx_error_set(err, NX_ERR_INVALID, "a user's role is viewer, operator or admin");
}

nx_status nx_auth_user_add(nx_auth *auth, const char *name, const char *password, nx_role role,
                           nx_arena *arena, nx_user *out, nx_error *err)
{
    char hash[NX_PASSWORD_HASH];
    *out = (nx_user){0};
    nx_status status = nx_user_name_check(name, err);
    if (status == NX_OK) {
        status = check_role(role, err);
    }
    if (status == NX_OK) {
        status = hash_new(auth, password, hash, err);
    }
    if (status == NX_OK) {
        status = nx_store_user_add(auth->store, name, hash, role, arena, out, err);
    }
    if (status == NX_OK) {
        atomic_store(&auth->has_users, true);
    }
    return status;
}

nx_status nx_auth_user_get(nx_auth *auth, const char *who, nx_arena *arena, nx_user *out,
                           nx_error *err)
{
    return nx_store_user_get(auth->store, who, arena, out, err);
}

nx_status nx_auth_users_list(nx_auth *auth, const char *after, size_t limit, nx_arena *arena,
                             nx_user *out, size_t *count, nx_error *err)
{
    return nx_store_users_list(auth->store, after, limit, arena, out, count, err);
}

nx_status nx_auth_user_set_role(nx_auth *auth, const char *who, nx_role role, nx_error *err)
{
    nx_status status = check_role(role, err);
    return status == NX_OK
               ? nx_auth_changed(auth, nx_store_user_set_role(auth->store, who, role, err))
               : status;
}

nx_status nx_auth_user_set_disabled(nx_auth *auth, const char *who, bool disabled, nx_error *err)
{
    return nx_auth_changed(auth, nx_store_user_set_disabled(auth->store, who, disabled, err));
}

nx_status nx_auth_user_remove(nx_auth *auth, const char *who, nx_error *err)
{
    return nx_auth_changed(auth, nx_store_user_remove(auth->store, who, err));
}

nx_status nx_auth_set_password(nx_auth *auth, const char *who, const char *password, nx_error *err)
{
    char hash[NX_PASSWORD_HASH];
    nx_status status = hash_new(auth, password, hash, err);
    return status == NX_OK ? nx_auth_changed(auth, nx_store_user_set_password(
                                                       auth->store, who, NULL, hash, NULL, err))
                           : status;
}

/* --- the first start --- */

nx_status nx_auth_setup_link(nx_auth *auth, char out[NX_AUTH_TOKEN_SIZE], nx_error *err)
{
    unsigned char hash[NX_TOKEN_HASH];
    char hex[NX_HASH_HEX];
    nx_status status = nx_token_make(NX_TOKEN_SETUP, out, NULL, err);
    if (status == NX_OK) {
        nx_token_hash(out, hash);
        nx_token_hash_hex(hash, hex);
        status = nx_store_setup_begin(auth->store, hex, SETUP_MS, err);
    }
    if (status != NX_OK) {
        out[0] = '\0';
    }
    return status;
}

static nx_status look_at_link(nx_auth *auth, const char *token, char hex[NX_HASH_HEX],
                              nx_error *err)
{
    unsigned char hash[NX_TOKEN_HASH];
    if (nx_token_look(token, NULL) != NX_TOKEN_SETUP) {
        return nx_error_set(err, NX_ERR_NOT_FOUND,
                            "this is no set-up link; open the whole link that the server printed");
    }
    nx_token_hash(token, hash);
    nx_token_hash_hex(hash, hex);
    return nx_store_setup_look(auth->store, hex, err);
}

nx_status nx_auth_setup_finish(nx_auth *auth, const char *token, const char *name,
                               const char *password, nx_arena *arena, nx_user *out, nx_error *err)
{
    char hex[NX_HASH_HEX];
    char hash[NX_PASSWORD_HASH];
    *out = (nx_user){0};
    /* the link first: without one nobody makes the server hash */
    nx_status status = look_at_link(auth, token, hex, err);
    if (status == NX_OK) {
        status = nx_user_name_check(name, err);
    }
    if (status == NX_OK) {
        status = hash_new(auth, password, hash, err);
    }
    if (status == NX_OK) {
        status = nx_store_setup_finish(auth->store, hex, name, hash, arena, out, err);
    }
    if (status == NX_OK) {
        atomic_store(&auth->has_users, true);
    }
    return status;
}

/* --- API keys --- */

static nx_status check_key_name(const char *name, nx_error *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > NX_KEY_NAME_MAX) {
        return nx_error_set(err, NX_ERR_INVALID, "an API key's name has 1 to %d bytes, not %zu",
                            NX_KEY_NAME_MAX, length);
    }
    for (size_t i = 0; i < length;) {
        unsigned char c = (unsigned char)name[i];
        size_t step = c < 0x80 ? 1 : nx_utf8_sequence((const unsigned char *)name + i, length - i);
        if (c < 0x20 || c == 0x7f || step == 0) {
            return nx_error_set(err, NX_ERR_INVALID,
                                "an API key's name is UTF-8 without control characters");
        }
        i += step;
    }
    return NX_OK;
}

static nx_status check_scopes(nx_auth *auth, const char *who, uint32_t scopes, nx_arena *arena,
                              nx_error *err)
{
    nx_user user;
    nx_status status = nx_store_user_get(auth->store, who, arena, &user, err);
    if (status != NX_OK) {
        return status;
    }
    uint32_t beyond = scopes & ~nx_role_scopes((nx_role)user.role);
    char text[NX_SCOPES_TEXT];
    if (scopes == 0 || (scopes & ~NX_SCOPES_ALL) != 0) {
        return nx_error_set(err, NX_ERR_INVALID, "an API key has at least one scope");
    }
    nx_scopes_text(beyond, text);
    return beyond == 0 ? NX_OK
                       : nx_error_set(err, NX_ERR_INVALID,
                                      "%s has the role %s, which is not allowed what the scopes "
                                      "%s allow",
                                      user.name, nx_role_name((nx_role)user.role), text);
}

nx_status nx_auth_key_make(nx_auth *auth, const char *who, const char *name, uint32_t scopes,
                           int64_t lifetime_s, char token[NX_AUTH_TOKEN_SIZE], nx_arena *arena,
                           nx_api_key *out, nx_error *err)
{
    unsigned char hash[NX_TOKEN_HASH];
    char hex[NX_HASH_HEX];
    char id[NX_KEY_ID_SIZE];
    *out = (nx_api_key){0};
    nx_status status = check_key_name(name, err);
    if (status == NX_OK && (lifetime_s < 1 || lifetime_s > NX_KEY_LIFETIME_MAX_S)) {
        status = nx_error_set(err, NX_ERR_INVALID, "an API key lives 1 to %lld seconds (ten years)",
                              (long long)NX_KEY_LIFETIME_MAX_S);
    }
    if (status == NX_OK) {
        status = check_scopes(auth, who, scopes, arena, err);
    }
    if (status == NX_OK) {
        status = nx_token_make(NX_TOKEN_KEY, token, id, err);
    }
    if (status == NX_OK) {
        nx_token_hash(token, hash);
        nx_token_hash_hex(hash, hex);
        status = nx_store_key_add(auth->store, who, id, hex, name, scopes, lifetime_s * 1000, arena,
                                  out, err);
    }
    if (status != NX_OK) {
        token[0] = '\0';
    }
    return status;
}

/* What is no id never reaches the database. */
static nx_status check_key_id(const char *id, nx_error *err)
{
    size_t length = strspn(id, "0123456789abcdefghijklmnopqrstuvwxyz");
    return id[length] == '\0' && length == NX_KEY_ID_SIZE - 1
               ? NX_OK
               : nx_error_set(err, NX_ERR_NOT_FOUND, "'%.20s' is no id of an API key", id);
}

nx_status nx_auth_keys_list(nx_auth *auth, const char *who, const char *before, size_t limit,
                            nx_arena *arena, nx_api_key *out, size_t *count, nx_error *err)
{
    nx_status status = before != NULL ? check_key_id(before, err) : NX_OK;
    *count = 0;
    return status == NX_OK
               ? nx_store_keys_list(auth->store, who, before, limit, arena, out, count, err)
               : status;
}

nx_status nx_auth_key_revoke(nx_auth *auth, const char *id, const char *who, nx_error *err)
{
    nx_status status = check_key_id(id, err);
    return status == NX_OK ? nx_auth_changed(auth, nx_store_key_revoke(auth->store, id, who, err))
                           : status;
}

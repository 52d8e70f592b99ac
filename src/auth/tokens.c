#include "auth/tokens.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define PREFIX 4  /* characters */
#define SECRET 43 /* characters that 32 bytes become */

/* Of a key's id: no letters that are taken for others (Crockford's base 32). */
static const char id_letters[] = "0123456789abcdefghjkmnpqrstvwxyz";

static const char *const prefixes[] = {
    [NX_TOKEN_SESSION] = "nxs_", [NX_TOKEN_KEY] = "nxk_", [NX_TOKEN_SETUP] = "nxi_"};

nx_status nx_token_make(nx_token_kind kind, char out[NX_AUTH_TOKEN_SIZE], char id[NX_KEY_ID_SIZE],
                        nx_error *err)
{
    unsigned char secret[32];
    char text[SECRET + 1];
    char public[NX_KEY_ID_SIZE] = "";
    if (sodium_init() < 0) {
        return nx_error_set(err, NX_ERR_INTERNAL, "libsodium has no random bytes");
    }
    randombytes_buf(secret, sizeof secret);
    sodium_bin2base64(text, sizeof text, secret, sizeof secret,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    for (size_t i = 0; kind == NX_TOKEN_KEY && i < sizeof public - 1; i++) {
        public[i] = id_letters[randombytes_uniform(sizeof id_letters - 1)];
    }
    snprintf(out, NX_AUTH_TOKEN_SIZE, "%s%s%s%s", prefixes[kind], public,
             kind == NX_TOKEN_KEY ? "_" : "", text);
    if (id != NULL) {
        memcpy(id, public, sizeof public);
    }
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return NX_OK;
}

static bool is_secret(const char *text)
{
    for (size_t i = 0; i < SECRET; i++) {
        char c = text[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_')) {
            return false;
        }
    }
    return text[SECRET] == '\0';
}

nx_token_kind nx_token_look(const char *token, char id[NX_KEY_ID_SIZE])
{
    nx_token_kind kind = NX_TOKEN_SETUP;
    while (kind != NX_TOKEN_NONE &&
           (token == NULL || strncmp(token, prefixes[kind], PREFIX) != 0)) {
        kind--;
    }
    if (kind != NX_TOKEN_KEY) {
        return kind != NX_TOKEN_NONE && is_secret(token + PREFIX) ? kind : NX_TOKEN_NONE;
    }
    const char *start = token + PREFIX;
    size_t length = strspn(start, id_letters);
    if (length != NX_KEY_ID_SIZE - 1 || start[length] != '_' || !is_secret(start + length + 1)) {
        return NX_TOKEN_NONE;
    }
    if (id != NULL) {
        memcpy(id, start, length);
        id[length] = '\0';
    }
    return kind;
}

void nx_token_hash(const char *token, unsigned char out[NX_TOKEN_HASH])
{
    crypto_hash_sha256(out, (const unsigned char *)token, strlen(token));
}

void nx_token_hash_hex(const unsigned char hash[NX_TOKEN_HASH], char out[NX_HASH_HEX])
{
    sodium_bin2hex(out, NX_HASH_HEX, hash, NX_TOKEN_HASH);
}

void nx_auth_csrf(const char *token, char out[NX_AUTH_CSRF_SIZE])
{
    static const unsigned char purpose[] = "nexus csrf 1";
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    /* keyed by the token, not by its hash, which the database knows */
    (void)crypto_auth_hmacsha256_init(&state, (const unsigned char *)token, strlen(token));
    (void)crypto_auth_hmacsha256_update(&state, purpose, sizeof purpose - 1);
    (void)crypto_auth_hmacsha256_final(&state, mac);
    sodium_bin2base64(out, NX_AUTH_CSRF_SIZE, mac, sizeof mac,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    sodium_memzero(&state, sizeof state);
}

bool nx_auth_csrf_matches(const char *token, const char *given)
{
    char right[NX_AUTH_CSRF_SIZE];
    if (token == NULL || given == NULL || strlen(given) != NX_AUTH_CSRF_SIZE - 1) {
        return false;
    }
    nx_auth_csrf(token, right);
    return sodium_memcmp(right, given, NX_AUTH_CSRF_SIZE - 1) == 0;
}

#include "auth/internal.h"

#include <sodium.h>
#include <string.h>

/* Of another version of Nexus is what has another size or mark. */
#define MARK UINT32_C(0x31737831)

typedef struct kept {
    uint32_t mark;
    int32_t role;
    char user_id[NX_UUID_SIZE];
    char name[NX_USER_NAME_MAX + 1];
} kept;

nx_cache_key nx_auth_session_key(const unsigned char hash[NX_TOKEN_HASH])
{
    return (nx_cache_key){.kind = NX_CACHE_SESSIONS, .bytes = hash, .size = NX_TOKEN_HASH};
}

static bool is_whole(const kept *k)
{
    return k->mark == MARK && k->role >= NX_ROLE_VIEWER && k->role <= NX_ROLE_ADMIN &&
           memchr(k->user_id, '\0', sizeof k->user_id) != NULL &&
           memchr(k->name, '\0', sizeof k->name) != NULL;
}

bool nx_auth_session_get(nx_auth *auth, nx_cache_key *key, nx_identity *out)
{
    nx_buffer bytes = NX_BUFFER_INIT;
    kept k = {0};
    bool found = nx_cache_get(auth->cache, key, &bytes) == NX_CACHE_HIT && bytes.size == sizeof k;
    if (found) {
        memcpy(&k, bytes.data, sizeof k);
        found = is_whole(&k);
    }
    nx_buffer_free(&bytes);
    if (found) {
        out->kind = NX_IDENTITY_SESSION;
        out->role = (nx_role)k.role;
        out->scopes = nx_role_scopes(out->role);
        memcpy(out->user_id, k.user_id, sizeof out->user_id);
        memcpy(out->name, k.name, sizeof out->name);
        nx_token_hash_hex(key->bytes, out->session);
    }
    return found;
}

void nx_auth_session_put(nx_auth *auth, const nx_cache_key *key, const nx_identity *identity,
                         int64_t lifetime_ms)
{
    kept k;
    if (lifetime_ms < 1) {
        return;
    }
    memset(&k, 0, sizeof k); /* what is between the fields, too */
    k.mark = MARK;
    k.role = (int32_t)identity->role;
    memcpy(k.user_id, identity->user_id, sizeof k.user_id);
    memcpy(k.name, identity->name, sizeof k.name);
    nx_cache_put(auth->cache, key, &k, sizeof k, (uint32_t)lifetime_ms);
}

void nx_auth_session_remove(nx_auth *auth, const char hex[NX_HASH_HEX])
{
    unsigned char hash[NX_TOKEN_HASH];
    size_t size = 0;
    if (sodium_hex2bin(hash, sizeof hash, hex, strlen(hex), NULL, &size, NULL) == 0 &&
        size == sizeof hash) {
        const nx_cache_key key = nx_auth_session_key(hash);
        nx_cache_remove(auth->cache, &key);
    }
}

#include "auth/identity.h"

#include "base/suggest.h"

#include <stdio.h>
#include <string.h>

static const char *const role_names[] = {
    [NX_ROLE_NONE] = "none",
    [NX_ROLE_VIEWER] = "viewer",
    [NX_ROLE_OPERATOR] = "operator",
    [NX_ROLE_ADMIN] = "admin",
};

static const char *const scope_names[NX_SCOPES_COUNT] = {"read",   "infer",   "videos",
                                                         "models", "metrics", "admin"};

nx_identity nx_identity_local(void)
{
    return (nx_identity){.kind = NX_IDENTITY_LOCAL, .role = NX_ROLE_ADMIN, .scopes = NX_SCOPES_ALL};
}

bool nx_identity_may(const nx_identity *identity, nx_role role, uint32_t scopes)
{
    return identity->role >= role && (identity->scopes & scopes) == scopes;
}

const char *nx_role_name(nx_role role)
{
    return role >= NX_ROLE_NONE && role <= NX_ROLE_ADMIN ? role_names[role] : "none";
}

nx_status nx_role_parse(const char *text, nx_role *out, nx_error *err)
{
    *out = NX_ROLE_NONE;
    for (nx_role role = NX_ROLE_VIEWER; role <= NX_ROLE_ADMIN; role++) {
        if (strcmp(text, role_names[role]) == 0) {
            *out = role;
            return NX_OK;
        }
    }
    return nx_error_set(err, NX_ERR_INVALID,
                        "there is no role '%.40s'; use viewer, operator or admin", text);
}

uint32_t nx_role_scopes(nx_role role)
{
    switch (role) {
    case NX_ROLE_VIEWER:
        return NX_SCOPE_READ | NX_SCOPE_METRICS;
    case NX_ROLE_OPERATOR:
        return NX_SCOPES_ALL & ~(uint32_t)NX_SCOPE_ADMIN;
    case NX_ROLE_ADMIN:
        return NX_SCOPES_ALL;
    case NX_ROLE_NONE:
        break;
    }
    return 0;
}

const char *nx_scope_name(size_t index)
{
    return scope_names[index];
}

void nx_scopes_text(uint32_t scopes, char out[NX_SCOPES_TEXT])
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < NX_SCOPES_COUNT; i++) {
        if ((scopes & (UINT32_C(1) << i)) != 0) {
            used += (size_t)snprintf(out + used, NX_SCOPES_TEXT - used, "%s%s", used > 0 ? "," : "",
                                     scope_names[i]);
        }
    }
}

static nx_status unknown_scope(const char *word, size_t length, nx_error *err)
{
    char bare[41];
    snprintf(bare, sizeof bare, "%.*s", (int)(length < 40 ? length : 40), word);
    const char *near = nx_suggest(bare, scope_names, NX_SCOPES_COUNT);
    return nx_error_set(err, NX_ERR_INVALID,
                        "there is no scope '%s'%s%s%s; use some of read, infer, videos, models, "
                        "metrics and admin, with commas between them",
                        bare, near != NULL ? " (did you mean '" : "", near != NULL ? near : "",
                        near != NULL ? "'?)" : "");
}

bool nx_key_id_is(const char *text)
{
    return strlen(text) == NX_KEY_ID_SIZE - 1 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") ==
               NX_KEY_ID_SIZE - 1;
}

nx_status nx_scopes_parse(const char *text, uint32_t *out, nx_error *err)
{
    uint32_t scopes = 0;
    *out = 0;
    for (const char *word = text;; word++) {
        size_t length = strcspn(word, ",");
        size_t i = 0;
        while (i < NX_SCOPES_COUNT &&
               (strlen(scope_names[i]) != length || strncmp(scope_names[i], word, length) != 0)) {
            i++;
        }
        if (i == NX_SCOPES_COUNT) {
            return unknown_scope(word, length, err);
        }
        scopes |= UINT32_C(1) << i;
        word += length;
        if (*word == '\0') {
            *out = scopes;
            return NX_OK;
        }
    }
}

/*
 * Who asks, and what they may do: roles of people, scopes of API keys. Plain values without
 * allocations, copied by assignment; everything here is pure and thread-safe.
 */
#ifndef NX_AUTH_IDENTITY_H
#define NX_AUTH_IDENTITY_H

#include "base/error.h"
#include "base/uuid.h"
#include "store/users.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nx_identity_kind {
    NX_IDENTITY_ANONYMOUS, /* nobody we know; all zero is one */
    NX_IDENTITY_LOCAL,     /* a server without users, asked on loopback: may do everything */
    NX_IDENTITY_SESSION,   /* somebody who signed in */
    NX_IDENTITY_KEY,       /* a program with an API key of a user */
} nx_identity_kind;

/* Each may do what those before it may. */
typedef enum nx_role {
    NX_ROLE_NONE, /* of nobody */
    NX_ROLE_VIEWER,
    NX_ROLE_OPERATOR,
    NX_ROLE_ADMIN,
} nx_role;

/* Bits of nx_identity.scopes. */
enum {
    NX_SCOPE_READ = 1 << 0,    /* look at what there is */
    NX_SCOPE_INFER = 1 << 1,   /* run models on pictures and tensors */
    NX_SCOPE_VIDEOS = 1 << 2,  /* upload and remove videos, submit and cancel jobs */
    NX_SCOPE_MODELS = 1 << 3,  /* add, swap and remove models */
    NX_SCOPE_METRICS = 1 << 4, /* read /metrics */
    NX_SCOPE_ADMIN = 1 << 5,   /* users, keys, audit log, settings */
};
#define NX_SCOPES_ALL   UINT32_C(0x3f)
#define NX_SCOPES_COUNT 6

#define NX_KEY_ID_SIZE 11 /* ten letters and digits, and the NUL */
/* Whether it could be one; letters in either case. */
bool nx_key_id_is(const char *text);
#define NX_HASH_HEX 65 /* SHA-256 in hexadecimal digits, and the NUL */

typedef struct nx_identity {
    nx_identity_kind kind;
    nx_role role;
    uint32_t scopes;                 /* NX_SCOPE_*; never more than the role allows */
    char user_id[NX_UUID_SIZE];      /* "" but for SESSION and KEY */
    char name[NX_USER_NAME_MAX + 1]; /* of the user; "" likewise */
    char key_id[NX_KEY_ID_SIZE];     /* of KEY, the public part that lists show */
    char session[NX_HASH_HEX];       /* of SESSION: SHA-256 of its token, which is no secret */
} nx_identity;

/* The identity of NX_IDENTITY_LOCAL. */
nx_identity nx_identity_local(void);

/* May it do what needs this role and all of these scopes? */
bool nx_identity_may(const nx_identity *identity, nx_role role, uint32_t scopes);

/* "viewer"; never NULL. */
const char *nx_role_name(nx_role role);
/* Errors: NX_ERR_INVALID with what there is. */
nx_status nx_role_parse(const char *text, nx_role *out, nx_error *err);

/* Everything that a role may do. */
uint32_t nx_role_scopes(nx_role role);

/* The name of scope 0..NX_SCOPES_COUNT - 1, whose bit is 1 << index. */
const char *nx_scope_name(size_t index);
/* "read,infer" of a mask; enough room is NX_SCOPES_TEXT bytes. */
#define NX_SCOPES_TEXT 64
void nx_scopes_text(uint32_t scopes, char out[NX_SCOPES_TEXT]);
/* Names with commas between them, at least one. Errors: NX_ERR_INVALID with what there is. */
nx_status nx_scopes_parse(const char *text, uint32_t *out, nx_error *err);

#endif

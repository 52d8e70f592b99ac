/* Inside src/auth: tokens, which are 32 bytes by chance behind a prefix that says what they are. */
#ifndef NX_AUTH_TOKENS_H
#define NX_AUTH_TOKENS_H

#include "auth/auth.h"

typedef enum nx_token_kind {
    NX_TOKEN_NONE,    /* no token by its form */
    NX_TOKEN_SESSION, /* nxs_ and 43 characters of base64url (RFC 4648 section 5) */
    NX_TOKEN_KEY,     /* nxk_, ten characters of the id, _ and 43 characters */
    NX_TOKEN_SETUP,   /* nxi_ and 43 characters */
} nx_token_kind;

/* A new one; id (of a key, else NULL) gets its public part. Errors: NX_ERR_INTERNAL. */
nx_status nx_token_make(nx_token_kind kind, char out[NX_AUTH_TOKEN_SIZE], char id[NX_KEY_ID_SIZE],
                        nx_error *err);

/* By its form alone. id (of a key; may be NULL) gets its public part. NULL is none. */
nx_token_kind nx_token_look(const char *token, char id[NX_KEY_ID_SIZE]);

/* SHA-256 of the whole token: what is stored and compared. */
#define NX_TOKEN_HASH 32
void nx_token_hash(const char *token, unsigned char out[NX_TOKEN_HASH]);
void nx_token_hash_hex(const unsigned char hash[NX_TOKEN_HASH], char out[NX_HASH_HEX]);

#endif

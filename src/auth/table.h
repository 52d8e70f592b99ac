/*
 * Inside src/auth: what this process has learnt of tokens, for a second each. Bounded; when a set
 * of places is full the entry that is over first goes. Thread-safe: many small locks, none of which
 * is held for longer than copying an entry takes.
 */
#ifndef NX_AUTH_TABLE_H
#define NX_AUTH_TABLE_H

#include "auth/identity.h"
#include "auth/tokens.h"

typedef struct nx_auth_table nx_auth_table;

nx_auth_table *nx_auth_table_new(void); /* NULL without memory */
void nx_auth_table_free(nx_auth_table *table);

bool nx_auth_table_get(nx_auth_table *table, const unsigned char hash[NX_TOKEN_HASH],
                       int64_t now_ns, nx_identity *out);

/* Was it there until at most that long ago? */
bool nx_auth_table_remembers(nx_auth_table *table, const unsigned char hash[NX_TOKEN_HASH],
                             int64_t now_ns, int64_t ago_ns);
/* The database does not know it. */
void nx_auth_table_forget(nx_auth_table *table, const unsigned char hash[NX_TOKEN_HASH]);

/*
 * Entering what the database said: take the era, ask, put. A put is dropped when the table was
 * cleared in between, for then the answer may be of before the change that cleared it. now_ns: of
 * before the question.
 */
uint64_t nx_auth_table_era(nx_auth_table *table);
void nx_auth_table_put(nx_auth_table *table, uint64_t era, const unsigned char hash[NX_TOKEN_HASH],
                       int64_t now_ns, const nx_identity *identity);

/* After a change in the database. */
void nx_auth_table_clear(nx_auth_table *table);

#endif

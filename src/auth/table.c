#include "auth/table.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SETS  512 /* a power of two */
#define WAYS  4
#define LOCKS 64 /* set i has lock i % LOCKS */

#define VALID_NS NX_NS_PER_SEC

typedef struct entry {
    unsigned char hash[NX_TOKEN_HASH];
    int64_t until_ns; /* 0: empty */
    nx_identity identity;
} entry;

struct nx_auth_table {
    atomic_uint_fast64_t era;
    pthread_mutex_t locks[LOCKS];
    entry entries[SETS][WAYS];
};

nx_auth_table *nx_auth_table_new(void)
{
    nx_auth_table *table = calloc(1, sizeof *table);
    for (size_t i = 0; table != NULL && i < LOCKS; i++) {
        pthread_mutex_init(&table->locks[i], NULL);
    }
    return table;
}

void nx_auth_table_free(nx_auth_table *table)
{
    for (size_t i = 0; table != NULL && i < LOCKS; i++) {
        pthread_mutex_destroy(&table->locks[i]);
    }
    free(table);
}

static size_t set_of(const unsigned char hash[NX_TOKEN_HASH])
{
    return ((size_t)hash[0] << 8 | hash[1]) % SETS;
}

bool nx_auth_table_get(nx_auth_table *table, const unsigned char hash[NX_TOKEN_HASH],
                       int64_t now_ns, nx_identity *out)
{
    size_t set = set_of(hash);
    bool found = false;
    pthread_mutex_lock(&table->locks[set % LOCKS]);
    for (size_t i = 0; i < WAYS && !found; i++) {
        const entry *e = &table->entries[set][i];
        found = e->until_ns > now_ns && memcmp(e->hash, hash, NX_TOKEN_HASH) == 0;
        if (found) {
            *out = e->identity;
        }
    }
    pthread_mutex_unlock(&table->locks[set % LOCKS]);
    return found;
}

bool nx_auth_table_remembers(nx_auth_table *table, const unsigned char hash[NX_TOKEN_HASH],
                             int64_t now_ns, int64_t ago_ns)
{
    nx_identity ignored;
    return nx_auth_table_get(table, hash, now_ns - ago_ns, &ignored);
}

void nx_auth_table_forget(nx_auth_table *table, const unsigned char hash[NX_TOKEN_HASH])
{
    size_t set = set_of(hash);
    pthread_mutex_lock(&table->locks[set % LOCKS]);
    for (size_t i = 0; i < WAYS; i++) {
        entry *e = &table->entries[set][i];
        if (memcmp(e->hash, hash, NX_TOKEN_HASH) == 0) {
            e->until_ns = 0; /* the first place that is used again */
        }
    }
    pthread_mutex_unlock(&table->locks[set % LOCKS]);
}

uint64_t nx_auth_table_era(nx_auth_table *table)
{
    return atomic_load(&table->era);
}

void nx_auth_table_put(nx_auth_table *table, uint64_t era, const unsigned char hash[NX_TOKEN_HASH],
                       int64_t now_ns, const nx_identity *identity)
{
    size_t set = set_of(hash);
    pthread_mutex_lock(&table->locks[set % LOCKS]);
    entry *place = &table->entries[set][0];
    for (size_t i = 0; i < WAYS; i++) {
        entry *e = &table->entries[set][i];
        if (e->until_ns != 0 && memcmp(e->hash, hash, NX_TOKEN_HASH) == 0) {
            place = e;
            break;
        }
        place = e->until_ns < place->until_ns ? e : place;
    }
    /* under the lock: whoever clears after this comes by here later */
    if (atomic_load(&table->era) == era) {
        memcpy(place->hash, hash, NX_TOKEN_HASH);
        place->until_ns = now_ns + VALID_NS;
        place->identity = *identity;
    }
    pthread_mutex_unlock(&table->locks[set % LOCKS]);
}

void nx_auth_table_clear(nx_auth_table *table)
{
    atomic_fetch_add(&table->era, 1);
    for (size_t set = 0; set < SETS; set++) {
        pthread_mutex_lock(&table->locks[set % LOCKS]);
        for (size_t i = 0; i < WAYS; i++) {
            table->entries[set][i].until_ns = 0;
        }
        pthread_mutex_unlock(&table->locks[set % LOCKS]);
    }
}

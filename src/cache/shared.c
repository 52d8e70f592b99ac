/*
 * The names of what is in Redis:
 *
 *     nexus:KIND:KEY       an entry: the stamp of its value (16 bytes), then the value
 *     nexus:KIND:          the state of the kind (8 bytes)
 *     nexus:KIND@SLOT      the state of a slot of keys
 *
 * A state is a random number that is never 0. To remove is to write a new one: the entries with the
 * old one are found no more, and end with their time. A state that Redis has given up for want of
 * memory becomes a new one as well, so that giving up is only ever a removal.
 */
#include "cache/shared.h"

#include "cache/memory.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>

#define STATE_SIZE sizeof(uint64_t)
#define STAMP_SIZE (2 * STATE_SIZE)
#define PREFIX     "nexus:"

typedef struct name {
    char bytes[64 + NX_CACHE_MAX_KEY];
    size_t size;
} name;

static nx_redis_arg arg_of(const name *n)
{
    return (nx_redis_arg){n->bytes, n->size};
}

static name entry_name(const nx_cache_key *key)
{
    name n;
    int size = snprintf(n.bytes, sizeof n.bytes, PREFIX "%s:", nx_cache_kind_name(key->kind));
    memcpy(n.bytes + size, key->bytes, key->size);
    n.size = (size_t)size + key->size;
    return n;
}

static name kind_name(nx_cache_kind kind)
{
    name n;
    n.size = (size_t)snprintf(n.bytes, sizeof n.bytes, PREFIX "%s:", nx_cache_kind_name(kind));
    return n;
}

static name slot_name(nx_cache_kind kind, uint32_t slot)
{
    name n;
    n.size =
        (size_t)snprintf(n.bytes, sizeof n.bytes, PREFIX "%s@%u", nx_cache_kind_name(kind), slot);
    return n;
}

/* --- states -------------------------------------------------------------------------------------
 */

static uint64_t new_state(void)
{
    uint64_t state = 0;
    randombytes_buf(&state, sizeof state);
    return state | 1;
}

/* 0 when there is none. */
static uint64_t state_of(const nx_redis_reply *reply)
{
    uint64_t state = 0;
    if (reply->type == NX_REDIS_TEXT && reply->size == STATE_SIZE) {
        memcpy(&state, reply->bytes, STATE_SIZE);
    }
    return state;
}

/* Runs a command of whose reply nothing but its coming is of interest. */
static bool tell(nx_redis *redis, const nx_redis_arg *args, size_t count)
{
    nx_redis_reply reply;
    nx_error err = {0};
    nx_status status = nx_redis_run(redis, args, count, &reply, &err);
    nx_redis_reply_free(&reply);
    return status == NX_OK;
}

static bool make_state(nx_redis *redis, const name *n)
{
    uint64_t state = new_state();
    const nx_redis_arg set[] = {
        NX_REDIS_WORD("SET"), arg_of(n), {&state, STATE_SIZE}, NX_REDIS_WORD("NX")};
    return tell(redis, set, 4);
}

static bool change_state(nx_redis *redis, const name *n)
{
    uint64_t state = new_state();
    const nx_redis_arg set[] = {NX_REDIS_WORD("SET"), arg_of(n), {&state, STATE_SIZE}};
    return tell(redis, set, 3);
}

/* Asks for both states, and for the entry before them when out is not NULL. */
static bool ask(nx_redis *redis, const nx_cache_key *key, uint64_t stamp[2], nx_redis_reply *out)
{
    const name names[] = {entry_name(key), kind_name(key->kind),
                          slot_name(key->kind, nx_cache_slot(key))};
    const nx_redis_arg all[] = {NX_REDIS_WORD("MGET"), arg_of(&names[0]), arg_of(&names[1]),
                                arg_of(&names[2])};
    const nx_redis_arg states[] = {all[0], all[2], all[3]};
    size_t first = out != NULL ? 1 : 0;
    nx_redis_reply reply;
    nx_error err = {0};
    stamp[0] = stamp[1] = 0;
    nx_status status = nx_redis_run(redis, out != NULL ? all : states, 3 + first, &reply, &err);
    bool answered = status == NX_OK && reply.type == NX_REDIS_ARRAY && reply.count == 2 + first;
    if (answered) {
        stamp[0] = state_of(&reply.items[first]);
        stamp[1] = state_of(&reply.items[first + 1]);
    }
    if (answered && out != NULL) {
        *out = reply.items[0];
        reply.items[0] = (nx_redis_reply){.type = NX_REDIS_NIL};
    }
    nx_redis_reply_free(&reply);
    return answered;
}

/* Makes the states that are not there; of several processes that do, the first one's count. */
static bool make_states(nx_redis *redis, const nx_cache_key *key, uint64_t stamp[2])
{
    const name kind = kind_name(key->kind);
    const name slot = slot_name(key->kind, nx_cache_slot(key));
    return (stamp[0] != 0 || make_state(redis, &kind)) &&
           (stamp[1] != 0 || make_state(redis, &slot)) && ask(redis, key, stamp, NULL) &&
           stamp[0] != 0 && stamp[1] != 0;
}

/* --- entries ------------------------------------------------------------------------------------
 */

static bool is_valid(const nx_redis_reply *entry, const uint64_t stamp[2])
{
    return entry->type == NX_REDIS_TEXT && entry->size >= STAMP_SIZE && stamp[0] != 0 &&
           stamp[1] != 0 && memcmp(entry->bytes, stamp, STAMP_SIZE) == 0;
}

nx_shared_answer nx_shared_get(nx_redis *redis, const nx_cache_key *key, uint64_t stamp[2],
                               nx_buffer *out)
{
    nx_redis_reply entry = {.type = NX_REDIS_NIL};
    nx_shared_answer answer = NX_SHARED_FAILED;
    bool answered = ask(redis, key, stamp, &entry);
    if (answered && is_valid(&entry, stamp)) {
        size_t size = entry.size - STAMP_SIZE;
        if (nx_buffer_reserve(out, size)) {
            nx_buffer_append(out, entry.bytes + STAMP_SIZE, size);
            answer = NX_SHARED_HIT;
        }
    } else if (answered && ((stamp[0] != 0 && stamp[1] != 0) || make_states(redis, key, stamp))) {
        answer = NX_SHARED_MISS;
    }
    if (answer != NX_SHARED_MISS) {
        stamp[0] = stamp[1] = 0;
    }
    nx_redis_reply_free(&entry);
    return answer;
}

bool nx_shared_put(nx_redis *redis, const nx_cache_key *key, const uint64_t stamp[2],
                   const void *bytes, size_t size, uint32_t ttl_ms)
{
    uint64_t now[2] = {stamp[0], stamp[1]};
    const name n = entry_name(key);
    nx_buffer value = NX_BUFFER_INIT;
    char lifetime[16];
    if (size > NX_CACHE_MAX_SHARED) {
        return false;
    }
    if (stamp[0] == 0 && (!ask(redis, key, now, NULL) ||
                          ((now[0] == 0 || now[1] == 0) && !make_states(redis, key, now)))) {
        return false;
    }
    snprintf(lifetime, sizeof lifetime, "%u", ttl_ms);
    nx_buffer_append(&value, now, STAMP_SIZE);
    if (size > 0) {
        nx_buffer_append(&value, bytes, size);
    }
    const nx_redis_arg set[] = {NX_REDIS_WORD("SET"),
                                arg_of(&n),
                                {value.data, value.size},
                                NX_REDIS_WORD("PX"),
                                {lifetime, strlen(lifetime)}};
    bool kept = !value.failed && tell(redis, set, 5);
    nx_buffer_free(&value);
    return kept;
}

bool nx_shared_remove(nx_redis *redis, nx_cache_kind kind, uint32_t slot)
{
    const name n = slot_name(kind, slot);
    return change_state(redis, &n);
}

bool nx_shared_remove_kind(nx_redis *redis, nx_cache_kind kind)
{
    const name n = kind_name(kind);
    return change_state(redis, &n);
}

#include "cache/redis_client.h"

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "cache/redis_connection.h"
#include "cache/redis_url.h"

#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECTIONS     8
#define MAX_CONNECTIONS 64
#define CONNECT_MS      500
#define TIMEOUT_MS      50
#define RETRY_MS        100
#define MAX_RETRY_MS    5000
/* Calls in a row that fail before the breaker opens. */
#define FAILURES 3

struct nx_redis {
    nx_redis_url url;
    nx_redis_options options; /* with the defaults filled in */
    char place[1024];
    pthread_t connector;
    bool has_connector;

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t work;  /* for the connector */
    pthread_cond_t given; /* for those who wait for a connection */
    bool stopping;
    nx_redis_connection *idle[MAX_CONNECTIONS]; /* the last used is the last of them */
    uint32_t idle_count;
    uint32_t total;   /* idle, in use, or being made */
    uint32_t waiting; /* callers */
    uint64_t epoch;   /* connections from before a failure are not used again */
    nx_redis_state state;
    uint32_t failures; /* in a row */
    uint32_t attempts; /* pauses since a call was answered */
    int64_t retry_ns;  /* when the next trial is due */
    nx_redis_stats stats;
};

const char *nx_redis_state_name(nx_redis_state state)
{
    static const char *const names[] = {"closed", "open", "half_open"};
    return names[state];
}

/* --- the breaker; the lock is held --------------------------------------------------------------
 */

/* Connections that nobody uses go: what is wrong with one is likely wrong with all. */
static void drop_idle(nx_redis *redis)
{
    redis->epoch++;
    redis->total -= redis->idle_count;
    while (redis->idle_count > 0) {
        nx_redis_disconnect(redis->idle[--redis->idle_count]);
    }
}

static void set_pause(nx_redis *redis)
{
    uint64_t pause = redis->options.retry_ms;
    for (uint32_t i = 0; i < redis->attempts && pause < redis->options.max_retry_ms; i++) {
        pause *= 2;
    }
    if (pause > redis->options.max_retry_ms) {
        pause = redis->options.max_retry_ms;
    }
    redis->attempts++;
    pause -= randombytes_uniform((uint32_t)pause / 2 + 1); /* so that hosts don't come at once */
    redis->retry_ns = nx_clock_now_ns() + (int64_t)pause * NX_NS_PER_MS;
}

static void open_breaker(nx_redis *redis, const char *reason)
{
    if (redis->state == NX_REDIS_CLOSED) {
        redis->stats.openings++;
        nx_log_warn("cache", "going on without Redis at %s: %s", redis->place, reason);
    }
    redis->state = NX_REDIS_OPEN;
    redis->failures = 0;
    snprintf(redis->stats.reason, sizeof redis->stats.reason, "%.250s", reason);
    drop_idle(redis);
    set_pause(redis);
    pthread_cond_broadcast(&redis->given);
    pthread_cond_signal(&redis->work);
}

static void close_breaker(nx_redis *redis)
{
    if (redis->state != NX_REDIS_CLOSED) {
        nx_log_info("cache", "Redis at %s answers again", redis->place);
    }
    redis->state = NX_REDIS_CLOSED;
    redis->failures = 0;
    redis->stats.reason[0] = '\0';
}

static void count_failure(nx_redis *redis, const char *reason)
{
    redis->stats.failures++;
    if (redis->state == NX_REDIS_CLOSED && ++redis->failures >= FAILURES) {
        open_breaker(redis, reason);
    }
}

/* --- the connector ------------------------------------------------------------------------------
 */

/* Makes one connection; the lock is given up meanwhile. A trial decides about the breaker. */
static void make_connection(nx_redis *redis)
{
    nx_redis_connection *connection = NULL;
    nx_error err = {0};
    redis->total++;
    pthread_mutex_unlock(&redis->lock);
    int64_t deadline_ns = nx_clock_now_ns() + redis->options.connect_ms * NX_NS_PER_MS;
    nx_status status = nx_redis_connect(&redis->url, deadline_ns, &connection, &err);
    pthread_mutex_lock(&redis->lock);
    if (status != NX_OK) {
        redis->total--;
        open_breaker(redis, err.message);
        return;
    }
    /* also one that was meant for callers, who meanwhile opened the breaker by not being served */
    close_breaker(redis);
    redis->stats.connects++;
    redis->idle[redis->idle_count++] = connection;
    pthread_cond_broadcast(&redis->given);
}

static void *connect_on_demand(void *user)
{
    nx_redis *redis = user;
    pthread_mutex_lock(&redis->lock);
    while (!redis->stopping) {
        bool wanted = redis->state == NX_REDIS_CLOSED && redis->waiting > redis->idle_count &&
                      redis->total < redis->options.connections;
        if (redis->state == NX_REDIS_OPEN && nx_clock_now_ns() >= redis->retry_ns) {
            redis->state = NX_REDIS_HALF_OPEN;
            make_connection(redis);
        } else if (wanted) {
            make_connection(redis);
        } else if (redis->state == NX_REDIS_OPEN) {
            nx_condition_wait(&redis->work, &redis->lock, redis->retry_ns);
        } else {
            pthread_cond_wait(&redis->work, &redis->lock);
        }
    }
    pthread_mutex_unlock(&redis->lock);
    return NULL;
}

/* --- the pool -----------------------------------------------------------------------------------
 */

static nx_status refused(nx_redis *redis, nx_error *err)
{
    redis->stats.refused++;
    return nx_error_set(err, NX_ERR_UNAVAILABLE, "Redis is not asked: %.200s", redis->stats.reason);
}

/* A connection by the deadline. epoch: for give. */
static nx_status take(nx_redis *redis, int64_t deadline_ns, nx_redis_connection **out,
                      uint64_t *epoch, nx_error *err)
{
    nx_status status = NX_OK;
    bool late = false;
    *out = NULL;
    pthread_mutex_lock(&redis->lock);
    redis->waiting++;
    while (redis->state == NX_REDIS_CLOSED && redis->idle_count == 0 && !late) {
        pthread_cond_signal(&redis->work);
        late = nx_condition_wait(&redis->given, &redis->lock, deadline_ns) != 0;
    }
    redis->waiting--;
    if (redis->state != NX_REDIS_CLOSED) {
        status = refused(redis, err);
    } else if (redis->idle_count > 0) {
        *out = redis->idle[--redis->idle_count];
        redis->stats.in_use++;
        *epoch = redis->epoch;
    } else {
        status = nx_error_set(err, NX_ERR_TIMEOUT, "no connection to Redis was free in time");
        if (redis->stats.in_use == 0) { /* not for want of connections: none can be made */
            count_failure(redis, "no connection came about in time");
        } else {
            redis->stats.failures++;
        }
    }
    pthread_mutex_unlock(&redis->lock);
    return status;
}

static bool is_failure(nx_status status)
{
    return status != NX_OK && status != NX_ERR_INVALID && status != NX_ERR_NOT_FOUND &&
           status != NX_ERR_NO_MEMORY;
}

/* Gives a connection back, with how its last call went. */
static void give(nx_redis *redis, nx_redis_connection *connection, uint64_t epoch, bool usable,
                 nx_status status, const char *reason)
{
    pthread_mutex_lock(&redis->lock);
    redis->stats.in_use--;
    if (is_failure(status)) {
        if (!usable && epoch == redis->epoch) {
            drop_idle(redis);
        }
        count_failure(redis, reason);
    } else {
        redis->stats.calls++;
        redis->failures = 0;
        redis->attempts = 0;
    }
    if (usable && epoch == redis->epoch && redis->state == NX_REDIS_CLOSED) {
        redis->idle[redis->idle_count++] = connection;
        connection = NULL;
        pthread_cond_signal(&redis->given);
    } else {
        redis->total--;
        pthread_cond_signal(&redis->work); /* somebody may wait for its place */
    }
    pthread_mutex_unlock(&redis->lock);
    nx_redis_disconnect(connection);
}

/* --- commands -----------------------------------------------------------------------------------
 */

typedef struct script_call {
    nx_redis_script *script;
    nx_redis_arg args[NX_REDIS_MAX_ARGS]; /* the second is the hash, or the text */
    size_t count;
    char sha1[41];
} script_call;

/* What the server calls the script; it knows it then. */
static nx_status learn_hash(nx_redis *redis, nx_redis_connection *connection,
                            nx_redis_script *script, int64_t deadline_ns, bool *usable,
                            nx_error *err)
{
    const nx_redis_arg load[] = {
        NX_REDIS_WORD("SCRIPT"), NX_REDIS_WORD("LOAD"), {script->text, strlen(script->text)}};
    nx_redis_reply reply;
    nx_status status = nx_redis_call(connection, load, 3, deadline_ns, &reply, usable, err);
    if (status == NX_OK && (reply.type != NX_REDIS_TEXT || reply.size != 40)) {
        status = nx_error_set(err, NX_ERR_CORRUPT, "Redis names no script by its SHA-1");
    } else if (status == NX_OK) {
        pthread_mutex_lock(&redis->lock);
        memcpy(script->sha1, reply.bytes, 41);
        pthread_mutex_unlock(&redis->lock);
    }
    nx_redis_reply_free(&reply);
    return status;
}

static nx_status run_script(nx_redis *redis, nx_redis_connection *connection, script_call *call,
                            int64_t deadline_ns, nx_redis_reply *out, bool *usable, nx_error *err)
{
    pthread_mutex_lock(&redis->lock);
    bool known = call->script->sha1[0] != '\0';
    pthread_mutex_unlock(&redis->lock);
    nx_status status =
        known ? NX_OK : learn_hash(redis, connection, call->script, deadline_ns, usable, err);
    if (status != NX_OK) {
        return status;
    }
    pthread_mutex_lock(&redis->lock);
    memcpy(call->sha1, call->script->sha1, sizeof call->sha1);
    pthread_mutex_unlock(&redis->lock);
    call->args[0] = (nx_redis_arg)NX_REDIS_WORD("EVALSHA");
    call->args[1] = (nx_redis_arg){call->sha1, strlen(call->sha1)};
    status = nx_redis_call(connection, call->args, call->count, deadline_ns, out, usable, err);
    if (status == NX_ERR_NOT_FOUND) { /* the server was restarted, or its scripts were flushed */
        call->args[0] = (nx_redis_arg)NX_REDIS_WORD("EVAL");
        call->args[1] = (nx_redis_arg){call->script->text, strlen(call->script->text)};
        status = nx_redis_call(connection, call->args, call->count, deadline_ns, out, usable, err);
    }
    return status;
}

/* One command, or one script when there is one. */
static nx_status run(nx_redis *redis, const nx_redis_arg *args, size_t count, script_call *script,
                     nx_redis_reply *out, nx_error *err)
{
    nx_redis_connection *connection = NULL;
    nx_error why = {0};
    uint64_t epoch = 0;
    bool usable = true;
    int64_t deadline_ns = nx_clock_now_ns() + redis->options.timeout_ms * NX_NS_PER_MS;
    *out = (nx_redis_reply){.type = NX_REDIS_NIL};
    nx_status status = take(redis, deadline_ns, &connection, &epoch, err);
    if (status != NX_OK) {
        return status;
    }
    if (script != NULL) {
        status = run_script(redis, connection, script, deadline_ns, out, &usable, &why);
    } else {
        status = nx_redis_call(connection, args, count, deadline_ns, out, &usable, &why);
    }
    give(redis, connection, epoch, usable, status, why.message);
    return status == NX_OK ? NX_OK : nx_error_set(err, status, "%s", why.message);
}

nx_status nx_redis_run(nx_redis *redis, const nx_redis_arg *args, size_t count, nx_redis_reply *out,
                       nx_error *err)
{
    return run(redis, args, count, NULL, out, err);
}

nx_status nx_redis_eval(nx_redis *redis, nx_redis_script *script, const nx_redis_arg *keys,
                        size_t key_count, const nx_redis_arg *args, size_t arg_count,
                        nx_redis_reply *out, nx_error *err)
{
    script_call call = {.script = script, .count = 3 + key_count + arg_count};
    char number[24];
    *out = (nx_redis_reply){.type = NX_REDIS_NIL};
    if (key_count > NX_REDIS_MAX_ARGS || arg_count > NX_REDIS_MAX_ARGS ||
        call.count > NX_REDIS_MAX_ARGS) {
        return nx_error_set(err, NX_ERR_INVALID, "a script of too many arguments");
    }
    snprintf(number, sizeof number, "%zu", key_count);
    call.args[2] = (nx_redis_arg){number, strlen(number)};
    for (size_t i = 0; i < key_count; i++) {
        call.args[3 + i] = keys[i];
    }
    for (size_t i = 0; i < arg_count; i++) {
        call.args[3 + key_count + i] = args[i];
    }
    return run(redis, NULL, 0, &call, out, err);
}

/* --- the client ---------------------------------------------------------------------------------
 */

static nx_redis_options with_defaults(const nx_redis_options *given)
{
    nx_redis_options o = *given;
    o.url = NULL;
    o.connections = o.connections > 0 ? o.connections : CONNECTIONS;
    o.connections = o.connections < MAX_CONNECTIONS ? o.connections : MAX_CONNECTIONS;
    o.connect_ms = o.connect_ms > 0 ? o.connect_ms : CONNECT_MS;
    o.timeout_ms = o.timeout_ms > 0 ? o.timeout_ms : TIMEOUT_MS;
    o.retry_ms = o.retry_ms > 0 ? o.retry_ms : RETRY_MS;
    o.max_retry_ms = o.max_retry_ms > 0 ? o.max_retry_ms : MAX_RETRY_MS;
    return o;
}

nx_status nx_redis_new(const nx_redis_options *options, nx_redis **out, nx_error *err)
{
    *out = NULL;
    nx_redis *redis = calloc(1, sizeof *redis);
    if (redis == NULL || sodium_init() < 0) {
        free(redis);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for Redis");
    }
    redis->options = with_defaults(options);
    nx_redis_url_shown(options->url, redis->place, sizeof redis->place);
    pthread_mutex_init(&redis->lock, NULL);
    nx_condition_init(&redis->work);
    nx_condition_init(&redis->given);
    nx_status status = nx_redis_url_parse(options->url, &redis->url, err);
    if (status == NX_OK) {
        redis->has_connector =
            pthread_create(&redis->connector, NULL, connect_on_demand, redis) == 0;
        if (!redis->has_connector) {
            status = nx_error_set(err, NX_ERR_INTERNAL, "cannot start the thread of Redis");
        }
    }
    if (status != NX_OK) {
        nx_redis_free(redis);
        return status;
    }
    *out = redis;
    return NX_OK;
}

void nx_redis_free(nx_redis *redis)
{
    if (redis == NULL) {
        return;
    }
    if (redis->has_connector) {
        pthread_mutex_lock(&redis->lock);
        redis->stopping = true;
        pthread_cond_signal(&redis->work);
        pthread_mutex_unlock(&redis->lock);
        pthread_join(redis->connector, NULL);
    }
    drop_idle(redis);
    pthread_cond_destroy(&redis->given);
    pthread_cond_destroy(&redis->work);
    pthread_mutex_destroy(&redis->lock);
    sodium_memzero(&redis->url, sizeof redis->url);
    free(redis);
}

nx_redis_stats nx_redis_get_stats(nx_redis *redis)
{
    pthread_mutex_lock(&redis->lock);
    nx_redis_stats stats = redis->stats;
    stats.state = redis->state;
    stats.idle = redis->idle_count;
    pthread_mutex_unlock(&redis->lock);
    return stats;
}

/* --- what a server says of itself ---------------------------------------------------------------
 */

/* The value of a line "name:value" of INFO's answer; "" when there is none. */
static void info_value(const nx_redis_reply *reply, const char *name, char *out, size_t room)
{
    size_t size = strlen(name);
    const char *line = reply->type == NX_REDIS_TEXT ? reply->bytes : NULL;
    out[0] = '\0';
    while (line != NULL) {
        if (strncmp(line, name, size) == 0 && line[size] == ':') {
            const char *value = line + size + 1;
            snprintf(out, room, "%.*s", (int)strcspn(value, "\r\n"), value);
            return;
        }
        line = strchr(line, '\n');
        line = line != NULL ? line + 1 : NULL;
    }
}

nx_status nx_redis_check(const nx_redis_options *options, nx_redis_report *out, nx_error *err)
{
    static const nx_redis_arg info[] = {NX_REDIS_WORD("INFO")};
    const nx_redis_options o = with_defaults(options);
    nx_redis_connection *connection = NULL;
    nx_redis_reply reply = {.type = NX_REDIS_NIL};
    nx_redis_url url;
    bool usable = false;
    *out = (nx_redis_report){0};
    nx_status status = nx_redis_url_parse(options->url, &url, err);
    if (status == NX_OK) {
        status = nx_redis_connect(&url, nx_clock_now_ns() + o.connect_ms * NX_NS_PER_MS,
                                  &connection, err);
    }
    if (status == NX_OK) {
        status = nx_redis_call(connection, info, 1, nx_clock_now_ns() + o.connect_ms * NX_NS_PER_MS,
                               &reply, &usable, err);
    }
    if (status == NX_OK) {
        char number[32];
        info_value(&reply, "redis_version", out->version, sizeof out->version);
        info_value(&reply, "maxmemory_policy", out->policy, sizeof out->policy);
        info_value(&reply, "maxmemory", number, sizeof number);
        out->maxmemory = strtoull(number, NULL, 10);
        info_value(&reply, "used_memory", number, sizeof number);
        out->used = strtoull(number, NULL, 10);
    }
    nx_redis_reply_free(&reply);
    nx_redis_disconnect(connection);
    sodium_memzero(&url, sizeof url);
    return status;
}

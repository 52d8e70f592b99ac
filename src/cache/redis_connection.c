#include "cache/redis_connection.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

struct nx_redis_connection {
    redisContext *context;
};

/* hiredis 1.0 changed the type of a size. */
#if HIREDIS_MAJOR >= 1
typedef size_t item_count;
#else
typedef int item_count;
#endif

/* --- arrays -------------------------------------------------------------------------------------
 */

/* hiredis allocates what an array's header announces, however much that is: these are its own
 * functions but for that. Filled once, and the same ever after. */
static redisReplyObjectFunctions reply_functions;
static void *(*create_array)(const redisReadTask *, item_count);
static pthread_once_t functions_once = PTHREAD_ONCE_INIT;

static void *create_small_array(const redisReadTask *task, item_count count)
{
    return count > NX_REDIS_MAX_ITEMS ? NULL : create_array(task, count);
}

static void take_functions(void)
{
    redisReader *reader = redisReaderCreate();
    if (reader != NULL) {
        reply_functions = *reader->fn;
        create_array = reader->fn->createArray;
        reply_functions.createArray = create_small_array;
        redisReaderFree(reader);
    }
}

/* --- waiting ------------------------------------------------------------------------------------
 */

/* Waits until the socket is ready; any event counts, for the read or write that follows tells. */
static nx_status wait_for(const redisContext *context, short events, int64_t deadline_ns,
                          nx_error *err)
{
    for (;;) {
        int64_t left = deadline_ns - nx_clock_now_ns();
        int64_t ms = (left + NX_NS_PER_MS - 1) / NX_NS_PER_MS;
        struct pollfd poller = {.fd = context->fd, .events = events};
        int ready = left <= 0 ? 0 : poll(&poller, 1, ms > INT_MAX ? INT_MAX : (int)ms);
        if (ready > 0) {
            return NX_OK;
        }
        if (ready == 0 && nx_clock_now_ns() >= deadline_ns) {
            return nx_error_set(err, NX_ERR_TIMEOUT, "Redis did not answer in time");
        }
        if (ready < 0 && errno != EINTR) {
            return nx_error_set_errno(err, NX_ERR_IO, errno, "cannot wait for Redis");
        }
    }
}

static nx_status failed(const redisContext *context, nx_error *err)
{
    switch (context->err) {
    case REDIS_ERR_PROTOCOL:
        return nx_error_set(err, NX_ERR_CORRUPT, "what answers is no Redis: %.100s",
                            context->errstr);
    case REDIS_ERR_OOM:
        /* also what an array of too many items comes to */
        return nx_error_set(err, NX_ERR_CORRUPT, "a reply of Redis is too large");
    case REDIS_ERR_EOF:
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "Redis closed the connection");
    default:
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "the connection to Redis broke: %.100s",
                            context->errstr);
    }
}

static nx_status send_all(redisContext *context, int64_t deadline_ns, nx_error *err)
{
    int done = 0;
    for (;;) {
        if (redisBufferWrite(context, &done) != REDIS_OK) {
            return failed(context, err);
        }
        if (done) {
            return NX_OK;
        }
        nx_status status = wait_for(context, POLLOUT, deadline_ns, err);
        if (status != NX_OK) {
            return status;
        }
    }
}

static nx_status receive(redisContext *context, int64_t deadline_ns, redisReply **out,
                         nx_error *err)
{
    size_t received = 0;
    void *reply = NULL;
    for (;;) {
        if (redisGetReplyFromReader(context, &reply) != REDIS_OK) {
            return failed(context, err);
        }
        if (reply != NULL) {
            *out = reply;
            return NX_OK;
        }
        if (received > NX_REDIS_MAX_REPLY) {
            return nx_error_set(err, NX_ERR_CORRUPT, "a reply of Redis is too large");
        }
        nx_status status = wait_for(context, POLLIN, deadline_ns, err);
        if (status != NX_OK) {
            return status;
        }
        size_t before = context->reader->len;
        if (redisBufferRead(context) != REDIS_OK) {
            return failed(context, err);
        }
        received += context->reader->len - before;
    }
}

/* --- replies ------------------------------------------------------------------------------------
 */

void nx_redis_reply_free(nx_redis_reply *reply)
{
    for (size_t i = 0; i < reply->count; i++) {
        nx_redis_reply_free(&reply->items[i]); /* as deep as hiredis reads: seven arrays */
    }
    free(reply->items);
    free(reply->bytes);
    *reply = (nx_redis_reply){.type = NX_REDIS_NIL};
}

static bool copy_text(const redisReply *from, nx_redis_reply *to)
{
    to->bytes = malloc(from->len + 1);
    if (to->bytes == NULL) {
        return false;
    }
    memcpy(to->bytes, from->str, from->len);
    to->bytes[from->len] = '\0';
    to->size = from->len;
    return true;
}

static bool copy_reply(const redisReply *from, nx_redis_reply *to)
{
    *to = (nx_redis_reply){.type = NX_REDIS_NIL};
    switch (from->type) {
    case REDIS_REPLY_INTEGER:
        to->type = NX_REDIS_INTEGER;
        to->integer = from->integer;
        return true;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
        to->type = NX_REDIS_TEXT;
        return copy_text(from, to);
    case REDIS_REPLY_ERROR:
        to->type = NX_REDIS_ERROR;
        return copy_text(from, to);
    case REDIS_REPLY_ARRAY:
        to->type = NX_REDIS_ARRAY;
        to->items = calloc(from->elements + 1, sizeof *to->items);
        for (size_t i = 0; to->items != NULL && i < from->elements; i++) {
            to->count++;
            if (!copy_reply(from->element[i], &to->items[i])) {
                return false;
            }
        }
        return to->items != NULL;
    default:
        return true;
    }
}

/* Whether the text begins with the word, as the code of an error does. */
static bool has_code(const char *text, const char *word)
{
    size_t size = strlen(word);
    return strncmp(text, word, size) == 0 && (text[size] == ' ' || text[size] == '\0');
}

static nx_status error_reply(const char *text, nx_error *err)
{
    static const char *const states[] = {
        "OOM",       "LOADING", "READONLY",    "MISCONF",  "MASTERDOWN", "BUSY",     "NOAUTH",
        "WRONGPASS", "NOPERM",  "CLUSTERDOWN", "TRYAGAIN", "NOREPLICAS", "UNBLOCKED"};
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        if (has_code(text, states[i])) {
            return nx_error_set(err, NX_ERR_UNAVAILABLE, "Redis answers: %.200s", text);
        }
    }
    if (strstr(text, "max number of clients") != NULL) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "Redis answers: %.200s", text);
    }
    return nx_error_set(err, has_code(text, "NOSCRIPT") ? NX_ERR_NOT_FOUND : NX_ERR_INVALID,
                        "Redis answers: %.200s", text);
}

/* --- commands -----------------------------------------------------------------------------------
 */

nx_status nx_redis_call(nx_redis_connection *connection, const nx_redis_arg *args, size_t count,
                        int64_t deadline_ns, nx_redis_reply *out, bool *usable, nx_error *err)
{
    const char *words[NX_REDIS_MAX_ARGS];
    size_t sizes[NX_REDIS_MAX_ARGS];
    redisReply *reply = NULL;
    *out = (nx_redis_reply){.type = NX_REDIS_NIL};
    *usable = true;
    if (count < 1 || count > NX_REDIS_MAX_ARGS) {
        return nx_error_set(err, NX_ERR_INVALID, "a command of %zu words", count);
    }
    for (size_t i = 0; i < count; i++) {
        words[i] = args[i].size > 0 ? args[i].bytes : "";
        sizes[i] = args[i].size;
    }
    *usable = false;
    if (connection->context->reader->len > connection->context->reader->pos) {
        /* it would be taken for the reply of this command, and so on for ever */
        return nx_error_set(err, NX_ERR_CORRUPT, "Redis replied to what nobody asked");
    }
    if (redisAppendCommandArgv(connection->context, (int)count, words, sizes) != REDIS_OK) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a command");
    }
    nx_status status = send_all(connection->context, deadline_ns, err);
    if (status == NX_OK) {
        status = receive(connection->context, deadline_ns, &reply, err);
    }
    if (status != NX_OK) {
        return status;
    }
    *usable = true;
    if (reply->type == REDIS_REPLY_ERROR) {
        status = error_reply(reply->str, err);
    } else if (!copy_reply(reply, out)) {
        nx_redis_reply_free(out);
        status = nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a reply");
    }
    freeReplyObject(reply);
    return status;
}

/* --- the connection -----------------------------------------------------------------------------
 */

/* One step of the greeting: its reply is of no interest. */
static nx_status say(nx_redis_connection *connection, const nx_redis_arg *args, size_t count,
                     int64_t deadline_ns, nx_error *err)
{
    nx_redis_reply reply;
    bool usable = false;
    nx_status status = nx_redis_call(connection, args, count, deadline_ns, &reply, &usable, err);
    nx_redis_reply_free(&reply);
    return status;
}

/* What a server says of a password may hold it: only its first word is told. */
static nx_status authenticate(nx_redis_connection *connection, const nx_redis_url *url,
                              int64_t deadline_ns, nx_error *err)
{
    const nx_redis_arg args[] = {NX_REDIS_WORD("AUTH"),
                                 {url->user, strlen(url->user)},
                                 {url->password, strlen(url->password)}};
    const nx_redis_arg short_args[] = {args[0], args[2]}; /* servers before 6.0 know no users */
    bool has_user = url->user[0] != '\0';
    nx_error why = {0};
    nx_status status =
        say(connection, has_user ? args : short_args, has_user ? 3 : 2, deadline_ns, &why);
    if (status == NX_ERR_TIMEOUT || why.status == NX_ERR_CORRUPT) {
        return nx_error_set(err, status, "%s", why.message);
    }
    if (status != NX_OK) {
        return nx_error_set(err, NX_ERR_UNAVAILABLE,
                            "Redis refuses the user or the password of REDIS_URL");
    }
    return NX_OK;
}

static nx_status greet(nx_redis_connection *connection, const nx_redis_url *url,
                       int64_t deadline_ns, nx_error *err)
{
    static const nx_redis_arg ping[] = {NX_REDIS_WORD("PING")};
    nx_status status = NX_OK;
    if (url->password[0] != '\0' || url->user[0] != '\0') {
        status = authenticate(connection, url, deadline_ns, err);
    }
    if (status == NX_OK && url->database > 0) {
        char number[16];
        snprintf(number, sizeof number, "%u", url->database);
        const nx_redis_arg choose[] = {NX_REDIS_WORD("SELECT"), {number, strlen(number)}};
        status = say(connection, choose, 2, deadline_ns, err);
    }
    if (status == NX_OK) {
        status = say(connection, ping, 1, deadline_ns, err);
    }
    return status == NX_ERR_INVALID ? NX_ERR_UNAVAILABLE : status;
}

static nx_status finish_connecting(redisContext *context, int64_t deadline_ns, nx_error *err)
{
    int failure = 0;
    socklen_t size = sizeof failure;
    (void)fcntl(context->fd, F_SETFD, FD_CLOEXEC);
    nx_status status = wait_for(context, POLLOUT, deadline_ns, err);
    if (status == NX_OK &&
        (getsockopt(context->fd, SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure != 0)) {
        status = nx_error_set_errno(err, NX_ERR_UNAVAILABLE, failure != 0 ? failure : errno,
                                    "cannot connect to Redis");
    }
    return status;
}

nx_status nx_redis_connect(const nx_redis_url *url, int64_t deadline_ns, nx_redis_connection **out,
                           nx_error *err)
{
    *out = NULL;
    pthread_once(&functions_once, take_functions);
    nx_redis_connection *connection = calloc(1, sizeof *connection);
    redisContext *context = url->is_unix ? redisConnectUnixNonBlock(url->host)
                                         : redisConnectNonBlock(url->host, url->port);
    if (connection == NULL || context == NULL || create_array == NULL) {
        free(connection);
        if (context != NULL) {
            redisFree(context);
        }
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for a connection to Redis");
    }
    connection->context = context;
    context->reader->fn = &reply_functions;
    nx_status status = NX_OK;
    if (context->err != 0) {
        status = nx_error_set(err, NX_ERR_UNAVAILABLE, "cannot connect to Redis: %.100s",
                              context->errstr);
    }
    if (status == NX_OK) {
        status = finish_connecting(context, deadline_ns, err);
    }
    if (status == NX_OK) {
        status = greet(connection, url, deadline_ns, err);
    }
    if (status != NX_OK) {
        nx_redis_disconnect(connection);
        return status;
    }
    *out = connection;
    return NX_OK;
}

void nx_redis_disconnect(nx_redis_connection *connection)
{
    if (connection != NULL) {
        redisFree(connection->context);
        free(connection);
    }
}

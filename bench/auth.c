/*
 * What it costs to find out who asks, and how often: bench_auth DATABASE_URL [REQUESTS
 * [REDIS_URL]]. Real servers on loopback ports answer an empty request with a session's cookie and
 * ten other headers, in turns: without the API's gate, with it, with limits as well, and with
 * limits that are shared through a Redis. The gate's own time is taken around each of its calls.
 * The session is warm: looked up within the last second. The database should be empty. Built with
 * the release tree (ninja -C build/release bench_auth).
 */
#include "auth/auth.h"
#include "api/access.h"
#include "api/gate.h"
#include "api/work.h"
#include "base/clock.h"
#include "base/log.h"
#include "cache/redis_client.h"
#include "http/server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_REQUESTS 200000
#define ROUNDS       10

typedef struct bench {
    nx_api api; /* first: what handlers and gate get */
    const char *name;
    nx_http_server *server;
    int fd;
    int64_t trip_ns[MAX_REQUESTS];
    int trips;
    int64_t gate_ns[MAX_REQUESTS];
    int gated; /* of these */
    int asked; /* times that the gate had to wait */
} bench;

/* Higher than anybody asks here, and not off. */
#define RATE "1000000/s burst 1000000"

static void answer(nx_http_request *request, void *user)
{
    (void)user;
    nx_http_reply_static(request, 204, NULL, NULL, 0);
}

static nx_http_gate_result timed_gate(nx_http_request *request, void *user)
{
    bench *self = user;
    int64_t started = nx_clock_now_ns();
    nx_http_gate_result result = nx_api_gate(request, user);
    if (result == NX_HTTP_GATE_WAIT) {
        self->asked++;
    } else if (self->gated < MAX_REQUESTS) {
        self->gate_ns[self->gated++] = nx_clock_now_ns() - started;
    }
    return result;
}

static void fail(const char *what)
{
    fprintf(stderr, "bench_auth: %s\n", what);
    exit(1);
}

static void check(nx_status status, const nx_error *err)
{
    if (status != NX_OK) {
        fail(err->message);
    }
}

/* --- the server ---------------------------------------------------------------------------------
 */

static nx_http_server *start(bench *self, bool gated)
{
    static const nx_http_route routes[] = {
        {.method = "GET",
         .pattern = "/",
         .handle = answer,
         .access = NX_ACCESS_READ,
         .rate_class = NX_RATE_READ},
    };
    const nx_http_server_options options = {
        .host = "127.0.0.1",
        .threads = 1,
        .backlog = 16,
        .max_connections = 16,
        .keepalive_s = 60,
        .request_timeout_s = 60,
        .limit_concurrency = 16,
        .gate = gated ? timed_gate : NULL,
        .routes = routes,
        .route_count = 1,
        .user = self,
    };
    nx_http_server *server = NULL;
    nx_error err = {0};
    check(nx_http_server_start(&options, &server, &err), &err);
    return server;
}

/* Makes an admin and signs it in. */
static void sign_in(bench *self, nx_login *out)
{
    nx_error err = {0};
    nx_user user;
    nx_arena arena = nx_arena_make(0);
    check(nx_auth_user_add(self->api.deps.auth, "bench", "a long password", NX_ROLE_ADMIN, &arena,
                           &user, &err),
          &err);
    check(nx_auth_login(self->api.deps.auth, "bench", "a long password", "127.0.0.1", out, &err),
          &err);
    nx_arena_free(&arena);
}

/* --- the client ---------------------------------------------------------------------------------
 */

static int dial(const nx_http_server *server)
{
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons(nx_http_server_port(server)),
                                        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        fail("cannot connect");
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static void ask_once(int fd, const char *text, size_t size)
{
    char heard[2048];
    ssize_t got = 0;
    if (send(fd, text, size, MSG_NOSIGNAL) == (ssize_t)size) {
        got = recv(fd, heard, sizeof heard - 1, 0);
    }
    if (got < 12 || strncmp(heard, "HTTP/1.1 204", 12) != 0) {
        fail("another answer than 204");
    }
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static double at(int64_t *times, int count, double part)
{
    qsort(times, (size_t)count, sizeof *times, compare);
    return count > 0 ? (double)times[(int)(part * (count - 1))] / 1000 : 0;
}

static void run(bench *self, const char *text, int requests)
{
    size_t size = strlen(text);
    for (int i = 0; i < requests; i++) {
        int64_t started = nx_clock_now_ns();
        ask_once(self->fd, text, size);
        self->trip_ns[self->trips++] = nx_clock_now_ns() - started;
    }
}

/* --- the four of them ---------------------------------------------------------------------------
 */

static void limit(bench *self, nx_redis *redis)
{
    nx_rate rates[NX_RATE_CLASSES];
    nx_error err = {0};
    const nx_rate_limiter_options options = {.redis = redis};
    for (size_t i = 0; i < NX_RATE_CLASSES; i++) {
        check(nx_rate_parse(RATE, &rates[i], &err), &err);
    }
    check(nx_rate_limiter_new(rates, &options, &self->api.rates, &err), &err);
}

static void show(bench *self, double without)
{
    double trip = at(self->trip_ns, self->trips, 0.5);
    printf("| %s | %.1f us | %.1f us | %+.1f us |", self->name, trip,
           at(self->trip_ns, self->trips, 0.99), trip - without);
    if (self->gated > 0) {
        printf(" %.2f us | %.2f us | %d |\n", at(self->gate_ns, self->gated, 0.5),
               at(self->gate_ns, self->gated, 0.99), self->asked);
    } else {
        printf(" | | |\n");
    }
}

int main(int argc, char **argv)
{
    static bench benches[] = {{.name = "no gate"},
                              {.name = "who asks"},
                              {.name = "and how often"},
                              {.name = "on all hosts"}};
    char text[1024];
    nx_login login;
    nx_error err = {0};
    nx_redis *redis = NULL;
    long wanted = argc > 2 ? strtol(argv[2], NULL, 10) : 50000;
    int requests = wanted < ROUNDS ? ROUNDS : wanted > MAX_REQUESTS ? MAX_REQUESTS : (int)wanted;
    size_t count = argc > 3 ? 4 : 3;
    const nx_store_options store = {.url = argc > 1 ? argv[1] : "",
                                    .data_dir = ".",
                                    .pool_size = 4,
                                    .max_overflow = 0,
                                    .timeout_ms = 10000,
                                    .recycle_s = 1800};
    signal(SIGPIPE, SIG_IGN);
    nx_log_configure_level(NX_LOG_WARNING);
    if (argc < 2 || sodium_init() < 0) {
        fail("name a database");
    }
    nx_api *api = &benches[0].api;
    check(nx_store_open(&store, &api->deps.database, &err), &err);
    const nx_auth_options accounts = {.store = api->deps.database};
    check(nx_auth_new(&accounts, &api->deps.auth, &err), &err);
    check(nx_api_pool_new(1, 16, &api->quick, &err), &err);
    sign_in(&benches[0], &login);
    snprintf(text, sizeof text,
             "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n"
             "Accept-Language: en\r\nAccept-Encoding: gzip\r\nReferer: http://127.0.0.1/\r\n"
             "Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Dest: empty\r\n"
             "X-A: b\r\nCookie: theme=dark; nexus_session=%s\r\n\r\n",
             login.token);
    for (size_t i = 1; i < count; i++) {
        benches[i].api.deps = api->deps;
        benches[i].api.quick = api->quick;
    }
    limit(&benches[2], NULL);
    if (count > 3) {
        const nx_redis_options client = {.url = argv[3]};
        check(nx_redis_new(&client, &redis, &err), &err);
        limit(&benches[3], redis);
    }
    for (size_t i = 0; i < count; i++) {
        benches[i].server = start(&benches[i], i > 0);
        benches[i].fd = dial(benches[i].server);
    }
    for (int round = 0; round < ROUNDS; round++) { /* in turns: all see the same machine */
        for (size_t i = 0; i < count; i++) {
            run(&benches[i], text, requests / ROUNDS);
        }
    }
    double without = at(benches[0].trip_ns, benches[0].trips, 0.5);
    printf(
        "| warm session, %d requests each | round trip, median | p99 | added | the gate itself | "
        "p99 | had to wait |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        benches[0].trips);
    for (size_t i = 0; i < count; i++) {
        show(&benches[i], without);
    }
    if (redis != NULL) {
        const nx_rate_stats stats = nx_rate_get_stats(benches[3].api.rates);
        printf("\n%llu of the last were told to Redis, %llu were not\n",
               (unsigned long long)stats.told, (unsigned long long)stats.alone);
    }
    for (size_t i = 0; i < count; i++) {
        close(benches[i].fd);
        nx_http_server_stop(benches[i].server, nx_clock_now_ns() + NX_NS_PER_SEC);
        nx_rate_limiter_free(benches[i].api.rates);
    }
    nx_redis_free(redis);
    nx_api_pool_free(api->quick);
    nx_auth_free(api->deps.auth);
    nx_store_close(api->deps.database);
    return 0;
}

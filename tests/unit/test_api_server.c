/*
 * The whole API on a real engine and a real model: requests at once, clients that leave, a full
 * queue, and stopping in the middle of it all. What each answer looks like is tested end to end;
 * this is for the races, and runs under ThreadSanitizer too.
 */
#include "api/api.h"
#include "base/clock.h"
#include "base/file.h"
#include "testing.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/socket.h>

typedef struct fixture {
    nx_config *config;
    nx_runtime *runtime;
    nx_model_store *store;
    nx_registry *registry;
    nx_engine *engine;
    nx_service_metrics *metrics;
    nx_api *api;
    nx_cache *cache; /* NULL: nothing is kept */
    nx_buffer picture;
    atomic_uint run; /* pictures, since the start */
} fixture;

static const char *environment(const char *name, void *user)
{
    (void)user;
    return strcmp(name, "NEXUS_PORT") == 0 ? "0" : NULL;
}

/* Runtime and model are opened once: loading takes longer than any of the tests. */
static int open_model(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    *state = f;
    nx_error err = {0};
    char data_dir[4096];
    const char *home = getenv("HOME");
    snprintf(data_dir, sizeof data_dir, "%s/.local/share/nexus", home != NULL ? home : "");
    nx_registry_options options = {.default_model = nx_shared_path("models/yolov8n.onnx"),
                                   .model = {.intra_op_threads = 1},
                                   .max_loaded = 2};
    char model_path[4096];
    snprintf(model_path, sizeof model_path, "%s", options.default_model);
    options.default_model = model_path;
    nx_registry_task load = {.op = NX_REGISTRY_ACQUIRE};
    if (nx_file_read(nx_shared_path("images/odd/base640.jpg"), 1 << 20, &f->picture, &err) !=
            NX_OK ||
        nx_runtime_open(getenv("NEXUS_ORT_LIBRARY"), data_dir, &f->runtime, &err) != NX_OK ||
        nx_model_store_new(data_dir, &f->store, &err) != NX_OK ||
        (options.runtime = f->runtime, options.store = f->store,
         nx_registry_new(&options, &f->registry, &err)) != NX_OK ||
        nx_registry_run(f->registry, &load, &err) != NX_OK) {
        fprintf(stderr, "SKIPPED every test of the API on a real engine: %s\n", err.message);
        nx_registry_free(f->registry);
        f->registry = NULL;
        return 0;
    }
    nx_registry_release(load.handle);
    nx_assert_ok(nx_config_load_text("", 0, "test", environment, NULL, &f->config, &err), err);
    return 0;
}

static int close_model(void **state)
{
    fixture *f = *state;
    nx_config_free(f->config);
    nx_registry_free(f->registry);
    nx_model_store_free(f->store);
    nx_runtime_free(f->runtime);
    nx_buffer_free(&f->picture);
    free(f);
    return 0;
}

static void count_run(const nx_backend *backend, int64_t run_ns, uint32_t batch, void *user)
{
    fixture *f = user;
    atomic_fetch_add(&f->run, batch);
    nx_service_metrics_run(f->metrics, backend->name, run_ns, batch);
}

static fixture *start(void **state, uint32_t workers, uint32_t queue_size)
{
    fixture *f = *state;
    if (f->registry == NULL) {
        skip();
    }
    nx_error err = {0};
    nx_assert_ok(nx_service_metrics_new("cpu", "test", &f->metrics, &err), err);
    const nx_engine_options engine = {.workers = workers,
                                      .queue_size = queue_size,
                                      .runtime = f->runtime,
                                      .on_run = count_run,
                                      .user = f};
    atomic_store(&f->run, 0);
    nx_assert_ok(nx_engine_new(&engine, &f->engine, &err), err);
    const nx_api_deps deps = {.config = f->config,
                              .runtime = f->runtime,
                              .registry = f->registry,
                              .store = f->store,
                              .engine = f->engine,
                              .metrics = f->metrics,
                              .cache = f->cache};
    nx_assert_ok(nx_api_start(&deps, &f->api, &err), err);
    return f;
}

static void keep_predictions(fixture *f)
{
    nx_error err = {0};
    const nx_cache_options options = {.max_bytes = NX_CACHE_MIN_BYTES,
                                      .ttl_ms = {[NX_CACHE_PREDICTIONS] = 600000}};
    nx_assert_ok(nx_cache_new(&options, &f->cache, &err), err);
}

static void forget_predictions(fixture *f)
{
    nx_cache_free(f->cache);
    f->cache = NULL;
}

static void stop(fixture *f)
{
    nx_api_stop(f->api, 0, nx_clock_now_ns() + 30 * NX_NS_PER_SEC);
    nx_engine_free(f->engine);
    nx_service_metrics_free(f->metrics);
}

/* --- the client ---------------------------------------------------------------------------------
 */

static int dial(const fixture *f)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(nx_api_port(f->api)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    const struct timeval patience = {.tv_sec = 60};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static void say(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return;
        }
        at += sent;
        size -= (size_t)sent;
    }
}

static int post_with(const fixture *f, const char *query)
{
    int fd = dial(f);
    char header[256];
    int size = snprintf(header, sizeof header,
                        "POST /api/v1/inference/image%s HTTP/1.1\r\nHost: a\r\n"
                        "Connection: close\r\nContent-Type: image/jpeg\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        query, f->picture.size);
    say(fd, header, (size_t)size);
    say(fd, f->picture.data, f->picture.size);
    return fd;
}

static int post_picture(const fixture *f)
{
    return post_with(f, "");
}

static int post_batch(const fixture *f, int pictures)
{
    static const char part[] =
        "--BB\r\nContent-Disposition: form-data; name=\"f\"; filename=\"p\"\r\n\r\n";
    nx_buffer body = NX_BUFFER_INIT;
    for (int i = 0; i < pictures; i++) {
        nx_buffer_append_str(&body, part);
        nx_buffer_append(&body, f->picture.data, f->picture.size);
        nx_buffer_append_str(&body, "\r\n");
    }
    nx_buffer_append_str(&body, "--BB--\r\n");
    int fd = dial(f);
    char header[256];
    int size = snprintf(header, sizeof header,
                        "POST /api/v1/inference/batch HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
                        "Content-Type: multipart/form-data; boundary=BB\r\n"
                        "Content-Length: %zu\r\n\r\n",
                        body.size);
    say(fd, header, (size_t)size);
    say(fd, body.data, body.size);
    nx_buffer_free(&body);
    return fd;
}

/* The whole answer, NUL-terminated, to be freed. Closes the connection. */
static char *hear(int fd)
{
    nx_buffer out = NX_BUFFER_INIT;
    char piece[4096];
    ssize_t got = 0;
    while ((got = recv(fd, piece, sizeof piece, 0)) > 0) {
        nx_buffer_append(&out, piece, (size_t)got);
    }
    close(fd);
    assert_int_equal(got, 0);
    assert_non_null(nx_buffer_cstr(&out));
    return out.data;
}

static int status_of(const char *answer)
{
    int status = 0;
    return sscanf(answer, "HTTP/1.1 %d", &status) == 1 ? status : 0;
}

static int count(const char *text, const char *part)
{
    int found = 0;
    for (text = strstr(text, part); text != NULL; text = strstr(text + 1, part)) {
        found++;
    }
    return found;
}

/* Waits until the engine's queue holds at least, or (at_most) no more than, so many. */
static void wait_for_queue(const fixture *f, uint32_t depth, bool at_most)
{
    int64_t give_up = nx_clock_now_ns() + 30 * NX_NS_PER_SEC;
    for (;;) {
        uint32_t queued = nx_engine_get_stats(f->engine).queued;
        if (at_most ? queued <= depth : queued >= depth) {
            return;
        }
        assert_true(nx_clock_now_ns() < give_up);
        sched_yield();
    }
}

/* --- the tests ----------------------------------------------------------------------------------
 */

#define CLIENTS 4

static void *be_client(void *argument)
{
    const fixture *f = argument;
    intptr_t right = 0;
    for (int i = 0; i < 4; i++) {
        char *answer = hear(post_picture(f));
        right += status_of(answer) == 200 && count(answer, "\"class_name\":\"person\"") == 2;
        free(answer);
    }
    return (void *)right;
}

static void clients_at_once_get_their_answers(void **state)
{
    fixture *f = start(state, 2, 256);
    pthread_t threads[CLIENTS];
    for (size_t i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, be_client, f), 0);
    }
    int batch = post_batch(f, 6);
    for (size_t i = 0; i < CLIENTS; i++) {
        void *right = NULL;
        pthread_join(threads[i], &right);
        assert_int_equal((intptr_t)right, 4);
    }
    char *answer = hear(batch);
    assert_int_equal(status_of(answer), 200);
    nx_assert_contains(answer, "\"succeeded\":6,\"failed\":0");
    assert_int_equal(count(answer, "\"status\":\"ok\""), 6);
    free(answer);
    stop(f);
}

static void clients_that_leave_free_their_slots(void **state)
{
    fixture *f = start(state, 1, 256);
    int fds[12];
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        fds[i] = post_picture(f);
    }
    wait_for_queue(f, 6, false); /* the worker may have taken some meanwhile */
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        close(fds[i]);
    }
    wait_for_queue(f, 0, true);
    char *answer = hear(post_picture(f)); /* and the server is none the worse */
    assert_int_equal(status_of(answer), 200);
    free(answer);
    stop(f);
}

#define PICTURES 60

static void a_batch_whose_client_leaves_ends_early(void **state)
{
    fixture *f = start(state, 1, 256);
    int batch = post_batch(f, PICTURES);
    wait_for_queue(f, 1, false);
    close(batch);
    wait_for_queue(f, 0, true);
    char *answer = hear(post_picture(f));
    assert_int_equal(status_of(answer), 200);
    free(answer);
    stop(f);
    /* one more than the batch would be all of it */
    assert_in_range(atomic_load(&f->run), 1, PICTURES);
}

static void a_full_queue_is_answered_at_once(void **state)
{
    fixture *f = start(state, 1, 2);
    int fds[10];
    int served = 0;
    int refused = 0;
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        fds[i] = post_picture(f);
    }
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        char *answer = hear(fds[i]);
        served += status_of(answer) == 200;
        if (status_of(answer) == 503) {
            refused++;
            nx_assert_contains(answer, "the queue is full (2 pictures wait)");
            nx_assert_contains(answer, "\r\nRetry-After: ");
        }
        free(answer);
    }
    assert_int_equal(served + refused, (int)NX_COUNT(fds));
    assert_true(served >= 2 && refused >= 1);
    stop(f);
}

static void a_batch_is_larger_than_the_queue(void **state)
{
    fixture *f = start(state, 1, 2);
    char *answer = hear(post_batch(f, 8));
    nx_assert_contains(answer, "\"succeeded\":8,\"failed\":0");
    free(answer);
    stop(f);
}

static void stopping_answers_what_is_in_flight(void **state)
{
    fixture *f = start(state, 1, 256);
    int single = post_picture(f);
    int batch = post_batch(f, 5);
    wait_for_queue(f, 2, false);
    stop(f);
    char *answer = hear(single);
    assert_int_equal(status_of(answer), 200);
    free(answer);
    answer = hear(batch);
    nx_assert_contains(answer, "\"succeeded\":5,\"failed\":0");
    free(answer);
}

static void stopping_in_a_hurry_cancels(void **state)
{
    fixture *f = start(state, 1, 256);
    int fds[6];
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        fds[i] = i % 2 == 0 ? post_picture(f) : post_batch(f, 20);
    }
    wait_for_queue(f, 3, false);
    int64_t before = nx_clock_now_ns();
    nx_api_stop(f->api, 0, before); /* returns: nothing waits for 63 pictures */
    int64_t average = nx_engine_get_stats(f->engine).run_ns_average;
    assert_true(nx_clock_now_ns() - before < 20 * average + 2 * NX_NS_PER_SEC);
    nx_engine_free(f->engine);
    nx_service_metrics_free(f->metrics);
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        close(fds[i]);
    }
}

static void equal_requests_share_a_run(void **state)
{
    fixture *f = *state;
    int fds[8];
    int misses = 0;
    if (f->registry == NULL) {
        skip();
    }
    keep_predictions(f);
    start(state, 2, 256);
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        fds[i] = post_picture(f);
    }
    for (size_t i = 0; i < NX_COUNT(fds); i++) {
        char *answer = hear(fds[i]);
        assert_int_equal(status_of(answer), 200);
        assert_int_equal(count(answer, "\"class_name\":\"person\""), 2);
        misses += count(answer, "\"cached\":false");
        free(answer);
    }
    assert_int_equal(misses, 1);
    stop(f);
    forget_predictions(f);
}

static void who_leaves_takes_nobody_with_it(void **state)
{
    fixture *f = *state;
    if (f->registry == NULL) {
        skip();
    }
    keep_predictions(f);
    start(state, 1, 256);
    for (int round = 0; round < 8; round++) {
        int fds[6];
        char query[64]; /* another one each time, so that the model has to run */
        snprintf(query, sizeof query, "?confidence=0.3%d", round);
        for (size_t i = 0; i < NX_COUNT(fds); i++) {
            fds[i] = post_with(f, query);
        }
        for (size_t i = 0; i < 3; i++) {
            close(fds[i]);
        }
        for (size_t i = 3; i < NX_COUNT(fds); i++) {
            char *answer = hear(fds[i]);
            assert_int_equal(status_of(answer), 200);
            free(answer);
        }
    }
    int waiting[6];
    for (size_t i = 0; i < NX_COUNT(waiting); i++) {
        waiting[i] = post_with(f, "?confidence=0.5");
    }
    nx_api_stop(f->api, 0, nx_clock_now_ns()); /* also of those who wait for another */
    nx_engine_free(f->engine);
    nx_service_metrics_free(f->metrics);
    for (size_t i = 0; i < NX_COUNT(waiting); i++) {
        close(waiting[i]);
    }
    forget_predictions(f);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clients_at_once_get_their_answers),
        cmocka_unit_test(clients_that_leave_free_their_slots),
        cmocka_unit_test(a_batch_whose_client_leaves_ends_early),
        cmocka_unit_test(a_full_queue_is_answered_at_once),
        cmocka_unit_test(a_batch_is_larger_than_the_queue),
        cmocka_unit_test(stopping_answers_what_is_in_flight),
        cmocka_unit_test(stopping_in_a_hurry_cancels),
        cmocka_unit_test(equal_requests_share_a_run),
        cmocka_unit_test(who_leaves_takes_nobody_with_it),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}

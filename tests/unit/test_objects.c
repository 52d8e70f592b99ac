/* Objects on the disk and in S3, one suite for both. The S3 server is s3_server.mjs, which checks
 * signatures; it listens on this machine alone and ends with the test. */
#include "scratch.h"

#include "store/objects.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Run from the root of the tree, as tests/run does. */
#define SERVER "tests/unit/s3_server.mjs"
#define S3RVER "tests/e2e/node_modules/s3rver"

typedef struct fixture {
    char folder[64];
    char endpoint[64];
    bool s3;
    pid_t server;
    nx_objects *objects;
} fixture;

static nx_objects_options options_of(const fixture *f)
{
    return (nx_objects_options){.data_dir = f->folder,
                                .url = f->s3 ? "s3://nexus/a/b" : "",
                                .endpoint = f->endpoint,
                                .region = "us-east-1",
                                .access_key = "S3RVER",
                                .secret_key = "S3RVER"};
}

static nx_objects *open_objects(const nx_objects_options *options)
{
    nx_objects *objects = NULL;
    nx_error err = {0};
    nx_assert_ok(nx_objects_open(options, &objects, &err), err);
    return objects;
}

/* Starts the server and reads its port from what it says: "listening NNN". */
static bool start_server(fixture *f)
{
    char folder[96];
    char said[96];
    char line[200];
    int port = 0;
    pid_t parent = getpid();
    snprintf(folder, sizeof folder, "%s/s3", f->folder);
    snprintf(said, sizeof said, "%s/said", f->folder);
    f->server = fork();
    assert_true(f->server >= 0);
    if (f->server == 0) {
        int fd = open(said, O_WRONLY | O_CREAT | O_APPEND, 0600);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() == parent && dup2(fd, STDOUT_FILENO) >= 0) {
            execlp("node", "node", SERVER, folder, "nexus", (char *)NULL);
        }
        _exit(127);
    }
    while (port == 0 && waitpid(f->server, NULL, WNOHANG) == 0) {
        FILE *in = fopen(said, "r");
        while (in != NULL && fgets(line, sizeof line, in) != NULL) {
            static const char word[] = "listening ";
            bool ready = strncmp(line, word, strlen(word)) == 0 && strchr(line, '\n') != NULL;
            port = ready ? atoi(line + strlen(word)) : port; // NOLINT: our own server's
        }
        if (in != NULL) {
            fclose(in);
        }
        usleep(10000);
    }
    f->server = port != 0 ? f->server : 0;
    snprintf(f->endpoint, sizeof f->endpoint, "http://127.0.0.1:%d", port);
    return port != 0;
}

static int make_fixture(void **state, bool s3)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    f->s3 = s3;
    snprintf(f->folder, sizeof f->folder, "/tmp/nexus-objects-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    if (!s3 || (access(S3RVER, R_OK) == 0 && start_server(f))) {
        const nx_objects_options options = options_of(f);
        f->objects = open_objects(&options);
    }
    return 0;
}

static int group_disk(void **state)
{
    return make_fixture(state, false);
}

static int group_s3(void **state)
{
    return make_fixture(state, true);
}

static int group_end(void **state)
{
    fixture *f = *state;
    nx_objects_close(f->objects);
    if (f->server > 0) {
        kill(f->server, SIGKILL);
        waitpid(f->server, NULL, 0);
    }
    int failure = nftw(f->folder, scratch_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(f);
    return failure;
}

#define FIXTURE(state)                                                                             \
    fixture *f = *(state);                                                                         \
    nx_error err = {0};                                                                            \
    do {                                                                                           \
        if (f->objects == NULL) {                                                                  \
            fprintf(stderr, "SKIPPED %s: no s3rver at %s (scripts/packages tests/e2e)\n",          \
                    __func__, S3RVER);                                                             \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* --- helpers --- */

static void put(fixture *f, const char *id, int64_t offset, const void *bytes, size_t size)
{
    nx_object_writer *writer = NULL;
    nx_error err = {0};
    int64_t total = 0;
    nx_assert_ok(nx_objects_write(f->objects, id, offset, &writer, &err), err);
    nx_assert_ok(nx_object_writer_put(writer, bytes, size, &err), err);
    nx_assert_ok(nx_object_writer_sync(writer, &total, &err), err);
    assert_int_equal(total, offset + (int64_t)size);
    nx_object_writer_close(writer);
}

static void keep(fixture *f, const char *id, char name[NX_OBJECT_NAME_SIZE], int64_t expected)
{
    nx_error err = {0};
    int64_t size = 0;
    nx_assert_ok(nx_objects_keep(f->objects, id, name, &size, &err), err);
    assert_int_equal(size, expected);
}

static void expect_bytes(fixture *f, const char *name, int64_t offset, size_t size,
                         const void *expected, size_t expected_size)
{
    nx_error err = {0};
    size_t got = 0;
    char *buffer = malloc(size + 1);
    assert_non_null(buffer);
    nx_assert_ok(nx_objects_read(f->objects, name, offset, buffer, size, &got, &err), err);
    assert_int_equal(got, expected_size);
    assert_memory_equal(buffer, expected, expected_size);
    free(buffer);
}

static size_t entries_of(const fixture *f, const char *name)
{
    char path[128];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    DIR *dir = opendir(path);
    for (struct dirent *e = dir != NULL ? readdir(dir) : NULL; e != NULL; e = readdir(dir)) {
        count += e->d_name[0] != '.';
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return count;
}

/* --- the suite --- */

static void what_comes_in_goes_out(void **state)
{
    FIXTURE(state);
    char name[NX_OBJECT_NAME_SIZE];
    int64_t size = 0;
    put(f, "up-1", 0, "abc", 3);
    keep(f, "up-1", name, 3);
    /* FIPS 180-2, appendix B.1 */
    assert_string_equal(name, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    nx_assert_ok(nx_objects_size(f->objects, name, &size, &err), err);
    assert_int_equal(size, 3);
    expect_bytes(f, name, 0, 10, "abc", 3);
    expect_bytes(f, name, 1, 1, "b", 1);
    expect_bytes(f, name, 1, 10, "bc", 2);
    expect_bytes(f, name, 3, 10, "", 0);
    expect_bytes(f, name, 100, 10, "", 0);
    expect_bytes(f, name, 0, 0, "", 0);
    nx_assert_ok(nx_objects_discard(f->objects, "up-1", &err), err);
    expect_bytes(f, name, 0, 10, "abc", 3);
    nx_assert_ok(nx_objects_check(f->objects, &err), err);
}

static void nothing_is_an_object_too(void **state)
{
    FIXTURE(state);
    char name[NX_OBJECT_NAME_SIZE];
    put(f, "empty", 0, "", 0);
    keep(f, "empty", name, 0);
    assert_string_equal(name, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    int64_t size = -1;
    int fd = -1;
    char byte;
    nx_assert_ok(nx_objects_size(f->objects, name, &size, &err), err);
    assert_int_equal(size, 0);
    nx_assert_ok(nx_objects_fetch(f->objects, name, &fd, &err), err);
    assert_int_equal(read(fd, &byte, 1), 0);
    close(fd);
    nx_assert_ok(nx_objects_discard(f->objects, "empty", &err), err);
}

static void uploads_go_on_at_an_offset(void **state)
{
    FIXTURE(state);
    char name[NX_OBJECT_NAME_SIZE];
    nx_object_writer *writer = (nx_object_writer *)1;
    put(f, "resumed", 0, "0123456789", 10);
    put(f, "resumed", 4, "abc", 3); /* what lay beyond was never confirmed */
    put(f, "resumed", 7, "def", 3);
    assert_int_equal(nx_objects_write(f->objects, "resumed", 11, &writer, &err), NX_ERR_CONFLICT);
    assert_null(writer);
    nx_assert_contains(err.message, "has 10 bytes, not yet 11");
    assert_int_equal(nx_objects_write(f->objects, "unknown", 1, &writer, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_objects_write(f->objects, "resumed", -1, &writer, &err), NX_ERR_INVALID);
    keep(f, "resumed", name, 10);
    expect_bytes(f, name, 0, 20, "0123abcdef", 10);
    if (!f->s3) { /* there the upload is the object */
        assert_int_equal(nx_objects_write(f->objects, "resumed", 0, &writer, &err),
                         NX_ERR_CONFLICT);
        expect_bytes(f, name, 0, 20, "0123abcdef", 10);
    }
    nx_assert_ok(nx_objects_discard(f->objects, "resumed", &err), err);
}

/* Writes ten bytes as another process would; the writer stays open until told, or until it dies. */
static pid_t write_elsewhere(const fixture *f, const char *id, int tell[2])
{
    int ready[2];
    char byte = 0;
    assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
    assert_int_equal(pipe2(tell, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        nx_error err = {0};
        nx_object_writer *writer = NULL;
        close(tell[1]); /* the parent's end is a sign of its life */
        bool good = nx_objects_write(f->objects, id, 0, &writer, &err) == NX_OK &&
                    nx_object_writer_put(writer, "0123456789", 10, &err) == NX_OK &&
                    write(ready[1], "+", 1) == 1 && read(tell[0], &byte, 1) == 1;
        nx_object_writer_close(writer);
        _exit(good ? 0 : 1);
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(tell[0]);
    return child;
}

static void processes_write_one_after_the_other(void **state)
{
    FIXTURE(state);
    int tell[2];
    int ended = 0;
    int64_t size = 0;
    nx_object_writer *writer = (nx_object_writer *)1;
    nx_object_writer *second = NULL;
    for (int round = 0; round < 2; round++) { /* it closes its writer; it is killed */
        pid_t child = write_elsewhere(f, "theirs", tell);
        assert_int_equal(nx_objects_write(f->objects, "theirs", 0, &writer, &err), NX_ERR_BUSY);
        assert_null(writer);
        nx_assert_contains(err.message, "another request writes into upload theirs");
        assert_int_equal(nx_objects_claim(f->objects, "theirs", false, &writer, &err), NX_ERR_BUSY);
        if (round == 0) {
            assert_int_equal(write(tell[1], "!", 1), 1);
        } else {
            assert_int_equal(kill(child, SIGKILL), 0);
        }
        assert_int_equal(waitpid(child, &ended, 0), child);
        close(tell[1]);
        assert_true(round == 0 ? ended == 0 : WIFSIGNALED(ended));
        nx_assert_ok(nx_objects_claim(f->objects, "theirs", false, &writer, &err), err);
        assert_int_equal(nx_objects_claim(f->objects, "theirs", false, &second, &err), NX_ERR_BUSY);
        nx_assert_ok(nx_object_writer_begin(writer, 10, &err), err); /* all of it is there */
        nx_assert_ok(nx_object_writer_put(writer, "ab", 2, &err), err);
        nx_assert_ok(nx_object_writer_sync(writer, &size, &err), err);
        assert_int_equal(size, 12);
        nx_object_writer_close(writer);
    }
    nx_assert_ok(nx_objects_discard(f->objects, "theirs", &err), err);
    assert_int_equal(nx_objects_claim(f->objects, "theirs", false, &writer, &err),
                     NX_ERR_NOT_FOUND);
    assert_null(writer);
}

static void equal_content_is_there_once(void **state)
{
    FIXTURE(state);
    char first[NX_OBJECT_NAME_SIZE];
    char second[NX_OBJECT_NAME_SIZE];
    put(f, "one", 0, "the same", 8);
    put(f, "two", 0, "the same", 8);
    keep(f, "one", first, 8);
    keep(f, "one", first, 8); /* who was killed in between does it again */
    keep(f, "two", second, 8);
    assert_string_equal(first, second);
    nx_assert_ok(nx_objects_discard(f->objects, "one", &err), err);
    nx_assert_ok(nx_objects_discard(f->objects, "two", &err), err);
    nx_assert_ok(nx_objects_discard(f->objects, "two", &err), err);
    int64_t size = 0;
    char name[NX_OBJECT_NAME_SIZE];
    assert_int_equal(nx_objects_keep(f->objects, "two", name, &size, &err), NX_ERR_NOT_FOUND);
    expect_bytes(f, first, 0, 20, "the same", 8);
}

static void objects_can_be_removed(void **state)
{
    FIXTURE(state);
    char name[NX_OBJECT_NAME_SIZE];
    char byte;
    size_t got = 1;
    int64_t size = 0;
    int fd = 0;
    put(f, "gone", 0, "soon gone", 9);
    keep(f, "gone", name, 9);
    nx_assert_ok(nx_objects_discard(f->objects, "gone", &err), err);
    nx_assert_ok(nx_objects_remove(f->objects, name, &err), err);
    nx_assert_ok(nx_objects_remove(f->objects, name, &err), err);
    assert_int_equal(nx_objects_size(f->objects, name, &size, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(nx_objects_read(f->objects, name, 0, &byte, 1, &got, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(got, 0);
    assert_int_equal(nx_objects_fetch(f->objects, name, &fd, &err), NX_ERR_NOT_FOUND);
    assert_int_equal(fd, -1);
}

/* On S3 in three parts. */
static void large_ones_come_back_whole(void **state)
{
    FIXTURE(state);
    size_t size = ((size_t)16 << 20) + 12345;
    static const unsigned char seed[randombytes_SEEDBYTES] = "large";
    unsigned char *bytes = malloc(size);
    unsigned char *back = malloc(size + 1);
    char name[NX_OBJECT_NAME_SIZE];
    int64_t told = 0;
    int fd = -1;
    assert_non_null(bytes);
    assert_non_null(back);
    randombytes_buf_deterministic(bytes, size, seed);
    put(f, "large", 0, bytes, size);
    keep(f, "large", name, (int64_t)size);
    nx_assert_ok(nx_objects_discard(f->objects, "large", &err), err);
    nx_assert_ok(nx_objects_size(f->objects, name, &told, &err), err);
    assert_int_equal(told, size);
    expect_bytes(f, name, 8 << 20, 1000, bytes + (8 << 20), 1000);
    expect_bytes(f, name, (8 << 20) - 5, 10, bytes + (8 << 20) - 5, 10);
    expect_bytes(f, name, (int64_t)size - 7, 1000, bytes + size - 7, 7);
    nx_assert_ok(nx_objects_fetch(f->objects, name, &fd, &err), err);
    size_t got = 0;
    for (ssize_t n = 1; n > 0; got += (size_t)n) {
        n = read(fd, back + got, size + 1 - got);
        assert_true(n >= 0);
    }
    close(fd);
    assert_int_equal(got, size);
    assert_memory_equal(back, bytes, size);
    assert_int_equal(entries_of(f, "uploads"), 0); /* nothing is left lying about */
    free(bytes);
    free(back);
}

static void names_are_names(void **state)
{
    FIXTURE(state);
    static const char too_long[] =
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    static const char *const bad_ids[] = {"", "../x", "a/b", "a.b", "\n", too_long};
    static const char *const bad_names[] = {
        "", "abc", "../../../../../../../../../../../../../../../../../../etc/passwd",
        "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD"};
    nx_object_writer *writer;
    int64_t size;
    for (size_t i = 0; i < NX_COUNT(bad_ids); i++) {
        assert_int_equal(nx_objects_write(f->objects, bad_ids[i], 0, &writer, &err),
                         NX_ERR_INVALID);
        assert_int_equal(nx_objects_discard(f->objects, bad_ids[i], &err), NX_ERR_INVALID);
    }
    for (size_t i = 0; i < NX_COUNT(bad_names); i++) {
        assert_int_equal(nx_objects_size(f->objects, bad_names[i], &size, &err), NX_ERR_INVALID);
        assert_int_equal(nx_objects_remove(f->objects, bad_names[i], &err), NX_ERR_INVALID);
    }
}

/* --- several at once --- */

typedef struct keeper {
    fixture *f;
    int number;
    int failed;
} keeper;

static void *keep_some(void *user)
{
    keeper *self = user;
    nx_error err = {0};
    for (int i = 0; i < 5; i++) {
        char id[40];
        char text[40];
        char name[NX_OBJECT_NAME_SIZE];
        char back[40];
        size_t got = 0;
        int64_t size = 0;
        nx_object_writer *writer = NULL;
        snprintf(id, sizeof id, "t%d-%d", self->number, i);
        /* on the disk the same for all threads; s3rver can't take one object from several at once
         */
        snprintf(text, sizeof text, "content %d %d", i, self->f->s3 ? self->number : 0);
        nx_objects *objects = self->f->objects;
        bool ok = nx_objects_write(objects, id, 0, &writer, &err) == NX_OK &&
                  nx_object_writer_put(writer, text, strlen(text), &err) == NX_OK;
        nx_object_writer_close(writer);
        ok = ok && nx_objects_keep(objects, id, name, &size, &err) == NX_OK &&
             nx_objects_discard(objects, id, &err) == NX_OK &&
             nx_objects_read(objects, name, 0, back, sizeof back, &got, &err) == NX_OK &&
             got == strlen(text) && memcmp(back, text, got) == 0;
        self->failed += !ok;
    }
    return NULL;
}

static void threads_share_the_objects(void **state)
{
    FIXTURE(state);
    (void)err;
    pthread_t threads[4];
    keeper keepers[4];
    for (int i = 0; i < 4; i++) {
        keepers[i] = (keeper){.f = f, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, keep_some, &keepers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(keepers[i].failed, 0);
    }
}

/* --- what goes wrong --- */

/* A limit on file sizes stands for a full disk. */
static void a_full_disk_is_told(void **state)
{
    FIXTURE(state);
    struct rlimit kept;
    nx_object_writer *writer = NULL;
    char bytes[5000] = {0};
    int64_t total = 0;
    put(f, "full", 0, bytes, 1000);
    nx_assert_ok(nx_objects_write(f->objects, "full", 1000, &writer, &err), err);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    struct rlimit small = {.rlim_cur = 3000, .rlim_max = kept.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    nx_status status = nx_object_writer_put(writer, bytes, sizeof bytes, &err);
    setrlimit(RLIMIT_FSIZE, &kept);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, NX_ERR_IO);
    nx_assert_contains(err.message, "cannot write upload full");
    nx_object_writer_close(writer);
    /* the sender was told of 1000 bytes, and goes on there once there is room */
    nx_assert_ok(nx_objects_write(f->objects, "full", 1000, &writer, &err), err);
    nx_assert_ok(nx_object_writer_put(writer, bytes, 10, &err), err);
    nx_assert_ok(nx_object_writer_sync(writer, &total, &err), err);
    assert_int_equal(total, 1010);
    nx_object_writer_close(writer);
    nx_assert_ok(nx_objects_discard(f->objects, "full", &err), err);
}

static void s3_refuses_a_wrong_key(void **state)
{
    FIXTURE(state);
    nx_objects_options options = options_of(f);
    options.secret_key = "geheim";
    nx_objects *objects = open_objects(&options);
    char name[NX_OBJECT_NAME_SIZE];
    int64_t size;
    put(f, "wrong", 0, "wrong", 5);
    assert_int_equal(nx_objects_keep(objects, "wrong", name, &size, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "S3 refuses to take an object: 403 SignatureDoesNotMatch");
    assert_null(strstr(err.message, "geheim"));
    nx_objects_close(objects);
    options = options_of(f);
    options.url = "s3://nobody";
    objects = open_objects(&options);
    assert_int_equal(nx_objects_check(objects, &err), NX_ERR_NOT_FOUND);
    nx_objects_close(objects);
    nx_assert_ok(nx_objects_discard(f->objects, "wrong", &err), err);
}

/* A server that answers 503 `refusals` times, cuts a connection off once, and then answers well. */
typedef struct flaky {
    int listener;
    int refusals;
    atomic_int requests;
} flaky;

static void *serve_badly(void *user)
{
    flaky *self = user;
    for (;;) {
        char request[8192];
        int fd = accept(self->listener, NULL, NULL);
        if (fd < 0) {
            return NULL;
        }
        ssize_t got = read(fd, request, sizeof request - 1);
        int number = atomic_fetch_add(&self->requests, 1);
        const char *answer =
            number < self->refusals
                ? "HTTP/1.1 503 Slow Down\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            : number == self->refusals
                ? "" /* hangs up */
                : "HTTP/1.1 200 OK\r\nContent-Length: 77\r\nConnection: close\r\n\r\n";
        if (got > 0) {
            (void)!write(fd, answer, strlen(answer));
        }
        close(fd);
    }
}

static void s3_is_asked_again_after_failures(void **state)
{
    fixture *f = *state;
    nx_error err = {0};
    flaky server = {.refusals = 2};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    pthread_t thread;
    char endpoint[64];
    server.listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(server.listener, 8), 0);
    assert_int_equal(getsockname(server.listener, (struct sockaddr *)&at, &length), 0);
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d/", ntohs(at.sin_port));
    assert_int_equal(pthread_create(&thread, NULL, serve_badly, &server), 0);

    nx_objects_options options = {.data_dir = f->folder,
                                  .url = "s3://bucket/",
                                  .endpoint = endpoint,
                                  .region = "eu-central-1",
                                  .access_key = "a",
                                  .secret_key = "b"};
    nx_objects *objects = open_objects(&options);
    int64_t size = 0;
    nx_assert_ok(nx_objects_size(objects,
                                 "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                                 &size, &err),
                 err);
    assert_int_equal(size, 77);
    assert_int_equal(atomic_load(&server.requests), 4);
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(thread, NULL);
    close(server.listener);
    /* now nobody listens: five tries, and an end */
    assert_int_equal(nx_objects_check(objects, &err), NX_ERR_UNAVAILABLE);
    nx_assert_contains(err.message, "S3 at http://127.0.0.1:");
    nx_objects_close(objects);
}

static void refuse(const char *url, const char *endpoint, const char *part)
{
    nx_objects_options options = {.data_dir = "/tmp",
                                  .url = url,
                                  .endpoint = endpoint,
                                  .region = "r",
                                  .access_key = "a",
                                  .secret_key = "b"};
    nx_objects *objects = (nx_objects *)1;
    nx_error err = {0};
    assert_int_equal(nx_objects_open(&options, &objects, &err), NX_ERR_INVALID);
    assert_null(objects);
    nx_assert_contains(err.message, part);
}

static void places_that_are_none_are_refused(void **state)
{
    (void)state;
    refuse("http://host/bucket", "", "use s3://BUCKET");
    refuse("s3://", "", "use s3://BUCKET");
    refuse("s3://a b", "", "use s3://BUCKET");
    refuse("s3://bucket", "host:9000", "begins with http:// or https://");
    nx_objects_close(NULL);
}

#define COMMON_TESTS                                                                               \
    cmocka_unit_test(what_comes_in_goes_out), cmocka_unit_test(nothing_is_an_object_too),          \
        cmocka_unit_test(uploads_go_on_at_an_offset),                                              \
        cmocka_unit_test(processes_write_one_after_the_other),                                     \
        cmocka_unit_test(equal_content_is_there_once), cmocka_unit_test(objects_can_be_removed),   \
        cmocka_unit_test(large_ones_come_back_whole), cmocka_unit_test(names_are_names),           \
        cmocka_unit_test(threads_share_the_objects), cmocka_unit_test(a_full_disk_is_told)

int main(void)
{
    const struct CMUnitTest on_disk[] = {COMMON_TESTS,
                                         cmocka_unit_test(s3_is_asked_again_after_failures),
                                         cmocka_unit_test(places_that_are_none_are_refused)};
    const struct CMUnitTest on_s3[] = {COMMON_TESTS, cmocka_unit_test(s3_refuses_a_wrong_key)};
    return cmocka_run_group_tests_name("disk", on_disk, group_disk, group_end) +
           cmocka_run_group_tests_name("s3", on_s3, group_s3, group_end);
}

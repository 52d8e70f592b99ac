/*
 * A load of POSTs with little cost of its own, for routes that answer faster than a script can ask:
 * blocking sockets that stay open, one thread for each, the body sent from where it lies.
 *
 * Usage: bench_load PORT TARGET CONNECTIONS SECONDS FRESH FILE...
 * FRESH percent of the requests send a picture that was never sent before: a FILE with some bytes
 * behind its end, which decoders don't look at. The others send the FILEs in turn, unchanged.
 * Prints one line of JSON; latencies are from the first byte sent to the whole answer.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 256
#define MOST_FILES       16
#define MARK             16 /* bytes behind a picture that make it another one */

typedef struct file {
    char *bytes;
    size_t size;
} file;

typedef struct load {
    uint16_t port;
    const char *target;
    unsigned fresh; /* percent */
    file files[MOST_FILES];
    size_t file_count;
    int64_t until_ns;
    uint64_t seed;
    _Atomic uint64_t next_mark;
} load;

typedef struct client {
    load *load;
    size_t number;
    pthread_t thread;
    double *latencies; /* ms */
    size_t count, capacity;
    uint64_t failures, hits;
} client;

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static bool read_file(const char *path, file *out)
{
    FILE *stream = fopen(path, "rb");
    if (stream == NULL || fseek(stream, 0, SEEK_END) != 0) {
        return false;
    }
    long size = ftell(stream);
    rewind(stream);
    out->bytes = size > 0 ? malloc((size_t)size) : NULL;
    out->size = (size_t)size;
    bool whole = out->bytes != NULL && fread(out->bytes, 1, out->size, stream) == out->size;
    return fclose(stream) == 0 && whole;
}

static int dial(uint16_t port)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) != 0) {
        close(fd);
        return -1;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static bool send_all(int fd, struct iovec *parts, size_t count)
{
    while (count > 0) {
        const struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        size_t left = (size_t)sent;
        while (count > 0 && left >= parts->iov_len) {
            left -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (char *)parts->iov_base + left;
            parts->iov_len -= left;
        }
    }
    return true;
}

/* Reads one answer with a Content-Length into buffer, which holds any that comes here. */
static bool receive(int fd, char *buffer, size_t size, bool *hit)
{
    size_t got = 0;
    size_t whole = size;
    while (got < whole) {
        ssize_t piece = recv(fd, buffer + got, size - 1 - got, 0);
        if (piece <= 0) {
            return false;
        }
        got += (size_t)piece;
        buffer[got] = '\0';
        const char *end = whole == size ? strstr(buffer, "\r\n\r\n") : NULL;
        const char *length = end != NULL ? strcasestr(buffer, "\r\nContent-Length: ") : NULL;
        if (end != NULL && length == NULL) {
            return false;
        }
        if (end != NULL) {
            whole = (size_t)(end - buffer) + 4 + strtoul(length + 18, NULL, 10);
            *hit = strcasestr(buffer, "\r\nX-Cache: hit") != NULL;
        }
        if (whole >= size && end != NULL) {
            return false;
        }
    }
    return strncmp(buffer, "HTTP/1.1 200 ", 13) == 0;
}

static bool ask(client *self, int fd, uint64_t turn, char *buffer, size_t size)
{
    load *all = self->load;
    const file *picture = &all->files[turn % all->file_count];
    /* spread evenly: a multiple of a number that is prime to 100 */
    bool fresh = (turn + self->number * 37) * 61 % 100 < all->fresh;
    uint64_t mark[MARK / sizeof(uint64_t)] = {all->seed, 0};
    char header[256];
    mark[1] = fresh ? atomic_fetch_add(&all->next_mark, 1) : 0;
    int header_size = snprintf(header, sizeof header,
                               "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
                               "Content-Length: %zu\r\n\r\n",
                               all->target, picture->size + (fresh ? MARK : 0));
    struct iovec parts[] = {
        {header, (size_t)header_size}, {picture->bytes, picture->size}, {mark, fresh ? MARK : 0}};
    bool hit = false;
    int64_t start = now_ns();
    bool fine = send_all(fd, parts, fresh ? 3 : 2) && receive(fd, buffer, size, &hit);
    if (fine && self->count == self->capacity) {
        self->capacity = self->capacity > 0 ? self->capacity * 2 : 4096;
        self->latencies = realloc(self->latencies, self->capacity * sizeof *self->latencies);
        if (self->latencies == NULL) {
            abort();
        }
    }
    if (fine) {
        self->latencies[self->count++] = (double)(now_ns() - start) / 1e6;
        self->hits += hit;
    }
    return fine;
}

static void *run(void *user)
{
    client *self = user;
    size_t size = (size_t)1 << 20;
    char *buffer = malloc(size);
    int fd = dial(self->load->port);
    for (uint64_t turn = self->number; buffer != NULL && now_ns() < self->load->until_ns; turn++) {
        if (fd < 0 || !ask(self, fd, turn, buffer, size)) {
            self->failures++;
            if (fd >= 0) {
                close(fd);
            }
            usleep(10000); /* as a refused client should */
            fd = dial(self->load->port);
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    free(buffer);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double percentile(const double *sorted, size_t count, double share)
{
    return count > 0 ? sorted[(size_t)(share * (double)(count - 1) + 0.5)] : 0;
}

static void report(client *clients, size_t client_count, double seconds)
{
    size_t count = 0;
    uint64_t failures = 0;
    uint64_t hits = 0;
    for (size_t i = 0; i < client_count; i++) {
        count += clients[i].count;
        failures += clients[i].failures;
        hits += clients[i].hits;
    }
    double *all = malloc((count + 1) * sizeof *all);
    if (all == NULL) {
        abort();
    }
    size_t at = 0;
    for (size_t i = 0; i < client_count; i++) {
        if (clients[i].count > 0) {
            memcpy(all + at, clients[i].latencies, clients[i].count * sizeof *all);
        }
        at += clients[i].count;
        free(clients[i].latencies);
    }
    qsort(all, count, sizeof *all, by_size);
    printf("{\"requests\":%zu,\"rate\":%.1f,\"failures\":%llu,\"hits\":%llu,\"p50_ms\":%.4f,"
           "\"p95_ms\":%.4f,\"p99_ms\":%.4f}\n",
           count, (double)count / seconds, (unsigned long long)failures, (unsigned long long)hits,
           percentile(all, count, 0.5), percentile(all, count, 0.95), percentile(all, count, 0.99));
    free(all);
}

int main(int argc, char **argv)
{
    static client clients[MOST_CONNECTIONS];
    static load all;
    if (argc < 7 || argc - 6 > MOST_FILES) {
        fprintf(stderr, "Usage: bench_load PORT TARGET CONNECTIONS SECONDS FRESH FILE...\n");
        return 2;
    }
    size_t count = strtoul(argv[3], NULL, 10);
    double seconds = strtod(argv[4], NULL);
    all.port = (uint16_t)strtoul(argv[1], NULL, 10);
    all.target = argv[2];
    all.fresh = (unsigned)strtoul(argv[5], NULL, 10);
    count = count < 1 ? 1 : count > MOST_CONNECTIONS ? MOST_CONNECTIONS : count;
    for (int i = 6; i < argc; i++) {
        if (!read_file(argv[i], &all.files[all.file_count++])) {
            fprintf(stderr, "cannot read %s\n", argv[i]);
            return 3;
        }
    }
    int64_t start = now_ns();
    all.seed = (uint64_t)start ^ (uint64_t)getpid() << 40;
    all.until_ns = start + (int64_t)(seconds * 1e9);
    for (size_t i = 0; i < count; i++) {
        clients[i] = (client){.load = &all, .number = i};
        if (pthread_create(&clients[i].thread, NULL, run, &clients[i]) != 0) {
            fprintf(stderr, "cannot start a thread\n");
            return 3;
        }
    }
    for (size_t i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
    }
    report(clients, count, (double)(now_ns() - start) / 1e9);
    for (size_t i = 0; i < all.file_count; i++) {
        free(all.files[i].bytes);
    }
    return 0;
}

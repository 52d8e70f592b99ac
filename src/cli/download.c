#include "cli/download.h"

#include "base/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_BYTES       ((size_t)1 << 16)
#define BAR_CELLS        30
#define STALL_S          60L /* so long without a byte a second is a broken connection */
#define CONNECT_S        30L
#define REDRAW_NS        (100 * NX_NS_PER_MS)
#define HTTP_OK          200
#define HTTP_PARTIAL     206
#define HTTP_UNSATISFIED 416

static volatile sig_atomic_t interrupted;

static void note_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void nx_download_watch_signals(void)
{
    const struct sigaction action = {.sa_handler = note_signal, .sa_flags = SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool nx_download_interrupted(void)
{
    return interrupted != 0;
}

/* --- the hash -----------------------------------------------------------------------------------
 */

/* NX_ERR_CORRUPT for another hash. */
static nx_status check_hash(const char *path, const nx_download *download, nx_error *err)
{
    unsigned char hash[NX_DOWNLOAD_HASH_BYTES];
    crypto_hash_sha512_state state;
    FILE *file = fopen(path, "rbe");
    char *room = malloc(READ_BYTES);
    nx_status status = NX_OK;
    if (file == NULL || room == NULL) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
    } else {
        crypto_hash_sha512_init(&state);
        for (size_t got = fread(room, 1, READ_BYTES, file); got > 0;
             got = fread(room, 1, READ_BYTES, file)) {
            crypto_hash_sha512_update(&state, (const unsigned char *)room, got);
        }
        crypto_hash_sha512_final(&state, hash);
        if (ferror(file)) {
            status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot read %s", path);
        } else if (memcmp(hash, download->sha512, sizeof hash) != 0) {
            status = nx_error_set(err, NX_ERR_CORRUPT,
                                  "%s is not what its registry announced (its SHA-512 differs); "
                                  "nothing was installed. Run the same command again; if it "
                                  "happens again, something on the way changes the file",
                                  download->label);
        }
    }
    free(room);
    if (file != NULL) {
        (void)fclose(file);
    }
    return status;
}

/* --- the transfer -------------------------------------------------------------------------------
 */

typedef struct transfer {
    const nx_download *download;
    CURL *curl;
    FILE *file;
    uint64_t have; /* bytes of the file that are there */
    uint64_t from; /* of these, from before */
    int64_t started_ns;
    int64_t drawn_ns;
    bool visible;
    int failure; /* errno of the file */
    bool too_large;
} transfer;

static void draw(transfer *self, uint64_t total)
{
    int64_t now = nx_clock_now_ns();
    if (!self->visible || total == 0 || now - self->drawn_ns < REDRAW_NS) {
        return;
    }
    self->drawn_ns = now;
    double seconds = (double)(now - self->started_ns) / (double)NX_NS_PER_SEC;
    double rate = seconds > 0 ? (double)(self->have - self->from) / seconds : 0;
    size_t filled = (size_t)((double)self->have / (double)total * BAR_CELLS);
    char bar[BAR_CELLS + 1];
    for (size_t i = 0; i < BAR_CELLS; i++) {
        bar[i] = i < filled ? '#' : '.';
    }
    bar[BAR_CELLS] = '\0';
    fprintf(stderr, "\r[%s] %.1f of %.1f MB", bar, (double)self->have / 1e6, (double)total / 1e6);
    if (rate > 0 && total >= self->have) {
        fprintf(stderr, "  %.1f MB/s  %.0f s left", rate / 1e6,
                (double)(total - self->have) / rate);
    }
    fputs("\033[K", stderr);
}

/* CURLOPT_WRITEFUNCTION */
static size_t take(char *bytes, size_t size, size_t count, void *user)
{
    transfer *self = user;
    size_t got = size * count;
    long code = 0;
    curl_easy_getinfo(self->curl, CURLINFO_RESPONSE_CODE, &code);
    if (code == HTTP_OK && self->have == self->from && self->from > 0) {
        /* the server does not know of ranges: from the beginning */
        if (fflush(self->file) != 0 || ftruncate(fileno(self->file), 0) != 0) {
            self->failure = errno;
            return 0;
        }
        self->have = self->from = 0;
    }
    if (code != HTTP_OK && code != HTTP_PARTIAL) {
        return got; /* the page of an error; the status tells */
    }
    self->too_large = self->have + got > self->download->max_bytes;
    if (self->too_large) {
        return 0;
    }
    if (fwrite(bytes, 1, got, self->file) != got) {
        self->failure = errno;
        return 0;
    }
    self->have += got;
    return got;
}

/* CURLOPT_XFERINFOFUNCTION */
static int progress(void *user, curl_off_t total, curl_off_t now, curl_off_t up, curl_off_t up_now)
{
    (void)now, (void)up, (void)up_now;
    transfer *self = user;
    draw(self, total > 0 ? self->from + (uint64_t)total : 0);
    return interrupted != 0;
}

static nx_status explain(const transfer *self, CURLcode code, long status, const char *part,
                         nx_error *err)
{
    const nx_download *download = self->download;
    char found[200];
    if (interrupted) {
        return nx_error_set(err, NX_ERR_CANCELLED,
                            "interrupted; %s keeps what has come, and the same command goes on "
                            "from there",
                            part);
    }
    if (self->failure != 0) {
        return nx_error_set_errno(err, NX_ERR_IO, self->failure,
                                  "cannot write %s; free some space and run the same command again",
                                  part);
    }
    if (self->too_large) {
        return nx_error_set(err, NX_ERR_TOO_LARGE, "%s is larger than the %llu bytes expected",
                            download->label, (unsigned long long)download->max_bytes);
    }
    if (code != CURLE_OK) {
        snprintf(found, sizeof found, "%s", curl_easy_strerror(code));
    } else {
        snprintf(found, sizeof found, "HTTP status %ld", status);
    }
    return nx_error_set(err, NX_ERR_UNAVAILABLE,
                        "cannot download %s: %s. Check the network and npm's settings and run the "
                        "same command again: it goes on where it ended. Without a network use "
                        "--from FILE.tgz",
                        download->label, found);
}

static void set_options(transfer *self)
{
    CURL *curl = self->curl;
    curl_easy_setopt(curl, CURLOPT_URL, self->download->url);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, STALL_S);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "nexus/" NX_VERSION);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, self);
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, self);
    curl_easy_setopt(curl, CURLOPT_RESUME_FROM_LARGE, (curl_off_t)self->from);
}

/* Brings the part to its end. */
static nx_status transfer_part(const nx_download *download, const char *part, nx_error *err)
{
    transfer self = {.download = download,
                     .started_ns = nx_clock_now_ns(),
                     .visible = isatty(STDERR_FILENO) != 0};
    struct stat info;
    self.file = fopen(part, "abe");
    if (self.file == NULL || fstat(fileno(self.file), &info) != 0) {
        nx_status status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", part);
        if (self.file != NULL) {
            (void)fclose(self.file);
        }
        return status;
    }
    self.have = self.from = (uint64_t)info.st_size;
    self.curl = curl_easy_init();
    if (self.curl == NULL) {
        (void)fclose(self.file);
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the download");
    }
    set_options(&self);
    CURLcode code = curl_easy_perform(self.curl);
    long status = 0;
    curl_easy_getinfo(self.curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(self.curl);
    if (fclose(self.file) != 0 && self.failure == 0) {
        self.failure = errno;
    }
    if (self.visible && self.drawn_ns != 0) {
        fputs("\r\033[K", stderr);
    }
    /* 416 to a part that is whole: the hash decides */
    bool whole = self.from > 0 && status == HTTP_UNSATISFIED && !interrupted;
    bool good = code == CURLE_OK && (status == HTTP_OK || status == HTTP_PARTIAL);
    return (whole || good) && self.failure == 0 ? NX_OK : explain(&self, code, status, part, err);
}

nx_status nx_download_run(const nx_download *download, nx_error *err)
{
    char *part = NULL;
    if (access(download->path, F_OK) == 0 && check_hash(download->path, download, err) == NX_OK) {
        return NX_OK;
    }
    if (asprintf(&part, "%s.part", download->path) < 0) {
        return nx_error_set(err, NX_ERR_NO_MEMORY, "no memory for the download");
    }
    nx_status status = transfer_part(download, part, err);
    if (status == NX_OK) {
        status = check_hash(part, download, err);
        if (status == NX_ERR_CORRUPT) {
            (void)unlink(part);
        }
    }
    if (status == NX_OK && rename(part, download->path) != 0) {
        status = nx_error_set_errno(err, NX_ERR_IO, errno, "cannot write %s", download->path);
    }
    free(part);
    return status;
}

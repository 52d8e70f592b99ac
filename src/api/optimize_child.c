/* `nexus models optimize` as a child of the server: what it is told, and what it says. */
#include "api/optimize.h"

#include "base/clock.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOK_MS   500 /* whether to go on */
#define PATIENCE  (5 * NX_NS_PER_SEC)
#define MOST_LINE 1024
#define LOCK_FD   3 /* in the child */

/* --- starting -----------------------------------------------------------------------------------
 */

#define MOST_ARGUMENTS 24
#define MOST_VARIABLES 12

/* What a program needs to start as this one did. Others, which may hold passwords, it has no use
 * for. made: those that are new, to be freed. */
static size_t choose_environment(const nx_optimize_order *order, char *made[2],
                                 char *chosen[MOST_VARIABLES + 1])
{
    static const char *const names[] = {
        "LD_LIBRARY_PATH=", "PATH=",         "HOME=",         "XDG_DATA_HOME=",    "ASAN_OPTIONS=",
        "UBSAN_OPTIONS=",   "TSAN_OPTIONS=", "LSAN_OPTIONS=", "LLVM_PROFILE_FILE="};
    size_t count = 0;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            if (count < MOST_VARIABLES - 2 && strncmp(*variable, names[i], strlen(names[i])) == 0) {
                chosen[count++] = *variable;
            }
        }
    }
    if (asprintf(&made[0], "NEXUS_DATA_DIR=%s", order->data_dir) < 0) {
        made[0] = NULL;
    }
    if (asprintf(&made[1], "NEXUS_ORT_LIBRARY=%s", order->library) < 0) {
        made[1] = NULL;
    }
    for (size_t i = 0; i < 2; i++) {
        if (made[i] != NULL) {
            chosen[count++] = made[i];
        }
    }
    chosen[count] = NULL;
    return count;
}

typedef struct words {
    const char *list[MOST_ARGUMENTS + 1];
    size_t count;
    char limit[24], rounds[24];
} words;

static void say(words *self, const char *word)
{
    if (self->count < MOST_ARGUMENTS) {
        self->list[self->count++] = word;
    }
}

static void choose_arguments(const nx_optimize_order *order, words *self)
{
    *self = (words){.count = 0};
    bool int8 = strcmp(order->precision, "int8") == 0;
    snprintf(self->limit, sizeof self->limit, "%lld", (long long)order->limit);
    snprintf(self->rounds, sizeof self->rounds, "%lld", (long long)order->rounds);
    const char *const always[] = {"nexus",    "models",      "optimize", order->model,
                                  "--output", order->output, "--format", "json",
                                  "--limit",  self->limit,   "--rounds", self->rounds};
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        say(self, always[i]);
    }
    if (int8) {
        say(self, "--int8");
    } else if (strcmp(order->precision, "float16") == 0) {
        say(self, "--fp16");
    }
    if (order->pictures != NULL) {
        say(self, int8 ? "--calibrate" : "--images");
        say(self, order->pictures);
    }
    if (order->force) {
        say(self, "--force");
    }
}

static int fill_actions(posix_spawn_file_actions_t *actions, const int sources[3])
{
    static const int targets[3] = {STDOUT_FILENO, STDERR_FILENO, LOCK_FD};
    int result = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    for (int i = 0; i < 3 && result == 0; i++) {
        result = posix_spawn_file_actions_adddup2(actions, sources[i], targets[i]);
    }
    return result;
}

/* Returns 0 or an errno. sources: its standard output and error, and the lock. */
static int spawn(const nx_optimize_order *order, const int sources[3], pid_t *pid)
{
    words arguments;
    char *made[2] = {NULL, NULL};
    char *environment[MOST_VARIABLES + 1];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    choose_arguments(order, &arguments);
    (void)choose_environment(order, made, environment);
    int result = posix_spawn_file_actions_init(&actions);
    if (result == 0) {
        result = posix_spawnattr_init(&attributes);
        if (result == 0) {
            char *argv[MOST_ARGUMENTS + 1];
            memcpy(argv, arguments.list, sizeof argv); /* posix_spawn leaves them as they are */
            result = fill_actions(&actions, sources);
            result = result != 0 ? result : nx_spawn_clear_signals(&attributes);
            result = result != 0 ? result
                                 : posix_spawn(pid, "/proc/self/exe", &actions, &attributes, argv,
                                               environment);
            posix_spawnattr_destroy(&attributes);
        }
        posix_spawn_file_actions_destroy(&actions);
    }
    free(made[0]);
    free(made[1]);
    return result;
}

/* --- what it says -------------------------------------------------------------------------------
 */

typedef struct child {
    const nx_optimize_order *order;
    pid_t pid;
    int out, err; /* -1: it says nothing more there */
    nx_buffer *report;
    char line[MOST_LINE];
    size_t length;
    bool told; /* to end */
    int64_t told_ns;
} child;

static void take_line_bytes(child *self, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n') {
            self->line[self->length] = '\0';
            self->order->line(self->line, self->order->user);
            self->length = 0;
        } else if (self->length < sizeof self->line - 1) {
            self->line[self->length++] = bytes[i];
        }
    }
}

/* Reads what there is; closes what has ended. */
static void take(child *self, int *fd, bool is_report)
{
    char bytes[4096];
    ssize_t size = read(*fd, bytes, sizeof bytes);
    if (size < 0 && (errno == EINTR || errno == EAGAIN)) {
        return;
    }
    if (size <= 0) {
        close(*fd);
        *fd = -1;
    } else if (!is_report) {
        take_line_bytes(self, bytes, (size_t)size);
    } else if (self->report->size + (size_t)size <= NX_OPTIMIZE_MAX_TEXT) {
        nx_buffer_append(self->report, bytes, (size_t)size);
    }
}

/* Tells it to end when nobody wants it any more, and sees to it that it does. */
static void end_when_told(child *self)
{
    int64_t now = nx_clock_now_ns();
    if (!self->told && !self->order->go_on(self->order->user)) {
        self->told = true;
        self->told_ns = now;
        (void)kill(self->pid, SIGTERM);
    } else if (self->told && now - self->told_ns > PATIENCE) {
        (void)kill(self->pid, SIGKILL);
    }
}

static void follow(child *self)
{
    while (self->out >= 0 || self->err >= 0) {
        struct pollfd fds[3] = {{.fd = self->out, .events = POLLIN},
                                {.fd = self->err, .events = POLLIN},
                                {.fd = self->told ? -1 : self->order->wake, .events = POLLIN}};
        (void)poll(fds, 3, LOOK_MS);
        if (fds[0].revents != 0) {
            take(self, &self->out, true);
        }
        if (fds[1].revents != 0) {
            take(self, &self->err, false);
        }
        if (fds[2].revents != 0) {
            char byte;
            (void)!read(self->order->wake, &byte, 1);
        }
        end_when_told(self);
    }
}

static nx_status conclude(const child *self, int status, nx_error *err)
{
    if (self->told) {
        return nx_error_set(err, NX_ERR_CANCELLED, "somebody ended it");
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return NX_OK;
    }
    if (WIFSIGNALED(status)) {
        return nx_error_set(err, NX_ERR_INTERNAL,
                            "its process was ended by signal %d; SIGKILL (9) mostly means that "
                            "memory ran out",
                            WTERMSIG(status));
    }
    return nx_error_set(err, NX_ERR_UNSUPPORTED, "its process ended with exit status %d",
                        WEXITSTATUS(status));
}

/* A copy whose number is not among the child's, so that dup2 in the child leaves it open. */
static int above_childs(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, LOCK_FD + 1);
}

static void close_if_open(int fd)
{
    if (fd >= 0) {
        close(fd);
    }
}

nx_status nx_optimize_child_run(const nx_optimize_order *order, nx_buffer *report, nx_error *err)
{
    int out[2] = {-1, -1};
    int errors[2] = {-1, -1};
    child self = {.order = order, .report = report};
    int result = pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0 ? errno : 0;
    if (result == 0) {
        const int sources[3] = {above_childs(out[1]), above_childs(errors[1]),
                                above_childs(order->lock)};
        result = sources[0] < 0 || sources[1] < 0 || sources[2] < 0
                     ? EMFILE
                     : spawn(order, sources, &self.pid);
        for (size_t i = 0; i < 3; i++) {
            close_if_open(sources[i]);
        }
    }
    close_if_open(out[1]);
    close_if_open(errors[1]);
    if (result != 0) {
        close_if_open(out[0]);
        close_if_open(errors[0]);
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, result,
                                  "no process can be started for it");
    }
    int status = 0;
    self.out = out[0];
    self.err = errors[0];
    follow(&self);
    while (waitpid(self.pid, &status, 0) < 0 && errno == EINTR) {
    }
    return conclude(&self, status, err);
}

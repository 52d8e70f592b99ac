#include "media/decoder_process.h"

#include "base/clock.h"
#include "base/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* --- starting -----------------------------------------------------------------------------------
 */

static nx_status unavailable(int reason, nx_error *err)
{
    return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, reason, "no decoder can be started");
}

/* A copy whose number is not among the child's, so that dup2 in the child leaves it open. */
static int above_childs(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, NX_WIRE_DESCRIPTORS);
}

/* Variables that a program needs to start as this one did. Others, which may hold passwords, are
 * nothing for a process that reads strangers' files. */
#define MOST_VARIABLES 8

static void choose_environment(char *chosen[MOST_VARIABLES + 1])
{
    static const char *const names[] = {"LD_LIBRARY_PATH=", "ASAN_OPTIONS=", "UBSAN_OPTIONS=",
                                        "TSAN_OPTIONS=",    "LSAN_OPTIONS=", "LLVM_PROFILE_FILE="};
    size_t count = 0;
    for (char **variable = environ; variable != NULL && *variable != NULL; variable++) {
        for (size_t i = 0; i < sizeof names / sizeof names[0] && count < MOST_VARIABLES; i++) {
            if (strncmp(*variable, names[i], strlen(names[i])) == 0) {
                chosen[count++] = *variable;
            }
        }
    }
    chosen[count] = NULL;
}

/* Descriptors from NX_WIRE_CONTROL on. */
#define SOURCES (NX_WIRE_DESCRIPTORS - NX_WIRE_CONTROL)

static int fill_actions(posix_spawn_file_actions_t *actions, const int sources[SOURCES])
{
    int result = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    result = result != 0 ? result
                         : posix_spawn_file_actions_addopen(actions, 1, "/dev/null", O_WRONLY, 0);
    for (int i = 0; i < SOURCES && result == 0; i++) {
        if (sources[i] >= 0) {
            result = posix_spawn_file_actions_adddup2(actions, sources[i], NX_WIRE_CONTROL + i);
        }
    }
    return result;
}

/* sources: what becomes NX_WIRE_CONTROL and those behind it. Returns 0 or an errno. */
static int spawn(const int sources[SOURCES], pid_t *pid)
{
    char parent[16];
    char name[] = "nexus";
    char command[] = NX_WIRE_COMMAND;
    char *const argv[] = {name, command, parent, NULL};
    char *environment[MOST_VARIABLES + 1];
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    choose_environment(environment);
    int result = posix_spawn_file_actions_init(&actions);
    if (result != 0) {
        return result;
    }
    result = posix_spawnattr_init(&attributes);
    if (result == 0) {
        result = fill_actions(&actions, sources);
        result = result != 0 ? result : nx_spawn_clear_signals(&attributes);
        result = result != 0
                     ? result
                     : posix_spawn(pid, "/proc/self/exe", &actions, &attributes, argv, environment);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return result;
}

static void close_all(const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
}

nx_status nx_process_start(int video, int ring, int media, nx_decoder_process *out, nx_error *err)
{
    int ends[2] = {-1, -1};
    *out = (nx_decoder_process){.control = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
        return unavailable(errno, err);
    }
    const int sources[SOURCES] = {above_childs(ends[1]), above_childs(video), above_childs(ring),
                                  media >= 0 ? above_childs(media) : -1};
    bool good =
        sources[0] >= 0 && sources[1] >= 0 && sources[2] >= 0 && (sources[3] >= 0 || media < 0);
    int result = good ? 0 : EMFILE;
    if (result == 0) {
        result = spawn(sources, &out->pid);
    }
    close_all(sources, SOURCES);
    close(ends[1]);
    if (result != 0) {
        out->pid = 0;
        close(ends[0]);
        return unavailable(result, err);
    }
    out->control = ends[0];
    return NX_OK;
}

/* --- ending -------------------------------------------------------------------------------------
 */

static nx_decoder_death death_of(int status)
{
    nx_decoder_death death = {.status = NX_ERR_UNAVAILABLE};
    if (!WIFSIGNALED(status)) {
        snprintf(death.text, sizeof death.text, "the decoder ended unexpectedly (exit status %d)",
                 WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    } else if (WTERMSIG(status) == SIGKILL) {
        snprintf(death.text, sizeof death.text, "the decoder was killed");
    } else if (WTERMSIG(status) == SIGSYS) {
        death.status = NX_ERR_CORRUPT;
        snprintf(death.text, sizeof death.text, "the decoder tried what its sandbox forbids");
    } else {
        const char *name = sigabbrev_np(WTERMSIG(status));
        death.status = NX_ERR_CORRUPT;
        snprintf(death.text, sizeof death.text, "the file crashed the decoder (SIG%s)",
                 name != NULL ? name : "?");
    }
    return death;
}

nx_decoder_death nx_process_kill(nx_decoder_process *process)
{
    nx_decoder_death death = {.status = NX_ERR_UNAVAILABLE, .text = "the decoder has gone"};
    if (process->pid > 0) {
        int status = 0;
        pid_t reaped = 0;
        (void)kill(process->pid, SIGKILL); /* one that is dying stays dead of what it dies of */
        do {
            reaped = waitpid(process->pid, &status, 0);
        } while (reaped < 0 && errno == EINTR);
        if (reaped == process->pid) {
            death = death_of(status);
        }
        process->pid = 0;
    }
    return death;
}

/* --- messages -----------------------------------------------------------------------------------
 */

nx_status nx_process_tell(const nx_decoder_process *process, const nx_wire_to_child *order,
                          nx_error *err)
{
    ssize_t sent = 0;
    do {
        sent = send(process->control, order, sizeof *order, MSG_NOSIGNAL | MSG_DONTWAIT);
    } while (sent < 0 && errno == EINTR);
    if (sent != (ssize_t)sizeof *order) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno, "the decoder does not listen");
    }
    return NX_OK;
}

/* Waits until there is something to read. False: the time is up. */
static bool wait_for(int fd, int64_t until_ns)
{
    for (;;) {
        int64_t left = until_ns - nx_clock_now_ns();
        if (left < 0) {
            left = 0;
        }
        struct pollfd entry = {.fd = fd, .events = POLLIN};
        const struct timespec timeout = {.tv_sec = left / NX_NS_PER_SEC,
                                         .tv_nsec = left % NX_NS_PER_SEC};
        int ready = ppoll(&entry, 1, &timeout, NULL);
        if (ready != 0 && !(ready < 0 && errno == EINTR)) {
            return true;
        }
        if (ready == 0 && left == 0) {
            return false;
        }
    }
}

nx_heard nx_process_hear(const nx_decoder_process *process, int64_t until_ns,
                         nx_wire_to_parent *news)
{
    for (;;) {
        if (!wait_for(process->control, until_ns)) {
            return NX_HEARD_NOTHING;
        }
        ssize_t got = recv(process->control, news, sizeof *news, MSG_DONTWAIT | MSG_TRUNC);
        if (got == (ssize_t)sizeof *news) {
            return NX_HEARD_NEWS;
        }
        /* ECONNRESET is told once of a child that ended without reading all; what it said before
         * comes next */
        if (got >= 0 || (errno != EINTR && errno != EAGAIN && errno != ECONNRESET)) {
            return NX_HEARD_END;
        }
    }
}

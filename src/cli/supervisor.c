#include "cli/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/reload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

/* One that ends so soon after it was ready, or before, has not worked. */
#define SOON_NS      (10 * NX_NS_PER_SEC)
#define MOST_IN_VAIN 5
#define FIRST_WAIT   (100 * NX_NS_PER_MS)
#define LONGEST_WAIT (5 * NX_NS_PER_SEC)

typedef struct process {
    pid_t pid; /* 0: does not run */
    bool ready;
    bool was_ready; /* ever */
    int64_t ready_ns;
    uint32_t in_vain; /* starts in a row that came to nothing */
    int64_t due_ns;   /* when it is to be started; 0: it runs, or never again */
} process;

typedef struct supervisor {
    const nx_supervisor_options *options;
    process processes[NX_SUPERVISOR_MOST];
    int signal_fd;
    bool has_terminal; /* a SIGHUP may say that it was closed */
    int ready_fds[2];
    sigset_t before; /* the signals that were blocked */
    bool announced;
    bool ending;
    int64_t kill_ns; /* when those that are left are killed */
    int exit_code;
} supervisor;

void nx_supervisor_ready(int ready_fd, uint32_t index)
{
    uint8_t byte = (uint8_t)index;
    ssize_t ignored = write(ready_fd, &byte, 1); /* when nobody reads, SIGTERM is on its way */
    (void)ignored;
}

/* --- starting -----------------------------------------------------------------------------------
 */

static void close_descriptors(supervisor *s)
{
    int *all[] = {&s->signal_fd, &s->ready_fds[0], &s->ready_fds[1]};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (*all[i] >= 0) {
            close(*all[i]);
            *all[i] = -1;
        }
    }
}

/* In the new process. */
static _Noreturn void work(supervisor *s, uint32_t index, pid_t parent)
{
    /* the terminal sends SIGINT to all; the supervisor passes it on as SIGTERM. Blocked it would
     * not be ignored but kept. */
    (void)signal(SIGINT, SIG_IGN);
    if (prctl(PR_SET_PDEATHSIG, SIGTERM) != 0 || getppid() != parent) {
        _exit(NX_EXIT_UNAVAILABLE);
    }
    sigset_t mask = s->before;
    sigaddset(&mask, SIGTERM);
    sigdelset(&mask, SIGINT);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    int ready_fd = s->ready_fds[1];
    s->ready_fds[1] = -1;
    close_descriptors(s);
    nx_log_configure_worker(index + 1);
    exit(s->options->work(index, s->processes[index].was_ready, ready_fd, s->options->user));
}

static bool start_one(supervisor *s, uint32_t index)
{
    process *p = &s->processes[index];
    pid_t parent = getpid();
    fflush(NULL); /* or both would write what waits */
    pid_t pid = fork();
    if (pid == 0) {
        work(s, index, parent);
    }
    p->ready = false;
    p->pid = pid > 0 ? pid : 0;
    p->due_ns = 0;
    return pid > 0;
}

/* --- ending -------------------------------------------------------------------------------------
 */

static void tell_all(const supervisor *s, int number)
{
    for (uint32_t i = 0; i < s->options->count; i++) {
        if (s->processes[i].pid > 0) {
            kill(s->processes[i].pid, number);
        }
    }
}

static void end_all(supervisor *s, int exit_code)
{
    if (s->ending) {
        return;
    }
    s->ending = true;
    s->exit_code = exit_code;
    s->kill_ns = nx_clock_now_ns() + s->options->drain_ns;
    for (uint32_t i = 0; i < s->options->count; i++) {
        s->processes[i].due_ns = 0;
    }
    s->options->ending(s->options->user);
    tell_all(s, SIGTERM);
}

static const char *describe(int status, char *text, size_t size)
{
    if (WIFSIGNALED(status)) {
        snprintf(text, size, "was killed by signal %d", WTERMSIG(status));
    } else {
        snprintf(text, size, "ended with %d", WEXITSTATUS(status));
    }
    return text;
}

static int64_t wait_before(uint32_t in_vain)
{
    int64_t wait = FIRST_WAIT;
    for (uint32_t i = 1; i < in_vain && wait < LONGEST_WAIT; i++) {
        wait *= 2;
    }
    return wait < LONGEST_WAIT ? wait : LONGEST_WAIT;
}

static void start_again(supervisor *s, uint32_t index, const char *how)
{
    process *p = &s->processes[index];
    int64_t now = nx_clock_now_ns();
    bool worked = p->ready && now - p->ready_ns >= SOON_NS;
    p->in_vain = worked ? 0 : p->in_vain + 1;
    if (p->in_vain >= MOST_IN_VAIN) {
        nx_log_error("cli", "worker %u %s; that was the %uth time right after its start: giving up",
                     index + 1, how, p->in_vain);
        end_all(s, NX_EXIT_UNAVAILABLE);
        return;
    }
    int64_t wait = wait_before(p->in_vain);
    p->due_ns = now + wait;
    nx_log_error("cli", "worker %u %s; starting it again in %lld ms", index + 1, how,
                 (long long)(wait / NX_NS_PER_MS));
}

static void note_end(supervisor *s, uint32_t index, int status)
{
    char text[64];
    process *p = &s->processes[index];
    bool failed = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : NX_EXIT_UNAVAILABLE;
    p->pid = 0;
    s->options->lost(index, s->ending, s->options->user);
    if (s->ending) {
        s->exit_code = failed && s->exit_code == 0 ? code : s->exit_code;
    } else if (!p->was_ready && !s->announced && WIFEXITED(status)) {
        end_all(s, code); /* it has said why, and the others would say the same */
    } else {
        start_again(s, index, describe(status, text, sizeof text));
    }
    p->ready = false;
}

static void reap(supervisor *s)
{
    int status = 0;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG)) {
        for (uint32_t i = 0; i < s->options->count; i++) {
            if (s->processes[i].pid == pid) {
                note_end(s, i, status);
                break;
            }
        }
    }
}

/* --- what happens -------------------------------------------------------------------------------
 */

static void take_signals(supervisor *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP && s->ending) {
            continue; /* the shell tells of the terminal's end after the kernel has */
        }
        if (info.ssi_signo == SIGHUP && nx_reload_is_wanted(s->has_terminal)) {
            if (s->options->reload(s->options->user)) {
                tell_all(s, SIGHUP); /* each reads its configuration again */
            }
        } else if (info.ssi_signo == SIGCHLD) {
            reap(s);
        } else if (s->ending) {
            tell_all(s, SIGKILL);
        } else {
            nx_log_info("cli", "%s: finishing what is in flight; a second one ends at once",
                        nx_reload_signal_name((int)info.ssi_signo));
            end_all(s, NX_EXIT_OK);
        }
    }
}

static void take_readiness(supervisor *s)
{
    uint8_t index = 0;
    while (read(s->ready_fds[0], &index, 1) == 1) {
        if (index < s->options->count && s->processes[index].pid > 0) {
            s->processes[index].ready = s->processes[index].was_ready = true;
            s->processes[index].ready_ns = nx_clock_now_ns();
        }
    }
    bool all = true;
    for (uint32_t i = 0; i < s->options->count; i++) {
        all = all && s->processes[i].ready;
    }
    if (all && !s->announced && !s->ending) {
        s->announced = true;
        s->options->ready(s->options->user);
    }
}

/* Starts what is due, kills what is left; returns the milliseconds until there is more to do. */
static int take_time(supervisor *s)
{
    int64_t now = nx_clock_now_ns();
    int64_t next = INT64_MAX;
    if (s->ending && now >= s->kill_ns) {
        tell_all(s, SIGKILL);
    }
    for (uint32_t i = 0; i < s->options->count; i++) {
        process *p = &s->processes[i];
        if (p->due_ns > 0 && now >= p->due_ns && !start_one(s, i)) {
            start_again(s, i, "could not be started");
        }
        next = p->due_ns > 0 && p->due_ns < next ? p->due_ns : next;
    }
    if (s->ending && now < s->kill_ns && s->kill_ns < next) {
        next = s->kill_ns; /* also when the loop has given up just now */
    }
    if (next == INT64_MAX) {
        return -1;
    }
    int64_t left = (next - now) / NX_NS_PER_MS + 1;
    return left < 1 ? 1 : (int)left;
}

static bool any_left(const supervisor *s)
{
    bool any = false;
    for (uint32_t i = 0; i < s->options->count; i++) {
        any = any || s->processes[i].pid > 0 || s->processes[i].due_ns > 0;
    }
    return any;
}

static void watch_over(supervisor *s)
{
    while (any_left(s)) {
        int timeout = take_time(s);
        struct pollfd fds[] = {{.fd = s->signal_fd, .events = POLLIN},
                               {.fd = s->ready_fds[0], .events = POLLIN}};
        if (poll(fds, 2, timeout) > 0) {
            take_readiness(s); /* first: who was ready and died was ready */
            take_signals(s);
        }
    }
}

static nx_status open_descriptors(supervisor *s, nx_error *err)
{
    sigset_t watched;
    sigemptyset(&watched);
    sigaddset(&watched, SIGINT);
    sigaddset(&watched, SIGTERM);
    sigaddset(&watched, SIGHUP);
    sigaddset(&watched, SIGCHLD);
    s->signal_fd = s->ready_fds[0] = s->ready_fds[1] = -1;
    s->has_terminal = nx_reload_has_terminal();
    pthread_sigmask(SIG_BLOCK, &watched, &s->before);
    s->signal_fd = signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (s->signal_fd < 0 || pipe2(s->ready_fds, O_CLOEXEC | O_NONBLOCK) != 0) {
        return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                  "cannot watch over worker processes");
    }
    return NX_OK;
}

nx_status nx_supervise(const nx_supervisor_options *options, int *exit_code, nx_error *err)
{
    supervisor s = {.options = options};
    nx_status status = open_descriptors(&s, err);
    for (uint32_t i = 0; i < options->count && status == NX_OK && !s.ending; i++) {
        if (!start_one(&s, i)) {
            status = nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                                        "cannot start worker process %u", i + 1);
            end_all(&s, NX_EXIT_UNAVAILABLE);
        }
    }
    if (s.signal_fd >= 0) {
        watch_over(&s);
    }
    close_descriptors(&s);
    pthread_sigmask(SIG_SETMASK, &s.before, NULL);
    *exit_code = s.exit_code;
    return status;
}

#include "media/decoder_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <linux/sched.h>
#include <linux/videodev2.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

static nx_status refused(const char *what, nx_error *err)
{
    return nx_error_set_errno(err, NX_ERR_UNAVAILABLE, errno,
                              "the sandbox for decoding cannot be set up: %s", what);
}

nx_status nx_sandbox_detach(unsigned first, int parent, nx_error *err)
{
    if (close_range(first, ~0U, 0) != 0) {
        return refused("close_range", err);
    }
    if (!SANITIZED) { /* whose reports go there */
        int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (nowhere < 0 || dup2(nowhere, STDERR_FILENO) < 0 || close(nowhere) != 0) {
            return refused("/dev/null", err);
        }
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) {
        return refused("PR_SET_PDEATHSIG", err);
    }
    if (getppid() != parent) { /* it had gone before */
        return nx_error_set(err, NX_ERR_UNAVAILABLE, "whoever started the decoder has gone");
    }
    return NX_OK;
}

/* --- limits -------------------------------------------------------------------------------------
 */

/* Bytes of address space now; 0 if the system does not say. */
static uint64_t mapped_bytes(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file == NULL) {
        return 0;
    }
    if (fscanf(file, "%llu", &pages) != 1) { /* NOLINT(cert-err34-c): the kernel's own numbers */
        pages = 0;
    }
    (void)fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static nx_status limit(int resource, const char *name, uint64_t most, nx_error *err)
{
    const struct rlimit both = {.rlim_cur = most, .rlim_max = most};
    return setrlimit((__rlimit_resource_t)resource, &both) == 0 ? NX_OK : refused(name, err);
}

/* Descriptors of a camera's child: a few connections. */
#define ONLINE_FILES 64

static nx_status set_limits(uint64_t memory_limit, bool online, nx_error *err)
{
    nx_status status = NX_OK;
    if (!SANITIZED) { /* the sanitizers map terabytes, and read /proc for their reports */
        uint64_t mapped = mapped_bytes();
        if (mapped == 0) {
            return nx_error_set(err, NX_ERR_UNAVAILABLE,
                                "the sandbox for decoding cannot be set up: /proc is not there");
        }
        status = limit(RLIMIT_AS, "RLIMIT_AS", mapped + memory_limit, err);
        status = status == NX_OK
                     ? limit(RLIMIT_NOFILE, "RLIMIT_NOFILE", online ? ONLINE_FILES : 0, err)
                     : status;
    }
    status = status == NX_OK ? limit(RLIMIT_FSIZE, "RLIMIT_FSIZE", 0, err) : status;
    return status == NX_OK ? limit(RLIMIT_CORE, "RLIMIT_CORE", 0, err) : status;
}

/* --- system calls -------------------------------------------------------------------------------
 */

/* Without conditions on their arguments. */
static const int allowed[] = {
    /* memory */
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise),
    /* threads, which libavcodec names */
    SCMP_SYS(futex), SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity), SCMP_SYS(gettid), SCMP_SYS(getpid), SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    /* signals: those of a crash or an abort */
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    /* time */
    SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(clock_nanosleep), SCMP_SYS(nanosleep),
    SCMP_SYS(getrandom),
    /* the three descriptors */
    SCMP_SYS(read), SCMP_SYS(pread64), SCMP_SYS(close), SCMP_SYS(fstat), SCMP_SYS(sendto),
    SCMP_SYS(recvfrom)};

/* Libraries may ask for these, and live with a refusal. */
static const int denied[] = {SCMP_SYS(open),       SCMP_SYS(openat),   SCMP_SYS(stat),
                             SCMP_SYS(newfstatat), SCMP_SYS(readlink), SCMP_SYS(access),
                             SCMP_SYS(ioctl),      SCMP_SYS(uname),    SCMP_SYS(getcwd),
                             SCMP_SYS(statx),      SCMP_SYS(write),    SCMP_SYS(readlinkat),
                             SCMP_SYS(sysinfo),    SCMP_SYS(fcntl),    SCMP_SYS(faccessat)};

/* What a sanitizer's runtime needs is long and grows: there, all but the worst is allowed. */
static const int deadly[] = {SCMP_SYS(socket),   SCMP_SYS(socketpair), SCMP_SYS(connect),
                             SCMP_SYS(bind),     SCMP_SYS(listen),     SCMP_SYS(accept),
                             SCMP_SYS(accept4),  SCMP_SYS(execve),     SCMP_SYS(fork),
                             SCMP_SYS(vfork),    SCMP_SYS(execveat),   SCMP_SYS(unlink),
                             SCMP_SYS(rename),   SCMP_SYS(unlinkat),   SCMP_SYS(mkdir),
                             SCMP_SYS(renameat), SCMP_SYS(sendmsg),    SCMP_SYS(renameat2)};

/* What a camera's child may do besides, and what its libraries may ask for and are refused. */
static const int allowed_online[] = {
    SCMP_SYS(connect),  SCMP_SYS(bind),        SCMP_SYS(getsockopt),  SCMP_SYS(setsockopt),
    SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(poll),
    SCMP_SYS(ppoll),    SCMP_SYS(select),      SCMP_SYS(pselect6),    SCMP_SYS(recvmsg),
    SCMP_SYS(sendmsg),  SCMP_SYS(fcntl)};

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int add_all(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        result = seccomp_rule_add(filter, action, calls[i], 0);
    }
    return result;
}

/* Calls whose arguments matter: no code from data, threads and no processes, a thread's name and
 * nothing else of itself, signals to itself. */
static int add_conditions(scmp_filter_ctx filter)
{
    const struct {
        uint32_t action;
        int call;
        unsigned count; /* of conditions: 0 or 1 */
        struct scmp_arg_cmp condition;
    } rules[] = {
        {SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
        {SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)},
        {SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
         SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD)},
        /* its flags are out of a filter's sight; glibc takes clone then */
        {SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0, {0}},
        {SCMP_ACT_ALLOW, SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0)},
        {SCMP_ACT_ERRNO(EINVAL), SCMP_SYS(prctl), 1, SCMP_A0(SCMP_CMP_NE, PR_SET_NAME, 0)},
        {SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)},
    };
    int result = 0;
    for (size_t i = 0; i < COUNT(rules) && result == 0; i++) {
        result = seccomp_rule_add_array(filter, rules[i].action, rules[i].call, rules[i].count,
                                        &rules[i].condition);
    }
    return result;
}

static bool is_online(int call)
{
    bool found = call == SCMP_SYS(socket);
    for (size_t i = 0; i < COUNT(allowed_online) && !found; i++) {
        found = allowed_online[i] == call;
    }
    return found;
}

/* Sockets of the Internet. The resolver asks for others, and lives with a refusal. */
static int add_sockets(scmp_filter_ctx filter)
{
    static const int refused_families[] = {AF_UNIX, AF_NETLINK};
    static const int families[] = {AF_INET, AF_INET6};
    int result = 0;
    for (size_t i = 0; i < COUNT(families) && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)families[i], 0));
    }
    for (size_t i = 0; i < COUNT(refused_families) && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), SCMP_SYS(socket), 1,
                                  SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)refused_families[i], 0));
    }
    return result;
}

/* What is asked of a device that is open: a frame, and to take its buffer back. */
static int add_device(scmp_filter_ctx filter)
{
    static const unsigned long requests[] = {VIDIOC_DQBUF, VIDIOC_QBUF};
    int result = 0;
    for (size_t i = 0; i < COUNT(requests) && result == 0; i++) {
        result = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                  SCMP_A1(SCMP_CMP_EQ, (scmp_datum_t)requests[i], 0));
    }
    return result;
}

/* But for what that sandbox allows. */
static int add_some(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count,
                    nx_sandbox sandbox)
{
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++) {
        bool skip = (sandbox == NX_SANDBOX_ONLINE && is_online(calls[i])) ||
                    (sandbox == NX_SANDBOX_DEVICE && calls[i] == SCMP_SYS(ioctl));
        result = skip ? 0 : seccomp_rule_add(filter, action, calls[i], 0);
    }
    return result;
}

static int add_rules(scmp_filter_ctx filter, nx_sandbox sandbox)
{
    if (SANITIZED) {
        return add_some(filter, SCMP_ACT_KILL_PROCESS, deadly, COUNT(deadly), sandbox);
    }
    int result = add_all(filter, SCMP_ACT_ALLOW, allowed, COUNT(allowed));
    result = result != 0 ? result
                         : add_some(filter, SCMP_ACT_ERRNO(EACCES), denied, COUNT(denied), sandbox);
    if (sandbox == NX_SANDBOX_ONLINE && result == 0) {
        result = add_all(filter, SCMP_ACT_ALLOW, allowed_online, COUNT(allowed_online));
    }
    if (sandbox == NX_SANDBOX_ONLINE && result == 0) {
        result = add_sockets(filter);
    }
    if (sandbox == NX_SANDBOX_DEVICE && result == 0) {
        result = add_device(filter);
    }
    return result != 0 ? result : add_conditions(filter);
}

static nx_status filter_calls(nx_sandbox sandbox, nx_error *err)
{
    scmp_filter_ctx filter = seccomp_init(SANITIZED ? SCMP_ACT_ALLOW : SCMP_ACT_KILL_PROCESS);
    int result = filter == NULL ? -ENOMEM : add_rules(filter, sandbox);
    result = result != 0 ? result : seccomp_load(filter);
    seccomp_release(filter);
    if (result != 0) {
        errno = -result;
        return refused("seccomp", err);
    }
    return NX_OK;
}

nx_status nx_sandbox_enter(nx_sandbox sandbox, uint64_t memory_limit, nx_error *err)
{
    nx_status status = set_limits(memory_limit, sandbox == NX_SANDBOX_ONLINE, err);
    if (status != NX_OK) {
        return status;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        return refused("PR_SET_NO_NEW_PRIVS", err);
    }
    if (!SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        return refused("PR_SET_DUMPABLE", err);
    }
    return filter_calls(sandbox, err);
}

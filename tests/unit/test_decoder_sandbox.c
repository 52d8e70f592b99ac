/* What a process in the decoder's sandbox can and cannot do; each trial is a process of its own. */
#include "testing.h"

#include "media/decoder_sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif

#define MEMORY ((size_t)64 << 20)

/* Runs trial in the sandbox and returns how the process ended. */
static int outcome_of(void (*trial)(void))
{
    int status = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        nx_error err = {0};
        if (nx_sandbox_enter(NX_SANDBOX_FILE, MEMORY, &err) != NX_OK) {
            _exit(99);
        }
        trial();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void assert_deadly(void (*trial)(void))
{
    int status = outcome_of(trial);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSYS);
}

static void make_socket(void)
{
    (void)socket(AF_INET, SOCK_STREAM, 0);
}

static void make_local_socket(void)
{
    (void)socket(AF_UNIX, SOCK_STREAM, 0);
}

static void run_program(void)
{
    char name[] = "true";
    char *const argv[] = {name, NULL};
    (void)execv("/bin/true", argv);
}

static void remove_file(void)
{
    (void)unlink("/tmp/nexus-no-such-file");
}

static void neither_network_nor_programs(void **state)
{
    (void)state;
    assert_deadly(make_socket);
    assert_deadly(make_local_socket);
    assert_deadly(run_program);
    assert_deadly(remove_file);
}

#ifndef SANITIZED
static void assert_fine(void (*trial)(void))
{
    int status = outcome_of(trial);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void *do_nothing(void *user)
{
    return user;
}

static void work(void)
{
    pthread_t thread;
    char *volatile memory = malloc(MEMORY / 4);
    if (memory == NULL) {
        _exit(1);
    }
    memset(memory, 1, MEMORY / 4);
    if (pthread_create(&thread, NULL, do_nothing, NULL) != 0 || pthread_join(thread, NULL) != 0) {
        _exit(1);
    }
    free(memory);
}

static void open_file(void)
{
    if (open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES) {
        _exit(1);
    }
}

static void make_descriptor(void)
{
    _exit(dup(0));
}

static void change_itself(void)
{
    if (prctl(PR_SET_NAME, "named", 0, 0, 0) != 0 || prctl(PR_SET_DUMPABLE, 1, 0, 0, 0) != -1) {
        _exit(1);
    }
}

static void take_too_much(void)
{
    void *volatile memory = malloc(MEMORY + (4U << 20));
    if (memory != NULL || errno != ENOMEM) {
        _exit(1);
    }
}

static void make_code(void)
{
    (void)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void make_code_of_data(void)
{
    static _Alignas(4096) char data[4096];
    (void)mprotect(data, sizeof data, PROT_READ | PROT_EXEC);
}

static void make_process(void)
{
    (void)fork();
}

static void kill_another(void)
{
    (void)kill(getppid(), 0);
}

static void decoding_is_possible(void **state)
{
    (void)state;
    assert_fine(work);
}

static void the_rest_is_not(void **state)
{
    (void)state;
    assert_fine(open_file);
    assert_fine(change_itself);
    assert_fine(take_too_much);
    assert_deadly(make_descriptor);
    assert_deadly(make_code);
    assert_deadly(make_code_of_data);
    assert_deadly(make_process);
    assert_deadly(kill_another);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(neither_network_nor_programs),
#ifndef SANITIZED /* whose runtimes need more */
        cmocka_unit_test(decoding_is_possible),
        cmocka_unit_test(the_rest_is_not),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* In a child process each time, for what is tested ends it. */
#include "testing.h"

#include "cli/interrupt.h"

#include <sys/wait.h>

static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

enum { CLEANED = 'c', WATCHING = 'w', ENDED = 'e' };

static void clean(void *user)
{
    const char told = CLEANED;
    assert_int_equal(write(*(int *)user, &told, 1), 1);
}

static void tell(int pipe, char what)
{
    if (write(pipe, &what, 1) != 1) {
        _exit(99);
    }
}

/* Tells that it watches, and waits for the signal. */
static void be_interrupted(int to)
{
    nx_interrupt interrupt;
    nx_interrupt_begin(&interrupt);
    nx_interrupt_watch(&interrupt, clean, &to);
    tell(to, WATCHING);
    for (;;) {
        pause();
    }
}

/* A signal that comes while it is held ends the process at the end, without cleaning up. */
static void be_interrupted_late(int to)
{
    nx_interrupt interrupt;
    nx_interrupt_begin(&interrupt);
    nx_interrupt_watch(&interrupt, clean, &to);
    nx_interrupt_hold(&interrupt);
    kill(getpid(), SIGTERM);
    tell(to, ENDED);
    nx_interrupt_end(&interrupt);
    _exit(98);
}

static void ignore_it(int to)
{
    nx_interrupt interrupt;
    signal(SIGHUP, SIG_IGN);
    nx_interrupt_begin(&interrupt);
    nx_interrupt_watch(&interrupt, clean, &to);
    kill(getpid(), SIGHUP);
    nx_interrupt_end(&interrupt);
    tell(to, ENDED);
    _exit(0);
}

/* Runs it, sends the signal (0: none) once it has told WATCHING, and returns how it ended. */
static int outcome_of(void (*run)(int to), int number, const char *expected)
{
    int ends[2];
    char told[8] = "";
    size_t count = 0;
    int status = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        for (size_t i = 0; i < NX_COUNT(numbers); i++) { /* nohup(1) would have one ignored */
            (void)signal(numbers[i], SIG_DFL);
        }
        run(ends[1]);
        _exit(97);
    }
    close(ends[1]);
    while (count < sizeof told - 1 && read(ends[0], &told[count], 1) == 1) {
        if (told[count++] == WATCHING) {
            assert_int_equal(kill(child, number), 0);
        }
    }
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_string_equal(told, expected);
    return status;
}

static void a_signal_cleans_up_and_ends_the_process(void **state)
{
    (void)state;
    for (size_t i = 0; i < NX_COUNT(numbers); i++) {
        int status = outcome_of(be_interrupted, numbers[i], "wc");
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), numbers[i]);
    }
}

static void a_signal_that_is_held_acts_at_the_end(void **state)
{
    (void)state;
    int status = outcome_of(be_interrupted_late, 0, "e");
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGTERM);
}

static void what_is_ignored_stays_so(void **state)
{
    (void)state;
    int status = outcome_of(ignore_it, 0, "e");
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_signal_cleans_up_and_ends_the_process),
        cmocka_unit_test(a_signal_that_is_held_acts_at_the_end),
        cmocka_unit_test(what_is_ignored_stays_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "cli/interrupt.h"

#include <stddef.h>
#include <stdlib.h>

#define END_OF_WAITING SIGUSR1

static void add_unless_ignored(sigset_t *set, int number)
{
    struct sigaction action;
    if (sigaction(number, NULL, &action) != 0 || action.sa_handler != SIG_IGN) {
        sigaddset(set, number);
    }
}

void nx_interrupt_begin(nx_interrupt *interrupt)
{
    *interrupt = (nx_interrupt){.watching = false};
    sigemptyset(&interrupt->signals);
    sigaddset(&interrupt->signals, END_OF_WAITING);
    add_unless_ignored(&interrupt->signals, SIGINT);
    add_unless_ignored(&interrupt->signals, SIGTERM);
    add_unless_ignored(&interrupt->signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &interrupt->signals, &interrupt->before);
}

static void *watch(void *user)
{
    const nx_interrupt *self = user;
    int number = 0;
    sigset_t own;
    if (sigwait(&self->signals, &number) != 0 || number == END_OF_WAITING) {
        return NULL;
    }
    self->clean(self->user);
    sigemptyset(&own);
    sigaddset(&own, number);
    pthread_sigmask(SIG_UNBLOCK, &own, NULL);
    (void)raise(number);
    _Exit(128 + number); /* only if somebody handles it */
}

void nx_interrupt_watch(nx_interrupt *interrupt, void (*clean)(void *user), void *user)
{
    interrupt->clean = clean;
    interrupt->user = user;
    interrupt->watching = pthread_create(&interrupt->thread, NULL, watch, interrupt) == 0;
    if (!interrupt->watching) {
        pthread_sigmask(SIG_SETMASK, &interrupt->before, NULL);
    }
}

void nx_interrupt_hold(nx_interrupt *interrupt)
{
    if (interrupt->watching) {
        interrupt->watching = false;
        (void)pthread_kill(interrupt->thread, END_OF_WAITING);
        (void)pthread_join(interrupt->thread, NULL);
    }
}

void nx_interrupt_end(nx_interrupt *interrupt)
{
    nx_interrupt_hold(interrupt);
    pthread_sigmask(SIG_SETMASK, &interrupt->before, NULL);
}

/*
 * Ctrl-C while a command has files of its own about. SIGINT, SIGTERM and SIGHUP are blocked and
 * waited for by a thread (signal-safety(7) leaves a handler little that it may call), which cleans
 * up and lets the signal end the process as it would have. A signal that is ignored stays so.
 */
#ifndef NX_CLI_INTERRUPT_H
#define NX_CLI_INTERRUPT_H

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

/* On the stack of the command. Fields are the interrupt's own. */
typedef struct nx_interrupt {
    sigset_t signals; /* that are waited for, and the one that ends the waiting */
    sigset_t before;
    pthread_t thread;
    bool watching;
    void (*clean)(void *user);
    void *user;
} nx_interrupt;

/* Signals wait from here on. Before other threads are started, which inherit that. */
void nx_interrupt_begin(nx_interrupt *interrupt);

/* From here on a signal calls clean, on another thread, and ends the process. Without a thread for
 * that signals act as ever. */
void nx_interrupt_watch(nx_interrupt *interrupt, void (*clean)(void *user), void *user);

/* Signals wait again; clean is not called any more. */
void nx_interrupt_hold(nx_interrupt *interrupt);

/* Signals act as before nx_interrupt_begin, and first of all those that waited. */
void nx_interrupt_end(nx_interrupt *interrupt);

#endif

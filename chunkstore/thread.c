/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How threads are started. What they do, and when they end, is of those who
 * start them.
 */
#include "thread.h"

#include <signal.h>
#include <stddef.h>

int cs_thread_start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    /* Signals belong to the program's own threads, but for those that a fault raises here. */
    static const int kept[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigset_t blocked, before;
    sigfillset(&blocked);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        sigdelset(&blocked, kept[i]);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    int sys = pthread_create(thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return sys;
}

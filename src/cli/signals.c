/* SPDX-License-Identifier: BSD-2-Clause */
/* Handlers are installed even where the signal was ignored: the exit codes 130 and 143 are promised
 * to scripts, whose background jobs start with SIGINT ignored. */
#include "cli/signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <string.h>

static volatile int seen;
static volatile int cancel; /* seen, or not wanted any more */
static atomic_bool status_asked;

static void on_signal(int signal_number)
{
    if (seen) {
        signal(signal_number, SIG_DFL);
        raise(signal_number); /* delivered when this handler returns */
        return;
    }
    __atomic_store_n(&seen, signal_number, __ATOMIC_RELAXED);
    __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
}

static void on_status(int signal_number)
{
    (void)signal_number;
    status_asked = true;
}

void signals_setup(void)
{
    struct sigaction action;

    memset(&action, 0, sizeof action);
    sigemptyset(&action.sa_mask);
    /* No SA_RESTART: a read that waits for a person or for another process has to end. */
    action.sa_handler = on_signal;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    action.sa_handler = on_status;
    action.sa_flags = SA_RESTART; /* nothing has to end for it */
    sigaction(SIGUSR1, &action, NULL);
    action.sa_handler = SIG_IGN;
    sigaction(SIGPIPE, &action, NULL);
}

const volatile int *signals_cancel(void)
{
    return &cancel;
}

void signals_stop(void)
{
    __atomic_store_n(&cancel, 1, __ATOMIC_RELAXED);
}

int signals_seen(void)
{
    return __atomic_load_n(&seen, __ATOMIC_RELAXED);
}

bool signals_take_status(void)
{
    return atomic_exchange(&status_asked, false);
}

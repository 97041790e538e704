/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_WATCH_H
#define BYRE_LIVE_WATCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/error.h"
#include "live/machine.h"

/*
 * A thread that has the machine to itself while a backup reads: it sees space
 * run out before the guest does, the guest's I/O errors, and the machine's end.
 */

struct watch {
    struct machine *machine; /* lent, as ${journal}; nobody else uses them meanwhile */
    struct journal *journal;
    const struct live_listener *listener; /* its stop is called, once; lent */
    _Atomic bool stop;
    bool started;
    bool gone;         /* the machine; after watch_end */
    char trouble[512]; /* what endangers it, or ""; after watch_end */
    pthread_t thread;
};

/* May follow watch_end. */
int watch_begin(struct watch *w, struct machine *machine, struct journal *journal,
                const struct live_listener *listener, struct error *err);
/* Any number of times, also where it never began. */
void watch_end(struct watch *w);

#endif

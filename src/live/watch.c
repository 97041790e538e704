/* SPDX-License-Identifier: BSD-2-Clause */
/* Sees what endangers a machine on overlays, and asks the backup to stop. */
#include "live/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "live/overlay.h"

enum { TICK = 100 }; /* milliseconds */

static void ask_to_stop(struct watch *w, const char *why)
{
    if (w->trouble[0] != 0)
        return;
    snprintf(w->trouble, sizeof w->trouble, "%s", why);
    if (w->listener->stop != NULL)
        w->listener->stop(w->listener->arg);
}

/* All that the overlays have must fit once more, into the bases. */
static void look_at_space(struct watch *w)
{
    const struct journal *j = w->journal;
    uint64_t bytes = 0, left = 0;
    bool is_short = false;
    char why[512];
    for (size_t i = 0; i < j->disk_count; i++)
        if (j->disks[i].mode == JOURNAL_OVERLAY)
            bytes += overlay_bytes(&j->disks[i]);
    for (size_t i = 0; i < j->disk_count && w->trouble[0] == 0; i++) {
        const struct journal_disk *d = &j->disks[i];
        if (overlay_is_short(d->overlay, d->mode == JOURNAL_OVERLAY ? bytes : 0, &is_short, &left,
                             NULL) == 0 &&
            !is_short)
            continue;
        snprintf(
            why, sizeof why,
            "space runs out where %.256s is: %llu MiB are left, and the overlays have %llu MiB",
            d->overlay, (unsigned long long)(left >> 20), (unsigned long long)(bytes >> 20));
        ask_to_stop(w, why);
    }
}

static void *run(void *arg)
{
    struct watch *w = arg;
    while (!w->stop) {
        char *trouble = NULL;
        struct error err = {0};
        int rc = 0;
        if (!w->gone)
            rc = w->machine->ops->watch(w->machine, w->journal, TICK, &trouble, &w->gone, &err);
        if (w->gone || rc < 0)
            nanosleep(&(struct timespec){.tv_nsec = TICK * 1000000L}, NULL);
        else
            look_at_space(w);
        if (trouble != NULL)
            ask_to_stop(w, trouble);
        free(trouble);
    }
    return NULL;
}

int watch_begin(struct watch *w, struct machine *machine, struct journal *journal,
                const struct live_listener *listener, struct error *err)
{
    w->machine = machine;
    w->journal = journal;
    w->listener = listener;
    w->stop = false;
    int sys = pthread_create(&w->thread, NULL, run, w);
    w->started = sys == 0;
    return sys != 0 ? error_sys(err, sys, "starting a thread") : 0;
}

void watch_end(struct watch *w)
{
    if (!w->started)
        return;
    w->stop = true;
    pthread_join(w->thread, NULL);
    w->started = false;
}

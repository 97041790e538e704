/* SPDX-License-Identifier: BSD-2-Clause */
/* Sees what endangers a machine on overlays, and asks the backup to stop. */
#include "live/watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
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

/* What an overlay has must fit once more into its base; but a raw file has room already for what is
 * no hole, and a block device for all. */
static uint64_t need_of(const struct journal_disk *d, const struct stat *base)
{
    uint64_t bytes = overlay_bytes(d), has = (uint64_t)base->st_blocks * 512;
    if (!S_ISREG(base->st_mode))
        return 0;
    if (strcmp(d->format, "raw") != 0)
        return bytes;
    uint64_t holes = d->size > has ? d->size - has : 0;
    return bytes < holes ? bytes : holes;
}

/* What the bases on file system ${device} need, all together. */
static uint64_t need_on(const struct journal *j, dev_t device)
{
    struct stat base;
    uint64_t need = 0;
    for (size_t i = 0; i < j->disk_count; i++)
        if (j->disks[i].mode == JOURNAL_OVERLAY && stat(j->disks[i].base, &base) == 0 &&
            base.st_dev == device)
            need += need_of(&j->disks[i], &base);
    return need;
}

/* ${grows}: the machine's writes make ${path} larger as long as the backup takes. */
static void look_at_room(struct watch *w, const char *path, bool grows)
{
    struct stat st;
    uint64_t left = 0, margin = 0;
    char why[512];
    if (stat(path, &st) < 0 || overlay_room(path, &left, &margin, NULL) < 0)
        return;
    uint64_t need = need_on(w->journal, st.st_dev);
    if (left >= need + (grows ? margin : 0))
        return;
    snprintf(why, sizeof why,
             "space runs out where %.256s is: %llu MiB are left, and what the overlays have needs "
             "%llu MiB there",
             path, (unsigned long long)(left >> 20), (unsigned long long)(need >> 20));
    ask_to_stop(w, why);
}

static void look_at_space(struct watch *w)
{
    const struct journal *j = w->journal;
    for (size_t i = 0; i < j->disk_count && w->trouble[0] == 0; i++) {
        look_at_room(w, j->disks[i].overlay, true);
        if (j->disks[i].mode == JOURNAL_OVERLAY && w->trouble[0] == 0)
            look_at_room(w, j->disks[i].base, false);
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

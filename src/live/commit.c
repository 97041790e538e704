/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way back on a running machine. All disks are copied side by side; then
 * each one is completed by itself, for its guest's writes wait meanwhile, with a
 * guard that does the rest if byre dies in between.
 */
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "live/guard.h"
#include "live/overlay.h"
#include "live/session.h"

enum { TICK = 100, PATIENCE = 3600 }; /* milliseconds; seconds */

static bool is_to_commit(const struct journal_disk *d)
{
    return d->mode == JOURNAL_OVERLAY && !d->undecided &&
           (d->step == JOURNAL_SWITCHED || d->step == JOURNAL_DISK_COMMITS);
}

double live_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int begin(struct machine *m, struct journal *j, bool *failed, struct error *err)
{
    struct error why = {0};
    int rc = 0;
    for (size_t i = 0; i < j->disk_count; i++)
        if (is_to_commit(&j->disks[i]))
            j->disks[i].step = JOURNAL_DISK_COMMITS;
    j->phase = JOURNAL_COMMITTING;
    rc = journal_save(j, err);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        if (!is_to_commit(&j->disks[i]) || m->ops->commit_begin(m, j, i, &why) == 0)
            continue;
        failed[i] = true;
        error_wrap(&why, "disk %s", j->disks[i].device);
        if (err != NULL && err->code == 0)
            *err = why;
    }
    return rc;
}

/* Waits until little is left of each. */
static void copy(struct machine *m, struct journal *j, const struct live_listener *l, bool *failed,
                 struct error *err)
{
    for (bool all = false; !all;) {
        uint64_t sum_done = 0, sum_total = 0;
        all = true;
        for (size_t i = 0; i < j->disk_count; i++) {
            uint64_t done = 0, total = 0;
            struct error why = {0};
            bool ready = false;
            if (!is_to_commit(&j->disks[i]) || failed[i])
                continue;
            int rc = m->ops->commit_progress(m, j, i, TICK, &done, &total, &ready, &why);
            failed[i] = rc < 0;
            all &= ready || rc < 0;
            sum_done += done;
            sum_total += total;
            if (rc < 0)
                error_wrap(&why, "disk %s", j->disks[i].device);
            if (rc < 0 && err != NULL && err->code == 0)
                *err = why;
        }
        if (l->progress != NULL)
            l->progress(l->arg, "writing back what the machine wrote meanwhile", sum_done,
                        sum_total);
    }
}

/* The machine writes to the overlay all the same. Where nobody can tell, what the journal says
 * stays: without the machine both are equal. */
static void take_back(struct machine *m, struct journal *j, size_t i, struct error *err)
{
    enum machine_where where = MACHINE_ELSEWHERE;
    if (m->ops->look(m, j, i, &where, NULL) < 0 || where != MACHINE_ON_OVERLAY)
        return;
    j->disks[i].step = JOURNAL_DISK_COMMITS;
    if (journal_save(j, NULL) < 0 && err != NULL)
        error_add(err, "; its journal says that the base is complete, which it is not, and cannot "
                       "be written: keep the overlay");
}

/* From ready to the base. While a job is pending the guest's writes wait, so that it must not be
 * left so. */
static int go_back(struct machine *m, struct journal *j, size_t i, bool *pivoted, struct error *err)
{
    int rc = m->ops->commit_complete(m, j, i, pivoted, err);
    if (rc < 0)
        return rc;
    j->disks[i].step = JOURNAL_COMPLETE;
    rc = journal_save(j, err);
    if (*pivoted)
        return rc;
    if (rc == 0)
        rc = m->ops->pivot(m, j, i, err);
    else
        m->ops->commit_abort(m, j, i);
    if (rc < 0)
        take_back(m, j, i, err);
    return rc;
}

struct rest {
    struct journal *journal;
    size_t disk;
};

/* In the guard, byre being dead: its monitor is free, or another client's for a while. */
static void finish_disk(void *arg)
{
    struct rest *rest = arg;
    struct machine *m = NULL;
    bool pivoted = false;
    double from = live_seconds();
    int rc = machine_find(&m, rest->journal, NULL);
    for (; rc == ERROR_IN_USE && live_seconds() - from < PATIENCE;
         rc = machine_find(&m, rest->journal, NULL))
        poll(NULL, 0, TICK);
    if (rc < 0)
        return;
    if (m->same)
        go_back(m, rest->journal, rest->disk, &pivoted, NULL);
    machine_close(m);
}

static int complete(struct machine *m, struct journal *j, size_t i, double *pause,
                    struct error *err)
{
    struct rest rest = {.journal = j, .disk = i};
    struct guard *guard = NULL;
    bool pivoted = false;
    int rc = guard_start(&guard, 0, &j->lock, 1, finish_disk, &rest, err);
    if (rc < 0)
        return rc;
    double from = live_seconds();
    rc = go_back(m, j, i, &pivoted, err);
    double took = live_seconds() - from;
    if (pause != NULL && !pivoted && took > *pause)
        *pause = took;
    guard_release(guard);
    return rc;
}

int commit_disks(struct machine *m, struct journal *j, const struct live_listener *l, double *pause,
                 struct error *err)
{
    struct error first = {0};
    bool *failed = calloc(j->disk_count + 1, sizeof *failed);
    int rc = failed == NULL ? error_no_memory(&first) : begin(m, j, failed, &first);
    if (rc == 0)
        copy(m, j, l, failed, &first);
    for (size_t i = 0; rc == 0 && i < j->disk_count; i++) {
        struct journal_disk *d = &j->disks[i];
        struct error why = {0};
        if (failed[i] || d->undecided || d->step == JOURNAL_REMOVED ||
            d->step < JOURNAL_DISK_COMMITS)
            continue;
        int disk_rc = is_to_commit(d) ? complete(m, j, i, pause, &why) : 0;
        if (disk_rc == 0)
            disk_rc = m->ops->forget(m, j, i, &why);
        if (disk_rc == 0)
            disk_rc = overlay_remove(d, &why);
        if (disk_rc == 0)
            d->step = JOURNAL_REMOVED;
        if (disk_rc < 0 && first.code == 0) {
            first = why;
            error_wrap(&first, "disk %s", d->device);
        }
    }
    free(failed);
    if (first.code != 0 && err != NULL)
        *err = first;
    return first.code;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_SESSION_H
#define BYRE_LIVE_SESSION_H

#include "live/journal.h"
#include "live/live.h"
#include "live/machine.h"
#include "live/watch.h"

/* What the files of a live backup share. Only they include this. */

struct live {
    struct live_options options; /* lent */
    struct machine *machine;
    struct journal journal;
    struct watch watch;
    bool partial;  /* something asked for is missing */
    double pause;  /* seconds */
    size_t wanted; /* bitmaps: disks that can have one */
    bool off;      /* the machine is shut off: its disks are files like others */
    const char **images;
    char **side_files;
    size_t side_file_count;
};

__attribute__((format(printf, 2, 3))) void live_warn(const struct live_listener *l, const char *fmt,
                                                     ...);
__attribute__((format(printf, 2, 3))) void live_note(const struct live_listener *l, const char *fmt,
                                                     ...);

double live_seconds(void); /* of a clock that only runs on */

/*
 * Has the machine go back to the bases of all disks that it writes to the overlays of, and removes
 * those: live, disk by disk, the journal ahead of each step. ${*pause}, unless NULL, becomes the
 * longest that a guest's writes waited, in seconds, if that is longer. Goes on past a disk that
 * fails; then the journal says where it is.
 */
int commit_disks(struct machine *m, struct journal *j, const struct live_listener *l, double *pause,
                 struct error *err);

/* Puts right what ${j}, which is locked, tells. ${m}: the machine, or NULL to look for it. The
 * journal is gone when it returns 0. */
int recover_journal(struct machine *m, struct journal *j, const struct live_recover_options *o,
                    struct error *err);

void live_free(struct live *l);

/* Has the machine write its side files, and lists them. */
int side_files_collect(struct live *l, struct error *err);
/* Removes those of ${j}, also those of a run that was killed. */
void side_files_remove(const struct journal *j);

/* Thaws, again and again for some seconds. */
int freeze_thaw(struct machine *m, struct error *err);

#endif

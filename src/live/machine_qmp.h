/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_MACHINE_QMP_H
#define BYRE_LIVE_MACHINE_QMP_H

#include "live/agent.h"
#include "live/graph.h"
#include "live/machine.h"
#include "live/qmp.h"

/* What the files of a machine that is spoken to by QMP share. Only they include this. */

struct machine_qmp {
    struct machine machine; /* first */
    struct qmp *q;
    char *socket; /* absolute */
    pid_t pid;    /* 0: not known */
    struct agent *agent;
};

#define QMP_OF(m) ((struct machine_qmp *)(m))

/* The names of the overlay's node and of the base's, as the machine has them now; both "" where it
 * does not know the overlay. */
struct qmp_place {
    enum machine_where where;
    char overlay[64];
    char base[64];
    char root[64]; /* what is to be committed */
};
int qmp_place_find(struct machine *m, const struct journal *j, size_t i, struct qmp_place *place,
                   struct error *err);

/* "byre-live-N", the job of a disk. */
void qmp_job_name(size_t i, char name[32]);

/* The job of a disk, where it is at its end and nobody has taken notice. */
int machine_qmp_dismiss(struct machine *m, size_t i, struct error *err);

/* machine_ops */
int machine_qmp_plan(struct machine *m, const struct live_options *o, struct journal *j,
                     struct error *err);
int machine_qmp_prepare(struct machine *m, struct journal *j, struct error *err);
void machine_qmp_unprepare(struct machine *m, struct journal *j);
int machine_qmp_switch_over(struct machine *m, struct journal *j, struct error *err);
int machine_qmp_check_bases(struct machine *m, struct journal *j, struct error *err);
int machine_qmp_forget(struct machine *m, struct journal *j, size_t i, struct error *err);
int machine_qmp_drop_bitmaps(struct machine *m, struct journal *j, size_t i, const char *prefix,
                             const char *keep, size_t *left, struct error *err);
int machine_qmp_commit_begin(struct machine *m, struct journal *j, size_t i, struct error *err);
int machine_qmp_commit_progress(struct machine *m, struct journal *j, size_t i, int milliseconds,
                                uint64_t *done, uint64_t *total, bool *ready, struct error *err);
int machine_qmp_commit_complete(struct machine *m, struct journal *j, size_t i, bool *pivoted,
                                struct error *err);
int machine_qmp_pivot(struct machine *m, struct journal *j, size_t i, struct error *err);
#endif

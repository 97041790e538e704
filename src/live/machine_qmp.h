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

/* Of fresh bitmaps, in bytes. */
uint64_t machine_qmp_granularity(uint64_t size);

/* Says one line of shell that sends ${count} commands. */
void machine_qmp_say(const struct journal *j, void (*say)(void *arg, const char *line), void *arg,
                     json_t *const *commands, size_t count);

/* Disks in content mode. What prepare and switch_over do for them, */
int machine_qmp_fleece_prepare(struct machine_qmp *mq, const struct journal *j, struct error *err);
void machine_qmp_fleece_actions(const struct journal *j, json_t *actions);
/* what looking tells: MACHINE_ON_OVERLAY is that its content is kept, */
int machine_qmp_fleece_look(struct machine *m, const struct journal *j, size_t i,
                            enum machine_where *where, struct error *err);
/* what an event means for it; NULL: nothing, */
char *machine_qmp_fleece_trouble(const json_t *event);
/* and what a person would type. */
void machine_qmp_fleece_commands(const struct journal *j, size_t i, enum machine_where where,
                                 void (*say)(void *arg, const char *line), void *arg);

/* The job of a disk, where it is at its end and nobody has taken notice. */
int machine_qmp_dismiss(struct machine *m, size_t i, struct error *err);

/* machine_ops */
int machine_qmp_fleece_begin(struct machine *m, struct journal *j, struct error *err);
int machine_qmp_fleece_end(struct machine *m, struct journal *j, bool archived, struct error *err);
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
void machine_qmp_commit_abort(struct machine *m, struct journal *j, size_t i);
int machine_qmp_pivot(struct machine *m, struct journal *j, size_t i, struct error *err);
#endif

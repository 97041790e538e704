/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_MACHINE_H
#define BYRE_LIVE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "live/journal.h"
#include "live/live.h"

/*
 * A running machine, whoever runs it: what byre asks of it, step by step. The
 * journal is written by the caller before each step, never by these; overlay
 * files are made and removed by the caller, too. Each machine is used by one
 * thread at a time. ${i} is a disk of the journal.
 */

struct machine;

/* What is true of a disk now, as the machine tells. */
enum machine_where {
    MACHINE_ON_BASE,    /* it writes to the base, and does not know the overlay */
    MACHINE_KNOWS,      /* it writes to the base; it has the overlay open, too */
    MACHINE_ON_OVERLAY, /* it writes to the overlay; no commit is under way */
    MACHINE_COMMITTING, /* the same, and its bytes are being written to the base */
    MACHINE_ELSEWHERE,  /* it has neither */
};

struct machine_ops {
    /* Fills the journal's disks up to size, and encrypted, with step PLANNED, but overlay,
     * key_file, bitmap; as ${o} asks. Refuses what cannot be frozen, before anything is touched. */
    int (*plan)(struct machine *m, const struct live_options *o, struct journal *j,
                struct error *err);
    /* The overlays are there: has the machine open them, as far as that is a step of its own. May
     * be undone while it writes to the bases. NULL: nothing to do. */
    int (*prepare)(struct machine *m, struct journal *j, struct error *err);
    void (*unprepare)(struct machine *m, struct journal *j);
    /* The guest's file systems, by its agent. agent_begin connects to that, and may fill
     * ${j}->agent; NULL: there is no such way. thaw may follow whatever freeze returned, and works
     * in a forked process that has kept the descriptors that agent_descriptors tells, at most 4.
     * Each ends within a few seconds, a freeze within a quarter of a minute. */
    int (*agent_begin)(struct machine *m, const struct live_options *o, struct journal *j,
                       struct error *err);
    size_t (*agent_descriptors)(const struct machine *m, int fds[4]);
    int (*freeze)(struct machine *m, struct error *err);
    int (*thaw)(struct machine *m, struct error *err);
    void (*agent_end)(struct machine *m);
    /* After a broken backup: thaws the guest of ${j} if it is frozen. */
    int (*thaw_left)(struct machine *m, const struct journal *j, struct error *err);
    /* All disks at once: bitmaps (where ${j} names one) and overlays, or nothing has changed. Where
     * a disk can have no bitmap its name is taken out of ${j}. */
    int (*switch_over)(struct machine *m, struct journal *j, struct error *err);
    /* After that: whether the machine has let go of every base, so that it can be read. NULL: it
     * surely has. */
    int (*check_bases)(struct machine *m, struct journal *j, struct error *err);
    /* Begins writing the overlay's bytes to the base, beside the guest; goes on with what an
     * earlier one has begun. */
    int (*commit_begin)(struct machine *m, struct journal *j, size_t i, struct error *err);
    /* How far that is, in bytes; ${*ready} when little is left. Waits up to ${milliseconds}. */
    int (*commit_progress)(struct machine *m, struct journal *j, size_t i, int milliseconds,
                           uint64_t *done, uint64_t *total, bool *ready, struct error *err);
    /* When ready: when it returns 0 the base equals the overlay, on the disk, and the guest's
     * writes wait. ${*pivoted}: it writes to the base already, for this kind knows no such moment.
     */
    int (*commit_complete)(struct machine *m, struct journal *j, size_t i, bool *pivoted,
                           struct error *err);
    /* The journal cannot say so: the machine goes on with the overlay. NULL: never pending. */
    void (*commit_abort)(struct machine *m, struct journal *j, size_t i);
    /* The journal says so: the machine goes on with the base. */
    int (*pivot)(struct machine *m, struct journal *j, size_t i, struct error *err);
    /* It does not use the overlay any more: forget it, and what belongs to it. */
    int (*forget)(struct machine *m, struct journal *j, size_t i, struct error *err);
    /* Removes bitmaps of the base: all whose name begins with ${prefix} but ${keep} (may be NULL).
     * ${*left}: that stay. */
    int (*drop_bitmaps)(struct machine *m, struct journal *j, size_t i, const char *prefix,
                        const char *keep, size_t *left, struct error *err);
    /* Content mode; NULL: there is no such way. plan, prepare and switch_over have begun it for the
     * disks that are to be read so. fleece_begin: lets their content be read. fleece_end: undoes
     * all that is there of it, from wherever it was left, but the files; bitmaps of earlier runs
     * tell what changed since then, unless ${archived}. */
    int (*fleece_begin)(struct machine *m, struct journal *j, struct error *err);
    int (*fleece_end)(struct machine *m, struct journal *j, bool archived, struct error *err);
    int (*look)(struct machine *m, struct journal *j, size_t i, enum machine_where *where,
                struct error *err);
    /* Waits up to ${milliseconds} for something to go wrong: ${*trouble}, for the caller to free,
     * says what, else NULL; ${*gone}: the machine is not there any more. */
    int (*watch)(struct machine *m, struct journal *j, int milliseconds, char **trouble, bool *gone,
                 struct error *err);
    /* If an I/O error has paused it that ran before: lets it go on. May be NULL. */
    void (*resume)(struct machine *m);
    /* Side files for the archive, written to the new folder ${folder}. May be NULL. */
    int (*side_files)(struct machine *m, const char *folder, struct error *err);
    void (*close)(struct machine *m);
};

struct machine {
    const struct machine_ops *ops;
    enum journal_kind kind;
    bool same; /* set by machine_find: it is the process that the journal knew */
    bool off;  /* set by machine_connect: it is shut off. Then plan and side_files alone are to be
                  asked for: its disks are files like others */
};

/* Connects as ${o} asks, which names one kind; ${j} is not opened yet. machine_close ends it. */
int machine_connect_qmp(struct machine **m, const struct live_options *o, struct error *err);
int machine_connect_libvirt(struct machine **m, const struct live_options *o, struct error *err);

/* Who it is, into ${j} once that is open: kind, socket or uri and uuid, name, process. */
int machine_describe_qmp(struct machine *m, struct journal *j, struct error *err);
int machine_describe_libvirt(struct machine *m, struct journal *j, struct error *err);

/* The machine of a journal that is there. ERROR_NOT_FOUND: it is not running. */
int machine_find_qmp(struct machine **m, const struct journal *j, struct error *err);
int machine_find_libvirt(struct machine **m, const struct journal *j, struct error *err);

/* What the journal of the machine that ${o} asks for is named by; for the caller to free. It is
 * locked before anything is asked of the machine itself. */
int machine_identity_qmp(const struct live_options *o, char **identity, struct error *err);
int machine_identity_libvirt(const struct live_options *o, char **identity, struct error *err);

/* By the kind. */
int machine_identity(const struct live_options *o, char **identity, struct error *err);
int machine_connect(struct machine **m, const struct live_options *o, struct error *err);
int machine_describe(struct machine *m, struct journal *j, struct error *err);
int machine_find(struct machine **m, const struct journal *j, struct error *err);
void machine_close(struct machine *m);

/* Which of both a machine that is off writes to once it is started, as far as somebody keeps that
 * (libvirt); else MACHINE_ELSEWHERE. */
int machine_look_offline(const struct journal *j, size_t i, enum machine_where *where,
                         struct error *err);
int machine_look_offline_libvirt(const struct journal *j, size_t i, enum machine_where *where,
                                 struct error *err);

/* What a person would type to put ${i} right, where it is as ${where} says, line by line. After it
 * the overlay is not needed. With the machine off there is nothing to say here. */
void machine_commands(const struct journal *j, size_t i, enum machine_where where,
                      void (*say)(void *arg, const char *line), void *arg);
void machine_commands_qmp(const struct journal *j, size_t i, enum machine_where where,
                          void (*say)(void *arg, const char *line), void *arg);
void machine_commands_libvirt(const struct journal *j, size_t i, enum machine_where where,
                              void (*say)(void *arg, const char *line), void *arg);

/* For a kind whose overlay a machine that is off still names (libvirt): after an offline commit of
 * ${i}, has it start from the base again. */
int machine_settle_offline(const struct journal *j, size_t i, struct error *err);
int machine_settle_offline_libvirt(const struct journal *j, size_t i, struct error *err);

#endif

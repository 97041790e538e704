/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef MODEL_WALK_H
#define MODEL_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Walks the ways in which the calls of several actors may come one after the
 * other. An actor is a function that uses the store; it stops before each call
 * of the backend that may matter to others, and is let go on by the walk.
 */

enum { WALK_ACTORS = 4, WALK_MESSAGE = 1500 };

struct walk_actor {
    const char *name;
    void (*run)(void);
    bool frees; /* it may list and delete packs and segments; others do neither */
};

struct walk_plan {
    const char *name;
    struct walk_actor actors[WALK_ACTORS];
    size_t actor_count;
    int switches;       /* so often the walk may turn from an actor that could go on; below 0: any
                           number of times */
    unsigned faults;    /* calls that may fail, or whose reply may be lost */
    bool every_read;    /* else the reads of one file, one after the other, are one step */
    double seconds;     /* the walk ends then, with ${complete} false; 0: when it is done */
    void (*make)(void); /* the repository as it is at first */
    bool *broken;       /* NULL, or: becomes true when it was made */
    /* A digest of what the repository must hold now; judge is called once for each and each
     * content of the memory. It calls walk_fail where it is not so. */
    uint64_t (*expected)(void);
    void (*judge)(void);
};

struct walk_result {
    uint64_t states;   /* that differ in what any actor has seen, or in the files */
    uint64_t steps;    /* from one to another */
    double ways;       /* from the first state to an end: schedules that were told apart */
    uint64_t contents; /* judged */
    double seconds;
    bool complete;
    bool failed;
    char message[WALK_MESSAGE];
};

/* In a process of its own. ${loud}: a failure is printed with the schedule that led to it. */
void walk_run(const struct walk_plan *plan, bool loud, struct walk_result *result);

/* Ends the walk: the schedule that is being walked has shown something wrong. */
void walk_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* Whether a call of any actor was told a lie on the way here. */
bool walk_has_lied(void);

/* Random bytes that depend on who asks, and how often he did: so equal ways lead to equal files. */
void walk_random(void *buf, size_t len);

#endif

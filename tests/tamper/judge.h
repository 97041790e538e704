/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef TAMPER_JUDGE_H
#define TAMPER_JUDGE_H

#include "world.h"

/*
 * Holds a repository that was tampered with against what byre promises: what comes out is exactly
 * right, or there is an error that says what is wrong; and a check finds it. What breaks a promise
 * is printed and counted.
 */

struct judge {
    struct world *world;
    bool cached; /* with a cache folder, kept from case to case */
    unsigned cases;
    unsigned problems;
    unsigned refused;  /* of the cases: could not be opened */
    unsigned warned;   /* told from the head last seen */
    unsigned found;    /* by a check alone */
    unsigned restored; /* archives that came back right */
    unsigned withheld; /* archives that gave an error instead */
};

enum { JUDGE_CASE = 400 };

/* One case, described by the rest. Some message has to name the file ${name}, or ${other} (NULL: no
 * other); none needs to where ${name} is NULL. */
void judge(struct judge *j, const char *name, const char *other, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Where opening, listing and restoring must go on as if nothing were; a check may find fault. */
void judge_harmless(struct judge *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif

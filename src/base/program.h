/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_BASE_PROGRAM_H
#define BYRE_BASE_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/*
 * Other programs that byre runs: nothing on their stdin, no secret of byre's in
 * their environment, a process group of their own (a Ctrl-C at the terminal is
 * byre's), and a bounded part of what they say.
 */

enum { PROGRAM_OUTPUT = 4096 }; /* bytes, with the final zero byte */

struct program_options {
    const char *const *argv;    /* argv[0] is looked for in PATH; up to a NULL */
    const char *folder;         /* to run in; NULL: the one byre runs in */
    char *const *environment;   /* "NAME=value", up to a NULL, added to byre's without BYRE_* */
    bool capture;               /* what it says; else that goes to stderr */
    int into;                   /* a descriptor that takes its stdout, all of it; 0: none */
    bool terminate;             /* SIGTERM first, when it is to stop; and whatever it leaves
                                   behind in its process group is killed */
    int out;                    /* 0, or a descriptor that takes its stdout, all of it */
    const volatile int *cancel; /* NULL, or becomes non-zero to stop */
    void (*tick)(void *arg);    /* NULL, or called many times a second while it runs */
    void *arg;
};

struct program_result {
    int code; /* exit status, or 128 and the number of the signal that ended it */
    char output[PROGRAM_OUTPUT]; /* the first of what it said; what could steer a terminal is '?' */
};

/* What such a program has as its environment: byre's own without BYRE_*, and ${more} (up to a
 * NULL), or, where that is NULL, LC_ALL=C. To be freed; its strings are lent. NULL: no memory. */
char **program_environment(char *const *more);

/* Runs it to its end. When it is to stop it has five seconds, then it is killed. ERROR_NOT_FOUND:
 * there is no such program; ERROR_INTERRUPTED: ${cancel}, and it did not end by itself. */
int program_run(const struct program_options *options, struct program_result *result,
                struct error *err);

#endif

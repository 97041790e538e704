/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_CLI_CHILD_H
#define BYRE_CLI_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

/*
 * Programs that a job starts: in a session of their own, so that what is typed
 * at the terminal reaches byre alone, which passes it on; asked to end when
 * byre is killed.
 */

struct child_options {
    const char *path; /* of the executable */
    char *const *argv;
    char *const *environment;
    int in, out, err; /* descriptors that become its 0, 1 and 2; they stay the caller's */
    int nice;         /* is added to byre's own */
    int ionice;       /* as ioprio_set takes it; -1: as byre's own */
};

struct child {
    pid_t pid;
    int fd;    /* a pidfd: readable when it has ended */
    bool told; /* it was asked to end */
};

/* Starts it; ERROR_IO and others where it cannot be run. */
int child_start(struct child *child, const struct child_options *options, struct error *err);

/* Asks it to end, once: ${signal}; with ${group}, it and what it has started. */
void child_tell(struct child *child, int signal, bool group);

/* Waits for its end, and closes ${child}. Returns the status of a shell: what it exited with, or
 * 128 and the signal. */
int child_finish(struct child *child);

#endif

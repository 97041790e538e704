/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CRASH_CALLS_H
#define CRASH_CALLS_H

#include <stdbool.h>
#include <stddef.h>

#include "disk.h"

/*
 * Stands between the store and the C library (the linker's --wrap): what the store does below one
 * folder goes into a model of a disk too, and can be made to fail. All else passes through.
 */

enum call {
    CALL_OPEN,
    CALL_CREATE,
    CALL_STAT,
    CALL_READ,
    CALL_LIST,
    CALL_WRITE,
    CALL_FLUSH,
    CALL_FLUSH_FOLDER,
    CALL_CLOSE, /* of a file that was written */
    CALL_LINK,
    CALL_RENAME,
    CALL_DELETE,
    CALL_MAKE_FOLDER,
    CALLS
};

extern const char *const call_names[CALLS];

enum fault_kind {
    FAULT_NONE,
    FAULT_ERROR,     /* the call does nothing and fails */
    FAULT_FROM_HERE, /* so do all later ones that need space; this one, if a write, takes a part */
    FAULT_FULL,      /* as FAULT_FROM_HERE, until something is deleted that is not below tmp/ */
    FAULT_SHORT,     /* a read or write that does a part */
    FAULT_DONE,      /* the call does its work and fails all the same */
};

struct fault {
    enum fault_kind kind;
    int sys;   /* errno */
    size_t at; /* the call, counted from 0 */
};

struct calls_options {
    const char *root;                           /* absolute; what is below it is ours */
    struct disk *disk;                          /* NULL: none */
    void (*changed)(void *arg, enum call call); /* called after each change of the disk, or NULL */
    void *arg;
    struct fault fault;
};

void calls_begin(const struct calls_options *options); /* copied, but for what it points to */
void calls_end(void);

/* The next such call does nothing and fails with ${sys}. */
void calls_fail_next(enum call call, int sys);

/* The calls so far, of which the caller makes nothing but names. */
size_t calls_made(enum call const **calls);

/* NULL, or what was done against the rules: a flush that failed was tried again on the same
 * descriptor, or a file got its name before it was flushed. */
const char *calls_wrong(void);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_LIVE_REMEDY_H
#define BYRE_LIVE_REMEDY_H

#include "base/error.h"
#include "live/machine.h"

/*
 * What is to be done with a disk of a broken backup: found by looking, and by
 * the journal where looking does not tell. Decides whose bytes are right; it is
 * the place to argue in.
 */

enum remedy_action {
    REMEDY_NOTHING, /* nothing is left of it */
    REMEDY_REMOVE,  /* the base is right; the overlay, which holds nothing more, is to go */
    REMEDY_LIVE,    /* the machine writes to the overlay: commit it there, and pivot */
    REMEDY_FLEECE,  /* content mode: have the machine end it; then the scratch file is to go */
    REMEDY_OFFLINE, /* the overlay is right, and no machine has it: qemu-img commit */
    REMEDY_SPLIT,   /* both were written to, or nobody can tell: people have to */
};

struct remedy {
    enum remedy_action action;
    enum machine_where where; /* MACHINE_ELSEWHERE without a machine */
    char state[2048];         /* what is so, in words */
};

/* ${m}: NULL where the machine is not running. Reads only. */
int remedy_find(struct machine *m, struct journal *j, size_t i, struct remedy *remedy,
                struct error *err);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_LEVEL_H
#define CS_LEVEL_H

#include <stdint.h>

/*
 * Which level of zstd suits what a run waits for. Pure: the times are the
 * caller's.
 */

enum { CS_LEVEL_DEFAULT = 3, CS_LEVEL_LOWEST = 1, CS_LEVEL_HIGHEST = 6 };

struct cs_level_times { /* nanoseconds */
    uint64_t elapsed;
    uint64_t storing;     /* of those, in which the owner's thread was kept by the storage */
    uint64_t compressing; /* by all workers together */
    unsigned workers;
};

/*
 * The level after ${level}, for what comes next: one more where the run mostly waited for the
 * storage, for then the workers have time; one less where it hardly did, and they mostly
 * compressed; else the same. Between these two lies what a step changes, so that it does not go
 * back and forth. From CS_LEVEL_LOWEST to CS_LEVEL_HIGHEST.
 */
int cs_level_next(int level, const struct cs_level_times *times);

#endif

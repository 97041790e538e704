/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_POOL_H
#define CS_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "chunkstore.h"

/*
 * Workers that run whole jobs, and lanes that hand the jobs back in the order
 * in which they were put. A job touches only itself; an error travels in it.
 * With one thread a job runs inside cs_lane_put: the serial twin.
 */

struct cs_pool;
struct cs_lane;

struct cs_job {
    void (*run)(struct cs_job *job, unsigned worker); /* worker: 0 .. cs_pool_threads - 1 */
    struct cs_job *next_in_lane;                      /* the pool's, as the following */
    struct cs_job *next_in_queue;
    struct cs_lane *lane;
    bool done;
};

struct cs_lane {
    struct cs_pool *pool;
    struct cs_job *first, *last;
    size_t count; /* put and not yet taken */
};

int cs_pool_new(struct cs_pool **pool, unsigned threads, struct cs_error *err);
void cs_pool_free(struct cs_pool *pool); /* no lane may have jobs */
unsigned cs_pool_threads(const struct cs_pool *pool);

void cs_lane_init(struct cs_lane *lane, struct cs_pool *pool);
void cs_lane_put(struct cs_lane *lane, struct cs_job *job);

/* The oldest job of the lane, once it is done; NULL where the lane is empty. */
struct cs_job *cs_lane_take(struct cs_lane *lane);

/* The oldest job where it is done already, else NULL. */
struct cs_job *cs_lane_poll(struct cs_lane *lane);

#endif

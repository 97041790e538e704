/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_FETCH_PLAN_H
#define CS_FETCH_PLAN_H

#include "store.h"

/* In which order many chunks are read: pack by pack, frame by frame. */

enum { CS_PLAN_NOWHERE = UINT16_MAX }; /* no frame has this number */

struct cs_plan_item {
    struct cs_name pack;
    uint32_t wanted; /* which of them */
    uint16_t frame;  /* CS_PLAN_NOWHERE: the index does not know it */
    uint16_t slot;
};

struct cs_plan {
    struct cs_plan_item *items;
    size_t count;
    size_t room;
};

/*
 * Plans for all ${n} of ${wanted}. Packs come in the order in which the first of their chunks is
 * wanted, so that whoever writes them to a disk mostly goes forward on it; within a pack as it
 * lies. The items are the plan's.
 */
int cs_plan_make(struct cs_plan *plan, struct cs_store *store, const struct cs_wanted *wanted,
                 size_t n, struct cs_error *err);

/* Plans the items from ${first} on anew: the log was read on. */
int cs_plan_again(struct cs_plan *plan, size_t first, struct cs_store *store,
                  const struct cs_wanted *wanted, struct cs_error *err);

void cs_plan_clear(struct cs_plan *plan);

#endif

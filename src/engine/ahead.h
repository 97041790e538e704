/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_AHEAD_H
#define BYRE_ENGINE_AHEAD_H

#include "engine/scatter.h"

/*
 * Regions of a disk in their order, for what has to be written or compared from the first to the
 * last: some are read ahead by the workers while those before are used. For one thread.
 */

enum { AHEAD_SLOTS = 8 }; /* regions that are held */

struct ahead;

struct ahead_source {
    /*
     * Describes the first region from ${from} on that there is: sets ${*region}, and puts to
     * ${scatter} what belongs to its bytes, which begin at ${base} there; the rest of them is
     * zeros. ${*found} is false behind the last. ${slot} is below AHEAD_SLOTS, and the region's
     * until ahead_next has given the one behind it.
     */
    int (*describe)(void *arg, uint64_t from, struct scatter *scatter, uint64_t base, size_t slot,
                    uint64_t *region, bool *found, struct error *err);
    /* Called now and then; a failure stops. */
    int (*progress)(void *arg, uint64_t bytes, struct error *err);
    void *arg;
};

int ahead_new(struct ahead **ahead, struct cs_fetch *fetch, uint32_t region_size,
              const struct ahead_source *source, struct error *err);
void ahead_free(struct ahead *ahead);

/* The next region: its bytes are lent until the next call. */
int ahead_next(struct ahead *ahead, uint64_t *region, const uint8_t **data, size_t *slot,
               bool *found, struct error *err);

#endif

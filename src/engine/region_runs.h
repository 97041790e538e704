/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_REGION_RUNS_H
#define BYRE_ENGINE_REGION_RUNS_H

#include "chunkstore.h"

/* Appends a run behind those that ${region} has, as one with the last where they touch and are of a
 * kind. Bytes. */
static inline void region_runs_add(struct cs_region *region, uint32_t offset, uint32_t length,
                                   bool zero, bool same)
{
    if (region->run_count > 0) {
        struct cs_run *last = &region->runs[region->run_count - 1];
        if (last->zero == zero && last->same == same && last->offset + last->length == offset) {
            last->length += length;
            return;
        }
    }
    region->runs[region->run_count++] =
        (struct cs_run){.offset = offset, .length = length, .zero = zero, .same = same};
}

#endif

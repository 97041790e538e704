/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CHUNKER_H
#define CS_CHUNKER_H

#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/*
 * Cuts the data runs of a region into chunks and takes zero runs out (FORMAT.md, 8.4).
 * Pure; safe from any thread. The only user of xxHash's chunking form.
 */

enum { CS_CHUNKER_SECRET_SIZE = 192 };

struct cs_chunker {
    uint32_t region_size; /* bytes, as all sizes */
    uint32_t block_size;
    uint32_t min_size;
    uint32_t max_size;
    uint64_t threshold;
    uint32_t zero_blocks;
    uint8_t secret[CS_CHUNKER_SECRET_SIZE];
};

/* Where a chunk lies in the region's data, laid end to end. */
struct cs_cut {
    uint32_t offset; /* in the buffer */
    uint32_t length;
};

/*
 * ${runs} (${*run_count}, room for ${run_capacity}) describe the region, ${data} its data runs end
 * to end. Replaces long zero stretches of data runs by zero runs, and merges neighbours: afterwards
 * ${runs} are canonical, and ${data} is compacted (what became zero is moved out), its length is
 * the sum of the cuts. Sets ${cuts} (room for region_size / min_size + 1) and ${*cut_count}. Room
 * for region_size / 512 + 1 runs is always enough where the caller's runs begin and end on 512
 * bytes (the last may end anywhere).
 */
void cs_chunker_cut(const struct cs_chunker *chunker, uint8_t *data, struct cs_run *runs,
                    size_t *run_count, struct cs_cut *cuts, size_t *cut_count);

#endif

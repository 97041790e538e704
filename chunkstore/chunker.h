/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CHUNKER_H
#define CS_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"
#include "cursor.h"

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

/* A chunk: ${length} bytes of data runs from region offset ${offset} on, those behind a gap or a
 * zero run too. */
struct cs_cut {
    uint32_t offset;
    uint32_t length;
};

/*
 * ${runs} (${*run_count}, room for ${run_capacity}) describe the region, ${data} has the bytes of
 * the data runs at their offsets. Makes ${runs} canonical: long zero stretches of data runs become
 * zero runs, and neighbours of one kind are merged. Sets ${cuts} (room for
 * region_size / min_size + 1) and ${*cut_count}. Room for region_size / 512 + 1 runs is always
 * enough where the caller's runs begin and end on 512 bytes (the last may end anywhere).
 */
void cs_chunker_cut(const struct cs_chunker *chunker, const uint8_t *data, struct cs_run *runs,
                    size_t *run_count, struct cs_cut *cuts, size_t *cut_count);

/* ---- its steps, for whoever knows some chunks beforehand ---- */

/* Merges neighbours of one kind; clears ${same}. Returns the new number of runs. */
size_t cs_chunker_merge(struct cs_run *runs, size_t n);

/* Whether block ${i}, which lies whole in a data run, is zero. */
bool cs_chunker_zero_block(const struct cs_chunker *chunker, const uint8_t *data, uint32_t i);

/* Makes ${n} merged runs canonical; returns their new number. ${solid} (NULL: none): which blocks
 * are not zero, whatever ${data} has there. */
size_t cs_chunker_take_zeros_out(const struct cs_chunker *chunker, const uint8_t *data,
                                 const bool *solid, struct cs_run *runs, size_t n);

/* Bytes of the block at ${at}, which is not done. */
uint32_t cs_chunker_block(const struct cs_chunker *chunker, const struct cs_cursor *at);

/* Whether ${chunk} must end before the block at ${at}, since it would be too large with it. */
static inline bool cs_chunker_full(const struct cs_chunker *chunker, const struct cs_cursor *at,
                                   const struct cs_cut *chunk)
{
    return chunk->length + cs_chunker_block(chunker, at) > chunker->max_size;
}

/* Adds the block at ${at} to ${chunk}, which is not full, and passes it. Returns whether the chunk
 * ends behind it. (Where no data is left it ends in any case.) */
bool cs_chunker_add(const struct cs_chunker *chunker, const uint8_t *data, struct cs_cursor *at,
                    struct cs_cut *chunk);

/* Moves the ${length} data bytes at ${at} together, behind its offset, and passes them. Bytes
 * before and behind the chunk stay. */
void cs_chunker_gather(uint8_t *data, struct cs_cursor *at, uint32_t length);

#endif

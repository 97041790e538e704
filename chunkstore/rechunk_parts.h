/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_RECHUNK_PARTS_H
#define CS_RECHUNK_PARTS_H

#include "rechunk.h"

/* What the steps of cs_rechunk have in common; for rechunk*.c. */

enum {
    CS_SECTOR = 512, /* runs begin and end on these, but for the last one's end */
    CS_SECTORS_MAX = CS_RECHUNK_REGION_MAX / CS_SECTOR,
};

/* What is known of a sector of the data runs. */
enum {
    CS_SECTOR_SAME = 1,    /* it has the bytes that the earlier leaf tells */
    CS_SECTOR_MISSING = 2, /* they are not at hand */
    CS_SECTOR_ZERO = 4,    /* the earlier leaf tells that they are zeros */
    CS_SECTOR_SOLID = 8,   /* its block is whole in the run, and was seen not to be zero */
};

struct cs_rechunk_walk {
    const struct cs_rechunk *job;
    const struct cs_chunker *chunker;
    const struct cs_content *before;
    const struct cs_region *region;
    uint8_t *data;
    uint8_t *sectors;    /* NULL: all bytes are at hand, and none are known to be the same */
    uint32_t data_end;   /* behind the last run */
    struct cs_cursor at; /* in the new data */
    struct cs_cursor old;
    size_t old_chunk;          /* begins at ${old}; the count of chunks: there are none */
    struct cs_cursor old_next; /* where the chunk behind it begins */
    uint32_t old_end;          /* behind its last byte */
};

/* Reads what is missing of the bytes from ${begin} to ${end}, in whole sectors. */
int cs_rechunk_fetch(const struct cs_rechunk_walk *walk, uint32_t begin, uint32_t end,
                     struct cs_error *err);

/* Finds out what of that which is missing is the same: of chunks that have the fingerprint of
 * before, all is. What is neither known nor found to be the same is at hand then. */
int cs_rechunk_compare(const struct cs_rechunk_walk *walk, struct cs_error *err);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_RECHUNK_H
#define CS_RECHUNK_H

#include "chunker.h"
#include "fingerprint.h"

/*
 * Cuts a region of which an earlier leaf is known, into the chunks that cs_chunker_cut would give,
 * and reads as little as it can of what is as before. Pure but for ${read}.
 */

enum {
    CS_RECHUNK_REGION_MAX = 16 << 20, /* no more than the format allows (FORMAT.md, 3) */
    CS_RECHUNK_WINDOW = 128 << 10,    /* bytes that are compared at a time; or one chunk */
};

static inline size_t cs_rechunk_scratch_size(const struct cs_chunker *chunker)
{
    return chunker->max_size > CS_RECHUNK_WINDOW ? chunker->max_size : CS_RECHUNK_WINDOW;
}

struct cs_rechunk {
    const struct cs_chunker *chunker; /* lent, as all below */
    struct cs_fingerprinter *fingerprinter;
    const struct cs_content *before;
    /* As a region's. Nothing is in ${region->data}, then; NULL: all is that is not ${same}. */
    int (*read)(void *read_arg, uint32_t offset, uint32_t length, uint8_t *to,
                struct cs_error *err);
    void *read_arg;
    uint8_t *scratch;         /* cs_rechunk_scratch_size bytes; only with ${read} */
    struct cs_region *region; /* its runs become canonical */
    struct cs_cut *cuts;      /* room for region_size / min_size + 1, as for the following */
    struct cs_chunk *chunks;  /* set where the id is known */
    bool *known;
    size_t count; /* of cuts */
};

/* Sets ${cuts}, ${known}, ${chunks} and ${count}. The bytes of chunks that are not known are in the
 * region's data then. CS_USAGE where a run is ${same} that ${before} does not have, or whose bytes
 * are needed and there is no read; else what read gives. */
int cs_rechunk(struct cs_rechunk *r, struct cs_error *err);

/* Where the run ${*old} of ${before}, which has ${at}, ends; 0: none has it. ${*old} is 0 at first,
 * and ${at} only grows. */
uint32_t cs_rechunk_same_until(const struct cs_content *before, uint32_t at, size_t *old);

#endif

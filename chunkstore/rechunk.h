/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_RECHUNK_H
#define CS_RECHUNK_H

#include "chunker.h"
#include "fingerprint.h"

/*
 * Cuts a region of which an earlier leaf is known, into the chunks that cs_chunker_cut would give,
 * and reads as little as it can of what is as before. Pure but for ${before}'s read.
 */

/* What may be put as a region: no more than the format allows (FORMAT.md, 3). */
enum { CS_RECHUNK_REGION_MAX = 16 << 20 };

struct cs_rechunk {
    const struct cs_chunker *chunker; /* lent, as all below */
    struct cs_fingerprinter *fingerprinter;
    const struct cs_region_before *before;
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

#endif

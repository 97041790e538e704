/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_INDEX_H
#define CS_INDEX_H

#include "segment.h"
#include "store.h"

/* The union of the live segments: where each object lies. */

struct cs_location {
    struct cs_name pack;
    uint16_t frame;
    uint16_t slot;
};

struct cs_index;

/* Loads what the state has and the index has not, drops what the state has no longer. Makes the
 * store's index at the first call. */
int cs_index_refresh(struct cs_store *store, struct cs_error *err);

/*
 * The ${nth} place (from 0) in live packs of an object with this id's prefix. Sets ${*found}.
 */
int cs_index_find(struct cs_store *store, const struct cs_id *id, unsigned nth,
                  struct cs_location *location, bool *found, struct cs_error *err);

/* Whether a new object can do with what is stored: in a pack that could be read so far. */
int cs_index_has(struct cs_store *store, const struct cs_id *id, bool *found, struct cs_error *err);

void cs_index_free(struct cs_index *index);

/* The loaded segments, for merging; lent until the next refresh. */
const struct cs_segment *cs_index_segments(const struct cs_index *index, size_t *count);

#endif

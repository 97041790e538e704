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
    size_t
        segment; /* the entry that says so: its segment's position, and its own; until the next */
    uint64_t entry; /* refresh */
};

struct cs_index;

/* Loads what the state has and the index has not, drops what the state has no longer. Makes the
 * store's index at the first call. Where a segment is gone meanwhile, the log is read on. On
 * failure the index stays as it was, and is refreshed when next asked. */
int cs_index_refresh(struct cs_store *store, struct cs_error *err);

/*
 * The ${nth} place (from 0) in live packs of an object with this id's prefix; those where it was
 * proven bad are passed over. Sets ${*found}.
 */
int cs_index_find(struct cs_store *store, const struct cs_id *id, unsigned nth,
                  struct cs_location *location, bool *found, struct cs_error *err);

/* Up to ${room} places as those that cs_index_find gives, of the oldest segments first. */
int cs_index_places(struct cs_store *store, const struct cs_id *id, struct cs_location *places,
                    size_t room, size_t *count, struct cs_error *err);

/* Whether a new object can do with what is stored: then ${*location} is in a pack that could be
 * read so far. */
int cs_index_has(struct cs_store *store, const struct cs_id *id, struct cs_location *location,
                 bool *found, struct cs_error *err);

void cs_index_free(struct cs_index *index);

/* The loaded segments; lent until the next refresh. */
const struct cs_segment *cs_index_segments(const struct cs_index *index, size_t *count);

/* ---- marks: what somebody relies on ---- */

/*
 * A mark is a bit of an entry. When a refresh finds that the entry's pack is not live any more, or
 * its segment, the mark moves to an entry of the same object that is.
 */
int cs_index_mark(struct cs_index *index, const struct cs_location *location, struct cs_error *err);
bool cs_index_marked(const struct cs_index *index, const struct cs_location *location);

/* Marks every entry that a loaded segment has of these packs. */
int cs_index_mark_packs(struct cs_index *index, const struct cs_name *segment,
                        const struct cs_state_pack *packs, size_t pack_count, struct cs_error *err);

static inline bool cs_segment_marked(const struct cs_segment *segment, uint64_t entry)
{
    return segment->marks != NULL && (segment->marks[entry / 8] >> (entry % 8) & 1) != 0;
}

/* Marks that found no entry of their object any more. */
uint64_t cs_index_lost_marks(const struct cs_index *index);

void cs_index_clear_marks(struct cs_index *index);

#endif

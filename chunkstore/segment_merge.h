/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_SEGMENT_MERGE_H
#define CS_SEGMENT_MERGE_H

#include "segment.h"

/* Putting one segment in the place of several, and choosing which. */

/*
 * Which segments to merge with one of ${own} entries that is to be written anyway. Where ${chosen}
 * is true at a segment's position it is decided already; others become so, the smallest first, as
 * long as they are no larger than all that goes with them (or than ${least}): so sizes grow as
 * powers, and an entry is written again as often as the index has doubled. Fewer than ${many} are
 * not worth it, and ${chosen} stays. Returns how many have become so.
 */
size_t cs_merge_choose(const struct cs_segment *segments, size_t count, uint64_t own,
                       uint64_t least, size_t many, bool *chosen);

struct cs_merge;

int cs_merge_new(struct cs_merge **out, struct cs_error *err);
void cs_merge_free(struct cs_merge *merge);

/* Adds the entries of ${segment}, which is lent until the merge is freed, and is not to be asked
 * meanwhile. ${dropped}: of each of its packs whether its entries stay behind; may be NULL. */
int cs_merge_add(struct cs_merge *merge, const struct cs_segment *segment, const bool *dropped,
                 struct cs_error *err);

/* The same with sorted ${entries} over ${packs}; the entries are lent. */
int cs_merge_add_entries(struct cs_merge *merge, const struct cs_entry *entries, uint64_t n,
                         const struct cs_name *packs, uint32_t pack_count, struct cs_error *err);

/* Writes all of it, each entry once, as cs_segment_write does. Where nothing is left nothing is
 * written, and ${out} says that it has no entries. */
int cs_merge_write(struct cs_merge *merge, struct cs_store *store, struct cs_state_segment *out,
                   struct cs_error *err);

#endif

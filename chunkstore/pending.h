/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_PENDING_H
#define CS_PENDING_H

#include "segment.h"

/* What a run has stored and not yet published: the segment to come, as a hash table. */

struct cs_pending {
    struct cs_entry *entries; /* in the order of storing, or sorted */
    size_t count;
    size_t room;
    uint32_t *table;   /* position + 1 in entries; 0: empty */
    size_t table_size; /* a power of two, or 0 */
};

bool cs_pending_has(const struct cs_pending *pending, const struct cs_id *id);

/* Adds an object that is not there yet. */
int cs_pending_add(struct cs_pending *pending, const struct cs_id *id, uint32_t pack,
                   uint16_t frame, uint16_t slot, struct cs_error *err);

/* Sorts the entries as a segment has them. */
void cs_pending_sort(struct cs_pending *pending);

void cs_pending_clear(struct cs_pending *pending);

#endif

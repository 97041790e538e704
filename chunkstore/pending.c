/* SPDX-License-Identifier: BSD-2-Clause */
/* An open-addressing table over the entries of a run. Ids are random, so their bytes are the hash.
 */
#include "pending.h"

#include <stdlib.h>
#include <string.h>

static size_t place_of(const struct cs_pending *p, const uint8_t *prefix)
{
    return (size_t)cs_from_le64(prefix) & (p->table_size - 1);
}

bool cs_pending_has(const struct cs_pending *p, const struct cs_id *id)
{
    if (p->table_size == 0)
        return false;
    for (size_t at = place_of(p, id->bytes); p->table[at] != 0; at = (at + 1) & (p->table_size - 1))
        if (memcmp(p->entries[p->table[at] - 1].prefix, id->bytes, 16) == 0)
            return true;
    return false;
}

static void enter(struct cs_pending *p, size_t position)
{
    size_t at = place_of(p, p->entries[position].prefix);
    while (p->table[at] != 0)
        at = (at + 1) & (p->table_size - 1);
    p->table[at] = (uint32_t)position + 1;
}

static void enter_all(struct cs_pending *p)
{
    for (size_t i = 0; i < p->count; i++)
        enter(p, i);
}

static int grow(struct cs_pending *p, struct cs_error *err)
{
    size_t room = p->room > 0 ? p->room * 2 : 1024;
    struct cs_entry *entries = reallocarray(p->entries, room, sizeof *entries);
    if (entries == NULL)
        return cs_fail_memory(err);
    p->entries = entries;
    p->room = room;
    uint32_t *table = calloc(room * 2, sizeof *table); /* never more than half full */
    if (table == NULL)
        return cs_fail_memory(err);
    free(p->table);
    p->table = table;
    p->table_size = room * 2;
    enter_all(p);
    return 0;
}

int cs_pending_add(struct cs_pending *p, const struct cs_id *id, uint32_t pack, uint16_t frame,
                   uint16_t slot, struct cs_error *err)
{
    if (p->count == p->room || p->table_size < p->room * 2) {
        int rc = grow(p, err);
        if (rc < 0)
            return rc;
    }
    struct cs_entry *e = &p->entries[p->count];
    memcpy(e->prefix, id->bytes, sizeof e->prefix);
    e->pack = pack;
    e->frame = frame;
    e->slot = slot;
    enter(p, p->count++);
    return 0;
}

void cs_pending_sort(struct cs_pending *p)
{
    if (p->count == 0)
        return;
    qsort(p->entries, p->count, sizeof *p->entries, cs_entry_compare);
    memset(p->table, 0, p->table_size * sizeof *p->table);
    enter_all(p);
}

void cs_pending_clear(struct cs_pending *p)
{
    free(p->entries);
    free(p->table);
    *p = (struct cs_pending){0};
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeping the index small: segments that are small, or have many entries of packs that are no more,
 * are merged into one, without those entries. How they are merged is segment_merge.c's.
 */
#include <stdlib.h>
#include <string.h>

#include "prune.h"
#include "segment_merge.h"

enum {
    SMALL = 65536,  /* entries; what is small however little else is merged */
    MANY_SMALL = 4, /* segments that are worth merging */
    DEAD_PART = 8,  /* so is one of which an eighth is dead */
};

/* Whether the entries of the pack are of no use for ever. A pack that is neither live nor condemned
 * may become live with the next entry of the log; but then its file was there before the segment.
 */
static bool is_dead(const struct cs_prune *p, const struct cs_segment *s, uint32_t pack)
{
    struct cs_name name;
    memcpy(&name, s->packs + (size_t)pack * CS_NAME_SIZE, sizeof name);
    if (s->live[pack])
        return false;
    return cs_state_condemned(&p->store->state, CS_FILE_PACK, &name) ||
           (cs_prune_listed(p, CS_FILE_SEGMENT, &s->id) != NULL &&
            cs_prune_listed(p, CS_FILE_PACK, &name) == NULL);
}

/* Of each pack of the segment whether it is dead; and how many entries that makes. */
static int find_dead(const struct cs_prune *p, const struct cs_segment *s, bool **dead,
                     uint64_t *entries, struct cs_error *err)
{
    bool any = false;
    int rc = 0;
    *entries = 0;
    *dead = calloc(s->pack_count, sizeof **dead);
    if (*dead == NULL)
        return cs_fail_memory(err);
    for (uint32_t i = 0; i < s->pack_count; i++)
        any |= (*dead)[i] = is_dead(p, s, i);
    for (uint64_t i = 0; rc == 0 && any && i < s->entry_count; i++) {
        struct cs_entry e;
        rc = cs_segment_entry(s, i, &e, err);
        *entries += rc == 0 && (*dead)[e.pack];
    }
    return rc;
}

/* Adds what is worth merging to ${merge}; its segments are to be condemned. */
static int choose(struct cs_prune *p, struct cs_merge *merge, struct cs_names_to *condemned,
                  struct cs_error *err)
{
    size_t count = 0, many_dead = 0;
    const struct cs_segment *segments = cs_index_segments(p->store->index, &count);
    bool *chosen = calloc(count + 1, sizeof *chosen);
    bool **dead = calloc(count + 1, sizeof(bool *));
    uint64_t own = 0;
    int rc = chosen == NULL || dead == NULL ? cs_fail_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint64_t entries = 0;
        rc = find_dead(p, &segments[i], &dead[i], &entries, err);
        chosen[i] = entries >= segments[i].entry_count / DEAD_PART + 1;
        many_dead += chosen[i];
        own += chosen[i] ? segments[i].entry_count - entries : 0;
    }
    if (rc == 0)
        cs_merge_choose(segments, count, own, SMALL, MANY_SMALL - (many_dead > 0), chosen);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (!chosen[i])
            continue;
        rc = cs_merge_add(merge, &segments[i], dead[i], err);
        if (rc == 0)
            rc = cs_names_to_add(condemned, &segments[i].id, err);
    }
    for (size_t i = 0; dead != NULL && i < count; i++)
        free(dead[i]);
    free(dead);
    free(chosen);
    return rc;
}

int cs_prune_segments(struct cs_prune *p, struct cs_error *err)
{
    struct cs_step step = {.prune = p, .replaces = true};
    struct cs_merge *merge = NULL;
    int rc = cs_merge_new(&merge, err);
    if (rc == 0)
        rc = choose(p, merge, &step.condemned[CS_FILE_SEGMENT], err);
    if (rc == 0)
        rc = cs_merge_write(merge, p->store, &step.segment, err);
    step.segment_count = rc == 0 && step.segment.entries > 0;
    if (step.segment_count > 0)
        rc = p->store->backend->ops->sync(p->store->backend, "segments", err);
    cs_merge_free(merge);
    if (rc == 0)
        rc = cs_step_append(&step, err);
    cs_step_take_back(&step);
    cs_step_clear(&step);
    return rc;
}

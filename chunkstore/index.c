/* SPDX-License-Identifier: BSD-2-Clause */
/* The set of loaded segments, kept in agreement with the log's state. */
#include "index.h"

#include <stdlib.h>
#include <string.h>

struct cs_index {
    struct cs_segment *segments;
    size_t count;
};

static const struct cs_state_segment *live_segment(const struct cs_state *state,
                                                   const struct cs_name *id)
{
    for (size_t i = 0; i < state->segment_count; i++)
        if (memcmp(&state->segments[i].id, id, sizeof *id) == 0)
            return &state->segments[i];
    return NULL;
}

static bool is_loaded(const struct cs_index *index, const struct cs_name *id)
{
    for (size_t i = 0; i < index->count; i++)
        if (memcmp(&index->segments[i].id, id, sizeof *id) == 0)
            return true;
    return false;
}

static int load_missing(struct cs_store *store, struct cs_error *err)
{
    struct cs_index *index = store->index;
    struct cs_segment *segments = reallocarray(
        index->segments, index->count + store->state.segment_count + 1, sizeof *segments);
    if (segments == NULL)
        return cs_fail_memory(err);
    index->segments = segments;
    for (size_t i = 0; i < store->state.segment_count; i++) {
        const struct cs_state_segment *which = &store->state.segments[i];
        if (is_loaded(index, &which->id))
            continue;
        int rc = cs_segment_load(&segments[index->count], store, which, err);
        if (rc < 0)
            return rc;
        index->count++;
        rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int cs_index_refresh(struct cs_store *store, struct cs_error *err)
{
    if (store->index == NULL) {
        store->index = calloc(1, sizeof *store->index);
        if (store->index == NULL)
            return cs_fail_memory(err);
    }
    struct cs_index *index = store->index;
    size_t kept = 0;
    for (size_t i = 0; i < index->count; i++) {
        if (live_segment(&store->state, &index->segments[i].id) != NULL)
            index->segments[kept++] = index->segments[i];
        else
            cs_segment_clear(&index->segments[i]);
    }
    index->count = kept;
    int rc = load_missing(store, err);
    for (size_t i = 0; rc == 0 && i < index->count; i++) {
        struct cs_segment *s = &index->segments[i];
        for (uint32_t p = 0; rc == 0 && p < s->pack_count; p++) {
            struct cs_name pack;
            memcpy(&pack, s->packs + (size_t)p * CS_NAME_SIZE, sizeof pack);
            rc = cs_state_pack_live(&store->state, &pack, &s->live[p], err);
        }
    }
    if (rc < 0) { /* half an index would make objects look lost */
        cs_index_free(store->index);
        store->index = NULL;
    }
    return rc;
}

int cs_index_find(struct cs_store *store, const struct cs_id *id, unsigned nth,
                  struct cs_location *location, bool *found, struct cs_error *err)
{
    *found = false;
    if (store->index == NULL) {
        int rc = cs_index_refresh(store, err);
        if (rc < 0)
            return rc;
    }
    for (size_t i = store->index->count; i-- > 0;) { /* the newest first */
        const struct cs_segment *s = &store->index->segments[i];
        for (uint64_t at = cs_segment_find(s, id->bytes); at < s->entry_count; at++) {
            struct cs_entry e;
            cs_segment_entry(s, at, &e);
            if (memcmp(e.prefix, id->bytes, sizeof e.prefix) != 0)
                break;
            if (!s->live[e.pack] || nth-- > 0)
                continue;
            memcpy(&location->pack, s->packs + (size_t)e.pack * CS_NAME_SIZE,
                   sizeof location->pack);
            location->frame = e.frame;
            location->slot = e.slot;
            *found = true;
            return 0;
        }
    }
    return 0;
}

static bool is_unreadable(const struct cs_store *store, const struct cs_name *pack)
{
    for (size_t i = 0; i < store->unreadable_count; i++)
        if (memcmp(&store->unreadable[i], pack, sizeof *pack) == 0)
            return true;
    return false;
}

int cs_index_has(struct cs_store *store, const struct cs_id *id, bool *found, struct cs_error *err)
{
    struct cs_location where;
    for (unsigned nth = 0;; nth++) {
        int rc = cs_index_find(store, id, nth, &where, found, err);
        if (rc < 0 || !*found || !is_unreadable(store, &where.pack))
            return rc;
    }
}

const struct cs_segment *cs_index_segments(const struct cs_index *index, size_t *count)
{
    *count = index != NULL ? index->count : 0;
    return index != NULL ? index->segments : NULL;
}

void cs_index_free(struct cs_index *index)
{
    if (index == NULL)
        return;
    for (size_t i = 0; i < index->count; i++)
        cs_segment_clear(&index->segments[i]);
    free(index->segments);
    free(index);
}

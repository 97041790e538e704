/* SPDX-License-Identifier: BSD-2-Clause */
/* The set of loaded segments, kept in agreement with the log's state; and marks on their entries.
 */
#include "index.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"

struct cs_index {
    struct cs_segment *segments;
    size_t count;
    bool stale; /* a refresh has failed */
    uint64_t lost_marks;
};

/* ---- marks ---- */

static int mark(struct cs_segment *s, uint64_t entry, struct cs_error *err)
{
    if (s->marks == NULL)
        s->marks = calloc((size_t)(s->entry_count / 8 + 1), 1);
    if (s->marks == NULL)
        return cs_fail_memory(err);
    s->marks[entry / 8] |= (uint8_t)(1U << (entry % 8));
    return 0;
}

int cs_index_mark(struct cs_index *index, const struct cs_location *location, struct cs_error *err)
{
    return mark(&index->segments[location->segment], location->entry, err);
}

bool cs_index_marked(const struct cs_index *index, const struct cs_location *location)
{
    return cs_segment_marked(&index->segments[location->segment], location->entry);
}

uint64_t cs_index_lost_marks(const struct cs_index *index)
{
    return index != NULL ? index->lost_marks : 0;
}

void cs_index_clear_marks(struct cs_index *index)
{
    if (index == NULL)
        return;
    for (size_t i = 0; i < index->count; i++) {
        free(index->segments[i].marks);
        index->segments[i].marks = NULL;
    }
    index->lost_marks = 0;
}

static const uint8_t *pack_of(const struct cs_segment *s, const struct cs_entry *e)
{
    return s->packs + (size_t)e->pack * CS_NAME_SIZE;
}

/* Gives the mark of an entry of ${from} to one that is live: of the very same place if there is
 * one, else of any other copy. */
static int move_mark(struct cs_index *index, const struct cs_segment *from,
                     const struct cs_entry *entry, struct cs_error *err)
{
    struct cs_segment *best = NULL;
    uint64_t best_at = 0;
    for (size_t i = index->count; i-- > 0;) {
        struct cs_segment *s = &index->segments[i];
        struct cs_entry e;
        int rc;
        for (uint64_t at = 0; (rc = cs_segment_next(s, entry->prefix, &at, &e, err)) > 0; at++) {
            if (!s->live[e.pack])
                continue;
            bool same = e.frame == entry->frame && e.slot == entry->slot &&
                        memcmp(pack_of(s, &e), pack_of(from, entry), CS_NAME_SIZE) == 0;
            if (best == NULL || same) {
                best = s;
                best_at = at;
            }
            if (same)
                return mark(best, best_at, err);
        }
        if (rc < 0)
            return rc;
    }
    if (best != NULL)
        return mark(best, best_at, err);
    index->lost_marks++;
    return 0;
}

/* Moves the marks of ${s} whose entry does not count any more. ${dropped}: none does. */
static int move_marks(struct cs_index *index, struct cs_segment *s, bool dropped,
                      struct cs_error *err)
{
    for (uint64_t at = 0; s->marks != NULL && at < s->entry_count; at++) {
        struct cs_entry e;
        if (at % 8 == 0 && s->marks[at / 8] == 0) {
            at += 7;
            continue;
        }
        if (!cs_segment_marked(s, at))
            continue;
        int rc = cs_segment_entry(s, at, &e, err);
        if (rc < 0)
            return rc;
        if (!dropped && s->live[e.pack])
            continue;
        s->marks[at / 8] &= (uint8_t) ~(1U << (at % 8));
        rc = move_mark(index, s, &e, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static struct cs_segment *loaded(const struct cs_index *index, const struct cs_name *id)
{
    for (size_t i = 0; i < index->count; i++)
        if (memcmp(&index->segments[i].id, id, sizeof *id) == 0)
            return &index->segments[i];
    return NULL;
}

int cs_index_mark_packs(struct cs_index *index, const struct cs_name *segment,
                        const struct cs_state_pack *packs, size_t pack_count, struct cs_error *err)
{
    struct cs_segment *s = loaded(index, segment);
    bool *is = s != NULL ? calloc(s->pack_count, sizeof *is) : NULL;
    int rc = s != NULL && is == NULL ? cs_fail_memory(err) : 0;
    for (uint32_t p = 0; is != NULL && p < s->pack_count; p++)
        for (size_t i = 0; !is[p] && i < pack_count; i++)
            is[p] = memcmp(s->packs + (size_t)p * CS_NAME_SIZE, &packs[i].id, CS_NAME_SIZE) == 0;
    for (uint64_t at = 0; s != NULL && rc == 0 && at < s->entry_count; at++) {
        struct cs_entry e;
        rc = cs_segment_entry(s, at, &e, err);
        if (rc < 0 || !is[e.pack])
            continue;
        /* one that is not live any more is as if it had been marked before that */
        rc = s->live[e.pack] ? mark(s, at, err) : move_mark(index, s, &e, err);
    }
    free(is);
    return rc;
}

/* ---- refreshing ---- */

/* Whether a pack has died that was live when it was last asked. */
static bool set_live(struct cs_segment *s, const struct cs_state *state)
{
    bool died = false;
    for (uint32_t p = 0; p < s->pack_count; p++) {
        struct cs_name pack;
        memcpy(&pack, s->packs + (size_t)p * CS_NAME_SIZE, sizeof pack);
        bool live = cs_state_pack(state, &pack) != NULL;
        died |= s->live[p] && !live;
        s->live[p] = live;
    }
    return died;
}

/* Fills ${fresh} with the segments that the state has: those of the index come along, without
 * leaving it; ${*count} of those are new. */
static int load_missing(struct cs_store *store, struct cs_segment *fresh, bool *is_new,
                        struct cs_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < store->state.segment_count; i++) {
        const struct cs_segment *old = loaded(store->index, &store->state.segments[i].id);
        if (old != NULL) {
            fresh[i] = *old;
            continue;
        }
        rc = cs_segment_load(&fresh[i], store, &store->state.segments[i], err);
        is_new[i] = rc == 0;
        if (rc == 0)
            rc = cs_store_cancelled(store, err);
    }
    for (size_t i = 0; rc < 0 && i < store->state.segment_count; i++)
        if (is_new[i])
            cs_segment_clear(&fresh[i]);
    return rc;
}

/* Puts ${fresh} in the place of what the index has. */
static int exchange(struct cs_store *store, struct cs_segment *fresh, struct cs_error *err)
{
    struct cs_index *index = store->index;
    struct cs_index before = *index;
    int rc = 0;
    index->segments = fresh;
    index->count = store->state.segment_count;
    index->stale = false;
    for (size_t i = 0; i < index->count; i++)
        fresh[i].died = set_live(&fresh[i], &store->state);
    for (size_t i = 0; rc == 0 && i < index->count; i++)
        if (fresh[i].died) /* marks are on entries that were live */
            rc = move_marks(index, &fresh[i], false, err);
    for (size_t i = 0; i < before.count; i++) {
        struct cs_segment *s = &before.segments[i];
        if (cs_state_segment(&store->state, &s->id) != NULL)
            continue;
        if (rc == 0)
            rc = move_marks(index, s, true, err);
        cs_segment_uncache(store, &s->id);
        cs_segment_clear(s);
    }
    free(before.segments);
    if (rc < 0) /* half the marks would be worse than none */
        index->lost_marks++;
    return rc;
}

static int refresh_once(struct cs_store *store, struct cs_error *err)
{
    size_t n = store->state.segment_count;
    struct cs_segment *fresh = calloc(n + 1, sizeof *fresh);
    bool *is_new = calloc(n + 1, sizeof *is_new);
    int rc = fresh == NULL || is_new == NULL ? cs_fail_memory(err)
                                             : load_missing(store, fresh, is_new, err);
    free(is_new);
    if (rc < 0) {
        free(fresh);
        return rc;
    }
    return exchange(store, fresh, err);
}

int cs_index_refresh(struct cs_store *store, struct cs_error *err)
{
    if (store->index == NULL) {
        store->index = calloc(1, sizeof *store->index);
        if (store->index == NULL)
            return cs_fail_memory(err);
        cs_segment_sweep(store);
    }
    for (;;) {
        struct cs_error e = {0};
        uint64_t known = store->position.next;
        int rc = refresh_once(store, &e);
        if (rc == 0)
            return 0;
        store->index->stale = true;
        if (rc == CS_CORRUPT && cs_log_catch_up(store, NULL) == 0 && store->position.next != known)
            continue; /* somebody has put other segments in the place of these */
        return cs_fail(err, rc, "%s", e.message);
    }
}

/* Appends the places of ${id} that segment ${i} names to ${places}; ${skip} of them are passed over
 * first. */
static int places_in(struct cs_store *store, size_t i, const struct cs_id *id, unsigned *skip,
                     struct cs_location *places, size_t room, size_t *count, struct cs_error *err)
{
    const struct cs_segment *s = &store->index->segments[i];
    for (uint64_t at = 0; *count < room; at++) {
        struct cs_entry e;
        struct cs_location *l = &places[*count];
        bool lost = false;
        int rc = cs_segment_next(s, id->bytes, &at, &e, err);
        if (rc <= 0)
            return rc;
        if (!s->live[e.pack])
            continue;
        memcpy(&l->pack, pack_of(s, &e), sizeof l->pack);
        rc = cs_state_lost(&store->state, &l->pack, id, &lost, err);
        if (rc < 0)
            return rc;
        if (lost || (*skip > 0 && (*skip)-- > 0))
            continue;
        l->frame = e.frame;
        l->slot = e.slot;
        l->segment = i;
        l->entry = at;
        (*count)++;
    }
    return 0;
}

static int ready(struct cs_store *store, struct cs_error *err)
{
    return store->index == NULL || store->index->stale ? cs_index_refresh(store, err) : 0;
}

int cs_index_find(struct cs_store *store, const struct cs_id *id, unsigned nth,
                  struct cs_location *location, bool *found, struct cs_error *err)
{
    size_t count = 0;
    int rc = ready(store, err);
    *found = false;
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < store->index->count; i++)
        cs_segment_prefetch(&store->index->segments[i], id->bytes);
    for (size_t i = store->index->count; rc == 0 && count == 0 && i-- > 0;) /* the newest first */
        rc = places_in(store, i, id, &nth, location, 1, &count, err);
    *found = count > 0;
    return rc;
}

int cs_index_places(struct cs_store *store, const struct cs_id *id, struct cs_location *places,
                    size_t room, size_t *count, struct cs_error *err)
{
    unsigned none = 0;
    int rc = ready(store, err);
    *count = 0;
    for (size_t i = 0; rc == 0 && i < store->index->count; i++)
        rc = places_in(store, i, id, &none, places, room, count, err);
    return rc;
}

int cs_index_has(struct cs_store *store, const struct cs_id *id, struct cs_location *location,
                 bool *found, struct cs_error *err)
{
    for (unsigned nth = 0;; nth++) {
        int rc = cs_index_find(store, id, nth, location, found, err);
        if (rc < 0 || !*found || !cs_names_find(&store->unreadable, &location->pack, NULL))
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

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keeping the index small: segments that are small, or have many entries of packs that are no more,
 * are merged into one, without those entries.
 */
#include <stdlib.h>
#include <string.h>

#include "prune.h"

enum {
    SMALL = 65536,  /* entries */
    MANY_SMALL = 4, /* segments that are worth merging */
    DEAD_PART = 8,  /* so is one of which an eighth is dead */
};

struct source { /* a segment that goes into the new one */
    const struct cs_segment *segment;
    uint32_t *packs; /* number in the new segment of each of its packs; DEAD: its entries go */
    uint64_t at;
    bool failed; /* the cache cannot be read */
};

#define DEAD UINT32_MAX

struct merge {
    struct cs_prune *prune;
    struct source *sources;
    size_t count;
    struct cs_names_to names; /* packs of the new segment */
    struct cs_names numbers;
    struct cs_entry *group; /* entries of one id that are not handed out yet */
    size_t group_count;
    size_t group_next;
    size_t group_room;
    bool failed; /* no memory, or no cache */
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

static uint64_t count_dead(const struct cs_prune *p, const struct cs_segment *s)
{
    uint64_t dead = 0;
    bool *is = calloc(s->pack_count, sizeof *is);
    if (is == NULL)
        return 0;
    for (uint32_t i = 0; i < s->pack_count; i++)
        is[i] = is_dead(p, s, i);
    for (uint64_t i = 0; i < s->entry_count; i++) {
        struct cs_entry e;
        if (cs_segment_entry(s, i, &e, NULL) < 0)
            break;
        dead += is[e.pack];
    }
    free(is);
    return dead;
}

/* ---- the entries of all sources, in order, each once ---- */

static bool group_add(struct merge *m, const struct cs_entry *e)
{
    if (m->group_count == m->group_room) {
        size_t room = m->group_room > 0 ? 2 * m->group_room : 16;
        struct cs_entry *group = reallocarray(m->group, room, sizeof *group);
        if (group == NULL)
            return false;
        m->group = group;
        m->group_room = room;
    }
    m->group[m->group_count++] = *e;
    return true;
}

/* The next entry of ${s} of a pack that is not dead; false behind the last. */
static bool peek(struct source *s, struct cs_entry *e)
{
    for (; s->at < s->segment->entry_count; s->at++) {
        s->failed = s->failed || cs_segment_entry(s->segment, s->at, e, NULL) < 0;
        if (s->failed)
            return false;
        e->pack = s->packs[e->pack];
        if (e->pack != DEAD)
            return true;
    }
    return false;
}

static bool fill_group(struct merge *m)
{
    struct cs_entry least, e;
    bool found = false;
    m->group_count = m->group_next = 0;
    for (size_t i = 0; i < m->count; i++)
        if (peek(&m->sources[i], &e) &&
            (!found || memcmp(e.prefix, least.prefix, sizeof e.prefix) < 0)) {
            least = e;
            found = true;
        }
    for (size_t i = 0; found && i < m->count; i++)
        for (; peek(&m->sources[i], &e) && memcmp(e.prefix, least.prefix, sizeof e.prefix) == 0;
             m->sources[i].at++)
            if (!group_add(m, &e)) {
                m->failed = true;
                return false;
            }
    if (m->group_count > 1)
        qsort(m->group, m->group_count, sizeof *m->group, cs_entry_compare);
    size_t kept = found;
    for (size_t i = 1; i < m->group_count; i++)
        if (cs_entry_compare(&m->group[i], &m->group[kept - 1]) != 0)
            m->group[kept++] = m->group[i];
    m->group_count = kept;
    for (size_t i = 0; i < m->count; i++)
        m->failed |= m->sources[i].failed;
    return found;
}

static bool merge_next(struct merge *m, struct cs_entry *e)
{
    if (m->group_next == m->group_count && !fill_group(m))
        return false;
    *e = m->group[m->group_next++];
    return true;
}

/* For writing: as many as were counted before. After a failure, which is asked for at the end, what
 * comes does not matter. */
static void write_next(void *arg, struct cs_entry *e)
{
    *e = (struct cs_entry){0};
    merge_next(arg, e);
}

static void rewind_merge(struct merge *m)
{
    m->group_count = m->group_next = 0;
    for (size_t i = 0; i < m->count; i++)
        m->sources[i].at = 0;
}

/* ---- choosing, and putting it in place ---- */

static int add_source(struct merge *m, const struct cs_segment *s, struct cs_error *err)
{
    struct source *source = &m->sources[m->count];
    *source = (struct source){.segment = s};
    source->packs = calloc(s->pack_count, sizeof *source->packs);
    if (source->packs == NULL)
        return cs_fail_memory(err);
    m->count++;
    for (uint32_t i = 0; i < s->pack_count; i++) {
        struct cs_name name;
        memcpy(&name, s->packs + (size_t)i * CS_NAME_SIZE, sizeof name);
        source->packs[i] = DEAD;
        if (is_dead(m->prune, s, i) || cs_names_find(&m->numbers, &name, &source->packs[i]))
            continue;
        source->packs[i] = (uint32_t)m->names.count;
        if (cs_names_add(&m->numbers, &name, source->packs[i]) < 0)
            return cs_fail_memory(err);
        int rc = cs_names_to_add(&m->names, &name, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int choose(struct merge *m, struct cs_error *err)
{
    size_t count = 0, small = 0, many_dead = 0;
    const struct cs_segment *segments = cs_index_segments(m->prune->store->index, &count);
    bool *worth = calloc(count + 1, sizeof *worth);
    m->sources = calloc(count + 1, sizeof *m->sources);
    int rc = worth == NULL || m->sources == NULL ? cs_fail_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        worth[i] = count_dead(m->prune, &segments[i]) >= segments[i].entry_count / DEAD_PART + 1;
        many_dead += worth[i];
        small += !worth[i] && segments[i].entry_count <= SMALL;
    }
    bool merge_small = small + (many_dead > 0) >= MANY_SMALL;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (worth[i] || (merge_small && segments[i].entry_count <= SMALL))
            rc = add_source(m, &segments[i], err);
    free(worth);
    return rc;
}

static int write_merged(struct merge *m, struct cs_step *step, struct cs_error *err)
{
    struct cs_store *store = m->prune->store;
    struct cs_entry e;
    uint64_t n = 0;
    while (merge_next(m, &e))
        n++;
    if (m->failed)
        return cs_fail(err, CS_IO, "segments of the index cannot be merged");
    if (n == 0)
        return 0;
    if (n > UINT32_MAX)
        return cs_fail(err, CS_UNSUPPORTED, "an index of %llu entries is too large",
                       (unsigned long long)n);
    rewind_merge(m);
    int rc = cs_segment_write_from(store, write_next, m, n, m->names.at, (uint32_t)m->names.count,
                                   &step->segment, err);
    step->segment_count = rc == 0;
    if (rc == 0 && m->failed)
        rc = cs_fail(err, CS_IO, "segments of the index cannot be merged");
    return rc < 0 ? rc : store->backend->ops->sync(store->backend, "segments", err);
}

int cs_prune_segments(struct cs_prune *p, struct cs_error *err)
{
    struct merge m = {.prune = p};
    struct cs_step step = {.prune = p, .replaces = true};
    int rc = choose(&m, err);
    for (size_t i = 0; rc == 0 && i < m.count; i++)
        rc = cs_names_to_add(&step.condemned[CS_FILE_SEGMENT], &m.sources[i].segment->id, err);
    if (rc == 0 && m.count > 0)
        rc = write_merged(&m, &step, err);
    if (rc == 0)
        rc = cs_step_append(&step, err);
    cs_step_take_back(&step);
    cs_step_clear(&step);
    for (size_t i = 0; i < m.count; i++)
        free(m.sources[i].packs);
    free(m.sources);
    free(m.names.at);
    cs_names_clear(&m.numbers);
    free(m.group);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Merging segments: their entries come in order out of a heap of the segments,
 * twice, for the number of them stands at the head of the new one. So it takes
 * no memory that grows with them, only the names of their packs.
 */
#include "segment_merge.h"

#include <stdlib.h>
#include <string.h>

struct source {
    const struct cs_segment *segment; /* NULL: */
    const struct cs_entry *entries;
    uint64_t count;
    uint64_t at;           /* behind ${entry} */
    uint32_t *packs;       /* number in the new segment of each of its packs; or DROPPED */
    struct cs_entry entry; /* the next one, with that number */
};

#define DROPPED UINT32_MAX

struct cs_merge {
    struct source *sources;
    size_t count;
    struct source **heap; /* of those that have a next entry, the least one at the top */
    size_t heap_count;
    struct cs_name *packs; /* of the new segment */
    uint32_t pack_count;
    struct cs_names numbers;
    struct cs_entry *group; /* entries of one id that are not handed out yet */
    size_t group_count;
    size_t group_next;
    size_t group_room;
};

/* ---- choosing ---- */

struct sized {
    uint64_t entries;
    size_t position;
};

static int compare_size(const void *a, const void *b)
{
    const struct sized *x = a, *y = b;
    return x->entries < y->entries ? -1 : x->entries > y->entries;
}

size_t cs_merge_choose(const struct cs_segment *segments, size_t count, uint64_t own,
                       uint64_t least, size_t many, bool *chosen)
{
    struct sized *order = calloc(count + 1, sizeof *order);
    uint64_t total = own;
    size_t n = 0, taken = 0;
    if (order == NULL) /* merging can wait */
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!chosen[i])
            order[n++] = (struct sized){segments[i].entry_count, i};
    qsort(order, n, sizeof *order, compare_size);
    for (; taken < n; taken++) {
        uint64_t size = order[taken].entries;
        if (size > (total > least ? total : least) || size > UINT32_MAX - total)
            break;
        total += size;
    }
    if (taken < many)
        taken = 0;
    for (size_t i = 0; i < taken; i++)
        chosen[order[i].position] = true;
    free(order);
    return taken;
}

/* ---- gathering ---- */

int cs_merge_new(struct cs_merge **out, struct cs_error *err)
{
    *out = calloc(1, sizeof **out);
    return *out == NULL ? cs_fail_memory(err) : 0;
}

void cs_merge_free(struct cs_merge *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->count; i++)
        free(m->sources[i].packs);
    free(m->sources);
    free(m->heap);
    free(m->packs);
    cs_names_clear(&m->numbers);
    free(m->group);
    free(m);
}

/* The number of a pack in the new segment. */
static int number_of(struct cs_merge *m, const struct cs_name *name, uint32_t *number,
                     struct cs_error *err)
{
    if (cs_names_find(&m->numbers, name, number))
        return 0;
    if ((m->pack_count & (m->pack_count - 1)) == 0) { /* room ends at the powers of two */
        size_t room = m->pack_count > 0 ? 2 * (size_t)m->pack_count : 1;
        struct cs_name *packs = reallocarray(m->packs, room, sizeof *packs);
        if (packs == NULL)
            return cs_fail_memory(err);
        m->packs = packs;
    }
    if (cs_names_add(&m->numbers, name, m->pack_count) < 0)
        return cs_fail_memory(err);
    m->packs[m->pack_count] = *name;
    *number = m->pack_count++;
    return 0;
}

static int add_source(struct cs_merge *m, struct source source, const uint8_t *names,
                      uint32_t pack_count, const bool *dropped, struct cs_error *err)
{
    struct source *sources = reallocarray(m->sources, m->count + 1, sizeof *sources);
    if (sources == NULL)
        return cs_fail_memory(err);
    m->sources = sources;
    source.packs = calloc((size_t)pack_count + 1, sizeof *source.packs);
    if (source.packs == NULL)
        return cs_fail_memory(err);
    sources[m->count++] = source;
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < pack_count; i++) {
        struct cs_name name;
        memcpy(&name, names + (size_t)i * CS_NAME_SIZE, sizeof name);
        if (dropped != NULL && dropped[i])
            source.packs[i] = DROPPED;
        else
            rc = number_of(m, &name, &source.packs[i], err);
    }
    return rc;
}

int cs_merge_add(struct cs_merge *m, const struct cs_segment *s, const bool *dropped,
                 struct cs_error *err)
{
    return add_source(m, (struct source){.segment = s, .count = s->entry_count}, s->packs,
                      s->pack_count, dropped, err);
}

int cs_merge_add_entries(struct cs_merge *m, const struct cs_entry *entries, uint64_t n,
                         const struct cs_name *packs, uint32_t pack_count, struct cs_error *err)
{
    return add_source(m, (struct source){.entries = entries, .count = n}, packs->bytes, pack_count,
                      NULL, err);
}

/* ---- the entries of all sources, in order, each once ---- */

/* 1, 0 behind the last, or a code of enum cs_code. */
static int advance(struct source *s, struct cs_error *err)
{
    while (s->at < s->count) {
        int rc = 0;
        if (s->segment != NULL)
            rc = cs_segment_entry(s->segment, s->at, &s->entry, err);
        else
            s->entry = s->entries[s->at];
        if (rc < 0)
            return rc;
        s->at++;
        s->entry.pack = s->packs[s->entry.pack];
        if (s->entry.pack != DROPPED)
            return 1;
    }
    return 0;
}

static bool is_before(const struct source *a, const struct source *b)
{
    return memcmp(a->entry.prefix, b->entry.prefix, sizeof a->entry.prefix) < 0;
}

static void sift_down(struct cs_merge *m, size_t at)
{
    struct source *moved = m->heap[at];
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < m->heap_count && is_before(m->heap[child + 1], m->heap[child]))
            child++;
        if (child >= m->heap_count || !is_before(m->heap[child], moved))
            break;
        m->heap[at] = m->heap[child];
        at = child;
    }
    m->heap[at] = moved;
}

static int begin(struct cs_merge *m, struct cs_error *err)
{
    struct source **heap = reallocarray(m->heap, m->count + 1, sizeof(struct source *));
    if (heap == NULL)
        return cs_fail_memory(err);
    m->heap = heap;
    m->heap_count = m->group_count = m->group_next = 0;
    for (size_t i = 0; i < m->count; i++) {
        m->sources[i].at = 0;
        int rc = advance(&m->sources[i], err);
        if (rc < 0)
            return rc;
        if (rc > 0)
            heap[m->heap_count++] = &m->sources[i];
    }
    for (size_t i = m->heap_count / 2; i-- > 0;)
        sift_down(m, i);
    return 0;
}

/* Takes the least entry off the heap into the group. */
static int take(struct cs_merge *m, struct cs_error *err)
{
    struct source *s = m->heap[0];
    if (m->group_count == m->group_room) {
        size_t room = m->group_room > 0 ? 2 * m->group_room : 16;
        struct cs_entry *group = reallocarray(m->group, room, sizeof *group);
        if (group == NULL)
            return cs_fail_memory(err);
        m->group = group;
        m->group_room = room;
    }
    m->group[m->group_count++] = s->entry;
    int rc = advance(s, err);
    if (rc == 0)
        m->heap[0] = m->heap[--m->heap_count];
    if (rc >= 0 && m->heap_count > 0)
        sift_down(m, 0);
    return rc < 0 ? rc : 0;
}

/* The entries of one id: numbers of packs are others than they were, so their order is too. */
static int fill_group(struct cs_merge *m, struct cs_error *err)
{
    m->group_count = m->group_next = 0;
    if (m->heap_count == 0)
        return 0;
    int rc = take(m, err);
    while (rc == 0 && m->heap_count > 0 &&
           memcmp(m->heap[0]->entry.prefix, m->group[0].prefix, sizeof m->group[0].prefix) == 0)
        rc = take(m, err);
    if (rc < 0 || m->group_count == 1)
        return rc;
    qsort(m->group, m->group_count, sizeof *m->group, cs_entry_compare);
    size_t kept = 1;
    for (size_t i = 1; i < m->group_count; i++)
        if (cs_entry_compare(&m->group[i], &m->group[kept - 1]) != 0)
            m->group[kept++] = m->group[i];
    m->group_count = kept;
    return 0;
}

static int count_entries(struct cs_merge *m, uint64_t *n, struct cs_error *err)
{
    int rc = begin(m, err);
    *n = 0;
    do {
        *n += m->group_count;
        if (rc == 0)
            rc = fill_group(m, err);
    } while (rc == 0 && m->group_count > 0);
    return rc;
}

static int next_entry(void *arg, struct cs_entry *entry, struct cs_error *err)
{
    struct cs_merge *m = arg;
    if (m->group_next == m->group_count) {
        int rc = fill_group(m, err);
        if (rc < 0)
            return rc;
    }
    *entry = m->group[m->group_next++];
    return 0;
}

int cs_merge_write(struct cs_merge *m, struct cs_store *store, struct cs_state_segment *out,
                   struct cs_error *err)
{
    uint64_t n = 0;
    *out = (struct cs_state_segment){0};
    int rc = count_entries(m, &n, err);
    if (rc < 0 || n == 0)
        return rc;
    if (n > UINT32_MAX)
        return cs_fail(err, CS_UNSUPPORTED, "an index of %llu entries is too large",
                       (unsigned long long)n);
    rc = begin(m, err);
    return rc < 0
               ? rc
               : cs_segment_write_from(store, next_entry, m, n, m->packs, m->pack_count, out, err);
}

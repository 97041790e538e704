/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which packs go, which stay, and which are worth the work of moving what is needed of them: those
 * with the largest part that is not, until no more of the whole is unused than may be.
 */
#include <stdlib.h>
#include <string.h>

#include "prune.h"

static bool frame_is_live(const struct cs_pack_use *use, uint32_t frame)
{
    return use->live_frames != NULL && frame < use->frame_count &&
           (use->live_frames[frame / 8] >> (frame % 8) & 1) != 0;
}

/* The plan's pack for each pack of a segment; NULL where it has none. */
static int map_packs(const struct cs_prune *p, const struct cs_segment *s,
                     struct cs_pack_use ***map, struct cs_error *err)
{
    *map = calloc(s->pack_count, sizeof(struct cs_pack_use *));
    if (*map == NULL)
        return cs_fail_memory(err);
    for (uint32_t i = 0; i < s->pack_count; i++) {
        struct cs_name name;
        uint32_t position;
        memcpy(&name, s->packs + (size_t)i * CS_NAME_SIZE, sizeof name);
        if (cs_names_find(&p->pack_names, &name, &position))
            (*map)[i] = &p->packs[position];
    }
    return 0;
}

/* Calls ${visit} for every entry of a pack of the plan. */
static int each_entry(const struct cs_prune *p,
                      void (*visit)(struct cs_pack_use *use, const struct cs_entry *e, bool needed),
                      struct cs_error *err)
{
    size_t count = 0;
    const struct cs_segment *segments = cs_index_segments(p->store->index, &count);
    for (size_t i = 0; i < count; i++) {
        const struct cs_segment *s = &segments[i];
        struct cs_pack_use **map = NULL;
        int rc = map_packs(p, s, &map, err);
        if (rc < 0)
            return rc;
        for (uint64_t k = 0; rc == 0 && k < s->entry_count; k++) {
            struct cs_entry e;
            rc = cs_segment_entry(s, k, &e, err);
            if (rc == 0 && map[e.pack] != NULL)
                visit(map[e.pack], &e, cs_segment_marked(s, k));
        }
        free(map);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void count_entry(struct cs_pack_use *use, const struct cs_entry *e, bool needed)
{
    (void)e;
    use->entries++;
    use->needed += needed;
}

static void mark_frame(struct cs_pack_use *use, const struct cs_entry *e, bool needed)
{
    if (needed && use->live_frames != NULL && e->frame < use->frame_count)
        use->live_frames[e->frame / 8] |= (uint8_t)(1U << (e->frame % 8));
}

/* ---- packs of which a part is needed ---- */

static bool is_partial(const struct cs_pack_use *use)
{
    return use->needed > 0 && use->needed < use->entries;
}

static int find_lost_frames(struct cs_prune *p, struct cs_pack_use *use, const struct cs_trailer *t,
                            struct cs_error *err)
{
    struct cs_state *state = &p->store->state;
    bool lost = false;
    int rc = cs_state_has_lost(state, &use->pack.id, &lost, err);
    if (rc < 0 || !lost)
        return rc;
    use->lost_frames = calloc(use->frame_count / 8 + 1, 1);
    if (use->lost_frames == NULL)
        return cs_fail_memory(err);
    for (uint32_t f = 0; rc == 0 && f < use->frame_count; f++)
        for (uint16_t i = 0; rc == 0 && i < t->frames[f].objects; i++) {
            rc = cs_state_lost(state, &use->pack.id, &t->objects[t->frames[f].first + i].id, &lost,
                               err);
            if (rc == 0 && lost)
                use->lost_frames[f / 8] |= (uint8_t)(1U << (f % 8));
        }
    return rc;
}

/* Whether something bad would come along where the live frames move: it could not be told there. */
static bool has_lost_in_live_frames(const struct cs_pack_use *use)
{
    if (use->lost_frames == NULL || use->live_frames == NULL)
        return false;
    for (uint32_t i = 0; i < use->frame_count / 8 + 1; i++)
        if ((use->lost_frames[i] & use->live_frames[i]) != 0)
            return true;
    return false;
}

/* Takes the sizes of its frames from the trailer. A pack whose trailer cannot be read stays. */
static int measure(struct cs_prune *p, struct cs_pack_use *use, struct cs_error *err)
{
    struct cs_pack pack;
    struct cs_error e = {0};
    int rc = cs_pack_load(&pack, p->store, &use->pack.id, &e);
    if (rc == CS_CORRUPT) {
        if (p->options->warning != NULL)
            p->options->warning(p->options->arg, e.message);
        return 0;
    }
    if (rc < 0)
        return cs_fail(err, rc, "%s", e.message);
    use->frame_count = (uint32_t)pack.trailer.frame_count;
    use->stored = calloc(use->frame_count, sizeof *use->stored);
    use->live_frames = calloc(use->frame_count / 8 + 1, 1);
    if (use->stored == NULL || use->live_frames == NULL)
        rc = cs_fail_memory(err);
    for (uint32_t i = 0; rc == 0 && i < use->frame_count; i++)
        use->stored[i] = pack.trailer.frames[i].stored;
    if (rc == 0)
        rc = find_lost_frames(p, use, &pack.trailer, err);
    cs_pack_clear(&pack);
    return rc;
}

static bool is_spared(const struct cs_prune *p, const struct cs_pack_use *use)
{
    int64_t age = p->now - use->pack.published;
    return !p->no_grace && use->pack.published != 0 && age < CS_PRUNE_GRACE &&
           age > -CS_PRUNE_GRACE;
}

static double unused_part(const struct cs_pack_use *use)
{
    return use->pack.size > 0 ? (double)use->unused / (double)use->pack.size : 0;
}

static int compare_unused(const void *a, const void *b)
{
    double x = unused_part(*(struct cs_pack_use *const *)a);
    double y = unused_part(*(struct cs_pack_use *const *)b);
    return x > y ? -1 : x < y;
}

static void rewrite(struct cs_prune *p, struct cs_pack_use *use, uint64_t *kept, uint64_t *unused)
{
    use->fate = CS_FATE_REWRITE;
    p->total += use->pack.size - use->unused;
    *unused -= use->unused;
    *kept -= use->unused;
}

static int choose_rewrites(struct cs_prune *p, struct cs_error *err)
{
    struct cs_pack_use **partial = calloc(p->pack_count + 1, sizeof(struct cs_pack_use *));
    uint64_t kept = 0, unused = 0;
    size_t n = 0;
    if (partial == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < p->pack_count; i++) {
        struct cs_pack_use *use = &p->packs[i];
        if (use->fate != CS_FATE_KEEP)
            continue;
        for (uint32_t f = 0; use->live_frames != NULL && f < use->frame_count; f++)
            use->unused += frame_is_live(use, f) ? 0 : use->stored[f];
        kept += use->pack.size;
        unused += use->unused;
        if (use->unused == 0 || is_spared(p, use) || has_lost_in_live_frames(use))
            continue;
        if (use->lost_frames != NULL) /* worth it, however little it frees: nobody is told again */
            rewrite(p, use, &kept, &unused);
        else
            partial[n++] = use;
    }
    qsort(partial, n, sizeof *partial, compare_unused);
    for (size_t i = 0; i < n && (double)unused > p->options->max_unused * (double)kept; i++)
        rewrite(p, partial[i], &kept, &unused);
    p->result->bytes_unused = unused;
    free(partial);
    return 0;
}

int cs_prune_plan(struct cs_prune *p, struct cs_error *err)
{
    int rc = each_entry(p, count_entry, err);
    for (size_t i = 0; rc == 0 && i < p->pack_count; i++) {
        struct cs_pack_use *use = &p->packs[i];
        if (use->needed == 0 && is_spared(p, use))
            p->result->bytes_spared += use->pack.size;
        else if (use->needed == 0)
            use->fate = CS_FATE_DROP;
        else if (is_partial(use))
            rc = measure(p, use, err);
        if (rc == 0)
            rc = cs_store_cancelled(p->store, err);
    }
    if (rc == 0)
        rc = each_entry(p, mark_frame, err);
    return rc < 0 ? rc : choose_rewrites(p, err);
}

void cs_prune_plan_clear(struct cs_prune *p)
{
    for (size_t i = 0; i < p->pack_count; i++) {
        free(p->packs[i].stored);
        free(p->packs[i].live_frames);
        free(p->packs[i].lost_frames);
    }
    free(p->packs);
    p->packs = NULL;
    p->pack_count = 0;
    cs_names_clear(&p->pack_names);
}

static void find_uncovered(struct cs_pack_use *use, const struct cs_entry *e, bool needed)
{
    if (needed && !(use->fate == CS_FATE_REWRITE && frame_is_live(use, e->frame)))
        use->uncovered = true;
}

int cs_prune_find_uncovered(struct cs_prune *p, struct cs_error *err)
{
    for (size_t i = 0; i < p->pack_count; i++)
        p->packs[i].uncovered = false;
    return each_entry(p, find_uncovered, err);
}

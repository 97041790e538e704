/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One region of two disks: which chunk each of the guest's bytes comes from,
 * and where the two differ. What the chunks hold is not read.
 */
#include <stdlib.h>
#include <string.h>

#include "engine/diff.h"

static int add_extent(struct diff_extents *e, const struct diff_extent *extent, struct error *err)
{
    if (e->count == e->room) {
        size_t room = e->room > 0 ? e->room * 2 : 256;
        struct diff_extent *at = reallocarray(e->at, room, sizeof *at);
        if (at == NULL)
            return error_no_memory(err);
        e->at = at;
        e->room = room;
    }
    e->at[e->count++] = *extent;
    return 0;
}

/* Where one is in a layer's content while pieces ascend. */
struct cursor {
    size_t run;
    uint32_t run_at; /* of the run, if it is data: in the data runs laid end to end */
    size_t chunk;
    uint32_t chunk_at; /* in the same */
};

/* Adds the chunks of ${piece}, which lies within one data run of ${content}. */
static int add_piece(struct diff_extents *extents, const struct cs_content *content,
                     struct cursor *c, const struct flat_piece *piece, unsigned domain,
                     struct error *err)
{
    const struct cs_run *run = &content->runs[c->run];
    for (; run->offset + run->length <= piece->begin; run = &content->runs[++c->run])
        c->run_at += run->zero ? 0 : run->length;
    uint32_t at = c->run_at + (piece->begin - run->offset);
    int rc = 0;
    for (uint32_t begin = piece->begin, end; rc == 0 && begin < piece->end; begin = end) {
        while (at - c->chunk_at >= content->chunks[c->chunk].length)
            c->chunk_at += content->chunks[c->chunk++].length;
        const struct cs_chunk *chunk = &content->chunks[c->chunk];
        uint32_t left = chunk->length - (at - c->chunk_at);
        end = left < piece->end - begin ? begin + left : piece->end;
        struct diff_extent extent = {
            .begin = begin, .end = end, .domain = domain, .id = &chunk->id, .at = at - c->chunk_at};
        rc = add_extent(extents, &extent, err);
        at += end - begin;
    }
    return rc;
}

static int ascending(const void *a, const void *b)
{
    const struct diff_extent *x = a, *y = b;
    return x->begin < y->begin ? -1 : x->begin > y->begin;
}

int diff_region_read(struct diff_side *side, uint64_t region, struct error *err)
{
    struct diff_extents *extents = &side->extents;
    const struct flat_piece *pieces = NULL;
    struct cursor cursor = {0};
    size_t count = 0;
    extents->count = 0;
    int rc = flat_pieces(side->flat, region, &pieces, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct flat_piece *p = &pieces[i];
        unsigned domain = side->domains[p->layer];
        if (i > 0 && p->layer != p[-1].layer)
            cursor = (struct cursor){0};
        if (!p->zero) {
            rc = add_piece(extents, layer_view_content(flat_layer(side->flat, p->layer)), &cursor,
                           p, domain, err);
        } else if (domain != 0) {
            struct diff_extent zeros = {.begin = p->begin, .end = p->end, .domain = domain};
            rc = add_extent(extents, &zeros, err);
        }
    }
    if (rc == 0 && extents->count > 1)
        qsort(extents->at, extents->count, sizeof *extents->at, ascending);
    return rc;
}

/* Whether both say the same of the byte at ${at}. */
static bool same(const struct diff_extent *a, const struct diff_extent *b, uint32_t at)
{
    if (a->domain != b->domain || (a->id == NULL) != (b->id == NULL))
        return false;
    return a->id == NULL || (a->at + (at - a->begin) == b->at + (at - b->begin) &&
                             memcmp(a->id, b->id, sizeof *a->id) == 0);
}

/* The first of the extents from ${*i} on that ends behind ${at}, or NULL. */
static const struct diff_extent *extent_at(const struct diff_extents *e, size_t *i, uint32_t at)
{
    while (*i < e->count && e->at[*i].end <= at)
        ++*i;
    return *i < e->count ? &e->at[*i] : NULL;
}

int diff_region_compare(const struct diff_extents *a, const struct diff_extents *b,
                        int (*emit)(void *arg, uint32_t begin, uint32_t end,
                                    enum engine_diff_kind kind, struct error *err),
                        void *arg, struct error *err)
{
    size_t i = 0, k = 0;
    int rc = 0;
    for (uint32_t at = 0, end; rc == 0; at = end) {
        const struct diff_extent *x = extent_at(a, &i, at), *y = extent_at(b, &k, at);
        if (x == NULL && y == NULL)
            break;
        bool in_x = x != NULL && x->begin <= at, in_y = y != NULL && y->begin <= at;
        end = UINT32_MAX;
        if (x != NULL)
            end = in_x ? x->end : x->begin;
        if (y != NULL && (in_y ? y->end : y->begin) < end)
            end = in_y ? y->end : y->begin;
        if ((in_x || in_y) && !(in_x && in_y && same(x, y, at)))
            rc = emit(arg, at, end, in_y && y->id != NULL ? ENGINE_DIFF_DATA : ENGINE_DIFF_ZERO,
                      err);
    }
    return rc;
}

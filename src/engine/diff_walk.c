/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Down the trees of two disks at once: what both have is passed over as a
 * whole, regions that differ are compared, and what is found becomes ranges.
 */
#include <string.h>

#include "engine/diff.h"

enum { CHILD_BITS = 6, CHILDREN = 1 << CHILD_BITS }; /* of a node */

struct walk {
    uint32_t region_size;
    uint64_t regions; /* of the larger disk */
    struct diff_side *a, *b;
    const struct engine_diff_options *options;
    struct engine_diff_image *image;
    uint64_t base; /* of the region at hand, bytes */
    /* The range that may go on in what follows; bytes, none: 0. */
    uint64_t offset, length;
    enum engine_diff_kind kind;
};

static int flush(struct walk *w, struct error *err)
{
    const struct engine_diff_options *o = w->options;
    if (w->length == 0)
        return 0;
    w->image->ranges++;
    if (w->kind == ENGINE_DIFF_DATA)
        w->image->bytes_changed += w->length;
    else
        w->image->bytes_zeroed += w->length;
    if (o->range != NULL && !o->range(o->arg, w->image, w->offset, w->length, w->kind))
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    w->length = 0;
    return 0;
}

static int add(void *arg, uint32_t begin, uint32_t end, enum engine_diff_kind kind,
               struct error *err)
{
    struct walk *w = arg;
    uint64_t offset = w->base + begin;
    if (w->length > 0 && w->offset + w->length == offset && w->kind == kind) {
        w->length += end - begin;
        return 0;
    }
    int rc = flush(w, err);
    w->offset = offset;
    w->length = end - begin;
    w->kind = kind;
    return rc;
}

static int step(const struct walk *w, uint64_t region, struct error *err)
{
    const struct engine_listener *l = &w->options->listener;
    if (l->progress != NULL)
        l->progress(l->arg, w->image->name, region * w->region_size, w->regions * w->region_size);
    if (l->cancel != NULL && *l->cancel)
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    return 0;
}

/* The tokens of the 64^${level} regions from ${region} on: sides whose tokens are equal look the
 * same to a guest there. */
static int read_tokens(const struct walk *w, struct diff_side *side, unsigned level,
                       uint64_t region, struct error *err)
{
    uint64_t last = region + (UINT64_C(1) << (CHILD_BITS * level));
    uint64_t begin = region * w->region_size;
    uint64_t end = last > UINT64_MAX / w->region_size ? UINT64_MAX : last * w->region_size;
    side->token_count = 0;
    for (size_t i = 0; i < flat_layer_count(side->flat); i++) {
        struct diff_token *token = &side->tokens[side->token_count];
        struct cs_subtree subtree;
        bool found = false;
        if (flat_layer_size(side->flat, i) < end)
            end = flat_layer_size(side->flat, i); /* for those below as well */
        if (end <= begin)
            break;
        int rc =
            layer_view_subtree(flat_layer(side->flat, i), level, region, &subtree, &found, err);
        if (rc < 0)
            return rc;
        if (!found)
            continue;
        token->id = subtree.id;
        token->domain = side->domains[i];
        token->end = end;
        side->token_count++;
    }
    return 0;
}

static bool same_tokens(const struct diff_side *a, const struct diff_side *b)
{
    if (a->token_count != b->token_count)
        return false;
    for (size_t i = 0; i < a->token_count; i++)
        if (memcmp(&a->tokens[i].id, &b->tokens[i].id, sizeof a->tokens[i].id) != 0 ||
            a->tokens[i].domain != b->tokens[i].domain || a->tokens[i].end != b->tokens[i].end)
            return false;
    return true;
}

static int compare_region(struct walk *w, uint64_t region, struct error *err)
{
    w->base = region * w->region_size;
    int rc = diff_region_read(w->a, region, err);
    if (rc == 0)
        rc = diff_region_read(w->b, region, err);
    if (rc == 0)
        rc = diff_region_compare(&w->a->extents, &w->b->extents, add, w, err);
    return rc;
}

/* Goes as deep as ${level}. */
static int walk_subtree(struct walk *w, unsigned level, uint64_t region, struct error *err)
{
    int rc = read_tokens(w, w->a, level, region, err);
    if (rc == 0)
        rc = read_tokens(w, w->b, level, region, err);
    if (rc < 0 || same_tokens(w->a, w->b))
        return rc;
    rc = step(w, region, err);
    if (rc < 0)
        return rc;
    if (level == 0)
        return compare_region(w, region, err);
    uint64_t stride = UINT64_C(1) << (CHILD_BITS * (level - 1));
    for (unsigned i = 0; rc == 0 && i < CHILDREN && region < w->regions; i++, region += stride)
        rc = walk_subtree(w, level - 1, region, err);
    return rc;
}

static unsigned highest_level(const struct diff_side *side, unsigned level)
{
    for (size_t i = 0; i < flat_layer_count(side->flat); i++) {
        unsigned one = layer_view_level(flat_layer(side->flat, i));
        if (level < one)
            level = one;
    }
    return level;
}

int diff_walk(uint32_t region_size, struct diff_side *a, struct diff_side *b,
              const struct engine_diff_options *options, struct engine_diff_image *image,
              struct error *err)
{
    uint64_t size =
        flat_size(a->flat) > flat_size(b->flat) ? flat_size(a->flat) : flat_size(b->flat);
    struct walk w = {
        .region_size = region_size,
        .regions = size / region_size + (size % region_size != 0),
        .a = a,
        .b = b,
        .options = options,
        .image = image,
    };
    int rc = walk_subtree(&w, highest_level(b, highest_level(a, 0)), 0, err);
    return rc == 0 ? flush(&w, err) : rc;
}

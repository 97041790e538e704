/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Down the trees of an image's layers at once. Whatever only one layer has
 * anything in, and is small enough for the caller, is told as a whole: a node
 * says how many bytes of data are below it.
 */
#include "engine/flat_map.h"

enum { CHILD_BITS = 6, CHILDREN = 1 << CHILD_BITS }; /* of a node */

struct walk {
    const struct flat_map *map;
    struct flat_image *flat;
    uint64_t regions;
    uint64_t grain; /* bytes: a subtree no longer than that may be told as a whole */
};

/* What the layers have in a subtree. */
struct found {
    size_t layers;
    size_t layer; /* one of them, */
    struct cs_subtree subtree;
    bool cut; /* and not all of it is seen */
};

static int look(const struct walk *w, unsigned level, uint64_t region, struct found *found,
                struct error *err)
{
    uint32_t region_size = w->map->region_size;
    uint64_t last = region + (UINT64_C(1) << (CHILD_BITS * level));
    uint64_t begin = region * region_size;
    uint64_t whole = last > UINT64_MAX / region_size ? UINT64_MAX : last * region_size;
    uint64_t end = whole;
    for (size_t i = 0; i < flat_layer_count(w->flat) && found->layers < 2; i++) {
        struct cs_subtree subtree;
        bool any = false;
        if (flat_layer_size(w->flat, i) < end)
            end = flat_layer_size(w->flat, i); /* for those below as well */
        if (end <= begin)
            break;
        int rc = layer_view_subtree(flat_layer(w->flat, i), level, region, &subtree, &any, err);
        if (rc < 0)
            return rc;
        if (!any)
            continue;
        found->layers++;
        found->layer = i;
        found->subtree = subtree;
        found->cut = end < whole;
    }
    return 0;
}

static int tell(const struct walk *w, uint64_t offset, uint64_t length, uint64_t bytes,
                size_t layer, struct error *err)
{
    const struct flat_map *m = w->map;
    if (bytes > 0 && !m->range(m->arg, offset, length, bytes < length ? bytes : length, layer))
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    return 0;
}

static int walk_region(const struct walk *w, uint64_t region, struct error *err)
{
    uint64_t base = region * w->map->region_size;
    const struct flat_piece *pieces = NULL;
    size_t count = 0;
    int rc = flat_pieces(w->flat, region, &pieces, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        uint32_t length = pieces[i].end - pieces[i].begin;
        if (!pieces[i].zero)
            rc = tell(w, base + pieces[i].begin, length, length, pieces[i].layer, err);
    }
    return rc;
}

static int step(const struct walk *w, uint64_t region, struct error *err)
{
    const struct engine_listener *l = w->map->listener;
    uint32_t region_size = w->map->region_size;
    if (l->progress != NULL)
        l->progress(l->arg, w->map->name, region * region_size, w->regions * region_size);
    if (l->cancel != NULL && *l->cancel)
        return error_set(err, ERROR_INTERRUPTED, "stopped");
    return 0;
}

/* Goes as deep as ${level}. */
static int walk_subtree(const struct walk *w, unsigned level, uint64_t region, struct error *err)
{
    uint64_t count = UINT64_C(1) << (CHILD_BITS * level);
    struct found found = {0};
    int rc = step(w, region, err);
    if (rc == 0)
        rc = look(w, level, region, &found, err);
    if (rc < 0 || found.layers == 0)
        return rc;
    if (found.layers == 1 && !found.cut && count <= w->grain / w->map->region_size)
        return tell(w, region * w->map->region_size, count * w->map->region_size,
                    found.subtree.bytes, found.layer, err);
    if (level == 0)
        return walk_region(w, region, err);
    uint64_t stride = UINT64_C(1) << (CHILD_BITS * (level - 1));
    for (unsigned i = 0; rc == 0 && i < CHILDREN && region < w->regions; i++, region += stride)
        rc = walk_subtree(w, level - 1, region, err);
    return rc;
}

int flat_map_walk(const struct flat_map *map, struct flat_image *flat, struct error *err)
{
    uint64_t size = flat_size(flat);
    struct walk w = {
        .map = map,
        .flat = flat,
        .regions = size / map->region_size + (size % map->region_size != 0),
        .grain = map->parts > 0 ? size / map->parts : 0,
    };
    unsigned level = 0;
    for (size_t i = 0; i < flat_layer_count(flat); i++)
        if (level < layer_view_level(flat_layer(flat, i)))
            level = layer_view_level(flat_layer(flat, i));
    return walk_subtree(&w, level, 0, err);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers as the store has them: runs, chunks and entries of one region at a time. */
#include "engine/layer_view.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

struct tree_cursor { /* the leaf that was looked up last */
    struct cs_tree_reader *reader;
    bool looked;
    uint64_t asked; /* the region that was asked for */
    bool found;
    uint64_t region; /* of the leaf: the first at or after it */
    const uint8_t *leaf;
    size_t len;
};

struct layer_view {
    struct cs_store *store;
    const struct record_layer *layer;
    const struct record_view *which; /* of the layer's */
    uint32_t region_size;
    struct tree_cursor content;
    struct tree_cursor placement;
    struct cs_content runs; /* of the region that was asked for last */
    struct cs_place *places;
    struct qcow2_entry *entries;
    size_t entry_count; /* per region */
};

int layer_view_open(struct layer_view **out, struct cs_store *store,
                    const struct record_layer *layer, size_t index, struct error *err)
{
    const struct record_view *which = &layer->views[index];
    struct cs_error ce;
    struct layer_view *v = calloc(1, sizeof *v);
    if (v == NULL)
        return error_no_memory(err);
    int rc = 0;
    v->store = store;
    v->layer = layer;
    v->which = which;
    v->region_size = cs_region_size(store);
    if (layer->is_qcow2) {
        v->entry_count = v->region_size >> layer->qcow2.cluster_bits;
        v->places = calloc(v->entry_count, sizeof *v->places);
        v->entries = calloc(v->entry_count, sizeof *v->entries);
    }
    if (layer->is_qcow2 && (v->places == NULL || v->entries == NULL))
        rc = error_no_memory(err);
    if (rc == 0 && cs_tree_open(&v->content.reader, store, &which->content, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc == 0 && layer->is_qcow2 &&
        cs_tree_open(&v->placement.reader, store, &which->placement, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc < 0) {
        layer_view_close(v);
        return rc;
    }
    *out = v;
    return 0;
}

void layer_view_close(struct layer_view *v)
{
    if (v == NULL)
        return;
    if (v->content.reader != NULL)
        cs_tree_close(v->content.reader);
    if (v->placement.reader != NULL)
        cs_tree_close(v->placement.reader);
    cs_content_clear(&v->runs);
    free(v->places);
    free(v->entries);
    free(v);
}

const struct record_layer *layer_view_layer(const struct layer_view *v)
{
    return v->layer;
}

/* Moves the cursor to the first leaf at or after ${region}; what it found last may still be it. */
static int seek(struct tree_cursor *c, uint64_t region, struct error *err)
{
    struct cs_error ce;
    if (c->looked && region >= c->asked && (!c->found || region <= c->region))
        return 0;
    c->looked = false;
    if (cs_tree_next(c->reader, region, &c->region, &c->leaf, &c->len, &c->found, &ce) < 0)
        return engine_store_error(err, &ce);
    c->asked = region;
    c->looked = true;
    return 0;
}

int layer_view_next(struct layer_view *v, uint64_t from, uint64_t *region, bool *found,
                    struct error *err)
{
    struct tree_cursor *c = v->layer->is_qcow2 ? &v->placement : &v->content;
    int rc = seek(c, from, err);
    if (rc < 0)
        return rc;
    *found = c->found;
    *region = c->region;
    return 0;
}

int layer_view_runs(struct layer_view *v, uint64_t region, const struct cs_run **runs,
                    size_t *count, struct error *err)
{
    struct cs_error ce;
    cs_content_clear(&v->runs);
    int rc = seek(&v->content, region, err);
    if (rc < 0)
        return rc;
    if (v->content.found && v->content.region == region &&
        cs_content_decode(&v->runs, v->content.leaf, v->content.len, v->region_size, &ce) < 0)
        return engine_store_error(err, &ce);
    *runs = v->runs.runs;
    *count = v->runs.run_count;
    return 0;
}

const struct cs_content *layer_view_content(const struct layer_view *v)
{
    return &v->runs;
}

unsigned layer_view_level(const struct layer_view *v)
{
    return v->which->content.empty ? 0 : v->which->content.level;
}

int layer_view_subtree(struct layer_view *v, unsigned level, uint64_t region,
                       struct cs_subtree *subtree, bool *found, struct error *err)
{
    const struct cs_tree *tree = &v->which->content;
    struct cs_error ce;
    *found = false;
    if (tree->empty)
        return 0;
    if (level >= tree->level) {
        *found = region == 0;
        *subtree = (struct cs_subtree){
            .level = tree->level, .end = tree->regions, .id = tree->root, .bytes = tree->bytes};
        return 0;
    }
    if (cs_tree_find(v->content.reader, level, region, subtree, found, &ce) < 0)
        return engine_store_error(err, &ce);
    return 0;
}

int layer_view_describe(struct layer_view *v, struct scatter *scatter, uint64_t base,
                        struct error *err)
{
    int rc = 0;
    scatter_begin(scatter, &v->runs);
    for (size_t i = 0; rc == 0 && i < v->runs.run_count; i++) {
        const struct cs_run *run = &v->runs.runs[i];
        if (!run->zero)
            rc = scatter_put(scatter, run->offset, run->length, base + run->offset, err);
    }
    return rc == 0 ? scatter_end(scatter, err) : rc;
}

int layer_view_entries(struct layer_view *v, uint64_t region, const struct qcow2_entry **entries,
                       size_t *count, struct error *err)
{
    struct cs_error ce;
    *count = 0;
    int rc = seek(&v->placement, region, err);
    if (rc < 0)
        return rc;
    if (!v->placement.found || v->placement.region != region)
        return 0;
    if (cs_placement_decode(v->places, v->entry_count, v->layer->qcow2.cluster_bits,
                            v->placement.leaf, v->placement.len, &ce) < 0)
        return engine_store_error(err, &ce);
    for (size_t i = 0; i < v->entry_count; i++)
        v->entries[i] = (struct qcow2_entry){
            .class = (enum qcow2_class)v->places[i].class,
            .length = v->places[i].length,
            .host = v->places[i].host,
            .sub_alloc = v->places[i].sub_alloc,
            .sub_zero = v->places[i].sub_zero,
        };
    *entries = v->entries;
    *count = v->entry_count;
    return 0;
}

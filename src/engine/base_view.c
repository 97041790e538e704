/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Views of the parent archive as proof. Why each kind proves what it does is in
 * unchanged.c, which chooses them; here entries are held against entries.
 */
#include "engine/base_view.h"

#include <stdlib.h>
#include <string.h>

#include "engine/dirty_bits.h"

static size_t per_region(const struct base_view *b)
{
    return b->job->region_size >> b->before->qcow2.cluster_bits;
}

int base_view_breaks(struct base_view *b, const struct cs_error *ce, struct error *err)
{
    if (ce->code != CS_NO_MEMORY && ce->code != CS_CANCELLED)
        b->job->parent_broken = true;
    return engine_store_error(err, ce);
}

int base_view_open(struct base_view *b, struct layer_job *job, const struct record_layer *before,
                   size_t index, enum base_kind kind, struct error *err)
{
    struct cs_error ce;
    const struct record_view *view = &before->views[index];
    *b = (struct base_view){.kind = kind, .job = job, .before = before, .region = UINT64_MAX};
    if (cs_tree_open(&b->content, job->store, &view->content, &ce) < 0)
        return base_view_breaks(b, &ce, err);
    if (kind == BASE_COMPARED)
        return 0;
    b->disk_size = before->virtual_size;
    b->entries = calloc(per_region(b), sizeof *b->entries);
    b->now_entries = calloc(per_region(b), sizeof *b->now_entries);
    if (b->entries == NULL || b->now_entries == NULL)
        return error_no_memory(err);
    return cs_tree_open(&b->placement, job->store, &view->placement, &ce) < 0
               ? base_view_breaks(b, &ce, err)
               : 0;
}

void base_view_clear(struct base_view *b)
{
    qcow2_view_close(b->now);
    if (b->content != NULL)
        cs_tree_close(b->content);
    if (b->placement != NULL)
        cs_tree_close(b->placement);
    cs_content_clear(&b->leaf);
    free(b->entries);
    free(b->now_entries);
    *b = (struct base_view){0};
}

/* Reads the leaf of ${region}, lent by ${reader}; ${*len} is 0 where there is none. */
static int get_leaf(struct base_view *b, struct cs_tree_reader *reader, uint64_t region,
                    const uint8_t **leaf, size_t *len, struct error *err)
{
    struct cs_error ce;
    struct cs_subtree at;
    uint64_t number;
    bool found = false;
    *len = 0;
    /* without this the next leaf would be read, however far away */
    int rc = cs_tree_find(reader, 0, region, &at, &found, &ce);
    if (rc == 0 && found)
        rc = cs_tree_next(reader, region, &number, leaf, len, &found, &ce);
    return rc < 0 ? base_view_breaks(b, &ce, err) : 0;
}

int base_view_find(struct base_view *b, enum cs_tree_kind kind, unsigned level, uint64_t region,
                   struct cs_subtree *subtree, bool *found, struct error *err)
{
    struct cs_error ce;
    struct cs_tree_reader *reader = kind == CS_TREE_CONTENT ? b->content : b->placement;
    int rc = cs_tree_find(reader, level, region, subtree, found, &ce);
    return rc < 0 ? base_view_breaks(b, &ce, err) : 0;
}

static int load_entries(struct base_view *b, uint64_t region, struct error *err)
{
    struct cs_error ce;
    const uint8_t *leaf = NULL;
    size_t len = 0, n = per_region(b);
    memset(b->entries, 0, n * sizeof *b->entries);
    int rc = get_leaf(b, b->placement, region, &leaf, &len, err);
    if (rc < 0 || len == 0)
        return rc;
    struct cs_place *places = calloc(n, sizeof *places);
    if (places == NULL)
        return error_no_memory(err);
    if (cs_placement_decode(places, n, b->before->qcow2.cluster_bits, leaf, len, &ce) < 0)
        rc = base_view_breaks(b, &ce, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        b->entries[i] = (struct qcow2_entry){
            .class = places[i].class,
            .length = places[i].length,
            .host = places[i].host,
            .sub_alloc = places[i].sub_alloc,
            .sub_zero = places[i].sub_zero,
        };
    free(places);
    return rc;
}

static int load_today(struct base_view *b, uint64_t region, struct error *err)
{
    size_t n = per_region(b);
    uint64_t first = region * n, clusters = qcow2_view_clusters(b->now);
    memset(b->now_entries, 0, n * sizeof *b->now_entries);
    if (first >= clusters)
        return 0;
    if (clusters - first < n)
        n = (size_t)(clusters - first);
    return qcow2_view_entries(b->now, first, n, b->now_entries, err);
}

int base_view_load(struct base_view *b, uint64_t region, struct error *err)
{
    if (b->kind == BASE_COMPARED || b->region == region)
        return 0;
    b->region = UINT64_MAX;
    b->has_leaf = false;
    int rc = load_entries(b, region, err);
    if (rc == 0 && b->now != NULL)
        rc = load_today(b, region, err);
    if (rc == 0)
        b->region = region;
    return rc;
}

static bool same_place(const struct qcow2_entry *a, const struct qcow2_entry *b)
{
    return a->class == b->class && a->host == b->host && a->sub_alloc == b->sub_alloc &&
           a->sub_zero == b->sub_zero;
}

bool base_view_same_entry(const struct base_view *b, const struct qcow2_entry *entry, size_t i)
{
    return same_place(entry, &b->entries[i]);
}

bool base_view_proves(struct base_view *b, const struct qcow2_entry *entry, size_t i, bool active)
{
    uint64_t cluster = UINT64_C(1) << b->before->qcow2.cluster_bits;
    uint64_t guest = b->region * b->job->region_size + i * cluster;
    if (b->kind == BASE_SNAPSHOT && active && entry->copied &&
        same_place(entry, &b->now_entries[i]))
        b->contradicted = true; /* it may have been written in place */
    if (b->kind == BASE_COMPARED || !base_view_same_entry(b, entry, i))
        return false;
    if (b->kind == BASE_SNAPSHOT)
        return same_place(entry, &b->now_entries[i]) && !(active && entry->copied);
    /* VM state, behind the disk, is written without a bit being set */
    return guest < b->disk_size && dirty_bits_clean(b->bits, guest, cluster);
}

int base_view_leaf(struct base_view *b, uint64_t region, const struct cs_content **leaf,
                   struct error *err)
{
    struct cs_error ce;
    const uint8_t *data = NULL;
    size_t len = 0;
    *leaf = NULL;
    if (!b->has_leaf || b->leaf_region != region) {
        b->has_leaf = false;
        cs_content_clear(&b->leaf);
        int rc = get_leaf(b, b->content, region, &data, &len, err);
        if (rc < 0)
            return rc;
        if (len > 0 && cs_content_decode(&b->leaf, data, len, b->job->region_size, &ce) < 0)
            return base_view_breaks(b, &ce, err);
        b->leaf_region = region;
        b->has_leaf = true;
    }
    if (b->leaf.run_count > 0)
        *leaf = &b->leaf;
    return 0;
}

static int try_tree(struct base_view *b, const struct cs_tree *tree, struct error *err)
{
    struct cs_error ce;
    struct cs_tree_reader *reader = NULL;
    const uint8_t *leaf;
    uint64_t region;
    size_t len;
    bool found;
    int rc = cs_tree_open(&reader, b->job->store, tree, &ce);
    if (rc == 0)
        rc = cs_tree_next(reader, 0, &region, &leaf, &len, &found, &ce);
    cs_tree_close(reader);
    return rc < 0 ? base_view_breaks(b, &ce, err) : 0;
}

int base_view_try(struct layer_job *job, const struct record_layer *before, size_t index,
                  struct error *err)
{
    struct base_view b = {.job = job};
    int rc = try_tree(&b, &before->views[index].content, err);
    return rc == 0 && before->is_qcow2 ? try_tree(&b, &before->views[index].placement, err) : rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BASE_VIEW_H
#define BYRE_ENGINE_BASE_VIEW_H

#include "engine/layer_job.h"
#include "qcow2/image.h"

/*
 * A view as the parent archive has it, which clusters of today's views are held
 * against: its entries tell which are provably the same, its leaves give their
 * ids. Read region by region, in ascending order best. For one thread.
 */

struct dirty_bits;

enum base_kind {
    BASE_COMPARED, /* proves nothing; what is read is compared with it */
    BASE_BITMAP,   /* the active view of then; what the bitmap has as clean is as it was */
    BASE_SNAPSHOT, /* a snapshot of then that is the same now: what it has is pinned */
};

struct base_view {
    enum base_kind kind;
    const struct dirty_bits *bits;     /* of a bitmap, lent */
    struct qcow2_view *now;            /* of a snapshot: itself, today; owned */
    uint64_t disk_size;                /* of a bitmap: bytes that it tracks */
    struct layer_job *job;             /* lent */
    const struct record_layer *before; /* lent */
    struct cs_tree_reader *content;
    struct cs_tree_reader *placement;
    uint64_t region;                 /* whose entries are loaded; UINT64_MAX: none */
    struct qcow2_entry *entries;     /* as the parent has them, in the region */
    struct qcow2_entry *now_entries; /* of a snapshot: as they are today */
    bool contradicted; /* the active state claims for itself what the snapshot has: nothing is proof
                        */
    bool has_leaf;
    uint64_t leaf_region;
    struct cs_content leaf; /* no runs: there is none */
};

/*
 * Opens view ${index} of ${before}, the layer of ${job} in its parent; of any format where it is
 * only compared with, else of today's layout. To be cleared, also on failure. Where a failure, here
 * and below, is the parent's and not the layer's, ${job->parent_broken} says so.
 */
int base_view_open(struct base_view *base, struct layer_job *job, const struct record_layer *before,
                   size_t index, enum base_kind kind, struct error *err);
void base_view_clear(struct base_view *base);

/* Loads the entries of ${region}. */
int base_view_load(struct base_view *base, uint64_t region, struct error *err);

/* After base_view_load: whether the bytes behind ${entry}, of today's active view or not, at
 * cluster
 * ${i} of the region, are provably those that the parent has there. */
bool base_view_proves(struct base_view *base, const struct qcow2_entry *entry, size_t i,
                      bool active);

/* Whether ${entry} at cluster ${i} is what the parent has: of streams, the true length is known to
 * it alone, so lengths are not looked at. */
bool base_view_same_entry(const struct base_view *base, const struct qcow2_entry *entry, size_t i);

/* Sets ${*leaf}, lent until the next region, to the content leaf of ${region}; NULL: none. */
int base_view_leaf(struct base_view *base, uint64_t region, const struct cs_content **leaf,
                   struct error *err);

/* Finds the subtree of ${level} at ${region} in one of the trees, as cs_tree_find does. */
int base_view_find(struct base_view *base, enum cs_tree_kind kind, unsigned level, uint64_t region,
                   struct cs_subtree *subtree, bool *found, struct error *err);

/* The parent has what fits neither itself nor the layer. Returns the error that ${ce} is. */
int base_view_breaks(struct base_view *base, const struct cs_error *ce, struct error *err);

/* Before trees of view ${index} of ${before} are taken over as a whole: reads their first leaves,
 * so that what has lost its root is not. */
int base_view_try(struct layer_job *job, const struct record_layer *before, size_t index,
                  struct error *err);

#endif

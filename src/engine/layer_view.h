/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_LAYER_VIEW_H
#define BYRE_ENGINE_LAYER_VIEW_H

#include "engine/record.h"
#include "engine/scatter.h"
#include "qcow2/image.h"

/* A view of a stored layer (0: the active state; i + 1: snapshot i), read region by region in
 * ascending order. For one thread. */

struct layer_view;

/* ${layer} is lent for the life of the view. */
int layer_view_open(struct layer_view **view, struct cs_store *store,
                    const struct record_layer *layer, size_t index, struct error *err);
void layer_view_close(struct layer_view *view);

/* The first region at or after ${from} with anything in it (for qcow2: with a placement leaf);
 * ${*found} is false behind the last. */
int layer_view_next(struct layer_view *view, uint64_t from, uint64_t *region, bool *found,
                    struct error *err);

/* The runs of ${region} (none where it is empty), lent until the next call; without reading chunks.
 */
int layer_view_runs(struct layer_view *view, uint64_t region, const struct cs_run **runs,
                    size_t *count, struct error *err);

/* After layer_view_runs: the same runs with their chunks, lent until its next call. */
const struct cs_content *layer_view_content(const struct layer_view *view);

/* The level of the view's content tree. */
unsigned layer_view_level(const struct layer_view *view);

/*
 * What the content tree has in the 64^${level} regions from ${region}, a multiple of that, on:
 * equal ids are equal contents. Where the tree is lower than ${level}, all of it is at region 0.
 * ${*found} is false where there is nothing. Reads only nodes above.
 */
int layer_view_subtree(struct layer_view *view, unsigned level, uint64_t region,
                       struct cs_subtree *subtree, bool *found, struct error *err);

/* After layer_view_runs: puts the region's data runs to ${scatter}, from ${base} on. */
int layer_view_describe(struct layer_view *view, struct scatter *scatter, uint64_t base,
                        struct error *err);

/* The qcow2 entries of ${region}: region size / cluster size of them, lent until the next call;
 * ${*count} is 0 where it has none. */
int layer_view_entries(struct layer_view *view, uint64_t region, const struct qcow2_entry **entries,
                       size_t *count, struct error *err);

const struct record_layer *layer_view_layer(const struct layer_view *view);

#endif

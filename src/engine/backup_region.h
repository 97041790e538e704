/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_BACKUP_REGION_H
#define BYRE_ENGINE_BACKUP_REGION_H

#include "engine/base_view.h"
#include "engine/layer_job.h"
#include "qcow2/image.h"

/*
 * One region of a qcow2 layer into the trees of all views that have it alike.
 * Views with the same entries are one version; what several versions have in
 * common is read once.
 */

struct version {                            /* of the region at hand */
    const struct qcow2_entry *entries;      /* of its clusters, as the tables have them */
    bool active;                            /* whether they are the active state's (too) */
    struct cs_tree_builder *const *content; /* of the views that have it */
    struct cs_tree_builder *const *placement;
    size_t view_count;
    bool last; /* the region has no version behind this one: what is read need not be remembered */
};

struct region_store; /* what is kept from version to version */

/* ${job} is lent. ${bases}: those that prove, lent; the first that proves most is taken.
 * ${compared}: what is read is compared with it; NULL: with nothing. */
int region_store_new(struct region_store **store, const struct layer_job *job,
                     struct base_view *bases, size_t base_count, struct base_view *compared,
                     struct error *err);
void region_store_free(struct region_store *store);

/* Ends the region before: nothing that was read of it is remembered. */
void region_store_begin(struct region_store *store, uint64_t region);

/* Stores ${version} of the region. */
int region_store_put(struct region_store *store, const struct version *version, struct error *err);

bool region_same_entries(const struct qcow2_entry *a, const struct qcow2_entry *b, size_t n);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The views of a qcow2 layer (its active state and its snapshots) into trees,
 * all views of a batch at once: a snapshot that is as it was is the parent's as
 * a whole, subtrees whose L1 entries are a snapshot's are its, and the rest goes
 * region by region.
 */
#include "engine/backup_qcow2.h"

#include <stdlib.h>
#include <string.h>

#include "engine/backup_region.h"
#include "engine/unchanged.h"
#include "qcow2/entry.h"

enum {
    BATCH_BYTES = 96 << 20, /* of tables and entries of the views that are walked together */
    L2_CACHE = 256 << 10,   /* bytes that a view holds of them */
    MOST_SNAPSHOTS = 3,     /* of those that prove; the newest resemble the active state most */
};

struct view_job {
    struct qcow2_view *view;
    uint32_t index;
    struct cs_tree_builder *content;
    struct cs_tree_builder *placement;
    struct qcow2_entry *entries; /* of the region at hand */
    bool as_before;              /* its tables there are those of the view before; not loaded */
    bool anything;               /* whether there is something in it */
    bool done;                   /* whether its region has been stored with another view's */
};

struct walk { /* of a layer */
    struct layer_job *job;
    struct qcow2_image *image;
    size_t per_region; /* clusters */
    unsigned l2_bits;  /* a table has 1 << l2_bits entries */
    struct base_view bases[MOST_SNAPSHOTS + 1];
    size_t base_count;
    struct base_view compared;
    struct region_store *store;
};

struct batch {
    struct walk *walk;
    struct view_job *views;
    size_t count;
    struct cs_tree_builder **content; /* of the views that are stored together */
    struct cs_tree_builder **placement;
};

/* ---- versions of a region ---- */

/* Stores the region of ${leader}, and of all later views that have the same entries. */
static int store_version(struct batch *b, size_t leader, struct error *err)
{
    const struct qcow2_entry *entries = b->views[leader].entries;
    size_t n = 0;
    bool joins = false, last = true;
    for (size_t i = leader; i < b->count; i++) {
        struct view_job *v = &b->views[i];
        if (!v->as_before)
            joins = v->anything && !v->done &&
                    region_same_entries(v->entries, entries, b->walk->per_region);
        if (!joins) {
            last = last && (!v->anything || v->done);
            continue;
        }
        v->done = true;
        b->content[n] = v->content;
        b->placement[n++] = v->placement;
    }
    struct version version = {
        .entries = entries,
        .active = b->views[leader].index == 0,
        .content = b->content,
        .placement = b->placement,
        .view_count = n,
        .last = last,
    };
    return region_store_put(b->walk->store, &version, err);
}

/* L1 entry ${i} without its COPIED bit, which means nothing in snapshots; 0 behind the end. */
static uint64_t table_of(const struct qcow2_view *view, uint64_t i)
{
    return i < qcow2_view_l1_size(view) ? qcow2_view_l1(view)[i] & ~QCOW2_COPIED : 0;
}

/* Sets the L1 entries from ${*first} to ${*end} to those of the ${n} regions from ${region} on. */
static void l1_range(const struct walk *w, uint64_t region, uint64_t n, uint64_t *first,
                     uint64_t *end)
{
    *first = region * w->per_region >> w->l2_bits;
    *end = (((region + n) * w->per_region - 1) >> w->l2_bits) + 1;
}

/* Whether two views have the same L2 tables in a region: then nothing needs be decoded twice, and
 * many snapshots of one disk cost little. */
static bool same_tables(const struct walk *w, const struct qcow2_view *x,
                        const struct qcow2_view *y, uint64_t region)
{
    uint64_t i, end;
    l1_range(w, region, 1, &i, &end);
    if (end > qcow2_view_l1_size(x) || end > qcow2_view_l1_size(y))
        return false;
    for (; i < end; i++)
        if (table_of(x, i) != table_of(y, i))
            return false;
    return true;
}

static int load_entries(struct batch *b, size_t at, uint64_t number, struct error *err)
{
    size_t per_region = b->walk->per_region;
    struct view_job *v = &b->views[at];
    uint64_t first = number * per_region, clusters = qcow2_view_clusters(v->view);
    v->anything = v->done = false;
    v->as_before = at > 0 && same_tables(b->walk, v->view, b->views[at - 1].view, number);
    if (v->as_before) {
        v->anything = b->views[at - 1].anything;
        return 0;
    }
    if (first >= clusters || qcow2_view_next_table(v->view, first) >= first + per_region)
        return 0;
    size_t n = clusters - first < per_region ? (size_t)(clusters - first) : per_region;
    memset(v->entries, 0, per_region * sizeof *v->entries);
    int rc = qcow2_view_entries(v->view, first, n, v->entries, err);
    for (size_t i = 0; rc == 0 && i < n && !v->anything; i++)
        v->anything = v->entries[i].class != QCOW2_UNALLOCATED;
    return rc;
}

static int store_region(struct batch *b, uint64_t region, struct error *err)
{
    int rc = 0;
    region_store_begin(b->walk->store, region);
    for (size_t i = 0; rc == 0 && i < b->count; i++)
        rc = load_entries(b, i, region, err);
    for (size_t i = 0; rc == 0 && i < b->count; i++)
        if (b->views[i].anything && !b->views[i].done && !b->views[i].as_before)
            rc = store_version(b, i, err);
    return rc;
}

/* ---- subtrees of snapshots ---- */

/*
 * Whether ${view} has the same tables as the snapshot ${base} for ${n} regions from ${region} on.
 * Nobody writes to a table that is shared, unless the active L1 says that it is not.
 */
static bool shares_tables(const struct walk *w, const struct qcow2_view *view,
                          const struct base_view *base, uint64_t region, uint64_t n)
{
    const struct qcow2_view *active = qcow2_image_active(w->image);
    uint64_t i, end, last = qcow2_view_l1_size(view), base_last = qcow2_view_l1_size(base->now);
    l1_range(w, region, n, &i, &end);
    if (last < base_last)
        last = base_last;
    for (; i < end && i < last; i++) {
        uint64_t table = table_of(view, i);
        if (table != table_of(base->now, i))
            return false;
        if (table != 0 && table_of(active, i) == table &&
            (qcow2_view_l1(active)[i] & QCOW2_COPIED) != 0)
            return false;
    }
    return true;
}

static uint64_t regions_of(const struct walk *w, const struct qcow2_view *view)
{
    return (qcow2_view_clusters(view) + w->per_region - 1) / w->per_region;
}

/* The snapshot whose subtree of ${level} at ${region} is right for ${view}; NULL: none. All views
 * have ${regions} at least, behind which nothing may come. */
static struct base_view *sharing_base(struct walk *w, const struct qcow2_view *view, unsigned level,
                                      uint64_t region, uint64_t regions)
{
    uint64_t span = UINT64_C(1) << (6 * level);
    for (size_t k = 0; k < w->base_count; k++) {
        struct base_view *base = &w->bases[k];
        if (base->kind != BASE_SNAPSHOT)
            continue;
        uint64_t end = regions_of(w, base->now);
        if ((end <= regions || span <= regions - region) && level <= cs_tree_level(end) &&
            shares_tables(w, view, base, region, span))
            return base;
    }
    return NULL;
}

static int add_subtree(struct cs_tree_builder *builder, struct base_view *base,
                       enum cs_tree_kind kind, unsigned level, uint64_t region, uint64_t *bytes,
                       struct error *err)
{
    struct cs_error ce;
    struct cs_subtree subtree;
    bool found = false;
    int rc = base_view_find(base, kind, level, region, &subtree, &found, err);
    if (rc < 0 || !found)
        return rc;
    *bytes = subtree.bytes;
    return cs_tree_add_subtree(builder, &subtree, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}

static bool all_share(const struct batch *b, unsigned level, uint64_t region, uint64_t regions)
{
    for (size_t i = 0; i < b->count; i++)
        if (sharing_base(b->walk, b->views[i].view, level, region, regions) == NULL)
            return false;
    return true;
}

/*
 * Takes over from snapshots as much as all views share with some from ${region} on, in one subtree.
 * Sets ${*n} to the number of regions, 0 for none.
 */
static int take_subtree(struct batch *b, uint64_t region, uint64_t regions, uint64_t *n,
                        struct error *err)
{
    struct walk *w = b->walk;
    unsigned level = region == 0 ? cs_tree_level(regions) : (unsigned)__builtin_ctzll(region) / 6;
    *n = 0;
    while (!all_share(b, level, region, regions))
        if (level-- == 0)
            return 0;
    *n = UINT64_C(1) << (6 * level);
    for (size_t i = 0; i < b->count; i++) {
        struct view_job *v = &b->views[i];
        struct base_view *base = sharing_base(w, v->view, level, region, regions);
        uint64_t bytes = 0;
        int rc = add_subtree(v->content, base, CS_TREE_CONTENT, level, region, &bytes, err);
        if (rc == 0)
            rc = add_subtree(v->placement, base, CS_TREE_PLACEMENT, level, region, &bytes, err);
        if (rc < 0)
            return rc;
        layer_job_progress(w->job, i == 0 ? bytes : 0);
    }
    return 0;
}

/* ---- all regions ---- */

/* The first region from ${from} on in which some view may have something; UINT64_MAX: none. */
static uint64_t next_region(const struct batch *b, uint64_t from)
{
    size_t per_region = b->walk->per_region;
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < b->count; i++) {
        uint64_t clusters = qcow2_view_clusters(b->views[i].view);
        uint64_t at = qcow2_view_next_table(b->views[i].view, from * per_region);
        if (at < clusters && at / per_region < next)
            next = at / per_region;
    }
    return next;
}

static int store_regions(struct batch *b, struct error *err)
{
    uint64_t regions = UINT64_MAX; /* of the smallest view */
    for (size_t i = 0; i < b->count; i++)
        if (regions_of(b->walk, b->views[i].view) < regions)
            regions = regions_of(b->walk, b->views[i].view);
    int rc = 0;
    for (uint64_t r = 0; rc == 0 && (r = next_region(b, r)) != UINT64_MAX;) {
        uint64_t n = 0;
        if (r < regions)
            rc = take_subtree(b, r, regions, &n, err);
        if (rc == 0 && n == 0) {
            rc = store_region(b, r, err);
            n = 1;
        }
        r += n;
    }
    return rc;
}

/* ---- batches of views ---- */

static size_t view_bytes(const struct walk *w, const struct qcow2_view *view)
{
    size_t cluster = qcow2_image_cluster_size(w->image);
    size_t tables = cluster > L2_CACHE ? cluster : L2_CACHE;
    return (size_t)qcow2_view_l1_size(view) * 8 + tables +
           w->per_region * sizeof(struct qcow2_entry);
}

static int begin_view(struct batch *b, struct view_job *v, struct error *err)
{
    struct cs_error ce;
    struct cs_writer *writer = b->walk->job->writer;
    uint64_t regions = regions_of(b->walk, v->view);
    v->entries = calloc(b->walk->per_region, sizeof *v->entries);
    if (v->entries == NULL)
        return error_no_memory(err);
    if (cs_tree_begin(&v->content, writer, CS_TREE_CONTENT, regions, &ce) < 0 ||
        cs_tree_begin(&v->placement, writer, CS_TREE_PLACEMENT, regions, &ce) < 0)
        return engine_store_error(err, &ce);
    return 0;
}

/* Opens views from ${*next} on, as many as the batch has room for; those that are as they were get
 * the parent's trees at once. */
static int begin_batch(struct batch *b, uint32_t *next, struct error *err)
{
    struct layer_job *job = b->walk->job;
    const struct unchanged *u = job->unchanged;
    size_t bytes = 0;
    for (; *next < job->record->view_count && bytes < BATCH_BYTES; (*next)++) {
        if (u->same_view[*next] > 0) {
            size_t then = u->same_view[*next] - 1;
            int rc = base_view_try(job, u->before, then, err);
            if (rc < 0)
                return rc;
            job->record->views[*next] = u->before->views[then];
            continue;
        }
        struct view_job *views = reallocarray(b->views, b->count + 1, sizeof *views);
        if (views == NULL)
            return error_no_memory(err);
        b->views = views;
        struct view_job *v = &views[b->count];
        *v = (struct view_job){.index = *next};
        int rc = qcow2_view_open(&v->view, b->walk->image, v->index, err);
        if (rc < 0)
            return rc;
        b->count++;
        bytes += view_bytes(b->walk, v->view);
        rc = begin_view(b, v, err);
        if (rc < 0)
            return rc;
    }
    b->content = calloc(b->count + 1, sizeof *b->content);
    b->placement = calloc(b->count + 1, sizeof *b->placement);
    return b->content == NULL || b->placement == NULL ? error_no_memory(err) : 0;
}

static int finish_view(struct layer_job *job, struct view_job *v, struct error *err)
{
    struct cs_error ce;
    struct record_view *record = &job->record->views[v->index];
    struct cs_tree_builder *content = v->content, *placement = v->placement;
    v->content = v->placement = NULL;
    if (cs_tree_finish(content, &record->content, &ce) < 0) {
        cs_tree_abort(placement);
        return engine_store_error(err, &ce);
    }
    return cs_tree_finish(placement, &record->placement, &ce) < 0 ? engine_store_error(err, &ce)
                                                                  : 0;
}

static void batch_clear(struct batch *b)
{
    for (size_t i = 0; i < b->count; i++) {
        cs_tree_abort(b->views[i].content);
        cs_tree_abort(b->views[i].placement);
        free(b->views[i].entries);
        qcow2_view_close(b->views[i].view);
    }
    free(b->views);
    free(b->content);
    free(b->placement);
}

/* ---- the layer ---- */

/* Whether the active L1 claims a table for itself that the snapshot has, too: then what was written
 * through it is in the snapshot. */
static bool contradicts(const struct walk *w, const struct qcow2_view *snapshot)
{
    const struct qcow2_view *active = qcow2_image_active(w->image);
    uint32_t n = qcow2_view_l1_size(active);
    for (uint32_t i = 0; i < n; i++)
        if ((qcow2_view_l1(active)[i] & QCOW2_COPIED) != 0 && table_of(active, i) != 0 &&
            table_of(active, i) == table_of(snapshot, i))
            return true;
    return false;
}

/* Opens the newest of the snapshots that are as they were. */
static int open_snapshot_bases(struct walk *w, struct error *err)
{
    const struct unchanged *u = w->job->unchanged;
    size_t opened = 0;
    for (size_t i = w->job->record->view_count; i-- > 1 && opened < MOST_SNAPSHOTS;) {
        if (u->same_view[i] == 0)
            continue;
        struct base_view *base = &w->bases[w->base_count++];
        int rc = base_view_open(base, w->job, u->before, u->same_view[i] - 1, BASE_SNAPSHOT, err);
        if (rc == 0)
            rc = qcow2_view_open(&base->now, w->image, (uint32_t)i, err);
        if (rc < 0)
            return rc;
        base->contradicted = contradicts(w, base->now);
        opened++;
    }
    return 0;
}

static int open_bases(struct walk *w, struct error *err)
{
    const struct unchanged *u = w->job->unchanged;
    int rc = 0;
    if (u->before == NULL)
        return 0;
    rc = base_view_open(&w->compared, w->job, u->before, 0, BASE_COMPARED, err);
    if (rc == 0 && u->bits != NULL) {
        struct base_view *base = &w->bases[w->base_count++];
        rc = base_view_open(base, w->job, u->before, 0, BASE_BITMAP, err);
        base->bits = u->bits;
    }
    return rc < 0 ? rc : open_snapshot_bases(w, err);
}

static void walk_clear(struct walk *w)
{
    region_store_free(w->store);
    for (size_t k = 0; k < w->base_count; k++)
        base_view_clear(&w->bases[k]);
    base_view_clear(&w->compared);
}

static bool contradicted(const struct walk *w)
{
    for (size_t k = 0; k < w->base_count; k++)
        if (w->bases[k].contradicted)
            return true;
    return false;
}

/* Stores all views, unless the image is found to contradict itself (${*distrust}). */
static int store_views(struct layer_job *job, bool *distrust, struct error *err)
{
    struct qcow2_image *image = job->layer->image;
    struct walk w = {
        .job = job,
        .image = image,
        .per_region = job->region_size / qcow2_image_cluster_size(image),
        .l2_bits = qcow2_entry_l2_bits(qcow2_image_header(image)),
    };
    int rc = open_bases(&w, err);
    if (rc == 0)
        rc = region_store_new(&w.store, job, w.bases, w.base_count,
                              job->unchanged->before != NULL ? &w.compared : NULL, err);
    for (uint32_t next = 0; rc == 0 && !contradicted(&w) && next < job->record->view_count;) {
        struct batch b = {.walk = &w};
        rc = begin_batch(&b, &next, err);
        if (rc == 0 && b.count > 0)
            rc = store_regions(&b, err);
        for (size_t i = 0; rc == 0 && i < b.count; i++)
            rc = finish_view(job, &b.views[i], err);
        batch_clear(&b);
    }
    *distrust = contradicted(&w);
    walk_clear(&w);
    return rc;
}

int backup_qcow2_views(struct layer_job *job, struct error *err)
{
    bool distrust = false;
    int rc = store_views(job, &distrust, err);
    if (rc < 0 || !distrust)
        return rc;
    layer_job_warn(job,
                   "%s: clusters that a snapshot shares are marked as nobody else's, or its tables "
                   "were rewritten, so that all is read; `qemu-img check` tells whether there is "
                   "something to mend",
                   job->layer->path);
    unchanged_distrust(job->unchanged,
                       "a snapshot is not as it was, or what it shares is marked as nobody else's");
    return store_views(job, &distrust, err);
}

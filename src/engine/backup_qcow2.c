/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The views of a qcow2 layer (its active state and its snapshots) into trees,
 * region by region, all views of a batch at once: views with the same entries
 * share one leaf, and a cluster that several views have is read once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "engine/backup_qcow2.h"
#include "engine/region_runs.h"

enum {
    BATCH_BYTES = 96 << 20, /* of tables and entries of the views that are walked together */
    MEMOS = 8,              /* versions of a region that are remembered */
    L2_CACHE = 256 << 10,   /* bytes that a view holds of them */
    SUBCLUSTERS = 32,
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

/* A version of the region at hand that was read: its entries as the tables have them, and as they
 * are known after reading (streams have true lengths then). */
struct memo {
    struct qcow2_entry *asked;
    struct qcow2_entry *known;
    uint8_t *data; /* in guest layout */
    bool used;
};

struct batch {
    struct layer_job *job;
    struct qcow2_image *image;
    struct view_job *views;
    size_t count;
    size_t per_region; /* clusters */
    uint32_t cluster;  /* bytes */
    bool extended;
    unsigned l2_bits; /* a table has 1 << l2_bits entries */
    struct memo memos[MEMOS];
    size_t next_memo;
    struct cs_tree_builder **content; /* of the views that are stored together */
    struct cs_tree_builder **placement;
};

static bool holds_bytes(const struct qcow2_entry *e)
{
    return e->class == QCOW2_DATA || e->class == QCOW2_COMPRESSED;
}

static bool same_entry(const struct qcow2_entry *a, const struct qcow2_entry *b)
{
    return a->class == b->class && a->host == b->host && a->length == b->length &&
           a->sub_alloc == b->sub_alloc && a->sub_zero == b->sub_zero;
}

static bool same_entries(const struct qcow2_entry *a, const struct qcow2_entry *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!same_entry(&a[i], &b[i]))
            return false;
    return true;
}

/* ---- reading a version of the region ---- */

static struct memo *fresh_memo(struct batch *b, struct error *err)
{
    struct memo *m = &b->memos[b->next_memo++ % MEMOS];
    if (m->data == NULL) {
        m->asked = calloc(b->per_region, sizeof *m->asked);
        m->known = calloc(b->per_region, sizeof *m->known);
        m->data = malloc(b->job->region_size);
        if (m->asked == NULL || m->known == NULL || m->data == NULL) {
            error_no_memory(err);
            return NULL;
        }
    }
    m->used = false;
    return m;
}

/* Takes the cluster at ${i} from a version that was read before. */
static bool recall(const struct batch *b, struct memo *m, size_t i)
{
    for (size_t k = 0; k < MEMOS; k++) {
        const struct memo *other = &b->memos[k];
        if (!other->used || other == m || !same_entry(&other->asked[i], &m->asked[i]))
            continue;
        m->known[i] = other->known[i];
        memcpy(m->data + i * b->cluster, other->data + i * b->cluster, b->cluster);
        return true;
    }
    return false;
}

/* Fills ${m}, whose asked entries are set, from other versions and from the image. */
static int read_version(struct batch *b, struct memo *m, uint64_t first, struct error *err)
{
    uint64_t bytes = 0;
    memcpy(m->known, m->asked, b->per_region * sizeof *m->known);
    for (size_t i = 0, k; i < b->per_region; i = k) {
        k = i + 1;
        if (!holds_bytes(&m->asked[i]) || recall(b, m, i))
            continue;
        while (k < b->per_region && holds_bytes(&m->asked[k]) && !recall(b, m, k))
            k++;
        int rc = qcow2_image_read(b->image, first + i, k - i, m->known + i,
                                  m->data + i * b->cluster, err);
        if (rc < 0)
            return rc;
        bytes += (k - i) * b->cluster;
        /* the cluster at k, where it holds bytes, was recalled just now */
        if (k < b->per_region && holds_bytes(&m->asked[k]))
            k++;
    }
    m->used = true;
    layer_job_progress(b->job, bytes);
    return 0;
}

/* ---- runs ---- */

enum run_kind { RUN_NONE, RUN_ZERO, RUN_DATA };

static enum run_kind kind_of(const struct qcow2_entry *e, unsigned sub, bool extended)
{
    if (holds_bytes(e) && (!extended || e->class == QCOW2_COMPRESSED))
        return RUN_DATA;
    if (extended && (e->class == QCOW2_DATA || e->class == QCOW2_ZERO)) {
        if (e->sub_alloc >> sub & 1)
            return RUN_DATA;
        return e->sub_zero >> sub & 1 ? RUN_ZERO : RUN_NONE;
    }
    return e->class == QCOW2_ZERO || e->class == QCOW2_ZERO_ALLOC ? RUN_ZERO : RUN_NONE;
}

/* Lays the data of ${m} end to end in ${region}, and describes it. */
static void pack_runs(const struct batch *b, const struct memo *m, struct cs_region *region)
{
    unsigned subs = b->extended ? SUBCLUSTERS : 1;
    uint32_t unit = b->cluster / subs;
    size_t filled = 0;
    for (size_t i = 0; i < b->per_region; i++)
        for (unsigned s = 0; s < subs; s++) {
            uint32_t at = (uint32_t)i * b->cluster + s * unit;
            enum run_kind kind = kind_of(&m->known[i], s, b->extended);
            if (kind == RUN_NONE)
                continue;
            if (kind == RUN_DATA) {
                memcpy(region->data + filled, m->data + at, unit);
                filled += unit;
            }
            region_runs_add(region, at, unit, kind == RUN_ZERO);
        }
}

/* ---- storing ---- */

static int store_placement(struct batch *b, const struct memo *m, uint64_t region, size_t n,
                           struct error *err)
{
    struct cs_error ce;
    uint8_t *leaf = NULL;
    size_t len = 0;
    struct cs_place *places = calloc(b->per_region, sizeof *places);
    if (places == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < b->per_region; i++)
        places[i] = (struct cs_place){
            .class = (uint8_t)m->known[i].class,
            .length = m->known[i].length,
            .host = m->known[i].host,
            .sub_alloc = m->known[i].sub_alloc,
            .sub_zero = m->known[i].sub_zero,
        };
    unsigned bits = b->job->record->qcow2.cluster_bits;
    uint64_t bytes = cs_placement_bytes(places, b->per_region, bits, b->extended);
    int rc = cs_placement_encode(&leaf, &len, places, b->per_region, bits, b->extended, &ce);
    for (size_t i = 0; rc == 0 && len > 0 && i < n; i++)
        rc = cs_tree_add(b->placement[i], region, leaf, len, bytes, &ce);
    free(leaf);
    free(places);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

/* Stores the region of ${leader}, and of all later views that have the same entries. */
static int store_version(struct batch *b, size_t leader, uint64_t number, struct error *err)
{
    struct cs_error ce;
    struct cs_region *region = NULL;
    size_t n = 0;
    struct memo *m = fresh_memo(b, err);
    if (m == NULL)
        return ERROR_NO_MEMORY;
    memcpy(m->asked, b->views[leader].entries, b->per_region * sizeof *m->asked);
    bool joins = false;
    for (size_t i = leader; i < b->count; i++) {
        struct view_job *v = &b->views[i];
        if (!v->as_before)
            joins = v->anything && !v->done && same_entries(v->entries, m->asked, b->per_region);
        if (!joins)
            continue;
        v->done = true;
        b->content[n] = v->content;
        b->placement[n++] = v->placement;
    }
    int rc = read_version(b, m, number * b->per_region, err);
    if (rc < 0)
        return rc;
    if (cs_region_get(b->job->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    region->index = number;
    pack_runs(b, m, region);
    if (cs_region_put(b->content, n, region, &ce) < 0)
        return engine_store_error(err, &ce);
    return store_placement(b, m, number, n, err);
}

/* Whether two views have the same L2 tables from guest cluster ${first} on, for a region: then
 * nothing needs be decoded twice, and many snapshots of one disk cost little. */
static bool same_tables(const struct batch *b, const struct qcow2_view *x,
                        const struct qcow2_view *y, uint64_t first)
{
    const uint64_t copied = UINT64_C(1) << 63; /* means nothing in snapshots */
    uint64_t end = ((first + b->per_region - 1) >> b->l2_bits) + 1;
    if (end > qcow2_view_l1_size(x) || end > qcow2_view_l1_size(y))
        return false;
    for (uint64_t i = first >> b->l2_bits; i < end; i++)
        if ((qcow2_view_l1(x)[i] & ~copied) != (qcow2_view_l1(y)[i] & ~copied))
            return false;
    return true;
}

static int load_entries(struct batch *b, size_t at, uint64_t number, struct error *err)
{
    struct view_job *v = &b->views[at];
    uint64_t first = number * b->per_region, clusters = qcow2_view_clusters(v->view);
    v->anything = v->done = false;
    v->as_before = at > 0 && same_tables(b, v->view, b->views[at - 1].view, first);
    if (v->as_before) {
        v->anything = b->views[at - 1].anything;
        return 0;
    }
    if (first >= clusters || qcow2_view_next_table(v->view, first) >= first + b->per_region)
        return 0;
    size_t n = clusters - first < b->per_region ? (size_t)(clusters - first) : b->per_region;
    memset(v->entries, 0, b->per_region * sizeof *v->entries);
    int rc = qcow2_view_entries(v->view, first, n, v->entries, err);
    for (size_t i = 0; rc == 0 && i < n && !v->anything; i++)
        v->anything = v->entries[i].class != QCOW2_UNALLOCATED;
    return rc;
}

/* The first region from ${from} on in which some view may have something; UINT64_MAX: none. */
static uint64_t next_region(const struct batch *b, uint64_t from)
{
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < b->count; i++) {
        uint64_t clusters = qcow2_view_clusters(b->views[i].view);
        uint64_t at = qcow2_view_next_table(b->views[i].view, from * b->per_region);
        if (at < clusters && at / b->per_region < next)
            next = at / b->per_region;
    }
    return next;
}

static int store_regions(struct batch *b, struct error *err)
{
    int rc = 0;
    for (uint64_t r = next_region(b, 0); rc == 0 && r != UINT64_MAX; r = next_region(b, r + 1)) {
        for (size_t k = 0; k < MEMOS; k++)
            b->memos[k].used = false;
        b->next_memo = 0;
        for (size_t i = 0; rc == 0 && i < b->count; i++)
            rc = load_entries(b, i, r, err);
        for (size_t i = 0; rc == 0 && i < b->count; i++)
            if (b->views[i].anything && !b->views[i].done && !b->views[i].as_before)
                rc = store_version(b, i, r, err);
    }
    return rc;
}

/* ---- batches of views ---- */

static size_t view_bytes(const struct batch *b, const struct qcow2_view *view)
{
    size_t tables = b->cluster > L2_CACHE ? b->cluster : L2_CACHE;
    return (size_t)qcow2_view_l1_size(view) * 8 + tables +
           b->per_region * sizeof(struct qcow2_entry);
}

static int begin_view(struct batch *b, struct view_job *v, struct error *err)
{
    struct cs_error ce;
    uint64_t regions = (qcow2_view_clusters(v->view) + b->per_region - 1) / b->per_region;
    v->entries = calloc(b->per_region, sizeof *v->entries);
    if (v->entries == NULL)
        return error_no_memory(err);
    if (cs_tree_begin(&v->content, b->job->writer, CS_TREE_CONTENT, regions, &ce) < 0 ||
        cs_tree_begin(&v->placement, b->job->writer, CS_TREE_PLACEMENT, regions, &ce) < 0)
        return engine_store_error(err, &ce);
    return 0;
}

/* Opens views from ${first} on, as many as the batch has room for; at least one. */
static int begin_batch(struct batch *b, uint32_t first, uint32_t total, struct error *err)
{
    size_t bytes = 0;
    while (first + b->count < total && bytes < BATCH_BYTES) {
        struct view_job *views = reallocarray(b->views, b->count + 1, sizeof *views);
        if (views == NULL)
            return error_no_memory(err);
        b->views = views;
        struct view_job *v = &views[b->count];
        *v = (struct view_job){.index = first + (uint32_t)b->count};
        int rc = qcow2_view_open(&v->view, b->image, v->index, err);
        if (rc < 0)
            return rc;
        b->count++;
        bytes += view_bytes(b, v->view);
        rc = begin_view(b, v, err);
        if (rc < 0)
            return rc;
    }
    b->content = calloc(b->count, sizeof *b->content);
    b->placement = calloc(b->count, sizeof *b->placement);
    return b->content == NULL || b->placement == NULL ? error_no_memory(err) : 0;
}

static int digest_l1(struct layer_job *job, const struct qcow2_view *view, struct cs_id *digest,
                     struct error *err)
{
    uint32_t n = qcow2_view_l1_size(view);
    uint8_t *l1 = malloc((size_t)n * 8 + 1);
    if (l1 == NULL)
        return error_no_memory(err);
    for (uint32_t i = 0; i < n; i++)
        be64_put(l1 + (size_t)i * 8, qcow2_view_l1(view)[i]);
    cs_digest(job->store, "byre l1", l1, (size_t)n * 8, digest);
    free(l1);
    return 0;
}

static int finish_view(struct layer_job *job, struct view_job *v, struct error *err)
{
    struct cs_error ce;
    struct record_view *record = &job->record->views[v->index];
    struct cs_tree_builder *content = v->content, *placement = v->placement;
    v->content = v->placement = NULL;
    record->l1_size = qcow2_view_l1_size(v->view);
    int rc = digest_l1(job, v->view, &record->l1_hash, err);
    if (cs_tree_finish(content, &record->content, &ce) < 0) {
        cs_tree_abort(placement);
        return engine_store_error(err, &ce);
    }
    return cs_tree_finish(placement, &record->placement, &ce) < 0 ? engine_store_error(err, &ce)
                                                                  : rc;
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
    for (size_t k = 0; k < MEMOS; k++) {
        free(b->memos[k].asked);
        free(b->memos[k].known);
        free(b->memos[k].data);
    }
}

int backup_qcow2_views(struct layer_job *job, struct error *err)
{
    struct qcow2_image *image = job->layer->image;
    const struct qcow2_header *h = qcow2_image_header(image);
    uint32_t total = h->nb_snapshots + 1;
    job->record->views = calloc(total, sizeof *job->record->views);
    if (job->record->views == NULL)
        return error_no_memory(err);
    job->record->view_count = total;
    int rc = 0;
    for (uint32_t first = 0; rc == 0 && first < total;) {
        struct batch b = {
            .job = job,
            .image = image,
            .cluster = qcow2_image_cluster_size(image),
            .extended = (h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0,
        };
        b.l2_bits = h->cluster_bits - (b.extended ? 4 : 3);
        b.per_region = job->region_size / b.cluster;
        rc = begin_batch(&b, first, total, err);
        if (rc == 0)
            rc = store_regions(&b, err);
        for (size_t i = 0; rc == 0 && i < b.count; i++)
            rc = finish_view(job, &b.views[i], err);
        first += (uint32_t)b.count;
        batch_clear(&b);
    }
    return rc;
}

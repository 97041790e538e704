/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region of a qcow2 layer: which of its clusters are provably as before, what
 * has to be read, and both into the store. Which views there are is not known
 * here.
 */
#include "engine/backup_region.h"

#include <stdlib.h>
#include <string.h>

#include "engine/fill.h"
#include "engine/region_runs.h"

enum {
    MEMOS = 8, /* versions of a region that are remembered */
    SUBCLUSTERS = 32,
};

/* A version that is, or was, dealt with. */
struct memo {
    struct qcow2_entry *asked; /* as the tables have them */
    struct qcow2_entry *known; /* with true lengths of streams, where those are known */
    bool *proven;              /* the base has these clusters */
    bool *read;                /* ${data} has them */
    uint8_t *data;             /* in guest layout; its own, or the region's */
    uint8_t *room;             /* its own */
    bool used;
};

struct region_store {
    const struct layer_job *job;
    struct qcow2_image *image;
    struct base_view *bases;
    size_t base_count;
    struct base_view *compared;
    size_t per_region; /* clusters */
    uint32_t cluster;  /* bytes */
    bool extended;
    uint64_t region;
    struct memo memos[MEMOS];
    size_t next_memo;
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

bool region_same_entries(const struct qcow2_entry *a, const struct qcow2_entry *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!same_entry(&a[i], &b[i]))
            return false;
    return true;
}

int region_store_new(struct region_store **out, const struct layer_job *job,
                     struct base_view *bases, size_t base_count, struct base_view *compared,
                     struct error *err)
{
    struct region_store *s = calloc(1, sizeof *s);
    if (s == NULL)
        return error_no_memory(err);
    s->job = job;
    s->image = job->layer->image;
    s->bases = bases;
    s->base_count = base_count;
    s->compared = compared;
    s->cluster = qcow2_image_cluster_size(s->image);
    s->per_region = job->region_size / s->cluster;
    qcow2_image_keep_cache(s->image);
    s->extended = (qcow2_image_header(s->image)->incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    *out = s;
    return 0;
}

void region_store_free(struct region_store *s)
{
    if (s == NULL)
        return;
    for (size_t k = 0; k < MEMOS; k++) {
        free(s->memos[k].asked);
        free(s->memos[k].known);
        free(s->memos[k].proven);
        free(s->memos[k].read);
        free(s->memos[k].room);
    }
    free(s);
}

void region_store_begin(struct region_store *s, uint64_t region)
{
    for (size_t k = 0; k < MEMOS; k++)
        s->memos[k].used = false;
    s->next_memo = 0;
    s->region = region;
}

static struct memo *fresh_memo(struct region_store *s, const struct version *v, struct error *err)
{
    struct memo *m = &s->memos[s->next_memo++ % MEMOS];
    size_t n = s->per_region;
    if (m->asked == NULL) {
        m->asked = calloc(n, sizeof *m->asked);
        m->known = calloc(n, sizeof *m->known);
        m->proven = calloc(n, sizeof *m->proven);
        m->read = calloc(n, sizeof *m->read);
        if (m->asked == NULL || m->known == NULL || m->proven == NULL || m->read == NULL) {
            error_no_memory(err);
            return NULL;
        }
    }
    memcpy(m->asked, v->entries, n * sizeof *m->asked);
    memcpy(m->known, v->entries, n * sizeof *m->known);
    memset(m->proven, 0, n * sizeof *m->proven);
    memset(m->read, 0, n * sizeof *m->read);
    m->used = true;
    return m;
}

/* ---- what is proven ---- */

/* How many clusters with bytes ${base} proves; ${*all}: whether it has the whole region like this.
 */
static size_t count_proven(const struct region_store *s, struct base_view *base,
                           const struct version *v, bool *all)
{
    size_t count = 0;
    *all = true;
    for (size_t i = 0; i < s->per_region; i++) {
        const struct qcow2_entry *e = &v->entries[i];
        bool good = holds_bytes(e) ? base_view_proves(base, e, i, v->active)
                                   : base_view_same_entry(base, e, i);
        count += good && holds_bytes(e);
        *all &= good;
    }
    return count;
}

/* Chooses the base that proves most of ${v}; NULL where none proves anything. */
static int choose_base(struct region_store *s, const struct version *v, struct base_view **best,
                       bool *all, struct error *err)
{
    size_t most = 0;
    *best = NULL;
    *all = false;
    for (size_t k = 0; k < s->base_count && !*all; k++) {
        bool whole;
        int rc = base_view_load(&s->bases[k], s->region, err);
        if (rc < 0)
            return rc;
        size_t count = count_proven(s, &s->bases[k], v, &whole);
        if (count <= most && !whole)
            continue;
        most = count;
        *best = &s->bases[k];
        *all = whole;
    }
    return 0;
}

/* Takes the region over from the base as a whole. */
static int take_over(const struct region_store *s, struct base_view *base, const struct version *v,
                     struct error *err)
{
    struct cs_error ce;
    struct cs_subtree content, placement;
    bool has_content = false, has_placement = false;
    int rc = base_view_find(base, CS_TREE_CONTENT, 0, s->region, &content, &has_content, err);
    if (rc == 0)
        rc = base_view_find(base, CS_TREE_PLACEMENT, 0, s->region, &placement, &has_placement, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; rc == 0 && i < v->view_count; i++) {
        if (has_content)
            rc = cs_tree_add_subtree(v->content[i], &content, &ce);
        if (rc == 0 && has_placement)
            rc = cs_tree_add_subtree(v->placement[i], &placement, &ce);
    }
    if (rc < 0)
        return engine_store_error(err, &ce);
    layer_job_progress(s->job, has_placement ? placement.bytes : 0);
    return 0;
}

static void note_proven(const struct region_store *s, struct base_view *base,
                        const struct version *v, struct memo *m)
{
    for (size_t i = 0; i < s->per_region; i++)
        if (holds_bytes(&m->asked[i]) && base_view_proves(base, &m->asked[i], i, v->active)) {
            m->proven[i] = true;
            m->known[i] = base->entries[i];
        }
}

/* ---- reading ---- */

/* Takes the cluster at ${i} from a version that was read before. */
static bool recall(const struct region_store *s, struct memo *m, size_t i)
{
    for (size_t k = 0; k < MEMOS; k++) {
        const struct memo *other = &s->memos[k];
        if (!other->used || other == m || !other->read[i] ||
            !same_entry(&other->asked[i], &m->asked[i]))
            continue;
        m->known[i] = other->known[i];
        memcpy(m->data + i * s->cluster, other->data + i * s->cluster, s->cluster);
        m->read[i] = true;
        return true;
    }
    return false;
}

static bool wanted(const struct region_store *s, struct memo *m, size_t i)
{
    return holds_bytes(&m->asked[i]) && !m->read[i] && !recall(s, m, i);
}

/* Reads the clusters that hold bytes and are not proven; what can wait goes to ${later}, unless
 * that is NULL. */
static int read_clusters(const struct region_store *s, struct memo *m, struct reads *later,
                         struct error *err)
{
    for (size_t i = 0, k; i < s->per_region; i = k) {
        k = i + 1;
        if (m->proven[i] || !wanted(s, m, i))
            continue;
        while (k < s->per_region && !m->proven[k] && wanted(s, m, k))
            k++;
        int rc = qcow2_image_read_later(s->image, s->region * s->per_region + i, k - i,
                                        m->known + i, m->data + i * s->cluster, later, err);
        if (rc < 0)
            return rc;
        for (size_t j = i; j < k; j++)
            m->read[j] = true;
    }
    return 0;
}

/* Says where the plain clusters that are proven can be read, for what changed around them. */
static int note_spare(const struct region_store *s, const struct memo *m,
                      const struct cs_region *region, struct reads *later, struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->per_region; i++)
        if (m->proven[i] && m->asked[i].class == QCOW2_DATA)
            rc = qcow2_image_spare(s->image, &m->asked[i], region->data + i * s->cluster, later,
                                   err);
    return rc;
}

/* The same of compressed ones. Of their lengths the parent's word is not needed here. */
static int note_streams(const struct region_store *s, const struct memo *m, struct fill *fill,
                        struct error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->per_region; i++)
        if (m->proven[i] && m->asked[i].class == QCOW2_COMPRESSED)
            rc = fill_add_stream(fill, s->image, (uint32_t)(i * s->cluster), &m->asked[i], err);
    return rc;
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

/* Describes ${m} in ${region}, with the bytes that were read elsewhere. */
static void describe_region(const struct region_store *s, const struct memo *m,
                            struct cs_region *region)
{
    unsigned subs = s->extended ? SUBCLUSTERS : 1;
    uint32_t unit = s->cluster / subs;
    for (size_t i = 0; i < s->per_region; i++)
        for (unsigned k = 0; k < subs; k++) {
            uint32_t at = (uint32_t)i * s->cluster + k * unit;
            enum run_kind kind = kind_of(&m->known[i], k, s->extended);
            if (kind == RUN_NONE)
                continue;
            if (kind == RUN_DATA && !m->proven[i] && m->data != region->data)
                memcpy(region->data + at, m->data + at, unit);
            region_runs_add(region, at, unit, kind == RUN_ZERO, kind == RUN_DATA && m->proven[i]);
        }
}

/* ---- storing ---- */

/*
 * Brings what is not proven to ${region}, or says to ${*fill} how a worker does: the bytes of the
 * last version need not be remembered, and plain ones may come whenever a worker gets to it.
 */
static int read_region(struct region_store *s, const struct version *v, struct memo *m,
                       struct cs_region *region, struct fill **fill, struct error *err)
{
    struct reads later;
    qcow2_image_reads(s->image, &later);
    later.count_bytes = s->job->run->read_later;
    if (!v->last && m->room == NULL && (m->room = malloc(s->job->region_size)) == NULL)
        return error_no_memory(err);
    m->data = v->last ? region->data : m->room;
    int rc = read_clusters(s, m, v->last ? &later : NULL, err);
    if (rc == 0)
        rc = note_spare(s, m, region, &later, err);
    if (rc == 0)
        rc = reads_prepare(&later, err);
    if (rc == 0)
        rc = fill_new(fill, region, &later, err);
    if (rc == 0)
        rc = note_streams(s, m, *fill, err);
    if (rc == 0)
        fill_later(fill, region);
    reads_clear(&later);
    return rc;
}

/* Puts ${region}, as ${m} has it. */
static int put_region(struct region_store *s, const struct version *v, struct memo *m,
                      struct base_view *base, const struct cs_content *then,
                      struct cs_region *region, struct error *err)
{
    struct cs_error ce;
    region->index = s->region;
    describe_region(s, m, region);
    if (cs_region_put(v->content, v->view_count, region, then, &ce) == 0)
        return 0;
    /* its leaf has not what its entries tell */
    if (base != NULL && ce.code == CS_USAGE)
        return base_view_breaks(base, &ce, err);
    return engine_store_error(err, &ce);
}

static int store_content(struct region_store *s, const struct version *v, struct memo *m,
                         struct base_view *base, struct error *err)
{
    struct cs_error ce;
    struct cs_region *region = NULL;
    struct fill *fill = NULL;
    const struct cs_content *then = NULL;
    struct base_view *known = base != NULL ? base : s->compared;
    int rc = known != NULL ? base_view_leaf(known, s->region, &then, err) : 0;
    if (rc < 0)
        return rc;
    if (cs_region_get(s->job->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    rc = read_region(s, v, m, region, &fill, err);
    if (rc < 0)
        cs_region_cancel(s->job->writer, region);
    else
        rc = put_region(s, v, m, base, then, region, err);
    if (rc < 0)
        fill_cancel(fill);
    qcow2_image_settle(s->image);
    m->used = m->data == m->room && rc == 0;
    return rc;
}

static int store_placement(const struct region_store *s, const struct version *v,
                           const struct memo *m, struct error *err)
{
    struct cs_error ce;
    uint8_t *leaf = NULL;
    size_t len = 0;
    unsigned bits = s->job->record->qcow2.cluster_bits;
    struct cs_place *places = calloc(s->per_region, sizeof *places);
    if (places == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < s->per_region; i++)
        places[i] = (struct cs_place){
            .class = (uint8_t)m->known[i].class,
            .length = m->known[i].length,
            .host = m->known[i].host,
            .sub_alloc = m->known[i].sub_alloc,
            .sub_zero = m->known[i].sub_zero,
        };
    int rc = cs_placement_encode(&leaf, &len, places, s->per_region, bits, s->extended, &ce);
    uint64_t bytes = cs_placement_bytes(places, s->per_region, bits, s->extended);
    for (size_t i = 0; rc == 0 && len > 0 && i < v->view_count; i++)
        rc = cs_tree_add(v->placement[i], s->region, leaf, len, bytes, &ce);
    free(leaf);
    free(places);
    if (rc < 0)
        return engine_store_error(err, &ce);
    layer_job_progress(s->job, bytes);
    return 0;
}

int region_store_put(struct region_store *s, const struct version *v, struct error *err)
{
    struct base_view *base;
    bool all;
    int rc = choose_base(s, v, &base, &all, err);
    if (rc < 0)
        return rc;
    if (all)
        return take_over(s, base, v, err);
    struct memo *m = fresh_memo(s, v, err);
    if (m == NULL)
        return ERROR_NO_MEMORY;
    if (base != NULL)
        note_proven(s, base, v, m);
    rc = store_content(s, v, m, base, err);
    return rc < 0 ? rc : store_placement(s, v, m, err);
}

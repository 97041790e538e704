/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A layer that somebody else reads into a tree, region by region: what its
 * server says is zero, or clean since the parent, is not asked for. The main
 * thread waits for the server while workers cut, hash and compress.
 */
#include <stdlib.h>

#include "engine/backup_qcow2.h"
#include "engine/base_view.h"
#include "engine/content.h"
#include "engine/region_runs.h"
#include "engine/unchanged.h"

struct content_job {
    struct layer_job *job;
    struct nbd_source *source;
    struct cs_tree_builder *tree;
    struct base_view *before; /* NULL: nothing */
    bool by_bitmap;           /* what is clean is as it was before */
    uint64_t size;            /* bytes */
    uint64_t regions;
};

/* ---- a region of which all is read ---- */

/* The next data from ${at} on, in whole blocks. */
static int next_data(struct content_job *c, uint64_t at, uint64_t end, uint64_t *begin,
                     uint64_t *stop, struct error *err)
{
    uint64_t block = nbd_source_block(c->source);
    int rc = nbd_source_next_data(c->source, at, end, begin, stop, err);
    if (rc < 0 || *begin >= end)
        return rc;
    /* a server may tell of smaller blocks than runs may have */
    *begin = *begin / block * block > at ? *begin / block * block : at;
    if (*stop % block != 0)
        *stop = *stop / block * block + block < end ? *stop / block * block + block : end;
    return 0;
}

/* Describes what of ${region}, up to ${end}, is data, and reads it. */
static int read_region(struct content_job *c, struct cs_region *region, uint64_t end, size_t *read,
                       struct error *err)
{
    uint64_t base = region->index * c->job->region_size;
    int rc = 0;
    for (uint64_t at = base, begin, stop; rc == 0 && at < end; at = stop) {
        rc = next_data(c, at, end, &begin, &stop, err);
        if (rc < 0 || begin >= end)
            break;
        size_t n = (size_t)(stop - begin);
        rc = nbd_source_read(c->source, begin, n, region->data + (begin - base), err);
        *read += n;
        region_runs_add(region, (uint32_t)(begin - base), (uint32_t)n, false, false);
    }
    return rc == 0 ? nbd_source_finish(c->source, err) : rc;
}

/* ---- a region of which some is as it was ---- */

struct later { /* what a worker reads of it */
    struct nbd_source *source;
    uint64_t base;
    _Atomic uint64_t *count_bytes;
};

static int read_later(void *arg, uint32_t offset, uint32_t length, uint8_t *to, struct cs_error *ce)
{
    struct later *later = arg;
    struct error e = {0};
    int rc = nbd_source_read_now(later->source, later->base + offset, length, to, &e);
    *later->count_bytes += length;
    return rc < 0 ? cs_fail(ce, rc == ERROR_NO_MEMORY ? CS_NO_MEMORY : CS_IO, "%s", e.message) : 0;
}

/* Describes the data from ${begin} to ${end} in ${region}: what ${before} has of it too, and the
 * server has as clean, is the same. */
static int describe(struct content_job *c, struct cs_region *region,
                    const struct cs_content *before, uint64_t begin, uint64_t end,
                    struct error *err)
{
    uint64_t base = region->index * c->job->region_size, block = nbd_source_block(c->source);
    size_t k = 0;
    for (uint64_t at = begin, dirty, stop; at < end; at = stop) {
        int rc = nbd_source_next_dirty(c->source, at, end, &dirty, &stop, err);
        if (rc < 0)
            return rc;
        dirty = dirty / block * block > at ? dirty / block * block : at;
        stop = stop % block != 0 ? stop / block * block + block : stop;
        stop = stop < end ? stop : end;
        while (at < dirty) {
            while (k < before->run_count &&
                   base + before->runs[k].offset + before->runs[k].length <= at)
                k++;
            bool known = k < before->run_count && base + before->runs[k].offset <= at;
            uint64_t next = k == before->run_count ? dirty
                            : known ? base + before->runs[k].offset + before->runs[k].length
                                    : base + before->runs[k].offset;
            next = next < dirty ? next : dirty;
            region_runs_add(region, (uint32_t)(at - base), (uint32_t)(next - at), false, known);
            at = next;
        }
        if (dirty < stop)
            region_runs_add(region, (uint32_t)(dirty - base), (uint32_t)(stop - dirty), false,
                            false);
    }
    return 0;
}

/* Describes ${region}, of which a worker will read what it wants. */
static int describe_region(struct content_job *c, struct cs_region *region,
                           const struct cs_content *before, uint64_t end, struct error *err)
{
    uint64_t base = region->index * c->job->region_size;
    struct later *later = malloc(sizeof *later);
    if (later == NULL)
        return error_no_memory(err);
    *later = (struct later){c->source, base, c->job->run->read_later};
    region->read = read_later;
    region->done = free;
    region->read_arg = later;
    int rc = 0;
    for (uint64_t at = base, begin, stop; rc == 0 && at < end; at = stop) {
        rc = next_data(c, at, end, &begin, &stop, err);
        if (rc < 0 || begin >= end)
            break;
        rc = describe(c, region, before, begin, stop, err);
    }
    return rc;
}

/* ---- all regions ---- */

static int put_region(struct content_job *c, uint64_t number, struct error *err)
{
    struct cs_error ce;
    struct layer_job *job = c->job;
    struct cs_region *region = NULL;
    const struct cs_content *before = NULL;
    uint64_t end = (number + 1) * job->region_size;
    size_t read = 0;
    if (cs_region_get(job->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    region->index = number;
    end = end < c->size ? end : c->size;
    int rc = c->before != NULL ? base_view_leaf(c->before, number, &before, err) : 0;
    if (rc == 0 && c->by_bitmap && before != NULL)
        rc = describe_region(c, region, before, end, err);
    else if (rc == 0)
        rc = read_region(c, region, end, &read, err);
    job->bytes_read += read;
    void *later = region->read != NULL ? region->read_arg : NULL;
    bool empty = region->run_count == 0;
    if (rc < 0 || empty)
        cs_region_cancel(job->writer, region);
    else if (cs_region_put(&c->tree, 1, region, before, &ce) < 0)
        rc = engine_store_error(err, &ce);
    if (rc < 0 || empty)
        free(later);
    else
        layer_job_progress(job, end - number * job->region_size);
    return rc;
}

/* Takes over from the parent ${n} regions from ${region} on, or fewer, in one subtree; ${*taken}
 * tells how many. */
static int take_over(struct content_job *c, uint64_t region, uint64_t n, uint64_t *taken,
                     struct error *err)
{
    struct cs_error ce;
    struct cs_subtree subtree;
    bool found = false;
    unsigned level =
        region == 0 ? cs_tree_level(c->regions) : (unsigned)__builtin_ctzll(region) / 6;
    /* behind the last region there is nothing, in neither tree */
    while (level > 0 && UINT64_C(1) << (6 * level) > n && region + n < c->regions)
        level--;
    if (level > cs_tree_level(c->regions))
        level = cs_tree_level(c->regions);
    *taken = UINT64_C(1) << (6 * level);
    int rc = base_view_find(c->before, CS_TREE_CONTENT, level, region, &subtree, &found, err);
    if (rc < 0 || !found)
        return rc;
    if (cs_tree_add_subtree(c->tree, &subtree, &ce) < 0)
        return engine_store_error(err, &ce);
    layer_job_progress(c->job, subtree.bytes);
    return 0;
}

/* Whole regions from ${region} on that are clean: ${*n} of them. */
static int count_clean(struct content_job *c, uint64_t region, uint64_t *n, struct error *err)
{
    uint64_t at = region * c->job->region_size, begin, stop;
    int rc = nbd_source_next_dirty(c->source, at, c->size, &begin, &stop, err);
    *n = rc < 0 ? 0 : begin >= c->size ? c->regions - region : begin / c->job->region_size - region;
    return rc;
}

static int all_regions(struct content_job *c, struct error *err)
{
    uint32_t size = c->job->region_size;
    int rc = 0;
    for (uint64_t i = 0, next, begin, stop; rc == 0 && i < c->regions; i = next) {
        uint64_t clean = 0;
        next = i + 1;
        if (c->by_bitmap) {
            rc = count_clean(c, i, &clean, err);
        } else {
            rc = nbd_source_next_data(c->source, i * size, c->size, &begin, &stop, err);
            if (rc < 0 || begin >= c->size)
                break;
            i = begin / size;
            next = i + 1;
        }
        if (rc == 0 && clean > 0) {
            rc = take_over(c, i, clean, &clean, err);
            next = i + clean;
        } else if (rc == 0) {
            rc = put_region(c, i, err);
        }
    }
    return rc;
}

int backup_content(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    struct base_view before = {0};
    const struct record_layer *then = job->unchanged->before;
    struct record_view *view = job->record->views;
    uint64_t size = job->layer->virtual_size;
    struct content_job c = {
        .job = job,
        .source = content_source(job->content),
        .by_bitmap = job->unchanged->rule == UNCHANGED_BITMAP,
        .size = size,
        .regions = size / job->region_size + (size % job->region_size != 0),
    };
    bool offered;
    if (nbd_source_begin(c.source, NULL, &offered, err) < 0) /* it may not have been, so far */
        return content_explain(job->content, err);
    if (view == NULL && (view = calloc(1, sizeof *view)) == NULL)
        return error_no_memory(err);
    job->record->views = view; /* there from a try before, perhaps */
    job->record->view_count = 1;
    if (cs_tree_begin(&c.tree, job->writer, CS_TREE_CONTENT, c.regions, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = then != NULL ? base_view_open(&before, job, then, 0, BASE_COMPARED, err) : 0;
    c.before = then != NULL ? &before : NULL;
    if (rc == 0)
        rc = all_regions(&c, err);
    base_view_clear(&before);
    if (rc < 0) {
        cs_tree_abort(c.tree);
        return job->parent_broken ? rc : content_explain(job->content, err);
    }
    return cs_tree_finish(c.tree, &view->content, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}

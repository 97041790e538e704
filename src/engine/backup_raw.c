/* SPDX-License-Identifier: BSD-2-Clause */
/* A raw layer into a tree: what is no hole, region by region. */
#include <stdlib.h>

#include "base/io.h"
#include "engine/backup_qcow2.h"
#include "engine/base_view.h"
#include "engine/fill.h"
#include "engine/region_runs.h"
#include "engine/unchanged.h"

struct raw {
    struct layer_job *job;
    struct cs_tree_builder *content;
    struct base_view *compared; /* NULL: nothing */
    struct reads_pages pages;
};

/* Describes the data from ${base} to ${end} in ${region}, and adds it to ${reads}. */
static int find_data(struct raw *raw, uint64_t base, uint64_t end, struct cs_region *region,
                     struct reads *reads, uint64_t *filled, struct error *err)
{
    const struct layer *layer = raw->job->layer;
    int rc = 0;
    for (uint64_t at = base, begin, stop; rc == 0 && at < end; at = stop) {
        rc = io_next_data(layer->fd, layer->path, at, end, &begin, &stop, err);
        if (rc < 0 || begin >= stop)
            break;
        /* a file system may have small blocks; runs are not to end inside of 512 bytes */
        begin = begin / 512 * 512;
        if (begin < at)
            begin = at;
        if (stop % 512 != 0 && stop < end)
            stop = stop + 512 - stop % 512 < end ? stop + 512 - stop % 512 : end;
        size_t n = (size_t)(stop - begin);
        rc = reads_add(reads, begin, region->data + (begin - base), n, err);
        *filled += n;
        region_runs_add(region, (uint32_t)(begin - base), (uint32_t)n, false, false);
    }
    return rc < 0 ? rc : reads_prepare(reads, err);
}

static int put_region(struct raw *raw, struct cs_region *region, struct fill **fill,
                      struct error *err)
{
    struct cs_error ce;
    struct layer_job *job = raw->job;
    const struct cs_content *before = NULL;
    struct reads reads = {.fd = job->layer->fd,
                          .name = job->layer->path,
                          .pages = &raw->pages,
                          .count_bytes = job->run->read_later};
    uint64_t base = region->index * job->region_size, end = base + job->region_size, filled = 0;
    if (end > job->layer->virtual_size)
        end = job->layer->virtual_size;
    int rc = find_data(raw, base, end, region, &reads, &filled, err);
    if (rc == 0 && raw->compared != NULL && region->run_count > 0)
        rc = base_view_leaf(raw->compared, region->index, &before, err);
    if (rc == 0)
        rc = fill_new(fill, region, &reads, err);
    if (rc == 0)
        fill_later(fill, region);
    reads_clear(&reads);
    if (rc < 0 || region->run_count == 0) {
        cs_region_cancel(job->writer, region);
        return rc;
    }
    if (cs_region_put(&raw->content, 1, region, before, &ce) < 0)
        return engine_store_error(err, &ce);
    layer_job_progress(job, filled);
    return 0;
}

static int raw_region(struct raw *raw, uint64_t number, struct error *err)
{
    struct cs_error ce;
    struct cs_region *region = NULL;
    struct fill *fill = NULL;
    if (cs_region_get(raw->job->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    region->index = number;
    int rc = put_region(raw, region, &fill, err);
    if (rc < 0)
        fill_cancel(fill);
    return rc;
}

static int raw_regions(struct raw *raw, struct error *err)
{
    const struct layer_job *job = raw->job;
    uint64_t size = job->layer->virtual_size;
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        uint64_t begin, stop;
        rc = io_next_data(job->layer->fd, job->layer->path, at, size, &begin, &stop, err);
        if (rc < 0 || begin >= size)
            break;
        uint64_t number = begin / job->region_size;
        rc = raw_region(raw, number, err);
        at = (number + 1) * job->region_size;
    }
    return rc;
}

int backup_raw(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    struct raw raw = {.job = job};
    struct base_view compared = {0};
    const struct record_layer *then = job->unchanged->before;
    uint64_t size = job->layer->virtual_size;
    uint64_t regions = (size + job->region_size - 1) / job->region_size;
    struct record_view *view = job->record->views;
    if (view == NULL && (view = calloc(1, sizeof *view)) == NULL)
        return error_no_memory(err);
    job->record->views = view; /* there from a try before, perhaps */
    job->record->view_count = 1;
    if (cs_tree_begin(&raw.content, job->writer, CS_TREE_CONTENT, regions, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = then != NULL ? base_view_open(&compared, job, then, 0, BASE_COMPARED, err) : 0;
    reads_pages_open(&raw.pages, job->layer->fd, job->layer->file_size);
    raw.compared = then != NULL ? &compared : NULL;
    if (rc == 0)
        rc = raw_regions(&raw, err);
    reads_pages_close(&raw.pages);
    base_view_clear(&compared);
    if (rc < 0) {
        cs_tree_abort(raw.content);
        return rc;
    }
    return cs_tree_finish(raw.content, &view->content, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* A raw layer into a tree: what is no hole, region by region. */
#include <stdlib.h>

#include "base/io.h"
#include "engine/backup_qcow2.h"
#include "engine/base_view.h"
#include "engine/region_runs.h"
#include "engine/unchanged.h"

static int raw_region(struct layer_job *job, struct cs_tree_builder *content,
                      struct base_view *compared, uint64_t number, struct error *err)
{
    struct cs_error ce;
    struct cs_region *region = NULL;
    struct cs_region_before before = {0};
    const struct layer *layer = job->layer;
    uint64_t base = number * job->region_size, end = base + job->region_size;
    size_t filled = 0;
    if (end > layer->virtual_size)
        end = layer->virtual_size;
    if (cs_region_get(job->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    region->index = number;
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
        size_t n = (size_t)(stop - begin), got = 0;
        rc = io_read_some(layer->fd, layer->path, begin, region->data + (begin - base), n, &got,
                          err);
        if (rc == 0 && got < n)
            rc = error_set(err, ERROR_CHANGED, "%s: became shorter while it was read", layer->path);
        if (rc < 0)
            break;
        filled += n;
        job->bytes_read += n;
        region_runs_add(region, (uint32_t)(begin - base), (uint32_t)n, false, false);
    }
    if (rc < 0 || region->run_count == 0) {
        cs_region_cancel(job->writer, region);
        return rc;
    }
    if (compared != NULL) {
        rc = base_view_leaf(compared, number, &before.content, err);
        if (rc < 0) {
            cs_region_cancel(job->writer, region);
            return rc;
        }
    }
    if (cs_region_put(&content, 1, region, before.content != NULL ? &before : NULL, &ce) < 0)
        return engine_store_error(err, &ce);
    layer_job_progress(job, filled);
    return 0;
}

static int raw_regions(struct layer_job *job, struct cs_tree_builder *content,
                       struct base_view *compared, struct error *err)
{
    uint64_t size = job->layer->virtual_size;
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        uint64_t begin, stop;
        rc = io_next_data(job->layer->fd, job->layer->path, at, size, &begin, &stop, err);
        if (rc < 0 || begin >= size)
            break;
        uint64_t number = begin / job->region_size;
        rc = raw_region(job, content, compared, number, err);
        at = (number + 1) * job->region_size;
    }
    return rc;
}

int backup_raw(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    struct cs_tree_builder *content = NULL;
    struct base_view compared = {0};
    const struct record_layer *then = job->unchanged->before;
    uint64_t size = job->layer->virtual_size;
    uint64_t regions = (size + job->region_size - 1) / job->region_size;
    struct record_view *view = job->record->views;
    if (view == NULL && (view = calloc(1, sizeof *view)) == NULL)
        return error_no_memory(err);
    job->record->views = view; /* there from a try before, perhaps */
    job->record->view_count = 1;
    if (cs_tree_begin(&content, job->writer, CS_TREE_CONTENT, regions, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = then != NULL ? base_view_open(&compared, job, then, 0, BASE_COMPARED, err) : 0;
    if (rc == 0)
        rc = raw_regions(job, content, then != NULL ? &compared : NULL, err);
    base_view_clear(&compared);
    if (rc < 0) {
        cs_tree_abort(content);
        return rc;
    }
    return cs_tree_finish(content, &view->content, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}

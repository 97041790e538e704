/* SPDX-License-Identifier: BSD-2-Clause */
/* A raw layer into a tree: what is no hole, region by region. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/backup_qcow2.h"
#include "engine/region_runs.h"

/* The next stretch of data at or after ${from}, below ${end}: holes are left out. */
static int next_data(const struct layer *layer, uint64_t from, uint64_t end, uint64_t *begin,
                     uint64_t *stop, struct error *err)
{
    *begin = *stop = end;
    off_t data = lseek(layer->fd, (off_t)from, SEEK_DATA);
    if (data < 0 && errno == ENXIO)
        return 0;
    if (data < 0 && errno == EINVAL) { /* no such question here: all is data */
        *begin = from;
        return 0;
    }
    if (data < 0)
        return error_sys(err, errno, "%s: looking for data at %llu", layer->path,
                         (unsigned long long)from);
    if ((uint64_t)data >= end)
        return 0;
    off_t hole = lseek(layer->fd, data, SEEK_HOLE);
    if (hole < 0)
        return error_sys(err, errno, "%s: looking for a hole at %llu", layer->path,
                         (unsigned long long)data);
    *begin = (uint64_t)data;
    if ((uint64_t)hole < end)
        *stop = (uint64_t)hole;
    return 0;
}

static int raw_region(struct layer_job *job, struct cs_tree_builder *content, uint64_t number,
                      struct error *err)
{
    struct cs_error ce;
    struct cs_region *region = NULL;
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
        rc = next_data(layer, at, end, &begin, &stop, err);
        if (rc < 0 || begin >= stop)
            break;
        /* a file system may have small blocks; runs are not to end inside of 512 bytes */
        begin = begin / 512 * 512;
        if (begin < at)
            begin = at;
        if (stop % 512 != 0 && stop < end)
            stop = stop + 512 - stop % 512 < end ? stop + 512 - stop % 512 : end;
        size_t n = (size_t)(stop - begin), got = 0;
        rc = io_read_some(layer->fd, layer->path, begin, region->data + filled, n, &got, err);
        if (rc == 0 && got < n)
            rc = error_set(err, ERROR_CHANGED, "%s: became shorter while it was read", layer->path);
        if (rc < 0)
            break;
        filled += n;
        job->bytes_read += n;
        region_runs_add(region, (uint32_t)(begin - base), (uint32_t)n, false);
    }
    if (rc < 0 || region->run_count == 0) {
        cs_region_cancel(job->writer, region);
        return rc;
    }
    if (cs_region_put(&content, 1, region, &ce) < 0)
        return engine_store_error(err, &ce);
    layer_job_progress(job, filled);
    return 0;
}

int backup_raw(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    struct cs_tree_builder *content = NULL;
    uint64_t size = job->layer->virtual_size;
    uint64_t regions = (size + job->region_size - 1) / job->region_size;
    struct record_view *view = calloc(1, sizeof *view);
    if (view == NULL)
        return error_no_memory(err);
    job->record->views = view;
    job->record->view_count = 1;
    if (cs_tree_begin(&content, job->writer, CS_TREE_CONTENT, regions, &ce) < 0)
        return engine_store_error(err, &ce);
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && at < size;) {
        uint64_t begin, stop;
        rc = next_data(job->layer, at, size, &begin, &stop, err);
        if (rc < 0 || begin >= size)
            break;
        uint64_t number = begin / job->region_size;
        rc = raw_region(job, content, number, err);
        at = (number + 1) * job->region_size;
    }
    if (rc < 0) {
        cs_tree_abort(content);
        return rc;
    }
    return cs_tree_finish(content, &view->content, &ce) < 0 ? engine_store_error(err, &ce) : 0;
}

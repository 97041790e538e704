/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One layer into the store, region by region: what is allocated is read once,
 * laid end to end, and handed to the store's workers; where the host keeps it
 * goes into the placement tree.
 */
#include "engine/backup_layer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/be.h"
#include "base/io.h"
#include "engine/blob.h"
#include "engine/file_identity.h"
#include "engine/region_runs.h"

struct layer_job {
    struct cs_store *store;
    struct cs_writer *writer;
    const struct layer *layer;
    struct backup_progress *progress;
    struct record_layer *record;
    uint32_t region_size; /* bytes */
    struct cs_tree_builder *content;
    struct cs_tree_builder *placement;
    uint64_t bytes_read;
};

static void tell_progress(const struct layer_job *job, uint64_t bytes)
{
    struct backup_progress *p = job->progress;
    p->done += bytes;
    if (p->done > p->total)
        p->total = p->done;
    if (p->listener->progress != NULL)
        p->listener->progress(p->listener->arg, job->layer->path, p->done, p->total);
}

/* ---- qcow2 ---- */

enum run_kind { RUN_NONE, RUN_ZERO, RUN_DATA };

static enum run_kind run_of(enum qcow2_class class)
{
    switch (class) {
    case QCOW2_DATA:
    case QCOW2_COMPRESSED:
        return RUN_DATA;
    case QCOW2_ZERO:
    case QCOW2_ZERO_ALLOC:
        return RUN_ZERO;
    case QCOW2_UNALLOCATED:
        break;
    }
    return RUN_NONE;
}

/* Reads the data clusters among ${n} entries from guest cluster ${first} on into ${region}. */
static int fill_region(struct layer_job *job, uint64_t first, size_t n, struct qcow2_entry *entries,
                       struct cs_region *region, struct error *err)
{
    struct qcow2_image *image = job->layer->image;
    uint32_t cluster = qcow2_image_cluster_size(image);
    size_t filled = 0;
    for (size_t i = 0, k; i < n; i = k) {
        enum run_kind kind = run_of(entries[i].class);
        for (k = i + 1; k < n && run_of(entries[k].class) == kind; k++)
            ;
        if (kind == RUN_NONE)
            continue;
        if (kind == RUN_DATA) {
            int rc =
                qcow2_image_read(image, first + i, k - i, entries + i, region->data + filled, err);
            if (rc < 0)
                return rc;
            filled += (k - i) * cluster;
        }
        region_runs_add(region, (uint32_t)(i * cluster), (uint32_t)((k - i) * cluster),
                        kind == RUN_ZERO);
    }
    job->record->bytes_allocated += filled;
    return 0;
}

static int store_placement(struct layer_job *job, uint64_t region,
                           const struct qcow2_entry *entries, size_t n, struct error *err)
{
    struct cs_error ce;
    uint8_t *leaf = NULL;
    size_t len = 0;
    struct cs_place *places = calloc(n, sizeof *places);
    if (places == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < n; i++)
        places[i] = (struct cs_place){
            .class = (uint8_t)entries[i].class,
            .length = entries[i].length,
            .host = entries[i].host,
            .sub_alloc = entries[i].sub_alloc,
            .sub_zero = entries[i].sub_zero,
        };
    int rc =
        cs_placement_encode(&leaf, &len, places, n, job->record->qcow2.cluster_bits, false, &ce);
    if (rc == 0 && len > 0)
        rc = cs_tree_add(job->placement, region, leaf, len, &ce);
    free(leaf);
    free(places);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

/* Stores one region; ${entries} has room for all of its clusters. */
static int qcow2_region(struct layer_job *job, uint64_t number, struct qcow2_entry *entries,
                        struct error *err)
{
    struct cs_error ce;
    struct cs_region *region = NULL;
    struct qcow2_image *image = job->layer->image;
    size_t per_region = job->region_size / qcow2_image_cluster_size(image);
    uint64_t first = number * per_region, clusters = qcow2_image_clusters(image);
    size_t n = clusters - first < per_region ? (size_t)(clusters - first) : per_region;
    bool anything = false;
    memset(entries, 0, per_region * sizeof *entries);
    int rc = qcow2_image_entries(image, first, n, entries, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < n && !anything; i++)
        anything = entries[i].class != QCOW2_UNALLOCATED || entries[i].host != 0;
    if (!anything)
        return 0;
    if (cs_region_get(job->writer, &region, &ce) < 0)
        return engine_store_error(err, &ce);
    region->index = number;
    uint64_t before = job->record->bytes_allocated;
    rc = fill_region(job, first, n, entries, region, err);
    if (rc < 0) {
        cs_region_cancel(job->writer, region);
        return rc;
    }
    if (cs_region_put(job->content, region, &ce) < 0)
        return engine_store_error(err, &ce);
    tell_progress(job, job->record->bytes_allocated - before);
    return store_placement(job, number, entries, per_region, err);
}

static int store_qcow2(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    struct qcow2_image *image = job->layer->image;
    size_t per_region = job->region_size / qcow2_image_cluster_size(image);
    uint64_t clusters = qcow2_image_clusters(image);
    uint64_t regions = (clusters + per_region - 1) / per_region;
    struct qcow2_entry *entries = calloc(per_region, sizeof *entries);
    if (entries == NULL)
        return error_no_memory(err);
    int rc = 0;
    if (cs_tree_begin(&job->content, job->writer, CS_TREE_CONTENT, regions, &ce) < 0 ||
        cs_tree_begin(&job->placement, job->writer, CS_TREE_PLACEMENT, regions, &ce) < 0)
        rc = engine_store_error(err, &ce);
    for (uint64_t r = 0; rc == 0; r++) {
        uint64_t next = qcow2_image_next_table(image, r * per_region);
        if (next >= clusters)
            break;
        if (next / per_region > r)
            r = next / per_region;
        rc = qcow2_region(job, r, entries, err);
    }
    free(entries);
    return rc;
}

static int describe_qcow2(struct layer_job *job, struct error *err)
{
    struct qcow2_image *image = job->layer->image;
    const struct qcow2_header *h = qcow2_image_header(image);
    struct record_layer *record = job->record;
    record->is_qcow2 = true;
    record->qcow2 = (struct record_qcow2){
        .version = h->version,
        .cluster_bits = h->cluster_bits,
        .size = h->size,
        .crypt_method = h->crypt_method,
        .l1_size = h->l1_size,
        .l1_offset = h->l1_offset,
        .refcount_table_offset = h->refcount_table_offset,
        .refcount_table_clusters = h->refcount_table_clusters,
        .nb_snapshots = h->nb_snapshots,
        .snapshots_offset = h->snapshots_offset,
        .incompatible = h->incompatible,
        .compatible = h->compatible,
        .autoclear = h->autoclear,
        .refcount_order = h->refcount_order,
        .header_length = h->header_length,
        .compression_type = h->compression_type,
    };
    if (h->backing_file[0] != 0) {
        record->backing_file = strdup(h->backing_file);
        if (record->backing_file == NULL)
            return error_no_memory(err);
    }
    if (h->backing_format[0] != 0) {
        record->backing_format = strdup(h->backing_format);
        if (record->backing_format == NULL)
            return error_no_memory(err);
    }
    struct record_qcow2 *q = &record->qcow2;
    q->extensions = calloc(h->nb_extensions + 1U, sizeof *q->extensions);
    uint8_t *l1 = malloc((size_t)h->l1_size * 8 + 1);
    if (q->extensions == NULL || l1 == NULL) {
        free(l1);
        return error_no_memory(err);
    }
    for (uint32_t i = 0; i < h->nb_extensions; i++) {
        q->extensions[i][0] = h->extensions[i].type;
        q->extensions[i][1] = h->extensions[i].length;
        q->extension_count = i + 1;
    }
    for (uint32_t i = 0; i < h->l1_size; i++)
        be64_put(l1 + (size_t)i * 8, qcow2_image_l1(image)[i]);
    cs_digest(job->store, "byre l1", l1, (size_t)h->l1_size * 8, &q->l1_hash);
    free(l1);
    return blob_write(job->writer, qcow2_image_header_cluster(image),
                      qcow2_image_cluster_size(image), &q->header, err);
}

/* ---- raw ---- */

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

static int raw_region(struct layer_job *job, uint64_t number, struct error *err)
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
    job->record->bytes_allocated += filled;
    if (cs_region_put(job->content, region, &ce) < 0)
        return engine_store_error(err, &ce);
    tell_progress(job, filled);
    return 0;
}

static int store_raw(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    const struct layer *layer = job->layer;
    uint64_t regions = (layer->virtual_size + job->region_size - 1) / job->region_size;
    if (cs_tree_begin(&job->content, job->writer, CS_TREE_CONTENT, regions, &ce) < 0)
        return engine_store_error(err, &ce);
    for (uint64_t at = 0; at < layer->virtual_size;) {
        uint64_t begin, stop;
        int rc = next_data(layer, at, layer->virtual_size, &begin, &stop, err);
        if (rc < 0)
            return rc;
        if (begin >= layer->virtual_size)
            break;
        uint64_t number = begin / job->region_size;
        rc = raw_region(job, number, err);
        if (rc < 0)
            return rc;
        at = (number + 1) * job->region_size;
    }
    return 0;
}

/* ---- both ---- */

static int finish_trees(struct layer_job *job, struct error *err)
{
    struct cs_error ce;
    struct cs_tree_builder *content = job->content, *placement = job->placement;
    job->content = job->placement = NULL;
    int rc = cs_tree_finish(content, &job->record->content, &ce);
    if (rc == 0 && placement != NULL)
        rc = cs_tree_finish(placement, &job->record->placement, &ce);
    else
        cs_tree_abort(placement);
    return rc < 0 ? engine_store_error(err, &ce) : 0;
}

static int describe_file(const struct layer *layer, struct record_layer *record, struct error *err)
{
    record->virtual_size = layer->virtual_size;
    record->file_size = layer->file_size;
    record->mode = layer->st.st_mode;
    record->uid = layer->st.st_uid;
    record->gid = layer->st.st_gid;
    record->mtime_ns = layer->st.st_mtim.tv_sec * 1000000000LL + layer->st.st_mtim.tv_nsec;
    record->ctime_ns = layer->st.st_ctim.tv_sec * 1000000000LL + layer->st.st_ctim.tv_nsec;
    record->device = layer->st.st_dev;
    record->inode = layer->st.st_ino;
    record->host_bytes = (uint64_t)layer->st.st_blocks * 512;
    record->path = strdup(layer->path);
    record->real_path = strdup(layer->real_path);
    record->opened_as = strdup(layer->opened_as);
    record->delta = strdup("full-read");
    record->delta_reason = strdup("every allocated cluster was read");
    if (record->path == NULL || record->real_path == NULL || record->opened_as == NULL ||
        record->delta == NULL || record->delta_reason == NULL)
        return error_no_memory(err);
    return file_identity(layer->fd, layer->path, &record->fs_type, &record->fs_uuid, err);
}

int backup_layer(struct cs_store *store, struct cs_writer *writer, const struct layer *layer,
                 struct backup_progress *progress, struct record_layer *record,
                 uint64_t *bytes_read, uint64_t *bytes_metadata_read, struct error *err)
{
    struct layer_job job = {
        .store = store,
        .writer = writer,
        .layer = layer,
        .progress = progress,
        .record = record,
        .region_size = cs_region_size(store),
    };
    bool qcow2 = layer->format == LAYER_QCOW2;
    int rc = describe_file(layer, record, err);
    if (rc == 0 && qcow2)
        rc = describe_qcow2(&job, err);
    if (rc == 0)
        rc = qcow2 ? store_qcow2(&job, err) : store_raw(&job, err);
    if (rc == 0)
        rc = finish_trees(&job, err);
    cs_tree_abort(job.content);
    cs_tree_abort(job.placement);
    if (qcow2) {
        *bytes_metadata_read += qcow2_image_metadata_read(layer->image);
        *bytes_read += qcow2_image_data_read(layer->image);
    }
    *bytes_read += job.bytes_read;
    return rc;
}

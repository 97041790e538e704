/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A qcow2 layer as it was, in the physical layout: all its views, its LUKS area,
 * snapshot table, bitmaps and data file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/blob.h"
#include "engine/restore.h"
#include "engine/scatter.h"
#include "qcow2/bitmap.h"
#include "qcow2/snapshot.h"
#include "qcow2/writer.h"

enum { BATCH = 32, CRYPTO_MAX = 64 << 20 };

struct job {
    struct restore *r;
    const struct record_layer *layer;
    const struct target *target;
    struct qcow2_header header;
    uint8_t *original; /* header cluster */
    struct qcow2_writer *writer;
    struct layer_view *views[BATCH];
    size_t first; /* view of the batch */
    size_t count;
    struct scatter *scatter; /* to the file that has the data */
    struct scatter *reader;  /* to ${buf} */
    uint8_t *buf;            /* a region; NULL until one has compressed clusters */
};

/* The header that was kept, with the backing name that the restored file is to have. */
static int read_header(struct job *job, const struct restore_names *names, struct error *err)
{
    const struct record_layer *layer = job->layer;
    size_t cluster = (size_t)1 << layer->qcow2.cluster_bits;
    int rc = blob_read(job->r->store, &layer->qcow2.header, cluster, &job->original, err);
    if (rc == 0)
        rc = qcow2_header_decode(&job->header, job->original, (size_t)layer->qcow2.header.bytes,
                                 layer->file.size, err);
    if (rc < 0)
        return error_wrap(err, "%s: its stored header", layer->file.path);
    snprintf(job->header.backing_file, sizeof job->header.backing_file, "%s",
             names->backing != NULL ? names->backing : "");
    if (job->header.backing_format[0] == 0 && names->backing_format != NULL)
        snprintf(job->header.backing_format, sizeof job->header.backing_format, "%s",
                 names->backing_format);
    if (job->header.cluster_bits != layer->qcow2.cluster_bits ||
        job->header.l1_size != layer->views[0].l1_size ||
        job->header.nb_snapshots != layer->qcow2.snapshot_count)
        return error_set(err, ERROR_CORRUPT, "%s: its record and its stored header disagree",
                         layer->file.path);
    return 0;
}

static void run_each(void *arg, size_t n, void (*run)(void *arg, size_t i, unsigned worker),
                     void *run_arg)
{
    cs_fetch_each(arg, n, run, run_arg);
}

static int begin(struct job *job, const struct restore_names *names, struct error *err)
{
    const struct record_layer *layer = job->layer;
    const struct target *data = names->data_target;
    struct qcow2_target file = {
        .fd = job->target->fd,
        .name = job->target->path,
        .is_device = job->target->is_device,
        .data_fd = data != NULL ? data->fd : -1,
        .data_name = data != NULL ? data->path : NULL,
    };
    struct qcow2_writer_options options = {
        .views = (uint32_t)layer->view_count,
        .crypto_offset = layer->qcow2.crypto_offset,
        .crypto_length = layer->qcow2.crypto.bytes,
        .data_size = layer->qcow2.data_file != NULL ? layer->qcow2.data_file->file.size : 0,
        .data_file = names->data_file,
    };
    uint32_t *l1_sizes = calloc(layer->view_count, sizeof *l1_sizes);
    if (l1_sizes == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < layer->view_count; i++)
        l1_sizes[i] = layer->views[i].l1_size;
    options.l1_sizes = l1_sizes;
    int rc = qcow2_writer_begin_physical(&job->writer, &file, &job->header, job->original, &options,
                                         err);
    free(l1_sizes);
    if (rc == 0 && job->target->fd >= 0) {
        struct qcow2_workers workers = {
            .count = cs_fetch_threads(job->r->fetch), .each = run_each, .arg = job->r->fetch};
        qcow2_writer_set_workers(job->writer, &workers);
    }
    return rc;
}

/* ---- views, a batch at a time ---- */

static void close_batch(struct job *job)
{
    for (size_t i = 0; i < job->count; i++)
        layer_view_close(job->views[i]);
    job->count = 0;
}

static int open_batch(struct job *job, size_t first, struct error *err)
{
    close_batch(job);
    job->first = first;
    while (job->count < BATCH && first + job->count < job->layer->view_count) {
        int rc = layer_view_open(&job->views[job->count], job->r->store, job->layer,
                                 first + job->count, err);
        if (rc < 0)
            return rc;
        job->count++;
    }
    return 0;
}

/* The entries of a region of view ${i} of the batch, cut off where its L1 table ends. */
static int entries_of(struct job *job, size_t i, uint64_t region,
                      const struct qcow2_entry **entries, size_t *n, uint64_t *first,
                      struct error *err)
{
    int rc = layer_view_entries(job->views[i], region, entries, n, err);
    bool extended = (job->header.incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    uint64_t clusters = (uint64_t)job->layer->views[job->first + i].l1_size
                        << (job->header.cluster_bits - (extended ? 4 : 3));
    *first = region * *n;
    if (rc == 0 && *first > 0 && *first >= clusters)
        return error_set(err, ERROR_CORRUPT, "%s: its placement goes past its L1 table",
                         job->layer->file.path);
    if (rc == 0 && *n > clusters - *first)
        *n = (size_t)(clusters - *first);
    return rc;
}

/* The first region from ${from} on that any view of the batch has something in. */
static int next_region(struct job *job, uint64_t from, uint64_t *region, bool *found,
                       struct error *err)
{
    *found = false;
    for (size_t i = 0; i < job->count; i++) {
        uint64_t one = 0;
        bool any = false;
        int rc = layer_view_next(job->views[i], from, &one, &any, err);
        if (rc < 0)
            return rc;
        if (any && (!*found || one < *region))
            *region = one;
        *found |= any;
    }
    return 0;
}

static int reserve_region(struct job *job, size_t i, uint64_t region, struct error *err)
{
    const struct qcow2_entry *entries = NULL;
    size_t n = 0;
    uint64_t first = 0;
    int rc = entries_of(job, i, region, &entries, &n, &first, err);
    return rc < 0 || n == 0 ? rc
                            : qcow2_writer_reserve(job->writer, (uint32_t)(job->first + i), first,
                                                   entries, n, err);
}

/* What of the region's bytes is still to be written: those that came with another view are not read
 * again. */
static int find_wanted(struct job *job, uint32_t view, uint64_t first,
                       const struct qcow2_entry *entries, size_t n, bool *any, bool *compressed,
                       struct error *err)
{
    bool *wanted = calloc(n + 1, sizeof *wanted);
    if (wanted == NULL)
        return error_no_memory(err);
    qcow2_writer_wanted(job->writer, view, first, entries, n, wanted);
    *any = *compressed = false;
    for (size_t i = 0; i < n; i++) {
        *any |= wanted[i];
        *compressed |= wanted[i] && entries[i].class == QCOW2_COMPRESSED;
    }
    free(wanted);
    return 0;
}

static int progress(void *arg, uint64_t bytes, struct error *err)
{
    struct job *job = arg;
    return restore_step(job->r, job->target->path, bytes, err);
}

/* Compressed clusters are made anew from their bytes, so the whole region is read. */
static int read_region(struct job *job, size_t i, struct error *err)
{
    uint32_t region_size = cs_region_size(job->r->store);
    int rc = 0;
    if (job->reader == NULL) {
        job->buf = malloc(region_size);
        if (job->buf == NULL)
            return error_no_memory(err);
        struct scatter_target memory = {.memory = job->buf, .progress = progress, .arg = job};
        rc = scatter_new(&job->reader, job->r->fetch, &memory, err);
        if (rc < 0)
            return rc;
    }
    memset(job->buf, 0, region_size);
    rc = layer_view_describe(job->views[i], job->reader, 0, err);
    return rc < 0 ? rc : scatter_flush(job->reader, err);
}

static int scatter_place(void *arg, size_t at, size_t len, uint64_t offset, struct error *err)
{
    return scatter_put(arg, at, len, offset, err);
}

static int begin_scatter(struct job *job, const struct restore_names *names, struct error *err)
{
    bool external = (job->header.incompatible & QCOW2_INCOMPAT_DATA_FILE) != 0;
    const struct target *target = external ? names->data_target : job->target;
    bool extended = (job->header.incompatible & QCOW2_INCOMPAT_EXTENDED_L2) != 0;
    struct scatter_target file = {
        .fd = target->fd,
        .name = target->path,
        .holes = true,
        .direct = !external && !extended, /* else views may share what is put, or parts of it */
        .progress = progress,
        .arg = job,
    };
    return scatter_new(&job->scatter, job->r->fetch, &file, err);
}

static int write_region(struct job *job, size_t i, uint64_t region, struct error *err)
{
    const struct qcow2_scatter places = {.put = scatter_place, .arg = job->scatter};
    const struct qcow2_entry *entries = NULL;
    const struct cs_run *runs = NULL;
    size_t n = 0, run_count = 0;
    uint64_t first = 0;
    uint32_t view = (uint32_t)(job->first + i);
    bool any = false, compressed = false;
    int rc = entries_of(job, i, region, &entries, &n, &first, err);
    if (rc < 0 || n == 0)
        return rc;
    rc = find_wanted(job, view, first, entries, n, &any, &compressed, err);
    if (rc == 0 && any)
        rc = layer_view_runs(job->views[i], region, &runs, &run_count, err);
    if (rc == 0 && compressed) {
        rc = read_region(job, i, err);
        return rc < 0 ? rc
                      : qcow2_writer_region(job->writer, view, first, entries, n, job->buf, err);
    }
    if (rc < 0)
        return rc;
    scatter_begin(job->scatter, any ? layer_view_content(job->views[i]) : &(struct cs_content){0});
    rc = qcow2_writer_scatter(job->writer, view, first, entries, n, &places, err);
    if (rc == 0)
        rc = scatter_end(job->scatter, err);
    return rc < 0 ? rc : progress(job, 0, err);
}

static int each_region(struct job *job,
                       int (*visit)(struct job *, size_t, uint64_t, struct error *),
                       struct error *err)
{
    int rc = 0;
    for (size_t first = 0; rc == 0 && first < job->layer->view_count; first += BATCH) {
        rc = open_batch(job, first, err);
        for (uint64_t region = 0; rc == 0; region++) {
            bool found = false;
            rc = next_region(job, region, &region, &found, err);
            if (rc < 0 || !found)
                break;
            for (size_t i = 0; rc == 0 && i < job->count; i++)
                rc = visit(job, i, region, err);
        }
    }
    return rc;
}

/* ---- the rest ---- */

static int write_crypto(struct job *job, struct error *err)
{
    uint8_t *area = NULL;
    const struct record_blob *blob = &job->layer->qcow2.crypto;
    if (blob->bytes == 0)
        return 0;
    int rc = blob_read(job->r->store, blob, CRYPTO_MAX, &area, err);
    if (rc == 0)
        rc = qcow2_writer_crypto(job->writer, area, (size_t)blob->bytes, err);
    free(area);
    return rc;
}

static int write_snapshots(struct job *job, struct error *err)
{
    const struct record_qcow2 *q = &job->layer->qcow2;
    if (q->snapshot_count == 0)
        return 0;
    struct qcow2_snapshot *snapshots = calloc(q->snapshot_count, sizeof *snapshots);
    if (snapshots == NULL)
        return error_no_memory(err);
    for (size_t i = 0; i < q->snapshot_count; i++)
        snapshots[i] = (struct qcow2_snapshot){
            .raw = q->snapshots[i].raw,
            .raw_len = q->snapshots[i].raw_len,
            .l1_size = job->layer->views[i + 1].l1_size,
            .id = q->snapshots[i].id,
            .name = q->snapshots[i].name,
            .disk_size = q->snapshots[i].disk_size,
        };
    int rc = qcow2_writer_snapshots(job->writer, snapshots, (uint32_t)q->snapshot_count, err);
    free(snapshots);
    return rc;
}

/* The clusters of a bitmap come from its blob one by one: they are not cut where chunks are. */
static int write_bitmap(struct job *job, const struct record_bitmap *b, struct error *err)
{
    struct qcow2_bitmap bitmap = {
        .name = b->name,
        .flags = b->flags,
        .granularity_bits = (uint8_t)b->granularity_bits,
        .type = (uint8_t)b->type,
        .extra = b->extra,
        .extra_len = (uint32_t)b->extra_len,
    };
    size_t cluster = (size_t)1 << job->header.cluster_bits;
    struct blob_reader reader = {.store = job->r->store, .blob = &b->data};
    uint8_t *data = malloc(cluster);
    int rc = data == NULL ? error_no_memory(err) : 0;
    for (size_t i = 0; i < b->run_count; i++)
        bitmap.table_size += b->runs[i][1];
    if (rc == 0)
        rc = qcow2_writer_bitmap_begin(job->writer, &bitmap, err);
    for (size_t i = 0; rc == 0 && i < b->run_count; i++)
        for (uint32_t k = 0; rc == 0 && k < b->runs[i][1]; k++) {
            enum qcow2_bitmap_class class = (enum qcow2_bitmap_class)b->runs[i][0];
            bool stored = class == QCOW2_BITMAP_DATA;
            if (stored)
                rc = blob_reader_next(&reader, data, cluster, err);
            if (rc == 0)
                rc = qcow2_writer_bitmap_cluster(job->writer, class, stored ? data : NULL, err);
        }
    blob_reader_clear(&reader);
    free(data);
    return rc;
}

static int write_tail(struct job *job, const struct target *data, struct error *err)
{
    const struct record_data_file *d = job->layer->qcow2.data_file;
    if (d == NULL || data == NULL || d->tail.bytes == 0)
        return 0;
    return blob_read_file(job->r->store, &d->tail, data->fd, data->path,
                          d->file.size - d->tail.bytes, err);
}

static int write_metadata(struct job *job, struct error *err)
{
    int rc = write_crypto(job, err);
    if (rc == 0)
        rc = write_snapshots(job, err);
    for (size_t i = 0; rc == 0 && i < job->layer->qcow2.bitmap_count; i++)
        rc = write_bitmap(job, &job->layer->qcow2.bitmaps[i], err);
    return rc;
}

int restore_qcow2_check_names(struct restore *r, const struct record_layer *layer,
                              const struct restore_names *names, struct error *err)
{
    const struct target nowhere = {.fd = -1, .path = layer->file.placed_path};
    struct job job = {.r = r, .layer = layer, .target = &nowhere};
    int rc = read_header(&job, names, err);
    if (rc == 0)
        rc = begin(&job, names, err);
    qcow2_writer_free(job.writer);
    qcow2_header_clear(&job.header);
    free(job.original);
    return rc;
}

int restore_qcow2(struct restore *r, const struct record_layer *layer,
                  const struct restore_names *names, const struct target *target, uint64_t *written,
                  struct error *err)
{
    struct job job = {.r = r, .layer = layer, .target = target};
    struct qcow2_writer_report report = {0};
    int rc = read_header(&job, names, err);
    if (rc == 0)
        rc = begin(&job, names, err);
    if (rc == 0)
        rc = begin_scatter(&job, names, err);
    if (rc == 0)
        rc = each_region(&job, reserve_region, err);
    if (rc == 0)
        rc = qcow2_writer_place(job.writer, err);
    if (rc == 0)
        rc = each_region(&job, write_region, err);
    if (rc == 0)
        rc = scatter_flush(job.scatter, err);
    if (rc == 0)
        rc = write_metadata(&job, err);
    if (rc == 0)
        rc = restore_step(r, "flushing", 0, err);
    if (rc == 0)
        rc = qcow2_writer_finish(job.writer, &report, err);
    if (rc == 0)
        rc = write_tail(&job, names->data_target, err);
    if (rc == 0 && report.streams_moved > 0)
        restore_warn(r, "%s: %llu compressed clusters did not fit at their old places and moved",
                     target->path, (unsigned long long)report.streams_moved);
    if (rc == 0 && report.streams_plain > 0)
        restore_warn(r, "%s: %llu compressed clusters do not compress any more, and are plain now",
                     target->path, (unsigned long long)report.streams_plain);
    *written = report.bytes_written + scatter_written(job.scatter);
    close_batch(&job);
    qcow2_writer_free(job.writer);
    qcow2_header_clear(&job.header);
    scatter_free(job.scatter);
    scatter_free(job.reader);
    free(job.original);
    free(job.buf);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a qcow2 layer has beside its views: header cluster, LUKS area, the table
 * of snapshots, bitmaps. What is part of the disk, or of somebody's secret, goes
 * into the store as data; the record holds its ids. The bits of byre's own
 * bitmaps are metadata: the key of a nightly run must be able to read them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/io.h"
#include "engine/backup_qcow2.h"
#include "engine/blob.h"
#include "engine/own_bitmap.h"
#include "qcow2/bitmap.h"
#include "qcow2/snapshot.h"

static int keep(char **out, const char *s, struct error *err)
{
    *out = strdup(s);
    return *out == NULL ? error_no_memory(err) : 0;
}

static int store_header(struct layer_job *job, struct error *err)
{
    struct qcow2_image *image = job->layer->image;
    const struct qcow2_header *h = qcow2_image_header(image);
    struct record_layer *record = job->record;
    struct record_qcow2 *q = &record->qcow2;
    record->is_qcow2 = true;
    *q = (struct record_qcow2){
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
    int rc = 0;
    if (h->backing_file[0] != 0)
        rc = keep(&record->backing_file, h->backing_file, err);
    if (rc == 0 && h->backing_format[0] != 0)
        rc = keep(&record->backing_format, h->backing_format, err);
    if (rc < 0)
        return rc;
    q->extensions = calloc(h->nb_extensions + 1U, sizeof *q->extensions);
    if (q->extensions == NULL)
        return error_no_memory(err);
    for (uint32_t i = 0; i < h->nb_extensions; i++) {
        q->extensions[i][0] = h->extensions[i].type;
        q->extensions[i][1] = h->extensions[i].length;
        q->extension_count = i + 1;
    }
    return blob_write(job->writer, qcow2_image_header_cluster(image),
                      qcow2_image_cluster_size(image), &q->header, err);
}

static int store_crypto(struct layer_job *job, struct error *err)
{
    const struct layer *layer = job->layer;
    uint64_t offset = 0, length = 0;
    int rc = qcow2_crypto_header(qcow2_image_header(layer->image),
                                 qcow2_image_header_cluster(layer->image), layer->file_size,
                                 &offset, &length, err);
    if (rc < 0)
        return error_wrap(err, "%s", layer->path);
    if (length == 0)
        return 0;
    uint8_t *area = malloc((size_t)length);
    if (area == NULL)
        return error_no_memory(err);
    rc = io_read(layer->fd, layer->path, offset, area, (size_t)length, err);
    if (rc == 0)
        rc = blob_write(job->writer, area, (size_t)length, &job->record->qcow2.crypto, err);
    job->record->qcow2.crypto_offset = offset;
    job->metadata_read += length;
    free(area);
    return rc;
}

static int describe_snapshots(struct layer_job *job, struct error *err)
{
    const struct qcow2_snapshot *snapshots = NULL;
    uint32_t n = 0;
    struct record_qcow2 *q = &job->record->qcow2;
    qcow2_image_snapshots(job->layer->image, &snapshots, &n);
    q->snapshots = calloc(n + 1U, sizeof *q->snapshots);
    if (q->snapshots == NULL)
        return error_no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        const struct qcow2_snapshot *s = &snapshots[i];
        struct record_snapshot *r = &q->snapshots[q->snapshot_count++];
        *r = (struct record_snapshot){
            .raw = malloc(s->raw_len + 1),
            .raw_len = s->raw_len,
            .date_sec = s->date_sec,
            .date_nsec = s->date_nsec,
            .vm_clock = s->vm_clock,
            .vm_state_size = s->vm_state_size,
            .disk_size = s->disk_size,
        };
        if (r->raw == NULL)
            return error_no_memory(err);
        memcpy(r->raw, s->raw, s->raw_len);
        int rc = keep(&r->id, s->id, err);
        if (rc == 0)
            rc = keep(&r->name, s->name, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- L1 tables ---- */

static int digest_l1(const struct layer_job *job, const struct qcow2_view *view,
                     struct cs_id *digest, struct error *err)
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

static int describe_views(struct layer_job *job, struct error *err)
{
    struct record_layer *record = job->record;
    size_t n = record->qcow2.snapshot_count + 1;
    int rc = 0;
    record->views = calloc(n, sizeof *record->views);
    if (record->views == NULL)
        return error_no_memory(err);
    record->view_count = n;
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct qcow2_view *own = NULL;
        if (i > 0)
            rc = qcow2_view_open(&own, job->layer->image, i, err);
        if (rc < 0)
            break;
        const struct qcow2_view *view = i > 0 ? own : qcow2_image_active(job->layer->image);
        record->views[i].l1_size = qcow2_view_l1_size(view);
        rc = digest_l1(job, view, &record->views[i].l1_hash, err);
        qcow2_view_close(own);
    }
    return rc;
}

/* ---- bitmaps ---- */

static int add_run(struct record_bitmap *b, enum qcow2_bitmap_class class, struct error *err)
{
    if (b->run_count > 0 && b->runs[b->run_count - 1][0] == (uint32_t) class) {
        b->runs[b->run_count - 1][1]++;
        return 0;
    }
    uint32_t(*runs)[2] = reallocarray(b->runs, b->run_count + 1, sizeof *runs);
    if (runs == NULL)
        return error_no_memory(err);
    b->runs = runs;
    runs[b->run_count][0] = (uint32_t) class;
    runs[b->run_count++][1] = 1;
    return 0;
}

static int describe_bitmap(const struct qcow2_bitmap *bitmap, struct record_bitmap *b,
                           struct error *err)
{
    b->flags = bitmap->flags;
    b->type = bitmap->type;
    b->granularity_bits = bitmap->granularity_bits;
    b->extra_len = bitmap->extra_len;
    b->extra = malloc(b->extra_len + 1U);
    if (b->extra == NULL)
        return error_no_memory(err);
    if (b->extra_len > 0)
        memcpy(b->extra, bitmap->extra, b->extra_len);
    return keep(&b->name, bitmap->name, err);
}

/* Clusters go into the store by the ${room} bytes (a whole number of clusters) that ${buf} has. */
static int store_bitmap(struct layer_job *job, const struct qcow2_bitmap *bitmap, uint8_t *buf,
                        size_t room, struct record_bitmap *b, struct error *err)
{
    struct qcow2_image *image = job->layer->image;
    size_t cluster = qcow2_image_cluster_size(image), used = 0;
    int rc = describe_bitmap(bitmap, b, err);
    for (uint32_t i = 0; rc == 0 && i < bitmap->table_size; i++) {
        enum qcow2_bitmap_class class = QCOW2_BITMAP_CLEAR;
        rc = qcow2_bitmap_read(image, bitmap, i, &class, buf + used, err);
        if (rc == 0)
            rc = add_run(b, class, err);
        if (rc == 0 && class == QCOW2_BITMAP_DATA)
            used += cluster;
        if (rc == 0 && used == room) {
            rc = blob_write(job->writer, buf, used, &b->data, err);
            used = 0;
        }
    }
    return rc < 0 ? rc : blob_write(job->writer, buf, used, &b->data, err);
}

static void warn_in_use(const struct layer_job *job, const struct qcow2_bitmap *bitmap, bool own)
{
    if (!(bitmap->flags & QCOW2_BITMAP_IN_USE))
        return;
    layer_job_warn(job, "%s: bitmap %s is marked in use, so that its bits mean nothing; %s",
                   job->layer->path, bitmap->name,
                   own ? "it will be replaced by the next backup with --bitmap"
                       : "it is kept as it is");
}

static int store_bitmaps(struct layer_job *job, struct error *err)
{
    struct record_qcow2 *q = &job->record->qcow2;
    struct qcow2_image *image = job->layer->image;
    struct qcow2_bitmap *bitmaps = NULL;
    uint32_t n = 0;
    char *problem = NULL;
    int rc = qcow2_image_bitmaps(image, &bitmaps, &n, &problem, err);
    if (rc < 0)
        return rc;
    if (problem != NULL)
        layer_job_warn(job, "%s: %s; the data is saved without it", job->layer->path, problem);
    size_t cluster = qcow2_image_cluster_size(image);
    size_t room = cluster > CS_META_OBJECT_MAX ? cluster : CS_META_OBJECT_MAX;
    uint8_t *buf = malloc(room);
    q->bitmaps = calloc(n + 1U, sizeof *q->bitmaps);
    if (buf == NULL || q->bitmaps == NULL)
        rc = error_no_memory(err);
    for (uint32_t i = 0; rc == 0 && i < n; i++) {
        struct record_bitmap *b = &q->bitmaps[i];
        q->bitmap_count = i + 1;
        b->own = own_bitmap_is(cs_repository_id(job->store), bitmaps[i].name);
        b->data.metadata = b->own;
        warn_in_use(job, &bitmaps[i], b->own);
        rc = store_bitmap(job, &bitmaps[i], buf, room, b, err);
    }
    free(buf);
    free(problem);
    qcow2_bitmaps_free(bitmaps, n);
    return rc;
}

/* ---- the data file ---- */

static int describe_data_file(struct layer_job *job, struct error *err)
{
    const struct data_file *file = job->layer->data_file;
    if (file == NULL)
        return 0;
    struct record_data_file *d = calloc(1, sizeof *d);
    job->record->qcow2.data_file = d;
    if (d == NULL)
        return error_no_memory(err);
    int rc = record_file_describe(&d->file, file->fd, &file->st, file->size, file->path,
                                  file->real_path, err);
    const struct backup_origin *origin = job->run->options->origin;
    if (rc == 0 && origin != NULL)
        rc = origin->file(origin->arg, BACKUP_DATA_FILE, &d->file, err);
    if (rc == 0)
        rc = qcow2_data_file_name(qcow2_image_header(job->layer->image),
                                  qcow2_image_header_cluster(job->layer->image), &d->name, err);
    if (rc == 0 && d->name == NULL)
        rc = error_set(err, ERROR_UNSUPPORTED, "%s: does not name its data file", job->layer->path);
    /* a raw data file is the disk by itself, and may be longer than the qcow2 file says */
    uint64_t cluster = qcow2_image_cluster_size(job->layer->image);
    uint64_t end = (job->layer->virtual_size + cluster - 1) / cluster * cluster;
    bool raw = (job->record->qcow2.autoclear & QCOW2_AUTOCLEAR_RAW_DATA) != 0;
    if (rc == 0 && raw && file->size > end)
        rc = blob_write_file(job->writer, file->fd, file->path, end, &d->tail, err);
    job->bytes_read += d->tail.bytes;
    return rc;
}

int backup_qcow2_metadata(struct layer_job *job, struct error *err)
{
    int rc = store_header(job, err);
    if (rc == 0)
        rc = store_crypto(job, err);
    if (rc == 0)
        rc = describe_snapshots(job, err);
    if (rc == 0)
        rc = describe_views(job, err);
    if (rc == 0)
        rc = store_bitmaps(job, err);
    if (rc == 0)
        rc = describe_data_file(job, err);
    return rc;
}

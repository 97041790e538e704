/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's disk as one file: compact qcow2, raw file, raw device, raw stream. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/ahead.h"
#include "engine/fd_stream.h"
#include "engine/restore.h"
#include "qcow2/image.h"
#include "qcow2/writer.h"

enum { DEFAULT_CLUSTER_BITS = 16 };

static uint64_t bytes_in(const struct flat_image *flat, uint64_t region, uint32_t region_size)
{
    uint64_t left = flat_size(flat) - region * region_size;
    return left < region_size ? left : region_size;
}

struct disk { /* being read */
    struct restore *r;
    struct flat_image *flat;
    const char *path; /* of what it goes to */
    bool in_order;    /* a region counts when its turn comes */
    bool throughout;  /* regions without anything come too */
    unsigned bits;    /* clusters that are to be told compressed from others, or 0 */
    size_t per_region;
    bool *compressed; /* per_region for each slot */
};

static int disk_progress(void *arg, uint64_t bytes, struct error *err)
{
    struct disk *d = arg;
    return restore_step(d->r, d->path, d->in_order ? 0 : bytes, err);
}

static int disk_describe(void *arg, uint64_t from, struct scatter *scatter, uint64_t base,
                         size_t slot, uint64_t *region, bool *found, struct error *err)
{
    struct disk *d = arg;
    int rc = 0;
    *region = from;
    if (d->throughout)
        *found = from * cs_region_size(d->r->store) < flat_size(d->flat);
    else
        rc = flat_next(d->flat, from, region, found, err);
    if (rc < 0 || !*found)
        return rc;
    return flat_describe(d->flat, *region, scatter, base,
                         d->bits > 0 ? d->compressed + slot * d->per_region : NULL, d->bits, err);
}

static int disk_ahead(struct disk *d, struct ahead **ahead, struct error *err)
{
    struct ahead_source source = {.describe = disk_describe, .progress = disk_progress, .arg = d};
    d->in_order = true;
    return ahead_new(ahead, d->r->fetch, cs_region_size(d->r->store), &source, err);
}

static int raw_to_file(struct disk *d, const struct target *target, uint64_t *written,
                       struct error *err)
{
    uint32_t region_size = cs_region_size(d->r->store);
    struct scatter_target file = {.fd = target->fd,
                                  .name = target->path,
                                  .holes = true,
                                  .direct = true,
                                  .progress = disk_progress,
                                  .arg = d};
    struct scatter *scatter = NULL;
    int rc = scatter_new(&scatter, d->r->fetch, &file, err);
    if (rc == 0 && ftruncate(target->fd, (off_t)flat_size(d->flat)) < 0)
        rc = error_sys(err, errno, "%s: setting its size", target->path);
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        rc = flat_next(d->flat, region, &region, &found, err);
        if (rc < 0 || !found)
            break;
        uint64_t before = scatter_put_bytes(scatter);
        rc = flat_describe(d->flat, region, scatter, region * region_size, NULL, 0, err);
        uint64_t empty =
            bytes_in(d->flat, region, region_size) - (scatter_put_bytes(scatter) - before);
        if (rc == 0)
            rc = restore_step(d->r, target->path, empty, err);
    }
    if (rc == 0)
        rc = scatter_flush(scatter, err);
    *written = scatter_written(scatter);
    scatter_free(scatter);
    return rc;
}

/* What was on a device stays there where nothing is written, so all is. */
static int raw_to_device(struct disk *d, const struct target *target, uint64_t *written,
                         struct error *err)
{
    uint32_t region_size = cs_region_size(d->r->store);
    struct ahead *ahead = NULL;
    bool found = true;
    d->throughout = true;
    int rc = disk_ahead(d, &ahead, err);
    while (rc == 0 && found) {
        const uint8_t *data = NULL;
        uint64_t region = 0;
        size_t slot = 0;
        rc = ahead_next(ahead, &region, &data, &slot, &found, err);
        if (rc < 0 || !found)
            break;
        size_t len = (size_t)bytes_in(d->flat, region, region_size);
        rc = io_write(target->fd, target->path, region * region_size, data, len, err);
        *written += len;
        if (rc == 0)
            rc = restore_step(d->r, target->path, region_size, err);
    }
    ahead_free(ahead);
    return rc;
}

int restore_flat_raw(struct restore *r, struct flat_image *flat, const struct target *target,
                     uint64_t *written, struct error *err)
{
    struct disk disk = {.r = r, .flat = flat, .path = target->path};
    return target->is_device ? raw_to_device(&disk, target, written, err)
                             : raw_to_file(&disk, target, written, err);
}

static int stream_idle(void *arg, struct error *err)
{
    return restore_step(arg, "-", 0, err);
}

int restore_flat_stream(struct restore *r, struct flat_image *flat, int fd, uint64_t *written,
                        struct error *err)
{
    struct disk disk = {.r = r, .flat = flat, .path = "-", .throughout = true};
    uint32_t region_size = cs_region_size(r->store);
    struct fd_stream stream = fd_stream_open(fd, "standard output");
    struct ahead *ahead = NULL;
    bool found = true;
    int rc = disk_ahead(&disk, &ahead, err);
    while (rc == 0 && found) {
        const uint8_t *data = NULL;
        uint64_t region = 0;
        size_t slot = 0;
        rc = ahead_next(ahead, &region, &data, &slot, &found, err);
        if (rc < 0 || !found)
            break;
        size_t len = (size_t)bytes_in(flat, region, region_size);
        rc = fd_stream_write(&stream, data, len, stream_idle, r, err);
        *written += len;
        if (rc == 0)
            rc = restore_step(r, "-", region_size, err);
    }
    ahead_free(ahead);
    fd_stream_close(&stream);
    return rc;
}

void restore_flat_header(const struct flat_image *flat, struct qcow2_header *h)
{
    const struct record_layer *top = flat_top(flat);
    *h = (struct qcow2_header){
        .version = 3,
        .cluster_bits = DEFAULT_CLUSTER_BITS,
        .size = (flat_size(flat) + 511) / 512 * 512,
        .refcount_order = 4,
        .header_length = 112,
    };
    if (top->is_qcow2) {
        h->version = top->qcow2.version;
        h->cluster_bits = top->qcow2.cluster_bits;
        h->compression_type = (uint8_t)top->qcow2.compression_type;
        h->refcount_order = top->qcow2.refcount_order;
        h->header_length = top->qcow2.header_length;
        h->incompatible = top->qcow2.incompatible & QCOW2_INCOMPAT_COMPRESSION;
        h->compatible = top->qcow2.compatible & QCOW2_COMPAT_LAZY_REFCOUNTS;
        if (h->header_length > 112)
            h->header_length = 112;
    }
    unsigned bits_per_l1 = 2 * h->cluster_bits - 3;
    h->l1_size = (uint32_t)((h->size + (1ULL << bits_per_l1) - 1) >> bits_per_l1);
}

static int write_regions(struct disk *d, struct qcow2_writer *writer, struct ahead *ahead,
                         struct qcow2_entry *entries, struct error *err)
{
    uint32_t region_size = cs_region_size(d->r->store);
    size_t cluster = (size_t)1 << d->bits;
    for (;;) {
        const uint8_t *data = NULL;
        uint64_t region = 0;
        size_t slot = 0;
        bool found = false;
        int rc = ahead_next(ahead, &region, &data, &slot, &found, err);
        if (rc < 0 || !found)
            return rc;
        const bool *compressed = d->compressed + slot * d->per_region;
        size_t n = (size_t)((bytes_in(d->flat, region, region_size) + cluster - 1) / cluster);
        for (size_t i = 0; i < n; i++) {
            entries[i] = (struct qcow2_entry){.class = QCOW2_UNALLOCATED};
            if (!io_is_zero(data + i * cluster, cluster)) /* without a base, nothing is zeros */
                entries[i].class = compressed[i] ? QCOW2_COMPRESSED : QCOW2_DATA;
        }
        rc = qcow2_writer_region(writer, 0, region * d->per_region, entries, n, data, err);
        if (rc == 0)
            rc = restore_step(d->r, d->path, region_size, err);
        if (rc < 0)
            return rc;
    }
}

int restore_flat_qcow2(struct restore *r, struct flat_image *flat, const struct target *target,
                       uint64_t *written, struct error *err)
{
    struct qcow2_header header;
    struct qcow2_writer *writer = NULL;
    struct qcow2_writer_report report = {0};
    struct qcow2_target file = {
        .fd = target->fd, .name = target->path, .is_device = target->is_device};
    struct ahead *ahead = NULL;
    restore_flat_header(flat, &header);
    struct disk disk = {.r = r, .flat = flat, .path = target->path, .bits = header.cluster_bits};
    disk.per_region = cs_region_size(r->store) >> disk.bits;
    struct qcow2_entry *entries = calloc(disk.per_region, sizeof *entries);
    disk.compressed = calloc(disk.per_region * AHEAD_SLOTS, sizeof *disk.compressed);
    int rc = 0;
    if (entries == NULL || disk.compressed == NULL)
        rc = error_no_memory(err);
    if (rc == 0)
        rc = qcow2_writer_begin_compact(&writer, &file, &header, err);
    if (rc == 0)
        rc = disk_ahead(&disk, &ahead, err);
    if (rc == 0)
        rc = write_regions(&disk, writer, ahead, entries, err);
    if (rc == 0)
        rc = restore_step(r, "flushing", 0, err);
    if (rc == 0)
        rc = qcow2_writer_finish(writer, &report, err);
    *written = report.bytes_written;
    ahead_free(ahead);
    qcow2_writer_free(writer);
    free(entries);
    free(disk.compressed);
    return rc;
}

/* ---- reading back ---- */

static int read_back(struct qcow2_image *image, const struct target *target, uint64_t base,
                     uint8_t *buf, size_t len, struct error *err)
{
    if (image == NULL)
        return io_read(target->fd, target->path, base, buf, len, err);
    uint32_t cluster = qcow2_image_cluster_size(image);
    size_t n = (len + cluster - 1) / cluster;
    struct qcow2_entry *entries = calloc(n, sizeof *entries);
    if (entries == NULL)
        return error_no_memory(err);
    int rc = qcow2_view_entries(qcow2_image_active(image), base / cluster, n, entries, err);
    if (rc == 0)
        rc = qcow2_image_read(image, base / cluster, n, entries, buf, err);
    free(entries);
    return rc;
}

int restore_verify_flat(struct restore *r, struct flat_image *flat, const struct target *target,
                        bool raw, struct error *err)
{
    struct disk disk = {.r = r, .flat = flat, .path = target->path, .throughout = true};
    uint32_t region_size = cs_region_size(r->store);
    struct qcow2_image *image = NULL;
    struct ahead *ahead = NULL;
    bool found = true;
    uint8_t *buf = malloc(region_size);
    int rc = buf == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && !raw)
        rc = qcow2_image_open(&image, target->fd, target->path,
                              (uint64_t)lseek(target->fd, 0, SEEK_END), NULL, err);
    if (rc == 0)
        rc = disk_ahead(&disk, &ahead, err);
    while (rc == 0 && found) {
        const uint8_t *expected = NULL;
        uint64_t region = 0;
        size_t slot = 0;
        rc = ahead_next(ahead, &region, &expected, &slot, &found, err);
        if (rc < 0 || !found)
            break;
        size_t len = (size_t)bytes_in(flat, region, region_size);
        rc = read_back(image, target, region * region_size, buf, len, err);
        if (rc == 0 && memcmp(expected, buf, len) != 0)
            rc = error_set(err, ERROR_IO,
                           "%s: what was read back at guest offset %llu is not what was written",
                           target->path, (unsigned long long)(region * region_size));
        if (rc == 0)
            rc = restore_step(r, target->path, 0, err);
    }
    ahead_free(ahead);
    qcow2_image_close(image);
    free(buf);
    return rc;
}

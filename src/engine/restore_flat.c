/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's disk as one file: compact qcow2, raw file, raw device, raw stream. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/restore.h"
#include "qcow2/image.h"
#include "qcow2/writer.h"

enum { BLOCK = 4096, DEFAULT_CLUSTER_BITS = 16, POLL_MILLISECONDS = 250 };

static uint64_t bytes_in(const struct flat_image *flat, uint64_t region, uint32_t region_size)
{
    uint64_t left = flat_size(flat) - region * region_size;
    return left < region_size ? left : region_size;
}

/* Writes what is not zero; on a device, all of it. */
static int write_sparse(const struct target *target, uint64_t offset, const uint8_t *buf,
                        size_t len, uint64_t *written, struct error *err)
{
    for (size_t at = 0, end; at < len; at = end) {
        bool zero = io_is_zero(buf + at, len - at < BLOCK ? len - at : BLOCK);
        for (end = at + BLOCK; end < len; end += BLOCK)
            if (io_is_zero(buf + end, len - end < BLOCK ? len - end : BLOCK) != zero)
                break;
        if (end > len)
            end = len;
        if (zero && !target->is_device)
            continue;
        int rc = io_write(target->fd, target->path, offset + at, buf + at, end - at, err);
        if (rc < 0)
            return rc;
        *written += end - at;
    }
    return 0;
}

int restore_flat_raw(struct restore *r, struct flat_image *flat, const struct target *target,
                     uint64_t *written, struct error *err)
{
    uint32_t region_size = cs_region_size(r->store);
    uint64_t size = flat_size(flat);
    uint64_t regions = (size + region_size - 1) / region_size;
    uint8_t *buf = malloc(region_size);
    int rc = buf == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && !target->is_device && ftruncate(target->fd, (off_t)size) < 0)
        rc = error_sys(err, errno, "%s: setting its size", target->path);
    for (uint64_t region = 0; rc == 0 && region < regions; region++) {
        bool found = true;
        uint64_t next = region;
        if (!target->is_device) /* there, what is empty must become zeros too */
            rc = flat_next(flat, region, &next, &found, err);
        if (rc < 0 || !found)
            break;
        region = next;
        rc = flat_read(flat, region, buf, NULL, 0, err);
        if (rc == 0)
            rc = write_sparse(target, region * region_size, buf,
                              (size_t)bytes_in(flat, region, region_size), written, err);
        if (rc == 0)
            rc = restore_step(r, target->path, region_size, err);
    }
    free(buf);
    return rc;
}

/*
 * Writes to a stream that may be full for long. A write of at most PIPE_BUF does not block once
 * poll says that there is room, so that a signal that wants us to stop is always seen.
 */
static int write_stream(struct restore *r, int fd, const uint8_t *buf, size_t len,
                        struct error *err)
{
    struct stat st;
    bool regular = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    int rc = 0;
    for (size_t done = 0; rc == 0 && done < len;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        size_t n = regular || len - done < PIPE_BUF ? len - done : PIPE_BUF;
        int ready = regular ? 1 : poll(&p, 1, POLL_MILLISECONDS);
        ssize_t written = ready > 0 ? write(fd, buf + done, n) : 0;
        if (written > 0)
            done += (size_t)written;
        else if ((ready < 0 || written < 0) && errno != EINTR && errno != EAGAIN)
            rc = error_sys(err, errno, "standard output");
        else
            rc = restore_step(r, "-", 0, err);
    }
    return rc;
}

int restore_flat_stream(struct restore *r, struct flat_image *flat, int fd, uint64_t *written,
                        struct error *err)
{
    uint32_t region_size = cs_region_size(r->store);
    uint64_t regions = (flat_size(flat) + region_size - 1) / region_size;
    uint8_t *buf = malloc(region_size);
    int rc = buf == NULL ? error_no_memory(err) : 0;
    for (uint64_t region = 0; rc == 0 && region < regions; region++) {
        size_t len = (size_t)bytes_in(flat, region, region_size);
        rc = flat_read(flat, region, buf, NULL, 0, err);
        if (rc == 0)
            rc = write_stream(r, fd, buf, len, err);
        *written += len;
        if (rc == 0)
            rc = restore_step(r, "-", region_size, err);
    }
    free(buf);
    return rc;
}

/* The top's cluster size, version and compression type; a raw top gets QEMU's defaults. */
static void flat_header(const struct flat_image *flat, struct qcow2_header *h)
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

int restore_flat_qcow2(struct restore *r, struct flat_image *flat, const struct target *target,
                       uint64_t *written, struct error *err)
{
    struct qcow2_header header;
    struct qcow2_writer *writer = NULL;
    struct qcow2_writer_report report = {0};
    struct qcow2_target file = {
        .fd = target->fd, .name = target->path, .is_device = target->is_device};
    uint32_t region_size = cs_region_size(r->store);
    flat_header(flat, &header);
    size_t cluster = (size_t)1 << header.cluster_bits, per_region = region_size / cluster;
    uint8_t *buf = malloc(region_size);
    struct qcow2_entry *entries = calloc(per_region, sizeof *entries);
    bool *compressed = calloc(per_region, sizeof *compressed);
    int rc = 0;
    if (buf == NULL || entries == NULL || compressed == NULL)
        rc = error_no_memory(err);
    if (rc == 0)
        rc = qcow2_writer_begin_compact(&writer, &file, &header, err);
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        rc = flat_next(flat, region, &region, &found, err);
        if (rc < 0 || !found)
            break;
        rc = flat_read(flat, region, buf, compressed, header.cluster_bits, err);
        size_t n = (size_t)((bytes_in(flat, region, region_size) + cluster - 1) / cluster);
        for (size_t i = 0; i < n; i++) {
            entries[i] = (struct qcow2_entry){.class = QCOW2_UNALLOCATED};
            if (!io_is_zero(buf + i * cluster, cluster)) /* without a base, nothing is zeros */
                entries[i].class = compressed[i] ? QCOW2_COMPRESSED : QCOW2_DATA;
        }
        if (rc == 0)
            rc = qcow2_writer_region(writer, 0, region * per_region, entries, n, buf, err);
        if (rc == 0)
            rc = restore_step(r, target->path, region_size, err);
    }
    if (rc == 0)
        rc = qcow2_writer_finish(writer, &report, err);
    *written = report.bytes_written;
    qcow2_writer_free(writer);
    free(buf);
    free(entries);
    free(compressed);
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
    uint32_t region_size = cs_region_size(r->store);
    uint64_t regions = (flat_size(flat) + region_size - 1) / region_size;
    struct qcow2_image *image = NULL;
    uint8_t *expected = malloc(region_size), *buf = malloc(region_size);
    int rc = expected == NULL || buf == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && !raw)
        rc = qcow2_image_open(&image, target->fd, target->path,
                              (uint64_t)lseek(target->fd, 0, SEEK_END), NULL, err);
    for (uint64_t region = 0; rc == 0 && region < regions; region++) {
        size_t len = (size_t)bytes_in(flat, region, region_size);
        rc = flat_read(flat, region, expected, NULL, 0, err);
        if (rc == 0)
            rc = read_back(image, target, region * region_size, buf, len, err);
        if (rc == 0 && memcmp(expected, buf, len) != 0)
            rc = error_set(err, ERROR_IO,
                           "%s: what was read back at guest offset %llu is not what was written",
                           target->path, (unsigned long long)(region * region_size));
        if (rc == 0)
            rc = restore_step(r, target->path, 0, err);
    }
    qcow2_image_close(image);
    free(expected);
    free(buf);
    return rc;
}

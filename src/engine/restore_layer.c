/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A layer as it was: a qcow2 file in the physical layout, or a raw file with
 * its holes. And reading it back.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/blob.h"
#include "engine/restore.h"
#include "qcow2/image.h"
#include "qcow2/writer.h"

/* The header that was kept, with the backing name that the restored file is to have. */
static int read_header(struct restore *r, const struct record_layer *layer, const char *backing,
                       struct qcow2_header *header, uint8_t **original, struct error *err)
{
    size_t cluster = (size_t)1 << layer->qcow2.cluster_bits;
    uint8_t *data = NULL;
    int rc = blob_read(r->store, &layer->qcow2.header, cluster, &data, err);
    if (rc < 0)
        return rc;
    rc =
        qcow2_header_decode(header, data, (size_t)layer->qcow2.header.bytes, layer->file_size, err);
    if (rc < 0) {
        free(data);
        return error_wrap(err, "%s: its stored header", layer->path);
    }
    snprintf(header->backing_file, sizeof header->backing_file, "%s",
             backing != NULL ? backing : "");
    *original = data;
    return 0;
}

/* Entries of ${region}, cut off where the L1 table ends. */
static int entries_of(struct layer_view *view, const struct qcow2_header *header, uint64_t region,
                      const struct qcow2_entry **entries, size_t *n, uint64_t *first,
                      struct error *err)
{
    int rc = layer_view_entries(view, region, entries, n, err);
    uint64_t clusters = (uint64_t)header->l1_size << (header->cluster_bits - 3);
    *first = region * *n;
    if (rc == 0 && *first >= clusters)
        return error_set(err, ERROR_CORRUPT, "%s: its placement goes past its L1 table",
                         layer_view_layer(view)->path);
    if (rc == 0 && *n > clusters - *first)
        *n = (size_t)(clusters - *first);
    return rc;
}

static int reserve_all(struct layer_view *view, const struct qcow2_header *header,
                       struct qcow2_writer *writer, struct error *err)
{
    for (uint64_t region = 0;; region++) {
        bool found = false;
        const struct qcow2_entry *entries = NULL;
        size_t n = 0;
        uint64_t first = 0;
        int rc = layer_view_next(view, region, &region, &found, err);
        if (rc < 0 || !found)
            return rc;
        rc = entries_of(view, header, region, &entries, &n, &first, err);
        if (rc == 0)
            rc = qcow2_writer_reserve(writer, first, entries, n, err);
        if (rc < 0)
            return rc;
    }
}

static int write_all(struct restore *r, struct layer_view *view, const struct qcow2_header *header,
                     struct qcow2_writer *writer, const char *path, struct error *err)
{
    uint8_t *buf = malloc(cs_region_size(r->store));
    int rc = buf == NULL ? error_no_memory(err) : 0;
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        const struct qcow2_entry *entries = NULL;
        const struct cs_run *runs = NULL;
        size_t n = 0, run_count = 0;
        uint64_t first = 0, bytes = 0;
        rc = layer_view_next(view, region, &region, &found, err);
        if (rc < 0 || !found)
            break;
        rc = layer_view_runs(view, region, &runs, &run_count, err);
        for (size_t i = 0; rc == 0 && i < run_count; i++)
            bytes += runs[i].zero ? 0 : runs[i].length;
        if (rc == 0)
            rc = layer_view_data(view, buf, err);
        if (rc == 0)
            rc = entries_of(view, header, region, &entries, &n, &first, err);
        if (rc == 0)
            rc = qcow2_writer_region(writer, first, entries, n, buf, err);
        if (rc == 0)
            rc = restore_step(r, path, bytes, err);
    }
    free(buf);
    return rc;
}

static int restore_qcow2(struct restore *r, const struct record_layer *layer, const char *backing,
                         const struct target *target, uint64_t *written, struct error *err)
{
    struct qcow2_header header = {0};
    struct qcow2_writer *writer = NULL;
    struct layer_view *view = NULL;
    struct qcow2_writer_report report = {0};
    uint8_t *original = NULL;
    struct qcow2_target file = {
        .fd = target->fd, .name = target->path, .is_device = target->is_device};
    int rc = read_header(r, layer, backing, &header, &original, err);
    if (rc < 0)
        return rc;
    rc = qcow2_writer_begin_physical(&writer, &file, &header, original, err);
    if (rc == 0)
        rc = layer_view_open(&view, r->store, layer, err);
    if (rc == 0)
        rc = reserve_all(view, &header, writer, err);
    if (rc == 0)
        rc = qcow2_writer_place(writer, err);
    layer_view_close(view); /* the second pass begins anew */
    view = NULL;
    if (rc == 0)
        rc = layer_view_open(&view, r->store, layer, err);
    if (rc == 0)
        rc = write_all(r, view, &header, writer, target->path, err);
    if (rc == 0)
        rc = qcow2_writer_finish(writer, &report, err);
    if (rc == 0 && report.streams_moved > 0)
        restore_warn(r, "%s: %llu compressed clusters did not fit at their old places and moved",
                     target->path, (unsigned long long)report.streams_moved);
    if (rc == 0 && report.streams_plain > 0)
        restore_warn(r, "%s: %llu compressed clusters do not compress any more, and are plain now",
                     target->path, (unsigned long long)report.streams_plain);
    *written = report.bytes_written;
    layer_view_close(view);
    qcow2_writer_free(writer);
    qcow2_header_clear(&header);
    free(original);
    return rc;
}

static int restore_raw(struct restore *r, const struct record_layer *layer,
                       const struct target *target, uint64_t *written, struct error *err)
{
    struct layer_view *view = NULL;
    uint8_t *buf = malloc(cs_region_size(r->store));
    int rc = buf == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && ftruncate(target->fd, (off_t)layer->virtual_size) < 0)
        rc = error_sys(err, errno, "%s: setting its size", target->path);
    if (rc == 0)
        rc = layer_view_open(&view, r->store, layer, err);
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        const struct cs_run *runs = NULL;
        size_t count = 0;
        uint64_t bytes = 0;
        rc = layer_view_next(view, region, &region, &found, err);
        if (rc < 0 || !found)
            break;
        uint64_t base = region * cs_region_size(r->store);
        rc = layer_view_runs(view, region, &runs, &count, err);
        if (rc == 0)
            rc = layer_view_data(view, buf, err);
        for (size_t i = 0; rc == 0 && i < count; i++) {
            if (runs[i].zero) /* a hole reads as zeros */
                continue;
            if (base + runs[i].offset + runs[i].length > layer->virtual_size)
                rc =
                    error_set(err, ERROR_CORRUPT, "%s: its content goes past its end", layer->path);
            else
                rc = io_write(target->fd, target->path, base + runs[i].offset, buf + runs[i].offset,
                              runs[i].length, err);
            bytes += runs[i].length;
        }
        *written += bytes;
        if (rc == 0)
            rc = restore_step(r, target->path, bytes, err);
    }
    layer_view_close(view);
    free(buf);
    return rc;
}

int restore_layer(struct restore *r, const struct record_layer *layer, const char *backing,
                  const struct target *target, uint64_t *written, struct error *err)
{
    *written = 0;
    return layer->is_qcow2 ? restore_qcow2(r, layer, backing, target, written, err)
                           : restore_raw(r, layer, target, written, err);
}

/* ---- reading back ---- */

static int differs(const struct target *target, uint64_t offset, struct error *err)
{
    return error_set(err, ERROR_IO,
                     "%s: what was read back at guest offset %llu is not what was written",
                     target->path, (unsigned long long)offset);
}

static int verify_raw_region(const struct record_layer *layer, const struct target *target,
                             uint64_t base, const uint8_t *expected, uint8_t *buf, size_t len,
                             struct error *err)
{
    size_t got = 0;
    if (len > layer->virtual_size - base)
        len = (size_t)(layer->virtual_size - base);
    int rc = io_read_some(target->fd, target->path, base, buf, len, &got, err);
    return rc == 0 && (got != len || memcmp(buf, expected, len) != 0) ? differs(target, base, err)
                                                                      : rc;
}

static int verify_qcow2_region(struct qcow2_image *image, const struct target *target,
                               const struct qcow2_entry *entries, size_t n, uint64_t first,
                               const uint8_t *expected, uint8_t *buf, struct error *err)
{
    uint32_t cluster = qcow2_image_cluster_size(image);
    struct qcow2_entry *found = calloc(n + 1, sizeof *found);
    if (found == NULL)
        return error_no_memory(err);
    int rc = qcow2_image_entries(image, first, n, found, err);
    if (rc == 0)
        rc = qcow2_image_read(image, first, n, found, buf, err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        bool same_class = found[i].class == entries[i].class ||
                          (entries[i].class == QCOW2_COMPRESSED && found[i].class == QCOW2_DATA);
        bool same_place = entries[i].class == QCOW2_COMPRESSED || found[i].host == entries[i].host;
        if (!same_class || !same_place ||
            memcmp(buf + i * cluster, expected + i * cluster, cluster) != 0)
            rc = differs(target, (first + i) * cluster, err);
    }
    free(found);
    return rc;
}

int restore_verify_layer(struct restore *r, const struct record_layer *layer,
                         const struct target *target, struct error *err)
{
    uint32_t region_size = cs_region_size(r->store);
    struct layer_view *view = NULL;
    struct qcow2_image *image = NULL;
    uint8_t *expected = malloc(region_size), *buf = malloc(region_size);
    int rc = expected == NULL || buf == NULL ? error_no_memory(err) : 0;
    off_t size = lseek(target->fd, 0, SEEK_END);
    if (rc == 0)
        rc = layer_view_open(&view, r->store, layer, err);
    if (rc == 0 && layer->is_qcow2)
        rc = qcow2_image_open(&image, target->fd, target->path, (uint64_t)size, err);
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        const struct cs_run *runs = NULL;
        const struct qcow2_entry *entries = NULL;
        size_t count = 0, n = 0;
        uint64_t first = 0;
        rc = layer_view_next(view, region, &region, &found, err);
        if (rc < 0 || !found)
            break;
        rc = layer_view_runs(view, region, &runs, &count, err);
        if (rc == 0)
            rc = layer_view_data(view, expected, err);
        if (rc == 0 && image == NULL) {
            rc = verify_raw_region(layer, target, region * region_size, expected, buf, region_size,
                                   err);
        } else if (rc == 0) {
            rc = entries_of(view, qcow2_image_header(image), region, &entries, &n, &first, err);
            if (rc == 0)
                rc = verify_qcow2_region(image, target, entries, n, first, expected, buf, err);
        }
        if (rc == 0)
            rc = restore_step(r, target->path, 0, err);
    }
    qcow2_image_close(image);
    layer_view_close(view);
    free(expected);
    free(buf);
    return rc;
}

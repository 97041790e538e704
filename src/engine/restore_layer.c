/* SPDX-License-Identifier: BSD-2-Clause */
/* A layer as it was: raw files with their holes here, qcow2 in restore_qcow2.c. And reading both
 * back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/restore.h"
#include "engine/scatter.h"
#include "qcow2/image.h"

struct raw {
    struct restore *r;
    const struct target *target;
};

static int raw_progress(void *arg, uint64_t bytes, struct error *err)
{
    struct raw *raw = arg;
    return restore_step(raw->r, raw->target->path, bytes, err);
}

static int scatter_raw_region(struct scatter *scatter, const struct record_layer *layer,
                              struct layer_view *view, uint64_t region, uint64_t base,
                              struct error *err)
{
    const struct cs_run *runs = NULL;
    size_t count = 0;
    int rc = layer_view_runs(view, region, &runs, &count, err);
    if (rc < 0)
        return rc;
    scatter_begin(scatter, layer_view_content(view));
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (runs[i].zero) /* a hole reads as zeros */
            continue;
        if (base + runs[i].offset + runs[i].length > layer->virtual_size)
            rc = error_set(err, ERROR_CORRUPT, "%s: its content goes past its end",
                           layer->file.path);
        else
            rc = scatter_put(scatter, runs[i].offset, runs[i].length, base + runs[i].offset, err);
    }
    return rc < 0 ? rc : scatter_end(scatter, err);
}

static int restore_raw(struct restore *r, const struct record_layer *layer,
                       const struct target *target, uint64_t *written, struct error *err)
{
    struct raw raw = {.r = r, .target = target};
    struct scatter_target file = {
        .fd = target->fd, .name = target->path, .progress = raw_progress, .arg = &raw};
    struct layer_view *view = NULL;
    struct scatter *scatter = NULL;
    int rc = scatter_new(&scatter, r->fetch, &file, err);
    if (rc == 0 && ftruncate(target->fd, (off_t)layer->virtual_size) < 0)
        rc = error_sys(err, errno, "%s: setting its size", target->path);
    if (rc == 0)
        rc = layer_view_open(&view, r->store, layer, 0, err);
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        rc = layer_view_next(view, region, &region, &found, err);
        if (rc < 0 || !found)
            break;
        rc = scatter_raw_region(scatter, layer, view, region, region * cs_region_size(r->store),
                                err);
        if (rc == 0)
            rc = restore_step(r, target->path, 0, err);
    }
    if (rc == 0)
        rc = scatter_flush(scatter, err);
    if (rc == 0)
        *written = scatter_written(scatter);
    layer_view_close(view);
    scatter_free(scatter);
    return rc;
}

int restore_layer(struct restore *r, const struct record_layer *layer,
                  const struct restore_names *names, const struct target *target, uint64_t *written,
                  struct error *err)
{
    *written = 0;
    return layer->is_qcow2 ? restore_qcow2(r, layer, names, target, written, err)
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

/* Streams may have moved, and become plain; all else is as it was. */
static bool same_place(const struct qcow2_entry *found, const struct qcow2_entry *expected)
{
    if (expected->class == QCOW2_COMPRESSED)
        return found->class == QCOW2_COMPRESSED || found->class == QCOW2_DATA;
    return found->class == expected->class && found->host == expected->host &&
           found->sub_alloc == expected->sub_alloc && found->sub_zero == expected->sub_zero;
}

static int verify_qcow2_region(struct qcow2_image *image, struct qcow2_view *restored,
                               const struct target *target, const struct qcow2_entry *entries,
                               size_t n, uint64_t first, const uint8_t *expected, uint8_t *buf,
                               struct error *err)
{
    uint32_t cluster = qcow2_image_cluster_size(image);
    struct qcow2_entry *found = calloc(n + 1, sizeof *found);
    if (found == NULL)
        return error_no_memory(err);
    int rc = qcow2_view_entries(restored, first, n, found, err);
    if (rc == 0)
        rc = qcow2_image_read(image, first, n, found, buf, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (!same_place(&found[i], &entries[i]) ||
            memcmp(buf + i * cluster, expected + i * cluster, cluster) != 0)
            rc = differs(target, (first + i) * cluster, err);
    free(found);
    return rc;
}

/* One view of a restored layer; ${image} is NULL for raw. */
static int verify_view(struct restore *r, const struct record_layer *layer, size_t index,
                       struct qcow2_image *image, const struct target *target, uint8_t *expected,
                       uint8_t *buf, struct error *err)
{
    uint32_t region_size = cs_region_size(r->store);
    struct layer_view *view = NULL;
    struct qcow2_view *restored = NULL;
    int rc = layer_view_open(&view, r->store, layer, index, err);
    if (rc == 0 && image != NULL)
        rc = qcow2_view_open(&restored, image, (uint32_t)index, err);
    for (uint64_t region = 0; rc == 0; region++) {
        bool found = false;
        const struct cs_run *runs = NULL;
        const struct qcow2_entry *entries = NULL;
        size_t count = 0, n = 0;
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
            rc = layer_view_entries(view, region, &entries, &n, err);
            uint64_t first = region * n, clusters = qcow2_view_clusters(restored);
            if (rc == 0 && n > clusters - first)
                n = (size_t)(clusters - first);
            if (rc == 0)
                rc = verify_qcow2_region(image, restored, target, entries, n, first, expected, buf,
                                         err);
        }
        if (rc == 0)
            rc = restore_step(r, target->path, 0, err);
    }
    qcow2_view_close(restored);
    layer_view_close(view);
    return rc;
}

int restore_verify_layer(struct restore *r, const struct record_layer *layer,
                         const struct restore_names *names, const struct target *target,
                         struct error *err)
{
    uint32_t region_size = cs_region_size(r->store);
    struct qcow2_image *image = NULL;
    uint8_t *expected = malloc(region_size), *buf = malloc(region_size);
    int rc = expected == NULL || buf == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && layer->is_qcow2) {
        const struct target *data = names->data_target;
        struct qcow2_open_options options = {
            .force_corrupt = true,
            .data_fd = data != NULL ? data->fd : -1,
            .data_size = layer->qcow2.data_file != NULL ? layer->qcow2.data_file->file.size : 0,
            .data_name = data != NULL ? data->path : NULL,
        };
        rc = qcow2_image_open(&image, target->fd, target->path,
                              (uint64_t)lseek(target->fd, 0, SEEK_END), &options, err);
    }
    for (size_t i = 0; rc == 0 && i < layer->view_count; i++)
        rc = verify_view(r, layer, i, image, target, expected, buf, err);
    qcow2_image_close(image);
    free(expected);
    free(buf);
    return rc;
}

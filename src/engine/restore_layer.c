/* SPDX-License-Identifier: BSD-2-Clause */
/* A layer as it was: raw files with their holes here, qcow2 in restore_qcow2.c. And reading both
 * back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "engine/ahead.h"
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
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (!runs[i].zero && base + runs[i].offset + runs[i].length > layer->virtual_size)
            rc = error_set(err, ERROR_CORRUPT, "%s: its content goes past its end",
                           layer->file.path);
    return rc < 0 ? rc : layer_view_describe(view, scatter, base, err);
}

static int restore_raw(struct restore *r, const struct record_layer *layer,
                       const struct target *target, uint64_t *written, struct error *err)
{
    struct raw raw = {.r = r, .target = target};
    struct scatter_target file = {.fd = target->fd,
                                  .name = target->path,
                                  .direct = true,
                                  .progress = raw_progress,
                                  .arg = &raw};
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

struct verify { /* of one view of a restored layer */
    struct restore *r;
    const struct record_layer *layer;
    const struct target *target;
    struct qcow2_image *image; /* NULL for raw, as the following */
    struct qcow2_view *restored;
    struct layer_view *view;
    size_t per_region;           /* clusters */
    struct qcow2_entry *entries; /* per_region for each slot */
    size_t counts[AHEAD_SLOTS];
    uint8_t *buf; /* a region */
};

static int verify_progress(void *arg, uint64_t bytes, struct error *err)
{
    struct verify *v = arg;
    (void)bytes;
    return restore_step(v->r, v->target->path, 0, err);
}

static int describe(void *arg, uint64_t from, struct scatter *scatter, uint64_t base, size_t slot,
                    uint64_t *region, bool *found, struct error *err)
{
    struct verify *v = arg;
    const struct cs_run *runs = NULL;
    const struct qcow2_entry *entries = NULL;
    size_t count = 0;
    int rc = layer_view_next(v->view, from, region, found, err);
    if (rc < 0 || !*found)
        return rc;
    rc = layer_view_runs(v->view, *region, &runs, &count, err);
    if (rc == 0)
        rc = layer_view_describe(v->view, scatter, base, err);
    if (rc == 0 && v->image != NULL)
        rc = layer_view_entries(v->view, *region, &entries, &v->counts[slot], err);
    if (rc == 0 && entries != NULL)
        memcpy(v->entries + slot * v->per_region, entries, v->counts[slot] * sizeof *entries);
    return rc;
}

static int verify_region(struct verify *v, uint64_t region, size_t slot, const uint8_t *expected,
                         struct error *err)
{
    uint32_t region_size = cs_region_size(v->r->store);
    if (v->image == NULL)
        return verify_raw_region(v->layer, v->target, region * region_size, expected, v->buf,
                                 region_size, err);
    size_t n = v->counts[slot];
    uint64_t first = region * n, clusters = qcow2_view_clusters(v->restored);
    if (n > clusters - first)
        n = (size_t)(clusters - first);
    return verify_qcow2_region(v->image, v->restored, v->target, v->entries + slot * v->per_region,
                               n, first, expected, v->buf, err);
}

static int verify_view(struct verify *v, size_t index, struct error *err)
{
    uint32_t region_size = cs_region_size(v->r->store);
    struct ahead_source source = {.describe = describe, .progress = verify_progress, .arg = v};
    struct ahead *ahead = NULL;
    bool found = true;
    int rc = layer_view_open(&v->view, v->r->store, v->layer, index, err);
    if (rc == 0 && v->image != NULL)
        rc = qcow2_view_open(&v->restored, v->image, (uint32_t)index, err);
    if (rc == 0)
        rc = ahead_new(&ahead, v->r->fetch, region_size, &source, err);
    while (rc == 0 && found) {
        const uint8_t *expected = NULL;
        uint64_t region = 0;
        size_t slot = 0;
        rc = ahead_next(ahead, &region, &expected, &slot, &found, err);
        if (rc == 0 && found)
            rc = verify_region(v, region, slot, expected, err);
        if (rc == 0)
            rc = restore_step(v->r, v->target->path, 0, err);
    }
    ahead_free(ahead);
    qcow2_view_close(v->restored);
    layer_view_close(v->view);
    v->restored = NULL;
    v->view = NULL;
    return rc;
}

static int open_restored(struct verify *v, const struct restore_names *names, struct error *err)
{
    const struct record_layer *layer = v->layer;
    const struct target *data = names->data_target;
    struct qcow2_open_options options = {
        .force_corrupt = true,
        .data_fd = data != NULL ? data->fd : -1,
        .data_size = layer->qcow2.data_file != NULL ? layer->qcow2.data_file->file.size : 0,
        .data_name = data != NULL ? data->path : NULL,
    };
    v->per_region = cs_region_size(v->r->store) >> layer->qcow2.cluster_bits;
    v->entries = calloc(v->per_region * AHEAD_SLOTS, sizeof *v->entries);
    if (v->entries == NULL)
        return error_no_memory(err);
    return qcow2_image_open(&v->image, v->target->fd, v->target->path,
                            (uint64_t)lseek(v->target->fd, 0, SEEK_END), &options, err);
}

int restore_verify_layer(struct restore *r, const struct record_layer *layer,
                         const struct restore_names *names, const struct target *target,
                         struct error *err)
{
    struct verify v = {.r = r, .layer = layer, .target = target};
    v.buf = malloc(cs_region_size(r->store));
    int rc = v.buf == NULL ? error_no_memory(err) : 0;
    if (rc == 0 && layer->is_qcow2)
        rc = open_restored(&v, names, err);
    for (size_t i = 0; rc == 0 && i < layer->view_count; i++)
        rc = verify_view(&v, i, err);
    qcow2_image_close(v.image);
    free(v.entries);
    free(v.buf);
    return rc;
}

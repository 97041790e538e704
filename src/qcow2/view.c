/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One view of a qcow2 file, the active state or an internal snapshot: its L1, a
 * small cache of L2 tables, and the entries in them. Reads no data.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "qcow2/entry.h"
#include "qcow2/image_internal.h"
#include "qcow2/l1.h"

enum { L2_CACHE_BYTES = 256 << 10 };

struct qcow2_view {
    struct qcow2_image *image;
    char *name; /* for messages */
    struct qcow2_l1_place place;
    uint64_t *l1;
    /* Slot i holds the table of one L1 entry with index i modulo the number of slots. NULL until
     * the first table is wanted. */
    uint8_t *cache;
    uint32_t *cache_tag; /* L1 index + 1, or 0 */
    uint32_t cache_slots;
};

/* Finds out what view ${index} is. */
static int describe(struct qcow2_view *view, uint32_t index, struct error *err)
{
    const struct qcow2_image *image = view->image;
    const struct qcow2_header *h = &image->header;
    const struct qcow2_snapshot *s;

    if (index > h->nb_snapshots)
        return error_set(err, ERROR_USAGE, "%s: there is no view %" PRIu32, image->name, index);
    if (index == 0) {
        view->place = (struct qcow2_l1_place){h->l1_offset, h->l1_size, h->size};
        view->name = strdup(image->name);
    } else {
        s = &image->snapshots[index - 1];
        view->place = (struct qcow2_l1_place){s->l1_offset, s->l1_size, s->disk_size};
        if (asprintf(&view->name, "%s: entry %" PRIu32 " of the snapshot table", image->name,
                     index - 1) < 0)
            view->name = NULL;
    }
    return view->name ? 0 : error_no_memory(err);
}

/* Each has its own L1, or a small table of snapshots could stand for terabytes of them. */
static int check_l1_of_all(const struct qcow2_image *image, struct error *err)
{
    if (image->snapshots_l1 <= image->file_size)
        return 0;
    return error_set(err, ERROR_CORRUPT,
                     "%s: the L1 tables of its %" PRIu32 " snapshots would have %" PRIu64
                     " bytes, more than the file",
                     image->name, image->header.nb_snapshots, image->snapshots_l1);
}

int qcow2_view_open(struct qcow2_view **result, struct qcow2_image *image, uint32_t index,
                    struct error *err)
{
    struct qcow2_view *view;
    int rc;

    *result = NULL;
    if (!(view = calloc(1, sizeof *view)))
        return error_no_memory(err);
    view->image = image;
    if ((rc = describe(view, index, err)) < 0)
        goto fail;
    if ((rc = qcow2_l1_check_place(&image->header, &view->place, image->file_size, err)) < 0) {
        error_wrap(err, "%s", view->name);
        goto fail;
    }
    if ((index > 0 && (rc = check_l1_of_all(image, err)) < 0) ||
        (rc = qcow2_l1_read(&view->l1, image->fd, view->name, &image->header, &view->place,
                            image->file_size, err)) < 0)
        goto fail;
    image->metadata_read += (uint64_t)view->place.size * 8;
    *result = view;
    return 0;

fail:
    qcow2_view_close(view);
    return rc;
}

void qcow2_view_close(struct qcow2_view *view)
{
    if (!view)
        return;
    free(view->name);
    free(view->l1);
    free(view->cache);
    free(view->cache_tag);
    free(view);
}

uint32_t qcow2_view_l1_size(const struct qcow2_view *view)
{
    return view->place.size;
}

const uint64_t *qcow2_view_l1(const struct qcow2_view *view)
{
    return view->l1;
}

uint64_t qcow2_view_disk_size(const struct qcow2_view *view)
{
    return view->place.disk_size;
}

uint64_t qcow2_view_clusters(const struct qcow2_view *view)
{
    return (uint64_t)view->place.size << view->image->l2_bits;
}

uint64_t qcow2_view_next_table(const struct qcow2_view *view, uint64_t cluster)
{
    uint64_t index = cluster >> view->image->l2_bits;

    for (uint64_t i = index; i < view->place.size; i++)
        if (view->l1[i] & QCOW2_OFFSET_MASK)
            return i == index ? cluster : i << view->image->l2_bits;
    return qcow2_view_clusters(view);
}

static int make_cache(struct qcow2_view *view, struct error *err)
{
    size_t table = view->image->cluster_size;
    uint32_t slots = table < L2_CACHE_BYTES ? (uint32_t)(L2_CACHE_BYTES / table) : 1;

    if (slots > view->place.size)
        slots = view->place.size;
    view->cache_slots = slots;
    free(view->cache_tag);
    view->cache_tag = calloc(slots, sizeof *view->cache_tag);
    view->cache = malloc(slots * table);
    return view->cache && view->cache_tag ? 0 : error_no_memory(err);
}

/* Sets ${*table} to the L2 table of L1 entry ${index}, which has one; lent until the next call. */
static int get_table(struct qcow2_view *view, uint32_t index, const uint8_t **table,
                     struct error *err)
{
    struct qcow2_image *image = view->image;
    uint64_t offset = view->l1[index] & QCOW2_OFFSET_MASK;
    uint32_t slot;
    uint8_t *p;
    size_t got;
    int rc;

    if (!view->cache && (rc = make_cache(view, err)) < 0)
        return rc;
    slot = index % view->cache_slots;
    *table = p = view->cache + slot * image->cluster_size;
    if (view->cache_tag[slot] == index + 1)
        return 0;
    view->cache_tag[slot] = 0;
    if ((rc = io_read_some(image->fd, view->name, offset, p, image->cluster_size, &got, err)) < 0)
        return rc;
    if (got < qcow2_l1_table_used(&image->header, view->place.disk_size, index))
        return error_set(err, ERROR_CORRUPT, "%s: the L2 table at %" PRIu64 " ends beyond the file",
                         view->name, offset);
    memset(p + got, 0, image->cluster_size - got);
    image->metadata_read += got;
    view->cache_tag[slot] = index + 1;
    return 0;
}

/* Decodes entry ${e} of guest cluster ${cluster} at ${p}, and checks what it points to. */
static int decode_entry(const struct qcow2_image *image, uint64_t cluster, const uint8_t *p,
                        struct qcow2_entry *e, struct error *err)
{
    uint64_t guest = cluster * image->cluster_size;
    int rc;

    if ((rc = qcow2_entry_decode(e, &image->header, p, err)) < 0)
        return rc;
    if (!image_has_host(e))
        return 0;
    if ((rc = image_check_range(image, e, err)) < 0)
        return rc;
    if (image->external && e->host != guest)
        return error_set(err, ERROR_CORRUPT,
                         "host offset %" PRIu64
                         " in the data file is not the guest's, which is %" PRIu64,
                         e->host, guest);
    return 0;
}

/* Decodes ${n} entries of the table of L1 entry ${index}, from the ${first}th on. */
static int decode_table(struct qcow2_view *view, uint32_t index, size_t first, size_t n,
                        struct qcow2_entry *out, struct error *err)
{
    const struct qcow2_image *image = view->image;
    const uint8_t *table;
    int rc;

    if ((rc = get_table(view, index, &table, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        uint64_t cluster = ((uint64_t)index << image->l2_bits) + first + i;
        size_t at = (first + i) * image->entry_size;

        if ((rc = decode_entry(image, cluster, table + at, &out[i], err)) < 0) {
            error_wrap(err, "%s: guest cluster %" PRIu64 ", L2 entry at %" PRIu64, view->name,
                       cluster, (view->l1[index] & QCOW2_OFFSET_MASK) + at);
            return rc;
        }
    }
    return 0;
}

int qcow2_view_entries(struct qcow2_view *view, uint64_t first, size_t n, struct qcow2_entry *out,
                       struct error *err)
{
    uint32_t l2_bits = view->image->l2_bits;
    uint64_t per_table = UINT64_C(1) << l2_bits;
    int rc;

    while (n > 0) {
        uint64_t index = first >> l2_bits;
        uint64_t in_table = first & (per_table - 1);
        size_t step = n;

        if (index >= view->place.size) {
            memset(out, 0, n * sizeof *out);
            return 0;
        }
        if (step > per_table - in_table)
            step = (size_t)(per_table - in_table);
        if (!(view->l1[index] & QCOW2_OFFSET_MASK))
            memset(out, 0, step * sizeof *out);
        else if ((rc = decode_table(view, (uint32_t)index, (size_t)in_table, step, out, err)) < 0)
            return rc;
        out += step;
        first += step;
        n -= step;
    }
    return 0;
}

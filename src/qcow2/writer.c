/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The begin and the end of a written qcow2 file, in any layout: the L1s, the
 * refcounts, the LUKS area, and the order in which all becomes durable. Where
 * things go, the layouts say; what regions hold, writer_region.c writes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

enum { PENDING_MIN_ROOM = 256 << 10 };

int writer_wrong_order(const struct qcow2_writer *w, const char *what, struct error *err)
{
    return error_set(err, ERROR_USAGE, "%s: %s", w->target.name, what);
}

static int make_views(struct qcow2_writer *w, const struct qcow2_writer_options *options,
                      struct error *err)
{
    w->nb_views = options != NULL ? options->views : 1;
    w->views = calloc(w->nb_views, sizeof *w->views);
    if (w->views == NULL)
        return error_no_memory(err);
    for (uint32_t i = 0; i < w->nb_views; i++) {
        struct writer_view *v = &w->views[i];

        v->index = UINT64_MAX;
        v->l1_size = i == 0 ? w->header.l1_size : options->l1_sizes[i];
        v->l1 = calloc(v->l1_size ? v->l1_size : 1, sizeof *v->l1);
        if (v->l1 == NULL)
            return error_no_memory(err);
    }
    return 0;
}

static int allocate(struct qcow2_writer *w, struct error *err)
{
    size_t stream = 2 * w->cluster_size;

    w->pending.room = stream > PENDING_MIN_ROOM ? stream : PENDING_MIN_ROOM;
    w->pending.buf = malloc(w->pending.room);
    w->buffer.buf = malloc(w->cluster_size);
    w->scratch = malloc(w->cluster_size);
    w->stream = malloc(stream);
    if (w->pending.buf == NULL || w->buffer.buf == NULL || w->scratch == NULL || w->stream == NULL)
        return error_no_memory(err);
    return 0;
}

/* A device holds an old image perhaps; half overwritten, it must not be taken for one. */
static int wipe_header(struct qcow2_writer *w, struct error *err)
{
    int rc;

    memset(w->scratch, 0, w->cluster_size);
    if ((rc = writer_write(w, 0, w->scratch, w->cluster_size, err)) < 0)
        return rc;
    return writer_sync(w, err);
}

/* The header's cluster, and the LUKS area, which stays where it was. */
static int take_fixed(struct qcow2_writer *w, struct error *err)
{
    uint64_t n = writer_clusters(w, w->crypto_length);
    int rc;

    if ((rc = hostmap_take(&w->map, 0, 1, HOSTMAP_FIXED, err)) < 0 ||
        (rc = hostmap_take(&w->map, w->crypto_offset >> w->header.cluster_bits, n, HOSTMAP_FIXED,
                           err)) < 0)
        return error_wrap(err, "%s: LUKS header", w->target.name);
    if ((rc = writer_count(w, 0, 1, 1, err)) < 0)
        return rc;
    return n > 0 ? writer_count(w, w->crypto_offset, w->crypto_length, 1, err) : 0;
}

int writer_new(struct qcow2_writer **writer, const struct writer_layout *layout,
               const struct qcow2_target *target, const struct qcow2_header *header,
               const uint8_t *original_header, const struct qcow2_writer_options *options,
               struct error *err)
{
    struct qcow2_writer *w = NULL;
    uint64_t limit;
    int rc;

    *writer = NULL;
    if ((rc = writer_header_check(layout, header, options, target->name, err)) < 0)
        return rc;
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_no_memory(err);
    w->layout = layout;
    w->target = *target;
    if (w->target.data_name == NULL)
        w->target.data_name = target->name;
    w->cluster_size = (size_t)1 << header->cluster_bits;
    w->table_entries = UINT64_C(1) << qcow2_entry_l2_bits(header);
    w->extended = header->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
    w->external = header->incompatible & QCOW2_INCOMPAT_DATA_FILE;
    w->data_size = options != NULL ? options->data_size : header->size;
    if (options != NULL) {
        w->crypto_offset = options->crypto_offset;
        w->crypto_length = options->crypto_length;
    }
    spans_init(&w->streams);
    refcounts_init(&w->counts, header->refcount_order, header->cluster_bits);
    limit = (QCOW2_OFFSET_MASK >> header->cluster_bits) + 1;
    if (limit > refcounts_limit(&w->counts))
        limit = refcounts_limit(&w->counts);
    hostmap_init(&w->map, limit);

    if (w->external && target->fd >= 0 && target->data_fd < 0) {
        rc = error_set(err, ERROR_USAGE, "%s: its external data file is missing", target->name);
        goto out;
    }
    if ((rc = writer_header_copy(w, header, original_header, options, err)) < 0 ||
        (rc = make_views(w, options, err)) < 0 || (rc = allocate(w, err)) < 0 ||
        (rc = writer_header_encode(w, err)) < 0 || (rc = take_fixed(w, err)) < 0)
        goto out;
    if (target->is_device && (rc = wipe_header(w, err)) < 0)
        goto out;
    *writer = w;
    w = NULL;
out:
    qcow2_writer_free(w);
    return rc;
}

void qcow2_writer_free(struct qcow2_writer *w)
{
    if (w == NULL)
        return;
    qcow2_header_clear(&w->header);
    hostmap_clear(&w->map);
    refcounts_clear(&w->counts);
    spans_clear(&w->streams);
    writer_streams_clear(w);
    writer_tables_clear(w);
    writer_bitmaps_clear(w);
    free(w->original);
    free(w->scratch);
    free(w);
}

static uint64_t l1_clusters(const struct qcow2_writer *w, const struct writer_view *v)
{
    return writer_clusters(w, (uint64_t)v->l1_size * sizeof(uint64_t));
}

int writer_place_l1s(struct qcow2_writer *w, struct error *err)
{
    int rc;

    for (uint32_t i = 0; i < w->nb_views; i++) {
        struct writer_view *v = &w->views[i];
        uint64_t n = l1_clusters(w, v);

        if (n > 0 && (rc = writer_place_metadata(w, n, &v->l1_offset, err)) < 0)
            return error_wrap(err, "L1 table of view %" PRIu32, i);
    }
    w->header.l1_offset = w->views[0].l1_offset;
    return 0;
}

/* Only in the active L1 does COPIED mean anything. */
static uint64_t l1_entry(const struct qcow2_writer *w, uint32_t view, uint64_t index)
{
    uint32_t id = w->views[view].l1[index];
    const struct writer_table *table = NULL;

    if (id == 0)
        return 0;
    table = &w->tables[id - 1];
    return (uint64_t)table->cluster << w->header.cluster_bits |
           (view == 0 && table->views == 1 ? QCOW2_COPIED : 0);
}

static int write_l1(struct qcow2_writer *w, uint32_t view, struct error *err)
{
    const struct writer_view *v = &w->views[view];
    size_t n = w->cluster_size / sizeof(uint64_t);
    int rc;

    for (uint64_t i = 0; i < l1_clusters(w, v); i++) {
        memset(w->scratch, 0, w->cluster_size);
        for (size_t j = 0; j < n && i * n + j < v->l1_size; j++)
            be64_put(w->scratch + j * sizeof(uint64_t), l1_entry(w, view, i * n + j));
        rc = writer_write(w, v->l1_offset + i * w->cluster_size, w->scratch, w->cluster_size, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_l1s(struct qcow2_writer *w, struct error *err)
{
    int rc;

    for (uint32_t i = 0; i < w->nb_views; i++)
        if ((rc = write_l1(w, i, err)) < 0)
            return rc;
    return 0;
}

static int write_refcounts(struct qcow2_writer *w, struct error *err)
{
    struct refcounts *counts = &w->counts;
    int rc;

    if ((rc = refcounts_place(counts, &w->map, err)) < 0)
        return error_wrap(err, "%s: refcounts", w->target.name);
    for (uint64_t i = 0; i < counts->nb_blocks; i++) {
        if (counts->blocks[i] == 0)
            continue;
        refcounts_encode_block(counts, i, w->scratch);
        if ((rc = writer_write(w, counts->blocks[i], w->scratch, w->cluster_size, err)) < 0)
            return rc;
    }
    for (uint32_t i = 0; i < counts->table_clusters; i++) {
        refcounts_encode_table(counts, i, w->scratch);
        rc = writer_write(w, counts->table_offset + (uint64_t)i * w->cluster_size, w->scratch,
                          w->cluster_size, err);
        if (rc < 0)
            return rc;
    }
    w->header.refcount_table_offset = counts->table_offset;
    w->header.refcount_table_clusters = counts->table_clusters;
    return 0;
}

int qcow2_writer_crypto(struct qcow2_writer *w, const uint8_t *bytes, size_t len, struct error *err)
{
    int rc;

    if (len == 0 || len != w->crypto_length)
        return error_set(err, ERROR_USAGE, "%s: %zu bytes for a LUKS header of %" PRIu64 " bytes",
                         w->target.name, len, w->crypto_length);
    if ((rc = writer_write(w, w->crypto_offset, bytes, len, err)) < 0)
        return rc;
    w->crypto_written = true;
    return 0;
}

static int check_complete(struct qcow2_writer *w, struct error *err)
{
    int rc;

    if (w->layout->complete != NULL && (rc = w->layout->complete(w, err)) < 0)
        return rc;
    if (w->crypto_length > 0 && !w->crypto_written)
        return writer_wrong_order(w, "the LUKS header was not written", err);
    if (w->nb_views > 1 && !w->snapshots_written)
        return writer_wrong_order(w, "the snapshot table was not written", err);
    return 0;
}

int qcow2_writer_finish(struct qcow2_writer *w, struct qcow2_writer_report *report,
                        struct error *err)
{
    int rc;

    if ((rc = check_complete(w, err)) < 0 || (rc = writer_stream_flush(w, err)) < 0 ||
        (rc = writer_table_flush(w, err)) < 0 || (rc = write_l1s(w, err)) < 0 ||
        (rc = writer_bitmaps_finish(w, err)) < 0 || (rc = write_refcounts(w, err)) < 0 ||
        (rc = writer_set_sizes(w, err)) < 0 || (rc = writer_sync(w, err)) < 0)
        return rc;
    if ((rc = writer_header_encode(w, err)) < 0 ||
        (rc = writer_write(w, 0, w->scratch, w->cluster_size, err)) < 0 ||
        (rc = writer_sync(w, err)) < 0)
        return rc;
    if (report != NULL)
        *report = w->report;
    return 0;
}

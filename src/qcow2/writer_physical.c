/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical layout: every uncompressed cluster and, where it fits, every
 * compressed stream at its old host offset; metadata in the gaps between them.
 * Views share clusters, and so may two guest clusters of one view (an image can
 * be damaged so): a cluster is written for the first of them, and counted for
 * each. A stream that would share bytes with another one moves.
 */
#include <inttypes.h>

#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

/* In an external data file every cluster lies where the guest sees it. */
static bool external_place(const struct qcow2_writer *w, uint64_t cluster,
                           const struct qcow2_entry *entry)
{
    return entry->class != QCOW2_COMPRESSED &&
           (entry->class == QCOW2_ZERO || entry->host == cluster << w->header.cluster_bits) &&
           (entry->class != QCOW2_DATA || entry->host < w->data_size);
}

static bool over_crypto(const struct qcow2_writer *w, uint64_t host)
{
    return w->crypto_length > 0 && host >= w->crypto_offset &&
           host - w->crypto_offset < w->crypto_length;
}

/* Offsets come from an archive, and are believed only where a qcow2 file can have them. */
static int check_place(const struct qcow2_writer *w, uint64_t cluster,
                       const struct qcow2_entry *entry, struct error *err)
{
    uint64_t limit = qcow2_entry_compressed_limit(&w->header);
    bool possible = true;

    if (w->external)
        possible = external_place(w, cluster, entry);
    else if (entry->class == QCOW2_COMPRESSED)
        possible = entry->length > 0 && entry->length <= 2 * w->cluster_size &&
                   entry->host < limit && entry->length <= limit - entry->host;
    else if (entry->class != QCOW2_ZERO)
        possible = entry->host > 0 && entry->host <= QCOW2_OFFSET_MASK &&
                   entry->host % w->cluster_size == 0 && !over_crypto(w, entry->host);
    if (!possible)
        return error_set(err, ERROR_CORRUPT,
                         "%s: guest cluster %" PRIu64 ": host offset %" PRIu64
                         " and length %" PRIu32 " are impossible",
                         w->target.name, cluster, entry->host, entry->length);
    return 0;
}

static int admit(struct qcow2_writer *w, uint32_t view, uint64_t cluster,
                 const struct qcow2_entry *entry, struct error *err)
{
    struct writer_view *v = &w->views[view];
    int rc;

    if (!w->placed || v->announced == 0 || v->l1[cluster / w->table_entries] == 0)
        return writer_wrong_order(w, "a region was not reserved", err);
    v->announced--;
    if ((rc = check_place(w, cluster, entry, err)) < 0)
        return rc;
    return writer_table_pass(w, view, cluster, entry, err);
}

static int place_cluster(struct qcow2_writer *w, const struct qcow2_entry *entry, uint64_t *host,
                         struct error *err)
{
    if (!w->external &&
        hostmap_use(&w->map, entry->host >> w->header.cluster_bits) != HOSTMAP_FIXED)
        return writer_wrong_order(w, "a cluster was not reserved", err);
    *host = entry->host;
    return 0;
}

static int complete(struct qcow2_writer *w, struct error *err)
{
    int rc;

    for (uint32_t i = 0; i < w->nb_views; i++) {
        if (!w->placed || w->views[i].announced > 0)
            return writer_wrong_order(w, "not every reserved cluster was written", err);
        if ((rc = writer_table_end(w, i, err)) < 0)
            return rc;
    }
    return 0;
}

static const struct writer_layout physical = {
    .admit = admit,
    .cluster = place_cluster,
    .complete = complete,
    .old_places = true,
};

int qcow2_writer_begin_physical(struct qcow2_writer **writer, const struct qcow2_target *target,
                                const struct qcow2_header *header, const uint8_t *original_header,
                                const struct qcow2_writer_options *options, struct error *err)
{
    return writer_new(writer, &physical, target, header, original_header, options, err);
}

/* A stream shares its clusters with others, so only the bytes tell whether two collide. */
static int reserve_stream(struct qcow2_writer *w, struct writer_view *v,
                          const struct qcow2_entry *entry, struct error *err)
{
    uint32_t bits = w->header.cluster_bits;
    uint64_t first = entry->host >> bits;
    uint64_t last = (entry->host + entry->length - 1) >> bits;
    int rc;

    if ((rc = hostmap_take(&w->map, first, last - first + 1, HOSTMAP_STREAMS, err)) < 0)
        return rc;
    return span_list_add(&v->streams, entry->host, entry->host + entry->length, err);
}

static int reserve_cluster(struct qcow2_writer *w, const struct qcow2_entry *entry,
                           struct error *err)
{
    uint64_t cluster = entry->host >> w->header.cluster_bits;
    int rc;

    if (w->external)
        return 0;
    if ((rc = hostmap_take(&w->map, cluster, 1, HOSTMAP_FIXED, err)) < 0)
        return rc;
    return refcounts_add(&w->counts, cluster, 1, err);
}

int qcow2_writer_reserve(struct qcow2_writer *w, uint32_t view, uint64_t first,
                         const struct qcow2_entry *entries, size_t n, struct error *err)
{
    int rc;

    if (w->layout != &physical || w->placed)
        return writer_wrong_order(w, "reserve does not come in its order", err);
    if ((rc = writer_check_order(w, view, first, n, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const struct qcow2_entry *entry = &entries[i];

        if (entry->class == QCOW2_UNALLOCATED)
            continue;
        if ((rc = writer_check_entry(w, view, first + i, entry, err)) < 0 ||
            (rc = check_place(w, first + i, entry, err)) < 0 ||
            (rc = writer_table_pass(w, view, first + i, entry, err)) < 0)
            return rc;
        w->views[view].announced++;
        if (entry->class == QCOW2_COMPRESSED)
            rc = reserve_stream(w, &w->views[view], entry, err);
        else if (entry->class != QCOW2_ZERO)
            rc = reserve_cluster(w, entry, err);
        if (rc < 0)
            return error_wrap(err, "%s: guest cluster %" PRIu64 " at host offset %" PRIu64,
                              w->target.name, first + i, entry->host);
    }
    w->views[view].next_cluster = first + n;
    return 0;
}

int qcow2_writer_place(struct qcow2_writer *w, struct error *err)
{
    int rc;

    if (w->layout != &physical || w->placed)
        return writer_wrong_order(w, "place does not come in its order", err);
    for (uint32_t i = 0; i < w->nb_views; i++) {
        if ((rc = writer_table_end(w, i, err)) < 0)
            return rc;
        w->views[i].next_cluster = 0;
    }
    if ((rc = spans_settle(&w->streams, err)) < 0 || (rc = writer_place_l1s(w, err)) < 0)
        return rc;
    /* In the order in which views and guests have them, to make the file the same every time. */
    for (uint32_t i = 0; i < w->nb_views; i++)
        for (uint64_t j = 0; j < w->views[i].l1_size; j++) {
            uint32_t id = w->views[i].l1[j];

            if (id != 0 && w->tables[id - 1].cluster == 0 &&
                (rc = writer_table_place(w, id, err)) < 0)
                return rc;
        }
    w->placed = true;
    return writer_check_space(w, err);
}

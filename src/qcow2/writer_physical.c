/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical layout: every uncompressed cluster and, where it fits, every
 * compressed stream at its old host offset; metadata in the gaps between them.
 * Two guest clusters may name one host cluster (an image can be damaged so): it
 * is written for both, and counted twice. A stream that would share bytes with
 * anything else moves, as its guest cluster alone says what it holds.
 */
#include <inttypes.h>

#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

static int wrong_order(const struct qcow2_writer *w, const char *what, struct error *err)
{
    return error_set(err, ERROR_USAGE, "%s: %s", w->target.name, what);
}

/* Offsets come from an archive, and are believed only where a qcow2 file can have them. */
static int check_place(const struct qcow2_writer *w, uint64_t cluster,
                       const struct qcow2_entry *entry, struct error *err)
{
    uint64_t limit = qcow2_entry_compressed_limit(&w->header);
    bool possible = true;

    if (entry->class == QCOW2_COMPRESSED)
        possible = entry->length > 0 && entry->length <= 2 * w->cluster_size &&
                   entry->host < limit && entry->length <= limit - entry->host;
    else if (entry->class != QCOW2_ZERO)
        possible = entry->host > 0 && entry->host <= QCOW2_OFFSET_MASK &&
                   entry->host % w->cluster_size == 0;
    if (!possible)
        return error_set(err, ERROR_CORRUPT,
                         "%s: guest cluster %" PRIu64 ": host offset %" PRIu64
                         " and length %" PRIu32 " are impossible",
                         w->target.name, cluster, entry->host, entry->length);
    return 0;
}

static int admit(struct qcow2_writer *w, uint64_t cluster, const struct qcow2_entry *entry,
                 struct error *err)
{
    if (!w->placed || w->announced == 0 || w->l1[cluster / w->table_entries] == 0)
        return wrong_order(w, "a region was not reserved", err);
    w->announced--;
    return check_place(w, cluster, entry, err);
}

static int place_cluster(struct qcow2_writer *w, const struct qcow2_entry *entry, uint64_t *host,
                         struct error *err)
{
    if (hostmap_use(&w->map, entry->host >> w->header.cluster_bits) != HOSTMAP_FIXED)
        return wrong_order(w, "a cluster was not reserved", err);
    *host = entry->host;
    return 0;
}

static bool stream_stays(const struct qcow2_writer *w, const struct qcow2_entry *entry,
                         uint32_t len)
{
    uint32_t bits = w->header.cluster_bits;

    if (len > entry->length || spans_contested(&w->streams, entry->host, len))
        return false;
    for (uint64_t c = entry->host >> bits; c <= (entry->host + len - 1) >> bits; c++)
        if (hostmap_use(&w->map, c) != HOSTMAP_STREAMS)
            return false;
    return writer_countable(w, entry->host, len);
}

static int complete(const struct qcow2_writer *w, struct error *err)
{
    if (!w->placed || w->announced > 0)
        return wrong_order(w, "not every reserved cluster was written", err);
    return 0;
}

static const struct writer_layout physical = {
    .admit = admit,
    .cluster = place_cluster,
    .stream_stays = stream_stays,
    .complete = complete,
};

int qcow2_writer_begin_physical(struct qcow2_writer **writer, const struct qcow2_target *target,
                                const struct qcow2_header *header, const uint8_t *original_header,
                                struct error *err)
{
    return writer_new(writer, &physical, target, header, original_header, err);
}

/* A stream shares its clusters with others, so only the bytes tell whether two collide. */
static int reserve_stream(struct qcow2_writer *w, const struct qcow2_entry *entry,
                          struct error *err)
{
    uint32_t bits = w->header.cluster_bits;
    uint64_t first = entry->host >> bits;
    uint64_t last = (entry->host + entry->length - 1) >> bits;
    int rc;

    if ((rc = hostmap_take(&w->map, first, last - first + 1, HOSTMAP_STREAMS, err)) < 0)
        return rc;
    return spans_claim(&w->streams, entry->host, entry->length, err);
}

static int reserve_cluster(struct qcow2_writer *w, const struct qcow2_entry *entry,
                           struct error *err)
{
    uint64_t cluster = entry->host >> w->header.cluster_bits;
    int rc;

    if ((rc = hostmap_take(&w->map, cluster, 1, HOSTMAP_FIXED, err)) < 0)
        return rc;
    return refcounts_add(&w->counts, cluster, err);
}

int qcow2_writer_reserve(struct qcow2_writer *w, uint64_t first, const struct qcow2_entry *entries,
                         size_t n, struct error *err)
{
    int rc;

    if (w->layout != &physical || w->placed)
        return wrong_order(w, "reserve does not come in its order", err);
    if ((rc = writer_check_order(w, first, n, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        const struct qcow2_entry *entry = &entries[i];

        if (entry->class == QCOW2_UNALLOCATED)
            continue;
        if ((rc = writer_check_entry(w, first + i, entry, err)) < 0 ||
            (rc = check_place(w, first + i, entry, err)) < 0)
            return rc;
        w->l1[(first + i) / w->table_entries] = WRITER_TABLE_NEEDED;
        w->announced++;
        if (entry->class == QCOW2_COMPRESSED)
            rc = reserve_stream(w, entry, err);
        else if (entry->class != QCOW2_ZERO)
            rc = reserve_cluster(w, entry, err);
        if (rc < 0)
            return error_wrap(err, "%s: guest cluster %" PRIu64 " at host offset %" PRIu64,
                              w->target.name, first + i, entry->host);
    }
    w->next_cluster = first + n;
    return 0;
}

int qcow2_writer_place(struct qcow2_writer *w, struct error *err)
{
    int rc;

    if (w->layout != &physical || w->placed)
        return wrong_order(w, "place does not come in its order", err);
    if ((rc = spans_settle(&w->streams, err)) < 0 || (rc = writer_place_l1(w, err)) < 0)
        return rc;
    for (uint64_t i = 0; i < w->header.l1_size; i++)
        if (w->l1[i] == WRITER_TABLE_NEEDED && (rc = writer_place_table(w, i, err)) < 0)
            return rc;
    w->placed = true;
    w->next_cluster = 0;
    return writer_check_space(w, err);
}

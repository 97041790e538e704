/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The begin and the end of a written qcow2 file, in any layout: the header,
 * the L1, the refcounts, and the order in which they become durable. Where
 * things go, the layouts say; what regions hold, writer_region.c writes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/be.h"
#include "base/io.h"
#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

enum {
    MAX_L1_SIZE = (32 << 20) / 8, /* entries; the most that QEMU opens */
    MAX_REFCOUNT_ORDER = 6,
    PENDING_MIN_ROOM = 256 << 10,
};

/* What a header may ask for that this version does not write. */
static int refuse_unsupported(const struct qcow2_header *header, const char *name,
                              struct error *err)
{
    const char *feature = NULL;

    if (header->crypt_method != 0)
        feature = "encryption";
    else if (header->nb_snapshots != 0)
        feature = "internal snapshots";
    else if (header->incompatible & QCOW2_INCOMPAT_DATA_FILE)
        feature = "an external data file";
    else if (header->incompatible & QCOW2_INCOMPAT_EXTENDED_L2)
        feature = "extended L2 entries";
    for (uint32_t i = 0; i < header->nb_extensions; i++)
        if (header->extensions[i].type == QCOW2_EXT_BITMAPS)
            feature = "bitmaps";
    if (feature != NULL)
        return error_set(err, ERROR_UNSUPPORTED, "%s: cannot write a qcow2 file with %s", name,
                         feature);
    return 0;
}

/* What the rest of the writer computes with; the header's encoder checks the other fields. */
static int check_header(const struct qcow2_header *header, const char *name, struct error *err)
{
    uint64_t table_bytes, needed;

    if (header->cluster_bits < QCOW2_MIN_CLUSTER_BITS ||
        header->cluster_bits > QCOW2_MAX_CLUSTER_BITS ||
        header->refcount_order > MAX_REFCOUNT_ORDER)
        return error_set(err, ERROR_CORRUPT,
                         "%s: cannot write clusters of %" PRIu32
                         " bits and refcount order %" PRIu32,
                         name, header->cluster_bits, header->refcount_order);
    table_bytes = UINT64_C(1) << (header->cluster_bits + qcow2_entry_l2_bits(header));
    needed = header->size / table_bytes + (header->size % table_bytes != 0);
    if (header->l1_size > MAX_L1_SIZE || header->l1_size < needed)
        return error_set(err, ERROR_CORRUPT,
                         "%s: cannot write a disk of %" PRIu64 " bytes with an L1 of %" PRIu32
                         " entries",
                         name, header->size, header->l1_size);
    return 0;
}

/* Takes over ${header}, with no more than what will be true of the new file. */
static int copy_header(struct qcow2_writer *w, const struct qcow2_header *header,
                       const uint8_t *original, struct error *err)
{
    struct qcow2_header *h = &w->header;
    size_t n = header->nb_extensions;

    *h = *header;
    h->extensions = NULL;
    h->nb_extensions = 0;
    h->l1_offset = 0;
    h->refcount_table_offset = 0;
    h->refcount_table_clusters = 0;
    h->snapshots_offset = 0;
    h->backing_offset = 0;
    h->backing_length = 0;
    h->incompatible &= ~(uint64_t)QCOW2_INCOMPAT_DIRTY;
    h->autoclear = 0;
    if (original == NULL)
        return 0;
    w->original_header = malloc(w->cluster_size);
    if (w->original_header == NULL)
        return error_no_memory(err);
    memcpy(w->original_header, original, w->cluster_size);
    if (n > 0) {
        h->extensions = reallocarray(NULL, n, sizeof *h->extensions);
        if (h->extensions == NULL)
            return error_no_memory(err);
        memcpy(h->extensions, header->extensions, n * sizeof *h->extensions);
        h->nb_extensions = header->nb_extensions;
    }
    return 0;
}

static int allocate(struct qcow2_writer *w, struct error *err)
{
    w->pending.room = w->cluster_size > PENDING_MIN_ROOM ? w->cluster_size : PENDING_MIN_ROOM;
    w->pending.buf = malloc(w->pending.room);
    w->table = malloc(w->cluster_size);
    w->stream = malloc(w->cluster_size);
    w->l1 = calloc(w->header.l1_size ? w->header.l1_size : 1, sizeof *w->l1);
    if (w->pending.buf == NULL || w->table == NULL || w->stream == NULL || w->l1 == NULL)
        return error_no_memory(err);
    return 0;
}

/* Encodes the header as far as it is known, into w->table: whether it fits does not depend on
 * what is still missing. */
static int try_header(struct qcow2_writer *w, struct error *err)
{
    int rc = qcow2_header_encode(w->table, w->cluster_size, &w->header, w->original_header, err);

    return rc < 0 ? error_wrap(err, "%s", w->target.name) : 0;
}

static int sync_target(struct qcow2_writer *w, struct error *err)
{
    if (fsync(w->target.fd) < 0)
        return error_sys(err, errno, "%s: cannot sync", w->target.name);
    return 0;
}

/* A device holds an old image perhaps; half overwritten, it must not be taken for one. */
static int wipe_header(struct qcow2_writer *w, struct error *err)
{
    int rc;

    memset(w->table, 0, w->cluster_size);
    if ((rc = writer_write(w, 0, w->table, w->cluster_size, err)) < 0)
        return rc;
    return sync_target(w, err);
}

int writer_new(struct qcow2_writer **writer, const struct writer_layout *layout,
               const struct qcow2_target *target, const struct qcow2_header *header,
               const uint8_t *original_header, struct error *err)
{
    struct qcow2_writer *w = NULL;
    uint64_t limit;
    int rc;

    *writer = NULL;
    if ((rc = refuse_unsupported(header, target->name, err)) < 0 ||
        (rc = check_header(header, target->name, err)) < 0)
        return rc;
    w = calloc(1, sizeof *w);
    if (w == NULL)
        return error_no_memory(err);
    w->layout = layout;
    w->target = *target;
    w->cluster_size = (size_t)1 << header->cluster_bits;
    w->table_entries = UINT64_C(1) << qcow2_entry_l2_bits(header);
    w->table_index = UINT64_MAX;
    spans_init(&w->streams);
    refcounts_init(&w->counts, header->refcount_order, header->cluster_bits);
    limit = (QCOW2_OFFSET_MASK >> header->cluster_bits) + 1;
    if (limit > refcounts_limit(&w->counts))
        limit = refcounts_limit(&w->counts);
    hostmap_init(&w->map, limit);

    if ((rc = copy_header(w, header, original_header, err)) < 0 || (rc = allocate(w, err)) < 0 ||
        (rc = try_header(w, err)) < 0 ||
        (rc = hostmap_take(&w->map, 0, 1, HOSTMAP_FIXED, err)) < 0 ||
        (rc = refcounts_add(&w->counts, 0, err)) < 0)
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
    qcow2_codec_free(w->codec);
    qcow2_header_clear(&w->header);
    hostmap_clear(&w->map);
    refcounts_clear(&w->counts);
    spans_clear(&w->streams);
    free(w->original_header);
    free(w->pending.buf);
    free(w->stream);
    free(w->table);
    free(w->l1);
    free(w);
}

static uint64_t l1_clusters(const struct qcow2_writer *w)
{
    uint64_t bytes = (uint64_t)w->header.l1_size * sizeof(uint64_t);

    return (bytes + w->cluster_size - 1) / w->cluster_size;
}

int writer_place_l1(struct qcow2_writer *w, struct error *err)
{
    uint64_t n = l1_clusters(w);
    uint64_t first;
    int rc;

    if (n == 0)
        return 0;
    if ((rc = hostmap_fill(&w->map, n, &first, err)) < 0)
        return error_wrap(err, "%s: L1 table", w->target.name);
    w->header.l1_offset = first << w->header.cluster_bits;
    return writer_count(w, w->header.l1_offset, n << w->header.cluster_bits, err);
}

int writer_place_table(struct qcow2_writer *w, uint64_t index, struct error *err)
{
    uint64_t cluster;
    int rc;

    if ((rc = hostmap_fill(&w->map, 1, &cluster, err)) < 0)
        return error_wrap(err, "%s: L2 table %" PRIu64, w->target.name, index);
    w->l1[index] = cluster << w->header.cluster_bits;
    return writer_count(w, w->l1[index], w->cluster_size, err);
}

int writer_append_cluster(struct qcow2_writer *w, uint64_t *host, struct error *err)
{
    uint64_t cluster;
    int rc;

    if ((rc = hostmap_append(&w->map, 1, HOSTMAP_FIXED, &cluster, err)) < 0)
        return error_wrap(err, "%s", w->target.name);
    *host = cluster << w->header.cluster_bits;
    return writer_count(w, *host, w->cluster_size, err);
}

int writer_count(struct qcow2_writer *w, uint64_t host, uint64_t len, struct error *err)
{
    int rc;

    for (uint64_t c = host >> w->header.cluster_bits;
         c <= (host + len - 1) >> w->header.cluster_bits; c++)
        if ((rc = refcounts_add(&w->counts, c, err)) < 0)
            return error_wrap(err, "%s", w->target.name);
    return 0;
}

bool writer_countable(const struct qcow2_writer *w, uint64_t host, uint64_t len)
{
    for (uint64_t c = host >> w->header.cluster_bits;
         c <= (host + len - 1) >> w->header.cluster_bits; c++)
        if (refcounts_get(&w->counts, c) >= w->counts.max)
            return false;
    return true;
}

int writer_write(struct qcow2_writer *w, uint64_t offset, const void *buf, size_t len,
                 struct error *err)
{
    int rc = io_write(w->target.fd, w->target.name, offset, buf, len, err);

    if (rc == 0)
        w->report.bytes_written += len;
    return rc;
}

static int write_l1(struct qcow2_writer *w, struct error *err)
{
    size_t cluster_entries = w->cluster_size / sizeof(uint64_t);
    int rc;

    for (uint64_t i = 0; i < l1_clusters(w); i++) {
        memset(w->table, 0, w->cluster_size);
        for (size_t j = 0; j < cluster_entries && i * cluster_entries + j < w->header.l1_size;
             j++) {
            uint64_t table = w->l1[i * cluster_entries + j];

            if (table != 0)
                be64_put(w->table + j * sizeof(uint64_t), table | QCOW2_COPIED);
        }
        rc = writer_write(w, w->header.l1_offset + i * w->cluster_size, w->table, w->cluster_size,
                          err);
        if (rc < 0)
            return rc;
    }
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
        refcounts_encode_block(counts, i, w->table);
        if ((rc = writer_write(w, counts->blocks[i], w->table, w->cluster_size, err)) < 0)
            return rc;
    }
    for (uint32_t i = 0; i < counts->table_clusters; i++) {
        refcounts_encode_table(counts, i, w->table);
        rc = writer_write(w, counts->table_offset + (uint64_t)i * w->cluster_size, w->table,
                          w->cluster_size, err);
        if (rc < 0)
            return rc;
    }
    w->header.refcount_table_offset = counts->table_offset;
    w->header.refcount_table_clusters = counts->table_clusters;
    return 0;
}

int writer_check_space(const struct qcow2_writer *w, struct error *err)
{
    uint64_t need = w->map.end << w->header.cluster_bits;
    off_t have;

    if (!w->target.is_device)
        return 0;
    have = lseek(w->target.fd, 0, SEEK_END);
    if (have < 0)
        return error_sys(err, errno, "%s: cannot find its size", w->target.name);
    if ((uint64_t)have < need)
        return error_set(err, ERROR_NO_SPACE,
                         "%s: %" PRIu64 " bytes are needed, but it has only %" PRIu64,
                         w->target.name, need, (uint64_t)have);
    return 0;
}

/* Gives the file its length: a hole may be its last cluster. */
static int set_file_size(struct qcow2_writer *w, struct error *err)
{
    int rc;

    if ((rc = writer_check_space(w, err)) < 0)
        return rc;
    w->report.file_size = w->map.end << w->header.cluster_bits;
    if (!w->target.is_device && ftruncate(w->target.fd, (off_t)w->report.file_size) < 0)
        return error_sys(err, errno, "%s: cannot extend to %" PRIu64 " bytes", w->target.name,
                         w->report.file_size);
    return 0;
}

int qcow2_writer_finish(struct qcow2_writer *w, struct qcow2_writer_report *report,
                        struct error *err)
{
    int rc;

    if (w->layout->complete != NULL && (rc = w->layout->complete(w, err)) < 0)
        return rc;
    if ((rc = writer_flush_regions(w, err)) < 0 || (rc = write_l1(w, err)) < 0 ||
        (rc = write_refcounts(w, err)) < 0 || (rc = set_file_size(w, err)) < 0 ||
        (rc = sync_target(w, err)) < 0)
        return rc;
    if ((rc = try_header(w, err)) < 0 ||
        (rc = writer_write(w, 0, w->table, w->cluster_size, err)) < 0 ||
        (rc = sync_target(w, err)) < 0)
        return rc;
    if (report != NULL)
        *report = w->report;
    return 0;
}

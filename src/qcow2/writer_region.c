/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Regions as they come: L2 entries into the table being filled, data to its
 * clusters with holes for zeros, compressed clusters through the codec. Every
 * reference is counted before its entry is made, so that COPIED is right.
 */
#include <inttypes.h>
#include <string.h>

#include "base/io.h"
#include "qcow2/entry.h"
#include "qcow2/writer_internal.h"

enum { HOLE_SIZE = 4096 }; /* bytes; what file systems can leave out, at a multiple of it */

/* Data clusters that lie together in memory and on the host. */
struct run {
    uint64_t host;
    const uint8_t *data;
    size_t len;
};

int writer_check_order(const struct qcow2_writer *w, uint64_t first, size_t n, struct error *err)
{
    if (first < w->next_cluster || n > UINT64_MAX - first)
        return error_set(err, ERROR_USAGE,
                         "%s: %zu clusters from %" PRIu64 " on come behind cluster %" PRIu64,
                         w->target.name, n, first, w->next_cluster);
    return 0;
}

int writer_check_entry(const struct qcow2_writer *w, uint64_t cluster,
                       const struct qcow2_entry *entry, struct error *err)
{
    if (cluster / w->table_entries >= w->header.l1_size)
        return error_set(err, ERROR_CORRUPT,
                         "%s: guest cluster %" PRIu64 " is beyond the L1 table of %" PRIu32
                         " entries",
                         w->target.name, cluster, w->header.l1_size);
    switch (entry->class) {
    case QCOW2_ZERO:
    case QCOW2_ZERO_ALLOC:
        if (w->header.version >= 3)
            return 0;
        return error_set(err, ERROR_CORRUPT,
                         "%s: guest cluster %" PRIu64
                         " is a zero cluster, which version 2 does not have",
                         w->target.name, cluster);
    case QCOW2_DATA:
    case QCOW2_COMPRESSED:
        return 0;
    case QCOW2_UNALLOCATED:
        break;
    }
    return error_set(err, ERROR_CORRUPT, "%s: guest cluster %" PRIu64 " has unknown class %d",
                     w->target.name, cluster, (int)entry->class);
}

static int flush_table(struct qcow2_writer *w, struct error *err)
{
    uint64_t index = w->table_index;

    if (index == UINT64_MAX)
        return 0;
    w->table_index = UINT64_MAX;
    return writer_write(w, w->l1[index], w->table, w->cluster_size, err);
}

static int put_entry(struct qcow2_writer *w, uint64_t cluster, const struct qcow2_entry *entry,
                     struct error *err)
{
    uint64_t index = cluster / w->table_entries;
    bool copied = refcounts_get(&w->counts, entry->host >> w->header.cluster_bits) == 1;
    int rc;

    if (index != w->table_index) {
        if ((rc = flush_table(w, err)) < 0)
            return rc;
        memset(w->table, 0, w->cluster_size);
        w->table_index = index;
    }
    rc = qcow2_entry_encode(w->table + cluster % w->table_entries * qcow2_entry_size(&w->header),
                            &w->header, entry, copied, err);
    return rc < 0 ? error_wrap(err, "%s: guest cluster %" PRIu64, w->target.name, cluster) : 0;
}

/* A device may hold anything, so it gets the zeros, too. */
static int write_data(struct qcow2_writer *w, uint64_t host, const uint8_t *data, size_t len,
                      struct error *err)
{
    size_t start = 0, at = 0; /* what is in between is not written yet */
    int rc;

    while (at < len && !w->target.is_device) {
        size_t n = HOLE_SIZE - (host + at) % HOLE_SIZE;

        if (n == HOLE_SIZE && len - at >= n && io_is_zero(data + at, n)) {
            if (at > start &&
                (rc = writer_write(w, host + start, data + start, at - start, err)) < 0)
                return rc;
            start = at + n;
        }
        at += n;
    }
    return len > start ? writer_write(w, host + start, data + start, len - start, err) : 0;
}

static int flush_run(struct qcow2_writer *w, struct run *run, struct error *err)
{
    size_t len = run->len;

    run->len = 0;
    return len > 0 ? write_data(w, run->host, run->data, len, err) : 0;
}

static int add_to_run(struct qcow2_writer *w, struct run *run, uint64_t host, const uint8_t *data,
                      struct error *err)
{
    int rc;

    if (run->len > 0 && run->host + run->len == host && run->data + run->len == data) {
        run->len += w->cluster_size;
        return 0;
    }
    if ((rc = flush_run(w, run, err)) < 0)
        return rc;
    *run = (struct run){host, data, w->cluster_size};
    return 0;
}

static int flush_pending(struct qcow2_writer *w, struct error *err)
{
    size_t len = w->pending.len;

    w->pending.len = 0;
    return len > 0 ? writer_write(w, w->pending.offset, w->pending.buf, len, err) : 0;
}

/* Streams are short and mostly lie end to end, so they are collected. */
static int write_stream(struct qcow2_writer *w, uint64_t host, const uint8_t *stream, size_t len,
                        struct error *err)
{
    struct writer_pending *p = &w->pending;
    int rc;

    if (p->offset + p->len != host || len > p->room - p->len) {
        if ((rc = flush_pending(w, err)) < 0)
            return rc;
        p->offset = host;
    }
    memcpy(p->buf + p->len, stream, len);
    p->len += len;
    return 0;
}

/*
 * Finds room for a stream of ${len} bytes: behind the last one, in its cluster and even into the
 * next, as QEMU does, if the cluster's refcount can count one more; else in a new cluster. Sets
 * ${*host}, or sets it to 0 where a compressed entry could not address it.
 */
static int append_stream(struct qcow2_writer *w, uint32_t len, uint64_t *host, struct error *err)
{
    uint32_t bits = w->header.cluster_bits;
    uint64_t used = w->tail % w->cluster_size;
    uint64_t room = used > 0 && writer_countable(w, w->tail, 1) ? w->cluster_size - used : 0;
    uint64_t cluster;
    int rc;

    *host = 0;
    if ((w->map.end + 1) << bits > qcow2_entry_compressed_limit(&w->header))
        return 0;
    if (len > room) {
        bool at_end = w->map.end == (w->tail >> bits) + 1;

        if ((rc = hostmap_append(&w->map, 1, HOSTMAP_STREAMS, &cluster, err)) < 0)
            return error_wrap(err, "%s", w->target.name);
        if (room == 0 || !at_end)
            w->tail = cluster << bits;
    }
    *host = w->tail;
    w->tail += len;
    return 0;
}

/* Compresses the cluster at ${data} and writes the stream, or, where it does not shrink, the data;
 * ${entry} becomes what it is now. */
static int put_compressed(struct qcow2_writer *w, struct qcow2_entry *entry, struct run *run,
                          const uint8_t *data, struct error *err)
{
    bool stays = false;
    size_t len = 0;
    uint64_t host = 0;
    int rc;

    if (w->codec == NULL && (rc = qcow2_codec_new(&w->codec, w->header.compression_type, err)) < 0)
        return rc;
    if ((rc = qcow2_codec_encode(w->codec, data, w->cluster_size, w->stream, &len, err)) < 0)
        return rc;
    if (len > 0 && w->layout->stream_stays != NULL)
        stays = w->layout->stream_stays(w, entry, (uint32_t)len);
    if (stays)
        host = entry->host;
    else if (len > 0 && (rc = append_stream(w, (uint32_t)len, &host, err)) < 0)
        return rc;

    if (host == 0) {
        if ((rc = writer_append_cluster(w, &host, err)) < 0)
            return rc;
        w->report.streams_plain++;
        *entry = (struct qcow2_entry){.class = QCOW2_DATA, .host = host};
        return add_to_run(w, run, host, data, err);
    }
    if (!stays && w->layout->stream_stays != NULL)
        w->report.streams_moved++;
    *entry = (struct qcow2_entry){.class = QCOW2_COMPRESSED, .length = (uint32_t)len, .host = host};
    if ((rc = writer_count(w, host, len, err)) < 0)
        return rc;
    return write_stream(w, host, w->stream, len, err);
}

static int put_cluster(struct qcow2_writer *w, uint64_t cluster, const struct qcow2_entry *old,
                       struct run *run, const uint8_t *data, struct error *err)
{
    struct qcow2_entry entry = *old;
    int rc;

    if ((rc = writer_check_entry(w, cluster, old, err)) < 0 ||
        (rc = w->layout->admit(w, cluster, old, err)) < 0)
        return rc;
    switch (entry.class) {
    case QCOW2_COMPRESSED:
        rc = put_compressed(w, &entry, run, data, err);
        break;
    case QCOW2_DATA:
        if ((rc = w->layout->cluster(w, old, &entry.host, err)) == 0)
            rc = add_to_run(w, run, entry.host, data, err);
        break;
    case QCOW2_ZERO_ALLOC:
        rc = w->layout->cluster(w, old, &entry.host, err);
        break;
    case QCOW2_ZERO:
    case QCOW2_UNALLOCATED:
        entry.host = 0;
        break;
    }
    return rc < 0 ? rc : put_entry(w, cluster, &entry, err);
}

int qcow2_writer_region(struct qcow2_writer *w, uint64_t first, const struct qcow2_entry *entries,
                        size_t n, const uint8_t *data, struct error *err)
{
    struct run run = {0};
    int rc;

    if ((rc = writer_check_order(w, first, n, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        if (entries[i].class == QCOW2_UNALLOCATED)
            continue;
        rc = put_cluster(w, first + i, &entries[i], &run, data + i * w->cluster_size, err);
        if (rc < 0)
            return rc;
    }
    w->next_cluster = first + n;
    return flush_run(w, &run, err);
}

int writer_flush_regions(struct qcow2_writer *w, struct error *err)
{
    int rc;

    if ((rc = flush_pending(w, err)) < 0)
        return rc;
    return flush_table(w, err);
}

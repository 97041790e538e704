/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of clusters: which of the file they are, reading them or noting that
 * they are to be read, and what of the file is in the page cache. What a stream
 * means is codec.c's.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "qcow2/image.h"
#include "qcow2/image_internal.h"

enum {
    HOLE_MIN = 1 << 20, /* bytes of a hole that is passed over */
    SUBCLUSTERS = 32,
};

/* How many of the ${len} bytes at ${host} are, like the first, in a hole (${*hole}) or not. */
static int extent_at(struct qcow2_image *image, uint64_t host, size_t len, size_t *n, bool *hole,
                     struct error *err)
{
    uint64_t end;
    int rc;

    if (host < image->extent.from || host >= image->extent.end) {
        image->extent.from = image->extent.end = 0;
        if ((rc = io_next_data(image->data_fd, image->data_name, host, image->data_size,
                               &image->extent.begin, &image->extent.end, err)) < 0)
            return rc;
        image->extent.from = host;
        /* a short hole is read faster than looked at */
        if (image->extent.begin - host < HOLE_MIN)
            image->extent.begin = host;
    }
    *hole = host < image->extent.begin;
    end = *hole ? image->extent.begin : image->extent.end;
    /* behind the end of the file there is nothing to be asked about */
    *n = end > host && end - host < len ? (size_t)(end - host) : len;
    return 0;
}

/* ---- the page cache ---- */

/* Begins to read ${len} bytes at ${host}, and remembers what of them was not in the page cache. */
static int expect(struct qcow2_image *image, uint64_t host, size_t len, struct error *err)
{
    if (!image->pages.map)
        return 0;
    if (!image->expected.name)
        qcow2_image_reads(image, &image->expected);
    return reads_add(&image->expected, host, NULL, len, err);
}

static int expect_all(struct qcow2_image *image, struct error *err)
{
    int rc = reads_prepare(&image->expected, err);

    image->expected.count = 0;
    return rc;
}

/* The same for what ${n} ${entries} point to; plain data only where it is ${plain}. */
static int expect_entries(struct qcow2_image *image, const struct qcow2_entry *entries, size_t n,
                          bool plain, struct error *err)
{
    int rc = 0;

    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (entries[i].class == QCOW2_COMPRESSED)
            rc = expect(image, entries[i].host, entries[i].length, err);
        else if (entries[i].class == QCOW2_DATA && plain)
            rc = expect(image, entries[i].host, image->cluster_size, err);
    }
    return rc < 0 ? rc : expect_all(image, err);
}

/* ---- reading ---- */

/* Reads ${len} bytes at ${host}, or notes it in ${later}; past a partial last cluster of the file,
 * zeros. Holes, as a preallocated image has many, are not read. */
static int read_data(struct qcow2_image *image, uint64_t host, size_t len, uint8_t *buf,
                     struct reads *later, struct error *err)
{
    size_t got, n;
    bool hole;
    int rc;

    for (; len > 0; host += n, buf += n, len -= n) {
        if ((rc = extent_at(image, host, len, &n, &hole, err)) < 0)
            return rc;
        if (hole) {
            memset(buf, 0, n);
            continue;
        }
        if (later) {
            if ((rc = reads_add(later, host, buf, n, err)) < 0)
                return rc;
            continue;
        }
        if ((rc = io_read_some(image->data_fd, image->data_name, host, buf, n, &got, err)) < 0)
            return rc;
        image->data_read += got;
        if (got == n)
            continue;
        if (len - got >= image->cluster_size)
            return error_set(err, ERROR_CORRUPT,
                             "the file ends at %" PRIu64 ", before the data up to %" PRIu64,
                             host + got, host + len);
        memset(buf + got, 0, len - got);
        break;
    }
    return 0;
}

/* Reads the subclusters of ${e} that are allocated; the others become zeros. */
static int read_subclusters(struct qcow2_image *image, const struct qcow2_entry *e, uint8_t *buf,
                            struct reads *later, struct error *err)
{
    size_t size = image->cluster_size / SUBCLUSTERS;
    unsigned end;
    int rc;

    if ((rc = image_check_range(image, e, err)) < 0)
        return rc;
    for (unsigned i = 0; i < SUBCLUSTERS; i = end) {
        bool allocated = e->sub_alloc >> i & 1;

        for (end = i + 1; end < SUBCLUSTERS && (e->sub_alloc >> end & 1) == allocated; end++)
            ;
        if (!allocated)
            memset(buf + i * size, 0, (end - i) * size);
        else if ((rc = read_data(image, e->host + i * size, (end - i) * size, buf + i * size, later,
                                 err)) < 0)
            return rc;
    }
    return 0;
}

static int prepare_stream(struct qcow2_image *image, size_t size, struct error *err)
{
    uint8_t *p;

    if (!image->codec) {
        int rc = qcow2_codec_new(&image->codec,
                                 (enum qcow2_compression)image->header.compression_type, err);

        if (rc < 0)
            return rc;
    }
    if (size <= image->stream_size)
        return 0;
    if (!(p = realloc(image->stream, size)))
        return error_no_memory(err);
    image->stream = p;
    image->stream_size = size;
    return 0;
}

static int read_compressed(struct qcow2_image *image, struct qcow2_entry *e, uint8_t *buf,
                           struct error *err)
{
    size_t got, used;
    int rc;

    if ((rc = prepare_stream(image, e->length, err)) < 0 ||
        (rc = io_read_some(image->fd, image->name, e->host, image->stream, e->length, &got, err)) <
            0)
        return rc;
    image->data_read += got;
    if ((rc = qcow2_codec_decode(image->codec, image->stream, got, buf, image->cluster_size, &used,
                                 err)) < 0) {
        error_wrap(err, "compressed, at host offset %" PRIu64, e->host);
        return rc;
    }
    e->length = (uint32_t)used;
    return 0;
}

/* Whether all of the cluster is data: without subclusters it always is. */
static bool is_whole(const struct qcow2_image *image, const struct qcow2_entry *e)
{
    return e->class == QCOW2_DATA && (!(image->header.incompatible & QCOW2_INCOMPAT_EXTENDED_L2) ||
                                      e->sub_alloc == UINT32_MAX);
}

/* The number of whole data clusters from the first of ${entries} on that lie together on the host.
 */
static size_t contiguous(const struct qcow2_image *image, const struct qcow2_entry *entries,
                         size_t n)
{
    size_t i = 1;

    while (i < n && is_whole(image, &entries[i]) &&
           entries[i].host == entries[i - 1].host + image->cluster_size)
        i++;
    return i;
}

/* Reads as many clusters from the first of ${entries} on as go in one step; sets ${*step}. */
static int read_step(struct qcow2_image *image, struct qcow2_entry *entries, size_t n, uint8_t *buf,
                     size_t *step, struct reads *later, struct error *err)
{
    int rc;

    *step = 1;
    if (is_whole(image, entries)) {
        *step = contiguous(image, entries, n);
        return read_data(image, entries->host, *step * image->cluster_size, buf, later, err);
    }
    if (entries->class == QCOW2_DATA)
        return read_subclusters(image, entries, buf, later, err);
    if (entries->class == QCOW2_COMPRESSED) {
        if ((rc = image_check_range(image, entries, err)) < 0)
            return rc;
        return read_compressed(image, entries, buf, err);
    }
    memset(buf, 0, image->cluster_size);
    return 0;
}

int qcow2_image_read_later(struct qcow2_image *image, uint64_t first, size_t n,
                           struct qcow2_entry *entries, uint8_t *buf, struct reads *later,
                           struct error *err)
{
    size_t step;
    int rc;

    if ((rc = expect_entries(image, entries, n, !later, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i += step) {
        rc = read_step(image, &entries[i], n - i, buf + i * image->cluster_size, &step, later, err);

        if (rc < 0) {
            error_wrap(err, "%s: guest cluster %" PRIu64, image->name, first + i);
            return rc;
        }
    }
    return 0;
}

int qcow2_image_read(struct qcow2_image *image, uint64_t first, size_t n,
                     struct qcow2_entry *entries, uint8_t *buf, struct error *err)
{
    return qcow2_image_read_later(image, first, n, entries, buf, NULL, err);
}

void qcow2_image_reads(const struct qcow2_image *image, struct reads *reads)
{
    *reads = (struct reads){.fd = image->data_fd,
                            .name = image->data_name,
                            .slack = image->cluster_size,
                            .pages = &image->pages};
}

int qcow2_image_spare(const struct qcow2_image *image, const struct qcow2_entry *entry,
                      uint8_t *buf, struct reads *later, struct error *err)
{
    int rc = image_check_range(image, entry, err);

    return rc < 0 ? rc : reads_add_spare(later, entry->host, buf, image->cluster_size, err);
}

int qcow2_image_read_stream(const struct qcow2_image *image, const struct reads *reads,
                            struct qcow2_codec **codec, const struct qcow2_entry *entry,
                            uint8_t *buf, struct error *err)
{
    size_t got = 0, used;
    uint8_t *stream = NULL;
    int rc = image_check_range(image, entry, err);

    if (rc == 0 && !*codec)
        rc = qcow2_codec_new(codec, (enum qcow2_compression)image->header.compression_type, err);
    if (rc == 0 && !(stream = malloc(entry->length)))
        rc = error_no_memory(err);
    if (rc == 0)
        rc = reads_beside(reads, entry->host, stream, entry->length, &got, err);
    if (rc == 0)
        rc = qcow2_codec_decode(*codec, stream, got, buf, image->cluster_size, &used, err);
    if (rc < 0)
        error_wrap(err, "%s: compressed, at host offset %" PRIu64, image->name, entry->host);
    free(stream);
    return rc;
}

void qcow2_image_keep_cache(struct qcow2_image *image)
{
    if (!image->pages.map)
        reads_pages_open(&image->pages, image->data_fd, image->data_size);
}

void qcow2_image_settle(struct qcow2_image *image)
{
    reads_drop(&image->expected);
    reads_clear(&image->expected);
}

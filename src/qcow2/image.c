/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One qcow2 file as it is read: header, snapshot table, and the bytes of
 * clusters. Follows no backing file, takes no lock, writes nothing. L1 and L2
 * tables are view.c's; what bits mean is entry.c's, what a stream means codec.c's.
 */
#include "qcow2/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/io.h"
#include "qcow2/entry.h"
#include "qcow2/image_internal.h"

enum {
    HOLE_MIN = 1 << 20, /* bytes of a hole that is passed over */
    SUBCLUSTERS = 32,
    SNAPSHOT_FIXED_SIZE = 40,
};

static int refuse_missing_data_file(const struct qcow2_image *image, struct error *err)
{
    char *name = NULL;
    int rc;

    if ((rc = qcow2_data_file_name(&image->header, image->header_cluster, &name, err)) < 0)
        return rc;
    rc = error_set(err, ERROR_UNSUPPORTED,
                   "it needs an external data file, which is not there: %s%s%s", name ? "\"" : "",
                   name ? name : "it has no name", name ? "\"" : "");
    free(name);
    return rc;
}

/* What is valid, and still cannot be read, or is not to be. */
static int refuse_unsupported(const struct qcow2_image *image,
                              const struct qcow2_open_options *options, struct error *err)
{
    const struct qcow2_header *h = &image->header;

    if (h->incompatible & QCOW2_INCOMPAT_CORRUPT && !options->force_corrupt)
        return error_set(err, ERROR_UNSUPPORTED,
                         "it is marked corrupt; repair it with 'qemu-img check -r all', or take it "
                         "as it is with --force-corrupt");
    if (!(h->incompatible & QCOW2_INCOMPAT_DATA_FILE))
        return 0;
    if (h->nb_snapshots)
        return error_set(err, ERROR_CORRUPT,
                         "%" PRIu32 " internal snapshots with an external data file, which cannot "
                         "have any",
                         h->nb_snapshots);
    return options->data_fd < 0 ? refuse_missing_data_file(image, err) : 0;
}

static int read_header(struct qcow2_image *image, const struct qcow2_open_options *options,
                       struct error *err)
{
    uint64_t offset, length;
    int rc;

    if ((rc = qcow2_header_read(&image->header, &image->header_cluster, image->fd, image->name,
                                image->file_size, &image->metadata_read, err)) < 0)
        return rc;
    if ((rc = refuse_unsupported(image, options, err)) < 0 ||
        (rc = qcow2_crypto_header(&image->header, image->header_cluster, image->file_size, &offset,
                                  &length, err)) < 0) {
        error_wrap(err, "%s", image->name);
        return rc;
    }
    image->cluster_size = (size_t)1 << image->header.cluster_bits;
    image->entry_size = qcow2_entry_size(&image->header);
    image->l2_bits = qcow2_entry_l2_bits(&image->header);
    return 0;
}

/* Sets ${*len} to the bytes of the snapshot table without what pads its last entry: the header does
 * not say it. */
static int measure_snapshots(struct qcow2_image *image, size_t *len, struct error *err)
{
    uint64_t at = 0;
    int rc;

    for (uint32_t i = 0; i < image->header.nb_snapshots; i++) {
        uint8_t fixed[SNAPSHOT_FIXED_SIZE];

        at = (at + 7) & ~UINT64_C(7);
        if ((rc = io_read(image->fd, image->name, image->header.snapshots_offset + at, fixed,
                          sizeof fixed, err)) < 0)
            return rc;
        image->metadata_read += sizeof fixed;
        at += sizeof fixed + be16_get(fixed + 12) + be16_get(fixed + 14);
        at += be32_get(fixed + 36);
        if (at > QCOW2_MAX_SNAPSHOT_TABLE)
            return error_set(err, ERROR_CORRUPT,
                             "%s: the snapshot table at %" PRIu64 " is above %d bytes", image->name,
                             image->header.snapshots_offset, QCOW2_MAX_SNAPSHOT_TABLE);
    }
    *len = (size_t)at;
    return 0;
}

static int read_snapshots(struct qcow2_image *image, struct error *err)
{
    uint64_t offset = image->header.snapshots_offset;
    uint8_t *table = NULL;
    size_t len = 0;
    int rc;

    if (image->header.nb_snapshots == 0)
        return 0;
    if ((rc = measure_snapshots(image, &len, err)) < 0)
        return rc;
    if (!(table = malloc(len)))
        return error_no_memory(err);
    if ((rc = io_read(image->fd, image->name, offset, table, len, err)) < 0)
        goto out;
    image->metadata_read += len;
    if ((rc = qcow2_snapshots_decode(&image->snapshots, image->header.nb_snapshots, table, len,
                                     image->header.size, err)) < 0) {
        error_wrap(err, "%s: snapshot table at %" PRIu64, image->name, offset);
        goto out;
    }
    for (uint32_t i = 0; i < image->header.nb_snapshots; i++)
        image->snapshots_l1 += (uint64_t)image->snapshots[i].l1_size * 8;

out:
    free(table);
    return rc;
}

int qcow2_image_open(struct qcow2_image **result, int fd, const char *name, uint64_t file_size,
                     const struct qcow2_open_options *options, struct error *err)
{
    static const struct qcow2_open_options defaults = {.data_fd = -1};
    struct qcow2_image *image;
    int rc;

    *result = NULL;
    if (!options)
        options = &defaults;
    if (!(image = calloc(1, sizeof *image)))
        return error_no_memory(err);
    image->fd = fd;
    image->name = name;
    image->file_size = file_size;
    if ((rc = read_header(image, options, err)) < 0)
        goto fail;
    image->external = image->header.incompatible & QCOW2_INCOMPAT_DATA_FILE;
    image->data_fd = image->external ? options->data_fd : fd;
    image->data_size = image->external ? options->data_size : file_size;
    image->data_name = image->external && options->data_name ? options->data_name : name;
    if ((rc = read_snapshots(image, err)) < 0 ||
        (rc = qcow2_view_open(&image->active, image, 0, err)) < 0)
        goto fail;
    *result = image;
    return 0;

fail:
    qcow2_image_close(image);
    return rc;
}

void qcow2_image_close(struct qcow2_image *image)
{
    if (!image)
        return;
    qcow2_view_close(image->active);
    qcow2_snapshots_free(image->snapshots, image->header.nb_snapshots);
    qcow2_header_clear(&image->header);
    qcow2_codec_free(image->codec);
    free(image->header_cluster);
    free(image->stream);
    free(image);
}

const struct qcow2_header *qcow2_image_header(const struct qcow2_image *image)
{
    return &image->header;
}

const uint8_t *qcow2_image_header_cluster(const struct qcow2_image *image)
{
    return image->header_cluster;
}

struct qcow2_view *qcow2_image_active(const struct qcow2_image *image)
{
    return image->active;
}

void qcow2_image_snapshots(const struct qcow2_image *image, const struct qcow2_snapshot **array,
                           uint32_t *count)
{
    *array = image->snapshots;
    *count = image->header.nb_snapshots;
}

uint32_t qcow2_image_cluster_size(const struct qcow2_image *image)
{
    return (uint32_t)image->cluster_size;
}

uint64_t qcow2_image_virtual_size(const struct qcow2_image *image)
{
    return image->header.size & ~(uint64_t)(QCOW2_SECTOR_SIZE - 1);
}

uint64_t qcow2_image_metadata_read(const struct qcow2_image *image)
{
    return image->metadata_read;
}

uint64_t qcow2_image_data_read(const struct qcow2_image *image)
{
    return image->data_read;
}

bool image_has_host(const struct qcow2_entry *e)
{
    return e->class == QCOW2_DATA || e->class == QCOW2_COMPRESSED || e->class == QCOW2_ZERO_ALLOC;
}

int image_check_range(const struct qcow2_image *image, const struct qcow2_entry *e,
                      struct error *err)
{
    bool compressed = e->class == QCOW2_COMPRESSED;
    uint64_t length = compressed ? e->length : image->cluster_size;
    uint64_t end;

    if (compressed && image->external)
        return error_set(err, ERROR_CORRUPT,
                         "a compressed cluster, which an external data file cannot hold");
    if (compressed && e->host < image->cluster_size)
        return error_set(err, ERROR_CORRUPT,
                         "the stream at host offset %" PRIu64 " lies in the header", e->host);
    if (__builtin_add_overflow(e->host, length, &end) || e->host >= image->data_size ||
        end >= image->data_size + image->cluster_size)
        return error_set(err, ERROR_CORRUPT,
                         "%" PRIu64 " bytes at host offset %" PRIu64
                         " end beyond the %sfile of %" PRIu64 " bytes",
                         length, e->host, image->external ? "data " : "", image->data_size);
    return 0;
}

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

/* Reads ${len} bytes at ${host}; past a partial last cluster of the file, zeros. Holes, as a
 * preallocated image has many, are not read. */
static int read_data(struct qcow2_image *image, uint64_t host, size_t len, uint8_t *buf,
                     struct error *err)
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

int qcow2_image_read_part(struct qcow2_image *image, const struct qcow2_entry *entry,
                          uint32_t offset, size_t len, uint8_t *buf, struct error *err)
{
    int rc;

    if ((rc = image_check_range(image, entry, err)) < 0 ||
        (rc = read_data(image, entry->host + offset, len, buf, err)) < 0)
        error_wrap(err, "%s", image->name);
    return rc;
}

/* Reads the subclusters of ${e} that are allocated; the others become zeros. */
static int read_subclusters(struct qcow2_image *image, const struct qcow2_entry *e, uint8_t *buf,
                            struct error *err)
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
        else if ((rc = read_data(image, e->host + i * size, (end - i) * size, buf + i * size,
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
                     size_t *step, struct error *err)
{
    int rc;

    *step = 1;
    if (is_whole(image, entries)) {
        *step = contiguous(image, entries, n);
        return read_data(image, entries->host, *step * image->cluster_size, buf, err);
    }
    if (entries->class == QCOW2_DATA)
        return read_subclusters(image, entries, buf, err);
    if (entries->class == QCOW2_COMPRESSED) {
        if ((rc = image_check_range(image, entries, err)) < 0)
            return rc;
        return read_compressed(image, entries, buf, err);
    }
    memset(buf, 0, image->cluster_size);
    return 0;
}

int qcow2_image_read(struct qcow2_image *image, uint64_t first, size_t n,
                     struct qcow2_entry *entries, uint8_t *buf, struct error *err)
{
    size_t step;

    for (size_t i = 0; i < n; i += step) {
        int rc = read_step(image, &entries[i], n - i, buf + i * image->cluster_size, &step, err);

        if (rc < 0) {
            error_wrap(err, "%s: guest cluster %" PRIu64, image->name, first + i);
            return rc;
        }
    }
    return 0;
}

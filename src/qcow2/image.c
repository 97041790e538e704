/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One qcow2 file as it is read: header and snapshot table. Follows no backing
 * file, takes no lock, writes nothing. L1 and L2 tables are view.c's, the bytes
 * of clusters image_read.c's; what bits mean is entry.c's.
 */
#include "qcow2/image.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/be.h"
#include "base/io.h"
#include "qcow2/entry.h"
#include "qcow2/image_internal.h"

enum { SNAPSHOT_FIXED_SIZE = 40 };

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
    reads_clear(&image->expected);
    reads_pages_close(&image->pages);
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

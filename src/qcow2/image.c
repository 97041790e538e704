/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One qcow2 file as it is read: header, L1, a small cache of L2 tables, and the
 * bytes of clusters. Follows no backing file, takes no lock, writes nothing.
 * What bits mean is entry.c's, what a stream means codec.c's.
 */
#include "qcow2/image.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "qcow2/codec.h"
#include "qcow2/entry.h"
#include "qcow2/l1.h"

enum {
    PEEK_SIZE = QCOW2_V3_HEADER_SIZE,
    L2_CACHE_BYTES = 4 << 20, /* two tables of the largest size */
};

struct qcow2_image {
    int fd;
    const char *name;
    uint64_t file_size;
    struct qcow2_header header;
    size_t cluster_size;
    size_t entry_size;
    uint32_t l2_bits; /* a table has 1 << l2_bits entries */
    uint8_t *header_cluster;
    uint64_t *l1;
    /* Slot i holds the table of one L1 entry with index i modulo the number of slots. */
    uint8_t *cache;
    uint32_t *cache_tag; /* L1 index + 1, or 0 */
    uint32_t cache_slots;
    struct qcow2_codec *codec; /* made at the first compressed cluster */
    uint8_t *stream;
    size_t stream_size;
    uint64_t metadata_read;
    uint64_t data_read;
};

/* Everything valid that this version does not handle. Decoding does not rely on any of it. */
static int refuse_unsupported(const struct qcow2_header *h, struct error *err)
{
    static const struct {
        uint64_t bit;
        const char *what;
    } features[] = {
        {QCOW2_INCOMPAT_CORRUPT, "it is marked corrupt; repair it with 'qemu-img check -r all'"},
        {QCOW2_INCOMPAT_DATA_FILE, "external data files are not supported"},
        {QCOW2_INCOMPAT_EXTENDED_L2, "subclusters (extended L2) are not supported"},
    };

    for (size_t i = 0; i < sizeof features / sizeof features[0]; i++)
        if (h->incompatible & features[i].bit)
            return error_set(err, ERROR_UNSUPPORTED, "%s", features[i].what);
    if (h->crypt_method)
        return error_set(err, ERROR_UNSUPPORTED, "encryption (method %" PRIu32 ") is not supported",
                         h->crypt_method);
    if (h->nb_snapshots)
        return error_set(err, ERROR_UNSUPPORTED,
                         "internal snapshots (%" PRIu32 ") are not supported", h->nb_snapshots);
    for (uint32_t i = 0; i < h->nb_extensions; i++)
        if (h->extensions[i].type == QCOW2_EXT_BITMAPS)
            return error_set(err, ERROR_UNSUPPORTED, "persistent bitmaps are not supported");
    return 0;
}

static int read_header(struct qcow2_image *image, struct error *err)
{
    uint8_t peek[PEEK_SIZE] = {0};
    size_t got, size;
    int rc;

    if ((rc = io_read_some(image->fd, image->name, 0, peek, sizeof peek, &got, err)) < 0)
        return rc;
    size = qcow2_header_peek_cluster_size(peek);
    if (size == 0) { /* there is no cluster to read; decoding says why */
        rc = qcow2_header_decode(&image->header, peek, got, image->file_size, err);
        error_wrap(err, "%s", image->name);
        return rc;
    }
    if (!(image->header_cluster = calloc(1, size)))
        return error_no_memory(err);
    if ((rc = io_read_some(image->fd, image->name, 0, image->header_cluster, size, &got, err)) < 0)
        return rc;
    if ((rc = qcow2_header_decode(&image->header, image->header_cluster, got, image->file_size,
                                  err)) < 0 ||
        (rc = refuse_unsupported(&image->header, err)) < 0) {
        error_wrap(err, "%s", image->name);
        return rc;
    }
    image->metadata_read += got;
    image->cluster_size = size;
    image->entry_size = qcow2_entry_size(&image->header);
    image->l2_bits = qcow2_entry_l2_bits(&image->header);
    return 0;
}

int qcow2_image_open(struct qcow2_image **result, int fd, const char *name, uint64_t file_size,
                     struct error *err)
{
    struct qcow2_image *image;
    int rc;

    *result = NULL;
    if (!(image = calloc(1, sizeof *image)))
        return error_no_memory(err);
    image->fd = fd;
    image->name = name;
    image->file_size = file_size;
    if ((rc = read_header(image, err)) < 0 ||
        (rc = qcow2_l1_read(&image->l1, fd, name, &image->header, file_size, err)) < 0)
        goto fail;
    image->metadata_read += (uint64_t)image->header.l1_size * 8;
    image->cache_slots = (uint32_t)(L2_CACHE_BYTES / image->cluster_size);
    if (image->cache_slots > image->header.l1_size)
        image->cache_slots = image->header.l1_size ? image->header.l1_size : 1;
    image->cache = malloc(image->cache_slots * image->cluster_size);
    image->cache_tag = calloc(image->cache_slots, sizeof *image->cache_tag);
    if (!image->cache || !image->cache_tag) {
        rc = error_no_memory(err);
        goto fail;
    }
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
    qcow2_header_clear(&image->header);
    qcow2_codec_free(image->codec);
    free(image->header_cluster);
    free(image->l1);
    free(image->cache);
    free(image->cache_tag);
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

const uint64_t *qcow2_image_l1(const struct qcow2_image *image)
{
    return image->l1;
}

uint32_t qcow2_image_cluster_size(const struct qcow2_image *image)
{
    return (uint32_t)image->cluster_size;
}

uint64_t qcow2_image_virtual_size(const struct qcow2_image *image)
{
    return image->header.size & ~(uint64_t)(QCOW2_SECTOR_SIZE - 1);
}

uint64_t qcow2_image_clusters(const struct qcow2_image *image)
{
    return (uint64_t)image->header.l1_size << image->l2_bits;
}

uint64_t qcow2_image_metadata_read(const struct qcow2_image *image)
{
    return image->metadata_read;
}

uint64_t qcow2_image_data_read(const struct qcow2_image *image)
{
    return image->data_read;
}

uint64_t qcow2_image_next_table(const struct qcow2_image *image, uint64_t cluster)
{
    uint64_t index = cluster >> image->l2_bits;

    for (uint64_t i = index; i < image->header.l1_size; i++)
        if (image->l1[i] & QCOW2_OFFSET_MASK)
            return i == index ? cluster : i << image->l2_bits;
    return qcow2_image_clusters(image);
}

/* Sets ${*table} to the L2 table of L1 entry ${index}, which has one; lent until the next call. */
static int get_table(struct qcow2_image *image, uint32_t index, const uint8_t **table,
                     struct error *err)
{
    uint32_t slot = index % image->cache_slots;
    uint8_t *p = image->cache + (size_t)slot * image->cluster_size;
    uint64_t offset = image->l1[index] & QCOW2_OFFSET_MASK;
    size_t got;
    int rc;

    *table = p;
    if (image->cache_tag[slot] == index + 1)
        return 0;
    image->cache_tag[slot] = 0;
    if ((rc = io_read_some(image->fd, image->name, offset, p, image->cluster_size, &got, err)) < 0)
        return rc;
    if (got < qcow2_l1_table_used(&image->header, index))
        return error_set(err, ERROR_CORRUPT, "%s: the L2 table at %" PRIu64 " ends beyond the file",
                         image->name, offset);
    memset(p + got, 0, image->cluster_size - got);
    image->metadata_read += got;
    image->cache_tag[slot] = index + 1;
    return 0;
}

/* What an entry points to may be cut by the end of the file within its last cluster only. */
static int check_range(const struct qcow2_image *image, const struct qcow2_entry *e,
                       struct error *err)
{
    uint64_t length = e->class == QCOW2_COMPRESSED ? e->length : image->cluster_size;
    uint64_t end;

    if (e->class == QCOW2_COMPRESSED && e->host < image->cluster_size)
        return error_set(err, ERROR_CORRUPT,
                         "the stream at host offset %" PRIu64 " lies in the header", e->host);
    if (__builtin_add_overflow(e->host, length, &end) || e->host >= image->file_size ||
        end >= image->file_size + image->cluster_size)
        return error_set(err, ERROR_CORRUPT,
                         "%" PRIu64 " bytes at host offset %" PRIu64
                         " end beyond the file of %" PRIu64 " bytes",
                         length, e->host, image->file_size);
    return 0;
}

static bool has_host(const struct qcow2_entry *e)
{
    return e->class == QCOW2_DATA || e->class == QCOW2_COMPRESSED || e->class == QCOW2_ZERO_ALLOC;
}

/* Decodes ${n} entries of the table of L1 entry ${index}, from the ${first}th on. */
static int decode_table(struct qcow2_image *image, uint32_t index, size_t first, size_t n,
                        struct qcow2_entry *out, struct error *err)
{
    const uint8_t *table;
    int rc;

    if ((rc = get_table(image, index, &table, err)) < 0)
        return rc;
    for (size_t i = 0; i < n; i++) {
        size_t at = (first + i) * image->entry_size;

        if ((rc = qcow2_entry_decode(&out[i], &image->header, table + at, err)) < 0 ||
            (has_host(&out[i]) && (rc = check_range(image, &out[i], err)) < 0)) {
            uint64_t cluster = ((uint64_t)index << image->l2_bits) + first + i;

            error_wrap(err, "%s: guest cluster %" PRIu64 ", L2 entry at %" PRIu64, image->name,
                       cluster, (image->l1[index] & QCOW2_OFFSET_MASK) + at);
            return rc;
        }
    }
    return 0;
}

int qcow2_image_entries(struct qcow2_image *image, uint64_t first, size_t n,
                        struct qcow2_entry *out, struct error *err)
{
    uint64_t per_table = UINT64_C(1) << image->l2_bits;
    int rc;

    while (n > 0) {
        uint64_t index = first >> image->l2_bits;
        uint64_t in_table = first & (per_table - 1);
        size_t step = n;

        if (index >= image->header.l1_size) {
            memset(out, 0, n * sizeof *out);
            return 0;
        }
        if (step > per_table - in_table)
            step = (size_t)(per_table - in_table);
        if (!(image->l1[index] & QCOW2_OFFSET_MASK))
            memset(out, 0, step * sizeof *out);
        else if ((rc = decode_table(image, (uint32_t)index, (size_t)in_table, step, out, err)) < 0)
            return rc;
        out += step;
        first += step;
        n -= step;
    }
    return 0;
}

/* Reads ${n} clusters that lie together at ${host}; past a partial last one, zeros. */
static int read_data(struct qcow2_image *image, uint64_t host, size_t n, uint8_t *buf,
                     struct error *err)
{
    size_t len = n * image->cluster_size, got;
    int rc;

    if ((rc = io_read_some(image->fd, image->name, host, buf, len, &got, err)) < 0)
        return rc;
    if (len - got >= image->cluster_size)
        return error_set(err, ERROR_CORRUPT,
                         "the file ends at %" PRIu64 ", before the data up to %" PRIu64, host + got,
                         host + len);
    memset(buf + got, 0, len - got);
    image->data_read += got;
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

/* The number of data clusters from the first of ${entries} on that lie together on the host. */
static size_t contiguous(const struct qcow2_image *image, const struct qcow2_entry *entries,
                         size_t n)
{
    size_t i = 1;

    while (i < n && entries[i].class == QCOW2_DATA &&
           entries[i].host == entries[i - 1].host + image->cluster_size)
        i++;
    return i;
}

int qcow2_image_read(struct qcow2_image *image, uint64_t first, size_t n,
                     struct qcow2_entry *entries, uint8_t *buf, struct error *err)
{
    size_t step;
    int rc;

    for (size_t i = 0; i < n; i += step) {
        struct qcow2_entry *e = &entries[i];
        uint8_t *p = buf + i * image->cluster_size;

        step = 1;
        if (e->class == QCOW2_DATA) {
            step = contiguous(image, e, n - i);
            rc = read_data(image, e->host, step, p, err);
        } else if (e->class == QCOW2_COMPRESSED) {
            rc = check_range(image, e, err);
            if (rc == 0)
                rc = read_compressed(image, e, p, err);
        } else {
            memset(p, 0, image->cluster_size);
            rc = 0;
        }
        if (rc < 0) {
            error_wrap(err, "%s: guest cluster %" PRIu64, image->name, first + i);
            return rc;
        }
    }
    return 0;
}

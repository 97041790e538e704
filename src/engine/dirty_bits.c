/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bitmaps from images and records as plain arrays of bits, and what is asked of
 * them. Which bitmap may be believed, and when, is not decided here.
 */
#include "engine/dirty_bits.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engine/blob.h"
#include "qcow2/image.h"

/* A bitmap comes cluster after cluster; what is behind the last granule is dropped. */
struct filling {
    struct dirty_bits *bits;
    uint64_t size; /* bytes of bits->bits */
    uint64_t at;
};

static int begin(struct filling *f, struct dirty_bits *bits, uint64_t disk_size,
                 unsigned granularity_bits, struct error *err)
{
    *bits = (struct dirty_bits){.granularity_bits = granularity_bits};
    *f = (struct filling){.bits = bits};
    if (granularity_bits > 63)
        return error_set(err, ERROR_CORRUPT, "a granularity of 2^%u bytes", granularity_bits);
    bits->count = disk_size >> granularity_bits;
    if (bits->count << granularity_bits != disk_size)
        bits->count++;
    if (bits->count > DIRTY_BITS_MAX)
        return error_set(err, ERROR_UNSUPPORTED, "the bitmap has %" PRIu64 " bits, and is not used",
                         bits->count);
    f->size = (bits->count + 7) / 8;
    bits->bits = calloc((size_t)f->size + 1, 1);
    return bits->bits == NULL ? error_no_memory(err) : 0;
}

/* Adds a cluster of ${len} bytes, which is ${data} only where ${class} says so. */
static void add(struct filling *f, enum qcow2_bitmap_class class, const uint8_t *data, uint64_t len)
{
    uint64_t n = f->size - f->at < len ? f->size - f->at : len;
    uint8_t *to = f->bits->bits + f->at;
    if (class == QCOW2_BITMAP_DATA)
        memcpy(to, data, (size_t)n);
    else if (class == QCOW2_BITMAP_ONES)
        memset(to, 0xff, (size_t)n);
    f->at += n;
}

static int finish(struct filling *f, struct error *err)
{
    unsigned rest = (unsigned)(f->bits->count % 8);
    if (f->at < f->size)
        return error_set(err, ERROR_CORRUPT, "the bitmap does not cover the disk");
    if (rest != 0)
        f->bits->bits[f->size - 1] &= (uint8_t)((1U << rest) - 1);
    return 0;
}

int dirty_bits_from_image(struct dirty_bits *bits, struct qcow2_image *image,
                          const struct qcow2_bitmap *bitmap, struct error *err)
{
    struct filling f;
    uint32_t cluster = qcow2_image_cluster_size(image);
    uint8_t *buf = NULL;
    int rc = begin(&f, bits, qcow2_image_virtual_size(image), bitmap->granularity_bits, err);
    if (rc == 0 && (buf = malloc(cluster)) == NULL)
        rc = error_no_memory(err);
    for (uint32_t i = 0; rc == 0 && f.at < f.size && i < bitmap->table_size; i++) {
        enum qcow2_bitmap_class class = QCOW2_BITMAP_ONES;
        rc = qcow2_bitmap_read(image, bitmap, i, &class, buf, err);
        if (rc == 0)
            add(&f, class, buf, cluster);
    }
    free(buf);
    return rc < 0 ? rc : finish(&f, err);
}

int dirty_bits_from_record(struct dirty_bits *bits, struct cs_store *store,
                           const struct record_layer *layer, const struct record_bitmap *bitmap,
                           struct error *err)
{
    struct filling f;
    struct blob_reader reader = {.store = store, .blob = &bitmap->data};
    size_t cluster = (size_t)1 << layer->qcow2.cluster_bits;
    uint8_t *buf = NULL;
    int rc = begin(&f, bits, layer->virtual_size, bitmap->granularity_bits, err);
    if (rc == 0 && (buf = malloc(cluster)) == NULL)
        rc = error_no_memory(err);
    for (size_t i = 0; rc == 0 && i < bitmap->run_count; i++) {
        enum qcow2_bitmap_class class = (enum qcow2_bitmap_class)bitmap->runs[i][0];
        for (uint32_t k = 0; rc == 0 && f.at < f.size && k < bitmap->runs[i][1]; k++) {
            if (class == QCOW2_BITMAP_DATA)
                rc = blob_reader_next(&reader, buf, cluster, err);
            if (rc == 0)
                add(&f, class, buf, cluster);
        }
    }
    blob_reader_clear(&reader);
    free(buf);
    return rc < 0 ? rc : finish(&f, err);
}

void dirty_bits_clear(struct dirty_bits *bits)
{
    free(bits->bits);
    *bits = (struct dirty_bits){0};
}

bool dirty_bits_superset(const struct dirty_bits *a, const struct dirty_bits *b)
{
    if (a->count != b->count || a->granularity_bits != b->granularity_bits)
        return false;
    for (uint64_t i = 0; i < (a->count + 7) / 8; i++)
        if (b->bits[i] & ~a->bits[i])
            return false;
    return true;
}

bool dirty_bits_clean(const struct dirty_bits *bits, uint64_t offset, uint64_t length)
{
    if (length == 0)
        return true;
    uint64_t first = offset >> bits->granularity_bits, end;
    if (__builtin_add_overflow(offset, length - 1, &end))
        return false;
    uint64_t last = end >> bits->granularity_bits;
    if (last >= bits->count)
        return false;
    for (uint64_t i = first; i <= last; i++) {
        if (i % 8 == 0 && last - i >= 7 && bits->bits[i / 8] == 0)
            i += 7; /* and the loop's own step */
        else if (bits->bits[i / 8] >> (i % 8) & 1)
            return false;
    }
    return true;
}

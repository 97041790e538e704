/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L1 and L2 entries, bits to meaning and back. No I/O, no tables, no file size:
 * one entry at a time.
 */
#include "qcow2/entry.h"

#include <inttypes.h>
#include <string.h>

#include "base/be.h"

#define COMPRESSED (UINT64_C(1) << 62)
#define ALL_ZERO   UINT64_C(1) /* "reads as zeros"; not with extended L2 */

static bool is_extended(const struct qcow2_header *h)
{
    return h->incompatible & QCOW2_INCOMPAT_EXTENDED_L2;
}

static bool has_data_file(const struct qcow2_header *h)
{
    return h->incompatible & QCOW2_INCOMPAT_DATA_FILE;
}

/* The bits of a compressed descriptor below this are the offset, those from it to 61 the sectors.
 */
static uint32_t offset_bits(const struct qcow2_header *h)
{
    return 62 - (h->cluster_bits - 8);
}

uint64_t qcow2_entry_compressed_limit(const struct qcow2_header *h)
{
    return UINT64_C(1) << offset_bits(h);
}

size_t qcow2_entry_size(const struct qcow2_header *h)
{
    return is_extended(h) ? 16 : 8;
}

uint32_t qcow2_entry_l2_bits(const struct qcow2_header *h)
{
    return h->cluster_bits - (is_extended(h) ? 4 : 3);
}

uint64_t qcow2_entry_stream_end(uint64_t host, uint32_t length)
{
    return (host + length + QCOW2_SECTOR_SIZE - 1) & ~(uint64_t)(QCOW2_SECTOR_SIZE - 1);
}

/* ${zero_exists}: at offset 0 there is no header, but data. */
static int check_offset(const struct qcow2_header *h, uint64_t word, uint64_t offset,
                        bool zero_exists, struct error *err)
{
    if (offset & ((UINT64_C(1) << h->cluster_bits) - 1))
        return error_set(err, ERROR_CORRUPT,
                         "entry 0x%016" PRIx64 ": host offset %" PRIu64
                         " is not aligned to a cluster",
                         word, offset);
    if (offset == 0 && word & QCOW2_COPIED && !zero_exists)
        return error_set(err, ERROR_CORRUPT,
                         "entry 0x%016" PRIx64 ": marked as the only owner of host offset 0", word);
    return 0;
}

int qcow2_entry_decode_l1(uint64_t *offset, const struct qcow2_header *h, uint64_t word,
                          struct error *err)
{
    *offset = word & QCOW2_OFFSET_MASK;
    return check_offset(h, word, *offset, false, err);
}

static void decode_compressed(struct qcow2_entry *e, const struct qcow2_header *h, uint64_t word)
{
    uint64_t sectors = (word & ~(QCOW2_COPIED | COMPRESSED)) >> offset_bits(h);

    e->class = QCOW2_COMPRESSED;
    e->host = word & (qcow2_entry_compressed_limit(h) - 1);
    e->length = (uint32_t)((sectors + 1) * QCOW2_SECTOR_SIZE - e->host % QCOW2_SECTOR_SIZE);
}

static int decode_subclusters(struct qcow2_entry *e, bool owns, uint64_t word, uint64_t bitmap,
                              struct error *err)
{
    e->sub_alloc = (uint32_t)bitmap;
    e->sub_zero = (uint32_t)(bitmap >> 32);
    if (e->sub_alloc & e->sub_zero || (e->sub_alloc && !owns))
        return error_set(err, ERROR_CORRUPT,
                         "entry 0x%016" PRIx64 ": impossible subclusters 0x%016" PRIx64, word,
                         bitmap);
    if (owns)
        e->class = e->sub_zero == UINT32_MAX ? QCOW2_ZERO_ALLOC : QCOW2_DATA;
    else
        e->class = e->sub_zero ? QCOW2_ZERO : QCOW2_UNALLOCATED;
    return 0;
}

int qcow2_entry_decode(struct qcow2_entry *e, const struct qcow2_header *h, const uint8_t *p,
                       struct error *err)
{
    uint64_t word = be64_get(p);
    uint64_t bitmap = is_extended(h) ? be64_get(p + 8) : 0;
    bool owns;
    int rc;

    memset(e, 0, sizeof *e);
    if (word & COMPRESSED) {
        if (bitmap)
            return error_set(err, ERROR_CORRUPT,
                             "entry 0x%016" PRIx64 ": compressed, with subclusters 0x%016" PRIx64,
                             word, bitmap);
        decode_compressed(e, h, word);
        return 0;
    }
    e->copied = (word & QCOW2_COPIED) != 0;
    e->host = word & QCOW2_OFFSET_MASK;
    if ((rc = check_offset(h, word, e->host, has_data_file(h), err)) < 0)
        return rc;
    /* In a data file offset 0 is as good as any; only this bit tells it from none. */
    owns = e->host || (has_data_file(h) && word & QCOW2_COPIED);
    if (is_extended(h))
        return decode_subclusters(e, owns, word, bitmap, err);
    if (word & ALL_ZERO && h->version < 3)
        return error_set(err, ERROR_CORRUPT,
                         "entry 0x%016" PRIx64 ": a zero cluster, which version 2 does not have",
                         word);
    if (word & ALL_ZERO)
        e->class = e->host ? QCOW2_ZERO_ALLOC : QCOW2_ZERO; /* at offset 0, too, as QEMU has it */
    else
        e->class = owns ? QCOW2_DATA : QCOW2_UNALLOCATED;
    return 0;
}

static int refuse(const struct qcow2_entry *e, const char *why, struct error *err)
{
    return error_set(err, ERROR_USAGE, "no entry for class %d at host offset %" PRIu64 ": %s",
                     (int)e->class, e->host, why);
}

static int encode_compressed(uint64_t *word, const struct qcow2_header *h,
                             const struct qcow2_entry *e, struct error *err)
{
    uint64_t limit = qcow2_entry_compressed_limit(h);
    uint64_t sectors;

    if (e->length == 0 || e->host >= limit)
        return refuse(e, "a stream cannot be there", err);
    sectors = (e->host + e->length - 1) / QCOW2_SECTOR_SIZE - e->host / QCOW2_SECTOR_SIZE;
    if (sectors >= UINT64_C(1) << (62 - offset_bits(h)))
        return refuse(e, "the stream is too long", err);
    *word = COMPRESSED | sectors << offset_bits(h) | e->host;
    return 0;
}

static int encode_standard(uint64_t *word, const struct qcow2_header *h,
                           const struct qcow2_entry *e, bool copied, struct error *err)
{
    bool owns = e->class == QCOW2_DATA || e->class == QCOW2_ZERO_ALLOC;

    /* Only its COPIED bit tells offset 0 of a data file from none. */
    if (!owns ? e->host != 0 : e->host == 0 && !(has_data_file(h) && copied))
        return refuse(e, "the class and the offset disagree", err);
    if (e->host & ~QCOW2_OFFSET_MASK || e->host & ((UINT64_C(1) << h->cluster_bits) - 1))
        return refuse(e, "not an offset of a cluster", err);
    *word = e->host;
    if (owns && copied)
        *word |= QCOW2_COPIED;
    if (!is_extended(h) && (e->class == QCOW2_ZERO || e->class == QCOW2_ZERO_ALLOC)) {
        if (h->version < 3)
            return refuse(e, "version 2 has no zero clusters", err);
        *word |= ALL_ZERO;
    }
    return 0;
}

int qcow2_entry_encode(uint8_t *p, const struct qcow2_header *h, const struct qcow2_entry *e,
                       bool copied, struct error *err)
{
    uint64_t word = 0;
    int rc;

    if (e->class == QCOW2_COMPRESSED)
        rc = encode_compressed(&word, h, e, err);
    else
        rc = encode_standard(&word, h, e, copied, err);
    if (rc < 0)
        return rc;
    be64_put(p, word);
    if (is_extended(h))
        be64_put(p + 8, (uint64_t)e->sub_zero << 32 | e->sub_alloc);
    return 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Placement leaves: where the clusters of a region lie on the host, column by
 * column. A leaf has exactly one encoding; the decoder takes no other, and the
 * encoder refuses what it could not give back.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "bytes.h"
#include "chunkstore.h"

enum { UNALLOCATED, ZERO, ZERO_HOST, DATA, COMPRESSED, CLASSES };

enum {
    FLAG_SUBCLUSTERS = 1,
    CLUSTER_BITS_MIN = 9,
    CLUSTER_BITS_MAX = 21,
    STREAM_MAX = 1 << 27, /* bytes of a compressed stream */
    SUBCLUSTERS = 32,     /* of a cluster */
};

/* Host offsets, and the ends of compressed streams, are below 2^63: differences fit. */
#define HOST_MAX ((uint64_t)INT64_MAX)

static bool owns_cluster(uint8_t class)
{
    return class == ZERO_HOST || class == DATA;
}

uint64_t cs_placement_bytes(const struct cs_place *places, size_t n, unsigned cluster_bits,
                            bool subclusters)
{
    const uint64_t cluster = UINT64_C(1) << cluster_bits;
    uint64_t bytes = 0;
    for (size_t i = 0; i < n; i++)
        if (places[i].class == DATA && subclusters)
            bytes += cluster / SUBCLUSTERS * (unsigned)__builtin_popcount(places[i].sub_alloc);
        else if (places[i].class == DATA || places[i].class == COMPRESSED)
            bytes += cluster;
    return bytes;
}

/* ---- encoding ---- */

static int check_place(const struct cs_place *p, size_t i, unsigned bits, bool subclusters,
                       struct cs_error *err)
{
    if (p->class >= CLASSES)
        return cs_fail(err, CS_USAGE, "placement: cluster %zu has the unknown class %u", i,
                       p->class);
    if (p->host > HOST_MAX)
        return cs_fail(err, CS_USAGE, "placement: cluster %zu has the host offset %" PRIu64, i,
                       p->host);
    if (p->class == COMPRESSED) {
        if (p->length == 0 || p->length > STREAM_MAX)
            return cs_fail(err, CS_USAGE,
                           "placement: cluster %zu has a compressed length of %" PRIu32, i,
                           p->length);
        if (p->length > HOST_MAX - p->host)
            return cs_fail(err, CS_USAGE, "placement: cluster %zu has the host offset %" PRIu64, i,
                           p->host);
    } else {
        if (p->length != 0)
            return cs_fail(err, CS_USAGE,
                           "placement: cluster %zu has a length of %" PRIu32
                           ", but is not compressed",
                           i, p->length);
        if (p->host & ((UINT64_C(1) << bits) - 1))
            return cs_fail(err, CS_USAGE,
                           "placement: cluster %zu has the host offset %" PRIu64
                           ", not at a cluster's start",
                           i, p->host);
        if (p->host != 0 && !owns_cluster(p->class))
            return cs_fail(err, CS_USAGE,
                           "placement: cluster %zu of class %u has the host offset %" PRIu64, i,
                           p->class, p->host);
    }
    if ((!subclusters || p->class == UNALLOCATED) && (p->sub_alloc != 0 || p->sub_zero != 0))
        return cs_fail(err, CS_USAGE, "placement: cluster %zu has subcluster bits", i);
    return 0;
}

static void put_classes(struct cs_buf *out, const struct cs_place *places, size_t n)
{
    size_t end;
    for (size_t i = 0; i < n; i = end) {
        end = i + 1;
        while (end < n && places[end].class == places[i].class)
            end++;
        cs_put_varint(out, end - i);
        cs_put_u8(out, places[i].class);
    }
}

static void put_hosts(struct cs_buf *out, const struct cs_place *places, size_t n, unsigned bits)
{
    uint64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        if (!owns_cluster(places[i].class))
            continue;
        uint64_t number = places[i].host >> bits;
        cs_put_svarint(out, (int64_t)(number - expected));
        expected = number + 1;
    }
}

static void put_streams(struct cs_buf *out, const struct cs_place *places, size_t n)
{
    uint64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        if (places[i].class != COMPRESSED)
            continue;
        cs_put_svarint(out, (int64_t)(places[i].host - expected));
        cs_put_varint(out, places[i].length);
        expected = places[i].host + places[i].length;
    }
}

int cs_placement_encode(uint8_t **leaf, size_t *len, const struct cs_place *places, size_t n,
                        unsigned cluster_bits, bool subclusters, struct cs_error *err)
{
    struct cs_buf out = {0};
    bool empty = true;
    *leaf = NULL;
    *len = 0;
    if (cluster_bits < CLUSTER_BITS_MIN || cluster_bits > CLUSTER_BITS_MAX)
        return cs_fail(err, CS_USAGE, "placement: %u cluster bits", cluster_bits);
    for (size_t i = 0; i < n; i++) {
        int rc = check_place(&places[i], i, cluster_bits, subclusters, err);
        if (rc < 0)
            return rc;
        empty = empty && places[i].class == UNALLOCATED;
    }
    if (empty)
        return 0;
    cs_put_u8(&out, (uint8_t)cluster_bits);
    cs_put_u8(&out, subclusters ? FLAG_SUBCLUSTERS : 0);
    put_classes(&out, places, n);
    put_hosts(&out, places, n, cluster_bits);
    put_streams(&out, places, n);
    for (size_t i = 0; subclusters && i < n; i++) {
        cs_put_varint(&out, places[i].sub_alloc);
        cs_put_varint(&out, places[i].sub_zero);
    }
    if (out.failed) {
        cs_buf_clear(&out);
        return cs_fail_memory(err);
    }
    *leaf = out.data;
    *len = out.len;
    return 0;
}

/* ---- decoding ---- */

static int cut_short(const struct cs_reader *r, struct cs_error *err)
{
    return cs_fail(err, CS_CORRUPT,
                   "placement leaf: malformed number or unexpected end at byte %zu of %zu", r->pos,
                   r->len);
}

static int get_classes(struct cs_place *places, size_t n, struct cs_reader *r, struct cs_error *err)
{
    size_t i = 0;
    while (i < n) {
        size_t at = r->pos;
        uint64_t count = cs_get_varint(r);
        uint8_t class = cs_get_u8(r);
        if (r->bad)
            return cut_short(r, err);
        if (class >= CLASSES)
            return cs_fail(err, CS_CORRUPT, "placement leaf: unknown class %u at byte %zu", class,
                           at);
        if (count == 0 || count > n - i)
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: %" PRIu64 " clusters of a class at byte %zu, where %zu "
                           "are left",
                           count, at, n - i);
        if (i > 0 && places[i - 1].class == class)
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: class %u at byte %zu goes on from the one before",
                           class, at);
        for (size_t end = i + (size_t)count; i < end; i++)
            places[i].class = class;
    }
    return 0;
}

static int get_hosts(struct cs_place *places, size_t n, unsigned bits, struct cs_reader *r,
                     struct cs_error *err)
{
    int64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        if (!owns_cluster(places[i].class))
            continue;
        size_t at = r->pos;
        int64_t delta = cs_get_svarint(r);
        int64_t number;
        if (r->bad)
            return cut_short(r, err);
        if (__builtin_add_overflow(expected, delta, &number))
            number = -1;
        if (number < 0 || (uint64_t)number > HOST_MAX >> bits)
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: cluster %zu at byte %zu has an impossible host cluster",
                           i, at);
        places[i].host = (uint64_t)number << bits;
        expected = number + 1;
    }
    return 0;
}

static int get_streams(struct cs_place *places, size_t n, struct cs_reader *r, struct cs_error *err)
{
    int64_t expected = 0;
    for (size_t i = 0; i < n; i++) {
        if (places[i].class != COMPRESSED)
            continue;
        size_t at = r->pos;
        int64_t delta = cs_get_svarint(r);
        uint64_t length = cs_get_varint(r);
        int64_t host;
        if (r->bad)
            return cut_short(r, err);
        if (length == 0 || length > STREAM_MAX)
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: cluster %zu at byte %zu has a compressed length of "
                           "%" PRIu64,
                           i, at, length);
        if (__builtin_add_overflow(expected, delta, &host) || host < 0 ||
            __builtin_add_overflow(host, (int64_t)length, &expected))
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: cluster %zu at byte %zu has an impossible host offset",
                           i, at);
        places[i].host = (uint64_t)host;
        places[i].length = (uint32_t)length;
    }
    return 0;
}

static int get_subclusters(struct cs_place *places, size_t n, struct cs_reader *r,
                           struct cs_error *err)
{
    for (size_t i = 0; i < n; i++) {
        size_t at = r->pos;
        uint64_t alloc = cs_get_varint(r);
        uint64_t zero = cs_get_varint(r);
        if (r->bad)
            return cut_short(r, err);
        if (alloc > UINT32_MAX || zero > UINT32_MAX)
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: cluster %zu at byte %zu has more than 32 subclusters",
                           i, at);
        if (places[i].class == UNALLOCATED && (alloc != 0 || zero != 0))
            return cs_fail(err, CS_CORRUPT,
                           "placement leaf: cluster %zu at byte %zu is unallocated and has "
                           "subclusters",
                           i, at);
        places[i].sub_alloc = (uint32_t)alloc;
        places[i].sub_zero = (uint32_t)zero;
    }
    return 0;
}

static int get_header(struct cs_reader *r, unsigned cluster_bits, bool *subclusters,
                      struct cs_error *err)
{
    uint8_t bits = cs_get_u8(r);
    uint8_t flags = cs_get_u8(r);
    if (r->bad)
        return cut_short(r, err);
    if (bits != cluster_bits)
        return cs_fail(err, CS_CORRUPT, "placement leaf: %u cluster bits at byte 0, not %u", bits,
                       cluster_bits);
    if (flags & ~FLAG_SUBCLUSTERS)
        return cs_fail(err, CS_CORRUPT, "placement leaf: unknown flags %#x at byte 1", flags);
    *subclusters = flags & FLAG_SUBCLUSTERS;
    return 0;
}

int cs_placement_decode(struct cs_place *places, size_t n, unsigned cluster_bits, const void *leaf,
                        size_t len, struct cs_error *err)
{
    struct cs_reader r = cs_reader_of(leaf, len);
    bool subclusters = false;
    if (cluster_bits < CLUSTER_BITS_MIN || cluster_bits > CLUSTER_BITS_MAX)
        return cs_fail(err, CS_USAGE, "placement: %u cluster bits", cluster_bits);
    for (size_t i = 0; i < n; i++)
        places[i] = (struct cs_place){0};
    int rc = get_header(&r, cluster_bits, &subclusters, err);
    if (rc == 0)
        rc = get_classes(places, n, &r, err);
    if (rc == 0)
        rc = get_hosts(places, n, cluster_bits, &r, err);
    if (rc == 0)
        rc = get_streams(places, n, &r, err);
    if (rc == 0 && subclusters)
        rc = get_subclusters(places, n, &r, err);
    if (rc < 0)
        return rc;
    if (!cs_reader_done(&r))
        return cs_fail(err, CS_CORRUPT, "placement leaf: %zu bytes left over at byte %zu",
                       cs_reader_left(&r), r.pos);
    for (size_t i = 0; i < n; i++)
        if (places[i].class != UNALLOCATED)
            return 0;
    return cs_fail(err, CS_CORRUPT, "placement leaf: nothing but unallocated clusters at byte 2");
}

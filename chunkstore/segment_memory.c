/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments of the index in memory: one block of buckets, pack names and entries,
 * which is also what the cache holds; and asking them. Entries that
 * are in the cache stay there, and are read as they are asked for.
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "segment_parts.h"

/*
 * A bucket is a range of prefixes, as many as make about ENTRIES_PER_BUCKET entries: the position
 * of its first entry, 4 bytes, and a filter of those in it. It is one line of a processor's cache,
 * for that is what a lookup in a large index costs. One more stands at the end, for its position.
 */
enum {
    BUCKET = 64,
    FILTER_BITS = (BUCKET - 4) * 8,
    ENTRIES_PER_BUCKET = 44, /* 11 bits of the filter for each */
    FILTER_PROBES = 6,
    HUGE_PAGE = 2 << 20,
};

struct cs_segment_layout cs_segment_shape(struct cs_segment *s, uint64_t entries, uint32_t packs)
{
    struct cs_segment_layout l = {.buckets = CS_CACHE_HEADER};
    s->entry_count = entries;
    s->pack_count = packs;
    s->bucket_count = entries / ENTRIES_PER_BUCKET + 1;
    l.packs = l.buckets + ((size_t)s->bucket_count + 1) * BUCKET;
    l.entries = l.packs + (size_t)packs * CS_NAME_SIZE;
    l.end = l.entries + (size_t)entries * CS_SEGMENT_ENTRY;
    return l;
}

static size_t round_up(size_t len)
{
    return (len + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

/* Buckets are asked at random: in huge pages, where the kernel has some, that misses the address
 * translation less. */
int cs_segment_allocate(struct cs_segment *s, const struct cs_segment_layout *l, bool whole,
                        struct cs_error *err)
{
    size_t len = whole ? l->end : l->entries;
    s->memory_len = len;
    s->memory = len < HUGE_PAGE ? calloc(1, len) : aligned_alloc(HUGE_PAGE, round_up(len));
    if (s->memory != NULL && len >= HUGE_PAGE) {
        madvise(s->memory, round_up(len), MADV_HUGEPAGE);
        memset(s->memory, 0, len);
    }
    s->live = calloc(s->pack_count + 1U, sizeof *s->live);
    if (s->memory == NULL || s->live == NULL)
        return cs_fail_memory(err);
    const uint8_t *base = s->memory;
    s->buckets = base + l->buckets;
    s->packs = base + l->packs;
    s->entries = whole ? base + l->entries : NULL;
    s->entries_at = l->entries;
    return 0;
}

static uint64_t be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

/* Ids are as good as random, so that their first bits find the bucket and others are the filter's
 * hashes. Buckets come in the order of the entries. */
static uint64_t bucket_of(const struct cs_segment *s, const uint8_t *prefix)
{
    return (uint64_t)(((unsigned __int128)be64(prefix) * s->bucket_count) >> 64);
}

static unsigned filter_bit(uint64_t bits)
{
    return (unsigned)((bits & 1023) * FILTER_BITS >> 10);
}

static void filter_add(uint8_t *bucket, const uint8_t *prefix)
{
    uint64_t bits = be64(prefix + 8);
    for (unsigned i = 0; i < FILTER_PROBES; i++, bits >>= 10) {
        unsigned bit = filter_bit(bits);
        bucket[4 + bit / 8] |= (uint8_t)(1U << (bit % 8));
    }
}

static bool filter_may_have(const uint8_t *bucket, const uint8_t *prefix)
{
    uint64_t bits = be64(prefix + 8);
    unsigned all = 1;
    for (unsigned i = 0; i < FILTER_PROBES;
         i++, bits >>= 10) { /* a branch would be a coin's throw */
        unsigned bit = filter_bit(bits);
        all &= (unsigned)bucket[4 + bit / 8] >> (bit % 8);
    }
    return all != 0;
}

/* ---- making it, from plaintext that comes in pieces ---- */

int cs_segment_build_begin(struct cs_segment_builder *b, const struct cs_name *id, uint64_t entries,
                           uint32_t packs, struct cs_error *err)
{
    struct cs_segment *s = &b->segment;
    b->layout = cs_segment_shape(s, entries, packs);
    s->id = *id;
    return cs_segment_allocate(s, &b->layout, b->spill == NULL, err);
}

static void decode_entry(const uint8_t *p, struct cs_entry *entry)
{
    memcpy(entry->prefix, p, 16);
    entry->pack = cs_from_le32(p + 16);
    entry->frame = cs_from_le16(p + 20);
    entry->slot = cs_from_le16(p + 22);
}

/* Buckets up to ${last} that have no position yet begin at the next entry. */
static void begin_buckets(struct cs_segment_builder *b, uint64_t last)
{
    for (; b->buckets <= last; b->buckets++)
        cs_le32((uint8_t *)b->segment.memory + b->layout.buckets + b->buckets * BUCKET,
                (uint32_t)b->entries);
}

/* Whether the next entry is in order; then its bucket knows it. */
static bool take_entry(struct cs_segment_builder *b, const uint8_t *p)
{
    struct cs_segment *s = &b->segment;
    struct cs_entry e;
    decode_entry(p, &e);
    if (e.pack >= s->pack_count || (b->entries > 0 && cs_entry_compare(&b->before, &e) >= 0))
        return false;
    b->before = e;
    uint64_t bucket = bucket_of(s, e.prefix);
    begin_buckets(b, bucket);
    filter_add((uint8_t *)s->memory + b->layout.buckets + bucket * BUCKET, e.prefix);
    b->entries++;
    return true;
}

int cs_segment_build(struct cs_segment_builder *b, const uint8_t *data, size_t len,
                     const char *name, struct cs_error *err)
{
    struct cs_segment *s = &b->segment;
    uint64_t names = (uint64_t)s->pack_count * CS_NAME_SIZE;
    if (b->got < names) {
        size_t n = names - b->got < len ? (size_t)(names - b->got) : len;
        memcpy((uint8_t *)s->memory + b->layout.packs + b->got, data, n);
        b->got += n;
        data += n;
        len -= n;
    }
    if (len == 0)
        return 0;
    uint64_t at = b->layout.entries + (b->got - names);
    b->got += len;
    if (b->spill == NULL)
        memcpy((uint8_t *)s->memory + at, data, len);
    else if (!b->spill(b->arg, at, data, len)) {
        b->spilling_failed = true;
        return cs_fail(err, CS_IO, "%s: its copy cannot be written", name);
    }
    while (len > 0) {
        const uint8_t *p = data;
        size_t n = CS_SEGMENT_ENTRY;
        if (b->part_len > 0 || len < n) { /* one that begins in one piece and ends in another */
            n = CS_SEGMENT_ENTRY - b->part_len < len ? CS_SEGMENT_ENTRY - b->part_len : len;
            memcpy(b->part + b->part_len, data, n);
            b->part_len += n;
            p = b->part_len == CS_SEGMENT_ENTRY ? b->part : NULL;
        }
        data += n;
        len -= n;
        if (p == NULL)
            break;
        b->part_len = 0;
        if (!take_entry(b, p))
            return cs_fail(err, CS_CORRUPT, "%s: its entries are out of order or name no pack",
                           name);
    }
    return 0;
}

int cs_segment_build_end(struct cs_segment_builder *b, const char *name, struct cs_error *err)
{
    struct cs_segment *s = &b->segment;
    if (b->entries != s->entry_count)
        return cs_fail(err, CS_CORRUPT, "%s: has not the entries that it tells", name);
    begin_buckets(b, s->bucket_count);
    return 0;
}

int cs_segment_fetch(struct cs_segment *out, struct cs_store *store,
                     const struct cs_state_segment *which, struct cs_error *err)
{
    struct cs_segment_builder b = {.spill = NULL};
    int rc = cs_segment_read(store, which, &b, err);
    if (rc < 0)
        cs_segment_clear(&b.segment);
    else
        *out = b.segment;
    return rc;
}

/* ---- asking ---- */

void cs_segment_prefetch(const struct cs_segment *s, const uint8_t prefix[16])
{
    __builtin_prefetch(s->buckets + bucket_of(s, prefix) * BUCKET);
}

/* Has entries ${first} to ${end} in the window: at most what it holds. */
static int look_at(const struct cs_segment *s, uint64_t first, uint64_t end, struct cs_error *err)
{
    struct cs_segment_window *w = s->window;
    size_t len = (size_t)(end - first) * CS_SEGMENT_ENTRY;
    w->count = 0;
    ssize_t n = pread(s->fd, w->entries, len, (off_t)(s->entries_at + first * CS_SEGMENT_ENTRY));
    if (n != (ssize_t)len) {
        char hex[CS_NAME_HEX];
        return cs_fail(err, CS_IO, "the cache of segments/%s cannot be read: %s",
                       cs_name_hex(&s->id, hex), n < 0 ? strerror(errno) : "it is too short");
    }
    w->first = first;
    w->count = end - first;
    return 0;
}

static int look_from(const struct cs_segment *s, uint64_t first, struct cs_error *err)
{
    uint64_t left = s->entry_count - first;
    return look_at(s, first, first + (left < CS_SEGMENT_WINDOW ? left : CS_SEGMENT_WINDOW), err);
}

static bool in_window(const struct cs_segment *s, uint64_t i)
{
    return i >= s->window->first && i - s->window->first < s->window->count;
}

/* The bytes of an entry that is in memory. */
static const uint8_t *entry_at(const struct cs_segment *s, uint64_t i)
{
    return s->window == NULL ? s->entries + i * CS_SEGMENT_ENTRY
                             : s->window->entries + (i - s->window->first) * CS_SEGMENT_ENTRY;
}

int cs_segment_entry(const struct cs_segment *s, uint64_t i, struct cs_entry *entry,
                     struct cs_error *err)
{
    if (s->window != NULL && !in_window(s, i)) {
        int rc = look_from(s, i, err);
        if (rc < 0)
            return rc;
    }
    decode_entry(entry_at(s, i), entry);
    return 0;
}

/* Whether ${low} lies so soon behind what was last read that lookups go through the segment in its
 * order, as when marks move. */
static bool goes_on(const struct cs_segment *s, uint64_t low)
{
    return low >= s->window->first &&
           low - s->window->first < s->window->count + ENTRIES_PER_BUCKET;
}

/* Position of the first entry from ${low} on, below ${end}, that is not before ${prefix}; then,
 * where there is one, it is in memory. */
static int lower_bound(const struct cs_segment *s, uint64_t low, uint64_t end,
                       const uint8_t prefix[16], uint64_t *at, struct cs_error *err)
{
    uint64_t high = end;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        int rc = 0;
        if (s->window != NULL && high - low > CS_SEGMENT_WINDOW - 1) /* many begin alike */
            rc = look_at(s, middle, middle + 1, err);
        else if (s->window != NULL && !in_window(s, middle)) /* the whole rest, and ${high} */
            rc = goes_on(s, low) ? look_from(s, low, err)
                                 : look_at(s, low, high < end ? high + 1 : end, err);
        if (rc < 0)
            return rc;
        if (memcmp(entry_at(s, middle), prefix, 16) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *at = low;
    return 0;
}

int cs_segment_next(const struct cs_segment *s, const uint8_t prefix[16], uint64_t *at,
                    struct cs_entry *entry, struct cs_error *err)
{
    const uint8_t *bucket = s->buckets + bucket_of(s, prefix) * BUCKET;
    if (*at == 0 && !filter_may_have(bucket, prefix))
        return 0;
    uint64_t end = cs_from_le32(bucket + BUCKET);
    int rc = *at == 0 ? lower_bound(s, cs_from_le32(bucket), end, prefix, at, err) : 0;
    if (rc < 0 || *at >= end)
        return rc;
    rc = cs_segment_entry(s, *at, entry, err);
    return rc < 0 ? rc : memcmp(entry->prefix, prefix, 16) == 0;
}

void cs_segment_clear(struct cs_segment *s)
{
    if (s->window != NULL)
        close(s->fd);
    free(s->window);
    free(s->memory);
    free(s->live);
    free(s->marks);
    *s = (struct cs_segment){0};
}

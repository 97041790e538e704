/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments of the index in memory: one block of fan-out, filter, pack names and
 * entries, which is also what the cache holds; and asking them.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "segment_parts.h"

enum {
    FILTER_BLOCK = 64,
    FILTER_BITS_PER_ENTRY = 10,
    FILTER_PROBES = 6,
    ENTRIES_PER_FAN = 64, /* 1.5 KiB: a hit touches one page, or two */
    MAX_FAN_BITS = 26,
};

static unsigned fan_bits_for(uint64_t entries)
{
    unsigned bits = 0;
    while (bits < MAX_FAN_BITS && entries >> bits > ENTRIES_PER_FAN)
        bits++;
    return bits;
}

static uint64_t filter_blocks_for(uint64_t entries)
{
    return entries * FILTER_BITS_PER_ENTRY / (FILTER_BLOCK * UINT64_C(8)) + 1;
}

struct cs_segment_layout cs_segment_layout(unsigned fan_bits, uint64_t filter_blocks,
                                           uint32_t packs, uint64_t entries)
{
    struct cs_segment_layout l = {.fan = CS_CACHE_HEADER};
    l.filter = l.fan + ((((size_t)1 << fan_bits) + 1) * 4 + 63) / 64 * 64;
    l.packs = l.filter + (size_t)filter_blocks * FILTER_BLOCK;
    l.entries = l.packs + (size_t)packs * CS_NAME_SIZE;
    l.end = l.entries + (size_t)entries * CS_SEGMENT_ENTRY;
    return l;
}

struct cs_segment_layout cs_segment_shape(struct cs_segment *s, uint64_t entries, uint32_t packs)
{
    s->entry_count = entries;
    s->pack_count = packs;
    s->fan_bits = fan_bits_for(entries);
    s->filter_blocks = filter_blocks_for(entries);
    return cs_segment_layout(s->fan_bits, s->filter_blocks, packs, entries);
}

void cs_segment_point_into(struct cs_segment *s)
{
    const uint8_t *base = s->memory;
    struct cs_segment_layout l =
        cs_segment_layout(s->fan_bits, s->filter_blocks, s->pack_count, s->entry_count);
    s->fan = (const uint32_t *)(const void *)(base + l.fan);
    s->filter = base + l.filter;
    s->packs = base + l.packs;
    s->entries = base + l.entries;
}

static uint64_t be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++)
        v = v << 8 | p[i];
    return v;
}

static size_t fan_of(const struct cs_segment *s, const uint8_t *prefix)
{
    return s->fan_bits == 0 ? 0 : (size_t)(be64(prefix) >> (64 - s->fan_bits));
}

/* Ids are as good as random, so that their own bits serve as the filter's hashes. */
static size_t filter_block_of(const struct cs_segment *s, const uint8_t *prefix)
{
    return (size_t)(((unsigned __int128)be64(prefix + 8) * s->filter_blocks) >> 64);
}

static void filter_add(const struct cs_segment *s, uint8_t *filter, const uint8_t *prefix)
{
    uint8_t *block = filter + filter_block_of(s, prefix) * FILTER_BLOCK;
    uint64_t bits = be64(prefix);
    for (unsigned i = 0; i < FILTER_PROBES; i++, bits >>= 9)
        block[(bits & 511) >> 3] |= (uint8_t)(1U << (bits & 7));
}

static bool filter_may_have(const struct cs_segment *s, const uint8_t *prefix)
{
    const uint8_t *block = s->filter + filter_block_of(s, prefix) * FILTER_BLOCK;
    uint64_t bits = be64(prefix);
    for (unsigned i = 0; i < FILTER_PROBES; i++, bits >>= 9)
        if (!(block[(bits & 511) >> 3] & 1U << (bits & 7)))
            return false;
    return true;
}

/* ---- making it, from plaintext that comes in pieces ---- */

int cs_segment_build_begin(struct cs_segment_builder *b, const struct cs_name *id, uint64_t entries,
                           uint32_t packs, struct cs_error *err)
{
    struct cs_segment *s = &b->segment;
    b->layout = cs_segment_shape(s, entries, packs);
    s->id = *id;
    s->memory_len = b->spill != NULL ? b->layout.entries : b->layout.end;
    s->memory = calloc(1, s->memory_len);
    s->live = calloc(packs, sizeof *s->live);
    if (s->memory == NULL || s->live == NULL)
        return cs_fail_memory(err);
    cs_segment_point_into(s);
    return 0;
}

static void decode_entry(const uint8_t *p, struct cs_entry *entry)
{
    memcpy(entry->prefix, p, 16);
    entry->pack = cs_from_le32(p + 16);
    entry->frame = cs_from_le16(p + 20);
    entry->slot = cs_from_le16(p + 22);
}

/* Whether the next entry is in order; then fan-out and filter know it. */
static bool take_entry(struct cs_segment_builder *b, const uint8_t *p)
{
    struct cs_segment *s = &b->segment;
    uint8_t *base = s->memory;
    uint32_t *fan = (uint32_t *)(void *)(base + b->layout.fan);
    struct cs_entry e;
    decode_entry(p, &e);
    if (e.pack >= s->pack_count || (b->entries > 0 && cs_entry_compare(&b->before, &e) >= 0))
        return false;
    b->before = e;
    for (size_t f = fan_of(s, e.prefix); b->fans <= f; b->fans++)
        fan[b->fans] = (uint32_t)b->entries;
    filter_add(s, base + b->layout.filter, e.prefix);
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
    else if (b->spill(b->arg, at, data, len, err) < 0) {
        b->spilling_failed = true;
        return CS_IO;
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
    uint32_t *fan = (uint32_t *)(void *)((uint8_t *)s->memory + b->layout.fan);
    if (b->entries != s->entry_count)
        return cs_fail(err, CS_CORRUPT, "%s: has not the entries that it tells", name);
    for (; b->fans <= (size_t)1 << s->fan_bits; b->fans++)
        fan[b->fans] = (uint32_t)s->entry_count;
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

void cs_segment_entry(const struct cs_segment *s, uint64_t i, struct cs_entry *entry)
{
    const struct cs_segment_window *w = s->window;
    if (w != NULL && i >= w->first && i - w->first < w->count)
        decode_entry(w->entries + (i - w->first) * CS_SEGMENT_ENTRY, entry);
    else
        decode_entry(s->entries + i * CS_SEGMENT_ENTRY, entry);
}

void cs_segment_prefetch(const struct cs_segment *s, const uint8_t prefix[16])
{
    __builtin_prefetch(s->filter + filter_block_of(s, prefix) * FILTER_BLOCK);
    __builtin_prefetch(s->fan + fan_of(s, prefix));
}

/* The bytes of the entries from ${low} to ${high}: read, where they are mapped, since what is
 * mapped and touched at random would be counted as this process's memory for ever. */
static const uint8_t *entries_at(const struct cs_segment *s, uint64_t low, uint64_t high)
{
    struct cs_segment_window *w = s->window;
    uint64_t n = high - low;
    if (w == NULL || n > CS_SEGMENT_WINDOW)
        return s->entries + low * CS_SEGMENT_ENTRY;
    size_t len = (size_t)n * CS_SEGMENT_ENTRY;
    uint64_t offset = (uint64_t)(s->entries - (const uint8_t *)s->memory) + low * CS_SEGMENT_ENTRY;
    w->count = 0;
    if (pread(s->fd, w->entries, len, (off_t)offset) != (ssize_t)len)
        return s->entries + low * CS_SEGMENT_ENTRY;
    w->first = low;
    w->count = n;
    return w->entries;
}

uint64_t cs_segment_find(const struct cs_segment *s, const uint8_t prefix[16])
{
    if (!filter_may_have(s, prefix))
        return s->entry_count;
    size_t fan = fan_of(s, prefix);
    uint64_t first = s->fan[fan], end = s->fan[fan + 1], low = first, high = end;
    const uint8_t *entries = entries_at(s, first, end);
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (memcmp(entries + (middle - first) * CS_SEGMENT_ENTRY, prefix, 16) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < end && memcmp(entries + (low - first) * CS_SEGMENT_ENTRY, prefix, 16) == 0)
        return low;
    return s->entry_count;
}

void cs_segment_clear(struct cs_segment *s)
{
    if (s->window != NULL) {
        munmap(s->memory, s->memory_len);
        close(s->fd);
    } else {
        free(s->memory);
    }
    free(s->window);
    free(s->live);
    free(s->marks);
    *s = (struct cs_segment){0};
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments of the index: sealed files in the repository; in memory one block of
 * fan-out, filter, pack names and entries, which is also what the cache holds.
 */
#include "segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checksum.h"

static const char magic[8] = "byreindx";
static const char cache_magic[8] = "byrecac1";

enum {
    CACHE_HEADER = 64,
    CACHE_CHECKED = 48, /* the checksum of everything else lies behind */
    FILTER_BLOCK = 64,
    FILTER_BITS_PER_ENTRY = 10,
    FILTER_PROBES = 6,
    ENTRIES_PER_FAN = 64, /* 1.5 KiB: a hit touches one page, or two */
    MAX_FAN_BITS = 26,
};

static const uint64_t max_entries = UINT32_MAX;

static void segment_file(char out[64], const struct cs_name *id)
{
    char hex[CS_NAME_HEX];
    snprintf(out, 64, "segments/%s", cs_name_hex(id, hex));
}

int cs_entry_compare(const void *a, const void *b)
{
    const struct cs_entry *x = a, *y = b;
    int order = memcmp(x->prefix, y->prefix, sizeof x->prefix);
    if (order != 0)
        return order;
    if (x->pack != y->pack)
        return x->pack < y->pack ? -1 : 1;
    if (x->frame != y->frame)
        return x->frame < y->frame ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* ---- the sealed file ---- */

struct header {
    uint16_t epoch;
    uint32_t packs;
    uint64_t entries;
    struct cs_name id;
    uint32_t blocks;
};

static uint64_t plain_size(const struct header *h)
{
    return (uint64_t)h->packs * CS_NAME_SIZE + h->entries * CS_SEGMENT_ENTRY;
}

static uint32_t block_count(uint64_t plain)
{
    return (uint32_t)((plain + CS_SEGMENT_BLOCK - 1) / CS_SEGMENT_BLOCK);
}

static uint64_t sealed_size(const struct header *h)
{
    return CS_SEGMENT_HEADER + plain_size(h) + (uint64_t)h->blocks * CS_SEAL_OVERHEAD;
}

static void header_encode(uint8_t out[CS_SEGMENT_HEADER], const struct header *h)
{
    memset(out, 0, CS_SEGMENT_HEADER);
    memcpy(out, magic, 8);
    cs_le16(out + 8, 1);
    cs_le16(out + 10, h->epoch);
    cs_le32(out + 12, h->packs);
    cs_le64(out + 16, h->entries);
    memcpy(out + 24, h->id.bytes, CS_NAME_SIZE);
    cs_le32(out + 40, h->blocks);
}

static int header_decode(struct header *h, const uint8_t in[CS_SEGMENT_HEADER],
                         const struct cs_state_segment *which, const char *name,
                         struct cs_error *err)
{
    struct cs_reader r = cs_reader_of(in, CS_SEGMENT_HEADER);
    const uint8_t *begin = cs_get_bytes(&r, 8);
    uint16_t version = cs_get_u16(&r);
    if (memcmp(begin, magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "%s: does not begin as a segment", name);
    if (version != 1)
        return cs_fail(err, CS_CORRUPT,
                       "%s: has version %u, which this repository\'s format does not know", name,
                       version);
    h->epoch = cs_get_u16(&r);
    h->packs = cs_get_u32(&r);
    h->entries = cs_get_u64(&r);
    cs_get_copy(&r, &h->id, sizeof h->id);
    h->blocks = cs_get_u32(&r);
    cs_get_zeros(&r, 20);
    if (!cs_reader_done(&r) || memcmp(&h->id, &which->id, sizeof h->id) != 0 ||
        h->entries != which->entries || h->entries == 0 || h->entries > max_entries ||
        h->packs == 0 || h->blocks != block_count(plain_size(h)) || sealed_size(h) != which->size)
        return cs_fail(err, CS_CORRUPT, "%s: its header is not what the log says of it", name);
    return 0;
}

/* Associated data of block ${number}. */
enum { BLOCK_AD = 16 + CS_ID_SIZE + CS_SEGMENT_HEADER + 4 };

static void block_identity(uint8_t ad[BLOCK_AD], const struct cs_store *store,
                           const uint8_t header[CS_SEGMENT_HEADER], uint32_t number)
{
    memset(ad, 0, 16);
    memcpy(ad, "byre segment", 12);
    memcpy(ad + 16, store->config.repository_id.bytes, CS_ID_SIZE);
    memcpy(ad + 48, header, CS_SEGMENT_HEADER);
    cs_le32(ad + 48 + CS_SEGMENT_HEADER, number);
}

struct block_writer { /* cuts the plaintext into sealed blocks */
    struct cs_store *store;
    struct cs_put *put;
    const uint8_t *key;
    const uint8_t *header;
    uint8_t *plain;
    uint8_t *sealed;
    size_t fill;
    uint32_t number;
};

static int flush_block(struct block_writer *w, struct cs_error *err)
{
    uint8_t ad[BLOCK_AD];
    if (w->fill == 0)
        return 0;
    block_identity(ad, w->store, w->header, w->number++);
    cs_seal(w->sealed, w->key, ad, sizeof ad, w->plain, w->fill);
    size_t len = w->fill + CS_SEAL_OVERHEAD;
    w->fill = 0;
    return w->store->backend->ops->write(w->put, w->sealed, len, err);
}

static int put_plain(struct block_writer *w, const uint8_t *data, size_t len, struct cs_error *err)
{
    while (len > 0) {
        size_t n = CS_SEGMENT_BLOCK - w->fill;
        if (n > len)
            n = len;
        memcpy(w->plain + w->fill, data, n);
        w->fill += n;
        data += n;
        len -= n;
        if (w->fill == CS_SEGMENT_BLOCK) {
            int rc = flush_block(w, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static void next_of_array(void *arg, struct cs_entry *entry)
{
    const struct cs_entry **next = arg;
    *entry = *(*next)++;
}

int cs_segment_write(struct cs_store *store, const struct cs_entry *entries, uint64_t n,
                     const struct cs_name *packs, uint32_t pack_count, struct cs_state_segment *out,
                     struct cs_error *err)
{
    return cs_segment_write_from(store, next_of_array, (void *)&entries, n, packs, pack_count, out,
                                 err);
}

int cs_segment_write_from(struct cs_store *store, void (*next)(void *arg, struct cs_entry *entry),
                          void *arg, uint64_t n, const struct cs_name *packs, uint32_t pack_count,
                          struct cs_state_segment *out, struct cs_error *err)
{
    struct header h = {.epoch = cs_store_current_epoch(store), .packs = pack_count, .entries = n};
    uint8_t header[CS_SEGMENT_HEADER];
    char name[64];
    const struct cs_epoch *keys = NULL;
    cs_random(&h.id, sizeof h.id);
    h.blocks = block_count(plain_size(&h));
    header_encode(header, &h);
    segment_file(name, &h.id);
    int rc = cs_store_epoch(store, h.epoch, &keys, err);
    if (rc < 0)
        return rc;
    struct block_writer w = {.store = store, .key = keys->segment_key, .header = header};
    w.plain = malloc(CS_SEGMENT_BLOCK);
    w.sealed = malloc(CS_SEGMENT_BLOCK + CS_SEAL_OVERHEAD);
    if (w.plain == NULL || w.sealed == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    rc = store->backend->ops->create(store->backend, name, &w.put, err);
    if (rc == 0)
        rc = store->backend->ops->write(w.put, header, sizeof header, err);
    for (uint32_t i = 0; rc == 0 && i < pack_count; i++)
        rc = put_plain(&w, packs[i].bytes, CS_NAME_SIZE, err);
    for (uint64_t i = 0; rc == 0 && i < n; i++) {
        uint8_t entry[CS_SEGMENT_ENTRY];
        struct cs_entry e;
        next(arg, &e);
        memcpy(entry, e.prefix, 16);
        cs_le32(entry + 16, e.pack);
        cs_le16(entry + 20, e.frame);
        cs_le16(entry + 22, e.slot);
        rc = put_plain(&w, entry, sizeof entry, err);
    }
    if (rc == 0)
        rc = flush_block(&w, err);
    if (rc == 0) {
        rc = store->backend->ops->finish(w.put, false, err);
        w.put = NULL;
    }
    if (rc == 0)
        *out = (struct cs_state_segment){.id = h.id, .size = sealed_size(&h), .entries = n};
out:
    if (w.put != NULL)
        store->backend->ops->abandon(w.put);
    free(w.plain);
    free(w.sealed);
    return rc;
}

/* ---- the form in memory ---- */

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

/* Where the parts lie: header, fan-out, filter, pack names, entries. */
struct layout {
    size_t fan, filter, packs, entries, end;
};

static struct layout layout_of(unsigned fan_bits, uint64_t filter_blocks, uint32_t packs,
                               uint64_t entries)
{
    struct layout l = {.fan = CACHE_HEADER};
    l.filter = l.fan + ((((size_t)1 << fan_bits) + 1) * 4 + 63) / 64 * 64;
    l.packs = l.filter + (size_t)filter_blocks * FILTER_BLOCK;
    l.entries = l.packs + (size_t)packs * CS_NAME_SIZE;
    l.end = l.entries + (size_t)entries * CS_SEGMENT_ENTRY;
    return l;
}

static void point_into(struct cs_segment *s)
{
    const uint8_t *base = s->memory;
    struct layout l = layout_of(s->fan_bits, s->filter_blocks, s->pack_count, s->entry_count);
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

/* Fills fan-out and filter from the entries; false where these are out of order. */
static bool derive(struct cs_segment *s)
{
    uint8_t *base = s->memory;
    struct layout l = layout_of(s->fan_bits, s->filter_blocks, s->pack_count, s->entry_count);
    uint32_t *fan = (uint32_t *)(void *)(base + l.fan);
    size_t fans = (size_t)1 << s->fan_bits, next = 0;
    struct cs_entry before, e;
    for (uint64_t i = 0; i < s->entry_count; i++) {
        cs_segment_entry(s, i, &e);
        if (e.pack >= s->pack_count || (i > 0 && cs_entry_compare(&before, &e) >= 0))
            return false;
        before = e;
        for (size_t f = fan_of(s, e.prefix); next <= f; next++)
            fan[next] = (uint32_t)i;
        filter_add(s, base + l.filter, e.prefix);
    }
    for (; next <= fans; next++)
        fan[next] = (uint32_t)s->entry_count;
    return true;
}

void cs_segment_entry(const struct cs_segment *s, uint64_t i, struct cs_entry *entry)
{
    const uint8_t *p = s->entries + i * CS_SEGMENT_ENTRY;
    memcpy(entry->prefix, p, 16);
    entry->pack = cs_from_le32(p + 16);
    entry->frame = cs_from_le16(p + 20);
    entry->slot = cs_from_le16(p + 22);
}

uint64_t cs_segment_find(const struct cs_segment *s, const uint8_t prefix[16])
{
    if (!filter_may_have(s, prefix))
        return s->entry_count;
    size_t fan = fan_of(s, prefix);
    uint64_t low = s->fan[fan], high = s->fan[fan + 1];
    uint64_t end = high;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (memcmp(s->entries + middle * CS_SEGMENT_ENTRY, prefix, 16) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < end && memcmp(s->entries + low * CS_SEGMENT_ENTRY, prefix, 16) == 0)
        return low;
    return s->entry_count;
}

void cs_segment_clear(struct cs_segment *s)
{
    if (s->mapped)
        munmap(s->memory, s->memory_len);
    else
        free(s->memory);
    free(s->live);
    free(s->marks);
    *s = (struct cs_segment){0};
}

static int read_blocks(struct cs_segment *s, struct cs_store *store, const struct header *h,
                       const uint8_t header[CS_SEGMENT_HEADER], const char *name,
                       struct cs_error *err)
{
    const struct cs_epoch *keys = NULL;
    int rc = cs_store_epoch_of(store, h->epoch, name, &keys, err);
    if (rc < 0)
        return rc;
    uint8_t *sealed = malloc(CS_SEGMENT_BLOCK + CS_SEAL_OVERHEAD);
    if (sealed == NULL)
        return cs_fail_memory(err);
    uint64_t left = plain_size(h), at = CS_SEGMENT_HEADER;
    uint8_t *plain = (uint8_t *)s->memory + (s->memory_len - left);
    for (uint32_t i = 0; rc == 0 && i < h->blocks; i++) {
        uint8_t ad[BLOCK_AD];
        size_t n = left < CS_SEGMENT_BLOCK ? (size_t)left : CS_SEGMENT_BLOCK;
        rc = cs_backend_read_exact(store->backend, name, at, sealed, n + CS_SEAL_OVERHEAD, err);
        if (rc < 0)
            break;
        block_identity(ad, store, header, i);
        if (!cs_unseal(plain, keys->segment_key, ad, sizeof ad, sealed, n + CS_SEAL_OVERHEAD))
            rc = cs_fail(err, CS_CORRUPT, "%s: block %" PRIu32 " at %" PRIu64 " was altered", name,
                         i, at);
        plain += n;
        left -= n;
        at += n + CS_SEAL_OVERHEAD;
    }
    free(sealed);
    return rc;
}

int cs_segment_fetch(struct cs_segment *out, struct cs_store *store,
                     const struct cs_state_segment *which, struct cs_error *err)
{
    char name[64];
    uint8_t header[CS_SEGMENT_HEADER];
    uint64_t size = 0;
    struct header h = {0};
    struct cs_segment s = {.id = which->id};
    segment_file(name, &which->id);
    int rc = store->backend->ops->size(store->backend, name, &size, err);
    if (rc == 0 && size != which->size)
        return cs_fail(err, CS_CORRUPT, "%s: has %" PRIu64 " bytes, the log says %" PRIu64, name,
                       size, which->size);
    if (rc == 0)
        rc = cs_backend_read_exact(store->backend, name, 0, header, sizeof header, err);
    if (rc == 0)
        rc = header_decode(&h, header, which, name, err);
    if (rc != 0)
        goto out;
    s.entry_count = h.entries;
    s.pack_count = h.packs;
    s.fan_bits = fan_bits_for(h.entries);
    s.filter_blocks = filter_blocks_for(h.entries);
    s.memory_len = layout_of(s.fan_bits, s.filter_blocks, h.packs, h.entries).end;
    s.memory = calloc(1, s.memory_len);
    s.live = calloc(h.packs, sizeof *s.live);
    if (s.memory == NULL || s.live == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    point_into(&s);
    rc = read_blocks(&s, store, &h, header, name, err);
    if (rc == 0 && !derive(&s))
        rc = cs_fail(err, CS_CORRUPT, "%s: its entries are out of order or name no pack", name);
out:
    if (rc == CS_NOT_FOUND) /* it may be deleted between any two of these calls */
        rc = cs_fail(err, CS_CORRUPT, "%s: is missing", name);
    if (rc < 0)
        cs_segment_clear(&s);
    else
        *out = s;
    return rc;
}

/* ---- the cache ---- */

static void cache_header(uint8_t out[CACHE_HEADER], const struct cs_segment *s)
{
    memset(out, 0, CACHE_HEADER);
    memcpy(out, cache_magic, 8);
    memcpy(out + 8, s->id.bytes, CS_NAME_SIZE);
    cs_le64(out + 24, s->entry_count);
    cs_le64(out + 32, s->filter_blocks);
    cs_le32(out + 40, s->pack_count);
    cs_le32(out + 44, s->fan_bits);
    cs_checksum(out + CACHE_CHECKED, (const uint8_t *)s->memory + CACHE_HEADER,
                s->memory_len - CACHE_HEADER);
}

static char *cache_path(const struct cs_store *store, const struct cs_name *id)
{
    char hex[CS_NAME_HEX];
    char *path = NULL;
    return asprintf(&path, "%s/segments/%s", store->cache_dir, cs_name_hex(id, hex)) < 0 ? NULL
                                                                                         : path;
}

/* Maps the cached copy. False where there is none, or one that is not to be trusted. */
static bool cache_load(struct cs_segment *out, const struct cs_store *store,
                       const struct cs_state_segment *which)
{
    struct cs_segment s = {.id = which->id, .mapped = true};
    uint8_t expected[CACHE_HEADER];
    struct stat st;
    bool good = false;
    char *path = cache_path(store, &which->id);
    int fd = path != NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    free(path);
    if (fd < 0)
        return false;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > CACHE_HEADER) {
        s.memory_len = (size_t)st.st_size;
        s.memory = mmap(NULL, s.memory_len, PROT_READ, MAP_SHARED, fd, 0);
        if (s.memory == MAP_FAILED)
            s.memory = NULL;
    }
    close(fd);
    if (s.memory == NULL)
        return false;
    const uint8_t *head = s.memory;
    s.entry_count = cs_from_le64(head + 24);
    s.pack_count = cs_from_le32(head + 40);
    s.fan_bits = fan_bits_for(s.entry_count);
    s.filter_blocks = filter_blocks_for(s.entry_count);
    if (s.entry_count == which->entries && s.entry_count <= max_entries &&
        layout_of(s.fan_bits, s.filter_blocks, s.pack_count, s.entry_count).end == s.memory_len) {
        cache_header(expected, &s);
        good = memcmp(expected, head, CACHE_HEADER) == 0;
    }
    if (good) {
        s.live = calloc(s.pack_count + 1U, sizeof *s.live);
        good = s.live != NULL;
    }
    if (!good) {
        cs_segment_clear(&s);
        return false;
    }
    point_into(&s);
    *out = s;
    return true;
}

/* A copy for the next time. What fails here costs time, and nothing else. */
static void cache_store(const struct cs_segment *s, const struct cs_store *store)
{
    char *folder = NULL, *path = cache_path(store, &s->id), *temporary = NULL;
    if (path == NULL || asprintf(&folder, "%s/segments", store->cache_dir) < 0 ||
        asprintf(&temporary, "%s.%ld", path, (long)getpid()) < 0)
        goto out;
    for (char *p = folder + 1;; p++) {
        char c = *p;
        if (c != '/' && c != 0)
            continue;
        *p = 0;
        mkdir(folder, 0700);
        *p = c;
        if (c == 0)
            break;
    }
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        goto out;
    FILE *file = fdopen(fd, "w");
    if (file == NULL) {
        close(fd);
        goto out;
    }
    bool good = fwrite(s->memory, 1, s->memory_len, file) == s->memory_len;
    good = fclose(file) == 0 && good;
    if (!good || rename(temporary, path) < 0)
        unlink(temporary);
out:
    free(folder);
    free(path);
    free(temporary);
}

int cs_segment_load(struct cs_segment *segment, struct cs_store *store,
                    const struct cs_state_segment *which, struct cs_error *err)
{
    if (store->cache_dir != NULL && cache_load(segment, store, which))
        return 0;
    int rc = cs_segment_fetch(segment, store, which, err);
    if (rc == 0 && store->cache_dir != NULL) {
        cache_header(segment->memory, segment);
        cache_store(segment, store);
    }
    return rc;
}

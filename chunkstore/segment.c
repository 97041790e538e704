/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments of the index as sealed files in the repository: writing them, and
 * reading them block by block.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "segment_parts.h"

static const char magic[8] = "byreindx";

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
        h->entries != which->entries || h->entries == 0 || h->entries > CS_SEGMENT_ENTRIES_MAX ||
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
    return cs_backend_write(w->store->backend, w->put, w->sealed, len, err);
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
        rc = cs_backend_write(store->backend, w.put, header, sizeof header, err);
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

/* ---- reading ---- */

static int read_blocks(struct cs_store *store, const struct header *h,
                       const uint8_t header[CS_SEGMENT_HEADER], const char *name,
                       struct cs_segment_builder *builder, struct cs_error *err)
{
    const struct cs_epoch *keys = NULL;
    int rc = cs_store_epoch_of(store, h->epoch, name, &keys, err);
    if (rc < 0)
        return rc;
    uint8_t *sealed = malloc(CS_SEGMENT_BLOCK + CS_SEAL_OVERHEAD);
    uint8_t *plain = malloc(CS_SEGMENT_BLOCK);
    if (sealed == NULL || plain == NULL)
        rc = cs_fail_memory(err);
    uint64_t left = plain_size(h), at = CS_SEGMENT_HEADER;
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
        if (rc == 0)
            rc = cs_segment_build(builder, plain, n, name, err);
        left -= n;
        at += n + CS_SEAL_OVERHEAD;
    }
    free(sealed);
    free(plain);
    return rc;
}

int cs_segment_read(struct cs_store *store, const struct cs_state_segment *which,
                    struct cs_segment_builder *builder, struct cs_error *err)
{
    char name[64];
    uint8_t header[CS_SEGMENT_HEADER];
    uint64_t size = 0;
    struct header h = {0};
    segment_file(name, &which->id);
    int rc = store->backend->ops->size(store->backend, name, &size, err);
    if (rc == 0 && size != which->size)
        return cs_fail(err, CS_CORRUPT, "%s: has %" PRIu64 " bytes, the log says %" PRIu64, name,
                       size, which->size);
    if (rc == 0)
        rc = cs_backend_read_exact(store->backend, name, 0, header, sizeof header, err);
    if (rc == 0)
        rc = header_decode(&h, header, which, name, err);
    if (rc == 0)
        rc = cs_segment_build_begin(builder, &which->id, h.entries, h.packs, err);
    if (rc == 0)
        rc = read_blocks(store, &h, header, name, builder, err);
    if (rc == 0)
        rc = cs_segment_build_end(builder, name, err);
    if (rc == CS_NOT_FOUND) /* it may be deleted between any two of these calls */
        rc = cs_fail(err, CS_CORRUPT, "%s: is missing", name);
    return rc;
}

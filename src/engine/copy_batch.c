/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Some content leaves of a copy: read together, so that frames which several of
 * them need are opened once, and put in their order. What a leaf means is
 * copy_layer.c's, how chunks are read the store's.
 */
#include "engine/copy_batch.h"

#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"

enum {
    LEAVES = 256,      /* of a batch; most of them are known */
    CHUNKS = 32 << 10, /* of one, about */
};

struct leaf {
    struct cs_region *region; /* NULL: it is known */
    struct cs_subtree known;
};

struct part { /* where a chunk belongs */
    struct cs_region *region;
    uint32_t run;  /* of it */
    uint32_t used; /* bytes of that run before the chunk */
};

struct copy_batch {
    struct cs_fetch *fetch;
    struct cs_writer *writer;
    struct cs_tree_builder *builder;
    struct leaf leaves[LEAVES];
    size_t count;
    size_t put;     /* of them */
    size_t regions; /* that are not known */
    struct cs_wanted *wanted;
    struct part *parts; /* of each that is wanted */
    size_t wanted_count, wanted_room;
};

int copy_batch_new(struct copy_batch **out, struct cs_store *from, struct error *err)
{
    struct cs_error ce;
    struct copy_batch *b = calloc(1, sizeof *b);
    *out = NULL;
    if (b == NULL)
        return error_no_memory(err);
    if (cs_fetch_new(&b->fetch, from, &ce) < 0) {
        free(b);
        return engine_store_error(err, &ce);
    }
    *out = b;
    return 0;
}

void copy_batch_free(struct copy_batch *b)
{
    if (b == NULL)
        return;
    cs_fetch_free(b->fetch);
    free(b->wanted);
    free(b->parts);
    free(b);
}

static void clear(struct copy_batch *b)
{
    b->count = b->put = b->regions = b->wanted_count = 0;
}

void copy_batch_begin(struct copy_batch *b, struct cs_writer *writer,
                      struct cs_tree_builder *builder)
{
    clear(b);
    b->writer = writer;
    b->builder = builder;
}

void copy_batch_drop(struct copy_batch *b)
{
    cs_fetch_stop(b->fetch);
    for (; b->put < b->count; b->put++)
        if (b->leaves[b->put].region != NULL)
            cs_region_cancel(b->writer, b->leaves[b->put].region);
    clear(b);
}

/* ---- reading ---- */

/* Brings a chunk to its place: it may span runs. In a worker. */
static void place(const struct part *part, const uint8_t *data, uint32_t length)
{
    const struct cs_region *region = part->region;
    uint32_t used = part->used;
    for (uint32_t run = part->run, at = 0; at < length; run++, used = 0) {
        const struct cs_run *r = &region->runs[run];
        uint32_t n = r->zero ? 0 : r->length - used;
        if (n > length - at)
            n = length - at;
        memcpy(region->data + r->offset + used, data + at, n);
        at += n;
    }
}

static int on_use(void *arg, const struct cs_fetched *chunks, size_t n, uint64_t done[2],
                  struct cs_error *err)
{
    const struct copy_batch *b = arg;
    (void)done;
    (void)err;
    for (size_t i = 0; i < n; i++)
        place(&b->parts[chunks[i].wanted->tag], chunks[i].data, chunks[i].wanted->length);
    return 0;
}

static int on_used(void *arg, const uint64_t done[2], struct cs_error *err)
{
    (void)arg;
    (void)done;
    (void)err;
    return 0;
}

static int read_chunks(struct copy_batch *b, struct error *err)
{
    const struct cs_fetch_user user = {.use = on_use, .used = on_used, .arg = b};
    struct cs_error ce;
    bool more = b->wanted_count > 0;
    if (more && cs_fetch_begin(b->fetch, &user, b->wanted, b->wanted_count, &ce) < 0)
        return engine_store_error(err, &ce);
    while (more)
        if (cs_fetch_step(b->fetch, true, &more, &ce) < 0)
            return engine_store_error(err, &ce);
    return 0;
}

/* ---- collecting ---- */

/* Reads what is wanted, and puts all leaves. */
static int flush(struct copy_batch *b, struct error *err)
{
    struct cs_error ce;
    int rc = read_chunks(b, err);
    while (rc == 0 && b->put < b->count) {
        struct leaf *leaf = &b->leaves[b->put++];
        rc = leaf->region != NULL ? cs_region_put(&b->builder, 1, leaf->region, NULL, &ce)
                                  : cs_tree_add_subtree(b->builder, &leaf->known, &ce);
        if (rc < 0)
            rc = engine_store_error(err, &ce);
    }
    if (rc == 0)
        clear(b);
    return rc;
}

static int flush_if_full(struct copy_batch *b, struct error *err)
{
    bool full = b->count == LEAVES || b->wanted_count >= CHUNKS || b->regions == COPY_REGIONS;
    return full ? flush(b, err) : 0;
}

static int make_room(struct copy_batch *b, size_t n, struct error *err)
{
    size_t room = b->wanted_room > 0 ? b->wanted_room : 1024;
    while (room < b->wanted_count + n)
        room *= 2;
    if (room == b->wanted_room)
        return 0;
    struct cs_wanted *wanted = reallocarray(b->wanted, room, sizeof *wanted);
    if (wanted != NULL)
        b->wanted = wanted;
    struct part *parts = reallocarray(b->parts, room, sizeof *parts);
    if (parts != NULL)
        b->parts = parts;
    if (wanted == NULL || parts == NULL)
        return error_no_memory(err);
    b->wanted_room = room;
    return 0;
}

int copy_batch_add_known(struct copy_batch *b, const struct cs_subtree *leaf, struct error *err)
{
    b->leaves[b->count++] = (struct leaf){.known = *leaf};
    return flush_if_full(b, err);
}

int copy_batch_add(struct copy_batch *b, struct cs_region *region, const struct cs_content *content,
                   struct error *err)
{
    struct part part = {.region = region};
    b->leaves[b->count++] = (struct leaf){.region = region};
    b->regions++;
    int rc = make_room(b, content->chunk_count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < content->chunk_count; i++) {
        uint32_t left = content->chunks[i].length; /* to be passed over */
        b->wanted[b->wanted_count] = (struct cs_wanted){
            .id = content->chunks[i].id, .length = left, .tag = (uint32_t)b->wanted_count};
        b->parts[b->wanted_count++] = part;
        while (left > 0) {
            const struct cs_run *r = &content->runs[part.run];
            uint32_t n = r->zero ? 0 : r->length - part.used;
            if (n > left) {
                part.used += left;
                break;
            }
            left -= n;
            part.run++;
            part.used = 0;
        }
    }
    return flush_if_full(b, err);
}

int copy_batch_end(struct copy_batch *b, struct error *err)
{
    return flush(b, err);
}

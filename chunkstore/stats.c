/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much of the packs archives need. What is needed is marked by bits, one or
 * two for each entry of the index; then the trailers tell the sizes, one pack at
 * a time. What an archive needs, the caller knows.
 */
#include <stdlib.h>
#include <string.h>

#include "pack_read.h"

enum { OURS, OTHERS, SETS }; /* needed by the archives that are asked about; by others */

struct marked_segment {
    struct cs_name id;
    uint8_t *bits[SETS]; /* a bit for each entry */
};

struct cs_needs {
    struct cs_store *store;
    struct marked_segment *segments; /* in the order of the index */
    size_t count;
    unsigned set; /* that is being gathered */
};

static int make_sets(struct cs_needs *n, unsigned sets, struct cs_error *err)
{
    const struct cs_segment *segments = cs_index_segments(n->store->index, &n->count);
    n->segments = calloc(n->count + 1, sizeof *n->segments);
    if (n->segments == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < n->count; i++) {
        n->segments[i].id = segments[i].id;
        for (unsigned set = 0; set < sets; set++) {
            n->segments[i].bits[set] = calloc((size_t)(segments[i].entry_count / 8 + 1), 1);
            if (n->segments[i].bits[set] == NULL)
                return cs_fail_memory(err);
        }
    }
    return 0;
}

static void clear_sets(struct cs_needs *n)
{
    for (size_t i = 0; n->segments != NULL && i < n->count; i++)
        for (unsigned set = 0; set < SETS; set++)
            free(n->segments[i].bits[set]);
    free(n->segments);
}

static bool is_set(const uint8_t *bits, uint64_t at)
{
    return bits != NULL && (bits[at / 8] >> (at % 8) & 1) != 0;
}

/* The index's segments, as long as they are those that the bits are for. */
static int get_segments(const struct cs_needs *n, const struct cs_segment **segments,
                        struct cs_error *err)
{
    size_t count = 0;
    *segments = cs_index_segments(n->store->index, &count);
    bool same = count == n->count;
    for (size_t i = 0; same && i < count; i++)
        same = memcmp(&(*segments)[i].id, &n->segments[i].id, sizeof n->segments[i].id) == 0;
    return same ? 0 : cs_fail(err, CS_CONFLICT, "the index has changed meanwhile");
}

static int mark(struct cs_needs *n, const struct cs_id *id, bool *fresh, struct cs_error *err)
{
    const struct cs_segment *segments = NULL;
    struct cs_location where;
    char hex[CS_ID_HEX];
    bool found = false;
    int rc = cs_index_find(n->store, id, 0, &where, &found, err);
    if (rc == 0)
        rc = get_segments(n, &segments, err);
    if (rc < 0)
        return rc;
    if (!found)
        return cs_fail(err, CS_CORRUPT, "object %s is missing: the index does not have it",
                       cs_id_hex(id, hex));
    uint8_t *bits = n->segments[where.segment].bits[n->set];
    *fresh = !is_set(bits, where.entry);
    bits[where.entry / 8] |= (uint8_t)(1U << (where.entry % 8));
    return 0;
}

int cs_need(struct cs_needs *n, const struct cs_id *id, const void *data, size_t len, bool *fresh,
            struct cs_error *err)
{
    int rc = mark(n, id, fresh, err);
    if (data == NULL || len <= CS_META_OBJECT_MAX || !*fresh)
        return rc;
    for (size_t at = 0; rc == 0 && at < len; at += CS_META_OBJECT_MAX) {
        struct cs_id piece;
        bool fresh_piece;
        size_t size = len - at < CS_META_OBJECT_MAX ? len - at : CS_META_OBJECT_MAX;
        rc = cs_object_id(n->store, CS_META, CS_PIECE, (const uint8_t *)data + at, size, &piece,
                          err);
        if (rc == 0)
            rc = mark(n, &piece, &fresh_piece, err);
    }
    return rc;
}

/* Reading may read the log on, so that archives come and go; they stay where they are. */
static int gather(struct cs_needs *n, const struct cs_stats_options *o, struct cs_error *err)
{
    size_t count = cs_archive_count(n->store);
    const struct cs_archive **archives = calloc(count + 1, sizeof *archives);
    int rc = archives == NULL ? cs_fail_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        archives[i] = cs_archive_at(n->store, i);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        n->set = o->archive == NULL || o->archive == archives[i] ? OURS : OTHERS;
        rc = o->mark(o->arg, archives[i], n, err);
        if (rc == 0)
            rc = cs_store_cancelled(n->store, err);
    }
    free(archives);
    return rc;
}

/* ---- sizes ---- */

/* Whether the object at ${frame} and ${slot} of ${pack} is in the sets. Two segments may name it.
 */
static int look_up(const struct cs_needs *n, const struct cs_segment *segments,
                   const struct cs_name *pack, const struct cs_id *id, uint32_t frame,
                   uint32_t slot, bool in[SETS], struct cs_error *err)
{
    in[OURS] = in[OTHERS] = false;
    for (size_t i = 0; i < n->count; i++) {
        const struct cs_segment *s = &segments[i];
        struct cs_entry e;
        int rc;
        for (uint64_t at = 0; (rc = cs_segment_next(s, id->bytes, &at, &e, err)) > 0; at++) {
            if (e.frame != frame || e.slot != slot ||
                memcmp(s->packs + (size_t)e.pack * CS_NAME_SIZE, pack, CS_NAME_SIZE) != 0)
                continue;
            for (unsigned set = 0; set < SETS; set++)
                in[set] |= is_set(n->segments[i].bits[set], at);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void add(struct cs_usage *usage, uint64_t bytes, uint64_t stored)
{
    usage->objects++;
    usage->bytes += bytes;
    usage->stored += stored;
}

/* The part from ${from} to ${to} of ${whole} that ${amount} has; parts side by side are all of it.
 */
static uint64_t part(uint64_t amount, uint64_t from, uint64_t to, uint64_t whole)
{
    return amount * to / whole - amount * from / whole;
}

static int measure_pack(const struct cs_needs *n, const struct cs_pack *pack,
                        struct cs_stats *stats, struct cs_error *err)
{
    const struct cs_trailer *t = &pack->trailer;
    const struct cs_segment *segments = NULL;
    unsigned class = pack->header.class == CS_DATA ? CS_USAGE_DATA : CS_USAGE_META;
    uint64_t rest = pack->size; /* that is in no frame */
    int rc = get_segments(n, &segments, err);
    if (rc < 0)
        return rc;
    for (size_t f = 0; f < t->frame_count; f++)
        rest -= t->frames[f].stored;
    for (uint32_t f = 0; f < t->frame_count; f++) {
        const struct cs_frame *frame = &t->frames[f];
        uint64_t at = 0;
        for (uint32_t slot = 0; slot < frame->objects; slot++) {
            const struct cs_object *o = &t->objects[frame->first + slot];
            uint64_t k = (uint64_t)frame->first + slot;
            uint64_t stored = part(frame->stored, at, at + o->length, frame->plain) +
                              part(rest, k, k + 1, t->object_count);
            bool in[SETS];
            at += o->length;
            rc = look_up(n, segments, &pack->name, &o->id, f, slot, in, err);
            if (rc < 0)
                return rc;
            add(&stats->all[class], o->length, stored);
            if (in[OURS])
                add(&stats->needed[class], o->length, stored);
            if (in[OURS] && !in[OTHERS])
                add(&stats->alone[class], o->length, stored);
        }
    }
    return 0;
}

/* One pack; it may have been freed meanwhile. */
static int measure_one(const struct cs_needs *n, const struct cs_name *name, struct cs_stats *stats,
                       struct cs_error *err)
{
    struct cs_pack pack;
    int rc = cs_pack_load(&pack, n->store, name, err);
    if (rc < 0 && cs_state_pack(&n->store->state, name) == NULL)
        return cs_fail(err, CS_CONFLICT, "packs were freed meanwhile");
    if (rc < 0)
        return rc;
    rc = measure_pack(n, &pack, stats, err);
    cs_pack_clear(&pack);
    stats->packs++;
    return rc;
}

static int measure(const struct cs_needs *n, const struct cs_stats_options *o,
                   struct cs_stats *stats, struct cs_error *err)
{
    const struct cs_state *state = &n->store->state;
    uint64_t done = 0, total = 0;
    size_t count = state->pack_count;
    struct cs_state_pack *packs = calloc(count + 1, sizeof *packs);
    int rc = packs == NULL ? cs_fail_memory(err) : 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        packs[i] = state->packs[i];
        total += packs[i].size;
    }
    for (size_t i = 0; i < state->segment_count; i++)
        stats->bytes_segments += state->segments[i].size;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = measure_one(n, &packs[i].id, stats, err);
        done += packs[i].size;
        if (o->progress != NULL)
            o->progress(o->arg, done, total);
        if (rc == 0)
            rc = cs_store_cancelled(n->store, err);
    }
    free(packs);
    return rc;
}

int cs_stats(struct cs_store *store, const struct cs_stats_options *options, struct cs_stats *stats,
             struct cs_error *err)
{
    struct cs_needs needs = {.store = store};
    *stats = (struct cs_stats){0};
    int rc = cs_index_refresh(store, err);
    if (rc == 0)
        rc = make_sets(&needs, options->archive != NULL ? SETS : OTHERS, err);
    if (rc == 0)
        rc = gather(&needs, options, err);
    if (rc == 0)
        rc = measure(&needs, options, stats, err);
    clear_sets(&needs);
    return rc;
}

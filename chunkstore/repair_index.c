/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The index from packs: every object of a live pack that no sound segment names
 * gets an entry in a new one, and the segments that are damaged are replaced.
 * Segments that came since the check are as good as those that it has seen.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"
#include "repair.h"
#include "reserve.h"

enum { SEGMENT_ENTRIES = 1 << 20 }; /* at which a new segment is closed */

struct rebuild {
    struct cs_repair *repair;
    struct cs_segment *sound;
    size_t sound_count;
    struct cs_name *dropped;
    size_t dropped_count;
    struct cs_entry *entries; /* of the segment to come */
    size_t entry_count;
    size_t entry_room;
    struct cs_name *packs;
    uint32_t pack_count;
    struct cs_state_segment *fresh;
    size_t fresh_count;
    bool appended; /* or perhaps: the entry may be in the log */
};

/* The damaged ones are known; each of the others is loaded from the repository, whatever the cache
 * has. */
static int load_sound(struct rebuild *b, struct cs_error *err)
{
    struct cs_store *store = b->repair->store;
    const struct cs_damage *d = b->repair->options->damage;
    size_t n = store->state.segment_count;
    int rc = 0;
    b->sound = calloc(n + 1, sizeof *b->sound);
    b->dropped = calloc(n + 1, sizeof *b->dropped);
    if (b->sound == NULL || b->dropped == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; rc == 0 && i < n; i++) {
        const struct cs_state_segment *s = &store->state.segments[i];
        if (cs_damage_has_name(d->segments, d->segment_count, &s->id)) {
            b->dropped[b->dropped_count++] = s->id;
            continue;
        }
        rc = cs_segment_fetch(&b->sound[b->sound_count], store, s, err);
        b->sound_count += rc == 0;
        if (rc == 0)
            rc = cs_store_cancelled(store, err);
    }
    return rc;
}

static bool is_named(const struct rebuild *b, const struct cs_name *pack, const struct cs_id *id,
                     uint16_t frame, uint16_t slot)
{
    for (size_t i = 0; i < b->sound_count; i++) {
        const struct cs_segment *s = &b->sound[i];
        struct cs_entry e;
        /* they are in memory: nothing fails */
        for (uint64_t at = 0; cs_segment_next(s, id->bytes, &at, &e, NULL) > 0; at++) {
            if (e.frame == frame && e.slot == slot &&
                memcmp(s->packs + (size_t)e.pack * CS_NAME_SIZE, pack, CS_NAME_SIZE) == 0)
                return true;
        }
    }
    return false;
}

static int write_segment(struct rebuild *b, struct cs_error *err)
{
    if (b->entry_count == 0)
        return 0;
    struct cs_state_segment *fresh = reallocarray(b->fresh, b->fresh_count + 1, sizeof *b->fresh);
    if (fresh == NULL)
        return cs_fail_memory(err);
    b->fresh = fresh;
    qsort(b->entries, b->entry_count, sizeof *b->entries, cs_entry_compare);
    int rc = cs_segment_write(b->repair->store, b->entries, b->entry_count, b->packs, b->pack_count,
                              &fresh[b->fresh_count], err);
    b->fresh_count += rc == 0;
    b->repair->result->objects_indexed += b->entry_count;
    b->entry_count = 0;
    b->pack_count = 0;
    return rc;
}

/* Room for one more pack, of ${objects}. */
static int make_room(struct rebuild *b, size_t objects, struct cs_error *err)
{
    struct cs_name *packs = reallocarray(b->packs, b->pack_count + (size_t)1, sizeof *packs);
    if (packs == NULL)
        return cs_fail_memory(err);
    b->packs = packs;
    if (b->entry_count + objects <= b->entry_room)
        return 0;
    size_t room = b->entry_room > 0 ? b->entry_room : 4096;
    while (room < b->entry_count + objects)
        room *= 2;
    struct cs_entry *entries = reallocarray(b->entries, room, sizeof *entries);
    if (entries == NULL)
        return cs_fail_memory(err);
    b->entries = entries;
    b->entry_room = room;
    return 0;
}

static int add_pack(struct rebuild *b, const struct cs_pack *pack, struct cs_error *err)
{
    const struct cs_trailer *t = &pack->trailer;
    size_t before = b->entry_count;
    int rc = make_room(b, t->object_count, err);
    if (rc < 0 || b->entries == NULL) /* there is nothing in it */
        return rc;
    b->packs[b->pack_count] = pack->name;
    for (size_t f = 0; f < t->frame_count; f++)
        for (uint16_t i = 0; i < t->frames[f].objects; i++) {
            const struct cs_id *id = &t->objects[t->frames[f].first + i].id;
            if (is_named(b, &pack->name, id, (uint16_t)f, i))
                continue;
            struct cs_entry *e = &b->entries[b->entry_count++];
            memcpy(e->prefix, id->bytes, sizeof e->prefix);
            e->pack = b->pack_count;
            e->frame = (uint16_t)f;
            e->slot = i;
        }
    b->pack_count += b->entry_count > before;
    return b->entry_count >= SEGMENT_ENTRIES ? write_segment(b, err) : 0;
}

/* Another may make an end of a pack meanwhile, and put others in its place, with segments of their
 * own: the list is taken at the start. */
static int read_packs(struct rebuild *b, struct cs_error *err)
{
    struct cs_repair *r = b->repair;
    struct cs_state *state = &r->store->state;
    size_t n = state->pack_count;
    int rc = 0;
    struct cs_name *names = calloc(n + 1, sizeof *names);
    if (names == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < n; i++)
        names[i] = state->packs[i].id;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        struct cs_pack pack = {0};
        struct cs_error e = {0};
        if (cs_names_find(&r->dropped, &names[i], NULL))
            continue;
        rc = cs_pack_load(&pack, r->store, &names[i], &e);
        if (rc == 0)
            rc = add_pack(b, &pack, &e);
        cs_pack_clear(&pack);
        if (rc == CS_CORRUPT && cs_log_catch_up(r->store, NULL) == 0 &&
            cs_state_pack(state, &names[i]) == NULL)
            rc = 0;
        if (rc == 0)
            rc = cs_store_cancelled(r->store, &e);
        if (rc < 0)
            cs_fail(err, rc, "%s", e.message);
    }
    free(names);
    return rc < 0 ? rc : write_segment(b, err);
}

static int holds(void *arg, struct cs_error *err)
{
    const struct rebuild *b = arg;
    for (size_t i = 0; i < b->fresh_count; i++)
        if (cs_state_condemned(&b->repair->store->state, CS_FILE_SEGMENT, &b->fresh[i].id))
            return cs_fail(err, CS_CONFLICT, "a prune is at work here; try again later");
    return 0;
}

static int append(struct rebuild *b, struct cs_error *err)
{
    struct cs_store *store = b->repair->store;
    struct cs_buf payload = {0};
    if (b->dropped_count == 0 && b->fresh_count == 0)
        return 0;
    int rc = store->backend->ops->sync(store->backend, "segments", err);
    if (rc < 0)
        return rc;
    cs_entry_begin(&payload, CS_ENTRY_REPLACE, (int64_t)time(NULL));
    cs_entry_put_names(&payload, b->dropped, b->dropped_count);
    cs_entry_put_added(&payload,
                       &(struct cs_added){.segments = b->fresh, .segment_count = b->fresh_count});
    rc = cs_reserve_append(store, &payload, holds, b, err);
    b->appended = rc != CS_CONFLICT;
    cs_buf_clear(&payload);
    b->repair->result->segments_dropped += rc == 0 ? b->dropped_count : 0;
    b->repair->result->segments_written += rc == 0 ? b->fresh_count : 0;
    return rc;
}

static void rebuild_clear(struct rebuild *b)
{
    struct cs_backend *backend = b->repair->store->backend;
    for (size_t i = 0; !b->appended && i < b->fresh_count; i++) {
        char name[64], hex[CS_NAME_HEX];
        snprintf(name, sizeof name, "segments/%s", cs_name_hex(&b->fresh[i].id, hex));
        backend->ops->remove(backend, name, NULL);
    }
    for (size_t i = 0; i < b->sound_count; i++)
        cs_segment_clear(&b->sound[i]);
    free(b->sound);
    free(b->dropped);
    free(b->entries);
    free(b->packs);
    free(b->fresh);
}

int cs_repair_index(struct cs_repair *r, struct cs_error *err)
{
    const struct cs_damage *d = r->options->damage;
    struct rebuild b = {.repair = r};
    if (d->segment_count == 0 && d->unindexed == 0)
        return 0;
    int rc = load_sound(&b, err);
    if (rc == 0) {
        cs_repair_say(
            r,
            "segments of the index that are damaged or missing: %zu of %zu; what no other "
            "names is written anew from the packs",
            b.dropped_count, r->store->state.segment_count);
        rc = read_packs(&b, err);
    }
    if (rc == 0)
        rc = append(&b, err);
    rebuild_clear(&b);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What archives need, against the places that are left: what is nowhere is
 * noted, and what could not be read is looked at until it is known why. Marks in
 * the index tell what was said before.
 */
#include <stdlib.h>
#include <string.h>

#include "repair.h"

enum { COPIES = 16, NOWHERE_MAX = 1 << 20 };

static const struct cs_name no_pack;

static struct cs_name first_half(const struct cs_id *id)
{
    struct cs_name half;
    memcpy(&half, id, sizeof half);
    return half;
}

static int add_lost(struct cs_repair *r, const struct cs_name *pack, const struct cs_id *id,
                    struct cs_error *err)
{
    if ((r->lost_count & (r->lost_count - 1)) == 0) { /* room ends at the powers of two */
        size_t room = r->lost_count > 0 ? 2 * r->lost_count : 1;
        struct cs_lost *lost = reallocarray(r->lost, room, sizeof *lost);
        if (lost == NULL)
            return cs_fail_memory(err);
        r->lost = lost;
    }
    r->lost[r->lost_count++] = (struct cs_lost){.pack = *pack, .id = *id};
    return 0;
}

static int add_nowhere(struct cs_repair *r, const struct cs_id *id, struct cs_error *err)
{
    struct cs_name half = first_half(id);
    if (cs_names_find(&r->nowhere, &half, NULL))
        return 0;
    /* every reader of the log keeps them in memory */
    if (r->nowhere.count >= NOWHERE_MAX)
        return cs_fail(err, CS_UNSUPPORTED,
                       "more than %d objects that archives need are missing: forget the archives "
                       "that suffer, then repair what is left",
                       NOWHERE_MAX);
    if (cs_names_add(&r->nowhere, &half, 0) < 0)
        return cs_fail_memory(err);
    r->result->objects_missing++;
    return add_lost(r, &no_pack, id, err);
}

static int add_bad(struct cs_repair *r, const struct cs_name *pack, const struct cs_id *id,
                   struct cs_error *err)
{
    struct cs_name half = first_half(id);
    if (!cs_names_find(&r->bad, &half, NULL) && cs_names_add(&r->bad, &half, 0) < 0)
        return cs_fail_memory(err);
    return add_lost(r, pack, id, err);
}

/* Whether it was found bad there, after the index was asked. */
static bool is_bad_there(const struct cs_repair *r, const struct cs_name *pack,
                         const struct cs_id *id)
{
    struct cs_name half = first_half(id);
    if (!cs_names_find(&r->bad, &half, NULL))
        return false;
    for (size_t i = r->lost_said; i < r->lost_count; i++)
        if (memcmp(&r->lost[i].id, id, sizeof *id) == 0 &&
            memcmp(&r->lost[i].pack, pack, sizeof *pack) == 0)
            return true;
    return false;
}

/* The places of ${id} in packs that stay. */
static int places_of(struct cs_repair *r, const struct cs_id *id, struct cs_location *places,
                     size_t *count, struct cs_error *err)
{
    size_t n = 0, kept = 0;
    int rc = cs_index_places(r->store, id, places, COPIES, &n, err);
    for (size_t i = 0; i < n; i++)
        if (!cs_names_find(&r->dropped, &places[i].pack, NULL) &&
            !is_bad_there(r, &places[i].pack, id))
            places[kept++] = places[i];
    *count = kept;
    return rc;
}

static int need_pieces(struct cs_repairer *repairer, const struct cs_id *id, struct cs_error *err)
{
    struct cs_id *pieces = NULL;
    size_t count = 0;
    struct cs_error e = {0};
    bool fresh;
    int rc = cs_read_list(repairer->repair->store, id, &pieces, &count, &e);
    if (rc == CS_CORRUPT) /* whoever reads it will say so */
        return 0;
    if (rc < 0)
        return cs_fail(err, rc, "%s", e.message);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = cs_repair_need(repairer, &pieces[i], &fresh, err);
    free(pieces);
    return rc;
}

int cs_repair_need(struct cs_repairer *repairer, const struct cs_id *id, bool *fresh,
                   struct cs_error *err)
{
    struct cs_repair *r = repairer->repair;
    struct cs_location places[COPIES];
    struct cs_error e = {0};
    enum cs_class class = CS_DATA;
    uint8_t type = CS_CHUNK;
    size_t count = 0, i = 0;
    *fresh = false;
    int rc = places_of(r, id, places, &count, err);
    if (rc < 0)
        return rc;
    for (size_t k = 0; k < count; k++)
        if (cs_index_marked(r->store->index, &places[k]))
            return 0;
    const struct cs_state_pack *pack =
        count == 1 ? cs_state_pack(&r->store->state, &places[0].pack) : NULL;
    bool plain_chunk = pack != NULL && pack->class == CS_DATA;
    /* the index knows only half of an id, so the pack is asked; but a chunk is that or nothing */
    for (; i < count && !plain_chunk; i++) {
        rc = cs_read_place(r->store, &places[i], id, &class, &type, &e);
        if (rc == 0)
            break;
        if (rc != CS_CORRUPT && rc != CS_NOT_FOUND)
            return cs_fail(err, rc, "%s", e.message);
    }
    if (i == count)
        return add_nowhere(r, id, err);
    rc = cs_index_mark(r->store->index, &places[i], err);
    if (rc < 0)
        return rc;
    *fresh = true;
    return class == CS_META && (type & CS_LIST) ? need_pieces(repairer, id, err) : 0;
}

/* ---- what could not be read ---- */

/* Notes all that is bad in the frame of ${where}. ${*sound}: the object itself is not. */
static int look_at(struct cs_repair *r, const struct cs_id *id, const struct cs_location *where,
                   bool *sound, struct cs_error *err)
{
    struct cs_pack pack = {0};
    struct cs_error e = {0};
    int rc = cs_pack_load(&pack, r->store, &where->pack, &e);
    *sound = false;
    if (rc < 0)
        return rc == CS_CORRUPT ? 0 : cs_fail(err, rc, "%s", e.message);
    const struct cs_trailer *t = &pack.trailer;
    if (where->frame < t->frame_count && where->slot < t->frames[where->frame].objects) {
        const struct cs_frame *f = &t->frames[where->frame];
        bool same = memcmp(&t->objects[f->first + where->slot].id, id, sizeof *id) == 0;
        cs_frame_check_begin(&r->frame, r->store, &pack, where->frame);
        rc = cs_frame_check_run(&r->frame, &e);
        *sound = same && (rc == 0 || (rc == CS_CORRUPT && !r->frame.bad[where->slot]));
        if (rc < 0)
            cs_fail(err, rc, "%s", e.message);
        for (uint16_t i = 0; rc == CS_CORRUPT && i < f->objects; i++)
            if (r->frame.bad[i] && add_bad(r, &pack.name, &t->objects[f->first + i].id, err) < 0)
                rc = CS_NO_MEMORY;
    }
    cs_pack_clear(&pack);
    return rc == CS_CORRUPT ? 0 : rc;
}

static int look_at_pieces(struct cs_repairer *repairer, const struct cs_id *id,
                          struct cs_error *err)
{
    struct cs_store *store = repairer->repair->store;
    struct cs_id *pieces = NULL;
    size_t count = 0;
    struct cs_error e = {0};
    if (cs_read_list(store, id, &pieces, &count, &e) < 0)
        return 0; /* not a list, or not one that makes sense */
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        void *data = NULL;
        size_t len;
        if (cs_read_object(store, CS_PIECE, &pieces[i], &data, &len, &e) == CS_CORRUPT)
            rc = cs_repair_unreadable(repairer, &pieces[i], err);
        free(data);
    }
    free(pieces);
    return rc;
}

int cs_repair_unreadable(struct cs_repairer *repairer, const struct cs_id *id, struct cs_error *err)
{
    struct cs_repair *r = repairer->repair;
    struct cs_location places[COPIES];
    size_t count = 0;
    bool any = false;
    int rc = places_of(r, id, places, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        bool sound = false;
        rc = look_at(r, id, &places[i], &sound, err);
        any |= sound;
    }
    if (rc < 0)
        return rc;
    return any ? look_at_pieces(repairer, id, err) : add_nowhere(r, id, err);
}

/* As a prune does it: others may commit archives meanwhile. */
int cs_repair_mark_archives(struct cs_repair *r, struct cs_error *err)
{
    struct cs_store *store = r->store;
    struct cs_repairer repairer = {.repair = r};
    int rc = 0;
    while (rc == 0 && r->marked_through < store->position.next) {
        rc = cs_index_refresh(store, err);
        if (rc < 0)
            return rc;
        uint64_t through = store->position.next;
        const struct cs_archive **archives =
            calloc(store->state.archive_count + 1, sizeof *archives);
        size_t n = 0;
        if (archives == NULL)
            return cs_fail_memory(err);
        for (size_t i = 0; i < store->state.archive_count; i++)
            if (store->state.archives[i]->entry >= r->marked_through)
                archives[n++] = store->state.archives[i];
        for (size_t i = 0; rc == 0 && i < n; i++) {
            rc = r->options->mark(r->options->arg, archives[i], &repairer, err);
            if (rc == 0)
                rc = cs_store_cancelled(store, err);
        }
        free(archives);
        r->marked_through = through;
    }
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Marking what live archives need. Of several copies one is chosen, the oldest that is really
 * there: what somebody stores later under an id must not make an end of what was there before.
 */
#include <stdlib.h>
#include <string.h>

#include "prune.h"

enum { COPIES = 16 };

/* Whether the pack of ${where} is there as the log says. One that came after the listing is. */
static bool present(const struct cs_prune *p, const struct cs_location *where)
{
    uint32_t position;
    return !cs_names_find(&p->pack_names, &where->pack, &position) || p->packs[position].present;
}

static int compare_age(const void *a, const void *b, void *arg)
{
    const struct cs_state *state = arg;
    const struct cs_state_pack *x = cs_state_pack(state, &((const struct cs_location *)a)->pack);
    const struct cs_state_pack *y = cs_state_pack(state, &((const struct cs_location *)b)->pack);
    return x < y ? -1 : x > y;
}

/* Chooses among ${n} places the oldest whose pack says the same as the index; CS_NOT_FOUND. */
static int choose(struct cs_prune *p, const struct cs_id *id, struct cs_location *places, size_t n,
                  const struct cs_location **chosen, uint8_t *type, enum cs_class *class,
                  struct cs_error *err)
{
    struct cs_store *store = p->store;
    struct cs_error e = {0};
    qsort_r(places, n, sizeof *places, compare_age, &store->state);
    for (size_t i = 0; i < n; i++) {
        int rc = cs_read_place(store, &places[i], id, class, type, &e);
        *chosen = &places[i];
        if (rc == 0)
            return 0;
        if (rc != CS_CORRUPT && rc != CS_NOT_FOUND)
            return cs_fail(err, rc, "%s", e.message);
    }
    return cs_fail(err, CS_CORRUPT, "%s", e.message);
}

static int mark_pieces(struct cs_marker *marker, const struct cs_id *id, struct cs_error *err)
{
    struct cs_id *pieces = NULL;
    size_t count = 0;
    bool fresh;
    int rc = cs_read_list(marker->prune->store, id, &pieces, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = cs_mark(marker, &pieces[i], &fresh, err);
    free(pieces);
    return rc;
}

int cs_mark(struct cs_marker *marker, const struct cs_id *id, bool *fresh, struct cs_error *err)
{
    struct cs_prune *p = marker->prune;
    struct cs_location places[COPIES];
    const struct cs_location *chosen = &places[0];
    char hex[CS_ID_HEX];
    uint8_t type = CS_CHUNK;
    enum cs_class class = CS_DATA;
    size_t count = 0, n = 0;
    *fresh = false;
    int rc = cs_index_places(p->store, id, places, COPIES, &count, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (!present(p, &places[i]))
            continue;
        if (cs_index_marked(p->store->index, &places[i]))
            return 0;
        places[n++] = places[i];
    }
    bool lost = false;
    if (count == 0)
        rc = cs_is_lost(p->store, id, &lost, err);
    if (rc < 0)
        return rc;
    p->result->lost += lost;
    if (lost)
        return 0;
    if (n == 0)
        return cs_fail(err, CS_CORRUPT, "object %s is missing: %s", cs_id_hex(id, hex),
                       count == 0 ? "the index does not have it" : "its pack is not there");
    const struct cs_state_pack *pack = cs_state_pack(&p->store->state, &chosen->pack);
    /* a chunk that is there once needs no closer look: it is that or nothing */
    if (n > 1 || pack == NULL || pack->class == CS_META)
        rc = choose(p, id, places, n, &chosen, &type, &class, err);
    if (rc == 0)
        rc = cs_index_mark(p->store->index, chosen, err);
    if (rc < 0)
        return rc;
    *fresh = true;
    return class == CS_META && (type & CS_LIST) ? mark_pieces(marker, id, err) : 0;
}

/* The state may change while an archive is walked, for reading may read the log on; archives stay
 * where they are. */
int cs_prune_mark_archives(struct cs_prune *p, struct cs_error *err)
{
    struct cs_store *store = p->store;
    struct cs_marker marker = {.prune = p};
    int rc = 0;
    while (rc == 0 && p->marked_through < store->position.next) {
        uint64_t through = store->position.next;
        const struct cs_archive **archives =
            calloc(store->state.archive_count + 1, sizeof *archives);
        size_t n = 0;
        if (archives == NULL)
            return cs_fail_memory(err);
        for (size_t i = 0; i < store->state.archive_count; i++)
            if (store->state.archives[i]->entry >= p->marked_through)
                archives[n++] = store->state.archives[i];
        for (size_t i = 0; rc == 0 && i < n; i++) {
            struct cs_error e = {0};
            char hex[CS_ID_HEX];
            rc = p->options->mark(p->options->arg, archives[i], &marker, &e);
            if (rc == 0)
                rc = cs_store_cancelled(store, &e);
            if (rc < 0 && rc != CS_CORRUPT)
                cs_fail(err, rc, "%s", e.message);
            else if (rc < 0)
                cs_fail(err, rc, "archive %s of %s is damaged, so that nothing can be freed: %s",
                        cs_id_hex(&archives[i]->id, hex), archives[i]->name, e.message);
        }
        free(archives);
        p->marked_through = through;
    }
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What cannot be relied on: objects that the log calls lost, as long as nobody
 * has stored them again, and packs that are not there. Who may call an object
 * lost is decided in repair.c.
 */
#include <stdio.h>
#include <stdlib.h>

#include "index.h"
#include "log.h"
#include "pack_read.h"

static const struct cs_name nowhere; /* the name that stands for no pack */

static int piece_is_lost(struct cs_store *store, const struct cs_id *id, bool *lost,
                         struct cs_error *err)
{
    bool found = false;
    int rc = cs_state_lost(&store->state, &nowhere, id, lost, err);
    if (rc == 0 && *lost)
        rc = cs_has_object(store, id, &found, err);
    *lost = *lost && !found;
    return rc;
}

/* ${where}: of an object that is there. */
static int any_piece_is_lost(struct cs_store *store, const struct cs_id *id,
                             const struct cs_location *where, bool *lost, struct cs_error *err)
{
    struct cs_error ignored;
    enum cs_class class = CS_DATA;
    struct cs_id *pieces = NULL;
    uint8_t type = 0;
    size_t count = 0;
    int rc = 0;
    if (cs_read_place(store, where, id, &class, &type, &ignored) < 0 || class != CS_META ||
        !(type & CS_LIST) || cs_read_list(store, id, &pieces, &count, &ignored) < 0)
        return 0;
    for (size_t i = 0; rc == 0 && !*lost && i < count; i++)
        rc = piece_is_lost(store, &pieces[i], lost, err);
    free(pieces);
    return rc;
}

int cs_is_lost(struct cs_store *store, const struct cs_id *id, bool *lost, struct cs_error *err)
{
    struct cs_location where;
    bool found = false;
    *lost = false;
    int rc = cs_index_find(store, id, 0, &where, &found, err);
    if (rc == 0 && found)
        return any_piece_is_lost(store, id, &where, lost, err);
    return rc < 0 ? rc : cs_state_lost(&store->state, &nowhere, id, lost, err);
}

int cs_has_sound_object(struct cs_store *store, const struct cs_id *id, bool *found,
                        struct cs_error *err)
{
    struct cs_location where;
    return cs_index_has(store, id, &where, found, err);
}

int cs_lacks_objects(struct cs_store *store, bool *lacks, struct cs_error *err)
{
    const struct cs_state *state = &store->state;
    int rc = 0;
    *lacks = store->unreadable.count > 0;
    for (size_t i = 0; rc == 0 && !*lacks && i < state->lost_count; i++) {
        bool found = false;
        rc = cs_has_sound_object(store, &state->lost[i].id, &found, err);
        *lacks = !found;
    }
    return rc;
}

/* ---- packs that are not there ---- */

static bool is_there(struct cs_store *store, const struct cs_state_pack *pack)
{
    char name[64];
    uint64_t size = 0;
    cs_pack_file(name, &pack->id);
    return store->backend->ops->size(store->backend, name, &size, NULL) == 0 && size == pack->size;
}

/* Of ${n} packs that are missed those that no prune has made an end of. */
static int note_missing(struct cs_store *store, const struct cs_name *missed, size_t n,
                        size_t *count, struct cs_name *first, struct cs_error *err)
{
    *count = 0;
    int rc = n > 0 ? cs_log_catch_up(store, err) : 0;
    for (size_t i = 0; rc == 0 && i < n; i++) {
        if (cs_state_pack(&store->state, &missed[i]) == NULL)
            continue;
        if ((*count)++ == 0)
            *first = missed[i];
        if (!cs_names_find(&store->unreadable, &missed[i], NULL) &&
            cs_names_add(&store->unreadable, &missed[i], 0) < 0)
            rc = cs_fail_memory(err);
    }
    return rc;
}

int cs_find_missing_packs(struct cs_store *store, void (*warning)(void *arg, const char *message),
                          void *arg, struct cs_error *err)
{
    const struct cs_state *state = &store->state;
    struct cs_name first, *missed = calloc(state->pack_count + 1, sizeof *missed);
    size_t n = 0, count = 0;
    char name[64], message[256];
    if (missed == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < state->pack_count; i++)
        if (!is_there(store, &state->packs[i]))
            missed[n++] = state->packs[i].id;
    int rc = note_missing(store, missed, n, &count, &first, err);
    free(missed);
    if (rc < 0 || count == 0)
        return rc;
    cs_pack_file(name, &first);
    snprintf(message, sizeof message,
             "%s is missing or cut short (%zu of %zu packs are): what is needed of them is stored "
             "again; see byre check",
             name, count, state->pack_count);
    if (warning != NULL)
        warning(arg, message);
    return 0;
}

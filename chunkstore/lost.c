/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Objects that the log calls lost: whether they still are, for a later run may
 * have stored them again. Who may call one lost is decided in repair.c.
 */
#include <stdlib.h>

#include "index.h"
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

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether an object is to be had, as far as a check has found out: what it needs
 * is the index and the lists of what is damaged; no pack is read.
 */
#include "damage.h"
#include "index.h"
#include "pack.h"

/* NULL, or what is wrong with this place. */
static const char *wrong_with(const struct cs_damage *d, const struct cs_name *pack,
                              const struct cs_id *id)
{
    if (cs_damage_has_name(d->gone, d->gone_count, pack))
        return "is missing";
    if (cs_damage_has_name(d->broken, d->broken_count, pack))
        return "is damaged";
    if (cs_damage_has_name(d->unopened, d->unopened_count, pack) ||
        cs_damage_has_place(d->unread_objects, d->unread_object_count, pack, id))
        return "cannot be read";
    if (cs_damage_has_place(d->objects, d->object_count, pack, id))
        return "has it damaged";
    return NULL;
}

int cs_check_object(struct cs_store *store, const struct cs_damage *damage, const struct cs_id *id,
                    struct cs_error *err)
{
    char name[64], hex[CS_ID_HEX];
    struct cs_error first = {0};
    for (unsigned nth = 0;; nth++) {
        struct cs_location where;
        bool found = false;
        int rc = cs_index_find(store, id, nth, &where, &found, err);
        if (rc < 0)
            return rc;
        if (!found)
            break;
        const char *wrong = wrong_with(damage, &where.pack, id);
        if (wrong == NULL)
            return 0;
        cs_pack_file(name, &where.pack);
        if (first.code == 0)
            cs_fail(&first, CS_CORRUPT, "object %.16s: %s %s", cs_id_hex(id, hex), name, wrong);
    }
    if (first.code != 0)
        return cs_fail(err, CS_CORRUPT, "%s", first.message);
    return cs_fail(err, CS_CORRUPT, "object %.16s is not in the index", cs_id_hex(id, hex));
}

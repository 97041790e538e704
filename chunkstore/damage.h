/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_DAMAGE_H
#define CS_DAMAGE_H

#include "chunkstore.h"

/* Gathering what a check finds. */

/* Appends to ${damage->objects}. CS_NO_MEMORY. */
int cs_damage_add_object(struct cs_damage *damage, const struct cs_name *pack,
                         const struct cs_id *id, struct cs_error *err);

/* The same to ${damage->unread_objects}. */
int cs_damage_add_unread(struct cs_damage *damage, const struct cs_name *pack,
                         const struct cs_id *id, struct cs_error *err);

/* Appends ${name} to the list ${*names} of ${*count}. CS_NO_MEMORY. */
int cs_damage_add_name(struct cs_name **names, size_t *count, const struct cs_name *name,
                       struct cs_error *err);

/* Sorts all, each name once, so that they can be found. */
void cs_damage_sort(struct cs_damage *damage);

/* Whether a sorted list has ${name}. */
bool cs_damage_has_name(const struct cs_name *names, size_t count, const struct cs_name *name);

/* Whether a sorted list has the object in that pack. */
bool cs_damage_has_place(const struct cs_lost *objects, size_t count, const struct cs_name *pack,
                         const struct cs_id *id);

#endif

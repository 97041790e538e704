/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BYRE_ENGINE_DAMAGE_H
#define BYRE_ENGINE_DAMAGE_H

#include "engine/record.h"
#include "engine/upkeep.h"
#include "engine/walk.h"

/* Naming what of an archive is damaged: ranges as they are found, then one line for each image. */

struct damage_part { /* what was found of a part so far; {0}: nothing */
    struct engine_range ranges[ENGINE_DAMAGE_RANGES];
    uint64_t ranges_all;
    uint64_t bytes;
    uint64_t end;  /* of the last range */
    char why[320]; /* the first reason */
};

/* Adds ${length} bytes at ${offset}, because of ${why}; no bytes: the reason alone. Ranges come
 * ascending; what touches or overlaps the last one becomes one with it. */
void damage_part_add(struct damage_part *part, uint64_t offset, uint64_t length, const char *why);

/*
 * Appends to ${result->damage} what ${found} says of ${part} of ${archive}, once for each image
 * that has the layer. ${record} and ${at} are NULL for ENGINE_PART_RECORD; ${at} is the place of
 * anything else in it. Nothing where ${found} has neither range nor reason. ERROR_NO_MEMORY.
 */
int damage_add(struct engine_check_result *result, const struct cs_archive *archive,
               const struct record_archive *record, const struct walk_at *at, enum engine_part part,
               const struct damage_part *found, struct error *err);

/* Takes back all but the first ${count}, which were ${all}. */
void damage_cut(struct engine_check_result *result, size_t count, uint64_t all);

#endif

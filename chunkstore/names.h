/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_NAMES_H
#define CS_NAMES_H

#include "chunkstore.h"

/*
 * Names of packs or segments, each with a number. A hash table that whoever
 * chooses the names cannot slow down.
 */

struct cs_names {
    struct cs_named *table;
    size_t count;
    size_t room; /* a power of two, or 0 */
    uint64_t seed[3];
};

/* Adds ${name}, which must not be there yet. CS_NO_MEMORY. */
int cs_names_add(struct cs_names *names, const struct cs_name *name, uint32_t number);

/* Whether ${name} is there; then sets ${*number} (may be NULL). */
bool cs_names_find(const struct cs_names *names, const struct cs_name *name, uint32_t *number);

void cs_names_clear(struct cs_names *names);

#endif

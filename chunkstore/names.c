/* SPDX-License-Identifier: BSD-2-Clause */
/* An open-addressing table of names. Names come from the log, where anybody who may write could
 * choose them: the hash is seeded. */
#include "names.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crypt.h"

struct cs_named {
    struct cs_name name;
    uint32_t number;
    bool used;
};

enum { LEAST_ROOM = 64 };

static struct cs_named *place_of(const struct cs_names *n, const struct cs_name *name)
{
    uint64_t hash = (cs_from_le64(name->bytes) ^ n->seed[0]) * (n->seed[1] | 1) +
                    cs_from_le64(name->bytes + 8) * (n->seed[2] | 1);
    size_t at = (size_t)(hash >> 20) & (n->room - 1);
    while (n->table[at].used && memcmp(&n->table[at].name, name, sizeof *name) != 0)
        at = (at + 1) & (n->room - 1);
    return &n->table[at];
}

static int grow(struct cs_names *n)
{
    struct cs_names bigger = {.room = n->room > 0 ? n->room * 2 : LEAST_ROOM, .count = n->count};
    bigger.table = calloc(bigger.room, sizeof *bigger.table);
    if (bigger.table == NULL)
        return CS_NO_MEMORY;
    cs_random(bigger.seed, sizeof bigger.seed);
    for (size_t i = 0; i < n->room; i++)
        if (n->table[i].used)
            *place_of(&bigger, &n->table[i].name) = n->table[i];
    free(n->table);
    *n = bigger;
    return 0;
}

int cs_names_add(struct cs_names *n, const struct cs_name *name, uint32_t number)
{
    if (n->count * 2 >= n->room && grow(n) < 0)
        return CS_NO_MEMORY;
    *place_of(n, name) = (struct cs_named){.name = *name, .number = number, .used = true};
    n->count++;
    return 0;
}

bool cs_names_find(const struct cs_names *n, const struct cs_name *name, uint32_t *number)
{
    if (n->count == 0)
        return false;
    const struct cs_named *found = place_of(n, name);
    if (found->used && number != NULL)
        *number = found->number;
    return found->used;
}

void cs_names_clear(struct cs_names *n)
{
    free(n->table);
    *n = (struct cs_names){0};
}

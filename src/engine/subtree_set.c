/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash table of subtrees. Ids are digests already, so that their first bytes are the hash. */
#include "engine/subtree_set.h"

#include <stdlib.h>
#include <string.h>

static uint64_t *slot_of(const struct subtree_set *s, const uint64_t key[SUBTREE_WORDS])
{
    for (size_t at = key[0] & (s->room - 1);; at = (at + 1) & (s->room - 1))
        if ((s->keys[at][0] == 0 && s->keys[at][1] == 0) ||
            memcmp(s->keys[at], key, sizeof *s->keys) == 0)
            return s->keys[at];
}

static void key_of(const struct cs_subtree *at, uint64_t mix, uint64_t key[SUBTREE_WORDS])
{
    memcpy(key, at->id.bytes, 2 * sizeof *key);
    key[1] ^= mix;
    key[2] = at->bytes;
}

bool subtree_set_has(const struct subtree_set *s, const struct cs_subtree *at, uint64_t mix)
{
    uint64_t key[SUBTREE_WORDS];
    key_of(at, mix, key);
    return s->room > 0 && memcmp(slot_of(s, key), key, sizeof key) == 0;
}

int subtree_set_add(struct subtree_set *s, const struct cs_subtree *at, uint64_t mix,
                    struct cs_error *err)
{
    uint64_t key[SUBTREE_WORDS];
    if (s->count * 2 >= s->room) {
        struct subtree_set bigger = {.room = s->room > 0 ? s->room * 2 : 4096, .count = s->count};
        bigger.keys = calloc(bigger.room, sizeof *bigger.keys);
        if (bigger.keys == NULL)
            return cs_fail_memory(err);
        for (size_t i = 0; i < s->room; i++)
            if (s->keys[i][0] != 0 || s->keys[i][1] != 0)
                memcpy(slot_of(&bigger, s->keys[i]), s->keys[i], sizeof key);
        free(s->keys);
        *s = bigger;
    }
    key_of(at, mix, key);
    memcpy(slot_of(s, key), key, sizeof key);
    s->count++;
    return 0;
}

void subtree_set_clear(struct subtree_set *s)
{
    free(s->keys);
    *s = (struct subtree_set){0};
}

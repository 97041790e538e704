/* SPDX-License-Identifier: BSD-2-Clause */
/* A hash table from ids of one repository to those of another, bounded in size. */
#include "engine/copy_memo.h"

#include <stdlib.h>
#include <string.h>

enum { KEY_WORDS = 2, ROOM_MIN = 1 << 10, ROOM_MAX = 1 << 20 };

struct copy_memo_slot {
    uint64_t key[KEY_WORDS]; /* both 0: free */
    struct cs_id to;
    uint64_t bytes;
};

/* Ids are hashes, half of one is as good. */
static void key_of(const struct cs_id *id, uint64_t context, uint64_t key[KEY_WORDS])
{
    memcpy(key, id->bytes, KEY_WORDS * sizeof *key);
    key[1] ^= context;
}

/* The slot of ${key}, or the free one for it. */
static struct copy_memo_slot *slot_of(struct copy_memo_slot *slots, size_t room,
                                      const uint64_t key[KEY_WORDS])
{
    for (size_t at = key[0] & (room - 1);; at = (at + 1) & (room - 1)) {
        struct copy_memo_slot *s = &slots[at];
        if ((s->key[0] == 0 && s->key[1] == 0) || memcmp(s->key, key, sizeof s->key) == 0)
            return s;
    }
}

static bool grow(struct copy_memo *m)
{
    size_t room = m->room > 0 ? m->room * 2 : ROOM_MIN;
    struct copy_memo_slot *slots = room <= ROOM_MAX ? calloc(room, sizeof *slots) : NULL;
    if (slots == NULL)
        return false;
    for (size_t i = 0; i < m->room; i++)
        if (m->slots[i].key[0] != 0 || m->slots[i].key[1] != 0)
            *slot_of(slots, room, m->slots[i].key) = m->slots[i];
    free(m->slots);
    m->slots = slots;
    m->room = room;
    return true;
}

void copy_memo_add(struct copy_memo *m, const struct cs_id *from, uint64_t context,
                   const struct cs_id *to, uint64_t bytes)
{
    struct copy_memo_slot slot = {.to = *to, .bytes = bytes};
    key_of(from, context, slot.key);
    if (m->count * 2 >= m->room && !grow(m))
        return;
    struct copy_memo_slot *s = slot_of(m->slots, m->room, slot.key);
    m->count += s->key[0] == 0 && s->key[1] == 0;
    *s = slot;
}

bool copy_memo_find(const struct copy_memo *m, const struct cs_id *from, uint64_t context,
                    struct cs_id *to, uint64_t *bytes)
{
    uint64_t key[KEY_WORDS];
    key_of(from, context, key);
    if (m->room == 0)
        return false;
    const struct copy_memo_slot *s = slot_of(m->slots, m->room, key);
    if (memcmp(s->key, key, sizeof key) != 0)
        return false;
    *to = s->to;
    *bytes = s->bytes;
    return true;
}

void copy_memo_clear(struct copy_memo *m)
{
    free(m->slots);
    *m = (struct copy_memo){0};
}

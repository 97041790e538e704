/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys and epochs in the fold: who may open the repository, and what for. */
#include <stdlib.h>
#include <string.h>

#include "state_parts.h"

void cs_state_get_key(struct cs_reader *r, struct cs_state_key *key)
{
    cs_get_copy(r, &key->slot, sizeof key->slot);
    key->role = cs_get_u8(r);
    key->kind = cs_get_u8(r);
}

void cs_state_get_key_rest(struct cs_reader *r, struct cs_state_key *key)
{
    cs_get_copy(r, key->dh_public, CS_KEY_SIZE);
    cs_get_copy(r, key->sign_public, CS_KEY_SIZE);
    key->label = cs_get_str16(r);
    if (key->role < CS_ROLE_FULL || key->role > CS_ROLE_APPEND || key->kind < CS_SLOT_PASSPHRASE ||
        key->kind > CS_SLOT_RECOVERY)
        r->bad = true;
}

/* Keys are few, and their entries rare: the changes are made one by one, after a pass that only
 * parses them. */
int cs_state_apply_keys(struct cs_state *state, uint64_t number, struct cs_reader r, int64_t time,
                        bool change, struct cs_error *err)
{
    uint16_t n = cs_get_count16(&r, 1);
    size_t epochs = state->epoch_count;
    state->key_entries += change;
    for (uint16_t i = 0; i < n && !r.bad; i++) {
        struct cs_state_key key = {.added = time};
        uint8_t data_public[CS_KEY_SIZE];
        switch (cs_get_u8(&r)) {
        case CS_KEY_ADD:
            cs_state_get_key(&r, &key);
            cs_state_get_key_rest(&r, &key);
            r.bad |= !change && cs_state_key(state, &key.slot) != NULL; /* a slot is added once */
            if (change && !r.bad) {
                struct cs_state_key *added = CS_STATE_GROW(state->keys, state->key_count);
                if (added == NULL) {
                    free(key.label);
                    return cs_fail_memory(err);
                }
                *added = key;
                key.label = NULL;
            }
            free(key.label);
            break;
        case CS_KEY_REMOVE:
            cs_get_copy(&r, &key.slot, sizeof key.slot);
            r.bad |= cs_state_key(state, &key.slot) == NULL;
            for (size_t k = 0; change && k < state->key_count; k++)
                if (memcmp(&state->keys[k].slot, &key.slot, sizeof key.slot) == 0 &&
                    !state->keys[k].removed) {
                    state->keys[k].removed = true;
                    state->keys[k].last_epoch =
                        state->epoch_count > 0 ? (uint16_t)(state->epoch_count - 1) : 0;
                }
            break;
        case CS_KEY_EPOCH:
            r.bad |= cs_get_u16(&r) != epochs++;
            cs_get_copy(&r, data_public, sizeof data_public);
            if (change && !r.bad) {
                uint8_t(*epoch)[CS_KEY_SIZE] = CS_STATE_GROW(state->epochs, state->epoch_count);
                if (epoch == NULL)
                    return cs_fail_memory(err);
                memcpy(epoch, data_public, CS_KEY_SIZE);
            }
            break;
        default:
            r.bad = true;
        }
    }
    return cs_reader_done(&r) ? 0 : cs_state_corrupt(err, number, &r);
}

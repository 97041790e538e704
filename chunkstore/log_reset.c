/* SPDX-License-Identifier: BSD-2-Clause */
/* A reset in the fold: whether it counts, and what takes the place of what it passes over. */
#include <inttypes.h>
#include <string.h>

#include "log_entry.h"

static int copy_state(struct cs_state *out, const struct cs_state *state, struct cs_error *err)
{
    struct cs_buf payload = {0};
    cs_entry_begin(&payload, CS_ENTRY_CHECKPOINT, 0);
    cs_entry_put_checkpoint(&payload, state);
    int rc = payload.failed ? cs_fail_memory(err)
                            : cs_state_load_checkpoint(out, 0, payload.data, payload.len, err);
    cs_buf_clear(&payload);
    return rc;
}

/* Applies entry ${number} to ${keys} if it can be read, and changes keys. */
static int follow_keys(struct cs_store *store, struct cs_state *keys, uint64_t number,
                       struct cs_error *err)
{
    struct cs_log_head head;
    struct cs_log_entry e;
    if (cs_log_head_read(store, number, &head, NULL) < 0)
        return 0;
    const struct cs_state_key *key = cs_state_key(keys, &head.signer);
    if (key == NULL || key->role != CS_ROLE_FULL)
        return 0;
    int rc = cs_log_entry_read(store, &e, number, NULL);
    if (rc == CS_NO_MEMORY)
        return cs_fail_memory(err);
    if (rc < 0)
        return 0;
    if (cs_log_entry_type(&e) == CS_ENTRY_KEY && cs_log_entry_counts(keys, &e) &&
        cs_log_entry_signed_by(store, &e, key->sign_public))
        rc = cs_state_apply(keys, number, e.payload, e.payload_len, NULL);
    cs_log_entry_clear(&e);
    return rc == CS_NO_MEMORY ? cs_fail_memory(err) : cs_store_cancelled(store, err);
}

/* Whoever was removed by one of the entries from ${from} on must not pass that over. */
static int signer_stayed(struct cs_store *store, const struct cs_state *state,
                         const struct cs_log_entry *reset, uint64_t from, struct cs_error *err)
{
    struct cs_state keys = {0};
    int rc = copy_state(&keys, state, err);
    for (uint64_t number = from; rc == 0 && number < reset->head.number; number++)
        rc = follow_keys(store, &keys, number, err);
    if (rc == 0 && cs_state_key(&keys, &reset->head.signer)->removed)
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is a reset by a key that was removed",
                     reset->head.number);
    cs_state_clear(&keys);
    return rc;
}

int cs_log_fold_reset(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                      const struct cs_log_entry *e, struct cs_error *err)
{
    uint64_t number = e->head.number, from = 0;
    struct cs_state fresh = {0};
    const struct cs_state_key *key = cs_state_key(state, &e->head.signer);
    if (key == NULL || !cs_log_entry_counts(state, e) ||
        !cs_log_entry_signed_by(store, e, key->sign_public))
        return cs_fail(err, CS_CORRUPT,
                       "log entry %" PRIu64
                       ": is a reset, but no full key from before entry %" PRIu64 " has signed it",
                       number, pos->next);
    int rc = cs_state_reset_from(&from, number, e->payload, e->payload_len, err);
    if (rc == 0 &&
        (from != pos->next || !e->head.reset || e->head.checkpoint != pos->last_checkpoint ||
         memcmp(e->head.previous, pos->head, CS_HASH_SIZE) != 0))
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": does not go on behind entry %" PRIu64,
                     number, pos->next - 1);
    if (rc == 0)
        rc = signer_stayed(store, state, e, from, err);
    if (rc == 0)
        rc = cs_state_load_checkpoint(&fresh, number, e->payload, e->payload_len, err);
    if (rc == 0 && e->head.epoch + 1U != fresh.epoch_count)
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is of key epoch %u, out of its turn",
                     number, e->head.epoch);
    if (rc < 0) {
        cs_state_clear(&fresh);
        return rc;
    }
    cs_state_clear(state);
    *state = fresh;
    cs_log_move_on(store, pos, e, true);
    return 0;
}

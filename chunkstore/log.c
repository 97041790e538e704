/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Folding the log: each entry is held against the chain, its signature and its
 * signer's rights before it changes the state. Also verifying all of it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log_entry.h"

/* Entry 0 brings the key that it is signed with; every slot pins its hash. */
static int first_signer(const struct cs_log_entry *e, struct cs_state *state, struct cs_error *err)
{
    int rc = cs_state_apply(state, 0, e->payload, e->payload_len, err);
    if (rc < 0)
        return rc;
    if (cs_log_entry_type(e) != CS_ENTRY_KEY || state->key_count != 1 || state->epoch_count != 1 ||
        state->keys[0].role != CS_ROLE_FULL)
        return cs_fail(err, CS_CORRUPT, "log entry 0: does not found a repository");
    return 0;
}

int cs_log_fold(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                const struct cs_log_entry *e, struct cs_error *err)
{
    uint64_t number = e->head.number;
    int rc = 0;
    if (memcmp(e->head.previous, pos->head, CS_HASH_SIZE) != 0)
        return cs_fail(
            err, CS_CORRUPT,
            "log entry %" PRIu64 ": does not follow the entry before it (two histories?)", number);
    if (e->head.checkpoint != pos->last_checkpoint)
        return cs_fail(err, CS_CORRUPT,
                       "log entry %" PRIu64 ": names checkpoint %" PRIu64 ", the last is %" PRIu64,
                       number, e->head.checkpoint, pos->last_checkpoint);
    if (e->head.epoch + 1U != (number == 0 ? 1 : state->epoch_count))
        return cs_fail(err, CS_CORRUPT,
                       "log entry %" PRIu64 ": is of key epoch %u, out of its turn", number,
                       e->head.epoch);
    if (number == 0) {
        rc = first_signer(e, state, err);
        if (rc < 0)
            return rc;
    }
    const struct cs_state_key *key = cs_state_key(state, &e->head.signer);
    if (key == NULL || !cs_log_entry_signed_by(store, e, key->sign_public))
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": its signature does not hold",
                       number);
    /* what its signer may not do is void: it stays in the chain and changes nothing */
    bool counts = cs_log_entry_counts(state, e);
    if (counts && number > 0)
        rc = cs_state_apply(state, number, e->payload, e->payload_len, err);
    if (rc == CS_CORRUPT && key->role != CS_ROLE_FULL) {
        counts =
            false; /* nor can somebody who may little stop everybody with what makes no sense */
        rc = 0;
    }
    if (rc < 0)
        return rc;
    cs_hash(pos->head, e->data, e->len);
    pos->next = number + 1;
    pos->entries_since++;
    pos->bytes_since += e->len;
    if (counts && cs_log_entry_type(e) == CS_ENTRY_CHECKPOINT) {
        pos->last_checkpoint = number;
        if (memcmp(&e->head.signer, &store->identity.slot, sizeof e->head.signer) == 0)
            pos->entries_since = pos->bytes_since = 0;
    }
    return 0;
}

static int start_from_checkpoint(struct cs_store *store, uint64_t number, struct cs_error *err)
{
    struct cs_log_entry e;
    int rc = cs_log_entry_read(store, &e, number, err);
    if (rc < 0)
        return rc;
    if (!cs_log_entry_signed_by(store, &e, store->identity.sign_public) ||
        cs_log_entry_type(&e) != CS_ENTRY_CHECKPOINT)
        rc =
            cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is no checkpoint of this key", number);
    else
        rc = cs_state_load_checkpoint(&store->state, number, e.payload, e.payload_len, err);
    if (rc == 0) {
        store->position = (struct cs_log_position){.next = number + 1, .last_checkpoint = number};
        cs_hash(store->position.head, e.data, e.len);
    }
    cs_log_entry_clear(&e);
    return rc;
}

/* Folds entries until ${last} (inclusive) has been applied, and goes on while there are more. */
static int fold_on(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                   uint64_t last, struct cs_error *err)
{
    for (;;) {
        struct cs_log_entry e;
        uint64_t number = pos->next;
        int rc = cs_log_entry_read(store, &e, number, err);
        if (rc == CS_NOT_FOUND) {
            if (number > last)
                return 0;
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
        }
        if (rc < 0)
            return rc;
        rc = cs_log_fold(store, state, pos, &e, err);
        if (rc == 0 && number == 0 &&
            memcmp(pos->head, store->pins.first_entry_hash, CS_HASH_SIZE) != 0)
            rc = cs_fail(err, CS_CORRUPT, "log entry 0: is not the one that the key slot pins");
        cs_log_entry_clear(&e);
        if (rc == 0)
            rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
}

int cs_log_load(struct cs_store *store, struct cs_error *err)
{
    uint64_t head = 0, checkpoint = 0;
    int rc = cs_log_find_head(store, &head, err);
    if (rc == 0)
        rc = cs_log_find_checkpoint(store, head, &checkpoint, err);
    if (rc == 0 && checkpoint > 0)
        rc = start_from_checkpoint(store, checkpoint, err);
    if (rc == 0)
        rc = fold_on(store, &store->state, &store->position, head, err);
    if (rc == 0)
        rc = cs_store_verify_epochs(store, err);
    store->log_loaded = rc == 0;
    return rc;
}

int cs_log_fold_whole(struct cs_store *store, struct cs_error *err)
{
    struct cs_state state = {0};
    struct cs_log_position pos = {0}, known = store->position;
    struct cs_log_entry e;
    int rc = 0;
    while (rc == 0 && pos.next < known.next) {
        rc = cs_log_entry_read(store, &e, pos.next, err);
        if (rc == CS_NOT_FOUND)
            rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", pos.next);
        if (rc < 0)
            break;
        rc = cs_log_fold(store, &state, &pos, &e, err);
        cs_log_entry_clear(&e);
    }
    if (rc == 0 && memcmp(pos.head, known.head, CS_HASH_SIZE) != 0)
        rc = cs_fail(err, CS_CORRUPT, "the log is not the one that was opened");
    if (rc < 0) {
        cs_state_clear(&state);
        return rc;
    }
    cs_state_clear(&store->state);
    store->state = state;
    return cs_log_catch_up(store, err);
}

int cs_log_catch_up(struct cs_store *store, struct cs_error *err)
{
    uint64_t before = store->position.next;
    int rc = fold_on(store, &store->state, &store->position, 0, err);
    if (rc == 0 && store->position.next != before)
        rc = cs_store_verify_epochs(store, err);
    return rc;
}

/* ---- verifying all of it ---- */

static int hold_checkpoint(const struct cs_state *state, const struct cs_log_entry *e,
                           void (*report)(void *arg, const char *message), void *arg,
                           struct cs_error *err)
{
    struct cs_buf expected = {0};
    cs_entry_begin(&expected, CS_ENTRY_CHECKPOINT, 0);
    cs_entry_put_checkpoint(&expected, state);
    if (expected.failed) {
        cs_buf_clear(&expected);
        return cs_fail_memory(err);
    }
    /* type, flags and time stand in the first 12 bytes */
    if (e->payload_len != expected.len ||
        memcmp(e->payload + 12, expected.data + 12, expected.len - 12) != 0) {
        char message[128];
        snprintf(message, sizeof message,
                 "log entry %" PRIu64 ": the checkpoint does not agree with the entries before it",
                 e->head.number);
        report(arg, message);
    }
    cs_buf_clear(&expected);
    return 0;
}

int cs_log_verify(struct cs_store *store, struct cs_state *state,
                  void (*report)(void *arg, const char *message), void *arg, struct cs_error *err)
{
    struct cs_log_position pos = {0};
    while (pos.next < store->position.next) {
        struct cs_log_entry e;
        int rc = cs_log_entry_read(store, &e, pos.next, err);
        if (rc == CS_NOT_FOUND)
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", pos.next);
        if (rc < 0)
            return rc;
        if (pos.next > 0 && cs_log_entry_counts(state, &e)) {
            struct cs_error broken;
            if (cs_log_entry_type(&e) == CS_ENTRY_CHECKPOINT)
                rc = hold_checkpoint(state, &e, report, arg, err);
            else if (cs_state_try(state, pos.next, e.payload, e.payload_len, &broken) == CS_CORRUPT)
                report(arg, broken.message);
        }
        if (rc == 0)
            rc = cs_log_fold(store, state, &pos, &e, err);
        cs_log_entry_clear(&e);
        if (rc == 0)
            rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
    if (memcmp(pos.head, store->position.head, CS_HASH_SIZE) != 0)
        return cs_fail(err, CS_CORRUPT, "the log changed while it was verified");
    return 0;
}

int cs_archive_author(struct cs_store *store, const struct cs_archive *archive,
                      struct cs_author *author, struct cs_error *err)
{
    struct cs_log_entry e;
    int rc = cs_log_entry_read(store, &e, archive->entry, err);
    if (rc < 0)
        return rc;
    const struct cs_state_key *key = cs_state_key(&store->state, &e.head.signer);
    if (key == NULL || !cs_log_entry_signed_by(store, &e, key->sign_public))
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": its signature does not hold",
                     archive->entry);
    else
        *author = (struct cs_author){
            .slot = e.head.signer,
            .role = key->role,
            .removed = key->removed,
            .own = memcmp(&e.head.signer, &store->identity.slot, sizeof e.head.signer) == 0,
        };
    cs_log_entry_clear(&e);
    return rc;
}

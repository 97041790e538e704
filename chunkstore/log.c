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

void cs_log_move_on(const struct cs_store *store, struct cs_log_position *pos,
                    const struct cs_log_entry *e, bool states)
{
    cs_hash(pos->head, e->data, e->len);
    pos->next = e->head.number + 1;
    pos->entries_since++;
    pos->bytes_since += e->len;
    if (!states)
        return;
    pos->last_checkpoint = e->head.number;
    if (memcmp(&e->head.signer, &store->identity.slot, sizeof e->head.signer) == 0)
        pos->entries_since = pos->bytes_since = 0;
}

int cs_log_fold(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                const struct cs_log_entry *e, struct cs_error *err)
{
    uint64_t number = e->head.number;
    int rc = 0;
    if (memcmp(e->head.previous, pos->head, CS_HASH_SIZE) != 0 && e->head.reset)
        return cs_fail(err, CS_CONFLICT,
                       "log entry %" PRIu64 ": the log was repaired meanwhile; begin anew", number);
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
        uint8_t hash[CS_HASH_SIZE];
        cs_hash(hash, e->data, e->len);
        if (memcmp(hash, store->pins.first_entry_hash, CS_HASH_SIZE) != 0)
            return cs_fail(err, CS_CORRUPT, "log entry 0: is not the one that the key slot pins");
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
    if (counts && e->head.reset != (cs_log_entry_type(e) == CS_ENTRY_RESET))
        rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": its header is not of its type",
                     number);
    else if (counts && number > 0)
        rc = cs_state_apply(state, number, e->payload, e->payload_len, err);
    if (rc == CS_CORRUPT && key->role != CS_ROLE_FULL) {
        counts =
            false; /* nor can somebody who may little stop everybody with what makes no sense */
        rc = 0;
    }
    if (rc < 0)
        return rc;
    cs_log_move_on(store, pos, e, counts && cs_log_entry_type(e) == CS_ENTRY_CHECKPOINT);
    return 0;
}

/* ---- folding a whole log ---- */

/* The reset that takes the place of entry ${number}, or NULL. */
static const struct cs_reset *reset_from(const struct cs_log_path *path, uint64_t number)
{
    for (size_t i = 0; i < path->count; i++)
        if (path->resets[i].from == number)
            return &path->resets[i];
    return NULL;
}

/* Folds what comes next on the way. CS_NOT_FOUND: there is no such file. */
static int fold_next(struct cs_store *store, const struct cs_fold_options *options,
                     const struct cs_log_path *path, struct cs_state *state,
                     struct cs_log_position *pos, struct cs_error *err)
{
    struct cs_log_entry e;
    const struct cs_reset *reset = path != NULL ? reset_from(path, pos->next) : NULL;
    uint64_t number = reset != NULL ? reset->number : pos->next;
    int rc = cs_log_entry_read(store, &e, number, err);
    if (rc < 0)
        return rc;
    if (options->look != NULL && reset == NULL)
        rc = options->look(options->arg, state, &e, err);
    if (rc == 0)
        rc = reset != NULL ? cs_log_fold_reset(store, state, pos, &e, err)
                           : cs_log_fold(store, state, pos, &e, err);
    cs_log_entry_clear(&e);
    return rc == 0 ? cs_store_cancelled(store, err) : rc;
}

static int fold_on(struct cs_store *store, const struct cs_fold_options *options,
                   const struct cs_log_path *path, struct cs_state *state,
                   struct cs_log_position *pos, struct cs_error *err)
{
    while (options->on || pos->next <= options->last) {
        uint64_t number = pos->next;
        int rc = fold_next(store, options, path, state, pos, err);
        if (rc == CS_NOT_FOUND && number > options->last)
            return 0;
        if (rc == CS_NOT_FOUND)
            rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int start_from_checkpoint(struct cs_store *store, uint64_t number, struct cs_state *state,
                                 struct cs_log_position *pos, struct cs_error *err)
{
    struct cs_log_entry e;
    int rc = cs_log_entry_read(store, &e, number, err);
    if (rc < 0)
        return rc;
    if (!cs_log_entry_signed_by(store, &e, store->identity.sign_public))
        rc =
            cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is no checkpoint of this key", number);
    else
        rc = cs_state_load_checkpoint(state, number, e.payload, e.payload_len, err);
    if (rc == 0) {
        *pos = (struct cs_log_position){0};
        cs_log_move_on(store, pos, &e, true);
    }
    cs_log_entry_clear(&e);
    return rc;
}

/* Whether the fold stopped at a reset that is the newest entry: one that does not count is void, as
 * is anything that its signer may not do. */
static bool stopped_at_head(const struct cs_log_path *path, uint64_t head,
                            const struct cs_log_position *pos)
{
    return path->count > 0 && path->resets[0].number == head && path->resets[0].from == pos->next;
}

int cs_log_fold_path(struct cs_store *store, const struct cs_fold_options *options,
                     struct cs_state *state, struct cs_log_position *pos, struct cs_error *err)
{
    struct cs_path_options way = {.below = options->whole ? 0 : UINT64_MAX,
                                  .tolerant = options->tolerant};
    for (;;) {
        struct cs_log_path path;
        struct cs_error why;
        bool begun = true;
        int rc = cs_log_find_path(store, options->last, &way, &path, &why);
        if (rc == 0 && path.start > 0) {
            rc = start_from_checkpoint(store, path.start, state, pos, &why);
            begun = rc == 0;
        }
        if (rc == 0)
            rc = fold_on(store, options, &path, state, pos, &why);
        bool again = rc == CS_CORRUPT && !begun;
        if (again) /* one that is no good is not needed: an earlier one, or none, will do */
            way.below = path.start;
        else if (rc == CS_CORRUPT && !way.plain_head && stopped_at_head(&path, options->last, pos))
            again = way.plain_head = true;
        cs_log_path_clear(&path);
        pos->void_head = way.plain_head;
        if (rc == 0)
            return 0;
        if (!again) {
            if (rc == CS_CONFLICT) /* for who was here before; for who begins it is damage */
                rc = why.code = CS_CORRUPT;
            if (err != NULL)
                *err = why;
            return rc;
        }
        cs_state_clear(state);
        *pos = (struct cs_log_position){0};
    }
}

int cs_log_load(struct cs_store *store, struct cs_error *err)
{
    struct cs_fold_options options = {.on = true};
    int rc = cs_log_find_head(store, &options.last, err);
    if (rc == 0)
        rc = cs_log_fold_path(store, &options, &store->state, &store->position, err);
    if (rc == 0)
        rc = cs_store_verify_epochs(store, err);
    store->log_loaded = rc == 0;
    return rc;
}

int cs_log_fold_whole(struct cs_store *store, struct cs_error *err)
{
    struct cs_state state = {0};
    struct cs_log_position pos = {0}, known = store->position;
    struct cs_fold_options options = {.last = known.next - 1, .whole = true};
    int rc = cs_log_fold_path(store, &options, &state, &pos, err);
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
    struct cs_fold_options options = {.on = true};
    uint64_t before = store->position.next;
    int rc = fold_on(store, &options, NULL, &store->state, &store->position, err);
    if (rc == 0 && store->position.next != before)
        rc = cs_store_verify_epochs(store, err);
    return rc;
}

/* ---- verifying all of it ---- */

struct verify {
    void (*report)(void *arg, const char *message);
    void *arg;
};

static int hold_checkpoint(const struct verify *v, const struct cs_state *state,
                           const struct cs_log_entry *e, struct cs_error *err)
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
        v->report(v->arg, message);
    }
    cs_buf_clear(&expected);
    return 0;
}

static int verify_entry(void *arg, const struct cs_state *state, const struct cs_log_entry *e,
                        struct cs_error *err)
{
    const struct verify *v = arg;
    struct cs_error broken;
    if (e->head.number == 0 || !cs_log_entry_counts(state, e))
        return 0;
    if (cs_log_entry_type(e) == CS_ENTRY_CHECKPOINT)
        return hold_checkpoint(v, state, e, err);
    if (cs_state_try(state, e->head.number, e->payload, e->payload_len, &broken) == CS_CORRUPT)
        v->report(v->arg, broken.message);
    return 0;
}

int cs_log_verify(struct cs_store *store, struct cs_state *state,
                  void (*report)(void *arg, const char *message), void *arg, struct cs_error *err)
{
    struct verify verify = {.report = report, .arg = arg};
    struct cs_log_position pos = {0};
    struct cs_fold_options options = {
        .last = store->position.next - 1,
        .whole = true,
        .look = verify_entry,
        .arg = &verify,
    };
    int rc = cs_log_fold_path(store, &options, state, &pos, err);
    if (rc == 0 && memcmp(pos.head, store->position.head, CS_HASH_SIZE) != 0)
        rc = cs_fail(err, CS_CORRUPT, "the log changed while it was verified");
    return rc;
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
    else if (!cs_state_adds_archive(e.payload, e.payload_len, &archive->id))
        rc =
            cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": adds another archive", archive->entry);
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

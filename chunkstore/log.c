/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Log entries as files: sealed, signed, chained by hash, and created only where
 * their number is free. What they mean is state.c's.
 */
#include "log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "head.h"

static const char magic[8] = "byre-log";

enum { NO_CHECKPOINT_BEFORE = 64 /* entries; shorter logs are read at once anyway */ };

struct entry_head {
    uint16_t epoch;
    uint32_t sealed; /* length of the payload, sealed */
    uint64_t number;
    uint8_t previous[CS_HASH_SIZE];
    uint64_t checkpoint;
    struct cs_name signer;
};

void cs_entry_file(char out[64], uint64_t number)
{
    snprintf(out, 64, "log/%013" PRIx64 "/%03" PRIx64, number >> 12, number & 0xfff);
}

void cs_entry_folder(char out[64], uint64_t number)
{
    snprintf(out, 64, "log/%013" PRIx64, number >> 12);
}

uint64_t cs_entry_size(size_t len)
{
    return CS_ENTRY_HEAD + len + CS_SEAL_OVERHEAD + CS_SIGNATURE_SIZE;
}

static void head_encode(uint8_t out[CS_ENTRY_HEAD], const struct entry_head *h)
{
    memcpy(out, magic, 8);
    cs_le16(out + 8, 1);
    cs_le16(out + 10, h->epoch);
    cs_le32(out + 12, h->sealed);
    cs_le64(out + 16, h->number);
    memcpy(out + 24, h->previous, CS_HASH_SIZE);
    cs_le64(out + 56, h->checkpoint);
    memcpy(out + 64, h->signer.bytes, CS_NAME_SIZE);
}

static int head_decode(struct entry_head *h, const uint8_t *data, size_t len, uint64_t number,
                       struct cs_error *err)
{
    if (len < CS_ENTRY_HEAD || memcmp(data, magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is no log entry", number);
    if (cs_from_le16(data + 8) != 1)
        return cs_fail(err, CS_CORRUPT,
                       "log entry %" PRIu64
                       ": has version %u, which this repository's format does not know",
                       number, cs_from_le16(data + 8));
    h->epoch = cs_from_le16(data + 10);
    h->sealed = cs_from_le32(data + 12);
    h->number = cs_from_le64(data + 16);
    memcpy(h->previous, data + 24, CS_HASH_SIZE);
    h->checkpoint = cs_from_le64(data + 56);
    memcpy(h->signer.bytes, data + 64, CS_NAME_SIZE);
    if (h->number != number)
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is entry %" PRIu64 " by its header",
                       number, h->number);
    return 0;
}

/* The associated data of the payload: repository id and header. */
static void identity_of(uint8_t ad[CS_ID_SIZE + CS_ENTRY_HEAD], const struct cs_store *store,
                        const uint8_t *head)
{
    memcpy(ad, store->config.repository_id.bytes, CS_ID_SIZE);
    memcpy(ad + CS_ID_SIZE, head, CS_ENTRY_HEAD);
}

struct entry { /* one that was read */
    struct entry_head head;
    uint8_t *data;
    size_t len;
    uint8_t *payload;
    size_t payload_len;
};

static void entry_clear(struct entry *e)
{
    free(e->data);
    free(e->payload);
    *e = (struct entry){0};
}

/* Reads and decrypts; the chain, the signature and the rights are still to be held against it. */
static int entry_read(struct cs_store *store, struct entry *e, uint64_t number,
                      struct cs_error *err)
{
    char name[64];
    uint8_t ad[CS_ID_SIZE + CS_ENTRY_HEAD];
    const struct cs_epoch *keys = NULL;
    *e = (struct entry){0};
    cs_entry_file(name, number);
    int rc = cs_backend_read_all(store->backend, name, CS_ENTRY_MAX, &e->data, &e->len, err);
    if (rc < 0)
        return rc;
    rc = head_decode(&e->head, e->data, e->len, number, err);
    if (rc < 0)
        goto out;
    if (e->head.sealed < CS_SEAL_OVERHEAD + CS_PAYLOAD_HEAD ||
        e->len != (uint64_t)CS_ENTRY_HEAD + e->head.sealed + CS_SIGNATURE_SIZE) {
        rc = cs_fail(err, CS_CORRUPT,
                     "log entry %" PRIu64 ": has %zu bytes, its header says %" PRIu64, number,
                     e->len, (uint64_t)CS_ENTRY_HEAD + e->head.sealed + CS_SIGNATURE_SIZE);
        goto out;
    }
    rc = cs_store_epoch(store, e->head.epoch, &keys, err);
    if (rc < 0)
        goto out;
    e->payload_len = e->head.sealed - CS_SEAL_OVERHEAD;
    e->payload = malloc(e->payload_len + 1);
    if (e->payload == NULL) {
        rc = cs_fail_memory(err);
        goto out;
    }
    identity_of(ad, store, e->data);
    if (!cs_unseal(e->payload, keys->log_key, ad, sizeof ad, e->data + CS_ENTRY_HEAD,
                   e->head.sealed))
        rc = cs_fail(err, CS_CORRUPT,
                     "log entry %" PRIu64 ": was altered, or is of another repository", number);
out:
    if (rc < 0)
        entry_clear(e);
    return rc;
}

static bool signature_holds(const struct cs_store *store, const struct entry *e,
                            const uint8_t sign_public[CS_KEY_SIZE])
{
    size_t len = e->len - CS_SIGNATURE_SIZE;
    return cs_verify(e->data + len, sign_public, "byre log", store->config.repository_id.bytes,
                     CS_ID_SIZE, e->data, len);
}

static uint16_t payload_type(const struct entry *e)
{
    return cs_from_le16(e->payload);
}

/* Whether the signer is one that may append such an entry; else the entry is void. */
static bool entry_counts(const struct cs_state *state, const struct entry *e)
{
    const struct cs_state_key *key = cs_state_key(state, &e->head.signer);
    return key != NULL && !key->removed && cs_state_may(key->role, payload_type(e));
}

/* Entry 0 brings the key that it is signed with; every slot pins its hash. */
static int first_signer(const struct entry *e, struct cs_state *state, struct cs_error *err)
{
    int rc = cs_state_apply(state, 0, e->payload, e->payload_len, err);
    if (rc < 0)
        return rc;
    if (payload_type(e) != CS_ENTRY_KEY || state->key_count != 1 || state->epoch_count != 1 ||
        state->keys[0].role != CS_ROLE_FULL)
        return cs_fail(err, CS_CORRUPT, "log entry 0: does not found a repository");
    return 0;
}

/* Holds ${e} against the chain at ${pos} and applies it to ${state}. */
static int fold(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                const struct entry *e, struct cs_error *err)
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
    if (key == NULL || !signature_holds(store, e, key->sign_public))
        return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": its signature does not hold",
                       number);
    /* what its signer may not do is void: it stays in the chain and changes nothing */
    bool counts = entry_counts(state, e);
    if (counts && number > 0)
        rc = cs_state_apply(state, number, e->payload, e->payload_len, err);
    if (rc < 0)
        return rc;
    cs_hash(pos->head, e->data, e->len);
    pos->next = number + 1;
    pos->entries_since++;
    pos->bytes_since += e->len;
    if (counts && payload_type(e) == CS_ENTRY_CHECKPOINT) {
        pos->last_checkpoint = number;
        if (memcmp(&e->head.signer, &store->identity.slot, sizeof e->head.signer) == 0)
            pos->entries_since = pos->bytes_since = 0;
    }
    return 0;
}

/* ---- finding the head ---- */

struct numbers { /* names in a folder that are so many hex digits */
    size_t digits;
    uint64_t *at;
    size_t count;
    size_t room;
};

static int see_name(void *arg, const char *name, struct cs_error *err)
{
    struct numbers *n = arg;
    if (strlen(name) != n->digits || strspn(name, "0123456789abcdef") != n->digits)
        return 0;
    if (n->count == n->room) {
        size_t room = n->room > 0 ? 2 * n->room : 64;
        uint64_t *at = reallocarray(n->at, room, sizeof *at);
        if (at == NULL)
            return cs_fail_memory(err);
        n->at = at;
        n->room = room;
    }
    n->at[n->count++] = strtoull(name, NULL, 16);
    return 0;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static int list_numbers(struct cs_store *store, const char *folder, struct numbers *n,
                        struct cs_error *err)
{
    int rc = store->backend->ops->list(store->backend, folder, see_name, n, err);
    if (rc == 0 && n->count > 1)
        qsort(n->at, n->count, sizeof *n->at, descending);
    return rc;
}

/* The number of the newest entry. A folder may be there before its first entry is. */
static int find_head(struct cs_store *store, uint64_t *number, struct cs_error *err)
{
    struct numbers folders = {.digits = 13};
    bool found = false;
    int rc = list_numbers(store, "log", &folders, err);
    for (size_t i = 0; rc == 0 && !found && i < folders.count; i++) {
        char name[64];
        struct numbers entries = {.digits = 3};
        cs_entry_folder(name, folders.at[i] << 12);
        rc = list_numbers(store, name, &entries, err);
        found = rc == 0 && entries.count > 0;
        if (found)
            *number = folders.at[i] << 12 | entries.at[0];
        free(entries.at);
    }
    free(folders.at);
    if (rc == 0 && !found)
        rc = cs_fail(err, CS_CORRUPT, "%s: the log has no entries", store->path);
    return rc;
}

/* The newest checkpoint of our own: the only ones believed. 0: none. */
static int find_checkpoint(struct cs_store *store, uint64_t head, uint64_t *number,
                           struct cs_error *err)
{
    uint64_t at = head;
    for (;;) {
        char name[64];
        uint8_t data[CS_ENTRY_HEAD];
        struct entry_head h;
        cs_entry_file(name, at);
        int rc = cs_backend_read_exact(store->backend, name, 0, data, sizeof data, err);
        if (rc == 0)
            rc = head_decode(&h, data, sizeof data, at, err);
        if (rc == CS_NOT_FOUND)
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", at);
        if (rc < 0)
            return rc;
        if (at != head && memcmp(&h.signer, &store->identity.slot, sizeof h.signer) == 0) {
            *number = at;
            return 0;
        }
        if (h.checkpoint == 0) {
            *number = 0;
            return 0;
        }
        if (h.checkpoint >= at)
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": names a later checkpoint", at);
        at = h.checkpoint;
    }
}

static int start_from_checkpoint(struct cs_store *store, uint64_t number, struct cs_error *err)
{
    struct entry e;
    int rc = entry_read(store, &e, number, err);
    if (rc < 0)
        return rc;
    if (!signature_holds(store, &e, store->identity.sign_public) ||
        payload_type(&e) != CS_ENTRY_CHECKPOINT)
        rc =
            cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is no checkpoint of this key", number);
    else
        rc = cs_state_load_checkpoint(&store->state, number, e.payload, e.payload_len, err);
    if (rc == 0) {
        store->position = (struct cs_log_position){.next = number + 1, .last_checkpoint = number};
        cs_hash(store->position.head, e.data, e.len);
    }
    entry_clear(&e);
    return rc;
}

/* Folds entries until ${last} (inclusive) has been applied, and goes on while there are more. */
static int fold_on(struct cs_store *store, struct cs_state *state, struct cs_log_position *pos,
                   uint64_t last, struct cs_error *err)
{
    for (;;) {
        struct entry e;
        uint64_t number = pos->next;
        int rc = entry_read(store, &e, number, err);
        if (rc == CS_NOT_FOUND) {
            if (number > last)
                return 0;
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", number);
        }
        if (rc < 0)
            return rc;
        rc = fold(store, state, pos, &e, err);
        if (rc == 0 && number == 0 &&
            memcmp(pos->head, store->pins.first_entry_hash, CS_HASH_SIZE) != 0)
            rc = cs_fail(err, CS_CORRUPT, "log entry 0: is not the one that the key slot pins");
        entry_clear(&e);
        if (rc == 0)
            rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
}

int cs_log_load(struct cs_store *store, struct cs_error *err)
{
    uint64_t head = 0, checkpoint = 0;
    int rc = find_head(store, &head, err);
    if (rc == 0)
        rc = find_checkpoint(store, head, &checkpoint, err);
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
    struct entry e;
    int rc = 0;
    while (rc == 0 && pos.next < known.next) {
        rc = entry_read(store, &e, pos.next, err);
        if (rc == CS_NOT_FOUND)
            rc = cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", pos.next);
        if (rc < 0)
            break;
        rc = fold(store, &state, &pos, &e, err);
        entry_clear(&e);
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

/* ---- appending ---- */

static int entry_build(struct cs_store *store, const struct cs_buf *payload, struct cs_buf *out,
                       struct cs_error *err)
{
    struct entry_head head = {
        .epoch = cs_store_current_epoch(store),
        .sealed = (uint32_t)(payload->len + CS_SEAL_OVERHEAD),
        .number = store->position.next,
        .checkpoint = store->position.last_checkpoint,
        .signer = store->identity.slot,
    };
    uint8_t ad[CS_ID_SIZE + CS_ENTRY_HEAD];
    const struct cs_epoch *keys = NULL;
    int rc = cs_store_epoch(store, head.epoch, &keys, err);
    if (rc < 0)
        return rc;
    memcpy(head.previous, store->position.head, CS_HASH_SIZE);
    out->len = 0;
    cs_put_zeros(out, (size_t)cs_entry_size(payload->len));
    if (out->failed)
        return cs_fail_memory(err);
    head_encode(out->data, &head);
    identity_of(ad, store, out->data);
    cs_seal(out->data + CS_ENTRY_HEAD, keys->log_key, ad, sizeof ad, payload->data, payload->len);
    size_t len = out->len - CS_SIGNATURE_SIZE;
    return cs_sign(out->data + len, store->identity.sign_seed, "byre log",
                   store->config.repository_id.bytes, CS_ID_SIZE, out->data, len, err);
}

/* Whether the entry under our number is ours after all: a reply was lost, not the race. */
static int is_mine(struct cs_store *store, const char *name, const struct cs_buf *mine, bool *yes,
                   struct cs_error *err)
{
    uint8_t *data = NULL;
    size_t len = 0;
    int rc = cs_backend_read_all(store->backend, name, CS_ENTRY_MAX, &data, &len, err);
    if (rc == 0)
        *yes = len == mine->len && memcmp(data, mine->data, len) == 0;
    free(data);
    return rc;
}

static int may_append(const struct cs_store *store, uint16_t type, struct cs_error *err)
{
    const struct cs_state_key *key = cs_state_key(&store->state, &store->identity.slot);
    if (store->rollback != NULL)
        return cs_fail(err, CS_CORRUPT, "%s; nothing is written to it", store->rollback);
    if (key == NULL || key->removed)
        return cs_fail(err, CS_AUTH, "the key in use has been removed from the repository");
    if (!cs_state_may(key->role, type))
        return cs_fail(err, CS_AUTH, "a key of role %s may not do this; role full is needed",
                       cs_role_name(key->role));
    if (store->state.unknown_entry != 0)
        return cs_fail(err, CS_UNSUPPORTED,
                       "log entry %" PRIu64
                       ": a newer program wrote it; only that one may write here",
                       store->state.unknown_entry - 1);
    return 0;
}

/* Puts the entry under its number. CS_EXISTS: another writer was there first. */
static int put_entry(struct cs_store *store, const struct cs_buf *entry, struct cs_error *err)
{
    char name[64], folder[64];
    cs_entry_file(name, store->position.next);
    cs_entry_folder(folder, store->position.next);
    int rc = cs_backend_put(store->backend, name, entry->data, entry->len, false, err);
    if (rc == CS_EXISTS) {
        bool mine = false;
        rc = is_mine(store, name, entry, &mine, err);
        if (rc == 0 && !mine)
            return CS_EXISTS;
    }
    if (rc == 0)
        rc = store->backend->ops->sync(store->backend, folder, err);
    if (rc == 0) /* whoever made the folder may have been killed before this */
        rc = store->backend->ops->sync(store->backend, "log", err);
    return rc;
}

/* Folds the entry that was just written, without reading it back: from here on nothing but want of
 * memory can fail, so that what is durable is not called failed. */
static int apply_own(struct cs_store *store, const struct cs_buf *entry,
                     const struct cs_buf *payload, struct cs_error *err)
{
    struct entry e = {
        .data = entry->data,
        .len = entry->len,
        .payload = payload->data,
        .payload_len = payload->len,
    };
    int rc = head_decode(&e.head, e.data, e.len, store->position.next, err);
    return rc < 0 ? rc : fold(store, &store->state, &store->position, &e, err);
}

int cs_log_append(struct cs_store *store, const struct cs_buf *payload, uint64_t *size,
                  struct cs_error *err)
{
    struct cs_buf entry = {0};
    int rc;
    if (payload->failed)
        return cs_fail_memory(err);
    if (cs_entry_size(payload->len) > CS_ENTRY_MAX)
        return cs_fail(err, CS_USAGE, "a log entry of %zu bytes is too large", payload->len);
    const uint64_t key_entries = store->state.key_entries;
    do {
        uint16_t type = cs_from_le16(payload->data);
        rc = may_append(store, type, err);
        if (rc == 0 && type == CS_ENTRY_KEY && store->state.key_entries != key_entries) {
            rc = cs_fail(err, CS_USAGE, "somebody else has changed the keys meanwhile; try again");
            break;
        }
        if (rc == 0) /* what nobody could read must not become durable */
            rc =
                cs_state_try(&store->state, store->position.next, payload->data, payload->len, err);
        if (rc == 0)
            rc = entry_build(store, payload, &entry, err);
        if (rc == 0)
            rc = put_entry(store, &entry, err);
        if (rc == 0)
            rc = apply_own(store, &entry, payload, err);
        else if (rc == CS_EXISTS) {
            int applied = cs_log_catch_up(store, err);
            if (applied < 0)
                rc = applied;
        }
    } while (rc == CS_EXISTS);
    if (rc == 0 && size != NULL)
        *size += entry.len;
    if (rc == 0)
        cs_head_remember(store);
    cs_buf_clear(&entry);
    return rc;
}

int cs_log_checkpoint(struct cs_store *store, uint64_t *size, struct cs_error *err)
{
    if (store->position.entries_since < NO_CHECKPOINT_BEFORE)
        return 0;
    struct cs_buf payload = {0};
    cs_entry_begin(&payload, CS_ENTRY_CHECKPOINT, (int64_t)time(NULL));
    cs_entry_put_checkpoint(&payload, &store->state);
    int rc = 0;
    if (payload.failed)
        rc = cs_fail_memory(err);
    else if (payload.len < store->position.bytes_since &&
             cs_entry_size(payload.len) <= CS_ENTRY_MAX) {
        /* a checkpoint tells the state before itself: nobody may come between */
        struct cs_buf entry = {0};
        rc = may_append(store, CS_ENTRY_CHECKPOINT, err);
        if (rc == 0)
            rc = entry_build(store, &payload, &entry, err);
        if (rc == 0)
            rc = put_entry(store, &entry, err);
        if (rc == 0) {
            *size += entry.len;
            rc = apply_own(store, &entry, &payload, err);
        } else if (rc == CS_EXISTS) { /* the next run will */
            rc = cs_log_catch_up(store, err);
        }
        cs_buf_clear(&entry);
    }
    cs_buf_clear(&payload);
    return rc;
}

int cs_log_found(struct cs_store *store, const struct cs_buf *payload, uint8_t hash[CS_HASH_SIZE],
                 struct cs_error *err)
{
    struct cs_buf entry = {0};
    if (payload->failed)
        return cs_fail_memory(err);
    int rc = entry_build(store, payload, &entry, err);
    if (rc == 0)
        rc = put_entry(store, &entry, err);
    if (rc == CS_EXISTS)
        rc = cs_fail(err, CS_EXISTS, "%s: another init was faster", store->path);
    if (rc == 0)
        cs_hash(hash, entry.data, entry.len);
    cs_buf_clear(&entry);
    return rc;
}

/* ---- verifying all of it ---- */

static int hold_checkpoint(const struct cs_state *state, const struct entry *e,
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
        struct entry e;
        int rc = entry_read(store, &e, pos.next, err);
        if (rc == CS_NOT_FOUND)
            return cs_fail(err, CS_CORRUPT, "log entry %" PRIu64 ": is missing", pos.next);
        if (rc < 0)
            return rc;
        if (payload_type(&e) == CS_ENTRY_CHECKPOINT && entry_counts(state, &e))
            rc = hold_checkpoint(state, &e, report, arg, err);
        if (rc == 0)
            rc = fold(store, state, &pos, &e, err);
        entry_clear(&e);
        if (rc == 0)
            rc = cs_store_cancelled(store, err);
        if (rc < 0)
            return rc;
    }
    if (memcmp(pos.head, store->position.head, CS_HASH_SIZE) != 0)
        return cs_fail(err, CS_CORRUPT, "the log changed while it was verified");
    return 0;
}

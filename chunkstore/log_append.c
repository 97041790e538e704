/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The one compare-and-append: an entry under the next number, created only where
 * that is free; whoever was there first is applied first.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "head.h"
#include "log_entry.h"

enum { NO_CHECKPOINT_BEFORE = 64 /* entries; shorter logs are read at once anyway */ };

int cs_log_entry_build(struct cs_store *store, const struct cs_log_head *head,
                       const struct cs_buf *payload, struct cs_buf *out, struct cs_error *err)
{
    uint8_t ad[CS_ENTRY_IDENTITY];
    const struct cs_epoch *keys = NULL;
    int rc = cs_store_epoch(store, head->epoch, &keys, err);
    if (rc < 0)
        return rc;
    out->len = 0;
    cs_put_zeros(out, (size_t)cs_entry_size(payload->len));
    if (out->failed)
        return cs_fail_memory(err);
    cs_log_head_encode(out->data, head);
    cs_log_entry_identity(ad, store, out->data);
    cs_seal(out->data + CS_ENTRY_HEAD, keys->log_key, ad, sizeof ad, payload->data, payload->len);
    size_t len = out->len - CS_SIGNATURE_SIZE;
    return cs_sign(out->data + len, store->identity.sign_seed, "byre log",
                   store->config.repository_id.bytes, CS_ID_SIZE, out->data, len, err);
}

/* The entry that comes next. */
static int entry_build(struct cs_store *store, const struct cs_buf *payload, struct cs_buf *out,
                       struct cs_error *err)
{
    struct cs_log_head head = {
        .epoch = cs_store_current_epoch(store),
        .sealed = (uint32_t)(payload->len + CS_SEAL_OVERHEAD),
        .number = store->position.next,
        .checkpoint = store->position.last_checkpoint,
        .signer = store->identity.slot,
    };
    memcpy(head.previous, store->position.head, CS_HASH_SIZE);
    return cs_log_entry_build(store, &head, payload, out, err);
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

int cs_log_may_append(const struct cs_store *store, uint16_t type, struct cs_error *err)
{
    const struct cs_state_key *key = cs_state_key(&store->state, &store->identity.slot);
    if (store->rollback != NULL)
        return cs_fail(err, CS_CORRUPT,
                       "%s; nothing is written to it until `byre check --accept-rollback`",
                       store->rollback);
    if (store->damage != NULL)
        return cs_fail(err, CS_CORRUPT, "%s", store->damage);
    if (store->config.write_features != 0)
        return cs_fail(err, CS_UNSUPPORTED,
                       "config: writing needs features %#" PRIx64 " that this program lacks",
                       store->config.write_features);
    if (key == NULL || key->removed)
        return cs_fail(err, CS_AUTH, "the key in use has been removed from the repository");
    if (!cs_state_may(key->role, type))
        return cs_fail(err, CS_AUTH, "a key of role %s may not do this; role %s is needed",
                       cs_role_name(key->role),
                       cs_state_may(CS_ROLE_BACKUP, type) ? "backup or full" : "full");
    if (store->state.unknown_entry != 0)
        return cs_fail(err, CS_UNSUPPORTED,
                       "log entry %" PRIu64
                       ": a newer program wrote it; only that one may write here",
                       store->state.unknown_entry - 1);
    return 0;
}

/* An entry must not outlive the one before it, whose writer may have been killed before he flushed
 * it. Where both lie in one folder, one flush does. */
static int sync_folder_before(struct cs_store *store, const char *folder, struct cs_error *err)
{
    char before[64];
    if (store->position.next == 0)
        return 0;
    cs_entry_folder(before, store->position.next - 1);
    return strcmp(before, folder) == 0 ? 0 : store->backend->ops->sync(store->backend, before, err);
}

/* Makes the entry's name durable. Whoever made its folder may have been killed before that was,
 * too, but for one that has an entry of which it is known. */
static int sync_entry(struct cs_store *store, const char *folder, struct cs_error *err)
{
    const struct cs_backend_ops *ops = store->backend->ops;
    char known[64] = "";
    if (store->durable > 0)
        cs_entry_folder(known, store->durable - 1);
    int rc = ops->sync(store->backend, folder, err);
    if (rc == 0 && strcmp(known, folder) != 0)
        rc = ops->sync(store->backend, "log", err);
    if (rc == 0)
        store->durable = store->position.next + 1;
    return rc;
}

/* Puts the entry under its number. CS_EXISTS: another writer was there first. */
static int put_entry(struct cs_store *store, const struct cs_buf *entry, struct cs_error *err)
{
    char name[64], folder[64];
    cs_entry_file(name, store->position.next);
    cs_entry_folder(folder, store->position.next);
    int rc = sync_folder_before(store, folder, err);
    if (rc < 0)
        return rc;
    rc = cs_backend_put(store->backend, name, entry->data, entry->len, false, err);
    if (rc == CS_EXISTS) {
        bool mine = false;
        rc = is_mine(store, name, entry, &mine, err);
        if (rc == 0 && !mine)
            return CS_EXISTS;
    }
    return rc < 0 ? rc : sync_entry(store, folder, err);
}

/* Folds the entry that was just written, without reading it back: from here on nothing but want of
 * memory can fail, so that what is durable is not called failed. */
static int apply_own(struct cs_store *store, const struct cs_buf *entry,
                     const struct cs_buf *payload, struct cs_error *err)
{
    struct cs_log_entry e = {
        .data = entry->data,
        .len = entry->len,
        .payload = payload->data,
        .payload_len = payload->len,
    };
    int rc = cs_log_head_decode(&e.head, e.data, e.len, store->position.next, err);
    return rc < 0 ? rc : cs_log_fold(store, &store->state, &store->position, &e, err);
}

int cs_log_append(struct cs_store *store, const struct cs_buf *payload, uint64_t *size,
                  struct cs_error *err)
{
    return cs_log_append_if(store, payload, NULL, NULL, size, err);
}

int cs_log_append_if(struct cs_store *store, const struct cs_buf *payload,
                     int (*holds)(void *arg, struct cs_error *err), void *arg, uint64_t *size,
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
        rc = cs_log_may_append(store, type, err);
        if (rc == 0 && type == CS_ENTRY_KEY && store->state.key_entries != key_entries) {
            rc = cs_fail(err, CS_USAGE, "somebody else has changed the keys meanwhile; try again");
            break;
        }
        if (rc == 0 && holds != NULL)
            rc = holds(arg, err);
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
        rc = cs_log_may_append(store, CS_ENTRY_CHECKPOINT, err);
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

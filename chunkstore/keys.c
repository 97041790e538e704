/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Managing keys: listing, adding, removing, changing a secret. Files come
 * before the entry that makes them count, and go after the one that ends them.
 */
#include "keys.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "log.h"

void cs_put_key_add(struct cs_buf *out, const struct cs_identity *identity, enum cs_role role,
                    enum cs_slot_kind kind, const char *label)
{
    cs_put_u8(out, CS_KEY_ADD);
    cs_put_bytes(out, identity->slot.bytes, CS_NAME_SIZE);
    cs_put_u8(out, (uint8_t)role);
    cs_put_u8(out, (uint8_t)kind);
    cs_put_bytes(out, identity->dh_public, CS_KEY_SIZE);
    cs_put_bytes(out, identity->sign_public, CS_KEY_SIZE);
    cs_put_str16(out, label);
}

void cs_put_key_remove(struct cs_buf *out, const struct cs_name *slot)
{
    cs_put_u8(out, CS_KEY_REMOVE);
    cs_put_bytes(out, slot->bytes, CS_NAME_SIZE);
}

void cs_put_key_epoch(struct cs_buf *out, uint16_t epoch, const uint8_t data_public[CS_KEY_SIZE])
{
    cs_put_u8(out, CS_KEY_EPOCH);
    cs_put_u16(out, epoch);
    cs_put_bytes(out, data_public, CS_KEY_SIZE);
}

int cs_key_list(const struct cs_store *store, struct cs_key **keys, size_t *count,
                struct cs_error *err)
{
    struct cs_key *list = calloc(store->state.key_count + 1, sizeof *list);
    size_t n = 0;
    if (list == NULL)
        return cs_fail_memory(err);
    for (size_t i = 0; i < store->state.key_count; i++) {
        const struct cs_state_key *k = &store->state.keys[i];
        if (k->removed)
            continue;
        list[n++] = (struct cs_key){
            .slot = k->slot,
            .role = k->role,
            .kind = k->kind,
            .label = k->label,
            .added = k->added,
            .own = memcmp(&k->slot, &store->identity.slot, sizeof k->slot) == 0,
        };
    }
    *keys = list;
    *count = n;
    return 0;
}

static int require_full(const struct cs_store *store, struct cs_error *err)
{
    if (cs_own_role(store) == CS_ROLE_FULL)
        return 0;
    return cs_fail(err, CS_AUTH,
                   "a key of role %s cannot manage keys; a key of role full is needed",
                   cs_role_name(cs_own_role(store)));
}

static int put_keyring(struct cs_store *store, const struct cs_keyring *keyring, enum cs_role role,
                       const struct cs_name *slot, const uint8_t dh_public[CS_KEY_SIZE],
                       struct cs_error *err)
{
    uint8_t sealed[CS_KEYRING_SIZE];
    char name[64];
    int rc = cs_keyring_seal(sealed, keyring, role, &store->config.repository_id, slot, dh_public,
                             &store->identity, err);
    cs_keyring_file(name, slot, keyring->epoch);
    if (rc == 0)
        rc = cs_backend_put(store->backend, name, sealed, sizeof sealed, false, err);
    return rc;
}

int cs_key_add(struct cs_store *store, const struct cs_secret *secret, enum cs_role role,
               const char *label, struct cs_name *slot, struct cs_error *err)
{
    struct cs_identity identity;
    uint8_t sealed[CS_SLOT_SIZE];
    char name[64];
    struct cs_buf payload = {0};
    struct cs_pins pins = store->pins;
    const struct cs_epoch *keys = NULL;
    bool appending = false;
    if (role < CS_ROLE_FULL || role > CS_ROLE_APPEND)
        return cs_fail(err, CS_USAGE, "there is no such role");
    int rc = cs_secret_check(secret, err);
    if (rc == 0)
        rc = require_full(store, err);
    if (rc == 0)
        rc = cs_log_fold_whole(store, err);
    if (rc == 0) /* before files are made for an entry that will not be */
        rc = cs_log_may_append(store, CS_ENTRY_KEY, err);
    if (rc < 0)
        return rc;
    cs_identity_new(&identity);
    pins.epoch = cs_store_current_epoch(store);
    for (size_t epoch = 0; rc == 0 && epoch < store->state.epoch_count; epoch++) {
        rc = cs_store_epoch(store, (uint16_t)epoch, &keys, err);
        if (rc == 0)
            rc = put_keyring(store, &keys->keyring, role, &identity.slot, identity.dh_public, err);
    }
    if (rc == 0 && keys != NULL) {
        memcpy(pins.data_public, keys->keyring.data_public, CS_KEY_SIZE);
        rc = cs_slot_seal(sealed, &identity, &pins, secret, err);
    }
    cs_slot_file(name, &identity.slot);
    if (rc == 0) /* a slot that a power cut spares must have its keyrings */
        rc = store->backend->ops->sync(store->backend, "keys", err);
    if (rc == 0)
        rc = cs_backend_put(store->backend, name, sealed, sizeof sealed, false, err);
    if (rc == 0)
        rc = store->backend->ops->sync(store->backend, "keys", err);
    if (rc == 0) {
        cs_entry_begin(&payload, CS_ENTRY_KEY, (int64_t)time(NULL));
        cs_put_u16(&payload, 1);
        cs_put_key_add(&payload, &identity, role, secret->kind, label);
        appending = true;
        rc = cs_log_append(store, &payload, NULL, err);
    }
    cs_buf_clear(&payload);
    *slot = identity.slot;
    if (rc < 0 && !appending) { /* else the entry may be there: then the files must be, too */
        store->backend->ops->remove(store->backend, name, NULL);
        for (size_t epoch = 0; epoch < store->state.epoch_count; epoch++) {
            cs_keyring_file(name, &identity.slot, (uint16_t)epoch);
            store->backend->ops->remove(store->backend, name, NULL);
        }
    }
    cs_wipe(&identity, sizeof identity);
    return rc;
}

static int leftover(const char *name, uint16_t epoch, struct cs_error *err)
{
    return cs_fail(err, CS_EXISTS,
                   "%s: is left of a change of keys that was cut short, or somebody is at one now; "
                   "if nobody is, delete the keyrings of epoch %04x and try again",
                   name, epoch);
}

/*
 * An epoch that was begun with this key and cut short before its entry has left a keyring of our
 * own: then ${keyring} becomes that one, and ${*adopted} is set. A leaving slot must have none.
 */
static int adopt_epoch(struct cs_store *store, const struct cs_name *leaving,
                       struct cs_keyring *keyring, bool *adopted, struct cs_error *err)
{
    char name[64];
    uint64_t size = 0;
    uint8_t *data = NULL;
    size_t len = 0;
    struct cs_keyring found;
    *adopted = false;
    cs_keyring_file(name, leaving, keyring->epoch);
    if (store->backend->ops->size(store->backend, name, &size, NULL) == 0)
        return leftover(name, keyring->epoch, err);
    cs_keyring_file(name, &store->identity.slot, keyring->epoch);
    int rc = cs_backend_read_all(store->backend, name, CS_KEYRING_SIZE, &data, &len, err);
    if (rc == CS_NOT_FOUND)
        return 0;
    if (rc == 0)
        rc = cs_keyring_unseal(&found, data, len, name, keyring->epoch,
                               &store->config.repository_id, &store->identity, err);
    if (rc == 0) {
        const struct cs_state_key *issuer = cs_state_key(&store->state, &found.issuer);
        if (found.role != CS_ROLE_FULL || !cs_state_may_issue(issuer, keyring->epoch) ||
            !cs_keyring_verify(data, &store->config.repository_id, issuer->sign_public))
            rc = cs_fail(err, CS_CORRUPT, "%s: was not issued by a full key", name);
    }
    if (rc == 0) {
        *keyring = found;
        *adopted = true;
    }
    cs_wipe(&found, sizeof found);
    free(data);
    return rc;
}

/* The keyrings of a new epoch, for all slots that stay; our own first, for by it a try that was cut
 * short is taken up again. */
static int issue_epoch(struct cs_store *store, const struct cs_name *leaving,
                       struct cs_keyring *keyring, struct cs_error *err)
{
    bool adopted = false;
    if (store->state.epoch_count > UINT16_MAX)
        return cs_fail(err, CS_UNSUPPORTED, "the repository has used up its key epochs");
    *keyring = *cs_store_keys(store);
    cs_keyring_new_epoch(keyring, (uint16_t)store->state.epoch_count);
    int rc = adopt_epoch(store, leaving, keyring, &adopted, err);
    for (unsigned pass = 0; pass < 2; pass++) {
        for (size_t i = 0; rc == 0 && i < store->state.key_count; i++) {
            const struct cs_state_key *k = &store->state.keys[i];
            bool own = memcmp(&k->slot, &store->identity.slot, sizeof k->slot) == 0;
            if (k->removed || own != (pass == 0) || memcmp(&k->slot, leaving, sizeof k->slot) == 0)
                continue;
            rc = put_keyring(store, keyring, k->role, &k->slot, k->dh_public, err);
            if (rc == CS_EXISTS) {
                char name[64];
                cs_keyring_file(name, &k->slot, keyring->epoch);
                rc = adopted ? 0 : leftover(name, keyring->epoch, err);
            }
        }
        if (rc == 0) /* nor may a power cut spare another's, and not our own */
            rc = store->backend->ops->sync(store->backend, "keys", err);
    }
    return rc;
}

static size_t other_full_keys(const struct cs_store *store, const struct cs_name *slot)
{
    size_t n = 0;
    for (size_t i = 0; i < store->state.key_count; i++) {
        const struct cs_state_key *k = &store->state.keys[i];
        n += !k->removed && k->role == CS_ROLE_FULL && memcmp(&k->slot, slot, sizeof *slot) != 0;
    }
    return n;
}

/* The log has spoken: files that stay open nothing any more. But a slot without its keyrings would
 * look like damage, so that it goes first. */
static void remove_files(struct cs_store *store, const struct cs_name *slot, size_t epochs)
{
    const struct cs_backend_ops *ops = store->backend->ops;
    char name[64];
    cs_slot_file(name, slot);
    int rc = ops->remove(store->backend, name, NULL);
    if ((rc < 0 && rc != CS_NOT_FOUND) || ops->sync(store->backend, "keys", NULL) < 0)
        return;
    for (size_t epoch = 0; epoch < epochs; epoch++) {
        cs_keyring_file(name, slot, (uint16_t)epoch);
        ops->remove(store->backend, name, NULL);
    }
    ops->sync(store->backend, "keys", NULL);
}

int cs_key_remove(struct cs_store *store, const struct cs_name *slot, bool new_epoch,
                  struct cs_error *err)
{
    char hex[CS_NAME_HEX];
    struct cs_keyring keyring = {0};
    struct cs_buf payload = {0};
    struct cs_name leaving = *slot;
    size_t epochs = 0;
    int rc = require_full(store, err);
    if (rc == 0)
        rc = cs_log_fold_whole(store, err);
    if (rc == 0) /* before files are made for an entry that will not be */
        rc = cs_log_may_append(store, CS_ENTRY_KEY, err);
    if (rc < 0)
        return rc;
    const struct cs_state_key *key = cs_state_key(&store->state, &leaving);
    if (key == NULL || key->removed)
        return cs_fail(err, CS_NOT_FOUND, "there is no key %s", cs_name_hex(slot, hex));
    if (other_full_keys(store, &leaving) == 0)
        return cs_fail(err, CS_USAGE,
                       "key %s is the last of role full; without it nobody could restore anything",
                       cs_name_hex(slot, hex));
    epochs = store->state.epoch_count;
    cs_entry_begin(&payload, CS_ENTRY_KEY, (int64_t)time(NULL));
    cs_put_u16(&payload, new_epoch ? 2 : 1);
    cs_put_key_remove(&payload, &leaving);
    if (new_epoch) {
        rc = issue_epoch(store, &leaving, &keyring, err);
        cs_put_key_epoch(&payload, keyring.epoch, keyring.data_public);
        cs_wipe(&keyring, sizeof keyring);
    }
    if (rc == 0)
        rc = cs_log_append(store, &payload, NULL, err);
    cs_buf_clear(&payload);
    if (rc < 0)
        return rc;
    remove_files(store, &leaving, epochs);
    return 0;
}

int cs_key_change(struct cs_store *store, const struct cs_secret *secret, struct cs_error *err)
{
    uint8_t sealed[CS_SLOT_SIZE];
    char name[64];
    int rc = cs_log_catch_up(store, err);
    if (rc == 0) /* which every role may */
        rc = cs_log_may_append(store, CS_ENTRY_PUBLISH, err);
    if (rc == 0)
        rc = cs_slot_seal(sealed, &store->identity, &store->pins, secret, err);
    cs_slot_file(name, &store->identity.slot);
    if (rc == 0)
        rc = cs_backend_put(store->backend, name, sealed, sizeof sealed, true, err);
    if (rc == 0)
        rc = store->backend->ops->sync(store->backend, "keys", err);
    return rc;
}

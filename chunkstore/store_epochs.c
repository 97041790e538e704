/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys of each epoch, loaded where something of it is read, and held against
 * what the log says of whoever issued them.
 */
#include <stdlib.h>
#include <string.h>

#include "store.h"

static void epoch_free(struct cs_epoch *e)
{
    if (e != NULL)
        cs_wipe(e, sizeof *e);
    free(e);
}

void cs_store_free_epochs(struct cs_store *store)
{
    for (size_t i = 0; i < store->epoch_count; i++)
        epoch_free(store->epochs[i]);
    free(store->epochs);
    store->epochs = NULL;
    store->epoch_count = 0;
}

int cs_store_check_own_slot(const struct cs_store *store, struct cs_error *err)
{
    const struct cs_state_key *own = cs_state_key(&store->state, &store->identity.slot);
    if (own == NULL)
        return cs_fail(err, CS_AUTH,
                       "%s: the log does not know this key: adding it was cut short, or the log is "
                       "older than the key",
                       store->path);
    return own->removed ? cs_fail(err, CS_AUTH, "%s: this key has been removed from the repository",
                                  store->path)
                        : 0;
}

static int load_epoch(struct cs_store *store, struct cs_epoch *e, uint16_t epoch,
                      struct cs_error *err)
{
    char name[64];
    uint8_t *data = NULL;
    size_t len = 0;
    cs_keyring_file(name, &store->identity.slot, epoch);
    int rc = cs_backend_read_all(store->backend, name, CS_KEYRING_SIZE, &data, &len, err);
    /* nothing is folded before a checkpoint of our own, which is of an epoch that we had keys of */
    if (rc == CS_NOT_FOUND && epoch > store->pins.epoch && store->state.key_count > 0 &&
        cs_store_check_own_slot(store, err) < 0)
        return CS_AUTH; /* and so it got no keyring when this epoch began */
    if (rc == CS_NOT_FOUND)
        return cs_fail(err, CS_CORRUPT, "%s: the keyring is missing", name);
    if (rc < 0)
        return rc;
    rc = cs_keyring_unseal(&e->keyring, data, len, name, epoch, &store->config.repository_id,
                           &store->identity, err);
    if (rc == 0) {
        memcpy(e->raw, data, CS_KEYRING_SIZE);
        cs_subkey(e->log_key, e->keyring.meta_key, "byre log", 0);
        cs_subkey(e->frame_key, e->keyring.meta_key, "byre meta frame", 0);
        cs_subkey(e->trailer_key, e->keyring.meta_key, "byre trailer", 0);
        cs_subkey(e->segment_key, e->keyring.meta_key, "byre segment", 0);
    }
    free(data);
    return rc;
}

/* The epoch whose keyring was first loaded gives the life-long keys; all others must agree. */
static int same_life(const struct cs_store *store, const struct cs_keyring *k, struct cs_error *err)
{
    const struct cs_keyring *first = cs_store_keys(store);
    if (memcmp(k->id_key, first->id_key, CS_KEY_SIZE) != 0 ||
        memcmp(k->chunker_key, first->chunker_key, CS_KEY_SIZE) != 0 ||
        memcmp(k->fingerprint_key, first->fingerprint_key, CS_KEY_SIZE) != 0)
        return cs_fail(err, CS_CORRUPT, "the keyring of epoch %u has other lasting keys", k->epoch);
    return 0;
}

int cs_store_epoch(struct cs_store *store, uint16_t epoch, const struct cs_epoch **keys,
                   struct cs_error *err)
{
    if (epoch >= store->epoch_count) {
        struct cs_epoch **epochs = reallocarray(store->epochs, epoch + 1U, sizeof *epochs);
        if (epochs == NULL)
            return cs_fail_memory(err);
        while (store->epoch_count <= epoch)
            epochs[store->epoch_count++] = NULL;
        store->epochs = epochs;
    }
    if (store->epochs[epoch] == NULL) {
        struct cs_epoch *e = calloc(1, sizeof *e);
        if (e == NULL)
            return cs_fail_memory(err);
        int rc = load_epoch(store, e, epoch, err);
        if (rc == 0 && epoch != store->pins.epoch)
            rc = same_life(store, &e->keyring, err);
        if (rc < 0) {
            epoch_free(e);
            return rc;
        }
        store->epochs[epoch] = e;
        /* while the log is folded its end will verify; later nobody would */
        rc = store->log_loaded ? cs_store_verify_epochs(store, err) : 0;
        if (rc < 0) {
            epoch_free(e);
            store->epochs[epoch] = NULL;
            return rc;
        }
    }
    *keys = store->epochs[epoch];
    return 0;
}

int cs_store_epoch_of(struct cs_store *store, uint16_t epoch, const char *object,
                      const struct cs_epoch **keys, struct cs_error *err)
{
    struct cs_error why = {0};
    int rc = cs_store_epoch(store, epoch, keys, &why);
    return rc < 0 ? cs_fail(err, rc, "%s: of key epoch %u: %s", object, epoch, why.message) : 0;
}

int cs_store_verify_epochs(struct cs_store *store, struct cs_error *err)
{
    const struct cs_state_key *own = cs_state_key(&store->state, &store->identity.slot);
    if (own == NULL)
        return cs_store_check_own_slot(store, err);
    for (size_t i = 0; i < store->epoch_count; i++) {
        struct cs_epoch *e = store->epochs[i];
        if (e == NULL || e->verified)
            continue;
        const struct cs_state_key *issuer = cs_state_key(&store->state, &e->keyring.issuer);
        if (!cs_state_may_issue(issuer, (uint16_t)i) ||
            !cs_keyring_verify(e->raw, &store->config.repository_id, issuer->sign_public))
            return cs_fail(err, CS_CORRUPT, "the keyring of epoch %zu was not issued by a full key",
                           i);
        if (i >= store->state.epoch_count || e->keyring.role != own->role ||
            memcmp(store->state.epochs[i], e->keyring.data_public, CS_KEY_SIZE) != 0)
            return cs_fail(err, CS_CORRUPT, "the keyring of epoch %zu is not what the log says", i);
        e->verified = true;
    }
    return 0;
}

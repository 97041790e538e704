/* SPDX-License-Identifier: BSD-2-Clause */
/* Holding slots and keyrings against what the log says of the keys. No secret is needed for it. */
#include "check_keys.h"

#include <stdlib.h>
#include <string.h>

struct key_check {
    struct cs_store *store;
    const struct cs_state *state;
    int (*tolerate)(void *arg, int rc, struct cs_error *err);
    void *arg;
};

static int check_slot(struct key_check *c, const struct cs_state_key *key, struct cs_error *err)
{
    char name[64];
    uint8_t *data = NULL;
    size_t len = 0;
    struct cs_slot_head head;
    cs_slot_file(name, &key->slot);
    int rc = cs_backend_read_all(c->store->backend, name, CS_SLOT_SIZE, &data, &len, err);
    if (rc == 0)
        rc = cs_slot_decode(&head, data, len, name, err);
    if (rc == 0 && (memcmp(head.dh_public, key->dh_public, CS_KEY_SIZE) != 0 ||
                    memcmp(head.sign_public, key->sign_public, CS_KEY_SIZE) != 0))
        rc = cs_fail(err, CS_CORRUPT, "%s: has other public keys than the log says", name);
    free(data);
    return c->tolerate(c->arg, rc, err);
}

static int check_keyring(struct key_check *c, const struct cs_state_key *key, uint16_t epoch,
                         struct cs_error *err)
{
    char name[64];
    uint8_t *data = NULL;
    size_t len = 0;
    struct cs_name issuer_name;
    cs_keyring_file(name, &key->slot, epoch);
    int rc = cs_backend_read_all(c->store->backend, name, CS_KEYRING_SIZE, &data, &len, err);
    if (rc == 0)
        rc = cs_keyring_issuer(&issuer_name, data, len, name, err);
    if (rc == 0) {
        const struct cs_state_key *issuer = cs_state_key(c->state, &issuer_name);
        if (!cs_state_may_issue(issuer, epoch) ||
            !cs_keyring_verify(data, &c->store->config.repository_id, issuer->sign_public))
            rc = cs_fail(err, CS_CORRUPT, "%s: its signature by a full key does not hold", name);
    }
    free(data);
    return c->tolerate(c->arg, rc, err);
}

int cs_check_keys(struct cs_store *store, const struct cs_state *state,
                  int (*tolerate)(void *arg, int rc, struct cs_error *err), void *arg,
                  struct cs_error *err)
{
    struct key_check c = {.store = store, .state = state, .tolerate = tolerate, .arg = arg};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < state->key_count; i++) {
        const struct cs_state_key *key = &state->keys[i];
        if (key->removed)
            continue;
        rc = check_slot(&c, key, err);
        for (uint16_t epoch = 0; rc == 0 && epoch < state->epoch_count; epoch++)
            rc = check_keyring(&c, key, epoch, err);
    }
    return rc;
}

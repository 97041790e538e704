/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keyrings: the keys of one epoch, sealed to one slot and signed by the full
 * key that issued them.
 */
#include <string.h>

#include "bytes.h"
#include "slot.h"

enum {
    HEAD_SIZE = 76,
    PAYLOAD_SIZE = 260,
    SIGNED_SIZE = HEAD_SIZE + PAYLOAD_SIZE + CS_SEAL_OVERHEAD,
    ISSUER_AT = 28,
    EPHEMERAL_AT = 44,
};

_Static_assert(SIGNED_SIZE + CS_SIGNATURE_SIZE == CS_KEYRING_SIZE, "as FORMAT.md says");

static const char magic[8] = "byrering";

void cs_keyring_new_epoch(struct cs_keyring *keyring, uint16_t epoch)
{
    keyring->epoch = epoch;
    cs_random(keyring->meta_key, CS_KEY_SIZE);
    cs_random(keyring->data_secret, CS_KEY_SIZE);
    cs_dh_keypair(keyring->data_public, keyring->data_private);
}

static bool seal_key(uint8_t key[CS_KEY_SIZE], const uint8_t own_private[CS_KEY_SIZE],
                     const uint8_t other_public[CS_KEY_SIZE], const uint8_t ephemeral[CS_KEY_SIZE],
                     const uint8_t slot_public[CS_KEY_SIZE], const struct cs_id *repository_id)
{
    uint8_t shared[CS_KEY_SIZE], message[3 * CS_KEY_SIZE];
    if (!cs_dh(shared, own_private, other_public))
        return false;
    memcpy(message, ephemeral, CS_KEY_SIZE);
    memcpy(message + CS_KEY_SIZE, slot_public, CS_KEY_SIZE);
    memcpy(message + 2 * (size_t)CS_KEY_SIZE, repository_id->bytes, CS_ID_SIZE);
    cs_keyed(key, shared, "byre keyring", message, sizeof message);
    cs_wipe(shared, sizeof shared);
    return true;
}

int cs_keyring_seal(uint8_t out[CS_KEYRING_SIZE], const struct cs_keyring *keyring,
                    enum cs_role role, const struct cs_id *repository_id,
                    const struct cs_name *slot, const uint8_t dh_public[CS_KEY_SIZE],
                    const struct cs_identity *issuer, struct cs_error *err)
{
    uint8_t private_key[CS_KEY_SIZE], key[CS_KEY_SIZE], payload[PAYLOAD_SIZE] = {0};
    memcpy(out, magic, 8);
    cs_le16(out + 8, 1);
    cs_le16(out + 10, keyring->epoch);
    memcpy(out + 12, slot->bytes, CS_NAME_SIZE);
    memcpy(out + ISSUER_AT, issuer->slot.bytes, CS_NAME_SIZE);
    cs_dh_keypair(out + EPHEMERAL_AT, private_key);

    payload[0] = (uint8_t)role;
    cs_le16(payload + 2, keyring->epoch);
    memcpy(payload + 4, repository_id->bytes, CS_ID_SIZE);
    memcpy(payload + 36, keyring->id_key, CS_KEY_SIZE);
    memcpy(payload + 68, keyring->chunker_key, CS_KEY_SIZE);
    memcpy(payload + 100, keyring->fingerprint_key, CS_KEY_SIZE);
    memcpy(payload + 132, keyring->meta_key, CS_KEY_SIZE);
    memcpy(payload + 164, keyring->data_secret, CS_KEY_SIZE);
    memcpy(payload + 196, keyring->data_public, CS_KEY_SIZE);
    if (role == CS_ROLE_FULL)
        memcpy(payload + 228, keyring->data_private, CS_KEY_SIZE);

    int rc = 0;
    if (!seal_key(key, private_key, dh_public, out + EPHEMERAL_AT, dh_public, repository_id)) {
        rc = cs_fail(err, CS_CORRUPT, "the public key of a key slot is impossible");
        goto out;
    }
    cs_seal(out + HEAD_SIZE, key, out, HEAD_SIZE, payload, sizeof payload);
    rc = cs_sign(out + SIGNED_SIZE, issuer->sign_seed, "byre keyring", repository_id->bytes,
                 CS_ID_SIZE, out, SIGNED_SIZE, err);
out:
    cs_wipe(private_key, sizeof private_key);
    cs_wipe(key, sizeof key);
    cs_wipe(payload, sizeof payload);
    return rc;
}

static int require_keyring(const uint8_t *data, size_t len, const char *name, struct cs_error *err)
{
    if (len != CS_KEYRING_SIZE || memcmp(data, magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "%s: is no keyring", name);
    if (cs_from_le16(data + 8) != 1)
        return cs_fail(err, CS_CORRUPT,
                       "%s: has version %u, which this repository\'s format does not know", name,
                       cs_from_le16(data + 8));
    return 0;
}

int cs_keyring_issuer(struct cs_name *issuer, const uint8_t *data, size_t len, const char *name,
                      struct cs_error *err)
{
    char expected[64];
    struct cs_name slot;
    int rc = require_keyring(data, len, name, err);
    if (rc < 0)
        return rc;
    memcpy(slot.bytes, data + 12, CS_NAME_SIZE);
    cs_keyring_file(expected, &slot, cs_from_le16(data + 10));
    if (strcmp(expected, name) != 0)
        return cs_fail(err, CS_CORRUPT, "%s: is another keyring under this name", name);
    memcpy(issuer->bytes, data + ISSUER_AT, CS_NAME_SIZE);
    return 0;
}

bool cs_keyring_verify(const uint8_t data[CS_KEYRING_SIZE], const struct cs_id *repository_id,
                       const uint8_t sign_public[CS_KEY_SIZE])
{
    return cs_verify(data + SIGNED_SIZE, sign_public, "byre keyring", repository_id->bytes,
                     CS_ID_SIZE, data, SIGNED_SIZE);
}

int cs_keyring_unseal(struct cs_keyring *keyring, const uint8_t *data, size_t len, const char *name,
                      uint16_t epoch, const struct cs_id *repository_id,
                      const struct cs_identity *identity, struct cs_error *err)
{
    uint8_t key[CS_KEY_SIZE], payload[PAYLOAD_SIZE];
    struct cs_keyring k = {0};
    int rc = require_keyring(data, len, name, err);
    if (rc < 0)
        return rc;
    memcpy(k.issuer.bytes, data + ISSUER_AT, CS_NAME_SIZE);
    if (!seal_key(key, identity->dh_private, data + EPHEMERAL_AT, data + EPHEMERAL_AT,
                  identity->dh_public, repository_id) ||
        !cs_unseal(payload, key, data, HEAD_SIZE, data + HEAD_SIZE,
                   PAYLOAD_SIZE + CS_SEAL_OVERHEAD)) {
        rc = cs_fail(err, CS_CORRUPT, "%s: is not sealed to this slot, or was altered", name);
        goto out;
    }
    k.role = payload[0];
    k.epoch = cs_from_le16(payload + 2);
    if (k.role < CS_ROLE_FULL || k.role > CS_ROLE_APPEND || payload[1] != 0 || k.epoch != epoch ||
        cs_from_le16(data + 10) != epoch ||
        memcmp(data + 12, identity->slot.bytes, CS_NAME_SIZE) != 0 ||
        memcmp(payload + 4, repository_id->bytes, CS_ID_SIZE) != 0) {
        rc = cs_fail(err, CS_CORRUPT, "%s: belongs to another slot, epoch or repository", name);
        goto out;
    }
    memcpy(k.id_key, payload + 36, CS_KEY_SIZE);
    memcpy(k.chunker_key, payload + 68, CS_KEY_SIZE);
    memcpy(k.fingerprint_key, payload + 100, CS_KEY_SIZE);
    memcpy(k.meta_key, payload + 132, CS_KEY_SIZE);
    memcpy(k.data_secret, payload + 164, CS_KEY_SIZE);
    memcpy(k.data_public, payload + 196, CS_KEY_SIZE);
    memcpy(k.data_private, payload + 228, CS_KEY_SIZE);
    if (k.role != CS_ROLE_FULL &&
        !cs_equal(k.data_private, (uint8_t[CS_KEY_SIZE]){0}, CS_KEY_SIZE)) {
        rc = cs_fail(err, CS_CORRUPT, "%s: has a data key that is not for its role", name);
        goto out;
    }
    *keyring = k;
out:
    cs_wipe(&k, sizeof k);
    cs_wipe(key, sizeof key);
    cs_wipe(payload, sizeof payload);
    return rc;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key slots: a pair of key pairs, wrapped by a passphrase, a key file or a
 * recovery code. A slot is signed by itself, so that damage is told from a
 * wrong secret, and pins the repository it belongs to.
 */
#include "slot.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "bytes.h"
#include "config.h"
#include "recovery.h"

enum {
    HEAD_SIZE = 148,
    PAYLOAD_SIZE = 196,
    SIGNED_SIZE = HEAD_SIZE + PAYLOAD_SIZE + CS_SEAL_OVERHEAD,
    ARGON2_PASSES = 3,
    ARGON2_MEMORY = 64 << 10, /* KiB */
    ARGON2_MAX_PASSES = 64,
    ARGON2_MIN_MEMORY = 8,
    ARGON2_MAX_MEMORY = 1 << 20,
    COMMIT_AT = 116,
};

_Static_assert(SIGNED_SIZE + CS_SIGNATURE_SIZE == CS_SLOT_SIZE, "as FORMAT.md says");

static const char magic[8] = "byreslot";

void cs_identity_new(struct cs_identity *identity)
{
    cs_random(&identity->slot, sizeof identity->slot);
    cs_dh_keypair(identity->dh_public, identity->dh_private);
    cs_random(identity->sign_seed, sizeof identity->sign_seed);
    cs_sign_public(identity->sign_public, identity->sign_seed);
}

void cs_slot_file(char out[64], const struct cs_name *slot)
{
    char hex[CS_NAME_HEX];
    snprintf(out, 64, "keys/%s", cs_name_hex(slot, hex));
}

void cs_keyring_file(char out[64], const struct cs_name *slot, uint16_t epoch)
{
    char hex[CS_NAME_HEX];
    snprintf(out, 64, "keys/%s.%04x", cs_name_hex(slot, hex), epoch);
}

int cs_secret_check(const struct cs_secret *secret, struct cs_error *err)
{
    switch (secret->kind) {
    case CS_SLOT_PASSPHRASE:
        if (secret->len == 0)
            return cs_fail(err, CS_USAGE, "an empty passphrase protects nothing");
        return 0;
    case CS_SLOT_KEY_FILE:
        if (secret->len < CS_KEY_FILE_MIN || secret->len > CS_KEY_FILE_MAX)
            return cs_fail(err, CS_USAGE, "a key file has %d to %d bytes, this one has %zu",
                           CS_KEY_FILE_MIN, CS_KEY_FILE_MAX, secret->len);
        return 0;
    case CS_SLOT_RECOVERY: {
        uint8_t code[CS_RECOVERY_BYTES];
        if (!cs_recovery_decode(code, secret->data, secret->len))
            return cs_fail(err, CS_AUTH, "this is no recovery code, or one with a typing error");
        cs_wipe(code, sizeof code);
        return 0;
    }
    }
    return cs_fail(err, CS_USAGE, "an unknown kind of secret");
}

/* The wrapping key. CS_AUTH where the secret cannot be of the slot's kind. */
static int wrapping_key(uint8_t key[CS_KEY_SIZE], const struct cs_slot_head *head,
                        const struct cs_secret *secret, struct cs_error *err)
{
    uint8_t salt_key[CS_KEY_SIZE] = {0};
    uint8_t code[CS_RECOVERY_BYTES];
    memcpy(salt_key, head->salt, CS_SALT_SIZE);
    switch (head->kind) {
    case CS_SLOT_PASSPHRASE:
        if (secret->kind != CS_SLOT_PASSPHRASE)
            break;
        return cs_argon2id(key, secret->data, secret->len, head->salt, head->passes, head->memory,
                           err);
    case CS_SLOT_KEY_FILE:
        if (secret->kind != CS_SLOT_KEY_FILE)
            break;
        cs_keyed(key, salt_key, "byre key file", secret->data, secret->len);
        return 0;
    case CS_SLOT_RECOVERY:
        if (secret->kind == CS_SLOT_KEY_FILE ||
            !cs_recovery_decode(code, secret->data, secret->len))
            break;
        cs_keyed(key, salt_key, "byre recovery", code, sizeof code);
        cs_wipe(code, sizeof code);
        return 0;
    }
    return cs_fail(err, CS_AUTH, "the slot takes another kind of secret");
}

static void put_head(uint8_t *out, const struct cs_slot_head *head)
{
    memcpy(out, magic, 8);
    cs_le16(out + 8, 1);
    out[10] = (uint8_t)head->kind;
    out[11] = 0;
    memcpy(out + 12, head->slot.bytes, CS_NAME_SIZE);
    cs_le32(out + 28, head->passes);
    cs_le32(out + 32, head->memory);
    memcpy(out + 36, head->salt, CS_SALT_SIZE);
    memcpy(out + 52, head->dh_public, CS_KEY_SIZE);
    memcpy(out + 84, head->sign_public, CS_KEY_SIZE);
}

int cs_slot_seal(uint8_t out[CS_SLOT_SIZE], const struct cs_identity *identity,
                 const struct cs_pins *pins, const struct cs_secret *secret, struct cs_error *err)
{
    uint8_t key[CS_KEY_SIZE], seal_key[CS_KEY_SIZE], payload[PAYLOAD_SIZE];
    struct cs_slot_head head = {.slot = identity->slot, .kind = secret->kind};
    int rc = cs_secret_check(secret, err);
    if (rc < 0)
        return rc;
    if (head.kind == CS_SLOT_PASSPHRASE) {
        head.passes = ARGON2_PASSES;
        head.memory = ARGON2_MEMORY;
    }
    cs_random(head.salt, sizeof head.salt);
    memcpy(head.dh_public, identity->dh_public, CS_KEY_SIZE);
    memcpy(head.sign_public, identity->sign_public, CS_KEY_SIZE);
    rc = wrapping_key(key, &head, secret, err);
    if (rc < 0)
        return rc;
    put_head(out, &head);
    cs_subkey(out + COMMIT_AT, key, "byre commit", 0);

    memcpy(payload, identity->dh_private, 32);
    memcpy(payload + 32, identity->sign_seed, 32);
    memcpy(payload + 64, pins->repository_id.bytes, 32);
    memcpy(payload + 96, pins->config_hash, 32);
    memcpy(payload + 128, pins->first_entry_hash, 32);
    memcpy(payload + 160, pins->data_public, 32);
    cs_le16(payload + 192, CS_FORMAT_VERSION);
    cs_le16(payload + 194, pins->epoch);
    cs_subkey(seal_key, key, "byre slot seal", 0);
    cs_seal(out + HEAD_SIZE, seal_key, out, HEAD_SIZE, payload, sizeof payload);
    rc = cs_sign(out + SIGNED_SIZE, identity->sign_seed, "byre slot", NULL, 0, out, SIGNED_SIZE,
                 err);
    cs_wipe(key, sizeof key);
    cs_wipe(seal_key, sizeof seal_key);
    cs_wipe(payload, sizeof payload);
    return rc;
}

int cs_slot_decode(struct cs_slot_head *head, const uint8_t *data, size_t len, const char *name,
                   struct cs_error *err)
{
    char expected[64];
    struct cs_slot_head h = {0};
    if (len != CS_SLOT_SIZE || memcmp(data, magic, 8) != 0)
        return cs_fail(err, CS_CORRUPT, "%s: is no key slot", name);
    if (cs_from_le16(data + 8) != 1)
        return cs_fail(err, CS_CORRUPT,
                       "%s: has version %u, which this repository\'s format does not know", name,
                       cs_from_le16(data + 8));
    memcpy(h.slot.bytes, data + 12, CS_NAME_SIZE);
    h.kind = data[10];
    h.passes = cs_from_le32(data + 28);
    h.memory = cs_from_le32(data + 32);
    memcpy(h.salt, data + 36, CS_SALT_SIZE);
    memcpy(h.dh_public, data + 52, CS_KEY_SIZE);
    memcpy(h.sign_public, data + 84, CS_KEY_SIZE);
    if (!cs_verify(data + SIGNED_SIZE, h.sign_public, "byre slot", NULL, 0, data, SIGNED_SIZE))
        return cs_fail(err, CS_CORRUPT, "%s: its signature at %d does not hold", name, SIGNED_SIZE);
    cs_slot_file(expected, &h.slot);
    if (strcmp(expected, name) != 0)
        return cs_fail(err, CS_CORRUPT, "%s: is another slot under this name", name);
    if (h.kind < CS_SLOT_PASSPHRASE || h.kind > CS_SLOT_RECOVERY || data[11] != 0)
        return cs_fail(err, CS_CORRUPT, "%s: unknown kind %u at 10", name, data[10]);
    bool stretched = h.kind == CS_SLOT_PASSPHRASE;
    if (stretched ? (h.passes < 1 || h.passes > ARGON2_MAX_PASSES || h.memory < ARGON2_MIN_MEMORY ||
                     h.memory > ARGON2_MAX_MEMORY)
                  : (h.passes != 0 || h.memory != 0))
        return cs_fail(err, CS_CORRUPT,
                       "%s: asks for %" PRIu32 " passes over %" PRIu32 " KiB at 28; refused", name,
                       h.passes, h.memory);
    *head = h;
    return 0;
}

bool cs_slot_is_dear(const struct cs_slot_head *head)
{
    return head->memory > ARGON2_MEMORY ||
           (uint64_t)head->passes * head->memory > (uint64_t)ARGON2_PASSES * ARGON2_MEMORY;
}

int cs_slot_unseal(struct cs_identity *identity, struct cs_pins *pins,
                   const struct cs_slot_head *head, const uint8_t data[CS_SLOT_SIZE],
                   const struct cs_secret *secret, struct cs_error *err)
{
    uint8_t key[CS_KEY_SIZE], derived[CS_KEY_SIZE], payload[PAYLOAD_SIZE];
    char name[64];
    cs_slot_file(name, &head->slot);
    int rc = wrapping_key(key, head, secret, err);
    if (rc < 0)
        return rc;
    cs_subkey(derived, key, "byre commit", 0);
    if (!cs_equal(derived, data + COMMIT_AT, CS_KEY_SIZE)) {
        rc = cs_fail(err, CS_AUTH, "%s: takes another secret", name);
        goto out;
    }
    cs_subkey(derived, key, "byre slot seal", 0);
    if (!cs_unseal(payload, derived, data, HEAD_SIZE, data + HEAD_SIZE,
                   PAYLOAD_SIZE + CS_SEAL_OVERHEAD)) {
        rc = cs_fail(err, CS_CORRUPT, "%s: its payload at %d was altered", name, HEAD_SIZE);
        goto out;
    }
    identity->slot = head->slot;
    memcpy(identity->dh_private, payload, 32);
    memcpy(identity->sign_seed, payload + 32, 32);
    cs_dh_public(identity->dh_public, identity->dh_private);
    cs_sign_public(identity->sign_public, identity->sign_seed);
    memcpy(pins->repository_id.bytes, payload + 64, 32);
    memcpy(pins->config_hash, payload + 96, 32);
    memcpy(pins->first_entry_hash, payload + 128, 32);
    memcpy(pins->data_public, payload + 160, 32);
    pins->epoch = cs_from_le16(payload + 194);
    if (memcmp(identity->dh_public, head->dh_public, CS_KEY_SIZE) != 0 ||
        memcmp(identity->sign_public, head->sign_public, CS_KEY_SIZE) != 0)
        rc =
            cs_fail(err, CS_CORRUPT, "%s: its public keys are not those of its private keys", name);
    else if (cs_from_le16(payload + 192) != CS_FORMAT_VERSION)
        rc = cs_fail(err, CS_CORRUPT, "%s: is of a repository of format %u", name,
                     cs_from_le16(payload + 192));
out:
    cs_wipe(key, sizeof key);
    cs_wipe(derived, sizeof derived);
    cs_wipe(payload, sizeof payload);
    return rc;
}

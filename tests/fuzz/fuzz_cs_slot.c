/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key slots and keyrings behind their seals: the input is what a holder of the keys would have
 * written, and is signed and sealed here. The first byte selects slot, sealed payload of a slot, or
 * keyring.
 */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "slot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t seed[CS_KEY_SIZE] = "a seed for the fuzzer, no secret";

static void require(bool holds)
{
    if (!holds)
        abort();
}

static void take(uint8_t *to, size_t room, const uint8_t *data, size_t size)
{
    memset(to, 0, room);
    if (size > 0)
        memcpy(to, data, size < room ? size : room);
}

/* The open part as given, but for magic, version and the key that it is signed by. */
static void slot_head(const uint8_t *data, size_t size)
{
    uint8_t slot[CS_SLOT_SIZE];
    struct cs_slot_head head;
    struct cs_identity identity;
    struct cs_pins pins;
    struct cs_error err = {0};
    struct cs_name id;
    char name[64];
    uint8_t file[32] = {0};
    struct cs_secret secret = {.kind = CS_SLOT_KEY_FILE, .data = file, .len = sizeof file};
    take(slot, sizeof slot, data, size);
    memcpy(slot, "byreslot", 8);
    cs_le16(slot + 8, 1);
    cs_sign_public(slot + 84, seed);
    require(cs_sign(slot + 384, seed, "byre slot", NULL, 0, slot, 384, NULL) == 0);
    memcpy(&id, slot + 12, sizeof id);
    cs_slot_file(name, &id);
    if (cs_slot_decode(&head, slot, sizeof slot, name, &err) < 0) {
        require(err.code != 0 && err.message[0] != 0);
        return;
    }
    require(head.kind >= CS_SLOT_PASSPHRASE && head.kind <= CS_SLOT_RECOVERY);
    require(head.passes <= 64 && head.memory <= 1 << 20);
    if (head.kind == CS_SLOT_KEY_FILE)
        cs_slot_unseal(&identity, &pins, &head, slot, &secret, &err);
}

/* A payload that opens: whatever it holds. */
static void slot_payload(const uint8_t *data, size_t size)
{
    uint8_t slot[CS_SLOT_SIZE], payload[196], key[CS_KEY_SIZE], derived[CS_KEY_SIZE];
    uint8_t salt_key[CS_KEY_SIZE] = {0}, file[32] = {0};
    struct cs_secret secret = {.kind = CS_SLOT_KEY_FILE, .data = file, .len = sizeof file};
    struct cs_slot_head head;
    struct cs_identity identity;
    struct cs_pins pins;
    struct cs_error err = {0};
    char name[64];
    take(payload, sizeof payload, data, size);
    memset(slot, 0, sizeof slot);
    memcpy(slot, "byreslot", 8);
    cs_le16(slot + 8, 1);
    slot[10] = CS_SLOT_KEY_FILE;
    cs_dh_public(slot + 52, payload);
    cs_sign_public(slot + 84, payload + 32);
    cs_keyed(key, salt_key, "byre key file", file, sizeof file);
    cs_subkey(slot + 116, key, "byre commit", 0);
    cs_subkey(derived, key, "byre slot seal", 0);
    cs_seal(slot + 148, derived, slot, 148, payload, sizeof payload);
    require(cs_sign(slot + 384, payload + 32, "byre slot", NULL, 0, slot, 384, NULL) == 0);
    cs_slot_file(name, &(struct cs_name){{0}});
    require(cs_slot_decode(&head, slot, sizeof slot, name, &err) == 0);
    int rc = cs_slot_unseal(&identity, &pins, &head, slot, &secret, &err);
    require((rc == 0) == (cs_from_le16(payload + 192) == 1));
}

static void keyring(const uint8_t *data, size_t size)
{
    uint8_t ring[CS_KEYRING_SIZE], input[76 + 260], shared[CS_KEY_SIZE], key[CS_KEY_SIZE],
        message[96];
    struct cs_identity identity = {.slot = {{0}}};
    struct cs_id repository = {{0}};
    struct cs_keyring out;
    struct cs_error err = {0};
    take(input, sizeof input, data, size);
    memset(ring, 0, sizeof ring);
    memcpy(ring, input, 76);
    memcpy(ring, "byrering", 8);
    cs_le16(ring + 8, 1);
    memcpy(identity.dh_private, seed, CS_KEY_SIZE);
    cs_dh_public(identity.dh_public, identity.dh_private);
    if (cs_dh(shared, identity.dh_private, ring + 44)) {
        memcpy(message, ring + 44, 32);
        memcpy(message + 32, identity.dh_public, 32);
        memcpy(message + 64, repository.bytes, 32);
        cs_keyed(key, shared, "byre keyring", message, sizeof message);
        cs_seal(ring + 76, key, ring, 76, input + 76, 260);
    }
    uint16_t epoch = cs_from_le16(ring + 10);
    if (cs_keyring_unseal(&out, ring, sizeof ring, "keyring", epoch, &repository, &identity, &err) <
        0) {
        require(err.code != 0 && err.message[0] != 0);
        return;
    }
    require(out.role >= CS_ROLE_FULL && out.role <= CS_ROLE_APPEND && out.epoch == epoch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cs_slot_head head;
    struct cs_name issuer;
    if (cs_crypt_init(NULL) < 0)
        abort();
    if (size == 0)
        return 0;
    cs_slot_decode(&head, data + 1, size - 1, "keys/x", NULL);
    cs_keyring_issuer(&issuer, data + 1, size - 1, "keys/x.0000", NULL);
    if (data[0] % 3 == 0)
        slot_head(data + 1, size - 1);
    else if (data[0] % 3 == 1)
        slot_payload(data + 1, size - 1);
    else
        keyring(data + 1, size - 1);
    return 0;
}

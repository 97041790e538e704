/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_SLOT_H
#define CS_SLOT_H

#include "chunkstore.h"
#include "crypt.h"

/*
 * Key slots and keyrings (FORMAT.md, section 4): encoding, opening and
 * verifying; files are the caller's affair.
 */

enum { CS_SLOT_SIZE = 448, CS_KEYRING_SIZE = 440 };

struct cs_identity { /* what a slot wraps */
    struct cs_name slot;
    uint8_t dh_private[CS_KEY_SIZE];
    uint8_t dh_public[CS_KEY_SIZE];
    uint8_t sign_seed[CS_KEY_SIZE];
    uint8_t sign_public[CS_KEY_SIZE];
};

struct cs_pins { /* what a slot vouches for */
    struct cs_id repository_id;
    uint8_t config_hash[CS_HASH_SIZE];
    uint8_t first_entry_hash[CS_HASH_SIZE];
    uint8_t data_public[CS_KEY_SIZE]; /* of the epoch below */
    uint16_t epoch;
};

struct cs_slot_head { /* the open part */
    struct cs_name slot;
    enum cs_slot_kind kind;
    uint32_t passes;
    uint32_t memory; /* KiB */
    uint8_t salt[CS_SALT_SIZE];
    uint8_t dh_public[CS_KEY_SIZE];
    uint8_t sign_public[CS_KEY_SIZE];
};

void cs_identity_new(struct cs_identity *identity);

/* The name of the slot's file, and of its keyring for an epoch. */
void cs_slot_file(char out[64], const struct cs_name *slot);
void cs_keyring_file(char out[64], const struct cs_name *slot, uint16_t epoch);

/* CS_USAGE for a secret that cannot be one: a key file too short or long, an empty passphrase. */
int cs_secret_check(const struct cs_secret *secret, struct cs_error *err);

int cs_slot_seal(uint8_t out[CS_SLOT_SIZE], const struct cs_identity *identity,
                 const struct cs_pins *pins, const struct cs_secret *secret, struct cs_error *err);

/* Decodes the open part and verifies the slot's signature of itself. ${name}: of the file, for
 * messages. */
int cs_slot_decode(struct cs_slot_head *head, const uint8_t *data, size_t len, const char *name,
                   struct cs_error *err);

/* Whether trying a secret on it takes more time or memory than on a slot that this version makes.
 */
bool cs_slot_is_dear(const struct cs_slot_head *head);

/* Opens a slot that cs_slot_decode has accepted. CS_AUTH: it takes another secret. */
int cs_slot_unseal(struct cs_identity *identity, struct cs_pins *pins,
                   const struct cs_slot_head *head, const uint8_t data[CS_SLOT_SIZE],
                   const struct cs_secret *secret, struct cs_error *err);

struct cs_keyring {
    enum cs_role role;
    uint16_t epoch;
    struct cs_name issuer;
    uint8_t id_key[CS_KEY_SIZE];
    uint8_t chunker_key[CS_KEY_SIZE];
    uint8_t fingerprint_key[CS_KEY_SIZE];
    uint8_t meta_key[CS_KEY_SIZE];
    uint8_t data_secret[CS_KEY_SIZE];
    uint8_t data_public[CS_KEY_SIZE];
    uint8_t data_private[CS_KEY_SIZE]; /* zero unless the role is full */
};

/* Makes the keys of a new epoch; the life-long keys and the rest are left alone. */
void cs_keyring_new_epoch(struct cs_keyring *keyring, uint16_t epoch);

/* Seals ${keyring} to the slot with X25519 key ${dh_public}, as issued by ${issuer}. Leaves the
 * data private key out unless ${role} is full. */
int cs_keyring_seal(uint8_t out[CS_KEYRING_SIZE], const struct cs_keyring *keyring,
                    enum cs_role role, const struct cs_id *repository_id,
                    const struct cs_name *slot, const uint8_t dh_public[CS_KEY_SIZE],
                    const struct cs_identity *issuer, struct cs_error *err);

/* Opens a keyring. Its signature is verified by cs_keyring_verify, once the log has told the
 * issuer's key. */
int cs_keyring_unseal(struct cs_keyring *keyring, const uint8_t *data, size_t len, const char *name,
                      uint16_t epoch, const struct cs_id *repository_id,
                      const struct cs_identity *identity, struct cs_error *err);

/* The issuer named in a keyring, whose header must be what its file's ${name} says; and whether
 * ${sign_public} signed it. */
int cs_keyring_issuer(struct cs_name *issuer, const uint8_t *data, size_t len, const char *name,
                      struct cs_error *err);
bool cs_keyring_verify(const uint8_t data[CS_KEYRING_SIZE], const struct cs_id *repository_id,
                       const uint8_t sign_public[CS_KEY_SIZE]);

#endif

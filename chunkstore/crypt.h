/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef CS_CRYPT_H
#define CS_CRYPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chunkstore.h"

/*
 * The primitives of FORMAT.md, section 1, on libsodium; the only user of it.
 * Pure functions, safe from any thread. Labels have up to 16 characters.
 */

enum {
    CS_KEY_SIZE = 32,
    CS_HASH_SIZE = 32,
    CS_SIGNATURE_SIZE = 64,
    CS_SEAL_NONCE = 24,    /* bytes in front of the ciphertext */
    CS_SEAL_OVERHEAD = 40, /* nonce and tag */
    CS_SALT_SIZE = 16,
};

/* To be called before anything else; any number of times. */
int cs_crypt_init(struct cs_error *err);

void cs_random(void *buf, size_t len);
void cs_wipe(void *buf, size_t len);
bool cs_equal(const void *a, const void *b, size_t len); /* constant time */

void cs_hash(uint8_t out[CS_HASH_SIZE], const void *data, size_t len);

/* SUB, SUB64 and KEYED of the format. */
void cs_subkey(uint8_t out[CS_KEY_SIZE], const uint8_t key[CS_KEY_SIZE], const char *label,
               uint64_t n);
void cs_subkey64(uint8_t out[64], const uint8_t key[CS_KEY_SIZE], const char *label, uint64_t n);
void cs_keyed(uint8_t out[CS_KEY_SIZE], const uint8_t key[CS_KEY_SIZE], const char *label,
              const void *data, size_t len);

/* The id of an object under the id key, where ids are BLAKE2b; identify.c's. */
void cs_blake2b_id(struct cs_id *id, const uint8_t id_key[CS_KEY_SIZE], enum cs_class class,
                   uint8_t type, const void *data, size_t len);

/* Seals ${len} bytes into ${out} of ${len} + CS_SEAL_OVERHEAD bytes. */
void cs_seal(uint8_t *out, const uint8_t key[CS_KEY_SIZE], const void *ad, size_t ad_len,
             const void *data, size_t len);

/* Opens ${len} sealed bytes into ${out} of ${len} - CS_SEAL_OVERHEAD bytes, which may be those of
 * its ciphertext. False: altered, or another key or identity. */
bool cs_unseal(uint8_t *out, const uint8_t key[CS_KEY_SIZE], const void *ad, size_t ad_len,
               const void *sealed, size_t len);

/* X25519 */
void cs_dh_keypair(uint8_t public_key[CS_KEY_SIZE], uint8_t private_key[CS_KEY_SIZE]);
void cs_dh_public(uint8_t public_key[CS_KEY_SIZE], const uint8_t private_key[CS_KEY_SIZE]);
/* False for a public key of small order. */
bool cs_dh(uint8_t out[CS_KEY_SIZE], const uint8_t private_key[CS_KEY_SIZE],
           const uint8_t public_key[CS_KEY_SIZE]);

/* Ed25519, with keys made from a seed. */
void cs_sign_public(uint8_t public_key[CS_KEY_SIZE], const uint8_t seed[CS_KEY_SIZE]);
int cs_sign(uint8_t signature[CS_SIGNATURE_SIZE], const uint8_t seed[CS_KEY_SIZE],
            const char *label, const void *prefix, size_t prefix_len, const void *data, size_t len,
            struct cs_error *err);
bool cs_verify(const uint8_t signature[CS_SIGNATURE_SIZE], const uint8_t public_key[CS_KEY_SIZE],
               const char *label, const void *prefix, size_t prefix_len, const void *data,
               size_t len);

/* Argon2id 1.3, one lane. ${memory} in KiB. */
int cs_argon2id(uint8_t out[CS_KEY_SIZE], const void *passphrase, size_t len,
                const uint8_t salt[CS_SALT_SIZE], uint32_t passes, uint32_t memory,
                struct cs_error *err);

#endif

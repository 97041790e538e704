/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hashing, sealing, key agreement and signatures on libsodium. No key lives
 * here, and no structure of the format but the label.
 */
#include "crypt.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(CS_SEAL_OVERHEAD == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES +
                                       crypto_aead_xchacha20poly1305_ietf_ABYTES,
               "nonce and tag");
_Static_assert(crypto_generichash_blake2b_PERSONALBYTES == 16, "label");

int cs_crypt_init(struct cs_error *err)
{
    if (sodium_init() < 0)
        return cs_fail(err, CS_IO, "libsodium cannot be initialised");
    return 0;
}

void cs_random(void *buf, size_t len)
{
    randombytes_buf(buf, len);
}

void cs_random_hex(char *out, size_t digits)
{
    for (size_t i = 0; i < digits; i++)
        out[i] = "0123456789abcdef"[randombytes_uniform(16)];
    out[digits] = 0;
}

void cs_wipe(void *buf, size_t len)
{
    sodium_memzero(buf, len);
}

bool cs_equal(const void *a, const void *b, size_t len)
{
    return sodium_memcmp(a, b, len) == 0;
}

static void pad_label(uint8_t out[16], const char *label)
{
    size_t n = strnlen(label, 16);
    memset(out, 0, 16);
    memcpy(out, label, n);
}

static void blake2b(uint8_t *out, size_t out_len, const uint8_t *key, const uint8_t personal[16],
                    const void *data, size_t len)
{
    crypto_generichash_blake2b_salt_personal(out, out_len, data, len, key,
                                             key != NULL ? CS_KEY_SIZE : 0, NULL, personal);
}

void cs_hash(uint8_t out[CS_HASH_SIZE], const void *data, size_t len)
{
    uint8_t personal[16];
    pad_label(personal, "byre hash");
    blake2b(out, CS_HASH_SIZE, NULL, personal, data, len);
}

void cs_keyed(uint8_t out[CS_KEY_SIZE], const uint8_t key[CS_KEY_SIZE], const char *label,
              const void *data, size_t len)
{
    uint8_t personal[16];
    pad_label(personal, label);
    blake2b(out, CS_KEY_SIZE, key, personal, data, len);
}

static void number_bytes(uint8_t out[8], uint64_t n)
{
    for (unsigned i = 0; i < 8; i++)
        out[i] = (uint8_t)(n >> (8 * i));
}

void cs_subkey(uint8_t out[CS_KEY_SIZE], const uint8_t key[CS_KEY_SIZE], const char *label,
               uint64_t n)
{
    uint8_t message[8];
    number_bytes(message, n);
    cs_keyed(out, key, label, message, sizeof message);
}

void cs_subkey64(uint8_t out[64], const uint8_t key[CS_KEY_SIZE], const char *label, uint64_t n)
{
    uint8_t personal[16], message[8];
    pad_label(personal, label);
    number_bytes(message, n);
    blake2b(out, 64, key, personal, message, sizeof message);
}

void cs_blake2b_id(struct cs_id *id, const uint8_t id_key[CS_KEY_SIZE], enum cs_class class,
                   uint8_t type, const void *data, size_t len)
{
    uint8_t personal[16];
    pad_label(personal, "byre object");
    personal[14] = (uint8_t) class;
    personal[15] = type;
    blake2b(id->bytes, CS_ID_SIZE, id_key, personal, data, len);
}

void cs_seal(uint8_t *out, const uint8_t key[CS_KEY_SIZE], const void *ad, size_t ad_len,
             const void *data, size_t len)
{
    const size_t nonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    randombytes_buf(out, nonce);
    crypto_aead_xchacha20poly1305_ietf_encrypt(out + nonce, NULL, data, len, ad, ad_len, NULL, out,
                                               key);
}

bool cs_unseal(uint8_t *out, const uint8_t key[CS_KEY_SIZE], const void *ad, size_t ad_len,
               const void *sealed, size_t len)
{
    const size_t nonce = crypto_aead_xchacha20poly1305_ietf_NPUBBYTES;
    const uint8_t *in = sealed;
    if (len < CS_SEAL_OVERHEAD)
        return false;
    return crypto_aead_xchacha20poly1305_ietf_decrypt(out, NULL, NULL, in + nonce, len - nonce, ad,
                                                      ad_len, in, key) == 0;
}

void cs_dh_keypair(uint8_t public_key[CS_KEY_SIZE], uint8_t private_key[CS_KEY_SIZE])
{
    randombytes_buf(private_key, CS_KEY_SIZE);
    cs_dh_public(public_key, private_key);
}

void cs_dh_public(uint8_t public_key[CS_KEY_SIZE], const uint8_t private_key[CS_KEY_SIZE])
{
    crypto_scalarmult_base(public_key, private_key);
}

bool cs_dh(uint8_t out[CS_KEY_SIZE], const uint8_t private_key[CS_KEY_SIZE],
           const uint8_t public_key[CS_KEY_SIZE])
{
    return crypto_scalarmult(out, private_key, public_key) == 0;
}

void cs_sign_public(uint8_t public_key[CS_KEY_SIZE], const uint8_t seed[CS_KEY_SIZE])
{
    uint8_t secret[crypto_sign_SECRETKEYBYTES];
    crypto_sign_seed_keypair(public_key, secret, seed);
    sodium_memzero(secret, sizeof secret);
}

/* Ed25519 reads its message twice, so that it must be in one piece. */
static uint8_t *message_of(const char *label, const void *prefix, size_t prefix_len,
                           const void *data, size_t len)
{
    uint8_t *message = malloc(16 + prefix_len + len);
    if (message == NULL)
        return NULL;
    pad_label(message, label);
    if (prefix_len > 0)
        memcpy(message + 16, prefix, prefix_len);
    memcpy(message + 16 + prefix_len, data, len);
    return message;
}

int cs_sign(uint8_t signature[CS_SIGNATURE_SIZE], const uint8_t seed[CS_KEY_SIZE],
            const char *label, const void *prefix, size_t prefix_len, const void *data, size_t len,
            struct cs_error *err)
{
    uint8_t public_key[CS_KEY_SIZE], secret[crypto_sign_SECRETKEYBYTES];
    uint8_t *message = message_of(label, prefix, prefix_len, data, len);
    if (message == NULL)
        return cs_fail_memory(err);
    crypto_sign_seed_keypair(public_key, secret, seed);
    crypto_sign_detached(signature, NULL, message, 16 + prefix_len + len, secret);
    sodium_memzero(secret, sizeof secret);
    free(message);
    return 0;
}

bool cs_verify(const uint8_t signature[CS_SIGNATURE_SIZE], const uint8_t public_key[CS_KEY_SIZE],
               const char *label, const void *prefix, size_t prefix_len, const void *data,
               size_t len)
{
    uint8_t *message = message_of(label, prefix, prefix_len, data, len);
    if (message == NULL)
        return false;
    bool good =
        crypto_sign_verify_detached(signature, message, 16 + prefix_len + len, public_key) == 0;
    free(message);
    return good;
}

int cs_argon2id(uint8_t out[CS_KEY_SIZE], const void *passphrase, size_t len,
                const uint8_t salt[CS_SALT_SIZE], uint32_t passes, uint32_t memory,
                struct cs_error *err)
{
    if (crypto_pwhash(out, CS_KEY_SIZE, passphrase, len, salt, passes, (size_t)memory << 10,
                      crypto_pwhash_ALG_ARGON2ID13) != 0)
        return cs_fail(err, CS_NO_MEMORY,
                       "the passphrase cannot be stretched with %u MiB of memory", memory >> 10);
    return 0;
}

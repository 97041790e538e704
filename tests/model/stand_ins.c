/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What costs time and is not what the model is about: in the place of
 * libsodium's hash, key agreement and signatures there are checksums that keep
 * what the store relies on between honest parties. Seals are real.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "checksum.h"

enum { KEY = 32, SIGNATURE = 64, LABEL = 16 };

int __wrap_crypto_generichash_blake2b_salt_personal(uint8_t *out, size_t out_len, const uint8_t *in,
                                                    unsigned long long in_len, const uint8_t *key,
                                                    size_t key_len, const uint8_t *salt,
                                                    const uint8_t *personal);
int __wrap_crypto_scalarmult_base(uint8_t *public_key, const uint8_t *private_key);
int __wrap_crypto_scalarmult(uint8_t *out, const uint8_t *private_key, const uint8_t *public_key);
int __wrap_crypto_sign_seed_keypair(uint8_t *public_key, uint8_t *secret, const uint8_t *seed);
int __wrap_crypto_sign_detached(uint8_t *signature, unsigned long long *signature_len,
                                const uint8_t *message, unsigned long long len,
                                const uint8_t *secret);
int __wrap_crypto_sign_verify_detached(const uint8_t *signature, const uint8_t *message,
                                       unsigned long long len, const uint8_t *public_key);

/* ${out_len} bytes that depend on everything else. */
static void digest(uint8_t *out, size_t out_len, const uint8_t *head, size_t head_len,
                   const void *data, size_t len)
{
    uint8_t mixed[KEY + LABEL + CS_CHECKSUM_SIZE + 1], sum[CS_CHECKSUM_SIZE];
    memcpy(mixed, head, head_len);
    cs_checksum(mixed + head_len, data, len);
    for (size_t at = 0; at < out_len; at += sizeof sum) {
        mixed[head_len + CS_CHECKSUM_SIZE] = (uint8_t)at;
        cs_checksum(sum, mixed, head_len + CS_CHECKSUM_SIZE + 1);
        memcpy(out + at, sum, out_len - at < sizeof sum ? out_len - at : sizeof sum);
    }
}

int __wrap_crypto_generichash_blake2b_salt_personal(uint8_t *out, size_t out_len, const uint8_t *in,
                                                    unsigned long long in_len, const uint8_t *key,
                                                    size_t key_len, const uint8_t *salt,
                                                    const uint8_t *personal)
{
    uint8_t head[KEY + LABEL];
    (void)salt;
    memcpy(head, personal, LABEL);
    if (key_len > 0)
        memcpy(head + LABEL, key, key_len);
    digest(out, out_len, head, LABEL + key_len, in, (size_t)in_len);
    return 0;
}

int __wrap_crypto_scalarmult_base(uint8_t *public_key, const uint8_t *private_key)
{
    memcpy(public_key, private_key, KEY);
    return 0;
}

int __wrap_crypto_scalarmult(uint8_t *out, const uint8_t *private_key, const uint8_t *public_key)
{
    for (size_t i = 0; i < KEY; i++)
        out[i] = private_key[i] ^ public_key[i];
    return 0;
}

int __wrap_crypto_sign_seed_keypair(uint8_t *public_key, uint8_t *secret, const uint8_t *seed)
{
    memcpy(public_key, seed, KEY);
    memcpy(secret, seed, KEY);
    memcpy(secret + KEY, seed, KEY);
    return 0;
}

int __wrap_crypto_sign_detached(uint8_t *signature, unsigned long long *signature_len,
                                const uint8_t *message, unsigned long long len,
                                const uint8_t *secret)
{
    (void)signature_len;
    digest(signature, SIGNATURE, secret, KEY, message, (size_t)len);
    return 0;
}

int __wrap_crypto_sign_verify_detached(const uint8_t *signature, const uint8_t *message,
                                       unsigned long long len, const uint8_t *public_key)
{
    uint8_t expected[SIGNATURE];
    digest(expected, SIGNATURE, public_key, KEY, message, (size_t)len);
    return memcmp(signature, expected, SIGNATURE) == 0 ? 0 : -1;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The primitives against values that Python's hashlib and `cryptography` gave, so that a second
 * implementation made from FORMAT.md agrees with this one. */
#include "cs_fixture.h"

#include <stdio.h>

#include "config.h"
#include "crypt.h"
#include "pack.h"

static const char text[] = "The quick brown fox";
enum { TEXT = sizeof text - 1 };

static void key_of(uint8_t key[32])
{
    for (uint8_t i = 0; i < 32; i++)
        key[i] = i;
}

static void assert_hex(const uint8_t *data, size_t len, const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    char *found = calloc(2 * len + 1, 1);
    assert_non_null(found);
    for (size_t i = 0; i < len; i++) {
        found[2 * i] = digits[data[i] >> 4];
        found[2 * i + 1] = digits[data[i] & 15];
    }
    assert_string_equal(found, hex);
    free(found);
}

static void test_hash_is_blake2b_with_a_label(void **state)
{
    uint8_t out[32];
    (void)state;
    cs_hash(out, text, TEXT);
    assert_hex(out, 32, "cfce1b66876da84ef511a37bb75baf0c5852b6baf1ad436b5e6b17e5df32a722");
    cs_hash(out, NULL, 0);
    assert_hex(out, 32, "a6b836871107f9e7b38cb52de4aa21338661557ea8986c881c91e82a15fc9445");
}

static void test_subkeys_and_keyed(void **state)
{
    uint8_t key[32], out[64];
    (void)state;
    key_of(key);
    cs_subkey(out, key, "byre log", 0x0102030405060708);
    assert_hex(out, 32, "6507e03d5888a066ff594a3a69937429c0dfbbbc0a4293cb7ea9cb313ca4e71d");
    cs_subkey64(out, key, "byre chunker", 2);
    assert_hex(out, 64,
               "28e98fdf89833f2c06e5920c52e29e682dc14da064dab54542981c8add375c4e2439c3dfe96fecffc39"
               "cf629710d144741285a0f6a9dda80efedb70fd4571925");
    cs_keyed(out, key, "byre key file", text, TEXT);
    assert_hex(out, 32, "329bfe071c6eb124d9e4070edc93a7c6ef7544562aa9cc8ae9163240059a86b0");
    /* a label of sixteen characters has no zero byte behind it */
    cs_keyed(out, key, "0123456789abcdef", text, TEXT);
    assert_hex(out, 32, "63d36159bef338d9f052824c1da5ce2a117dbe0ceb18b976b1e36bb42758cd7b");
}

static void test_object_ids_know_class_and_type(void **state)
{
    uint8_t key[32];
    struct cs_id id, other;
    (void)state;
    key_of(key);
    cs_blake2b_id(&id, key, CS_META, 129, text, TEXT);
    assert_hex(id.bytes, 32, "bfe2964b069fc94dac6d09bacd84b2e48b38482bf54998786cba02053e45250f");
    cs_blake2b_id(&other, key, CS_DATA, 129, text, TEXT);
    assert_memory_not_equal(&id, &other, sizeof id);
    cs_blake2b_id(&other, key, CS_META, 1, text, TEXT);
    assert_memory_not_equal(&id, &other, sizeof id);
}

static void test_what_another_sealed_is_opened(void **state)
{
    static const char sealed_hex[] =
        "404142434445464748494a4b4c4d4e4f505152535455565780516050a1951075e4d4e5ccc0eb0bb2f4d5d5662b"
        "711c287fe677cb0251466f5dfff9";
    uint8_t sealed[TEXT + CS_SEAL_OVERHEAD], key[32], out[TEXT];
    (void)state;
    key_of(key);
    for (size_t i = 0; i < sizeof sealed; i++) {
        unsigned byte;
        assert_int_equal(sscanf(sealed_hex + 2 * i, "%2x", &byte), 1);
        sealed[i] = (uint8_t)byte;
    }
    assert_true(cs_unseal(out, key, "ad", 2, sealed, sizeof sealed));
    assert_memory_equal(out, text, TEXT);
}

static void test_a_seal_holds_against_every_bit(void **state)
{
    uint8_t sealed[TEXT + CS_SEAL_OVERHEAD], again[sizeof sealed], key[32], out[TEXT];
    (void)state;
    key_of(key);
    cs_seal(sealed, key, "ad", 2, text, TEXT);
    cs_seal(again, key, "ad", 2, text, TEXT);
    assert_memory_not_equal(sealed, again, sizeof sealed); /* a fresh nonce each */
    assert_true(cs_unseal(out, key, "ad", 2, sealed, sizeof sealed));
    for (size_t bit = 0; bit < 8 * sizeof sealed; bit++) {
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(cs_unseal(out, key, "ad", 2, sealed, sizeof sealed));
        sealed[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < sizeof sealed; len++)
        assert_false(cs_unseal(out, key, "ad", 2, sealed, len));
    assert_false(cs_unseal(out, key, "Ad", 2, sealed, sizeof sealed));
    assert_false(cs_unseal(out, key, "ad", 1, sealed, sizeof sealed));
    key[31] ^= 1;
    assert_false(cs_unseal(out, key, "ad", 2, sealed, sizeof sealed));
}

static void test_nothing_can_be_sealed(void **state)
{
    uint8_t sealed[CS_SEAL_OVERHEAD], key[32], out[1];
    (void)state;
    key_of(key);
    cs_seal(sealed, key, NULL, 0, NULL, 0);
    assert_true(cs_unseal(out, key, NULL, 0, sealed, sizeof sealed));
}

static void test_x25519(void **state)
{
    uint8_t a[32], b[32], public_a[32], public_b[32], out[32], small[32] = {0};
    (void)state;
    key_of(a);
    for (uint8_t i = 0; i < 32; i++)
        b[i] = (uint8_t)(32 + i);
    cs_dh_public(public_a, a);
    cs_dh_public(public_b, b);
    assert_hex(public_a, 32, "8f40c5adb68f25624ae5b214ea767a6ec94d829d3d7b5e1ad1ba6f3e2138285f");
    assert_hex(public_b, 32, "358072d6365880d1aeea329adf9121383851ed21a28e3b75e965d0d2cd166254");
    assert_true(cs_dh(out, a, public_b));
    assert_hex(out, 32, "9663aa1da97e848a914a436d04163dfbb89178f107f1b5b77ed3854203382854");
    assert_true(cs_dh(out, b, public_a));
    assert_hex(out, 32, "9663aa1da97e848a914a436d04163dfbb89178f107f1b5b77ed3854203382854");
    assert_false(cs_dh(out, a, small));
    small[0] = 1;
    assert_false(cs_dh(out, a, small));
}

static void test_ed25519(void **state)
{
    uint8_t seed[32], public_key[32], signature[64];
    (void)state;
    key_of(seed);
    cs_sign_public(public_key, seed);
    assert_hex(public_key, 32, "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8");
    assert_ok(cs_sign(signature, seed, "byre slot", "prefix", 6, text, TEXT, err));
    assert_hex(signature, 64,
               "b6585f06fbb97b61195106ffad9471815f7f3b1f00268adc4bc73472a2b077d5b5c0e61e71466a747ff"
               "204efdcb02f3e8c07956b17b08b17664057e161b5d302");
    assert_true(cs_verify(signature, public_key, "byre slot", "prefix", 6, text, TEXT));
    assert_false(cs_verify(signature, public_key, "byre log", "prefix", 6, text, TEXT));
    assert_false(cs_verify(signature, public_key, "byre slot", "prefiX", 6, text, TEXT));
    assert_false(cs_verify(signature, public_key, "byre slot", "prefix", 6, text, TEXT - 1));
    for (size_t bit = 0; bit < 512; bit++) {
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(cs_verify(signature, public_key, "byre slot", "prefix", 6, text, TEXT));
        signature[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void test_argon2id(void **state)
{
    uint8_t salt[16], out[32];
    (void)state;
    for (uint8_t i = 0; i < 16; i++)
        salt[i] = i;
    assert_ok(cs_argon2id(out, "correct horse", 13, salt, 2, 64, err));
    assert_hex(out, 32, "9c87c06898bc18516669b54a8b95d36e622946494d7a55c26f391a0406068c19");
}

static void test_data_keys_from_either_side(void **state)
{
    uint8_t a[32], b[32], public_a[32], public_b[32], secret[32], key[32];
    struct cs_id repository;
    struct cs_name origin;
    (void)state;
    key_of(a);
    for (uint8_t i = 0; i < 32; i++)
        b[i] = (uint8_t)(32 + i);
    cs_dh_public(public_a, a);
    cs_dh_public(public_b, b);
    memset(secret, 5, sizeof secret);
    memset(&repository, 7, sizeof repository);
    memset(&origin, 9, sizeof origin);
    static const char expected[] =
        "608ef7f6e2ee377eaafc54e7ebbc49cdbbe09b2e06c4d862c0a58935f41a9ea9";
    assert_true(
        cs_pack_data_key(key, a, public_b, secret, public_a, public_b, &repository, &origin));
    assert_hex(key, 32, expected);
    assert_true(
        cs_pack_data_key(key, b, public_a, secret, public_a, public_b, &repository, &origin));
    assert_hex(key, 32, expected);
}

static void test_config_byte_for_byte(void **state)
{
    uint8_t out[CS_CONFIG_SIZE];
    struct cs_config config;
    (void)state;
    cs_config_new(&config, CS_ID_BLAKE2B);
    key_of(config.repository_id.bytes);
    config.created = 1700000000;
    cs_config_encode(out, &config);
    assert_hex(
        out, sizeof out,
        "62797265636f6e6601000000000000000000000000000000000000000000000000010203040506070809"
        "0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f00f1536500000000000040000010000000400000"
        "0000040055555555555555150400000000000000bfd8f94aaecc5390175e0e9ca2704a0250c62940dce9"
        "0167ae8352120770a131");
}

static int setup(void **state)
{
    (void)state;
    return cs_crypt_init(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash_is_blake2b_with_a_label),
        cmocka_unit_test(test_subkeys_and_keyed),
        cmocka_unit_test(test_object_ids_know_class_and_type),
        cmocka_unit_test(test_what_another_sealed_is_opened),
        cmocka_unit_test(test_a_seal_holds_against_every_bit),
        cmocka_unit_test(test_nothing_can_be_sealed),
        cmocka_unit_test(test_x25519),
        cmocka_unit_test(test_ed25519),
        cmocka_unit_test(test_argon2id),
        cmocka_unit_test(test_data_keys_from_either_side),
        cmocka_unit_test(test_config_byte_for_byte),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}

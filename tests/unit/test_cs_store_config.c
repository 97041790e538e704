/* SPDX-License-Identifier: BSD-2-Clause */
/* The config: round trip, every byte and every length, and parameters that no chunker could use. */
#include "cs_fixture.h"

#include "bytes.h"
#include "config.h"
#include "crypt.h"

static void encode(uint8_t out[CS_CONFIG_SIZE])
{
    struct cs_config config;
    cs_config_new(&config, CS_ID_BLAKE2B);
    cs_config_encode(out, &config);
}

/* What an attacker who can write the file does too. */
static void rehash(uint8_t data[CS_CONFIG_SIZE])
{
    cs_hash(data + 104, data, 104);
}

static void test_round_trip(void **state)
{
    uint8_t out[CS_CONFIG_SIZE], again[CS_CONFIG_SIZE];
    struct cs_config config;
    (void)state;
    encode(out);
    assert_ok(cs_config_decode(&config, out, sizeof out, err));
    cs_config_encode(again, &config);
    assert_memory_equal(out, again, sizeof out);
    assert_int_equal(config.region_size, 4 << 20);
    assert_true(config.threshold == UINT64_MAX / 12);
}

static void test_every_flipped_byte_is_refused(void **state)
{
    uint8_t out[CS_CONFIG_SIZE];
    struct cs_config config;
    (void)state;
    encode(out);
    for (size_t i = 0; i < sizeof out; i++) {
        struct cs_error err = {0};
        out[i] ^= 1;
        int rc = cs_config_decode(&config, out, sizeof out, &err);
        assert_true(rc == CS_CORRUPT || (rc == CS_UNSUPPORTED && (i == 8 || i == 9)));
        assert_true(err.message[0] != 0);
        out[i] ^= 1;
    }
}

static void test_every_length_is_refused(void **state)
{
    uint8_t out[CS_CONFIG_SIZE + 1] = {0};
    struct cs_config config;
    (void)state;
    encode(out);
    for (size_t len = 0; len <= sizeof out; len++)
        if (len != CS_CONFIG_SIZE)
            assert_fails(CS_CORRUPT, cs_config_decode(&config, out, len, err));
}

static void test_reserved_bytes_are_zero(void **state)
{
    uint8_t out[CS_CONFIG_SIZE];
    struct cs_config config;
    (void)state;
    for (size_t i = 0; i < 104; i++) {
        if ((i < 10 || i >= 16) && i < 100)
            continue;
        encode(out);
        out[i] = 1;
        rehash(out);
        assert_fails(CS_CORRUPT, cs_config_decode(&config, out, sizeof out, err));
    }
}

static void test_unknown_features(void **state)
{
    uint8_t out[CS_CONFIG_SIZE];
    struct cs_config config;
    (void)state;
    encode(out);
    out[23] = 0x80;
    rehash(out);
    assert_fails(CS_UNSUPPORTED, cs_config_decode(&config, out, sizeof out, err));
    encode(out);
    out[31] = 0x80; /* only writers need it */
    rehash(out);
    assert_ok(cs_config_decode(&config, out, sizeof out, err));
    assert_true(config.write_features == 1ULL << 63);
}

static void test_the_function_of_ids_is_a_feature(void **state)
{
    uint8_t out[CS_CONFIG_SIZE];
    struct cs_config config;
    (void)state;
    encode(out);
    assert_int_equal(out[16], 0);
    assert_ok(cs_config_decode(&config, out, sizeof out, err));
    assert_int_equal(cs_config_id_hash(&config), CS_ID_BLAKE2B);
    cs_config_new(&config, CS_ID_SHA256);
    cs_config_encode(out, &config);
    assert_int_equal(out[16], 1);
    assert_ok(cs_config_decode(&config, out, sizeof out, err));
    assert_int_equal(cs_config_id_hash(&config), CS_ID_SHA256);
    out[16] = 3; /* something that a later version knows, beside it */
    rehash(out);
    struct cs_error err = {0};
    assert_int_equal(cs_config_decode(&config, out, sizeof out, &err), CS_UNSUPPORTED);
    assert_string_equal(err.message, "config: needs features 0x2 that this program lacks");
}

static void test_impossible_parameters(void **state)
{
    static const struct {
        size_t at;
        uint32_t value;
    } cases[] = {
        {72, 0},       {72, 3 << 20},   {72, 1 << 10}, {72, 32 << 20}, {72, UINT32_MAX},
        {76, 0},       {76, 256},       {76, 4097},    {76, 32 << 10}, {80, 0},
        {80, 2 << 10}, {80, 512 << 10}, {80, 20000},   {84, 0},        {84, 8 << 10},
        {84, 2 << 20}, {84, 8 << 20},   {84, 300000},  {96, 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint8_t out[CS_CONFIG_SIZE];
        struct cs_config config;
        encode(out);
        cs_le32(out + cases[i].at, cases[i].value);
        rehash(out);
        assert_fails(CS_CORRUPT, cs_config_decode(&config, out, sizeof out, err));
    }
}

static void test_a_store_refuses_a_config_that_the_slot_does_not_pin(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store;
    size_t len;
    uint8_t *data = file_read(repo, "config", &len);
    assert_int_equal(len, CS_CONFIG_SIZE);
    data[16] ^= 1; /* another function for ids, with the right checksum */
    rehash(data);
    file_write(repo, "config", data, len);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
    data[16] ^= 1;
    cs_le64(data + 88, 12345); /* another cut threshold */
    rehash(data);
    file_write(repo, "config", data, len);
    free(data);
    assert_fails(CS_CORRUPT, try_open(&store, repo, 0, err));
    file_remove(repo, "config");
    assert_fails(CS_NO_REPOSITORY, try_open(&store, repo, 0, err));
}

static int setup(void **state)
{
    (void)state;
    return cs_crypt_init(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_every_flipped_byte_is_refused),
        cmocka_unit_test(test_every_length_is_refused),
        cmocka_unit_test(test_reserved_bytes_are_zero),
        cmocka_unit_test(test_unknown_features),
        cmocka_unit_test(test_the_function_of_ids_is_a_feature),
        cmocka_unit_test(test_impossible_parameters),
        cmocka_unit_test_setup_teardown(test_a_store_refuses_a_config_that_the_slot_does_not_pin,
                                        repo_setup, repo_teardown),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}

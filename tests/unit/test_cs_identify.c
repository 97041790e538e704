/* SPDX-License-Identifier: BSD-2-Clause */
/* Ids by either function, against what Python's hashlib and hmac gave (and `openssl dgst -mac HMAC`
 * one of them), so that a second implementation made from FORMAT.md agrees with this one. */
#include "identify.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char text[] = "The quick brown fox";
enum { TEXT = sizeof text - 1, LARGE = 1 << 20 };

/* With a key of 0, 1, 2, ... */
static struct cs_identifier *identifier_by(enum cs_id_hash hash)
{
    uint8_t key[CS_KEY_SIZE];
    struct cs_identifier *identifier;
    struct cs_error err;
    for (uint8_t i = 0; i < CS_KEY_SIZE; i++)
        key[i] = i;
    assert_int_equal(cs_identifier_new(&identifier, hash, key, &err), 0);
    return identifier;
}

static uint8_t *large(void)
{
    uint8_t *data = malloc(LARGE);
    assert_non_null(data);
    for (size_t i = 0; i < LARGE; i++)
        data[i] = (uint8_t)(i * 7);
    return data;
}

static void assert_id(struct cs_identifier *identifier, enum cs_class class, uint8_t type,
                      const void *data, size_t len, const char *hex)
{
    struct cs_id id;
    struct cs_error err;
    char found[CS_ID_HEX];
    assert_int_equal(cs_identify(identifier, class, type, data, len, &id, &err), 0);
    assert_string_equal(cs_id_hex(&id, found), hex);
}

static void test_blake2b(void **state)
{
    struct cs_identifier *i = identifier_by(CS_ID_BLAKE2B);
    (void)state;
    assert_id(i, CS_META, 129, text, TEXT,
              "bfe2964b069fc94dac6d09bacd84b2e48b38482bf54998786cba02053e45250f");
    cs_identifier_free(i);
}

static void test_sha256_of_each_class_and_type(void **state)
{
    struct cs_identifier *i = identifier_by(CS_ID_SHA256);
    (void)state;
    for (unsigned again = 0; again < 3; again++) { /* what was before leaves nothing behind */
        assert_id(i, CS_DATA, CS_CHUNK, text, TEXT,
                  "f58aba86fed546673ae9ed2d227d1008e47df7422cdf2229b6f808eb90fa5228");
        assert_id(i, CS_META, 1, text, TEXT,
                  "f3ec6289026c917af42dc3ed82265917e01c8dd291692ab103d2331d089472e7");
        assert_id(i, CS_META, 129, text, TEXT,
                  "18578df529e77c015ff1759d4969013bc0c002e0853b18e6acdbe00092d94e74");
    }
    cs_identifier_free(i);
}

static void test_sha256_of_each_length(void **state)
{
    static const struct {
        size_t len;
        const char *hex;
    } cases[] = {
        {0, "1304a572cfe026b76df992e8da107653999a8bd68c2f9e0c923f7041aa77e493"},
        {1, "f105747e8379e2dad36367c7914a031301c35161ea1e51057bd40b25ff42cfab"},
        {55, "693c0cd1fcd7f46144915f45248501b642127b56c7870592160f8673e94c311f"},
        {56, "5e87e4c253489ee76b156d2fa7339602174697cfd71313b28ac68e9c2cee61b6"},
        {64, "7d6d2d92aa7669f59aefa19a6540ea494ef502159772ea4727c923f6b19c0004"},
        {65, "caf427e1d969ca28aca5f6363b93fbf02489a348ff5cde58bd2885ce59c208b0"},
        {LARGE, "07ca8d27f740069bc8139e47b761f0019d330f7025458f66ecc6029de6c8df2a"},
    };
    struct cs_identifier *i = identifier_by(CS_ID_SHA256);
    uint8_t *data = large();
    (void)state;
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++)
        assert_id(i, CS_DATA, CS_CHUNK, data, cases[n].len, cases[n].hex);
    free(data);
    cs_identifier_free(i);
}

static void test_everything_counts(void **state)
{
    static const enum cs_id_hash hashes[] = {CS_ID_BLAKE2B, CS_ID_SHA256};
    static const uint8_t other_key[CS_KEY_SIZE] = {1};
    (void)state;
    for (size_t n = 0; n < sizeof hashes / sizeof *hashes; n++) {
        struct cs_identifier *i = identifier_by(hashes[n]), *other;
        uint8_t data[100] = {0};
        struct cs_id id, changed;
        struct cs_error err;
        assert_int_equal(cs_identifier_new(&other, hashes[n], other_key, &err), 0);
        assert_int_equal(cs_identify(i, CS_DATA, 1, data, sizeof data, &id, &err), 0);
        assert_int_equal(cs_identify(other, CS_DATA, 1, data, sizeof data, &changed, &err), 0);
        assert_memory_not_equal(&id, &changed, sizeof id);
        assert_int_equal(cs_identify(i, CS_META, 1, data, sizeof data, &changed, &err), 0);
        assert_memory_not_equal(&id, &changed, sizeof id);
        assert_int_equal(cs_identify(i, CS_DATA, 2, data, sizeof data, &changed, &err), 0);
        assert_memory_not_equal(&id, &changed, sizeof id);
        assert_int_equal(cs_identify(i, CS_DATA, 1, data, sizeof data - 1, &changed, &err), 0);
        assert_memory_not_equal(&id, &changed, sizeof id);
        for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(cs_identify(i, CS_DATA, 1, data, sizeof data, &changed, &err), 0);
            assert_memory_not_equal(&id, &changed, sizeof id);
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        cs_identifier_free(i);
        cs_identifier_free(other);
    }
}

struct thread {
    pthread_t thread;
    struct cs_identifier *identifier;
    const uint8_t *data;
    unsigned failed;
    struct cs_id ids[256];
};

static void *identify_all(void *arg)
{
    struct thread *t = arg;
    struct cs_error err;
    for (unsigned type = 0; type < 256; type++)
        if (cs_identify(t->identifier, CS_META, (uint8_t)type, t->data + type, 1000, &t->ids[type],
                        &err) < 0)
            t->failed++;
    return NULL;
}

static void test_threads_give_the_same(void **state)
{
    enum { THREADS = 4 };
    static struct thread threads[THREADS], alone;
    uint8_t *data = large();
    (void)state;
    alone = (struct thread){.identifier = identifier_by(CS_ID_SHA256), .data = data};
    identify_all(&alone);
    for (unsigned n = 0; n < THREADS; n++) {
        threads[n] = (struct thread){.identifier = identifier_by(CS_ID_SHA256), .data = data};
        assert_int_equal(pthread_create(&threads[n].thread, NULL, identify_all, &threads[n]), 0);
    }
    for (unsigned n = 0; n < THREADS; n++) {
        pthread_join(threads[n].thread, NULL);
        assert_int_equal(threads[n].failed, 0);
        assert_memory_equal(threads[n].ids, alone.ids, sizeof alone.ids);
        cs_identifier_free(threads[n].identifier);
    }
    cs_identifier_free(alone.identifier);
    free(data);
}

static void test_names(void **state)
{
    enum cs_id_hash hash = CS_ID_SHA256;
    (void)state;
    assert_true(cs_id_hash_parse(&hash, "blake2b"));
    assert_int_equal(hash, CS_ID_BLAKE2B);
    assert_true(cs_id_hash_parse(&hash, cs_id_hash_name(CS_ID_SHA256)));
    assert_int_equal(hash, CS_ID_SHA256);
    assert_false(cs_id_hash_parse(&hash, ""));
    assert_false(cs_id_hash_parse(&hash, "sha25"));
    assert_false(cs_id_hash_parse(&hash, "SHA256"));
    assert_int_equal(hash, CS_ID_SHA256);
}

static void test_one_is_the_fastest(void **state)
{
    enum cs_id_hash hash;
    struct cs_error err;
    (void)state;
    assert_int_equal(cs_id_hash_fastest(&hash, &err), 0);
    assert_true(hash == CS_ID_BLAKE2B || hash == CS_ID_SHA256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blake2b),
        cmocka_unit_test(test_sha256_of_each_class_and_type),
        cmocka_unit_test(test_sha256_of_each_length),
        cmocka_unit_test(test_everything_counts),
        cmocka_unit_test(test_threads_give_the_same),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_one_is_the_fastest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

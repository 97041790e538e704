/* SPDX-License-Identifier: BSD-2-Clause */
/* Fingerprints are GMAC-AES-256 with a zero nonce, and one context gives them again and again. */
#include "fingerprint.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct cs_fingerprinter *new_fingerprinter(const uint8_t key[32])
{
    struct cs_fingerprinter *fp;
    struct cs_error err;
    assert_int_equal(cs_fingerprinter_new(&fp, key, &err), 0);
    return fp;
}

/* A key of 0, 1, 2, ... */
static struct cs_fingerprinter *counting(void)
{
    uint8_t key[32];
    for (uint8_t i = 0; i < 32; i++)
        key[i] = i;
    return new_fingerprinter(key);
}

static void assert_fingerprint(struct cs_fingerprinter *fp, const void *data, size_t len,
                               const char *hex)
{
    static const char digits[] = "0123456789abcdef";
    uint8_t out[16];
    char found[33] = {0};
    struct cs_error err;
    assert_int_equal(cs_fingerprint(fp, data, len, out, &err), 0);
    for (size_t i = 0; i < 16; i++) {
        found[2 * i] = digits[out[i] >> 4];
        found[2 * i + 1] = digits[out[i] & 15];
    }
    assert_string_equal(found, hex);
}

static void test_published_answer(void **state)
{
    static const uint8_t zero_key[32];

    (void)state;
    /* case 13 of the GCM specification: no text, no associated data */
    struct cs_fingerprinter *fp = new_fingerprinter(zero_key);
    assert_fingerprint(fp, NULL, 0, "530f8afbc74536b9a963b4f1c4cb738b");
    cs_fingerprinter_free(fp);
}

/* The answers are those of another implementation, python3-cryptography. */
static void test_known_answers(void **state)
{
    enum { LEN = 1 << 20 };
    struct cs_fingerprinter *fp = counting();
    uint8_t *data = malloc(LEN);

    (void)state;
    assert_non_null(data);
    for (uint8_t i = 0; i < 16; i++)
        data[i] = i;
    assert_fingerprint(fp, data, 16, "550b5b27aa4ea5700b0a889e4761d4e0");
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 7);
    assert_fingerprint(fp, data, LEN, "2cf98171ca6937c1cdb1b486f71d8284");
    assert_fingerprint(fp, "abc", 3, "f6e9addf71d44fda7b56e10407827468");
    assert_fingerprint(fp, data, 1000, "3955b68a8156821158163ee1fe997507");
    assert_fingerprint(fp, "", 0, "f05d76ae4ab99fe5a6f69b3148c2363d");
    /* nothing of the calls before is left in the context */
    assert_fingerprint(fp, "abc", 3, "f6e9addf71d44fda7b56e10407827468");
    assert_fingerprint(fp, data, LEN, "2cf98171ca6937c1cdb1b486f71d8284");
    free(data);
    cs_fingerprinter_free(fp);
}

static void test_every_bit_counts(void **state)
{
    struct cs_fingerprinter *fp = counting();
    uint8_t data[100] = {0}, before[16], after[16];
    struct cs_error err;

    (void)state;
    assert_int_equal(cs_fingerprint(fp, data, sizeof data, before, &err), 0);
    for (size_t bit = 0; bit < 8 * sizeof data; bit++) {
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_int_equal(cs_fingerprint(fp, data, sizeof data, after, &err), 0);
        assert_memory_not_equal(before, after, sizeof before);
        data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    assert_int_equal(cs_fingerprint(fp, data, sizeof data - 1, after, &err), 0);
    assert_memory_not_equal(before, after, sizeof before);
    cs_fingerprinter_free(fp);
}

static void test_keys_tell_contexts_apart(void **state)
{
    static const uint8_t key[32] = {1};
    struct cs_fingerprinter *one = counting();
    struct cs_fingerprinter *other = new_fingerprinter(key);
    uint8_t a[16], b[16];
    struct cs_error err;

    (void)state;
    assert_int_equal(cs_fingerprint(one, "abc", 3, a, &err), 0);
    assert_int_equal(cs_fingerprint(other, "abc", 3, b, &err), 0);
    assert_memory_not_equal(a, b, sizeof a);
    cs_fingerprinter_free(one);
    cs_fingerprinter_free(other);
    cs_fingerprinter_free(NULL);
}

static void test_too_long_is_refused(void **state)
{
    struct cs_fingerprinter *fp = counting();
    uint8_t out[16];
    struct cs_error err;

    (void)state;
    assert_int_equal(cs_fingerprint(fp, out, (size_t)INT_MAX + 1, out, &err), CS_USAGE);
    assert_int_equal(err.code, CS_USAGE);
    cs_fingerprinter_free(fp);
}

static void test_parts_make_the_whole(void **state)
{
    enum { LEN = 100000 };
    struct cs_fingerprinter *fp = counting();
    uint8_t *data = malloc(LEN), whole[16], parts[16];
    struct cs_error err;

    (void)state;
    assert_non_null(data);
    for (size_t i = 0; i < LEN; i++)
        data[i] = (uint8_t)(i * 7 + (i >> 8));
    assert_int_equal(cs_fingerprint(fp, data, LEN, whole, &err), 0);
    for (size_t step = 1; step < LEN; step = step * 3 + 1) {
        cs_fingerprint_begin(fp); /* what was begun and not ended is forgotten */
        cs_fingerprint_add(fp, data, 17);
        cs_fingerprint_begin(fp);
        for (size_t at = 0; at < LEN; at += step)
            cs_fingerprint_add(fp, data + at, step < LEN - at ? step : LEN - at);
        cs_fingerprint_add(fp, NULL, 0);
        assert_int_equal(cs_fingerprint_end(fp, parts, &err), 0);
        assert_memory_equal(parts, whole, sizeof whole);
    }
    free(data);
    cs_fingerprinter_free(fp);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_answer),    cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_every_bit_counts),    cmocka_unit_test(test_keys_tell_contexts_apart),
        cmocka_unit_test(test_too_long_is_refused), cmocka_unit_test(test_parts_make_the_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

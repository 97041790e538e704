/* SPDX-License-Identifier: BSD-2-Clause */
/* The bounded reader and the growing writer: every form, its limits, and that bad stays bad. */
#include "bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static void assert_buf(const struct cs_buf *b, const void *expected, size_t n)
{
    assert_false(b->failed);
    assert_int_equal(b->len, n);
    assert_memory_equal(b->data, expected, n);
}

static void test_integers_are_little_endian(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255};
    struct cs_reader r = cs_reader_of(bytes, sizeof bytes);
    struct cs_buf b = {0};

    (void)state;
    assert_int_equal(cs_get_u8(&r), 1);
    assert_int_equal(cs_get_u16(&r), 0x0302);
    assert_int_equal(cs_get_u32(&r), 0x07060504);
    assert_int_equal(cs_get_u64(&r), UINT64_C(0xff0e0d0c0b0a0908));
    assert_true(cs_reader_done(&r));

    cs_put_u8(&b, 1);
    cs_put_u16(&b, 0x0302);
    cs_put_u32(&b, 0x07060504);
    cs_put_u64(&b, UINT64_C(0xff0e0d0c0b0a0908));
    assert_buf(&b, bytes, sizeof bytes);
    cs_buf_clear(&b);
    assert_null(b.data);
    assert_int_equal(b.len, 0);
}

static void test_fixed_places(void **state)
{
    uint8_t p[8];

    (void)state;
    cs_le64(p, UINT64_C(0x8877665544332211));
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(p[i], 0x11 * (i + 1));
    assert_int_equal(cs_from_le64(p), UINT64_C(0x8877665544332211));
    assert_int_equal(cs_from_le32(p + 4), 0x88776655);
    assert_int_equal(cs_from_le16(p + 6), 0x8877);
}

static void test_reading_past_the_end_is_bad_for_good(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct cs_reader r = cs_reader_of(bytes, sizeof bytes);
    uint8_t copy[2] = {9, 9};

    (void)state;
    assert_int_equal(cs_reader_left(&r), 3);
    assert_false(cs_reader_done(&r));
    assert_int_equal(cs_get_u32(&r), 0);
    assert_true(r.bad);
    assert_int_equal(cs_reader_left(&r), 0);
    /* the three bytes are there, but nobody may have them any more */
    assert_int_equal(cs_get_u8(&r), 0);
    assert_int_equal(cs_get_u16(&r), 0);
    assert_int_equal(cs_get_u64(&r), 0);
    assert_int_equal(cs_get_varint(&r), 0);
    assert_int_equal(cs_get_svarint(&r), 0);
    assert_null(cs_get_str16(&r));
    assert_int_equal(cs_get_count16(&r, 1), 0);
    assert_int_equal(cs_get_count32(&r, 1), 0);
    cs_get_copy(&r, copy, sizeof copy);
    assert_int_equal(copy[0] | copy[1], 0);
    assert_false(cs_reader_done(&r));

    r = cs_reader_of(bytes, sizeof bytes);
    cs_get_u8(&r);
    assert_null(cs_get_bytes(&r, SIZE_MAX));
    assert_true(r.bad);
}

static void test_lent_bytes(void **state)
{
    static const uint8_t bytes[] = {1, 2, 3};
    struct cs_reader r = cs_reader_of(bytes, sizeof bytes);
    uint8_t copy[2];

    (void)state;
    assert_ptr_equal(cs_get_bytes(&r, 1), bytes);
    cs_get_copy(&r, copy, 2);
    assert_memory_equal(copy, bytes + 1, 2);
    assert_ptr_equal(cs_get_bytes(&r, 0), bytes + 3);
    assert_true(cs_reader_done(&r));
}

static void test_varint_known_answers(void **state)
{
    static const struct {
        uint64_t value;
        size_t len;
        uint8_t bytes[10];
    } known[] = {
        {0, 1, {0}},
        {1, 1, {1}},
        {127, 1, {0x7f}},
        {128, 2, {0x80, 1}},
        {300, 2, {0xac, 2}},
        {16383, 2, {0xff, 0x7f}},
        {16384, 3, {0x80, 0x80, 1}},
        {UINT64_C(1) << 63, 10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}},
        {UINT64_MAX, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct cs_buf b = {0};
        cs_put_varint(&b, known[i].value);
        assert_buf(&b, known[i].bytes, known[i].len);
        struct cs_reader r = cs_reader_of(b.data, b.len);
        assert_true(cs_get_varint(&r) == known[i].value);
        assert_true(cs_reader_done(&r));
        for (size_t cut = 0; cut < b.len; cut++) {
            r = cs_reader_of(b.data, cut);
            assert_int_equal(cs_get_varint(&r), 0);
            assert_true(r.bad);
        }
        cs_buf_clear(&b);
    }
}

static void test_varints_that_are_refused(void **state)
{
    static const struct {
        size_t len;
        uint8_t bytes[11];
    } bad[] = {
        {2, {0x80, 0}},       /* 0, the long way */
        {2, {0xff, 0}},       /* 127, the long way */
        {3, {0x80, 0x80, 0}}, /* and longer */
        {10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0}},
        {10, {0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 2}}, /* 2^64 */
        {10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}},
        {11, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0}}, /* 11 bytes */
        {11, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x80, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cs_reader r = cs_reader_of(bad[i].bytes, bad[i].len);
        assert_int_equal(cs_get_varint(&r), 0);
        assert_true(r.bad);
    }
}

static void test_svarint_known_answers(void **state)
{
    static const struct {
        int64_t value;
        size_t len;
        uint8_t bytes[10];
    } known[] = {
        {0, 1, {0}},
        {-1, 1, {1}},
        {1, 1, {2}},
        {-2, 1, {3}},
        {63, 1, {0x7e}},
        {-64, 1, {0x7f}},
        {64, 2, {0x80, 1}},
        {INT64_MAX, 10, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
        {INT64_MIN, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct cs_buf b = {0};
        cs_put_svarint(&b, known[i].value);
        assert_buf(&b, known[i].bytes, known[i].len);
        struct cs_reader r = cs_reader_of(b.data, b.len);
        assert_true(cs_get_svarint(&r) == known[i].value);
        assert_true(cs_reader_done(&r));
        cs_buf_clear(&b);
    }
}

static void test_random_numbers_come_back(void **state)
{
    enum { COUNT = 20000 };
    struct cs_buf b = {0};

    (void)state;
    random_state = 1;
    for (int i = 0; i < COUNT; i++) {
        uint64_t v = next_random() >> (next_random() % 64);
        cs_put_varint(&b, v);
        cs_put_svarint(&b, (int64_t)(next_random() % 2 ? v : 0 - v));
        cs_put_u32(&b, (uint32_t)v);
    }
    assert_false(b.failed);
    struct cs_reader r = cs_reader_of(b.data, b.len);
    random_state = 1;
    for (int i = 0; i < COUNT; i++) {
        uint64_t v = next_random() >> (next_random() % 64);
        assert_true(cs_get_varint(&r) == v);
        assert_true(cs_get_svarint(&r) == (int64_t)(next_random() % 2 ? v : 0 - v));
        assert_int_equal(cs_get_u32(&r), (uint32_t)v);
    }
    assert_true(cs_reader_done(&r));
    cs_buf_clear(&b);
}

static void test_strings(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    cs_put_str16(&b, "cow");
    cs_put_str16(&b, "");
    assert_buf(&b, "\3\0cow\0\0", 7);
    struct cs_reader r = cs_reader_of(b.data, b.len);
    char *s = cs_get_str16(&r);
    assert_string_equal(s, "cow");
    free(s);
    s = cs_get_str16(&r);
    assert_string_equal(s, "");
    free(s);
    assert_true(cs_reader_done(&r));
    cs_buf_clear(&b);

    r = cs_reader_of("\3\0c\0w", 5); /* a zero byte within */
    assert_null(cs_get_str16(&r));
    assert_true(r.bad);
    r = cs_reader_of("\4\0cow", 5); /* one too short */
    assert_null(cs_get_str16(&r));
    assert_true(r.bad);
}

static void test_string_length_limit(void **state)
{
    struct cs_buf b = {0};
    char *s = malloc(65537);

    (void)state;
    assert_non_null(s);
    memset(s, 'x', 65536);
    s[65535] = 0;
    cs_put_str16(&b, s);
    assert_false(b.failed);
    assert_int_equal(b.len, 65537);
    s[65535] = 'x';
    s[65536] = 0;
    cs_put_str16(&b, s);
    assert_true(b.failed);
    assert_int_equal(b.len, 65537);
    cs_buf_clear(&b);
    free(s);
}

static void test_zeros(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    cs_put_zeros(&b, 5);
    cs_put_u8(&b, 1);
    assert_buf(&b, "\0\0\0\0\0\1", 6);
    struct cs_reader r = cs_reader_of(b.data, b.len);
    cs_get_zeros(&r, 5);
    assert_false(r.bad);
    cs_get_zeros(&r, 1);
    assert_true(r.bad);
    r = cs_reader_of(b.data, 5);
    cs_get_zeros(&r, 6);
    assert_true(r.bad);
    cs_buf_clear(&b);
}

static void test_counts_are_bounded_by_what_follows(void **state)
{
    static const uint8_t wide[] = {3, 0, 0, 0, 1, 2, 3, 4, 5, 6};
    static const uint8_t narrow[] = {3, 0, 1, 2, 3, 4, 5, 6};

    (void)state;
    struct cs_reader r = cs_reader_of(wide, sizeof wide);
    assert_int_equal(cs_get_count32(&r, 2), 3);
    assert_int_equal(cs_reader_left(&r), 6);
    r = cs_reader_of(wide, sizeof wide - 1);
    assert_int_equal(cs_get_count32(&r, 2), 0);
    assert_true(r.bad);
    r = cs_reader_of("\377\377\377\377", 4);
    assert_int_equal(cs_get_count32(&r, 1), 0);
    assert_true(r.bad);

    r = cs_reader_of(narrow, sizeof narrow);
    assert_int_equal(cs_get_count16(&r, 2), 3);
    r = cs_reader_of(narrow, sizeof narrow - 1);
    assert_int_equal(cs_get_count16(&r, 2), 0);
    assert_true(r.bad);
}

static void test_writer_grows(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    cs_put_bytes(&b, NULL, 0);
    assert_null(b.data);
    for (unsigned i = 0; i < 100000; i++)
        cs_put_u8(&b, (uint8_t)(i * 7));
    assert_false(b.failed);
    assert_int_equal(b.len, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b.data[i], (uint8_t)(i * 7));
    cs_buf_wipe(&b);
    assert_null(b.data);
    assert_int_equal(b.capacity, 0);
    cs_buf_wipe(&b);
}

static void test_failed_writer_takes_nothing_more(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    cs_put_u16(&b, 7);
    cs_put_zeros(&b, SIZE_MAX - 1); /* more than a size can say */
    assert_true(b.failed);
    assert_int_equal(b.len, 2);
    cs_put_u8(&b, 1);
    cs_put_varint(&b, 1);
    cs_put_str16(&b, "x");
    assert_int_equal(b.len, 2);
    cs_buf_clear(&b);
    assert_false(b.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers_are_little_endian),
        cmocka_unit_test(test_fixed_places),
        cmocka_unit_test(test_reading_past_the_end_is_bad_for_good),
        cmocka_unit_test(test_lent_bytes),
        cmocka_unit_test(test_varint_known_answers),
        cmocka_unit_test(test_varints_that_are_refused),
        cmocka_unit_test(test_svarint_known_answers),
        cmocka_unit_test(test_random_numbers_come_back),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_string_length_limit),
        cmocka_unit_test(test_zeros),
        cmocka_unit_test(test_counts_are_bounded_by_what_follows),
        cmocka_unit_test(test_writer_grows),
        cmocka_unit_test(test_failed_writer_takes_nothing_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

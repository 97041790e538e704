/* SPDX-License-Identifier: BSD-2-Clause */
/* Content leaves: their bytes, that they come back, and each way in which they can be wrong. */
#include "content.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { REGION = 4 << 20 };

static uint64_t random_state;

static uint32_t below(uint32_t n)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % n);
}

static struct cs_chunk some_chunk(uint32_t length, uint8_t seed)
{
    struct cs_chunk c = {.length = length};
    memset(c.id.bytes, seed, sizeof c.id.bytes);
    memset(c.fingerprint, seed + 1, sizeof c.fingerprint);
    return c;
}

static void put_chunk(struct cs_buf *b, uint64_t length)
{
    cs_put_varint(b, length);
    cs_put_zeros(b, CS_ID_SIZE + 16);
}

/* Decodes what ${b} has, which must be refused with ${part} in the message, and clears it. */
static void assert_refused(struct cs_buf *b, const char *part)
{
    struct cs_content content;
    struct cs_error err = {0};
    assert_false(b->failed);
    assert_int_equal(cs_content_decode(&content, b->data, b->len, REGION, &err), CS_CORRUPT);
    assert_int_equal(err.code, CS_CORRUPT);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    assert_non_null(strstr(err.message, "byte "));
    assert_null(content.runs);
    assert_null(content.chunks);
    cs_buf_clear(b);
}

/* One data run of ${length} bytes at the region's start. */
static struct cs_buf data_run(uint64_t length)
{
    struct cs_buf b = {0};
    cs_put_varint(&b, 1);
    cs_put_varint(&b, 0);
    cs_put_varint(&b, length * 2);
    return b;
}

static void test_known_leaf(void **state)
{
    static const struct cs_run runs[] = {
        {.offset = 512, .length = 300},
        {.offset = 812, .length = 4096, .zero = true},
        {.offset = 5000, .length = 100},
    };
    const struct cs_chunk chunks[] = {some_chunk(399, 0x11), some_chunk(1, 0x22)};
    uint8_t expected[14 + 1 + 50 + 49] = {3,    0x80, 4,  /* gap 512 */
                                          0xd8, 4,    0,  /* 600; gap 0 */
                                          0x81, 0x40, 92, /* 8193; gap 92 */
                                          0xc8, 1,    2,  /* 200; two chunks */
                                          0x8f, 3};       /* of 399 */
    struct cs_buf b = {0};
    size_t at = 14;

    (void)state;
    memset(expected + at, 0x11, 32);
    memset(expected + at + 32, 0x12, 16);
    at += 48;
    expected[at++] = 1;
    memset(expected + at, 0x22, 32);
    memset(expected + at + 32, 0x23, 16);
    at += 48;
    cs_content_encode(&b, runs, 3, chunks, 2);
    assert_false(b.failed);
    assert_int_equal(b.len, at);
    assert_memory_equal(b.data, expected, at);
    cs_buf_clear(&b);
}

static void test_leaf_is_appended(void **state)
{
    static const struct cs_run run = {.offset = 0, .length = 1, .zero = true};
    struct cs_buf b = {0};

    (void)state;
    cs_put_u8(&b, 77);
    cs_content_encode(&b, &run, 1, NULL, 0);
    assert_int_equal(b.len, 5);
    assert_memory_equal(b.data, "\115\1\0\3\0", 5);
    cs_buf_clear(&b);
}

static void assert_round_trip(const struct cs_run *runs, size_t run_count,
                              const struct cs_chunk *chunks, size_t chunk_count)
{
    struct cs_buf b = {0};
    struct cs_content content;
    struct cs_error err;

    cs_content_encode(&b, runs, run_count, chunks, chunk_count);
    assert_false(b.failed);
    if (cs_content_decode(&content, b.data, b.len, REGION, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(content.run_count, run_count);
    for (size_t i = 0; i < run_count; i++) {
        assert_int_equal(content.runs[i].offset, runs[i].offset);
        assert_int_equal(content.runs[i].length, runs[i].length);
        assert_int_equal(content.runs[i].zero, runs[i].zero);
    }
    assert_int_equal(content.chunk_count, chunk_count);
    for (size_t i = 0; i < chunk_count; i++) {
        assert_int_equal(content.chunks[i].length, chunks[i].length);
        assert_memory_equal(content.chunks[i].id.bytes, chunks[i].id.bytes, CS_ID_SIZE);
        assert_memory_equal(content.chunks[i].fingerprint, chunks[i].fingerprint, 16);
    }
    cs_content_clear(&content);
    assert_null(content.runs);
    assert_int_equal(content.chunk_count, 0);
    cs_content_clear(&content);

    /* every leaf that is cut short is refused */
    for (size_t len = 0; len < b.len; len += 1 + len / 64)
        assert_int_equal(cs_content_decode(&content, b.data, len, REGION, &err), CS_CORRUPT);
    cs_buf_clear(&b);
}

static void test_random_leaves_come_back(void **state)
{
    enum { MOST = 9000 };
    struct cs_run *runs = malloc(MOST * sizeof *runs);
    struct cs_chunk *chunks = malloc(MOST * sizeof *chunks);

    (void)state;
    assert_true(runs != NULL && chunks != NULL);
    for (uint64_t seed = 1; seed <= 300; seed++) {
        uint32_t end = 0, data = 0, step;
        size_t run_count = 0, chunk_count = 0;
        random_state = seed;
        step = 1 + below(below(8) != 0 ? 300000 : 600);
        while (end < REGION && run_count < MOST) {
            bool zero = below(3) == 0;
            uint32_t gap = below(3) != 0 ? below(step) : 0;
            if (run_count > 0 && runs[run_count - 1].zero == zero && gap == 0)
                gap = 1;
            if (gap >= REGION - end)
                break;
            uint32_t length = 1 + below(step);
            if (length > REGION - end - gap || below(200) == 0)
                length = REGION - end - gap;
            runs[run_count++] =
                (struct cs_run){.offset = end + gap, .length = length, .zero = zero};
            end += gap + length;
            data += zero ? 0 : length;
        }
        if (run_count == 0)
            continue;
        while (data > 0 && chunk_count < MOST - 4) {
            uint32_t length = 1 + below(below(2) ? CS_DATA_OBJECT_MAX : 65536);
            if (length > data)
                length = data;
            chunks[chunk_count++] = some_chunk(length, (uint8_t)below(256));
            data -= length;
        }
        assert_int_equal(data, 0);
        assert_round_trip(runs, run_count, chunks, chunk_count);
    }
    free(runs);
    free(chunks);
}

static void test_a_run_may_fill_the_region(void **state)
{
    static const struct cs_run zero = {.length = REGION, .zero = true};
    static const struct cs_run data = {.length = REGION};
    struct cs_chunk chunks[4];

    (void)state;
    for (uint8_t i = 0; i < 4; i++)
        chunks[i] = some_chunk(CS_DATA_OBJECT_MAX, i);
    assert_round_trip(&zero, 1, NULL, 0);
    assert_round_trip(&data, 1, chunks, 4);
}

static void test_runs_must_be_inside_the_region(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    b = data_run(REGION + 1);
    assert_refused(&b, "leaves the region");

    cs_put_varint(&b, 1); /* one byte, behind the end */
    cs_put_varint(&b, REGION);
    cs_put_varint(&b, 2);
    assert_refused(&b, "leaves the region");

    cs_put_varint(&b, 1);
    cs_put_varint(&b, UINT64_MAX); /* a gap that would wrap around */
    cs_put_varint(&b, 5);
    assert_refused(&b, "leaves the region");

    cs_put_varint(&b, 1);
    cs_put_varint(&b, 1);
    cs_put_varint(&b, UINT64_MAX); /* so would the length */
    assert_refused(&b, "leaves the region");

    cs_put_varint(&b, 2); /* the second run is too long */
    cs_put_varint(&b, 0);
    cs_put_varint(&b, REGION + 1); /* half of it, zeros */
    cs_put_varint(&b, 1);
    cs_put_varint(&b, REGION);
    cs_put_varint(&b, 0);
    assert_refused(&b, "run 1 at byte 6 leaves the region");
}

static void test_empty_run_is_refused(void **state)
{
    (void)state;
    struct cs_buf b = data_run(0);
    cs_put_varint(&b, 0);
    assert_refused(&b, "run 0 at byte 1 is empty");
}

static void test_runs_that_are_one_are_refused(void **state)
{
    (void)state;
    for (unsigned zero = 0; zero < 2; zero++) {
        struct cs_buf b = {0};
        cs_put_varint(&b, 2);
        for (int i = 0; i < 2; i++) {
            cs_put_varint(&b, 0);
            cs_put_varint(&b, 16 + zero);
        }
        cs_put_varint(&b, 0);
        assert_refused(&b, "belongs to the one before");
    }
}

static void test_leaf_without_runs_is_refused(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    cs_content_encode(&b, NULL, 0, NULL, 0);
    assert_refused(&b, "no runs");
}

static void test_chunks_must_make_the_data(void **state)
{
    (void)state;
    struct cs_buf b = data_run(100);
    cs_put_varint(&b, 0);
    assert_refused(&b, "the chunks have 0 bytes, the data runs 100");

    b = data_run(100);
    cs_put_varint(&b, 2);
    put_chunk(&b, 50);
    put_chunk(&b, 49);
    assert_refused(&b, "the chunks have 99 bytes");

    b = data_run(100);
    cs_put_varint(&b, 2);
    put_chunk(&b, 50);
    put_chunk(&b, 51);
    assert_refused(&b, "the chunks have 101 bytes");

    cs_put_varint(&b, 1); /* zeros need no chunk */
    cs_put_varint(&b, 0);
    cs_put_varint(&b, 201);
    cs_put_varint(&b, 1);
    put_chunk(&b, 100);
    assert_refused(&b, "the chunks have 100 bytes, the data runs 0");
}

static void test_chunk_lengths_are_bounded(void **state)
{
    (void)state;
    struct cs_buf b = data_run(100);
    cs_put_varint(&b, 2);
    put_chunk(&b, 100);
    put_chunk(&b, 0);
    assert_refused(&b, "chunk 1 at byte 54 has a length of 0");

    b = data_run(CS_DATA_OBJECT_MAX + 1);
    cs_put_varint(&b, 1);
    put_chunk(&b, CS_DATA_OBJECT_MAX + 1);
    assert_refused(&b, "chunk 0 at byte 7 has a length of 1048577");

    b = data_run(1);
    cs_put_varint(&b, 1);
    put_chunk(&b, UINT64_MAX);
    assert_refused(&b, "has a length of 18446744073709551615");
}

static void test_counts_are_held_against_what_follows(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    cs_put_varint(&b, UINT64_MAX);
    cs_put_zeros(&b, 10);
    assert_refused(&b, "count 18446744073709551615 at byte 0");

    cs_put_varint(&b, 6);
    cs_put_zeros(&b, 11);
    assert_refused(&b, "count 6 at byte 0");

    b = data_run(100);
    cs_put_varint(&b, UINT64_C(1) << 40);
    put_chunk(&b, 100);
    assert_refused(&b, "count 1099511627776 at byte 4");

    b = data_run(100);
    cs_put_varint(&b, 3);
    put_chunk(&b, 50);
    put_chunk(&b, 50);
    assert_refused(&b, "count 3 at byte 4");
}

static void test_malformed_numbers_are_refused(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    assert_refused(&b, "unexpected end at byte 0 of 0");

    cs_put_bytes(&b, "\201\0\0\2\0", 5); /* 1, the long way */
    assert_refused(&b, "malformed number");

    cs_put_bytes(&b, "\1\200\0\2\0", 5);
    assert_refused(&b, "malformed number");

    cs_put_bytes(&b, "\1\0\377\377\377\377\377\377\377\377\377\2\0", 13);
    assert_refused(&b, "malformed number");

    b = data_run(100);
    cs_put_varint(&b, 1);
    cs_put_bytes(&b, "\344\0", 2); /* 100, the long way */
    cs_put_zeros(&b, CS_ID_SIZE + 16);
    assert_refused(&b, "malformed number");
}

static void test_bytes_left_over_are_refused(void **state)
{
    (void)state;
    struct cs_buf b = data_run(100);
    cs_put_varint(&b, 1);
    put_chunk(&b, 100);
    cs_put_u8(&b, 0);
    assert_refused(&b, "1 bytes left over at byte 54");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_leaf),
        cmocka_unit_test(test_leaf_is_appended),
        cmocka_unit_test(test_random_leaves_come_back),
        cmocka_unit_test(test_a_run_may_fill_the_region),
        cmocka_unit_test(test_runs_must_be_inside_the_region),
        cmocka_unit_test(test_empty_run_is_refused),
        cmocka_unit_test(test_runs_that_are_one_are_refused),
        cmocka_unit_test(test_leaf_without_runs_is_refused),
        cmocka_unit_test(test_chunks_must_make_the_data),
        cmocka_unit_test(test_chunk_lengths_are_bounded),
        cmocka_unit_test(test_counts_are_held_against_what_follows),
        cmocka_unit_test(test_malformed_numbers_are_refused),
        cmocka_unit_test(test_bytes_left_over_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

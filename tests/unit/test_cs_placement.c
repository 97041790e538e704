/* SPDX-License-Identifier: BSD-2-Clause */
/* Placement leaves: their bytes, that they come back, and each way in which they can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bytes.h"
#include "chunkstore.h"

enum { BITS = 16, CLUSTER = 1 << BITS, MOST = 64 };

static uint64_t random_state;

static uint64_t next_random(void)
{
    uint64_t z = random_state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint64_t below(uint64_t n)
{
    return next_random() % n;
}

static void assert_leaf(const struct cs_place *places, size_t n, bool subclusters,
                        const void *expected, size_t expected_len)
{
    struct cs_place back[MOST];
    struct cs_error err = {0};
    uint8_t *leaf;
    size_t len;

    if (cs_placement_encode(&leaf, &len, places, n, BITS, subclusters, &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(len, expected_len);
    assert_memory_equal(leaf, expected, len);
    if (cs_placement_decode(back, n, BITS, leaf, len, &err) != 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(back[i].class, places[i].class);
        assert_int_equal(back[i].length, places[i].length);
        assert_true(back[i].host == places[i].host);
        assert_int_equal(back[i].sub_alloc, places[i].sub_alloc);
        assert_int_equal(back[i].sub_zero, places[i].sub_zero);
    }
    free(leaf);
}

/* Decodes ${len} bytes for ${n} clusters, which must be refused with ${part} in the message. */
static void assert_refused(const void *leaf, size_t len, size_t n, const char *part)
{
    struct cs_place places[MOST];
    struct cs_error err = {0};
    uint8_t *exact = malloc(len > 0 ? len : 1); /* so that the sanitizer sees one byte too many */

    assert_non_null(exact);
    memcpy(exact, leaf, len);
    assert_int_equal(cs_placement_decode(places, n, BITS, exact, len, &err), CS_CORRUPT);
    assert_int_equal(err.code, CS_CORRUPT);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    assert_non_null(strstr(err.message, "byte "));
    free(exact);
}

static void assert_buf_refused(struct cs_buf *b, size_t n, const char *part)
{
    assert_false(b->failed);
    assert_refused(b->data, b->len, n, part);
    cs_buf_clear(b);
}

static void assert_usage(struct cs_place place, bool subclusters, const char *part)
{
    const struct cs_place places[2] = {{.class = 3, .host = CLUSTER}, place};
    struct cs_error err = {0};
    uint8_t *leaf;
    size_t len;

    assert_int_equal(cs_placement_encode(&leaf, &len, places, 2, BITS, subclusters, &err),
                     CS_USAGE);
    assert_null(leaf);
    if (strstr(err.message, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, part);
    assert_non_null(strstr(err.message, "cluster 1"));
}

static void test_known_leaf(void **state)
{
    static const struct cs_place places[] = {
        {.class = 3, .host = 5 * CLUSTER},
        {.class = 3, .host = 6 * CLUSTER},
        {.class = 0},
        {.class = 1},
        {.class = 2, .host = 4 * CLUSTER},
        {.class = 4, .host = 1000, .length = 300},
        {.class = 4, .host = 1300, .length = 5},
    };

    (void)state;
    assert_leaf(places, 7, false,
                "\20\0"
                "\2\3\1\0\1\1\1\2\2\4" /* classes */
                "\12\0\5"              /* +5, as expected, -3 */
                "\320\17\254\2\0\5",   /* +1000, 300 bytes; as expected, 5 bytes */
                21);
}

static void test_known_leaf_with_subclusters(void **state)
{
    static const struct cs_place places[] = {
        {.class = 3, .host = 5 * CLUSTER, .sub_alloc = UINT32_MAX},
        {.class = 0},
        {.class = 1, .sub_zero = 1},
        {.class = 2, .host = 2 * CLUSTER, .sub_zero = UINT32_MAX},
        {.class = 0},
        {.class = 4, .host = 7, .length = 1},
        {.class = 3, .host = 3 * CLUSTER, .sub_alloc = 128, .sub_zero = UINT32_C(1) << 31},
    };

    (void)state;
    /* classes 0 and 1 are in no host column: numbers 5, 2, 3; expected 0, 6, 3 */
    assert_leaf(places, 7, true,
                "\20\1"
                "\1\3\1\0\1\1\1\2\1\0\1\4\1\3"
                "\12\7\0"
                "\16\1"
                "\377\377\377\377\17\0"
                "\0\0\0\1\0\377\377\377\377\17"
                "\0\0\0\0\200\1\200\200\200\200\10",
                48);
}

static void test_region_of_nothing_has_no_leaf(void **state)
{
    static const struct cs_place places[MOST];
    struct cs_error err;
    uint8_t *leaf;
    size_t len;

    (void)state;
    for (int subclusters = 0; subclusters < 2; subclusters++) {
        assert_int_equal(
            cs_placement_encode(&leaf, &len, places, MOST, BITS, subclusters != 0, &err), 0);
        assert_null(leaf);
        assert_int_equal(len, 0);
    }
    assert_int_equal(cs_placement_encode(&leaf, &len, NULL, 0, BITS, false, &err), 0);
    assert_int_equal(len, 0);
}

static void test_zero_clusters_and_subcluster_bits_are_something(void **state)
{
    static const struct cs_place zero = {.class = 1};
    static const struct cs_place sub = {.class = 1, .sub_zero = 1};
    static const struct cs_place host = {.class = 3, .sub_alloc = 1};

    (void)state;
    assert_leaf(&zero, 1, false, "\20\0\1\1", 4);
    assert_leaf(&sub, 1, true, "\20\1\1\1\0\1", 6);
    assert_leaf(&host, 1, true, "\20\1\1\3\0\1\0", 7);
}

static void test_farthest_host_offsets(void **state)
{
    const struct cs_place places[] = {
        {.class = 3, .host = (UINT64_C(1) << 63) - CLUSTER},
        {.class = 3, .host = 0},
        {.class = 4, .host = 0, .length = 1 << 27},
        {.class = 4, .host = INT64_MAX - 1, .length = 1},
        {.class = 4, .host = 0, .length = 1},
    };
    struct cs_place back[5];
    struct cs_error err;
    uint8_t *leaf;
    size_t len;

    (void)state;
    assert_int_equal(cs_placement_encode(&leaf, &len, places, 5, BITS, false, &err), 0);
    if (cs_placement_decode(back, 5, BITS, leaf, len, &err) != 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < 5; i++)
        assert_true(back[i].host == places[i].host && back[i].length == places[i].length);
    free(leaf);
}

static void test_bytes_are_those_with_data(void **state)
{
    static const struct cs_place places[] = {
        {.class = 0},
        {.class = 1, .sub_zero = 5},
        {.class = 2, .sub_zero = UINT32_MAX},
        {.class = 3, .sub_alloc = 0x80000003, .sub_zero = 4},
        {.class = 3, .sub_zero = 1},
        {.class = 3, .sub_alloc = UINT32_MAX},
        {.class = 4, .length = 1},
    };

    (void)state;
    assert_int_equal(cs_placement_bytes(places, 7, 16, false), 4 * 65536);
    assert_int_equal(cs_placement_bytes(places, 7, 16, true), 3 * 2048 + 65536 + 65536);
    assert_int_equal(cs_placement_bytes(places, 3, 16, true), 0);
    assert_int_equal(cs_placement_bytes(places, 4, 9, true), 3 * 16);
    assert_int_equal(cs_placement_bytes(places + 6, 1, 21, true), 2 << 20);
    assert_int_equal(cs_placement_bytes(NULL, 0, 16, false), 0);
}

static struct cs_place random_place(unsigned bits, bool subclusters, uint64_t *next)
{
    struct cs_place p = {.class = (uint8_t)below(5)};
    if (below(4) == 0)
        *next = below(UINT64_C(1) << (20 + below(43)));
    if (p.class == 4) {
        p.host = *next;
        p.length = (uint32_t)(1 + below(UINT64_C(1) << (1 + below(27))));
        *next += p.length;
    } else if (p.class >= 2) {
        p.host = *next >> bits << bits;
        *next = p.host + (UINT64_C(1) << bits);
    }
    if (subclusters && p.class > 0) {
        p.sub_alloc = (uint32_t)(next_random() >> below(64));
        p.sub_zero = (uint32_t)(next_random() >> below(64));
    }
    return p;
}

static void test_random_leaves_come_back(void **state)
{
    enum { LARGEST = 8192 };
    struct cs_place *places = malloc(LARGEST * sizeof *places);
    struct cs_place *back = malloc(LARGEST * sizeof *back);
    struct cs_error err;

    (void)state;
    assert_true(places != NULL && back != NULL);
    for (uint64_t seed = 1; seed <= 400; seed++) {
        random_state = seed;
        unsigned bits = 9 + (unsigned)below(13);
        size_t n = bits < 22 ? (size_t)(4 << 20) >> bits : 1;
        bool subclusters = below(2) != 0;
        uint64_t next = 0;
        uint8_t *leaf;
        size_t len;
        for (size_t i = 0; i < n; i++)
            places[i] = i > 0 && below(3) != 0 && places[i - 1].class < 2
                            ? (struct cs_place){.class = places[i - 1].class}
                            : random_place(bits, subclusters, &next);
        if (cs_placement_encode(&leaf, &len, places, n, bits, subclusters, &err) != 0)
            fail_msg("seed %u: %s", (unsigned)seed, err.message);
        if (len == 0)
            continue;
        if (cs_placement_decode(back, n, bits, leaf, len, &err) != 0)
            fail_msg("seed %u: %s", (unsigned)seed, err.message);
        for (size_t i = 0; i < n; i++) {
            assert_int_equal(back[i].class, places[i].class);
            assert_int_equal(back[i].length, places[i].length);
            assert_true(back[i].host == places[i].host);
            assert_int_equal(back[i].sub_alloc, places[i].sub_alloc);
            assert_int_equal(back[i].sub_zero, places[i].sub_zero);
        }
        for (size_t cut = 0; cut < len; cut += 1 + cut / 16)
            assert_int_equal(cs_placement_decode(back, n, bits, leaf, cut, &err), CS_CORRUPT);
        /* one cluster more or fewer is not this region */
        assert_int_equal(cs_placement_decode(back, n - 1, bits, leaf, len, &err), CS_CORRUPT);
        if (n < LARGEST)
            assert_int_equal(cs_placement_decode(back, n + 1, bits, leaf, len, &err), CS_CORRUPT);
        free(leaf);
    }
    free(back);
    free(places);
}

static void test_encoder_refuses_what_it_could_not_give_back(void **state)
{
    (void)state;
    assert_usage((struct cs_place){.class = 5}, false, "unknown class 5");
    assert_usage((struct cs_place){.class = 3, .host = CLUSTER + 512}, false, "cluster's start");
    assert_usage((struct cs_place){.class = 2, .host = 1}, false, "cluster's start");
    assert_usage((struct cs_place){.class = 0, .host = 512}, true, "cluster's start");
    assert_usage((struct cs_place){.class = 3, .host = UINT64_C(1) << 63}, false, "host offset");
    for (int subclusters = 0; subclusters < 2; subclusters++) {
        assert_usage((struct cs_place){.class = 0, .host = CLUSTER}, subclusters != 0,
                     "class 0 has the host offset");
        assert_usage((struct cs_place){.class = 1, .host = CLUSTER}, subclusters != 0,
                     "class 1 has the host offset");
    }
    assert_usage((struct cs_place){.class = 3, .length = 1}, false, "not compressed");
    assert_usage((struct cs_place){.class = 4, .host = 1}, false, "compressed length");
    assert_usage((struct cs_place){.class = 4, .length = (1 << 27) + 1}, false,
                 "compressed length");
    assert_usage((struct cs_place){.class = 4, .host = INT64_MAX, .length = 1}, false,
                 "host offset");
    assert_usage((struct cs_place){.class = 3, .sub_alloc = 1}, false, "subcluster bits");
    assert_usage((struct cs_place){.class = 3, .sub_zero = 1}, false, "subcluster bits");
    assert_usage((struct cs_place){.class = 0, .sub_alloc = 1}, true, "subcluster bits");
    assert_usage((struct cs_place){.class = 0, .sub_zero = 1}, true, "subcluster bits");
}

static void test_cluster_bits_are_bounded(void **state)
{
    static const struct cs_place place = {.class = 1};
    static const unsigned bad[] = {0, 8, 22, 64, 272};
    struct cs_place back;
    struct cs_error err;
    uint8_t *leaf;
    size_t len;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t stored[] = {(uint8_t)bad[i], 0, 1, 1};
        assert_int_equal(cs_placement_encode(&leaf, &len, &place, 1, bad[i], false, &err),
                         CS_USAGE);
        assert_int_equal(cs_placement_decode(&back, 1, bad[i], stored, 4, &err), CS_USAGE);
    }
}

static void test_header_is_checked(void **state)
{
    (void)state;
    assert_refused("", 0, 1, "unexpected end at byte 0");
    assert_refused("\20", 1, 1, "unexpected end at byte 1");
    assert_refused("\17\0\1\1", 4, 1, "15 cluster bits at byte 0, not 16");
    assert_refused("\20\2\1\1", 4, 1, "unknown flags 0x2");
    assert_refused("\20\201\1\1\0\0\0", 7, 1, "unknown flags 0x81");
}

static void test_classes_are_checked(void **state)
{
    (void)state;
    assert_refused("\20\0\1\5", 4, 1, "unknown class 5 at byte 2");
    assert_refused("\20\0\0\1\1\1", 6, 1, "0 clusters of a class at byte 2, where 1 are left");
    assert_refused("\20\0\2\1", 4, 1, "2 clusters of a class");
    assert_refused("\20\0\377\377\377\377\377\377\377\377\377\1\1", 13, 1,
                   "18446744073709551615 clusters");
    assert_refused("\20\0\1\1\1\1", 6, 2, "goes on from the one before");
    assert_refused("\20\0\1\1", 4, 2, "unexpected end");
    assert_refused("\20\0\201\0\1", 5, 1, "malformed number");
}

static void test_host_clusters_are_checked(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    assert_refused("\20\0\1\3\1", 5, 1, "cluster 0 at byte 4 has an impossible host cluster");
    assert_refused("\20\0\2\3\0\3", 6, 2, "cluster 1 at byte 5 has an impossible host cluster");
    assert_refused("\20\0\1\3", 4, 1, "unexpected end");
    assert_refused("\20\0\1\3\200\0", 6, 1, "malformed number");

    cs_put_bytes(&b, "\20\0\1\3", 4); /* one cluster too far */
    cs_put_svarint(&b, INT64_C(1) << (63 - BITS));
    assert_buf_refused(&b, 1, "impossible host cluster");

    cs_put_bytes(&b, "\20\0\1\3", 4);
    cs_put_svarint(&b, INT64_MIN);
    assert_buf_refused(&b, 1, "impossible host cluster");

    cs_put_bytes(&b, "\20\0\2\3\0", 5);
    cs_put_svarint(&b, INT64_MAX); /* 1 more than fits */
    assert_buf_refused(&b, 2, "impossible host cluster");

    cs_put_bytes(&b, "\20\1\1\2", 4); /* the same with subclusters */
    cs_put_svarint(&b, INT64_C(1) << (63 - BITS));
    cs_put_zeros(&b, 2);
    assert_buf_refused(&b, 1, "impossible host cluster");

    /* classes 0 and 1 have no entry: what would be theirs is the next column's, and one is left */
    assert_refused("\20\1\1\1\2\0\1", 7, 1, "1 bytes left over at byte 6");
    assert_refused("\20\1\1\1\1\0\0\0\0\1\0", 11, 2, "cluster 1 at byte 8");
}

static void test_streams_are_checked(void **state)
{
    struct cs_buf b = {0};

    (void)state;
    assert_refused("\20\0\1\4\0\0", 6, 1, "cluster 0 at byte 4 has a compressed length of 0");
    assert_refused("\20\0\1\4\1\1", 6, 1, "impossible host offset");
    assert_refused("\20\0\1\4\0", 5, 1, "unexpected end");
    assert_refused("\20\0\1\4\0\201\0", 7, 1, "malformed number");

    cs_put_bytes(&b, "\20\0\1\4\0", 5);
    cs_put_varint(&b, (1 << 27) + 1);
    assert_buf_refused(&b, 1, "compressed length of 134217729");

    cs_put_bytes(&b, "\20\0\1\4", 4); /* an end of 2^63 */
    cs_put_svarint(&b, INT64_MAX);
    cs_put_varint(&b, 1);
    assert_buf_refused(&b, 1, "impossible host offset");

    cs_put_bytes(&b, "\20\0\2\4\0\1", 6); /* a start of 2^63 */
    cs_put_svarint(&b, INT64_MAX);
    cs_put_varint(&b, 1);
    assert_buf_refused(&b, 2, "cluster 1 at byte 6 has an impossible host offset");
}

static void test_subclusters_are_checked(void **state)
{
    (void)state;
    assert_refused("\20\1\1\1\200\200\200\200\20\0", 10, 1,
                   "cluster 0 at byte 4 has more than 32 subclusters");
    assert_refused("\20\1\1\1\0\200\200\200\200\20", 10, 1, "more than 32 subclusters");
    assert_refused("\20\1\1\1\0", 5, 1, "unexpected end at byte 5");
    assert_refused("\20\1\1\1\200\0\0", 7, 1, "malformed number");
    assert_refused("\20\1\1\1\1\0\0\1\0\1", 10, 2,
                   "cluster 1 at byte 8 is unallocated and has subclusters");
    assert_refused("\20\1\1\1\1\0\0\1\1\0", 10, 2,
                   "cluster 1 at byte 8 is unallocated and has subclusters");
}

static void test_bytes_left_over_are_refused(void **state)
{
    (void)state;
    assert_refused("\20\0\1\1\0", 5, 1, "1 bytes left over at byte 4");
    assert_refused("\20\1\1\1\0\0\0", 7, 1, "1 bytes left over at byte 6");
}

static void test_leaf_of_nothing_is_refused(void **state)
{
    (void)state;
    assert_refused("\20\0\2\0", 4, 2, "nothing but unallocated clusters");
    assert_refused("\20\1\2\0\0\0\0\0", 8, 2, "nothing but unallocated clusters");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_leaf),
        cmocka_unit_test(test_known_leaf_with_subclusters),
        cmocka_unit_test(test_region_of_nothing_has_no_leaf),
        cmocka_unit_test(test_zero_clusters_and_subcluster_bits_are_something),
        cmocka_unit_test(test_farthest_host_offsets),
        cmocka_unit_test(test_bytes_are_those_with_data),
        cmocka_unit_test(test_random_leaves_come_back),
        cmocka_unit_test(test_encoder_refuses_what_it_could_not_give_back),
        cmocka_unit_test(test_cluster_bits_are_bounded),
        cmocka_unit_test(test_header_is_checked),
        cmocka_unit_test(test_classes_are_checked),
        cmocka_unit_test(test_host_clusters_are_checked),
        cmocka_unit_test(test_streams_are_checked),
        cmocka_unit_test(test_subclusters_are_checked),
        cmocka_unit_test(test_bytes_left_over_are_refused),
        cmocka_unit_test(test_leaf_of_nothing_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

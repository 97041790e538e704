/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the writer places with: the map of taken clusters, the claims on byte
 * ranges and the refcounts, each held against a plain array that says the same.
 */
#include <stdbool.h>

#include "base/be.h"
#include "qcow2/hostmap.h"
#include "qcow2/refcount.h"
#include "qcow2/spans.h"
#include "qcow2_fixture.h"

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525 + 1013904223;
    return *seed >> 8;
}

#define assert_ok(call)                                                                            \
    do {                                                                                           \
        if ((call) < 0)                                                                            \
            fail_msg("%s: %s", #call, err.message);                                                \
    } while (0)

enum { TWIN_SIZE = 20000 };

/* The lowest gap of ${n} below ${end}, or ${end}. */
static size_t twin_gap(const uint8_t *twin, size_t end, size_t n)
{
    for (size_t first = 0, i = 0; i < end; i++) {
        if (twin[i])
            first = i + 1;
        else if (i + 1 - first == n)
            return first;
    }
    return end;
}

static void gaps_are_filled_from_the_lowest(void **state)
{
    uint8_t twin[TWIN_SIZE];

    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct hostmap map;
        struct error err = {0};
        uint32_t random = seed;
        size_t end = 0;

        memset(twin, 0, sizeof(twin));
        hostmap_init(&map, TWIN_SIZE);
        for (int i = 0; i < 200; i++) {
            size_t n = next_random(&random) % 40, at = next_random(&random) % (TWIN_SIZE / 2);
            enum hostmap_use use = next_random(&random) % 2 ? HOSTMAP_FIXED : HOSTMAP_STREAMS;

            assert_ok(hostmap_take(&map, at, n, use, &err));
            for (size_t j = at; j < at + n; j++)
                if (twin[j] != HOSTMAP_FIXED)
                    twin[j] = use;
            if (n > 0 && at + n > end)
                end = at + n;
        }
        for (size_t i = 0; i < TWIN_SIZE; i++)
            assert_int_equal(hostmap_use(&map, i), twin[i]);
        assert_int_equal(map.end, end);
        for (int i = 0; i < 300; i++) {
            size_t n = 1 + next_random(&random) % 3, want = twin_gap(twin, end, n);
            uint64_t first = 0;

            assert_ok(hostmap_fill(&map, n, &first, &err));
            assert_int_equal(first, want);
            memset(twin + first, HOSTMAP_FIXED, n);
            if (first + n > end)
                end = first + n;
        }
        hostmap_clear(&map);
    }
}

static void the_limit_holds(void **state)
{
    struct hostmap map;
    struct error err = {0};
    uint64_t first = 77;

    (void)state;
    hostmap_init(&map, 100);
    assert_int_equal(hostmap_take(&map, 100, 1, HOSTMAP_FIXED, &err), ERROR_UNSUPPORTED);
    assert_int_equal(hostmap_take(&map, UINT64_MAX, 2, HOSTMAP_FIXED, &err), ERROR_UNSUPPORTED);
    assert_int_equal(hostmap_take(&map, 0, 101, HOSTMAP_FIXED, &err), ERROR_UNSUPPORTED);
    assert_ok(hostmap_take(&map, 50, 49, HOSTMAP_FIXED, &err));
    assert_int_equal(hostmap_append(&map, 2, HOSTMAP_FIXED, &first, &err), ERROR_UNSUPPORTED);
    assert_int_equal(first, 77);
    assert_int_equal(hostmap_fill(&map, 51, &first, &err), ERROR_UNSUPPORTED);
    assert_ok(hostmap_fill(&map, 50, &first, &err));
    assert_int_equal(first, 0);
    assert_ok(hostmap_append(&map, 1, HOSTMAP_STREAMS, &first, &err));
    assert_int_equal(first, 99);
    assert_int_equal(hostmap_use(&map, 99), HOSTMAP_STREAMS);
    hostmap_clear(&map);
}

static void only_bytes_claimed_twice_are_contested(void **state)
{
    uint8_t twin[TWIN_SIZE];

    (void)state;
    for (uint32_t seed = 1; seed <= 20; seed++) {
        struct spans spans;
        struct error err = {0};
        uint32_t random = seed;

        memset(twin, 0, sizeof(twin));
        spans_init(&spans);
        for (unsigned i = 0; i < seed * 200; i++) { /* more than there is room for at first */
            size_t at = next_random(&random) % (TWIN_SIZE - 8), n = 1 + next_random(&random) % 4;

            assert_ok(spans_claim(&spans, at, n, &err));
            for (size_t j = at; j < at + n; j++)
                if (twin[j] < 2)
                    twin[j]++;
        }
        assert_ok(spans_settle(&spans, &err));
        for (size_t i = 0; i < TWIN_SIZE; i++)
            assert_int_equal(spans_contested(&spans, i, 1), twin[i] == 2);
        for (int i = 0; i < 1000; i++) {
            size_t at = next_random(&random) % (TWIN_SIZE - 50), n = 1 + next_random(&random) % 50;

            assert_int_equal(spans_contested(&spans, at, n), memchr(twin + at, 2, n) != NULL);
        }
        spans_clear(&spans);
    }
}

/* A packed file of many streams must not cost memory for each. */
static void claims_end_to_end_are_one(void **state)
{
    struct spans spans;
    struct error err = {0};

    (void)state;
    spans_init(&spans);
    for (uint64_t i = 0; i < 1000000; i += 2) { /* pairs in the wrong order */
        assert_ok(spans_claim(&spans, (i + 1) * 100, 100, &err));
        assert_ok(spans_claim(&spans, i * 100, 100, &err));
    }
    assert_true(spans.claimed.room <= 2048);
    assert_ok(spans_settle(&spans, &err));
    assert_int_equal(spans.claimed.n, 1);
    assert_int_equal(spans.contested.n, 0);
    spans_clear(&spans);
}

static uint64_t decode_count(const uint8_t *block, uint64_t i, uint32_t order)
{
    unsigned bits = 1U << order;
    uint64_t value = 0;

    if (bits < 8)
        return (block[i * bits / 8] >> (i * bits % 8)) & ((1U << bits) - 1);
    for (unsigned j = 0; j < bits / 8; j++)
        value = value << 8 | block[i * bits / 8 + j];
    return value;
}

static void blocks_hold_what_was_counted(void **state)
{
    (void)state;
    for (uint32_t order = 0; order <= 6; order++) {
        uint64_t most = order < 4 ? (1U << (1 << order)) - 1 : 70000;
        struct refcounts counts;
        struct error err = {0};
        uint8_t block[4096];

        if (order == 4)
            most = 65535;
        refcounts_init(&counts, order, 12);
        for (uint64_t i = 0; i < most; i++)
            assert_ok(refcounts_add(&counts, counts.block_entries + 5, 1, &err));
        assert_ok(refcounts_add(&counts, counts.block_entries + 7, 1, &err));
        assert_int_equal(refcounts_get(&counts, counts.block_entries + 5), most);
        assert_int_equal(refcounts_get(&counts, 5), 0);
        if (most < 70000)
            assert_int_equal(refcounts_add(&counts, counts.block_entries + 5, 1, &err),
                             ERROR_UNSUPPORTED);
        refcounts_encode_block(&counts, 1, block);
        for (uint64_t i = 0; i < counts.block_entries; i++)
            assert_int_equal(decode_count(block, i, order), i == 5 ? most : i == 7);
        refcounts_clear(&counts);
    }
}

/* Whatever is counted, table and blocks count it and themselves, and lie on nothing else. */
static void placed_refcounts_count_themselves(void **state)
{
    (void)state;
    for (uint32_t seed = 1; seed <= 200; seed++) {
        uint32_t random = seed, order = seed % 7, bits = 9 + seed % 3;
        uint64_t spread = UINT64_C(1) << (4 + next_random(&random) % 16), in_blocks = 0;
        struct refcounts counts;
        struct hostmap map;
        struct error err = {0};
        uint64_t taken = 1;

        refcounts_init(&counts, order, bits);
        hostmap_init(&map, refcounts_limit(&counts));
        assert_ok(hostmap_take(&map, 0, 1, HOSTMAP_FIXED, &err)); /* the header */
        assert_ok(refcounts_add(&counts, 0, 1, &err));
        for (uint32_t n = next_random(&random) % 300 + 1; n > 0; n--) {
            uint64_t cluster = next_random(&random) % spread;

            if (hostmap_use(&map, cluster) != HOSTMAP_FREE)
                continue;
            assert_ok(hostmap_take(&map, cluster, 1, HOSTMAP_FIXED, &err));
            assert_ok(refcounts_add(&counts, cluster, 1, &err));
            taken++;
        }
        assert_ok(refcounts_place(&counts, &map, &err));
        for (uint64_t i = 0; i < counts.nb_blocks; i++)
            in_blocks += counts.blocks[i] != 0;
        for (uint64_t c = 0; c < map.end; c++) {
            assert_int_equal(refcounts_get(&counts, c), hostmap_use(&map, c) != HOSTMAP_FREE);
            if (hostmap_use(&map, c) != HOSTMAP_FREE) {
                assert_true(counts.blocks[c / counts.block_entries] != 0);
                taken--;
            }
        }
        assert_int_equal(taken + in_blocks + counts.table_clusters, 0);
        hostmap_clear(&map);
        refcounts_clear(&counts);
    }
}

/* Around the lengths where table and blocks themselves make a longer table necessary. */
static void the_table_is_long_enough(void **state)
{
    (void)state;
    for (uint64_t end = 3900; end < 4200; end++) { /* 64 blocks of 64 entries a table cluster */
        struct refcounts counts;
        struct hostmap map;
        struct error err = {0};

        refcounts_init(&counts, 6, 9);
        hostmap_init(&map, refcounts_limit(&counts));
        assert_ok(hostmap_take(&map, 0, end, HOSTMAP_FIXED, &err));
        for (uint64_t c = 0; c < end; c++)
            assert_ok(refcounts_add(&counts, c, 1, &err));
        assert_ok(refcounts_place(&counts, &map, &err));
        assert_true(map.end <= counts.nb_blocks * counts.block_entries);
        hostmap_clear(&map);
        refcounts_clear(&counts);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gaps_are_filled_from_the_lowest),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(only_bytes_claimed_twice_are_contested),
        cmocka_unit_test(claims_end_to_end_are_one),
        cmocka_unit_test(blocks_hold_what_was_counted),
        cmocka_unit_test(placed_refcounts_count_themselves),
        cmocka_unit_test(the_table_is_long_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

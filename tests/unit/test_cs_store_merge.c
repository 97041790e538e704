/* SPDX-License-Identifier: BSD-2-Clause */
/* Merging segments, held against sorting all of their entries; and which are chosen. */
#include "cs_fixture.h"

#include "segment_merge.h"

enum { SOURCES = 5, PACKS = 4, ENTRIES = 3000, ALL = SOURCES * ENTRIES };

/* An entry with the pack's name instead of its number. */
struct placed {
    uint8_t prefix[16];
    struct cs_name pack;
    uint16_t frame;
    uint16_t slot;
};

static int compare_placed(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct placed));
}

static struct cs_name pack_name(uint64_t n)
{
    struct cs_name name;
    noise(&name, sizeof name, 1000 + n);
    return name;
}

/* Entries of source ${n}. Sources overlap: they share ids, packs, and some whole entries. */
static void make_entries(struct cs_entry entries[ENTRIES], unsigned n)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        noise(entries[i].prefix, 16, 1 + i % 2000 + n * 500);
        entries[i].pack = i % PACKS;
        entries[i].frame = (uint16_t)(i % 2);
        entries[i].slot = (uint16_t)(i / 2000);
    }
    qsort(entries, ENTRIES, sizeof *entries, cs_entry_compare);
}

static size_t placed_of(const struct cs_segment *s, struct placed *out)
{
    for (uint64_t i = 0; i < s->entry_count; i++) {
        struct cs_entry e;
        assert_ok(cs_segment_entry(s, i, &e, err));
        memset(&out[i], 0, sizeof out[i]);
        memcpy(out[i].prefix, e.prefix, 16);
        memcpy(&out[i].pack, s->packs + (size_t)e.pack * CS_NAME_SIZE, CS_NAME_SIZE);
        out[i].frame = e.frame;
        out[i].slot = e.slot;
    }
    return (size_t)s->entry_count;
}

static void test_merging_is_sorting(void **state)
{
    struct repo *repo = *state;
    struct cs_open_options options = {
        .secret = key_file(0), .threads = 1, .cache_dir = repo->cache};
    struct cs_store *store = open_with(repo, &options);
    struct cs_segment segments[SOURCES];
    struct cs_entry *entries = calloc(ENTRIES, sizeof *entries);
    struct placed *expected = calloc(ALL, sizeof *expected), *got = calloc(ALL, sizeof *got);
    struct cs_name packs[PACKS];
    struct cs_merge *merge = NULL;
    struct cs_state_segment which;
    struct cs_segment merged;
    bool dropped[PACKS] = {false, true}; /* of the second source */
    size_t n = 0, kept = 0;
    assert_true(entries != NULL && expected != NULL && got != NULL);
    assert_ok(cs_merge_new(&merge, err));
    for (unsigned i = 0; i < SOURCES; i++) {
        for (unsigned p = 0; p < PACKS; p++)
            packs[p] = pack_name(i == 1 ? 100 + p : i == 3 ? PACKS - p : p);
        make_entries(entries, i);
        assert_ok(cs_segment_write(store, entries, ENTRIES, packs, PACKS, &which, err));
        assert_ok(cs_segment_load(&segments[i], store, &which, err));
        size_t count = placed_of(&segments[i], expected + n);
        for (size_t k = 0; k < count; k++)
            if (i != 1 || memcmp(&expected[n + k].pack, &packs[1], sizeof packs[1]) != 0)
                expected[kept++] = expected[n + k];
        n = kept;
        if (i < SOURCES - 1) /* the last one is that of a run */
            assert_ok(cs_merge_add(merge, &segments[i], i == 1 ? dropped : NULL, err));
        else
            assert_ok(cs_merge_add_entries(merge, entries, ENTRIES, packs, PACKS, err));
    }
    qsort(expected, kept, sizeof *expected, compare_placed);
    n = 0;
    for (size_t i = 0; i < kept; i++)
        if (i == 0 || compare_placed(&expected[i], &expected[i - 1]) != 0)
            expected[n++] = expected[i];
    assert_true(n < kept); /* some were there twice */
    assert_ok(cs_merge_write(merge, store, &which, err));
    assert_int_equal(which.entries, n);
    assert_ok(cs_segment_load(&merged, store, &which, err)); /* which looks at their order */
    assert_int_equal(placed_of(&merged, got), n);
    qsort(got, n, sizeof *got, compare_placed);
    assert_memory_equal(got, expected, n * sizeof *got);
    cs_segment_clear(&merged);
    for (unsigned i = 0; i < SOURCES; i++)
        cs_segment_clear(&segments[i]);
    cs_merge_free(merge);
    free(entries);
    free(expected);
    free(got);
    cs_close(store);
}

static void test_nothing_left_writes_nothing(void **state)
{
    struct repo *repo = *state;
    struct cs_store *store = open_store(repo);
    struct cs_name pack = pack_name(1);
    struct cs_entry entry = {.slot = 1};
    struct cs_state_segment which;
    struct cs_segment s;
    struct cs_merge *merge = NULL;
    assert_ok(cs_segment_write(store, &entry, 1, &pack, 1, &which, err));
    assert_ok(cs_segment_load(&s, store, &which, err));
    size_t files = files_in(repo, "segments", NULL);
    assert_ok(cs_merge_new(&merge, err));
    assert_ok(cs_merge_add(merge, &s, (bool[]){true}, err));
    assert_ok(cs_merge_write(merge, store, &which, err));
    assert_int_equal(which.entries, 0);
    assert_int_equal(files_in(repo, "segments", NULL), files);
    cs_merge_free(merge);
    cs_segment_clear(&s);
    cs_close(store);
}

/* A run that publishes as often as a disk of many TiB makes it: a lookup asks few segments, and
 * what is written stays in proportion. */
static void test_segments_stay_few(void **state)
{
    enum { RUNS = 10000, OWN = 16384, MOST = 64 };
    struct cs_segment segments[MOST] = {0};
    size_t count = 0, most = 0;
    uint64_t written = 0;
    (void)state;
    for (unsigned run = 0; run < RUNS; run++) {
        bool chosen[MOST] = {false};
        uint64_t total = OWN;
        size_t kept = 0;
        cs_merge_choose(segments, count, OWN, 4096, 4, chosen);
        for (size_t i = 0; i < count; i++)
            if (chosen[i])
                total += segments[i].entry_count;
            else
                segments[kept++] = segments[i];
        segments[kept++].entry_count = total;
        count = kept;
        written += total;
        most = count > most ? count : most;
        assert_true(count < MOST);
    }
    assert_in_range(most, 4, 16);
    assert_in_range(written, 1, (uint64_t)RUNS * OWN * 8);
}

static void test_a_large_segment_is_left_to_large_ones(void **state)
{
    struct cs_segment segments[] = {{.entry_count = 16000000}, {.entry_count = 100},
                                    {.entry_count = 4096},     {.entry_count = 3},
                                    {.entry_count = 50},       {.entry_count = 5000}};
    bool chosen[6] = {false};
    (void)state;
    assert_int_equal(cs_merge_choose(segments, 6, 10, 4096, 6, chosen), 0);
    assert_false(chosen[1]);
    assert_int_equal(cs_merge_choose(segments, 6, 10, 4096, 4, chosen), 4);
    assert_false(chosen[0]);
    assert_false(chosen[5]); /* 4259 come before it */
    memset(chosen, 0, sizeof chosen);
    assert_int_equal(cs_merge_choose(segments, 6, 20000000, 4096, 4, chosen), 6);
}

#define with_repo(test) cmocka_unit_test_setup_teardown(test, repo_setup, repo_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_repo(test_merging_is_sorting),
        with_repo(test_nothing_left_writes_nothing),
        cmocka_unit_test(test_segments_stay_few),
        cmocka_unit_test(test_a_large_segment_is_left_to_large_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
